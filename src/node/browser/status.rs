//! What is said about a browser without touching it (node-host specification, section 4.4, "Status").

use std::time::Instant;

use serde_json::{Value, json};

use super::context::Context;
use super::endpoint::{HTTP_PROBE, SOCKET_PROBE};
use super::instance::Instance;
use super::settings::Profile;
use super::start;

/// What a look at a browser showed.
struct Seen {
    /// Its endpoint answers over HTTP.
    http: bool,
    /// Its socket answers.
    ready: bool,
}

fn look(profile: &Profile, instance: &Instance, deadline: Instant) -> Seen {
    let Some(running) = instance.running() else {
        return Seen {
            http: false,
            ready: false,
        };
    };
    let by = |limit| deadline.min(Instant::now() + limit);
    let http =
        start::endpoint(profile).is_ok_and(|endpoint| endpoint.socket(by(HTTP_PROBE)).is_ok());
    let version = running
        .connection
        .call(None, "Browser.getVersion", json!({}), by(SOCKET_PROBE));
    Seen {
        http,
        ready: version.is_ok(),
    }
}

/// The address of a profile's endpoint for people.
pub fn url(profile: &Profile) -> String {
    let local = || format!("http://127.0.0.1:{}", profile.port);
    profile.url.clone().unwrap_or_else(local)
}

/// The words of a timeout; `None` when they would come too late.
pub fn brief(profile: &Profile, instance: &Instance, deadline: Instant) -> Option<String> {
    let seen = look(profile, instance, deadline);
    if Instant::now() > deadline {
        return None;
    }
    Some(format!(
        "status(running={}, cdpHttp={}, cdpReady={}, transport=cdp, cdpUrl={})",
        instance.running().is_some(),
        seen.http,
        seen.ready,
        url(profile)
    ))
}

/// The status of the request's profile.
pub fn full(context: &Context<'_>) -> Value {
    let Context {
        profile,
        settings,
        instance,
        ..
    } = context;
    let running = instance.running();
    let seen = look(profile, instance, context.deadline);
    let program = settings.program(Some(profile));
    let kind = program.as_ref().map(|program| program.kind);
    let path = program
        .as_ref()
        .map(|program| program.path.display().to_string());
    let process = running
        .as_ref()
        .and_then(|running| running.process.as_ref());
    let chosen = running
        .as_ref()
        .and_then(|running| running.executable.as_ref());
    let headless = running.as_ref().map(|running| running.headless);
    let headless = headless.unwrap_or_else(|| settings.headless(profile, None));
    let data = process.map(|_| context.user_data().display().to_string());
    let configured = profile.executable.as_ref().or(settings.executable.as_ref());
    json!({
        "enabled": settings.enabled,
        "profile": profile.name,
        "driver": profile.driver.as_str(),
        "transport": "cdp",
        "running": running.is_some(),
        "cdpReady": seen.ready,
        "cdpHttp": seen.http,
        "pid": process.map(|process| process.id()),
        "cdpPort": profile.port,
        "cdpUrl": url(profile),
        "chosenBrowser": chosen.map(|chosen| chosen.kind),
        "detectedBrowser": kind,
        "detectedExecutablePath": path,
        "detectError": Value::Null,
        "userDataDir": data,
        "color": profile.color,
        "headless": headless.on,
        "headlessSource": headless.source,
        "noSandbox": settings.no_sandbox,
        "executablePath": configured.map(|path| path.display().to_string()),
        "attachOnly": profile.attach_only,
    })
}
