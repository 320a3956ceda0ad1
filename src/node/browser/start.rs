//! From a profile to a browser that answers: attach to one that runs, or launch one
//! (node-host specification, section 4.1).

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::geteuid;

use super::cdp::{Connection, Socket};
use super::endpoint::{Endpoint, FORM};
use super::error::BrowserError;
use super::executable::{Executable, NONE_FOUND};
use super::guard::Policy;
use super::instance::{Means, Running};
use super::launch::{Launch, Process};
use super::outlet::Outlet;
use super::pages::Pages;
use super::settings::{Headless, Profile};
use super::shown::Way;
use super::singleton::{self, Holder};

/// How often a browser that starts is asked.
const POLL: Duration = Duration::from_millis(50);

/// How long a browser of this program's last life may take to leave its port.
const PORT_PATIENCE: Duration = Duration::from_secs(5);

/// How long somebody who listens on the port may take to accept.
const PORT_PROBE: Duration = Duration::from_millis(200);

/// How long a browser that is being ended may take to be gone.
const LEAVE_PATIENCE: Duration = Duration::from_secs(10);

/// How long one answer of a browser that starts may take.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// Somebody else answers where the browser should.
const STRANGER: &str = "another program has taken its port";

/// Bytes of a browser's last words in an error.
const MAX_LAST_WORDS: usize = 600;

/// How a browser is started, as decided when it was asked for.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its program; `None` when there is none.
    pub executable: Option<Executable>,
    /// Its user-data directory.
    pub user_data: PathBuf,
    /// Where it keeps everything else.
    pub folder: PathBuf,
    /// Whether it shows a window.
    pub headless: Headless,
    /// Without its sandbox.
    pub no_sandbox: bool,
    /// `browser.extraArgs`.
    pub extra: Vec<String>,
    /// Whether these name a proxy, which is its owner's way out then.
    pub proxied: bool,
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
    profile.endpoint().ok_or_else(|| {
        let name = &profile.name;
        BrowserError::Launch(format!("cdpUrl of profile \"{name}\" must be {FORM}"))
    })
}

/// Ends a start that is under way.
#[derive(Debug, Default)]
pub struct Halt(Mutex<Halted>);

#[derive(Debug, Default)]
struct Halted {
    asked: bool,
    /// The browser that is being waited for.
    process: Option<Arc<Process>>,
}

impl Halt {
    /// From now on the start comes to nothing; returns when its browser is gone.
    pub fn ask(&self) {
        let mut halted = self.lock();
        halted.asked = true;
        let process = halted.process.take();
        drop(halted);
        if let Some(process) = process {
            process.stop();
        }
    }

    /// Ends the start when that was asked for.
    fn check(&self) -> Result<(), BrowserError> {
        if self.lock().asked {
            Err(BrowserError::Stopped)
        } else {
            Ok(())
        }
    }

    fn watch(&self, process: &Arc<Process>) {
        self.lock().process = Some(Arc::clone(process));
    }

