//! Why a connection ends: the close codes of specification section 1.6 and their reasons.
//!
//! Pure data; closing itself is done by `net`.

use crate::protocol::limits::MAX_CLOSE_REASON_BYTES;

/// Handshake timeout, or a first frame that is not JSON; always with an empty reason.
pub const NORMAL: u16 = 1000;
/// Version negotiation failed, or the peer broke RFC 6455.
pub const PROTOCOL: u16 = 1002;
/// No close frame had a code; never sent.
pub const NO_STATUS: u16 = 1005;
/// The peer vanished without a close frame; never sent.
pub const ABNORMAL: u16 = 1006;
/// Text that is not UTF-8.
pub const INVALID_TEXT: u16 = 1007;
/// Every handshake rejection, slow consumers and floods of unauthorized calls.
pub const POLICY: u16 = 1008;
/// A frame over the limit; always with an empty reason.
pub const TOO_BIG: u16 = 1009;
/// The gateway failed, for example because its pairing store cannot be read.
pub const INTERNAL: u16 = 1011;
/// The gateway stops or restarts.
pub const RESTART: u16 = 1012;
/// Connect while the gateway still starts, too many sockets that are not admitted, or no thread for one.
pub const TRY_LATER: u16 = 1013;
/// A client heard nothing for too long; sent by clients only.
pub const TICK_TIMEOUT: u16 = 4000;
/// The device, its token or the shared secret lost its validity.
pub const AUTH_CHANGED: u16 = 4001;

/// Reason of [`POLICY`] for a peer that does not read.
pub const SLOW_CONSUMER: &str = "slow consumer";
/// Reason of [`POLICY`] after too many `unauthorized role:` answers.
pub const REPEATED_UNAUTHORIZED: &str = "repeated unauthorized calls";
/// Reason of [`POLICY`] for a first frame that is JSON but no request.
pub const INVALID_REQUEST_FRAME: &str = "invalid request frame";
/// Reason of [`PROTOCOL`] when no common version exists.
pub const PROTOCOL_MISMATCH: &str = "protocol mismatch";
/// Reason of [`RESTART`].
pub const SERVICE_RESTART: &str = "service restart";
/// Reason of [`TRY_LATER`].
pub const GATEWAY_STARTING: &str = "gateway starting";
/// Reason of [`TRY_LATER`] for a socket that gave way to a newer one.
pub const TOO_MANY_CONNECTIONS: &str = "too many connections";
/// Reason of [`TRY_LATER`] for a session that the system gives no thread.
pub const OUT_OF_THREADS: &str = "gateway out of threads";
/// Reason of [`AUTH_CHANGED`] when a device or its token is gone.
pub const DEVICE_REMOVED: &str = "device removed";
/// Reason of [`AUTH_CHANGED`] when the shared secret changed.
pub const GATEWAY_AUTH_CHANGED: &str = "gateway auth changed";
/// Reason of [`POLICY`] when a live session's browser origin is taken off the list.
pub const ORIGIN_NOT_ALLOWED: &str = "origin not allowed";
/// Reason of [`POLICY`] from a client that was sent no challenge in time.
pub const CHALLENGE_TIMEOUT: &str = "connect challenge timeout";
/// Reason of [`POLICY`] from a client whose challenge has nothing to sign.
pub const MISSING_NONCE: &str = "connect challenge missing nonce";
/// Reason of [`POLICY`] from a client whose connect failed otherwise.
pub const CONNECT_FAILED: &str = "connect failed";
/// Reason of [`TICK_TIMEOUT`].
pub const TICK_TIMEOUT_REASON: &str = "tick timeout";

/// The longest start of `reason` that fits a close frame: at most
/// [`MAX_CLOSE_REASON_BYTES`] bytes, cut between characters.
pub fn truncate_reason(reason: &str) -> &str {
    truncate(reason, MAX_CLOSE_REASON_BYTES)
}

/// The longest start of `text` with at most `bytes` bytes, cut between characters.
pub fn truncate(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let mut end = bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_cut_between_characters() {
        let table = [
            (String::new(), 0),
            ("a".repeat(120), 120),
            ("a".repeat(121), 120),
            (format!("{}é", "a".repeat(119)), 119),
            (format!("{}é", "a".repeat(118)), 120),
            ("🦀".repeat(40), 120),
            (format!("a{}", "🦀".repeat(40)), 117),
        ];
        for (reason, bytes) in table {
            assert_eq!(truncate_reason(&reason).len(), bytes, "{reason}");
        }
    }
}
