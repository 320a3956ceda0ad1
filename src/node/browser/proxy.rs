//! `browser.proxy`: from the params of an invoke to its payload (node-host specification, sections 4.2 and 4.3).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::context::Context;
use super::error::BrowserError;
use super::files;
use super::guard::Site;
use super::instance::Instance;
use super::request::Request;
use super::routes;
use super::settings::{Profile, Settings};
use super::status;
use crate::config::{Environment, Paths};
use crate::node::machine::Machine;
use crate::protocol::error::ErrorShape;

/// How long the status in the text of a timeout may take.
const STATUS_PATIENCE: Duration = Duration::from_millis(750);

/// Routes that the text of a timeout calls by another name.
const SOCKET_ROUTES: [&str; 5] = ["/act", "/navigate", "/pdf", "/screenshot", "/snapshot"];

/// The browsers of this machine. Holds nothing until the first request.
pub struct BrowserProxy {
    /// Where configuration and state are.
    pub(super) paths: Paths,
    /// The environment before the configuration's own.
    captured: Environment,
    instances: Mutex<BTreeMap<String, Arc<Instance>>>,
    /// Where browsers of this program were debugged, whatever the configuration says by now.
    debuggers: Mutex<BTreeSet<Site>>,
}

impl BrowserProxy {
    /// The browsers of the machine whose configuration is at `paths`.
    pub fn new(paths: Paths, captured: Environment) -> Self {
        Self {
            paths,
            captured,
            instances: Mutex::default(),
            debuggers: Mutex::default(),
        }
    }

    /// What the configuration says now.
    ///
    /// # Errors
    /// [`BrowserError::Invalid`] when it cannot be read.
    pub(super) fn settings(&self) -> Result<Settings, BrowserError> {
        let loaded = crate::config::load(&self.paths, &self.captured).map_err(|error| {
            BrowserError::invalid(format!(
                "UNAVAILABLE: {}",
                error.to_string().replace('\n', " ")
            ))
        })?;
        let mut settings = Settings::read(&loaded, &self.paths);
        let known = self.debuggers.lock();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        settings.policy.debuggers.extend(known.iter().cloned());
        Ok(settings)
    }

    /// No page gets where this profile's browser is debugged, from now on.
    pub(super) fn remember(&self, profile: &Profile) {
        let known = self.debuggers.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        known.extend(profile.endpoint().map(|endpoint| Site::of(&endpoint)));
    }

    /// The browsers that run already are guarded by what the configuration says now.
    fn guard(&self, settings: &Settings) {
        let instances = self.instances.lock();
        let instances = instances.unwrap_or_else(PoisonError::into_inner);
        let running = instances.values().filter_map(|instance| instance.running());
        running.for_each(|browser| browser.guard(&settings.policy));
    }

    /// Whether a browser is offered to the gateway now.
    pub fn is_offered(&self) -> bool {
        self.settings().is_ok_and(|settings| settings.is_offered())
    }

    /// Where the browsers of profiles keep their things.
    pub(super) fn profile_directory(&self, name: &str) -> PathBuf {
        self.paths.state_dir.join("browser").join(name)
    }

    /// The browser of a profile.
    pub(super) fn instance(&self, name: &str) -> Arc<Instance> {
        let mut instances = self
            .instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(instances.entry(name.to_owned()).or_default())
    }

    /// The captured environment, for writing the configuration.
    pub(super) fn environment(&self) -> &Environment {
        &self.captured
    }

    /// Answers `browser.proxy`.
    ///
    /// # Errors
    /// `INVALID_REQUEST` with `Error: ` and the text of the failure.
    pub fn answer(&self, machine: &Machine, params: &Value) -> Result<Value, ErrorShape> {
        self.payload(machine, params)
            .map_err(|text| ErrorShape::invalid(format!("Error: {text}")))
    }

    fn payload(&self, machine: &Machine, params: &Value) -> Result<Value, String> {
        let told = |error: BrowserError| error.to_string();
        let settings = self.settings().map_err(told)?;
        if !settings.proxy_enabled {
            return Err(told(BrowserError::ProxyDisabled));
        }
        let request = Request::parse(params).map_err(told)?;
        if !settings.enabled {
            return Err(told(BrowserError::Disabled));
        }
        let result = self.route(machine, &settings, &request);
        let result = result.map_err(|error| match error {
            BrowserError::TimedOut => self.timeout(&settings, &request),
            error => error.to_string(),
        })?;
        let files = files::collect(&result).map_err(told)?;
        let payload = if files.is_empty() {
            json!({"result": result})
        } else {
            json!({"result": result, "files": files})
        };
        if framed(&payload) > files::MAX_TOTAL_BYTES {
            return Err("browser proxy result exceeds the gateway's payload limit".to_owned());
        }
        Ok(payload)
    }

    fn route(
        &self,
        machine: &Machine,
        settings: &Settings,
        request: &Request,
    ) -> Result<Value, BrowserError> {
        self.guard(settings);
        super::profiles::admit(&settings.allow_profiles, &settings.default_profile, request)?;
        let (route, last) = routes::find(request)?;
        let name = request
            .profile
            .as_deref()
            .unwrap_or(&settings.default_profile);
        let profile = settings.profile(name)?;
        let context = Context {
            proxy: self,
            machine,
            settings,
            profile,
            request,
            last,
            instance: self.instance(name),
            deadline: deadline_after(request.timeout),
            judged: OnceLock::new(),
        };
        context.run(route)
    }

    /// The text of a request whose time was over.
    fn timeout(&self, settings: &Settings, request: &Request) -> String {
        let name = request
            .profile
            .as_deref()
            .unwrap_or(&settings.default_profile);
        let kind = if SOCKET_ROUTES.contains(&request.path.as_str()) {
            "ws-backed browser action"
        } else {
            "browser action"
        };
        let status = settings.profile(name).ok().and_then(|profile| {
            let deadline = Instant::now() + STATUS_PATIENCE;
            status::brief(profile, &self.instance(name), deadline)
        });
        let status = status.map_or(String::new(), |status| format!("; {status}"));
        format!(
            "browser proxy timed out for {} {} after {}ms; {kind}; profile={name}{status}",
            request.method.as_str(),
            request.path,
            request.timeout.as_millis()
        )
    }
}

/// Bytes of a payload inside its frame, which carries it as a text.
fn framed(payload: &Value) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        _ => 1,
    };
    payload.to_string().bytes().map(escaped).sum()
}

/// A deadline; one beyond the clock's range is a day.
fn deadline_after(timeout: Duration) -> Instant {
    const DAY: Duration = Duration::from_secs(86_400);
    let now = Instant::now();
    now.checked_add(timeout).unwrap_or(now + DAY)
}

impl fmt::Debug for BrowserProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrowserProxy").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_as_long_as_it_is_inside_its_frame() {
        for result in [json!("a\"b\\c"), json!({"k": ["\u{1}\n", "é", null]})] {
            let payload = json!({"result": result});
            let frame = json!(payload.to_string()).to_string();
            assert_eq!(framed(&payload) + 2, frame.len(), "{frame}");
        }
    }
}