    fn lock(&self) -> MutexGuard<'_, Halted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a start comes after.
#[derive(Debug, Default)]
pub struct Before {
    /// The browser that does not answer any more: its process may have lost only its connection.
    pub former: Option<Arc<Running>>,
    /// A browser that is just being ended: it still has the port and the directory.
    pub leaving: Option<Arc<Process>>,
}

/// Gives a browser that answers.
///
/// # Errors
/// [`BrowserError::Launch`] with what the browser said, [`BrowserError::Stopped`].
pub fn start(
    profile: &Profile,
    means: &Means,
    before: &Before,
    halt: &Halt,
) -> Result<Running, BrowserError> {
    let plan = &means.plan;
    let endpoint = endpoint(profile)?;
    if let Some(process) = &before.leaving {
        process.wait(LEAVE_PATIENCE);
    }
    if let Some(again) = before.former.as_deref().and_then(|it| reattach(it, plan)) {
        return Ok(again);
    }
    if profile.is_launched() {
        return launch(profile, means, &endpoint, halt);
    }
    let (connection, pages) = attach(&endpoint, plan).map_err(|error| {
        let name = &profile.name;
        BrowserError::Launch(format!(
            "no browser answers at {}:{} for profile \"{name}\", which this node host may not start itself: {error}",
            endpoint.host, endpoint.port
        ))
    })?;
    Ok(Running {
        connection,
        pages,
        outlet: None,
        process: None,
        executable: None,
        headless: plan.headless,
    })
}

/// Another connection to a browser of this program that has lost its own; one that takes none is ended.
fn reattach(former: &Running, plan: &Plan) -> Option<Running> {
    let process = former.process.as_ref().filter(|it| it.is_alive())?;
    let way = former.pages.way;
    let own = process.socket();
    let connected = own.and_then(|own| connect(&own, plan, way).ok());
    let Some((connection, pages)) = connected else {
        process.stop();
        return None;
    };
    Some(Running {
        connection,
        pages,
        outlet: former.outlet.clone(),
        process: Some(Arc::clone(process)),
        executable: former.executable.clone(),
        headless: former.headless,
    })
}

fn launch(
    profile: &Profile,
    means: &Means,
    endpoint: &Endpoint,
    halt: &Halt,
) -> Result<Running, BrowserError> {
    let plan = &means.plan;
    let executable = plan.executable.clone();
    let executable = executable.ok_or_else(|| BrowserError::Launch(NONE_FOUND.to_owned()))?;
    wait_for_port(profile, halt)?;
    let outlet = (!plan.proxied)
        .then(|| Outlet::open(plan.policy.clone()).map(Arc::new))
        .transpose()
        .map_err(|error| BrowserError::Launch(format!("cannot open its way out: {error}")))?;
    let launch = Launch {
        executable: executable.clone(),
        port: profile.port,
        user_data: plan.user_data.clone(),
        folder: plan.folder.clone(),
        headless: plan.headless.on,
        no_sandbox: plan.no_sandbox,
        extra: plan.extra.clone(),
        outlet: outlet.as_deref().map(Outlet::port),
    };
    launch.prepare().map_err(|error| {
        let (folder, data) = (plan.folder.display(), plan.user_data.display());
        BrowserError::Launch(format!("cannot create {folder} and {data}: {error}"))
    })?;
    let mut tried = 0;
    loop {
        tried += 1;
        halt.check()?;
        let environment = means.environment.iter();
        let environment = environment.map(|(name, value)| (name.as_os_str(), value.as_os_str()));
        let process = Process::start(&launch, environment, &means.children);
        let process = Arc::new(process.map_err(|error| {
            BrowserError::Launch(format!(
                "cannot start {}: {error}",
                executable.path.display()
            ))
        })?);
        halt.watch(&process);
        let way = outlet
            .as_deref()
            .map_or(Way::Proxy, |outlet| Way::Outlet(outlet.port()));
        let reason = match ready(&process, endpoint, plan, way, halt) {
            Ok((connection, pages)) => {
                return Ok(Running {
                    connection,
                    pages,
                    outlet,
                    process: Some(process),
                    executable: Some(executable),
                    headless: plan.headless,
                });
            }
            Err(reason) => reason,
        };
        let ended = !process.is_alive();
        process.stop();
        halt.check()?;
        let holder = Holder::of(&plan.user_data);
        // A lock of another life may keep it from its directory, once.
        if tried == 1 && ended && holder == Holder::Gone {
            singleton::remove(&plan.user_data);
            continue;
        }
        let reason = occupied(&holder, profile, plan)
            .filter(|_| ended)
            .unwrap_or(reason);
        return Err(failure(profile, &launch, &reason, &process.complaint()));
    }
}

/// Waits until the browser's socket answers.
fn ready(
    process: &Process,
    endpoint: &Endpoint,
    plan: &Plan,
    way: Way,
    halt: &Halt,
) -> Result<(Arc<Connection>, Arc<Pages>), String> {
    let deadline = Instant::now() + plan.launch_limit;
    let limit = plan.launch_limit.as_millis();
    let mut answered = false;
    loop {
        halt.check().map_err(|error| error.to_string())?;
        if !process.is_alive() {
            return Err("it ended before it answered".to_owned());
        }
        if process.has_no_port() {
            return Err(STRANGER.to_owned());
        }
        if Instant::now() >= deadline {
            return Err(match process.socket() {
                None if answered => {
                    format!("it did not say within {limit}ms that it listens there")
                }
                _ => format!("it did not answer within {limit}ms"),
            });
        }
        let patience = deadline.min(Instant::now() + ANSWER_PATIENCE);
        match (endpoint.socket(patience), process.socket()) {
            // Only what the browser itself calls its own is attached to.
            (Ok(socket), Some(own)) if socket == own => {
                return connect(&socket, plan, way).map_err(|error| error.to_string());
            }
            (Ok(_), Some(_)) => return Err(STRANGER.to_owned()),
            (Ok(_), None) => answered = true,
            (Err(_), _) => {}
        }
        std::thread::sleep(POLL);
    }
}

/// Attaches to a browser that runs.
fn attach(endpoint: &Endpoint, plan: &Plan) -> Result<(Arc<Connection>, Arc<Pages>), BrowserError> {
    let deadline = Instant::now() + plan.ready_limit;
    let socket = endpoint.socket(deadline);
    let socket = socket.map_err(|error| BrowserError::Launch(error.to_string()))?;
    let way = match plan.proxied {
        true => Way::Proxy,
        false => Way::Direct,
    };
    connect(&socket, plan, way)
}

fn connect(
    socket: &Socket,
    plan: &Plan,
    way: Way,
) -> Result<(Arc<Connection>, Arc<Pages>), BrowserError> {
    let deadline = Instant::now() + plan.ready_limit;
    let pages = Arc::new(Pages::new(way, plan.policy.clone()));
    let connection = Connection::open(socket, deadline, Arc::clone(&pages) as _)
        .map_err(|error| BrowserError::Launch(error.to_string()))?;
    let attached = Pages::attach(&connection, deadline);
    if let Err(error) = attached {
        connection.close();
        return Err(BrowserError::Launch(error.to_string()));
    }
    Ok((connection, pages))
}

/// The port must be nobody's: a browser of this program's last life may be just leaving it.
fn wait_for_port(profile: &Profile, halt: &Halt) -> Result<(), BrowserError> {
    let deadline = Instant::now() + PORT_PATIENCE;
    let address = ([127, 0, 0, 1], profile.port).into();
    while std::net::TcpStream::connect_timeout(&address, PORT_PROBE).is_ok() {
        halt.check()?;
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

/// What a lock in the user-data directory has to do with a browser that ended at once.
fn occupied(holder: &Holder, profile: &Profile, plan: &Plan) -> Option<String> {
    let (directory, name) = (plan.user_data.display(), &profile.name);
    match holder {
        Holder::Process(pid) => Some(format!(
            "process {pid} uses its directory {directory}; end that one, or set browser.profiles.{name}.userDataDir to \
             another directory"
        )),
        Holder::Unknown(error) => Some(format!(
            "the lock in its directory {directory} cannot be read ({error}); give the directory to the user of the node host"
        )),
        Holder::Gone | Holder::Nobody => None,
    }
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
    #[test]
    fn last_words_leave_the_usual_noise_out() {
        let said = "[1:2:ERROR:dbus/bus.cc:405] Failed\n  Running as root \n\nno";
        assert_eq!(last_words(said), "Running as root no");
        assert_eq!(last_words(&"é".repeat(1_000)).len(), MAX_LAST_WORDS);
    }
}
