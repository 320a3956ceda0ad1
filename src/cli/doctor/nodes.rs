//! Nodes that nobody has seen for long, and requests that nobody decided, as the files of this machine's gateway
//! say.

use std::collections::BTreeSet;

use crate::cli::doctor::check::Check;
use crate::cli::doctor::scene::Scene;
use crate::cli::output::text::counted;
use crate::pairing::prune::{Idle, Rule, idle};
use crate::pairing::{Part, REQUEST_TTL_MS, State};
use crate::protocol::limits::DAY_MS;
use crate::store::pairing_files::look_at;

/// Days after which a node counts as given up.
const STALE_DAYS: u64 = 90;

/// Nodes that are named.
const MOST_ITEMS: usize = 20;

/// `nodes.stale` and `requests.pending`.
pub fn checks(scene: &Scene) -> Vec<Check> {
    let directory = scene.directory().filter(|_| !scene.is_remote());
    let Some(directory) = directory else {
        return vec![Check::skipped(
            "nodes.stale",
            "no gateway keeps nodes on this machine",
        )];
    };
    let read = |part| look_at(&directory, part);
    let (Ok(mut paired), Ok(paired_devices), Ok(nodes), Ok(devices)) = (
        read(Part::NodesPaired),
        read(Part::DevicesPaired),
        read(Part::NodesPending),
        read(Part::DevicesPending),
    ) else {
        return vec![Check::skipped(
            "nodes.stale",
            "the pairing files cannot be read; see state.files",
        )];
    };
    let nodes_asked = nodes.nodes.pending.records().map(|request| request.ts);
    let devices_asked = devices.devices.pending.records().map(|request| request.ts);
    let asked: Vec<u64> = nodes_asked.chain(devices_asked).collect();
    paired.devices.paired = paired_devices.devices.paired;
    vec![stale(&paired, scene.now_ms), pending(&asked, scene.now_ms)]
}

fn stale(paired: &State, now_ms: u64) -> Check {
    const ID: &str = "nodes.stale";
    let away_for = |days: u64| {
        let rule = Rule {
            not_seen_ms: days * DAY_MS,
            among: None,
            connected: &BTreeSet::new(),
        };
        idle(paired, &rule, now_ms)
    };
    let old = away_for(STALE_DAYS);
    if old.is_empty() {
        let nodes = counted(away_for(0).len() as u64, "node");
        return Check::ok(ID, format!("{nodes}, all seen within {STALE_DAYS} days"));
    }
    let what = format!(
        "{} not seen for {STALE_DAYS} days or more, whose tokens still open the gateway",
        counted(old.len() as u64, "node")
    );
    let named = |idle: &Idle| {
        let name = idle.display_name.as_deref();
        let days = now_ms.saturating_sub(idle.since()) / DAY_MS;
        format!(
            "{}: not seen for {days} days",
            name.unwrap_or(idle.node_id.as_str())
        )
    };
    let items = old.iter().map(named).take(MOST_ITEMS);
    let fix = format!("openclaw nodes prune --not-seen {STALE_DAYS}d");
    Check::warn(ID, what, fix).items(items.collect())
}

/// `asked`: when each request that waits was made.
fn pending(asked: &[u64], now_ms: u64) -> Check {
    const ID: &str = "requests.pending";
    let over = |ts: &&u64| now_ms.abs_diff(**ts) > REQUEST_TTL_MS;
    let old = asked.iter().filter(over).count() as u64;
    match (old, asked.len() as u64) {
        (0, 0) => Check::ok(ID, "nobody waits for an approval"),
        (0, waiting) => Check::ok(
            ID,
            format!("{} for an approval", counted(waiting, "request")),
        ),
        (old, _) => {
            let what = format!(
                "{} that ended before anybody decided",
                counted(old, "request")
            );
            Check::warn(ID, what, "openclaw nodes pending")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::doctor::check::State;
    use crate::pairing;

    #[test]
    fn nodes_are_stale_by_the_last_sign_of_them() {
        let now = 1_795_221_070_445;
        let days = |days: u64| now - days * DAY_MS;
        let state = |rows: &[(&str, u64, Value)], devices: Value| {
            let mut nodes = json!({});
            for (id, approved, more) in rows {
                let mut value =
                    json!({"nodeId": id, "token": "t", "createdAtMs": 1, "approvedAtMs": approved});
                for (name, at) in more.as_object().into_iter().flatten() {
                    value[name] = at.clone();
                }
                nodes[*id] = value;
            }
            let mut state = pairing::State::default();
            state.read(Part::NodesPaired, nodes).unwrap();
            state.read(Part::DevicesPaired, devices).unwrap();
            state
        };
        let fresh = [
            ("a", days(400), json!({"lastConnectedAtMs": days(1)})),
            (
                "b",
                days(400),
                json!({"lastConnectedAtMs": days(300), "lastSeenAtMs": days(89)}),
            ),
            ("c", days(2), json!({})),
            ("f", days(400), json!({})),
        ];
        let device = json!({"f": {"deviceId": "f", "publicKey": "k", "role": "node", "roles": ["node"], "scopes": [],
            "createdAtMs": 1, "approvedAtMs": 1, "lastSeenAtMs": days(3)}});
        let check = stale(&state(&fresh, device.clone()), now);
        assert_eq!(
            (check.state, check.items.len()),
            (State::Ok, 0),
            "{check:?}"
        );
        assert!(check.what.starts_with("4 nodes, all seen"), "{check:?}");
        let old = [
            ("d", days(90), json!({})),
            ("e", days(400), json!({"lastConnectedAtMs": days(120)})),
        ];
        let check = stale(&state(&[&fresh[..], &old].concat(), device), now);
        assert_eq!(check.state, State::Warn);
        assert_eq!(
            check.items,
            ["e: not seen for 120 days", "d: not seen for 90 days"]
        );
        assert_eq!(
            check.fix.as_deref(),
            Some("openclaw nodes prune --not-seen 90d")
        );
    }

    #[test]
    fn requests_that_are_over_are_told() {
        let now = 1_795_221_070_445;
        for (asked, state) in [
            (vec![], State::Ok),
            (vec![now - 1_000], State::Ok),
            (vec![now - 1_000, now - REQUEST_TTL_MS - 1], State::Warn),
        ] {
            assert_eq!(pending(&asked, now).state, state, "{asked:?}");
        }
    }
}
