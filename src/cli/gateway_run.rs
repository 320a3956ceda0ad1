//! `gateway run`, also bare `gateway`: from flags to a running daemon (cli.md §5.1).
//!
//! Reads what was typed and hands it to the gateway, which writes its own lines and decides the exit
//! code. Nothing of the gateway's inside is known here.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::answer::Answer;
use crate::cli::complain;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::config::environment::ServiceKind;
use crate::config::word::{AuthMode, Bind, TailscaleMode, Word};
use crate::config::{Environment, Paths, dotenv};
use crate::gateway::run::{RunOptions, run as run_gateway};
use crate::gateway::settings::RunFlags;
use crate::identity::Token;
use crate::service::{Kind, environment_file};

/// Profile of `--dev`, the only one that `--reset` may empty.
const DEV_PROFILE: &str = "dev";

/// Runs the gateway until a signal ends it.
pub fn run(invocation: &Invocation) -> Result<Answer, CliError> {
    let dev = invocation.has("dev") || invocation.global("dev").is_some();
    if invocation.has("reset") && !dev {
        return Err(CliError::rule("Use --reset with --dev."));
    }
    let mut environment = invocation.environment().clone();
    let paths = invocation.paths()?;
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    dotenv::read(
        &mut environment,
        &here.join(".env"),
        dotenv::Origin::WorkingDirectory,
    );
    if environment.service_kind() == Some(ServiceKind::Gateway) {
        let file = Kind::Gateway.environment_file(&paths.state_dir);
        environment_file::take_over(&mut environment, &file);
    }
    let options = RunOptions {
        flags: flags(invocation, &mut environment)?,
        force: invocation.has("force"),
        verbose: invocation.has("verbose"),
    };
    if invocation.has("reset") {
        reset(&paths)?;
    }
    let exit = run_gateway(&paths, &environment, &options).unwrap_or_else(|failure| {
        // A closed stderr does not change how it ended.
        let _ = complain(&invocation.addressed(&failure.text));
        failure.exit
    });
    Ok(Answer::silent().exit(exit))
}

fn flags(invocation: &Invocation, environment: &mut Environment) -> Result<RunFlags, CliError> {
    let token = invocation.text("token");
    if let Some(token) = token {
        // What the gateway starts later finds the same token.
        environment.set("OPENCLAW_GATEWAY_TOKEN", token);
    }
    Ok(RunFlags {
        allow_unconfigured: invocation.has("allow-unconfigured"),
        auth: invocation.value("auth").and_then(AuthMode::parse),
        bind: invocation.value("bind").and_then(Bind::parse),
        password: password(invocation)?,
        port: invocation.port("port"),
        tailscale: invocation.value("tailscale").and_then(TailscaleMode::parse),
        token: token.map(Token::from),
    })
}

fn password(invocation: &Invocation) -> Result<Option<Token>, CliError> {
    match (
        invocation.text("password"),
        invocation.text("password-file"),
    ) {
        (Some(_), Some(_)) => Err(CliError::rule("Use either --password or --password-file.")),
        (Some(password), None) => {
            let warning = "warning: --password is shown by process listings; use --password-file";
            // A closed stderr is no reason not to start.
            let _ = complain(warning);
            Ok(Some(Token::from(password)))
        }
        (None, Some(file)) => read_password(Path::new(file)).map(Some),
        (None, None) => Ok(None),
    }
}

fn read_password(file: &Path) -> Result<Token, CliError> {
    let refused = |why: &dyn std::fmt::Display| {
        CliError::rule(format!(
            "Cannot read --password-file {}: {why}",
            file.display()
        ))
    };
    let text = fs::read_to_string(file).map_err(|error| refused(&error))?;
    let password = text.trim();
    if password.is_empty() {
        return Err(refused(&"the file is empty"));
    }
    Ok(Token::from(password))
}

/// Empties the development profile; any other directory is left alone, whatever the environment says.
fn reset(paths: &Paths) -> Result<(), CliError> {
    let expected = paths.home.join(format!(".openclaw-{DEV_PROFILE}"));
    if paths.profile.as_deref() != Some(DEV_PROFILE) || paths.state_dir != expected {
        return Err(CliError::rule(
            "--reset only empties the state directory of --dev",
        ));
    }
    match fs::remove_dir_all(&paths.state_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let text = format!("cannot empty {}: {error}", paths.state_dir.display());
            Err(CliError::failed("UNAVAILABLE", text))
        }
        _ => Ok(()),
    }
}
