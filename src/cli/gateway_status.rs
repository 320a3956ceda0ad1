//! `gateway status`: configuration, address, port and connection of the gateway on one page. Works with a broken
//! configuration and without a gateway.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cli::answer::{Answer, FAILURE, SUCCESS};
use crate::cli::error::{CliError, Failed};
use crate::cli::gateway_tls::TlsPart;
use crate::cli::invocation::Invocation;
use crate::cli::pairing::sentence;
use crate::cli::probe::{Finding, probe};
use crate::cli::reach::endpoint;
use crate::cli::secret_print::fingerprint;
use crate::cli::service::Seen;
use crate::cli::service::audit::{self, audit};
use crate::client::credentials::Credential;
use crate::client::{Budget, Endpoint, Purpose};
use crate::config::error::{ConfigError, Issue};
use crate::config::word::{Bind, GatewayMode, Word};
use crate::config::{Loaded, Paths};
use crate::discovery::found::printable;
use crate::gateway::port_owner::{Owner, elsewhere, is_busy, owners};
use crate::pairing::switch::Switch;
use crate::pairing::{Part, State};
use crate::service::Kind;
use crate::store::lock::state_owner;
use crate::store::log_file::LogPlace;
use crate::store::pairing_files::look_at;
use crate::store::{Clock, StateDir, SystemClock};

/// Everything that is shown.
struct Report {
    paths: Paths,
    exists: bool,
    issues: Vec<Issue>,
    /// Absent with an unusable configuration.
    gateway: Option<GatewayPart>,
    port: u16,
    busy: bool,
    /// Who listens on the port, as far as this user may see it.
    listeners: Vec<Owner>,
    /// Where the gateway of this configuration logs.
    log_file: Option<PathBuf>,
    /// Process that holds the state directory.
    holder: Option<u32>,
    /// Absent with `--no-probe`.
    rpc: Option<Rpc>,
    service: Seen,
    /// Where the service and the configuration disagree.
    audit: Vec<audit::Finding>,
    /// Look for other services too.
    deep: bool,
}

struct GatewayPart {
    bind: Bind,
    bind_host: Option<String>,
    target: Result<Endpoint, String>,
    /// How the pairing switch of this machine's gateway stands, where it can be read.
    pairing: Option<Value>,
    tls: TlsPart,
}

struct Rpc {
    read: bool,
    url: Option<String>,
    failure: Option<String>,
    capability: &'static str,
    auth: Value,
    /// How the gateway lets itself be found, as it says.
    discovery: Value,
}

/// Shows the page. Exit code 0 unless `--require-rpc` and the read request fails.
///
/// # Errors
/// `--require-rpc` together with `--no-probe`; places that cannot be found.
pub fn status(invocation: &Invocation) -> Result<Answer, CliError> {
    let (probing, required) = (!invocation.has("no-probe"), invocation.has("require-rpc"));
    if required && !probing {
        return Err(Failed::new("USAGE", "--require-rpc cannot be used with --no-probe.").into());
    }
    let paths = invocation.paths()?;
    let report = gather(invocation, paths, probing, required)?;
    let failed = required && report.rpc.as_ref().is_none_or(|rpc| rpc.failure.is_some());
    let exit = if failed { FAILURE } else { SUCCESS };
    Ok(Answer::new(report.document(), report.text()).exit(exit))
}

fn gather(
    invocation: &Invocation,
    paths: Paths,
    probing: bool,
    read: bool,
) -> Result<Report, CliError> {
    let loaded = invocation.load(&paths);
    let (loaded, issues) = match loaded {
        Ok(loaded) => (Some(loaded), Vec::new()),
        Err(CliError::Config(ConfigError::Invalid { issues, .. })) => (None, issues),
        Err(error) => (None, vec![Issue::root(error.to_string())]),
    };
    let environment_port = invocation.environment().gateway_port().ok().flatten();
    let port = match &loaded {
        Some(loaded) => loaded.config.gateway.port,
        None => environment_port.unwrap_or(paths.default_port),
    };
    let gateway = loaded
        .as_ref()
        .map(|loaded| gateway_part(invocation, &paths, loaded));
    let rpc = match (&loaded, &gateway) {
        (Some(loaded), Some(part)) if probing => Some(ask(invocation, &paths, loaded, part, read)),
        _ if probing => Some(Rpc::failed(
            read,
            None,
            "the configuration is invalid".to_owned(),
        )),
        _ => None,
    };
    let service = Seen::look(invocation, Kind::Gateway)?;
    Ok(Report {
        audit: audit(&service, loaded.as_ref().map(|loaded| &loaded.config)),
        deep: invocation.has("deep"),
        service,
        exists: paths.config_file.exists(),
        issues,
        gateway,
        port,
        busy: is_busy(port),
        listeners: owners(port),
        holder: holder(&paths),
        log_file: log_file(&paths, loaded.as_ref()),
        rpc,
        paths,
    })
}

