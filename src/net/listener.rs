//! Listening on several addresses at one port, and the accept loop.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::PollFlags,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use crate::net::{
    error::NetError,
    readiness::{Interest, wait, wait_all},
    stream::is_would_block,
    wake::Wake,
};

/// How long accepting pauses when the system has no descriptor or memory for another socket.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How often another free port is looked for when the first is taken on one of the addresses.
const PORT_ATTEMPTS: usize = 16;

/// Sockets that listen on all addresses at one port.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<TcpListener>,
}

impl Listener {
    /// Binds every address. The first decides the port when it asks for port 0; the others follow it.
    /// An address family that this machine does not have is left out, as long as the first works; a port
    /// that somebody else holds on any address is an error.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Listener, NetError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match bind_all(Vec::new(), addresses) {
                Err(NetError::Bind { source, .. })
                    if source.kind() == io::ErrorKind::AddrInUse
                        && addresses.first().is_some_and(|address| address.port() == 0)
                        && attempt < PORT_ATTEMPTS => {}
                result => return result.map(|sockets| Listener { sockets }),
            }
        }
    }

    /// The same beside sockets that listen already and do not block, which count as the first.
    pub(super) fn beside(
        sockets: Vec<TcpListener>,
        addresses: &[SocketAddr],
    ) -> Result<Listener, NetError> {
        bind_all(sockets, addresses).map(|sockets| Listener { sockets })
    }

    /// The addresses actually bound.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets
            .iter()
            .filter_map(|socket| socket.local_addr().ok())
            .collect()
    }

    /// The common port.
    pub fn port(&self) -> u16 {
        self.addresses().first().map_or(0, SocketAddr::port)
    }

    /// Accepts until `stop` is notified and hands every connection to `accepted`, which must not block.
    /// When the system has no descriptor for another socket, one that is kept for this takes each waiting
    /// socket in its turn: `accepted` is told the error, can say a word and must close it. Then it pauses
    /// instead of spinning; `paused` is told why, once each time the trouble begins.
    pub fn run(
        &self,
        stop: &Wake,
        mut accepted: impl FnMut(TcpStream, SocketAddr, Option<&io::Error>),
        mut paused: impl FnMut(&io::Error),
    ) -> io::Result<()> {
        let mut exhausted = false;
        let mut spare = Spare::new(stop);
        loop {
            let mut descriptors = vec![(stop.as_fd(), PollFlags::IN)];
            descriptors.extend(
                self.sockets
                    .iter()
                    .map(|socket| (socket.as_fd(), PollFlags::IN)),
            );
            let ready = wait_all(&descriptors, None)?;
            if ready.first().is_some_and(|flags| !flags.is_empty()) {
                return Ok(());
            }
            let waiting = self.sockets.iter().zip(ready.iter().skip(1));
            let mut trouble = None;
            for (socket, _) in waiting.filter(|(_, flags)| !flags.is_empty()) {
                trouble = accept_all(|| socket.accept(), &mut spare, &mut accepted)
                    .err()
                    .or(trouble);
            }
            if let Some(error) = &trouble {
                if !exhausted {
                    paused(error);
                }
                let until = Instant::now() + EXHAUSTED_PAUSE;
                if wait(None, Interest::READ, Some(stop), Some(until))?.woken {
                    return Ok(());
                }
            }
            exhausted = trouble.is_some();
        }
    }
}

/// A descriptor that is kept for the time when there is no other.
struct Spare<'a> {
    like: &'a Wake,
    held: Option<OwnedFd>,
}

impl<'a> Spare<'a> {
    fn new(like: &'a Wake) -> Self {
        let mut spare = Spare { like, held: None };
        spare.keep();
        spare
    }

    fn keep(&mut self) {
        if self.held.is_none() {
            self.held = self.like.as_fd().try_clone_to_owned().ok();
        }
    }

    /// Gives the descriptor away; false when there was none to give.
    fn lend(&mut self) -> bool {
        self.held.take().is_some()
    }
}

/// The loopback addresses of both families.
pub fn loopback(port: u16) -> [SocketAddr; 2] {
    [
        (Ipv4Addr::LOCALHOST, port).into(),
        (Ipv6Addr::LOCALHOST, port).into(),
    ]
}

/// Raises the soft limit of open descriptors to the hard one and returns it: every connection needs two.
pub fn raise_nofile() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    // macOS reports no hard limit but accepts no more than this.
    const WITHOUT_LIMIT: u64 = 10_240;
    let wanted = limit.maximum.or(Some(WITHOUT_LIMIT));
    if limit.current.is_some() && limit.current < wanted {
        // What the system refuses leaves the old limit, which is returned.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: wanted,
                ..limit
            },
        );
    }
    nofile()
}

/// Descriptors that this process may have open; `None` without a limit.
pub fn nofile() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

