//! TLS of the gateway's port: which certificate it starts with, or why it does not start (cli.md §3.3,
//! §5.1 point 8). There is no way back to plaintext from here.

use std::fmt;

use rustls::pki_types::PrivateKeyDer;

use crate::gateway::host;
use crate::gateway::start_error::REFUSED;
use crate::net::{ServerTls, ServerTlsError};
use crate::store::StoreError;
use crate::store::tls_files::{OwnCertificate, TlsFileError, TlsPaths};

/// What `gateway.tls` asks for when it is enabled.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// Make a certificate when there is none.
    pub auto_generate: bool,
    /// Where certificate and key stand.
    pub paths: TlsPaths,
}

/// Why a gateway that has to speak TLS does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsError {
    /// The files are not there or hold nothing usable.
    Files(TlsFileError),
    /// Certificate and key are there and do not work together.
    Pair {
        /// Where they are.
        paths: Box<TlsPaths>,
        /// What is wrong.
        fault: ServerTlsError,
    },
}

impl TlsError {
    /// [`REFUSED`], or 1 for a disk that may have room later.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Files(TlsFileError::Store(StoreError::Unwritable { .. })) => 1,
            _ => REFUSED,
        }
    }
}

/// Loads the certificate, making it first where there is none and that is wanted. The caller holds the
/// lock of the state directory.
pub fn prepare(settings: &TlsSettings, now_ms: u64) -> Result<ServerTls, TlsError> {
    let paths = &settings.paths;
    let pair = match paths.pair() {
        Err(TlsFileError::Missing(_)) if settings.auto_generate => {
            paths.generate(&host::name(), now_ms)?;
            log::info!(
                target: "gateway",
                "gateway tls: generated a self-signed certificate: {}",
                paths.certificate.display()
            );
            paths.pair()
        }
        pair => pair,
    };
    let (certificate, key) = pair?;
    if certificate.has_expired(now_ms) {
        let end = certificate.not_after.as_deref().unwrap_or_default();
        log::warn!(
            target: "gateway",
            "gateway tls: the certificate {} has expired ({end}); only clients that pin it connect",
            paths.certificate.display()
        );
    }
    let tls = together(paths, certificate, key)?;
    log::info!(target: "gateway", "gateway tls: certificate fingerprint {}", tls.fingerprint());
    Ok(tls)
}

/// Whether [`prepare`] would find what it needs; nothing is made. For a gateway that runs and is to start
/// anew with these settings.
pub fn check(settings: &TlsSettings) -> Result<(), TlsError> {
    match settings.paths.pair() {
        Err(TlsFileError::Missing(_)) if settings.auto_generate => Ok(()),
        Err(error) => Err(error.into()),
        Ok((certificate, key)) => together(&settings.paths, certificate, key).map(drop),
    }
}

fn together(
    paths: &TlsPaths,
    certificate: OwnCertificate,
    key: PrivateKeyDer<'static>,
) -> Result<ServerTls, TlsError> {
    ServerTls::new(certificate.chain, key).map_err(|fault| TlsError::Pair {
        paths: Box::new(paths.clone()),
        fault,
    })
}

impl From<TlsFileError> for TlsError {
    fn from(error: TlsFileError) -> Self {
        Self::Files(error)
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(error) => error.fmt(formatter),
            Self::Pair {
                paths,
                fault: ServerTlsError::KeyMismatch,
            } => write!(
                formatter,
                "gateway tls: the key {} does not belong to the certificate {}. Put the right pair there, \
                 or correct gateway.tls",
                paths.key.display(),
                paths.certificate.display()
            ),
            Self::Pair { paths, fault } => write!(
                formatter,
                "gateway tls: {} and {} cannot be used: {fault}. Put another pair there, or correct gateway.tls",
                paths.certificate.display(),
                paths.key.display()
            ),
        }
    }
}

impl std::error::Error for TlsError {}
