//! What a new node host was given to join with: a setup code or a join key, read so that no process list
//! shows it, and the gateway that goes with it. Also `node identity`.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::json;

use crate::cli::answer::Answer;
use crate::cli::complain;
use crate::cli::error::{CliError, Usage};
use crate::cli::invocation::Invocation;
use crate::cli::node_join::person::{Person, Terminal};
use crate::client::{GatewayUrl, SetupCode};
use crate::config::paths::DEFAULT_GATEWAY_PORT;
use crate::config::{Environment, Paths};
use crate::store::{Clock, NodeFile, NodeGateway, StateDir, SystemClock, load_or_create_key};

/// More than any code or key has, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// The code or key, from the first source that is given.
///
/// # Errors
/// Two sources at once, a file that cannot be read, or a text that is neither code nor key.
pub fn setup_code(
    invocation: &Invocation,
    environment: &Environment,
) -> Result<Option<SetupCode>, CliError> {
    let typed = invocation.text("setup-code");
    let text = match (typed, invocation.text("setup-code-file")) {
        (Some(_), Some(_)) => {
            return Err(rule(
                "Use either --setup-code or --setup-code-file, not both.",
            ));
        }
        (Some(typed), None) => Some(typed.to_owned()),
        // A person who pastes it sees what is waited for, and nobody else sees the code.
        (None, Some("-")) if io::stdin().is_terminal() => {
            let typed = Terminal.secret("Setup code or join key (not shown): ");
            Some(typed.unwrap_or_default())
        }
        (None, Some("-")) => Some(read(io::stdin().lock(), "stdin")?),
        (None, Some(path)) => Some(read_file(Path::new(path))?),
        (None, None) => environment.setup_code().map(str::to_owned),
    };
    let Some(text) = text else { return Ok(None) };
    let decoded = SetupCode::decode(&text);
    decoded
        .map(Some)
        .map_err(|fault| CliError::failed("USAGE", fault.to_string()))
}

/// The gateway to connect to: `--url`, else what the setup code says; None leaves it to `--host`, `--port`
/// and what is stored.
///
/// # Errors
/// A URL that is none, or one beside `--host`, `--port` or `--tls`; as [`host`].
pub fn gateway(
    invocation: &Invocation,
    code: Option<&SetupCode>,
) -> Result<Option<GatewayUrl>, CliError> {
    host(invocation)?;
    let parts = ["host", "port", "tls"]
        .iter()
        .any(|name| invocation.has(name));
    match invocation.text("url") {
        Some(_) if parts => Err(rule(
            "Use either --url or --host, --port and --tls, not both.",
        )),
        Some(url) => GatewayUrl::parse(url)
            .map(Some)
            .map_err(|fault| rule(&format!("Invalid --url: {fault}"))),
        None if parts => Ok(None),
        None => Ok(code.and_then(|code| code.url.clone())),
    }
}

/// `--host`.
///
/// # Errors
/// What is no name and no address alone.
pub fn host(invocation: &Invocation) -> Result<Option<&str>, CliError> {
    let Some(host) = invocation.text("host") else {
        return Ok(None);
    };
    let url = GatewayUrl::new(host, DEFAULT_GATEWAY_PORT, false);
    match GatewayUrl::parse(&url.to_string()) {
        Ok(read) if read == url => Ok(Some(host)),
        _ => Err(rule(
            "Invalid --host: it takes a name or an address alone; a port goes into --port, a URL into --url.",
        )),
    }
}

/// The gateway that `node.json` names; a state directory that is not there names none and is not made.
///
/// # Errors
/// A file that cannot be read.
pub fn stored_gateway(paths: &Paths) -> Result<NodeGateway, CliError> {
    let root = &paths.state_dir;
    if !root.is_dir() {
        return Ok(NodeGateway::default());
    }
    let file = NodeFile::load(&StateDir::open(root)?)?;
    Ok(file.gateway.unwrap_or_default())
}

/// `node identity`: who this machine is to a gateway; makes the key when there is none.
///
/// # Errors
/// An unusable key file or state directory.
pub fn identity(invocation: &Invocation) -> Result<Answer, CliError> {
    let paths = invocation.paths()?;
    let dir = StateDir::open(&paths.state_dir)?;
    let key = load_or_create_key(&dir, SystemClock.now_ms())?;
    let (device, public) = (key.device_id(), key.public().encode());
    let text = format!("Device id:   {device}\nPublic key:  {public}\n");
    Ok(Answer::new(
        json!({"deviceId": device, "publicKey": public}),
        text,
    ))
}

fn read_file(path: &Path) -> Result<String, CliError> {
    let name = path.display().to_string();
    let unreadable = |error: io::Error| unreadable(&name, &error);
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode();
    if mode & 0o077 != 0 {
        // A reader that went away is no reason not to join.
        let _ = complain(&format!(
            "warning: {name} can be read by others (mode {:o}); chmod 600 it, and delete it once this node has joined",
            mode & 0o777
        ));
    }
    read(file, &name)
}

fn read(source: impl Read, name: &str) -> Result<String, CliError> {
    let mut text = String::new();
    source
        .take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| unreadable(name, &error))?;
    Ok(text)
}

fn unreadable(name: &str, error: &io::Error) -> CliError {
    CliError::failed(
        "USAGE",
        format!("cannot read the setup code from {name}: {error}"),
    )
}

fn rule(text: &str) -> CliError {
    CliError::Usage(Usage::Rule(text.to_owned()))
}
