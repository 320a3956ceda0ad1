//! The node host's settings, `node.json` (protocol §10.7, node-host §1.2): which gateway, under which
//! name, and the node's instance id.
//!
//! The instance id is not the id by which a gateway knows the node; that is the device id.

use serde_json::{Map, Value, json};

use crate::identity::Token;
use crate::store::atomic::{PRIVATE_FILE, write};
use crate::store::device_auth::set_aside;
use crate::store::directory::{StateDir, read_optional};
use crate::store::error::StoreError;

/// What `node.json` says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeFile {
    /// Sent as `client.instanceId`. `None` when the file has none that counts: it must have been
    /// written under version 1.
    pub node_id: Option<String>,
    /// The pairing token of older versions; used only where no device token is stored.
    pub token: Option<Token>,
    /// The node's own name.
    pub display_name: Option<String>,
    /// The gateway to connect to.
    pub gateway: Option<NodeGateway>,
    /// Members of later versions, kept.
    extra: Map<String, Value>,
    /// There is a file and it is not a JSON object.
    foreign: bool,
}

/// Where the node's gateway listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeGateway {
    /// Host name or address.
    pub host: Option<String>,
    /// TCP port.
    pub port: Option<u16>,
    /// Whether to speak TLS.
    pub tls: bool,
    /// SHA-256 of the gateway's certificate, as the user wrote it.
    pub tls_fingerprint: Option<String>,
}

impl NodeFile {
    /// Reads the file. A missing one and one that is not a JSON object count as empty, members of
    /// the wrong type as absent; one that cannot be read is an error.
    pub fn load(dir: &StateDir) -> Result<Self, StoreError> {
        let Some(text) = read_optional(&dir.node_file())? else {
            return Ok(NodeFile::default());
        };
        let Ok(mut members) = serde_json::from_str::<Map<String, Value>>(&text) else {
            return Ok(NodeFile {
                foreign: true,
                ..NodeFile::default()
            });
        };
        let current = members.shift_remove("version").and_then(|it| it.as_u64()) == Some(1);
        let node_id = take_text(&mut members, "nodeId").filter(|_| current);
        Ok(NodeFile {
            node_id,
            token: take_text(&mut members, "token").map(Token::from),
            display_name: take_text(&mut members, "displayName"),
            gateway: members
                .shift_remove("gateway")
                .and_then(|gateway| NodeGateway::read(&gateway)),
            extra: members,
            foreign: false,
        })
    }

    /// Writes the file, durably, as version 1. What was no JSON object is moved aside first.
    pub fn save(&mut self, dir: &StateDir) -> Result<(), StoreError> {
        let path = dir.node_file();
        if self.foreign {
            set_aside(&path)?;
            self.foreign = false;
        }
        let text = format!("{:#}\n", Value::Object(self.document()));
        write(&path, text.as_bytes(), PRIVATE_FILE)
            .map_err(|error| StoreError::unwritable(&path, &error))
    }

    fn document(&self) -> Map<String, Value> {
        let mut document = Map::new();
        document.insert("version".to_owned(), json!(1));
        put(&mut document, "nodeId", self.node_id.as_deref());
        put(
            &mut document,
            "token",
            self.token.as_ref().map(Token::as_str),
        );
        put(&mut document, "displayName", self.display_name.as_deref());
        if let Some(gateway) = &self.gateway {
            document.insert("gateway".to_owned(), gateway.document());
        }
        document.extend(self.extra.clone());
        document
    }
}

impl NodeGateway {
    fn read(value: &Value) -> Option<Self> {
        let mut members = value.as_object()?.clone();
        Some(NodeGateway {
            host: take_text(&mut members, "host"),
            port: members
                .get("port")
                .and_then(Value::as_u64)
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port != 0),
            tls: members.get("tls").and_then(Value::as_bool) == Some(true),
            tls_fingerprint: take_text(&mut members, "tlsFingerprint"),
        })
    }

    fn document(&self) -> Value {
        let mut document = Map::new();
        put(&mut document, "host", self.host.as_deref());
        if let Some(port) = self.port {
            document.insert("port".to_owned(), json!(port));
        }
        document.insert("tls".to_owned(), json!(self.tls));
        put(
            &mut document,
            "tlsFingerprint",
            self.tls_fingerprint.as_deref(),
        );
        Value::Object(document)
    }
}

fn put(document: &mut Map<String, Value>, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        document.insert(key.to_owned(), json!(text));
    }
}

/// A trimmed text that is not empty.
fn take_text(members: &mut Map<String, Value>, key: &str) -> Option<String> {
    let value = members.shift_remove(key)?;
    let text = value.as_str()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::testing::TempDir;

    fn place(text: &str) -> (TempDir, StateDir) {
        let temp = TempDir::new();
        let dir = StateDir::open(temp.path()).unwrap();
        fs::write(dir.node_file(), text).unwrap();
        (temp, dir)
    }

    #[test]
    fn a_file_of_the_reference_survives_the_round_trip() {
        let text = r#"{
  "version": 1,
  "nodeId": "512ee102-5650-4eca-a99d-d5fac275d8fa",
  "token": "t",
  "displayName": "Spec Node",
  "gateway": {
    "host": "127.0.0.1",
    "port": 18789,
    "tls": true,
    "tlsFingerprint": "AB:CD"
  },
  "later": 1
}
"#;
        let (_temp, dir) = place(text);
        let mut file = NodeFile::load(&dir).unwrap();
        let gateway = file.gateway.clone().unwrap();
        assert_eq!(gateway.port, Some(18_789));
        assert!(gateway.tls);
        file.save(&dir).unwrap();
        assert_eq!(fs::read_to_string(dir.node_file()).unwrap(), text);
    }

    #[test]
    fn an_old_file_keeps_all_but_its_id() {
        let (_temp, dir) = place(r#"{"nodeId":"n","token":"t","displayName":"d"}"#);
        let file = NodeFile::load(&dir).unwrap();
        assert_eq!(file.node_id, None);
        assert_eq!(file.token, Some(Token::from("t")));
        assert_eq!(file.display_name.as_deref(), Some("d"));
    }

    #[test]
    fn members_of_the_wrong_type_are_absent() {
        let (_temp, dir) = place(
            r#"{"version":1,"nodeId":" ","token":5,"displayName":null,
                "gateway":{"host":1,"port":70000,"tls":"yes"}}"#,
        );
        let file = NodeFile::load(&dir).unwrap();
        assert_eq!(
            (file.node_id, file.token, file.display_name),
            (None, None, None)
        );
        assert_eq!(file.gateway, Some(NodeGateway::default()));
    }

    #[test]
    fn a_missing_file_is_empty() {
        let temp = TempDir::new();
        let dir = StateDir::open(temp.path()).unwrap();
        assert_eq!(NodeFile::load(&dir).unwrap(), NodeFile::default());
    }

    #[test]
    fn what_is_no_object_is_kept_aside() {
        for text in ["", "{", "[]", "null"] {
            let (temp, dir) = place(text);
            let mut file = NodeFile::load(&dir).unwrap();
            assert_eq!(file.node_id, None);
            file.node_id = Some("n".to_owned());
            file.save(&dir).unwrap();
            assert_eq!(temp.rejected("node.json"), text);
            assert_eq!(NodeFile::load(&dir).unwrap().node_id.as_deref(), Some("n"));
        }
    }
}
