//! What a probe has shown, for machines and for people (cli.md §2.5).

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::discover::beacon;
use crate::cli::gateway_probe::targets::Target;
use crate::cli::output::Style;
use crate::cli::output::text::plain;
use crate::cli::probe::Capability;
use crate::cli::row;
use crate::client::GatewayUrl;
use crate::discovery::browse::Scan;
use crate::discovery::selection::route;
use crate::net::address::tailnet_address;

/// One way and what became of it.
pub struct Probed {
    /// Which.
    pub target: Target,
    /// There was a session.
    pub connected: bool,
    /// The gateway answered a question that needs the right to read.
    pub reads: bool,
    /// The gateway answered, but lets nobody read without an approved device.
    pub nameless: bool,
    /// How long the connect took.
    pub latency_ms: Option<u64>,
    /// Why there was no session.
    pub error: Option<String>,
    /// What to do about it.
    pub fix: Option<String>,
    /// How the gateway closed the connection.
    pub close: Option<(u16, String)>,
    /// What can be done there.
    pub capability: Capability,
    /// The gateway's row about itself, or null.
    pub gateway: Value,
    /// Role and scopes, or null.
    pub auth: Value,
    /// Its answer to `config.get`, or null.
    pub config: Value,
    /// Its answer to `health`, or null.
    pub health: Value,
    /// Its answer to `status`, or null.
    pub summary: Value,
    /// Its answer to `system-presence`, or null.
    pub presence: Value,
}

/// Something a person should know.
pub struct Warning {
    code: &'static str,
    message: String,
    targets: Vec<String>,
}

/// Everything together.
pub struct Report {
    /// When it began, epoch milliseconds.
    pub ts: u64,
    /// How long all of it took.
    pub took: Duration,
    /// What each way got.
    pub timeout: Duration,
    /// What the look around got.
    pub patience: Duration,
    /// The domains that were browsed.
    pub domains: Vec<String>,
    /// What `OPENCLAW_DISABLE_BONJOUR` says; empty when it is not set.
    pub silenced: String,
    /// The ways in their order.
    pub probed: Vec<Probed>,
    /// What was found around.
    pub scan: Scan,
    /// Warnings, in the order of the ways.
    pub warnings: Vec<Warning>,
    /// What to do when the gateway in use does not answer.
    pub next: Option<String>,
    /// The port of this machine's gateway.
    pub port: u16,
    /// Whether that one speaks TLS.
    pub tls: bool,
}

impl Warning {
    /// A warning about these targets.
    pub fn new(code: &'static str, message: String, targets: &[&str]) -> Warning {
        let targets = targets.iter().map(|id| (*id).to_owned()).collect();
        Warning {
            code,
            message,
            targets,
        }
    }

    /// Puts it among `warnings`; one that says the same is about its targets too then.
    pub fn join(self, warnings: &mut Vec<Warning>) {
        let same = |it: &&mut Warning| it.code == self.code && it.message == self.message;
        match warnings.iter_mut().find(same) {
            Some(known) => known.targets.extend(self.targets),
            None => warnings.push(self),
        }
    }
}

impl Probed {
    /// A way of which nothing is known.
    pub fn untried(target: Target) -> Probed {
        Probed {
            target,
            connected: false,
            reads: false,
            nameless: false,
            latency_ms: None,
            error: None,
            fix: None,
            close: None,
            capability: Capability::Unknown,
            gateway: Value::Null,
            auth: Value::Null,
            config: Value::Null,
            health: Value::Null,
            summary: Value::Null,
            presence: Value::Null,
        }
    }

    /// Whether a gateway is there.
    pub fn is_reached(&self) -> bool {
        self.connected || self.nameless
    }

    /// Tells gateways apart by what they say they are, where they say it.
    pub fn identity(&self) -> Option<String> {
        let port = self.target.url.rsplit(':').next().unwrap_or_default();
        let host = row::text(&self.gateway, "host")?;
        Some(format!("{host}:{port}"))
    }

