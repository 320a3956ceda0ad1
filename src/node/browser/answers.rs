//! Answers of a browser, read by whoever called: a short one is there, a long one comes in pieces.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::cdp::CdpError;
use crate::net::Text;
use crate::protocol::json_text;

/// Pieces that may wait for their reader.
const MAX_WAITING: usize = 8;

/// An answer that nobody has read yet.
#[derive(Debug)]
pub enum Answer {
    /// All of it.
    Whole(Text),
    /// What comes of it.
    Pieces(Receiver<Vec<u8>>),
}

/// An answer in pieces, and where to put them; it ends with the sender.
pub fn piecewise() -> (SyncSender<Vec<u8>>, Answer) {
    let (pieces, answer) = sync_channel(MAX_WAITING);
    (pieces, Answer::Pieces(answer))
}

/// What is read of an answer.
#[derive(Deserialize)]
struct Reply<T> {
    result: Option<T>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    message: String,
}

impl Answer {
    /// Reads the result, of at most `limit` bytes.
    ///
    /// # Errors
    /// [`CdpError::Refused`], [`CdpError::TooLong`], [`CdpError::TimedOut`], [`CdpError::Closed`].
    pub fn read<T: DeserializeOwned>(self, limit: usize, deadline: Instant) -> Result<T, CdpError> {
        let reply = match self {
            Self::Whole(text) => json_text::read::<Reply<T>>(text.as_bytes()).map_err(strange)?,
            Self::Pieces(pieces) => {
                let text = gathered(&pieces, limit, deadline)?;
                json_text::read::<Reply<T>>(&text).map_err(|error| {
                    if error.is_eof() {
                        CdpError::Closed
                    } else {
                        strange(error)
                    }
                })?
            }
        };
        match (reply.result, reply.error) {
            (Some(result), None) => Ok(result),
            (_, Some(refusal)) => Err(CdpError::Refused(refusal.message)),
            (None, None) => Err(CdpError::Refused("the browser answered nothing".to_owned())),
        }
    }
}

/// An answer that is not as the protocol has it.
fn strange(error: serde_json::Error) -> CdpError {
    CdpError::Refused(format!("the browser's answer cannot be read: {error}"))
}

/// The pieces of an answer, to its end.
fn gathered(
    pieces: &Receiver<Vec<u8>>,
    limit: usize,
    deadline: Instant,
) -> Result<Vec<u8>, CdpError> {
    let mut text = Vec::new();
    loop {
        let patience = deadline.saturating_duration_since(Instant::now());
        // The deadline holds for an answer that comes all the time, too.
        if patience.is_zero() {
            return Err(CdpError::TimedOut);
        }
        match pieces.recv_timeout(patience) {
            Ok(piece) if text.len() + piece.len() > limit => return Err(CdpError::TooLong),
            Ok(piece) => text.extend_from_slice(&piece),
            Err(RecvTimeoutError::Timeout) => return Err(CdpError::TimedOut),
            Err(RecvTimeoutError::Disconnected) => return Ok(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str, size: usize, limit: usize) -> Result<Value, CdpError> {
        let (pieces, answer) = piecewise();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // A reader that has enough is gone.
                let _ = text
                    .as_bytes()
                    .chunks(size)
                    .try_for_each(|piece| pieces.send(piece.to_vec()));
            });
            answer.read(limit, Instant::now() + Duration::from_secs(60))
        })
    }

    #[test]
    fn an_answer_in_pieces_is_read_whole() {
        let text =
            json!({"id": 7, "result": {"value": "äö".repeat(50)}, "sessionId": "S"}).to_string();
        for size in [1, 3, 64, text.len()] {
            let expected = json!({"value": "äö".repeat(50)});
            assert_eq!(read(&text, size, text.len()), Ok(expected));
            assert_eq!(read(&text, size, text.len() - 1), Err(CdpError::TooLong));
            assert_eq!(read(&text[..39], size, text.len()), Err(CdpError::Closed));
        }
        let answer = format!("{{\"id\":7,\"result\":\"{}\"}}", "\\ud83d");
        assert_eq!(read(&answer, 3, 64), Ok(json!("\u{fffd}")));
        let refused = json!({"id": 7, "error": {"code": -32000, "message": "No"}}).to_string();
        assert_eq!(
            read(&refused, 5, 1_000),
            Err(CdpError::Refused("No".to_owned()))
        );
        let strange = read("{\"id\":7,\"result\":nonsense}", 5, 1_000)
            .unwrap_err()
            .to_string();
        assert!(
            strange.starts_with("the browser's answer cannot be read"),
            "{strange}"
        );
    }

    #[test]
    fn an_answer_that_does_not_end_in_time_is_not_waited_for() {
        for endless in [true, false] {
            let (pieces, answer) = piecewise();
            let read = std::thread::scope(|scope| {
                let sender = scope.spawn(move || {
                    let _ = pieces.send(b"{\"result\":[1".to_vec());
                    while endless && pieces.send(b",1".to_vec()).is_ok() {}
                    pieces
                });
                let read =
                    answer.read::<Value>(usize::MAX, Instant::now() + Duration::from_millis(50));
                drop(sender.join());
                read
            });
            assert_eq!(read, Err(CdpError::TimedOut));
        }
    }
}
