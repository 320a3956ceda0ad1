//! The `error` object of a response: code, message and what a client may act on (section 1.1).
//!
//! Codes are decided where the situation is known; this file only gives them their shape.

use std::fmt;

use serde_json::{Map, Value};

/// `error.code` on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// `INVALID_REQUEST`: the request itself cannot be granted as it is.
    InvalidRequest,
    /// `NOT_PAIRED`: a device has to be approved first.
    NotPaired,
    /// `UNAVAILABLE`: it could work at another time or with another peer.
    Unavailable,
    /// `NOT_LINKED`: known to the protocol, never sent by us.
    NotLinked,
    /// `AGENT_TIMEOUT`: known to the protocol, never sent by us.
    AgentTimeout,
    /// `APPROVAL_NOT_FOUND`: known to the protocol, never sent by us.
    ApprovalNotFound,
    /// A code of a newer peer, kept as received.
    Other(Box<str>),
}

impl ErrorCode {
    /// The code as it stands on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::NotPaired => "NOT_PAIRED",
            Self::Unavailable => "UNAVAILABLE",
            Self::NotLinked => "NOT_LINKED",
            Self::AgentTimeout => "AGENT_TIMEOUT",
            Self::ApprovalNotFound => "APPROVAL_NOT_FOUND",
            Self::Other(code) => code,
        }
    }

    /// The code that stands on the wire as `code`; never fails.
    pub fn parse(code: &str) -> Self {
        match code {
            "INVALID_REQUEST" => Self::InvalidRequest,
            "NOT_PAIRED" => Self::NotPaired,
            "UNAVAILABLE" => Self::Unavailable,
            "NOT_LINKED" => Self::NotLinked,
            "AGENT_TIMEOUT" => Self::AgentTimeout,
            "APPROVAL_NOT_FOUND" => Self::ApprovalNotFound,
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The `error` object of a response.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorShape {
    /// `code`, required.
    pub code: ErrorCode,
    /// `message`, required and never empty; Display prints it alone.
    pub message: String,
    /// `details`, usually an object with its own `code` or `reason`; boxed to keep results small.
    pub details: Option<Box<Value>>,
    /// `retryable`: the same request may succeed later.
    pub retryable: Option<bool>,
    /// `retryAfterMs`: how long to wait before that.
    pub retry_after_ms: Option<u64>,
}

impl ErrorShape {
    /// An error with `code` and nothing but a message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: None,
            retryable: None,
            retry_after_ms: None,
        }
    }

    /// `INVALID_REQUEST` with `message`.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// `NOT_PAIRED` with `message`.
    pub fn not_paired(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotPaired, message)
    }

    /// `UNAVAILABLE` with `message`.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unavailable, message)
    }

    /// The same error with `details`.
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// The same error marked retryable after `after_ms` milliseconds.
    pub fn with_retry(mut self, after_ms: u64) -> Self {
        self.retryable = Some(true);
        self.retry_after_ms = Some(after_ms);
        self
    }

    /// `details.code`, which says more than the top-level code.
    pub fn detail_code(&self) -> Option<&str> {
        self.details.as_ref()?.get("code")?.as_str()
    }

    /// The object as it goes over the wire; absent parts are omitted.
    pub fn to_value(&self) -> Value {
        let mut object = Map::new();
        object.insert("code".into(), self.code.as_str().into());
        object.insert("message".into(), self.message.as_str().into());
        if let Some(details) = &self.details {
            object.insert("details".into(), Value::clone(details));
        }
        if let Some(retryable) = self.retryable {
            object.insert("retryable".into(), retryable.into());
        }
        if let Some(after) = self.retry_after_ms {
            object.insert("retryAfterMs".into(), after.into());
        }
        Value::Object(object)
    }

    /// The object as a client received it; what is missing or malformed is left out, so that an error
    /// of a newer gateway is still shown.
    pub fn from_value(value: &Value) -> Self {
        let text = |name| value.get(name).and_then(Value::as_str);
        Self {
            code: ErrorCode::parse(text("code").unwrap_or("UNAVAILABLE")),
            message: text("message").unwrap_or("request failed").to_owned(),
            details: value.get("details").cloned().map(Box::new),
            retryable: value.get("retryable").and_then(Value::as_bool),
            retry_after_ms: value.get("retryAfterMs").and_then(Value::as_u64),
        }
    }
}

impl fmt::Display for ErrorShape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for ErrorShape {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn absent_parts_are_omitted_and_shapes_survive_a_round_trip() {
        let table = [
            (
                ErrorShape::invalid("no"),
                json!({"code":"INVALID_REQUEST","message":"no"}),
            ),
            (
                ErrorShape::not_paired("wait").with_details(json!({"code":"PAIRING_REQUIRED"})),
                json!({"code":"NOT_PAIRED","message":"wait","details":{"code":"PAIRING_REQUIRED"}}),
            ),
            (
                ErrorShape::unavailable("later").with_retry(500),
                json!({"code":"UNAVAILABLE","message":"later","retryable":true,"retryAfterMs":500}),
            ),
            (
                ErrorShape::new(ErrorCode::parse("NODE_NOT_READY"), "new"),
                json!({"code":"NODE_NOT_READY","message":"new"}),
            ),
        ];
        for (shape, wire) in table {
            assert_eq!(shape.to_value(), wire);
            assert_eq!(ErrorShape::from_value(&wire), shape);
        }
    }

    #[test]
    fn codes_survive_a_round_trip() {
        let codes = [
            "INVALID_REQUEST",
            "NOT_PAIRED",
            "UNAVAILABLE",
            "NOT_LINKED",
            "AGENT_TIMEOUT",
            "APPROVAL_NOT_FOUND",
            "X",
        ];
        for code in codes {
            assert_eq!(ErrorCode::parse(code).as_str(), code);
        }
    }

    #[test]
    fn a_malformed_error_is_still_an_error() {
        for wire in [json!(null), json!([]), json!({"code":1,"message":[]})] {
            assert_eq!(
                ErrorShape::from_value(&wire),
                ErrorShape::unavailable("request failed")
            );
        }
    }
}
