//! `openclaw qr`: a setup code for one device, as a word and as a picture (cli.md §2.7).
//!
//! No gateway is asked: the bootstrap token goes into the state directory of the gateway on this machine,
//! which notices it. The code never contains the shared secret.

use std::path::Path;

use serde_json::json;

use crate::cli::advertise::{Advertised, Asked, advertised};
use crate::cli::answer::Answer;
use crate::cli::error::{CliError, Usage};
use crate::cli::invocation::Invocation;
use crate::cli::output::Style;
use crate::cli::output::qr::Picture;
use crate::cli::output::time::minutes;
use crate::client::SetupCode;
use crate::config::secret::Secret;
use crate::config::word::AuthMode;
use crate::config::{Loaded, Paths};
use crate::identity::Random;
use crate::pairing::invitation::bootstrap::{Issued, Profile, TTL_MS, issue};
use crate::pairing::{Caller, Part};
use crate::protocol::scope::{Scope, Scopes};
use crate::store::atomic::{PRIVATE_FILE, write};
use crate::store::keys::load_gateway_token;
use crate::store::{StateDir, Store, StoreError, TransactError};

/// What follows the first sentence about the code, for a person.
const NEXT: &str = "\
Whoever has it joins: show it to nobody else.
A phone or node that uses it is paired at once, and as an operator without power over pairings;
for a node host prefer a join key (openclaw devices keys create). What it may run waits for you:
  openclaw nodes pending
  openclaw nodes approve <requestId>
A device that only wants to be an operator waits too:
  openclaw devices list
  openclaw devices approve <requestId>
";

/// Makes a setup code.
///
/// # Errors
/// Typed contradictions, a gateway that nobody else reaches or that asks for nothing, an unusable state
/// directory. No token is made then.
pub fn run(invocation: &Invocation) -> Result<Answer, CliError> {
    let svg = invocation.text("svg");
    if svg == Some("-") && (invocation.json() || invocation.has("setup-code-only")) {
        return Err(rule(
            "Use either --svg - or --json or --setup-code-only: stdout holds one of them.",
        ));
    }
    if invocation.has("url") && invocation.has("public-url") {
        return Err(rule("Use either --url or --public-url, not both."));
    }
    if invocation.has("token") && invocation.has("password") {
        return Err(rule("Use either --token or --password, not both."));
    }
    let paths = invocation.paths()?;
    let loaded = invocation.load(&paths)?;
    let remote = invocation.has("remote");
    let typed = invocation.text("url").or(invocation.text("public-url"));
    let gateway = advertised(Asked { typed, remote }, &loaded, &paths)?;
    let auth = auth(invocation, &loaded, &paths, remote)?;
    let issued = bootstrap_token(&paths)?;
    let code = SetupCode::encode(&gateway.url, &issued.token);
    let too_long = || CliError::failed("UNAVAILABLE", "the URL is too long for a QR code");
    let picture = Picture::of(&code).ok_or_else(too_long)?;
    if let Some(path) = svg.filter(|path| *path != "-") {
        let path = Path::new(path);
        // It holds a secret like the code itself.
        write(path, picture.svg().as_bytes(), PRIVATE_FILE)
            .map_err(|error| StoreError::unwritable(path, &error))?;
    }
    let mut document = json!({
        "setupCode": code, "gatewayUrl": gateway.url, "auth": auth, "urlSource": gateway.source,
        "expiresAtMs": issued.expires_at_ms,
    });
    if let Some(pin) = &gateway.fingerprint {
        document["tlsFingerprint"] = json!(pin);
    }
    if svg == Some("-") {
        return Ok(Answer::new(document, picture.svg()));
    }
    if invocation.has("setup-code-only") {
        return Ok(Answer::new(document, code));
    }
    let shown = !invocation.has("no-ascii");
    let style = invocation.style();
    let fits = picture.width() <= style.width;
    let drawn = (shown && fits).then(|| picture.half_blocks(style.color));
    let text = page(&code, &gateway, auth, drawn.as_deref(), style);
    let text = invocation.addressed(&text);
    let answer = Answer::new(document, text);
    Ok(match shown && !fits {
        true => answer.note(format!(
            "The QR code needs {} columns; widen the terminal, or use --svg <file>.",
            picture.width()
        )),
        false => answer,
    })
}

