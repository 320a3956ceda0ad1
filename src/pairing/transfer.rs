//! Moving pairings from one gateway to another: what an export holds, and what an import makes of it. Pure.
//!
//! An export holds no token: tokens are bearer secrets of one gateway. A device proves its key, so it gets a new token
//! at its next connect with the shared secret of the other gateway. An import changes everything it says or nothing.

use std::fmt;

use serde_json::{Map, Value, json};

use super::{
    device_record::{DeviceRecord, TokenEntry},
    node_record::NodeRecord,
    scopes,
};
use crate::identity::{PublicKey, sha256_hex};
use crate::protocol::scope::Role;

mod merge;

pub use merge::{Fate, Imported, Row, import};

/// What an export calls itself.
const FORMAT: &str = "openclaw-pairings";

/// The version of the format that is written and read.
const VERSION: u64 = 1;

/// Members of a device in an export.
const OF_DEVICE: &[&str] = &[
    "deviceId",
    "publicKey",
    "displayName",
    "platform",
    "deviceFamily",
    "clientId",
    "clientMode",
    "role",
    "roles",
    "scopes",
    "remoteIp",
    "createdAtMs",
    "approvedAtMs",
    "lastSeenAtMs",
    "lastSeenReason",
    "tokens",
];

/// Members of one of its tokens.
const OF_TOKEN: &[&str] = &[
    "role",
    "scopes",
    "createdAtMs",
    "rotatedAtMs",
    "revokedAtMs",
    "lastUsedAtMs",
];

/// Members of a node in an export.
const OF_NODE: &[&str] = &[
    "nodeId",
    "displayName",
    "platform",
    "version",
    "coreVersion",
    "uiVersion",
    "deviceFamily",
    "modelIdentifier",
    "clientId",
    "clientMode",
    "caps",
    "commands",
    "permissions",
    "remoteIp",
    "nameOverride",
    "createdAtMs",
    "approvedAtMs",
    "lastConnectedAtMs",
    "lastSeenAtMs",
    "lastSeenReason",
];

/// The export of what `device.pair.list` and `node.pair.list` answered, at `now` (epoch milliseconds). Whatever else
/// these rows hold, tokens of an older gateway above all, stays out.
pub fn export(devices: &[Value], nodes: &[Value], now: u64) -> Value {
    let devices: Vec<Value> = devices
        .iter()
        .map(|row| {
            let mut device = only(row, OF_DEVICE);
            if let Some(tokens) = device.get_mut("tokens").and_then(Value::as_array_mut) {
                tokens
                    .iter_mut()
                    .for_each(|token| *token = only(token, OF_TOKEN));
            }
            device
        })
        .collect();
    let nodes: Vec<Value> = nodes.iter().map(|row| only(row, OF_NODE)).collect();
    let mut document = json!({"format": FORMAT, "version": VERSION, "exportedAtMs": now,
        "devices": devices, "nodes": nodes});
    document["digest"] = json!(digest_of(&document));
    document
}

fn only(row: &Value, members: &[&str]) -> Value {
    let row = row.as_object().into_iter().flatten();
    let kept = row.filter(|(name, _)| members.contains(&name.as_str()));
    Value::Object(
        kept.map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

/// SHA-256 of everything but the digest itself.
fn digest_of(document: &Value) -> String {
    let mut rest = document.clone();
    if let Some(members) = rest.as_object_mut() {
        members.shift_remove("digest");
    }
    sha256_hex(rest.to_string().as_bytes())
}

/// An export that was read and is what it says.
#[derive(Clone, Debug)]
pub struct Bundle {
    devices: Vec<DeviceRecord>,
    nodes: Vec<NodeRecord>,
    digest: String,
}

/// Why a document is not imported. Display is the sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotImported {
    /// It was changed or cut after it was written.
    Changed,
    /// One of its rows says what no gateway wrote.
    Malformed(String),
    /// It is of a version that this program does not read.
    OtherVersion(Value),
    /// It is something else.
    NotAnExport,
}

impl fmt::Display for NotImported {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotImported::Changed => write!(
                out,
                "the export was changed after it was written (its digest does not fit): export again"
            ),
            NotImported::Malformed(what) => write!(out, "the export is malformed: {what}"),
            NotImported::OtherVersion(version) => write!(
                out,
                "the export is of version {version}, this program reads version {VERSION}: export with the same version of the program"
            ),
            NotImported::NotAnExport => {
                write!(
                    out,
                    "this is no export of pairings: make one with openclaw devices export"
                )
            }
        }
    }
}

