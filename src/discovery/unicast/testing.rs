//! A DNS server on loopback that says what a test wants, in bytes that share nothing with our own messages.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

pub const A: u16 = 1;
pub const CNAME: u16 = 5;
pub const PTR: u16 = 12;
pub const TXT: u16 = 16;
pub const AAAA: u16 = 28;
pub const SRV: u16 = 33;

/// QR, RD and RA, no error.
pub const OK: u16 = 0x8180;
pub const TRUNCATED: u16 = 0x8380;
pub const SERVFAIL: u16 = 0x8182;
pub const NXDOMAIN: u16 = 0x8183;
pub const REFUSED: u16 = 0x8185;

/// A question as it came in.
#[derive(Debug, Clone)]
pub struct Query {
    pub bytes: Vec<u8>,
    /// Lower case, labels joined by dots.
    pub name: String,
    pub kind: u16,
    pub over_tcp: bool,
    /// Who asked; where no datagram was.
    pub from: Option<SocketAddr>,
}

impl Query {
    fn read(bytes: &[u8], from: Option<SocketAddr>) -> Query {
        let mut at = 12;
        let mut labels = Vec::new();
        while bytes[at] != 0 {
            let end = at + 1 + usize::from(bytes[at]);
            labels.push(String::from_utf8_lossy(&bytes[at + 1..end]).to_lowercase());
            at = end;
        }
        Query {
            name: labels.join("."),
            kind: u16::from_be_bytes([bytes[at + 1], bytes[at + 2]]),
            bytes: bytes.to_vec(),
            over_tcp: from.is_none(),
            from,
        }
    }

    /// The question section as it was sent.
    pub fn question(&self) -> &[u8] {
        let end = 12 + self.bytes[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
        &self.bytes[12..end]
    }

    /// An answer with these records, each already in bytes.
    pub fn reply(&self, flags: u16, answers: &[Vec<u8>], additional: &[Vec<u8>]) -> Vec<u8> {
        let count = |records: &[Vec<u8>]| u16::try_from(records.len()).unwrap().to_be_bytes();
        let mut out = self.bytes[..2].to_vec();
        out.extend(flags.to_be_bytes());
        out.extend([0, 1]);
        out.extend(count(answers));
        out.extend([0, 0]);
        out.extend(count(additional));
        out.extend(self.question());
        out.extend(answers.concat());
        out.extend(additional.concat());
        out
    }
}

/// A name in bytes.
pub fn name(labels: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for label in labels {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label);
    }
    out.push(0);
    out
}

/// A name of plain labels in bytes.
pub fn plain(text: &str) -> Vec<u8> {
    let labels: Vec<&[u8]> = text.split('.').map(str::as_bytes).collect();
    name(&labels)
}

/// A record in bytes.
pub fn record(name: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = name.to_vec();
    out.extend(kind.to_be_bytes());
    out.extend([0, 1, 0, 0, 0, 60]);
    out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    out.extend_from_slice(data);
    out
}

pub fn srv(of: &[u8], priority: u16, port: u16, target: &[u8]) -> Vec<u8> {
    let mut data = priority.to_be_bytes().to_vec();
    data.extend([0, 0]);
    data.extend(port.to_be_bytes());
    data.extend_from_slice(target);
    record(of, SRV, &data)
}

pub fn txt(of: &[u8], strings: &[&[u8]]) -> Vec<u8> {
    let mut data = Vec::new();
    for string in strings {
        data.push(u8::try_from(string.len()).unwrap());
        data.extend_from_slice(string);
    }
    record(of, TXT, &data)
}

type Behaviour = dyn Fn(&Query) -> Vec<Vec<u8>> + Send + Sync;

/// Listens on UDP and TCP of one port until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    queries: Arc<Mutex<Vec<Query>>>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Sends what `behaviour` returns for each question: as datagrams, or one after the other over TCP.
    pub fn new(behaviour: impl Fn(&Query) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Server {
        let (udp, tcp) = one_port();
        let address = udp.local_addr().unwrap();
        let queries = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        let datagrams = {
            let (queries, over, behaviour) = (queries.clone(), over.clone(), behaviour.clone());
            move || {
                let mut buffer = [0; 2048];
                while let Ok((read, from)) = udp.recv_from(&mut buffer) {
                    if over.load(Ordering::SeqCst) {
                        break;
                    }
                    let query = Query::read(&buffer[..read], Some(from));
                    queries.lock().unwrap().push(query.clone());
                    for packet in behaviour(&query) {
                        let _ = udp.send_to(&packet, from);
                    }
                }
            }
        };
        let streams = {
            let (queries, over) = (queries.clone(), over.clone());
            move || {
                // A client that is to be kept waiting keeps its connection.
                let mut kept = Vec::new();
                while let Ok((mut stream, _)) = tcp.accept() {
                    if over.load(Ordering::SeqCst) {
                        break;
                    }
                    let mut length = [0; 2];
                    if stream.read_exact(&mut length).is_err() {
                        continue;
                    }
                    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
                    if stream.read_exact(&mut bytes).is_err() {
                        continue;
                    }
                    let query = Query::read(&bytes, None);
                    queries.lock().unwrap().push(query.clone());
                    for packet in behaviour(&query) {
                        let _ = stream.write_all(&packet);
                    }
                    kept.push(stream);
                }
            }
        };
        Server {
            address,
            queries,
            over,
            threads: vec![thread::spawn(datagrams), thread::spawn(streams)],
        }
    }

    pub fn queries(&self) -> Vec<Query> {
        self.queries.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let _ = socket.send_to(&[0; 32], self.address);
        let _ = std::net::TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A message with its length before it, as TCP wants it.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap();
    [&length.to_be_bytes(), message].concat()
}

fn one_port() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // Another test may have the same number for TCP.
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}
