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

use super::cdp::Socket;
use super::endpoint::Endpoint;
use super::executable::Executable;
use super::guard::BLANK;
use crate::node::run::Children;
use crate::store::atomic::create_private_directory;

/// How long a browser may take to end in order.
const STOP_GRACE: Duration = Duration::from_millis(2_500);

/// How long a killed group may take to vanish.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes kept of what a browser complains about while it starts.
const MAX_COMPLAINT_BYTES: usize = 8 * 1024;

/// What a browser says of its own socket, and when it cannot have its port.
const ANNOUNCEMENT: &str = "DevTools listening on ws://";
const PORTLESS: &str = "Cannot start http server for devtools";

/// Bytes of a line in which that is looked for.
const MAX_LINE_BYTES: usize = 512;

/// The threads beside a browser sit in one system call each.
const WATCHER_STACK: usize = 64 * 1024;

/// What has a browser use its proxy for everything: for loopback too, for names, and for what would go by UDP.
const OUTLET_ALONE: [&str; 4] = [
    "--proxy-bypass-list=<-loopback>",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    // The same in releases of old.
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
];

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
    /// Where it keeps what it would keep in the home directory: settings, caches, crash reports.
    pub folder: PathBuf,
    /// Without a window.
    pub headless: bool,
    /// Without its sandbox.
    pub no_sandbox: bool,
    /// `browser.extraArgs`.
    pub extra: Vec<String>,
    /// The port of its outlet; `None` for one that has a proxy of its owner among `extra`.
    pub outlet: Option<u16>,
}

