//! Waiting for a program of this machine that was started with piped output: within a deadline, with a
//! bound on what is kept of what it says.

use std::io::{self, Read};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that are kept of each of its outputs.
const MAX_OUTPUT_BYTES: usize = 16 * 1024;

/// How often it is looked whether it has ended.
const POLL: Duration = Duration::from_millis(5);

/// How long its outputs may stay open after its end: somebody it started may hold them for ever.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// Waits for the end of `child` and what it said; at the deadline it is ended, and `None`.
///
/// # Errors
/// It cannot be waited for.
pub fn finish(mut child: Child, deadline: Instant) -> io::Result<Option<Finished>> {
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let Some(status) = wait(&mut child, deadline)? else {
        return Ok(None);
    };
    let until = Instant::now() + LAST_WORDS;
    Ok(Some(Finished {
        status,
        stdout: stdout.said(until),
        stderr: stderr.said(until),
    }))
}

fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let ended = wait_until(child, deadline)?;
    if ended.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    Ok(ended)
}

/// Waits for the end of `child`, at most until the deadline: `None` when it still runs then.
///
/// # Errors
/// It cannot be waited for.
pub fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        match child.try_wait()? {
            None if Instant::now() < deadline => thread::sleep(POLL),
            ended => return Ok(ended),
        }
    }
}

/// What one output of a program has said so far; it is read in a thread of its own.
#[derive(Debug)]
pub struct Output {
    kept: Arc<Mutex<Vec<u8>>>,
    /// Disconnected at its end.
    ended: Receiver<()>,
}

impl Output {
    /// What it said until its end or until `until`.
    pub fn said(&self, until: Instant) -> String {
        let patience = until.saturating_duration_since(Instant::now());
        let _ = self.ended.recv_timeout(patience);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).into_owned()
    }
}

/// Starts to read an output to its end; no more than 16 KiB of it are kept.
pub fn collect(pipe: Option<impl Read + Send + 'static>) -> Output {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let (ends, ended) = channel::<()>();
    let shared = Arc::clone(&kept);
    thread::spawn(move || {
        let _ends = ends;
        let Some(mut pipe) = pipe else { return };
        let mut chunk = [0; 4096];
        // What is too much is read and dropped, so that nobody blocks on a full pipe.
        while let Ok(read @ 1..) = pipe.read(&mut chunk) {
            let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let room = MAX_OUTPUT_BYTES.saturating_sub(kept.len());
            kept.extend_from_slice(&chunk[..read.min(room)]);
        }
    });
    Output { kept, ended }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn shell(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        piped.spawn().unwrap()
    }

    #[test]
    fn somebody_who_keeps_the_output_open_holds_nobody_up() {
        let deadline = Instant::now() + Duration::from_secs(60);
        let script = "echo said; echo complained >&2; sleep 100 & echo $! >&2";
        let finished = finish(shell(script), deadline).unwrap().unwrap();
        assert!(Instant::now() < deadline);
        assert_eq!(finished.stdout, "said\n");
        let (complaint, sleeper) = finished.stderr.trim().split_once('\n').unwrap();
        assert_eq!(complaint, "complained");
        assert!(
            Command::new("kill")
                .arg(sleeper)
                .status()
                .unwrap()
                .success()
        );
    }

    #[test]
    fn what_is_not_over_at_the_deadline_is_ended() {
        let deadline = Instant::now() + Duration::from_millis(50);
        assert!(finish(shell("exec sleep 100"), deadline).unwrap().is_none());
    }
}
