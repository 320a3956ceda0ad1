//! The signals of the daemon as bytes in pipes, polled by the main thread beside what else it waits for
//! (cli.md §5.3).

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use rustix::event::PollFlags;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::{flag, low_level::pipe};

use crate::net::readiness::wait_all;

/// The signals a gateway listens to. Registered once per process: one that arrives while a gateway comes
/// up or restarts is acted on afterwards.
pub struct Signals {
    reload: UnixStream,
    restart: UnixStream,
    stop: UnixStream,
    registered: Vec<signal_hook::SigId>,
}

/// What ended a wait; all false means that the deadline passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// The other descriptor can be read.
    pub other: bool,
    /// SIGHUP.
    pub reload: bool,
    /// SIGUSR1.
    pub restart: bool,
    /// SIGTERM or SIGINT; stays so.
    pub stop: bool,
}

impl Signals {
    /// Registers the handlers. Errors: the system gives no descriptors.
    pub fn register() -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let mut registered = Vec::new();
        for signal in [SIGINT, SIGTERM] {
            // The second of them finds the flag set and exits at once (cli.md §5.3).
            registered.push(flag::register_conditional_shutdown(
                signal,
                1,
                Arc::clone(&stopping),
            )?);
            registered.push(flag::register(signal, Arc::clone(&stopping))?);
        }
        let mut channel = |signals: &[i32]| -> io::Result<UnixStream> {
            let (reader, writer) = UnixStream::pair()?;
            for signal in signals {
                registered.push(pipe::register(*signal, writer.try_clone()?)?);
            }
            Ok(reader)
        };
        Ok(Self {
            stop: channel(&[SIGINT, SIGTERM])?,
            restart: channel(&[SIGUSR1])?,
            reload: channel(&[SIGHUP])?,
            registered,
        })
    }

    /// Sleeps until a signal arrives, `other` can be read or the deadline has passed.
    pub fn wait(
        &self,
        other: Option<BorrowedFd<'_>>,
        deadline: Option<Instant>,
    ) -> io::Result<Woken> {
        let pipes = [&self.stop, &self.restart, &self.reload].map(|pipe| pipe.as_fd());
        let polled: Vec<_> = pipes
            .into_iter()
            .chain(other)
            .map(|descriptor| (descriptor, PollFlags::IN))
            .collect();
        let ready = wait_all(&polled, deadline)?;
        let fired = |at: usize| ready.get(at).is_some_and(|flags| !flags.is_empty());
        let woken = Woken {
            stop: fired(0),
            restart: fired(1),
            reload: fired(2),
            other: fired(3),
        };
        if woken.restart {
            drain(&self.restart);
        }
        if woken.reload {
            drain(&self.reload);
        }
        Ok(woken)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

fn drain(mut pipe: &UnixStream) {
    // One read takes more signals than anybody sends between two polls; what is left polls again.
    let _ = pipe.read(&mut [0_u8; 64]);
}
