//! The heads of WebSocket frames, read as their bytes come.

/// Two bytes, eight of extended length, four of mask.
const MAX_BYTES: usize = 14;

/// The head of a frame whose bytes come one by one.
#[derive(Debug, Default)]
pub struct FrameHead {
    bytes: [u8; MAX_BYTES],
    have: usize,
}

/// What a complete head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// It ends its message.
    pub last: bool,
    /// Its kind; 8 and above are control frames.
    pub opcode: u8,
    /// Its payload is masked.
    pub masked: bool,
    /// Bytes of its payload.
    pub length: u64,
}

impl FrameHead {
    /// Takes one more byte; the head when that was its last.
    pub fn push(&mut self, byte: u8) -> Option<Announced> {
        self.bytes[self.have] = byte;
        self.have += 1;
        if self.have < self.known_length() {
            return None;
        }
        self.have = 0;
        let byte = |at: usize| u64::from(self.bytes[at]);
        Some(Announced {
            last: self.bytes[0] & 0x80 != 0,
            opcode: self.bytes[0] & 0x0f,
            masked: self.bytes[1] & 0x80 != 0,
            length: match self.bytes[1] & 0x7f {
                126 => byte(2) << 8 | byte(3),
                127 => (2..10).fold(0, |length, at| length << 8 | byte(at)),
                length => u64::from(length),
            },
        })
    }

    /// Whether no byte of a head has come yet.
    pub fn is_empty(&self) -> bool {
        self.have == 0
    }

    /// Length of the head as far as it is known: never less than what is needed to know more.
    fn known_length(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let extended = match self.bytes[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.bytes[1] & 0x80 == 0 { 0 } else { 4 };
        2 + extended + mask
    }
}
