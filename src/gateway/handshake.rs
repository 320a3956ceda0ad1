//! From the first frame of a connection to an admitted session, or to the one right refusal.
//!
//! It owns the order of protocol.md §2.4: every step is decided elsewhere (version and schema in
//! `protocol`, credentials in `auth`, key in `proof`, membership in `pairing`), here they follow each
//! other. Steps 1 to 8 look only; from step 9 on the pairing state changes, durably, before hello-ok.

use std::sync::Arc;

use serde_json::json;

use crate::gateway::admission::{Arrival, Candidate, enter, not_invited, session};
use crate::gateway::auth::{
    AuthMethod, SharedAuth, TokenCheck, check_shared, unless_scopes_are_told,
};
use crate::gateway::auth_reason::{AuthReason, rejection};
use crate::gateway::context::{Context, Phase};
use crate::gateway::credentials::{ClientName, Credentials};
use crate::gateway::examine;
use crate::gateway::grounds::{Browser, Grounds};
use crate::gateway::limits::Claimant;
use crate::gateway::locality::{Locality, is_browser_container_local};
use crate::gateway::origin::check_origin;
use crate::gateway::proof::{DeviceClaim, ProvenDevice, check as check_proof};
use crate::gateway::refusal::{Refusal, Verdict};
use crate::gateway::rules::Rules;
use crate::gateway::session::Session;
use crate::gateway::tailscale::or_tailnet_user;
use crate::gateway::visitor::{Visitor, WithoutDevice};
use crate::identity::{DeviceId, ProofInput, Token};
use crate::net::Outbox;
use crate::pairing::State;
use crate::pairing::connect::believed_address;
use crate::pairing::invitation::{self, Visit};
use crate::pairing::token::{self, IssuedToken};
use crate::protocol::close;
use crate::protocol::connect::{ConnectParams, DeviceProof, negotiate};
use crate::protocol::error::ErrorShape;
use crate::protocol::frame::{FrameFault, parse_request};
use crate::protocol::limits::FIRST_WITH_SCOPE_MISMATCH;
use crate::protocol::scope::{Role, Scopes};

/// Milliseconds after which a client that came too early is told to try again (protocol.md §1.6).
const STARTING_RETRY_MS: u64 = 500;

/// An admitted connection before its hello.
#[derive(Debug)]
pub struct Welcome {
    /// The id of its connect request.
    pub request_id: String,
    /// The session to be.
    pub session: Session,
    /// The device token for hello-ok, if there is one.
    pub token: Option<IssuedToken>,
    /// The device tokens of further roles for hello-ok.
    pub hand_off: Vec<(Role, IssuedToken)>,
    /// The bootstrap token to discard once hello-ok was sent.
    pub spent: Option<Token>,
}

/// Judges the first frame of a connection. What it changes in the pairing state is durable and told to
/// everybody when this returns, whatever the verdict.
pub fn shake_hands(
    context: &Arc<Context>,
    arrival: &Arrival,
    outbox: &Outbox,
    text: &str,
) -> Result<Welcome, Refusal> {
    let (request_id, params) = first_frame(text)?;
    let refuse = |verdict: Verdict| verdict.refusal(&request_id);
    let candidate = judge(context, arrival, &params).map_err(refuse)?;
    let admitted = enter(context, arrival, &params, &candidate).map_err(refuse)?;
    let session = session(context, arrival, outbox, params, candidate, &admitted);
    Ok(Welcome {
        request_id,
        session,
        token: admitted.token,
        hand_off: admitted.hand_off,
        spent: admitted.spent,
    })
}

fn first_frame(text: &str) -> Result<(String, ConnectParams), Refusal> {
    let request = parse_request(text).map_err(|fault| match fault {
        FrameFault::NotJson => Refusal::silent(close::NORMAL, ""),
        FrameFault::NotRequest { .. } => {
            Refusal::silent(close::POLICY, close::INVALID_REQUEST_FRAME)
        }
    })?;
    let refuse =
        |message: String| Verdict::policy(ErrorShape::invalid(message)).refusal(&request.id);
    if request.method != "connect" {
        return Err(refuse(
            "invalid handshake: first request must be connect".to_owned(),
        ));
    }
    match ConnectParams::parse(request.params.as_ref()) {
        Ok(params) => Ok((request.id, params)),
        Err(list) => Err(refuse(format!("invalid connect params: {list}"))),
    }
}

