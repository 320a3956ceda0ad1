//! From right credentials to membership: pairing, token and what a node asks for (protocol.md §2.4,
//! steps 10 to 12).
//!
//! The rules are `pairing`'s; here they run in one durable change, are told to everybody, and become a
//! session.

use std::net::IpAddr;
use std::sync::Arc;

use crate::gateway::apply::apply;
use crate::gateway::auth::{AuthMethod, Pairing};
use crate::gateway::auth_reason::{AuthReason, rejection};
use crate::gateway::context::Context;
use crate::gateway::credentials::{ClientName, Credentials};
use crate::gateway::grounds::Grounds;
use crate::gateway::limits::Topic;
use crate::gateway::locality::{Locality, Place, RequestHeaders};
use crate::gateway::node_claim::node_claim;
use crate::gateway::proof::ProvenDevice;
use crate::gateway::refusal::Verdict;
use crate::gateway::session::Session;
use crate::identity::{ConnId, DeviceId, Random, Token};
use crate::net::Outbox;
use crate::pairing::connect::{Admission, AdmissionPolicy, ConnectClaim, NotAdmitted, admit};
use crate::pairing::crowd::{Full, MAX_REQUEST_BYTES};
use crate::pairing::invitation::Denied;
use crate::pairing::policy::{CommandPolicy, words};
use crate::pairing::surface::{join, reconcile};
use crate::pairing::switch::Switch;
use crate::pairing::token::IssuedToken;
use crate::pairing::waiting::{PairingClosed, PairingRequired, patient};
use crate::pairing::{Change, Changes, State, node, token};
use crate::protocol::close::{self, truncate};
use crate::protocol::connect::ConnectParams;
use crate::protocol::error::ErrorShape;
use crate::protocol::limits::FIRST_WITH_PATIENCE;
use crate::protocol::scope::{Role, Scopes};
use crate::store::TransactError;

/// Bytes of the scopes of a claim in a log line; all that there are fit, and a claim may name thousands.
const MAX_SCOPES_SHOWN: usize = 256;

/// What is known about a connection before its first frame.
#[derive(Debug)]
pub struct Arrival {
    /// Its id.
    pub conn: ConnId,
    /// The nonce it was challenged with.
    pub nonce: String,
    /// The request head, as far as it matters.
    pub headers: RequestHeaders,
    /// The raw address of the socket.
    pub peer: IpAddr,
    /// What address and headers say together.
    pub place: Place,
}

/// A connection whose credentials and key are right; whether it belongs here is still open.
#[derive(Debug)]
pub struct Candidate {
    /// The proven device, if there is one.
    pub device: Option<ProvenDevice>,
    /// What of the rules it was judged by lets it in.
    pub grounds: Grounds,
    /// Where it comes from.
    pub locality: Locality,
    /// How its credentials were accepted.
    pub method: AuthMethod,
    /// Whether it must be paired.
    pub pairing: Pairing,
    /// Negotiated version.
    pub protocol: u8,
    /// Its role.
    pub role: Role,
    /// The scopes it will be authorized with.
    pub scopes: Scopes,
}

/// What a connection is when it comes in.
#[derive(Debug)]
pub struct Admitted {
    /// Family of the session: the pinned one where there is one.
    pub device_family: Option<String>,
    /// Platform of the session: the pinned one where there is one.
    pub platform: String,
    /// The token for hello-ok.
    pub token: Option<IssuedToken>,
    /// The tokens of further roles for hello-ok.
    pub hand_off: Vec<(Role, IssuedToken)>,
    /// The bootstrap token to discard once hello-ok was sent.
    pub spent: Option<Token>,
}

/// Decides about membership. What it changed is durable and told to everybody when this returns,
/// whatever the verdict.
pub fn enter(
    context: &Arc<Context>,
    arrival: &Arrival,
    params: &ConnectParams,
    candidate: &Candidate,
) -> Result<Admitted, Verdict> {
    let Some(device) = &candidate.device else {
        return Ok(Admitted {
            token: None,
            platform: params.client.platform.clone(),
            device_family: params.client.device_family.clone(),
            hand_off: Vec::new(),
            spent: None,
        });
    };
    let claim = connect_claim(arrival, params, candidate, device);
    let policy = context.rules().admission.clone();
    let commands = context.command_policy();
    let sent = Credentials::of(&params.auth);
    let (admitted, changes) = context
        .store
        .transact(|state, now| {
            // A rotation decided since the credentials were looked at counts.
            match stale_credential(state, candidate, &claim, &sent) {
                Some(stale) => Err(stale),
                None => Ok(take_in(state, &claim, params, &policy, &commands, now)),
            }
        })
        .map_err(|error| match error {
            TransactError::Refused(reason) => {
                let client = ClientName::of(&params.client);
                Verdict::policy(rejection(reason, &client, &sent, true))
            }
            TransactError::Store(fault) => {
                log::error!(target: "gateway", "connect refused: {fault}");
                Verdict::store_unavailable()
            }
        })?;
    log_decision(context, arrival, candidate, &claim, &admitted, &changes);
    apply(context, changes, None);
    let admission = admitted.map_err(|reason| {
        if let NotAdmitted::NotInvited(denied) = &reason {
            not_invited(context, arrival, &claim.device, denied);
        }
        not_admitted(reason, params, candidate, &sent)
    })?;
    Ok(Admitted {
        hand_off: admission.hand_off,
        spent: admission.spent,
        token: admission.token,
        platform: admission
            .platform
            .unwrap_or_else(|| params.client.platform.clone()),
        device_family: admission.device_family,
    })
}