    fn document(&self) -> Value {
        let close = self.close.as_ref();
        let auth = match &self.auth {
            Value::Null => {
                json!({"role": null, "scopes": [], "capability": self.capability.as_str()})
            }
            auth => auth.clone(),
        };
        let tunnel = self.target.tunnel().map(|tunnel| {
            json!({"kind": "ssh", "target": tunnel.target.to_string(), "localPort": null, "remotePort": tunnel.port})
        });
        json!({
            "id": self.target.kind.id(),
            "kind": self.target.kind.id(),
            "url": self.target.url,
            "active": self.target.active,
            "tunnel": tunnel,
            "connect": {
                "ok": self.is_reached(),
                "rpcOk": self.reads,
                "scopeLimited": self.nameless,
                "latencyMs": self.latency_ms,
                "error": self.error,
                "close": close.map(|(code, reason)| json!({"code": code, "reason": reason})),
            },
            "auth": auth,
            "self": self.gateway,
            "config": config(&self.config),
            "health": self.health,
            "summary": self.summary,
            "presence": self.presence,
        })
    }

    fn text(&self) -> String {
        let head = format!("{} {}", self.target.label(), plain(&self.target.url));
        // A way that cannot be tried may lead nowhere.
        let mut out = format!("{}\n", head.trim_end());
        if let Some(tunnel) = self.target.tunnel() {
            out += &format!("  Through: {tunnel}\n");
        }
        out += &match (self.is_reached(), self.latency_ms) {
            (true, latency) => {
                let took = latency.map(|ms| format!(" ({ms}ms)")).unwrap_or_default();
                // Health is told to everybody who got in: that is no right to read.
                let read = match (self.capability, self.reads, self.nameless) {
                    (Capability::None, ..) | (_, false, true) => "limited",
                    (_, true, _) => "ok",
                    (_, false, false) => "failed",
                };
                format!(
                    "  Connect: ok{took} · Capability: {} · Read probe: {read}\n",
                    shown(self.capability)
                )
            }
            (false, _) => {
                let why = self.error.as_deref().unwrap_or("no reason given");
                let fix = self.fix.iter().flat_map(|fix| fix.lines());
                let fix = fix.map(|line| format!("  {}\n", plain(line)));
                format!(
                    "  Connect: failed · {}\n{}",
                    plain(why),
                    fix.collect::<String>()
                )
            }
        };
        out
    }
}

impl Report {
    /// Whether at least one gateway is there.
    pub fn reached(&self) -> bool {
        self.primary().is_some()
    }

    fn primary(&self) -> Option<&Probed> {
        self.probed.iter().find(|one| one.is_reached())
    }

    /// Of the first gateway that is there, else what the refusals let hope for.
    fn capability(&self) -> Capability {
        let pending = |one: &&Probed| one.capability == Capability::PairingPending;
        let best = self.primary().or_else(|| self.probed.iter().find(pending));
        best.map_or(Capability::Unknown, |one| one.capability)
    }

    /// The whole as one document.
    pub fn document(&self) -> Value {
        let url = |host: &str| GatewayUrl::new(host, self.port, self.tls).to_string();
        let tailnet = tailnet_address().filter(std::net::IpAddr::is_ipv4);
        let tailnet = tailnet.map(|address| address.to_string());
        let warnings: Vec<Value> = self
            .warnings
            .iter()
            .map(|it| json!({"code": it.code, "message": it.message, "targetIds": it.targets}))
            .collect();
        let beacons: Vec<Value> = self.scan.found.iter().map(beacon).collect();
        let targets: Vec<Value> = self.probed.iter().map(Probed::document).collect();
        json!({
            "ok": self.reached(),
            "degraded": self.probed.iter().any(|one| one.is_reached() && !one.reads),
            "capability": self.capability().as_str(),
            "ts": self.ts,
            "durationMs": self.took.as_millis(),
            "timeoutMs": self.timeout.as_millis(),
            "primaryTargetId": self.primary().map(|one| one.target.kind.id()),
            "warnings": warnings,
            "network": {
                "localLoopbackUrl": url("127.0.0.1"),
                "localTailnetUrl": tailnet.as_deref().map(url),
                "tailnetIPv4": tailnet,
            },
            "discovery": {"timeoutMs": self.patience.as_millis(), "count": beacons.len(), "beacons": beacons},
            "targets": targets,
        })
    }

