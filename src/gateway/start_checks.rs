//! May this gateway start, and guarded by which secret (cli.md §5.1)?
//!
//! Pure checks over configuration, flags and environment, each failure one sentence and one exit code.
//! What this version cannot enforce it refuses: it never starts weaker than it was told.

use crate::config::environment::ServiceKind;
use crate::config::load::Loaded;
use crate::config::word::{AuthMode, Bind, GatewayMode, TailscaleMode};
use crate::config::{Config, Secret};
use crate::gateway::auth::SharedAuth;
use crate::gateway::proxy_auth::ProxyAuth;
use crate::gateway::settings::RunFlags;
use crate::gateway::start_error::StartError;
use crate::identity::Token;

/// Secrets that stand as examples in published documentation; a gateway does not start with one.
const PLACEHOLDERS: [&str; 8] = [
    "change-me",
    "change-me-to-a-long-random-token",
    "change-me-to-a-strong-password",
    "changeme",
    "your-password-here",
    "your-secret-token",
    "your-token",
    "your-token-here",
];

/// What the start still has to do about the shared secret.
#[derive(Clone, Debug)]
pub enum AuthPlan {
    /// No token anywhere: use the one generated earlier, or generate one.
    Generate {
        /// Store a new one in the configuration file rather than beside it.
        in_config: bool,
    },
    /// Everything is there.
    Ready(SharedAuth),
}

/// The mode guard: is this host meant to run a gateway at all (point 2)?
pub fn check_mode(loaded: &Loaded, flags: &RunFlags) -> Result<(), StartError> {
    if flags.allow_unconfigured {
        return Ok(());
    }
    match loaded.config.gateway.mode {
        Some(GatewayMode::Local) => Ok(()),
        Some(GatewayMode::Remote) => Err(StartError::ModeRemote),
        None if loaded.exists => Err(StartError::ModeMissing),
        None => Err(StartError::MissingConfig),
    }
}

/// Which secret or proxy guards the gateway (points 3 to 6). Flags win; then the environment, then the
/// file, except for the token of a gateway that runs as a service, where the file wins.
pub fn plan_auth(loaded: &Loaded, flags: &RunFlags, bind: Bind) -> Result<AuthPlan, StartError> {
    let auth = &loaded.config.gateway.auth;
    let environment = &loaded.environment;
    let mode = resolve_mode(loaded, flags)?;
    check_tailscale(loaded, flags, bind, mode)?;
    match mode {
        AuthMode::None if !is_loopback(bind) => Err(StartError::BindWithoutAuth(bind)),
        AuthMode::None => Ok(AuthPlan::Ready(SharedAuth::None)),
        AuthMode::Password => {
            let password = pick(
                &flags.password,
                environment.gateway_password(),
                &auth.password,
                false,
            )?;
            let password = password.ok_or(StartError::PasswordMissing)?;
            checked(password, "gateway.auth.password").map(SharedAuth::Password)
        }
        .map(AuthPlan::Ready),
        AuthMode::Token => {
            let service = environment.service_kind() == Some(ServiceKind::Gateway);
            match pick(
                &flags.token,
                environment.gateway_token(),
                &auth.token,
                service,
            )? {
                Some(token) => checked(token, "gateway.auth.token")
                    .map(SharedAuth::Token)
                    .map(AuthPlan::Ready),
                None => Ok(AuthPlan::Generate {
                    in_config: loaded.exists && !flags.allow_unconfigured && flags.auth.is_none(),
                }),
            }
        }
        AuthMode::TrustedProxy => plan_proxy(loaded, flags).map(AuthPlan::Ready),
    }
}

/// The rules of trusted-proxy mode (point 5).
fn plan_proxy(loaded: &Loaded, flags: &RunFlags) -> Result<SharedAuth, StartError> {
    let gateway = &loaded.config.gateway;
    let environment = &loaded.environment;
    let rule = gateway.auth.trusted_proxy.clone();
    let rule = rule.ok_or(StartError::TrustedProxyUnset)?;
    if rule.user_header.trim().is_empty() {
        return Err(StartError::TrustedProxyUnset);
    }
    if gateway.trusted_proxies.is_empty() {
        return Err(StartError::TrustedProxyAbsent);
    }
    let tokens = [
        flags.token.is_some(),
        environment.gateway_token().is_some(),
        gateway.auth.token.is_configured(),
    ];
    if tokens.contains(&true) {
        return Err(StartError::TrustedProxyToken);
    }
    let password = pick(
        &flags.password,
        environment.gateway_password(),
        &gateway.auth.password,
        false,
    )?;
    let password = password.map(|secret| checked(secret, "gateway.auth.password"));
    Ok(SharedAuth::TrustedProxy(Box::new(ProxyAuth {
        rule,
        password: password.transpose()?,
    })))
}

