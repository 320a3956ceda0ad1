//! The human texts of `openclaw devices`. Pure: rows in, text out.

use serde_json::Value;

use crate::cli::devices::access::{Kind, described, record_of, roles};
use crate::cli::output::Style;
use crate::cli::output::grid::{fixed, flexible, grid};
use crate::cli::output::text::plain;
use crate::cli::output::time::age;
use crate::cli::row::{cell, flag, id, label, number, rows, text, words};

/// `devices list`.
pub fn list(pending: &[Value], paired: &[Value], now: u64, style: &Style) -> String {
    if pending.is_empty() && paired.is_empty() {
        return "No device pairing entries.\n".to_owned();
    }
    let mut out = String::new();
    if !pending.is_empty() {
        let cells: Vec<Vec<String>> = pending
            .iter()
            .map(|request| waiting(request, paired, now))
            .collect();
        let columns = [
            fixed("Request"),
            flexible("Device"),
            flexible("Requested"),
            flexible("Approved"),
            fixed("Age"),
            fixed("Status"),
        ];
        out += &style.heading(&format!("Pending ({})", pending.len()));
        out += &grid(&columns, &cells, style.width);
    }
    if !paired.is_empty() {
        if !out.is_empty() {
            out.push('\n');
        }
        let columns = [
            flexible("Device"),
            fixed("Roles"),
            flexible("Scopes"),
            flexible("Tokens"),
            fixed("IP"),
        ];
        let cells: Vec<Vec<String>> = paired.iter().map(known).collect();
        out += &style.heading(&format!("Paired ({})", paired.len()));
        out += &grid(&columns, &cells, style.width);
    }
    out
}

/// The preview of the request that a person should look at before approving it.
pub fn selected(request: &Value, paired: &[Value]) -> String {
    let shown = |name: &str| plain(text(request, name).unwrap_or_default());
    let mut out = format!(
        "Selected pending device request {}\n  Device: {}\n  Requested: {}\n",
        shown("requestId"),
        label(request),
        described(request)
    );
    if let Some(record) = record_of(request, paired) {
        out += &format!("  Approved: {}\n", described(record));
    }
    if flag(request, "keyChanged") {
        out += "  Key:    other than the approved one, which this approval would replace\n";
    }
    if text(request, "remoteIp").is_some() {
        out += &format!("  IP:     {}\n", shown("remoteIp"));
    }
    out + &format!("  Note:   {}\n", Kind::of(request, paired).note())
}

/// One waiting request of either layer.
fn waiting(request: &Value, paired: &[Value], now: u64) -> Vec<String> {
    let address = text(request, "remoteIp").map(|address| format!(" · {address}"));
    let device = label(request) + &address.unwrap_or_default();
    let (requested, approved, status) = match text(request, "layer") {
        Some("node") => (
            commands(request),
            "none".to_owned(),
            "node commands".to_owned(),
        ),
        _ => {
            let approved = record_of(request, paired);
            (
                described(request),
                approved.map_or("none".to_owned(), described),
                Kind::of(request, paired).words(),
            )
        }
    };
    let repair = if flag(request, "isRepair") {
        ", repair"
    } else {
        ""
    };
    vec![
        cell(request, "requestId"),
        device,
        requested,
        approved,
        age(now, number(request, "ts")),
        status + repair + other_key(request),
    ]
}

/// What a person must not overlook: approving replaces the approved key and everything it has.
fn other_key(request: &Value) -> &'static str {
    if flag(request, "keyChanged") {
        ", other key"
    } else {
        ""
    }
}

fn commands(request: &Value) -> String {
    match words(request, "commands") {
        Some(commands) if !commands.is_empty() => format!("commands: {}", commands.join(", ")),
        _ => "commands: none".to_owned(),
    }
}

/// One paired device: its name and its id, because `remove` and `rotate` need the id.
fn known(device: &Value) -> Vec<String> {
    let name = label(device);
    let shown = match text(device, "displayName") {
        Some(_) => format!("{name} · {}", id(device)),
        None => name,
    };
    vec![
        shown,
        listed(&roles(device)),
        listed(&words(device, "scopes").unwrap_or_default()),
        tokens(device),
        cell(device, "remoteIp"),
    ]
}

/// `node, operator (revoked)`.
fn tokens(device: &Value) -> String {
    let shown: Vec<String> = rows(device, "tokens")
        .iter()
        .filter_map(|token| {
            let role = text(token, "role")?;
            let revoked = number(token, "revokedAtMs").is_some();
            Some(format!("{role}{}", if revoked { " (revoked)" } else { "" }))
        })
        .collect();
    match shown.is_empty() {
        true => "none".to_owned(),
        false => shown.join(", "),
    }
}

fn listed(words: &[&str]) -> String {
    match words.is_empty() {
        true => "none".to_owned(),
        false => words.join(", "),
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

    fn request() -> Value {
        json!({"requestId":"r-1","deviceId":"d-1","publicKey":"k","displayName":"Remote","role":"operator",
            "roles":["operator"],"scopes":["operator.read"],"remoteIp":"10.0.0.7","ts":NOW,"layer":"device",
            "isRepair":true})
    }

    fn paired() -> Value {
        json!({"deviceId":"d-1","publicKey":"k","displayName":"Remote","role":"operator","roles":["operator"],
            "scopes":["operator.pairing"],"tokens":[{"role":"node","revokedAtMs":1},{"role":"operator"}]})
    }

    #[test]
    fn lists_both_layers_and_the_ids_that_commands_need() {
        let node = json!({"requestId":"r-2","nodeId":"n-1","displayName":"Pi","commands":["system.run"],
            "ts":NOW-300_000,"layer":"node"});
        let text = list(&[request(), node], &[paired()], NOW, &STYLE);
        for part in [
            "Pending (2)\n",
            "│ r-1     │ Remote · 10.0.0.7 │ roles: operator; scopes: operator.read │ \
             roles: operator; scopes: operator.pairing │ just now │ scope upgrade, repair │",
            "│ r-2     │ Pi                │ commands: system.run",
            "│ 5m ago   │ node commands",
            "\nPaired (1)\n",
            "│ Remote · d-1 │ operator │ operator.pairing │ node (revoked), operator │",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(list(&[], &[], NOW, &STYLE), "No device pairing entries.\n");
        let bare = json!({"deviceId":"d-2"});
        assert_eq!(known(&bare), ["d-2", "none", "none", "none", ""]);
    }

    #[test]
    fn preview() {
        let expected = "\
Selected pending device request r-1
  Device: Remote
  Requested: roles: operator; scopes: operator.read
  Approved: roles: operator; scopes: operator.pairing
  IP:     10.0.0.7
  Note:   This device is paired and asks for more scopes than it has; approving widens its access.
";
        assert_eq!(selected(&request(), &[paired()]), expected);
        let mut other = request();
        other["keyChanged"] = json!(true);
        let text = selected(&other, &[]);
        assert!(
            text.contains(
                "  Key:    other than the approved one, which this approval would replace\n"
            ),
            "{text}"
        );
        let text = list(&[other], &[], NOW, &STYLE);
        assert!(
            text.contains("│ new pairing, repair, other key │"),
            "{text}"
        );
        let fresh = selected(&request(), &[]);
        assert!(!fresh.contains("Approved:"), "{fresh}");
    }
}
