//! `doctor`: everything that can be wrong with this machine's part of the system, each with the command that mends
//! it; with `--fix` what is safe to mend is mended first.
//!
//! Each subject has a file: it gathers facts and judges them, and the judgement is pure. Subjects are looked at side
//! by side, and one that does not answer in time is told as such: this command always ends. It makes no device, no
//! request and no file.

mod check;
mod clock;
mod configuration;
mod discovery;
mod files;
mod mend;
mod node_host;
mod nodes;
mod port;
mod reach;
mod scene;
mod secrets;
mod tls;
mod unit;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::Builder;
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::cli::answer::{Answer, FAILURE, SUCCESS};
use crate::cli::doctor::check::{Check, State};
use crate::cli::doctor::mend::Mended;
use crate::cli::doctor::scene::Scene;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::output::text::plain;
use crate::cli::service::Seen;
use crate::service::Kind;

/// What looks at one subject.
type Look = fn(&Scene) -> Vec<Check>;

/// The subjects, in the order of the report.
const SUBJECTS: &[(&str, Look)] = &[
    ("config", configuration::checks),
    ("state", files::checks),
    ("services", services),
    ("port", port::checks),
    ("clock", clock::checks),
    ("gateway", reach::checks),
    ("tls", tls::checks),
    ("nodes", nodes::checks),
    ("node", node_host::checks),
];

/// Looks at everything. Exit code 1 when something failed; warnings alone are no failure.
///
/// # Errors
/// Places that cannot be found.
pub fn doctor(invocation: &Invocation) -> Result<Answer, CliError> {
    let begun = Instant::now();
    let scene = Arc::new(Scene::of(invocation)?);
    let mended = invocation.has("fix").then(|| mend::mend(&scene));
    let checks = look(&scene, begun);
    let failed = checks.iter().any(|check| check.state == State::Fail);
    let document = document(&checks, mended.as_ref(), failed);
    let text = text(&checks, mended.as_ref());
    let exit = if failed { FAILURE } else { SUCCESS };
    Ok(Answer::new(document, text).exit(exit))
}

/// All checks, in order; each subject has a thread, and the time of all is bounded.
fn look(scene: &Arc<Scene>, begun: Instant) -> Vec<Check> {
    let (told, heard) = channel();
    for (place, (name, look)) in SUBJECTS.iter().enumerate() {
        begin(scene, place, name, *look, told.clone());
    }
    drop(told);
    let mut found: BTreeMap<usize, Vec<Check>> = BTreeMap::new();
    let deadline = begun + scene.budget;
    while found.len() < SUBJECTS.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok((place, checks)) = heard.recv_timeout(left) else {
            break;
        };
        found.insert(place, checks);
    }
    let late = |name: &str| {
        let what = format!("no answer within {} ms", scene.budget.as_millis());
        vec![Check::warn(
            &format!("{name}.time"),
            what,
            "openclaw doctor --timeout 60000",
        )]
    };
    let subjects = SUBJECTS.iter().enumerate();
    subjects
        .flat_map(|(place, (name, _))| found.remove(&place).unwrap_or_else(|| late(name)))
        .collect()
}

fn begin(
    scene: &Arc<Scene>,
    place: usize,
    name: &'static str,
    look: Look,
    told: Sender<(usize, Vec<Check>)>,
) {
    let scene = Arc::clone(scene);
    // Left behind where it does not answer: the process ends with the report. Where no thread is to be had, its
    // subject counts as one that did not answer.
    let _ = Builder::new().name(name.to_owned()).spawn(move || {
        let _ = told.send((place, look(&scene)));
    });
}

/// The services, and the secrets that they are given.
fn services(scene: &Scene) -> Vec<Check> {
    let seen = |place: &Result<_, String>| place.as_ref().ok().cloned().map(Seen::at);
    let (gateway, node) = (seen(&scene.gateway_service), seen(&scene.node_service));
    let mut checks = secrets::checks(scene, gateway.as_ref(), node.as_ref());
    checks.extend(unit::checks(scene, Kind::Gateway, gateway.as_ref()));
    checks.extend(unit::checks(scene, Kind::Node, node.as_ref()));
    checks
}

fn document(checks: &[Check], mended: Option<&Mended>, failed: bool) -> Value {
    let mut counts = Map::new();
    for state in State::ALL {
        counts.insert(state.as_str().to_owned(), json!(count(checks, state)));
    }
    let checks: Vec<Value> = checks.iter().map(Check::document).collect();
    let mut document = json!({"ok": !failed, "counts": counts, "checks": checks});
    if let Some(mended) = mended {
        document["fixed"] = json!(mended.done);
        document["notFixed"] = json!(mended.left);
    }
    document
}

fn count(checks: &[Check], state: State) -> usize {
    checks.iter().filter(|check| check.state == state).count()
}

fn text(checks: &[Check], mended: Option<&Mended>) -> String {
    let mut out = String::new();
    if let Some(mended) = mended {
        for line in &mended.done {
            out += &format!("Fixed: {}\n", plain(line));
        }
        for line in &mended.left {
            out += &format!("Not fixed: {}\n", plain(line));
        }
        if mended.done.is_empty() && mended.left.is_empty() {
            out += "Nothing to fix.\n";
        }
        out.push('\n');
    }
    for check in checks {
        out += &check.text();
    }
    let counts = State::ALL.map(|state| format!("{} {}", count(checks, state), state.as_str()));
    out + "\n" + &counts.join(" · ") + "\n"
}
