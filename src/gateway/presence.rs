//! Who is around: one row per device, instance or host, the gateway's own first (protocol.md §2.6, §9.2).
//!
//! Rows expire five minutes after their time stamp; rows of live connections are refreshed when somebody
//! looks, so an idle gateway does nothing for them. Pure data: the time comes in as an argument, and the
//! caller counts the versions and broadcasts.

use std::collections::HashMap;

use serde::Serialize;

use crate::gateway::announcer::Announcer;
use crate::identity::ids::ConnId;

/// Milliseconds a row stays after its time stamp (§2.6).
pub const ROW_LIFETIME_MS: u64 = 5 * 60 * 1_000;

/// Age at which the row of a live connection gets a new time stamp when somebody looks: early enough
/// that clients that expire rows themselves never see a live one lapse.
pub const REFRESH_AFTER_MS: u64 = ROW_LIFETIME_MS / 2;

/// Rows kept besides the gateway's own (§2.6); the oldest go first.
pub const MAX_ROWS: usize = 200;

/// Longest text kept in one field of a row that a client wrote itself, in characters.
const MAX_FIELD_CHARS: usize = 256;

/// Roles, scopes or tags kept in one row.
const MAX_LIST_ITEMS: usize = 32;

/// One presence row as it goes over the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Display name, else client id, else host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Reported client address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Program version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Operating system, for the gateway with its release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Device family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_family: Option<String>,
    /// Hardware model or processor architecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_identifier: Option<String>,
    /// `client.mode`, or `gateway`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Seconds since the last input, for rows that report it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_input_seconds: Option<u64>,
    /// Why the row was written: `connect`, `disconnect`, `self` or the reporter's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Device id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Roles of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Scopes of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Free words of the reporter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Instance id of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// Sentence for people.
    pub text: String,
    /// Epoch milliseconds of the last news.
    pub ts: u64,
}

/// The rows and which live connections stand behind each of them.
#[derive(Debug, Default)]
pub struct Presence {
    /// When it was told to everybody.
    pub announcer: Announcer,
    own: Row,
    rows: HashMap<String, Row>,
    live: HashMap<String, Vec<ConnId>>,
}

impl Row {
    /// `Node: <host> · mode <mode>`, the text of connection rows.
    pub fn connection_text(host: &str, mode: &str) -> String {
        format!("Node: {host} · mode {mode}")
    }

    /// Cuts every field to a bounded length and removes control characters: clients write rows.
    pub fn bounded(mut self) -> Row {
        let texts = [
            &mut self.host,
            &mut self.ip,
            &mut self.version,
            &mut self.platform,
            &mut self.device_family,
            &mut self.model_identifier,
            &mut self.mode,
            &mut self.reason,
            &mut self.device_id,
            &mut self.instance_id,
        ];
        for text in texts.into_iter().flatten() {
            *text = bounded(text);
        }
        for list in [&mut self.roles, &mut self.scopes, &mut self.tags]
            .into_iter()
            .flatten()
        {
            list.truncate(MAX_LIST_ITEMS);
            list.iter_mut().for_each(|item| *item = bounded(item));
        }
        self.text = bounded(&self.text);
        self
    }
}

/// What a row stands under: device id, else instance id, else what else there is (§2.6), each kind apart
/// from the others. An instance id is whatever its client says and must not stand for a device.
pub fn key(device: Option<&str>, instance: Option<&str>, other: &str) -> String {
    match (device, instance) {
        (Some(device), _) => format!("device {device}"),
        (None, Some(instance)) => format!("instance {instance}"),
        (None, None) => format!("other {other}"),
    }
}

impl Presence {
    /// Starts with the gateway's own row, whose time stamp is always the moment of looking.
    pub fn new(own: Row) -> Presence {
        Presence {
            own,
            ..Presence::default()
        }
    }

    /// A connection opened: writes its row under `key` and keeps it fresh while the connection lives.
    pub fn connected(&mut self, key: &str, conn: ConnId, row: Row) {
        let key = bounded(key);
        self.live.entry(key.clone()).or_default().push(conn);
        self.write(&key, row);
    }

    /// A connection closed. Writes `row` (reason `disconnect`) unless another live connection has the
    /// same key; returns whether anything changed.
    pub fn disconnected(&mut self, key: &str, conn: &ConnId, row: Row) -> bool {
        let key = &bounded(key);
        let Some(connections) = self.live.get_mut(key) else {
            return false;
        };
        let before = connections.len();
        connections.retain(|live| live != conn);
        if connections.len() == before || !connections.is_empty() {
            return false;
        }
        self.live.remove(key);
        self.write(key, row);
        true
    }

