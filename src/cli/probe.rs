//! A look at the gateway that leaves no trace: it makes no device key, no pairing and no request, so `status`
//! commands can always take it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::error::{CliError, GatewayFailure};
use crate::cli::reach::target;
use crate::client::credentials::Credentials;
use crate::client::identity::full_operator;
use crate::client::{
    Budget, ClientError, ConnectIdentity, Connector, Device, DeviceTokens, Endpoint, Session,
    TokenKeeper, connect_without_device,
};
use crate::config::{Loaded, Paths};
use crate::identity::DeviceKey;
use crate::protocol::close;
use crate::protocol::scope::{Role, Scope, Scopes};
use crate::store::{StateDir, load_key};

/// What a command line can do at a gateway, as far as a probe tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Everything.
    Admin,
    /// Connected, but without any scope.
    None,
    /// It has to be approved first.
    PairingPending,
    /// Reading only.
    Read,
    /// It did not get that far.
    Unknown,
    /// Reading and running commands on nodes.
    Write,
}

impl Capability {
    fn of(scopes: &Scopes) -> Capability {
        if scopes.contains(&Scope::ADMIN) {
            Capability::Admin
        } else if scopes.allows(&Scope::WRITE) {
            Capability::Write
        } else if scopes.allows(&Scope::READ) {
            Capability::Read
        } else {
            Capability::None
        }
    }

    /// The word in JSON; text uses dashes.
    pub fn as_str(self) -> &'static str {
        match self {
            Capability::Admin => "admin_capable",
            Capability::None => "connected_no_operator_scope",
            Capability::PairingPending => "pairing_pending",
            Capability::Read => "read_only",
            Capability::Unknown => "unknown",
            Capability::Write => "write_capable",
        }
    }
}

/// What a probe found.
pub struct Finding {
    /// The session, when there is one.
    pub session: Option<Session>,
    /// Why there is none.
    pub error: Option<CliError>,
    /// Whether a gateway answered at all, even if it refused.
    pub reachable: bool,
    /// How long the connect took, in milliseconds.
    pub latency_ms: u64,
    /// What can be done there.
    pub capability: Capability,
    /// Role and scopes of the session.
    pub auth: Value,
}

/// Connects without leaving a trace.
///
/// With the shared secret of a gateway that sees it come from its own machine it connects without a device and with
/// every scope; with a cached device token as that device; else without a device and without scopes.
pub fn probe(
    endpoint: &Endpoint,
    paths: &Paths,
    loaded: &Loaded,
    opt_in: bool,
    budget: &Budget,
) -> Finding {
    let started = Instant::now();
    let outcome = connect(endpoint, paths, opt_in, budget);
    let latency_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Ok((session, scopes)) => Finding {
            session: Some(session),
            error: None,
            reachable: true,
            latency_ms,
            capability: Capability::of(&scopes),
            auth: json!({"role": "operator", "scopes": scopes, "capability": Capability::of(&scopes).as_str()}),
        },
        Err(error) => {
            let capability = match &error {
                ClientError::PairingRequired(_) => Capability::PairingPending,
                error if is_nameless(error) => Capability::None,
                _ => Capability::Unknown,
            };
            Finding {
                session: None,
                reachable: error.is_rejection(),
                error: Some(GatewayFailure::at(error, &target(endpoint, paths, loaded)).into()),
                latency_ms,
                capability,
                auth: Value::Null,
            }
        }
    }
}

/// The gateway answered, and wants to know the device before anything else.
fn is_nameless(error: &ClientError) -> bool {
    error.detail_code() == Some("DEVICE_IDENTITY_REQUIRED")
}

