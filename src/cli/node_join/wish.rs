//! What was asked for besides the gateway itself.

use std::time::Duration;

use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::client::{Budget, Steps};
use crate::identity::Fingerprint;

/// How long a gateway may take to answer unless `--timeout` says it.
const CONNECT: Duration = Duration::from_secs(10);

/// How long one address may take to answer at all.
const REACH: Duration = Duration::from_millis(3_500);

/// What is to be done once the gateway is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The node host becomes a service.
    Install,
    /// Nothing; where somebody is there, they are asked.
    Nothing,
    /// The node host runs in the foreground.
    Run,
}

/// What was asked for besides the gateway.
pub struct Wish {
    /// What is to be done once the gateway is stored.
    pub then: Then,
    /// `--trust-fingerprint`.
    pub pin: Option<Fingerprint>,
    /// `--force`: leave the former gateway, replace its pin.
    pub force: bool,
    /// `--json`.
    pub json: bool,
    /// `--timeout`.
    pub limit: Option<Duration>,
}

impl Wish {
    /// Reads the options.
    ///
    /// # Errors
    /// Options that contradict each other, an unusable fingerprint.
    pub fn read(invocation: &Invocation) -> Result<Wish, CliError> {
        let has = |name| invocation.has(name);
        let then = match (has("install"), has("run")) {
            (true, true) => return Err(CliError::rule("Use either --install or --run, not both.")),
            (true, false) => Then::Install,
            (false, true) => Then::Run,
            (false, false) => Then::Nothing,
        };
        if then == Then::Run && has("json") {
            return Err(CliError::rule(
                "--json prints one answer and ends; with --run the node host stays. Leave one of them out.",
            ));
        }
        if then != Then::Install && (has("system") || has("run-as")) {
            return Err(CliError::rule("--system and --run-as go with --install."));
        }
        let pin = match invocation.text("trust-fingerprint") {
            None => None,
            Some(text) => Some(Fingerprint::parse(text).ok_or_else(|| {
                CliError::rule(
                    "Invalid --trust-fingerprint: expected the SHA-256 of a certificate, 64 hex digits",
                )
            })?),
        };
        Ok(Wish {
            then,
            pin,
            force: has("force"),
            json: invocation.json(),
            limit: has("timeout")
                .then(|| Duration::from_millis(invocation.milliseconds("timeout"))),
        })
    }

    /// What one try to reach the gateway gets.
    pub fn budget(&self) -> Budget {
        let steps = Steps {
            reach: REACH,
            ..Steps::default()
        };
        Budget::new(self.limit.unwrap_or(CONNECT)).with_steps(steps)
    }
}
