//! What a gateway adds to an install: its port, and the checks that its start would make, made before
//! anything is written (cli.md §2.6).

use data_encoding::HEXLOWER;

use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::service::document::Action;
use crate::cli::service::install::Parts;
use crate::cli::service::place::Place;
use crate::config::{Loaded, token};
use crate::gateway::settings::RunFlags;
use crate::gateway::setup::TOKEN_BYTES;
use crate::gateway::start_checks::{AuthPlan, check_mode, plan_auth};
use crate::identity::{Random, Token};
use crate::service::environment_file;

const TOKEN: &str = "OPENCLAW_GATEWAY_TOKEN";

/// The arguments of `gateway` and its secret, or the refusal. With `store` a missing token is made and stored
/// in the configuration; without it nothing is changed, and what would be refused is only told.
///
/// # Errors
/// A configuration that cannot be read.
pub fn parts(
    invocation: &Invocation,
    place: &Place,
    action: &Action<'_>,
    store: bool,
) -> Result<Result<Parts, Answer>, CliError> {
    let refused = |why: String| {
        Ok(Err(action.refused(
            format!("Gateway install failed: {why}"),
            Vec::new(),
        )))
    };
    let mut loaded = place.load(invocation)?;
    let port = invocation
        .port("port")
        .unwrap_or(loaded.config.gateway.port);
    let given = given(invocation, place, &loaded);
    as_service(&mut loaded);
    let flags = RunFlags {
        port: Some(port),
        token: given.clone().map(Token::from),
        ..RunFlags::default()
    };
    let configured = loaded.config.gateway.auth.token.plain().map(str::to_owned);
    if let (Some(typed), Some(configured)) = (invocation.text("token"), &configured) {
        if typed != configured {
            return refused(
                "--token differs from gateway.auth.token, which a service prefers.\n\
                 Fix: leave --token out, or: openclaw config set gateway.auth.token <token>"
                    .to_owned(),
            );
        }
    }
    let plan = check_mode(&loaded, &flags)
        .and_then(|()| plan_auth(&loaded, &flags, loaded.config.gateway.bind));
    let mut parts = Parts {
        arguments: ["gateway", "--port", &port.to_string()]
            .map(str::to_owned)
            .to_vec(),
        port: Some(port),
        ..Parts::default()
    };
    match plan {
        Err(why) if store => return refused(why.to_string()),
        Err(why) => parts.warnings.push(format!("warning: {why}")),
        Ok(AuthPlan::Generate { .. }) if store => {
            let made = HEXLOWER.encode(&Random.bytes::<TOKEN_BYTES>());
            token::save(&place.paths, &loaded.environment, &made)?;
            parts.warnings.push(format!(
                "Generated a gateway token and saved it to {} (gateway.auth.token).",
                place.paths.config_file.display()
            ));
        }
        Ok(_) => {}
    }
    if let Some(token) = given.filter(|_| configured.is_none()) {
        let file = place.name.kind.environment_file(&place.paths.state_dir);
        parts.warnings.push(format!(
            "The token is kept in {}. Commands on this machine read the configuration: give them the token as well with \
             openclaw config set gateway.auth.token, or as {TOKEN}.",
            file.display()
        ));
        parts.secrets.push((TOKEN.to_owned(), token));
    }
    Ok(Ok(parts))
}

/// The token for the environment file: typed, of the install's environment, or kept there already.
fn given(invocation: &Invocation, place: &Place, loaded: &Loaded) -> Option<String> {
    if let Some(typed) = invocation.text("token") {
        return Some(typed.to_owned());
    }
    if loaded.config.gateway.auth.token.is_configured() {
        return None;
    }
    let kept = environment_file::load(&place.name.kind.environment_file(&place.paths.state_dir));
    let kept = kept.into_iter().find(|(name, _)| name == TOKEN);
    let exported = place.environment.gateway_token().map(str::to_owned);
    exported.or(kept.map(|(_, value)| value))
}

/// The environment that the service will have: nothing secret of the one of the install.
fn as_service(loaded: &mut Loaded) {
    loaded.environment.remove(TOKEN);
    loaded.environment.remove("OPENCLAW_GATEWAY_PASSWORD");
    loaded.environment.set("OPENCLAW_SERVICE_KIND", "gateway");
}
