//! Telling a service manager how this process is: `sd_notify` datagrams to `$NOTIFY_SOCKET`.
//!
//! It owns the socket and the time of the last sign of life. It has no thread: signs of life are sent by
//! the loop whose life they prove, so a loop that hangs sends none. Without a manager every call does
//! nothing. The socket is closed in children; who starts one leaves its name out as well.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a manager that does not read may hold up a message that it has to get; the others are not sent then.
const PATIENCE: Duration = Duration::from_secs(1);

/// When a sign of life is repeated that a manager had no room for.
const AGAIN: Duration = Duration::from_secs(1);

/// Longest status text in bytes; longer ones are cut.
const MAX_STATUS_BYTES: usize = 512;

/// The service manager that started this process, or nobody.
#[derive(Debug, Default)]
pub struct Supervisor {
    manager: Option<Manager>,
    /// What the manager waits for a sign of life before it ends and restarts the process.
    watchdog: Option<Duration>,
    last: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    /// For what is said on the way, by loops that must not wait.
    unwaiting: UnixDatagram,
    address: SocketAddr,
}

impl Supervisor {
    /// A process that nobody supervises.
    pub fn none() -> Self {
        Self::default()
    }

    /// The manager that listens at `name` (`$NOTIFY_SOCKET`: an absolute path, or `@` and an abstract name)
    /// and restarts the process after `watchdog` without a sign of life.
    ///
    /// # Errors
    /// The name is of no kind that is known, or the system gives no socket.
    pub fn new(name: Option<&OsStr>, watchdog: Option<Duration>) -> io::Result<Self> {
        let Some(name) = name else {
            return Ok(Self::none());
        };
        let address = address(name.as_bytes())?;
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let unwaiting = UnixDatagram::unbound()?;
        unwaiting.set_nonblocking(true)?;
        Ok(Self {
            manager: Some(Manager {
                socket,
                unwaiting,
                address,
            }),
            watchdog,
            last: Mutex::new(None),
        })
    }

    /// The service is up.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", line(status)));
        self.beat();
    }

    /// What it does at the moment, for `systemctl status`.
    pub fn status(&self, status: &str) {
        self.send_at_once(&format!("STATUS={}", line(status)));
    }

    /// It starts again in the same process; [`Supervisor::ready`] follows.
    pub fn reloading(&self, status: &str) {
        self.send(&format!("RELOADING=1\nSTATUS={}", line(status)));
        self.beat();
    }

    /// It ends.
    pub fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={}", line(status)));
    }

    /// Longest time between two signs of life: half of what the manager waits. `None`: none are wanted.
    pub fn interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// When the loop has to wake up for the next sign of life.
    pub fn next_beat(&self) -> Option<Instant> {
        let interval = self.interval()?;
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Some(last.map_or_else(Instant::now, |last| last + interval))
    }

    /// A sign of life, now. To be called only by the loop that does the work.
    pub fn beat(&self) {
        let Some(interval) = self.interval() else {
            return;
        };
        let now = Instant::now();
        // The manager counts from the last one that it got, so one that it had no room for is repeated soon.
        let last = match self.send_at_once("WATCHDOG=1") {
            true => now,
            false => now
                .checked_sub(interval.saturating_sub(AGAIN))
                .unwrap_or(now),
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }

    /// A sign of life when half of the interval has passed since the last one: cheap enough for every turn
    /// of a loop, and a step of up to an interval may follow.
    pub fn beat_if_due(&self) {
        let Some(interval) = self.interval() else {
            return;
        };
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= interval / 2) {
            self.beat();
        }
    }

    fn send(&self, message: &str) {
        let Some(manager) = &self.manager else { return };
        manager.send(&manager.socket, message);
    }

    /// The same without waiting; false when the manager has no room for it now.
    fn send_at_once(&self, message: &str) -> bool {
        let manager = self.manager.as_ref();
        manager.is_none_or(|manager| manager.send(&manager.unwaiting, message))
    }
}

impl Manager {
    /// False when there was no room for the message; whatever else fails is logged.
    fn send(&self, socket: &UnixDatagram, message: &str) -> bool {
        let Err(error) = socket.send_to_addr(message.as_bytes(), &self.address) else {
            return true;
        };
        let full = error.kind() == io::ErrorKind::WouldBlock;
        let level = match full {
            true => log::Level::Debug,
            false => log::Level::Warn,
        };
        log::log!(target: "service", level, "the service manager cannot be told {}: {error}",
            message.lines().next().unwrap_or_default());
        !full
    }
}

