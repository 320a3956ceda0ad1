//! Every limit of the wire in one place, with its unit and its source (specification section 1.4).
//!
//! Only numbers live here; the rooms that enforce them decide what happens beyond.

use std::time::Duration;

/// Bytes a message may have before hello-ok; exactly this many is accepted, more closes 1009.
pub const MAX_PREAUTH_FRAME_BYTES: usize = 65_536;

/// Bytes a peer may send between its upgrade and the end of its first frame, pings, fragments and frame
/// headers included: twice what the largest first frame needs. More closes 1009.
pub const MAX_PREAUTH_BYTES: usize = 2 * MAX_PREAUTH_FRAME_BYTES;

/// Bytes a message may have after hello-ok (`policy.maxPayload`); more closes 1009.
pub const MAX_FRAME_BYTES: usize = 26_214_400;

/// Bytes a client accepts before hello-ok: hello-ok itself carries up to 200 presence rows and any health.
pub const MAX_HELLO_BYTES: usize = 4 * 1024 * 1024;

/// Bytes that may wait for one socket (`policy.maxBufferedBytes`) before it counts as slow.
pub const MAX_BUFFERED_BYTES: usize = 52_428_800;

/// Bytes of unsent answers above which no further request of that session is read: a peer that asks and
/// does not listen costs this much and no more. Far below the budget, which is for broadcasts.
pub const MAX_BACKLOG_BYTES: usize = 4 * 1024 * 1024;

/// From accept to hello-ok when `gateway.handshakeTimeoutMs` says nothing else; then close 1000.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(15_000);

/// Sockets of one client address that may be open without hello-ok at the same time.
pub const MAX_PREAUTH_SOCKETS_PER_ADDRESS: usize = 32;

/// Bytes of a close reason; a control frame has room for 123, the reference cuts at 120.
pub const MAX_CLOSE_REASON_BYTES: usize = 120;

/// Between two `tick` events (`policy.tickIntervalMs`).
pub const TICK_INTERVAL: Duration = Duration::from_millis(30_000);

/// Silent tick intervals after which a client closes with 4000.
pub const TICK_INTERVALS_UNTIL_SILENCE: u32 = 2;

/// How long a client waits for `connect.challenge` (appendix A).
pub const CHALLENGE_TIMEOUT: Duration = Duration::from_millis(15_000);

/// How long the gateway waits for a node's answer when `timeoutMs` is absent (section 7.3).
pub const INVOKE_TIMEOUT: Duration = Duration::from_millis(30_000);

/// Clock difference a signed connect may have, inclusive, in milliseconds (section 3.4).
pub const MAX_SIGNATURE_SKEW_MS: u64 = 120_000;

/// Consecutive `unauthorized role:` answers a connection may get; one more closes 1008 (section 4.5).
pub const MAX_UNAUTHORIZED_CALLS: u32 = 10;

/// The oldest protocol version spoken (section 2.5).
pub const MIN_PROTOCOL: u8 = 3;

/// The newest protocol version spoken (section 2.5).
pub const MAX_PROTOCOL: u8 = 4;

/// The first version whose hello-ok names the method that let the session in (section 2.6).
pub const FIRST_WITH_AUTH_METHOD: u8 = 4;

/// The first version whose nodes are told that they may go on trying (section 5.4).
pub const FIRST_WITH_PATIENCE: u8 = 4;

/// The first version whose clients know that a right token can be too narrow (section 2.5); older ones
/// throw their token away.
pub const FIRST_WITH_SCOPE_MISMATCH: u8 = 4;

/// The first version whose clients show where a paired device stands (section 2.5).
pub const FIRST_WITH_STANDING: u8 = 4;

/// The first version whose nodes are always told how long the asker waits (section 2.5).
pub const FIRST_WITH_TIMEOUT_ALWAYS: u8 = 4;

/// Characters of an id or a name that an operator gives for a node (`node.pair.request`, `node.rename`):
/// real ones have 64 at most, and what is stored and shown to everybody must be bounded.
pub const MAX_GIVEN_CHARS: usize = 256;

/// Words in one list that an operator gives for a node: the largest platform has about 30 commands.
pub const MAX_GIVEN_WORDS: usize = 512;

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;

/// Characters of a hash that tells one content of a file from another: SHA-256 in hex has 64.
pub const MAX_HASH_CHARS: usize = 128;

/// The shortest time, in milliseconds, after which nodes that were not seen may be pruned: nobody means all that
/// are just restarting, or forgot the unit.
pub const MIN_NOT_SEEN_MS: u64 = 3_600_000;

/// The longest time for which pairing is opened, in milliseconds: a day. Who wants it open for longer
/// opens it without a limit.
pub const MAX_PAIRING_WINDOW_MS: u64 = DAY_MS;
