//! How an invoke ends, in the words of the two methods that ask nodes (protocol.md §7.2, §7.3, §8.2).

use serde_json::{Map, Value, json};

use crate::gateway::invoke::Origin;
use crate::identity::ids::NodeId;
use crate::protocol::error::ErrorShape;
use crate::protocol::frame::parse_json;
use crate::protocol::params::{NodeError, NodeInvokeResult};

/// How an invoke ends: with what the node said, or without it.
pub type Ending = Result<NodeInvokeResult, Fault>;

/// Why an invoke ends without an answer of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The node's connection closed first.
    Disconnected,
    /// There is no live session of the node.
    NotConnected,
    /// The node's connection takes no more data.
    SendFailed,
    /// The deadline passed.
    TimedOut,
    /// The node may no longer be asked: its approval or the policy changed meanwhile.
    Withdrawn,
}

impl Fault {
    /// The answer of the method `origin` for `command`.
    pub fn error(self, origin: Origin, command: &str) -> ErrorShape {
        match self {
            Fault::Disconnected => {
                ErrorShape::unavailable(format!("node disconnected ({command})"))
                    .with_details(json!({"code": "NODE_DISCONNECTED"}))
            }
            Fault::NotConnected => match origin {
                Origin::Invoke => ErrorShape::unavailable("node not connected")
                    .with_details(json!({"code": "NOT_CONNECTED"})),
                Origin::Relay => gateway_refusal("NOT_CONNECTED", "node not connected"),
            },
            Fault::SendFailed => gateway_refusal("UNAVAILABLE", "failed to send invoke to node"),
            Fault::TimedOut => gateway_refusal("TIMEOUT", "node invoke timed out"),
            Fault::Withdrawn => ErrorShape::unavailable(format!(
                "node command withdrawn ({command}): its approval or the command policy changed"
            ))
            .with_details(json!({"code": "COMMAND_WITHDRAWN", "command": command})),
        }
    }
}

/// The answer of the method `origin` for an invoke of `command` on `node` that ended as `ending`.
pub fn answer(
    origin: Origin,
    node: &NodeId,
    command: &str,
    ending: Ending,
) -> Result<Value, ErrorShape> {
    match ending {
        Ok(result) if result.ok => Ok(success(origin, node, command, result)),
        Ok(result) => Err(node_refusal(result.error)),
        Err(fault) => Err(fault.error(origin, command)),
    }
}

fn success(origin: Origin, node: &NodeId, command: &str, result: NodeInvokeResult) -> Value {
    let payload = match result.payload_json.as_deref() {
        Some(text) if !text.trim().is_empty() => {
            Some(parse_json(text).unwrap_or_else(|_| json!({"payloadJSON": text})))
        }
        _ => result.payload,
    };
    if origin == Origin::Relay {
        return payload.unwrap_or(Value::Null);
    }
    let mut answer = Map::new();
    answer.insert("ok".into(), Value::Bool(true));
    answer.insert("nodeId".into(), Value::String(node.to_string()));
    answer.insert("command".into(), Value::String(command.to_owned()));
    if let Some(payload) = payload {
        answer.insert("payload".into(), payload);
    }
    answer.insert(
        "payloadJSON".into(),
        result.payload_json.map_or(Value::Null, Value::String),
    );
    Value::Object(answer)
}

/// A failure the node reported itself: its own words, in front of them its own code.
fn node_refusal(error: Option<NodeError>) -> ErrorShape {
    let sentence = error.clone().unwrap_or_default().sentence();
    let shown = error.as_ref().map_or(Value::Null, NodeError::to_value);
    ErrorShape::unavailable(sentence).with_details(json!({"nodeError": shown}))
}

