//! Params of node sessions: describe, invoke and its result, events and pending queues (specification
//! section 7).

use serde_json::Value;

use super::non_blank;
use crate::{
    identity::ids::NodeId,
    protocol::{
        error::ErrorShape,
        frame::object,
        limits::DAY_MS,
        schema::{COUNT, Fields, Kind, NAME, TEXT, optional, parse_params, required},
    },
};

/// An idempotency key: real ones have about 40 characters, and what is forwarded beside the params of an invoke
/// must not fill what may wait for a node.
const KEY: Kind = Kind::Bounded {
    of: &NAME,
    max: 1_024,
};

/// `node.describe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDescribe {
    /// The node to describe, trimmed.
    pub node_id: NodeId,
}

impl NodeDescribe {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[required("nodeId", NAME)]);
        let mut fields = parse_params("node.describe", params, &KIND)?;
        Ok(Self {
            node_id: non_blank(&fields.required_text("nodeId"), "nodeId required")?.into(),
        })
    }
}

/// `node.invoke`.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeInvoke {
    /// The node to run on, trimmed.
    pub node_id: NodeId,
    /// The command, trimmed.
    pub command: String,
    /// Its params; `None` when absent, which is not the same as `null` to the node.
    pub params: Option<Value>,
    /// How long the caller waits, milliseconds; 0 is not at all.
    pub timeout_ms: Option<u64>,
    /// Forwarded to the node.
    pub idempotency_key: String,
}

impl NodeInvoke {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[
            required("nodeId", NAME),
            required("command", NAME),
            optional("params", Kind::Any),
            optional("timeoutMs", COUNT),
            required("idempotencyKey", KEY),
        ]);
        const BLANK: &str = "nodeId and command required";
        let mut fields = parse_params("node.invoke", params, &KIND)?;
        Ok(Self {
            node_id: non_blank(&fields.required_text("nodeId"), BLANK)?.into(),
            command: non_blank(&fields.required_text("command"), BLANK)?,
            params: fields.value("params"),
            timeout_ms: fields.count("timeoutMs"),
            idempotency_key: fields.required_text("idempotencyKey"),
        })
    }
}

/// `node.invoke.result`: what a node answers.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeInvokeResult {
    /// Id of the invoke.
    pub id: String,
    /// The node that claims to answer.
    pub node_id: NodeId,
    /// Whether the command ran.
    pub ok: bool,
    /// Its result as a value.
    pub payload: Option<Value>,
    /// Its result as JSON text, which wins.
    pub payload_json: Option<String>,
    /// Why it did not run.
    pub error: Option<NodeError>,
}

/// The error a node reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeError {
    /// Its code.
    pub code: Option<String>,
    /// Its message.
    pub message: Option<String>,
}

impl NodeError {
    /// `<code>: <message>`, whichever is there, or `node invoke failed` (section 7.3).
    pub fn sentence(&self) -> String {
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (None, Some(message)) => message.clone(),
            (Some(code), None) => format!("{code}: node invoke failed"),
            (None, None) => "node invoke failed".to_owned(),
        }
    }

    /// `details.nodeError` of the answer to the operator.
    pub fn to_value(&self) -> Value {
        let text = |value: &Option<String>| value.as_deref().map(Value::from);
        object([("code", text(&self.code)), ("message", text(&self.message))])
    }
}

impl NodeInvokeResult {
    /// Reads the params. Before the check, `null` for `payloadJSON` and `error` counts as absent and a
    /// `payloadJSON` that is no string becomes the payload.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const ERROR: Kind = Kind::Object(&[optional("code", NAME), optional("message", NAME)]);
        const KIND: Kind = Kind::Object(&[
            required("id", NAME),
            required("nodeId", NAME),
            required("ok", Kind::Boolean),
            optional("payload", Kind::Any),
            optional("payloadJSON", TEXT),
            optional("error", ERROR),
        ]);
        let mut fields = parse_params("node.invoke.result", params.map(forgive), &KIND)?;
        Ok(Self {
            id: fields.required_text("id"),
            node_id: fields.required_text("nodeId").into(),
            ok: fields.boolean("ok").unwrap_or(false),
            payload: fields.value("payload"),
            payload_json: fields.text("payloadJSON"),
            error: fields.object("error").map(NodeError::from),
        })
    }

    /// The params as a node sends them.
    pub fn to_value(&self) -> Value {
        object([
            ("id", Some(self.id.as_str().into())),
            ("nodeId", Some(self.node_id.as_str().into())),
            ("ok", Some(self.ok.into())),
            ("payload", self.payload.clone()),
            ("payloadJSON", self.payload_json.as_deref().map(Value::from)),
            ("error", self.error.as_ref().map(NodeError::to_value)),
        ])
    }
}

impl From<Fields> for NodeError {
    fn from(mut fields: Fields) -> Self {
        Self {
            code: fields.text("code"),
            message: fields.text("message"),
        }
    }
}

fn forgive(mut params: Value) -> Value {
    let Some(map) = params.as_object_mut() else {
        return params;
    };
    if map.get("error").is_some_and(Value::is_null) {
        map.shift_remove("error");
    }
    match map.get("payloadJSON") {
        None | Some(Value::String(_)) => {}
        Some(_) => {
            let payload = map
                .shift_remove("payloadJSON")
                .filter(|value| !value.is_null());
            if let Some(payload) = payload {
                map.insert("payload".into(), payload);
            }
        }
    }
    params
}

/// `node.event`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEvent {
    /// Name of the event.
    pub event: String,
    /// Its payload as JSON text: `payloadJSON` as sent, else `payload` serialized.
    pub payload_json: Option<String>,
}

