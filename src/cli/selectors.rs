//! What a person may type to mean a node, a device or a request (cli.md §1.5). Pure, over the rows of the lists.

use serde_json::{Value, json};

use crate::cli::error::{CliError, Failed};
use crate::cli::output::text::plain;
use crate::cli::row;
use crate::pairing::resolution::SHORTEST_PREFIX;

/// Shortest prefix of an id that may stand for it.
const SHORTEST_ID_PREFIX: usize = 6;

/// How well a query fits a node; a greater one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Prefix,
    Name,
    /// A name whose normal form is too little of it, or nothing: only case does not matter.
    Letters,
    Address,
    Id,
}

/// The one node that `query` means.
///
/// # Errors
/// `node required`, `unknown node: …`, `ambiguous node: …`.
pub fn node<'a>(query: &str, nodes: &'a [Value]) -> Result<&'a Value, CliError> {
    let query = query.trim();
    if query.is_empty() {
        return Err(CliError::rule("error: node required"));
    }
    let scored: Vec<(Fit, &Value)> = nodes
        .iter()
        .filter_map(|candidate| Some((fit(query, candidate)?, candidate)))
        .collect();
    let best = scored.iter().map(|(fit, _)| *fit).max();
    let found: Vec<&Value> = scored
        .iter()
        .filter(|(fit, _)| Some(*fit) == best)
        .map(|(_, candidate)| *candidate)
        .collect();
    // Nodes choose their names: one that is called like the id of another must not get what is meant for it.
    let meant: Vec<&Value> = scored
        .iter()
        .map(|(_, candidate)| *candidate)
        .filter(|candidate| is_prefix(query, row::id(candidate), SHORTEST_ID_PREFIX))
        .collect();
    if matches!(best, Some(Fit::Letters | Fit::Name))
        && meant.iter().any(|other| !found.contains(other))
    {
        let all: Vec<&Value> = found.iter().chain(&meant).copied().collect();
        return Err(ambiguous_node(query, &all));
    }
    match found.as_slice() {
        [] => Err(unknown_node(query, nodes)),
        [only] => Ok(only),
        several => preferred(several).ok_or_else(|| ambiguous_node(query, several)),
    }
}

fn fit(query: &str, candidate: &Value) -> Option<Fit> {
    let id = row::id(candidate);
    // As people see it: what a terminal would not show names nobody.
    let name = row::text(candidate, "displayName").map(plain);
    let name = name.unwrap_or_default();
    let normal = normalized(&name);
    if id == query {
        Some(Fit::Id)
    } else if row::text(candidate, "remoteIp") == Some(query) {
        Some(Fit::Address)
    } else if !query.is_ascii() && name.to_lowercase() == query.to_lowercase() {
        Some(Fit::Letters)
    } else if !normal.is_empty() && normal == normalized(query) {
        Some(Fit::Name)
    } else if is_prefix(query, id, SHORTEST_ID_PREFIX) {
        Some(Fit::Prefix)
    } else {
        None
    }
}

/// Lower case, every run of other characters one dash, no dash at the ends.
pub fn normalized(name: &str) -> String {
    let lower = name.to_lowercase();
    let words =
        lower.split(|letter: char| !letter.is_ascii_lowercase() && !letter.is_ascii_digit());
    words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

/// Among equals: the only connected one, else the only one of today's clients among former ones.
fn preferred<'a>(candidates: &[&'a Value]) -> Option<&'a Value> {
    let connected: Vec<&&Value> = candidates
        .iter()
        .filter(|found| row::flag(found, "connected"))
        .collect();
    if let [only] = connected.as_slice() {
        return Some(only);
    }
    let starts = |found: &Value, prefix: &str| {
        row::text(found, "clientId").is_some_and(|id| id.starts_with(prefix))
    };
    let current: Vec<&&Value> = candidates
        .iter()
        .filter(|found| starts(found, "openclaw-"))
        .collect();
    let former = candidates
        .iter()
        .filter(|found| starts(found, "clawdbot-") || starts(found, "moldbot-"))
        .count();
    match current.as_slice() {
        [only] if former + 1 == candidates.len() => Some(only),
        _ => None,
    }
}

fn unknown_node(query: &str, nodes: &[Value]) -> CliError {
    let shown = |found: &Value| {
        let name = row::text(found, "displayName").or_else(|| row::text(found, "remoteIp"));
        plain(name.unwrap_or_else(|| row::id(found)))
    };
    let known: Vec<String> = nodes.iter().map(shown).collect();
    let known = if known.is_empty() {
        String::new()
    } else {
        format!(" (known: {})", known.join(", "))
    };
    CliError::failed("NODE_UNKNOWN", format!("unknown node: {query}{known}"))
}

