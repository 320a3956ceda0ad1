//! The payload of a successful connect, both ways (specification section 2.6).
//!
//! The object is closed at version 3: nothing may be invented there. Version 4 gets `auth.method`.

use serde_json::{Map, Value, json};

use crate::protocol::{
    event,
    frame::object,
    limits::{FIRST_WITH_AUTH_METHOD, MAX_BUFFERED_BYTES, MAX_FRAME_BYTES, TICK_INTERVAL},
    method,
    scope::{Role, Scopes},
};

/// Everything hello-ok tells a session.
#[derive(Clone, Debug)]
pub struct HelloOk<'a> {
    /// Version of the session, 3 or 4.
    pub protocol: u8,
    /// Version of this program.
    pub server_version: &'a str,
    /// Id of the connection, a uuid.
    pub conn_id: &'a str,
    /// Presence rows, an array as JSON text: there may be 200 of them, too many to build a tree of for
    /// each of a thousand connects.
    pub presence: &'a str,
    /// Health as in the `health` method; `{}` is fine.
    pub health: Value,
    /// Current `stateVersion.presence`.
    pub presence_version: u64,
    /// Current `stateVersion.health`.
    pub health_version: u64,
    /// Age of the gateway process in milliseconds.
    pub uptime_ms: u64,
    /// Where the gateway lives; only for sessions with `operator.admin`.
    pub admin: Option<AdminSnapshot<'a>>,
    /// Role of the session.
    pub role: Role,
    /// The scopes to report: those of the device token at version 3, of the session at version 4.
    pub scopes: &'a Scopes,
    /// The device token that was issued or reused.
    pub device_token: Option<&'a str>,
    /// When that token was made, epoch milliseconds.
    pub issued_at_ms: Option<u64>,
    /// Device tokens of further roles, handed over to a device that came with a setup code; not sent when
    /// there are none.
    pub hand_off: Vec<HandedToken<'a>>,
    /// How the session authenticated; sent at version 4 only.
    pub auth_method: &'a str,
}

/// One entry of `auth.deviceTokens`.
#[derive(Clone, Debug)]
pub struct HandedToken<'a> {
    /// Role of the token.
    pub role: Role,
    /// The secret.
    pub token: &'a str,
    /// Its scopes.
    pub scopes: &'a Scopes,
    /// When it was made, epoch milliseconds.
    pub issued_at_ms: u64,
}

/// What only administrators are told in the snapshot.
#[derive(Clone, Debug)]
pub struct AdminSnapshot<'a> {
    /// Path of the configuration file.
    pub config_path: &'a str,
    /// Path of the state directory.
    pub state_dir: &'a str,
    /// `none`, `token`, `password` or `trusted-proxy`.
    pub auth_mode: &'a str,
}

