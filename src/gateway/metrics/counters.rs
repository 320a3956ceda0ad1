//! What happened since the gateway started, as far as nothing else remembers it.
//!
//! Relaxed counters without a lock, written where it happens and read when somebody asks. The words that
//! tell events apart are fixed here: nothing a peer says becomes one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::gateway::ending::Fault;
use crate::gateway::limits::attempts;
use crate::gateway::refusal::Refusal;
use crate::net::Traffic;

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Counters {
    /// Sockets that were accepted, whatever became of them.
    pub accepted: Counter,
    /// Sockets that got no place.
    pub turned_away: Labelled<{ NoPlace::WORDS.len() }>,
    /// TLS handshakes that failed.
    pub tls_failures: Counter,
    /// HTTP requests that asked for no upgrade.
    pub http_requests: Labelled<{ Endpoint::WORDS.len() }>,
    /// WebSocket handshakes that are over.
    pub handshakes: Labelled<{ Handshake::WORDS.len() }>,
    /// Of those, the refused ones.
    pub refused: Labelled<{ REFUSALS.len() }>,
    /// Wrong credentials.
    pub wrong: Labelled<{ attempts::Kind::ALL.len() }>,
    /// Clients that were locked out for them.
    pub lockouts: Labelled<{ attempts::Kind::ALL.len() }>,
    /// Requests of sessions.
    pub requests: Labelled<{ Served::WORDS.len() }>,
    /// Invokes that are over.
    pub invokes: Labelled<{ InvokeEnd::WORDS.len() }>,
    /// How long those took.
    pub invoke_time: Histogram,
    /// What went over the connections.
    pub traffic: Arc<Traffic>,
}

/// One number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number for each word of a fixed list.
#[derive(Debug)]
pub struct Labelled<const N: usize>([Counter; N]);

impl<const N: usize> Default for Labelled<N> {
    fn default() -> Self {
        Labelled([const { Counter(AtomicU64::new(0)) }; N])
    }
}

impl<const N: usize> Labelled<N> {
    /// Counts one more of the word at this place.
    pub fn note(&self, place: usize) {
        if let Some(counter) = self.0.get(place) {
            counter.note();
        }
    }

    /// How many there were of each of `words`, in their order.
    pub fn values(
        &self,
        words: [&'static str; N],
    ) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        words.into_iter().zip(self.0.iter().map(Counter::value))
    }
}

/// Upper bounds of the buckets of [`Histogram`], seconds: an answer at once, a program, a person's patience.
pub const BOUNDS: [f64; 10] = [0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0];

/// How long something took.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [Counter; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