/// Steps 1 to 8: nothing is changed.
fn judge(
    context: &Context,
    arrival: &Arrival,
    params: &ConnectParams,
) -> Result<Candidate, Verdict> {
    check_phase(context.phase())?;
    let (protocol, role) = offered(params)?;
    let client = ClientName::of(&params.client);
    let headers = &arrival.headers;
    let rules = context.rules();
    let (asks, from) = (client.needs_origin(), arrival.place.locality);
    check_origin(headers, &rules.origins, asks, from)
        .map_err(|fault| Verdict::policy(origin_error(fault.reason())))?;
    let sent = Credentials::of(&params.auth);
    let claimant = Claimant::new(
        context,
        rules.attempts,
        arrival.peer,
        &arrival.place,
        headers,
        "connect",
    );
    let shared = shared_verdict(context, arrival, &rules, &claimant, &sent);
    let locality = locality(arrival, &client, shared);
    let visitor = Visitor {
        client,
        control_ui_break_glass: context.settings.control_ui_break_glass,
        control_ui_insecure: context.settings.control_ui_insecure,
        has_origin: headers.has_origin(),
        locality,
        role,
        shared,
        shared_sent: sent.names_shared_secret(),
    };
    let proof = params.device.as_ref().filter(|_| !visitor.ignores_device());
    let mut scopes = params.scopes.clone();
    let (device, method) = match proof {
        None => {
            scopes = admit_without_device(&claimant, &visitor, params, &sent)?;
            (None, shared.unwrap_or(AuthMethod::None))
        }
        Some(proof) => {
            let device = prove(context, arrival, params, proof, role).map_err(|error| {
                examine::refused_otherwise(&claimant, shared);
                Verdict::policy(error)
            })?;
            let method = authenticate(
                context, arrival, &claimant, &device, &visitor, &sent, params,
            )?;
            (Some(device), method)
        }
    };
    examine::let_in(&claimant, method)
        .map_err(|reason| Verdict::policy(rejection(reason, &client, &sent, proof.is_some())))?;
    Ok(Candidate {
        device,
        grounds: grounds(arrival, &rules, method),
        locality,
        method,
        pairing: visitor.pairing(),
        protocol,
        role,
        scopes,
    })
}

/// The protocol version and the role of a connect.
fn offered(params: &ConnectParams) -> Result<(u8, Role), Verdict> {
    let protocol = negotiate(params.min_protocol, params.max_protocol)
        .map_err(|error| Verdict::with_close(error, close::PROTOCOL, close::PROTOCOL_MISMATCH))?;
    let role = Role::parse(params.role.as_deref().unwrap_or(Role::Operator.as_str()))
        .ok_or_else(|| Verdict::policy(ErrorShape::invalid("invalid role")))?;
    Ok((protocol, role))
}

/// What the shared secret, a trusted proxy or the tailnet says of a connection.
fn shared_verdict(
    context: &Context,
    arrival: &Arrival,
    rules: &Rules,
    claimant: &Claimant<'_>,
    sent: &Credentials,
) -> Result<AuthMethod, AuthReason> {
    let headers = &arrival.headers;
    let shared = examine::shared(claimant, &rules.auth, sent, || match &rules.auth {
        SharedAuth::TrustedProxy(proxy) => {
            proxy.check(arrival.peer, &arrival.place, headers, &rules.proxies, sent)
        }
        auth => check_shared(auth, sent),
    });
    or_tailnet_user(&context.whois, &rules.auth, arrival, sent, shared)
}

/// What a later change of the rules may take back.
fn grounds(arrival: &Arrival, rules: &Rules, method: AuthMethod) -> Grounds {
    Grounds {
        browser: Browser::of(&arrival.headers, arrival.place.locality),
        proxy: (method == AuthMethod::TrustedProxy).then_some(arrival.peer),
        secret: rules.generation().filter(|_| method.is_shared_secret()),
    }
}

fn check_phase(phase: Phase) -> Result<(), Verdict> {
    match phase {
        Phase::Ready => Ok(()),
        Phase::Starting => {
            let error = ErrorShape::unavailable("gateway starting; retry shortly")
                .with_retry(STARTING_RETRY_MS)
                .with_details(json!({"reason": "startup-sidecars"}));
            Err(Verdict::with_close(
                error,
                close::TRY_LATER,
                close::GATEWAY_STARTING,
            ))
        }
        Phase::Stopping => {
            let error = ErrorShape::unavailable("gateway stopping").with_retry(STARTING_RETRY_MS);
            Err(Verdict::with_close(
                error,
                close::RESTART,
                close::SERVICE_RESTART,
            ))
        }
    }
}

fn origin_error(reason: &str) -> ErrorShape {
    ErrorShape::invalid(
        "origin not allowed (open the Control UI from the gateway host or allow it in \
         gateway.controlUi.allowedOrigins)",
    )
    .with_details(json!({"code": "CONTROL_UI_ORIGIN_NOT_ALLOWED", "reason": reason}))
}

fn locality(
    arrival: &Arrival,
    client: &ClientName<'_>,
    shared: Result<AuthMethod, AuthReason>,
) -> Locality {
    let webchat_ui = client.id == "openclaw-control-ui" && client.mode == "webchat";
    let proven = shared.is_ok_and(AuthMethod::is_shared_secret);
    if is_browser_container_local(arrival.peer, &arrival.headers, webchat_ui, proven) {
        Locality::BrowserContainerLocal
    } else {
        arrival.place.locality
    }
}