impl NodeEvent {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[
            required("event", NAME),
            optional("payload", Kind::Any),
            optional("payloadJSON", TEXT),
        ]);
        let mut fields = parse_params("node.event", params, &KIND)?;
        let payload = fields.value("payload");
        Ok(Self {
            event: fields.required_text("event"),
            payload_json: fields
                .text("payloadJSON")
                .or_else(|| payload.map(|it| it.to_string())),
        })
    }
}

/// `node.pending.ack`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingAck {
    /// Ids of the actions that were done, at least one.
    pub ids: Vec<String>,
}

impl PendingAck {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const IDS: Kind = Kind::List { of: &NAME, min: 1 };
        const KIND: Kind = Kind::Object(&[required("ids", IDS)]);
        let mut fields = parse_params("node.pending.ack", params, &KIND)?;
        Ok(Self {
            ids: fields.texts("ids").unwrap_or_default(),
        })
    }
}

/// `node.pending.drain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingDrain {
    /// Most items wanted, 1 to 10.
    pub max_items: Option<u64>,
}

impl PendingDrain {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[optional("maxItems", Kind::Integer { min: 1, max: 10 })]);
        let mut fields = parse_params("node.pending.drain", params, &KIND)?;
        Ok(Self {
            max_items: fields.count("maxItems"),
        })
    }
}

/// `node.pending.enqueue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingEnqueue {
    /// The node the item is for, trimmed.
    pub node_id: NodeId,
    /// `status.request` or `location.request`.
    pub kind: String,
    /// Whether the item is of priority `high` instead of `normal`.
    pub high_priority: bool,
    /// How long the item lives, milliseconds, 1,000 to 86,400,000.
    pub expires_in_ms: Option<u64>,
}

impl PendingEnqueue {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const LIFE: Kind = Kind::Integer {
            min: 1_000,
            max: DAY_MS as i64,
        };
        const KIND: Kind = Kind::Object(&[
            required("nodeId", NAME),
            required("type", Kind::OneOf(&["status.request", "location.request"])),
            optional("priority", Kind::OneOf(&["normal", "high"])),
            optional("expiresInMs", LIFE),
            optional("wake", Kind::Boolean),
        ]);
        let mut fields = parse_params("node.pending.enqueue", params, &KIND)?;
        Ok(Self {
            node_id: non_blank(&fields.required_text("nodeId"), "nodeId required")?.into(),
            kind: fields.required_text("type"),
            high_priority: fields.text("priority").as_deref() == Some("high"),
            expires_in_ms: fields.count("expiresInMs"),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn results_of_nodes_are_forgiven_their_nulls() {
        let parse = |value| NodeInvokeResult::parse(Some(value)).unwrap();
        let base = || json!({"id":"i","nodeId":"n","ok":true});
        let with = |name: &str, value: Value| {
            let mut params = base();
            params[name] = value;
            parse(params)
        };
        assert_eq!(with("payloadJSON", Value::Null), parse(base()));
        assert_eq!(with("error", Value::Null), parse(base()));
        assert_eq!(
            with("payloadJSON", json!({"a":1})).payload,
            Some(json!({"a":1}))
        );
        assert_eq!(
            with("payloadJSON", json!("{}")).payload_json.as_deref(),
            Some("{}")
        );
        let failed = with("error", json!({"code":"X","message":"no"}));
        assert_eq!(failed.error.as_ref().unwrap().sentence(), "X: no");
        assert_eq!(parse(failed.to_value()), failed);
    }

    #[test]
    fn errors_of_nodes_become_sentences() {
        let some = |text: &str| Some(text.to_owned());
        let table = [
            (some("X"), some("no"), "X: no"),
            (None, some("no"), "no"),
            (some("X"), None, "X: node invoke failed"),
            (None, None, "node invoke failed"),
        ];
        for (code, message, sentence) in table {
            assert_eq!(NodeError { code, message }.sentence(), sentence);
        }
    }

    #[test]
    fn the_text_of_an_event_payload_wins_over_its_value() {
        let parse = |value| NodeEvent::parse(Some(value)).unwrap().payload_json;
        assert_eq!(parse(json!({"event":"e"})), None);
        assert_eq!(
            parse(json!({"event":"e","payload":{"a":1}})).as_deref(),
            Some("{\"a\":1}")
        );
        assert_eq!(
            parse(json!({"event":"e","payload":1,"payloadJSON":"raw"})).as_deref(),
            Some("raw")
        );
    }

    #[test]
    fn an_idempotency_key_has_an_end() {
        let parse = |letters: usize| {
            let key = "k".repeat(letters);
            NodeInvoke::parse(Some(
                json!({"nodeId":"n","command":"c","idempotencyKey":key}),
            ))
        };
        assert_eq!(parse(1_024).unwrap().idempotency_key.len(), 1_024);
        assert_eq!(
            parse(1_025).map(drop).unwrap_err().message,
            "invalid node.invoke params: at /idempotencyKey: must NOT have more than 1024 characters"
        );
    }

    #[test]
    fn absent_and_null_params_of_an_invoke_differ() {
        let parse = |value| NodeInvoke::parse(Some(value)).unwrap().params;
        assert_eq!(
            parse(json!({"nodeId":"n","command":"c","idempotencyKey":"k"})),
            None
        );
        assert_eq!(
            parse(json!({"nodeId":"n","command":"c","idempotencyKey":"k","params":null})),
            Some(Value::Null)
        );
    }
}
