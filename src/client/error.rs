//! What can keep a client from its gateway, in the words of the person who waits for it.
//!
//! Display is the final text without "where it tried" lines; those belong to whoever knows the [`super::Endpoint`].

use std::fmt;
use std::io;
use std::time::Duration;

use crate::client::resolve_error::ResolveError;
use crate::client::ssh::{SshError, SshTarget};
use crate::client::target::UrlSource;
use crate::net::TlsFault;
use crate::pairing::waiting::OPEN_COMMAND;
use crate::protocol::error::{ErrorCode, ErrorShape};

/// A connection that did not come about, or did not do what was asked.
#[derive(Debug)]
pub enum ClientError {
    /// The gateway closed the connection.
    Closed {
        /// WebSocket close code; 1006 when the connection just broke.
        code: u16,
        /// Reason as sent, at most 123 bytes.
        reason: String,
    },
    /// The device is not approved for what it asks.
    PairingRequired(Box<PairingRefusal>),
    /// Plaintext to an address that is not this machine's.
    Plaintext {
        /// The whole URL.
        url: String,
        /// Its host.
        host: String,
        /// Who named it.
        source: UrlSource,
        /// Whether private addresses were permitted, or permitting them would not help.
        opted_in: bool,
        /// What exactly forbids it.
        why: String,
    },
    /// Something answers there and does not say what a gateway says first.
    NoChallenge {
        /// How long it was waited for.
        waited: Duration,
        /// How long it could take.
        limit: Duration,
    },
    /// What answers there is no gateway.
    NotGateway(String),
    /// The gateway refused the connect or a request.
    Rejected(Box<ErrorShape>),
    /// Nothing to connect to, or nothing to authenticate with.
    Resolve(ResolveError),
    /// The whole budget passed.
    Timeout(Duration),
    /// No TLS connection, or not to a certificate that is trusted.
    Tls {
        /// What is wrong.
        fault: TlsFault,
        /// Address and port.
        address: String,
    },
    /// No login that would lead to the gateway.
    Tunnel {
        /// Where it logs in.
        target: SshTarget,
        /// What is wrong.
        fault: SshError,
    },
    /// No connection to the address.
    Unreachable {
        /// Address and port.
        address: String,
        /// What the operating system says.
        cause: io::Error,
    },
    /// The host name has no address.
    Unresolvable {
        /// The name.
        host: String,
    },
}

/// A refusal until somebody approves.
#[derive(Debug, Clone, PartialEq)]
pub struct PairingRefusal {
    /// Full id of the pending request, when the gateway told it.
    pub request_id: Option<String>,
    /// `not-paired`, `role-upgrade`, `scope-upgrade` or `metadata-upgrade`.
    pub reason: Option<String>,
    /// The error as received.
    pub error: ErrorShape,
}

impl PairingRefusal {
    /// The command that lets the device in.
    pub fn hint(&self) -> Option<String> {
        match (&self.request_id, self.reason.as_deref()) {
            (Some(id), _) => Some(format!("Approve with: openclaw devices approve {id}")),
            (None, Some("pairing-disabled")) => {
                Some(format!("Open it on the gateway host with: {OPEN_COMMAND}"))
            }
            (None, _) => None,
        }
    }
}

impl ClientError {
    /// The error of a refused connect: pairing refusals are told apart.
    pub fn refused(error: ErrorShape) -> ClientError {
        let pairing =
            error.code == ErrorCode::NotPaired && error.detail_code() == Some("PAIRING_REQUIRED");
        if !pairing {
            return ClientError::Rejected(Box::new(error));
        }
        let detail = |name: &str| Some(error.details.as_ref()?.get(name)?.as_str()?.to_owned());
        ClientError::PairingRequired(Box::new(PairingRefusal {
            request_id: detail("requestId"),
            reason: detail("reason"),
            error,
        }))
    }

    /// `error.details.code` of a refusal, which decides how to go on.
    pub fn detail_code(&self) -> Option<&str> {
        self.shape().and_then(ErrorShape::detail_code)
    }

