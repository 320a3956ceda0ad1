//! Why the table of URLs and credentials has no answer, with the fix in the text.

use std::fmt;
use std::path::PathBuf;

use crate::client::target::{UrlFault, UrlSource};
use crate::config::redact::without_login;

/// Why there is nothing to connect to. Display is the final text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveError {
    /// An explicit URL or login without explicit credentials.
    CredentialsMissing {
        /// Who named the gateway.
        source: UrlSource,
        /// The configuration file.
        config: PathBuf,
    },
    /// A certificate pin for a connection that shows no certificate.
    PinWithoutTls {
        /// The URL.
        url: String,
        /// Who gave it.
        source: UrlSource,
    },
    /// `gateway.mode` is remote without an address.
    RemoteUrlMissing {
        /// The configuration file.
        config: PathBuf,
    },
    /// `gateway.remote.transport` is ssh, and `gateway.remote.sshTarget` names no login.
    SshTarget {
        /// What is written there, when there is anything.
        text: Option<String>,
        /// The configuration file.
        config: PathBuf,
    },
    /// The secret that would win is configured but has no value.
    SecretUnavailable {
        /// Its dotted path.
        path: &'static str,
        /// Why, a full sentence.
        why: String,
        /// The variable that comes before it.
        variable: &'static str,
    },
    /// A URL that cannot be used.
    Url {
        /// As given.
        url: String,
        /// Who gave it.
        source: UrlSource,
        /// What is wrong.
        fault: UrlFault,
    },
}

impl fmt::Display for ResolveError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResolveError::CredentialsMissing { source, config } => {
                let what = match source {
                    UrlSource::Ssh => "a gateway at the other end of --ssh",
                    _ => "gateway url override",
                };
                write!(
                    out,
                    "{what} requires explicit credentials\nFix: pass --token or --password.\nConfig: {}",
                    config.display()
                )
            }
            ResolveError::PinWithoutTls { url, source } => write!(
                out,
                "gateway tls fingerprint requires wss:// gateway url (it is {url})\nSource: {source}\n\
                 Fix: use wss://, or leave the fingerprint out."
            ),
            ResolveError::RemoteUrlMissing { config } => write!(
                out,
                "gateway remote mode misconfigured: gateway.remote.url missing\nConfig: {}\n\
                 Fix: set gateway.remote.url, or set gateway.mode=local.",
                config.display()
            ),
            ResolveError::SshTarget { text, config } => {
                match text {
                    Some(text) => {
                        write!(out, "gateway.remote.sshTarget is not an SSH target: {text}")?
                    }
                    None => out.write_str(
                        "gateway.remote.transport is ssh, but gateway.remote.sshTarget is missing",
                    )?,
                }
                write!(
                    out,
                    "\nConfig: {}\nFix: set gateway.remote.sshTarget to user@host or user@host:port, or set \
                     gateway.remote.transport=direct.",
                    config.display()
                )
            }
            ResolveError::SecretUnavailable {
                path,
                why,
                variable,
            } => write!(
                out,
                "{path} is configured as a secret reference but is unavailable in this command path.\n{why}\n\
                 Fix: make the reference resolvable, or set {variable}."
            ),
            ResolveError::Url { url, source, fault } => {
                let url = without_login(url);
                write!(
                    out,
                    "invalid gateway url \"{url}\": {fault}\nSource: {source}"
                )
            }
        }
    }
}

impl std::error::Error for ResolveError {}