fn gateway_part(invocation: &Invocation, paths: &Paths, loaded: &Loaded) -> GatewayPart {
    let gateway = &loaded.config.gateway;
    let bind_host = match gateway.bind {
        Bind::Loopback | Bind::Auto => Some("127.0.0.1".to_owned()),
        Bind::Lan => Some("0.0.0.0".to_owned()),
        Bind::Custom => gateway.custom_bind_host.clone(),
        Bind::Tailnet => None,
    };
    let target =
        endpoint(invocation, paths, loaded, Purpose::Probe).map_err(|error| error.to_string());
    GatewayPart {
        bind: gateway.bind,
        bind_host,
        target,
        pairing: pairing_here(paths, loaded),
        tls: TlsPart::look(paths, loaded),
    }
}

/// `Discovery: …`, where the gateway says how it is. `here_only`: it listens on loopback, whatever it tells the network.
fn discovery_line(discovery: &Value, here_only: bool) -> Option<String> {
    let text = |name: &str| discovery.get(name).and_then(Value::as_str);
    let state = text("state")?;
    let how = match (text("instance"), text("mode"), text("reason")) {
        (Some(instance), Some(mode), _) => {
            format!(" as \"{}\" ({mode})", printable(instance.as_bytes()))
        }
        (_, _, Some(reason)) => format!(" ({})", printable(reason.as_bytes())),
        _ => String::new(),
    };
    let limit = match here_only && state == "advertising" {
        true => {
            "; it listens on loopback only: others reach it with --ssh user@host, or set gateway.bind lan"
        }
        false => "",
    };
    let state = printable(state.as_bytes());
    Some(format!("Discovery: {state}{how}{limit}\n"))
}

/// `Wide area: …`, where the gateway keeps a zone.
fn wide_area_line(discovery: &Value) -> Option<String> {
    let wide_area = discovery.get("wideArea")?;
    let text = |name: &str| wide_area.get(name).and_then(Value::as_str);
    let state = printable(text("state")?.as_bytes());
    let more = text("domain")
        .or(text("reason"))
        .map(|more| printable(more.as_bytes()));
    let more = more.map(|more| format!(" ({more})")).unwrap_or_default();
    Some(format!("Wide area: {state}{more}\n"))
}

/// Read from the files, so that it is told without a gateway and without any scope too.
fn pairing_here(paths: &Paths, loaded: &Loaded) -> Option<Value> {
    let gateway = &loaded.config.gateway;
    if gateway.mode == Some(GatewayMode::Remote) {
        return None;
    }
    let state = match paths.state_dir.is_dir() {
        true => look_at(&StateDir::open(&paths.state_dir).ok()?, Part::Switch).ok()?,
        false => State::default(),
    };
    let switch = Switch::of(&state, gateway.nodes.pairing_enabled);
    Some(json!(switch.standing(SystemClock.now_ms())))
}

fn ask(
    invocation: &Invocation,
    paths: &Paths,
    loaded: &Loaded,
    part: &GatewayPart,
    read: bool,
) -> Rpc {
    let endpoint = match &part.target {
        Ok(endpoint) => endpoint,
        Err(why) => return Rpc::failed(read, None, why.clone()),
    };
    let total = Duration::from_millis(invocation.milliseconds("timeout"));
    let opt_in = invocation.environment().allow_insecure_private_ws();
    let mut finding = probe(endpoint, paths, loaded, opt_in, &Budget::new(total));
    let failure = match read {
        true => finding.ask("status", total).err(),
        false => unreachable_because(&finding),
    };
    Rpc {
        read,
        discovery: finding.discovery(),
        url: Some(endpoint.url.to_string()),
        failure,
        capability: finding.capability.as_str(),
        auth: finding.auth.take(),
    }
}

/// A gateway that wants to know a device first was reached all the same.
fn unreachable_because(finding: &Finding) -> Option<String> {
    let nameless =
        finding.error.as_ref().and_then(CliError::detail_code) == Some("DEVICE_IDENTITY_REQUIRED");
    finding.message().filter(|_| !nameless)
}

