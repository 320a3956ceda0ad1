//! `devices approve`: with an exact request it approves; without one, or with `--latest`, it only shows the
//! newest request and changes nothing.

use serde_json::{Value, json};

use crate::cli::administration::{Administration, Fallback, open};
use crate::cli::answer::{Answer, FAILURE};
use crate::cli::devices::access::{Kind, document, record_of};
use crate::cli::devices::view;
use crate::cli::error::{CliError, Failed};
use crate::cli::invocation::Invocation;
use crate::cli::nodes::decide::{approve_chosen, choose};
use crate::cli::nodes::with_note;
use crate::cli::output::text::{plain, quoted};
use crate::cli::row;
use crate::pairing::resolution::Layer;
use crate::protocol::scope::Scope;

/// Approves or previews.
///
/// # Errors
/// `unknown requestId`, `request changed …`, `No pending device pairing requests to approve`, and as every administration command.
pub fn approve(invocation: &Invocation) -> Result<Answer, CliError> {
    let mut gateway = open(invocation, &[Scope::PAIRING], Fallback::Pairing)?;
    let answer = match invocation.argument(0) {
        Some(typed) if !invocation.has("latest") => {
            decide(&mut *gateway, typed, invocation.text("digest"))?
        }
        _ => preview(&mut *gateway, invocation)?,
    };
    Ok(with_note(answer, &*gateway))
}

fn decide(
    gateway: &mut dyn Administration,
    typed: &str,
    digest: Option<&str>,
) -> Result<Answer, CliError> {
    let chosen = choose(gateway, typed, Layer::Device)?;
    let decided = approve_chosen(gateway, &chosen, digest)?;
    let subject = decided.answer.get("device").or(decided.answer.get("node"));
    let id = subject.map_or("", row::id);
    let text = format!("Approved {} ({})", plain(id), plain(&chosen.id));
    let mut answer = Answer::new(decided.answer, text);
    answer.notes = decided.notes;
    Ok(answer)
}

/// Shows the newest device request; exit code 1, because nothing was approved.
fn preview(gateway: &mut dyn Administration, invocation: &Invocation) -> Result<Answer, CliError> {
    let listed = gateway.call("device.pair.list", &json!({}))?;
    let pending = row::rows(&listed, "pending");
    let newest = pending
        .iter()
        .max_by_key(|request| row::number(request, "ts"));
    let Some(request) = newest else {
        let message = "No pending device pairing requests to approve";
        let mut failed = Failed::new("INVALID_REQUEST", message);
        failed.hint = Some("Requests for node commands: openclaw nodes pending".to_owned());
        return Err(failed.into());
    };
    let paired = row::rows(&listed, "paired");
    let command = command(
        row::text(request, "requestId").unwrap_or_default(),
        invocation,
    );
    let given = |name: &str| invocation.text(name).is_some();
    let preview = json!({
        "selected": request,
        "approvalState": {
            "kind": Kind::of(request, paired).as_str(),
            "requested": document(request),
            "approved": record_of(request, paired).map_or(Value::Null, document),
        },
        "approveCommand": command,
        "requiresAuthFlags": {"token": given("token"), "password": given("password")},
    });
    let mut answer = Answer::new(preview, view::selected(request, paired)).exit(FAILURE);
    answer = answer.note(format!("Approve this exact request with: {command}"));
    for name in ["token", "password"] {
        if given(name) {
            answer = answer.note(format!("Reuse the same --{name} option when rerunning."));
        }
    }
    Ok(answer)
}

/// The command that approves exactly this request; never with a secret in it.
fn command(request: &str, invocation: &Invocation) -> String {
    let mut words = vec![
        "openclaw".to_owned(),
        "devices".to_owned(),
        "approve".to_owned(),
    ];
    words.push(quoted(request));
    for name in ["url", "ssh", "timeout"] {
        if let Some(value) = invocation.text(name) {
            words.extend([format!("--{name}"), quoted(value)]);
        }
    }
    if invocation.json() {
        words.push("--json".to_owned());
    }
    invocation.addressed(&words.join(" "))
}
