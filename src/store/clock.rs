//! The time of day as the rest of the program sees it, so that a test can set it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::protocol::limits::DAY_MS;

/// A source of wall-clock time.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;

    /// By how many milliseconds somebody set the time of day since [`Clock::follow`]; the clock itself goes
    /// on steadily until then.
    fn step_ms(&self) -> i64 {
        0
    }

    /// Shows the time of day that is `step_ms` away.
    fn follow(&self, _step_ms: i64) {}
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// A clock before 1970 reads 0.
    fn now_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map(|elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
            .unwrap_or_default()
    }
}

/// The time of day at some moment, and from there on the steady time of the system: nobody who sets the clock
/// moves it, until it is told to follow.
pub struct SteadyClock<W = SystemClock> {
    wall: W,
    steady_ms: fn() -> u64,
    offset_ms: AtomicI64,
}

impl SteadyClock {
    /// Begins with what the operating system's clock shows.
    pub fn start() -> Self {
        Self::with(SystemClock, steady_ms)
    }
}

impl<W: Clock> SteadyClock<W> {
    fn with(wall: W, steady_ms: fn() -> u64) -> Self {
        let offset_ms = AtomicI64::new(distance(wall.now_ms(), steady_ms()));
        SteadyClock {
            wall,
            steady_ms,
            offset_ms,
        }
    }
}

impl<W: Clock> Clock for SteadyClock<W> {
    fn now_ms(&self) -> u64 {
        (self.steady_ms)().saturating_add_signed(self.offset_ms.load(Ordering::SeqCst))
    }

    fn step_ms(&self) -> i64 {
        distance(self.wall.now_ms(), self.now_ms())
    }

    fn follow(&self, step_ms: i64) {
        self.offset_ms.fetch_add(step_ms, Ordering::SeqCst);
    }
}

fn distance(to_ms: u64, from_ms: u64) -> i64 {
    let far = i64::try_from(to_ms.abs_diff(from_ms)).unwrap_or(i64::MAX);
    if to_ms < from_ms { -far } else { far }
}

/// Milliseconds that nobody sets; the time in which the machine slept counts.
#[cfg(target_os = "linux")]
fn steady_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let ms = now.tv_sec.saturating_mul(1_000) + now.tv_nsec / 1_000_000;
    u64::try_from(ms).unwrap_or_default()
}

/// Milliseconds that nobody sets.
#[cfg(not(target_os = "linux"))]
fn steady_ms() -> u64 {
    static BEGUN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let begun = BEGUN.get_or_init(std::time::Instant::now);
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A clock that stands still until it is moved: for tests of expiry and coalescing.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `now_ms`.
    pub fn at(now_ms: u64) -> Self {
        ManualClock(AtomicU64::new(now_ms))
    }

    /// Moves the clock forward by `milliseconds`.
    pub fn advance(&self, milliseconds: u64) {
        self.0.fetch_add(milliseconds, Ordering::SeqCst);
    }

    /// Sets the clock.
    pub fn set(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A time as RFC 3339 in UTC with milliseconds: `2026-04-29T12:34:56.789Z`.
pub fn rfc3339(at_ms: u64) -> String {
    let (year, month, day) = date(at_ms / DAY_MS);
    let of_day = at_ms % DAY_MS;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        of_day / 3_600_000,
        of_day / 60_000 % 60,
        of_day / 1000 % 60,
        of_day % 1000
    )
}

/// The time that [`rfc3339`] writes, also without its fraction; `None` for any other form, and before 1970.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let (whole, fraction) = match text.strip_suffix('Z')?.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (text.strip_suffix('Z')?, "000"),
    };
    let number = |range: std::ops::Range<usize>| -> Option<u64> {
        let digits = whole.get(range)?;
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| all)
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let of_day = (number(11..13)? * 60 + number(14..16)?) * 60 + number(17..19)?;
    // Years begin on 1 March here too.
    let (year, month) = match month {
        3.. => (year, month - 3),
        _ => (year.checked_sub(1)?, month + 9),
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let seconds = days.checked_sub(719_468)? * (DAY_MS / 1_000) + of_day;
    let at_ms = seconds * 1_000 + fraction.parse::<u64>().ok()?;
    // Whatever is no date, like the 30th of February, is written otherwise.
    rfc3339(at_ms).starts_with(whole).then_some(at_ms)
}

/// Year, month and day of the Gregorian calendar, from days since 1970-01-01. Years begin on 1 March
/// here, which puts the leap day at the end; 719 468 days lie between 0000-03-01 and 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        for (at_ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (1_795_221_070_445, "2026-11-21T00:31:10.445Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(at_ms), expected);
            assert_eq!(parse_rfc3339(expected), Some(at_ms));
        }
    }

    #[test]
    fn only_times_are_read() {
        assert_eq!(
            parse_rfc3339("2026-11-21T00:31:10Z"),
            Some(1_795_221_070_000)
        );
        for wrong in [
            "",
            "Z",
            "2026",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00Z",
            "1969-12-31T23:59:59Z",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00:00.1234567Z",
            "2026-01-01T00:00:00.xZ",
            "0000-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::at(5);
        assert_eq!(clock.now_ms(), 5);
        clock.advance(10);
        assert_eq!(clock.now_ms(), 15);
        clock.set(3);
        assert_eq!(clock.now_ms(), 3);
    }

    #[test]
    fn a_steady_clock_goes_on_until_it_is_told_to_follow() {
        static WALL: ManualClock = ManualClock(AtomicU64::new(1_000_000));
        static STEADY: AtomicU64 = AtomicU64::new(70);
        struct Wall;
        impl Clock for Wall {
            fn now_ms(&self) -> u64 {
                WALL.now_ms()
            }
        }
        let clock = SteadyClock::with(Wall, || STEADY.load(Ordering::SeqCst));
        let pass = |ms| {
            STEADY.fetch_add(ms, Ordering::SeqCst);
            WALL.advance(ms);
        };
        pass(5);
        assert_eq!((clock.now_ms(), clock.step_ms()), (1_000_005, 0));
        WALL.set(0);
        pass(5);
        assert_eq!((clock.now_ms(), clock.step_ms()), (1_000_010, -1_000_005));
        clock.follow(-1_000_005);
        assert_eq!((clock.now_ms(), clock.step_ms()), (5, 0));
        WALL.set(u64::MAX);
        clock.follow(clock.step_ms());
        pass(0);
        assert!(clock.now_ms() >= i64::MAX as u64);
        // Too far for one step.
        WALL.set(3);
        clock.follow(clock.step_ms());
        clock.follow(clock.step_ms());
        assert_eq!(clock.now_ms(), 3);
    }

    #[test]
    fn the_system_clock_counts_milliseconds_of_this_century() {
        let year_2020_ms = 1_577_836_800_000;
        assert!(SystemClock.now_ms() > year_2020_ms);
    }
}
