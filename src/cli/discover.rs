//! `gateway discover`: the gateways that the networks around this machine tell of. No gateway is connected to.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cli::answer::Answer;
use crate::cli::error::{CliError, Failed};
use crate::cli::invocation::Invocation;
use crate::cli::output::text::plain;
use crate::discovery::Found;
use crate::discovery::browse::{domains, scan};
use crate::discovery::selection::route;

/// The keys of a beacon in the spelling of the seed; keys of TXT records have no case of their own.
const KEYS: [&str; 11] = [
    "role",
    "transport",
    "displayName",
    "lanHost",
    "gatewayPort",
    "gatewayTls",
    "gatewayTlsSha256",
    "canvasPort",
    "tailnetDns",
    "sshPort",
    "cliPath",
];

/// Ways on where nothing was found.
const NOTHING: &str = "Another network, or a container without the host's network, hears nothing: look longer (--timeout <ms>), \
     name the gateway (openclaw node join --url <ws-url>), or log in on its host (--ssh user@host).\n";

/// Looks around for `--timeout`.
///
/// # Errors
/// There is no domain to browse, or none could be browsed.
pub fn discover(invocation: &Invocation) -> Result<Answer, CliError> {
    let paths = invocation.paths()?;
    let loaded = invocation.load(&paths)?;
    let timeout = invocation.milliseconds("timeout");
    let domains = domains(&loaded);
    let names: Vec<String> = domains.iter().map(|(name, _)| name.clone()).collect();
    if names.is_empty() {
        let mut failed = Failed::new(
            "UNAVAILABLE",
            format!(
                "nothing to browse: OPENCLAW_DISABLE_BONJOUR={} turns local. off, and no wide-area domain is enabled",
                plain(loaded.environment.bonjour_setting().unwrap_or_default())
            ),
        );
        failed.hint = Some(
            "Unset OPENCLAW_DISABLE_BONJOUR, or set discovery.wideArea.enabled and discovery.wideArea.domain."
                .to_owned(),
        );
        return Err(failed.into());
    }
    let scan = scan(domains, Duration::from_millis(timeout));
    if scan.faults.len() == names.len() && scan.found.is_empty() {
        let text = plain(&scan.to_string().replace('\n', "; "));
        return Err(CliError::failed("UNAVAILABLE", text));
    }
    let beacons: Vec<Value> = scan.found.iter().map(beacon).collect();
    let document =
        json!({"timeoutMs": timeout, "domains": names, "count": beacons.len(), "beacons": beacons});
    let mut text = invocation.style().heading("Gateway Discovery");
    text += &format!(
        "Found {} gateway(s) · domains: {}\n",
        scan.found.len(),
        names.join(", ")
    );
    if scan.found.is_empty() {
        text += NOTHING;
    }
    for found in &scan.found {
        text += &format!("\n{}", block(found));
    }
    let mut answer = Answer::new(document, text);
    for line in scan.to_string().lines() {
        answer = answer.note(format!("warning: {line}"));
    }
    Ok(answer)
}

/// One found gateway for machines. Everything but `host`, `port` and `wsUrl` is a hint that nobody proved; `wsUrl`
/// is `null` where no connection would be made.
pub fn beacon(found: &Found) -> Value {
    let hint = |key: &str| found.hint(key).map(Value::from);
    let number = |key: &str| {
        let port: u16 = found.hint(key)?.parse().ok()?;
        Some(Value::from(port))
    };
    let tls = found.hint("gatewayTls").map(|_| found.says_tls().into());
    let txt: Map<String, Value> = found
        .txt
        .iter()
        .map(|(key, value)| (spelled(key).to_owned(), json!(value)))
        .collect();
    let url = route(found).ok().map(|url| url.to_string());
    let members = [
        ("instanceName", Some(json!(found.instance))),
        ("displayName", hint("displayName")),
        ("domain", Some(json!(found.domain))),
        ("host", Some(json!(found.host))),
        ("port", Some(json!(found.port))),
        ("lanHost", hint("lanHost")),
        ("tailnetDns", hint("tailnetDns")),
        ("gatewayPort", number("gatewayPort")),
        ("sshPort", number("sshPort")),
        ("gatewayTls", tls),
        ("gatewayTlsFingerprintSha256", hint("gatewayTlsSha256")),
        ("cliPath", hint("cliPath")),
        ("role", hint("role")),
        ("transport", hint("transport")),
        ("txt", Some(Value::Object(txt))),
        ("wsUrl", Some(json!(url))),
    ];
    let known = members.into_iter();
    known
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect::<Map<String, Value>>()
        .into()
}