/// The rules of publication through Tailscale (cli.md §3.3).
fn check_tailscale(
    loaded: &Loaded,
    flags: &RunFlags,
    bind: Bind,
    mode: AuthMode,
) -> Result<(), StartError> {
    let tailscale = tailscale_mode(&loaded.config, flags);
    if tailscale == TailscaleMode::Off {
        return Ok(());
    }
    if !is_loopback(bind) {
        return Err(StartError::TailscaleBind(tailscale));
    }
    if mode == AuthMode::None {
        return Err(StartError::TailscaleWithoutAuth(tailscale));
    }
    if tailscale == TailscaleMode::Funnel && mode != AuthMode::Password {
        return Err(StartError::FunnelWithoutPassword);
    }
    Ok(())
}

/// How the gateway is published; the flag wins.
pub fn tailscale_mode(config: &Config, flags: &RunFlags) -> TailscaleMode {
    flags.tailscale.unwrap_or(config.gateway.tailscale.mode)
}

/// Whether a bind mode listens on this host only.
pub fn is_loopback(bind: Bind) -> bool {
    matches!(bind, Bind::Auto | Bind::Loopback)
}

/// Explicit mode, else what is configured says it.
fn resolve_mode(loaded: &Loaded, flags: &RunFlags) -> Result<AuthMode, StartError> {
    let auth = &loaded.config.gateway.auth;
    if let Some(mode) = flags.auth.or(auth.mode) {
        return Ok(mode);
    }
    if auth.token.is_configured() && auth.password.is_configured() {
        return Err(StartError::ModeAmbiguous);
    }
    let environment = &loaded.environment;
    // The closest source decides: a flag, then the file, then the environment.
    let sources = [
        (flags.token.is_some(), flags.password.is_some()),
        (auth.token.is_configured(), auth.password.is_configured()),
        (
            environment.gateway_token().is_some(),
            environment.gateway_password().is_some(),
        ),
    ];
    for (token, password) in sources {
        if token || password {
            return Ok(if token {
                AuthMode::Token
            } else {
                AuthMode::Password
            });
        }
    }
    Ok(AuthMode::Token)
}

fn pick(
    flag: &Option<Token>,
    environment: Option<&str>,
    configured: &Secret,
    config_first: bool,
) -> Result<Option<Token>, StartError> {
    if let Some(secret) = flag {
        return Ok(Some(secret.clone()));
    }
    let from_environment = environment.map(Token::from);
    if from_environment.is_some() && !(config_first && configured.is_configured()) {
        return Ok(from_environment);
    }
    match configured {
        Secret::Absent => Ok(None),
        Secret::Plain(value) => Ok(Some(Token::from(value.as_str()))),
        Secret::Unavailable { why, .. } => Err(StartError::SecretUnavailable(why.clone())),
    }
}

