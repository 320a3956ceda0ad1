//! Everything that is known at one moment, as the watching commands show it.

use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::nodes::with_live;
use crate::cli::output::text::plain;
use crate::cli::row;
use crate::cli::selectors;
use crate::cli::stay::{Line, Lost};
use crate::cli::watch::condition::Counts;
use crate::client::Session;
use crate::pairing::truth::{View, rows};
use crate::store::clock::rfc3339;

/// Which command watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `devices list`.
    Devices,
    /// `nodes list`.
    Nodes,
    /// `nodes pending`.
    Pending,
    /// `nodes status`.
    Status,
}

impl Kind {
    /// Whether an event concerns what the command shows.
    pub fn tells(self, event: &Value) -> bool {
        let name = row::text(event, "event").unwrap_or_default();
        match self {
            Kind::Devices => name.starts_with("device.") || name.starts_with("node.pair."),
            Kind::Pending => name.starts_with("device.pair.") || name.starts_with("node.pair."),
            Kind::Nodes | Kind::Status => true,
        }
    }

    fn view(self) -> View {
        match self {
            Kind::Devices => View::Devices,
            Kind::Nodes | Kind::Pending | Kind::Status => View::Nodes,
        }
    }
}

/// The one node or device that is meant, if one is.
#[derive(Debug, Default)]
pub struct Selection<'a> {
    node: Option<&'a str>,
    device: Option<&'a str>,
}

impl<'a> Selection<'a> {
    /// `--node` or `--device`.
    pub fn read(invocation: &'a Invocation) -> Selection<'a> {
        Selection {
            node: invocation.text("node"),
            device: invocation.text("device"),
        }
    }

    /// Refuses a name that means several nodes.
    ///
    /// # Errors
    /// `ambiguous node: …`.
    pub fn check(&self, picture: &Picture) -> Result<(), CliError> {
        let meant = self
            .node
            .map(|query| selectors::node(query, &picture.nodes));
        match meant {
            Some(Err(CliError::Failed(failed))) if failed.code == "NODE_AMBIGUOUS" => {
                Err(CliError::Failed(failed))
            }
            _ => Ok(()),
        }
    }

    /// The name that means nothing in `picture` yet; it may be a mistyped one.
    pub fn unmet(&self, picture: &Picture) -> Option<&'a str> {
        let lists = ["pending", "paired"].map(|name| row::rows(&picture.devices, name));
        let mut known = lists.into_iter().flatten().chain(&picture.nodes);
        let query = self.device.or(self.node)?;
        let met = known.any(|row| self.covers(picture, row::id(row)));
        (!met).then_some(query)
    }

    /// Whether `id` is what is meant, as far as `picture` tells.
    pub fn covers(&self, picture: &Picture, id: &str) -> bool {
        // Exactly this id counts before and after it is in any list.
        let named = |query: &str| query == id || selectors::abbreviates(query, id);
        match (self.node, self.device) {
            (None, None) => true,
            (_, Some(query)) => named(query),
            (Some(query), None) => {
                let meant = selectors::node(query, &picture.nodes).ok().map(row::id);
                meant.map_or_else(|| named(query), |meant| meant == id)
            }
        }
    }
}

/// The lists of one moment.
#[derive(Debug, Default)]
pub struct Picture {
    devices: Value,
    records: Value,
    live: Value,
    /// Everything that a name could mean: known nodes, then waiting ones.
    nodes: Vec<Value>,
}

impl Picture {
    /// Asks for the lists.
    ///
    /// # Errors
    /// The gateway is lost, or refuses one of them.
    pub fn ask(line: &mut Line, session: &mut Session) -> Result<Picture, Lost> {
        let devices = line.ask(session, "device.pair.list", &json!({}))?;
        let records = line.ask(session, "node.pair.list", &json!({}))?;
        let live = line.ask(session, "node.list", &json!({}))?;
        Ok(Picture::of(devices, records, live))
    }

    fn of(devices: Value, records: Value, live: Value) -> Picture {
        let mut nodes = row::rows(&live, "nodes").to_vec();
        let pending = rows(
            row::rows(&devices, "pending"),
            row::rows(&records, "pending"),
            View::Nodes,
        );
        let known: Vec<String> = nodes.iter().map(|node| row::id(node).to_owned()).collect();
        nodes.extend(
            pending
                .into_iter()
                .filter(|row| !known.iter().any(|id| id == row::id(row))),
        );
        Picture {
            devices,
            records,
            live,
            nodes,
        }
    }

    /// The lists that the command shows once without watching.
    pub fn document(&self, what: Kind, selection: &Selection<'_>) -> Value {
        let pending = self.pending(what, selection);
        let chosen = |rows: &[Value]| -> Vec<Value> {
            let rows = rows.iter();
            rows.filter(|row| selection.covers(self, row::id(row)))
                .cloned()
                .collect()
        };
        match what {
            Kind::Devices => {
                json!({"pending": pending, "paired": chosen(row::rows(&self.devices, "paired"))})
            }
            Kind::Nodes => {
                let paired = with_live(
                    row::rows(&self.records, "paired"),
                    row::rows(&self.live, "nodes"),
                );
                json!({"pending": pending, "paired": chosen(&paired)})
            }
            Kind::Pending => json!({"pending": pending}),
            Kind::Status => json!({"nodes": chosen(row::rows(&self.live, "nodes"))}),
        }
    }

