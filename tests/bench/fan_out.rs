//! One event to 500 operators, beside one thread that writes the same bytes to 500 sockets in a loop.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use crate::Bench;
use crate::approvals::request;
use crate::fleet::Fleet;
use crate::report::{Row, Sample};
use crate::support::PATIENCE;
use crate::support::peer::Peer;

pub const OPERATORS: usize = 500;

pub fn measure(bench: &mut Bench) {
    let fleet = Fleet::paired(1, false);
    let (ours, raw) = to_operators(&fleet, bench.runs());
    let row = Row::new("one event to 500 operators by a raw loop", "", ours.median() / raw.median())
        .note(&format!("until the last has it: {}; raw: {}", ours.text("ms"), raw.text("ms")))
        .command("node.pair.request, heard as node.pair.requested; one thread that writes as many bytes to 500 sockets");
    bench.report.row(row);
}

/// How long one event takes until the last of 500 operators has it, and the same for a raw loop.
pub fn to_operators(fleet: &Fleet, runs: usize) -> (Sample, Sample) {
    let mut asker = fleet.operator();
    let operators: Vec<Peer> = (0..OPERATORS).map(|_| fleet.operator()).collect();
    let streams: Vec<&TcpStream> = operators.iter().map(|peer| peer.socket.stream()).collect();
    let mut hearers = Hearers::of(&streams);
    let (server, client) = raw_pairs();
    let clients: Vec<&TcpStream> = client.iter().collect();
    let mut raw_hearers = Hearers::of(&clients);
    let (mut ours, mut raw) = (Vec::new(), Vec::new());
    for run in 0..=runs {
        let node = format!("fan-out-{run}-");
        let begun = Instant::now();
        asker.send(
            "node.pair.request",
            json!({"nodeId": node, "platform": "linux"}),
        );
        let (last, bytes) = hearers.until_all_have(node.as_bytes());
        let ours_took = last - begun;
        // The request came and went without an answer being read: take it away again.
        let again = request(&mut asker, &node);
        asker
            .call("node.pair.reject", json!({"requestId": again}))
            .unwrap();
        hearers.until_all_have(b"node.pair.resolved");

        let mut frame = bytes;
        frame.truncate(frame.len() - 1);
        frame.push(b'\n');
        let begun = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                server
                    .iter()
                    .for_each(|mut stream| stream.write_all(&frame).unwrap())
            });
            let (last, _) = raw_hearers.until_all_have(b"\n");
            // The first round warms up.
            if run > 0 {
                ours.push(ours_took);
                raw.push(last - begun);
            }
        });
    }
    (Sample::of_durations(ours), Sample::of_durations(raw))
}

/// Connected pairs of sockets: one end of each on either side.
fn raw_pairs() -> (Vec<TcpStream>, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let pair = |_| {
        let client = TcpStream::connect(address).unwrap();
        let server = listener.accept().unwrap().0;
        server.set_nodelay(true).unwrap();
        (server, client)
    };
    (0..OPERATORS).map(pair).unzip()
}

/// Sockets that one thread reads from as they become readable.
struct Hearers<'a> {
    streams: &'a [&'a TcpStream],
    heard: Vec<Vec<u8>>,
}

impl<'a> Hearers<'a> {
    fn of(streams: &'a [&'a TcpStream]) -> Hearers<'a> {
        for stream in streams {
            stream.set_nonblocking(true).unwrap();
        }
        Hearers {
            streams,
            heard: vec![Vec::new(); streams.len()],
        }
    }

    /// When the last of them has received `text`, and what the first one received until then.
    fn until_all_have(&mut self, text: &[u8]) -> (Instant, Vec<u8>) {
        let deadline = Instant::now() + PATIENCE;
        let mut waiting: Vec<usize> = (0..self.streams.len()).collect();
        let mut first = Vec::new();
        loop {
            waiting.retain(|index| {
                let found = self.receives(*index, text);
                if found && *index == 0 {
                    first = self.heard[0].clone();
                }
                if found {
                    self.heard[*index].clear();
                }
                !found
            });
            if waiting.is_empty() {
                return (Instant::now(), first);
            }
            assert!(
                Instant::now() < deadline,
                "{} did not hear it",
                waiting.len()
            );
            let polled = waiting
                .iter()
                .map(|index| PollFd::new(self.streams[*index], PollFlags::IN));
            let second = Timespec::try_from(Duration::from_secs(1)).unwrap();
            poll(&mut polled.collect::<Vec<_>>(), Some(&second)).unwrap();
        }
    }

    /// Reads what is there; whether `text` is in it.
    fn receives(&mut self, index: usize, text: &[u8]) -> bool {
        let mut chunk = [0; 4096];
        let heard = &mut self.heard[index];
        let mut stream = self.streams[index];
        match stream.read(&mut chunk) {
            Ok(0) => panic!("a connection ended"),
            Ok(count) => heard.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("{error}"),
        }
        heard.windows(text.len()).any(|window| window == text)
    }
}
