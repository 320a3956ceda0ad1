//! Params of the small methods about the gateway itself (specification section 9.2).

use serde_json::Value;

use crate::identity::Token;
use crate::protocol::{
    error::ErrorShape,
    limits::MAX_PAIRING_WINDOW_MS,
    schema::{Fields, Kind, NAME, optional, parse_params, required},
};

/// Checks the params of a method that takes none (`status`, `node.list` and so on).
pub fn parse_nothing(method: &str, params: Option<Value>) -> Result<(), ErrorShape> {
    parse_params(method, params, &Kind::Object(&[])).map(|_| ())
}

/// Reads `{after?}`, the params of `gateway.events`: the id of an event.
pub fn parse_after(params: Option<Value>) -> Result<Option<String>, ErrorShape> {
    const KIND: Kind = Kind::Object(&[optional("after", NAME)]);
    let mut fields = parse_params("gateway.events", params, &KIND)?;
    Ok(fields.text("after"))
}

/// Checks the params of `status`: newer command lines say whether they want channels and a view of the
/// agents' configuration, of which there is nothing here.
pub fn parse_status(method: &str, params: Option<Value>) -> Result<(), ErrorShape> {
    const STATUS: Kind = Kind::Object(&[
        optional("includeChannelSummary", Kind::Boolean),
        optional("includeCliProjection", Kind::Boolean),
    ]);
    parse_params(method, params, &STATUS).map(|_| ())
}

/// `gateway.pairing.open`, a method of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayPairingOpen {
    /// For how long, in milliseconds; None: until somebody closes it.
    pub for_ms: Option<u64>,
}

impl GatewayPairingOpen {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const FOR: Kind = Kind::Integer {
            min: 1,
            max: MAX_PAIRING_WINDOW_MS as i64,
        };
        const KIND: Kind = Kind::Object(&[optional("forMs", FOR)]);
        let mut fields = parse_params("gateway.pairing.open", params, &KIND)?;
        Ok(Self {
            for_ms: fields.count("forMs"),
        })
    }
}

/// `gateway.pairing.ssh.check`, a method of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayPairingSshCheck {
    /// The attempt.
    pub proof_id: String,
    /// The user id that the login answered.
    pub uid: u64,
    /// What it read.
    pub secret: Token,
}

impl GatewayPairingSshCheck {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const UID: Kind = Kind::Integer {
            min: 0,
            max: u32::MAX as i64,
        };
        const KIND: Kind = Kind::Object(&[
            required("proofId", NAME),
            required("uid", UID),
            required("secret", NAME),
        ]);
        let mut fields = parse_params("gateway.pairing.ssh.check", params, &KIND)?;
        Ok(Self {
            proof_id: fields.required_text("proofId"),
            uid: fields.count("uid").unwrap_or(u64::MAX),
            secret: fields.required_text("secret").into(),
        })
    }
}

/// `set-heartbeats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetHeartbeats {
    /// Whether heartbeats are wanted.
    pub enabled: bool,
}

impl SetHeartbeats {
    /// Reads the params; the error has its own words.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        let enabled = params
            .as_ref()
            .and_then(|params| params.get("enabled")?.as_bool());
        enabled.map(|enabled| Self { enabled }).ok_or_else(|| {
            ErrorShape::invalid("invalid set-heartbeats params: enabled (boolean) required")
        })
    }
}

/// `system-event`: a line of text and optional facts about its sender, an open object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemEvent {
    /// The line, trimmed and not empty.
    pub text: String,
    /// Device the row belongs to.
    pub device_id: Option<String>,
    /// Instance the row belongs to when there is no device.
    pub instance_id: Option<String>,
    /// Host name, the last resort as key.
    pub host: Option<String>,
    /// Address of the host.
    pub ip: Option<String>,
    /// Version of the program.
    pub version: Option<String>,
    /// Operating system.
    pub platform: Option<String>,
    /// Kind of machine.
    pub device_family: Option<String>,
    /// Model of the machine.
    pub model_identifier: Option<String>,
    /// Mode of the program.
    pub mode: Option<String>,
    /// Why the event was sent.
    pub reason: Option<String>,
}

impl SystemEvent {
    /// Reads the params; facts that are blank or of another type count as absent.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        let required = || ErrorShape::invalid("text required");
        let mut fields =
            Fields::parse(params.unwrap_or_default(), &Kind::Open(&[])).map_err(|_| required())?;
        let mut fact = |name: &str| {
            let text = fields.text(name)?.trim().to_owned();
            (!text.is_empty()).then_some(text)
        };
        Ok(Self {
            text: fact("text").ok_or_else(required)?,
            device_id: fact("deviceId"),
            instance_id: fact("instanceId"),
            host: fact("host"),
            ip: fact("ip"),
            version: fact("version"),
            platform: fact("platform"),
            device_family: fact("deviceFamily"),
            model_identifier: fact("modelIdentifier"),
            mode: fact("mode"),
            reason: fact("reason"),
        })
    }
}
