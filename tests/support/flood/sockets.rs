//! Sockets that never finish a handshake: many, large, or slow.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::Target;
use crate::support::PATIENCE;
use crate::support::websocket::{WebSocket, frame};

/// Connects from 127.0.`block`.`host`.
pub fn connect_from(address: SocketAddr, block: u8, host: u8) -> std::io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(
        &socket,
        &SocketAddr::from((Ipv4Addr::new(127, 0, block, host), 0)),
    )?;
    connect(&socket, &address)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An upgraded connection from another address than the honest client's.
fn upgrade_from(address: SocketAddr, block: u8, host: u8) -> Option<WebSocket> {
    let stream = connect_from(address, block, host).ok()?;
    WebSocket::over(stream, address, "/", &[]).ok()
}

/// `count` sockets without credentials from `sources` addresses: some say nothing, some begin a request, some
/// are upgraded and stay silent, some begin a large frame.
pub fn many(count: usize, sources: u8) {
    let target = Target::start("");
    let address = target.address();
    let mut held = Vec::new();
    for number in 0..count {
        let host = 1 + (number % usize::from(sources)) as u8;
        let Ok(mut stream) = connect_from(address, 1, host) else {
            continue;
        };
        // Whoever is turned away at once cannot write; that is what is attacked here.
        let _ = match number % 4 {
            0 => Ok(()),
            1 => stream.write_all(b"GET / HT"),
            2 => stream.write_all(&upgrade_request()),
            _ => stream
                .write_all(&upgrade_request())
                .and_then(|()| stream.write_all(&frame(0x1, &[b'x'; 65_000])[..40_000])),
        };
        held.push(stream);
        if number % (count / 4).max(1) == 0 {
            target.withstands();
        }
    }
    let used = target.withstands();
    println!(
        "{count} sockets from {sources} addresses: {used:?}, before {:?}",
        target.before
    );
    drop(held);
    target.recovers();
}

fn upgrade_request() -> Vec<u8> {
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        .to_vec()
}

/// `total` bytes pushed by `pushers` at once, without ever finishing a handshake: no request at all, an
/// endless head, endless fragments, endless pings.
pub fn bytes(total: u64, pushers: u8) {
    let target = Target::start("");
    let address = target.address();
    let pushed = AtomicU64::new(0);
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for pusher in 0..pushers {
            let (pushed, done) = (&pushed, &done);
            scope.spawn(move || {
                while pushed.load(Ordering::Relaxed) < total {
                    push(address, pusher, pushed);
                }
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        while done.load(Ordering::Relaxed) < usize::from(pushers) {
            target.withstands();
        }
    });
    let used = target.withstands();
    println!(
        "{total} bytes by {pushers} at once: {used:?}, before {:?}",
        target.before
    );
    target.recovers();
}

/// Pushes into one connection until it is cut off.
fn push(address: SocketAddr, pusher: u8, pushed: &AtomicU64) {
    let Ok(mut stream) = connect_from(address, 2, 1 + pusher) else {
        return;
    };
    let chunk = match pusher % 4 {
        0 => vec![0x16; 16 * 1024],
        1 => b"X-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(300),
        2 => frame(0x9, &[b'p'; 125]).repeat(100),
        // Empty fragments: the message never grows and never ends.
        _ => {
            let mut fragment = frame(0x0, b"");
            fragment[0] = 0x00;
            fragment.repeat(2_000)
        }
    };
    let opening = match pusher % 4 {
        0 => Vec::new(),
        1 => b"GET / HTTP/1.1\r\n".to_vec(),
        2 => upgrade_request(),
        _ => {
            let mut first = frame(0x1, b"{");
            first[0] = 0x01;
            [upgrade_request(), first].concat()
        }
    };
    if stream.write_all(&opening).is_err() {
        return;
    }
    while stream.write_all(&chunk).is_ok() {
        pushed.fetch_add(chunk.len() as u64, Ordering::Relaxed);
    }
    pushed.fetch_add(chunk.len() as u64, Ordering::Relaxed);
}

/// One peer per phase that keeps sending a little for ever: each is ended by its deadline.
pub fn slowloris() {
    let target = Target::start("handshakeTimeoutMs: 3000");
    let address = target.address();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let head = connect_from(address, 3, 1).unwrap();
        let silent = upgrade_from(address, 3, 2).unwrap();
        let mut typing = upgrade_from(address, 3, 3).unwrap();
        typing.send_raw(&[0x81, 0xfe, 0x40, 0x00]).unwrap();
        let fragments = upgrade_from(address, 3, 4).unwrap();
        let pings = upgrade_from(address, 3, 5).unwrap();
        let mut fragment = frame(0x1, b"x");
        fragment[0] = 0x01;
        let mut more = frame(0x0, b"x");
        more[0] = 0x00;
        let trickles: Vec<(&str, TcpStream, Vec<u8>, Vec<u8>)> = vec![
            (
                "a head byte by byte",
                head,
                b"GET / HTTP/1.1\r\nX: ".to_vec(),
                b"y".to_vec(),
            ),
            (
                "an upgrade and nothing more",
                silent.into_stream(),
                Vec::new(),
                Vec::new(),
            ),
            (
                "a frame byte by byte",
                typing.into_stream(),
                Vec::new(),
                b"z".to_vec(),
            ),
            ("fragments", fragments.into_stream(), fragment, more),
            ("pings", pings.into_stream(), Vec::new(), frame(0x9, b"p")),
        ];
        let ended: Vec<_> = trickles
            .into_iter()
            .map(|(name, stream, opening, drop)| {
                scope.spawn(move || (name, trickle(stream, &opening, &drop)))
            })
            .collect();
        let honest = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                target.withstands();
            }
        });
        let ended: Vec<_> = ended.into_iter().map(|peer| peer.join()).collect();
        // Whatever came of them, the honest client stops too.
        over.store(true, Ordering::Relaxed);
        honest.join().unwrap();
        for peer in ended {
            let (name, ended) = peer.unwrap();
            assert!(
                ended,
                "{name} holds its place for longer than a handshake may take"
            );
        }
    });
    target.recovers();
}

/// Sends `drop` again and again until the other end closes; false when it does not.
fn trickle(mut stream: TcpStream, opening: &[u8], drop: &[u8]) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let mut alive = stream.write_all(opening).is_ok();
    let deadline = std::time::Instant::now() + PATIENCE;
    let mut sink = [0_u8; 4096];
    while alive {
        if std::time::Instant::now() >= deadline {
            return false;
        }
        alive = stream.write_all(drop).is_ok()
            && match stream.read(&mut sink) {
                Ok(count) => count > 0,
                Err(error) => matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ),
            };
    }
    true
}
