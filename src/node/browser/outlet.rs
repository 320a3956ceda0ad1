//! The only way out of a browser: a SOCKS server of the node host on loopback, which looks every host up itself, judges
//! its addresses, and dials what it judged. A name that leads elsewhere when the browser asks again (DNS rebinding)
//! leads nowhere then, whoever asks: a page, a worker, a WebSocket, or a request that outlives its page.
//!
//! A thread accepts; each connection has two more, one for each direction, for as long as it lives. When the policy
//! changes, what it allows no more is cut.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::addresses::literal;
use super::guard::{self, Policy, Site, Verdict};
use super::interception::REFUSED;
use super::lookups::Lookups;
use super::socks::{self, Reply};
use crate::net::dial::race;
use crate::net::listener::nofile;
use crate::net::{Listener, NetError, Wake};

/// Connections at the same time, at most; each has two descriptors.
const MAX_CONNECTIONS: u64 = 256;

/// Of this many descriptors that the process may have, connections of one browser take two.
const DESCRIPTORS_PER_CONNECTION: u64 = 8;

/// How long a client may take to say where it wants to go.
const GREETING_LIMIT: Duration = Duration::from_secs(10);

/// How long a look-up may take, and dialling.
const LOOKUP_LIMIT: Duration = Duration::from_secs(6);
const DIAL_LIMIT: Duration = Duration::from_secs(15);

/// Failures that are remembered.
const MAX_FAILURES: usize = 64;

/// Copying needs its buffer alone.
const STACK: usize = 128 * 1024;

/// How browsers begin what they say of a proxy that did not connect them.
const UNTOLD: &str = "net::ERR_SOCKS_CONNECTION_";

/// Where one browser's connections go out.
#[derive(Debug)]
pub struct Outlet {
    port: u16,
    stop: Arc<Wake>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    policy: Mutex<Policy>,
    lookups: Arc<Lookups>,
    state: Mutex<State>,
    /// Connections at the same time.
    room: usize,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    open: HashMap<u64, Passage>,
    /// Why nobody got there, the newest last.
    failures: VecDeque<(Site, &'static str)>,
    closed: bool,
}

/// A connection of the browser and, once it is dialled, the one that serves it.
#[derive(Debug)]
struct Passage {
    inside: Arc<TcpStream>,
    outside: Option<Dialled>,
}

#[derive(Debug)]
struct Dialled {
    stream: Arc<TcpStream>,
    site: Site,
    address: IpAddr,
}

impl Outlet {
    /// Listens on a free port of loopback; where connections may go is judged by `policy`.
    ///
    /// # Errors
    /// No port, descriptor or thread is left.
    pub fn open(policy: Policy) -> Result<Self, NetError> {
        let listener = Listener::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))])?;
        let stop = Arc::new(Wake::new()?);
        let shared = Arc::new(Shared {
            policy: Mutex::new(policy),
            lookups: Arc::new(Lookups::of_system()),
            state: Mutex::default(),
            room: nofile()
                .map_or(MAX_CONNECTIONS, |all| all / DESCRIPTORS_PER_CONNECTION)
                .min(MAX_CONNECTIONS) as usize,
        });
        let outlet = Self {
            port: listener.port(),
            stop: Arc::clone(&stop),
            shared: Arc::clone(&shared),
        };
        spawn(move || {
            // Without a descriptor for it a connection is dropped; the browser tries again.
            let accepted = |stream, _, trouble: Option<&io::Error>| {
                if trouble.is_none() {
                    shared.accepted(stream);
                }
            };
            let paused = |error: &io::Error| log::warn!("browser: cannot accept: {error}");
            if let Err(error) = listener.run(&stop, accepted, paused) {
                log::warn!("browser: cannot accept any more: {error}");
            }
        })?;
        Ok(outlet)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on connections are judged by `policy`; those that it does not allow end.
    pub fn change(&self, policy: &Policy) {
        let mut own = lock(&self.shared.policy);
        if *own == *policy {
            return;
        }
        own.clone_from(policy);
        drop(own);
        let state = lock(&self.shared.state);
        for passage in state.open.values() {
            let allowed = |to: &Dialled| policy.passes(&to.site, &[to.address]);
            if !passage.outside.as_ref().is_none_or(allowed) {
                passage.cut();
            }
        }
    }

    /// What a browser's failure at `url` is called, when it only knows that its proxy did not connect it.
    pub fn tell(&self, failure: &str, url: &str) -> Option<&'static str> {
        if !failure.starts_with(UNTOLD) {
            return None;
        }
        let site = guard::destination(url).ok().flatten()?;
        let state = lock(&self.shared.state);
        let mut failures = state.failures.iter().rev();
        failures.find(|(to, _)| *to == site).map(|(_, why)| *why)
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.stop.notify();
        let mut state = lock(&self.shared.state);
        state.closed = true;
        state.open.values().for_each(Passage::cut);
    }
}

