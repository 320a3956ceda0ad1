//! `exec.approvals.get` and `.set`: the exec policy of the gateway's own machine (protocol.md §8.1).
//!
//! A node host on the same state directory judges by this file. So an edit that does not come from this
//! machine may do what `nodeHost.execApprovals.remoteEdits` lets it, and no more.

use serde_json::{Value, json};

use super::call::{Call, Outcome, Reply};
use crate::config::word::RemoteEdits;
use crate::exec::{ApprovalsError, Document};
use crate::gateway::locality::Locality;
use crate::pairing::AuditEntry;
use crate::protocol::error::ErrorShape;
use crate::protocol::params::{ExecApprovalsSet, parse_nothing};

/// `exec.approvals.get`: creates the file if there is none.
pub fn get(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    let snapshot = call.context.exec_policy.get();
    let snapshot = snapshot.map_err(|fault| refusal(call, &fault))?;
    Ok(Reply::Now(snapshot.answer()))
}

/// `exec.approvals.set`: replaces the file if it is still the one the caller saw.
pub fn set(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = ExecApprovalsSet::parse(params)?;
    let given = Document::from_value(asked.file)
        .map_err(|fault| refusal(call, &ApprovalsError::Invalid(fault.to_string())))?;
    let edits = match call.session.locality {
        Locality::DirectLocal => RemoteEdits::Widen,
        _ => call.context.rules().remote_edits,
    };
    call.still_here()?;
    let base = asked.base_hash.as_deref();
    let snapshot = call.context.exec_policy.replace(base, given, edits);
    let snapshot = snapshot.map_err(|fault| refusal(call, &fault))?;
    call.context.store.audit(&AuditEntry {
        subject: "exec-approvals.json".to_owned(),
        // The edit was made against exactly this content.
        before: base.map(|hash| json!({"hash": hash.trim()})),
        after: Some(json!({"hash": snapshot.hash})),
        ..call.audit_line("exec.approvals.set")
    });
    Ok(Reply::Now(snapshot.answer()))
}

/// The answer in the gateway's words; what the disk says stays in the log (D20).
fn refusal(call: &Call<'_>, fault: &ApprovalsError) -> ErrorShape {
    let message = match fault {
        ApprovalsError::BaseHashRequired => {
            "exec approvals base hash required; re-run exec.approvals.get and retry".to_owned()
        }
        ApprovalsError::Changed => {
            "exec approvals changed since last load; re-run exec.approvals.get and retry".to_owned()
        }
        ApprovalsError::Widens(widening) => format!(
            "exec approvals edit refused: {widening}. Edits from elsewhere may only narrow this policy; make it on \
             the gateway's machine with openclaw approvals, or run openclaw config set \
             nodeHost.execApprovals.remoteEdits widen there"
        ),
        ApprovalsError::FileRequired | ApprovalsError::Invalid(_) => fault.to_string(),
        ApprovalsError::Broken(_)
        | ApprovalsError::Busy(_)
        | ApprovalsError::Io(..)
        | ApprovalsError::SymbolicLink(_) => {
            log::error!(target: "gateway", "{}: {fault}", call.method);
            return ErrorShape::unavailable(
                "the exec approvals file cannot be read or written; the gateway's log says why",
            );
        }
    };
    ErrorShape::invalid(message)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::gateway::testing::House;

    #[test]
    fn the_file_is_made_told_without_its_secret_and_replaced_by_hash() {
        let house = House::new();
        let person = house.operator(&["operator.admin"]);
        let seen = person.ask("exec.approvals.get", json!({}));
        let path = house.context.exec_policy.path().to_owned();
        assert_eq!(seen["path"], json!(path));
        assert_eq!(
            (&seen["exists"], &seen["file"]["version"]),
            (&json!(true), &json!(1))
        );
        assert_eq!(seen["file"]["socket"].as_object().unwrap().len(), 1);
        let stored = |path: &std::path::Path| -> Value {
            serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
        };
        let secret = stored(&path)["socket"]["token"].clone();
        assert!(secret.is_string());

        let file =
            json!({"version": 1, "agents": {"main": {"allowlist": [{"pattern": "/bin/ls"}]}}});
        let cases = [
            (
                json!({"file": file}),
                "exec approvals base hash required; re-run exec.approvals.get and retry",
            ),
            (
                json!({"file": file, "baseHash": "  "}),
                "exec approvals base hash required; re-run exec.approvals.get and retry",
            ),
            (
                json!({"file": file, "baseHash": "0"}),
                "exec approvals changed since last load; re-run exec.approvals.get and retry",
            ),
        ];
        for (params, message) in cases {
            let error = person.refused("exec.approvals.set", params);
            assert_eq!(
                (&error["code"], &error["message"]),
                (&json!("INVALID_REQUEST"), &json!(message))
            );
        }
        let unknown = json!({"file": {"version": 1, "defaults": {"security": "open"}}, "baseHash": seen["hash"]});
        let error = person.refused("exec.approvals.set", unknown);
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .contains("exec approvals file invalid: "),
            "{error}"
        );

        let written = person.ask(
            "exec.approvals.set",
            json!({"file": file, "baseHash": seen["hash"]}),
        );
        assert_eq!(
            written["file"]["agents"]["main"]["allowlist"][0]["pattern"],
            "/bin/ls"
        );
        assert_eq!(stored(&path)["socket"]["token"], secret);
        let trail = house.context.store.audit_log().newest(10).unwrap();
        assert_eq!(trail.len(), 1, "{trail:?}");
        let line = |name: &str| trail[0][name].clone();
        assert_eq!(
            [line("action"), line("by"), line("before"), line("after")],
            [
                json!("exec.approvals.set"),
                json!("cli token"),
                json!({"hash": seen["hash"]}),
                json!({"hash": written["hash"]})
            ]
        );
        let outsider = house.operator(&["operator.write", "operator.approvals"]);
        let error = outsider.refused("exec.approvals.get", json!({}));
        assert_eq!(error["message"], "missing scope: operator.admin");
    }

    #[test]
    fn an_edit_from_elsewhere_narrows_unless_this_machine_lets_it_widen() {
        let house = House::new();
        let remote = house.join(|session| {
            session.scopes = ["operator.admin"].into_iter().collect();
            session.locality = Locality::Remote;
        });
        let set = |security: &str| {
            let hash = remote.ask("exec.approvals.get", json!({}))["hash"].clone();
            let file = json!({"version": 1, "defaults": {"security": security}});
            json!({"file": file, "baseHash": hash})
        };
        remote.ask("exec.approvals.set", set("deny"));
        let error = remote.refused("exec.approvals.set", set("full"));
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains("nodeHost.execApprovals.remoteEdits widen"),
            "{message}"
        );
        let mut rules = (*house.context.rules()).clone();
        rules.remote_edits = RemoteEdits::Widen;
        house.context.replace_rules(rules);
        remote.ask("exec.approvals.set", set("allowlist"));
        let person = house.operator(&["operator.admin"]);
        person.ask("exec.approvals.set", set("full"));
    }

    #[test]
    fn what_the_disk_says_is_not_told() {
        let house = House::new();
        let person = house.operator(&["operator.admin"]);
        let path = house.context.exec_policy.path();
        std::os::unix::fs::symlink("nowhere", path).unwrap();
        let edit = json!({"file": {"version": 1}, "baseHash": "x"});
        let error = person.refused("exec.approvals.set", edit);
        assert_eq!(error["code"], "UNAVAILABLE");
        assert!(
            !error.to_string().contains("nowhere") && !error.to_string().contains('/'),
            "{error}"
        );
    }
}
