//! `openclaw gateway pairing`: whether anybody new may ask to join, through a running gateway or on its state
//! directory.

use serde_json::{Value, json};

use crate::cli::administration::{Fallback, open as reach};
use crate::cli::answer::Answer;
use crate::cli::error::{CliError, Usage};
use crate::cli::invocation::Invocation;
use crate::cli::nodes::with_note;
use crate::cli::output::text::plain;
use crate::cli::output::time::{DurationFault, left};
use crate::cli::row;
use crate::pairing::waiting::OPEN_COMMAND;
use crate::protocol::limits::MAX_PAIRING_WINDOW_MS;
use crate::protocol::scope::Scope;
use crate::store::clock::rfc3339;
use crate::store::{Clock, SystemClock};

/// `gateway pairing status`.
///
/// # Errors
/// As every administration command.
pub fn status(invocation: &Invocation) -> Result<Answer, CliError> {
    ask(
        invocation,
        Scope::PAIRING,
        "gateway.pairing.status",
        &json!({}),
    )
}

/// `gateway pairing open`.
///
/// # Errors
/// `Invalid --for: …`, a time that is too long, and as every administration command.
pub fn open(invocation: &Invocation) -> Result<Answer, CliError> {
    let params = match invocation.duration("for")? {
        Some(window) if window > MAX_PAIRING_WINDOW_MS => {
            return Err(Usage::BadDuration("for", DurationFault::TooLong("24h")).into());
        }
        Some(window) => json!({"forMs": window}),
        None => json!({}),
    };
    ask(invocation, Scope::ADMIN, "gateway.pairing.open", &params)
}

/// `gateway pairing close`.
///
/// # Errors
/// As every administration command.
pub fn close(invocation: &Invocation) -> Result<Answer, CliError> {
    ask(
        invocation,
        Scope::ADMIN,
        "gateway.pairing.close",
        &json!({}),
    )
}

fn ask(
    invocation: &Invocation,
    scope: Scope,
    method: &'static str,
    params: &Value,
) -> Result<Answer, CliError> {
    let mut gateway = reach(invocation, &[scope], Fallback::Offline)?;
    let standing = gateway.call(method, params)?;
    let mut text = sentence(&standing, SystemClock.now_ms());
    let decided = match row::text(&standing, "decidedBy") {
        Some("command") => "by `openclaw gateway pairing`; it wins over the configuration",
        _ => "by gateway.nodes.pairing.enabled",
    };
    text += &format!("\nDecided {decided}.\n");
    let text = invocation.addressed(&text);
    Ok(with_note(Answer::new(standing, text), &*gateway))
}

/// How the switch stands, in one line.
pub fn sentence(standing: &Value, now: u64) -> String {
    if !row::flag(standing, "open") {
        return format!(
            "Pairing is closed: nobody new may ask to join. Open it with: {OPEN_COMMAND}"
        );
    }
    match row::number(standing, "untilMs") {
        Some(until) => format!(
            "Pairing is open until {} ({} left), then closed.",
            rfc3339(until),
            left(until.saturating_sub(now))
        ),
        None => "Pairing is open.".to_owned(),
    }
}

/// The lines under a list: that pairing is not simply open, and who asked in vain lately.
pub fn notes(listed: &Value) -> Vec<String> {
    let standing = listed.get("pairing");
    let standing = standing.map(|standing| sentence(standing, SystemClock.now_ms()));
    let crowded = row::rows(listed, "crowded").iter().map(|source| {
        let count = |name: &str| row::number(source, name).unwrap_or_default();
        format!(
            "Too many requests of {}: {} refused, {} displaced.",
            plain(row::text(source, "source").unwrap_or("unknown")),
            count("refused"),
            count("displaced")
        )
    });
    standing.into_iter().chain(crowded).collect()
}
