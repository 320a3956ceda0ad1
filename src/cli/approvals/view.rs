//! The human texts of `approvals get`, `set` and `allowlist`. Pure: snapshots in, text out.

use serde_json::Value;

use crate::cli::answer::Answer;
use crate::cli::approvals::place::Place;
use crate::cli::output::Style;
use crate::cli::output::grid::{fixed, flexible, grid};
use crate::cli::output::time::age;
use crate::cli::row::{cell, flag, number, rows, text};
use crate::protocol::hidden::visible;

/// The word in `Showing local approvals.`
pub fn whose(place: &Place) -> &'static str {
    match place {
        Place::Local(..) => "local",
        Place::Remote(_, None) => "gateway",
        Place::Remote(_, Some(_)) => "node",
    }
}

/// The answer of a command that wrote.
pub fn written(place: &Place, now_there: Value, now: u64, style: &Style) -> Answer {
    let text = format!("Writing {} approvals.\n\n", whose(place));
    let text = text + &snapshot(place, &now_there, now, style);
    Answer::new(now_there, text)
}

/// The file's own values, then its rules.
pub fn snapshot(place: &Place, snapshot: &Value, now: u64, style: &Style) -> String {
    let target = place.label();
    let path = place.shown_path(text(snapshot, "path").unwrap_or_default());
    let facts = facts(place, snapshot, &target, path);
    let mut out = style.heading("Approvals");
    out += &grid(&[fixed("Field"), flexible("Value")], &facts, style.width);
    let rules = rules(&snapshot["file"], &target, now);
    if rules.is_empty() {
        return out + "\nNo allowlist entries.\n";
    }
    let columns = [
        flexible("Target"),
        fixed("Agent"),
        flexible("Pattern"),
        fixed("Last Used"),
    ];
    out + "\n" + &style.heading("Allowlist") + &grid(&columns, &rules, style.width)
}

fn facts(place: &Place, snapshot: &Value, target: &str, path: String) -> Vec<Vec<String>> {
    let file = &snapshot["file"];
    let exists = if flag(snapshot, "exists") {
        "yes"
    } else {
        "no"
    };
    let agents = file["agents"].as_object();
    let count = rules(file, target, 0).len();
    let mut facts = vec![
        ("Target", target.to_owned()),
        ("Path", path),
        ("Exists", exists.to_owned()),
        ("Hash", cell(snapshot, "hash")),
        ("Version", number(file, "version").unwrap_or(1).to_string()),
        (
            "Socket",
            text(&file["socket"], "path")
                .map_or_else(|| "none".to_owned(), |path| place.shown_path(path)),
        ),
        ("Defaults", scalars(&file["defaults"])),
        ("Agents", agents.map_or(0, serde_json::Map::len).to_string()),
        ("Allowlist", count.to_string()),
    ];
    if let Some(fault) = text(snapshot, "fault") {
        facts.push(("Broken", fault.to_owned()));
    }
    let row = |(name, value): (&str, String)| vec![name.to_owned(), visible(&value)];
    facts.into_iter().map(row).collect()
}

/// `security=full, ask=off`, or `none`.
fn scalars(values: &Value) -> String {
    let names = ["security", "ask", "askFallback", "autoAllowSkills"];
    let set = names.iter().filter_map(|name| {
        let value = values.get(name)?;
        let shown = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        Some(format!("{name}={shown}"))
    });
    let set: Vec<String> = set.collect();
    match set.is_empty() {
        true => "none".to_owned(),
        false => set.join(", "),
    }
}

fn rules(file: &Value, target: &str, now: u64) -> Vec<Vec<String>> {
    let agents = file["agents"].as_object().into_iter().flatten();
    let of_agent = |(key, agent): (&String, &Value)| {
        let row = |rule: &Value| {
            // A rule that was only added has that moment, and nothing that ran.
            let used = text(rule, "lastUsedCommand").and(number(rule, "lastUsedAt"));
            vec![
                target.to_owned(),
                visible(key),
                visible(text(rule, "pattern").unwrap_or_default()),
                age(now, used),
            ]
        };
        rows(agent, "allowlist").iter().map(row).collect::<Vec<_>>()
    };
    agents.flat_map(of_agent).collect()
}

/// What comes of the file and the configuration together.
pub fn effective(policy: &Value, style: &Style) -> String {
    let scopes = rows(policy, "scopes");
    let mut out = style.heading("Effective Policy");
    if !scopes.is_empty() {
        let row = |scope: &Value| {
            let pair = |name: &str| {
                let value = |field: &str| cell(&scope[field], name);
                format!("security={}, ask={}", value("security"), value("ask"))
            };
            let notes = ["security", "ask"].map(|field| cell(&scope[field], "note"));
            vec![
                cell(scope, "scopeLabel"),
                pair("requested"),
                pair("host"),
                pair("effective"),
                notes.join("; "),
            ]
        };
        let columns = [
            fixed("Scope"),
            flexible("Requested"),
            flexible("Host"),
            flexible("Effective"),
            flexible("Notes"),
        ];
        let cells: Vec<Vec<String>> = scopes.iter().map(row).collect();
        out += &grid(&columns, &cells, style.width);
    }
    out + &format!("Precedence: {}\n", cell(policy, "note"))
}
