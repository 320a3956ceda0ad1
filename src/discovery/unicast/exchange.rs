//! Asking several questions at once: over UDP, each from a port and with an id of its own, over TCP where an
//! answer did not fit; of one server after the other until one answers or the deadline has passed.
//!
//! Only the server that was asked is heard. One that is slow is still listened to while the next is asked.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::discovery::unicast::message::{Answer, Question};
use crate::discovery::unicast::resolvers::Resolvers;
use crate::discovery::unicast::{Answered, Fault};
use crate::identity::Random;
use crate::net::readiness::wait_all;

/// Questions that are open at the same time; each holds a socket for every server that was asked.
const MAX_OPEN: usize = 16;

/// Packets of one server that answer something else, before it is no longer listened to.
const MAX_STRAY_PACKETS: u32 = 64;

/// Bytes of a datagram that are read; servers were told of fewer.
const MAX_DATAGRAM_BYTES: usize = 4_096;

impl Resolvers {
    /// What became of each question, in their order; over at the deadline.
    pub fn ask(&self, questions: &[Question], deadline: Instant) -> Vec<Answered> {
        let together = |questions: &[Question]| Exchange::new(self, questions, deadline).run();
        questions.chunks(MAX_OPEN).flat_map(together).collect()
    }

    /// The server of the nth try; after the last there is none.
    fn nth(&self, tries: usize) -> Option<SocketAddr> {
        let server = self.servers.get(tries.checked_rem(self.servers.len())?)?;
        (tries < self.tries()).then_some(*server)
    }

    fn tries(&self) -> usize {
        let attempts = usize::try_from(self.attempts).unwrap_or(usize::MAX);
        self.servers.len().saturating_mul(attempts)
    }
}

/// The questions that are open, and who was asked.
struct Exchange<'a> {
    resolvers: &'a Resolvers,
    open: Vec<Open<'a>>,
    tries: Vec<Try>,
    deadline: Instant,
}

/// One question.
struct Open<'a> {
    question: &'a Question,
    tries: usize,
    /// When the next server is asked.
    next: Instant,
    /// Why the last one that said anything did not help.
    fault: Option<Fault>,
    settled: Option<Answered>,
}

/// One server asked one question.
struct Try {
    /// Which of the open ones.
    question: usize,
    server: SocketAddr,
    socket: UdpSocket,
    id: u16,
    strays: u32,
}

impl<'a> Exchange<'a> {
    fn new(resolvers: &'a Resolvers, questions: &'a [Question], deadline: Instant) -> Self {
        let now = Instant::now();
        let open = questions.iter().map(|question| Open {
            question,
            tries: 0,
            next: now,
            fault: None,
            settled: None,
        });
        Exchange {
            resolvers,
            open: open.collect(),
            tries: Vec::new(),
            deadline,
        }
    }

    fn run(mut self) -> Vec<Answered> {
        while Instant::now() < self.deadline {
            self.ask_next();
            self.tries.retain(|it| {
                self.open
                    .get(it.question)
                    .is_some_and(|open| open.settled.is_none())
            });
            let waiting = self.open.iter().filter(|open| open.settled.is_none());
            let Some(until) = waiting.map(|open| open.next.min(self.deadline)).min() else {
                break;
            };
            if let Err(error) = self.listen(until) {
                self.open
                    .iter_mut()
                    .for_each(|open| open.fault = Some(Fault::NotAsked(error.to_string())));
                break;
            }
        }
        let servers = self.resolvers.servers.len();
        let outcome = |open: Open<'_>| {
            let fault = open.fault.unwrap_or(Fault::NoAnswer { servers });
            open.settled.unwrap_or(Err(fault))
        };
        self.open.into_iter().map(outcome).collect()
    }

    /// Asks the next server wherever the one before had its time.
    fn ask_next(&mut self) {
        let now = Instant::now();
        for (index, open) in self.open.iter_mut().enumerate() {
            while open.settled.is_none() && open.next <= now {
                let Some(server) = self.resolvers.nth(open.tries) else {
                    let servers = self.resolvers.servers.len();
                    open.settled = Some(Err(open
                        .fault
                        .take()
                        .unwrap_or(Fault::NoAnswer { servers })));
                    break;
                };
                // Everybody who may still be asked gets an equal share of the time that is left.
                let share = u32::try_from(self.resolvers.tries() - open.tries).unwrap_or(u32::MAX);
                let share = self.deadline.saturating_duration_since(now) / share;
                open.tries += 1;
                match Try::start(index, open.question, server) {
                    Ok(started) => {
                        open.next = now + share.min(self.resolvers.patience);
                        self.tries.push(started);
                    }
                    Err(error) => open.fault = Some(Fault::NotAsked(error.to_string())),
                }
            }
        }
    }

    /// Waits for answers until then, and reads those that came.
    fn listen(&mut self, until: Instant) -> io::Result<()> {
        let sockets: Vec<_> = self
            .tries
            .iter()
            .map(|it| (it.socket.as_fd(), PollFlags::IN))
            .collect();
        let ready = wait_all(&sockets, Some(until))?;
        for (one, flags) in self.tries.iter_mut().zip(ready) {
            let Some(open) = self.open.get_mut(one.question) else {
                continue;
            };
            if !flags.is_empty() && open.settled.is_none() {
                one.hear(open, self.deadline);
            }
        }
        self.tries.retain(|one| one.strays <= MAX_STRAY_PACKETS);
        Ok(())
    }
}