    /// The whole for people.
    pub fn text(&self, style: &Style) -> String {
        let mut out = style.heading("Gateway Status");
        out += &format!(
            "Reachable: {}\nCapability: {}\nProbe budget: {}ms\n",
            if self.reached() { "yes" } else { "no" },
            shown(self.capability()),
            self.timeout.as_millis()
        );
        for warning in &self.warnings {
            out += &format!("Warning ({}): {}\n", warning.code, plain(&warning.message));
        }
        out += &format!("\n{}", style.heading("Discovery (this machine)"));
        out += &match self.domains.is_empty() {
            true => format!(
                "Off: OPENCLAW_DISABLE_BONJOUR={}, and no wide-area domain is enabled\n",
                plain(&self.silenced)
            ),
            false => format!(
                "Found {} gateway{} via Bonjour ({})\n",
                self.scan.found.len(),
                if self.scan.found.len() == 1 { "" } else { "s" },
                self.domains.join(", ")
            ),
        };
        for found in &self.scan.found {
            let way = match route(found) {
                Ok(url) => url.to_string(),
                Err(why) => why.to_string(),
            };
            out += &format!("- {} {}\n", plain(found.name()), plain(&way));
        }
        for line in self.scan.to_string().lines() {
            out += &format!("{}\n", plain(line));
        }
        out += &format!("\n{}", style.heading("Targets"));
        for one in &self.probed {
            out += &one.text();
        }
        if let Some(next) = &self.next {
            out += &format!("\nNext: {}\n", plain(next));
        }
        out
    }
}

fn shown(capability: Capability) -> String {
    capability.as_str().replace('_', "-")
}

/// What matters of a gateway's configuration, in the shape of cli.md §2.5; null when it did not tell.
fn config(answer: &Value) -> Value {
    if answer.is_null() {
        return Value::Null;
    }
    let parsed = answer.get("parsed").or(answer.get("config"));
    let at = |pointer: &str| {
        let found = parsed.and_then(|parsed| parsed.pointer(pointer));
        found.cloned().unwrap_or_default()
    };
    let set = |pointer: &str| !at(pointer).is_null();
    let part = |name: &str| answer.get(name).cloned().unwrap_or_default();
    json!({
        "path": part("path"), "exists": part("exists"), "valid": part("valid"),
        "issues": answer.get("issues").cloned().unwrap_or_else(|| json!([])),
        "gateway": {
            "mode": at("/gateway/mode"), "bind": at("/gateway/bind"), "port": at("/gateway/port"),
            "authMode": at("/gateway/auth/mode"),
            "authTokenConfigured": set("/gateway/auth/token"),
            "authPasswordConfigured": set("/gateway/auth/password"),
            "remoteUrl": at("/gateway/remote/url"),
        },
        "discovery": {"wideAreaEnabled": at("/discovery/wideArea/enabled")},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::gateway_probe::targets::targets;
    use crate::cli::testing::invocation;
    use crate::config::testing::Home;

    fn local() -> Probed {
        let home = Home::new("{}");
        let invocation = invocation(&home, &["gateway", "probe"]).unwrap();
        let targets = targets(&invocation, &home.paths, &home.load().unwrap(), &[]);
        Probed::untried(targets.unwrap().remove(0))
    }

    #[test]
    fn a_session_without_scopes_reads_nothing_and_a_failure_carries_its_fix() {
        let mut one = Probed {
            connected: true,
            reads: true,
            capability: Capability::Read,
            ..local()
        };
        assert!(one.text().ends_with("Read probe: ok\n"), "{}", one.text());
        one.capability = Capability::None;
        assert!(
            one.text().ends_with("Read probe: limited\n"),
            "{}",
            one.text()
        );
        let failed = Probed {
            error: Some("untrusted".to_owned()),
            fix: Some("Compare it.\nThen pin it.".to_owned()),
            ..local()
        };
        let text = failed.text();
        assert!(
            text.ends_with("failed · untrusted\n  Compare it.\n  Then pin it.\n"),
            "{text}"
        );
    }
}
