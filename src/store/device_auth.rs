//! The tokens that gateways issued to this device: `identity/device-auth.json` (protocol §10.6).
//!
//! Beside `tokens`, which the reference reads (one token per role), the file keeps a member
//! `gateways` with the tokens per gateway URL, which the reference ignores and drops. A token known
//! to belong to one gateway is never offered to another. The file is a cache: one that cannot be
//! understood counts as empty, and is moved aside, not overwritten, when a token is stored.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::identity::{DeviceId, Token};
use crate::store::atomic::{PRIVATE_FILE, create_private_directory, write};
use crate::store::clock::{Clock, SystemClock};
use crate::store::directory::{StateDir, read_optional};
use crate::store::error::StoreError;

const TOKENS: &str = "tokens";
const GATEWAYS: &str = "gateways";

/// A token that a gateway issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// The secret.
    pub token: Token,
    /// The scopes it carries.
    pub scopes: Vec<String>,
    /// When it was stored, milliseconds since the Unix epoch.
    pub updated_at_ms: u64,
}

/// The stored tokens of one device.
#[derive(Debug)]
pub struct DeviceAuth {
    dir: StateDir,
    device_id: DeviceId,
    document: Map<String, Value>,
    /// There is a file, and it is not one of this device in the known form.
    foreign: bool,
}

impl DeviceAuth {
    /// Reads the file. A missing one, one of another device and one that cannot be understood count
    /// as empty; one that cannot be read is an error.
    pub fn load(dir: &StateDir, device_id: &DeviceId) -> Result<Self, StoreError> {
        let text = read_optional(&dir.device_auth())?;
        let document = text.as_deref().and_then(|text| parse(text, device_id));
        Ok(DeviceAuth {
            dir: dir.clone(),
            device_id: device_id.clone(),
            foreign: text.is_some() && document.is_none(),
            document: document.unwrap_or_else(|| empty(device_id)),
        })
    }

    /// The token for a role at a gateway. One of ours is offered to its own gateway only. The reference
    /// does not say for which gateway it stored one: `adopt` says that this is the gateway the reference
    /// was set up for too.
    pub fn token(&self, gateway_url: &str, role: &str, adopt: bool) -> Option<StoredToken> {
        let own = self.gateway(gateway_url).and_then(|roles| roles.get(role));
        if let Some(stored) = own {
            return read_token(stored);
        }
        if !adopt {
            return None;
        }
        let shared = read_token(self.shared_tokens()?.get(role)?)?;
        let owned_elsewhere = self
            .gateways()
            .into_iter()
            .flat_map(Map::values)
            .filter_map(|roles| read_token(roles.get(role)?))
            .any(|other| other.token == shared.token);
        (!owned_elsewhere).then_some(shared)
    }

    /// Writes down that a token of this role that says no gateway is this gateway's; nothing where there
    /// is none.
    pub fn claim(&mut self, gateway_url: &str, role: &str) -> Result<(), StoreError> {
        let is_own = self.token(gateway_url, role, false).is_some();
        if is_own || self.token(gateway_url, role, true).is_none() {
            return Ok(());
        }
        self.update(|document| {
            let entry = document.get(TOKENS).and_then(|shared| shared.get(role));
            let Some(entry) = entry.cloned() else { return };
            with_object(document, GATEWAYS, |gateways| {
                with_object(gateways, gateway_url, |roles| {
                    roles.insert(role.to_owned(), entry);
                });
            });
        })
    }

    /// Stores a token, durably. Other roles, other gateways and unknown members stay.
    pub fn store(
        &mut self,
        gateway_url: &str,
        role: &str,
        token: &Token,
        scopes: &[String],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.update(|document| {
            let entry = json!({
                "token": token.as_str(),
                "role": role,
                "scopes": scopes,
                "updatedAtMs": now_ms,
            });
            with_object(document, TOKENS, |shared| {
                shared.insert(role.to_owned(), entry.clone());
            });
            with_object(document, GATEWAYS, |gateways| {
                with_object(gateways, gateway_url, |roles| {
                    roles.insert(role.to_owned(), entry);
                });
            });
        })
    }

