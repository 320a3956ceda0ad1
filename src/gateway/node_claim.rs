//! What an admitted connection with role node says of the node, as `pairing` asks for it.

use serde_json::Value;

use crate::identity::NodeId;
use crate::pairing::connect::{Admission, ConnectClaim};
use crate::pairing::node_record::NodeMetadata;
use crate::pairing::surface::NodeClaim;
use crate::protocol::connect::ConnectParams;

/// The claim of a node; platform and family are those that its device is pinned to.
pub fn node_claim(
    claim: &ConnectClaim,
    params: &ConnectParams,
    admission: &Admission,
) -> NodeClaim {
    let permissions = params.permissions.as_ref().map(|permissions| {
        permissions
            .iter()
            .map(|(name, granted)| (name.clone(), Value::Bool(*granted)))
            .collect()
    });
    NodeClaim {
        node: NodeId::from(&claim.device),
        metadata: NodeMetadata {
            display_name: params.client.display_name.clone(),
            platform: admission.platform.clone(),
            version: Some(params.client.version.clone()),
            core_version: None,
            ui_version: None,
            device_family: admission.device_family.clone(),
            model_identifier: params.client.model_identifier.clone(),
            client_id: Some(params.client.id.clone()),
            client_mode: Some(params.client.mode.clone()),
            caps: Some(params.caps.clone()),
            commands: Some(params.commands.clone()),
            permissions,
            remote_ip: claim.reported_ip.map(|address| address.to_string()),
        },
    }
}
