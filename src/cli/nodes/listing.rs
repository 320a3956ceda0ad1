//! `nodes list` and `nodes status`: records and live sessions as one picture, with the same filters.

use serde_json::{Map, Value, json};

use crate::cli::administration::{Administration, Fallback, open};
use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::nodes::{view, waiting_in, with_note};
use crate::cli::row;
use crate::cli::watch::{self, What};
use crate::pairing::truth::View;
use crate::protocol::scope::Scope;
use crate::store::{Clock, SystemClock};

/// Members a live entry does not replace in a record.
const OF_THE_RECORD: &[&str] = &["token", "createdAtMs"];

/// Which nodes a person wants to see.
struct Filter {
    connected: bool,
    /// Milliseconds.
    last_connected: Option<u64>,
}

impl Filter {
    fn read(invocation: &Invocation) -> Result<Filter, CliError> {
        Ok(Filter {
            connected: invocation.has("connected"),
            last_connected: invocation.duration_or_milliseconds("last-connected")?,
        })
    }

    fn any(&self) -> bool {
        self.connected || self.last_connected.is_some()
    }

    fn keeps(&self, node: &Value, now: u64) -> bool {
        if self.connected && !row::flag(node, "connected") {
            return false;
        }
        let Some(span) = self.last_connected else {
            return true;
        };
        last_connected(node).is_some_and(|then| now.saturating_sub(then) <= span)
    }
}

/// When a node last connected, as far as its row tells.
pub(super) fn last_connected(node: &Value) -> Option<u64> {
    row::number(node, "lastConnectedAtMs").or_else(|| row::number(node, "connectedAtMs"))
}

/// `nodes list`.
///
/// # Errors
/// As every administration command.
pub fn list(invocation: &Invocation) -> Result<Answer, CliError> {
    if let Some(watched) = watch::watching(invocation, What::Nodes)? {
        return Ok(watched);
    }
    let filter = Filter::read(invocation)?;
    let scopes = [Scope::PAIRING, Scope::READ];
    let mut gateway = open(invocation, &scopes, Fallback::Offline)?;
    let now = SystemClock.now_ms();
    let records = gateway.call("node.pair.list", &json!({}))?;
    let live = live(&mut *gateway, filter.any())?;
    let all = merged(row::rows(&records, "paired"), row::rows(&live, "nodes"));
    let total = all.len();
    let paired: Vec<Value> = all
        .into_iter()
        .filter(|node| filter.keeps(node, now))
        .collect();
    let waiting = match filter.any() {
        true => Vec::new(),
        false => {
            let devices = gateway.call("device.pair.list", &json!({}))?;
            waiting_in(&devices, &records, View::Nodes)
        }
    };
    let text = view::list(&waiting, &paired, total, now, invocation.style());
    let document = json!({"pending": waiting, "paired": paired});
    Ok(with_note(Answer::new(document, text), &*gateway))
}

/// The live list. A gateway that cannot give it just now is tolerated without filters; a refusal is not.
fn live(gateway: &mut dyn Administration, needed: bool) -> Result<Value, CliError> {
    match gateway.call("node.list", &json!({})) {
        Err(CliError::Client(failure)) if !needed && failure.is_unavailable() => {
            Ok(json!({"nodes": []}))
        }
        answer => answer,
    }
}

/// Paired records with what their live entry knows better, then live entries that are paired without a
/// record.
pub(in crate::cli) fn merged(records: &[Value], live: &[Value]) -> Vec<Value> {
    let (recorded, entries) = (row::by_id(records), row::by_id(live));
    let of_records = records
        .iter()
        .map(|record| merge(record, entries.get(row::id(record)).copied()));
    let others = live
        .iter()
        .filter(|entry| row::flag(entry, "paired") && !recorded.contains_key(row::id(entry)))
        .map(|entry| merge(entry, None));
    of_records.chain(others).collect()
}

fn merge(record: &Value, live: Option<&Value>) -> Value {
    let mut node: Map<String, Value> = record.as_object().cloned().unwrap_or_default();
    for (name, value) in live.and_then(Value::as_object).into_iter().flatten() {
        if !OF_THE_RECORD.contains(&name.as_str()) {
            node.insert(name.clone(), value.clone());
        }
    }
    node.shift_remove("token");
    node.insert("paired".to_owned(), json!(true));
    node.entry("connected").or_insert(json!(false));
    for name in ["caps", "commands"] {
        node.entry(name).or_insert(json!([]));
    }
    Value::Object(node)
}

