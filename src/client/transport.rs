//! What carries the frames of a session: a WebSocket, or in tests a gateway in memory.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::client::budget::Budget;
use crate::client::credentials::Endpoint;
use crate::client::error::ClientError;
use crate::client::plaintext;
use crate::client::target::{GatewayUrl, UrlSource};
use crate::client::tunnel::{Carrier, Tunnel};
use crate::net::{
    HeadFault, NetError, Outbox, Peer, Presented, Remains, Side, Step, Stream, dial, trust, upgrade,
};
use crate::protocol::close::ABNORMAL;
use crate::protocol::limits::{MAX_BUFFERED_BYTES, MAX_FRAME_BYTES, MAX_HELLO_BYTES};

/// How long a login may take beyond what a gateway gets to answer.
const LOGIN_LIMIT: Duration = Duration::from_secs(20);

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

    /// The number of the last [`Outbox::ping`] that the gateway answered.
    fn answered(&self) -> u64;

    /// Gives the gateway no time for a goodbye: it does not answer any more. What is left can tell it when it
    /// is back.
    fn forsake(&mut self) -> Option<Remains>;
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

    fn answered(&self) -> u64 {
        Peer::answered(self)
    }

    fn forsake(&mut self) -> Option<Remains> {
        Peer::forsake(self)
    }
}

/// Opens a WebSocket to the endpoint: plaintext rule, connection to exactly the checked addresses, TLS with its
/// certificate judged, upgrade. A `wss://` endpoint is never spoken to in any other way. Where a login leads to
/// the gateway, nothing of it goes over a network in any other way. `reached` is called when the connection
/// stands and nothing was said yet.
///
/// # Errors
/// [`ClientError`] for everything that keeps it from being a WebSocket.
pub fn open(
    endpoint: &Endpoint,
    plaintext_opt_in: bool,
    budget: &Budget,
    reached: &dyn Fn(),
) -> Result<Box<dyn Transport>, ClientError> {
    let url = &endpoint.url;
    if let Some(tunnel) = &endpoint.via {
        return Ok(Box::new(Tunnelled::open(
            tunnel, endpoint, budget, reached,
        )?));
    }
    let addresses = plaintext::addresses(url, endpoint.source, plaintext_opt_in, budget)?;
    let stream = reach(&addresses, url, budget)?;
    reached();
    let peer = upgraded(stream, endpoint, budget.steps().challenge, budget)?;
    Ok(Box::new(peer))
}

/// TLS where the URL asks for it, and the upgrade, within `limit` and the budget.
fn upgraded(
    mut stream: Stream,
    endpoint: &Endpoint,
    limit: Duration,
    budget: &Budget,
) -> Result<Peer, ClientError> {
    let url = &endpoint.url;
    let failed = |error| failure(error, &url.authority(), budget);
    let started = Instant::now();
    let deadline = budget.at_most(limit);
    // Within the budget it was the step that took too long.
    let unanswered = |error| match error {
        NetError::TimedOut if Instant::now() < budget.deadline() => ClientError::NoChallenge {
            waited: started.elapsed(),
            limit,
        },
        error => failed(error),
    };
    if url.secure {
        stream =
            trust::secure(stream, &endpoint.trust(), &url.host, deadline).map_err(unanswered)?;
    }
    let rest =
        upgrade::request(&mut stream, &url.authority(), &url.path, deadline).map_err(unanswered)?;
    let outbox = Outbox::new(MAX_BUFFERED_BYTES)
        .map_err(NetError::from)
        .map_err(failed)?;
    Ok(Peer::new(
        stream,
        Side::Client,
        rest,
        MAX_HELLO_BYTES,
        outbox,
    ))
}

/// A connection that goes through a login; the connection ends first, then the login.
struct Tunnelled {
    peer: Peer,
    carrier: Carrier,
}

impl Tunnelled {
    fn open(
        tunnel: &Tunnel,
        endpoint: &Endpoint,
        budget: &Budget,
        reached: &dyn Fn(),
    ) -> Result<Tunnelled, ClientError> {
        let failed = |fault| ClientError::Tunnel {
            target: tunnel.target.clone(),
            fault,
        };
        let left = budget.deadline().saturating_duration_since(Instant::now());
        // Its own sentence about a host that does not answer says more than ours.
        let answer = left.saturating_sub(Duration::from_secs(1));
        let (stream, mut carrier) = tunnel.open(answer).map_err(failed)?;
        reached();
        let limit = budget.steps().challenge.saturating_add(LOGIN_LIMIT);
        match upgraded(stream, endpoint, limit, budget) {
            Ok(peer) => Ok(Tunnelled { peer, carrier }),
            Err(error) => Err(carrier.fault().map_or(error, failed)),
        }
    }
}

impl Transport for Tunnelled {
    fn outbox(&self) -> &Outbox {
        Transport::outbox(&self.peer)
    }

