//! What must hold about approvals of something that was looked at before, and about requests that are over.

use proptest::{prop_assert, prop_assert_eq};
use serde_json::Value;

use super::{
    Who,
    world::{Step, World},
};
use crate::pairing::{
    Refusal, device, node,
    testing::{Counter, caller, scopes},
    truth::{self, View},
};

/// Members on which no decision rests.
const VOLATILE: [&str; 2] = ["silent", "ts"];

impl World {
    /// Somebody looks at what waits; an approval may come much later.
    pub fn look(&mut self) {
        self.looked = truth::pending(&self.state, View::Devices, self.now);
    }

    /// Approves a row that was looked at, in the name of its digest: what is approved is what was shown.
    pub fn approve_looked(&mut self, pick: usize, who: &Who) -> Step {
        if self.looked.is_empty() {
            return Ok(());
        }
        let shown = self.looked[pick % self.looked.len()].clone();
        let (id, digest) = (word(&shown, "requestId"), word(&shown, "digest"));
        let now = truth::pending(&self.state, View::Devices, self.now);
        let now = now
            .into_iter()
            .find(|row| row["requestId"] == shown["requestId"]);
        let approved = match shown["layer"].as_str() {
            Some("node") => self.approve_node(&id, Some(&digest), who)?,
            _ => self.approve_device(&id, Some(&digest), who)?,
        };
        if approved {
            let now = now.map(without_volatile);
            prop_assert_eq!(
                now,
                Some(without_volatile(shown)),
                "approved something else than was shown"
            );
        }
        Ok(())
    }

    /// Every id that ever waited and does not wait any more says what became of it, to whoever may know, and
    /// saying so changes nothing.
    pub fn check_memory(&mut self) -> Step {
        let devices = self.state.devices.pending.records();
        let nodes = self.state.nodes.pending.records();
        let devices = devices.map(|request| (request.request_id.to_string(), true));
        let nodes = nodes.map(|request| (request.request_id.to_string(), false));
        self.ids.extend(devices.chain(nodes));
        let all = scopes(&["operator.admin"]);
        for (id, of_device) in &self.ids {
            let pending = match of_device {
                true => self.state.devices.pending.record(id).is_some(),
                false => self.state.nodes.pending.record(id).is_some(),
            };
            if pending {
                continue;
            }
            let (mut state, mut entropy, by) =
                (self.state.clone(), Counter::default(), caller(&all));
            let answer = match of_device {
                true => device::approve(&mut state, id, None, &by, self.now, &mut entropy)
                    .map(|(answer, changes)| (answer.already_approved, answer.device, changes)),
                false => node::approve(&mut state, id, None, &by, self.now, &mut entropy)
                    .map(|(answer, changes)| (answer.already_approved, answer.node, changes)),
            };
            match answer {
                Ok((already, record, changes)) => {
                    prop_assert!(already && changes.is_empty(), "{id} was approved twice");
                    prop_assert!(!record.to_string().contains("SECRET"));
                }
                Err(refusal) => prop_assert!(
                    matches!(refusal, Refusal::RequestResolved(_)),
                    "{id} is forgotten: {refusal:?}"
                ),
            }
            prop_assert_eq!(&state, &self.state);
        }
        let memory = format!("{:?}", self.state.resolved);
        prop_assert!(!memory.contains("SECRET"));
        Ok(())
    }
}

fn word(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_default().to_owned()
}

fn without_volatile(mut row: Value) -> Value {
    for name in VOLATILE {
        row[name] = Value::Null;
    }
    row
}
