//! The life of one connection, on its own thread: TLS, request head, upgrade, challenge, handshake, session.
//!
//! The socket is this thread's; while it sleeps, others write for it (`net::Outbox`). It sleeps in one poll with
//! the next deadline, answers nothing that needs another peer, and leaves nothing behind: whatever ends it, the session is taken out of
//! the hub, its invokes fail and its presence ends.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use crate::gateway::admission::{Arrival, still_admitted};
use crate::gateway::attendance;
use crate::gateway::connections::Stage;
use crate::gateway::context::{Context, Phase};
use crate::gateway::endpoints;
use crate::gateway::handshake::{Welcome, shake_hands};
use crate::gateway::hello;
use crate::gateway::limits::arrivals::{self, dice};
use crate::gateway::limits::preauth;
use crate::gateway::limits::{Claimant, Pace, Phases, Topic};
use crate::gateway::locality::{RequestHeaders, place};
use crate::gateway::metrics::{Handshake, NoPlace, place_of};
use crate::gateway::refusal::Refusal;
use crate::gateway::rpc;
use crate::gateway::session::Session;
use crate::gateway::transition::dismiss_if_lost;
use crate::gateway::upkeep::follow_clock;
use crate::identity::{ConnId, Random, Token};
use crate::net::http::{Response, read_head};
use crate::net::{Closed, Head, Outbox, Peer, Side, Step, Stream, Wake, thread_time, upgrade};
use crate::pairing::invitation::bootstrap;
use crate::protocol::close;
use crate::protocol::frame::{self, EventText, parse_request};
use crate::protocol::limits::{
    MAX_BACKLOG_BYTES, MAX_FRAME_BYTES, MAX_PREAUTH_BYTES, MAX_PREAUTH_FRAME_BYTES,
};

/// An accepted socket on its way to its thread.
#[derive(Debug)]
pub struct Incoming {
    /// When it was accepted; the handshake deadline counts from here.
    pub accepted: Instant,
    /// The other end.
    pub address: SocketAddr,
    /// Its id.
    pub conn: ConnId,
    /// The way to it; closing it ends the thread in every phase.
    pub outbox: Outbox,
    /// Its slot among the sockets that are not admitted yet.
    pub slot: arrivals::Slot,
    /// The socket.
    pub socket: TcpStream,
}

/// Serves a new connection until it is admitted or over; what is returned serves its session, on a
/// thread of its own.
pub fn serve(context: &Arc<Context>, incoming: Incoming) -> Option<Stage> {
    let phases = Phases::new(incoming.accepted, context.rules().handshake_timeout);
    let (mut peer, live) = admitted(context, incoming, &phases)?;
    peer.set_backlog(MAX_BACKLOG_BYTES);
    Some(Box::new(move || {
        let session = &live.session;
        let closed = converse(&live, &mut peer);
        log::info!(
            target: "ws",
            "closed conn={} role={} client={} code={} reason={}",
            session.conn, session.role, session.client.id, closed.code, closed.reason
        );
        // Before the goodbye of the peer, which may take its time.
        drop(live);
    }))
}

/// Everything before the session.
fn admitted(context: &Arc<Context>, incoming: Incoming, phases: &Phases) -> Option<(Peer, Live)> {
    // Dropped from the last to the first: the peer says goodbye before its slots are free.
    let (slots, arrival, mut peer) = upgraded(context, incoming, phases)?;
    let handshakes = &context.counters.handshakes;
    let Some(text) = first_text(&mut peer, phases.end()) else {
        handshakes.note(Handshake::Unfinished as usize);
        return None;
    };
    slots.0.hold();
    match shake_hands(context, &arrival, peer.outbox(), &text) {
        Ok(welcome) => {
            handshakes.note(Handshake::Admitted as usize);
            // The larger limit must hold before the hello invites the peer to use it.
            peer.set_limit(MAX_FRAME_BYTES);
            peer.set_allowance(usize::MAX);
            let live = Live::begin(context, welcome, slots);
            Some((peer, live))
        }
        Err(refusal) => {
            handshakes.note(Handshake::Refused as usize);
            context.counters.refused.note(place_of(&refusal));
            refuse(context, &mut peer, &arrival, &refusal);
            None
        }
    }
}

fn refuse(context: &Context, peer: &mut Peer, arrival: &Arrival, refusal: &Refusal) {
    let answer = refusal.answer.as_ref();
    let detail = answer.and_then(|(_, error)| error.detail_code());
    if context.chatter.allows(Topic::Refusal, &context.timer) {
        log::warn!(
            target: "ws",
            "refused conn={} from={} code={} detail={}: {}",
            arrival.conn, arrival.peer, refusal.code, detail.unwrap_or("-"), refusal.reason
        );
    }
    if let Some((id, error)) = answer {
        peer.outbox().push_text(frame::error(id, error));
    }
    peer.outbox().close(refusal.code, &refusal.reason);
    run_out(peer);
}

