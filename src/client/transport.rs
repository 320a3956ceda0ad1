//! What carries the frames of a session: a WebSocket, or in tests a gateway in memory.

use std::time::Instant;

use crate::client::budget::Budget;
use crate::client::credentials::Endpoint;
use crate::client::error::ClientError;
use crate::client::plaintext;
use crate::net::{HeadFault, NetError, Outbox, Peer, Side, Step, dial, upgrade};
use crate::protocol::limits::{MAX_BUFFERED_BYTES, MAX_FRAME_BYTES, MAX_PREAUTH_FRAME_BYTES};

/// What happened while waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// The connection is over: close code and reason.
    Closed(u16, String),
    /// A text message.
    Text(String),
    /// The deadline passed.
    TimedOut,
    /// Somebody poked the outbox, for example to let the owner look at a stop flag.
    Woken,
}

/// A connection that carries text messages both ways.
pub trait Transport: Send {
    /// Where messages to the gateway are queued; they leave while somebody waits.
    fn outbox(&self) -> &Outbox;

    /// Sends what is queued and waits for the next thing to happen.
    fn wait(&mut self, deadline: Instant) -> Carried;

    /// Accepts large messages from now on: the handshake is done.
    fn trust(&mut self);
}

impl Transport for Peer {
    fn outbox(&self) -> &Outbox {
        Peer::outbox(self)
    }

    fn wait(&mut self, deadline: Instant) -> Carried {
        match Peer::wait(self, Some(deadline)) {
            Step::Closed(closed) => Carried::Closed(closed.code, closed.reason),
            Step::Text(text) => Carried::Text(text.to_string()),
            Step::TimedOut => Carried::TimedOut,
            Step::Woken => Carried::Woken,
        }
    }

    fn trust(&mut self) {
        self.set_limit(MAX_FRAME_BYTES);
    }
}

/// Opens a WebSocket to the endpoint: plaintext rule, connection to exactly the checked addresses, upgrade.
///
/// # Errors
/// [`ClientError`] for everything that keeps it from being a WebSocket.
pub fn open(
    endpoint: &Endpoint,
    plaintext_opt_in: bool,
    budget: &Budget,
) -> Result<Box<dyn Transport>, ClientError> {
    let url = &endpoint.url;
    let addresses = plaintext::addresses(url, endpoint.source, plaintext_opt_in, budget)?;
    if url.secure {
        return Err(ClientError::TlsUnavailable(url.to_string()));
    }
    let deadline = budget.deadline();
    let failed = |error| failure(error, &url.authority(), budget);
    let mut stream = dial::connect_to(&addresses, &url.host, url.port, deadline).map_err(failed)?;
    let rest =
        upgrade::request(&mut stream, &url.authority(), &url.path, deadline).map_err(failed)?;
    let outbox = Outbox::new(MAX_BUFFERED_BYTES)
        .map_err(NetError::from)
        .map_err(failed)?;
    Ok(Box::new(Peer::new(
        stream,
        Side::Client,
        rest,
        MAX_PREAUTH_FRAME_BYTES,
        outbox,
    )))
}

/// A network error in the words of a client.
pub fn failure(error: NetError, authority: &str, budget: &Budget) -> ClientError {
    match error {
        NetError::TimedOut => budget.timeout(),
        NetError::Unreachable { source, .. } | NetError::Bind { source, .. } => {
            ClientError::Unreachable {
                address: authority.to_owned(),
                cause: source,
            }
        }
        NetError::Unresolved { host } => ClientError::Unresolvable { host },
        NetError::Io(source) | NetError::Head(HeadFault::Io(source)) => ClientError::Closed {
            code: crate::protocol::close::ABNORMAL,
            reason: source.to_string(),
        },
        NetError::Head(HeadFault::Closed) => ClientError::Closed {
            code: crate::protocol::close::ABNORMAL,
            reason: "before the upgrade was answered".to_owned(),
        },
        error @ (NetError::AcceptKeyMismatch | NetError::Head(_) | NetError::Refused { .. }) => {
            ClientError::NotGateway(error.to_string())
        }
    }
}