/// A failure the gateway reports in the node's place.
fn gateway_refusal(code: &str, message: &str) -> ErrorShape {
    ErrorShape::unavailable(format!("{code}: {message}"))
        .with_details(json!({"nodeError": {"code": code, "message": message}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(ok: bool) -> NodeInvokeResult {
        NodeInvokeResult {
            id: "i".to_owned(),
            node_id: NodeId::from("n"),
            ok,
            payload: None,
            payload_json: None,
            error: None,
        }
    }

    fn said(code: Option<&str>, message: Option<&str>) -> Ending {
        let error = NodeError {
            code: code.map(str::to_owned),
            message: message.map(str::to_owned),
        };
        Ok(NodeInvokeResult {
            error: Some(error),
            ..result(false)
        })
    }

    #[test]
    fn successes_are_worded_as_specified() {
        let text = |text: &str| NodeInvokeResult {
            payload_json: Some(text.to_owned()),
            ..result(true)
        };
        let deep = format!("{}{}", "[".repeat(80), "]".repeat(80));
        let cases = [
            (
                text("{\"stdout\":\"abc\\ud83d\"}"),
                json!({"ok":true,"nodeId":"n","command":"c","payload":{"stdout":"abc\u{fffd}"},
                    "payloadJSON":"{\"stdout\":\"abc\\ud83d\"}"}),
            ),
            (
                text(&deep),
                json!({"ok":true,"nodeId":"n","command":"c","payload":{"payloadJSON":deep},"payloadJSON":deep}),
            ),
            (
                text("{\"bins\":{}}"),
                json!({"ok":true,"nodeId":"n","command":"c","payload":{"bins":{}},"payloadJSON":"{\"bins\":{}}"}),
            ),
            (
                text("{oops"),
                json!({"ok":true,"nodeId":"n","command":"c","payload":{"payloadJSON":"{oops"},"payloadJSON":"{oops"}),
            ),
            (
                NodeInvokeResult {
                    payload: Some(json!([1])),
                    ..result(true)
                },
                json!({"ok":true,"nodeId":"n","command":"c","payload":[1],"payloadJSON":null}),
            ),
            (
                result(true),
                json!({"ok":true,"nodeId":"n","command":"c","payloadJSON":null}),
            ),
        ];
        for (result, expected) in cases {
            let got = answer(Origin::Invoke, &NodeId::from("n"), "c", Ok(result)).unwrap();
            assert_eq!(got, expected);
        }
        let relayed = answer(
            Origin::Relay,
            &NodeId::from("n"),
            "c",
            Ok(text("{\"hash\":\"x\"}")),
        )
        .unwrap();
        assert_eq!(relayed, json!({"hash":"x"}));
    }

    #[test]
    fn failures_are_worded_as_specified() {
        use Origin::{Invoke, Relay};
        let cases = [
            (
                Invoke,
                Err(Fault::NotConnected),
                "node not connected",
                json!({"code":"NOT_CONNECTED"}),
            ),
            (
                Relay,
                Err(Fault::NotConnected),
                "NOT_CONNECTED: node not connected",
                json!({"nodeError":{"code":"NOT_CONNECTED","message":"node not connected"}}),
            ),
            (
                Invoke,
                Err(Fault::Disconnected),
                "node disconnected (system.run)",
                json!({"code":"NODE_DISCONNECTED"}),
            ),
            (
                Relay,
                Err(Fault::Disconnected),
                "node disconnected (system.run)",
                json!({"code":"NODE_DISCONNECTED"}),
            ),
            (
                Invoke,
                Err(Fault::SendFailed),
                "UNAVAILABLE: failed to send invoke to node",
                json!({"nodeError":{"code":"UNAVAILABLE","message":"failed to send invoke to node"}}),
            ),
            (
                Invoke,
                Err(Fault::Withdrawn),
                "node command withdrawn (system.run): its approval or the command policy changed",
                json!({"code":"COMMAND_WITHDRAWN","command":"system.run"}),
            ),
            (
                Invoke,
                Err(Fault::TimedOut),
                "TIMEOUT: node invoke timed out",
                json!({"nodeError":{"code":"TIMEOUT","message":"node invoke timed out"}}),
            ),
            (
                Invoke,
                said(Some("INVALID_REQUEST"), Some("bins required")),
                "INVALID_REQUEST: bins required",
                json!({"nodeError":{"code":"INVALID_REQUEST","message":"bins required"}}),
            ),
            (
                Invoke,
                said(None, Some("broken")),
                "broken",
                json!({"nodeError":{"message":"broken"}}),
            ),
            (
                Invoke,
                said(Some("X"), None),
                "X: node invoke failed",
                json!({"nodeError":{"code":"X"}}),
            ),
            (
                Invoke,
                Ok(result(false)),
                "node invoke failed",
                json!({"nodeError":null}),
            ),
        ];
        for (origin, ending, message, details) in cases {
            let error = answer(origin, &NodeId::from("n"), "system.run", ending).unwrap_err();
            assert_eq!(error.code.as_str(), "UNAVAILABLE");
            assert_eq!(error.message, message);
            assert_eq!(error.details.as_deref(), Some(&details));
        }
    }
}
