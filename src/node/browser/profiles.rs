//! Profiles: who may use which, and making, removing and resetting them (node-host specification, section 4.3).

use std::net::IpAddr;
use std::time::Instant;

use serde_json::{Value, json};

use super::addresses::literal;
use super::context::Context;
use super::endpoint::{self, Endpoint};
use super::error::BrowserError;
use super::guard::{self, Policy, Site, Verdict};
use super::request::{Method, Request};
use super::settings::{Profile, Settings};
use super::status;
use crate::config::path::ConfigPath;
use crate::config::write::{self, Operation};
use crate::store::clock::{Clock, SystemClock};

/// Debugging ports above the first one that profiles may get.
const PORTS: u16 = 100;

/// Colours of new profiles, in turn.
const COLORS: [&str; 8] = [
    "#FF4500", "#0066CC", "#00AA00", "#9933FF", "#FF6699", "#00CCCC", "#FF9900", "#6666FF",
];

/// Whether `allowProfiles` lets a request through; without any it lets everything through.
///
/// # Errors
/// [`BrowserError::ProfileNotAllowed`], [`BrowserError::ProfileMutation`].
pub fn admit(allowed: &[String], default: &str, request: &Request) -> Result<(), BrowserError> {
    if allowed.is_empty() {
        return Ok(());
    }
    if is_mutation(request) {
        return Err(BrowserError::ProfileMutation);
    }
    let listing = request.path == "/profiles";
    let named = request.profile.as_deref();
    let wanted = if listing {
        named
    } else {
        named.or(Some(default))
    };
    match wanted {
        Some(name) if !allowed.iter().any(|allowed| allowed == name) => {
            Err(BrowserError::ProfileNotAllowed)
        }
        _ => Ok(()),
    }
}

fn is_mutation(request: &Request) -> bool {
    let below = request.path.strip_prefix("/profiles/");
    match request.method {
        Method::Post => request.path == "/profiles/create" || request.path == "/reset-profile",
        Method::Delete => below.is_some(),
        Method::Get => false,
    }
}

/// `GET /profiles`.
pub fn list(context: &Context<'_>) -> Result<Value, BrowserError> {
    let settings = context.settings;
    let allowed = &settings.allow_profiles;
    let shown = settings
        .profiles
        .iter()
        .filter(|profile| allowed.is_empty() || allowed.contains(&profile.name));
    let profiles: Vec<Value> = shown
        .map(|profile| row(context, profile, context.deadline))
        .collect();
    Ok(json!({"profiles": profiles}))
}

fn row(context: &Context<'_>, profile: &Profile, deadline: Instant) -> Value {
    let instance = context.proxy.instance(&profile.name);
    let running = instance.running();
    let tabs = running
        .as_ref()
        .and_then(|running| running.targets(deadline).ok())
        .map_or(0, |targets| targets.len());
    json!({
        "name": profile.name,
        "transport": "cdp",
        "cdpPort": profile.port,
        "cdpUrl": status::url(profile),
        "color": profile.color,
        "driver": profile.driver.as_str(),
        "running": running.is_some(),
        "tabCount": tabs,
        "isDefault": profile.name == context.settings.default_profile,
        "isRemote": profile.url.is_some(),
        "reconcileReason": Value::Null,
    })
}

/// `POST /profiles/create`.
pub fn create(context: &Context<'_>) -> Result<Value, BrowserError> {
    let (request, settings) = (context.request, context.settings);
    let name = request
        .body("name")
        .ok_or_else(|| BrowserError::invalid("name is required"))?;
    let plain = |byte: u8| byte == b'-' || byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !name.bytes().all(plain) {
        let text = "invalid profile name: use lowercase letters, numbers, and hyphens only";
        return Err(BrowserError::invalid(text));
    }
    if settings.profile(name).is_ok() {
        return Err(BrowserError::invalid(format!(
            "profile \"{name}\" already exists"
        )));
    }
    let color = request.body("color");
    let color = color.unwrap_or(COLORS[settings.profiles.len() % COLORS.len()]);
    if !is_color(color) {
        let text = "color must be six hexadecimal digits after a #, such as #FF4500";
        return Err(BrowserError::invalid(text));
    }
    let url = request.body("cdpUrl");
    if let Some(url) = url {
        admit_endpoint(context, url)?;
    }
    let port = free_port(settings)?;
    let mut section = json!({"color": color});
    match url {
        Some(url) => section["cdpUrl"] = url.into(),
        None => section["cdpPort"] = port.into(),
    }
    change(context, Operation::Set(path(name)?, section))?;
    let port = url.is_none().then_some(port);
    let local = format!("http://127.0.0.1:{}", port.unwrap_or_default());
    Ok(json!({
        "ok": true,
        "profile": name,
        "transport": "cdp",
        "cdpPort": port,
        "cdpUrl": url.unwrap_or(&local),
        "userDataDir": Value::Null,
        "color": color,
        "isRemote": url.is_some(),
    }))
}

