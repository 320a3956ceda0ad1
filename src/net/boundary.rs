//! Watches the bytes that go into the WebSocket decoder and knows whether it holds a part of a message.
//!
//! The decoder never gives a large buffer back, so after a large message it is replaced, which is only
//! safe while it holds nothing. It does not say so itself; this counts along.

use super::frame_head::{Announced, FrameHead};

/// Where in the sequence of frames the bytes seen so far end.
#[derive(Debug, Default)]
pub struct Boundary {
    head: FrameHead,
    /// Payload bytes of the current frame still to come.
    payload_left: u64,
    /// A fragmented message is open.
    message_open: bool,
}

impl Boundary {
    /// Takes note of `bytes`.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while let [first, rest @ ..] = bytes {
            if self.payload_left > 0 {
                let skip = usize::try_from(self.payload_left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                self.payload_left -= skip as u64;
                bytes = &bytes[skip..];
                continue;
            }
            bytes = rest;
            if let Some(head) = self.head.push(*first) {
                self.open_frame(head);
            }
        }
    }

    /// Whether everything seen so far is complete messages.
    pub fn at_rest(&self) -> bool {
        self.head.is_empty() && self.payload_left == 0 && !self.message_open
    }

    fn open_frame(&mut self, head: Announced) {
        self.payload_left = head.length;
        // Control frames may come between the fragments of a message.
        if head.opcode < 8 {
            self.message_open = !head.last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, masked: bool, length: usize) -> Vec<u8> {
        let mask_bit = if masked { 0x80 } else { 0 };
        let mut bytes = vec![first];
        match length {
            0..126 => bytes.push(mask_bit | length as u8),
            126..65_536 => {
                bytes.push(mask_bit | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.resize(bytes.len() + if masked { 4 } else { 0 } + length, 0xff);
        bytes
    }

    #[test]
    fn only_the_ends_of_messages_are_at_rest() {
        for masked in [false, true] {
            for length in [0, 1, 125, 126, 65_535, 65_536, 70_000] {
                let bytes = frame(0x81, masked, length);
                for chunk in [1, 3, 1024, bytes.len()] {
                    let mut boundary = Boundary::default();
                    let mut chunks = bytes.chunks(chunk).peekable();
                    while let Some(part) = chunks.next() {
                        boundary.feed(part);
                        assert_eq!(
                            boundary.at_rest(),
                            chunks.peek().is_none(),
                            "{length} {chunk}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn fragments_and_control_frames_between_them_are_not_the_end() {
        let mut boundary = Boundary::default();
        for (first, at_rest) in [(0x01, false), (0x89, false), (0x00, false), (0x80, true)] {
            boundary.feed(&frame(first, true, 5));
            assert_eq!(boundary.at_rest(), at_rest, "{first:#x}");
        }
    }
}
