//! The rules that approve a request without a person (protocol §5.4), each as narrow as it is written.
//!
//! Whatever the rule, nothing but a first pairing or a change of metadata alone is ever silent: a wider
//! role, more scopes or another key wait for somebody. A silent approval covers the device layer only;
//! what a node may run stays with the node's own approval.

use super::{
    State,
    connect::{AuthMethod, ConnectClaim, Locality, believed_address, own_record},
    networks::Networks,
    state::Entry,
    waiting::Reason,
};
use crate::protocol::scope::Role;

/// Why a request is approved without a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence<'a> {
    /// The first pairing of a device on this host.
    Local,
    /// Only the metadata of a local device changed.
    Metadata,
    /// The first pairing of a node from an address in this network of the operator's list.
    Network(&'a str),
}

impl Silence<'_> {
    /// The word in the audit log.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Silence::Local => "local",
            Silence::Metadata => "metadata",
            Silence::Network(_) => "network",
        }
    }

    /// The network that the address was found in.
    pub(super) const fn network(&self) -> Option<&str> {
        match self {
            Silence::Network(network) => Some(network),
            Silence::Local | Silence::Metadata => None,
        }
    }
}

/// The rule that lets this request be approved without a person, if there is one. `reason` is what the
/// record does not cover; `networks` is `gateway.nodes.pairing.autoApproveCidrs`.
pub(super) fn silence<'a>(
    state: &State,
    claim: &ConnectClaim,
    reason: Reason,
    networks: &'a Networks,
) -> Option<Silence<'a>> {
    match reason {
        Reason::NotPaired => {
            // A record of another key, or one that cannot be read, is no first pairing.
            if state.devices.paired.entry(claim.device.as_str()) != Entry::Absent {
                None
            } else if is_local(claim) {
                Some(Silence::Local)
            } else {
                trusted_network(claim, networks).map(Silence::Network)
            }
        }
        Reason::MetadataUpgrade => is_metadata_alone(state, claim).then_some(Silence::Metadata),
        Reason::RoleUpgrade | Reason::ScopeUpgrade => None,
    }
}

fn is_local(claim: &ConnectClaim) -> bool {
    claim.locality != Locality::Remote && (!claim.has_origin || claim.browser_client)
}

/// The network that makes a first node pairing silent.
fn trusted_network<'a>(claim: &ConnectClaim, networks: &'a Networks) -> Option<&'a str> {
    let believed = believed_address(claim.locality, claim.reported_by, claim.reported_ip)?;
    let plain_node = claim.role == Role::Node && claim.scopes.is_empty();
    let browser = claim.has_origin || claim.browser_client;
    networks
        .matching(believed)
        .filter(|_| plain_node && !browser)
}

fn is_metadata_alone(state: &State, claim: &ConnectClaim) -> bool {
    let local = claim.locality == Locality::DirectLocal;
    let browser = claim.has_origin || claim.browser_client;
    let proven = match claim.method {
        AuthMethod::DeviceToken | AuthMethod::Password | AuthMethod::Token => true,
        AuthMethod::BootstrapToken
        | AuthMethod::None
        | AuthMethod::Tailscale
        | AuthMethod::TrustedProxy => false,
    };
    // Else a changed platform would carry new roles and scopes past the approver.
    let nothing_else = own_record(state, claim).is_some_and(|record| {
        record.effective_roles().contains(claim.role.as_str())
            && record.approves(claim.role.as_str(), &claim.scopes)
    });
    local && !browser && proven && nothing_else
}

#[cfg(test)]
mod tests;
