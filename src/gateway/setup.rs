//! From what is configured to what a gateway may be started with or go on with: the checks of cli.md
//! §5.1 in their order, the same for a start, a restart and a reload.
//!
//! A file that fails a check changes nothing, whoever reads it. Only a start generates a missing token.

use std::fmt;
use std::path::PathBuf;

use data_encoding::HEXLOWER;

use crate::config::load::load_noting;
use crate::config::token::save as save_generated_token;
use crate::config::word::Bind;
use crate::config::{ConfigError, Environment, Issue, Loaded, Paths};
use crate::gateway::auth::SharedAuth;
use crate::gateway::console::{self, LogSettings};
use crate::gateway::settings::{GatewaySettings, RunFlags, build};
use crate::gateway::start_advice::{OUTSIDE_TAILNET, advice};
use crate::gateway::start_checks::{AuthPlan, check_mode, plan_auth};
use crate::gateway::start_error::{REFUSED, StartError};
use crate::identity::{Random, Token};
use crate::net::address::tailnet_addresses;
use crate::store::keys::{load_gateway_token, store_gateway_token};
use crate::store::{StateDir, StoreError};

/// Random bytes of a generated shared token, written as twice as many hex digits.
pub const TOKEN_BYTES: usize = 24;

/// Where every setup of this process comes from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Places.
    pub paths: &'a Paths,
    /// The environment of the process.
    pub environment: &'a Environment,
    /// The flags of `gateway run`; they win over the file whenever it is read.
    pub flags: &'a RunFlags,
    /// `--verbose`.
    pub verbose: bool,
}

/// A configuration that passed every check, and the settings that follow from it.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The configuration.
    pub loaded: Loaded,
    /// The settings.
    pub settings: GatewaySettings,
    /// What is weaker, or has no effect, although it is configured.
    pub advice: Vec<String>,
}

/// What to do when a token is needed and none is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingToken {
    /// Generate one and store it.
    Generate,
    /// Refuse: the process that runs has one, and nobody asked for another.
    Refuse,
}

/// Why there is no setup.
#[derive(Debug)]
pub enum SetupError {
    /// The file cannot be read or is not valid.
    Config(ConfigError),
    /// A start check failed.
    Start(StartError),
    /// The state directory cannot be used for the generated token.
    Store(StoreError),
    /// A running gateway finds its token gone.
    TokenGone,
    /// The generated token cannot be stored in the configuration file.
    TokenNotSaved(ConfigError),
}

impl SetupError {
    /// The exit code of a gateway that does not start for this reason.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(ConfigError::Invalid { .. }) | Self::TokenGone => REFUSED,
            Self::Config(_) | Self::Store(_) | Self::TokenNotSaved(_) => 1,
            Self::Start(error) => error.exit_code(),
        }
    }

    /// The same on one line, for a gateway that goes on without the change.
    pub fn on_one_line(&self) -> String {
        match self {
            Self::Config(ConfigError::Invalid { issues, .. }) => {
                let issues: Vec<String> = issues.iter().map(Issue::to_string).collect();
                issues.join("; ")
            }
            Self::Start(StartError::SecretUnavailable(why)) => {
                format!("a secret is unavailable: {why} The one that was read before stays in use")
            }
            other => other.to_string().replace('\n', " "),
        }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Start(error) => error.fmt(f),
            Self::Store(error) => write!(f, "Gateway failed to start: {error}"),
            Self::TokenGone => f.write_str(
                "gateway.auth.token: no token is configured any more, and only a start generates one; \
                 set it with openclaw config set gateway.auth.token",
            ),
            Self::TokenNotSaved(error) => write!(f, "Gateway failed to start: {error}"),
        }
    }
}

impl std::error::Error for SetupError {}

impl From<ConfigError> for SetupError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<StartError> for SetupError {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

impl From<StoreError> for SetupError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Source<'_> {
    /// Reads the configuration; every file it depends on is added to `files`, whatever comes of it.
    pub fn load(&self, files: &mut Vec<PathBuf>) -> Result<Loaded, ConfigError> {
        load_noting(self.paths, self.environment, files)
    }

    /// Reads the configuration and checks it.
    pub fn read(
        &self,
        files: &mut Vec<PathBuf>,
        missing: MissingToken,
    ) -> Result<Setup, SetupError> {
        self.check(self.load(files)?, missing)
    }

    /// Logs as `loaded` says from now on, and returns how that is.
    pub fn configure_log(&self, loaded: &Loaded) -> LogSettings {
        let settings = LogSettings::of(&loaded.config.logging, &self.paths.temp_dir, self.verbose);
        console::configure(&settings);
        settings
    }

    /// Points 2 to 7 of the start checks.
    pub fn check(&self, mut loaded: Loaded, missing: MissingToken) -> Result<Setup, SetupError> {
        let flags = self.flags;
        check_mode(&loaded, flags)?;
        let bind = flags.bind.unwrap_or(loaded.config.gateway.bind);
        let auth = match plan_auth(&loaded, flags, bind)? {
            AuthPlan::Ready(auth) => auth,
            AuthPlan::Generate { in_config } => {
                let directory = StateDir::open(&self.paths.state_dir)?;
                let token = match (load_gateway_token(&directory)?, missing) {
                    (Some(token), _) => token,
                    (None, MissingToken::Refuse) => return Err(SetupError::TokenGone),
                    (None, MissingToken::Generate) => {
                        self.generate_token(&directory, &mut loaded, in_config)?
                    }
                };
                SharedAuth::Token(token)
            }
        };
        let tailnet = if bind == Bind::Tailnet {
            tailnet_addresses()
        } else {
            Vec::new()
        };
        let outside = bind == Bind::Tailnet && tailnet.is_empty();
        let settings = build(&loaded, self.paths, flags, auth, tailnet)?;
        let auth = &settings.rules.auth;
        let mut advice = advice(&loaded.config, flags, auth, settings.bind, settings.port);
        if outside {
            advice.push(OUTSIDE_TAILNET.to_owned());
        }
        Ok(Setup {
            loaded,
            settings,
            advice,
        })
    }

    /// A new token, stored where this run may write.
    fn generate_token(
        &self,
        directory: &StateDir,
        loaded: &mut Loaded,
        in_config: bool,
    ) -> Result<Token, SetupError> {
        let token = Token::from(HEXLOWER.encode(&Random.bytes::<TOKEN_BYTES>()));
        if in_config {
            save_generated_token(self.paths, &loaded.environment, token.as_str())
                .map_err(SetupError::TokenNotSaved)?;
            log::info!(
                target: "gateway",
                "auth token was missing. Generated a new token and saved it to config (gateway.auth.token)."
            );
            // What was just written is no change to be noticed later.
            *loaded = self.load(&mut Vec::new())?;
        } else {
            store_gateway_token(directory, &token)?;
            log::info!(
                target: "gateway",
                "auth token was missing. Generated a new token and saved it to {}.",
                self.paths.gateway_token_file().display()
            );
        }
        Ok(token)
    }
}

impl Setup {
    /// Says what is weaker, or has no effect, although it is configured.
    pub fn warn(&self) {
        for line in &self.advice {
            log::warn!(target: "gateway", "{line}");
        }
        let former = self.loaded.environment.former_names();
        if !former.is_empty() {
            log::warn!(target: "gateway", "ignored variables of former names: {}", former.join(", "));
        }
    }
}