    /// Writes a row somebody reported (`system-event`); fields the report leaves out keep their value.
    pub fn report(&mut self, key: &str, row: Row) {
        let key = &bounded(key);
        let merged = match self.rows.remove(key) {
            Some(old) => merge(old, row),
            None => row,
        };
        self.write(key, merged);
    }

    /// The rows at `now_ms`: the gateway's own, then the newest first, at most [`MAX_ROWS`] of them.
    pub fn rows(&mut self, now_ms: u64) -> Vec<Row> {
        self.listed(now_ms).into_iter().cloned().collect()
    }

    /// [`Presence::rows`] as the text of a JSON array.
    pub fn document(&mut self, now_ms: u64) -> String {
        // Texts and numbers under fixed names always become JSON.
        serde_json::to_string(&self.listed(now_ms)).unwrap_or_default()
    }

    fn listed(&mut self, now_ms: u64) -> Vec<&Row> {
        self.sweep(now_ms);
        self.own.ts = now_ms;
        let mut keyed: Vec<(&String, &Row)> = self.rows.iter().collect();
        keyed.sort_by(|(left_key, left), (right_key, right)| {
            right.ts.cmp(&left.ts).then_with(|| left_key.cmp(right_key))
        });
        let mut listed = Vec::with_capacity(keyed.len() + 1);
        listed.push(&self.own);
        listed.extend(keyed.into_iter().map(|(_, row)| row));
        listed
    }

    /// The time of day was set by so many milliseconds.
    pub fn follow_clock(&mut self, step_ms: i64) {
        for row in self.rows.values_mut() {
            row.ts = row.ts.saturating_add_signed(step_ms);
        }
    }

    fn write(&mut self, key: &str, row: Row) {
        let now_ms = row.ts;
        self.rows.insert(key.to_owned(), row.bounded());
        if self.rows.len() > MAX_ROWS {
            self.sweep(now_ms);
            self.drop_oldest();
        }
    }

    /// Refreshes the rows of live connections and removes the others that are too old.
    fn sweep(&mut self, now_ms: u64) {
        let live = &self.live;
        self.rows.retain(|key, row| {
            let age = now_ms.saturating_sub(row.ts);
            if live.contains_key(key) {
                if age >= REFRESH_AFTER_MS {
                    row.ts = now_ms;
                }
                return true;
            }
            age <= ROW_LIFETIME_MS
        });
    }

    fn drop_oldest(&mut self) {
        while self.rows.len() > MAX_ROWS {
            let oldest = self
                .rows
                .iter()
                .min_by(|(left_key, left), (right_key, right)| {
                    left.ts.cmp(&right.ts).then_with(|| right_key.cmp(left_key))
                });
            let Some(key) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            self.rows.remove(&key);
        }
    }
}

fn merge(old: Row, new: Row) -> Row {
    Row {
        host: new.host.or(old.host),
        ip: new.ip.or(old.ip),
        version: new.version.or(old.version),
        platform: new.platform.or(old.platform),
        device_family: new.device_family.or(old.device_family),
        model_identifier: new.model_identifier.or(old.model_identifier),
        mode: new.mode.or(old.mode),
        last_input_seconds: new.last_input_seconds.or(old.last_input_seconds),
        reason: new.reason.or(old.reason),
        device_id: new.device_id.or(old.device_id),
        roles: new.roles.or(old.roles),
        scopes: new.scopes.or(old.scopes),
        tags: new.tags.or(old.tags),
        instance_id: new.instance_id.or(old.instance_id),
        text: new.text,
        ts: new.ts,
    }
}

