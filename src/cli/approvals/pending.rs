//! `approvals pending`: the commands that wait for a person, once or as they come.

use serde_json::{Value, json};

use crate::cli::administration::{Fallback, open};
use crate::cli::answer::Answer;
use crate::cli::approvals::names::Names;
use crate::cli::approvals::{request, watch};
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::output::Style;
use crate::cli::output::grid::{fixed, flexible, grid};
use crate::protocol::scope::Scope;
use crate::store::{Clock, SystemClock};

/// `approvals pending`.
///
/// # Errors
/// `--until` without `--watch`, and as every command that asks a gateway.
pub fn pending(invocation: &Invocation) -> Result<Answer, CliError> {
    let until = invocation.duration("until")?;
    if invocation.has("watch") {
        return watch::watch(invocation, until);
    }
    if until.is_some() {
        return Err(CliError::rule("error: --until needs --watch"));
    }
    let scopes = [Scope::APPROVALS, Scope::READ];
    let mut gateway = open(invocation, &scopes, Fallback::Never)?;
    let listed = gateway.call("exec.approval.list", &json!({}))?;
    let waiting = listed.as_array().map_or(&[][..], Vec::as_slice);
    let names = match waiting.is_empty() {
        true => Names::default(),
        false => Names::of(&gateway.call("node.list", &json!({}))?),
    };
    let text = table(waiting, &names, SystemClock.now_ms(), invocation.style());
    let rows: Vec<Value> = waiting
        .iter()
        .map(|entry| request::named(entry, &names))
        .collect();
    Ok(Answer::new(json!(rows), text))
}

/// What waits, and the line that decides one of it.
pub fn table(waiting: &[Value], names: &Names, now: u64, style: &Style) -> String {
    let Some(first) = waiting.first() else {
        return "No commands wait for approval.\n".to_owned();
    };
    let ids: Vec<&str> = waiting.iter().map(request::id).collect();
    let cells = waiting.iter().map(|entry| {
        vec![
            request::short(request::id(entry), &ids),
            request::node(entry, names),
            request::command(entry),
            request::member(entry, "cwd"),
            request::member(entry, "agentId"),
            request::expires(entry, now),
            request::decisions(entry).join(", "),
        ]
    });
    let columns = [
        fixed("Id"),
        flexible("Node"),
        flexible("Command"),
        flexible("Cwd"),
        fixed("Agent"),
        fixed("Expires In"),
        flexible("Decisions"),
    ];
    let rows: Vec<Vec<String>> = cells.collect();
    let short = request::short(request::id(first), &ids);
    let decide = match waiting {
        [only] => request::decide_with(only, &short),
        _ => "openclaw approvals resolve <id> allow-once|allow-always|deny".to_owned(),
    };
    let heading = style.heading(&format!("Waiting for approval ({})", waiting.len()));
    let remarks = waiting.iter().flat_map(|entry| {
        let short = request::short(request::id(entry), &ids);
        let told = request::remarks(entry).into_iter();
        told.map(move |remark| format!("{short} {remark}\n"))
    });
    let remarks: String = remarks.collect();
    heading + &grid(&columns, &rows, style.width) + &remarks + &format!("Decide with: {decide}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_says_what_runs_where_and_how_to_decide() {
        const NOW: u64 = 1_000_000;
        let style = Style {
            color: false,
            width: 200,
        };
        let names = Names::of(&json!({"nodes": [{"nodeId": "n-1", "displayName": "Build Node"}]}));
        let first = json!({"id": "3f2a91c0-aaaa", "createdAtMs": 0, "expiresAtMs": NOW + 1_800_000,
            "request": {"command": "uname -a\u{202e}", "nodeId": "n-1", "host": "node", "cwd": "/w", "agentId": "main",
                        "allowedDecisions": ["allow-once", "deny"], "envKeys": ["FOO", "BAR"],
                        "warningText": "it deletes"}});
        let text = table(std::slice::from_ref(&first), &names, NOW, &style);
        for part in [
            "Waiting for approval (1)\n",
            "│ 3f2a91c0 │ Build Node │ uname -a\\u{202E} │ /w  │ main  │ 30m        │ allow-once, deny │",
            "\n3f2a91c0 sets FOO, BAR\n3f2a91c0 comes with a warning: it deletes\n\
             Decide with: openclaw approvals resolve 3f2a91c0 allow-once|deny\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let foreign = json!({"id": "x", "request": {"command": "ls", "host": "gateway"}});
        let text = table(&[first, foreign], &names, NOW, &style);
        assert!(
            text.contains("│ x        │ gateway    │ ls ")
                && text.contains("approvals resolve <id> "),
            "{text}"
        );
        assert_eq!(
            table(&[], &names, NOW, &style),
            "No commands wait for approval.\n"
        );
    }
}