    /// How many there are of what is selected.
    pub fn counts(&self, what: Kind, selection: &Selection<'_>) -> Counts {
        let known = match what {
            Kind::Devices => row::rows(&self.devices, "paired"),
            Kind::Nodes | Kind::Pending | Kind::Status => row::rows(&self.live, "nodes"),
        };
        let chosen = |row: &&Value| selection.covers(self, row::id(row));
        let count = |wanted: &dyn Fn(&Value) -> bool| {
            known
                .iter()
                .filter(chosen)
                .filter(|row| wanted(row))
                .count()
        };
        let is_paired =
            |row: &Value| what == Kind::Devices || row::text(row, "pairing") == Some("approved");
        Counts {
            connected: count(&|row| row::flag(row, "connected")),
            paired: count(&is_paired),
            pending: self.pending(what, selection).len(),
        }
    }

    fn pending(&self, what: Kind, selection: &Selection<'_>) -> Vec<Value> {
        let (devices, nodes) = (
            row::rows(&self.devices, "pending"),
            row::rows(&self.records, "pending"),
        );
        let mut pending = rows(devices, nodes, what.view());
        pending.retain(|row| selection.covers(self, row::id(row)));
        pending
    }

    /// One line for people.
    pub fn line(&self, document: &Value, what: Kind, selection: &Selection<'_>) -> String {
        let when = rfc3339(row::number(document, "ts").unwrap_or_default());
        let event = plain(row::text(document, "event").unwrap_or_default());
        let rest = match event.as_str() {
            "snapshot" => {
                let counts = self.counts(what, selection);
                let missed = if row::flag(document, "missed") {
                    "Not everything before could be told. "
                } else {
                    ""
                };
                let unknown = row::text(document, "unknown")
                    .map(|query| format!(" · nothing is called {} yet", plain(query)));
                format!(
                    "{missed}Pending: {} · Paired: {} · Connected: {}{}",
                    counts.pending,
                    counts.paired,
                    counts.connected,
                    unknown.unwrap_or_default()
                )
            }
            "until" => plain(row::text(document, "condition").unwrap_or_default()),
            _ => self.about(document),
        };
        format!("{when}  {event}  {rest}")
    }

    /// Whom an event is about, and what became of it.
    fn about(&self, event: &Value) -> String {
        let id = row::id(event);
        let known = self.nodes.iter().chain(row::rows(&self.devices, "paired"));
        let named = known
            .chain([event])
            .find(|row| row::id(row) == id && row.get("displayName").is_some());
        let mut text = row::label(named.unwrap_or(event));
        for (name, member) in [("", "decision"), ("by ", "by"), ("request ", "requestId")] {
            if let Some(value) = row::text(event, member) {
                text += &format!("  {name}{}", plain(value));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Picture {
        Picture::of(
            json!({"pending": [{"requestId": "r1", "deviceId": "cccccccc", "role": "node", "roles": ["node"], "ts": 2,
                    "displayName": "Shed"},
                   {"requestId": "r2", "deviceId": "dddddddd", "role": "operator", "roles": ["operator"], "ts": 1}],
                "paired": [{"deviceId": "aaaaaaaa", "connected": true}, {"deviceId": "eeeeeeee", "connected": false}]}),
            json!({"pending": [], "paired": [{"nodeId": "aaaaaaaa"}]}),
            json!({"nodes": [
                {"nodeId": "aaaaaaaa", "displayName": "Attic", "paired": true, "connected": true, "pairing": "approved"},
                {"nodeId": "bbbbbbbb", "paired": true, "connected": true, "pairing": "pending"}]}),
        )
    }

    fn node(node: &str) -> Selection<'_> {
        Selection {
            node: Some(node),
            device: None,
        }
    }

    #[test]
    fn counts_are_of_what_is_selected() {
        let picture = picture();
        let counts = |connected, paired, pending| Counts {
            connected,
            paired,
            pending,
        };
        let all = Selection::default();
        for (what, selection, expected) in [
            (Kind::Nodes, &all, counts(2, 1, 1)),
            (Kind::Devices, &all, counts(1, 2, 2)),
            (Kind::Status, &node("attic"), counts(1, 1, 0)),
            (Kind::Status, &node("bbbbbbbb"), counts(1, 0, 0)),
            (Kind::Pending, &node("Shed"), counts(0, 0, 1)),
            (Kind::Status, &node("nobody"), counts(0, 0, 0)),
        ] {
            assert_eq!(
                picture.counts(what, selection),
                expected,
                "{what:?} {selection:?}"
            );
        }
        let device = Selection {
            node: None,
            device: Some("eeeeee"),
        };
        assert_eq!(picture.counts(Kind::Devices, &device), counts(0, 1, 0));
        for (query, unmet) in [("Shed", None), ("attic", None), ("Atic", Some("Atic"))] {
            assert_eq!(node(query).unmet(&picture), unmet);
        }
        assert_eq!(device.unmet(&picture), None);
        assert!(
            node("ffffffff").covers(&picture, "ffffffff"),
            "an id before it is known"
        );
    }

    #[test]
    fn lines_name_whom_they_are_about() {
        let picture = picture();
        let all = Selection::default();
        for (event, expected) in [
            (
                json!({"ts": 0, "event": "snapshot", "missed": true}),
                "snapshot  Not everything before could be told. Pending: 1 · Paired: 1 · Connected: 2",
            ),
            (
                json!({"ts": 0, "event": "snapshot", "unknown": "Atic"}),
                "snapshot  Pending: 1 · Paired: 1 · Connected: 2 · nothing is called Atic yet",
            ),
            (
                json!({"ts": 0, "event": "node.disconnected", "nodeId": "aaaaaaaa"}),
                "node.disconnected  Attic",
            ),
            (
                json!({"ts": 0, "event": "device.pair.resolved", "deviceId": "x", "decision": "approved", "requestId": "r"}),
                "device.pair.resolved  x  approved  request r",
            ),
        ] {
            let line = picture.line(&event, Kind::Nodes, &all);
            assert_eq!(line, format!("1970-01-01T00:00:00.000Z  {expected}"));
        }
    }
}
