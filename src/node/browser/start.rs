//! From a profile to a browser that answers: attach to one that runs, or launch one
//! (node-host specification, section 4.1).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, geteuid, test_kill_process};

use super::cdp::{Connection, Socket};
use super::endpoint::Endpoint;
use super::error::BrowserError;
use super::executable::{Executable, NONE_FOUND};
use super::guard::Policy;
use super::instance::{Means, Running};
use super::launch::{Launch, Process, remove_stale_locks};
use super::pages::Pages;
use super::settings::{Headless, Profile};
use crate::store::atomic::create_private_directory;

/// How often a browser that starts is asked.
const POLL: Duration = Duration::from_millis(50);

/// How long a browser of this program's last life may take to leave its port.
const PORT_PATIENCE: Duration = Duration::from_secs(5);

/// How long somebody who listens on the port may take to accept.
const PORT_PROBE: Duration = Duration::from_millis(200);

/// Bytes of a browser's last words in an error.
const MAX_LAST_WORDS: usize = 600;

/// How a browser is started, as decided when it was asked for.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its program; `None` when there is none.
    pub executable: Option<Executable>,
    /// Its user-data directory.
    pub user_data: PathBuf,
    /// Whether it shows a window.
    pub headless: Headless,
    /// Without its sandbox.
    pub no_sandbox: bool,
    /// `browser.extraArgs`.
    pub extra: Vec<String>,
    /// Until its endpoint answers.
    pub launch_limit: Duration,
    /// Until its socket answers.
    pub ready_limit: Duration,
    /// Where its pages may go.
    pub policy: Policy,
}

/// The endpoint of a profile.
///
/// # Errors
/// [`BrowserError::Launch`] for a `cdpUrl` that cannot be used.
pub fn endpoint(profile: &Profile) -> Result<Endpoint, BrowserError> {
    match &profile.url {
        None => Ok(Endpoint::local(profile.port)),
        Some(url) => Endpoint::parse(url).ok_or_else(|| {
            let name = &profile.name;
            BrowserError::Launch(format!(
                "cdpUrl of profile \"{name}\" must be http://host:port or ws://host:port/path"
            ))
        }),
    }
}

/// Gives a browser that answers. `former` is the one that does not any more: its process may have lost only its
/// connection.
///
/// # Errors
/// [`BrowserError::Launch`] with what the browser said.
pub fn start(
    profile: &Profile,
    means: &Means,
    former: Option<&Running>,
) -> Result<Running, BrowserError> {
    let plan = &means.plan;
    let endpoint = endpoint(profile)?;
    if let Some(process) = former.and_then(|former| former.process.as_ref()) {
        if process.is_alive() {
            let again = attach(&endpoint, plan).map(|(connection, pages)| Running {
                connection,
                pages,
                process: Some(Arc::clone(process)),
                executable: former.and_then(|former| former.executable.clone()),
                headless: former.map_or(plan.headless, |former| former.headless),
            });
            if again.is_ok() {
                return again;
            }
            process.stop();
        }
    }
    if !profile.is_launched() {
        let (connection, pages) = attach(&endpoint, plan).map_err(|error| {
            let name = &profile.name;
            BrowserError::Launch(format!(
                "no browser answers at {}:{} for profile \"{name}\", which this node host may not start itself: {error}",
                endpoint.host, endpoint.port
            ))
        })?;
        return Ok(Running {
            connection,
            pages,
            process: None,
            executable: None,
            headless: plan.headless,
        });
    }
    launch(profile, means, &endpoint)
}

fn launch(profile: &Profile, means: &Means, endpoint: &Endpoint) -> Result<Running, BrowserError> {
    let plan = &means.plan;
    let executable = plan.executable.clone();
    let executable = executable.ok_or_else(|| BrowserError::Launch(NONE_FOUND.to_owned()))?;
    wait_for_port(profile)?;
    create_private_directory(&plan.user_data).map_err(|error| {
        BrowserError::Launch(format!(
            "cannot create {}: {error}",
            plan.user_data.display()
        ))
    })?;
    let launch = Launch {
        executable: executable.clone(),
        port: profile.port,
        user_data: plan.user_data.clone(),
        headless: plan.headless.on,
        no_sandbox: plan.no_sandbox,
        extra: plan.extra.clone(),
    };
    let mut tried = 0;
    loop {
        tried += 1;
        let environment = means.environment.iter();
        let environment = environment.map(|(name, value)| (name.as_os_str(), value.as_os_str()));
        let process = Process::start(&launch, environment, &means.children);
        let process = process.map_err(|error| {
            BrowserError::Launch(format!(
                "cannot start {}: {error}",
                executable.path.display()
            ))
        })?;
        match ready(&process, endpoint, plan) {
            Ok((connection, pages)) => {
                return Ok(Running {
                    connection,
                    pages,
                    process: Some(Arc::new(process)),
                    executable: Some(executable),
                    headless: plan.headless,
                });
            }
            Err(reason) => {
                let ended = !process.is_alive();
                process.stop();
                // A lock of another life may keep it from its directory, once.
                if tried == 1 && ended && is_stale(&plan.user_data) {
                    remove_stale_locks(&plan.user_data);
                    continue;
                }
                return Err(failure(profile, &launch, &reason, &process.complaint()));
            }
        }
    }
}

