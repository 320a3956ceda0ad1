//! Whether a node may be asked to run a command, in the order and words of protocol.md §7.3.
//!
//! The answer is computed from the pairing records and the policy at the moment of asking, never cached:
//! an approval, a removal or a changed policy counts from the next call on. The list shown by `node.list`
//! comes from the same computation.

use serde_json::{Map, Value, json};

use crate::gateway::registry::LiveNode;
use crate::identity::ids::{NodeId, RequestId};
use crate::pairing::State;
use crate::pairing::node::request_of;
use crate::pairing::policy::{self, CommandPolicy};
use crate::pairing::surface::surface;
use crate::protocol::error::ErrorShape;

/// Commands that read or write a node's own exec policy; only `exec.approvals.node.*` may carry them.
pub const POLICY_GET: &str = "system.execApprovals.get";
/// See [`POLICY_GET`].
pub const POLICY_SET: &str = "system.execApprovals.set";

/// Whether `command` may be sent to `live` now; the refusal in the words of the first row that fits.
pub fn admit(
    state: &State,
    live: &LiveNode,
    policy: &CommandPolicy,
    now: u64,
    command: &str,
) -> Result<(), ErrorShape> {
    let found = surface(state, &live.claim, policy, now);
    if !found.paired {
        return Err(unpaired(command, found.request.as_ref()));
    }
    let metadata = &live.claim.metadata;
    let platform = metadata.platform.as_deref();
    let allowlist = policy::allowlist(platform, metadata.device_family.as_deref(), policy);
    let platform = platform
        .filter(|platform| !platform.is_empty())
        .unwrap_or("unknown");
    let pending = found.request.as_ref();
    if !allowlist.allows(command) {
        let why = format!("\"{command}\" is not in the allowlist for platform \"{platform}\"");
        return Err(refused(&why, "command not allowlisted", command, None));
    }
    let is_it = |known: &String| known == command;
    if found.effective.iter().any(is_it) {
        return Ok(());
    }
    // A declared command that waits for its approval: the details name the request that would allow it.
    let request = pending.filter(|_| found.declared.iter().any(is_it));
    if found.effective.is_empty() {
        let why = "the node did not declare any supported commands";
        return Err(refused(
            why,
            "node did not declare commands",
            command,
            request,
        ));
    }
    let why = format!("the node (platform: {platform}) does not support \"{command}\"");
    Err(refused(
        &why,
        "command not declared by node",
        command,
        request,
    ))
}

/// Whether `node` is paired on the second layer; the refusal of `command` otherwise.
pub fn require_pairing(
    state: &State,
    node: &NodeId,
    now: u64,
    command: &str,
) -> Result<(), ErrorShape> {
    if state.nodes.paired.record(node.as_str()).is_some() {
        return Ok(());
    }
    let request = request_of(state, node, now).map(|request| &request.request_id);
    Err(unpaired(command, request))
}

/// The refusal for a node without node pairing.
fn unpaired(command: &str, pending: Option<&RequestId>) -> ErrorShape {
    let mut message = "node command not allowed: node pairing is not approved".to_owned();
    if let Some(request) = pending {
        message += &format!(" (run: openclaw nodes approve {request})");
    }
    let mut details = Map::new();
    details.insert("reason".into(), json!("node pairing not approved"));
    details.insert("code".into(), json!("NODE_PAIRING_REQUIRED"));
    details.insert("command".into(), json!(command));
    if let Some(request) = pending {
        details.insert("requestId".into(), json!(request));
    }
    ErrorShape::invalid(message).with_details(Value::Object(details))
}

/// What no caller may send through `node.invoke`, whoever the node is.
pub fn check_forbidden(command: &str, params: Option<&Value>) -> Result<(), ErrorShape> {
    if command == POLICY_GET || command == POLICY_SET {
        return Err(ErrorShape::invalid(
            "node.invoke does not allow system.execApprovals.*; use exec.approvals.node.*",
        )
        .with_details(json!({"command": command})));
    }
    if command == "browser.proxy" && params.is_some_and(changes_profiles) {
        return Err(ErrorShape::invalid(
            "node.invoke cannot mutate persistent browser profiles via browser.proxy",
        )
        .with_details(json!({"command": command})));
    }
    Ok(())
}