impl Bundle {
    /// Reads an export.
    ///
    /// # Errors
    /// [`NotImported`].
    pub fn read(document: &Value) -> Result<Bundle, NotImported> {
        if document["format"] != FORMAT {
            return Err(NotImported::NotAnExport);
        }
        if document["version"] != VERSION {
            return Err(NotImported::OtherVersion(document["version"].clone()));
        }
        let digest = digest_of(document);
        if document["digest"] != digest.as_str() {
            return Err(NotImported::Changed);
        }
        let rows = |name: &str| -> Result<Vec<Value>, NotImported> {
            let rows = document[name].as_array().cloned();
            rows.ok_or_else(|| NotImported::Malformed(format!("{name} is no list")))
        };
        let numbered = |name: &str, number: usize, why: String| {
            NotImported::Malformed(format!("{name}[{number}]: {why}"))
        };
        let devices = rows("devices")?.into_iter().enumerate();
        let devices = devices
            .map(|(number, row)| read_device(row).map_err(|why| numbered("devices", number, why)));
        let nodes = rows("nodes")?.into_iter().enumerate();
        let nodes =
            nodes.map(|(number, row)| read_node(row).map_err(|why| numbered("nodes", number, why)));
        Ok(Bundle {
            devices: devices.collect::<Result<_, _>>()?,
            nodes: nodes.collect::<Result<_, _>>()?,
            digest,
        })
    }
}

fn known(row: &Value, members: &[&str]) -> Result<(), String> {
    let row = row.as_object().ok_or("no object")?;
    match row.keys().find(|name| !members.contains(&name.as_str())) {
        Some(name) => Err(format!("unknown member {name:?}")),
        None => Ok(()),
    }
}

fn read_device(mut row: Value) -> Result<DeviceRecord, String> {
    known(&row, OF_DEVICE)?;
    let listed = row["tokens"].take();
    let mut tokens = Map::new();
    for mut token in listed.as_array().cloned().unwrap_or_default() {
        known(&token, OF_TOKEN)?;
        let role = token["role"].as_str().unwrap_or_default().to_owned();
        // Drawn anew when it is imported.
        token["token"] = json!("");
        tokens.insert(role, token);
    }
    row["tokens"] = Value::Object(tokens);
    let record: DeviceRecord = serde_json::from_value(row).map_err(|fault| fault.to_string())?;
    let key = PublicKey::decode(&record.public_key).ok_or("publicKey is no key")?;
    if key.device_id() != record.device_id {
        return Err("deviceId is not that of publicKey".to_owned());
    }
    let roles: Vec<&str> = record.approved_roles().into_iter().collect();
    if let Some(role) = roles.iter().find(|role| Role::parse(role).is_none()) {
        return Err(format!("unknown role {role:?}"));
    }
    if let Some(scope) = scopes::misfit(&roles, record.approved_scopes()) {
        return Err(format!("scope {scope} belongs to none of its roles"));
    }
    let beyond = |(role, token): &(&String, &TokenEntry)| !record.approves(role, &token.scopes);
    if let Some((role, _)) = record.tokens.iter().find(beyond) {
        return Err(format!(
            "the token of role {role:?} holds more than was approved"
        ));
    }
    Ok(record)
}