/// Reads the request head. A plain HTTP request is answered here and is over; an upgrade is counted
/// and completed, and the peer is challenged.
fn upgraded(
    context: &Arc<Context>,
    incoming: Incoming,
    phases: &Phases,
) -> Option<(Slots, Arrival, Peer)> {
    let mut slot = incoming.slot;
    let deadline = phases.end();
    let mut stream = opened(
        context,
        incoming.socket,
        phases.head(),
        incoming.outbox.wake(),
    )?;
    let head = request_head(&mut stream, incoming.outbox.wake(), phases)?;
    let rules = context.rules();
    let headers = RequestHeaders::new(head.headers.clone(), &rules.proxies);
    let address: IpAddr = incoming.address.ip().to_canonical();
    let place = place(address, &headers, &rules.proxies);
    if place.client != Some(address) {
        // A proxy's client waits under its own name, not under the proxy's.
        let (waiting, open) = (&context.arrivals, context.connections.len());
        let own = waiting.enter(place.client, &incoming.outbox, open, dice());
        let Some(own) = own else {
            let (what, text) = (NoPlace::Connections, "Too many connections");
            turn_away(context, &mut stream, address, (what, text), deadline);
            return None;
        };
        slot = own;
    }
    // A peer that is gone before it has its answer needs none.
    if !upgrade::is_wanted(&head) {
        let claimant = Claimant::new(context, rules.attempts, address, &place, &headers, "http");
        let response = endpoints::answer(context, &claimant, &head, &headers, &place);
        let _ = response.send(&mut stream, head.method == "HEAD", deadline);
        return None;
    }
    let Some(held) = context.preauth.enter(place.client, headers.has_origin()) else {
        let (what, text) = (NoPlace::Unauthenticated, "Too many unauthenticated sockets");
        turn_away(context, &mut stream, address, (what, text), deadline);
        return None;
    };
    if !upgrade::accept_on(&mut stream, &head, deadline).ok()? {
        return None;
    }
    let (nonce, peer) = challenged(context, stream, head.rest, incoming.outbox);
    let arrival = Arrival {
        conn: incoming.conn,
        nonce,
        headers,
        peer: address,
        place,
    };
    Some(((slot, held), arrival, peer))
}

/// The head of a request; a peer that sends none is told what is wrong with it.
fn request_head(stream: &mut Stream, wake: &Wake, phases: &Phases) -> Option<Head> {
    match read_head(stream, phases.head(), Some(wake)) {
        Ok(head) => Some(head),
        Err(fault) => {
            if let Some(response) = fault.response() {
                let _ = response.send(stream, false, phases.end());
            }
            None
        }
    }
}

/// A peer over an upgraded stream, and the nonce that it has to sign; `rest` came behind its head.
fn challenged(
    context: &Arc<Context>,
    stream: Stream,
    rest: Vec<u8>,
    outbox: Outbox,
) -> (String, Peer) {
    let nonce = Random.uuid();
    // What it signs is compared with this.
    follow_clock(context);
    let challenge = json!({"nonce": nonce, "ts": context.now_ms()});
    outbox.push_event(&EventText::new("connect.challenge", &challenge));
    let mut peer = Peer::new(stream, Side::Server, rest, MAX_PREAUTH_FRAME_BYTES, outbox);
    peer.set_allowance(MAX_PREAUTH_BYTES);
    (nonce, peer)
}

fn turn_away(
    context: &Context,
    stream: &mut Stream,
    address: IpAddr,
    (what, text): (NoPlace, &str),
    deadline: Instant,
) {
    context.counters.turned_away.note(what as usize);
    if context.chatter.allows(Topic::TurnedAway, &context.timer) {
        log::warn!(target: "ws", "turned away {address}: {text}");
    }
    let _ = Response::text(503, text).send(stream, false, deadline);
}

/// The stream of an accepted socket; under TLS its handshake is done. The peer of one that fails was told
/// as far as TLS allows.
fn opened(context: &Context, socket: TcpStream, deadline: Instant, wake: &Wake) -> Option<Stream> {
    let Some(tls) = &context.tls else {
        return Stream::plain(socket).ok();
    };
    let peer = socket.peer_addr().ok();
    match tls.accept(socket, deadline, wake) {
        Ok(stream) => Some(stream),
        Err(fault) => {
            context.counters.tls_failures.note();
            let from = peer.map(|peer| peer.to_string()).unwrap_or_default();
            log::debug!(target: "ws", "no TLS handshake from={from}: {fault}");
            None
        }
    }
}

