//! The human texts of `openclaw nodes`. Pure: rows in, text out.

use serde_json::Value;

use crate::cli::nodes::listing::last_connected;
use crate::cli::output::Style;
use crate::cli::output::grid::{fixed, flexible, grid};
use crate::cli::output::text::plain;
use crate::cli::output::time::age;
use crate::cli::row::{cell, flag, id, label, number, short_label, text, words};

/// What waits, newest first.
pub fn pending(rows: &[Value], now: u64, style: &Style) -> String {
    if rows.is_empty() {
        return "No pending pairing requests.\n".to_owned();
    }
    let cells = rows.iter().map(|row| {
        vec![
            cell(row, "requestId"),
            label(row),
            cell(row, "platform"),
            cell(row, "remoteIp"),
            age(now, number(row, "ts")),
            cell(row, "layer")
                + if flag(row, "keyChanged") {
                    ", other key"
                } else {
                    ""
                },
        ]
    });
    let columns = [
        fixed("Request"),
        flexible("Node"),
        fixed("Platform"),
        fixed("IP"),
        fixed("Requested"),
        fixed("Layer"),
    ];
    style.heading("Pending") + &grid(&columns, &cells.collect::<Vec<_>>(), style.width)
}

/// `nodes list`: `total` is the number of paired rows before filtering.
pub fn list(waiting: &[Value], paired: &[Value], total: usize, now: u64, style: &Style) -> String {
    let of = of_total(paired.len(), total);
    let mut out = format!(
        "Pending: {} · Paired: {}{of}\n",
        waiting.len(),
        paired.len()
    );
    if !waiting.is_empty() {
        out += &format!("\n{}", pending(waiting, now, style));
    }
    if !paired.is_empty() {
        let cells = paired.iter().map(|node| {
            let seen = age(now, last_connected(node));
            vec![
                short_label(node),
                id(node).to_owned(),
                cell(node, "remoteIp"),
                seen,
            ]
        });
        let columns = [
            flexible("Node"),
            flexible("ID"),
            fixed("IP"),
            fixed("Last Connect"),
        ];
        out += &format!("\n{}", style.heading("Paired"));
        out += &grid(&columns, &cells.collect::<Vec<_>>(), style.width);
    }
    out
}

/// `nodes status`: `total` is the number of nodes before filtering.
pub fn status(nodes: &[Value], total: usize, now: u64, style: &Style) -> String {
    let count = |name: &str| nodes.iter().filter(|node| flag(node, name)).count();
    let counts = format!(
        "Known: {}{} · Paired: {} · Connected: {}\n",
        nodes.len(),
        of_total(nodes.len(), total),
        count("paired"),
        count("connected")
    );
    if nodes.is_empty() {
        return counts;
    }
    let cells = nodes.iter().map(|node| {
        vec![
            short_label(node),
            id(node).to_owned(),
            cell(node, "remoteIp"),
            details(node).join(" · "),
            standing(node, now),
            caps(node),
        ]
    });
    let columns = [
        flexible("Node"),
        flexible("ID"),
        fixed("IP"),
        flexible("Detail"),
        fixed("Status"),
        fixed("Caps"),
    ];
    counts + "\n" + &grid(&columns, &cells.collect::<Vec<_>>(), style.width)
}

/// `nodes describe`: a table of what is known, then the commands of today, and those that wait.
pub fn description(node: &Value, now: u64, style: &Style) -> String {
    let owned = |name: &str| text(node, name).map(str::to_owned);
    let fields = [
        ("ID", owned("nodeId")),
        ("Name", owned("displayName")),
        ("Client", client(node)),
        ("IP", owned("remoteIp")),
        ("Device", owned("deviceFamily")),
        ("Model", owned("modelIdentifier")),
        ("Perms", permissions(node)),
        ("Version", version(node)),
        ("PATH", owned("pathEnv")),
        ("Status", Some(standing(node, now))),
        ("Pairing", owned("pairing")),
        ("Caps", Some(caps(node))),
    ];
    let rows = fields
        .into_iter()
        .filter_map(|(name, value)| Some(vec![name.to_owned(), value?]));
    let columns = [fixed("Field"), flexible("Value")];
    let mut out = style.heading("Node");
    out += &grid(&columns, &rows.collect::<Vec<_>>(), style.width);
    out += &format!("\n{}", style.heading("Commands"));
    out += &commands(node, "commands").unwrap_or_else(|| "- (none reported)\n".to_owned());
    if let Some(waiting) = commands(node, "pendingCommands") {
        out += &format!("\n{}{waiting}", style.heading("Waiting for approval"));
        if let Some(request) = text(node, "pendingRequestId") {
            out += &format!("Approve with: openclaw nodes approve {}\n", plain(request));
        }
    }
    out
}