/// `nodes status`.
///
/// # Errors
/// As every command that asks a gateway.
pub fn status(invocation: &Invocation) -> Result<Answer, CliError> {
    if let Some(watched) = watch::watching(invocation, What::Status)? {
        return Ok(watched);
    }
    let filter = Filter::read(invocation)?;
    let mut scopes = vec![Scope::READ];
    scopes.extend(filter.last_connected.map(|_| Scope::PAIRING));
    let mut gateway = open(invocation, &scopes, Fallback::Offline)?;
    let listed = gateway.call("node.list", &json!({}))?;
    let mut all = row::rows(&listed, "nodes").to_vec();
    if filter.last_connected.is_some() {
        let records = gateway.call("node.pair.list", &json!({}))?;
        add_last_connected(&mut all, row::rows(&records, "paired"));
    }
    let now = SystemClock.now_ms();
    let total = all.len();
    let nodes: Vec<Value> = all
        .into_iter()
        .filter(|node| filter.keeps(node, now))
        .collect();
    let text = view::status(&nodes, total, now, invocation.style());
    let ts = row::number(&listed, "ts").unwrap_or(now);
    let document = json!({"ts": ts, "nodes": nodes});
    Ok(with_note(Answer::new(document, text), &*gateway))
}

/// Fills in what only the record knows about nodes that are away.
fn add_last_connected(nodes: &mut [Value], records: &[Value]) {
    let records = row::by_id(records);
    for node in nodes
        .iter_mut()
        .filter(|node| last_connected(node).is_none())
    {
        let record = records.get(row::id(node)).copied();
        if let Some(then) = record.and_then(last_connected) {
            node["lastConnectedAtMs"] = json!(then);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_live_entries_become_one_row() {
        let records = [
            json!({"nodeId":"a","token":"secret","displayName":"Old","createdAtMs":1,"lastConnectedAtMs":5}),
            json!({"nodeId":"b","displayName":"Away","caps":["system"]}),
        ];
        let live = [
            json!({"nodeId":"a","displayName":"New","createdAtMs":9,"connected":true,"commands":["x"],"paired":true}),
            json!({"nodeId":"c","displayName":"Device only","paired":true,"connected":false,"commands":[]}),
            json!({"nodeId":"d","displayName":"Stranger","paired":false,"connected":true}),
        ];
        let expected = [
            json!({"nodeId":"a","displayName":"New","createdAtMs":1,"lastConnectedAtMs":5,"connected":true,
                "commands":["x"],"paired":true,"caps":[]}),
            json!({"nodeId":"b","displayName":"Away","caps":["system"],"paired":true,"connected":false,"commands":[]}),
            json!({"nodeId":"c","displayName":"Device only","paired":true,"connected":false,"commands":[],"caps":[]}),
        ];
        assert_eq!(merged(&records, &live), expected);
    }

    #[test]
    fn filters() {
        const NOW: u64 = 100_000;
        let nodes = [
            json!({"nodeId":"on","connected":true,"connectedAtMs":99_000}),
            json!({"nodeId":"recent","connected":false,"lastConnectedAtMs":95_000}),
            json!({"nodeId":"old","connected":false,"lastConnectedAtMs":10_000}),
            json!({"nodeId":"never","connected":false}),
        ];
        for (connected, last_connected, expected) in [
            (false, None, vec!["on", "recent", "old", "never"]),
            (true, None, vec!["on"]),
            (false, Some(5_000), vec!["on", "recent"]),
            (true, Some(5_000), vec!["on"]),
            (false, Some(90_000), vec!["on", "recent", "old"]),
        ] {
            let filter = Filter {
                connected,
                last_connected,
            };
            let kept = nodes.iter().filter(|node| filter.keeps(node, NOW));
            let kept: Vec<&str> = kept.map(row::id).collect();
            assert_eq!(kept, expected, "{connected} {last_connected:?}");
        }
    }

    #[test]
    fn absent_times_come_from_the_record() {
        let mut nodes = [
            json!({"nodeId":"a"}),
            json!({"nodeId":"b","connectedAtMs":7}),
            json!({"nodeId":"c"}),
        ];
        let records = [
            json!({"nodeId":"a","lastConnectedAtMs":3}),
            json!({"nodeId":"b","lastConnectedAtMs":4}),
        ];
        add_last_connected(&mut nodes, &records);
        let times: Vec<Option<u64>> = nodes.iter().map(last_connected).collect();
        assert_eq!(times, [Some(3), Some(7), None]);
    }
}