    fn wait(&mut self, deadline: Instant) -> Carried {
        match Transport::wait(&mut self.peer, deadline) {
            Carried::Closed(ABNORMAL, reason) => {
                let fault = self.carrier.fault();
                let reason = fault.map_or(reason, |fault| fault.to_string());
                Carried::Closed(ABNORMAL, reason)
            }
            other => other,
        }
    }

    fn trust(&mut self) {
        Transport::trust(&mut self.peer);
    }

    fn answered(&self) -> u64 {
        Transport::answered(&self.peer)
    }

    fn forsake(&mut self) -> Option<Remains> {
        // The login ends with this value, and with it the connection at the other end.
        let _ = Transport::forsake(&mut self.peer);
        None
    }
}

/// Looks at what stands at `url` before anything is sent there: the plaintext rule, a connection, and the certificate
/// that is shown; `None` for `ws://`. `authorities` is a file of authorities instead of the machine's.
///
/// # Errors
/// As [`open`], but a certificate that nobody vouches for is none.
pub fn look(
    url: &GatewayUrl,
    source: UrlSource,
    plaintext_opt_in: bool,
    authorities: Option<PathBuf>,
    budget: &Budget,
) -> Result<Option<Presented>, ClientError> {
    let addresses = plaintext::addresses(url, source, plaintext_opt_in, budget)?;
    let stream = reach(&addresses, url, budget)?;
    match stream {
        Stream::Plain(socket) if url.secure => {
            let deadline = budget.at_most(budget.steps().challenge);
            trust::look(socket, authorities, &url.host, deadline)
                .map(Some)
                .map_err(|error| failure(error, &url.authority(), budget))
        }
        _ => Ok(None),
    }
}

/// A TCP connection to one of the checked addresses.
fn reach(
    addresses: &[SocketAddr],
    url: &GatewayUrl,
    budget: &Budget,
) -> Result<Stream, ClientError> {
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    let deadline = budget.at_most(budget.steps().reach.saturating_mul(count));
    dial::connect_to(addresses, &url.host, url.port, deadline).map_err(|error| match error {
        NetError::TimedOut if Instant::now() < budget.deadline() => ClientError::Unreachable {
            address: url.authority(),
            cause: io::ErrorKind::TimedOut.into(),
        },
        error => failure(error, &url.authority(), budget),
    })
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
        NetError::Tls(fault) => ClientError::Tls {
            fault,
            address: authority.to_owned(),
        },
        NetError::Unresolved { host } => ClientError::Unresolvable { host },
        NetError::Io(source) | NetError::Head(HeadFault::Io(source)) => ClientError::Closed {
            code: ABNORMAL,
            reason: source.to_string(),
        },
        NetError::Head(HeadFault::Closed) => ClientError::Closed {
            code: ABNORMAL,
            reason: "before the upgrade was answered".to_owned(),
        },
        error @ (NetError::AcceptKeyMismatch | NetError::Head(_) | NetError::Refused { .. }) => {
            ClientError::NotGateway(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::client::credentials::Credentials;
    use crate::net::{Listener, Wake, http, listener};
    use crate::protocol::limits::MAX_PREAUTH_FRAME_BYTES;

    #[test]
    fn a_hello_with_a_full_house_of_presence_is_read() {
        let listener = Listener::bind(&listener::loopback(0)[..1]).unwrap();
        let url = GatewayUrl::parse(&format!("ws://127.0.0.1:{}", listener.port())).unwrap();
        let endpoint = Endpoint {
            url,
            source: UrlSource::Local,
            via: None,
            credentials: Credentials::default(),
            pin: None,
            authorities: None,
        };
        let hello = "x".repeat(MAX_PREAUTH_FRAME_BYTES * 2);
        let budget = Budget::new(Duration::from_secs(60));
        let stop = Wake::new().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let greet = |socket, _, _: Option<&io::Error>| {
                    let mut stream = Stream::plain(socket).unwrap();
                    let head = http::read_head(&mut stream, budget.deadline(), None).unwrap();
                    assert!(upgrade::accept_on(&mut stream, &head, budget.deadline()).unwrap());
                    let outbox = Outbox::new(MAX_BUFFERED_BYTES).unwrap();
                    outbox.push_text(hello.clone());
                    outbox.close(1000, "");
                    let mut peer = Peer::new(stream, Side::Server, head.rest, 1_000, outbox);
                    while !matches!(peer.wait(None), Step::Closed(_)) {}
                };
                listener.run(&stop, greet, |_| {}).unwrap();
            });
            let mut transport = open(&endpoint, false, &budget, &|| {}).unwrap();
            let carried = transport.wait(budget.deadline());
            stop.notify();
            assert!(carried == Carried::Text(hello.clone()));
        });
    }
}
