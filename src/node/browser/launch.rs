//! Starting a browser: its arguments, its process, how long it may take to answer
//! (node-host specification, section 4.1).
//!
//! The browser leads a process group of its own. A small shell beside it in that group holds the read end of
//! a pipe whose other end only this program has: however this program ends, the pipe closes and the group ends.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::executable::Executable;
use super::guard::BLANK;
use crate::node::run::Children;

/// How long a browser may take to end in order.
const STOP_GRACE: Duration = Duration::from_millis(2_500);

/// How long a killed group may take to vanish.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes kept of what a browser complains about while it starts.
const MAX_COMPLAINT_BYTES: usize = 8 * 1024;

/// The threads beside a browser sit in one system call each.
const WATCHER_STACK: usize = 64 * 1024;

/// Ends its process group when its input ends, and becomes the browser otherwise. `$0` is the grace in seconds.
const LIFELINE: &str = r#"exec 3<&0 </dev/null
( trap "" TERM; read -r _ <&3; kill -TERM 0; sleep "$0"; kill -KILL 0 ) >/dev/null 2>&1 &
exec "$@" 3<&-"#;

/// What a browser is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The program.
    pub executable: Executable,
    /// Its debugging port.
    pub port: u16,
    /// Its user-data directory.
    pub user_data: PathBuf,
    /// Without a window.
    pub headless: bool,
    /// Without its sandbox.
    pub no_sandbox: bool,
    /// `browser.extraArgs`.
    pub extra: Vec<String>,
}

impl Launch {
    /// The arguments; `system` is `std::env::consts::OS`. `extra` comes late, so that it wins.
    pub fn arguments(&self, system: &str) -> Vec<OsString> {
        let mut data = OsString::from("--user-data-dir=");
        data.push(&self.user_data);
        let mut arguments = vec![
            format!("--remote-debugging-port={}", self.port).into(),
            data,
        ];
        let mut add = |flags: &[&str]| arguments.extend(flags.iter().map(OsString::from));
        add(&[
            "--no-first-run",
            "--no-default-browser-check",
            "--disable-sync",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-features=Translate,MediaRouter",
            "--disable-session-crashed-bubble",
            "--hide-crash-restore-bubble",
            "--password-store=basic",
        ]);
        if self.headless {
            add(&["--headless=new", "--disable-gpu"]);
        }
        if self.no_sandbox {
            add(&["--no-sandbox"]);
        }
        if system == "linux" {
            add(&["--disable-dev-shm-usage"]);
        }
        let proxied = |flag: &String| flag.starts_with("--proxy-") || flag == "--no-proxy-server";
        if !self.extra.iter().any(proxied) {
            add(&["--no-proxy-server"]);
        }
        arguments.extend(self.extra.iter().map(OsString::from));
        // A first tab that asks nobody for anything.
        arguments.push(BLANK.into());
        arguments
    }
}

/// Variables that would route a browser's connections elsewhere.
fn is_proxy_variable(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_ascii_uppercase();
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"].contains(&name.as_str())
}

/// A browser that this program started.
#[derive(Debug)]
pub struct Process {
    group: Pid,
    children: Arc<Children>,
    /// Closing it ends the group.
    lifeline: Mutex<Option<ChildStdin>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    ended: Mutex<bool>,
    changed: Condvar,
    complaint: Mutex<Vec<u8>>,
}

impl Process {
    /// Starts a browser with this environment.
    ///
    /// # Errors
    /// The program cannot be started, or the host is stopping.
    pub fn start<'a>(
        launch: &Launch,
        environment: impl Iterator<Item = (&'a OsStr, &'a OsStr)>,
        children: &Arc<Children>,
    ) -> std::io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", LIFELINE, &STOP_GRACE.as_secs_f64().to_string()])
            .arg(&launch.executable.path)
            .args(launch.arguments(std::env::consts::OS))
            .env_clear()
            .envs(environment.filter(|(name, _)| !is_proxy_variable(name)))
            .current_dir(parent(&launch.user_data))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = children.spawn(&mut command)?;
        let process = Self {
            group: Pid::from_child(&child),
            children: Arc::clone(children),
            lifeline: Mutex::new(child.stdin.take()),
            shared: Arc::default(),
        };
        let stderr = child.stderr.take();
        let watched = process
            .spawn("browser-exit", |shared, group, children| {
                reap(child, group, &children, &shared)
            })
            .and_then(|()| process.spawn("browser-said", |shared, _, _| listen(stderr, &shared)));
        if watched.is_err() {
            process.signal(Signal::KILL);
        }
        watched.map(|()| process)
    }

    fn spawn(
        &self,
        name: &str,
        work: impl FnOnce(Arc<Shared>, Pid, Arc<Children>) + Send + 'static,
    ) -> std::io::Result<()> {
        let (shared, group) = (Arc::clone(&self.shared), self.group);
        let children = Arc::clone(&self.children);
        let builder = std::thread::Builder::new().name(name.to_owned());
        builder
            .stack_size(WATCHER_STACK)
            .spawn(move || work(shared, group, children))
            .map(drop)
    }

    /// The browser's process id, which is its group's too.
    pub fn id(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        !*lock(&self.shared.ended)
    }

    /// What it has complained about so far, trimmed.
    pub fn complaint(&self) -> String {
        let complaint = lock(&self.shared.complaint);
        String::from_utf8_lossy(&complaint).trim().to_owned()
    }

    /// Ends it: asked first, killed with its group after [`STOP_GRACE`]. Returns when it is gone.
    pub fn stop(&self) {
        self.signal(Signal::TERM);
        if !self.wait(STOP_GRACE) {
            self.signal(Signal::KILL);
            self.wait(KILL_PATIENCE);
        }
        lock(&self.lifeline).take();
    }

    /// Waits for its end; false when that takes longer than `patience`.
    pub fn wait(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut ended = lock(&self.shared.ended);
        while !*ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(ended, left);
            ended = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Signals the group while its leader is not collected: its number cannot be anybody else's then.
    fn signal(&self, signal: Signal) {
        let ended = lock(&self.shared.ended);
        if !*ended {
            let _ = kill_process_group(self.group, signal);
        }
    }
}

