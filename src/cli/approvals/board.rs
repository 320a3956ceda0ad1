//! What a watcher knows of the approvals that wait, and what happened to them: kept from lists and events. Pure.
//!
//! Nothing is broadcast when an approval expires, and a gateway that starts anew has forgotten all of them: what a
//! list does not hold any more has ended.

use serde_json::{Map, Value, json};

use crate::cli::approvals::names::Names;
use crate::cli::approvals::request;
use crate::cli::row;
use crate::protocol::hidden::visible;

/// Something that happened to an approval.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// It waited no longer than allowed, or the gateway that knew it ended.
    Ended {
        /// The approval as it was.
        entry: Value,
        /// Whether its time was over.
        expired: bool,
    },
    /// Somebody decided; the payload of the event.
    Resolved(Value),
    /// It waits: the row of the list or the payload of the event.
    Waiting(Value),
}

impl Happening {
    /// One object for machines: `type` is `waiting`, `resolved`, `expired` or `gone`, `id` the approval's.
    pub fn document(&self, names: &Names) -> Value {
        let (kind, entry) = match self {
            Happening::Ended {
                entry,
                expired: true,
            } => ("expired", entry),
            Happening::Ended { entry, .. } => ("gone", entry),
            Happening::Resolved(payload) => ("resolved", payload),
            Happening::Waiting(entry) => ("waiting", entry),
        };
        let mut document = Map::new();
        document.insert("type".to_owned(), json!(kind));
        if let Value::Object(members) = request::named(entry, names) {
            document.extend(members);
        }
        Value::Object(document)
    }

    /// One line for people.
    pub fn line(&self, names: &Names, now: u64) -> String {
        let subject = |entry: &Value| {
            format!(
                "{}  {}: {}",
                request::short(request::id(entry), &[]),
                request::node(entry, names),
                request::command(entry)
            )
        };
        match self {
            Happening::Ended { entry, expired } => {
                let word = if *expired { "Expired " } else { "Gone    " };
                format!("{word}  {}", subject(entry))
            }
            Happening::Resolved(payload) => {
                let shown = |name: &str| visible(row::text(payload, name).unwrap_or("unknown"));
                format!(
                    "Resolved  {}  ({} by {})",
                    subject(payload),
                    shown("decision"),
                    shown("resolvedBy")
                )
            }
            Happening::Waiting(entry) => {
                let remarks = request::remarks(entry);
                let remarks = remarks.iter().map(|remark| format!("\n          {remark}"));
                format!(
                    "Waiting   {}  (cwd {}, agent {}, expires in {}){}\n          {}",
                    subject(entry),
                    request::member(entry, "cwd"),
                    request::member(entry, "agentId"),
                    request::expires(entry, now),
                    remarks.collect::<String>(),
                    request::decide_with(entry, &request::short(request::id(entry), &[]))
                )
            }
        }
    }

    /// The node it is about.
    pub fn node(&self) -> Option<&str> {
        let (Happening::Ended { entry, .. }
        | Happening::Resolved(entry)
        | Happening::Waiting(entry)) = self;
        row::text(&entry["request"], "nodeId")
    }
}

/// The approvals that wait, in the order in which they came.
#[derive(Debug, Default)]
pub struct Board {
    waiting: Vec<Value>,
}

impl Board {
    /// Takes what the gateway lists now; what is new and what is not there any more has happened.
    pub fn listed(&mut self, listed: &Value, now: u64) -> Vec<Happening> {
        let listed = listed.as_array().cloned().unwrap_or_default();
        let is_in = |entry: &Value, rows: &[Value]| {
            rows.iter()
                .any(|row| request::id(row) == request::id(entry))
        };
        let before = std::mem::take(&mut self.waiting);
        let ended = before.iter().filter(|entry| !is_in(entry, &listed));
        let ended = ended.map(|entry| Happening::Ended {
            entry: entry.clone(),
            expired: row::number(entry, "expiresAtMs").is_some_and(|end| end <= now),
        });
        let new = listed.iter().filter(|entry| !is_in(entry, &before));
        let happened = ended
            .chain(new.cloned().map(Happening::Waiting))
            .collect::<Vec<_>>();
        self.waiting = listed;
        happened
    }

