//! Output of a command that stays: whole lines on stdout as things happen, until a signal ends it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::cli::emit;

/// Exit codes of a command that a signal ended.
const SIGNALS: [(i32, i32); 2] = [(SIGINT, 130), (SIGTERM, 143)];

/// The stream of one command.
pub struct Stream {
    /// A signal may end the process at once: nothing is being written.
    idle: Arc<AtomicBool>,
    /// For each signal whether it came, and its exit code.
    came: Vec<(Arc<AtomicBool>, i32)>,
}

impl Stream {
    /// From here on Ctrl-C and SIGTERM end the command with the codes of a command that waited, between two
    /// lines. A second one does not wait for the reader of a line.
    ///
    /// # Errors
    /// The system does not let it.
    pub fn start() -> io::Result<Stream> {
        let idle = Arc::new(AtomicBool::new(true));
        let mut came = Vec::new();
        for (signal, code) in SIGNALS {
            let flag = Arc::new(AtomicBool::new(false));
            for condition in [&idle, &flag] {
                let condition = Arc::clone(condition);
                signal_hook::flag::register_conditional_shutdown(signal, code, condition)?;
            }
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
            came.push((flag, code));
        }
        Ok(Stream { idle, came })
    }

    /// Writes whole lines, each with its line break.
    ///
    /// # Errors
    /// The reader is gone, or stdout cannot be written.
    pub fn write(&self, lines: &str) -> io::Result<()> {
        self.idle.store(false, Ordering::SeqCst);
        let written = emit(lines);
        self.idle.store(true, Ordering::SeqCst);
        let ended = self
            .came
            .iter()
            .find(|(came, _)| came.load(Ordering::SeqCst));
        if let Some((_, code)) = ended {
            std::process::exit(*code);
        }
        written
    }
}