/// Whether a `browser.proxy` call creates, deletes or resets a stored browser profile.
fn changes_profiles(params: &Value) -> bool {
    let text = |key: &str| {
        params
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .trim()
    };
    let method = text("method").to_ascii_uppercase();
    let path = text("path").to_ascii_lowercase();
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match method.as_str() {
        "POST" => matches!(parts.as_slice(), ["profiles", "create"] | ["reset-profile"]),
        "DELETE" => matches!(parts.as_slice(), ["profiles", _]),
        _ => false,
    }
}

fn refused(why: &str, reason: &str, command: &str, request: Option<&RequestId>) -> ErrorShape {
    let mut details = Map::new();
    details.insert("reason".into(), json!(reason));
    details.insert("command".into(), json!(command));
    if let Some(request) = request {
        details.insert("requestId".into(), json!(request));
    }
    ErrorShape::invalid(format!("node command not allowed: {why}"))
        .with_details(Value::Object(details))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::registry::tests::live;
    use crate::pairing::Part;

    const NOW: u64 = 10_000;

    fn state(approved: Option<&[&str]>, pending: bool) -> State {
        let mut state = State::default();
        if let Some(commands) = approved {
            let record = json!({"n": {"nodeId": "n", "token": "t", "commands": commands,
                "createdAtMs": 1, "approvedAtMs": 2}});
            state.read(Part::NodesPaired, record).unwrap();
        }
        if pending {
            let request = json!({"r": {"requestId": "r", "nodeId": "n", "commands": [], "silent": false, "ts": NOW}});
            state.read(Part::NodesPending, request).unwrap();
        }
        state
    }

    fn node(platform: &str, declared: &[&str]) -> LiveNode {
        let mut live = live("c", "n");
        live.claim.metadata.platform =
            Some(platform.to_owned()).filter(|platform| !platform.is_empty());
        live.claim.metadata.commands =
            Some(declared.iter().map(|word| (*word).to_owned()).collect());
        live
    }

    #[test]
    fn each_row_has_its_words_and_comes_in_order() {
        let which: &[&str] = &["system.which"];
        let both: &[&str] = &["system.which", "system.run"];
        let unpaired = "node command not allowed: node pairing is not approved";
        let cases = [
            (state(None, true), node("linux", which), "system.which", format!("{unpaired} (run: openclaw nodes approve r)"),
             json!({"reason":"node pairing not approved","code":"NODE_PAIRING_REQUIRED","command":"system.which","requestId":"r"})),
            (state(None, false), node("linux", which), "x", unpaired.to_owned(),
             json!({"reason":"node pairing not approved","code":"NODE_PAIRING_REQUIRED","command":"x"})),
            (state(Some(which), true), node("linux", which), "x",
             "node command not allowed: \"x\" is not in the allowlist for platform \"linux\"".to_owned(),
             json!({"reason":"command not allowlisted","command":"x"})),
            (state(Some(which), false), node("", which), "system.which",
             "node command not allowed: \"system.which\" is not in the allowlist for platform \"unknown\"".to_owned(),
             json!({"reason":"command not allowlisted","command":"system.which"})),
            (state(Some(which), false), node("Linux 6", which), "system.run",
             "node command not allowed: the node (platform: Linux 6) does not support \"system.run\"".to_owned(),
             json!({"reason":"command not declared by node","command":"system.run"})),
            (state(Some(which), true), node("linux", both), "system.run",
             "node command not allowed: the node (platform: linux) does not support \"system.run\"".to_owned(),
             json!({"reason":"command not declared by node","command":"system.run","requestId":"r"})),
            (state(Some(&[]), false), node("linux", which), "system.which",
             "node command not allowed: the node did not declare any supported commands".to_owned(),
             json!({"reason":"node did not declare commands","command":"system.which"})),
            (state(Some(which), false), node("linux", &[]), "system.which",
             "node command not allowed: the node did not declare any supported commands".to_owned(),
             json!({"reason":"node did not declare commands","command":"system.which"})),
        ];
        for (state, live, command, message, details) in cases {
            let error = admit(&state, &live, &CommandPolicy::default(), NOW, command).unwrap_err();
            assert_eq!(
                (error.code.as_str(), error.message),
                ("INVALID_REQUEST", message)
            );
            assert_eq!(error.details.as_deref(), Some(&details));
        }
    }

    #[test]
    fn what_is_declared_approved_and_allowed_passes_until_one_of_them_ends() {
        let which: &[&str] = &["system.which"];
        let live = node("linux", which);
        let open = CommandPolicy::default();
        let closed = CommandPolicy {
            deny: vec!["system.which".to_owned()],
            ..CommandPolicy::default()
        };
        assert!(
            admit(
                &state(Some(which), false),
                &live,
                &open,
                NOW,
                "system.which"
            )
            .is_ok()
        );
        assert!(
            admit(
                &state(Some(which), false),
                &live,
                &closed,
                NOW,
                "system.which"
            )
            .is_err()
        );
        assert!(admit(&state(None, false), &live, &open, NOW, "system.which").is_err());
        let widened = CommandPolicy {
            allow: vec!["x.y".to_owned()],
            ..CommandPolicy::default()
        };
        let live = node("linux", &["x.y"]);
        assert!(admit(&state(Some(&["x.y"]), false), &live, &widened, NOW, "x.y").is_ok());
    }

    #[test]
    fn relays_need_a_paired_node_and_nothing_else() {
        let node = NodeId::from("n");
        assert!(require_pairing(&state(Some(&[]), false), &node, NOW, POLICY_GET).is_ok());
        let error = require_pairing(&state(None, true), &node, NOW, POLICY_GET).unwrap_err();
        assert_eq!(error.detail_code(), Some("NODE_PAIRING_REQUIRED"));
    }

    #[test]
    fn some_calls_are_forbidden_whoever_the_node_is() {
        let proxy = |method: &str, path: &str| Some(json!({"method": method, "path": path}));
        let cases = [
            (
                POLICY_GET,
                None,
                Some(
                    "node.invoke does not allow system.execApprovals.*; use exec.approvals.node.*",
                ),
            ),
            (
                POLICY_SET,
                None,
                Some(
                    "node.invoke does not allow system.execApprovals.*; use exec.approvals.node.*",
                ),
            ),
            (
                "browser.proxy",
                proxy("POST", "/profiles/create"),
                Some("profiles"),
            ),
            (
                "browser.proxy",
                proxy("post", " profiles//create/?x=1"),
                Some("profiles"),
            ),
            (
                "browser.proxy",
                proxy("POST", "/reset-profile"),
                Some("profiles"),
            ),
            (
                "browser.proxy",
                proxy("DELETE", "/profiles/work"),
                Some("profiles"),
            ),
            ("browser.proxy", proxy("DELETE", "/profiles"), None),
            (
                "browser.proxy",
                proxy("DELETE", "/profiles/work/tabs"),
                None,
            ),
            ("browser.proxy", proxy("GET", "/profiles/create"), None),
            ("browser.proxy", proxy("POST", "/tabs"), None),
            ("browser.proxy", None, None),
            ("system.run", proxy("POST", "/profiles/create"), None),
        ];
        for (command, params, refusal) in cases {
            let outcome = check_forbidden(command, params.as_ref());
            match refusal {
                None => assert_eq!(outcome, Ok(()), "{command} {params:?}"),
                Some(text) => {
                    let error = outcome.unwrap_err();
                    assert!(error.message.contains(text), "{}", error.message);
                    assert_eq!(error.details.as_deref(), Some(&json!({"command": command})));
                }
            }
        }
    }
}