/// Asks for membership and, for a node that has it, for its commands.
fn take_in(
    state: &mut State,
    claim: &ConnectClaim,
    params: &ConnectParams,
    policy: &AdmissionPolicy,
    commands: &CommandPolicy,
    now: u64,
) -> (Result<Admission, NotAdmitted>, Changes) {
    let (verdict, mut changes) = admit(state, claim, policy, now, &mut Random);
    if let (Ok(admission), Role::Node) = (&verdict, claim.role) {
        let node = node_claim(claim, params, admission);
        if let Some(by) = &admission.joined {
            changes.extend(join(state, &node, by, commands, now, &mut Random));
        }
        if Switch::of(state, policy.pairing_enabled).is_open(now) {
            changes.extend(reconcile(state, &node, commands, now, &mut Random).1);
        }
        let instance = params.client.instance_id.as_deref();
        changes.extend(node::connected(state, &node.node, instance, now));
    }
    (verdict, changes)
}

/// How a connection is told that it does not belong here.
fn not_admitted(
    reason: NotAdmitted,
    params: &ConnectParams,
    candidate: &Candidate,
    sent: &Credentials,
) -> Verdict {
    match reason {
        // Somebody was faster, or it expired, since the credentials were looked at.
        NotAdmitted::NotInvited(_) => {
            let client = ClientName::of(&params.client);
            let reason = AuthReason::BootstrapTokenInvalid;
            Verdict::policy(rejection(reason, &client, sent, true))
        }
        NotAdmitted::RecordUnreadable => Verdict::store_unavailable(),
        NotAdmitted::Crowded(full) => crowded(&full),
        NotAdmitted::RequestTooLong => Verdict::policy(ErrorShape::invalid(format!(
            "names, scopes and metadata of a device that is not paired have at most {MAX_REQUEST_BYTES} bytes"
        ))),
        NotAdmitted::PairingClosed(refused) => nobody_may_ask(&refused, candidate),
        NotAdmitted::PairingRequired(waiting) => waits(&waiting, candidate),
    }
}

/// Why the device token that this connection came with does not hold any more.
fn stale_credential(
    state: &State,
    candidate: &Candidate,
    claim: &ConnectClaim,
    sent: &Credentials,
) -> Option<AuthReason> {
    let role = claim.role.as_str();
    let holds =
        |token: &Token| token::verify(state, &claim.device, role, token.as_str(), &claim.scopes);
    let by_token = candidate.method == AuthMethod::DeviceToken;
    (by_token && !sent.device_token_candidate().is_some_and(holds))
        .then_some(AuthReason::DeviceTokenMismatch)
}

fn connect_claim(
    arrival: &Arrival,
    params: &ConnectParams,
    candidate: &Candidate,
    device: &ProvenDevice,
) -> ConnectClaim {
    let client = ClientName::of(&params.client);
    ConnectClaim {
        device: device.id.clone(),
        public_key: device.key.encode(),
        role: candidate.role,
        scopes: candidate.scopes.clone(),
        platform: Some(params.client.platform.clone()),
        device_family: params.client.device_family.clone(),
        display_name: params.client.display_name.clone(),
        client_id: params.client.id.clone(),
        client_mode: params.client.mode.clone(),
        reported_ip: arrival.place.reported,
        reported_by: arrival.place.source.unwrap_or_default(),
        locality: candidate.locality,
        has_origin: arrival.headers.has_origin(),
        browser_client: client.is_control_ui() || client.is_webchat(),
        method: candidate.method,
        invitation: Credentials::of(&params.auth)
            .bootstrap_token
            .filter(|_| candidate.method == AuthMethod::BootstrapToken),
        pairing: candidate.pairing,
    }
}

/// Whether this peer is told that it may go on trying: a node waits for its approval, a person at a
/// command line is told at once.
fn is_patient(candidate: &Candidate) -> bool {
    candidate.role == Role::Node && candidate.protocol >= FIRST_WITH_PATIENCE
}

/// Not `PAIRING_REQUIRED`: a client must come again by itself, there is no request that somebody approves.
fn crowded(full: &Full) -> Verdict {
    Verdict::with_close(
        ErrorShape::unavailable(full.message())
            .with_retry(full.retry_after_ms)
            .with_details(full.details()),
        close::TRY_LATER,
        "too many pairing requests wait",
    )
}