fn bounded(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(MAX_FIELD_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(host: &str, reason: &str, ts: u64) -> Row {
        Row {
            host: Some(host.to_owned()),
            reason: Some(reason.to_owned()),
            text: Row::connection_text(host, "node"),
            ts,
            ..Row::default()
        }
    }

    fn presence() -> Presence {
        Presence::new(row("gateway", "self", 0))
    }

    fn shown(presence: &mut Presence, now_ms: u64) -> Vec<String> {
        let rows = presence.rows(now_ms);
        rows.into_iter()
            .map(|row| {
                format!(
                    "{}/{}@{}",
                    row.host.unwrap_or_default(),
                    row.reason.unwrap_or_default(),
                    row.ts
                )
            })
            .collect()
    }

    #[test]
    fn the_document_is_the_rows_as_text() {
        let mut presence = presence();
        presence.connected("d", ConnId::from("a"), row("n", "connect", 10));
        let document: serde_json::Value = serde_json::from_str(&presence.document(40)).unwrap();
        assert_eq!(document, serde_json::json!(presence.rows(40)));
        assert_eq!(document[0]["ts"], 40);
    }

    #[test]
    fn a_row_turns_to_disconnect_only_with_its_last_connection() {
        let mut presence = presence();
        presence.connected("d", ConnId::from("a"), row("n", "connect", 10));
        presence.connected("d", ConnId::from("b"), row("n", "connect", 20));
        assert!(!presence.disconnected("d", &ConnId::from("a"), row("n", "disconnect", 30)));
        assert_eq!(
            shown(&mut presence, 40),
            ["gateway/self@40", "n/connect@20"]
        );
        assert!(
            !presence.disconnected("d", &ConnId::from("a"), row("n", "disconnect", 41)),
            "twice"
        );
        assert!(presence.disconnected("d", &ConnId::from("b"), row("n", "disconnect", 50)));
        assert_eq!(
            shown(&mut presence, 60),
            ["gateway/self@60", "n/disconnect@50"]
        );
        assert!(!presence.disconnected("x", &ConnId::from("x"), row("x", "disconnect", 70)));
    }

    #[test]
    fn rows_expire_and_live_ones_are_refreshed_when_looked_at() {
        let mut presence = presence();
        presence.connected("live", ConnId::from("a"), row("live", "connect", 1_000));
        presence.report("gone", row("gone", "note", 2_000));
        let edge = 2_000 + ROW_LIFETIME_MS;
        assert_eq!(
            shown(&mut presence, edge),
            [
                format!("gateway/self@{edge}"),
                format!("live/connect@{edge}"),
                "gone/note@2000".to_owned()
            ]
        );
        let after = edge + 1;
        assert_eq!(
            shown(&mut presence, after),
            [
                format!("gateway/self@{after}"),
                format!("live/connect@{edge}")
            ]
        );
    }

    #[test]
    fn the_newest_rows_come_first_and_the_oldest_fall_out() {
        let mut presence = presence();
        for number in 0..(MAX_ROWS as u64 + 7) {
            presence.report(
                &format!("k{number}"),
                row(&number.to_string(), "note", 1_000 + number),
            );
        }
        let rows = presence.rows(2_000);
        assert_eq!(rows.len(), MAX_ROWS + 1);
        assert_eq!(rows[1].host.as_deref(), Some("206"));
        assert_eq!(rows[MAX_ROWS].host.as_deref(), Some("7"));
    }

    #[test]
    fn a_connection_whose_row_fell_out_still_writes_its_end() {
        let mut presence = presence();
        presence.connected("early", ConnId::from("a"), row("early", "connect", 1));
        for number in 0..MAX_ROWS as u64 {
            presence.report(&number.to_string(), row("later", "note", 10 + number));
        }
        assert!(
            !presence
                .rows(500)
                .iter()
                .any(|row| row.host.as_deref() == Some("early"))
        );
        assert!(presence.disconnected(
            "early",
            &ConnId::from("a"),
            row("early", "disconnect", 600)
        ));
        assert_eq!(presence.rows(601)[1].reason.as_deref(), Some("disconnect"));
    }

    #[test]
    fn an_instance_cannot_take_the_row_of_a_device() {
        let device = key(Some("ab"), Some("x"), "c");
        let instance = key(None, Some("ab"), "c");
        let other = key(None, None, "ab");
        assert_eq!(device, key(Some("ab"), None, "d"));
        assert!(device != instance && instance != other && device != other);
    }

    #[test]
    fn reports_merge_and_are_bounded() {
        let mut presence = presence();
        presence.report(
            "k",
            Row {
                ip: Some("10.0.0.7".to_owned()),
                ..row("h", "first", 1)
            },
        );
        let long = "x".repeat(1_000);
        presence.report(
            "k",
            Row {
                text: format!("a\u{1b}[2Jb\n{long}"),
                host: None,
                ts: 2,
                ..Row::default()
            },
        );
        let row = presence.rows(3).remove(1);
        assert_eq!(
            (row.host.as_deref(), row.ip.as_deref(), row.ts),
            (Some("h"), Some("10.0.0.7"), 2)
        );
        assert!(row.text.starts_with("a[2Jbxxx"));
        assert_eq!(row.text.chars().count(), MAX_FIELD_CHARS);
    }

    #[test]
    fn absent_fields_are_left_out_of_the_json() {
        let text = serde_json::to_string(&row("vm", "self", 7)).unwrap();
        assert_eq!(
            text,
            r#"{"host":"vm","reason":"self","text":"Node: vm · mode node","ts":7}"#
        );
    }
}
