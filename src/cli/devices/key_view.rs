//! The human texts of join keys and pre-approvals. Pure: rows in, text out.

use serde_json::Value;

use crate::cli::output::Style;
use crate::cli::output::grid::{fixed, flexible, grid};
use crate::cli::output::text::plain;
use crate::cli::output::time::left;
use crate::cli::row::{cell, number, rows, text, words};

/// `devices keys list`.
pub fn keys(listed: &Value, now: u64, style: &Style) -> String {
    let (made, expected) = (rows(listed, "keys"), rows(listed, "preapproved"));
    if made.is_empty() && expected.is_empty() {
        return "No join keys and no pre-approved devices.\n".to_owned();
    }
    let mut out = String::new();
    if !made.is_empty() {
        let columns = [
            fixed("Key"),
            flexible("Name"),
            flexible("Gives"),
            flexible("From"),
            fixed("Uses"),
            fixed("Status"),
        ];
        let cells: Vec<Vec<String>> = made.iter().map(|key| made_row(key, now)).collect();
        out += &style.heading(&format!("Join keys ({})", made.len()));
        out += &grid(&columns, &cells, style.width);
    }
    if !expected.is_empty() {
        if !out.is_empty() {
            out.push('\n');
        }
        out += &preapproved(expected, now, style);
    }
    out
}

/// The devices that are expected.
pub fn preapproved(expected: &[Value], now: u64, style: &Style) -> String {
    let columns = [
        fixed("Device"),
        flexible("Name"),
        flexible("Gives"),
        fixed("Status"),
    ];
    let cells: Vec<Vec<String>> = expected
        .iter()
        .map(|entry| {
            vec![
                cell(entry, "deviceId"),
                cell(entry, "name"),
                gives(entry),
                status(entry, now),
            ]
        })
        .collect();
    style.heading(&format!("Pre-approved ({})", expected.len()))
        + &grid(&columns, &cells, style.width)
}

/// The one showing of a new key.
pub fn made_key(made: &Value, now: u64) -> String {
    let shown = |name: &str| plain(text(made, name).unwrap_or_default());
    let uses = number(made, "uses").unwrap_or_default();
    let devices = if uses == 1 { "device" } else { "devices" };
    format!(
        "Join key:  {}\nId:        {}\nGives:     {}\nFor:       {uses} {devices}, {}\n\
         It is shown this once. On the new machine: openclaw node run --url <gateway> --setup-code-file <file with the key>\n",
        shown("key"),
        shown("id"),
        gives(made),
        until(made, now),
    )
}

/// `within 59m`, from what is left of a life.
pub fn until(entry: &Value, now: u64) -> String {
    let end = number(entry, "expiresAtMs").unwrap_or(now);
    format!("within {}", left(end.saturating_sub(now)))
}

fn made_row(key: &Value, now: u64) -> Vec<String> {
    let from = words(key, "cidrs").unwrap_or_default().join(", ");
    let (left, all) = (number(key, "usesLeft"), number(key, "uses"));
    vec![
        cell(key, "id"),
        cell(key, "name"),
        gives(key),
        if from.is_empty() {
            "anywhere".to_owned()
        } else {
            from
        },
        format!(
            "{} of {} left",
            left.unwrap_or_default(),
            all.unwrap_or_default()
        ),
        status(key, now),
    ]
}

fn status(entry: &Value, now: u64) -> String {
    match text(entry, "status") {
        Some(open @ ("active" | "waiting")) => format!("{open}, {}", until(entry, now)),
        Some(other) => other.to_owned(),
        None => String::new(),
    }
}

/// `node; commands: system.which` or `operator; scopes: operator.read`.
fn gives(entry: &Value) -> String {
    let role = text(entry, "role").unwrap_or_default();
    let list = |name| words(entry, name).unwrap_or_default().join(", ");
    match (list("scopes"), list("commands")) {
        (scopes, _) if !scopes.is_empty() => format!("{role}; scopes: {scopes}"),
        (_, commands) if !commands.is_empty() => format!("{role}; commands: {commands}"),
        _ if role == "node" => "node; commands wait for approval".to_owned(),
        _ => role.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 10_000_000;
    const STYLE: Style = Style {
        color: false,
        width: 200,
    };

    #[test]
    fn lists_say_what_is_given_to_whom_and_for_how_long() {
        let listed = json!({
            "keys": [
                {"id": "k-1", "name": "rack\u{1b}[31m 3", "role": "node", "scopes": [], "commands": ["system.which"],
                 "cidrs": ["10.0.0.0/8"], "uses": 3, "usesLeft": 2, "expiresAtMs": NOW + 3_500_000, "status": "active"},
                {"id": "k-2", "role": "operator", "scopes": ["operator.read"], "commands": [], "cidrs": [],
                 "uses": 1, "usesLeft": 0, "expiresAtMs": NOW, "status": "used-up"},
            ],
            "preapproved": [{"deviceId": "d-1", "name": "Attic", "role": "node", "scopes": [], "commands": [],
                "expiresAtMs": NOW + 90_000_000, "status": "waiting"}],
        });
        let text = keys(&listed, NOW, &STYLE);
        for part in [
            "Join keys (2)",
            "rack 3",
            "node; commands: system.which",
            "10.0.0.0/8",
            "2 of 3 left",
            "active, within 59m",
            "operator; scopes: operator.read",
            "anywhere",
            "used-up",
            "Pre-approved (1)",
            "Attic",
            "node; commands wait for approval",
            "waiting, within 25h",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(
            keys(&json!({"keys": [], "preapproved": []}), NOW, &STYLE),
            "No join keys and no pre-approved devices.\n"
        );
        let made = json!({"key": "K", "id": "k-1", "role": "node", "uses": 1, "expiresAtMs": NOW + 3_600_000});
        let text = made_key(&made, NOW);
        assert!(
            text.contains("Join key:  K\n") && text.contains("1 device, within 60m"),
            "{text}"
        );
    }
}
