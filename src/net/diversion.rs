//! Takes long messages out of the bytes that go to the WebSocket decoder and hands them on piece by piece: what nobody
//! has to hold whole is never held whole, and what is too long for anybody ends no connection.

use std::fmt;

use super::frame_head::{Announced, FrameHead};

/// Bytes by which a message is recognised.
pub const START_BYTES: usize = 32;

/// Who takes long messages instead of the decoder.
pub trait Taker: Send {
    /// Whether it takes the message of `length` bytes that begins with `start`, of at least [`START_BYTES`] bytes.
    fn takes(&mut self, start: &[u8], length: u64) -> bool;

    /// The next bytes of the message that it takes, the first ones among them.
    fn piece(&mut self, bytes: &[u8]);

    /// The message is complete.
    fn end(&mut self);
}

/// Sorts the bytes of one connection.
pub struct Diversion {
    /// Messages of more bytes than this are offered.
    above: u64,
    taker: Box<dyn Taker>,
    head: FrameHead,
    state: State,
    /// Head and first bytes of a frame that nobody has decided on.
    held: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In the head of a frame.
    Head,
    /// In the first bytes of a long message: where its payload begins among those held, and its length.
    Start(usize, u64),
    /// In a payload of which so many bytes are still to come, for the decoder.
    Passing(u64),
    /// The same, for the taker.
    Taken(u64),
}

impl Diversion {
    /// Offers messages of more than `above` bytes in one unmasked frame.
    pub fn new(above: usize, taker: Box<dyn Taker>) -> Diversion {
        Diversion {
            above: above.max(START_BYTES) as u64,
            taker,
            head: FrameHead::default(),
            state: State::Head,
            held: Vec::new(),
        }
    }

    /// Takes the next bytes of the stream; those for the decoder are appended to `kept`.
    pub fn sort(&mut self, mut bytes: &[u8], kept: &mut Vec<u8>) {
        while let [first, rest @ ..] = bytes {
            match self.state {
                State::Head => {
                    self.held.push(*first);
                    bytes = rest;
                    if let Some(head) = self.head.push(*first) {
                        self.begin(head, kept);
                    }
                }
                State::Start(payload, length) => {
                    let wanted = payload + START_BYTES - self.held.len();
                    let (part, rest) = bytes.split_at(wanted.min(bytes.len()));
                    self.held.extend_from_slice(part);
                    bytes = rest;
                    if part.len() == wanted {
                        self.decide(payload, length, kept);
                    }
                }
                State::Passing(left) => {
                    let (part, rest) = split(bytes, left);
                    kept.extend_from_slice(part);
                    bytes = rest;
                    self.state = State::Passing(left - part.len() as u64).or_head();
                }
                State::Taken(left) => {
                    let (part, rest) = split(bytes, left);
                    self.taker.piece(part);
                    bytes = rest;
                    self.state = State::Taken(left - part.len() as u64).or_head();
                    if matches!(self.state, State::Head) {
                        self.taker.end();
                    }
                }
            }
        }
    }

    fn begin(&mut self, head: Announced, kept: &mut Vec<u8>) {
        let whole = head.last && !head.masked && matches!(head.opcode, 1 | 2);
        if whole && head.length > self.above {
            self.state = State::Start(self.held.len(), head.length);
        } else {
            kept.append(&mut self.held);
            self.state = State::Passing(head.length).or_head();
        }
    }

    fn decide(&mut self, payload: usize, length: u64, kept: &mut Vec<u8>) {
        let left = length - START_BYTES as u64;
        let start = &self.held[payload..];
        if self.taker.takes(start, length) {
            self.taker.piece(start);
            self.held.clear();
            self.state = State::Taken(left);
        } else {
            kept.append(&mut self.held);
            self.state = State::Passing(left);
        }
    }
}

impl State {
    /// A payload that is complete is followed by a head.
    fn or_head(self) -> State {
        match self {
            State::Passing(0) | State::Taken(0) => State::Head,
            state => state,
        }
    }
}

fn split(bytes: &[u8], left: u64) -> (&[u8], &[u8]) {
    bytes.split_at(usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len()))
}

impl fmt::Debug for Diversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diversion")
            .field("above", &self.above)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Takes what begins with a `t`, and writes it down.
    struct Notes(Arc<Mutex<Vec<String>>>);

    impl Taker for Notes {
        fn takes(&mut self, start: &[u8], length: u64) -> bool {
            assert!(start.len() == START_BYTES && length > 100);
            let takes = start[0] == b't';
            if takes {
                self.0.lock().unwrap().push(String::new());
            }
            takes
        }

        fn piece(&mut self, bytes: &[u8]) {
            let text = std::str::from_utf8(bytes).unwrap();
            self.0.lock().unwrap().last_mut().unwrap().push_str(text);
        }

        fn end(&mut self) {
            self.0.lock().unwrap().last_mut().unwrap().push('.');
        }
    }

    fn frame(first: u8, text: &str) -> Vec<u8> {
        let mut bytes = vec![first];
        match text.len() {
            length @ 0..126 => bytes.push(length as u8),
            length @ 126..65_536 => {
                bytes.push(126);
                bytes.extend((length as u16).to_be_bytes());
            }
            length => {
                bytes.push(127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(text.bytes());
        bytes
    }

    #[test]
    fn long_messages_go_to_whoever_takes_them_and_everything_else_to_the_decoder() {
        let (long, huge) = ("t".repeat(101), "t".repeat(70_000));
        let passed = [
            frame(0x81, ""),
            frame(0x81, &"t".repeat(100)),
            frame(0x81, &"p".repeat(300)),
            // Parts of a message, and a control frame.
            frame(0x01, &long),
            frame(0x89, "ping"),
            frame(0x80, &long),
        ];
        let stream = [
            passed[0].clone(),
            frame(0x81, &long),
            passed[1].clone(),
            passed[2].clone(),
            frame(0x82, &huge),
            passed[3..].concat(),
        ]
        .concat();
        for size in [1, 2, 7, 33, 1024, stream.len()] {
            let notes = Arc::new(Mutex::new(Vec::new()));
            let mut diversion = Diversion::new(100, Box::new(Notes(Arc::clone(&notes))));
            let mut kept = Vec::new();
            stream
                .chunks(size)
                .for_each(|chunk| diversion.sort(chunk, &mut kept));
            assert!(kept == passed.concat(), "{size}");
            let expected = [format!("{long}."), format!("{huge}.")];
            assert!(*notes.lock().unwrap() == expected, "{size}");
        }
    }
}
