//! Which of the gateways that were found: a list to pick from, or a name.
//!
//! Anybody on the network can answer a search, so a name decides only where a single row fits it: two of one
//! name are told apart by their addresses alone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::error::{CliError, Failed};
use crate::cli::node_join::person::{Person, asked, must_confirm};
use crate::cli::output::grid::{fixed, flexible, grid};
use crate::cli::output::text::plain;
use crate::cli::selectors::normalized;
use crate::config::Loaded;
use crate::discovery::Found;
use crate::discovery::browse::{domains, scan};
use crate::store::NodeGateway;

/// Rows of one list. A name is looked for among all that were found; how many those may be is bounded where they are
/// searched for.
const MAX_ROWS: usize = 50;

/// The ways that need no search.
const WITHOUT_DISCOVERY: &str = "Ways without discovery:\n\
     \x20 openclaw node join --url wss://<gateway-host>:18789\n\
     \x20 openclaw node join --setup-code-file -      (paste what `openclaw qr` printed on the gateway's machine)\n\
     \x20 openclaw node run --ssh <user>@<gateway-host>";

/// What a look around has shown.
#[derive(Debug, Default)]
pub struct Around {
    /// The gateways that answered.
    pub found: Vec<Found>,
    /// The domains that were searched.
    pub domains: Vec<String>,
    /// What went wrong, one sentence each.
    pub faults: Vec<String>,
    /// How long it took.
    pub patience: Duration,
}

impl Around {
    /// Looks around for that long, in every domain that this machine browses.
    pub fn look(loaded: &Loaded, patience: Duration) -> Around {
        let domains = domains(loaded);
        let names = domains.iter().map(|(name, _)| name.clone()).collect();
        let scan = scan(domains, patience);
        let faults = scan.to_string();
        Around {
            found: scan.found,
            domains: names,
            faults: faults.lines().map(str::to_owned).collect(),
            patience,
        }
    }
}

/// A gateway of the list.
#[derive(Debug, Clone, Copy)]
struct Row<'a> {
    found: &'a Found,
    /// This machine belongs to it already.
    joined: bool,
}

/// How well a name fits a gateway; a greater one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Beginning,
    Whole,
}

/// The gateway to join: the one that `named` means, else the one that the person picks. `stored` is the gateway this
/// machine belongs to, `width` the columns of the terminal.
///
/// # Errors
/// None was found, none or several are called like that, nobody is there to pick, or whoever was asked left.
pub fn choose<'a>(
    around: &'a Around,
    named: Option<&str>,
    stored: Option<&NodeGateway>,
    person: &mut dyn Person,
    width: usize,
) -> Result<&'a Found, CliError> {
    let rows = rows(around, stored);
    if rows.is_empty() {
        return Err(nothing(around));
    }
    if let Some(name) = named {
        return by_name(name, &rows).map(|row| row.found);
    }
    if !person.is_there() {
        let message = "there is no terminal to ask which gateway is meant";
        return Err(several("USAGE", message.to_owned(), &rows));
    }
    around.faults.iter().for_each(|fault| person.tell(fault));
    person.tell(table(&rows, width).trim_end());
    pick(&rows, person)
}

fn pick<'a>(rows: &[Row<'a>], person: &mut dyn Person) -> Result<&'a Found, CliError> {
    if let [only] = rows {
        must_confirm(person, "Use this gateway?")?;
        return Ok(only.found);
    }
    let shown = rows.len().min(MAX_ROWS);
    loop {
        let answer = asked(
            person,
            &format!("Which gateway? (1 to {shown}, q to leave) "),
        )?;
        let number: Option<usize> = answer.parse().ok();
        let index = number.and_then(|number| number.checked_sub(1));
        match index.filter(|index| *index < shown).map(|at| rows[at]) {
            Some(row) if row.found.addresses.is_empty() => {
                person.tell("No address of that gateway was found.");
            }
            Some(row) => return Ok(row.found),
            None => person.tell("Please answer with a number of the list."),
        }
    }
}

