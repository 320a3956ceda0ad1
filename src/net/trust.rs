//! The connecting end of TLS: whom it trusts, and connecting to nobody else.
//!
//! The judgement falls inside the handshake, before the first byte of the program is sent. A pin replaces
//! every other rule; without one the authorities of the machine, the host name and the dates decide.

use std::{
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Instant,
};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{
        CryptoProvider, ring::default_provider, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    version::{TLS12, TLS13},
};

use crate::{
    identity::Fingerprint,
    net::{
        error::NetError,
        stream::Stream,
        tls::{ShakeFault, TlsStream},
    },
};

/// Where systems keep the certificates of the authorities they trust, as one PEM file.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// Whom a client trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Whoever a trusted authority vouches for: the machine's list, or that of this file instead.
    Authorities(Option<PathBuf>),
    /// The certificate with this fingerprint, whatever else it says.
    Pin(Fingerprint),
}

/// Why TLS did not come about, for the person at this end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The pin names another certificate.
    BadPin {
        /// What was pinned.
        expected: Fingerprint,
        /// What the other end has.
        presented: Fingerprint,
    },
    /// The two ends found no common ground; the library's words.
    Handshake(String),
    /// What answered does not speak TLS.
    NotTls,
    /// No reason to trust the certificate.
    Untrusted {
        /// What the other end has.
        presented: Fingerprint,
        /// What is wrong with it, as in "the certificate is expired".
        why: String,
    },
}

/// The certificate that was looked at before anybody trusts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// Which one it is.
    pub fingerprint: Fingerprint,
    /// Why no authority of this machine vouches for it under the host's name, as in "has expired"; `None` when one does.
    pub complaint: Option<String>,
}

/// Makes a connected plain stream a TLS stream, its handshake done and its certificate trusted.
/// `host` is the name or address that was asked for.
pub fn secure(
    stream: Stream,
    trust: &Trust,
    host: &str,
    deadline: Instant,
) -> Result<Stream, NetError> {
    let Stream::Plain(socket) = stream else {
        return Ok(stream);
    };
    let name = server_name(host, trust)?;
    let verifier = Arc::new(Verifier::new(trust)?);
    let secured = shake_hands(socket, &verifier, name, host, deadline)?;
    Ok(Stream::Tls(Box::new(secured)))
}

/// Looks at the certificate of the other end and goes: nothing of the program is sent. Whoever shows a certificate
/// here has not proved yet that it is theirs; only a later [`secure`] under its pin does. `authorities` as in
/// [`Trust::Authorities`].
///
/// # Errors
/// No TLS, or none that shows a certificate.
pub fn look(
    socket: Arc<TcpStream>,
    authorities: Option<PathBuf>,
    host: &str,
    deadline: Instant,
) -> Result<Presented, NetError> {
    let verifier = Arc::new(Verifier::new(&Trust::Authorities(authorities))?);
    let name = any_name(host);
    match shake_hands(socket, &verifier, name, host, deadline) {
        Ok(_) => {}
        Err(NetError::Tls(TlsFault::Untrusted { presented, why })) => {
            return Ok(Presented {
                fingerprint: presented,
                complaint: Some(why),
            });
        }
        Err(fault) => return Err(fault),
    }
    let none = || NetError::Tls(TlsFault::Handshake("it shows no certificate".to_owned()));
    let fingerprint = verifier.presented.get().copied().ok_or_else(none)?;
    Ok(Presented {
        fingerprint,
        complaint: None,
    })
}

fn shake_hands(
    socket: Arc<TcpStream>,
    verifier: &Arc<Verifier>,
    name: ServerName<'static>,
    host: &str,
    deadline: Instant,
) -> Result<TlsStream, NetError> {
    let unusable = |error: Error| NetError::Tls(TlsFault::Handshake(error.to_string()));
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&verifier.provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(verifier) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    // A resumed session would not be judged.
    config.resumption = Resumption::disabled();
    let session = ClientConnection::new(Arc::new(config), name).map_err(unusable)?;
    let mut stream = TlsStream::new(socket, session);
    match stream.shake_hands(deadline, None) {
        Ok(()) => Ok(stream),
        Err(ShakeFault::Head(fault)) => Err(fault.into()),
        Err(ShakeFault::Tls(fault)) => Err(NetError::Tls(verifier.explain(fault, host))),
    }
}

/// The name that is asked for and that the certificate must be valid for. Under a pin the name does not
/// matter, so one that TLS cannot express is left out.
fn server_name(host: &str, trust: &Trust) -> Result<ServerName<'static>, NetError> {
    match (ServerName::try_from(host.to_owned()), trust) {
        (Ok(name), _) => Ok(name),
        (Err(_), Trust::Pin(_)) => Ok(any_name(host)),
        (Err(_), Trust::Authorities(_)) => Err(NetError::Tls(TlsFault::Handshake(format!(
            "{host} is not a name that a certificate can have"
        )))),
    }
}