fn checked(secret: Token, key: &'static str) -> Result<Token, StartError> {
    if PLACEHOLDERS
        .iter()
        .any(|known| secret.as_str().eq_ignore_ascii_case(known))
    {
        return Err(StartError::Placeholder(key));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing::loaded;

    fn flags() -> RunFlags {
        RunFlags::default()
    }

    #[test]
    fn only_a_host_that_is_meant_to_runs_a_gateway() {
        let anyway = RunFlags {
            allow_unconfigured: true,
            ..flags()
        };
        for (text, exists, flags, expected) in [
            ("{gateway:{mode:'local'}}", true, flags(), Ok(())),
            (
                "{gateway:{mode:'remote'}}",
                true,
                flags(),
                Err(StartError::ModeRemote),
            ),
            ("{gateway:{mode:'remote'}}", true, anyway.clone(), Ok(())),
            ("{}", true, flags(), Err(StartError::ModeMissing)),
            ("{}", false, flags(), Err(StartError::MissingConfig)),
            ("{}", false, anyway, Ok(())),
        ] {
            let loaded = Loaded {
                exists,
                ..loaded(text, &[])
            };
            assert_eq!(
                check_mode(&loaded, &flags),
                expected,
                "{text} exists={exists}"
            );
            if let Err(error) = expected {
                assert_eq!(error.exit_code(), 78);
            }
        }
    }

    /// A plan in words: the mode and its secret, or what is still to do, or the refusal.
    fn plan(text: &str, variables: &[(&str, &str)], flags: &RunFlags, bind: Bind) -> String {
        match plan_auth(&loaded(text, variables), flags, bind) {
            Ok(AuthPlan::Ready(SharedAuth::None)) => "none".to_owned(),
            Ok(AuthPlan::Ready(SharedAuth::Password(secret))) => {
                format!("password {}", secret.as_str())
            }
            Ok(AuthPlan::Ready(SharedAuth::Token(secret))) => format!("token {}", secret.as_str()),
            Ok(AuthPlan::Ready(SharedAuth::TrustedProxy(proxy))) => {
                let password = proxy.password.as_ref().map_or("-", Token::as_str);
                format!("proxy {} {password}", proxy.rule.user_header)
            }
            Ok(AuthPlan::Generate { in_config }) => format!("generate in_config={in_config}"),
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    #[rustfmt::skip]
    fn the_secret_comes_from_the_closest_source() {
        const TOKEN: &str = "OPENCLAW_GATEWAY_TOKEN";
        const PASSWORD: &str = "OPENCLAW_GATEWAY_PASSWORD";
        const SERVICE: (&str, &str) = ("OPENCLAW_SERVICE_KIND", "gateway");
        let token_flag = RunFlags { token: Some(Token::from("f")), ..flags() };
        let password_flag = RunFlags { password: Some(Token::from("f")), ..flags() };
        let mode_token = RunFlags { auth: Some(AuthMode::Token), ..flags() };
        let mode_password = RunFlags { auth: Some(AuthMode::Password), ..flags() };
        let mode_none = RunFlags { auth: Some(AuthMode::None), ..flags() };
        let both = "{gateway:{auth:{token:'t',password:'p'}}}";
        let lan = Bind::Lan;
        let home = Bind::Loopback;
        for (text, variables, flags, bind, expected) in [
            ("{}", &[][..], &flags(), home, "generate in_config=true"),
            ("{}", &[], &mode_token, home, "generate in_config=false"),
            ("{}", &[(TOKEN, "e")], &flags(), home, "token e"),
            ("{}", &[(PASSWORD, "e")], &flags(), home, "password e"),
            ("{}", &[], &token_flag, home, "token f"),
            ("{}", &[], &password_flag, home, "password f"),
            ("{gateway:{auth:{token:'t'}}}", &[], &flags(), home, "token t"),
            ("{gateway:{auth:{token:'t'}}}", &[(TOKEN, "e")], &flags(), home, "token e"),
            ("{gateway:{auth:{token:'t'}}}", &[(TOKEN, "e"), SERVICE], &flags(), home, "token t"),
            ("{gateway:{auth:{token:'t'}}}", &[(TOKEN, "e"), SERVICE], &token_flag, home, "token f"),
            ("{gateway:{auth:{password:'p'}}}", &[(TOKEN, "e")], &flags(), home, "password p"),
            ("{gateway:{auth:{password:'p'}}}", &[], &mode_token, home, "generate in_config=false"),
            (both, &[], &flags(), home, "ModeAmbiguous"),
            (both, &[], &mode_password, home, "password p"),
            ("{gateway:{auth:{mode:'password'}}}", &[], &flags(), home, "PasswordMissing"),
            ("{gateway:{auth:{mode:'none'}}}", &[], &flags(), home, "none"),
            ("{}", &[], &mode_none, lan, "BindWithoutAuth(Lan)"),
            ("{}", &[], &mode_none, Bind::Tailnet, "BindWithoutAuth(Tailnet)"),
            ("{}", &[], &mode_none, Bind::Auto, "none"),
            ("{gateway:{auth:{token:'t'}}}", &[], &flags(), lan, "token t"),
            ("{gateway:{auth:{token:'change-me'}}}", &[], &flags(), home, "Placeholder(\"gateway.auth.token\")"),
            ("{gateway:{auth:{token:'${MISSING_ONE}'}}}", &[], &flags(), home, "SecretUnavailable"),
        ] {
            let found = plan(text, variables, flags, bind);
            assert!(found.starts_with(expected), "{text} {variables:?}: {found}, not {expected}");
        }
    }

    #[test]
    fn a_secret_that_cannot_be_read_may_be_there_later() {
        let reference = "{gateway:{auth:{token:{source:'env',provider:'default',id:'MY_TOK'}}}}";
        let error = plan_auth(&loaded(reference, &[]), &flags(), Bind::Loopback).unwrap_err();
        assert_eq!(error.exit_code(), 1);
        let text = error.to_string();
        let (said, fix) = text.split_once('\n').unwrap();
        assert_eq!(
            said,
            "Gateway failed to start: Error: Startup failed: required secrets are unavailable. \
             SecretRefResolutionError: Environment variable \"MY_TOK\" is missing or empty."
        );
        assert!(fix.starts_with("Fix: give it to this process"), "{fix}");
    }

    #[test]
    #[rustfmt::skip]
    fn a_proxy_guards_only_what_is_set_up_for_it() {
        const TOKEN: &str = "OPENCLAW_GATEWAY_TOKEN";
        const PASSWORD: &str = "OPENCLAW_GATEWAY_PASSWORD";
        const RULE: &str = "trustedProxy:{userHeader:'X-User'}";
        let proxied = |auth: &str| format!("{{gateway:{{trustedProxies:['10.0.0.1'],auth:{{mode:'trusted-proxy',{auth}}}}}}}");
        let flag = RunFlags { auth: Some(AuthMode::TrustedProxy), ..flags() };
        let token = RunFlags { token: Some(Token::from("f")), ..flags() };
        let password = RunFlags { password: Some(Token::from("f")), ..flags() };
        for (text, variables, flags, expected) in [
            (proxied(RULE), &[][..], &flags(), "proxy X-User -"),
            (proxied(&format!("password:'p',{RULE}")), &[], &flags(), "proxy X-User p"),
            (proxied(RULE), &[(PASSWORD, "e")], &flags(), "proxy X-User e"),
            (proxied(&format!("password:'p',{RULE}")), &[], &password, "proxy X-User f"),
            (proxied(&format!("password:'changeme',{RULE}")), &[], &flags(), "Placeholder(\"gateway.auth.password\")"),
            (proxied(&format!("token:'t',{RULE}")), &[], &flags(), "TrustedProxyToken"),
            (proxied(RULE), &[(TOKEN, "e")], &flags(), "TrustedProxyToken"),
            (proxied(RULE), &[], &token, "TrustedProxyToken"),
            (proxied(""), &[], &flags(), "TrustedProxyUnset"),
            ("{gateway:{trustedProxies:['10.0.0.1']}}".to_owned(), &[], &flag, "TrustedProxyUnset"),
            (format!("{{gateway:{{trustedProxies:['10.0.0.1'],auth:{{{RULE}}}}}}}"), &[], &flag, "proxy X-User -"),
            (proxied("trustedProxy:{userHeader:' '}"), &[], &flags(), "TrustedProxyUnset"),
            (format!("{{gateway:{{auth:{{mode:'trusted-proxy',{RULE}}}}}}}"), &[], &flags(), "TrustedProxyAbsent"),
        ] {
            for bind in [Bind::Loopback, Bind::Lan] {
                assert_eq!(plan(&text, variables, flags, bind), expected, "{text} {variables:?}");
            }
            if let Err(error) = plan_auth(&loaded(&text, variables), flags, Bind::Lan) {
                assert_eq!(error.exit_code(), 78, "{error}");
            }
        }
    }

    #[test]
    #[rustfmt::skip]
    fn tailscale_publishes_a_gateway_on_loopback_and_funnel_asks_for_a_password() {
        const SERVE: &str = "{gateway:{tailscale:{mode:'serve'},auth:{token:'t'}}}";
        const FUNNEL: &str = "{gateway:{tailscale:{mode:'funnel'},auth:{token:'t'}}}";
        const SECRET: &str = "{gateway:{tailscale:{mode:'funnel'},auth:{password:'p'}}}";
        let off = RunFlags { tailscale: Some(TailscaleMode::Off), ..flags() };
        let serve = RunFlags { tailscale: Some(TailscaleMode::Serve), ..flags() };
        for (text, flags, bind, expected) in [
            (SERVE, &flags(), Bind::Loopback, "token t"),
            (SERVE, &flags(), Bind::Auto, "token t"),
            (SERVE, &flags(), Bind::Lan, "TailscaleBind(Serve)"),
            (SERVE, &flags(), Bind::Tailnet, "TailscaleBind(Serve)"),
            (SERVE, &flags(), Bind::Custom, "TailscaleBind(Serve)"),
            (SERVE, &off, Bind::Lan, "token t"),
            ("{gateway:{auth:{token:'t'}}}", &serve, Bind::Lan, "TailscaleBind(Serve)"),
            ("{gateway:{auth:{mode:'none'}}}", &serve, Bind::Loopback, "TailscaleWithoutAuth(Serve)"),
            (FUNNEL, &flags(), Bind::Loopback, "FunnelWithoutPassword"),
            (SECRET, &flags(), Bind::Loopback, "password p"),
            (SECRET, &flags(), Bind::Lan, "TailscaleBind(Funnel)"),
        ] {
            assert_eq!(plan(text, &[], flags, bind), expected, "{text} {bind}");
        }
    }
}