/// The fingerprint of the token that would be used, where it may be told.
fn token_print(endpoint: &Endpoint) -> Option<String> {
    fingerprint(&endpoint.credentials.token.as_ref()?.value)
}

fn log_file(paths: &Paths, loaded: Option<&Loaded>) -> Option<PathBuf> {
    let configured = loaded.and_then(|loaded| loaded.config.logging.file.as_deref());
    let place = LogPlace::find(configured, &paths.temp_dir)?;
    Some(place.file(SystemClock.now_ms()))
}

fn holder(paths: &Paths) -> Option<u32> {
    if !paths.state_dir.is_dir() {
        return None;
    }
    let dir = StateDir::open(&paths.state_dir).ok()?;
    state_owner(&dir)
}

impl GatewayPart {
    /// Whether the gateway of this configuration is the one that answers.
    fn is_own(&self) -> bool {
        self.target.as_ref().is_ok_and(Endpoint::is_local)
    }
}

impl Rpc {
    fn failed(read: bool, url: Option<String>, why: String) -> Rpc {
        let capability = "unknown";
        Rpc {
            read,
            url,
            failure: Some(why),
            capability,
            auth: Value::Null,
            discovery: Value::Null,
        }
    }

    fn document(&self) -> Value {
        let kind = if self.read { "read" } else { "connect" };
        let mut rpc = Map::new();
        rpc.insert("ok".to_owned(), json!(self.failure.is_none()));
        rpc.insert("kind".to_owned(), json!(kind));
        match &self.failure {
            Some(why) => rpc.insert("error".to_owned(), json!(why)),
            None => rpc.insert("auth".to_owned(), self.auth.clone()),
        };
        rpc.insert("capability".to_owned(), json!(self.capability));
        rpc.insert("url".to_owned(), json!(self.url));
        Value::Object(rpc)
    }
}

impl Report {
    fn document(&self) -> Value {
        let issues: Vec<Value> = self
            .issues
            .iter()
            .map(|issue| json!({"path": issue.path, "message": issue.message}))
            .collect();
        let cli = json!({"path": self.paths.config_file, "exists": self.exists,
            "valid": self.issues.is_empty(), "issues": issues});
        let mut service = self.service.document();
        service["configAudit"] = audit::document(&self.audit);
        let mut config = json!({"cli": cli});
        if let Some(daemon) = audit::daemon_config(&self.service) {
            config["daemon"] = daemon;
        }
        let others = if self.deep {
            self.service.others()
        } else {
            Vec::new()
        };
        let mut document = json!({"logFile": self.log_file, "service": service, "config": config, "gateway": self.gateway_document(),
            "port": self.port_document(), "extraServices": others});
        if let Some(rpc) = &self.rpc {
            document["rpc"] = rpc.document();
        }
        document
    }

    fn gateway_document(&self) -> Value {
        let endpoint = self.endpoint();
        let shown =
            |credential: Option<&Credential>| credential.map(|found| found.source.to_string());
        json!({
            "bindMode": self.gateway.as_ref().map(|gateway| gateway.bind.as_str()),
            "bindHost": self.gateway.as_ref().and_then(|gateway| gateway.bind_host.clone()),
            "port": self.port,
            "portSource": "env/config",
            "pairing": self.gateway.as_ref().and_then(|gateway| gateway.pairing.clone()),
            "tls": self.gateway.as_ref().map(|gateway| gateway.tls.document()),
            "discovery": self.rpc.as_ref().map(|rpc| &rpc.discovery),
            "probeUrl": endpoint.map(|endpoint| endpoint.url.to_string()),
            "probeNote": endpoint.map(|endpoint| format!("{}", endpoint.source)),
            "credentials": {
                "token": endpoint.and_then(|endpoint| shown(endpoint.credentials.token.as_ref())),
                "tokenFingerprint": endpoint.and_then(token_print),
                "password": endpoint.and_then(|endpoint| shown(endpoint.credentials.password.as_ref())),
            },
        })
    }

    fn port_document(&self) -> Value {
        let status = if self.busy { "busy" } else { "free" };
        let listener = |owner: &Owner| json!({"pid": owner.pid, "command": owner.program, "address": owner.address, "user": owner.user});
        let listeners: Vec<Value> = self.listeners.iter().map(listener).collect();
        json!({"port": self.port, "status": status, "listeners": listeners, "hints": self.hints()})
    }

    /// What a person may have overlooked.
    fn hints(&self) -> Vec<String> {
        let busy = self.busy.then_some(self.port);
        let hint = self.holder.and_then(|pid| elsewhere(pid, busy));
        hint.into_iter().collect()
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        self.gateway.as_ref()?.target.as_ref().ok()
    }