fn bind_all(
    mut sockets: Vec<TcpListener>,
    addresses: &[SocketAddr],
) -> Result<Vec<TcpListener>, NetError> {
    for address in addresses {
        let mut address = *address;
        if let (Some(first), 0) = (sockets.first(), address.port()) {
            address.set_port(first.local_addr()?.port());
        }
        match TcpListener::bind(address) {
            Ok(socket) => {
                socket.set_nonblocking(true)?;
                sockets.push(socket);
            }
            Err(error) if !sockets.is_empty() && is_missing_family(&error) => {}
            Err(source) => return Err(NetError::Bind { address, source }),
        }
    }
    Ok(sockets)
}

fn is_missing_family(error: &io::Error) -> bool {
    let code = error
        .raw_os_error()
        .map(rustix::io::Errno::from_raw_os_error);
    matches!(
        code,
        Some(rustix::io::Errno::ADDRNOTAVAIL | rustix::io::Errno::AFNOSUPPORT)
    )
}

/// Accepts everything that waits; fails when the system has no room for another socket.
fn accept_all(
    mut accept: impl FnMut() -> io::Result<(TcpStream, SocketAddr)>,
    spare: &mut Spare<'_>,
    accepted: &mut impl FnMut(TcpStream, SocketAddr, Option<&io::Error>),
) -> io::Result<()> {
    let mut trouble = None;
    spare.keep();
    loop {
        match (accept(), &trouble) {
            (Ok((stream, address)), trouble) => {
                accepted(stream, address, trouble.as_ref());
                spare.keep();
            }
            (Err(error), _) if error.kind() == io::ErrorKind::WouldBlock => {
                spare.keep();
                return trouble.map_or(Ok(()), Err);
            }
            // The peer gave up while it waited, or a signal came.
            (Err(error), _)
                if error.kind() == io::ErrorKind::ConnectionAborted || is_would_block(&error) => {}
            (Err(error), _) if is_out_of_descriptors(&error) && spare.lend() => {
                trouble = Some(error);
            }
            (Err(error), _) => return Err(error),
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let code = error
        .raw_os_error()
        .map(rustix::io::Errno::from_raw_os_error);
    matches!(
        code,
        Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE)
    )
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[test]
    fn both_families_share_one_port_and_accept_until_stopped() {
        let listener = Listener::bind(&loopback(0)).unwrap();
        let addresses = listener.addresses();
        assert!(!addresses.is_empty() && addresses.iter().all(|it| it.port() == listener.port()));
        let stop = Wake::new().unwrap();
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            let accepting = scope.spawn(|| {
                listener.run(
                    &stop,
                    |_, address, _| sender.send(address).unwrap(),
                    |error| panic!("{error}"),
                )
            });
            for address in &addresses {
                for _ in 0..3 {
                    let near = TcpStream::connect(address).unwrap();
                    let seen = receiver.recv_timeout(Duration::from_secs(30)).unwrap();
                    assert_eq!(seen, near.local_addr().unwrap());
                }
            }
            stop.notify();
            accepting.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_socket_without_a_descriptor_is_taken_by_the_spare_one_and_told() {
        let listener = Listener::bind(&[loopback(0)[0]]).unwrap();
        let stop = Wake::new().unwrap();
        let mut spare = Spare::new(&stop);
        let _near = TcpStream::connect(listener.addresses()[0]).unwrap();
        let out = || Err(io::Error::from(rustix::io::Errno::MFILE));
        let mut told = Vec::new();
        let mut accepted = |_, _, error: Option<&io::Error>| told.push(error.is_some());
        let mut script = [true, false].into_iter();
        let scripted = || match script.next() {
            Some(true) => out(),
            _ => listener.sockets[0].accept(),
        };
        let trouble = accept_all(scripted, &mut spare, &mut accepted).unwrap_err();
        assert!(is_out_of_descriptors(&trouble));
        assert!(spare.held.is_some(), "kept again");
        // Nothing is to be had at all: no endless loop.
        assert!(accept_all(out, &mut spare, &mut accepted).is_err());
        assert_eq!(told, [true]);
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = Listener::bind(&[address]).unwrap_err();
        let NetError::Bind { address: named, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(*named, address);
        assert!(
            error
                .to_string()
                .starts_with(&format!("cannot listen on {address}: ")),
            "{error}"
        );
    }

    #[test]
    fn an_address_of_another_machine_is_left_out_only_behind_the_first() {
        let foreign: SocketAddr = "192.0.2.1:0".parse().unwrap();
        let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
        assert!(Listener::bind(&[foreign, local]).is_err());
        assert_eq!(
            Listener::bind(&[local, foreign]).unwrap().addresses().len(),
            1
        );
    }

    #[test]
    fn the_descriptor_limit_is_at_its_maximum() {
        let raised = raise_nofile();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(raised, limit.current);
        assert!(limit.maximum.is_none() || limit.current == limit.maximum);
    }
}
