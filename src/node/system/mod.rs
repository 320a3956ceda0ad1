//! The `system.*` commands of a node: from parameters to a reply.
//!
//! Each command judges before it acts and answers in the words of the specification; none of them knows
//! the connection the answer goes over.

mod approvals;
mod judged;
mod params;
mod prepare;
mod record;
mod run;
mod which;

use serde_json::{Value, json};

pub use self::approvals::{approvals_get, approvals_set};
pub use self::prepare::prepare;
pub use self::run::run;
pub use self::which::which;
use super::run::Outcome;
use crate::exec::Reason;
use crate::protocol::error::ErrorShape;

/// Characters of output an event carries; more is cut at the front.
const EVENT_OUTPUT: usize = 20_000;

/// What a command answers: at most one event, which goes first, and the result.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// Name and payload of a `node.event`.
    pub event: Option<(&'static str, Value)>,
    /// The result's payload or its error.
    pub result: Result<Value, ErrorShape>,
}

impl Reply {
    /// A reply without an event.
    pub fn plain(result: Result<Value, ErrorShape>) -> Self {
        Self {
            event: None,
            result,
        }
    }
}

/// What both events of a run say about it.
struct RunLabel<'a> {
    session_key: &'a str,
    run_id: &'a str,
    command: &'a str,
    suppress_notify: bool,
}

impl RunLabel<'_> {
    fn denied(&self, reason: Reason) -> (&'static str, Value) {
        let payload = json!({
            "sessionKey": self.session_key,
            "runId": self.run_id,
            "host": "node",
            "command": self.command,
            "reason": reason.as_str(),
            "suppressNotifyOnExit": self.suppress_notify,
        });
        ("exec.denied", payload)
    }

    fn finished(&self, outcome: &Outcome) -> (&'static str, Value) {
        let mut payload = json!({
            "sessionKey": self.session_key,
            "runId": self.run_id,
            "host": "node",
            "command": self.command,
            "timedOut": outcome.timed_out,
            "success": outcome.success(),
            "output": event_output(outcome),
        });
        if let Some(code) = outcome.exit_code {
            payload["exitCode"] = code.into();
        }
        if self.suppress_notify {
            payload["suppressNotifyOnExit"] = true.into();
        }
        ("exec.finished", payload)
    }
}

fn event_output(outcome: &Outcome) -> String {
    let error = outcome.error.as_deref().unwrap_or("");
    let parts = [outcome.stdout.as_str(), outcome.stderr.as_str(), error];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let text = parts.join("\n");
    let text = text.trim();
    match text.chars().count().checked_sub(EVENT_OUTPUT) {
        None | Some(0) => text.to_owned(),
        Some(cut) => {
            let tail: String = text.chars().skip(cut).collect();
            format!("... (truncated) {tail}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_carry_the_end_of_long_output() {
        let outcome = |stdout: &str, stderr: &str, error: Option<&str>| Outcome {
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
            error: error.map(str::to_owned),
            ..Outcome::default()
        };
        assert_eq!(event_output(&outcome(" a\n", "b\n", None)), "a\n\nb");
        assert_eq!(
            event_output(&outcome("", "", Some("spawn x ENOENT"))),
            "spawn x ENOENT"
        );
        let long = event_output(&outcome(&"é".repeat(EVENT_OUTPUT + 5), "", None));
        assert_eq!(
            long,
            format!("... (truncated) {}", "é".repeat(EVENT_OUTPUT))
        );
    }

    #[test]
    fn finished_leaves_out_what_is_not_known() {
        let label = RunLabel {
            session_key: "node",
            run_id: "r",
            command: "ls",
            suppress_notify: false,
        };
        let killed = Outcome {
            timed_out: true,
            ..Outcome::default()
        };
        let (name, payload) = label.finished(&killed);
        assert_eq!(name, "exec.finished");
        assert!(payload.get("exitCode").is_none() && payload.get("suppressNotifyOnExit").is_none());
    }
}
