//! The stream as the WebSocket decoder sees it, and what its errors mean for a connection.
//!
//! For `peer` it bounds what one turn reads, counts frame boundaries, and keeps the limits of decoder and encoder
//! in one place; for `outbox` it makes a frame.

use std::io::{self, Read, Write};
use std::sync::Arc;

use tungstenite::{
    Error,
    error::ProtocolError,
    protocol::{
        WebSocketConfig,
        frame::{
            FrameHeader,
            coding::{Data, OpCode},
        },
    },
};

use crate::{
    net::{
        boundary::Boundary,
        diversion::Diversion,
        stream::{Stream, is_would_block},
        traffic::Traffic,
    },
    protocol::close::{INVALID_TEXT, PROTOCOL, TOO_BIG},
};

/// Bytes the decoder reads at once, which is what an idle connection keeps allocated.
const READ_BUFFER_BYTES: usize = 1024;

/// Longest payload of one frame we send; longer texts are sent in fragments of this size. The encoder's
/// buffer never shrinks, so this is what every connection that once got a long text keeps.
pub const FRAGMENT_BYTES: usize = 4 * 1024;

/// Bound of the encoder's buffer: one fragment that could not be written, and control frames.
const WRITE_BUFFER_BYTES: usize = 2 * FRAGMENT_BYTES;

/// Why a connection cannot go on.
#[derive(Debug)]
pub enum Fault {
    /// The peer broke a rule: tell it with this code.
    Broken(u16),
    /// The stream is gone.
    Gone,
}

/// The stream as the decoder sees it: the bytes behind the HTTP head first, never more than the quota
/// of one turn, and everything counted.
#[derive(Debug)]
pub struct Wire {
    /// The stream itself.
    pub stream: Stream,
    /// Rest of a frame that another thread began: goes before everything else.
    pub ahead: Vec<u8>,
    /// Bytes read behind the HTTP head, not yet decoded.
    pub rest: Vec<u8>,
    /// Whether the decoder holds a part of a message.
    pub boundary: Boundary,
    /// Bytes that may still be read in this turn.
    pub quota: usize,
    /// Bytes that may still be read at all.
    pub allowance: usize,
    /// Where the bytes are counted, if they are.
    pub traffic: Option<Arc<Traffic>>,
    /// Takes long messages out.
    pub diversion: Option<Diversion>,
    /// What it left for the decoder.
    pub sorted: Vec<u8>,
}

/// Bytes read at once where messages are sorted.
const SORTED_BYTES: usize = 16 * 1024;

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = if self.diversion.is_some() {
            self.sorted(buffer)?
        } else {
            self.receive(buffer)?
        };
        self.boundary.feed(&buffer[..read]);
        Ok(read)
    }
}

impl Wire {
    /// Reads what the decoder may see.
    fn sorted(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.sorted.is_empty() {
            // Not on the stack: inlined there, every thread that waits for a peer would keep as much.
            let mut chunk = vec![0; SORTED_BYTES];
            let read = self.receive(&mut chunk)?;
            if read == 0 {
                return Ok(0);
            }
            if let Some(diversion) = &mut self.diversion {
                diversion.sort(&chunk[..read], &mut self.sorted);
            }
        }
        let read = self.sorted.len().min(buffer.len());
        buffer[..read].copy_from_slice(&self.sorted[..read]);
        self.sorted.drain(..read);
        Ok(read)
    }

    /// Reads from the stream.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(self.quota).min(self.allowance);
        if self.quota == 0 || buffer.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if room == 0 {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let read = if self.rest.is_empty() {
            self.stream.read(&mut buffer[..room])?
        } else {
            let read = room.min(self.rest.len());
            buffer[..read].copy_from_slice(&self.rest[..read]);
            self.rest.drain(..read);
            read
        };
        self.quota -= read;
        if self.allowance != usize::MAX {
            self.allowance -= read;
        }
        if let Some(traffic) = &self.traffic {
            traffic.add_received(read);
        }
        Ok(read)
    }
}

impl Wire {
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.stream.write(bytes)?;
        if let Some(traffic) = &self.traffic {
            traffic.add_sent(written);
        }
        Ok(written)
    }

    fn send_ahead(&mut self) -> io::Result<()> {
        while !self.ahead.is_empty() {
            let ahead = std::mem::take(&mut self.ahead);
            let outcome = self.send(&ahead);
            let sent = outcome.as_ref().map_or(0, |sent| *sent);
            self.ahead = ahead[sent..].to_vec();
            if outcome? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send_ahead()?;
        self.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_ahead()?;
        self.stream.flush()
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Capacity(_) => Fault::Broken(TOO_BIG),
            Error::Io(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
                Fault::Broken(TOO_BIG)
            }
            Error::Utf8(_) => Fault::Broken(INVALID_TEXT),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Fault::Gone,
            Error::Protocol(_) => Fault::Broken(PROTOCOL),
            _ => Fault::Gone,
        }
    }
}

/// Whether a write went through at once; what would have had to wait is queued in the encoder.
pub fn complete(result: Result<(), Error>) -> Result<bool, Fault> {
    match result {
        Ok(()) => Ok(true),
        Err(Error::Io(error)) if is_would_block(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A text as one unmasked frame.
pub fn text_frame(text: &str) -> Vec<u8> {
    const LONGEST_HEAD_BYTES: usize = 10;
    let head = FrameHeader {
        opcode: OpCode::Data(Data::Text),
        ..FrameHeader::default()
    };
    let mut frame = Vec::with_capacity(LONGEST_HEAD_BYTES + text.len());
    // A vector takes everything.
    let _ = head.format(text.len() as u64, &mut frame);
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Limits for a connection that accepts messages of `limit` bytes.
pub fn config(limit: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit))
}