impl Passage {
    fn cut(&self) {
        // One that is gone already is what is wanted.
        let _ = self.inside.shutdown(Shutdown::Both);
        if let Some(to) = &self.outside {
            let _ = to.stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    /// Serves a connection in a thread of its own.
    fn accepted(self: &Arc<Self>, inside: TcpStream) {
        let inside = Arc::new(inside);
        let mut state = lock(&self.state);
        if state.closed || state.open.len() >= self.room {
            return;
        }
        state.last += 1;
        let id = state.last;
        let passage = Passage {
            inside: Arc::clone(&inside),
            outside: None,
        };
        state.open.insert(id, passage);
        drop(state);
        let own = Arc::clone(self);
        let served = spawn(move || {
            // Whoever it ends for hears of it by the end of its stream.
            let _ = own.serve(id, &inside);
            own.forget(id);
        });
        if served.is_err() {
            self.forget(id);
        }
    }

    fn forget(&self, id: u64) {
        if let Some(passage) = lock(&self.state).open.remove(&id) {
            passage.cut();
        }
    }

    fn serve(&self, id: u64, inside: &Arc<TcpStream>) -> io::Result<()> {
        inside.set_nonblocking(false)?;
        inside.set_nodelay(true)?;
        let mut greeting = Hurried {
            stream: inside,
            deadline: Instant::now() + GREETING_LIMIT,
        };
        let site = socks::accept(&mut greeting)?;
        inside.set_read_timeout(None)?;
        let mut stream: &TcpStream = inside;
        let outside = match self.dial(&site, inside) {
            Ok(outside) => Arc::new(outside),
            Err((reply, why)) => {
                lock(&self.state).failed(site, why);
                return socks::reply(&mut stream, reply);
            }
        };
        let dialled = Dialled {
            stream: Arc::clone(&outside),
            address: outside.peer_addr()?.ip(),
            site,
        };
        if !self.admit(id, dialled) {
            return socks::reply(&mut stream, Reply::NotAllowed);
        }
        outside.set_nonblocking(false)?;
        outside.set_nodelay(true)?;
        socks::reply(&mut stream, Reply::Connected)?;
        let (there, back) = (Arc::clone(inside), Arc::clone(&outside));
        let sender = spawn(move || {
            // A browser that sends nothing more wants nothing more either: no server keeps the place for it.
            let _ = io::copy(&mut &*there, &mut &*back);
            let _ = back.shutdown(Shutdown::Both);
        })?;
        let _ = io::copy(&mut &*outside, &mut &**inside);
        let _ = inside.shutdown(Shutdown::Write);
        let _ = sender.join();
        Ok(())
    }

    /// Keeps a connection that the policy of this moment allows: it may have changed while it was dialled.
    fn admit(&self, id: u64, dialled: Dialled) -> bool {
        let policy = lock(&self.policy);
        let mut state = lock(&self.state);
        if state.closed || !policy.passes(&dialled.site, &[dialled.address]) {
            return false;
        }
        state.failures.retain(|(to, _)| *to != dialled.site);
        let passage = state.open.get_mut(&id);
        passage.map(|it| it.outside = Some(dialled)).is_some()
    }

    fn dial(&self, site: &Site, inside: &TcpStream) -> Result<TcpStream, (Reply, &'static str)> {
        let refused = (Reply::NotAllowed, REFUSED);
        let policy = || lock(&self.policy).clone();
        // What is refused anyway is not looked up either.
        if policy().verdict(site) == Verdict::Refused {
            return Err(refused);
        }
        let addresses = self.addresses(site);
        if addresses.is_empty() {
            return Err((Reply::Unreachable, "net::ERR_NAME_NOT_RESOLVED"));
        }
        if !policy().passes(site, &addresses) {
            return Err(refused);
        }
        let places = addresses.into_iter().map(|address| (address, site.port));
        let places: Vec<SocketAddr> = places.map(SocketAddr::from).collect();
        let raced = race(&places, inside.as_fd(), Instant::now() + DIAL_LIMIT);
        raced.map_err(|error| (Reply::Unreachable, name(&error)))
    }

    /// The addresses of a host; none when it has none or they do not come in time.
    fn addresses(&self, site: &Site) -> Vec<IpAddr> {
        if let Some(address) = literal(&site.host) {
            return vec![address];
        }
        let (told, heard) = channel();
        let then = move |found: &[IpAddr]| drop(told.send(found.to_vec()));
        self.lookups.ask(&site.host, Box::new(then));
        heard.recv_timeout(LOOKUP_LIMIT).unwrap_or_default()
    }
}

/// A stream that is read until a deadline, however slowly its bytes come.
struct Hurried<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
}

impl Read for Hurried<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(into)
    }
}

