//! What follows once the gateway is stored.

use serde_json::{Map, Value, json};

use crate::cli::answer::{Answer, SUCCESS};
use crate::cli::error::{CliError, Failed};
use crate::cli::invocation::Invocation;
use crate::cli::node::{self, Start};
use crate::cli::node_join::person::Person;
use crate::cli::node_join::view::Joined;
use crate::cli::node_join::wish::{Then, Wish};
use crate::cli::service::{self, Place};
use crate::client::SetupCode;

/// What a person should know besides.
pub fn warnings(invocation: &Invocation, wish: &Wish, suspicion: Option<String>) -> Vec<String> {
    let place = service::place(invocation);
    let keeps = place.is_ok_and(|place| place.manager().file().exists());
    let service = (keeps && wish.then != Then::Install).then(|| {
        "The installed service keeps its former gateway until: openclaw node install --force"
            .to_owned()
    });
    suspicion.into_iter().chain(service).collect()
}

/// Runs or installs the node host, or says how.
///
/// # Errors
/// As `node run`; the service is not installed.
pub fn finish(
    invocation: &Invocation,
    wish: &Wish,
    person: &mut dyn Person,
    joined: &Joined<'_>,
    start: Start,
    code: Option<SetupCode>,
) -> Result<Answer, CliError> {
    let mut document = joined.document();
    let mut then = wish.then;
    let asks = person.is_there() && !wish.json && then == Then::Nothing;
    if asks || then == Then::Run {
        joined.warnings.iter().for_each(|line| person.tell(line));
        person.tell(joined.text().trim_end());
    }
    if asks {
        then = what_then(invocation, &start, person);
    }
    match then {
        Then::Run => node::run_from(invocation, start, code),
        Then::Install => {
            let installed = service::install_anew(invocation)?;
            let service = installed.document.unwrap_or_default();
            if installed.exit != SUCCESS {
                return Err(not_installed(document, &service, &installed.notes));
            }
            document.insert("service".to_owned(), service);
            let text = joined.text() + installed.text.trim_start();
            let answer = Answer::new(Value::Object(document), text);
            let notes = joined.warnings.iter().chain(&installed.notes);
            Ok(notes.fold(answer, Answer::note))
        }
        Then::Nothing if asks => Ok(Answer::new(Value::Object(document), joined.next_text())),
        Then::Nothing => {
            let text = joined.text() + &joined.next_text();
            let answer = Answer::new(Value::Object(document), text);
            Ok(joined.warnings.iter().fold(answer, Answer::note))
        }
    }
}

/// What the person wants now that the gateway is stored; whoever goes away wants nothing more.
fn what_then(invocation: &Invocation, start: &Start, person: &mut dyn Person) -> Then {
    // Behind sudo the service is another user's, whose state this is not.
    let own = |place: Place| place.paths.state_dir == start.paths.state_dir;
    let can_install = service::place(invocation).is_ok_and(own);
    let install = if can_install {
        ", i = install it as a service"
    } else {
        ""
    };
    let question = format!("Start the node host? r = run it here{install}, Enter = not now: ");
    let answer = person.answer(&question).unwrap_or_default();
    match answer.trim() {
        "r" | "run" => Then::Run,
        "i" | "install" if can_install => Then::Install,
        _ => Then::Nothing,
    }
}

/// The gateway is stored and the service is not there.
fn not_installed(document: Map<String, Value>, service: &Value, notes: &[String]) -> CliError {
    let message = service.get("error").and_then(Value::as_str);
    let mut failed = Failed::new(
        "UNAVAILABLE",
        message.unwrap_or("the service was not installed"),
    );
    failed.hint = Some(match notes {
        [] | [_] => "The gateway is stored: openclaw node run".to_owned(),
        [_, hints @ ..] => hints.join("\n"),
    });
    let mut partial = document;
    partial.shift_remove("ok");
    partial.insert("service".to_owned(), json!(service));
    failed.partial = Some(partial);
    failed.into()
}
