//! `node join`: from a machine that belongs to nobody to a node of a gateway. It finds the gateway or is told, has the
//! certificate confirmed before any secret leaves, tries the connect, and only then stores where it belongs.
//!
//! Until the connect was answered nothing is stored but this machine's own key and, per gateway, device tokens.

mod admission;
mod choice;
mod finish;
mod goal;
mod permission;
mod person;
mod trust;
mod view;
mod wish;

use std::io::IsTerminal;
use std::time::Duration;

use crate::cli::answer::Answer;
use crate::cli::error::{CliError, Failed};
use crate::cli::invocation::Invocation;
use crate::cli::node::Start;
use crate::cli::node_join::admission::{Admission, Applicant};
use crate::cli::node_join::choice::Around;
use crate::cli::node_join::finish::{finish, warnings};
use crate::cli::node_join::goal::{Search, Seen, first_that_answers, goal, stored_gateway};
use crate::cli::node_join::permission::may_join;
use crate::cli::node_join::person::{Person, Script, Terminal};
use crate::cli::node_join::view::Joined;
use crate::cli::node_join::wish::{Then, Wish};
use crate::cli::{node_setup, service};
use crate::identity::{DeviceId, Fingerprint, Random, Token};
use crate::node::settings::{self, Flags, Settings};
use crate::store::{Clock, DeviceAuth, NodeFile, StateDir, SystemClock, load_or_create_key};

/// Joins a gateway.
///
/// # Errors
/// No gateway, one that is not trusted or refuses, or whoever was asked left; `node.json` is then as it was.
pub fn join(invocation: &Invocation) -> Result<Answer, CliError> {
    match std::io::stdin().is_terminal() {
        true => join_with(invocation, &mut Terminal, &search),
        false => join_with(invocation, &mut Script, &search),
    }
}

fn search(_start: &Start, _patience: Duration) -> Result<Around, CliError> {
    Err(CliError::rule(
        "Name the gateway: --url <ws-url>, or a setup code with --setup-code-file <path>",
    ))
}

fn join_with(
    invocation: &Invocation,
    person: &mut dyn Person,
    search: Search<'_>,
) -> Result<Answer, CliError> {
    let wish = Wish::read(invocation)?;
    let place = match wish.then {
        Then::Install => Some(service::place(invocation)?),
        Then::Nothing | Then::Run => None,
    };
    let start = match &place {
        Some(place) => Start::read(place.paths.clone(), place.environment.clone())?,
        None => Start::read(invocation.paths()?, invocation.environment().clone())?,
    };
    let code = node_setup::setup_code(invocation, &start.loaded.environment)?;
    let stored = stored_gateway(&start)?;
    let goal = goal(invocation, code.as_ref(), &start, &stored, person, search)?;
    let seen = first_that_answers(&goal, &wish, &start)?;
    let trusted = may_join(&seen, &goal, &stored, &wish, person)?;
    if let Some(place) = &place {
        service::prepare_node(place)?;
    }
    let application = Application {
        start: &start,
        wish: &wish,
        seen: &seen,
        pin: trusted.pin,
        secret: code.as_ref().map(|code| code.secret.clone()),
        display_name: invocation.text("display-name"),
    };
    let (device, settings, admission) = application.carry_out()?;
    let joined = Joined {
        url: &settings.url,
        found: goal.found.as_ref(),
        pin: trusted.pin,
        trust: trusted.word,
        device,
        display_name: &settings.display_name,
        admission: &admission,
        warnings: warnings(invocation, &wish, trusted.warning),
    };
    finish(invocation, &wish, person, &joined, start, code)
}

/// What is known when this machine asks to be let in.
struct Application<'a> {
    start: &'a Start,
    wish: &'a Wish,
    seen: &'a Seen,
    pin: Option<Fingerprint>,
    secret: Option<Token>,
    display_name: Option<&'a str>,
}

impl Application<'_> {
    /// Connects, and stores the gateway once it has answered.
    fn carry_out(self) -> Result<(DeviceId, Settings, Admission), CliError> {
        let url = &self.seen.url;
        let dir = StateDir::open(&self.start.paths.state_dir)?;
        let key = load_or_create_key(&dir, SystemClock.now_ms())?;
        let mut file = NodeFile::load(&dir)?;
        if !url.secure && file.gateway.as_ref().is_some_and(|stored| stored.tls) {
            // TLS there was given up on purpose, so none of it is kept.
            file.gateway = None;
        }
        let flags = Flags {
            host: Some(&url.host),
            port: Some(url.port),
            tls: url.secure,
            display_name: self.display_name,
            ..Flags::default()
        };
        let fresh_id = || Random.uuid();
        let mut settings = settings::resolve(&mut file, &flags, fresh_id, settings::machine_name);
        settings.tls_fingerprint = self.pin.map(|pin| pin.to_string());
        if let Some(gateway) = &mut file.gateway {
            gateway.tls_fingerprint = settings.tls_fingerprint.clone();
        }
        let mut tokens = DeviceAuth::load(&dir, &key.device_id())?;
        tokens.claim(&settings.former_url.to_string(), "node")?;
        let applicant = Applicant {
            start: self.start,
            dir: &dir,
            key: &key,
            settings: &settings,
            pin: self.pin,
            secret: self.secret,
            kept: file.token.clone(),
        };
        let (admission, token) = applicant.apply(&self.wish.budget())?;
        if let (Admission::Secretless(words), Then::Install | Then::Run) =
            (&admission, self.wish.then)
        {
            return Err(secretless(words));
        }
        file.token = token.or(file.token);
        file.save(&dir)?;
        Ok((key.device_id(), settings, admission))
    }
}

fn secretless(words: &str) -> CliError {
    let mut failed = Failed::new("CREDENTIALS_MISSING", words.to_owned());
    let hint = "Nothing was stored. Set OPENCLAW_GATEWAY_TOKEN to the gateway's token, or pass a join key or setup code: --setup-code-file -";
    failed.hint = Some(hint.to_owned());
    failed.into()
}
