//! Nodes that nobody has seen for long, and requests that nobody decided, as the files of this machine's gateway
//! say.

use crate::cli::doctor::check::Check;
use crate::cli::doctor::scene::Scene;
use crate::cli::output::text::counted;
use crate::pairing::node_record::NodeRecord;
use crate::pairing::{Part, REQUEST_TTL_MS};
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
    let (Ok(paired), Ok(nodes), Ok(devices)) = (
        read(Part::NodesPaired),
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
    vec![
        stale(paired.nodes.paired.records(), scene.now_ms),
        pending(&asked, scene.now_ms),
    ]
}

fn stale<'a>(records: impl Iterator<Item = &'a NodeRecord>, now_ms: u64) -> Check {
    const ID: &str = "nodes.stale";
    let mut number = 0_u64;
    let mut old: Vec<(u64, String, String)> = Vec::new();
    for record in records {
        number += 1;
        let times = [record.last_connected_at_ms, record.last_seen_at_ms];
        let seen = times
            .into_iter()
            .flatten()
            .max()
            .unwrap_or(record.approved_at_ms);
        let days = now_ms.saturating_sub(seen) / DAY_MS;
        if days >= STALE_DAYS {
            let id = record.node_id.to_string();
            let name = record.metadata.display_name.as_ref().unwrap_or(&id);
            old.push((
                days,
                id.clone(),
                format!("{name}: not seen for {days} days"),
            ));
        }
    }
    old.sort_by(|left, right| right.cmp(left));
    let Some((_, oldest, _)) = old.first() else {
        let nodes = counted(number, "node");
        return Check::ok(ID, format!("{nodes}, all seen within {STALE_DAYS} days"));
    };
    let what = format!(
        "{} not seen for {STALE_DAYS} days or more, whose tokens still open the gateway",
        counted(old.len() as u64, "node")
    );
    let fix = format!("openclaw nodes remove --node {oldest}");
    let items = old.iter().map(|(.., text)| text.clone()).take(MOST_ITEMS);
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
    use serde_json::json;

    use super::*;
    use crate::cli::doctor::check::State;

    #[test]
    fn nodes_are_stale_by_the_last_sign_of_them() {
        let now = 1_795_221_070_445;
        let days = |days: u64| now - days * DAY_MS;
        let record = |id: &str, approved: u64, connected: Option<u64>, seen: Option<u64>| {
            let mut value =
                json!({"nodeId": id, "token": "t", "createdAtMs": 1, "approvedAtMs": approved});
            for (name, at) in [("lastConnectedAtMs", connected), ("lastSeenAtMs", seen)] {
                if let Some(at) = at {
                    value[name] = json!(at);
                }
            }
            serde_json::from_value::<NodeRecord>(value).unwrap()
        };
        let fresh = [
            record("a", days(400), Some(days(1)), None),
            record("b", days(400), Some(days(300)), Some(days(89))),
            record("c", days(2), None, None),
        ];
        let check = stale(fresh.iter(), now);
        assert_eq!(
            (check.state, check.items.len()),
            (State::Ok, 0),
            "{check:?}"
        );
        let old = [
            record("d", days(90), None, None),
            record("e", days(400), Some(days(120)), None),
        ];
        let check = stale(fresh.iter().chain(&old), now);
        assert_eq!(check.state, State::Warn);
        assert_eq!(
            check.items,
            ["e: not seen for 120 days", "d: not seen for 90 days"]
        );
        assert_eq!(check.fix.as_deref(), Some("openclaw nodes remove --node e"));
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
