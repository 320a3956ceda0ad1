//! `gateway fingerprint`, and the same facts for `gateway status`: what the gateway of this machine shows to
//! whoever connects.

use serde_json::{Map, Value, json};

use crate::cli::answer::Answer;
use crate::cli::error::{CliError, Failed};
use crate::cli::invocation::Invocation;
use crate::config::{Loaded, Paths};
use crate::store::tls_files::{OwnCertificate, TlsFileError, TlsPaths};
use crate::store::{Clock, SystemClock};

/// What there is to say about TLS of the local gateway.
pub struct TlsPart {
    paths: TlsPaths,
    /// The gateway makes a certificate when there is none.
    auto_generate: bool,
    /// `None` while TLS is off.
    certificate: Option<Result<OwnCertificate, TlsFileError>>,
}

impl TlsPart {
    /// Looks at configuration and certificate; the key is not touched.
    pub fn look(paths: &Paths, loaded: &Loaded) -> TlsPart {
        let tls = &loaded.config.gateway.tls;
        let paths = tls.files(&paths.state_dir);
        TlsPart {
            certificate: tls.enabled.then(|| paths.certificate()),
            auto_generate: tls.auto_generate,
            paths,
        }
    }

    /// The sentence for a person who looks; a gateway that starts would make what is missing.
    fn explain(&self, error: &TlsFileError) -> String {
        match error {
            TlsFileError::Missing(paths) if self.auto_generate => format!(
                "There is no certificate yet: {} does not exist. `openclaw gateway run` makes one when it starts.",
                paths.certificate.display()
            ),
            error => error.to_string(),
        }
    }

    fn own(&self) -> Result<&OwnCertificate, CliError> {
        let mut failed = match &self.certificate {
            Some(Ok(own)) => return Ok(own),
            Some(Err(error)) => Failed::new("UNAVAILABLE", self.explain(error)),
            None => Failed::new(
                "UNAVAILABLE",
                "TLS is off on this gateway, so it shows no certificate.",
            ),
        };
        if self.certificate.is_none() {
            let hint = "Turn it on: openclaw config set gateway.tls.enabled true";
            failed.hint = Some(hint.to_owned());
        }
        Err(failed.into())
    }

    /// `{enabled, certPath?, fingerprintSha256?, notAfter?, expired?, error?}`.
    pub fn document(&self) -> Value {
        let mut out = Map::new();
        out.insert("enabled".to_owned(), json!(self.certificate.is_some()));
        if let Some(certificate) = &self.certificate {
            out.insert("certPath".to_owned(), json!(self.paths.certificate));
            match certificate {
                Ok(own) => {
                    let fingerprint = own.fingerprint.to_string();
                    out.insert("fingerprintSha256".to_owned(), json!(fingerprint));
                    out.insert("notAfter".to_owned(), json!(own.not_after));
                    out.insert("expired".to_owned(), json!(expired(own)));
                }
                Err(error) => {
                    out.insert("error".to_owned(), json!(self.explain(error)));
                }
            }
        }
        Value::Object(out)
    }

    /// The lines of `gateway status`; none while TLS is off.
    pub fn text(&self) -> String {
        match &self.certificate {
            None => String::new(),
            Some(Err(error)) => format!("TLS: on\n  {}\n", self.explain(error)),
            Some(Ok(own)) => {
                let path = self.paths.certificate.display();
                let end = own.not_after.as_deref().unwrap_or("unknown");
                let note = if expired(own) { ", expired" } else { "" };
                format!(
                    "TLS: on, certificate {path} (until {end}{note})\nTLS fingerprint (SHA-256): {}\n",
                    own.fingerprint
                )
            }
        }
    }
}

/// Prints the fingerprint of the local gateway's certificate, the value that clients pin.
///
/// # Errors
/// TLS is off; there is no certificate yet; it cannot be read.
pub fn fingerprint(invocation: &Invocation) -> Result<Answer, CliError> {
    let paths = invocation.paths()?;
    let loaded = invocation.load(&paths)?;
    let part = TlsPart::look(&paths, &loaded);
    let own = part.own()?;
    Ok(Answer::new(part.document(), own.fingerprint.to_string()))
}

/// The certificate that the gateway of this machine shows.
///
/// # Errors
/// As [`fingerprint`].
pub fn own_certificate(paths: &Paths, loaded: &Loaded) -> Result<OwnCertificate, CliError> {
    TlsPart::look(paths, loaded).own().cloned()
}

fn expired(own: &OwnCertificate) -> bool {
    own.has_expired(SystemClock.now_ms())
}