    /// Forgets the token for a role at one gateway, durably; the one that `token` finds.
    pub fn forget(&mut self, gateway_url: &str, role: &str, adopt: bool) -> Result<(), StoreError> {
        let Some(stored) = self.token(gateway_url, role, adopt) else {
            return Ok(());
        };
        self.update(|document| {
            with_object(document, GATEWAYS, |gateways| {
                with_object(gateways, gateway_url, |roles| {
                    roles.shift_remove(role);
                });
            });
            with_object(document, TOKENS, |shared| {
                let current = shared.get(role).and_then(read_token);
                if current.is_some_and(|current| current.token == stored.token) {
                    shared.shift_remove(role);
                }
            });
        })
    }

    /// Forgets the tokens for a role at all gateways, durably.
    pub fn forget_role(&mut self, role: &str) -> Result<(), StoreError> {
        let anywhere = self
            .gateways()
            .into_iter()
            .flat_map(Map::values)
            .chain(self.document.get(TOKENS))
            .any(|roles| roles.get(role).is_some());
        if !anywhere {
            return Ok(());
        }
        self.update(|document| {
            with_object(document, TOKENS, |shared| {
                shared.shift_remove(role);
            });
            with_object(document, GATEWAYS, |gateways| {
                for roles in gateways.values_mut().filter_map(Value::as_object_mut) {
                    roles.shift_remove(role);
                }
            });
        })
    }

    /// Changes what is on the disk now, which another process may have changed since we loaded it.
    fn update(&mut self, change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), StoreError> {
        let path = self.dir.device_auth();
        let mut fresh = Self::load(&self.dir, &self.device_id)?;
        change(&mut fresh.document);
        if fresh.foreign {
            set_aside(&path)?;
        }
        let text = format!("{:#}\n", Value::Object(fresh.document.clone()));
        path.parent()
            .map_or(Ok(()), create_private_directory)
            .and_then(|()| write(&path, text.as_bytes(), PRIVATE_FILE))
            .map_err(|error| StoreError::unwritable(&path, &error))?;
        fresh.foreign = false;
        *self = fresh;
        Ok(())
    }

    fn shared_tokens(&self) -> Option<&Map<String, Value>> {
        self.document.get(TOKENS)?.as_object()
    }

    fn gateways(&self) -> Option<&Map<String, Value>> {
        self.document.get(GATEWAYS)?.as_object()
    }

    fn gateway(&self, url: &str) -> Option<&Map<String, Value>> {
        self.gateways()?.get(url)?.as_object()
    }
}

/// Moves a file that must not be overwritten to a name beside it.
pub(super) fn set_aside(path: &Path) -> Result<(), StoreError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".rejected.{}", SystemClock.now_ms()));
    log::warn!(
        "{} cannot be understood; it is kept as {}",
        path.display(),
        Path::new(&aside).display()
    );
    fs::rename(path, &aside).map_err(|error| StoreError::unwritable(path, &error))
}

fn empty(device_id: &DeviceId) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("version".to_owned(), json!(1));
    document.insert("deviceId".to_owned(), json!(device_id));
    document.insert(TOKENS.to_owned(), json!({}));
    document
}

fn parse(text: &str, device_id: &DeviceId) -> Option<Map<String, Value>> {
    let document: Map<String, Value> = serde_json::from_str(text).ok()?;
    let known = document.get("version")?.as_u64() == Some(1)
        && document.get("deviceId")?.as_str() == Some(device_id.as_str())
        && document.get(TOKENS)?.is_object();
    known.then_some(document)
}

fn read_token(entry: &Value) -> Option<StoredToken> {
    let token = entry.get("token")?.as_str()?;
    let scopes = entry.get("scopes").and_then(Value::as_array);
    let scopes = scopes.into_iter().flatten().filter_map(Value::as_str);
    (!token.is_empty()).then(|| StoredToken {
        token: Token::from(token),
        scopes: scopes.map(str::to_owned).collect(),
        updated_at_ms: entry
            .get("updatedAtMs")
            .and_then(Value::as_u64)
            .unwrap_or_default(),
    })
}

