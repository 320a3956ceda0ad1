//! Params of `device.pair.*` and `device.token.*` (specification section 5.6).

use serde_json::Value;

use crate::{
    identity::ids::{DeviceId, RequestId},
    protocol::{
        error::ErrorShape,
        schema::{Kind, NAME, NAMES, optional, parse_params, required},
        scope::Scopes,
    },
};

/// `device.pair.approve` and `node.pair.approve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairApprove {
    /// The request to approve.
    pub request_id: RequestId,
    /// The digest of the row that was looked at; without it, whatever the request asks for now.
    pub expected_digest: Option<String>,
}

impl PairApprove {
    /// Reads the params of `method`.
    pub fn parse(method: &str, params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[
            required("requestId", NAME),
            optional("expectedDigest", NAME),
        ]);
        let mut fields = parse_params(method, params, &KIND)?;
        Ok(Self {
            request_id: fields.required_text("requestId").into(),
            expected_digest: fields.text("expectedDigest"),
        })
    }
}

/// Reads `{requestId}`, the params of rejecting on both layers.
pub fn parse_request_id(method: &str, params: Option<Value>) -> Result<RequestId, ErrorShape> {
    const KIND: Kind = Kind::Object(&[required("requestId", NAME)]);
    let mut fields = parse_params(method, params, &KIND)?;
    Ok(fields.required_text("requestId").into())
}

/// `device.pair.remove`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevicePairRemove {
    /// The device to remove.
    pub device_id: DeviceId,
}

impl DevicePairRemove {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[required("deviceId", NAME)]);
        let mut fields = parse_params("device.pair.remove", params, &KIND)?;
        Ok(Self {
            device_id: fields.required_text("deviceId").into(),
        })
    }
}

/// `device.pair.import`, a method of our own.
#[derive(Clone, Debug, PartialEq)]
pub struct DevicePairImport {
    /// What another gateway exported.
    pub export: Value,
    /// Whether it wins over what was decided later here.
    pub replace: bool,
    /// Only say what would become of it.
    pub dry_run: bool,
}

impl DevicePairImport {
    /// Reads the params; what is in the export is for `pairing` to say.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[
            required("export", Kind::Any),
            optional("replace", Kind::Boolean),
            optional("dryRun", Kind::Boolean),
        ]);
        let mut fields = parse_params("device.pair.import", params, &KIND)?;
        Ok(Self {
            export: fields.value("export").unwrap_or_default(),
            replace: fields.boolean("replace").unwrap_or(false),
            dry_run: fields.boolean("dryRun").unwrap_or(false),
        })
    }
}

/// `device.token.rotate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceTokenRotate {
    /// The device whose token is replaced.
    pub device_id: DeviceId,
    /// The role of the token, as sent.
    pub role: String,
    /// Scopes of the new token; `None` keeps those of the old one.
    pub scopes: Option<Scopes>,
}

impl DeviceTokenRotate {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[
            required("deviceId", NAME),
            required("role", NAME),
            optional("scopes", NAMES),
        ]);
        let mut fields = parse_params("device.token.rotate", params, &KIND)?;
        Ok(Self {
            device_id: fields.required_text("deviceId").into(),
            role: fields.required_text("role"),
            scopes: fields
                .texts("scopes")
                .map(|scopes| scopes.into_iter().collect()),
        })
    }
}

/// `device.token.revoke`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceTokenRevoke {
    /// The device whose token is revoked.
    pub device_id: DeviceId,
    /// The role of the token, as sent.
    pub role: String,
}

impl DeviceTokenRevoke {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[required("deviceId", NAME), required("role", NAME)]);
        let mut fields = parse_params("device.token.revoke", params, &KIND)?;
        Ok(Self {
            device_id: fields.required_text("deviceId").into(),
            role: fields.required_text("role"),
        })
    }
}
