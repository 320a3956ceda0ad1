//! `approvals get`: one machine's exec policy, and what comes of it together with the configuration.

use crate::cli::answer::Answer;
use crate::cli::approvals::place::Place;
use crate::cli::approvals::{effective, view};
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::store::{Clock, SystemClock};

/// `approvals get`.
///
/// # Errors
/// As [`Place::open`] and [`Place::get`].
pub fn get(invocation: &Invocation) -> Result<Answer, CliError> {
    let mut place = Place::open(invocation)?;
    let mut snapshot = place.get()?;
    let policy = effective::report(invocation, &mut place, &snapshot);
    let (now, style) = (SystemClock.now_ms(), invocation.style());
    let mut text = format!("Showing {} approvals.\n\n", view::whose(&place));
    text += &view::snapshot(&place, &snapshot, now, style);
    text += &format!("\n{}", view::effective(&policy, style));
    snapshot["effectivePolicy"] = policy;
    Ok(Answer::new(snapshot, text))
}
