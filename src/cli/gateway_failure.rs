//! A client error together with where it was tried: the lines for people and the code for machines.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::client::{ClientError, ResolveError, UrlSource};
use crate::gateway::port_owner::elsewhere;
use crate::net::TlsFault;
use crate::net::tls_server::SPEAKS_TLS;
use crate::protocol::error::ErrorCode;

/// A client error and where it happened.
#[derive(Debug)]
pub struct GatewayFailure {
    /// What happened.
    pub error: ClientError,
    /// The target that was tried, `None` when none was found.
    pub target: Option<Target>,
    /// The process that holds the state directory although nothing answers at the target.
    pub holder: Option<u32>,
}

/// Where a command tried to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The URL.
    pub url: String,
    /// Who named it.
    pub source: UrlSource,
    /// The login it goes through.
    pub via: Option<String>,
    /// The configuration file.
    pub config: PathBuf,
    /// `gateway.bind`, for the local gateway.
    pub bind: Option<String>,
}

impl GatewayFailure {
    /// An error at a target.
    pub fn at(error: ClientError, target: &Target) -> GatewayFailure {
        GatewayFailure {
            error,
            target: Some(target.clone()),
            holder: None,
        }
    }

    /// An error before there was a target.
    pub fn nowhere(error: ClientError) -> GatewayFailure {
        GatewayFailure {
            error,
            target: None,
            holder: None,
        }
    }

    /// Whether the gateway itself could not do it just now.
    pub fn is_unavailable(&self) -> bool {
        let code = self.error.shape().map(|shape| &shape.code);
        code == Some(&ErrorCode::Unavailable)
    }

    /// Whether nobody listens where it was tried.
    pub fn is_refused(&self) -> bool {
        matches!(&self.error, ClientError::Unreachable { cause, .. }
            if cause.kind() == std::io::ErrorKind::ConnectionRefused)
    }

    pub(super) fn hint(&self) -> Option<String> {
        let held = self.holder.and_then(|pid| elsewhere(pid, None));
        held.or_else(|| self.error.hint())
            .or_else(|| self.tls_through_login())
            .or_else(|| self.remediation())
            .or_else(|| self.start_it())
            .or_else(|| self.another_answers())
    }

    /// A login leads to a port whose scheme nobody told.
    fn tls_through_login(&self) -> Option<String> {
        let target = self.target.as_ref()?;
        let ClientError::NotGateway(what) = &self.error else {
            return None;
        };
        let typed = matches!(target.source, UrlSource::Flag | UrlSource::Environment);
        let meant = target.via.is_some() && !typed && what.contains(SPEAKS_TLS);
        meant.then(|| match target.source {
            UrlSource::Remote => "This gateway speaks TLS: set gateway.remote.url to wss:// and gateway.remote.tlsFingerprint \
                 to what openclaw gateway fingerprint prints on its machine."
                .to_owned(),
            _ => "This gateway speaks TLS: add --tls-fingerprint <sha256> (openclaw gateway fingerprint on its machine)."
                .to_owned(),
        })
    }

    /// Nobody listens at the place of this machine's own gateway.
    fn start_it(&self) -> Option<String> {
        let local = self.target.as_ref()?.source == UrlSource::Local;
        (local && self.is_refused()).then(|| {
            "Start it: openclaw gateway run (or openclaw gateway install). On another machine: --url or --ssh.".to_owned()
        })
    }

    /// The gateway of this machine does not take the secret of this state directory.
    fn another_answers(&self) -> Option<String> {
        let target = self.target.as_ref()?;
        let secret = matches!(
            self.error.detail_code(),
            Some("AUTH_PASSWORD_MISMATCH" | "AUTH_TOKEN_MISMATCH")
        );
        (secret && target.source == UrlSource::Local).then(|| {
            format!(
                "This secret is not that of the gateway at {}. Another state directory's may answer there: openclaw doctor names it (port.owner).",
                target.url
            )
        })
    }

    /// What the gateway itself says is to be done.
    fn remediation(&self) -> Option<String> {
        let details = self.error.shape()?.details.as_ref()?;
        Some(details.get("remediation")?.as_str()?.to_owned())
    }