impl Write for Hurried<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl State {
    fn failed(&mut self, site: Site, why: &'static str) {
        self.failures.retain(|(to, _)| *to != site);
        if self.failures.len() >= MAX_FAILURES {
            self.failures.pop_front();
        }
        self.failures.push_back((site, why));
    }
}

/// What browsers call a failure to connect.
fn name(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::TimedOut => "net::ERR_CONNECTION_TIMED_OUT",
        io::ErrorKind::ConnectionRefused => "net::ERR_CONNECTION_REFUSED",
        io::ErrorKind::ConnectionReset => "net::ERR_CONNECTION_RESET",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "net::ERR_ADDRESS_UNREACHABLE"
        }
        _ => "net::ERR_CONNECTION_FAILED",
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    let builder = thread::Builder::new().name("browser-outlet".to_owned());
    builder.stack_size(STACK).spawn(work)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);
    const CONNECTED: u8 = Reply::Connected as u8;
    const NOT_ALLOWED: u8 = Reply::NotAllowed as u8;
    const UNREACHABLE: u8 = Reply::Unreachable as u8;

    fn allowing(hosts: &[&str]) -> Policy {
        Policy {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..Policy::default()
        }
    }

    fn site(host: &str, port: u16) -> Site {
        guard::place(host, port).unwrap()
    }

    fn server() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    fn client(outlet: &Outlet) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", outlet.port())).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Asks for a host by its name, as browsers do, and gives the reply.
    fn ask(outlet: &Outlet, host: &str, port: u16) -> (u8, TcpStream) {
        let mut stream = client(outlet);
        let mut request = vec![5, 1, 0, 5, 1, 0, 3, host.len() as u8];
        request.extend_from_slice(host.as_bytes());
        request.extend_from_slice(&port.to_be_bytes());
        stream.write_all(&request).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer[..3], [5, 0, 5]);
        (answer[3], stream)
    }

    fn rest(stream: &mut impl Read) -> String {
        let mut text = String::new();
        // One that was cut ends with an error.
        let _ = stream.read_to_string(&mut text);
        text
    }

    #[test]
    fn what_passes_is_carried_both_ways_until_the_browser_has_had_enough() {
        let (listener, port) = server();
        let outlet = Outlet::open(allowing(&["localhost"])).unwrap();
        let (reply, mut inside) = ask(&outlet, "localhost", port);
        assert_eq!(reply, CONNECTED);
        let (mut outside, _) = listener.accept().unwrap();
        outside.set_read_timeout(Some(PATIENCE)).unwrap();
        let long = "question ".repeat(100_000);
        let asked = long.clone();
        let asking = std::thread::spawn(move || {
            inside.write_all(asked.as_bytes()).unwrap();
            inside
        });
        let mut heard = vec![0; long.len()];
        outside.read_exact(&mut heard).unwrap();
        assert!(heard == long.as_bytes());
        let mut inside = asking.join().unwrap();
        // A server may end first; what it said arrives.
        outside.write_all(b"answer").unwrap();
        outside.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut inside), "answer");
        inside.write_all(b"more").unwrap();
        drop(inside);
        assert_eq!(rest(&mut outside), "more");
        // A browser that ends first leaves nothing behind, whatever the server does.
        let (_, left) = ask(&outlet, "localhost", port);
        let (_held, _) = listener.accept().unwrap();
        drop(left);
        wait_until(|| lock(&outlet.shared.state).open.is_empty());
    }

    fn wait_until(reached: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !reached() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn no_more_connections_than_there_is_room_for_are_served_and_places_are_given_back() {
        let (_listener, port) = server();
        let outlet = Outlet::open(allowing(&["127.0.0.1"])).unwrap();
        let room = outlet.shared.room;
        let held: Vec<_> = (0..room).map(|_| client(&outlet)).collect();
        wait_until(|| lock(&outlet.shared.state).open.len() == room);
        assert_eq!(rest(&mut client(&outlet)), "");
        drop(held);
        wait_until(|| lock(&outlet.shared.state).open.is_empty());
        assert_eq!(ask(&outlet, "127.0.0.1", port).0, CONNECTED);
    }

    #[test]
    fn what_the_policy_refuses_is_never_dialled() {
        let (listener, port) = server();
        listener.set_nonblocking(true).unwrap();
        let debugger = Policy {
            private_network: true,
            debuggers: [site("127.0.0.1", port)].into(),
            ..Policy::default()
        };
        for policy in [Policy::default(), debugger] {
            let outlet = Outlet::open(policy).unwrap();
            for host in [
                "127.0.0.1",
                "127.1",
                "localhost",
                "[::1]",
                "::ffff:127.0.0.1",
            ] {
                let host = host.trim_matches(['[', ']']);
                assert_eq!(ask(&outlet, host, port).0, NOT_ALLOWED, "{host}");
            }
            let url = format!("http://localhost:{port}/");
            let told = |failure: &str| outlet.tell(failure, &url);
            assert_eq!(told("net::ERR_SOCKS_CONNECTION_FAILED"), Some(REFUSED));
            assert_eq!(told("net::ERR_ABORTED"), None);
        }
        assert!(listener.accept().is_err());
    }

    #[test]
    fn who_cannot_be_reached_is_told_as_browsers_tell_it() {
        // Bound, so that nobody else takes the port, but not listening any more.
        let outlet = Outlet::open(allowing(&["127.0.0.1", "nobody.invalid"])).unwrap();
        let (listener, port) = server();
        let (_held, _) = (
            TcpStream::connect(("127.0.0.1", port)).unwrap(),
            drop(listener),
        );
        for (host, expected) in [
            ("127.0.0.1", "net::ERR_CONNECTION_REFUSED"),
            ("nobody.invalid", "net::ERR_NAME_NOT_RESOLVED"),
        ] {
            assert_eq!(ask(&outlet, host, port).0, UNREACHABLE);
            let url = format!("http://{host}:{port}/path");
            let told = outlet.tell("net::ERR_SOCKS_CONNECTION_FAILED", &url);
            assert_eq!(told, Some(expected));
        }
        assert_eq!(ask(&outlet, "a b", 80).0, Reply::UnknownAddress as u8);
        let other = outlet.tell("net::ERR_SOCKS_CONNECTION_FAILED", "http://127.0.0.1:1/");
        assert_eq!(other, None);
        for port in 0..2 * MAX_FAILURES as u16 {
            lock(&outlet.shared.state).failed(site("h", port), REFUSED);
        }
        assert_eq!(lock(&outlet.shared.state).failures.len(), MAX_FAILURES);
    }

    #[test]
    fn what_a_policy_allows_no_more_is_cut_and_everything_at_the_end() {
        let (listener, port) = server();
        let outlet = Outlet::open(allowing(&["localhost", "127.0.0.1"])).unwrap();
        let (_, mut named) = ask(&outlet, "localhost", port);
        let (mut named_outside, _) = listener.accept().unwrap();
        let (_, mut address) = ask(&outlet, "127.0.0.1", port);
        let (mut address_outside, _) = listener.accept().unwrap();
        outlet.change(&allowing(&["127.0.0.1"]));
        assert_eq!(rest(&mut named), "");
        assert_eq!(rest(&mut named_outside), "");
        assert_eq!(ask(&outlet, "localhost", port).0, NOT_ALLOWED);
        address_outside.write_all(b"still ").unwrap();
        let mut heard = [0; 6];
        address.read_exact(&mut heard).unwrap();
        let mut silent = client(&outlet);
        drop(outlet);
        assert_eq!(rest(&mut address), "");
        assert_eq!(rest(&mut address_outside), "");
        assert_eq!(rest(&mut silent), "");
    }

    #[test]
    fn other_protocols_and_commands_are_sent_away() {
        let outlet = Outlet::open(allowing(&["127.0.0.1"])).unwrap();
        let reply = |code| vec![5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0];
        for (said, answer) in [
            (&b"GET http://127.0.0.1/ HTTP/1.1\r\n\r\n"[..], vec![]),
            (&[4, 1, 0, 80, 127, 0, 0, 1, 0], vec![]),
            (&[5, 1, 2], vec![5, 0xff]),
            (&[5, 2, 2, 0, 5, 2, 0, 1, 127, 0, 0, 1, 0, 80], reply(7)),
            (&[5, 1, 0, 5, 1, 0, 9, 0, 80], reply(8)),
            (&[5, 1, 0, 5, 1, 0, 1, 10, 0, 0, 1, 0, 80], reply(2)),
        ] {
            let mut stream = client(&outlet);
            stream.write_all(said).unwrap();
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard);
            assert_eq!(heard, answer, "{said:?}");
        }
    }
}
