//! Whether the gateway that commands use answers, in which version, and what it says of itself.

use std::time::Duration;

use serde_json::Value;

use crate::cli::doctor::check::Check;
use crate::cli::doctor::scene::Scene;
use crate::cli::doctor::{clock, discovery};
use crate::cli::error::CliError;
use crate::cli::probe::{Finding, probe};
use crate::client::{Budget, ClientError, ResolveError};
use crate::store::{Clock, SystemClock};

const ID: &str = "gateway.reachable";

/// The part of the whole time that the gateway has, in tenths: the report needs the rest.
const SHARE_TENTHS: u32 = 8;

/// `gateway.reachable`, `gateway.version`, `clock.gateway`, `discovery.mdns`.
pub fn checks(scene: &Scene) -> Vec<Check> {
    let (loaded, endpoint) = match (&scene.loaded, &scene.endpoint) {
        (Ok(loaded), Ok(endpoint)) => (loaded, endpoint),
        (_, Err(error)) => return vec![nowhere(error, scene.is_remote())],
        (Err(_), Ok(_)) => return Vec::new(),
    };
    let total: Duration = scene.budget * SHARE_TENTHS / 10;
    let opt_in = scene.environment.allow_insecure_private_ws();
    let finding = probe(endpoint, &scene.paths, loaded, opt_in, &Budget::new(total));
    let now_ms = SystemClock.now_ms();
    let answer = Answered {
        at: endpoint.name(),
        ms: finding.latency_ms,
        outcome: outcome(&finding),
        expected: !endpoint.is_local() || scene.has_gateway(),
        runs: scene.holder.is_some() || !endpoint.is_local(),
        start: scene.start_gateway(),
    };
    let mut checks = vec![answer.judge()];
    let own = finding.gateway_itself();
    let version = own.get("version").and_then(Value::as_str);
    checks.extend(version.map(|version| versions(version, scene.restart_gateway())));
    let hello = finding
        .session
        .as_ref()
        .map(|session| session.hello_payload());
    let told = hello.and_then(|hello| hello.pointer("/snapshot/health/ts"));
    checks.push(clock::against_gateway(told.and_then(Value::as_u64), now_ms));
    if endpoint.is_local() {
        checks.push(discovery::check(&finding.discovery()));
    }
    checks
}

/// Why there is no gateway to ask.
fn nowhere(error: &CliError, remote: bool) -> Check {
    let text = error.to_string();
    let why = text.lines().next().unwrap_or_default();
    let resolving = match error {
        CliError::Client(failure) => match &failure.error {
            ClientError::Resolve(error) => Some(error),
            _ => None,
        },
        _ => None,
    };
    match resolving {
        Some(ResolveError::CredentialsMissing { .. }) => {
            Check::fail(ID, why, "openclaw doctor --url <url> --token <token>")
        }
        // The check of that secret says what to do.
        Some(ResolveError::SecretUnavailable { .. }) => Check::skipped(ID, why),
        Some(ResolveError::SshTarget { .. }) => Check::fail(
            ID,
            why,
            "openclaw config set gateway.remote.sshTarget <user@host>",
        ),
        _ if remote => Check::fail(ID, why, "openclaw config set gateway.remote.url <wss-url>"),
        _ => Check::skipped(ID, why),
    }
}

/// What became of the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Connected,
    /// It answered and refused.
    Refused(String),
    /// Nothing that is a gateway answered.
    Silent(String),
}

fn outcome(finding: &Finding) -> Outcome {
    let why = || finding.message().unwrap_or_default();
    match (&finding.session, finding.reachable) {
        (Some(_), _) => Outcome::Connected,
        // It only wants to know who asks.
        (None, true) if finding.is_nameless() => Outcome::Connected,
        (None, true) => Outcome::Refused(why()),
        (None, false) => Outcome::Silent(why()),
    }
}

struct Answered {
    at: String,
    ms: u64,
    outcome: Outcome,
    /// A gateway is configured.
    expected: bool,
    /// It is known to run, or is not this machine's to start.
    runs: bool,
    /// The command that has it run.
    start: String,
}

impl Answered {
    fn judge(&self) -> Check {
        let at = &self.at;
        match &self.outcome {
            Outcome::Connected => Check::ok(ID, format!("{at} answers within {} ms", self.ms)),
            Outcome::Refused(why) => {
                let what = format!("{at} refuses: {why}");
                Check::fail(ID, what, "openclaw gateway status")
            }
            Outcome::Silent(why) if !self.expected => {
                Check::skipped(ID, format!("no gateway is set up here: {why}"))
            }
            Outcome::Silent(_) if !self.runs => {
                Check::warn(ID, format!("no gateway runs at {at}"), &self.start)
            }
            Outcome::Silent(why) => Check::fail(ID, why, "openclaw gateway status"),
        }
    }
}

fn versions(theirs: &str, restart: String) -> Check {
    const ID: &str = "gateway.version";
    let ours = env!("CARGO_PKG_VERSION");
    match theirs == ours {
        true => Check::ok(
            ID,
            format!("the gateway runs version {ours}, like this program"),
        ),
        false => {
            let what = format!("the gateway runs version {theirs}, this program is {ours}");
            Check::warn(ID, what, restart)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check::State;

    #[test]
    #[rustfmt::skip]
    fn a_gateway_is_judged_by_its_answer_and_by_whether_there_should_be_one() {
        let why = || "refused".to_owned();
        for (outcome, expected, runs, state) in [
            (Outcome::Connected, true, true, State::Ok),
            (Outcome::Refused(why()), true, true, State::Fail),
            (Outcome::Silent(why()), false, false, State::Skipped),
            (Outcome::Silent(why()), true, false, State::Warn),
            (Outcome::Silent(why()), true, true, State::Fail),
        ] {
            let answered = Answered { at: "ws://x".to_owned(), ms: 3, outcome, expected, runs, start: "s".to_owned() };
            let check = answered.judge();
            assert_eq!(check.state, state, "{check:?}");
            assert_eq!(check.fix.is_some(), matches!(state, State::Warn | State::Fail));
        }
        assert_eq!(versions(env!("CARGO_PKG_VERSION"), String::new()).state, State::Ok);
        assert_eq!(versions("9.9.9", String::new()).state, State::Warn);
    }
}
