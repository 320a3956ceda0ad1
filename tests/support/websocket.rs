//! A WebSocket client written by hand after RFC 6455: the tests' bytes do not come from the encoder
//! that the program uses.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::tls::Wire;

/// What arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame (1005 when it carried no code).
    Close(u16, String),
    /// The connection ended without a close frame.
    Gone,
}

/// One client connection; frames are masked with a fixed key.
pub struct WebSocket {
    stream: Wire,
    buffer: Vec<u8>,
    /// The text so far of a fragmented message.
    fragments: Option<Vec<u8>>,
}

const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

impl WebSocket {
    pub fn connect(address: SocketAddr) -> WebSocket {
        Self::connect_with(address, "/", &[])
            .unwrap_or_else(|answer| panic!("no upgrade: {answer}"))
    }

    /// Upgrades with extra request headers, a `Host` among them in place of the address; the raw HTTP
    /// answer when the upgrade is refused.
    pub fn connect_with(
        address: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<WebSocket, String> {
        let stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        Self::over(stream, address, target, headers)
    }

    /// The same over a connection that exists already.
    pub fn over(
        stream: TcpStream,
        address: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<WebSocket, String> {
        stream.set_nodelay(true).unwrap();
        Self::upgrade(Wire::Plain(stream), address, target, headers)
    }

    /// Upgrades a connection that is open already, for example through TLS.
    pub fn upgrade(
        mut stream: Wire,
        address: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<WebSocket, String> {
        let mut request = format!(
            "GET {target} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        );
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            request.push_str(&format!("Host: {address}\r\n"));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        stream
            .write_all(request.as_bytes())
            .map_err(|error| error.to_string())?;
        stream.socket().set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = Vec::new();
        let mut byte = [0u8; 1];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(0) | Err(_) => return Err(String::from_utf8_lossy(&head).into_owned()),
                Ok(_) => head.push(byte[0]),
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        if !text.starts_with("HTTP/1.1 101") {
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            return Err(text + &String::from_utf8_lossy(&rest));
        }
        assert!(
            text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            "the accept key of RFC 6455 section 1.3 is missing: {text}"
        );
        Ok(WebSocket {
            stream,
            buffer: Vec::new(),
            fragments: None,
        })
    }

    pub fn send_text(&mut self, text: &str) {
        let _ = self.try_send(0x1, text.as_bytes());
    }

    /// Sends one complete masked frame.
    pub fn try_send(&mut self, opcode: u8, payload: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(&frame(opcode, payload))?;
        self.stream.flush()
    }

    /// Sends bytes as they are, for broken frames.
    pub fn send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn stream(&self) -> &TcpStream {
        self.stream.socket()
    }

    /// The connection underneath; what was read and not asked for is lost.
    pub fn into_stream(self) -> TcpStream {
        match self.stream {
            Wire::Plain(stream) => stream,
            Wire::Tls(_) => panic!("its bytes belong to TLS"),
        }
    }

    /// The next message; panics when none arrives within the tests' patience.
    #[track_caller]
    pub fn next(&mut self) -> Message {
        self.next_within(PATIENCE)
            .expect("no message arrived in time")
    }

    /// The next message, or nothing within `patience`.
    pub fn next_within(&mut self, patience: Duration) -> Option<Message> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(message) = self.take() {
                return Some(message);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            self.stream
                .socket()
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))
                .unwrap();
            let mut chunk = [0u8; 16_384];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Some(Message::Gone),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if would_block(&error) => return None,
                // A signal to this process, such as a child's end, is no end of the connection.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return Some(Message::Gone),
            }
        }
    }

    /// One message from the buffer; server frames must not be masked.
    fn take(&mut self) -> Option<Message> {
        loop {
            let (first, payload) = self.take_frame()?;
            let (last, opcode) = (first & 0x80 != 0, first & 0x0f);
            match (opcode, self.fragments.take()) {
                (0x1, None) if last => return Some(text(payload)),
                (0x1, None) => self.fragments = Some(payload),
                (0x0, Some(mut whole)) => {
                    whole.extend_from_slice(&payload);
                    if last {
                        return Some(text(whole));
                    }
                    self.fragments = Some(whole);
                }
                (control, fragments) => {
                    self.fragments = fragments;
                    return Some(control_message(control, payload));
                }
            }
        }
    }

    /// The first byte and the payload of one frame.
    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.buffer.get(..2)?;
        let (first, short) = (head[0], usize::from(head[1] & 0x7f));
        assert!(head[1] & 0x80 == 0, "a server frame is masked");
        let (offset, length) = match short {
            126 => (
                4,
                u64::from(u16::from_be_bytes(
                    self.buffer.get(2..4)?.try_into().unwrap(),
                )),
            ),
            127 => (
                10,
                u64::from_be_bytes(self.buffer.get(2..10)?.try_into().unwrap()),
            ),
            length => (2, length as u64),
        };
        let end = offset + length as usize;
        let payload = self.buffer.get(offset..end)?.to_vec();
        self.buffer.drain(..end);
        Some((first, payload))
    }
}

fn text(payload: Vec<u8>) -> Message {
    Message::Text(String::from_utf8(payload).expect("text frames are UTF-8"))
}

fn control_message(opcode: u8, payload: Vec<u8>) -> Message {
    match opcode {
        0x8 if payload.len() >= 2 => Message::Close(
            u16::from_be_bytes([payload[0], payload[1]]),
            String::from_utf8_lossy(&payload[2..]).into_owned(),
        ),
        0x8 => Message::Close(1005, String::new()),
        0x9 => Message::Ping(payload),
        0xa => Message::Pong(payload),
        other => panic!("unexpected opcode {other}"),
    }
}

/// A complete masked client frame.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(
        payload
            .iter()
            .enumerate()
            .map(|(index, byte)| byte ^ MASK[index % 4]),
    );
    bytes
}

fn would_block(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}