    /// Machine code and details of cli.md §1.4.
    pub(super) fn machine(&self) -> (String, Value) {
        let (code, mut details) = match &self.error {
            ClientError::Closed { code, reason } => (
                "GATEWAY_CLOSED",
                json!({"closeCode": code, "reason": reason}),
            ),
            ClientError::PairingRequired(_) | ClientError::Rejected(_) => {
                let shape = self.error.shape();
                let code = shape.map_or("UNAVAILABLE", |shape| shape.code.as_str());
                let details = shape.and_then(|shape| shape.details.as_deref().cloned());
                return (code.to_owned(), details.unwrap_or_else(|| json!({})));
            }
            ClientError::Resolve(
                ResolveError::CredentialsMissing { .. } | ResolveError::SecretUnavailable { .. },
            ) => ("CREDENTIALS_MISSING", json!({})),
            ClientError::Resolve(_) => ("CONFIG_INVALID", json!({})),
            ClientError::NoChallenge { .. } | ClientError::Timeout(_) => {
                ("GATEWAY_TIMEOUT", json!({}))
            }
            ClientError::Tls { fault, .. } => ("GATEWAY_UNREACHABLE", tls_details(fault)),
            ClientError::NotGateway(_)
            | ClientError::Plaintext { .. }
            | ClientError::Tunnel { .. }
            | ClientError::Unreachable { .. }
            | ClientError::Unresolvable { .. } => ("GATEWAY_UNREACHABLE", json!({})),
        };
        if let (Some(target), Some(details)) = (&self.target, details.as_object_mut()) {
            details.insert("url".to_owned(), json!(target.url));
            details.insert("source".to_owned(), json!(target.source.to_string()));
            if let Some(via) = &target.via {
                details.insert("via".to_owned(), json!(via));
            }
        }
        (code.to_owned(), details)
    }
}

/// The fingerprints of a certificate that is not trusted.
fn tls_details(fault: &TlsFault) -> Value {
    match fault {
        TlsFault::BadPin {
            expected,
            presented,
        } => json!({"tls": "fingerprint-mismatch", "expectedSha256": expected.to_string(),
            "presentedSha256": presented.to_string()}),
        TlsFault::Untrusted { presented, .. } => {
            json!({"tls": "untrusted", "presentedSha256": presented.to_string()})
        }
        TlsFault::NotTls => json!({"tls": "not-spoken"}),
        TlsFault::Handshake(_) => json!({"tls": "failed"}),
    }
}

impl fmt::Display for GatewayFailure {
    /// The error; after a transport failure the lines of where it tried.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(out)?;
        let transport = matches!(
            self.error,
            ClientError::Closed { .. }
                | ClientError::NotGateway(_)
                | ClientError::Timeout(_)
                | ClientError::Tls { .. }
                | ClientError::Tunnel { .. }
                | ClientError::Unreachable { .. }
                | ClientError::Unresolvable { .. }
        );
        let Some(target) = self.target.as_ref().filter(|_| transport) else {
            return Ok(());
        };
        write!(out, "\nGateway target: {}", target.url)?;
        if let Some(via) = &target.via {
            write!(out, "\nThrough: {via}")?;
        }
        let config = target.config.display();
        write!(out, "\nSource: {}\nConfig: {config}", target.source)?;
        match &target.bind {
            Some(bind) => write!(out, "\nBind: {bind}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_of_this_machine_that_is_not_there_is_one_to_start() {
        let hint = |source| {
            let target = Target {
                url: "ws://127.0.0.1:18789".to_owned(),
                source,
                via: None,
                config: PathBuf::new(),
                bind: None,
            };
            let address = "127.0.0.1:18789".to_owned();
            let cause = std::io::ErrorKind::ConnectionRefused.into();
            GatewayFailure::at(ClientError::Unreachable { address, cause }, &target).hint()
        };
        let local = hint(UrlSource::Local).unwrap();
        assert!(local.contains("openclaw gateway run"), "{local}");
        assert!(local.contains("--url or --ssh"), "{local}");
        assert_eq!(hint(UrlSource::Flag), None);
    }

    #[test]
    fn tls_at_the_other_end_of_a_login_names_the_option_that_is_missing() {
        let hint = |via: Option<&str>, source, what: &str| {
            let target = Target {
                url: "ws://127.0.0.1:18789".to_owned(),
                source,
                via: via.map(str::to_owned),
                config: PathBuf::new(),
                bind: None,
            };
            let error = ClientError::NotGateway(what.to_owned());
            GatewayFailure::at(error, &target).hint()
        };
        let tls = format!("the server refused the upgrade with HTTP 400: {SPEAKS_TLS}");
        let login = Some("ssh pi@gw");
        let typed = hint(login, UrlSource::Ssh, &tls).unwrap();
        assert!(typed.contains("--tls-fingerprint <sha256>"), "{typed}");
        let configured = hint(login, UrlSource::Remote, &tls).unwrap();
        assert!(
            configured.contains("gateway.remote.tlsFingerprint"),
            "{configured}"
        );
        assert_eq!(hint(login, UrlSource::Ssh, "HTTP 404"), None);
        assert_eq!(hint(login, UrlSource::Flag, &tls), None);
        assert_eq!(hint(None, UrlSource::Local, &tls), None);
    }
}