    fn text(&self) -> String {
        let mut out = self.service.heading() + &self.service.unit_lines();
        if let Some(file) = &self.log_file {
            out += &format!("File logs: {}\n", self.paths.shorten(file));
        }
        out += &self.config_text();
        out += &self.service_config_text();
        for finding in &self.audit {
            out += &format!("Service: {}\n", finding.message);
        }
        if let Some(gateway) = &self.gateway {
            let host = gateway
                .bind_host
                .as_ref()
                .map(|host| format!(" ({host})"))
                .unwrap_or_default();
            out += &format!(
                "Gateway: bind={}{host}, port={} (env/config)\n",
                gateway.bind, self.port
            );
            if let Some(standing) = &gateway.pairing {
                out += &format!("{}\n", sentence(standing, SystemClock.now_ms()));
            }
            out += &gateway.tls.text();
        }
        if let Some(endpoint) = self.endpoint() {
            out += &format!(
                "Probe target: {}\nProbe note: {}\n",
                endpoint.name(),
                endpoint.source
            );
            let secrets = [
                ("Token", &endpoint.credentials.token),
                ("Password", &endpoint.credentials.password),
            ];
            for (name, credential) in secrets {
                if let Some(found) = credential {
                    let print = token_print(endpoint).filter(|_| name == "Token");
                    let print = print.map(|print| format!(" ({print})")).unwrap_or_default();
                    out += &format!("{name}: from {}{print}\n", found.source);
                }
            }
        }
        out += &self.service.runtime_line();
        if let Some(rpc) = &self.rpc {
            match &rpc.failure {
                None => out += "Connectivity probe: ok\n",
                Some(why) => {
                    out += &format!(
                        "Connectivity probe: failed\n  {}\n",
                        why.replace('\n', "\n  ")
                    )
                }
            }
            out += &format!("Capability: {}\n", rpc.capability.replace('_', "-"));
            let bind = self.gateway.as_ref().filter(|part| part.is_own());
            let here_only =
                bind.is_some_and(|part| matches!(part.bind, Bind::Auto | Bind::Loopback));
            out += &discovery_line(&rpc.discovery, here_only).unwrap_or_default();
            out += &wide_area_line(&rpc.discovery).unwrap_or_default();
        }
        if !self.busy {
            out += &format!("Nothing listens on port {}\n", self.port);
        }
        for owner in &self.listeners {
            out += &format!(
                "Listening: {} (pid {}, {})\n",
                owner.address, owner.pid, owner.program
            );
        }
        if self.busy && self.listeners.is_empty() {
            out += &format!("Listening: 127.0.0.1:{}\n", self.port);
        }
        for hint in self.hints() {
            out += &format!("{hint}\n");
        }
        if self.service.place().is_offered() && !self.busy {
            out += &self.service.start_lines();
        }
        out
    }

    /// The configuration of the service, where it is another one than that of commands.
    fn service_config_text(&self) -> String {
        let file = |(_, paths): (_, Paths)| paths.config_file;
        let file = self.service.place().served().map(file);
        let Some(file) = file.filter(|file| *file != self.paths.config_file) else {
            return String::new();
        };
        let account = self.service.other_account();
        let account = account.map(|name| format!(" (of the account {name})"));
        let file = self.paths.shorten(&file);
        format!("Config (service): {file}{}\n", account.unwrap_or_default())
    }

    fn config_text(&self) -> String {
        let state = match (self.exists, self.issues.is_empty()) {
            (false, true) => " (missing)",
            (_, false) => " (invalid)",
            (true, true) => "",
        };
        let mut out = format!(
            "Config (cli): {}{state}\n",
            self.paths.shorten(&self.paths.config_file)
        );
        for issue in &self.issues {
            out += &format!("  - {issue}\n");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_advertises_what_only_this_machine_reaches_says_so() {
        let advertising = json!({"state": "advertising", "instance": "Pi", "mode": "minimal"});
        let line = |discovery: &Value, here_only| discovery_line(discovery, here_only).unwrap();
        let said = line(&advertising, true);
        assert!(
            said.starts_with(
                "Discovery: advertising as \"Pi\" (minimal); it listens on loopback only"
            ),
            "{said}"
        );
        assert_eq!(
            line(&advertising, false),
            "Discovery: advertising as \"Pi\" (minimal)\n"
        );
        assert_eq!(line(&json!({"state": "off"}), true), "Discovery: off\n");
    }
}