/// What this machine belongs to comes first, the rest as it was found.
fn rows<'a>(around: &'a Around, stored: Option<&NodeGateway>) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = around
        .found
        .iter()
        .map(|found| Row {
            found,
            joined: stored.is_some_and(|stored| is_at(found, stored)),
        })
        .collect();
    rows.sort_by_key(|row| !row.joined);
    rows
}

/// Whether a gateway was found where the stored one is.
fn is_at(found: &Found, stored: &NodeGateway) -> bool {
    let (Some(host), Some(port)) = (&stored.host, stored.port) else {
        return false;
    };
    let at_address = |address: &std::net::SocketAddr| address.ip().to_string() == *host;
    found.port == port
        && (found.host.eq_ignore_ascii_case(host) || found.addresses.iter().any(at_address))
}

fn by_name<'a, 'r>(name: &str, rows: &'r [Row<'a>]) -> Result<&'r Row<'a>, CliError> {
    let scored: Vec<(Fit, &Row<'a>)> = rows
        .iter()
        .filter_map(|row| Some((fit(name.trim(), row.found)?, row)))
        .collect();
    let best = scored.iter().map(|(fit, _)| *fit).max();
    let meant: Vec<&Row<'a>> = scored
        .iter()
        .filter(|(fit, _)| Some(*fit) == best)
        .map(|(_, row)| *row)
        .collect();
    match meant.as_slice() {
        [only] if only.found.addresses.is_empty() => Err(CliError::failed(
            "GATEWAY_UNREACHABLE",
            format!("no address of {} was found", label(only.found)),
        )),
        [only] => Ok(only),
        [] => {
            let message = format!("no gateway that was found is called {name}");
            Err(several("GATEWAY_UNKNOWN", message, rows))
        }
        both => {
            let rows: Vec<Row<'a>> = both.iter().map(|row| **row).collect();
            let message = format!(
                "ambiguous gateway: {name} ({} are called like that). Give the address of the one you mean",
                rows.len()
            );
            Err(several("GATEWAY_AMBIGUOUS", message, &rows))
        }
    }
}

/// Names that read alike are one name: who answers with another spelling of it gains nothing.
fn fit(query: &str, found: &Found) -> Option<Fit> {
    let wanted = normalized(query);
    let names = [found.name(), &found.instance].map(|name| (name, normalized(name)));
    let same = |(name, normal): &(&str, String)| {
        *name == query || (!wanted.is_empty() && *normal == wanted)
    };
    let at = |address: &std::net::SocketAddr| {
        address.to_string() == query || address.ip().to_string() == query
    };
    let begins = |(_, normal): &(&str, String)| !wanted.is_empty() && normal.starts_with(&wanted);
    if names.iter().any(same)
        || found.host.eq_ignore_ascii_case(query)
        || found.addresses.iter().any(at)
    {
        Some(Fit::Whole)
    } else if names.iter().any(begins) {
        Some(Fit::Beginning)
    } else {
        None
    }
}

fn table(rows: &[Row<'_>], width: usize) -> String {
    let mut columns = vec![
        fixed("#"),
        flexible("Gateway"),
        fixed("Address"),
        fixed("Domain"),
        fixed("TLS"),
    ];
    let belongs = rows.iter().any(|row| row.joined);
    columns.extend(belongs.then(|| fixed("Note")));
    let cells: Vec<Vec<String>> = rows
        .iter()
        .take(MAX_ROWS)
        .enumerate()
        .map(|(index, row)| {
            let mut cells = vec![
                (index + 1).to_string(),
                row.found.name().to_owned(),
                address(row.found),
                row.found.domain.clone(),
                if row.found.says_tls() { "yes" } else { "no" }.to_owned(),
            ];
            let note = if row.joined { "already joined" } else { "" };
            cells.extend(belongs.then(|| note.to_owned()));
            cells
        })
        .collect();
    grid(&columns, &cells, width) + &more(rows)
}

fn more(rows: &[Row<'_>]) -> String {
    match rows.len().checked_sub(MAX_ROWS) {
        Some(left) if left > 0 => {
            format!("and {left} more: name the one you mean with --gateway <name or address>\n")
        }
        _ => String::new(),
    }
}

fn address(found: &Found) -> String {
    found
        .url()
        .map_or_else(|| "not found".to_owned(), |url| url.authority())
}

/// A gateway in one line: `Attic Pi at 192.168.1.7:18789 (local., TLS)`.
pub fn label(found: &Found) -> String {
    let tls = if found.says_tls() { "TLS" } else { "no TLS" };
    let text = format!(
        "{} at {} ({}, {tls})",
        found.name(),
        address(found),
        found.domain
    );
    plain(&text)
}

/// A failure that lists the gateways it is about.
fn several(code: &str, message: String, rows: &[Row<'_>]) -> CliError {
    let lines: String = rows
        .iter()
        .take(MAX_ROWS)
        .map(|row| format!("\n  {}", label(row.found)))
        .collect();
    let mut failed = Failed::new(
        code,
        format!("{message}:{lines}\n{}", more(rows)).trim_end(),
    );
    failed.hint = Some("Join one: openclaw node join --gateway <name or address>".to_owned());
    let documents: Vec<Value> = rows.iter().take(MAX_ROWS).map(document).collect();
    failed.details = json!({"count": rows.len(), "gateways": documents});
    failed.into()
}

fn document(row: &Row<'_>) -> Value {
    let found = row.found;
    json!({"name": found.name(), "instance": found.instance, "domain": found.domain, "host": found.host,
        "port": found.port, "addresses": found.addresses, "tls": found.says_tls(), "joined": row.joined})
}

fn nothing(around: &Around) -> CliError {
    let domains = match around.domains.as_slice() {
        [] => "no domain is searched: OPENCLAW_DISABLE_BONJOUR is set, and no wide-area domain"
            .to_owned(),
        domains => domains.join(" and "),
    };
    let mut message = format!(
        "no gateway found within {} ms ({domains})",
        around.patience.as_millis()
    );
    for fault in &around.faults {
        message += &format!("\n{fault}");
    }
    let mut failed = Failed::new("GATEWAY_UNREACHABLE", message);
    failed.hint = Some(WITHOUT_DISCOVERY.to_owned());
    failed.details = json!({"domains": around.domains, "faults": around.faults});
    failed.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::node_join::person::Script;
    use crate::cli::node_join::person::testing::Actor;
    use crate::discovery::found::LOCAL;

    fn found(instance: &str, name: &str, address: &str) -> Found {
        let addresses = address.parse().into_iter();
        Found::new(
            instance.as_bytes(),
            LOCAL,
            "pi.local.",
            18_789,
            addresses,
            [("displayName", name.as_bytes()), ("gatewayTls", &b"1"[..])],
        )
    }

    fn around(found: Vec<Found>) -> Around {
        Around {
            found,
            domains: vec![LOCAL.to_owned()],
            ..Around::default()
        }
    }

    fn house() -> Around {
        around(vec![
            found("Attic Pi (OpenClaw)", "Attic Pi", "10.0.0.1:18789"),
            found("Cellar (OpenClaw)", "Cellar", "10.0.0.2:18789"),
            found("Cellar 2 (OpenClaw)", "Cellar 2", "10.0.0.3:18789"),
            found("K\u{fc}che", "K\u{fc}che", "10.0.0.4:18789"),
            found("Nowhere", "Nowhere", "unresolved"),
        ])
    }

    #[test]
    fn a_name_means_one_gateway_or_none() {
        let house = house();
        for (name, expected) in [
            ("Attic Pi", "10.0.0.1"),
            ("attic-pi", "10.0.0.1"),
            ("ATTIC PI (OPENCLAW)", "10.0.0.1"),
            ("att", "10.0.0.1"),
            ("Cellar", "10.0.0.2"),
            ("cellar-2", "10.0.0.3"),
            ("10.0.0.3", "10.0.0.3"),
            ("10.0.0.3:18789", "10.0.0.3"),
            ("K\u{fc}che", "10.0.0.4"),
            ("cell", "ambiguous gateway: cell (2 are called like that)"),
            ("pi.local", "ambiguous gateway: pi.local (5 "),
            ("nowhere", "no address of Nowhere at not found"),
            (
                "roof",
                "no gateway that was found is called roof:\n  Attic Pi at 10.0.0.1:18789 (local., TLS)",
            ),
            ("***", "no gateway that was found is called ***"),
        ] {
            let chosen = choose(&house, Some(name), None, &mut Script, 80);
            let shown = match chosen {
                Ok(found) => found.addresses[0].ip().to_string(),
                Err(error) => error.to_string(),
            };
            assert!(shown.starts_with(expected), "{name}: {shown}");
        }
    }

    #[test]
    fn whoever_answers_with_the_name_of_another_is_shown_beside_it() {
        for impostor in ["Attic Pi", "attic pi", "Attic-Pi"] {
            let mut house = house();
            house.found.push(found(impostor, impostor, "10.0.0.66:1"));
            for name in ["Attic Pi", "attic pi"] {
                let error = choose(&house, Some(name), None, &mut Script, 80).unwrap_err();
                let text = error.to_string();
                assert!(text.starts_with("ambiguous gateway: "), "{text}");
                assert!(text.contains("10.0.0.1:18789") && text.contains("10.0.0.66:"));
            }
            let chosen = choose(&house, Some("10.0.0.1"), None, &mut Script, 80);
            assert_eq!(chosen.unwrap().instance, "Attic Pi (OpenClaw)");
        }
    }

    #[test]
    fn a_person_picks_by_number_and_sees_where_this_machine_belongs() {
        let house = house();
        let stored = NodeGateway {
            host: Some("10.0.0.3".to_owned()),
            port: Some(18_789),
            ..NodeGateway::default()
        };
        let mut person = Actor::new(&["0", "99", "x", "5", "1"]);
        let chosen = choose(&house, None, Some(&stored), &mut person, 100).unwrap();
        assert_eq!(chosen.name(), "Cellar 2");
        let line = person.seen.lines().find(|line| line.contains("│ 1 "));
        assert!(
            line.is_some_and(
                |line| line.contains("10.0.0.3:18789") && line.contains("already joined")
            ),
            "{}",
            person.seen
        );
        assert!(person.seen.contains("No address of that gateway"));
        for answers in [&["q"][..], &[]] {
            assert!(choose(&house, None, None, &mut Actor::new(answers), 80).is_err());
        }
    }

    #[test]
    fn the_only_gateway_is_asked_about_too() {
        let one = around(vec![found("Pi", "Pi", "10.0.0.1:18789")]);
        for (answers, taken) in [(&["y"][..], true), (&["n"], false), (&[""], false)] {
            let mut person = Actor::new(answers);
            assert_eq!(choose(&one, None, None, &mut person, 80).is_ok(), taken);
            assert!(person.seen.contains("Use this gateway?"));
        }
    }

    #[test]
    fn a_script_that_names_none_is_told_what_there_is() {
        let error = choose(&house(), None, None, &mut Script, 80).unwrap_err();
        assert!(error.to_string().contains("Cellar 2 at 10.0.0.3:18789"));
        assert_eq!(error.document()["error"]["details"]["count"], 5);
    }

    #[test]
    fn a_flood_of_gateways_is_cut_and_hides_none_that_is_named() {
        let flood = (0..5_000).map(|at| found(&format!("x{at}"), &format!("x{at}"), "10.9.9.9:1"));
        let mut flood = around(flood.collect());
        flood.found.push(found("Real", "Real", "10.0.0.1:18789"));
        let mut person = Actor::new(&["51", "q"]);
        assert!(choose(&flood, None, None, &mut person, 80).is_err());
        assert!(person.seen.contains("and 4951 more") && person.seen.len() < 40_000);
        assert!(choose(&flood, Some("real"), None, &mut Script, 80).is_ok());
        let error = choose(&flood, None, None, &mut Script, 80).unwrap_err();
        assert!(error.to_string().len() < 10_000);
    }

    #[test]
    fn finding_nothing_says_what_was_tried_and_what_needs_no_search() {
        let mut silence = around(Vec::new());
        silence
            .faults
            .push("local. could not be browsed: no multicast".to_owned());
        silence.patience = Duration::from_millis(3_000);
        let error = choose(&silence, None, None, &mut Script, 80).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("within 3000 ms (local.)\nlocal. could not be browsed: no multicast")
        );
        assert!(error.hint().unwrap().contains("--setup-code-file -"));
    }
}