impl HelloOk<'_> {
    /// The `payload` of the response to `connect`, as JSON text.
    pub fn to_text(&self) -> String {
        let methods: Vec<_> = method::advertised_names().collect();
        let events: Vec<_> = event::advertised_names().collect();
        let head = json!({
            "type": "hello-ok",
            "protocol": self.protocol,
            "server": {"version": self.server_version, "connId": self.conn_id},
            "features": {"methods": methods, "events": events},
        });
        let tail = json!({
            "auth": self.auth(),
            "policy": {
                "maxPayload": MAX_FRAME_BYTES,
                "maxBufferedBytes": MAX_BUFFERED_BYTES,
                "tickIntervalMs": u64::try_from(TICK_INTERVAL.as_millis()).unwrap_or(u64::MAX),
            },
        });
        let snapshot = joined(
            &format!(r#"{{"presence":{}}}"#, self.presence),
            &self.snapshot().to_string(),
        );
        let front = joined(&head.to_string(), &format!(r#"{{"snapshot":{snapshot}}}"#));
        joined(&front, &tail.to_string())
    }

    /// `snapshot` without `presence`.
    fn snapshot(&self) -> Value {
        let admin = |pick: fn(&AdminSnapshot) -> Value| self.admin.as_ref().map(pick);
        object([
            ("health", Some(self.health.clone())),
            (
                "stateVersion",
                Some(json!({"presence": self.presence_version, "health": self.health_version})),
            ),
            ("uptimeMs", Some(self.uptime_ms.into())),
            ("configPath", admin(|admin| admin.config_path.into())),
            ("stateDir", admin(|admin| admin.state_dir.into())),
            (
                "sessionDefaults",
                Some(json!({
                    "defaultAgentId": "main",
                    "mainKey": "main",
                    "mainSessionKey": "agent:main:main",
                    "scope": "per-sender",
                })),
            ),
            ("authMode", admin(|admin| admin.auth_mode.into())),
        ])
    }

    fn auth(&self) -> Value {
        object([
            ("role", Some(self.role.as_str().into())),
            ("scopes", Some(json!(self.scopes))),
            ("deviceToken", self.device_token.map(Value::from)),
            ("issuedAtMs", self.issued_at_ms.map(Value::from)),
            (
                "deviceTokens",
                (!self.hand_off.is_empty()).then(|| {
                    let rows = self.hand_off.iter().map(HandedToken::to_value);
                    Value::Array(rows.collect())
                }),
            ),
            (
                "method",
                (self.protocol >= FIRST_WITH_AUTH_METHOD).then(|| self.auth_method.into()),
            ),
        ])
    }
}

impl HandedToken<'_> {
    fn to_value(&self) -> Value {
        json!({
            "deviceToken": self.token,
            "role": self.role.as_str(),
            "scopes": self.scopes,
            "issuedAtMs": self.issued_at_ms,
        })
    }
}

/// The text of one object with the members of two; neither of them is empty.
fn joined(first: &str, second: &str) -> String {
    let open = first.strip_suffix('}').unwrap_or(first);
    let rest = second.strip_prefix('{').unwrap_or(second);
    format!("{open},{rest}")
}

/// What a client needs from hello-ok, read leniently so that a newer gateway is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloReceived {
    /// Version of the session.
    pub protocol: u64,
    /// Version of the gateway, empty when it did not say.
    pub server_version: String,
    /// Id of the connection, empty when it did not say.
    pub conn_id: String,
    /// `features.methods`.
    pub methods: Vec<String>,
    /// Role under which a device token belongs.
    pub role: Option<String>,
    /// Scopes to store with that token and to ask for later.
    pub scopes: Scopes,
    /// The device token to store.
    pub device_token: Option<String>,
    /// When that token was made, epoch milliseconds.
    pub issued_at_ms: Option<u64>,
    /// `policy.tickIntervalMs`.
    pub tick_interval_ms: Option<u64>,
    /// `snapshot.health.pendingNodeRequestId`: the request that commands of this node wait for.
    pub pending_node_request: Option<String>,
}

impl HelloReceived {
    /// Reads the payload of a successful connect; `None` when it is no hello-ok.
    pub fn parse(payload: &Value) -> Option<HelloReceived> {
        if payload.get("type")?.as_str()? != "hello-ok" {
            return None;
        }
        let empty = Value::Object(Map::new());
        let part = |name: &str| payload.get(name).unwrap_or(&empty);
        let (server, auth) = (part("server"), part("auth"));
        let text = |value: &Value, name: &str| Some(value.get(name)?.as_str()?.to_owned());
        Some(HelloReceived {
            protocol: payload.get("protocol")?.as_u64()?,
            server_version: text(server, "version").unwrap_or_default(),
            conn_id: text(server, "connId").unwrap_or_default(),
            methods: words(part("features").get("methods"))
                .map(str::to_owned)
                .collect(),
            role: text(auth, "role"),
            scopes: words(auth.get("scopes")).collect(),
            device_token: text(auth, "deviceToken").filter(|token| !token.is_empty()),
            issued_at_ms: auth.get("issuedAtMs").and_then(Value::as_u64),
            tick_interval_ms: part("policy").get("tickIntervalMs").and_then(Value::as_u64),
            pending_node_request: part("snapshot")
                .get("health")
                .and_then(|health| text(health, "pendingNodeRequestId")),
        })
    }
}

