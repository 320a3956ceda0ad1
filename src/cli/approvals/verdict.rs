//! The human text of `approvals check`. Pure: the document in, text out.

use serde_json::Value;

use crate::cli::output::Style;
use crate::cli::output::grid::{flexible, grid};
use crate::cli::row::{rows, text, words};
use crate::protocol::command_text::format_command;
use crate::protocol::hidden::visible;

/// The verdict first, then where it comes from, then part by part.
pub fn told(document: &Value, style: &Style) -> String {
    let shown = |name: &str| visible(text(document, name).unwrap_or("-"));
    let runs = text(document, "verdict") == Some("run");
    let verdict = match (runs, text(document, "startFault")) {
        (true, None) => "Would run",
        (true, Some(_)) => "Would be allowed, but not start",
        (false, _) => "Would be refused",
    };
    let command = format_command(&words(document, "command").unwrap_or_default());
    let mut out = style.heading(&format!("{verdict}: {}", visible(&command)));
    for sentence in ["message", "startFault"] {
        if let Some(sentence) = text(document, sentence) {
            out += &format!("{}\n", visible(sentence));
        }
    }
    out += &format!("Target: {}\n", shown("target"));
    for (name, value, source) in [
        ("Security", "security", "securitySource"),
        ("Ask", "ask", "askSource"),
    ] {
        if text(document, source).is_some() {
            out += &format!("{name}: {} ({})\n", shown(value), shown(source));
        }
    }
    let parts: Vec<Vec<String>> = rows(document, "segments").iter().map(part).collect();
    if !parts.is_empty() {
        let columns = [
            flexible("Part"),
            flexible("Program"),
            flexible("Covered By"),
        ];
        out += &grid(&columns, &parts, style.width);
    }
    if let Some(line) = text(document, "allowWith") {
        let place = match (text(document, "target"), line.contains(" --node ")) {
            (Some("local"), _) | (_, true) => "",
            _ => ", on the node",
        };
        out += &format!("To allow it{place}: {}\n", visible(line));
    }
    if let Some(fault) = text(document, "planError") {
        out += &format!("An approval of it could not be bound: {}\n", visible(fault));
    }
    out
}

/// One program that the command would start.
fn part(segment: &Value) -> Vec<String> {
    let argv = format_command(&words(segment, "argv").unwrap_or_default());
    let shown = |name: &str| text(segment, name).map(visible).unwrap_or_default();
    let cover = match text(segment, "by") {
        Some("allowlist") => format!("rule {} of agent {}", shown("pattern"), shown("agent")),
        Some("inner") => "its parts".to_owned(),
        Some("safe-bin") => "a filter that only reads its input (tools.exec.safeBins)".to_owned(),
        Some(other) => visible(other),
        None => format!("nothing: {}", shown("miss")),
    };
    let path = text(segment, "path").map_or_else(|| "-".to_owned(), visible);
    vec![visible(&argv), path, cover]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_verdict_names_rule_source_and_the_line_that_would_allow_it() {
        let style = Style {
            color: false,
            width: 160,
        };
        let document = json!({
            "target": "node:n-1", "command": ["sh", "-c", "uname && id\u{202e}"], "verdict": "refuse",
            "reason": "allowlist-miss", "message": "SYSTEM_RUN_DENIED: allowlist miss (no rule)",
            "security": "allowlist", "securitySource": "defaults.security in exec-approvals.json",
            "ask": "off", "askSource": "defaults.ask in exec-approvals.json", "analysisOk": true,
            "segments": [
                {"argv": ["uname"], "path": "/usr/bin/uname", "by": "allowlist", "pattern": "uname", "agent": "*"},
                {"argv": ["id"], "path": "/usr/bin/id", "by": null, "miss": "no allowlist rule names /usr/bin/id"}],
            "allowWith": "openclaw approvals allowlist add /usr/bin/id",
        });
        let shown = told(&document, &style);
        for part in [
            "Would be refused: sh -c \"uname && id\\u{202E}\"\nSYSTEM_RUN_DENIED: allowlist miss (no rule)\n",
            "Security: allowlist (defaults.security in exec-approvals.json)\n",
            "│ uname │ /usr/bin/uname │ rule uname of agent *",
            "│ id    │ /usr/bin/id    │ nothing: no allowlist rule names /usr/bin/id │",
            "To allow it, on the node: openclaw approvals allowlist add /usr/bin/id\n",
        ] {
            assert!(shown.contains(part), "{part}\n{shown}");
        }
        let document = json!({"target": "local", "command": ["x"], "verdict": "run",
            "startFault": "there is no program x"});
        let shown = told(&document, &style);
        let expected = "Would be allowed, but not start: x\nthere is no program x\nTarget: local\n";
        assert!(shown.starts_with(expected), "{shown}");
    }
}