    /// The gateway's error object, when there is one.
    pub fn shape(&self) -> Option<&ErrorShape> {
        match self {
            ClientError::Rejected(error) => Some(error),
            ClientError::PairingRequired(refusal) => Some(&refusal.error),
            _ => None,
        }
    }

    /// Whether the gateway refused a request, so that the connection itself worked.
    pub fn is_rejection(&self) -> bool {
        self.shape().is_some()
    }

    /// Whether nothing was reached that could have answered.
    pub fn nobody_answered(&self) -> bool {
        matches!(
            self,
            ClientError::Unreachable { .. } | ClientError::Unresolvable { .. }
        )
    }

    /// The next thing to do, one command or sentence per line.
    pub fn hint(&self) -> Option<String> {
        match self {
            ClientError::PairingRequired(refusal) => refusal.hint(),
            ClientError::Tls { fault, .. } => tls_hint(fault),
            ClientError::Tunnel { target, fault } => fault.remedy(target),
            _ => None,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Closed { code, reason } if reason.is_empty() => {
                write!(out, "gateway closed ({code}): no close reason")
            }
            ClientError::Closed { code, reason } => {
                write!(out, "gateway closed ({code}): {reason}")
            }
            ClientError::NoChallenge { waited, limit } => write!(
                out,
                "gateway connect challenge timeout (waited {}ms, limit {}ms)",
                waited.as_millis(),
                limit.as_millis()
            ),
            ClientError::NotGateway(what) => write!(out, "not a gateway: {what}"),
            ClientError::PairingRequired(refusal) => {
                write!(out, "{}", refusal.error.message)?;
                match &refusal.request_id {
                    Some(id) => write!(out, " (requestId: {id})"),
                    None => Ok(()),
                }
            }
            ClientError::Plaintext {
                url,
                source,
                opted_in,
                why,
                ..
            } => {
                write!(
                    out,
                    "SECURITY ERROR: Gateway URL \"{url}\" uses plaintext ws:// to a non-loopback address.\n\
                     Reason: {why}\nSource: {source}\n\
                     Fix: use wss://, or keep the gateway on loopback and use an SSH tunnel \
                     (ssh -N -L 18789:127.0.0.1:18789 user@gateway-host)."
                )?;
                if *opted_in {
                    return Ok(());
                }
                write!(
                    out,
                    "\nBreak-glass (trusted private networks only): set OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1."
                )?;
                match source {
                    UrlSource::Join => out.write_str(
                        " Others on that network can then read along: credentials, commands and their output.",
                    ),
                    _ => Ok(()),
                }
            }
            ClientError::Rejected(error) => write!(out, "{}", rejection(error)),
            ClientError::Resolve(error) => error.fmt(out),
            ClientError::Timeout(after) => {
                write!(out, "gateway timeout after {}ms", after.as_millis())
            }
            ClientError::Tls {
                fault: TlsFault::NotTls,
                address,
            } => write!(out, "gateway not reachable: {address} does not speak TLS"),
            ClientError::Tls { fault, .. } => fault.fmt(out),
            ClientError::Tunnel { target, fault } => {
                write!(out, "gateway not reachable through ssh {target}: {fault}")
            }
            ClientError::Unreachable { address, cause } => {
                write!(
                    out,
                    "gateway not reachable: connect {} {address}",
                    cause_name(cause)
                )
            }
            ClientError::Unresolvable { host } => {
                write!(out, "gateway not reachable: {host} has no address")
            }
        }
    }
}

impl std::error::Error for ClientError {}

impl From<ResolveError> for ClientError {
    fn from(error: ResolveError) -> ClientError {
        ClientError::Resolve(error)
    }
}