fn ambiguous_node(query: &str, candidates: &[&Value]) -> CliError {
    let ids: Vec<&str> = candidates.iter().map(|found| row::id(found)).collect();
    let matches: Vec<String> = candidates
        .iter()
        .map(|found| {
            let client = row::text(found, "clientId").map_or("unknown".to_owned(), plain);
            format!(
                "{} [node={}, client={client}]",
                row::label(found),
                plain(row::id(found))
            )
        })
        .collect();
    let message = format!("ambiguous node: {query} (matches: {})", matches.join(", "));
    let mut failed = Failed::new("NODE_AMBIGUOUS", message);
    failed.details = json!({"nodeIds": ids});
    failed.into()
}

/// The device id that `query` means; what fits nothing is returned as it is, for the gateway to judge.
///
/// # Errors
/// `ambiguous device: …`.
pub fn device<'a>(query: &'a str, devices: &'a [Value]) -> Result<&'a str, CliError> {
    let ids = devices.iter().map(row::id);
    abbreviated("device", query.trim(), ids, SHORTEST_ID_PREFIX)
}

/// The join key or expected device that `query` means; what fits nothing is returned as it is.
///
/// # Errors
/// `ambiguous key: …`.
pub fn key<'a>(
    query: &'a str,
    keys: &'a [Value],
    expected: &'a [Value],
) -> Result<&'a str, CliError> {
    let ids = keys.iter().filter_map(|found| row::text(found, "id"));
    let ids = ids.chain(expected.iter().map(row::id));
    abbreviated("key", query.trim(), ids, SHORTEST_ID_PREFIX)
}

/// The request id that `query` means among the rows of both layers; what fits nothing is returned as it is.
///
/// # Errors
/// `ambiguous request: …`, and a beginning that is too short to stand for one.
pub fn request<'a>(query: &'a str, requests: &'a [Value]) -> Result<&'a str, CliError> {
    let query = query.trim();
    let ids = requests
        .iter()
        .filter_map(|found| row::text(found, "requestId"));
    if query.len() < SHORTEST_PREFIX && ids.clone().any(|id| is_prefix(query, id, 1)) {
        let mut failed = Failed::new("INVALID_REQUEST", "unknown requestId");
        failed.hint = Some(format!(
            "Give at least {SHORTEST_PREFIX} characters of the id."
        ));
        return Err(failed.into());
    }
    abbreviated("request", query, ids, SHORTEST_PREFIX)
}

fn abbreviated<'a>(
    what: &str,
    query: &'a str,
    ids: impl Iterator<Item = &'a str> + Clone,
    shortest: usize,
) -> Result<&'a str, CliError> {
    if ids.clone().any(|id| id == query) {
        return Ok(query);
    }
    let found: Vec<&str> = ids.filter(|id| is_prefix(query, id, shortest)).collect();
    match found.as_slice() {
        [] => Ok(query),
        [only] => Ok(only),
        several => {
            let message = format!(
                "ambiguous {what}: {query} (matches: {})",
                several.join(", ")
            );
            Err(CliError::failed("INVALID_REQUEST", message))
        }
    }
}

/// Whether `query` is a beginning of this device or node id that is long enough to stand for it.
pub fn abbreviates(query: &str, id: &str) -> bool {
    is_prefix(query, id, SHORTEST_ID_PREFIX)
}

