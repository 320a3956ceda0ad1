//! How much of the processor one connection may take: a token bucket over the time its thread computes.
//!
//! Pure: both clocks are arguments. A client that waits for its answers is never held up. One that queues
//! thousands of requests is read more slowly than it sends, so that the others get their turn; nothing is
//! refused.

use std::time::{Duration, Instant};

/// Computing time a connection may spend at once.
pub const BURST: Duration = Duration::from_millis(4);

/// The part of one processor a connection may use for long, as a divisor.
pub const SHARE: u32 = 2;

/// Computing time that is saved up again while reading pauses: shorter pauses would only cost switches.
const REST: Duration = Duration::from_millis(1);

/// The bucket of one connection.
#[derive(Debug)]
pub struct Pace {
    credit: Duration,
    seen: Instant,
    computed: Duration,
}

impl Pace {
    /// A full bucket; `computed` is the computing time of the thread so far.
    pub fn new(now: Instant, computed: Duration) -> Self {
        Self {
            credit: BURST,
            seen: now,
            computed,
        }
    }

    /// Notes what was computed since; until when the connection has to rest, if it has to.
    pub fn rest(&mut self, now: Instant, computed: Duration) -> Option<Instant> {
        let passed = now.saturating_duration_since(self.seen);
        let used = computed.saturating_sub(self.computed);
        (self.seen, self.computed) = (now, computed);
        let credit = (self.credit + passed / SHARE).min(BURST);
        self.credit = credit.saturating_sub(used);
        let missing = used.saturating_sub(credit);
        (!missing.is_zero() || self.credit.is_zero())
            .then(|| now + (missing.min(BURST) + REST) * SHARE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    #[test]
    fn who_waits_for_answers_is_never_held_up() {
        let start = Instant::now();
        let mut pace = Pace::new(start, Duration::ZERO);
        for round in 1..100_000_u32 {
            // 20 µs of work in every 60 µs.
            let now = start + 60 * MICROSECOND * round;
            assert_eq!(pace.rest(now, 20 * MICROSECOND * round), None, "{round}");
        }
    }

    #[test]
    fn who_never_waits_gets_half_a_processor() {
        let start = Instant::now();
        let mut pace = Pace::new(start, Duration::ZERO);
        let (mut now, mut computed) = (start, Duration::ZERO);
        while now < start + Duration::from_secs(10) {
            (now, computed) = (now + 20 * MICROSECOND, computed + 20 * MICROSECOND);
            now = pace.rest(now, computed).unwrap_or(now);
        }
        let share = computed.as_secs_f64() / now.duration_since(start).as_secs_f64();
        assert!((0.4..0.52).contains(&share), "{share}");
    }

    #[test]
    fn one_long_request_costs_no_long_rest() {
        let start = Instant::now();
        let mut pace = Pace::new(start, Duration::ZERO);
        let now = start + Duration::from_secs(1);
        let until = pace.rest(now, Duration::from_secs(1)).unwrap();
        assert!(until <= now + Duration::from_millis(10));
    }
}
