//! The params of `connect` and the choice of a version (specification sections 2.2 and 2.5).
//!
//! The schema is closed except for what newer clients are known to add; whether the claims in it are
//! true is decided elsewhere.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::protocol::{
    error::ErrorShape,
    frame::object,
    limits::{MAX_PROTOCOL, MIN_PROTOCOL},
    schema::{COUNT, Fields, Kind, NAME, NAMES, TEXT, optional, required},
    scope::Scopes,
};

/// What a client claims about itself when it connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectParams {
    /// Oldest version it speaks, at least 1.
    pub min_protocol: u64,
    /// Newest version it speaks, at least 1.
    pub max_protocol: u64,
    /// Which program it is.
    pub client: ClientInfo,
    /// Capabilities, empty when absent.
    pub caps: Vec<String>,
    /// Declared commands in their order, empty when absent.
    pub commands: Vec<String>,
    /// Granted permissions of the device, by name.
    pub permissions: Option<BTreeMap<String, bool>>,
    /// The `PATH` of the host.
    pub path_env: Option<String>,
    /// Role as sent; absent means operator, and only `scope::Role::parse` knows whether it is one.
    pub role: Option<String>,
    /// Scopes in the order sent, empty when absent.
    pub scopes: Scopes,
    /// Proof of a device key.
    pub device: Option<DeviceProof>,
    /// Credentials, exactly as sent.
    pub auth: ConnectAuth,
    /// Language of the client.
    pub locale: Option<String>,
    /// User agent of a browser.
    pub user_agent: Option<String>,
}

/// `client`: which program connects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientInfo {
    /// One of [`CLIENT_IDS`].
    pub id: String,
    /// Name for people.
    pub display_name: Option<String>,
    /// Version of the program.
    pub version: String,
    /// Operating system, `linux`, `darwin` and so on.
    pub platform: String,
    /// Kind of machine.
    pub device_family: Option<String>,
    /// Model of the machine.
    pub model_identifier: Option<String>,
    /// One of [`CLIENT_MODES`].
    pub mode: String,
    /// Distinguishes instances of one program on one machine.
    pub instance_id: Option<String>,
}

impl ClientInfo {
    /// Name for people, else the client id.
    pub fn label(&self) -> &str {
        self.display_name.as_deref().unwrap_or(&self.id)
    }
}

/// `device`: the signed proof of a device key (section 3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceProof {
    /// Claimed device id.
    pub id: String,
    /// Public key as sent.
    pub public_key: String,
    /// Signature as sent.
    pub signature: String,
    /// When it was signed, epoch milliseconds.
    pub signed_at: u64,
    /// Nonce of the challenge that was signed, untrimmed.
    pub nonce: String,
}

/// `auth`: every credential exactly as sent, untrimmed; empty strings are kept because they are part
/// of the signed payload (section 3.2).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConnectAuth {
    /// Shared token, or a device token travelling in its place.
    pub token: Option<String>,
    /// One-time token of a setup code.
    pub bootstrap_token: Option<String>,
    /// Device token.
    pub device_token: Option<String>,
    /// Shared password.
    pub password: Option<String>,
}

impl ConnectAuth {
    /// The token that belongs to the signed payload: the first of token, device token and bootstrap
    /// token that is present, even if empty.
    pub fn signed_token(&self) -> &str {
        let tokens = [&self.token, &self.device_token, &self.bootstrap_token];
        tokens
            .into_iter()
            .flatten()
            .next()
            .map_or("", String::as_str)
    }
}

impl std::fmt::Debug for ConnectAuth {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ConnectAuth")
            .field("token", &self.token.is_some())
            .field("bootstrap_token", &self.bootstrap_token.is_some())
            .field("device_token", &self.device_token.is_some())
            .field("password", &self.password.is_some())
            .finish()
    }
}