/// Whether a text is a colour: what is written is expanded when it is read, and a variable's value is nobody's here.
fn is_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or_default();
    digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Judges the endpoint that a caller gives to a new profile as if a page was sent there. Names may lead elsewhere when
/// they are asked later, so it has an address that is dialled as it stands, or a host that the policy names.
fn admit_endpoint(context: &Context<'_>, url: &str) -> Result<(), BrowserError> {
    let policy = &context.settings.policy;
    let site = endpoint_site(policy, url)?;
    guard::check_site(policy, &site, context.deadline)
}

/// The place of an endpoint that a caller gives, which is the one that is dialled.
fn endpoint_site(policy: &Policy, url: &str) -> Result<Site, BrowserError> {
    let form = || BrowserError::invalid(format!("cdpUrl must be {}", endpoint::FORM));
    let endpoint = Endpoint::parse(url).filter(|_| !url.contains('$'));
    let endpoint = endpoint.ok_or_else(form)?;
    let site = guard::destination(&format!("http://{}/", endpoint.authority()))?;
    let dialled = Site::of(&endpoint);
    let site = site.filter(|site| *site == dialled).ok_or_else(form)?;
    if policy.verdict(&site) == Verdict::Refused && literal(&site.host).is_some() {
        return Err(BrowserError::Blocked);
    }
    if endpoint.host.parse::<IpAddr>().is_err() && !policy.trusts(&site.host) {
        let text = "cdpUrl must have an IP address for its host, or one that browser.ssrfPolicy of the node names";
        return Err(BrowserError::invalid(text));
    }
    Ok(site)
}

/// `DELETE /profiles/<name>`: its browser ends, its section goes, its data go.
pub fn delete(context: &Context<'_>) -> Result<Value, BrowserError> {
    let (name, settings) = (context.last, context.settings);
    settings.profile(name)?;
    if name == settings.default_profile {
        let text = format!(
            "cannot delete the default profile \"{name}\"; set browser.defaultProfile to another one first"
        );
        return Err(BrowserError::invalid(text));
    }
    context.proxy.instance(name).stop(context.deadline)?;
    let written = change(context, Operation::Unset(path(name)?));
    if written.is_err() {
        let text = format!("profile \"{name}\" is not in the configuration and cannot be deleted");
        return Err(BrowserError::invalid(text));
    }
    // A profile that never ran has no data.
    let _ = std::fs::remove_dir_all(context.proxy.profile_directory(name));
    Ok(json!({"ok": true, "profile": name, "deleted": true}))
}

/// `POST /reset-profile`: its browser ends, its data are moved aside.
pub fn reset(context: &Context<'_>) -> Result<Value, BrowserError> {
    let profile = context.profile;
    if profile.url.is_some() {
        let text = format!(
            "reset-profile needs a local profile; \"{}\" is remote",
            profile.name
        );
        return Err(BrowserError::invalid(text));
    }
    if let Some(directory) = &profile.user_data {
        // A person named it, and it may be the directory of a browser that a person uses.
        let text = format!(
            "reset-profile moves only directories of its own; userDataDir of \"{}\" is {}",
            profile.name,
            directory.display()
        );
        return Err(BrowserError::invalid(text));
    }
    context.instance.stop(context.deadline)?;
    let from = context.user_data();
    if !from.exists() {
        return Ok(json!({"ok": true, "profile": profile.name, "moved": false, "from": from}));
    }
    let mut to = from.clone().into_os_string();
    to.push(format!(".reset-{}", SystemClock.now_ms()));
    std::fs::rename(&from, &to).map_err(|error| {
        BrowserError::Unexpected(format!("cannot move {} aside: {error}", from.display()))
    })?;
    let to = to.to_string_lossy().into_owned();
    Ok(json!({"ok": true, "profile": profile.name, "moved": true, "from": from, "to": to}))
}