fn spelled(key: &str) -> &str {
    let known = KEYS.iter().find(|known| known.eq_ignore_ascii_case(key));
    known.copied().unwrap_or(key)
}

/// One found gateway for people: where a connection would go, then what it says about itself.
fn block(found: &Found) -> String {
    let mut out = format!("{} ({})\n", plain(found.name()), plain(&found.domain));
    let mut line = |name: &str, value: &str| out += &format!("  {name}: {}\n", plain(value));
    line("Host", &format!("{}:{}", found.host, found.port));
    match route(found) {
        Ok(url) => line("URL", &url.to_string()),
        Err(why) => line("No connection", &why.to_string()),
    }
    for (name, key) in [
        ("TLS fingerprint (unproven)", "gatewayTlsSha256"),
        ("Tailnet", "tailnetDns"),
        ("SSH port", "sshPort"),
        ("Program", "cliPath"),
    ] {
        let said = |value: &&str| key != "sshPort" || value.parse::<u16>().is_ok();
        if let Some(value) = found.hint(key).filter(said) {
            line(name, value);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(addresses: &[&str], txt: &[(&str, &str)]) -> Found {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        let txt = txt.iter().map(|(key, value)| (*key, value.as_bytes()));
        Found::new(
            b"Pi (OpenClaw)",
            "local.",
            "pi.local.",
            18_789,
            addresses,
            txt,
        )
    }

    #[test]
    fn a_beacon_has_the_members_that_are_known_in_their_order() {
        let full = found(
            &["192.168.1.7:18789"],
            &[
                ("role", "gateway"),
                ("transport", "gateway"),
                ("DISPLAYNAME", "Kitchen Pi"),
                ("lanHost", "pi.local"),
                ("gatewayPort", "18789"),
                ("gatewayTls", "1"),
                ("gatewayTlsSha256", "ab"),
                ("tailnetDns", "pi.t.ts.net"),
                ("sshPort", "2222"),
                ("cliPath", "/usr/bin/openclaw"),
                ("other", "x"),
            ],
        );
        let document = beacon(&full);
        let names: Vec<&String> = document.as_object().unwrap().keys().collect();
        assert_eq!(
            names,
            [
                "instanceName",
                "displayName",
                "domain",
                "host",
                "port",
                "lanHost",
                "tailnetDns",
                "gatewayPort",
                "sshPort",
                "gatewayTls",
                "gatewayTlsFingerprintSha256",
                "cliPath",
                "role",
                "transport",
                "txt",
                "wsUrl"
            ]
        );
        assert_eq!(document["wsUrl"], "wss://192.168.1.7:18789");
        assert_eq!(
            (&document["sshPort"], &document["gatewayTls"]),
            (&json!(2222), &json!(true))
        );
        assert_eq!(document["txt"]["displayName"], "Kitchen Pi");
        assert_eq!(document["txt"]["other"], "x");
        let text = block(&full);
        assert!(
            text.starts_with(
                "Kitchen Pi (local.)\n  Host: pi.local:18789\n  URL: wss://192.168.1.7:18789\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn what_is_not_said_or_makes_no_sense_is_left_out_and_plaintext_beyond_the_lan_is_no_url() {
        let bare = found(&["100.64.0.7:18789"], &[("sshPort", "many")]);
        assert_eq!(
            beacon(&bare),
            json!({"instanceName": "Pi (OpenClaw)", "domain": "local.", "host": "pi.local", "port": 18789,
                "txt": {"sshPort": "many"}, "wsUrl": null})
        );
        let text = block(&bare);
        assert!(text.contains("  No connection: it speaks plaintext ws:// at 100.64.0.7"));
        assert!(!text.contains("SSH port"), "{text}");
    }
}