    /// Takes the payload of `exec.approval.requested`.
    pub fn requested(&mut self, payload: Value) -> Option<Happening> {
        if self.forget(request::id(&payload)) {
            // Listed already, while the event was on its way.
            self.waiting.push(payload);
            return None;
        }
        self.waiting.push(payload.clone());
        Some(Happening::Waiting(payload))
    }

    /// Takes the payload of `exec.approval.resolved`.
    pub fn resolved(&mut self, payload: Value) -> Happening {
        self.forget(request::id(&payload));
        Happening::Resolved(payload)
    }

    /// When the first of them expires, in milliseconds since the epoch by the gateway's clock.
    pub fn next_end(&self) -> Option<u64> {
        let ends = self.waiting.iter();
        ends.filter_map(|entry| row::number(entry, "expiresAtMs"))
            .min()
    }

    fn forget(&mut self, id: &str) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|entry| request::id(entry) != id);
        self.waiting.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 10_000;

    fn entry(id: &str, end: u64) -> Value {
        json!({"id": id, "createdAtMs": 0, "expiresAtMs": end,
            "request": {"command": "uname -a", "nodeId": "n", "host": "node", "cwd": null, "agentId": null}})
    }

    fn kinds(happened: &[Happening]) -> Vec<String> {
        let names = Names::default();
        happened
            .iter()
            .map(|happening| {
                let document = happening.document(&names);
                format!(
                    "{} {}",
                    document["type"].as_str().unwrap(),
                    request::id(&document)
                )
            })
            .collect()
    }

    #[test]
    fn each_approval_is_told_once_and_its_end_once() {
        let mut board = Board::default();
        let first = board.listed(&json!([entry("a", 20_000), entry("b", 9_000)]), NOW);
        assert_eq!(kinds(&first), ["waiting a", "waiting b"]);
        assert_eq!(
            board.requested(entry("a", 20_000)),
            None,
            "the list had told it"
        );
        let new = board.requested(entry("c", 30_000)).unwrap();
        assert_eq!(kinds(&[new]), ["waiting c"]);
        assert_eq!(board.next_end(), Some(9_000));
        let decided = json!({"id": "a", "decision": "deny", "resolvedBy": "cli", "request": entry("a", 0)["request"]});
        assert_eq!(kinds(&[board.resolved(decided)]), ["resolved a"]);
        let after = board.listed(&json!([entry("d", 40_000)]), NOW);
        assert_eq!(kinds(&after), ["expired b", "gone c", "waiting d"]);
        assert_eq!(
            kinds(&board.listed(&json!([entry("d", 40_000)]), NOW)),
            [""; 0]
        );
    }

    #[test]
    fn lines_say_what_runs_where_and_how_to_decide() {
        let names = Names::of(&json!({"nodes": [{"nodeId": "n", "displayName": "Pi"}]}));
        let waiting = Happening::Waiting(entry("a", NOW + 90_000));
        assert_eq!(
            waiting.line(&names, NOW),
            "Waiting   a  Pi: uname -a  (cwd -, agent -, expires in 90s)\n          \
             openclaw approvals resolve a allow-once|allow-always|deny"
        );
        let mut remarkable = entry("a", NOW + 90_000);
        remarkable["request"]["envKeys"] = json!(["FOO"]);
        remarkable["request"]["warningText"] = json!("it deletes");
        assert_eq!(
            Happening::Waiting(remarkable).line(&names, NOW),
            "Waiting   a  Pi: uname -a  (cwd -, agent -, expires in 90s)\n          sets FOO\n          \
             comes with a warning: it deletes\n          openclaw approvals resolve a allow-once|allow-always|deny"
        );
        let mut decided = entry("a", 0);
        decided["decision"] = json!("allow-once");
        decided["resolvedBy"] = json!("Desk\u{1b}[2J");
        assert_eq!(
            Happening::Resolved(decided).line(&names, NOW),
            "Resolved  a  Pi: uname -a  (allow-once by Desk\\u{1B}[2J)"
        );
        let ended = Happening::Ended {
            entry: entry("a", 0),
            expired: true,
        };
        assert_eq!(ended.line(&names, NOW), "Expired   a  Pi: uname -a");
    }
}