/// Every `client.id` that is accepted, whatever version is negotiated.
pub const CLIENT_IDS: &[&str] = &[
    "webchat-ui",
    "openclaw-control-ui",
    "openclaw-tui",
    "webchat",
    "cli",
    "gateway-client",
    "openclaw-macos",
    "openclaw-ios",
    "openclaw-android",
    "node-host",
    "test",
    "fingerprint",
    "openclaw-probe",
    "openclaw-browser-copilot",
    "openclaw-linux",
    "openclaw-watchos",
    "openclaw-worker",
];

/// Every `client.mode` that is accepted, whatever version is negotiated.
pub const CLIENT_MODES: &[&str] = &[
    "webchat", "cli", "ui", "backend", "node", "probe", "test", "worker",
];

const VERSION: Kind = Kind::Integer {
    min: 1,
    max: i64::MAX,
};

const CLIENT: Kind = Kind::Object(&[
    required("id", Kind::OneOf(CLIENT_IDS)),
    optional("displayName", NAME),
    required("version", NAME),
    required("platform", NAME),
    optional("deviceFamily", NAME),
    optional("modelIdentifier", NAME),
    required("mode", Kind::OneOf(CLIENT_MODES)),
    optional("instanceId", NAME),
    optional("buildId", Kind::Any),
    optional("timeZone", Kind::Any),
]);

const DEVICE: Kind = Kind::Object(&[
    required("id", NAME),
    required("publicKey", NAME),
    required("signature", NAME),
    required("signedAt", COUNT),
    required("nonce", NAME),
]);

const AUTH: Kind = Kind::Object(&[
    optional("token", TEXT),
    optional("bootstrapToken", TEXT),
    optional("deviceToken", TEXT),
    optional("password", TEXT),
    optional("approvalRuntimeToken", Kind::Any),
    optional("agentRuntimeIdentityToken", Kind::Any),
]);

const CONNECT: Kind = Kind::Object(&[
    required("minProtocol", VERSION),
    required("maxProtocol", VERSION),
    required("client", CLIENT),
    optional("caps", NAMES),
    optional("commands", NAMES),
    optional("permissions", Kind::Map(&Kind::Boolean)),
    optional("pathEnv", TEXT),
    optional("role", NAME),
    optional("scopes", NAMES),
    optional("device", DEVICE),
    optional("auth", AUTH),
    optional("locale", TEXT),
    optional("userAgent", TEXT),
    optional("computerUse", Kind::Any),
    optional("workerRuns", Kind::Any),
    optional("modelCatalog", Kind::Any),
]);

impl ConnectParams {
    /// Reads the params of a `connect` request. The error is the list of findings; absent params are
    /// `must be object` here.
    pub fn parse(params: Option<&Value>) -> Result<ConnectParams, String> {
        let mut fields = Fields::parse(params.cloned().unwrap_or_default(), &CONNECT)?;
        Ok(ConnectParams {
            min_protocol: fields.count("minProtocol").unwrap_or_default(),
            max_protocol: fields.count("maxProtocol").unwrap_or_default(),
            client: fields
                .object("client")
                .map(ClientInfo::from)
                .unwrap_or_default(),
            caps: fields.texts("caps").unwrap_or_default(),
            commands: fields.texts("commands").unwrap_or_default(),
            permissions: fields.value("permissions").map(|map| permissions(&map)),
            path_env: fields.text("pathEnv"),
            role: fields.text("role"),
            scopes: fields
                .texts("scopes")
                .unwrap_or_default()
                .into_iter()
                .collect(),
            device: fields.object("device").map(DeviceProof::from),
            auth: fields
                .object("auth")
                .map(ConnectAuth::from)
                .unwrap_or_default(),
            locale: fields.text("locale"),
            user_agent: fields.text("userAgent"),
        })
    }

    /// The params as a client sends them; absent fields are omitted, `caps` and `scopes` always sent.
    pub fn to_value(&self) -> Value {
        let text = |value: &Option<String>| value.as_deref().map(Value::from);
        object([
            ("minProtocol", Some(self.min_protocol.into())),
            ("maxProtocol", Some(self.max_protocol.into())),
            ("client", Some(self.client.to_value())),
            ("caps", Some(json!(self.caps))),
            (
                "commands",
                (!self.commands.is_empty()).then(|| json!(self.commands)),
            ),
            (
                "permissions",
                self.permissions.as_ref().map(|map| json!(map)),
            ),
            ("pathEnv", text(&self.path_env)),
            ("auth", self.auth.to_value()),
            ("role", text(&self.role)),
            ("scopes", Some(json!(self.scopes))),
            ("device", self.device.as_ref().map(DeviceProof::to_value)),
            ("locale", text(&self.locale)),
            ("userAgent", text(&self.user_agent)),
        ])
    }
}

