//! What a connecting device that has proven its key and its credentials may do: come in, or wait.
//!
//! One function runs the whole of protocol §5.2–5.5: compare the claim with the record, ask for
//! what is missing, approve silently where a rule allows it, refresh the record and hand out the
//! token. It trusts its input about key, locality and credentials; proving those is the gateway's.

mod ask;

use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;

pub(super) use self::ask::settle;
use self::ask::{Ask, pursue};
use super::{
    Caller, Entropy, State,
    change::{AuditEntry, Change, Changes, Part},
    crowd::Full,
    device_record::{DeviceRecord, address_text},
    expiry,
    invitation::{self, Denied, JoinedBy, Presented, Visit, bootstrap},
    networks::Networks,
    scopes,
    silence::{Silence, silence},
    switch::Switch,
    token::{self, IssuedToken},
    waiting::{PairingClosed, PairingRequired, Reason},
};
use crate::{
    identity::{DeviceId, Token, normalize_for_auth},
    protocol::scope::{Role, Scopes},
};

/// How a connection's credentials were accepted (protocol §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// The secret of an invitation: a setup code.
    BootstrapToken,
    /// A device token.
    DeviceToken,
    /// The gateway asks for nothing.
    None,
    /// The shared password.
    Password,
    /// The tailnet that its address belongs to named the user.
    Tailscale,
    /// The shared token.
    Token,
    /// A trusted proxy named the user.
    TrustedProxy,
}

impl AuthMethod {
    /// The word used on the wire and in log lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            AuthMethod::BootstrapToken => "bootstrap-token",
            AuthMethod::DeviceToken => "device-token",
            AuthMethod::None => "none",
            AuthMethod::Password => "password",
            AuthMethod::Tailscale => "tailscale",
            AuthMethod::Token => "token",
            AuthMethod::TrustedProxy => "trusted-proxy",
        }
    }

    /// Whether the shared secret was proven.
    pub const fn is_shared_secret(self) -> bool {
        matches!(self, AuthMethod::Password | AuthMethod::Token)
    }

    /// Whether what the gateway asks everybody for was proven (`sharedAuthOk` of protocol §4.2).
    pub const fn is_shared_auth(self) -> bool {
        self.is_shared_secret() || matches!(self, AuthMethod::TrustedProxy)
    }
}

/// The distance of a connection (protocol §4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locality {
    /// A browser on this host that reaches the gateway through a container's private address.
    BrowserContainerLocal,
    /// A loopback socket without any forwarding header.
    DirectLocal,
    /// Everything else.
    Remote,
}

/// Whose word a reported client address is (protocol §4.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressSource {
    /// The socket's own: nobody stands in between.
    #[default]
    Direct,
    /// A header from a trusted proxy on this host, which any local program could have sent.
    LoopbackTrustedProxy,
    /// A header from a trusted proxy elsewhere.
    TrustedProxy,
}

/// What the operator decided about joining in advance.
#[derive(Clone, Debug, PartialEq)]
pub struct AdmissionPolicy {
    /// `gateway.nodes.pairing.autoApproveCidrs`: where a first node pairing needs no person; empty is off.
    pub auto_approve: Networks,
    /// `gateway.nodes.pairing.enabled`: whether anybody new may ask, where no command decided.
    pub pairing_enabled: bool,
}

impl Default for AdmissionPolicy {
    fn default() -> Self {
        AdmissionPolicy {
            auto_approve: Networks::default(),
            pairing_enabled: true,
        }
    }
}

/// Whether this connection is subject to pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// The backend exception of protocol §4.4: no record, no request, no token.
    Absent,
    /// Everybody else.
    Required,
    /// A Control UI that may come in unpaired; a record it has still serves it (protocol §5.2).
    Waived,
}

