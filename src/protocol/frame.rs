//! Requests, responses and events as text (specification section 1.1).
//!
//! Incoming text is measured before it is parsed. Outgoing frames are rendered once; an event that
//! goes to many peers is shared, and only its `seq` is added per peer.

use std::{fmt, sync::Arc};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::protocol::{
    error::ErrorShape,
    json_text, nesting,
    schema::{self, Fields, Kind, NAME, optional, required},
};

/// A valid request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Chosen by the sender, opaque, never empty.
    pub id: String,
    /// Name of the method, never empty.
    pub method: String,
    /// `params` as sent; absent and `null` are the same to a handler.
    pub params: Option<Value>,
}

/// Why a text is not a request.
#[derive(Clone, Debug, PartialEq)]
pub enum FrameFault {
    /// Not JSON at all: closes the handshake, is ignored afterwards.
    NotJson,
    /// JSON, but not a request.
    NotRequest {
        /// The `id` to answer under: that of the frame, whatever its type, or `"invalid"`.
        id: Value,
        /// The findings, joined with `"; "`.
        list: String,
    },
}

impl FrameFault {
    /// The response after the handshake (section 1.5): none for text that is not JSON.
    pub fn response(&self) -> Option<String> {
        let Self::NotRequest { id, list } = self else {
            return None;
        };
        Some(error_for(
            id,
            &ErrorShape::invalid(format!("invalid request frame: {list}")),
        ))
    }
}

impl fmt::Display for FrameFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => formatter.write_str("not JSON"),
            Self::NotRequest { list, .. } => formatter.write_str(list),
        }
    }
}

impl std::error::Error for FrameFault {}

const REQUEST: Kind = Kind::Object(&[
    required("type", Kind::Constant("req")),
    required("id", NAME),
    required("method", NAME),
    optional("params", Kind::Any),
]);

/// Reads one request as the gateway receives it.
pub fn parse_request(text: &str) -> Result<Request, FrameFault> {
    let value = match parse_json(text) {
        Ok(value) => value,
        Err(JsonFault::NotJson) => return Err(FrameFault::NotJson),
        Err(fault) => {
            return Err(FrameFault::NotRequest {
                id: id_of(text),
                list: fault.to_string(),
            });
        }
    };
    if let Err(list) = schema::check(&value, &REQUEST) {
        let id = value.get("id").filter(|id| !id.is_null()).cloned();
        return Err(FrameFault::NotRequest {
            id: id.unwrap_or_else(|| "invalid".into()),
            list,
        });
    }
    request_from(value).ok_or(FrameFault::NotJson)
}

/// The `id` of a frame whose other members are not read.
fn id_of(text: &str) -> Value {
    #[derive(Deserialize)]
    struct Head {
        id: String,
    }
    json_text::read::<Head>(text.as_bytes())
        .map_or_else(|_| "invalid".into(), |head| head.id.into())
}

/// Any frame as a client receives it.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// An event.
    Event(Event),
    /// A request, as tests and proxies see it.
    Request(Request),
    /// The answer to a request.
    Response(Response),
}

/// An event as a client receives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Name of the event.
    pub name: String,
    /// `payload`, `null` when absent.
    pub payload: Value,
    /// Number of this broadcast on this connection; absent on events meant for one peer.
    pub seq: Option<u64>,
    /// `stateVersion` as sent.
    pub state_version: Option<Value>,
}

/// A response as a client receives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The id of the request.
    pub id: String,
    /// `payload` (`null` when absent), or `error`.
    pub outcome: Result<Value, ErrorShape>,
}

impl Frame {
    /// Reads any frame leniently: unknown fields and unknown error codes of a newer gateway are
    /// accepted. `None` is text that is no frame, which a client ignores. Answers may nest deeper than
    /// requests, so the limit is the parser's own (128): call it on a stack of a mebibyte or more.
    pub fn parse(text: &str) -> Option<Frame> {
        let mut value: Value = json_text::read(text.as_bytes()).ok()?;
        match value.get("type")?.as_str()? {
            "event" => Some(Frame::Event(Event {
                name: value.get("event")?.as_str()?.to_owned(),
                payload: value
                    .get_mut("payload")
                    .map(Value::take)
                    .unwrap_or_default(),
                seq: value.get("seq").and_then(Value::as_u64),
                state_version: value.get("stateVersion").cloned(),
            })),
            "req" => request_from(value).map(Frame::Request),
            "res" => Some(Frame::Response(Response {
                id: value.get("id")?.as_str()?.to_owned(),
                outcome: match value.get("ok")?.as_bool()? {
                    true => Ok(value
                        .get_mut("payload")
                        .map(Value::take)
                        .unwrap_or_default()),
                    false => Err(ErrorShape::from_value(
                        value.get("error").unwrap_or(&Value::Null),
                    )),
                },
            })),
            _ => None,
        }
    }
}

