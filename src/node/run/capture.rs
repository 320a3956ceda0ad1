//! The output of a run: two streams, one shared byte budget, truncation stated.

use std::io::{ErrorKind, Read};

/// Bytes kept of stdout and stderr together, in arrival order.
pub const OUTPUT_BUDGET: usize = 200_000;

const TRUNCATED: &str = "\n... (truncated)";

/// Which stream bytes arrived on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stderr,
    Stdout,
}

/// Captured output so far. What goes over the budget is read and dropped, so the child never blocks.
#[derive(Debug, Default)]
pub struct Capture {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    truncated: bool,
}

impl Capture {
    /// Takes what `source` holds; an ended source becomes `None`.
    pub fn read<R: Read>(&mut self, stream: Stream, source: &mut Option<R>, buffer: &mut [u8]) {
        match source.as_mut().map(|source| source.read(buffer)) {
            Some(Ok(count)) if count > 0 => self.push(stream, &buffer[..count]),
            Some(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
            _ => *source = None,
        }
    }

    fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let left = OUTPUT_BUDGET - (self.stdout.len() + self.stderr.len());
        self.truncated |= bytes.len() > left;
        let kept = &bytes[..bytes.len().min(left)];
        match stream {
            Stream::Stderr => self.stderr.extend_from_slice(kept),
            Stream::Stdout => self.stdout.extend_from_slice(kept),
        }
    }

    /// More arrived than is kept.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Both streams as text (stdout, stderr), with the truncation mark where it belongs.
    pub fn finish(self) -> (String, String) {
        let mut stdout = String::from_utf8_lossy(&self.stdout).into_owned();
        let mut stderr = String::from_utf8_lossy(&self.stderr).into_owned();
        if self.truncated {
            let marked = if stderr.trim().is_empty() {
                &mut stdout
            } else {
                &mut stderr
            };
            marked.push_str(TRUNCATED);
        }
        (stdout, stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_shared_in_arrival_order() {
        let mut capture = Capture::default();
        capture.push(Stream::Stdout, &vec![b'o'; OUTPUT_BUDGET - 3]);
        capture.push(Stream::Stderr, b"eeeee");
        capture.push(Stream::Stdout, b"x");
        let (stdout, stderr) = capture.finish();
        assert_eq!(stdout.len(), OUTPUT_BUDGET - 3);
        assert_eq!(stderr, "eee\n... (truncated)");
    }

    #[test]
    fn the_mark_goes_to_stdout_when_stderr_is_blank() {
        let mut capture = Capture::default();
        capture.push(Stream::Stderr, b" \n");
        capture.push(Stream::Stdout, &vec![b'o'; OUTPUT_BUDGET]);
        let (stdout, stderr) = capture.finish();
        assert_eq!(stderr, " \n");
        assert!(stdout.ends_with("o\n... (truncated)"));
    }

    #[test]
    fn an_exact_fit_is_not_truncated_and_bad_utf8_is_replaced() {
        let mut capture = Capture::default();
        capture.push(Stream::Stdout, &[0xff; 2]);
        capture.push(Stream::Stdout, &vec![b'o'; OUTPUT_BUDGET - 2]);
        let (stdout, stderr) = capture.finish();
        assert!(stdout.starts_with("\u{fffd}\u{fffd}o") && stdout.ends_with('o'));
        assert_eq!(stderr, "");
    }
}
