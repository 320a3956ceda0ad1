//! The node host of this machine: its settings, the gateway it belongs to, what it may run.

use crate::cli::doctor::check::Check;
use crate::cli::doctor::scene::Scene;
use crate::cli::output::text::counted;
use crate::cli::service::Seen;
use crate::client::{Budget, ClientError, UrlSource, plaintext};
use crate::config::paths::DEFAULT_GATEWAY_PORT;
use crate::exec::ApprovalsFile;
use crate::identity::Fingerprint;
use crate::net::{NetError, Trust, dial, trust};
use crate::store::{NodeFile, NodeGateway};

/// The part of the whole time that the node's gateway has, in tenths.
const SHARE_TENTHS: u32 = 6;

/// The variable that permits plaintext to private addresses.
const OPT_IN: &str = "OPENCLAW_ALLOW_INSECURE_PRIVATE_WS";

/// `node.settings`, `node.gateway`, `node.approvals`.
pub fn checks(scene: &Scene) -> Vec<Check> {
    const ID: &str = "node.settings";
    if !scene.has_node_host() {
        return vec![Check::skipped(ID, "this machine is no node host")];
    }
    let Some(directory) = scene.directory() else {
        return vec![Check::skipped(ID, "there is no state directory yet")];
    };
    let file = match NodeFile::load(&directory) {
        Ok(file) => file,
        Err(fault) => return vec![Check::fail(ID, fault.to_string(), "openclaw node join")],
    };
    let policy = ApprovalsFile::new(directory.root(), None).look();
    let rules = policy.document.map(|document| {
        let lists = document
            .agents
            .0
            .iter()
            .map(|(_, agent)| agent.allowlist.len());
        lists.sum::<usize>() as u64
    });
    let mut checks = vec![settings(file.gateway.as_ref())];
    if let Some(gateway) = &file.gateway {
        let pin = gateway.tls_fingerprint.as_deref();
        if pin.is_none_or(|pin| Fingerprint::parse(pin).is_some()) {
            let budget = Budget::new(scene.budget * SHARE_TENTHS / 10);
            checks.push(match plaintext_rule(gateway, scene, &budget) {
                Ok(()) => reached(gateway, knock(gateway, &budget)),
                Err(why) => in_plaintext(gateway, &why),
            });
        }
    }
    checks.push(approvals(rules));
    checks
}

fn settings(gateway: Option<&NodeGateway>) -> Check {
    const ID: &str = "node.settings";
    const JOIN: &str = "openclaw node join --force";
    let Some(gateway) = gateway else {
        return Check::fail(ID, "node.json names no gateway", JOIN);
    };
    let at = address(gateway);
    match gateway.tls_fingerprint.as_deref() {
        Some(pin) if Fingerprint::parse(pin).is_none() => Check::fail(
            ID,
            format!("the pin for {at} in node.json is no SHA-256 fingerprint"),
            JOIN,
        ),
        Some(_) => Check::ok(
            ID,
            format!("the node belongs to {at} and pins its certificate"),
        ),
        None if gateway.tls => Check::ok(
            ID,
            format!("the node belongs to {at}, whose certificate an authority vouches for"),
        ),
        None => Check::ok(ID, format!("the node belongs to {at}")),
    }
}

fn address(gateway: &NodeGateway) -> String {
    let scheme = if gateway.tls { "wss" } else { "ws" };
    let (host, port) = place(gateway);
    format!("{scheme}://{host}:{port}")
}

/// Host and port that the node connects to, where node.json leaves them out too.
fn place(gateway: &NodeGateway) -> (&str, u16) {
    let host = gateway.host.as_deref().unwrap_or("127.0.0.1");
    (host, gateway.port.unwrap_or(DEFAULT_GATEWAY_PORT))
}

/// Why the node host refuses to speak to this gateway at all. What its service is given counts as what stands in the
/// environment.
fn plaintext_rule(gateway: &NodeGateway, scene: &Scene, budget: &Budget) -> Result<(), String> {
    if gateway.tls {
        return Ok(());
    }
    let service = scene.node_service.as_ref().ok().cloned().map(Seen::at);
    let opted_in = scene.environment.allow_insecure_private_ws()
        || service.is_some_and(|seen| seen.variable(OPT_IN) == Some("1"));
    let url = crate::node::settings::url(gateway);
    match plaintext::addresses(&url, UrlSource::NodeHost, opted_in, budget) {
        Err(ClientError::Plaintext { why, .. }) => Err(why),
        // That it cannot be reached is told below.
        _ => Ok(()),
    }
}