/// How to get on after a failed TLS connection.
fn tls_hint(fault: &TlsFault) -> Option<String> {
    const COMPARE: &str = "Compare with `openclaw gateway fingerprint` on the gateway's host";
    match fault {
        TlsFault::BadPin { presented, .. } => Some(format!(
            "The certificate was replaced, or something else answers there.\n{COMPARE}; only if that prints the \
             presented one, pin it: --tls-fingerprint {presented} (or gateway.remote.tlsFingerprint)."
        )),
        TlsFault::Handshake(_) => None,
        TlsFault::NotTls => Some("Use ws://, or enable gateway.tls on the gateway.".to_owned()),
        TlsFault::Untrusted { presented, .. } => Some(format!(
            "{COMPARE}; if that prints the same, pin it: --tls-fingerprint {presented}"
        )),
    }
}

/// The message of a refusal; a version mismatch names both ranges.
fn rejection(error: &ErrorShape) -> String {
    let number = |name: &str| error.details.as_ref()?.get(name)?.as_u64();
    match (error.message.as_str(), number("expectedProtocol")) {
        ("protocol mismatch", Some(expected)) => format!(
            "protocol mismatch: this program speaks {} to {}, the gateway expects {expected}",
            crate::protocol::limits::MIN_PROTOCOL,
            crate::protocol::limits::MAX_PROTOCOL,
        ),
        (message, _) => message.to_owned(),
    }
}

/// The symbolic name people search for, else the system's sentence.
fn cause_name(cause: &io::Error) -> String {
    let name = match cause.kind() {
        io::ErrorKind::AddrNotAvailable => "EADDRNOTAVAIL",
        io::ErrorKind::ConnectionAborted => "ECONNABORTED",
        io::ErrorKind::ConnectionRefused => "ECONNREFUSED",
        io::ErrorKind::ConnectionReset => "ECONNRESET",
        io::ErrorKind::HostUnreachable => "EHOSTUNREACH",
        io::ErrorKind::NetworkUnreachable => "ENETUNREACH",
        io::ErrorKind::PermissionDenied => "EACCES",
        io::ErrorKind::TimedOut => "ETIMEDOUT",
        _ => return format!("({cause})"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn first_lines() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        for (error, expected) in [
            (
                ClientError::Unreachable {
                    address: "127.0.0.1:18789".to_owned(),
                    cause: refused,
                },
                "gateway not reachable: connect ECONNREFUSED 127.0.0.1:18789",
            ),
            (
                ClientError::Closed {
                    code: 1008,
                    reason: "slow consumer".to_owned(),
                },
                "gateway closed (1008): slow consumer",
            ),
            (
                ClientError::Closed {
                    code: 1006,
                    reason: String::new(),
                },
                "gateway closed (1006): no close reason",
            ),
            (
                ClientError::Timeout(Duration::from_secs(10)),
                "gateway timeout after 10000ms",
            ),
            (
                ClientError::refused(ErrorShape::invalid("unknown requestId")),
                "unknown requestId",
            ),
            (
                ClientError::refused(
                    ErrorShape::invalid("protocol mismatch")
                        .with_details(json!({"code":"PROTOCOL_MISMATCH","expectedProtocol":5})),
                ),
                "protocol mismatch: this program speaks 3 to 4, the gateway expects 5",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn pairing_refusals_carry_the_full_id_and_the_command() {
        let id = "219294ee-440b-4a7b-91a1-4a7b29e85f99";
        let error = ErrorShape::not_paired(
            "pairing required: device is asking for more scopes than currently approved",
        )
        .with_details(json!({"code":"PAIRING_REQUIRED","reason":"scope-upgrade","requestId":id}));
        let error = ClientError::refused(error);
        assert_eq!(
            error.to_string(),
            format!(
                "pairing required: device is asking for more scopes than currently approved (requestId: {id})"
            )
        );
        assert_eq!(
            error.hint(),
            Some(format!("Approve with: openclaw devices approve {id}"))
        );
        assert_eq!(error.detail_code(), Some("PAIRING_REQUIRED"));
    }

    #[test]
    fn other_not_paired_errors_are_plain_rejections() {
        let error = ErrorShape::not_paired("device identity required")
            .with_details(json!({"code":"DEVICE_IDENTITY_REQUIRED"}));
        assert!(matches!(
            ClientError::refused(error),
            ClientError::Rejected(_)
        ));
    }
}