fn address(name: &[u8]) -> io::Result<SocketAddr> {
    match name.split_first() {
        Some((b'/', _)) => SocketAddr::from_pathname(OsStr::from_bytes(name)),
        #[cfg(target_os = "linux")]
        Some((b'@', rest)) => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(rest)
        }
        _ => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "NOTIFY_SOCKET={} is neither an absolute path nor an abstract name",
                String::from_utf8_lossy(name)
            ),
        )),
    }
}

/// One line: a line break would start another message.
fn line(text: &str) -> String {
    let mut line: String = text
        .chars()
        .map(|it| if it.is_control() { ' ' } else { it })
        .collect();
    let mut end = line.len().min(MAX_STATUS_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    fn received(manager: &UnixDatagram) -> String {
        manager
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut buffer = [0; 1_024];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn nothing_waits(manager: &UnixDatagram) {
        manager.set_nonblocking(true).unwrap();
        assert!(manager.recv(&mut [0; 64]).is_err());
        manager.set_nonblocking(false).unwrap();
    }

    struct SocketFile(PathBuf);

    impl Drop for SocketFile {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn listen(name: &str) -> (UnixDatagram, SocketFile) {
        let path = std::env::temp_dir().join(format!("notify-{name}-{}", std::process::id()));
        let file = SocketFile(path);
        let _ = std::fs::remove_file(&file.0);
        (UnixDatagram::bind(&file.0).unwrap(), file)
    }

    #[test]
    fn a_manager_hears_the_whole_life_in_order() {
        let (manager, file) = listen("life");
        let process = Supervisor::new(Some(file.0.as_os_str()), Some(LONG)).unwrap();
        process.ready("listening on\nport 1");
        process.reloading("again");
        process.stopping("");
        let heard: Vec<String> = (0..5).map(|_| received(&manager)).collect();
        assert_eq!(
            heard,
            [
                "READY=1\nSTATUS=listening on port 1",
                "WATCHDOG=1",
                "RELOADING=1\nSTATUS=again",
                "WATCHDOG=1",
                "STOPPING=1\nSTATUS="
            ]
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_name_is_reached_without_a_file() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("openclaw-notify-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let process = Supervisor::new(Some(OsStr::new(&format!("@{name}"))), None).unwrap();
        process.status("here");
        assert_eq!(received(&manager), "STATUS=here");
    }

    #[test]
    fn signs_of_life_are_sent_only_where_they_are_wanted_and_due() {
        let (manager, file) = listen("due");
        let name = Some(file.0.as_os_str());
        let unwatched = Supervisor::new(name, None).unwrap();
        unwatched.beat();
        unwatched.beat_if_due();
        assert_eq!((unwatched.interval(), unwatched.next_beat()), (None, None));
        nothing_waits(&manager);

        let watched = Supervisor::new(name, Some(LONG)).unwrap();
        assert_eq!(watched.interval(), Some(LONG / 2));
        assert!(watched.next_beat().unwrap() <= Instant::now());
        watched.beat_if_due();
        assert_eq!(received(&manager), "WATCHDOG=1");
        watched.beat_if_due();
        nothing_waits(&manager);
        assert!(watched.next_beat().unwrap() > Instant::now() + LONG / 4);
    }

    #[test]
    fn a_manager_that_went_away_or_has_no_known_address_disturbs_nobody() {
        let (manager, file) = listen("gone");
        let process = Supervisor::new(Some(file.0.as_os_str()), Some(LONG)).unwrap();
        drop((manager, file));
        process.ready("still here");
        for name in ["", "relative/path", "vsock:2:1"] {
            assert!(Supervisor::new(Some(OsStr::new(name)), None).is_err());
        }
        Supervisor::none().ready("nobody listens");
    }

    #[test]
    fn a_manager_that_does_not_read_holds_up_no_loop_and_hears_of_it_later() {
        let (manager, file) = listen("full");
        let process = Supervisor::new(Some(file.0.as_os_str()), Some(LONG)).unwrap();
        let full = || !process.send_at_once("STATUS=x");
        assert!((0..100_000).any(|_| full()), "no limit was found");
        let begun = Instant::now();
        process.status("y");
        process.beat();
        assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
        let again = process.next_beat().unwrap();
        assert!(again <= Instant::now() + AGAIN, "{:?}", again.elapsed());
        manager.set_nonblocking(true).unwrap();
        while manager.recv(&mut [0; 64]).is_ok() {}
        manager.set_nonblocking(false).unwrap();
        process.beat_if_due();
        assert_eq!(received(&manager), "WATCHDOG=1");
    }

    #[test]
    fn a_long_status_is_cut_at_a_character() {
        let cut = line(&"ä".repeat(MAX_STATUS_BYTES));
        assert!(cut.len() <= MAX_STATUS_BYTES && cut.chars().all(|it| it == 'ä'));
    }
}