/// Changes the object under `key` in its place; anything else there is replaced by an empty one.
fn with_object(
    parent: &mut Map<String, Value>,
    key: &str,
    change: impl FnOnce(&mut Map<String, Value>),
) {
    let member = parent.entry(key).or_insert(Value::Null);
    let mut object = match member.take() {
        Value::Object(object) => object,
        _ => Map::new(),
    };
    change(&mut object);
    *member = Value::Object(object);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::store::testing::TempDir;

    const HERE: &str = "ws://127.0.0.1:18789";
    const THERE: &str = "wss://gateway.example:443";

    fn place(text: Option<&str>) -> (TempDir, StateDir, DeviceId) {
        let temp = TempDir::new();
        let dir = StateDir::open(temp.path()).unwrap();
        if let Some(text) = text {
            fs::create_dir(temp.join("identity")).unwrap();
            fs::write(dir.device_auth(), text).unwrap();
        }
        (temp, dir, DeviceId::from("me"))
    }

    fn secret(auth: &DeviceAuth, url: &str, role: &str) -> Option<String> {
        auth.token(url, role, true)
            .map(|it| it.token.as_str().to_owned())
    }

    #[test]
    fn a_token_belongs_to_its_gateway_and_role() {
        let (_temp, dir, me) = place(None);
        let mut auth = DeviceAuth::load(&dir, &me).unwrap();
        let scopes = ["operator.read".to_owned()];
        auth.store(HERE, "operator", &Token::from("a"), &scopes, 5)
            .unwrap();
        auth.store(THERE, "node", &Token::from("b"), &[], 6)
            .unwrap();
        for auth in [&auth, &DeviceAuth::load(&dir, &me).unwrap()] {
            assert_eq!(
                auth.token(HERE, "operator", false),
                Some(StoredToken {
                    token: Token::from("a"),
                    scopes: scopes.to_vec(),
                    updated_at_ms: 5
                })
            );
            assert_eq!(secret(auth, THERE, "node").as_deref(), Some("b"));
            assert_eq!(secret(auth, THERE, "operator"), None);
            assert_eq!(secret(auth, HERE, "node"), None);
        }
        let mode = fs::metadata(dir.device_auth()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_reference_finds_the_newest_token_where_it_looks() {
        let (_temp, dir, me) = place(None);
        let mut auth = DeviceAuth::load(&dir, &me).unwrap();
        auth.store(HERE, "node", &Token::from("old"), &[], 1)
            .unwrap();
        auth.store(THERE, "node", &Token::from("new"), &[], 2)
            .unwrap();
        let text = fs::read_to_string(dir.device_auth()).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["version"], 1);
        assert_eq!(document["deviceId"], "me");
        assert_eq!(
            document["tokens"]["node"],
            json!({"token": "new", "role": "node", "scopes": [], "updatedAtMs": 2})
        );
    }

    #[test]
    fn a_file_of_the_reference_serves_its_gateway_and_keeps_its_members() {
        let text = r#"{"version":1,"deviceId":"me","more":[1],
            "tokens":{"node":{"token":"n","role":"node","scopes":[],"updatedAtMs":1,"x":2},
                      "operator":{"token":"o","role":"operator","scopes":["operator.read"],"updatedAtMs":1}}}"#;
        let (_temp, dir, me) = place(Some(text));
        let mut auth = DeviceAuth::load(&dir, &me).unwrap();
        assert_eq!(secret(&auth, HERE, "node").as_deref(), Some("n"));
        assert_eq!(
            auth.token(HERE, "node", false),
            None,
            "its gateway is not known"
        );
        auth.forget(THERE, "node", false).unwrap();
        assert_eq!(secret(&auth, HERE, "node").as_deref(), Some("n"));
        auth.store(HERE, "operator", &Token::from("o2"), &[], 9)
            .unwrap();
        let text = fs::read_to_string(dir.device_auth()).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["more"], json!([1]));
        assert_eq!(document["tokens"]["node"]["x"], 2);
        assert_eq!(secret(&auth, THERE, "node").as_deref(), Some("n"));
        assert_eq!(secret(&auth, THERE, "operator"), None);
    }

    #[test]
    fn a_claimed_token_is_one_gateways_and_members_stay() {
        let text = r#"{"version":1,"deviceId":"me","tokens":{"node":{"token":"n","role":"node","scopes":[],"updatedAtMs":1,"x":2}}}"#;
        let (_temp, dir, me) = place(Some(text));
        let mut auth = DeviceAuth::load(&dir, &me).unwrap();
        auth.claim(HERE, "operator").unwrap();
        assert_eq!(fs::read_to_string(dir.device_auth()).unwrap(), text);
        auth.claim(HERE, "node").unwrap();
        auth.claim(THERE, "node").unwrap();
        for auth in [&auth, &DeviceAuth::load(&dir, &me).unwrap()] {
            assert_eq!(
                auth.token(HERE, "node", false).unwrap().token,
                Token::from("n")
            );
            assert_eq!(secret(auth, THERE, "node"), None);
        }
    }

    #[test]
    fn what_is_forgotten_is_gone_for_both_programs_and_nothing_else_is() {
        let (_temp, dir, me) = place(None);
        let mut auth = DeviceAuth::load(&dir, &me).unwrap();
        auth.store(THERE, "node", &Token::from("b"), &[], 1)
            .unwrap();
        auth.store(HERE, "node", &Token::from("a"), &[], 2).unwrap();
        auth.forget(THERE, "node", false).unwrap();
        assert_eq!(secret(&auth, THERE, "node"), None);
        assert_eq!(secret(&auth, HERE, "node").as_deref(), Some("a"));
        auth.forget(HERE, "node", false).unwrap();
        let text = fs::read_to_string(dir.device_auth()).unwrap();
        assert!(!text.contains("\"token\""), "{text}");

        auth.store(THERE, "node", &Token::from("b"), &[], 1)
            .unwrap();
        auth.store(HERE, "node", &Token::from("a"), &[], 2).unwrap();
        auth.store(HERE, "operator", &Token::from("o"), &[], 3)
            .unwrap();
        auth.forget_role("node").unwrap();
        for url in [HERE, THERE] {
            assert_eq!(secret(&auth, url, "node"), None);
        }
        assert_eq!(secret(&auth, HERE, "operator").as_deref(), Some("o"));
    }

    #[test]
    fn forgetting_what_is_not_there_writes_nothing() {
        let (_temp, dir, me) = place(None);
        let mut auth = DeviceAuth::load(&dir, &me).unwrap();
        auth.forget(HERE, "node", true).unwrap();
        auth.forget_role("node").unwrap();
        assert!(!dir.device_auth().exists());
    }

    #[test]
    fn what_is_not_ours_counts_as_empty_and_is_kept_aside() {
        for text in [
            "",
            "{",
            "[]",
            r#"{"version":2,"deviceId":"me","tokens":{"node":{"token":"n"}}}"#,
            r#"{"version":1,"deviceId":"you","tokens":{"node":{"token":"n"}}}"#,
            r#"{"version":1,"deviceId":"me","tokens":[]}"#,
        ] {
            let (temp, dir, me) = place(Some(text));
            let mut auth = DeviceAuth::load(&dir, &me).unwrap();
            assert_eq!(secret(&auth, HERE, "node"), None);
            assert_eq!(fs::read_to_string(dir.device_auth()).unwrap(), text);
            auth.store(HERE, "node", &Token::from("a"), &[], 1).unwrap();
            assert_eq!(temp.rejected("identity/device-auth.json"), text);
            let auth = DeviceAuth::load(&dir, &me).unwrap();
            assert_eq!(secret(&auth, HERE, "node").as_deref(), Some("a"));
        }
    }

    #[test]
    fn another_process_does_not_lose_its_token() {
        let (_temp, dir, me) = place(None);
        let mut one = DeviceAuth::load(&dir, &me).unwrap();
        let mut other = DeviceAuth::load(&dir, &me).unwrap();
        one.store(HERE, "node", &Token::from("a"), &[], 1).unwrap();
        other
            .store(HERE, "operator", &Token::from("b"), &[], 2)
            .unwrap();
        assert_eq!(secret(&other, HERE, "node").as_deref(), Some("a"));
    }
}
