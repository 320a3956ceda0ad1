//! `nodes prune`: removes nodes that were not seen for long, after showing which.

use std::io::{IsTerminal, stdin};

use serde_json::{Value, json};

use crate::cli::administration::{Administration, Fallback, open};
use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::node_join::person::{Person, Terminal};
use crate::cli::nodes::{ended, with_note};
use crate::cli::output::Style;
use crate::cli::output::grid::{fixed, flexible, grid};
use crate::cli::output::text::{counted, quoted};
use crate::cli::output::time::age;
use crate::cli::row;
use crate::protocol::limits::MIN_NOT_SEEN_MS;
use crate::protocol::scope::Scope;
use crate::store::{Clock, SystemClock};

const METHOD: &str = "node.pair.prune";

/// `nodes prune`.
///
/// # Errors
/// A time that is too short, nobody who confirms, a gateway without the method, and as every administration command.
pub fn prune(invocation: &Invocation) -> Result<Answer, CliError> {
    let not_seen = invocation.duration("not-seen")?.unwrap_or_default();
    if not_seen < MIN_NOT_SEEN_MS {
        return Err(CliError::rule(
            "Invalid --not-seen: at least an hour; name a unit, e.g. 90d",
        ));
    }
    let (dry_run, confirmed) = (invocation.has("dry-run"), invocation.has("yes"));
    let can_ask = !invocation.json() && stdin().is_terminal();
    if !dry_run && !confirmed && !can_ask {
        let typed = quoted(invocation.text("not-seen").unwrap_or_default());
        let refused = format!(
            "Refusing to remove nodes without --yes; openclaw nodes prune --not-seen {typed} --dry-run shows which would go"
        );
        return Err(CliError::NotConfirmed(refused.into()));
    }
    let mut gateway = open(invocation, &[Scope::PAIRING], Fallback::Offline)?;
    if !gateway.knows(METHOD) {
        return Err(CliError::unknown_method(METHOD));
    }
    let rule = json!({"notSeenMs": not_seen});
    if confirmed && !dry_run {
        return remove(&mut *gateway, &rule, invocation.style());
    }
    let mut shown = gateway.call(METHOD, &with(&rule, "dryRun", json!(true)))?;
    let text = table(&shown, "Away for long", invocation.style());
    if dry_run || row::rows(&shown, "nodes").is_empty() {
        shown["dryRun"] = json!(dry_run);
        return Ok(with_note(Answer::new(shown, text), &*gateway));
    }
    Terminal.tell(text.trim_end());
    let count = counted(row::rows(&shown, "nodes").len() as u64, "node");
    let answer = Terminal.answer(&format!("Remove {count} with their devices? [y/N] "));
    let yes = answer.is_some_and(|answer| matches!(answer.trim(), "y" | "Y" | "yes"));
    if !yes {
        return Err(CliError::NotConfirmed("Nothing was removed.".into()));
    }
    // Only what was shown: others may have passed the line meanwhile.
    let ids: Vec<&str> = row::rows(&shown, "nodes").iter().map(row::id).collect();
    remove(
        &mut *gateway,
        &with(&rule, "nodeIds", json!(ids)),
        invocation.style(),
    )
}

fn remove(
    gateway: &mut dyn Administration,
    params: &Value,
    style: &Style,
) -> Result<Answer, CliError> {
    let pruned = gateway.call(METHOD, params)?;
    let own = gateway.own_device();
    if row::rows(&pruned, "nodes").iter().any(|node| {
        own.as_ref()
            .is_some_and(|own| own.as_str() == row::id(node))
    }) {
        gateway.forget_token();
    }
    let text = table(&pruned, "Removed", style);
    let ended = ended(&pruned);
    let mut answer = Answer::new(pruned, text);
    answer.notes.extend(ended);
    Ok(with_note(answer, gateway))
}

fn with(params: &Value, name: &str, value: Value) -> Value {
    let mut params = params.clone();
    params[name] = value;
    params
}

fn table(pruned: &Value, heading: &str, style: &Style) -> String {
    let nodes = row::rows(pruned, "nodes");
    if nodes.is_empty() {
        return "No paired node was away for so long.\n".to_owned();
    }
    let now = SystemClock.now_ms();
    let seen = |node: &Value| match row::number(node, "lastSeenAtMs") {
        None => "never".to_owned(),
        at => age(now, at),
    };
    let cells: Vec<Vec<String>> = nodes
        .iter()
        .map(|node| {
            let roles = row::words(node, "roles").unwrap_or_default();
            vec![
                row::label(node),
                row::cell(node, "nodeId"),
                seen(node),
                age(now, row::number(node, "approvedAtMs")),
                roles.join(", "),
            ]
        })
        .collect();
    let columns = [
        flexible("Node"),
        flexible("ID"),
        fixed("Last Seen"),
        fixed("Approved"),
        fixed("Device Roles"),
    ];
    let heading = style.heading(&format!("{heading} ({})", nodes.len()));
    heading + &grid(&columns, &cells, style.width)
}