fn connect(
    endpoint: &Endpoint,
    paths: &Paths,
    plaintext_opt_in: bool,
    budget: &Budget,
) -> Result<(Session, Scopes), ClientError> {
    if endpoint.arrives_at_home() && endpoint.credentials.any() {
        let identity = ConnectIdentity::command_line(full_operator());
        let session = connect_without_device(endpoint, &identity, plaintext_opt_in, budget)?;
        return Ok((session, identity.scopes));
    }
    if let Some((key, tokens)) = &known_device(endpoint, paths) {
        if let Some(stored) = tokens.load(Role::Operator) {
            // The token alone: with a secret beside it, a device that is paired no more would ask anew.
            let alone = Endpoint {
                credentials: Credentials::default(),
                ..endpoint.clone()
            };
            let connector = Connector {
                endpoint: &alone,
                identity: &ConnectIdentity::command_line(stored.scopes.clone()),
                device: Some(Device { key, tokens }),
                plaintext_opt_in,
            };
            match connector.connect(budget) {
                Ok(session) => return Ok((session, stored.scopes)),
                Err(error) if error.is_rejection() && endpoint.credentials.any() => {}
                Err(error) => return Err(error),
            }
        }
    }
    let connector = Connector {
        endpoint,
        identity: &ConnectIdentity::probe(Scopes::none()),
        device: None,
        plaintext_opt_in,
    };
    Ok((connector.connect(budget)?, Scopes::none()))
}

/// The device of this state directory, if it has one.
fn known_device(endpoint: &Endpoint, paths: &Paths) -> Option<(DeviceKey, DeviceTokens)> {
    if !paths.state_dir.is_dir() {
        return None;
    }
    let dir = StateDir::open(&paths.state_dir).ok()?;
    let key = load_key(&dir).ok()??;
    let tokens = DeviceTokens::new(dir, key.device_id(), endpoint);
    Some((key, tokens))
}

impl Finding {
    /// Asks for something through the session of the probe.
    ///
    /// # Errors
    /// The error of the probe, or the gateway's.
    pub fn ask(&mut self, method: &str, budget: Duration) -> Result<Value, String> {
        let Some(session) = &mut self.session else {
            return Err(self.message().unwrap_or_default());
        };
        let answer = session.request(method, &json!({}), &Budget::new(budget));
        answer.map_err(|error| error.to_string())
    }

    /// Whether the gateway answered and only wants to know the device before it lets anybody read.
    pub fn is_nameless(&self) -> bool {
        self.capability == Capability::None && self.session.is_none()
    }

    /// How the gateway closed the connection: code and reason.
    pub fn close(&self) -> Option<(u16, String)> {
        let Some(CliError::Client(failure)) = &self.error else {
            return None;
        };
        match &failure.error {
            ClientError::Closed { code, reason } => Some((*code, reason.clone())),
            ClientError::PairingRequired(_) | ClientError::Rejected(_) => {
                let shape = failure.error.shape()?;
                Some((close::POLICY, shape.message.clone()))
            }
            _ => None,
        }
    }

    /// The first line of what went wrong.
    pub fn message(&self) -> Option<String> {
        let text = self.error.as_ref()?.to_string();
        text.lines().next().map(str::to_owned)
    }

    /// What the gateway says in hello-ok about being found: `{state, reason?, instance?, mode?}`; `Null` where it
    /// says nothing.
    pub fn discovery(&self) -> Value {
        let hello = self.session.as_ref().map(Session::hello_payload);
        let said = hello.and_then(|hello| hello.pointer("/snapshot/health/discovery"));
        said.cloned().unwrap_or_default()
    }

    /// The gateway's row about itself in the snapshot of hello-ok.
    pub fn gateway_itself(&self) -> Value {
        let snapshot = self
            .session
            .as_ref()
            .and_then(|session| session.hello_payload().get("snapshot"));
        let rows = snapshot
            .and_then(|snapshot| snapshot.get("presence"))
            .and_then(Value::as_array);
        let own = rows
            .into_iter()
            .flatten()
            .find(|row| row.get("reason") == Some(&json!("self")));
        let Some(own) = own else { return Value::Null };
        let part = |name: &str| own.get(name).cloned().unwrap_or_default();
        json!({"host": part("host"), "ip": part("ip"), "version": part("version"), "platform": part("platform")})
    }
}