impl Launch {
    /// The arguments; `system` is `std::env::consts::OS`. `extra` comes late, so that it wins; only what would lead
    /// around the outlet does not count.
    pub fn arguments(&self, system: &str) -> Vec<OsString> {
        let placed = |flag: &str, place: &Path| {
            let mut argument = OsString::from(flag);
            argument.push(place);
            argument
        };
        let mut arguments = vec![
            format!("--remote-debugging-port={}", self.port).into(),
            placed("--user-data-dir=", &self.user_data),
            placed("--crash-dumps-dir=", &self.folder.join("crashes")),
        ];
        let mut add = |flags: &[&str]| arguments.extend(flags.iter().map(OsString::from));
        add(&[
            "--no-first-run",
            "--no-default-browser-check",
            "--disable-breakpad",
            "--disable-crash-reporter",
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
        match self.outlet {
            Some(port) => {
                arguments.push(format!("--proxy-server=socks5://127.0.0.1:{port}").into());
                arguments.extend(OUTLET_ALONE.map(OsString::from));
                let (around, extra): (Vec<_>, Vec<_>) =
                    self.extra.iter().partition(|flag| leads_around(flag));
                for flag in around {
                    log::warn!("browser: {flag} of browser.extraArgs does not count");
                }
                arguments.extend(extra.into_iter().map(OsString::from));
            }
            None => arguments.extend(self.extra.iter().map(OsString::from)),
        }
        // A first tab that asks nobody for anything.
        arguments.push(BLANK.into());
        arguments
    }

    /// Makes its directories.
    ///
    /// # Errors
    /// One cannot be made.
    pub fn prepare(&self) -> std::io::Result<()> {
        create_private_directory(&self.folder)?;
        create_private_directory(&self.user_data)
    }

    /// The variables that say where programs keep their things.
    fn places(&self) -> [(&'static str, PathBuf); 3] {
        [
            ("XDG_CACHE_HOME", self.folder.join("cache")),
            ("XDG_CONFIG_HOME", self.folder.join("config")),
            ("XDG_DATA_HOME", self.folder.join("data")),
        ]
    }
}

/// Whether an argument would have a browser reach the network otherwise than through its outlet, or is no switch: what
/// comes behind one of those may be none either.
fn leads_around(argument: &str) -> bool {
    let Some((name, _)) = switch(argument) else {
        return true;
    };
    name.starts_with("proxy-")
        || name == "no-proxy-server"
        || name == "host-resolver-rules"
        || name.ends_with("webrtc-ip-handling-policy")
}

/// Name and value of a switch as browsers read it: one dash is as good as two.
pub fn switch(argument: &str) -> Option<(&str, &str)> {
    let text = argument.strip_prefix('-')?;
    let text = text.strip_prefix('-').unwrap_or(text);
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (!name.is_empty()).then_some((name, value))
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
    port: u16,
    children: Arc<Children>,
    /// Closing it ends the group.
    lifeline: Mutex<Option<ChildStdin>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    ended: Mutex<bool>,
    changed: Condvar,
    said: Mutex<Said>,
}

/// What a browser has said so far.
#[derive(Debug, Default)]
struct Said {
    /// The beginning of it.
    complaint: Vec<u8>,
    /// The beginning of the present line.
    line: Vec<u8>,
    /// The path of its own socket.
    socket: Option<String>,
    /// Somebody else has its port.
    portless: bool,
}

impl Said {
    fn hear(&mut self, chunk: &[u8]) {
        let room = MAX_COMPLAINT_BYTES.saturating_sub(self.complaint.len());
        self.complaint
            .extend_from_slice(&chunk[..chunk.len().min(room)]);
        for &byte in chunk {
            if byte != b'\n' {
                if self.line.len() < MAX_LINE_BYTES {
                    self.line.push(byte);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            if let Some((_, url)) = line.split_once(ANNOUNCEMENT) {
                let path = url.find('/').map(|at| url[at..].trim().to_owned());
                self.socket = self.socket.take().or(path);
            }
            self.portless |= line.contains(PORTLESS);
        }
    }
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
            .envs(launch.places())
            .current_dir(&launch.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = children.spawn(&mut command)?;
        let process = Self {
            group: Pid::from_child(&child),
            port: launch.port,
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
        let said = lock(&self.shared.said);
        String::from_utf8_lossy(&said.complaint).trim().to_owned()
    }

    /// Its own socket, once it has named it.
    pub fn socket(&self) -> Option<Socket> {
        let path = lock(&self.shared.said).socket.clone()?;
        let Endpoint { host, port, .. } = Endpoint::local(self.port);
        Some(Socket { host, port, path })
    }

    /// Whether it has said that somebody else has its port; it runs on without one.
    pub fn has_no_port(&self) -> bool {
        lock(&self.shared.said).portless
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

/// Hears a browser out: what is not kept is read and dropped, so that it never blocks on a full pipe.
fn listen(stderr: Option<impl Read>, shared: &Shared) {
    let Some(mut stderr) = stderr else { return };
    let mut chunk = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut chunk) {
        lock(&shared.said).hear(&chunk[..read]);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            folder: "/d".into(),
            headless: false,
            no_sandbox: false,
            extra: extra.iter().map(|text| (*text).to_owned()).collect(),
            outlet: None,
        }
    }

    #[test]
    fn arguments_in_their_order() {
        let around = [
            "--mute-audio",
            "--proxy-bypass-list=*",
            "--no-proxy-server",
            "--proxy-server=",
        ];
        let usual = Launch {
            outlet: Some(1080),
            ..launch(&around)
        };
        let arguments = usual.arguments("macos");
        assert_eq!(
            arguments[..3],
            [
                "--remote-debugging-port=18800",
                "--user-data-dir=/d/u",
                "--crash-dumps-dir=/d/crashes"
            ]
        );
        let tail = [
            "--password-store=basic",
            "--proxy-server=socks5://127.0.0.1:1080",
            "--proxy-bypass-list=<-loopback>",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--webrtc-ip-handling-policy=disable_non_proxied_udp",
            "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
            "--mute-audio",
            "about:blank",
        ];
        assert_eq!(arguments[arguments.len() - tail.len()..], tail);
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
        assert_eq!(arguments[arguments.len() - tail.len()..], tail);
    }

    #[test]
    fn proxies_of_the_environment_are_left_out() {
        for (name, left_out) in [("https_proxy", true), ("NO_PROXY", true), ("HOME", false)] {
            assert_eq!(is_proxy_variable(OsStr::new(name)), left_out, "{name}");
        }
    }

    #[test]
    fn a_browser_names_its_own_socket_in_whatever_pieces_it_speaks() {
        let noise = "x".repeat(MAX_COMPLAINT_BYTES);
        let text = format!(
            "{noise}\n\nDevTools listening on ws://127.0.0.1:1/devtools/browser/a-b\r\nmore\n"
        );
        for size in [1, 7, 1024, text.len()] {
            let mut said = Said::default();
            text.as_bytes()
                .chunks(size)
                .for_each(|chunk| said.hear(chunk));
            assert_eq!(
                said.socket.as_deref(),
                Some("/devtools/browser/a-b"),
                "{size}"
            );
            assert_eq!(said.complaint.len(), MAX_COMPLAINT_BYTES);
            assert!(!said.portless);
        }
        let mut said = Said::default();
        said.hear(b"[1:1:ERROR:x.cc(1)] Cannot start http server for devtools.\n");
        assert!(said.portless && said.socket.is_none());
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
            folder: dir.to_owned(),
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
