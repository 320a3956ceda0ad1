//! Params of `device.keys.*`: join keys and pre-approvals, methods of this program alone.

use serde_json::Value;

use crate::protocol::{
    error::ErrorShape,
    schema::{COUNT, Fields, Kind, NAME, NAMES, TEXT, optional, parse_params, required},
    scope::{Role, Scopes},
};

/// What both kinds of invitation say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What to call it.
    pub name: Option<String>,
    /// The role; a node when nobody says.
    pub role: Role,
    /// Scopes of an operator.
    pub scopes: Scopes,
    /// Commands of a node.
    pub commands: Vec<String>,
    /// Its life in milliseconds; the usual one when nobody says.
    pub ttl_ms: Option<u64>,
}

/// `device.keys.create`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceKeysCreate {
    /// What it offers.
    pub offer: Offer,
    /// From which networks; anywhere when empty.
    pub cidrs: Vec<String>,
    /// For how many devices; one when nobody says.
    pub uses: Option<u64>,
}

/// `device.keys.preapprove`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceKeysPreapprove {
    /// The public key of the device.
    pub public_key: String,
    /// What is approved.
    pub offer: Offer,
}

const ROLES: &[&str] = &[Role::Node.as_str(), Role::Operator.as_str()];

impl Offer {
    fn take(fields: &mut Fields) -> Offer {
        let role = fields.text("role").and_then(|role| Role::parse(&role));
        let scopes = fields.texts("scopes").unwrap_or_default();
        Offer {
            name: fields.text("name"),
            role: role.unwrap_or(Role::Node),
            scopes: scopes.into_iter().collect(),
            commands: fields.texts("commands").unwrap_or_default(),
            ttl_ms: fields.count("ttlMs"),
        }
    }
}

impl DeviceKeysCreate {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[
            optional("name", TEXT),
            optional("role", Kind::OneOf(ROLES)),
            optional("scopes", NAMES),
            optional("commands", NAMES),
            optional("ttlMs", COUNT),
            optional("cidrs", NAMES),
            optional("uses", COUNT),
        ]);
        let mut fields = parse_params("device.keys.create", params, &KIND)?;
        Ok(Self {
            offer: Offer::take(&mut fields),
            cidrs: fields.texts("cidrs").unwrap_or_default(),
            uses: fields.count("uses"),
        })
    }
}

impl DeviceKeysPreapprove {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[
            required("publicKey", NAME),
            optional("name", TEXT),
            optional("role", Kind::OneOf(ROLES)),
            optional("scopes", NAMES),
            optional("commands", NAMES),
            optional("ttlMs", COUNT),
        ]);
        let mut fields = parse_params("device.keys.preapprove", params, &KIND)?;
        Ok(Self {
            public_key: fields.required_text("publicKey"),
            offer: Offer::take(&mut fields),
        })
    }
}

/// Reads `{id}`, the params of `device.keys.revoke`.
pub fn parse_key_id(params: Option<Value>) -> Result<String, ErrorShape> {
    const KIND: Kind = Kind::Object(&[required("id", NAME)]);
    let mut fields = parse_params("device.keys.revoke", params, &KIND)?;
    Ok(fields.required_text("id"))
}