/// What a connecting device says, and what the gateway found out about the connection.
#[derive(Clone, Debug)]
pub struct ConnectClaim {
    /// The proven device.
    pub device: DeviceId,
    /// Its proven key in the canonical form.
    pub public_key: String,
    /// The role it takes.
    pub role: Role,
    /// The scopes it asks for, as sent.
    pub scopes: Scopes,
    /// Its platform; empty counts as absent.
    pub platform: Option<String>,
    /// Its device family; empty counts as absent.
    pub device_family: Option<String>,
    /// Its name.
    pub display_name: Option<String>,
    /// The program.
    pub client_id: String,
    /// Its mode.
    pub client_mode: String,
    /// The reported client address: absent for local and for hidden ones (protocol §4.7).
    pub reported_ip: Option<IpAddr>,
    /// Whose word the reported address is.
    pub reported_by: AddressSource,
    /// How far away it is.
    pub locality: Locality,
    /// Whether the request carried an `Origin`.
    pub has_origin: bool,
    /// Whether it is the Control UI or a webchat client.
    pub browser_client: bool,
    /// How its credentials were accepted.
    pub method: AuthMethod,
    /// The secret of the invitation that it was accepted for, with that method.
    pub invitation: Option<Token>,
    /// Whether pairing applies.
    pub pairing: Pairing,
}

/// A device may come in.
#[derive(Clone, Debug, PartialEq)]
pub struct Admission {
    /// The token for hello-ok; None when the device has no approval to carry one.
    pub token: Option<IssuedToken>,
    /// The platform of the session: the pinned one where there is one.
    pub platform: Option<String>,
    /// The device family of the session: the pinned one where there is one.
    pub device_family: Option<String>,
    /// The tokens of further roles that an invitation hands over, by role.
    pub hand_off: Vec<(Role, IssuedToken)>,
    /// What the invitation that just paired this device says about its commands.
    pub joined: Option<JoinedBy>,
    /// The bootstrap token of which nothing is left: to be discarded once the device has its hello.
    pub spent: Option<Token>,
}

/// A device may not come in.
#[derive(Clone, Debug, PartialEq)]
pub enum NotAdmitted {
    /// It would have to ask, and nobody may.
    PairingClosed(Box<PairingClosed>),
    /// It waits for an approval.
    PairingRequired(Box<PairingRequired>),
    /// It would have to wait, and too many of its source do: `UNAVAILABLE`, nothing was recorded.
    Crowded(Full),
    /// It would have to wait, and what it says of itself is longer than what is kept of a stranger.
    RequestTooLong,
    /// Its invitation does not hold any more.
    NotInvited(Denied),
    /// Its record cannot be read: `UNAVAILABLE`, `pairing store unavailable` (D17).
    RecordUnreadable,
}

