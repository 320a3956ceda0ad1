//! The daemon's console: one line per event, `<time> [<subsystem>] <message>` (cli.md §5.4).
//!
//! It owns the format and the two streams: information to stdout, warnings and errors to stderr. The
//! subsystem is the log target. It never sees a secret: whoever logs keeps them out, secret types do
//! not format. Times are UTC.

use std::io::Write;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::store::clock::{Clock, SystemClock, rfc3339};

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
        let line = line(
            SystemClock.now_ms(),
            record.target(),
            &record.args().to_string(),
        );
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
    format!("{} [{subsystem}] {clean}\n", rfc3339(at_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_subsystem_and_carries_no_control_characters() {
        assert_eq!(
            line(0, "ws", "hello\n\u{1b}[31mred"),
            "1970-01-01T00:00:00.000Z [ws] hello\u{fffd}\u{fffd}[31mred\n"
        );
        assert_eq!(
            line(0, "openclaw::store", "x"),
            "1970-01-01T00:00:00.000Z [gateway] x\n"
        );
    }
}