/// The same where another rule than the name decides.
fn any_name(host: &str) -> ServerName<'static> {
    let nobody = || IpAddr::V4(Ipv4Addr::UNSPECIFIED).into();
    ServerName::try_from(host.to_owned()).unwrap_or_else(|_| nobody())
}

/// Judges the certificate of one connection and remembers which one it was.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    rule: Rule,
    presented: OnceLock<Fingerprint>,
}

#[derive(Debug)]
enum Rule {
    Authorities(Arc<WebPkiServerVerifier>),
    /// This machine trusts nobody.
    Nobody,
    Pin(Fingerprint),
}

impl Verifier {
    fn new(trust: &Trust) -> Result<Verifier, NetError> {
        let provider = Arc::new(default_provider());
        let rule = match trust {
            Trust::Pin(expected) => Rule::Pin(*expected),
            Trust::Authorities(file) => {
                let roots = authorities(file.as_deref())?;
                let built = WebPkiServerVerifier::builder_with_provider(
                    Arc::new(roots),
                    Arc::clone(&provider),
                )
                .build();
                built.map_or(Rule::Nobody, Rule::Authorities)
            }
        };
        Ok(Verifier {
            provider,
            rule,
            presented: OnceLock::new(),
        })
    }

    /// What a failed handshake means.
    fn explain(&self, fault: Error, host: &str) -> TlsFault {
        match (fault, self.presented.get().copied(), &self.rule) {
            (Error::InvalidCertificate(_), Some(presented), Rule::Pin(expected))
                if presented != *expected =>
            {
                TlsFault::BadPin {
                    expected: *expected,
                    presented,
                }
            }
            (Error::InvalidCertificate(fault), Some(presented), rule) => TlsFault::Untrusted {
                presented,
                why: match rule {
                    Rule::Nobody => {
                        "cannot be checked, because this machine has no list of trusted authorities"
                            .to_owned()
                    }
                    _ => complaint(&fault, host),
                },
            },
            (Error::InvalidMessage(_), None, _) => TlsFault::NotTls,
            (fault, ..) => TlsFault::Handshake(fault.to_string()),
        }
    }
}

/// What is wrong with a certificate, as in "the certificate is expired".
fn complaint(fault: &CertificateError, host: &str) -> String {
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired (or the clock of this machine is wrong)".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet (or the clock of this machine is wrong)".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("is not valid for {host}")
        }
        CertificateError::UnknownIssuer => {
            "is not signed by an authority that this machine trusts".to_owned()
        }
        // The words of the library are the names of its values.
        CertificateError::Other(other) => match other.to_string().as_str() {
            "CaUsedAsEndEntity" => {
                "is that of an authority, which only a pin makes that of a gateway".to_owned()
            }
            name => format!("is not acceptable ({name})"),
        },
        other => format!("is not acceptable ({other})"),
    }
}

/// The authorities of a file, or of the first list that this machine has; empty when it has none.
/// Entries that cannot be read are left out.
fn authorities(file: Option<&Path>) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let text = match file {
        Some(file) => fs::read(file).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", file.display()))
        })?,
        None => BUNDLES
            .iter()
            .find_map(|path| fs::read(path).ok())
            .unwrap_or_default(),
    };
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&text).flatten());
    Ok(roots)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let presented = *self.presented.get_or_init(|| Fingerprint::of(leaf));
        match &self.rule {
            Rule::Pin(expected) if *expected == presented => Ok(ServerCertVerified::assertion()),
            Rule::Pin(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
            Rule::Authorities(rule) => rule.verify_server_cert(leaf, others, name, ocsp, now),
            Rule::Nobody => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadPin {
                expected,
                presented,
            } => write!(
                formatter,
                "gateway tls fingerprint mismatch: expected {expected}, presented {presented}"
            ),
            Self::Handshake(why) => write!(formatter, "no TLS connection: {why}"),
            Self::NotTls => formatter.write_str("no TLS connection: the other end speaks no TLS"),
            Self::Untrusted { presented, why } => write!(
                formatter,
                "untrusted certificate: it {why}; its fingerprint is {presented}"
            ),
        }
    }
}

impl std::error::Error for TlsFault {}

#[cfg(test)]
mod tests {
    use rustls::OtherError;

    use super::*;

    #[test]
    fn complaints_are_sentences() {
        let library = |name: &str| {
            let fault: Box<dyn std::error::Error + Send + Sync> = name.into();
            CertificateError::Other(OtherError(Arc::from(fault)))
        };
        for (fault, said) in [
            (CertificateError::NotValidForName, "is not valid for gw.lan"),
            (
                library("CaUsedAsEndEntity"),
                "is that of an authority, which only a pin makes that of a gateway",
            ),
            (library("Other"), "is not acceptable (Other)"),
        ] {
            assert_eq!(complaint(&fault, "gw.lan"), said);
        }
    }
}
