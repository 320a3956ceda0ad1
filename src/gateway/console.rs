//! The daemon's console: one line per event, `<time> [<subsystem>] <message>` (cli.md §5.4).
//!
//! It owns the format and the two streams: information to stdout, warnings and errors to stderr. The
//! subsystem is the log target. It never sees a secret: whoever logs keeps them out, secret types do
//! not format. Times are UTC with an explicit offset.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Targets outside this program's own rooms are shown under this subsystem.
const DEFAULT_SUBSYSTEM: &str = "gateway";

/// Subsystems a log line may name as its target.
const SUBSYSTEMS: [&str; 7] = [
    "discovery",
    "gateway",
    "node",
    "reload",
    "secrets",
    "shutdown",
    "ws",
];

struct Console {
    level: LevelFilter,
}

/// Makes every log line of the process appear on the console from `level` on. A second call changes
/// nothing.
pub fn install(level: LevelFilter) {
    if log::set_boxed_logger(Box::new(Console { level })).is_ok() {
        log::set_max_level(level);
    }
}

impl Log for Console {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = line(now_ms(), record.target(), &record.args().to_string());
        // A console that is gone must not end the daemon.
        let _ = match record.level() {
            Level::Error | Level::Warn => std::io::stderr().write_all(line.as_bytes()),
            Level::Info | Level::Debug | Level::Trace => {
                let mut stdout = std::io::stdout();
                stdout
                    .write_all(line.as_bytes())
                    .and_then(|()| stdout.flush())
            }
        };
    }

    fn flush(&self) {}
}

/// One finished line; control characters that a peer could have put into the message are replaced.
fn line(at_ms: u64, target: &str, message: &str) -> String {
    let subsystem = if SUBSYSTEMS.contains(&target) {
        target
    } else {
        DEFAULT_SUBSYSTEM
    };
    let clean: String = message
        .chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect();
    format!("{} [{subsystem}] {clean}\n", timestamp(at_ms))
}

fn now_ms() -> u64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// RFC 3339 with milliseconds, from milliseconds since the epoch.
fn timestamp(at_ms: u64) -> String {
    let (days, in_day) = (at_ms / 86_400_000, at_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, milli) = (in_day / 1000 % 60, in_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}+00:00")
}

/// The Gregorian date of a day since 1970-01-01, counted in 400-year eras that begin on 1 March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        for (at_ms, text) in [
            (0, "1970-01-01T00:00:00.000+00:00"),
            (951_782_400_000, "2000-02-29T00:00:00.000+00:00"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999+00:00"),
            (1_795_221_070_445, "2026-11-21T00:31:10.445+00:00"),
            (4_102_444_800_000, "2100-01-01T00:00:00.000+00:00"),
        ] {
            assert_eq!(timestamp(at_ms), text);
        }
    }

    #[test]
    fn a_line_names_its_subsystem_and_carries_no_control_characters() {
        assert_eq!(
            line(0, "ws", "hello\n\u{1b}[31mred"),
            "1970-01-01T00:00:00.000+00:00 [ws] hello\u{fffd}\u{fffd}[31mred\n"
        );
        assert_eq!(
            line(0, "openclaw::store", "x"),
            "1970-01-01T00:00:00.000+00:00 [gateway] x\n"
        );
    }
}