fn of_total(shown: usize, total: usize) -> String {
    if shown < total {
        format!(" (of {total})")
    } else {
        String::new()
    }
}

fn commands(node: &Value, name: &str) -> Option<String> {
    let mut commands = words(node, name).filter(|commands| !commands.is_empty())?;
    commands.sort_unstable();
    Some(
        commands
            .iter()
            .map(|command| format!("- {}\n", plain(command)))
            .collect(),
    )
}

fn details(node: &Value) -> Vec<String> {
    let named = |name: &str, value: Option<String>| value.map(|value| format!("{name}: {value}"));
    let owned = |name: &str| text(node, name).map(str::to_owned);
    [
        named("client", client(node)),
        named("device", owned("deviceFamily")),
        named("hw", owned("modelIdentifier")),
        named("perms", permissions(node)),
        version(node),
        named("path", text(node, "pathEnv").map(short_path)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn client(node: &Value) -> Option<String> {
    let client = text(node, "clientId")?;
    let mode = text(node, "clientMode").map(|mode| format!("{client}/{mode}"));
    Some(mode.unwrap_or_else(|| client.to_owned()))
}

/// `[a=yes, b=no]`, by name.
fn permissions(node: &Value) -> Option<String> {
    let granted = node.get("permissions")?.as_object()?;
    let mut shown: Vec<String> = granted
        .iter()
        .map(|(name, granted)| format!("{name}={}", if granted == true { "yes" } else { "no" }))
        .collect();
    shown.sort_unstable();
    (!shown.is_empty()).then(|| format!("[{}]", shown.join(", ")))
}

/// `core v1 · ui v2`; a lone version is the core's on a desktop system, else the user interface's.
fn version(node: &Value) -> Option<String> {
    let (core, ui) = (text(node, "coreVersion"), text(node, "uiVersion"));
    let alone = text(node, "version").filter(|_| core.is_none() && ui.is_none());
    let desktop = matches!(text(node, "platform"), Some("darwin" | "linux" | "win32"));
    let shown = |name: &str, version: &str| format!("{name} v{}", version.trim_start_matches('v'));
    let core = core.or(alone.filter(|_| desktop));
    let ui = ui.or(alone.filter(|_| !desktop));
    let core = core.map(|version| shown("core", version));
    let ui = ui.map(|version| shown("ui", version));
    let parts: Vec<String> = core.into_iter().chain(ui).collect();
    (!parts.is_empty()).then(|| parts.join(" · "))
}

/// The first two and the last directory of a PATH.
fn short_path(path: &str) -> String {
    let parts: Vec<&str> = path.split(':').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [first, second, _, .., last] => format!("{first}:{second}:…:{last}"),
        _ => parts.join(":"),
    }
}

/// `paired · connected (4m ago)`, and whether its commands wait for an approval.
fn standing(node: &Value, now: u64) -> String {
    let word = |name, yes, no| if flag(node, name) { yes } else { no };
    let since = number(node, "connectedAtMs").map(|then| format!(" ({})", age(now, Some(then))));
    // Gateways that do not tell the layers apart say nothing here.
    let waits = matches!(text(node, "pairing"), Some("pending" | "none"));
    format!(
        "{} · {}{}{}",
        word("paired", "paired", "unpaired"),
        word("connected", "connected", "disconnected"),
        since.unwrap_or_default(),
        if waits { " · commands wait" } else { "" }
    )
}

fn caps(node: &Value) -> String {
    let Some(mut caps) = words(node, "caps") else {
        return "?".to_owned();
    };
    caps.sort_unstable();
    caps.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 10_000_000;
    const STYLE: Style = Style {
        color: false,
        width: 120,
    };

    #[test]
    fn pending_requests() {
        assert_eq!(pending(&[], NOW, &STYLE), "No pending pairing requests.\n");
        let rows = [
            json!({"requestId":"r-1","nodeId":"n","displayName":"Build Node","platform":"linux",
                "remoteIp":"10.0.0.7","ts":NOW-300_000,"layer":"node"}),
            json!({"requestId":"r-2","nodeId":"abc","ts":NOW,"layer":"device"}),
        ];
        let expected = "\
Pending
┌─────────┬────────────┬──────────┬──────────┬───────────┬────────┐
│ Request │ Node       │ Platform │ IP       │ Requested │ Layer  │
├─────────┼────────────┼──────────┼──────────┼───────────┼────────┤
│ r-1     │ Build Node │ linux    │ 10.0.0.7 │ 5m ago    │ node   │
│ r-2     │ abc        │          │          │ just now  │ device │
└─────────┴────────────┴──────────┴──────────┴───────────┴────────┘
";
        assert_eq!(pending(&rows, NOW, &STYLE), expected);
    }

    #[test]
    fn lists_count_what_was_filtered() {
        let paired = [json!({"nodeId":"n","displayName":"A","remoteIp":"::1",
            "lastConnectedAtMs":NOW-7_200_000})];
        let text = list(&[], &paired, 3, NOW, &STYLE);
        assert!(
            text.starts_with("Pending: 0 · Paired: 1 (of 3)\n\nPaired\n"),
            "{text}"
        );
        assert!(
            text.contains("│ A    │ n  │ ::1 │ 2h ago       │"),
            "{text}"
        );
        assert_eq!(list(&[], &[], 0, NOW, &STYLE), "Pending: 0 · Paired: 0\n");
        let phone = [json!({"nodeId":"c49ee6d7ffff","clientId":"openclaw-ios"})];
        let text = list(&[], &phone, 1, NOW, &STYLE);
        assert!(
            text.contains("│ openclaw-ios c49ee6d7 │ c49ee6d7ffff │"),
            "{text}"
        );
    }

    #[test]
    fn status_rows() {
        let node = json!({"nodeId":"n","displayName":"A","clientId":"node-host","clientMode":"node",
            "platform":"linux","version":"2026.4.29","deviceFamily":"Linux",
            "permissions":{"b":false,"a":true},"pathEnv":"/usr/local/bin:/usr/bin:/bin:/home/u/bin",
            "paired":true,"connected":true,"connectedAtMs":NOW-240_000,"caps":["system","browser"]});
        assert_eq!(
            details(&node).join(" · "),
            "client: node-host/node · device: Linux · perms: [a=yes, b=no] · core v2026.4.29 · \
             path: /usr/local/bin:/usr/bin:…:/home/u/bin"
        );
        assert_eq!(standing(&node, NOW), "paired · connected (4m ago)");
        let waits = json!({"paired": true, "connected": false, "pairing": "none"});
        let standing = standing(&waits, NOW);
        assert_eq!(standing, "paired · disconnected · commands wait");
        assert_eq!(caps(&node), "browser, system");
        assert_eq!(caps(&json!({})), "?");
        let text = status(&[node], 2, NOW, &STYLE);
        assert!(
            text.starts_with("Known: 1 (of 2) · Paired: 1 · Connected: 1\n"),
            "{text}"
        );
        assert_eq!(
            status(&[], 0, NOW, &STYLE),
            "Known: 0 · Paired: 0 · Connected: 0\n"
        );
    }

    #[test]
    fn versions() {
        for (node, expected) in [
            (
                json!({"coreVersion":"1","uiVersion":"v2"}),
                Some("core v1 · ui v2"),
            ),
            (json!({"version":"3","platform":"darwin"}), Some("core v3")),
            (json!({"version":"3","platform":"ios"}), Some("ui v3")),
            (json!({"platform":"ios"}), None),
        ] {
            assert_eq!(version(&node).as_deref(), expected, "{node}");
        }
    }

    #[test]
    fn descriptions_omit_what_is_absent_and_tell_what_waits() {
        let node = json!({"nodeId":"n","paired":true,"connected":false,"caps":[],"commands":[],
            "pendingCommands":["system.which","system.run"],"pendingRequestId":"r-1","pairing":"pending"});
        let text = description(&node, NOW, &STYLE);
        assert!(!text.contains("Model"), "{text}");
        assert!(text.contains("Commands\n- (none reported)\n"), "{text}");
        let waiting = "Waiting for approval\n- system.run\n- system.which\n\
                       Approve with: openclaw nodes approve r-1\n";
        assert!(text.ends_with(waiting), "{text}");
    }
}
