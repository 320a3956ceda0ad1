//! Idempotency keys: the same invoke again joins the running one or gets its stored result, and is never
//! run twice (node-host specification, section 2.1).
//!
//! Plain bounded data; the clock comes in as an argument.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::identity::sha256;
use crate::protocol::error::ErrorShape;

/// Keys remembered at most.
const MAX_KEYS: usize = 256;

/// How long a key is remembered after its invoke has ended.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Bytes of results kept for all keys together; the oldest results go first, their keys stay.
const MAX_RESULT_BYTES: usize = 4 * 1024 * 1024;

/// Invokes that may wait for one running invoke.
const MAX_WAITING: usize = 64;

/// What is remembered of an idempotency key: its SHA-256, because a key may be as long as a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// What is remembered of `text`.
    pub fn of(text: &str) -> Self {
        Self(sha256(text.as_bytes()))
    }
}

/// A finished invoke: the payload as JSON text, or the error.
pub type Finished = Arc<Result<String, ErrorShape>>;

/// What to do with an invoke that carries a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Begin<W> {
    /// The key stands for another invoke, or there are too many: run without remembering.
    Independent(W),
    /// The running invoke will answer this one too.
    Joined,
    /// The invoke is new: run it, then [`Replays::finish`].
    New(W),
    /// It has ended; this is its result, or `None` when that is no longer kept.
    Replay(W, Option<Finished>),
}

/// Remembered keys, oldest first; `W` is whoever waits for a running one.
#[derive(Debug)]
pub struct Replays<W> {
    entries: VecDeque<Entry<W>>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<W> {
    key: Key,
    fingerprint: [u8; 32],
    state: State<W>,
}

#[derive(Debug)]
enum State<W> {
    Running(Vec<W>),
    Ended {
        at: Instant,
        result: Option<Finished>,
    },
}

impl<W> Default for Replays<W> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<W> Replays<W> {
    /// Decides about an invoke of `command` with `params` under `key`.
    pub fn begin(
        &mut self,
        key: Key,
        command: &str,
        params: &str,
        waiter: W,
        now: Instant,
    ) -> Begin<W> {
        self.expire(now);
        let fingerprint = sha256(format!("{command}\0{params}").as_bytes());
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) else {
            if self.entries.len() == MAX_KEYS && !self.drop_oldest_ended() {
                return Begin::Independent(waiter);
            }
            let state = State::Running(Vec::new());
            self.entries.push_back(Entry {
                key,
                fingerprint,
                state,
            });
            return Begin::New(waiter);
        };
        if entry.fingerprint != fingerprint {
            return Begin::Independent(waiter);
        }
        match &mut entry.state {
            State::Running(waiting) if waiting.len() < MAX_WAITING => {
                waiting.push(waiter);
                Begin::Joined
            }
            State::Running(_) => Begin::Replay(waiter, None),
            State::Ended { result, .. } => Begin::Replay(waiter, result.clone()),
        }
    }

    /// Stores the result of a new invoke and gives back who else waits for it.
    pub fn finish(&mut self, key: Key, result: &Finished, now: Instant) -> Vec<W> {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) else {
            return Vec::new();
        };
        let ended = State::Ended {
            at: now,
            result: Some(Arc::clone(result)),
        };
        let State::Running(waiting) = std::mem::replace(&mut entry.state, ended) else {
            return Vec::new();
        };
        self.bytes += size(result);
        for entry in &mut self.entries {
            if self.bytes <= MAX_RESULT_BYTES {
                break;
            }
            if let State::Ended { result, .. } = &mut entry.state {
                self.bytes -= result.take().as_ref().map_or(0, size);
            }
        }
        waiting
    }

    /// Forgets a new invoke that was not carried out, so that a repeat is tried anew, and gives back who
    /// else waits for it.
    pub fn forget(&mut self, key: Key) -> Vec<W> {
        let Some(at) = self.entries.iter().position(|entry| entry.key == key) else {
            return Vec::new();
        };
        match self.entries.remove(at).map(|entry| entry.state) {
            Some(State::Running(waiting)) => waiting,
            _ => Vec::new(),
        }
    }

    fn expire(&mut self, now: Instant) {
        let bytes = &mut self.bytes;
        self.entries.retain(|entry| match &entry.state {
            State::Ended { at, result } if now.saturating_duration_since(*at) >= REMEMBERED => {
                *bytes -= result.as_ref().map_or(0, size);
                false
            }
            _ => true,
        });
    }

    fn drop_oldest_ended(&mut self) -> bool {
        let ended = |entry: &Entry<W>| matches!(entry.state, State::Ended { .. });
        let Some(at) = self.entries.iter().position(ended) else {
            return false;
        };
        if let Some(Entry {
            state: State::Ended { result, .. },
            ..
        }) = self.entries.remove(at)
        {
            self.bytes -= result.as_ref().map_or(0, size);
        }
        true
    }
}