/// Waits until the browser's socket answers.
fn ready(
    process: &Process,
    endpoint: &Endpoint,
    plan: &Plan,
) -> Result<(Arc<Connection>, Arc<Pages>), String> {
    let deadline = Instant::now() + plan.launch_limit;
    let socket = loop {
        if !process.is_alive() {
            return Err("it ended before it answered".to_owned());
        }
        if Instant::now() >= deadline {
            let limit = plan.launch_limit.as_millis();
            return Err(format!("it did not answer within {limit}ms"));
        }
        match endpoint.socket(deadline) {
            Ok(socket) => break socket,
            Err(_) => std::thread::sleep(POLL),
        }
    };
    if !is_own(&plan.user_data, &socket) {
        return Err("another browser answers on its port".to_owned());
    }
    connect(&socket, plan).map_err(|error| error.to_string())
}

/// Attaches to a browser that runs.
fn attach(endpoint: &Endpoint, plan: &Plan) -> Result<(Arc<Connection>, Arc<Pages>), BrowserError> {
    let deadline = Instant::now() + plan.ready_limit;
    let socket = endpoint.socket(deadline);
    let socket = socket.map_err(|error| BrowserError::Launch(error.to_string()))?;
    connect(&socket, plan)
}

fn connect(socket: &Socket, plan: &Plan) -> Result<(Arc<Connection>, Arc<Pages>), BrowserError> {
    let deadline = Instant::now() + plan.ready_limit;
    let pages = Arc::new(Pages::new(plan.policy.clone()));
    let connection = Connection::open(socket, deadline, Arc::clone(&pages) as _)
        .map_err(|error| BrowserError::Launch(error.to_string()))?;
    let attached = Pages::attach(&connection, deadline);
    if let Err(error) = attached {
        connection.close();
        return Err(BrowserError::Launch(error.to_string()));
    }
    Ok((connection, pages))
}

/// Whether the socket is the one that the browser of this directory has written down; true when it wrote nothing.
fn is_own(user_data: &Path, socket: &Socket) -> bool {
    let written = std::fs::read_to_string(user_data.join("DevToolsActivePort"));
    let Ok(written) = written else { return true };
    let path = written.lines().nth(1).unwrap_or_default().trim();
    path.is_empty() || path == socket.path
}

/// The port must be nobody's: a browser of this program's last life may be just leaving it.
fn wait_for_port(profile: &Profile) -> Result<(), BrowserError> {
    let deadline = Instant::now() + PORT_PATIENCE;
    let address = ([127, 0, 0, 1], profile.port).into();
    while std::net::TcpStream::connect_timeout(&address, PORT_PROBE).is_ok() {
        if Instant::now() >= deadline {
            let (port, name) = (profile.port, &profile.name);
            return Err(BrowserError::Launch(format!(
                "port {port} of profile \"{name}\" is in use by another program; set browser.profiles.{name}.cdpPort \
                 to a free one"
            )));
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Whether the lock in a user-data directory is of a process that is gone, or of another machine.
fn is_stale(user_data: &Path) -> bool {
    let Ok(owner) = std::fs::read_link(user_data.join("SingletonLock")) else {
        return false;
    };
    let owner = owner.to_string_lossy();
    let Some((machine, pid)) = owner.rsplit_once('-') else {
        return true;
    };
    let local = this_machine().is_none_or(|name| name == machine);
    let pid = pid.parse().ok().and_then(Pid::from_raw);
    !local || pid.is_none_or(|pid| test_kill_process(pid).is_err())
}

fn this_machine() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned())
}

fn failure(profile: &Profile, launch: &Launch, reason: &str, complaint: &str) -> BrowserError {
    let mut text = format!(
        "cannot start {} on port {} for profile \"{}\": {reason}.",
        launch.executable.path.display(),
        profile.port,
        profile.name
    );
    if cfg!(target_os = "linux") && geteuid().is_root() && !launch.no_sandbox {
        text.push_str(" Browsers refuse to run as root with their sandbox: set browser.noSandbox to true, or run the node host as another user.");
    }
    let words = last_words(complaint);
    if !words.is_empty() {
        text.push_str(" It said: ");
        text.push_str(&words);
    }
    BrowserError::Launch(text)
}

/// The end of what a browser said, without the lines that every browser on a server says.
fn last_words(complaint: &str) -> String {
    let lines = complaint.lines().map(str::trim);
    let telling = lines.filter(|line| !line.is_empty() && !line.contains("dbus/"));
    let text = telling.collect::<Vec<_>>().join(" ");
    let mut start = text.len().saturating_sub(MAX_LAST_WORDS);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::TempDir;

    #[test]
    fn a_lock_is_stale_when_nobody_here_holds_it() {
        let dir = TempDir::new();
        assert!(!is_stale(dir.path()), "there is none");
        let here = this_machine().unwrap_or_default();
        for (owner, stale) in [
            (format!("{here}-{}", std::process::id()), false),
            (format!("{here}-999999999"), true),
            (format!("elsewhere-{}", std::process::id()), true),
            ("nonsense".to_owned(), true),
        ] {
            let link = dir.path().join("SingletonLock");
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(&owner, &link).unwrap();
            assert_eq!(is_stale(dir.path()), stale, "{owner}");
        }
        remove_stale_locks(dir.path());
        assert!(!is_stale(dir.path()));
    }

    #[test]
    fn last_words_leave_the_usual_noise_out() {
        let said = "[1:2:ERROR:dbus/bus.cc:405] Failed\n  Running as root \n\nno";
        assert_eq!(last_words(said), "Running as root no");
        assert_eq!(last_words(&"é".repeat(1_000)).len(), MAX_LAST_WORDS);
    }
}