/// The next debugging port that no profile has.
fn free_port(settings: &Settings) -> Result<u16, BrowserError> {
    let taken = |port: u16| settings.profiles.iter().any(|profile| profile.port == port);
    let end = settings.first_port.saturating_add(PORTS);
    let mut ports = settings.first_port..end;
    ports
        .find(|&port| !taken(port))
        .ok_or_else(|| BrowserError::invalid("no free debugging port is left for another profile"))
}

fn path(name: &str) -> Result<ConfigPath, BrowserError> {
    ConfigPath::parse(&format!("browser.profiles.{name}")).map_err(BrowserError::Invalid)
}

fn change(context: &Context<'_>, operation: Operation) -> Result<(), BrowserError> {
    let proxy = context.proxy;
    write::apply(&proxy.paths, proxy.environment(), &[operation])
        .map(drop)
        .map_err(|error| BrowserError::Unexpected(error.to_string().replace('\n', " ")))
}

#[cfg(test)]
mod tests {
    use super::super::settings::MANAGED;
    use super::*;

    #[test]
    fn only_named_profiles_and_no_lasting_changes_when_some_are_named() {
        let allowed = ["work".to_owned()];
        let verdict = |allowed: &[String], method: &str, path: &str, profile: Option<&str>| {
            let request = json!({"method": method, "path": path, "profile": profile});
            let request = Request::parse(&request).unwrap();
            admit(allowed, MANAGED, &request).err()
        };
        let refused = Some(BrowserError::ProfileNotAllowed);
        let lasting = Some(BrowserError::ProfileMutation);
        for (method, path, profile, expected) in [
            ("GET", "/", Some("work"), None),
            ("GET", "/", None, refused.clone()),
            ("POST", "/navigate", Some("other"), refused.clone()),
            ("GET", "/profiles", None, None),
            ("GET", "/profiles", Some("work"), None),
            ("GET", "/profiles", Some("other"), refused),
            ("POST", "/profiles/create", Some("work"), lasting.clone()),
            ("POST", "/reset-profile/", Some("work"), lasting.clone()),
            ("DELETE", "/profiles/work", Some("work"), lasting),
        ] {
            assert_eq!(
                verdict(&allowed, method, path, profile),
                expected,
                "{method} {path} {profile:?}"
            );
            assert_eq!(verdict(&[], method, path, profile), None);
        }
        let of_default = Request::parse(&json!({"path": "/tabs"})).unwrap();
        assert_eq!(admit(&[MANAGED.to_owned()], MANAGED, &of_default), Ok(()));
    }

    #[test]
    fn the_endpoint_that_is_judged_is_the_one_that_is_dialled() {
        let policy = Policy {
            hosts: vec!["debugger.example".to_owned()],
            ..Policy::default()
        };
        let read = |url: &str| endpoint_site(&policy, url).map(|site| (site.host, site.port));
        for (url, host) in [
            ("http://8.8.8.8:1/", "8.8.8.8"),
            ("ws://[2001:4860::8888]:1/x", "2001:4860::8888"),
            ("http://Debugger.Example:1", "debugger.example"),
        ] {
            assert_eq!(read(url), Ok((host.to_owned(), 1)), "{url}");
        }
        for url in [
            "http://8.8.8.8\\evil.example:1",
            "http://8.8.8.8.:1",
            "http://8.8.8.8@evil.example:1",
            // Resolvers read these in ways of their own.
            "http://0x08080808:1",
            "http://010.8.8.8:1",
            "http://evil.example:1",
        ] {
            assert!(matches!(read(url), Err(BrowserError::Invalid(_))), "{url}");
        }
    }
}