/// Decides about one connect. The changes are to be carried out whatever the verdict is: a refusal
/// leaves a request behind.
pub fn admit(
    state: &mut State,
    claim: &ConnectClaim,
    policy: &AdmissionPolicy,
    now: u64,
    entropy: &mut dyn Entropy,
) -> (Result<Admission, NotAdmitted>, Changes) {
    let mut changes = expiry::expire(state, now);
    if claim.pairing == Pairing::Absent {
        return (Ok(unpaired(claim)), changes);
    }
    if state.devices.paired.is_unreadable(claim.device.as_str()) {
        return (Err(NotAdmitted::RecordUnreadable), changes);
    }
    let open = Switch::of(state, policy.pairing_enabled).is_open(now);
    let lacks = claim.pairing == Pairing::Required && shortfall(state, claim).is_some();
    let (mut presented, mut joined) = (None, None);
    // While pairing is closed an invitation is neither used nor spent for what it would add.
    if let Some(secret) = claim.invitation.as_ref().filter(|_| open || !lacks) {
        match invitation::accept(state, secret.as_str(), &claim.visit(), now) {
            Ok((accepted, bound)) => {
                presented = Some(accepted);
                changes.extend(bound);
            }
            Err(denied) => return (Err(NotAdmitted::NotInvited(denied)), changes),
        }
    }
    if claim.pairing == Pairing::Required {
        let mut tried = None;
        while let Some(reason) = shortfall(state, claim) {
            if open && reason == Reason::NotPaired && tried.is_none() {
                let invited = invitation::join(state, claim, presented.as_ref(), now, entropy);
                if let Some((by, paired)) = invited {
                    tried = Some(reason);
                    joined = Some(by);
                    changes.extend(paired);
                    continue;
                }
            }
            // A silent approval removes its reason for good; should it not, a person decides.
            // A device that belongs here keeps working whatever its system is called by now.
            // A join key lets in those it counts: a place that is trusted anyway must not stretch it.
            let by_key = matches!(presented, Some(Presented::JoinKey(_)));
            let silence = silence(state, claim, reason, &policy.auto_approve)
                .filter(|rule| (open && !by_key) || *rule == Silence::Metadata)
                .filter(|_| tried != Some(reason));
            tried = Some(reason);
            let ask = Ask {
                reason,
                silence,
                open,
            };
            if let Some(refused) = pursue(state, claim, &ask, now, entropy, &mut changes) {
                return (Err(refused), changes);
            }
        }
    }
    let mut admission = enter(state, claim, now, entropy, &mut changes);
    admission.joined = joined;
    if let Some(Presented::Bootstrap(token)) = &presented {
        redeem(state, claim, token, &mut admission, &mut changes);
    }
    (Ok(admission), changes)
}

impl ConnectClaim {
    /// The claim as far as invitations look at it.
    pub fn visit(&self) -> Visit<'_> {
        Visit {
            device: &self.device,
            public_key: &self.public_key,
            role: self.role,
            scopes: &self.scopes,
            address: believed_address(self.locality, self.reported_by, self.reported_ip),
        }
    }
}

/// The address that rules about networks may believe. One that a proxy on this very host reported counts
/// for nothing: any local program can send such a header. A connection of this host comes from 127.0.0.1.
pub fn believed_address(
    locality: Locality,
    reported_by: AddressSource,
    reported_ip: Option<IpAddr>,
) -> Option<IpAddr> {
    match (locality, reported_by) {
        (Locality::DirectLocal, _) => Some(Ipv4Addr::LOCALHOST.into()),
        (_, AddressSource::Direct | AddressSource::TrustedProxy) => reported_ip,
        (_, AddressSource::LoopbackTrustedProxy) => None,
    }
}

fn unpaired(claim: &ConnectClaim) -> Admission {
    Admission {
        token: None,
        platform: given(&claim.platform),
        device_family: given(&claim.device_family),
        hand_off: Vec::new(),
        joined: None,
        spent: None,
    }
}

/// The first thing that the record does not cover.
fn shortfall(state: &State, claim: &ConnectClaim) -> Option<Reason> {
    let Some(record) = own_record(state, claim) else {
        return Some(Reason::NotPaired);
    };
    let role = claim.role.as_str();
    if departs(&record.platform, &claim.platform)
        || departs(&record.device_family, &claim.device_family)
    {
        Some(Reason::MetadataUpgrade)
    } else if !record.effective_roles().contains(role) {
        Some(Reason::RoleUpgrade)
    } else if !scopes::grants(role, record.approved_scopes(), &claim.scopes) {
        Some(Reason::ScopeUpgrade)
    } else {
        None
    }
}

/// The record of this device, if it has this very key.
pub(super) fn own_record<'a>(state: &'a State, claim: &ConnectClaim) -> Option<&'a DeviceRecord> {
    let record = state.devices.paired.record(claim.device.as_str());
    record.filter(|record| record.public_key == claim.public_key)
}

/// Whether a claim differs from what is pinned. An absent claim says nothing (D12).
fn departs(pinned: &Option<String>, claimed: &Option<String>) -> bool {
    match (given(pinned), given(claimed)) {
        (Some(pinned), Some(claimed)) => {
            normalize_for_auth(&pinned) != normalize_for_auth(&claimed)
        }
        _ => false,
    }
}

