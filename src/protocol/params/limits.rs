//! Params of the methods about the gateway's limits; both are ours.

use serde_json::Value;

use crate::protocol::{
    error::ErrorShape,
    schema::{Kind, NAME, optional, parse_params},
};

/// `gateway.limits.clear`: which counters of failed attempts start afresh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayLimitsClear {
    /// The client as the list names it; absent is every one.
    pub client: Option<String>,
    /// The kind of credential; absent is every one.
    pub kind: Option<String>,
}

impl GatewayLimitsClear {
    /// Reads the params.
    pub fn parse(params: Option<Value>) -> Result<Self, ErrorShape> {
        const KIND: Kind = Kind::Object(&[optional("client", NAME), optional("kind", NAME)]);
        let mut fields = parse_params("gateway.limits.clear", params, &KIND)?;
        Ok(Self {
            client: fields.text("client"),
            kind: fields.text("kind"),
        })
    }
}
