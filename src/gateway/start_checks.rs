//! May this gateway start, and guarded by which secret (cli.md §5.1)?
//!
//! Pure checks over configuration, flags and environment, each failure one sentence and one exit code.
//! What this version cannot enforce it refuses: it never starts weaker than it was told.

use std::fmt;

use crate::config::environment::ServiceKind;
use crate::config::load::Loaded;
use crate::config::word::{AuthMode, Bind, GatewayMode, TailscaleMode};
use crate::config::{Config, Secret};
use crate::gateway::auth::SharedAuth;
use crate::gateway::settings::RunFlags;
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

/// Why a gateway does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// A bind beyond loopback without a shared secret.
    BindWithoutAuth(Bind),
    /// `gateway.bind=custom` without a usable address.
    CustomHostMissing,
    /// Token and password configured, no mode.
    ModeAmbiguous,
    /// No configuration file.
    MissingConfig,
    /// A configuration file without `gateway.mode`.
    ModeMissing,
    /// `gateway.mode=remote`.
    ModeRemote,
    /// Password mode without a password.
    PasswordMissing,
    /// A secret copied from documentation; names the key.
    Placeholder(&'static str),
    /// A secret whose source gives no value; the sentence says which.
    SecretUnavailable(String),
    /// Asked for something this version does not do; the key and what to do instead.
    Unsupported {
        /// The key or flag with its value.
        asked: String,
        /// What to do instead.
        instead: &'static str,
    },
}

impl StartError {
    /// 78 keeps a service manager from trying again; 1 for what may pass by itself.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::SecretUnavailable(_) => 1,
            _ => 78,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BindWithoutAuth(bind) => write!(
                f,
                "Refusing to bind gateway to {bind} without auth.\n\
                 Fix: openclaw config set gateway.auth.mode token (or use --bind loopback)"
            ),
            Self::CustomHostMissing => {
                f.write_str("gateway.bind=custom requires gateway.customBindHost")
            }
            Self::ModeAmbiguous => f.write_str(
                "gateway.auth.token and gateway.auth.password are both configured, but \
                 gateway.auth.mode is unset. Set gateway.auth.mode to token or password.",
            ),
            Self::MissingConfig => f.write_str(
                "Missing config. Run `openclaw config set gateway.mode local` or set \
                 gateway.mode=local (or pass --allow-unconfigured).",
            ),
            Self::ModeMissing => f.write_str(
                "Gateway start blocked: existing config is missing gateway.mode. \
                 Run `openclaw config set gateway.mode local` (or pass --allow-unconfigured).",
            ),
            Self::ModeRemote => f.write_str(
                "Gateway start blocked: set gateway.mode=local (current: remote) or pass \
                 --allow-unconfigured.",
            ),
            Self::PasswordMissing => f.write_str(
                "Gateway auth is set to password, but no password is configured.\n\
                 Fix: set gateway.auth.password, OPENCLAW_GATEWAY_PASSWORD or --password-file",
            ),
            Self::Placeholder(key) => write!(
                f,
                "{key} is a placeholder from documentation; set a secret of your own."
            ),
            Self::SecretUnavailable(why) => write!(
                f,
                "Gateway failed to start: Error: Startup failed: required secrets are unavailable. \
                 SecretRefResolutionError: {why}"
            ),
            Self::Unsupported { asked, instead } => write!(
                f,
                "Gateway start blocked: {asked} is not supported by this version. {instead}"
            ),
        }
    }
}

impl std::error::Error for StartError {}

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

/// Refuses what would need something this version does not have (TLS, trusted proxies, Tailscale).
pub fn check_supported(config: &Config, flags: &RunFlags) -> Result<(), StartError> {
    let refuse = |asked: String, instead| Err(StartError::Unsupported { asked, instead });
    let gateway = &config.gateway;
    if gateway.tls.enabled {
        return refuse(
            "gateway.tls.enabled=true".into(),
            "Set it to false and put a TLS proxy or tunnel in front.",
        );
    }
    if flags.auth.or(gateway.auth.mode) == Some(AuthMode::TrustedProxy) {
        return refuse(
            "gateway.auth.mode=trusted-proxy".into(),
            "Use token or password.",
        );
    }
    let tailscale = flags.tailscale.unwrap_or(gateway.tailscale.mode);
    if tailscale != TailscaleMode::Off {
        return refuse(
            format!("gateway.tailscale.mode={tailscale}"),
            "Set it to off and bind to the tailnet address instead.",
        );
    }
    if gateway.auth.allow_tailscale == Some(true) {
        return refuse(
            "gateway.auth.allowTailscale=true".into(),
            "Set it to false and use the shared secret.",
        );
    }
    Ok(())
}

/// Which secret guards the gateway (points 3, 4 and 6). Flags win; then the environment, then the
/// file, except for the token of a gateway that runs as a service, where the file wins.
pub fn plan_auth(loaded: &Loaded, flags: &RunFlags, bind: Bind) -> Result<AuthPlan, StartError> {
    let auth = &loaded.config.gateway.auth;
    let environment = &loaded.environment;
    let mode = resolve_mode(loaded, flags)?;
    match mode {
        AuthMode::None if !matches!(bind, Bind::Loopback | Bind::Auto) => {
            Err(StartError::BindWithoutAuth(bind))
        }
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
        AuthMode::TrustedProxy => Err(StartError::Unsupported {
            asked: "gateway.auth.mode=trusted-proxy".into(),
            instead: "Use token or password.",
        }),
    }
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
    use crate::config::Environment;
    use crate::config::Paths;
    use crate::config::load::draft;

    fn loaded(text: &str, variables: &[(&str, &str)]) -> Loaded {
        let environment =
            Environment::from_pairs(variables.iter().copied().chain([("HOME", "/nowhere")]));
        let paths = Paths::resolve(&environment, None).unwrap();
        let draft = draft(Some(text), &paths, &environment).unwrap();
        assert_eq!(draft.issues(), []);
        draft.build(&paths)
    }

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

    #[test]
    fn what_cannot_be_enforced_is_refused() {
        let serve = RunFlags {
            tailscale: Some(TailscaleMode::Serve),
            ..flags()
        };
        let proxy = RunFlags {
            auth: Some(AuthMode::TrustedProxy),
            ..flags()
        };
        for (text, flags, asked) in [
            ("{}", flags(), None),
            (
                "{gateway:{tls:{enabled:true}}}",
                flags(),
                Some("gateway.tls.enabled=true"),
            ),
            ("{}", proxy, Some("gateway.auth.mode=trusted-proxy")),
            ("{}", serve, Some("gateway.tailscale.mode=serve")),
            (
                "{gateway:{tailscale:{mode:'funnel'},auth:{password:'p'}}}",
                flags(),
                Some("gateway.tailscale.mode=funnel"),
            ),
            (
                "{gateway:{auth:{allowTailscale:true}}}",
                flags(),
                Some("gateway.auth.allowTailscale=true"),
            ),
            ("{gateway:{auth:{allowTailscale:false}}}", flags(), None),
        ] {
            let verdict = check_supported(&loaded(text, &[]).config, &flags);
            match asked {
                None => assert_eq!(verdict, Ok(()), "{text}"),
                Some(asked) => {
                    let text = verdict.unwrap_err().to_string();
                    assert!(
                        text.starts_with(&format!(
                            "Gateway start blocked: {asked} is not supported"
                        )),
                        "{text}"
                    );
                }
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
        assert_eq!(
            error.to_string(),
            "Gateway failed to start: Error: Startup failed: required secrets are unavailable. \
             SecretRefResolutionError: Environment variable \"MY_TOK\" is missing or empty."
        );
    }
}