impl Open<'_> {
    fn failed(&mut self, fault: Fault) {
        self.fault = Some(fault);
        self.next = Instant::now();
    }

    fn take(&mut self, answer: Option<Answer>) {
        match answer {
            Some(Answer::Records(records)) => self.settled = Some(Ok(records)),
            Some(Answer::Refused(code)) => self.failed(Fault::Refused { code }),
            // An answer that does not fit into TCP either, or none.
            Some(Answer::Truncated) | None => self.next = Instant::now(),
        }
    }
}

impl Try {
    fn start(index: usize, question: &Question, server: SocketAddr) -> io::Result<Try> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        // From here on the system drops what anybody else sends.
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let id = random_id();
        let packet = question.packet(id).ok_or_else(unsendable)?;
        socket.send(&packet)?;
        Ok(Try {
            question: index,
            server,
            socket,
            id,
            strays: 0,
        })
    }

    /// Reads what came in; an answer settles the question, or sends it on.
    fn hear(&mut self, open: &mut Open<'_>, deadline: Instant) {
        let mut buffer = [0; MAX_DATAGRAM_BYTES];
        while self.strays <= MAX_STRAY_PACKETS {
            let read = match self.socket.recv(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // Nobody listens there.
                Err(_) => {
                    self.strays = u32::MAX;
                    open.next = Instant::now();
                    return;
                }
            };
            match open
                .question
                .answer(self.id, buffer.get(..read).unwrap_or_default())
            {
                None => self.strays += 1,
                Some(answer) => {
                    let answer = match answer {
                        Answer::Truncated => whole(
                            self.server,
                            open.question,
                            open.next.max(soon(deadline)).min(deadline),
                        ),
                        short => Some(short),
                    };
                    self.strays = u32::MAX;
                    open.take(answer);
                    return;
                }
            }
        }
    }
}

/// What a server that could be heard gets at least for the rest of its answer: half of what is left.
fn soon(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / 2
}

/// The answer over TCP; `None` when it does not come in time or answers something else.
fn whole(server: SocketAddr, question: &Question, until: Instant) -> Option<Answer> {
    let id = random_id();
    let packet = question.packet(id)?;
    let bytes = over_tcp(server, &packet, until).ok()?;
    question.answer(id, &bytes)
}

/// One message there and one back (RFC 7766).
fn over_tcp(server: SocketAddr, packet: &[u8], until: Instant) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, left(until)?)?;
    stream.set_write_timeout(Some(left(until)?))?;
    let length = u16::try_from(packet.len()).map_err(|_| unsendable())?;
    let framed = [&length.to_be_bytes(), packet].concat();
    stream.write_all(&framed)?;
    let mut length = [0; 2];
    fill(&mut stream, &mut length, until)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    fill(&mut stream, &mut answer, until)?;
    Ok(answer)
}

/// Reads exactly so much, however slowly it comes, and no longer than until then.
fn fill(stream: &mut TcpStream, mut buffer: &mut [u8], until: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => buffer = &mut std::mem::take(&mut buffer)[read..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    Ok(left)
}

fn random_id() -> u16 {
    u16::from_be_bytes(Random.bytes())
}

fn unsendable() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidInput,
        "a name that no DNS message can hold",
    )
}