fn page(
    code: &str,
    gateway: &Advertised,
    auth: &str,
    drawn: Option<&str>,
    style: &Style,
) -> String {
    let mut out = style.heading("Pairing QR");
    if let Some(drawn) = drawn {
        out += &format!("\n{drawn}\n");
    }
    out += &format!(
        "Setup code: {code}\nGateway: {}\nAuth: {auth}\nSource: {}\n",
        gateway.url, gateway.source
    );
    if let Some(pin) = &gateway.fingerprint {
        out += &format!("TLS fingerprint: {pin}\n");
    }
    let life = minutes(TTL_MS);
    out + &format!("\nThe code works once, for one device, within {life}. {NEXT}")
}

/// What the gateway asks others for: a gateway without any secret gives no setup codes.
fn auth(
    invocation: &Invocation,
    loaded: &Loaded,
    paths: &Paths,
    remote: bool,
) -> Result<&'static str, CliError> {
    for name in ["token", "password"] {
        if invocation.text(name).is_some() {
            return Ok(name);
        }
    }
    let gateway = &loaded.config.gateway;
    let environment = &loaded.environment;
    let named = |secret: &Secret| !matches!(secret, Secret::Absent);
    let (token, password, mode) = match remote {
        true => (
            named(&gateway.remote.token),
            named(&gateway.remote.password),
            None,
        ),
        false => (
            named(&gateway.auth.token) || environment.gateway_token().is_some(),
            named(&gateway.auth.password) || environment.gateway_password().is_some(),
            gateway.auth.mode,
        ),
    };
    let generated = || -> Result<bool, StoreError> {
        let dir = StateDir::open(&paths.state_dir)?;
        Ok(!remote && load_gateway_token(&dir)?.is_some())
    };
    let found = match mode {
        Some(AuthMode::Token) => (token || generated()?).then_some("token"),
        Some(AuthMode::Password | AuthMode::TrustedProxy) => password.then_some("password"),
        Some(AuthMode::None) => None,
        None if named(&gateway.auth.token) && named(&gateway.auth.password) && !remote => {
            return Err(CliError::failed(
                "CONFIG_INVALID",
                "gateway.auth.token and gateway.auth.password are both configured, but gateway.auth.mode is unset. Set gateway.auth.mode to token or password.",
            ));
        }
        None if password && !token => Some("password"),
        None => (token || generated()?).then_some("token"),
    };
    let missing = "Gateway auth is not configured (no token or password).";
    found.ok_or_else(|| CliError::failed("CREDENTIALS_MISSING", missing))
}

/// A new token in the state directory, beside a gateway that may be running on it.
fn bootstrap_token(paths: &Paths) -> Result<Issued, CliError> {
    let store = Store::open_beside(StateDir::open(&paths.state_dir)?)?;
    if let Some(fault) = store.snapshot()?.invitations.fault(Part::Bootstrap) {
        return Err(CliError::failed("UNAVAILABLE", fault));
    }
    let authority: Scopes = [Scope::ADMIN].into_iter().collect();
    let by = Caller {
        scopes: &authority,
        device_bound: None,
        own_device: None,
        label: "command line".to_owned(),
        via: "qr".to_owned(),
        from: None,
    };
    let issued =
        store.transact(|state, now| issue(state, &Profile::usual(), &by, now, &mut Random));
    match issued {
        Ok((issued, _)) => Ok(issued),
        Err(TransactError::Refused(refusal)) => {
            Err(CliError::failed("UNAVAILABLE", refusal.to_string()))
        }
        Err(TransactError::Store(fault)) => Err(fault.into()),
    }
}

fn rule(text: &str) -> CliError {
    CliError::Usage(Usage::Rule(text.to_owned()))
}