/// Step 6; the scopes the session gets.
fn admit_without_device(
    claimant: &Claimant<'_>,
    visitor: &Visitor<'_>,
    params: &ConnectParams,
    sent: &Credentials,
) -> Result<Scopes, Verdict> {
    match visitor.without_device() {
        WithoutDevice::AllowedWithScopes => Ok(params.scopes.clone()),
        WithoutDevice::AllowedWithoutScopes => Ok(Scopes::none()),
        WithoutDevice::ControlUiNeedsDevice => {
            examine::refused_otherwise(claimant, visitor.shared);
            Err(Verdict::policy(
                ErrorShape::invalid(
                    "control ui requires device identity (use HTTPS or localhost secure context)",
                )
                .with_details(json!({"code": "CONTROL_UI_DEVICE_IDENTITY_REQUIRED"})),
            ))
        }
        WithoutDevice::CredentialsWrong(reason) => Err(Verdict::policy(rejection(
            examine::without_device(claimant, reason),
            &visitor.client,
            sent,
            false,
        ))),
        WithoutDevice::DeviceRequired => Err(Verdict::policy(
            ErrorShape::not_paired("device identity required")
                .with_details(json!({"code": "DEVICE_IDENTITY_REQUIRED"})),
        )),
    }
}

/// Step 7.
fn prove(
    context: &Context,
    arrival: &Arrival,
    params: &ConnectParams,
    proof: &DeviceProof,
    role: Role,
) -> Result<ProvenDevice, ErrorShape> {
    let scopes: Vec<String> = params.scopes.iter().map(ToString::to_string).collect();
    let claim = DeviceClaim {
        id: &proof.id,
        nonce: &proof.nonce,
        public_key: &proof.public_key,
        signature: &proof.signature,
        signed_at_ms: proof.signed_at,
    };
    let input = ProofInput {
        device_id: &proof.id,
        client_id: &params.client.id,
        client_mode: &params.client.mode,
        role: role.as_str(),
        scopes: &scopes,
        signed_at_ms: proof.signed_at,
        token: params.auth.signed_token(),
        nonce: &proof.nonce,
        platform: Some(&params.client.platform),
        device_family: params.client.device_family.as_deref(),
    };
    check_proof(&claim, &input, &arrival.nonce, context.now_ms())
}

/// Step 8, for a proven device.
fn authenticate(
    context: &Context,
    arrival: &Arrival,
    claimant: &Claimant<'_>,
    device: &ProvenDevice,
    visitor: &Visitor<'_>,
    sent: &Credentials,
    params: &ConnectParams,
) -> Result<AuthMethod, Verdict> {
    let requested = &params.scopes;
    let state = context.store.snapshot().map_err(|fault| {
        log::error!(target: "gateway", "connect refused: {fault}");
        examine::refused_otherwise(claimant, visitor.shared);
        Verdict::store_unavailable()
    })?;
    let key = device.key.encode();
    let role = visitor.role.as_str();
    let visit = Visit {
        device: &device.id,
        public_key: &key,
        role: visitor.role,
        scopes: requested,
        address: believed_address(
            arrival.place.locality,
            arrival.place.source.unwrap_or_default(),
            arrival.place.reported,
        ),
    };
    let invited = |secret: &Token| {
        invitation::verify(&state, secret.as_str(), &visit, context.now_ms())
            .map_err(|denied| not_invited(context, arrival, &device.id, &denied))
            .is_ok()
    };
    let verify = |token: &Token| look_at_token(&state, &device.id, role, token, requested);
    let record = state.devices.paired.record(device.id.as_str());
    let paired = record.map(|_| &device.id);
    let verdict = examine::with_device(claimant, paired, visitor.shared, sent, invited, verify);
    verdict.map_err(|reason| {
        let reason = known_word(reason, visitor.shared, sent, params);
        Verdict::policy(rejection(reason, &visitor.client, sent, true))
    })
}

fn look_at_token(
    state: &State,
    device: &DeviceId,
    role: &str,
    token: &Token,
    requested: &Scopes,
) -> TokenCheck {
    let token = token.as_str();
    if token::verify(state, device, role, token, requested) {
        TokenCheck::Right
    } else if token::is_too_narrow(state, device, role, token, requested) {
        TokenCheck::TooNarrow
    } else {
        TokenCheck::Wrong
    }
}

/// The reason in words that this client has.
fn known_word(
    reason: AuthReason,
    shared: Result<AuthMethod, AuthReason>,
    sent: &Credentials,
    params: &ConnectParams,
) -> AuthReason {
    // The version offered, not the one agreed: a client knows the words of the newest that it speaks.
    let knows = params.max_protocol >= u64::from(FIRST_WITH_SCOPE_MISMATCH);
    match reason {
        AuthReason::ScopeMismatch if !knows => unless_scopes_are_told(shared, sent),
        known => known,
    }
}