/// A text that says something.
pub(super) fn given(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.trim().is_empty())
}

/// Refreshes the record of a device that comes in, and hands out its token.
fn enter(
    state: &mut State,
    claim: &ConnectClaim,
    now: u64,
    entropy: &mut dyn Entropy,
    changes: &mut Changes,
) -> Admission {
    let Some(before) = own_record(state, claim).cloned() else {
        return unpaired(claim);
    };
    let mut refreshed = before.clone();
    refresh_record(&mut refreshed, claim, now);
    if refreshed != before {
        state.devices.paired.put(refreshed);
        changes.push(Change::Touch(Part::DevicesPaired));
    }
    let role = claim.role.as_str();
    let issued = token::ensure(state, &claim.device, role, &claim.scopes, now, entropy);
    if let Some((issued, true)) = &issued {
        let audit = audit(claim, "device.token.issue");
        let after = json!({"role": role, "scopes": issued.scopes});
        changes.push(Change::Save(Part::DevicesPaired));
        changes.push(audit.turning(None, Some(after)).into());
    }
    Admission {
        token: issued.map(|(issued, _)| issued),
        platform: given(&before.platform).or_else(|| given(&claim.platform)),
        device_family: given(&before.device_family).or_else(|| given(&claim.device_family)),
        hand_off: Vec::new(),
        joined: None,
        spent: None,
    }
}

/// What a device that came in with a setup code takes of it: its role, and with a pairing that the code
/// itself made the tokens of all roles it offers. A device whose hello got lost gets them again.
fn redeem(
    state: &mut State,
    claim: &ConnectClaim,
    token: &Token,
    admission: &mut Admission,
    changes: &mut Changes,
) {
    if admission.token.is_none() {
        return;
    }
    let role = claim.role.as_str();
    if claim.role == Role::Node && bootstrap::is_spent(state, token) {
        let offered = bootstrap::offer(state, token).unwrap_or_default();
        let record = own_record(state, claim);
        let others = offered.roles.iter().filter(|other| *other != role);
        for other in others.filter_map(|other| Role::parse(other)) {
            let entry = record.and_then(|record| record.tokens.get(other.as_str()));
            let own = entry.filter(|entry| {
                let scopes = scopes::family(other.as_str(), &offered.scopes);
                entry.revoked_at_ms.is_none()
                    && scopes::grants(other.as_str(), &scopes, &entry.scopes)
            });
            admission
                .hand_off
                .extend(own.map(|entry| (other, IssuedToken::of(entry))));
        }
    }
    let (spent, redeemed) = bootstrap::redeem(state, token, Some((role, &claim.scopes)));
    changes.extend(redeemed);
    admission.spent = spent.then(|| token.clone());
}

/// What a connect changes in the record: never the pins, and nothing it did not say (D14).
fn refresh_record(record: &mut DeviceRecord, claim: &ConnectClaim, now: u64) {
    if let Some(name) = given(&claim.display_name) {
        record.display_name = Some(name);
    }
    record.client_id = Some(claim.client_id.clone());
    record.client_mode = Some(claim.client_mode.clone());
    if let Some(address) = address_text(claim.reported_ip) {
        record.remote_ip = Some(address);
    }
    if claim.method == AuthMethod::DeviceToken {
        if let Some(entry) = record.tokens.get_mut(claim.role.as_str()) {
            entry.last_used_at_ms = Some(now);
        }
    }
}

pub(super) fn audit(claim: &ConnectClaim, action: &'static str) -> AuditEntry {
    let caller = Caller {
        scopes: &claim.scopes,
        device_bound: None,
        own_device: None,
        label: claim.device.to_string(),
        via: "connect".to_owned(),
        from: claim.reported_ip,
    };
    AuditEntry::by(&caller, action, claim.device.as_str())
}

#[cfg(test)]
mod tests;
