//! Why a decision about a request was refused, in words for a person and with the next command: it asks for
//! something else by now, or it is not open any more. Pure, over the details of the refusal.

use serde_json::{Value, json};

use crate::cli::error::Failed;
use crate::cli::nodes::decide::Chosen;
use crate::cli::nodes::difference;
use crate::cli::output::text::plain;
use crate::cli::output::time::{age, minutes};
use crate::cli::row;
use crate::pairing::REQUEST_TTL_MS;
use crate::pairing::resolution::Layer;

/// The refusal with what a person should know and do, where its details tell.
pub fn explained(mut failed: Failed, chosen: &Chosen, now: u64) -> Failed {
    match row::text(&failed.details, "code") {
        Some("REQUEST_CHANGED") => {
            let changes = since_shown(&failed.details, chosen);
            failed.hint = Some(changed(&failed.details, &changes, chosen));
            failed.details["changes"] = json!(changes);
        }
        Some("REQUEST_RESOLVED") => failed.hint = Some(resolved(&failed.details, now)),
        _ => {}
    }
    failed
}

/// What differs from the row that was looked at; nothing where only its digest is known.
fn since_shown(details: &Value, chosen: &Chosen) -> Vec<Value> {
    let shown = chosen.row.as_ref();
    let now = &details["request"];
    shown.map_or_else(Vec::new, |shown| difference::since_shown(shown, now))
}

fn changed(details: &Value, changes: &[Value], chosen: &Chosen) -> String {
    let request = &details["request"];
    let mut lines = Vec::new();
    if changes.is_empty() {
        lines.push(format!(
            "{} asks now for {}",
            row::label(request),
            difference::ask(chosen.layer, request)
        ));
    } else {
        lines.push("Shown before → now:".to_owned());
        lines.extend(
            changes
                .iter()
                .map(|change| format!("  {}", difference::line(change))),
        );
    }
    lines.push(format!(
        "Approve what it asks for now with: openclaw {} approve {} --digest {}",
        group(chosen.layer),
        plain(&chosen.id),
        plain(row::text(details, "digest").unwrap_or_default())
    ));
    lines.join("\n")
}

fn resolved(details: &Value, now: u64) -> String {
    let layer = match row::text(details, "layer") {
        Some("node") => Layer::Node,
        _ => Layer::Device,
    };
    let group = group(layer);
    let (subject, list) = match layer {
        Layer::Device => ("device", "openclaw devices list"),
        Layer::Node => ("node", "openclaw nodes pending"),
    };
    let when = age(now, row::number(details, "atMs"));
    let by = row::text(details, "by").map_or(String::new(), |by| format!(" by {}", plain(by)));
    let replacement = row::text(details, "replacedBy")
        .map(plain)
        .unwrap_or_default();
    match row::text(details, "state").unwrap_or_default() {
        "approved" => {
            format!("It was approved {when}{by}. What is approved: openclaw {group} list")
        }
        "rejected" => format!(
            "It was rejected {when}{by}; nothing was approved. A {subject} that asks again gets another id: {list}"
        ),
        "removed" => format!(
            "It ended {when}, when the {subject} was removed{by}. A {subject} that asks again gets another id: {list}"
        ),
        "superseded" => format!(
            "It was replaced {when}, because the {subject} asks for something else now.\n\
             Look at it and approve it with: openclaw {group} approve {replacement}"
        ),
        _ => format!(
            "It expired {when}: a request waits {}. The {subject} asks again when it connects; what waits: {list}",
            minutes(REQUEST_TTL_MS)
        ),
    }
}

fn group(layer: Layer) -> &'static str {
    match layer {
        Layer::Device => "devices",
        Layer::Node => "nodes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 10_000_000;

    fn hint(details: Value, row: Option<Value>) -> (String, Value) {
        let chosen = Chosen {
            id: "r-1".to_owned(),
            layer: Layer::Device,
            row,
            approved: None,
        };
        let mut failed = Failed::new("INVALID_REQUEST", "refused");
        failed.details = details;
        let failed = explained(failed, &chosen, NOW);
        (failed.hint.unwrap_or_default(), failed.details)
    }

    #[test]
    fn every_end_says_what_happened_and_what_to_run() {
        let told = |state: &str, layer: &str| {
            let details = json!({"code": "REQUEST_RESOLVED", "state": state, "layer": layer, "atMs": NOW - 300_000,
                "by": "cli\u{1b}[2J token", "replacedBy": "r-2"});
            hint(details, None).0
        };
        for (state, layer, expected) in [
            (
                "approved",
                "device",
                "It was approved 5m ago by cli token. What is approved: openclaw devices list",
            ),
            (
                "rejected",
                "node",
                "It was rejected 5m ago by cli token; nothing was approved. A node that asks again gets another id: openclaw nodes pending",
            ),
            (
                "removed",
                "device",
                "It ended 5m ago, when the device was removed by cli token. A device that asks again gets another id: openclaw devices list",
            ),
            (
                "superseded",
                "device",
                "It was replaced 5m ago, because the device asks for something else now.\nLook at it and approve it with: openclaw devices approve r-2",
            ),
            (
                "expired",
                "node",
                "It expired 5m ago: a request waits 5 minutes. The node asks again when it connects; what waits: openclaw nodes pending",
            ),
        ] {
            assert_eq!(told(state, layer), expected);
        }
        assert_eq!(hint(json!({}), None).0, "");
    }

    #[test]
    fn a_changed_request_is_refused_with_the_difference_and_the_command() {
        let now = json!({"deviceId": "d", "roles": ["operator"], "scopes": ["operator.admin"], "digest": "new"});
        let details = json!({"code": "REQUEST_CHANGED", "digest": "new", "request": now});
        let shown = json!({"deviceId": "d", "roles": ["operator"], "scopes": ["operator.read"], "digest": "old"});
        let (text, told) = hint(details.clone(), Some(shown));
        assert_eq!(
            text,
            "Shown before → now:\n  scopes: operator.read → operator.admin\n\
             Approve what it asks for now with: openclaw devices approve r-1 --digest new"
        );
        let changes =
            json!([{"field": "scopes", "shown": ["operator.read"], "now": ["operator.admin"]}]);
        assert_eq!(told["changes"], changes);
        let (text, _) = hint(details, None);
        assert!(
            text.starts_with("d asks now for roles: operator; scopes: operator.admin\n"),
            "{text}"
        );
    }
}