fn read_node(mut row: Value) -> Result<NodeRecord, String> {
    known(&row, OF_NODE)?;
    row["token"] = json!("");
    serde_json::from_value(row).map_err(|fault| fault.to_string())
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::DeviceKey;
    use crate::pairing::testing::NOW;

    pub(super) fn key(seed: u8) -> (String, String) {
        let public = DeviceKey::from_seed(&[seed; 32]).unwrap().public();
        (public.device_id().to_string(), public.encode())
    }

    pub(super) fn device(seed: u8, approved_at: u64, more: Value) -> Value {
        let (id, public) = key(seed);
        let mut row = json!({"deviceId": id, "publicKey": public, "roles": ["node"], "scopes": [], "createdAtMs": 1,
            "approvedAtMs": approved_at, "tokens": [{"role": "node", "scopes": [], "createdAtMs": 1}]});
        for (name, value) in more.as_object().into_iter().flatten() {
            row[name] = value.clone();
        }
        row
    }

    pub(super) fn node(id: &str, approved_at: u64, commands: &[&str]) -> Value {
        json!({"nodeId": id, "commands": commands, "createdAtMs": 1, "approvedAtMs": approved_at})
    }

    pub(super) fn read(devices: &[Value], nodes: &[Value]) -> Bundle {
        Bundle::read(&export(devices, nodes, NOW)).unwrap()
    }

    #[test]
    fn an_export_holds_no_token_and_nothing_unknown() {
        let mut row = device(
            1,
            5,
            json!({"connected": true, "approvedScopes": [], "secret": "SECRET-1"}),
        );
        row["tokens"][0]["token"] = json!("SECRET-2");
        let mut of_node = node("n", 5, &["system.which"]);
        of_node["token"] = json!("SECRET-3");
        let document = export(&[row], &[of_node], NOW);
        assert!(!document.to_string().contains("SECRET"), "{document}");
        assert_eq!(document["devices"][0], device(1, 5, json!({})));
        assert_eq!(document["nodes"][0], node("n", 5, &["system.which"]));
        let pretty = serde_json::to_string_pretty(&document).unwrap();
        assert!(Bundle::read(&serde_json::from_str(&pretty).unwrap()).is_ok());
    }

    #[test]
    fn what_is_no_whole_export_of_this_version_is_refused() {
        let whole = export(&[device(1, 5, json!({}))], &[], NOW);
        let edited = |path: &str, value: Value, again: bool| {
            let mut document = whole.clone();
            *document.pointer_mut(path).unwrap() = value;
            if again {
                document["digest"] = json!(digest_of(&document));
            }
            Bundle::read(&document).map(|_| ()).unwrap_err()
        };
        assert_eq!(
            edited("/format", json!("x"), true),
            NotImported::NotAnExport
        );
        assert_eq!(
            edited("/version", json!(2), true),
            NotImported::OtherVersion(json!(2))
        );
        assert_eq!(
            edited("/devices/0/scopes", json!(["operator.admin"]), false),
            NotImported::Changed
        );
        for (path, value, why) in [
            ("/devices", json!({}), "devices is no list"),
            ("/devices/0", json!(1), "devices[0]: no object"),
            (
                "/devices/0/scopes",
                json!(["operator.admin"]),
                "devices[0]: scope operator.admin belongs to none of its roles",
            ),
            (
                "/devices/0/roles",
                json!(["king"]),
                "devices[0]: unknown role \"king\"",
            ),
            (
                "/devices/0/deviceId",
                json!("d"),
                "devices[0]: deviceId is not that of publicKey",
            ),
            (
                "/devices/0/publicKey",
                json!("k"),
                "devices[0]: publicKey is no key",
            ),
            (
                "/devices/0/tokens/0/scopes",
                json!(["node.x"]),
                "devices[0]: the token of role \"node\" holds more",
            ),
            (
                "/devices/0/tokens/0",
                json!({"role": "node", "token": "x"}),
                "devices[0]: unknown member \"token\"",
            ),
            (
                "/nodes",
                json!([{"nodeId": "n"}]),
                "nodes[0]: missing field",
            ),
        ] {
            let fault = edited(path, value, true).to_string();
            assert!(
                fault.starts_with(&format!("the export is malformed: {why}")),
                "{path}: {fault}"
            );
        }
        assert_eq!(
            Bundle::read(&json!([])).unwrap_err(),
            NotImported::NotAnExport
        );
    }
}
