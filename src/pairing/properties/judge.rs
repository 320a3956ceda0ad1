//! What must hold after every single operation.

use std::collections::BTreeSet;

use proptest::{prop_assert, prop_assert_eq};
use serde_json::Value;

use super::world::{Step, World, node_claim_of, policy};
use crate::{
    pairing::{
        REQUEST_TTL_MS, device, invitation, node, surface,
        testing::{caller, scopes},
        truth::{self, View},
    },
    protocol::scope::Scopes,
};

impl World {
    /// What holds whatever happened.
    pub fn check(&mut self) -> Step {
        for record in self.state.devices.paired.records() {
            let granted = self
                .devices
                .get(record.device_id.as_str())
                .cloned()
                .unwrap_or_default();
            prop_assert_eq!(&record.public_key, &granted.key);
            for role in record.approved_roles() {
                prop_assert!(granted.roles.contains(role), "role {role} out of nowhere");
            }
            for scope in record.approved_scopes() {
                prop_assert!(
                    holds(&granted.scopes, scope.as_str()),
                    "approved {scope} out of nowhere"
                );
            }
            for (role, entry) in &record.tokens {
                prop_assert!(
                    granted.roles.contains(role),
                    "token for {role} out of nowhere"
                );
                for scope in &entry.scopes {
                    let own = scope.as_str().starts_with(&format!("{role}."));
                    prop_assert!(
                        own && holds(&granted.scopes, scope.as_str()),
                        "token {scope} out of nowhere"
                    );
                }
            }
        }
        for (node, declared) in &self.declared {
            let claim = node_claim_of(node, declared.clone());
            let found = surface::surface(&self.state, &claim, &policy(), self.now);
            let granted = self.nodes.get(node).cloned().unwrap_or_default();
            for command in &found.effective {
                prop_assert!(
                    granted.contains(command),
                    "{command} runs and nobody approved it"
                );
                prop_assert!(
                    declared.contains(command),
                    "{command} runs and was not declared"
                );
                prop_assert!(
                    !["system.notify", "canvas.eval"].contains(&command.as_str()),
                    "{command} is not allowed"
                );
            }
        }
        self.check_lists()
    }

    fn check_lists(&mut self) -> Step {
        let all = scopes(&["operator.admin"]);
        let shown = serde_json::to_string(&(
            device::list(&self.state, &caller(&all), self.now),
            node::list(&self.state, self.now),
            truth::pending(&self.state, View::Devices, self.now),
            invitation::list(&self.state, &caller(&all), self.now).ok(),
        ));
        prop_assert!(!shown.unwrap().contains("SECRET"), "a list shows a token");
        for changes in self.said.drain(..) {
            prop_assert!(
                !format!("{changes:?}").contains("SECRET"),
                "a change shows a token"
            );
        }
        let rows = truth::pending(&self.state, View::Devices, self.now);
        let listed: BTreeSet<String> = rows
            .iter()
            .flat_map(|row| texts(&serde_json::json!([row["requestId"]])))
            .collect();
        let devices = self
            .state
            .devices
            .pending
            .records()
            .map(|request| (&request.request_id, request.ts));
        let nodes = self
            .state
            .nodes
            .pending
            .records()
            .map(|request| (&request.request_id, request.ts));
        for (id, ts) in devices.chain(nodes) {
            let over = self.now.abs_diff(ts) > REQUEST_TTL_MS;
            prop_assert_eq!(listed.contains(id.as_str()), !over, "{} waits unseen", id);
        }
        let waiting: Vec<&str> = self
            .state
            .nodes
            .pending
            .records()
            .map(|request| request.node_id.as_str())
            .collect();
        let unique: BTreeSet<&str> = waiting.iter().copied().collect();
        prop_assert_eq!(waiting.len(), unique.len(), "two requests of one node");
        Ok(())
    }
}

/// Whether holding `held` is enough for `scope`, in the ledger's own words.
pub fn holds(held: &BTreeSet<String>, scope: &str) -> bool {
    held.contains(scope)
        || (scope.starts_with("operator.") && held.contains("operator.admin"))
        || (scope == "operator.read" && held.contains("operator.write"))
}

/// Whether a session with `held` may give or take `scope`: an administrator may everything.
pub fn may(held: &BTreeSet<String>, scope: &str) -> bool {
    held.contains("operator.admin") || holds(held, scope)
}

/// The words of a list.
pub fn set(scopes: &Scopes) -> BTreeSet<String> {
    scopes.iter().map(ToString::to_string).collect()
}

/// The texts of an array.
pub fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