impl From<Fields> for ClientInfo {
    fn from(mut fields: Fields) -> Self {
        Self {
            id: fields.required_text("id"),
            display_name: fields.text("displayName"),
            version: fields.required_text("version"),
            platform: fields.required_text("platform"),
            device_family: fields.text("deviceFamily"),
            model_identifier: fields.text("modelIdentifier"),
            mode: fields.required_text("mode"),
            instance_id: fields.text("instanceId"),
        }
    }
}

impl ClientInfo {
    fn to_value(&self) -> Value {
        let text = |value: &Option<String>| value.as_deref().map(Value::from);
        object([
            ("id", Some(self.id.as_str().into())),
            ("displayName", text(&self.display_name)),
            ("version", Some(self.version.as_str().into())),
            ("platform", Some(self.platform.as_str().into())),
            ("deviceFamily", text(&self.device_family)),
            ("modelIdentifier", text(&self.model_identifier)),
            ("mode", Some(self.mode.as_str().into())),
            ("instanceId", text(&self.instance_id)),
        ])
    }
}

impl From<Fields> for DeviceProof {
    fn from(mut fields: Fields) -> Self {
        Self {
            id: fields.required_text("id"),
            public_key: fields.required_text("publicKey"),
            signature: fields.required_text("signature"),
            signed_at: fields.count("signedAt").unwrap_or_default(),
            nonce: fields.required_text("nonce"),
        }
    }
}

impl DeviceProof {
    fn to_value(&self) -> Value {
        json!({
            "id": self.id,
            "publicKey": self.public_key,
            "signature": self.signature,
            "signedAt": self.signed_at,
            "nonce": self.nonce,
        })
    }
}

impl From<Fields> for ConnectAuth {
    fn from(mut fields: Fields) -> Self {
        Self {
            token: fields.text("token"),
            bootstrap_token: fields.text("bootstrapToken"),
            device_token: fields.text("deviceToken"),
            password: fields.text("password"),
        }
    }
}

impl ConnectAuth {
    fn to_value(&self) -> Option<Value> {
        let text = |value: &Option<String>| value.as_deref().map(Value::from);
        let value = object([
            ("token", text(&self.token)),
            ("bootstrapToken", text(&self.bootstrap_token)),
            ("deviceToken", text(&self.device_token)),
            ("password", text(&self.password)),
        ]);
        (self != &Self::default()).then_some(value)
    }
}

/// The session version for a client that speaks `min` to `max`, or the error that closes it with
/// 1002 `protocol mismatch`.
pub fn negotiate(min: u64, max: u64) -> Result<u8, ErrorShape> {
    let (oldest, newest) = (u64::from(MIN_PROTOCOL), u64::from(MAX_PROTOCOL));
    if min <= newest && max >= oldest && min <= max {
        return Ok(if max >= newest {
            MAX_PROTOCOL
        } else {
            MIN_PROTOCOL
        });
    }
    let expected = if max < oldest {
        MIN_PROTOCOL
    } else {
        MAX_PROTOCOL
    };
    Err(
        ErrorShape::invalid("protocol mismatch").with_details(json!({
            "code": "PROTOCOL_MISMATCH",
            "clientMinProtocol": min,
            "clientMaxProtocol": max,
            "expectedProtocol": expected,
        })),
    )
}

fn permissions(map: &Value) -> BTreeMap<String, bool> {
    let entry = |(name, value): (&String, &Value)| Some((name.clone(), value.as_bool()?));
    map.as_object()
        .into_iter()
        .flatten()
        .filter_map(entry)
        .collect()
}

#[cfg(test)]
mod tests;