/// The strings of an array; anything else is skipped.
fn words(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(hello: &HelloOk) -> Value {
        serde_json::from_str(&hello.to_text()).unwrap()
    }

    fn hello(scopes: &Scopes) -> HelloOk<'_> {
        HelloOk {
            protocol: 3,
            server_version: "0.1.0",
            conn_id: "c",
            presence: "[]",
            health: json!({}),
            presence_version: 2,
            health_version: 5,
            uptime_ms: 7,
            admin: None,
            role: Role::Node,
            scopes,
            device_token: None,
            issued_at_ms: None,
            hand_off: Vec::new(),
            auth_method: "token",
        }
    }

    #[test]
    fn version_3_gets_exactly_the_closed_object() {
        let scopes = Scopes::none();
        let value = value(&hello(&scopes));
        let keys = |value: &Value| {
            value
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(
            keys(&value),
            [
                "type", "protocol", "server", "features", "snapshot", "auth", "policy"
            ]
        );
        assert_eq!(
            keys(&value["snapshot"]),
            [
                "presence",
                "health",
                "stateVersion",
                "uptimeMs",
                "sessionDefaults"
            ]
        );
        assert_eq!(value["auth"], json!({"role":"node","scopes":[]}));
        assert_eq!(
            value["policy"],
            json!({"maxPayload":26_214_400,"maxBufferedBytes":52_428_800,"tickIntervalMs":30_000})
        );
        assert_eq!(
            value["features"]["events"],
            json!([
                "connect.challenge",
                "presence",
                "tick",
                "shutdown",
                "health",
                "node.pair.requested",
                "node.pair.resolved",
                "node.invoke.request",
                "device.pair.requested",
                "device.pair.resolved",
                "exec.approval.requested",
                "exec.approval.resolved"
            ])
        );
    }

    #[test]
    fn a_setup_code_hands_over_further_tokens() {
        let (none, scopes) = (Scopes::none(), ["operator.read"].into_iter().collect());
        let value = value(&HelloOk {
            device_token: Some("n"),
            issued_at_ms: Some(9),
            hand_off: vec![HandedToken {
                role: Role::Operator,
                token: "o",
                scopes: &scopes,
                issued_at_ms: 8,
            }],
            ..hello(&none)
        });
        assert_eq!(
            value["auth"],
            json!({"role":"node","scopes":[],"deviceToken":"n","issuedAtMs":9,"deviceTokens":[
                {"deviceToken":"o","role":"operator","scopes":["operator.read"],"issuedAtMs":8}]})
        );
    }

    #[test]
    fn administrators_and_version_4_are_told_more() {
        let scopes: Scopes = ["operator.admin"].into_iter().collect();
        let admin = AdminSnapshot {
            config_path: "/c",
            state_dir: "/s",
            auth_mode: "token",
        };
        let value = value(&HelloOk {
            protocol: 4,
            admin: Some(admin),
            role: Role::Operator,
            device_token: Some("t"),
            issued_at_ms: Some(9),
            ..hello(&scopes)
        });
        assert_eq!(
            value["auth"],
            json!({"role":"operator","scopes":["operator.admin"],"deviceToken":"t","issuedAtMs":9,"method":"token"})
        );
        assert_eq!(value["snapshot"]["configPath"], "/c");
        assert_eq!(value["snapshot"]["stateDir"], "/s");
        assert_eq!(value["snapshot"]["authMode"], "token");
        let received = HelloReceived::parse(&value).unwrap();
        assert_eq!((received.protocol, received.conn_id.as_str()), (4, "c"));
        assert_eq!(received.device_token.as_deref(), Some("t"));
        assert_eq!(received.scopes, scopes);
        assert_eq!(received.tick_interval_ms, Some(30_000));
        assert!(received.methods.contains(&"node.invoke".to_owned()));
    }

    #[test]
    fn clients_read_a_sparse_hello_and_nothing_else() {
        let received = HelloReceived::parse(&json!({"type":"hello-ok","protocol":3})).unwrap();
        assert_eq!((received.role, received.device_token), (None, None));
        for payload in [
            json!(null),
            json!({"protocol":3}),
            json!({"type":"x","protocol":3}),
        ] {
            assert_eq!(HelloReceived::parse(&payload), None);
        }
    }
}
