//! `audit verify`: whether the trail is whole, and whether it explains who is paired.

use std::io;

use serde_json::{Map, Value, json};

use crate::cli::answer::Answer;
use crate::cli::audit::Place;
use crate::cli::error::{CliError, Failed};
use crate::cli::invocation::Invocation;
use crate::cli::output::text::{counted, plain};
use crate::pairing::{Part, State};
use crate::store::AuditTrail;
use crate::store::audit::chain::{self, Fault, Link, Tally, Verifier};
use crate::store::audit::explained::{Approvals, Unexplained};
use crate::store::pairing_files::look_at;

/// Why the check ended before the end of the trail.
enum Stop {
    Broken(chain::Place, Fault),
    Unreadable(io::Error),
}

impl From<io::Error> for Stop {
    fn from(fault: io::Error) -> Stop {
        Stop::Unreadable(fault)
    }
}

/// A trail without a break.
struct Whole {
    tally: Tally,
    end: Option<Link>,
    approvals: Approvals,
    /// The link that was expected to be there, as it is.
    expected: Option<Link>,
}

/// `audit verify`.
///
/// # Errors
/// The first break (`AUDIT_BROKEN`), an end that is not the expected one, and as [`super::tail()`].
pub fn verify(invocation: &Invocation) -> Result<Answer, CliError> {
    let expected = invocation.text("expect").map(expectation).transpose()?;
    let place = Place::of(invocation)?;
    let trail = AuditTrail::open(&place.file).map_err(|fault| place.unreadable(&fault))?;
    let whole = match check(&trail, expected.as_ref()) {
        Ok(whole) => whole,
        Err(Stop::Unreadable(fault)) => return Err(place.unreadable(&fault)),
        Err(Stop::Broken(at, fault)) => return Err(broken(&place, &trail, at, &fault)),
    };
    if let Some(expected) = &expected {
        meets(expected, &whole)?;
    }
    let of_gateway = !invocation.has("node");
    let (unexplained, older, warnings) = match of_gateway {
        true => explain(&place, &whole.approvals),
        false => (Vec::new(), 0, Vec::new()),
    };
    let files: Vec<_> = trail.paths();
    let mut document = json!({
        "path": place.file,
        "files": files,
        "chained": whole.tally.chained,
        "notChained": whole.tally.not_chained,
        "torn": whole.tally.torn,
        "first": whole.tally.first,
        "head": whole.end.as_ref().map(|end| json!({"seq": end.seq, "chain": end.chain})),
    });
    if of_gateway {
        document["unexplained"] = unexplained.iter().map(row).collect();
        document["olderThanTrail"] = json!(older);
    }
    let text = text(&place, &whole, older);
    let mut answer = Answer::new(document, text);
    answer.notes = warnings;
    answer.notes.extend(unexplained.iter().map(told));
    Ok(answer)
}

fn check(trail: &AuditTrail, expected: Option<&Link>) -> Result<Whole, Stop> {
    let broken = |(place, fault)| Stop::Broken(place, fault);
    let mut verifier = Verifier::new(trail.is_rotated());
    let mut approvals = Approvals::default();
    let mut found = None;
    trail.each(|line| {
        let taken = verifier.take(line.place, &line.bytes, line.ended);
        if let Some(entry) = taken.map_err(broken)? {
            approvals.note(&entry);
        }
        let at_expected = verifier.link().filter(|link| {
            found.is_none() && expected.is_some_and(|expected| expected.seq == link.seq)
        });
        found = at_expected.cloned().or(found.take());
        Ok::<(), Stop>(())
    })?;
    let (tally, end) = verifier.finish().map_err(broken)?;
    Ok(Whole {
        tally,
        end,
        approvals,
        expected: found,
    })
}

/// `<seq>:<chain>`, as an earlier run printed it.
fn expectation(typed: &str) -> Result<Link, CliError> {
    let parsed = typed.split_once(':').and_then(|(seq, chain)| {
        let is_hex = chain.len() == 64 && chain.bytes().all(|byte| byte.is_ascii_hexdigit());
        let seq = seq.parse().ok().filter(|seq| *seq > 0)?;
        is_hex.then(|| Link {
            seq,
            chain: chain.to_ascii_lowercase(),
        })
    });
    parsed.ok_or_else(|| {
        CliError::rule(
            "Invalid --expect: expected <number>:<chain> as an earlier `audit verify` printed it",
        )
    })
}

/// Whether the trail still holds the line that was its end before.
fn meets(expected: &Link, whole: &Whole) -> Result<(), CliError> {
    let seq = expected.seq;
    let message = match &whole.expected {
        Some(found) if found.chain == expected.chain => return Ok(()),
        Some(_) => {
            format!("the trail was written anew: line number {seq} is another one than before")
        }
        None if whole.tally.first.is_some_and(|first| seq < first) => {
            format!(
                "line number {seq} was moved out with an old file: nothing can be said about it"
            )
        }
        None => format!("the end of the trail is missing: line number {seq} was there before"),
    };
    Err(CliError::failed("AUDIT_BROKEN", message))
}

fn broken(place: &Place, trail: &AuditTrail, at: chain::Place, fault: &Fault) -> CliError {
    let files = trail.paths();
    let file = files.get(at.file).copied().unwrap_or(&place.file);
    let mut failed = Failed::new(
        "AUDIT_BROKEN",
        format!("{}:{}: {fault}", place.paths.shorten(file), at.line),
    );
    failed.details = json!({"file": file, "line": at.line, "reason": fault.reason()});
    failed.partial = Some(Map::from_iter([("path".to_owned(), json!(place.file))]));
    failed.into()
}

/// Pairings without a line of their approval, how many are older than the trail, and files that cannot be read.
fn explain(place: &Place, approvals: &Approvals) -> (Vec<Unexplained>, u64, Vec<String>) {
    let mut state = State::default();
    let mut warnings = Vec::new();
    for part in [Part::DevicesPaired, Part::NodesPaired] {
        match look_at(&place.dir, part) {
            Ok(found) if part == Part::DevicesPaired => state.devices = found.devices,
            Ok(found) => state.nodes = found.nodes,
            Err(fault) => warnings.push(format!(
                "{fault}; whether the trail explains it is not known"
            )),
        }
    }
    let (unexplained, older) = approvals.compare(&state);
    (unexplained, older, warnings)
}

fn row(unexplained: &Unexplained) -> Value {
    json!({"layer": unexplained.layer, "id": unexplained.id, "approvedAtMs": unexplained.approved_at_ms})
}

fn told(unexplained: &Unexplained) -> String {
    format!(
        "Warning: {} {} is paired, and the trail has no line that approved it.",
        unexplained.layer,
        plain(&unexplained.id)
    )
}

fn text(place: &Place, whole: &Whole, older: u64) -> String {
    let tally = &whole.tally;
    let mut out = match &whole.end {
        Some(end) => format!(
            "{} is whole: {}, numbers {} to {}.\nEnd of the chain: {}:{}\n",
            place.shown(),
            counted(tally.chained, "line"),
            tally.first.unwrap_or(end.seq),
            end.seq,
            end.seq,
            end.chain
        ),
        None => format!("{} has no chained lines.\n", place.shown()),
    };
    if tally.not_chained > 0 {
        out += &format!(
            "{} from before there was a chain; nothing can be said about them.\n",
            counted(tally.not_chained, "line")
        );
    }
    if tally.torn > 0 {
        out += &format!("{} torn by a crash.\n", counted(tally.torn, "line"));
    }
    if older > 0 {
        out += &format!("{} older than the trail.\n", counted(older, "pairing"));
    }
    out
}