fn reap(mut child: Child, group: Pid, children: &Children, shared: &Shared) {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while waitid(WaitId::Pid(group), options).is_err_and(|error| error == Errno::INTR) {}
    let mut ended = lock(&shared.ended);
    // What the browser leaves of its group goes with it.
    let _ = kill_process_group(group, Signal::KILL);
    *ended = true;
    shared.changed.notify_all();
    drop(ended);
    children.release(group);
    let _ = child.wait();
    children.forget(group);
}

/// Keeps the beginning of what is said; the rest is read and dropped, so that nobody blocks on a full pipe.
fn listen(stderr: Option<impl Read>, shared: &Shared) {
    let Some(mut stderr) = stderr else { return };
    let mut chunk = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut chunk) {
        let mut kept = lock(&shared.complaint);
        let room = MAX_COMPLAINT_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&chunk[..read.min(room)]);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Removes the locks that a browser of another life left in its user-data directory.
pub fn remove_stale_locks(user_data: &Path) {
    for name in ["SingletonLock", "SingletonCookie", "SingletonSocket"] {
        // Where there is none, nothing is stale.
        let _ = std::fs::remove_file(user_data.join(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(extra: &[&str]) -> Launch {
        Launch {
            executable: Executable {
                path: "/bin/true".into(),
                kind: "custom",
            },
            port: 18_800,
            user_data: "/d/u".into(),
            headless: false,
            no_sandbox: false,
            extra: extra.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    #[test]
    fn arguments_in_their_order() {
        let usual = launch(&["--mute-audio"]);
        let arguments = usual.arguments("macos");
        assert_eq!(
            arguments[..2],
            ["--remote-debugging-port=18800", "--user-data-dir=/d/u"]
        );
        let tail = [
            "--password-store=basic",
            "--no-proxy-server",
            "--mute-audio",
            "about:blank",
        ];
        assert_eq!(arguments[arguments.len() - 4..], tail);
        let bare = Launch {
            headless: true,
            no_sandbox: true,
            ..launch(&["--proxy-server=x"])
        };
        let arguments = bare.arguments("linux");
        let tail = [
            "--headless=new",
            "--disable-gpu",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--proxy-server=x",
            "about:blank",
        ];
        assert_eq!(arguments[arguments.len() - 6..], tail);
    }

    #[test]
    fn proxies_of_the_environment_are_left_out() {
        for (name, left_out) in [("https_proxy", true), ("NO_PROXY", true), ("HOME", false)] {
            assert_eq!(is_proxy_variable(OsStr::new(name)), left_out, "{name}");
        }
    }

    /// A "browser" that says its group's members and stays; `more` runs first.
    fn script(dir: &Path, more: &str) -> Launch {
        let file = dir.join("browser");
        std::fs::write(
            &file,
            format!("#!/bin/sh\n{more}\necho up >&2\nsleep 600\n"),
        )
        .unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&file, mode).unwrap();
        Launch {
            executable: Executable {
                path: file,
                kind: "custom",
            },
            user_data: dir.join("u"),
            ..launch(&[])
        }
    }

    fn started(dir: &Path, more: &str) -> Process {
        let path = [(OsStr::new("PATH"), OsStr::new("/usr/bin:/bin"))];
        let children = Arc::default();
        let process = Process::start(&script(dir, more), path.into_iter(), &children).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while process.complaint() != "up" {
            assert!(Instant::now() < deadline, "{:?}", process.complaint());
            std::thread::sleep(Duration::from_millis(5));
        }
        process
    }

    #[test]
    fn it_ends_when_it_is_stopped_or_this_program_is_gone() {
        let dir = crate::node::testing::TempDir::new();
        let long = Duration::from_secs(60);
        let process = started(dir.path(), "");
        assert!(process.is_alive());
        process.stop();
        assert!(!process.is_alive());
        // The system closes the pipe of a program that ends, however it ends.
        let process = started(dir.path(), "");
        lock(&process.lifeline).take();
        assert!(process.wait(long));
    }

    #[test]
    fn one_that_does_not_listen_is_killed() {
        let dir = crate::node::testing::TempDir::new();
        let process = started(dir.path(), "trap '' TERM");
        process.stop();
        assert!(!process.is_alive());
    }
}