/// Connects as far as the certificate, and says nothing.
fn knock(gateway: &NodeGateway, budget: &Budget) -> Result<(), NetError> {
    let (host, port) = place(gateway);
    let deadline = budget.deadline();
    let stream = dial::connect(host, port, deadline)?;
    let pin = gateway
        .tls_fingerprint
        .as_deref()
        .and_then(Fingerprint::parse);
    match (gateway.tls, pin) {
        (false, _) => Ok(()),
        (true, Some(pin)) => trust::secure(stream, &Trust::Pin(pin), host, deadline).map(drop),
        (true, None) => trust::secure(stream, &Trust::Authorities(None), host, deadline).map(drop),
    }
}

fn in_plaintext(gateway: &NodeGateway, why: &str) -> Check {
    let (host, port) = place(gateway);
    let what = format!(
        "the node host refuses to speak plaintext to {}: {why}",
        address(gateway)
    );
    let fix = format!("openclaw node run --host {host} --port {port} --tls-fingerprint <sha256>");
    Check::fail("node.gateway", what, fix)
}

fn reached(gateway: &NodeGateway, outcome: Result<(), NetError>) -> Check {
    const ID: &str = "node.gateway";
    let at = address(gateway);
    match outcome {
        Ok(()) if gateway.tls => Check::ok(
            ID,
            format!("{at} answers with the certificate that the node trusts"),
        ),
        Ok(()) => Check::ok(ID, format!("{at} answers")),
        Err(NetError::Tls(fault)) => {
            let what = format!("{at} shows a certificate that the node does not trust: {fault}");
            Check::fail(
                ID,
                what,
                "openclaw node join --force --trust-fingerprint <of the gateway>",
            )
        }
        Err(fault) => Check::fail(
            ID,
            format!("{at} cannot be reached: {fault}"),
            "openclaw gateway probe",
        ),
    }
}

/// `rules`: how many there are, or why the file gives none.
fn approvals(rules: Result<u64, String>) -> Check {
    const ID: &str = "node.approvals";
    match rules {
        Ok(0) => Check::ok(ID, "no rule allows a command"),
        Ok(rules) => Check::ok(ID, format!("{} for commands", counted(rules, "rule"))),
        Err(fault) => {
            let what = format!("no command runs on this machine: {fault}");
            Check::fail(ID, what, "openclaw approvals get")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check::State;

    #[test]
    fn settings_are_judged_by_gateway_and_pin() {
        let gateway = |tls, pin: Option<&str>| NodeGateway {
            host: Some("gw.lan".to_owned()),
            port: Some(1),
            tls,
            tls_fingerprint: pin.map(str::to_owned),
        };
        let good = "ab".repeat(32);
        for (gateway, state, word) in [
            (None, State::Fail, "no gateway"),
            (Some(gateway(false, None)), State::Ok, "ws://gw.lan:1"),
            (Some(gateway(true, None)), State::Ok, "authority"),
            (Some(gateway(true, Some(&good))), State::Ok, "pins"),
            (Some(gateway(true, Some("zz"))), State::Fail, "no SHA-256"),
        ] {
            let check = settings(gateway.as_ref());
            assert_eq!(check.state, state, "{check:?}");
            assert!(check.what.contains(word), "{check:?}");
        }
        let nowhere = settings(Some(&NodeGateway::default()));
        assert_eq!(nowhere.what, "the node belongs to ws://127.0.0.1:18789");
        let silent = reached(&gateway(false, None), Err(NetError::TimedOut));
        assert_eq!(silent.state, State::Fail);
        assert_eq!(reached(&gateway(true, None), Ok(())).state, State::Ok);
    }

    #[test]
    fn a_gateway_that_the_node_host_refuses_in_plaintext_is_a_failure() {
        let gateway = NodeGateway {
            host: Some("8.8.8.8".to_owned()),
            ..NodeGateway::default()
        };
        let check = in_plaintext(&gateway, "a public address");
        assert_eq!(check.state, State::Fail);
        assert!(
            check.what.contains("ws://8.8.8.8:18789: a public"),
            "{check:?}"
        );
        let fix = "openclaw node run --host 8.8.8.8 --port 18789 --tls-fingerprint <sha256>";
        assert_eq!(check.fix.as_deref(), Some(fix));
    }

    #[test]
    fn a_broken_policy_fails() {
        assert_eq!(approvals(Ok(0)).state, State::Ok);
        assert_eq!(approvals(Ok(2)).what, "2 rules for commands");
        let broken = approvals(Err("/s/exec-approvals.json: 3:1: x".to_owned()));
        assert_eq!(broken.state, State::Fail);
        assert!(broken.what.contains(":3:1") || broken.what.contains("3:1"));
    }
}