fn nobody_may_ask(refused: &PairingClosed, candidate: &Candidate) -> Verdict {
    let details = if is_patient(candidate) {
        patient(refused.details())
    } else {
        refused.details()
    };
    Verdict::with_close(
        ErrorShape::not_paired(PairingClosed::MESSAGE).with_details(details),
        close::POLICY,
        refused.close_reason(),
    )
}

fn waits(waiting: &PairingRequired, candidate: &Candidate) -> Verdict {
    let details = if is_patient(candidate) {
        patient(waiting.details())
    } else {
        waiting.details()
    };
    Verdict::with_close(
        ErrorShape::not_paired(waiting.message()).with_details(details),
        close::POLICY,
        waiting.close_reason(),
    )
}

/// Says precisely why an invitation was refused: in the log always, in the trail when the invitation
/// exists, so that guessing does not fill it. The peer is told none of it.
pub fn not_invited(context: &Context, arrival: &Arrival, device: &DeviceId, denied: &Denied) {
    let from = arrival.place.reported;
    let name = denied.invitation.as_deref();
    let may_write = |topic| context.chatter.allows(topic, &context.timer);
    if may_write(Topic::Pairing) {
        log::warn!(
            target: "gateway",
            "security audit: invitation refused invitation={} device={device} ip={} conn={}: {}",
            name.unwrap_or("-"),
            from.map_or_else(|| "-".to_owned(), |address| address.to_string()),
            arrival.conn,
            denied.why,
        );
    }
    if let Some(entry) = denied
        .audit(device, from)
        .filter(|_| may_write(Topic::InvitationAudit))
    {
        context.store.audit(&entry);
    }
}

/// The audit lines of cli.md §5.4 on the console; of those that a device can cause again and again, a few.
fn log_decision(
    context: &Context,
    arrival: &Arrival,
    candidate: &Candidate,
    claim: &ConnectClaim,
    verdict: &Result<Admission, NotAdmitted>,
    changes: &Changes,
) {
    if verdict.is_err() && !context.chatter.allows(Topic::Pairing, &context.timer) {
        return;
    }
    if let Err(NotAdmitted::PairingRequired(waiting)) = verdict {
        log::warn!(
            target: "gateway",
            "security audit: device access upgrade requested reason={} device={} ip={} auth={} \
             roleFrom={} roleTo={} scopesFrom={} scopesTo={} client={} conn={} request={}",
            waiting.reason.as_str(),
            claim.device,
            claim.reported_ip.map_or_else(|| "-".to_owned(), |address| address.to_string()),
            candidate.method.as_str(),
            or_dash(waiting.approved_roles.join(",")),
            claim.role,
            or_dash(waiting.approved_scopes.join(",")),
            or_dash(truncate(&claim.scopes.join(","), MAX_SCOPES_SHOWN).to_owned()),
            claim.client_id,
            arrival.conn,
            waiting.request_id,
        );
    } else if let Err(NotAdmitted::PairingClosed(_)) = verdict {
        log::info!(
            target: "gateway",
            "pairing is closed: refused device={} role={} conn={}",
            claim.device, claim.role, arrival.conn
        );
    } else if verdict.is_ok() && approves(changes) {
        log::info!(
            target: "gateway",
            "device pairing auto-approved device={} role={}", claim.device, claim.role
        );
    }
}

fn approves(changes: &Changes) -> bool {
    changes.iter().any(|change| {
        matches!(change, Change::Emit { event: "device.pair.resolved", payload }
            if payload["decision"] == "approved")
    })
}

fn or_dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

/// The session of an admitted connection.
pub fn session(
    context: &Context,
    arrival: &Arrival,
    outbox: &Outbox,
    params: ConnectParams,
    candidate: Candidate,
    admitted: &Admitted,
) -> Session {
    Session {
        auth: candidate.method,
        caps: params.caps,
        client: params.client,
        conn: arrival.conn.clone(),
        connected_at_ms: context.now_ms(),
        declared: words(&params.commands),
        device: candidate.device.map(|device| device.id),
        device_family: admitted.device_family.clone(),
        grounds: candidate.grounds,
        locality: candidate.locality,
        outbox: outbox.clone(),
        path_env: params.path_env,
        permissions: params.permissions,
        platform: admitted.platform.clone(),
        protocol: candidate.protocol,
        reported_ip: arrival.place.reported,
        role: candidate.role,
        scopes: candidate.scopes,
        unauthorized: Default::default(),
    }
}

/// Whether what admitted a session still holds. A removal or rotation that was decided while the
/// session was on its way found nothing to end, so this is asked once the session can be found.
pub fn still_admitted(
    state: &State,
    welcome_token: Option<&IssuedToken>,
    session: &Session,
) -> bool {
    match (&session.device, welcome_token) {
        (Some(device), Some(issued)) => token::verify(
            state,
            device,
            session.role.as_str(),
            issued.token.as_str(),
            &Scopes::none(),
        ),
        _ => true,
    }
}