/// The first text of a peer; `None` when it closed, stopped or said nothing in time.
fn first_text(peer: &mut Peer, deadline: Instant) -> Option<crate::net::Text> {
    loop {
        match peer.wait(Some(deadline)) {
            Step::Text(text) => return Some(text),
            Step::Woken => {}
            Step::Closed(closed) => {
                if closed.by_us && closed.code == close::TRY_LATER {
                    // Somebody else needs the slot at once.
                    let _ = peer.forsake();
                }
                return None;
            }
            Step::TimedOut => {
                peer.outbox().close(close::NORMAL, "");
                run_out(peer);
                return None;
            }
        }
    }
}

/// Waits until a connection that was closed by us is over; bounded by the peer's own goodbye.
fn run_out(peer: &mut Peer) -> Closed {
    loop {
        if let Step::Closed(closed) = peer.wait(None) {
            return closed;
        }
    }
}

/// The slots of a connection that is not admitted: among all sockets and among the upgraded ones.
type Slots = (arrivals::Slot, preauth::Slot);

/// A session in the hub, taken out of it again when this is dropped, even by a panic.
struct Live {
    context: Arc<Context>,
    session: Arc<Session>,
    /// The bootstrap token that goes once the hello was sent.
    spent: Option<Token>,
}

impl Live {
    /// Makes a session known and says hello. The slots are given back once the hello is queued.
    fn begin(context: &Arc<Context>, welcome: Welcome, slots: Slots) -> Self {
        let session = Arc::new(welcome.session);
        let live = Self {
            context: Arc::clone(context),
            session: Arc::clone(&session),
            spent: welcome.spent,
        };
        attendance::opened(context, &session);
        let hello = hello::render(context, &session, welcome.token.as_ref(), &welcome.hand_off);
        context
            .hub
            .register(Arc::clone(&session), frame::ok(&welcome.request_id, &hello));
        drop(slots);
        log::info!(
            target: "ws",
            "connected conn={} role={} client={} mode={} auth={} protocol={} device={}",
            session.conn, session.role, session.client.id, session.client.mode,
            session.auth.as_str(), session.protocol,
            session.device.as_ref().map_or("-", |device| device.as_str())
        );
        // From here on the session can be found; what was decided before could not end it.
        let still = context
            .store
            .read(|state| still_admitted(state, welcome.token.as_ref(), &session));
        if session.device.is_some() && !still.unwrap_or(false) {
            session.end(close::AUTH_CHANGED, close::DEVICE_REMOVED);
        }
        dismiss_if_lost(context, &session);
        if context.phase() == Phase::Stopping {
            session.end(close::RESTART, close::SERVICE_RESTART);
        }
        live
    }
}

impl Live {
    /// Discards a used-up bootstrap token behind the hello: a device that never got it can come again.
    fn discard(&self, spent: &Token) {
        let discarded = self
            .context
            .store
            .transact(|state, _| Ok::<_, Infallible>(((), bootstrap::discard(state, spent))));
        if let Err(fault) = discarded {
            log::error!(target: "gateway", "a used-up bootstrap token cannot be removed: {fault}");
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.context.hub.remove(&self.session.conn);
        attendance::closed(&self.context, &self.session);
    }
}

/// Runs requests until the connection is over.
fn converse(live: &Live, peer: &mut Peer) -> Closed {
    let (context, session) = (&live.context, &live.session);
    let mut spent = live.spent.as_ref();
    if spent.is_some() {
        session.outbox.poke();
    }
    let mut pace = Pace::new(Instant::now(), thread_time());
    loop {
        let step = peer.wait(None);
        // Whatever happened, the hello was written before, unless the connection just broke.
        let broke = matches!(&step, Step::Closed(closed) if closed.code == close::ABNORMAL);
        if let Some(token) = spent.take_if(|_| !broke) {
            live.discard(token);
        }
        match step {
            Step::Text(text) => match parse_request(&text) {
                Ok(request) => rpc::dispatch(context, session, request),
                Err(fault) => match fault.response() {
                    Some(response) => {
                        session.send(response);
                    }
                    None => {
                        if context.chatter.allows(Topic::Noise, &context.timer) {
                            log::warn!(target: "ws", "ignored a frame that is not JSON conn={}", session.conn);
                        }
                    }
                },
            },
            Step::Woken | Step::TimedOut => {}
            Step::Closed(closed) => return closed,
        }
        if let Some(until) = pace.rest(Instant::now(), thread_time()) {
            peer.rest_until(until);
        }
    }
}
