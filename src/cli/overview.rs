//! `status`: the whole system at a glance. Never fails because the gateway is down.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::output::Style;
use crate::cli::output::grid::{fixed, flexible, grid};
use crate::cli::probe::{Finding, probe};
use crate::cli::reach::endpoint;
use crate::cli::row;
use crate::cli::service::Seen;
use crate::client::identity::platform;
use crate::client::{Budget, Endpoint, Purpose};
use crate::config::Loaded;
use crate::config::word::{GatewayMode, Word};
use crate::service::Kind;

/// What is counted for the page; absent where the gateway does not tell.
#[derive(Debug, Default)]
struct Counts {
    nodes: Option<Value>,
    devices: Option<Value>,
}

/// Shows the page.
///
/// # Errors
/// An invalid configuration, or places that cannot be found.
pub fn status(invocation: &Invocation) -> Result<Answer, CliError> {
    let paths = invocation.paths()?;
    let loaded = invocation.load(&paths)?;
    let total = Duration::from_millis(invocation.milliseconds("timeout"));
    let opt_in = invocation.environment().allow_insecure_private_ws();
    let target = endpoint(invocation, &paths, &loaded, Purpose::Probe);
    let (gateway, counts) = match &target {
        Ok(endpoint) => {
            let mut finding = probe(endpoint, &paths, &loaded, opt_in, &Budget::new(total));
            let counts = count(&mut finding, total);
            (gateway(&loaded, Some(endpoint), &finding), counts)
        }
        Err(error) => (unresolved(&loaded, error), Counts::default()),
    };
    let system = system();
    let services = [Kind::Gateway, Kind::Node].map(|kind| Seen::look(invocation, kind));
    let [gateway_service, node_service] = services;
    let (gateway_service, node_service) = (gateway_service?, node_service?);
    let document = json!({
        "runtimeVersion": env!("CARGO_PKG_VERSION"),
        "os": system,
        "gateway": gateway,
        "gatewayService": gateway_service.summary(),
        "nodeService": node_service.summary(),
        "nodes": counts.nodes,
        "devices": counts.devices,
        "sessions": {"count": 0, "recent": []},
        "channelSummary": [],
    });
    let services = [gateway_service.line(), node_service.line()];
    let text = text(&document, services, invocation.style());
    Ok(Answer::new(document, text))
}

fn gateway(loaded: &Loaded, endpoint: Option<&Endpoint>, finding: &Finding) -> Value {
    json!({
        "mode": mode(loaded),
        "url": endpoint.map(|endpoint| endpoint.url.to_string()),
        "urlSource": endpoint.map(|endpoint| endpoint.source.to_string()),
        "misconfigured": false,
        "reachable": finding.reachable,
        "connectLatencyMs": finding.session.as_ref().map(|_| finding.latency_ms),
        "self": finding.gateway_itself(),
        "error": finding.message(),
        "authWarning": null,
    })
}

fn unresolved(loaded: &Loaded, error: &CliError) -> Value {
    json!({
        "mode": mode(loaded),
        "url": null,
        "urlSource": "missing gateway.remote.url (fallback local)",
        "misconfigured": true,
        "reachable": false,
        "connectLatencyMs": null,
        "self": null,
        "error": error.to_string(),
        "authWarning": null,
    })
}

fn mode(loaded: &Loaded) -> &'static str {
    loaded
        .config
        .gateway
        .mode
        .unwrap_or(GatewayMode::Local)
        .as_str()
}

/// Asks for the lists; what the session may not see stays absent.
fn count(finding: &mut Finding, budget: Duration) -> Counts {
    let listed = finding.ask("node.list", budget).ok();
    let requests = finding.ask("node.pair.list", budget).ok();
    let devices = finding.ask("device.pair.list", budget).ok();
    let size = |document: &Value, name: &str| row::rows(document, name).len();
    Counts {
        nodes: listed.map(|listed| {
            let with = |name: &str| row::rows(&listed, "nodes").iter().filter(|node| row::flag(node, name)).count();
            json!({"known": size(&listed, "nodes"), "paired": with("paired"), "connected": with("connected"),
                "pending": requests.as_ref().map(|requests| size(requests, "pending"))})
        }),
        devices: devices.map(|devices| {
            json!({"paired": size(&devices, "paired"), "pending": size(&devices, "pending")})
        }),
    }
}

/// The machine this runs on.
fn system() -> Value {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let arch = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let label = format!("{} {release} ({arch})", platform());
    json!({"platform": platform(), "arch": arch, "release": release, "label": label})
}

fn text(document: &Value, services: [String; 2], style: &Style) -> String {
    let gateway = &document["gateway"];
    let url = row::text(gateway, "url").unwrap_or("no target");
    let reached = match (
        row::flag(gateway, "reachable"),
        row::number(gateway, "connectLatencyMs"),
    ) {
        (true, Some(latency)) => format!("reachable ({latency}ms)"),
        (true, None) => "reachable, but refused".to_owned(),
        (false, _) => "not reachable".to_owned(),
    };
    let why = row::text(gateway, "error")
        .map(|why| format!(" · {why}"))
        .unwrap_or_default();
    let own = &gateway["self"];
    let parts: Vec<&str> = ["host", "version", "platform"]
        .iter()
        .filter_map(|name| row::text(own, name))
        .collect();
    let [gateway_service, node_service] = services;
    let rows = [
        ("OS", row::text(&document["os"], "label").map(str::to_owned)),
        (
            "Gateway",
            Some(format!(
                "{} · {url} · {reached}{why}",
                row::cell(gateway, "mode")
            )),
        ),
        (
            "Gateway self",
            (!parts.is_empty()).then(|| parts.join(" · ")),
        ),
        ("Gateway service", Some(gateway_service)),
        ("Node service", Some(node_service)),
        (
            "Nodes",
            counted(
                &document["nodes"],
                &["known", "paired", "connected", "pending"],
            ),
        ),
        (
            "Devices",
            counted(&document["devices"], &["paired", "pending"]),
        ),
    ];
    let rows = rows
        .into_iter()
        .filter_map(|(name, value)| Some(vec![name.to_owned(), value?]));
    let columns = [fixed("Item"), flexible("Value")];
    style.heading("OpenClaw status") + &grid(&columns, &rows.collect::<Vec<_>>(), style.width)
}

/// `2 known · 1 connected`.
fn counted(counts: &Value, names: &[&str]) -> Option<String> {
    let shown: Vec<String> = names
        .iter()
        .filter_map(|name| Some(format!("{} {name}", row::number(counts, name)?)))
        .collect();
    (!shown.is_empty()).then(|| shown.join(" · "))
}
