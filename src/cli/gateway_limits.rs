//! `gateway limits`: who failed too often, what is used of every bound, and letting somebody in again.

use serde_json::{Map, Value, json};

use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::gateway_query::{ask, reach};
use crate::cli::invocation::Invocation;
use crate::cli::output::Style;
use crate::cli::output::grid::{fixed, flexible, grid};
use crate::cli::output::time::left;
use crate::cli::row;
use crate::protocol::method::least_scopes;

const LIST: &str = "gateway.limits.list";
const CLEAR: &str = "gateway.limits.clear";

/// `gateway limits list`.
///
/// # Errors
/// As every command that asks a gateway.
pub fn list(invocation: &Invocation) -> Result<Answer, CliError> {
    let reach = reach(invocation)?;
    let limits = ask(&reach, &least_scopes(LIST), LIST, &json!({}), false)?;
    let text = rendered(&limits, invocation.style());
    Ok(Answer::new(limits, text))
}

/// `gateway limits clear`.
///
/// # Errors
/// An unknown kind, and as every command that asks a gateway.
pub fn clear(invocation: &Invocation) -> Result<Answer, CliError> {
    let mut params = Map::new();
    for name in ["client", "kind"] {
        if let Some(value) = invocation.text(name) {
            params.insert(name.to_owned(), json!(value));
        }
    }
    let reach = reach(invocation)?;
    let cleared = ask(
        &reach,
        &least_scopes(CLEAR),
        CLEAR,
        &Value::Object(params),
        false,
    )?;
    let text = match row::number(&cleared, "cleared").unwrap_or_default() {
        0 => "Nothing to clear: no such client has failed lately.".to_owned(),
        1 => "Cleared 1 counter of failed attempts.".to_owned(),
        count => format!("Cleared {count} counters of failed attempts."),
    };
    Ok(Answer::new(cleared, text))
}

fn rendered(limits: &Value, style: &Style) -> String {
    let null = Value::Null;
    let policy = limits.get("policy").unwrap_or(&null);
    let seconds = |name: &str| {
        row::number(policy, name)
            .unwrap_or_default()
            .div_ceil(1_000)
    };
    let exempt = if row::flag(policy, "exemptLoopback") {
        "programs on the gateway's host are exempt"
    } else {
        "nobody is exempt"
    };
    let mut text = style.heading("Failed attempts");
    text += &format!(
        "{} within {} s lock out for {} s; {exempt}\n",
        row::number(policy, "maxAttempts").unwrap_or_default(),
        seconds("windowMs"),
        seconds("lockoutMs"),
    );
    let attempts = row::rows(limits, "attempts");
    if attempts.is_empty() {
        text += "Nobody has failed lately.\n";
    } else {
        let columns = [
            fixed("Kind"),
            flexible("Client"),
            fixed("Failures"),
            fixed("State"),
        ];
        let rows: Vec<Vec<String>> = attempts.iter().map(attempt).collect();
        text += &grid(&columns, &rows, style.width);
        let total = row::number(limits, "attemptsTotal").unwrap_or_default();
        if total > attempts.len() as u64 {
            text += &format!("{} of {total} shown\n", attempts.len());
        }
    }
    text += "\n";
    text += &style.heading("Budgets");
    let columns = [
        flexible("Budget"),
        fixed("Used"),
        fixed("Limit"),
        fixed("Per client"),
    ];
    let rows: Vec<Vec<String>> = row::rows(limits, "budgets").iter().map(budget).collect();
    text += &grid(&columns, &rows, style.width);
    text
}

fn attempt(attempt: &Value) -> Vec<String> {
    let mut client = row::cell(attempt, "client");
    if row::flag(attempt, "browser") {
        client += " (browser)";
    }
    let state = match row::number(attempt, "lockedForMs") {
        Some(time) => format!("locked for {}", left(time)),
        None => "counted".to_owned(),
    };
    vec![
        row::cell(attempt, "kind"),
        client,
        row::number(attempt, "failures")
            .unwrap_or_default()
            .to_string(),
        state,
    ]
}

fn budget(budget: &Value) -> Vec<String> {
    let number = |name: &str| row::number(budget, name).map_or_else(String::new, |n| n.to_string());
    vec![
        row::cell(budget, "name"),
        number("used"),
        number("limit"),
        number("perClient"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style() -> Style {
        Style {
            color: false,
            width: 100,
        }
    }

    #[test]
    fn counters_and_budgets_are_tables() {
        let limits = json!({
            "policy": {"maxAttempts": 10, "windowMs": 60_000, "lockoutMs": 300_000, "exemptLoopback": true},
            "attempts": [
                {"kind": "shared-secret", "client": "192.0.2.1", "browser": false, "failures": 10, "locked": true, "lockedForMs": 299_001},
                {"kind": "device-token", "client": "browser-origin:http://x", "browser": true, "failures": 1, "locked": false},
            ],
            "attemptsTotal": 7,
            "budgets": [{"name": "connections", "used": 3, "limit": 8192}],
        });
        let text = rendered(&limits, &style());
        for expected in [
            "10 within 60 s lock out for 300 s; programs on the gateway's host are exempt",
            "│ shared-secret │ 192.0.2.1",
            "│ locked for 5m │",
            "browser-origin:http://x (browser)",
            "2 of 7 shown",
            "│ connections │ 3",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        let empty = rendered(&json!({"attempts": [], "budgets": []}), &style());
        assert!(empty.contains("Nobody has failed lately."), "{empty}");
    }
}
