//! Whether a trail explains who is paired: which records have no line that approved them. Pure.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;

use crate::pairing::State;

/// Lines after which a device is paired.
const OF_DEVICES: &[&str] = &["device.approve", "device.import"];

/// Lines after which a node is paired.
const OF_NODES: &[&str] = &["node.approve", "node.import"];

/// The approvals that a trail tells of.
#[derive(Debug, Default)]
pub struct Approvals {
    devices: HashSet<String>,
    nodes: HashSet<String>,
    /// When the trail begins, epoch milliseconds.
    begins: Option<u64>,
}

/// A record that no line explains.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Unexplained {
    /// `device` or `node`.
    pub layer: &'static str,
    /// Its id.
    pub id: String,
    /// When it says that it was approved, epoch milliseconds.
    pub approved_at_ms: u64,
}

impl Approvals {
    /// Takes note of one line, the oldest first.
    pub fn note(&mut self, entry: &Value) {
        if let Some(ts) = entry["ts"].as_u64() {
            self.begins.get_or_insert(ts);
        }
        let (Some(action), Some(subject)) = (entry["action"].as_str(), entry["subject"].as_str())
        else {
            return;
        };
        if OF_DEVICES.contains(&action) {
            self.devices.insert(subject.to_owned());
        } else if OF_NODES.contains(&action) {
            self.nodes.insert(subject.to_owned());
        }
    }

    /// Records without a line, and how many without one are older than the trail.
    pub fn compare(&self, state: &State) -> (Vec<Unexplained>, u64) {
        let devices = state.devices.paired.records();
        let devices = devices.map(|record| {
            (
                "device",
                record.device_id.to_string(),
                record.approved_at_ms,
            )
        });
        let nodes = state.nodes.paired.records();
        let nodes = nodes.map(|record| ("node", record.node_id.to_string(), record.approved_at_ms));
        let (mut unexplained, mut older) = (Vec::new(), 0);
        for (layer, id, approved_at_ms) in devices.chain(nodes) {
            let told = match layer {
                "device" => &self.devices,
                _ => &self.nodes,
            };
            if told.contains(&id) {
                continue;
            }
            match self.begins {
                Some(begins) if begins <= approved_at_ms => unexplained.push(Unexplained {
                    layer,
                    id,
                    approved_at_ms,
                }),
                _ => older += 1,
            }
        }
        (unexplained, older)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pairing::Part;

    #[test]
    fn records_without_an_approval_are_found_and_old_ones_only_counted() {
        let device = |id: &str, at: u64| json!({"deviceId": id, "publicKey": "k", "createdAtMs": 1, "approvedAtMs": at});
        let node = |id: &str, at: u64| json!({"nodeId": id, "token": "t", "createdAtMs": 1, "approvedAtMs": at});
        let mut state = State::default();
        let devices = json!({"a": device("a", 20), "b": device("b", 20), "c": device("c", 5)});
        state.read(Part::DevicesPaired, devices).unwrap();
        let nodes = json!({"a": node("a", 20), "b": node("b", 30), "d": node("d", 30)});
        state.read(Part::NodesPaired, nodes).unwrap();
        let mut approvals = Approvals::default();
        assert_eq!(approvals.compare(&state), (Vec::new(), 6));
        for (ts, action, subject) in [
            (10, "device.approve", "a"),
            (11, "node.approve", "b"),
            (12, "device.reject", "b"),
            (13, "node.import", "d"),
        ] {
            approvals.note(&json!({"ts": ts, "action": action, "subject": subject}));
        }
        let unexplained = |layer, id: &str| Unexplained {
            layer,
            id: id.to_owned(),
            approved_at_ms: 20,
        };
        let expected = vec![unexplained("device", "b"), unexplained("node", "a")];
        assert_eq!(approvals.compare(&state), (expected, 1));
    }
}
