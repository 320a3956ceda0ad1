//! How long to wait before the next attempt: 1 s doubling to 30 s, each with up to 20 % more at random so that a
//! fleet does not come back all at once.

use std::time::Duration;

use crate::identity::Random;

/// The first wait.
const FIRST: Duration = Duration::from_millis(1_000);
/// No wait grows beyond this, before the random part.
const LONGEST: Duration = Duration::from_millis(30_000);
/// The largest random part, in percent of the wait.
const JITTER_PERCENT: u32 = 20;

/// The waits between attempts of one connection.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// Starts at one second.
    pub fn new() -> Backoff {
        Backoff { next: FIRST }
    }

    /// The wait before the next attempt; the one after it is twice as long.
    pub fn wait(&mut self) -> Duration {
        self.wait_with(u16::from_le_bytes(Random.bytes::<2>()))
    }

    /// The same, where there is nobody to spare: the waits do not grow beyond `longest`.
    pub fn wait_at_most(&mut self, longest: Duration) -> Duration {
        self.next = self.next.min(longest);
        let wait = self.wait();
        self.next = self.next.min(longest);
        wait
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        *self = Backoff::new();
    }

    fn wait_with(&mut self, random: u16) -> Duration {
        let base = self.next;
        self.next = (base * 2).min(LONGEST);
        base + base * JITTER_PERCENT / 100 * u32::from(random) / u32::from(u16::MAX)
    }
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_limit_and_starts_over() {
        let mut backoff = Backoff::new();
        let waits: Vec<u128> = (0..7).map(|_| backoff.wait_with(0).as_millis()).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        backoff.reset();
        assert_eq!(backoff.wait_with(0).as_millis(), 1_000);
    }

    #[test]
    fn waits_for_nobody_stay_short() {
        let mut backoff = Backoff { next: LONGEST };
        for _ in 0..3 {
            let wait = backoff.wait_at_most(FIRST * 2).as_millis();
            assert!((2_000..=2_400).contains(&wait), "{wait}");
        }
        assert_eq!(backoff.wait_with(0).as_millis(), 2_000);
    }

    #[test]
    fn jitter_adds_a_fifth_at_most() {
        for (random, expected) in [(0, 30_000), (u16::MAX / 2, 32_999), (u16::MAX, 36_000)] {
            let mut backoff = Backoff { next: LONGEST };
            assert_eq!(backoff.wait_with(random).as_millis(), expected, "{random}");
        }
    }
}
