//! The accepting end of TLS: a certificate with its key, TLS 1.3 alone, and what a plain client is told.

use std::{fmt, net::TcpStream, os::fd::AsFd, sync::Arc, time::Instant};

use rustls::{
    InconsistentKeys, ServerConfig, ServerConnection,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::NoServerSessionStorage,
    version::TLS13,
};

use crate::{
    identity::{Fingerprint, certificate::not_after},
    net::{
        error::{CLOSE_LINGER, HeadFault},
        http::Response,
        readiness::{Interest, wait},
        stream::{Stream, is_would_block},
        tls::{ShakeFault, TlsStream},
        wake::Wake,
    },
};

/// What a client that speaks HTTP is told instead of a page; nothing of its request is looked at.
pub const SPEAKS_TLS: &str = "This port speaks TLS: use wss:// or https://";

/// A certificate that connections are accepted with; clones share it.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    fingerprint: Fingerprint,
    not_after: Option<String>,
}

/// Why a certificate and a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerTlsError {
    /// The key belongs to another certificate.
    KeyMismatch,
    /// The certificate or the key is of no usable kind; the library's words.
    Unusable(String),
}

impl ServerTls {
    /// Prepares a certificate chain, leaf first, and the leaf's key.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<ServerTls, ServerTlsError> {
        let not_after = chain.first().and_then(|leaf| not_after(leaf));
        let leaf = chain.first().map(|leaf| Fingerprint::of(leaf));
        let leaf = leaf.ok_or_else(|| ServerTlsError::Unusable("no certificate".to_owned()))?;
        let mut config = ServerConfig::builder_with_provider(default_provider().into())
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        // A resumed session would not show its certificate, and tickets cost memory.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(ServerTls {
            config: Arc::new(config),
            fingerprint: leaf,
            not_after,
        })
    }

    /// The fingerprint that clients pin.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Until when the certificate is valid, RFC 3339 in UTC; `None` when it does not say it in a known way.
    pub fn not_after(&self) -> Option<&str> {
        self.not_after.as_deref()
    }

    /// Makes an accepted socket a TLS stream, its handshake done. Plain HTTP is told so and refused.
    /// `wake` ends the wait early, for a program that stops.
    pub fn accept(
        &self,
        socket: TcpStream,
        deadline: Instant,
        wake: &Wake,
    ) -> Result<Stream, ShakeFault> {
        let Stream::Plain(socket) = Stream::plain(socket)? else {
            return Err(HeadFault::Malformed.into());
        };
        if first_byte(&socket, deadline, wake)?.is_ascii_alphabetic() {
            // Whoever does not take it within the deadline goes without.
            let _ =
                Response::text(400, SPEAKS_TLS).send(&mut Stream::Plain(socket), false, deadline);
            return Err(HeadFault::Malformed.into());
        }
        let session = ServerConnection::new(Arc::clone(&self.config))?;
        let mut stream = TlsStream::new(socket, session);
        match stream.shake_hands(deadline, Some(wake)) {
            Ok(()) => Ok(Stream::Tls(Box::new(stream))),
            Err(fault) => {
                if matches!(fault, ShakeFault::Tls(_)) {
                    // So that the alert arrives.
                    Stream::Tls(Box::new(stream))
                        .linger(deadline.min(Instant::now() + CLOSE_LINGER));
                }
                Err(fault)
            }
        }
    }
}

/// The first byte of a connection, left in its place.
fn first_byte(socket: &TcpStream, deadline: Instant, wake: &Wake) -> Result<u8, HeadFault> {
    let mut byte = [0];
    loop {
        match socket.peek(&mut byte) {
            Ok(0) => return Err(HeadFault::Closed),
            Ok(_) => return Ok(byte[0]),
            Err(error) if is_would_block(&error) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = wait(
            Some(socket.as_fd()),
            Interest::READ,
            Some(wake),
            Some(deadline),
        )?;
        if ready.woken {
            return Err(HeadFault::Woken);
        }
        if ready.timed_out() {
            return Err(HeadFault::TimedOut);
        }
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ServerTls({})", self.fingerprint)
    }
}

impl fmt::Display for ServerTlsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyMismatch => formatter.write_str("the key belongs to another certificate"),
            Self::Unusable(why) => formatter.write_str(why),
        }
    }
}

impl std::error::Error for ServerTlsError {}

impl From<rustls::Error> for ServerTlsError {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Self::KeyMismatch,
            other => Self::Unusable(other.to_string()),
        }
    }
}