fn is_prefix(query: &str, id: &str, shortest: usize) -> bool {
    query.len() >= shortest && id.starts_with(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Vec<Value> {
        let row = |id: &str, name: &str, ip: &str, client: &str, connected: bool| json!({"nodeId":id,"displayName":name,"remoteIp":ip,"clientId":client,"connected":connected});
        vec![
            row("aaaa1111", "Build Node", "10.0.0.1", "node-host", true),
            row("aaaa2222", "Twin Node", "10.0.0.2", "node-host", false),
            row("aaaa3333", "Twin Node", "10.0.0.2", "node-host", false),
            row("bbbb1111", "Pair", "10.0.0.3", "node-host", true),
            row("bbbb2222", "Pair", "10.0.0.3", "node-host", false),
            row("cccc1111", "Old and new", "10.0.0.4", "openclaw-ios", false),
            row("cccc2222", "Old and new", "10.0.0.4", "clawdbot-ios", false),
            row("dddd1111", "", "10.0.0.5", "node-host", false),
            row("eeee1111", "---", "10.0.0.6", "node-host", false),
            row("10.0.0.1", "An id like an address", "", "node-host", false),
            row(
                "ffff1111",
                "L\u{1b}[31mab\u{202e}",
                "10.0.0.7",
                "node-host",
                false,
            ),
            row("ab120001", "日本 ノード", "", "node-host", false),
            row("ab120002", "Кухня 1", "", "node-host", false),
            row("ab120003", "Сервер 1", "", "node-host", false),
        ]
    }

    #[test]
    fn node_selectors() {
        for (query, expected) in [
            ("aaaa1111", "aaaa1111"),
            ("AAAA1111", "unknown node: AAAA1111 (known: "),
            ("build-node", "aaaa1111"),
            (" BUILD_NODE ", "aaaa1111"),
            ("10.0.0.5", "dddd1111"),
            ("lab", "ffff1111"),
            (" 日本 ノード", "ab120001"),
            ("日本", "unknown node: 日本 (known: "),
            ("сервер 1", "ab120003"),
            ("1", "ambiguous node: 1 (matches: Кухня 1 ["),
            ("l-31mab", "unknown node: l-31mab (known: "),
            ("10.0.0.1", "10.0.0.1"),
            ("aaaa11", "aaaa1111"),
            ("aaaa1", "unknown node: aaaa1 (known: "),
            ("Pair", "bbbb1111"),
            ("Old and new", "cccc1111"),
            ("---", "unknown node: --- (known: "),
            (
                "Twin Node",
                "ambiguous node: Twin Node (matches: Twin Node [node=aaaa2222, client=node-host], \
                           Twin Node [node=aaaa3333, client=node-host])",
            ),
            ("", "error: node required"),
        ] {
            let rows = nodes();
            let found = match node(query, &rows) {
                Ok(found) => row::id(found).to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(found.starts_with(expected), "{query}: {found}");
        }
        assert_eq!(node("x", &[]).unwrap_err().to_string(), "unknown node: x");
    }

    #[test]
    fn a_node_named_like_the_id_of_another_gets_nothing_that_is_meant_for_it() {
        let mut rows = nodes();
        rows.push(json!({"nodeId": "9999ffff", "displayName": "aaaa1111", "connected": true}));
        let found = |query: &str| node(query, &rows).map(|found| row::id(found).to_owned());
        assert_eq!(
            found("aaaa1111").unwrap(),
            "aaaa1111",
            "the whole id is one"
        );
        rows.push(json!({"nodeId": "8888ffff", "displayName": "aaaa11", "connected": true}));
        let error = node("aaaa11", &rows).unwrap_err().to_string();
        assert!(error.starts_with("ambiguous node: aaaa11 ("), "{error}");
    }

    #[test]
    fn the_known_list_falls_back_to_address_and_id() {
        let rows = [
            json!({"nodeId":"n1","displayName":"A\u{1b}[31m"}),
            json!({"nodeId":"n2","remoteIp":"10.0.0.9"}),
            json!({"nodeId":"n3"}),
        ];
        assert_eq!(
            node("zzz", &rows).unwrap_err().to_string(),
            "unknown node: zzz (known: A, 10.0.0.9, n3)"
        );
    }

    #[test]
    fn abbreviated_ids() {
        let devices = [
            json!({"deviceId":"abcdef01"}),
            json!({"deviceId":"abcdef02"}),
            json!({"deviceId":"ffff0000"}),
        ];
        for (query, expected) in [
            ("abcdef01", Ok("abcdef01")),
            ("ffff00", Ok("ffff0000")),
            ("ffff0", Ok("ffff0")),
            ("nothing", Ok("nothing")),
            (
                "abcdef",
                Err("ambiguous device: abcdef (matches: abcdef01, abcdef02)"),
            ),
        ] {
            let found = device(query, &devices).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{query}");
        }
        let requests = [
            json!({"requestId":"219294ee-440b"}),
            json!({"requestId":"219294ef-440b"}),
        ];
        for (query, expected) in [
            ("219294ee", Ok("219294ee-440b")),
            ("219294e", Err("unknown requestId")),
            ("zz", Ok("zz")),
            (" 219294ef-440b ", Ok("219294ef-440b")),
        ] {
            let found = request(query, &requests).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(|e: &str| e.to_owned()), "{query}");
        }
        let hint = request("2", &requests).unwrap_err().hint().unwrap();
        assert_eq!(hint, "Give at least 8 characters of the id.");
    }
}
