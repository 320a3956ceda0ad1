//! How a connection that is not admitted ends: the answer, and the close behind it.

use serde_json::json;

use crate::protocol::close;
use crate::protocol::error::ErrorShape;

/// The pairing records cannot be read or written; the log knows why, the peer does not (D20).
pub fn store_unavailable() -> ErrorShape {
    let what = "The gateway cannot read or write its state: run openclaw doctor on its machine.";
    ErrorShape::unavailable("pairing store unavailable").with_details(json!({"remediation": what}))
}

/// How a connection ends that is not admitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The response, when there is one: the id of the request and the error.
    pub answer: Option<(String, Box<ErrorShape>)>,
    /// Close code.
    pub code: u16,
    /// Close reason, before it is cut to the limit.
    pub reason: String,
}

/// The error of one step of the handshake, with the close it leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    code: u16,
    error: Box<ErrorShape>,
    reason: Option<String>,
}

impl Verdict {
    /// Closes with 1008 and the message itself.
    pub fn policy(error: ErrorShape) -> Self {
        Self {
            code: close::POLICY,
            error: Box::new(error),
            reason: None,
        }
    }

    /// Closes with another code and reason than the usual ones.
    pub fn with_close(error: ErrorShape, code: u16, reason: impl Into<String>) -> Self {
        Self {
            code,
            error: Box::new(error),
            reason: Some(reason.into()),
        }
    }

    /// The pairing records cannot be read or written; the log knows why.
    pub fn store_unavailable() -> Self {
        let error = store_unavailable();
        let message = error.message.clone();
        Self::with_close(error, close::INTERNAL, message)
    }

    /// The end of the connection whose request `request_id` was judged.
    pub fn refusal(self, request_id: &str) -> Refusal {
        Refusal {
            code: self.code,
            reason: self.reason.unwrap_or_else(|| self.error.message.clone()),
            answer: Some((request_id.to_owned(), self.error)),
        }
    }
}

impl Refusal {
    /// Closes without an answer.
    pub fn silent(code: u16, reason: &str) -> Self {
        Self {
            answer: None,
            code,
            reason: reason.to_owned(),
        }
    }
}