impl Histogram {
    /// Counts one that took so long.
    pub fn note(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let place = BOUNDS.iter().position(|bound| seconds <= *bound);
        if let Some(counter) = self.counts.get(place.unwrap_or(BOUNDS.len())) {
            counter.note();
        }
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// How many there were in each bucket, and above all of them.
    pub fn counts(&self) -> [u64; BOUNDS.len() + 1] {
        std::array::from_fn(|place| self.counts.get(place).map_or(0, Counter::value))
    }

    /// How long all of them took together, seconds.
    pub fn sum(&self) -> f64 {
        Duration::from_micros(self.microseconds.load(Ordering::Relaxed)).as_secs_f64()
    }
}

/// Why a socket got no place.
#[derive(Clone, Copy, Debug)]
pub enum NoPlace {
    /// Too many connections, of all or of this source.
    Connections,
    /// The system gives no thread or descriptor.
    System,
    /// Too many of this source wait for their hello.
    Unauthenticated,
}

impl NoPlace {
    /// Their words, in order.
    pub const WORDS: [&'static str; 3] = ["connections", "system", "unauthenticated"];
}

/// What an HTTP request asked for.
#[derive(Clone, Copy, Debug)]
pub enum Endpoint {
    /// Liveness.
    Health,
    /// Metrics, where they are enabled.
    Metrics,
    /// Anything that is not there.
    Other,
    /// Readiness.
    Ready,
}

impl Endpoint {
    /// Their words, in order.
    pub const WORDS: [&'static str; 4] = ["health", "metrics", "other", "ready"];
}

/// How a handshake ended.
#[derive(Clone, Copy, Debug)]
pub enum Handshake {
    /// With a session.
    Admitted,
    /// With a refusal.
    Refused,
    /// The peer closed or said nothing in time.
    Unfinished,
}

impl Handshake {
    /// Their words, in order.
    pub const WORDS: [&'static str; 3] = ["admitted", "refused", "unfinished"];
}

/// What became of a request of a session.
#[derive(Clone, Copy, Debug)]
pub enum Served {
    /// It was answered.
    Answered,
    /// Somebody else answers it later.
    Deferred,
    /// It was refused, or failed.
    Refused,
}

impl Served {
    /// Their words, in order.
    pub const WORDS: [&'static str; 3] = ["answered", "deferred", "refused"];
}

/// How an invoke ended.
#[derive(Clone, Copy, Debug)]
pub enum InvokeEnd {
    /// Its asker is gone.
    AskerGone,
    /// The node's connection closed first.
    Disconnected,
    /// The node reported a failure.
    NodeError,
    /// The node did it.
    Ok,
    /// The node's connection took no more data.
    SendFailed,
    /// The deadline passed.
    TimedOut,
    /// The node may no longer be asked.
    Withdrawn,
}

impl InvokeEnd {
    /// Their words, in order.
    pub const WORDS: [&'static str; 7] = [
        "asker_gone",
        "disconnected",
        "node_error",
        "ok",
        "send_failed",
        "timed_out",
        "withdrawn",
    ];
}

impl From<Fault> for InvokeEnd {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Disconnected | Fault::NotConnected => Self::Disconnected,
            Fault::SendFailed => Self::SendFailed,
            Fault::TimedOut => Self::TimedOut,
            Fault::Withdrawn => Self::Withdrawn,
        }
    }
}

/// The words by which refused handshakes are told apart.
pub const REFUSALS: [&str; 14] = [
    "clock",
    "credentials_missing",
    "credentials_wrong",
    "device_identity",
    "invalid",
    "origin",
    "other",
    "pairing_required",
    "protocol",
    "proxy",
    "rate_limited",
    "requests_full",
    "scope",
    "unavailable",
];

/// The place of a refusal in [`REFUSALS`], by the code that the peer gets.
pub fn place_of(refusal: &Refusal) -> usize {
    let code = match &refusal.answer {
        Some((_, error)) => error.detail_code().unwrap_or(error.code.as_str()),
        // A first frame that is none.
        None => "INVALID_REQUEST",
    };
    let word = match code {
        "AUTH_BOOTSTRAP_TOKEN_INVALID"
        | "AUTH_DEVICE_TOKEN_MISMATCH"
        | "AUTH_PASSWORD_MISMATCH"
        | "AUTH_TOKEN_MISMATCH" => "credentials_wrong",
        "AUTH_PASSWORD_MISSING" | "AUTH_TOKEN_MISSING" => "credentials_missing",
        "AUTH_RATE_LIMITED" => "rate_limited",
        "AUTH_SCOPE_MISMATCH" => "scope",
        "CONTROL_UI_ORIGIN_NOT_ALLOWED" => "origin",
        "DEVICE_AUTH_SIGNATURE_EXPIRED" => "clock",
        "CONTROL_UI_DEVICE_IDENTITY_REQUIRED" | "DEVICE_IDENTITY_REQUIRED" => "device_identity",
        "INVALID_REQUEST" => "invalid",
        "PAIRING_REQUESTS_FULL" => "requests_full",
        "PAIRING_REQUIRED" => "pairing_required",
        "PROTOCOL_MISMATCH" => "protocol",
        "UNAVAILABLE" => "unavailable",
        proxy if proxy == "AUTH_UNAUTHORIZED" || proxy.starts_with("AUTH_TAILSCALE_") => "proxy",
        proof if proof.starts_with("DEVICE_AUTH_") => "device_identity",
        _ => "other",
    };
    let place = REFUSALS.iter().position(|known| *known == word);
    place.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::error::ErrorShape;

    #[test]
    fn each_refusal_has_its_word_and_strangers_cannot_add_one() {
        let coded = |code: &str| ErrorShape::invalid("no").with_details(json!({"code": code}));
        let refusal = |error: Option<ErrorShape>| Refusal {
            answer: error.map(|error| ("1".to_owned(), Box::new(error))),
            code: 1_008,
            reason: "no".to_owned(),
        };
        for (error, expected) in [
            (Some(coded("AUTH_TOKEN_MISMATCH")), "credentials_wrong"),
            (Some(coded("AUTH_PASSWORD_MISSING")), "credentials_missing"),
            (Some(coded("AUTH_RATE_LIMITED")), "rate_limited"),
            (Some(coded("AUTH_SCOPE_MISMATCH")), "scope"),
            (Some(coded("AUTH_UNAUTHORIZED")), "proxy"),
            (Some(coded("AUTH_TAILSCALE_WHOIS_FAILED")), "proxy"),
            (Some(coded("CONTROL_UI_ORIGIN_NOT_ALLOWED")), "origin"),
            (Some(coded("DEVICE_AUTH_SIGNATURE_EXPIRED")), "clock"),
            (Some(coded("DEVICE_AUTH_NONCE_MISMATCH")), "device_identity"),
            (Some(coded("DEVICE_IDENTITY_REQUIRED")), "device_identity"),
            (Some(coded("PAIRING_REQUESTS_FULL")), "requests_full"),
            (Some(coded("PAIRING_REQUIRED")), "pairing_required"),
            (Some(coded("PROTOCOL_MISMATCH")), "protocol"),
            (Some(coded("NEVER_HEARD_OF")), "other"),
            (Some(ErrorShape::invalid("no")), "invalid"),
            (Some(ErrorShape::unavailable("no")), "unavailable"),
            (None, "invalid"),
        ] {
            let shown = format!("{error:?}");
            assert_eq!(REFUSALS[place_of(&refusal(error))], expected, "{shown}");
        }
    }

    #[test]
    fn every_event_has_a_word_at_its_place() {
        for (word, expected) in [
            (
                NoPlace::WORDS[NoPlace::Unauthenticated as usize],
                "unauthenticated",
            ),
            (Endpoint::WORDS[Endpoint::Ready as usize], "ready"),
            (
                Handshake::WORDS[Handshake::Unfinished as usize],
                "unfinished",
            ),
            (Served::WORDS[Served::Refused as usize], "refused"),
            (InvokeEnd::WORDS[InvokeEnd::Withdrawn as usize], "withdrawn"),
            (
                InvokeEnd::WORDS[InvokeEnd::from(Fault::TimedOut) as usize],
                "timed_out",
            ),
            (
                attempts::Kind::ALL[attempts::Kind::SharedSecret as usize].as_str(),
                "shared-secret",
            ),
        ] {
            assert_eq!(word, expected);
        }
    }

    #[test]
    fn words_are_counted_apart_and_times_by_their_bucket() {
        let counters = Counters::default();
        counters.invokes.note(InvokeEnd::Ok as usize);
        counters.invokes.note(InvokeEnd::Withdrawn as usize);
        counters.invokes.note(InvokeEnd::Ok as usize);
        let counted: Vec<_> = counters.invokes.values(InvokeEnd::WORDS).collect();
        let counted: Vec<_> = counted
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(counted, [("ok", 2), ("withdrawn", 1)]);
        for milliseconds in [0, 5, 6, 1_000, 3_600_000] {
            counters
                .invoke_time
                .note(Duration::from_millis(milliseconds));
        }
        let time = &counters.invoke_time;
        assert_eq!(time.counts(), [2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert!((time.sum() - 3_601.011).abs() < 1e-6, "{}", time.sum());
    }
}
