//! The one place that sleeps: `poll` on a socket and a wake until a deadline.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::net::wake::Wake;

/// What to wait for on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Until something can be read.
    pub read: bool,
    /// Until something can be written.
    pub write: bool,
}

impl Interest {
    /// Reading only.
    pub const READ: Interest = Interest {
        read: true,
        write: false,
    };
    /// Writing only.
    pub const WRITE: Interest = Interest {
        read: false,
        write: true,
    };
}

/// What is the case after a wait; all false means that the deadline passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Reading will not block: data, end of stream or an error.
    pub readable: bool,
    /// Writing will not block.
    pub writable: bool,
    /// The wake was notified; it is not cleared.
    pub woken: bool,
}

impl Ready {
    /// Whether nothing happened before the deadline.
    pub fn timed_out(self) -> bool {
        self == Ready::default()
    }
}

/// Sleeps until the socket is ready, the wake is notified or the deadline has passed; a deadline in the
/// past only looks. Without a deadline it sleeps as long as it takes.
pub fn wait(
    socket: Option<BorrowedFd<'_>>,
    interest: Interest,
    wake: Option<&Wake>,
    deadline: Option<Instant>,
) -> io::Result<Ready> {
    let mut wanted = PollFlags::empty();
    wanted.set(PollFlags::IN, interest.read);
    wanted.set(PollFlags::OUT, interest.write);
    let socket = socket.map(|socket| (socket, wanted));
    let wake = wake.map(|wake| (wake.as_fd(), PollFlags::IN));
    let found = wait_all(
        &[socket, wake].into_iter().flatten().collect::<Vec<_>>(),
        deadline,
    )?;
    let mut found = found.into_iter();
    let on_socket = socket
        .and_then(|_| found.next())
        .unwrap_or(PollFlags::empty());
    let on_wake = wake
        .and_then(|_| found.next())
        .unwrap_or(PollFlags::empty());
    let broken = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    Ok(Ready {
        readable: on_socket.intersects(PollFlags::IN | broken),
        writable: on_socket.intersects(PollFlags::OUT | broken),
        woken: !on_wake.is_empty(),
    })
}

/// Sleeps until one of the descriptors is ready or the deadline has passed, and returns what happened on
/// each. A signal does not end the wait.
pub fn wait_all(
    descriptors: &[(BorrowedFd<'_>, PollFlags)],
    deadline: Option<Instant>,
) -> io::Result<Vec<PollFlags>> {
    let mut polled: Vec<PollFd<'_>> = descriptors
        .iter()
        .map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
        .collect();
    loop {
        match poll(&mut polled, deadline.map(remaining).as_ref()) {
            Ok(_) => return Ok(polled.iter().map(PollFd::revents).collect()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn remaining(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now());
    Timespec {
        tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
        time::Duration,
    };

    use super::*;

    #[test]
    fn readiness_is_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let wake = Wake::new().unwrap();
        let both = Interest {
            read: true,
            write: true,
        };
        let look = |interest, deadline| {
            wait(Some(near.as_fd()), interest, Some(&wake), Some(deadline)).unwrap()
        };
        let soon = Instant::now() + Duration::from_secs(30);
        assert!(look(Interest::READ, Instant::now()).timed_out());
        assert_eq!(
            look(both, soon),
            Ready {
                writable: true,
                ..Ready::default()
            }
        );
        far.write_all(b"x").unwrap();
        assert_eq!(
            look(Interest::READ, soon),
            Ready {
                readable: true,
                ..Ready::default()
            }
        );
        wake.notify();
        let ready = Ready {
            readable: true,
            writable: true,
            woken: true,
        };
        assert_eq!(look(both, soon), ready);
    }
}
