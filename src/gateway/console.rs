//! The daemon's log: the console for people, `<time> [<subsystem>] <message>`, and the log file for
//! programs, one JSON document per line (cli.md §5.4).
//!
//! It owns the formats and the two streams: information to stdout, warnings and errors to stderr. The
//! subsystem is the log target. It never sees a secret: whoever logs keeps them out, secret types do
//! not format. Times are UTC. Neither a console that is gone nor a full disk ends the daemon.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use log::{Level, LevelFilter, Log, Metadata, Record};
use serde_json::json;

use crate::config::model::Logging;
use crate::config::word::ConsoleStyle;
use crate::protocol::hidden::is_hidden;
use crate::store::clock::{Clock, SystemClock, rfc3339};
use crate::store::log_file::{LogFile, LogPlace};

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

static CONSOLE: Console = Console {
    shape: RwLock::new(Shape {
        console: LevelFilter::Off,
        file: LevelFilter::Off,
        style: ConsoleStyle::Pretty,
    }),
    file: Mutex::new(None),
};

/// What is logged where (`logging.*`).
#[derive(Clone, Debug)]
pub struct LogSettings {
    shape: Shape,
    max_file_bytes: u64,
    place: Option<LogPlace>,
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    console: LevelFilter,
    file: LevelFilter,
    style: ConsoleStyle,
}

struct Console {
    shape: RwLock<Shape>,
    file: Mutex<Option<LogFile>>,
}

impl LogSettings {
    /// As configured; `verbose` shows more on the console. The log file stands below `temp_dir` unless
    /// another one is configured.
    pub fn of(logging: &Logging, temp_dir: &Path, verbose: bool) -> Self {
        let configured = logging.console_level.filter();
        let console = if verbose {
            configured.max(LevelFilter::Debug)
        } else {
            configured
        };
        Self {
            shape: Shape {
                console,
                file: logging.level.filter(),
                style: logging.console_style,
            },
            max_file_bytes: logging.max_file_bytes,
            place: LogPlace::find(logging.file.as_deref(), temp_dir),
        }
    }

    /// The file that is written to now; `None` when there is no place that can be trusted.
    pub fn file(&self) -> Option<PathBuf> {
        let place = self.place.as_ref()?;
        Some(place.file(SystemClock.now_ms()))
    }
}

/// Logs like this from now on; the first call makes the log lines of the whole process appear.
pub fn configure(settings: &LogSettings) {
    {
        let mut shape = CONSOLE
            .shape
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *shape = settings.shape;
    }
    {
        let mut file = CONSOLE.file.lock().unwrap_or_else(PoisonError::into_inner);
        let max_bytes = settings.max_file_bytes;
        let same = |file: &LogFile, place| file.is_at(place, max_bytes);
        match (&settings.place, file.as_ref()) {
            (Some(place), Some(file)) if same(file, place) => {}
            (Some(place), _) => *file = Some(LogFile::new(place.clone(), max_bytes)),
            (None, _) => *file = None,
        }
    }
    // Already set by an earlier call, or by a test: then that one stays.
    let _ = log::set_logger(&CONSOLE);
    log::set_max_level(settings.shape.console.max(settings.shape.file));
}

impl Log for Console {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let shape = self.shape();
        metadata.level() <= shape.console.max(shape.file)
    }

    fn log(&self, record: &Record<'_>) {
        if !is_ours(record) && record.level() > Level::Warn {
            return;
        }
        let shape = self.shape();
        let now_ms = SystemClock.now_ms();
        let message = clean(&record.args().to_string());
        let (level, target) = (record.level(), subsystem(record.target()));
        if level <= shape.console {
            show(level, &line(shape.style, now_ms, level, target, &message));
        }
        if level <= shape.file {
            self.keep(shape, now_ms, &document(now_ms, level, target, &message));
        }
    }

    fn flush(&self) {}
}

/// Whether a line comes from this program. Below warnings some crates that it uses show whole frames,
/// credentials included.
fn is_ours(record: &Record<'_>) -> bool {
    let ours = env!("CARGO_CRATE_NAME");
    let path = record
        .module_path()
        .and_then(|path| path.strip_prefix(ours));
    path.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

impl Console {
    fn shape(&self) -> Shape {
        *self.shape.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends to the log file. That it cannot be written is said on the console, once a minute.
    fn keep(&self, shape: Shape, now_ms: u64, line_of_file: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = file.as_mut() else {
            return;
        };
        if let Err(error) = file.append(now_ms, line_of_file) {
            let message =
                format!("the log file cannot be written: {error}; logging goes on here only");
            show(
                Level::Warn,
                &line(
                    shape.style,
                    now_ms,
                    Level::Warn,
                    DEFAULT_SUBSYSTEM,
                    &message,
                ),
            );
        }
    }
}

fn show(level: Level, line: &str) {
    // A console that is gone must not end the daemon.
    let _ = match level {
        Level::Error | Level::Warn => std::io::stderr().write_all(line.as_bytes()),
        Level::Info | Level::Debug | Level::Trace => {
            let mut stdout = std::io::stdout();
            stdout
                .write_all(line.as_bytes())
                .and_then(|()| stdout.flush())
        }
    };
}

fn subsystem(target: &str) -> &str {
    if SUBSYSTEMS.contains(&target) {
        target
    } else {
        DEFAULT_SUBSYSTEM
    }
}

/// Without the hidden characters that a peer could have put into the message.
fn clean(message: &str) -> String {
    let plain = |c: char| {
        if is_hidden(c) && c != '\t' {
            '\u{fffd}'
        } else {
            c
        }
    };
    message.chars().map(plain).collect()
}

/// One finished line of the console.
fn line(style: ConsoleStyle, at_ms: u64, level: Level, subsystem: &str, message: &str) -> String {
    match style {
        ConsoleStyle::Pretty => format!("{} [{subsystem}] {message}\n", rfc3339(at_ms)),
        ConsoleStyle::Compact => format!("[{subsystem}] {message}\n"),
        ConsoleStyle::Json => document(at_ms, level, subsystem, message),
    }
}

/// One finished line of the log file.
fn document(at_ms: u64, level: Level, subsystem: &str, message: &str) -> String {
    let level = level.as_str().to_ascii_lowercase();
    let document =
        json!({"time": rfc3339(at_ms), "level": level, "subsystem": subsystem, "message": message});
    format!("{document}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_subsystem_and_carries_no_control_characters() {
        let message = clean("hello\n\u{1b}[31mred");
        assert_eq!(message, "hello\u{fffd}\u{fffd}[31mred");
        for (style, expected) in [
            (
                ConsoleStyle::Pretty,
                "1970-01-01T00:00:00.000Z [ws] a \"b\"\n",
            ),
            (ConsoleStyle::Compact, "[ws] a \"b\"\n"),
            (
                ConsoleStyle::Json,
                "{\"time\":\"1970-01-01T00:00:00.000Z\",\"level\":\"warn\",\"subsystem\":\"ws\",\"message\":\"a \\\"b\\\"\"}\n",
            ),
        ] {
            assert_eq!(line(style, 0, Level::Warn, "ws", "a \"b\""), expected);
        }
        assert_eq!(subsystem("ws"), "ws");
        assert_eq!(subsystem("openclaw::store"), "gateway");
    }
}
