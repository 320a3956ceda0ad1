//! `devices clear`: removes every paired device, the own one last, and tells what was done even when it ends
//! half-way.

use serde_json::{Map, Value, json};

use crate::cli::administration::{Administration, Fallback, open};
use crate::cli::answer::Answer;
use crate::cli::devices::{is_own, remove_one};
use crate::cli::error::{CliError, Failed};
use crate::cli::invocation::Invocation;
use crate::cli::nodes::{ended, with_note};
use crate::cli::output::text::counted;
use crate::cli::row;
use crate::protocol::scope::Scope;

/// What was done so far.
#[derive(Default)]
struct Done {
    removed: Vec<String>,
    rejected: Vec<String>,
    sessions_ended: u64,
    invokes_ended: u64,
}

impl Done {
    fn document(&self) -> Value {
        json!({"removedDevices": self.removed, "rejectedPending": self.rejected})
    }

    fn text(&self, with_pending: bool) -> String {
        let mut out = format!(
            "Cleared {}\n",
            counted(self.removed.len() as u64, "paired device")
        );
        if with_pending {
            out += &format!(
                "Rejected {}\n",
                counted(self.rejected.len() as u64, "pending request")
            );
        }
        out
    }
}

/// Clears the pairing table.
///
/// # Errors
/// Without `--yes`; and the first refusal, with what was done before it.
pub fn clear(invocation: &Invocation) -> Result<Answer, CliError> {
    if !invocation.has("yes") {
        return Err(CliError::NotConfirmed(
            "Refusing to clear pairing table without --yes".into(),
        ));
    }
    let with_pending = invocation.has("pending");
    let mut gateway = open(invocation, &[Scope::PAIRING], Fallback::Offline)?;
    let mut done = Done::default();
    match work(&mut *gateway, with_pending, &mut done) {
        Ok(()) => {
            let mut answer = Answer::new(done.document(), done.text(with_pending));
            let counts =
                json!({"sessionsEnded": done.sessions_ended, "invokesEnded": done.invokes_ended});
            answer.notes.extend(ended(&counts));
            Ok(with_note(answer, &*gateway))
        }
        Err(error) => Err(halfway(error, &done)),
    }
}

/// Rejects first: a removed device takes its requests with it, and the own device must stay to the end.
fn work(
    gateway: &mut dyn Administration,
    with_pending: bool,
    done: &mut Done,
) -> Result<(), CliError> {
    let listed = gateway.call("device.pair.list", &json!({}))?;
    if with_pending {
        for request in row::rows(&listed, "pending") {
            let id = row::text(request, "requestId").unwrap_or_default();
            gateway.call("device.pair.reject", &json!({"requestId": id}))?;
            done.rejected.push(id.to_owned());
        }
    }
    let paired = row::rows(&listed, "paired").iter().map(row::id);
    let (own, others): (Vec<&str>, Vec<&str>) = paired.partition(|id| is_own(gateway, id));
    for id in others.into_iter().chain(own) {
        let removed = remove_one(gateway, id)?;
        done.removed.push(id.to_owned());
        done.sessions_ended += row::number(&removed, "sessionsEnded").unwrap_or_default();
        done.invokes_ended += row::number(&removed, "invokesEnded").unwrap_or_default();
    }
    Ok(())
}

/// The error with what was done before it, in both forms.
fn halfway(error: CliError, done: &Done) -> CliError {
    let mut failed = Failed::from(error);
    let before = format!(
        "Before that: cleared {}, rejected {}.",
        counted(done.removed.len() as u64, "paired device"),
        counted(done.rejected.len() as u64, "pending request")
    );
    failed.hint = Some(match failed.hint {
        Some(hint) => format!("{before}\n{hint}"),
        None => before,
    });
    failed.partial = done
        .document()
        .as_object()
        .cloned()
        .or_else(|| Some(Map::new()));
    failed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told_in_both_forms() {
        let done = Done {
            removed: vec!["a".to_owned(), "b".to_owned()],
            ..Done::default()
        };
        assert_eq!(
            done.text(true),
            "Cleared 2 paired devices\nRejected 0 pending requests\n"
        );
        assert_eq!(done.text(false), "Cleared 2 paired devices\n");
        let error = halfway(CliError::failed("UNAVAILABLE", "gone"), &done);
        assert_eq!(
            error.document(),
            json!({"ok":false,"removedDevices":["a","b"],"rejectedPending":[],"error":{"code":"UNAVAILABLE",
                "message":"gone","hint":"Before that: cleared 2 paired devices, rejected 0 pending requests.",
                "details":{}}})
        );
    }
}
