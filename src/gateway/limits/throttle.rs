//! How many lines of one kind are written: a flood must not fill the log.
//!
//! Pure: the time is an argument.

use std::time::{Duration, Instant};

/// Counts the lines of one kind.
#[derive(Debug)]
pub struct Throttle {
    max_lines: u32,
    period: Duration,
    begun: Option<Instant>,
    written: u32,
    left_out: u64,
}

/// What is to be done with one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Leave it out.
    Skip,
    /// Leave it out: the first one of this period; at the given time the period is over.
    SkipUntil(Instant),
    /// Write it.
    Write,
}

impl Throttle {
    /// Lets `max_lines` lines pass within each `period`.
    pub fn new(max_lines: u32, period: Duration) -> Self {
        Self {
            max_lines,
            period,
            begun: None,
            written: 0,
            left_out: 0,
        }
    }

    /// Decides about one line.
    pub fn line(&mut self, now: Instant) -> Line {
        if self.begun.is_none_or(|begun| now >= begun + self.period) {
            self.begun = Some(now);
            self.written = 0;
        }
        if self.written < self.max_lines {
            self.written += 1;
            return Line::Write;
        }
        self.left_out += 1;
        if self.left_out > 1 {
            return Line::Skip;
        }
        Line::SkipUntil(self.begun.unwrap_or(now) + self.period)
    }

    /// How many lines were left out since this was last asked.
    pub fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_a_few_lines_and_counts_the_others() {
        let start = Instant::now();
        const PERIOD: Duration = Duration::from_secs(10);
        let mut throttle = Throttle::new(3, PERIOD);
        for _ in 0..3 {
            assert_eq!(throttle.line(start), Line::Write);
        }
        assert_eq!(throttle.line(start), Line::SkipUntil(start + PERIOD));
        for second in 1..9 {
            let later = start + Duration::from_secs(second);
            assert_eq!(throttle.line(later), Line::Skip);
        }
        assert_eq!(throttle.take_left_out(), 9);
        assert_eq!(throttle.take_left_out(), 0);
        assert_eq!(throttle.line(start + PERIOD), Line::Write);
    }
}