fn size(result: &Finished) -> usize {
    match result.as_ref() {
        Ok(payload) => payload.len(),
        Err(error) => error.message.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(bytes: usize) -> Finished {
        Arc::new(Ok("x".repeat(bytes)))
    }

    #[test]
    fn repeats_join_and_replay() {
        let mut replays = Replays::default();
        let now = Instant::now();
        assert_eq!(
            replays.begin(Key::of("k"), "run", "{}", 1, now),
            Begin::New(1)
        );
        assert_eq!(
            replays.begin(Key::of("k"), "run", "{}", 2, now),
            Begin::Joined
        );
        assert_eq!(
            replays.begin(Key::of("k"), "run", "{\"a\":1}", 3, now),
            Begin::Independent(3)
        );
        let result = done(1);
        assert_eq!(replays.finish(Key::of("k"), &result, now), [2]);
        assert_eq!(
            replays.begin(Key::of("k"), "run", "{}", 4, now),
            Begin::Replay(4, Some(result))
        );
        let later = now + REMEMBERED;
        assert_eq!(
            replays.begin(Key::of("k"), "run", "{}", 5, later),
            Begin::New(5)
        );
        assert_eq!(replays.bytes, 0);
    }

    #[test]
    fn what_was_not_carried_out_is_tried_anew() {
        let mut replays = Replays::default();
        let now = Instant::now();
        let begin =
            |replays: &mut Replays<u8>, waiter| replays.begin(Key::of("k"), "c", "", waiter, now);
        assert_eq!(begin(&mut replays, 1), Begin::New(1));
        assert_eq!(begin(&mut replays, 2), Begin::Joined);
        assert_eq!(replays.forget(Key::of("k")), [2]);
        assert_eq!(begin(&mut replays, 3), Begin::New(3));
        assert!(replays.forget(Key::of("other")).is_empty());
    }

    #[test]
    fn of_a_key_of_any_length_32_bytes_are_kept() {
        let mut replays = Replays::default();
        let now = Instant::now();
        let long = "k".repeat(1024 * 1024);
        let begin =
            |replays: &mut Replays<u8>, key: &str| replays.begin(Key::of(key), "run", "{}", 1, now);
        assert_eq!(begin(&mut replays, &long), Begin::New(1));
        assert_eq!(begin(&mut replays, &long), Begin::Joined);
        assert_eq!(begin(&mut replays, &long[1..]), Begin::New(1));
        assert_eq!(size_of_val(&replays.entries[0].key), 32);
    }

    #[test]
    fn keys_and_bytes_are_bounded() {
        let mut replays = Replays::default();
        let now = Instant::now();
        let run =
            |replays: &mut Replays<u8>, key: &str| replays.begin(Key::of(key), "run", "{}", 0, now);
        for index in 0..MAX_KEYS {
            assert_eq!(run(&mut replays, &index.to_string()), Begin::New(0));
        }
        assert_eq!(
            run(&mut replays, "more"),
            Begin::Independent(0),
            "running ones are kept"
        );
        let large = done(MAX_RESULT_BYTES / 2 + 1);
        for key in ["0", "1"] {
            replays.finish(Key::of(key), &large, now);
        }
        assert_eq!(
            run(&mut replays, "0"),
            Begin::Replay(0, None),
            "known, not run again"
        );
        assert_eq!(run(&mut replays, "1"), Begin::Replay(0, Some(large)));
        assert_eq!(
            run(&mut replays, "more"),
            Begin::New(0),
            "the oldest ended one makes room"
        );
        assert_eq!(replays.entries.len(), MAX_KEYS);
        for _ in 0..MAX_WAITING {
            assert_eq!(run(&mut replays, "more"), Begin::Joined);
        }
        assert_eq!(run(&mut replays, "more"), Begin::Replay(0, None));
    }
}