/// A request as a client sends it; `params` of `None` are left out.
pub fn request(id: &str, method: &str, params: Option<&Value>) -> String {
    let head = format!(
        r#"{{"type":"req","id":{},"method":{}"#,
        quoted(id),
        quoted(method)
    );
    match params {
        Some(params) => format!("{head},\"params\":{params}}}"),
        None => head + "}",
    }
}

/// A successful response; `payload` is shown as JSON.
pub fn ok(id: &str, payload: &dyn fmt::Display) -> String {
    format!(
        r#"{{"type":"res","id":{},"ok":true,"payload":{payload}}}"#,
        quoted(id)
    )
}

/// A failed response.
pub fn error(id: &str, error: &ErrorShape) -> String {
    error_for(&id.into(), error)
}

/// A failed response to a frame whose `id` need not be a string.
pub fn error_for(id: &Value, error: &ErrorShape) -> String {
    format!(
        r#"{{"type":"res","id":{id},"ok":false,"error":{}}}"#,
        error.to_value()
    )
}

/// An event rendered once for every peer: all of it but `seq`, which [`EventText::render`] adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventText {
    /// The frame without its last brace.
    open: Arc<str>,
}

impl EventText {
    /// Renders event `name` with `payload`.
    pub fn new(name: &str, payload: &Value) -> Self {
        let open = format!(
            r#"{{"type":"event","event":{},"payload":{payload}"#,
            quoted(name)
        );
        Self { open: open.into() }
    }

    /// Renders event `name` with `payload` and both `stateVersion` counters (section 1.3).
    pub fn with_state_version(name: &str, payload: &Value, presence: u64, health: u64) -> Self {
        let plain = Self::new(name, payload);
        let version = json!({"presence": presence, "health": health});
        Self {
            open: format!("{},\"stateVersion\":{version}", plain.open).into(),
        }
    }

    /// The frame for one peer; events meant for a single peer have no `seq`.
    pub fn render(&self, seq: Option<u64>) -> String {
        let mut text = String::with_capacity(self.max_len());
        text.push_str(&self.open);
        if let Some(seq) = seq {
            text.push_str(&format!(",\"seq\":{seq}"));
        }
        text.push('}');
        text
    }

    /// An upper bound of the rendered length in bytes.
    pub fn max_len(&self) -> usize {
        const SEQ_AND_BRACE: usize = 28;
        self.open.len() + SEQ_AND_BRACE
    }
}

/// Why a peer's text is not read as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonFault {
    /// Not JSON at all.
    NotJson,
    /// A number that is no finite one of 64 bits, as `1e400`.
    OutOfRange,
    /// Nested beyond [`nesting::MAX_NESTING`]; nothing of it was parsed.
    TooDeep,
}

impl fmt::Display for JsonFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => formatter.write_str("not JSON"),
            Self::OutOfRange => formatter.write_str("a number is out of range"),
            Self::TooDeep => write!(
                formatter,
                "nested deeper than {} levels",
                nesting::MAX_NESTING
            ),
        }
    }
}

impl std::error::Error for JsonFault {}

/// Reads JSON that a peer wrote, inside a frame or as text in one (`payloadJSON`): its nesting is
/// measured before a connection thread's small stack has to hold it.
pub fn parse_json(text: &str) -> Result<Value, JsonFault> {
    nesting::measure(text).map_err(|_| JsonFault::TooDeep)?;
    let text = text.as_bytes();
    json_text::read(text).map_err(|_| match json_text::is_json(text) {
        true => JsonFault::OutOfRange,
        false => JsonFault::NotJson,
    })
}

fn request_from(value: Value) -> Option<Request> {
    let mut fields = Fields::parse(value, &Kind::Open(&[])).ok()?;
    Some(Request {
        id: fields.text("id")?,
        method: fields.text("method")?,
        params: fields.value("params"),
    })
}

/// `text` as a JSON string.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// An object from pairs of which the absent ones are left out.
pub fn object(pairs: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    let present = pairs
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests;
