//! Loading: file, includes, environment sources, variables, validation, typed view, in this order.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::config::build::Builder;
use crate::config::diff::without_restart;
use crate::config::dotenv;
use crate::config::environment::Environment;
use crate::config::error::{ConfigError, Issue};
use crate::config::expand::{self, Missing};
use crate::config::include;
use crate::config::key::{self, Effect};
use crate::config::model::Config;
use crate::config::paths::Paths;
use crate::config::reference;
use crate::config::source;
use crate::config::validate::validate;
use crate::config::view::View;

/// A configuration that may be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The typed view with every default.
    pub config: Config,
    /// Whether the file exists; a missing one reads as `{}`.
    pub exists: bool,
    /// Lines for stderr: missing variables, ignored overrides.
    pub warnings: Vec<String>,
    /// The process environment plus `<state>/.env` plus the file's `env` block. Use this one from
    /// here on, not the captured one.
    pub environment: Environment,
    /// The file as authored, includes and variables resolved, no defaults added.
    pub document: Value,
    /// Places in it that need a variable without a value.
    pub missing: Missing,
}

/// A document that was read but not yet judged.
#[derive(Debug, Clone)]
pub struct Draft {
    /// As authored, includes and variables resolved.
    pub document: Value,
    /// Places that need a variable without a value.
    pub missing: Missing,
    /// The environment with every source.
    pub environment: Environment,
    /// Whether the file exists.
    pub exists: bool,
}

/// Reads the configuration of a run.
///
/// # Errors
/// [`ConfigError::Invalid`] with every issue; one of the root when the file cannot be read.
pub fn load(paths: &Paths, environment: &Environment) -> Result<Loaded, ConfigError> {
    load_noting(paths, environment, &mut Vec::new())
}

/// [`load`], and the names of all files that the result depends on, whatever comes of it: the file
/// itself, what it includes, `<state>/.env`, and the files of its secrets.
///
/// # Errors
/// As [`load`].
pub fn load_noting(
    paths: &Paths,
    environment: &Environment,
    sources: &mut Vec<PathBuf>,
) -> Result<Loaded, ConfigError> {
    let draft = read_noting(paths, environment, sources)?;
    let issues = draft.issues();
    if issues.is_empty() {
        Ok(draft.build(paths))
    } else {
        Err(invalid(paths, issues))
    }
}

/// Reads the file without judging it, for `config get` and `config validate`.
///
/// # Errors
/// As [`load`], but only for a file that cannot be read, a text that is no JSON5 object and includes that fail.
pub fn read(paths: &Paths, environment: &Environment) -> Result<Draft, ConfigError> {
    read_noting(paths, environment, &mut Vec::new())
}

fn read_noting(
    paths: &Paths,
    environment: &Environment,
    sources: &mut Vec<PathBuf>,
) -> Result<Draft, ConfigError> {
    sources.extend([paths.config_file.clone(), state_dotenv(paths)]);
    // Whatever keeps the file from being read is a fault of the configuration, that only a person mends.
    let unreadable = |fault: ConfigError| invalid(paths, vec![Issue::root(fault.to_string())]);
    let bytes = source::read(&paths.config_file).map_err(unreadable)?;
    let text = match &bytes {
        Some(bytes) => Some(source::decode(bytes).map_err(|issue| invalid(paths, vec![issue]))?),
        None => None,
    };
    let draft =
        draft_noting(text, paths, environment, sources).map_err(|issues| invalid(paths, issues))?;
    let providers = draft.document.pointer("/secrets/providers");
    sources.extend(reference::files(providers, &draft.environment));
    Ok(draft)
}

/// The draft of a text that stands, or would stand, in the configuration file.
///
/// # Errors
/// The issues of a text that is no JSON5 object, or of its includes.
pub fn draft(
    text: Option<&str>,
    paths: &Paths,
    environment: &Environment,
) -> Result<Draft, Vec<Issue>> {
    draft_noting(text, paths, environment, &mut Vec::new())
}

fn draft_noting(
    text: Option<&str>,
    paths: &Paths,
    environment: &Environment,
    sources: &mut Vec<PathBuf>,
) -> Result<Draft, Vec<Issue>> {
    let document = match text {
        Some(text) => source::parse(text).map_err(|issue| vec![issue])?,
        None => Value::Object(Map::new()),
    };
    let mut document = include::resolve(document, &paths.config_file, sources)?;
    let mut environment = environment.clone();
    dotenv::read(
        &mut environment,
        &state_dotenv(paths),
        dotenv::Origin::StateDir,
    );
    apply_env_block(&document, &mut environment);
    let missing = expand::expand(&mut document, &environment);
    Ok(Draft {
        document,
        missing,
        environment,
        exists: text.is_some(),
    })
}

/// `<state>/.env`, the operator's own.
fn state_dotenv(paths: &Paths) -> PathBuf {
    paths.state_dir.join(".env")
}

impl Draft {
    /// Every validation issue.
    pub fn issues(&self) -> Vec<Issue> {
        validate(&self.document, &self.missing)
    }

    /// The warnings about missing variables.
    pub fn warnings(&self) -> Vec<String> {
        self.missing
            .iter()
            .map(|(path, name)| expand::warning(path, name))
            .collect()
    }

    /// The typed view. Keys that have issues read as unset or as their default.
    pub fn build(self, paths: &Paths) -> Loaded {
        let mut warnings = self.warnings();
        let config = Builder {
            view: View {
                document: &self.document,
                missing: &self.missing,
            },
            paths,
            environment: &self.environment,
            warnings: &mut warnings,
        }
        .config();
        Loaded {
            config,
            exists: self.exists,
            warnings,
            environment: self.environment,
            document: self.document,
            missing: self.missing,
        }
    }
}

impl Loaded {
    /// This configuration, but with every key whose change needs a restart as it is in `running`.
    ///
    /// # Errors
    /// The issues of a mixture that is not valid although both configurations are.
    pub fn without_restart(&self, running: &Loaded, paths: &Paths) -> Result<Loaded, ConfigError> {
        let needs_restart = |path: &str| {
            let segments: Vec<&str> = path.split('.').collect();
            key::effect(&segments) == Effect::Restart
        };
        let own = self.missing.iter().filter(|(path, _)| !needs_restart(path));
        let kept = running
            .missing
            .iter()
            .filter(|(path, _)| needs_restart(path));
        let draft = Draft {
            document: without_restart(&running.document, &self.document),
            missing: own
                .chain(kept)
                .map(|(path, name)| (path.clone(), name.clone()))
                .collect(),
            environment: self.environment.clone(),
            exists: self.exists,
        };
        let issues = draft.issues();
        if issues.is_empty() {
            Ok(draft.build(paths))
        } else {
            Err(invalid(paths, issues))
        }
    }
}

/// `env.vars.<NAME>` and `env.<NAME>` become variables where they are missing.
fn apply_env_block(document: &Value, environment: &mut Environment) {
    let Some(block) = document.get("env").and_then(Value::as_object) else {
        return;
    };
    let nested = block.get("vars").and_then(Value::as_object);
    for (name, value) in nested.into_iter().flatten().chain(block) {
        if let Some(value) = value.as_str().filter(|_| is_variable_name(name)) {
            environment.set_missing(name, value);
        }
    }
}

/// What the operating system accepts as a name.
fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

fn invalid(paths: &Paths, issues: Vec<Issue>) -> ConfigError {
    ConfigError::Invalid {
        path: PathBuf::from(&paths.config_file),
        issues,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::Secret;
    use crate::config::testing::Home;
    use crate::config::word::{Bind, GatewayMode, LogLevel, MdnsMode};

    #[test]
    fn a_missing_file_is_all_defaults() {
        let home = Home::new("");
        std::fs::remove_file(&home.paths.config_file).unwrap();
        let loaded = home.load().unwrap();
        let gateway = &loaded.config.gateway;
        assert!(!loaded.exists && loaded.warnings.is_empty());
        assert_eq!(
            (gateway.mode, gateway.port, gateway.bind),
            (None, 18_789, Bind::Loopback)
        );
        assert_eq!(
            (
                gateway.handshake_timeout_ms,
                gateway.auth.rate_limit.max_attempts
            ),
            (15_000, 10)
        );
        assert!(gateway.tls.auto_generate && !gateway.tls.enabled && loaded.config.browser.enabled);
        assert_eq!(loaded.config.discovery.mdns_mode, MdnsMode::Minimal);
        assert_eq!(gateway.auth.token, Secret::Absent);
    }

    #[test]
    fn every_file_that_matters_is_noted_even_of_a_file_that_is_refused() {
        let home = Home::new(
            "{$include: ['a.json', 'none.json'], secrets: {providers: {
                 f: {source: 'file', path: '~/secret', mode: 'singleValue'}}}}",
        );
        home.write("a.json", "{gateway: {$include: 'sub/b.json'}}");
        home.write("sub/b.json", "{}");
        let noted = |home: &Home| {
            let mut sources = Vec::new();
            let _ = load_noting(&home.paths, &home.environment, &mut sources);
            let names = sources
                .iter()
                .map(|path| path.strip_prefix(&home.paths.home).unwrap());
            names
                .map(|name| name.display().to_string())
                .collect::<Vec<_>>()
        };
        let without_secret = ["openclaw.json", ".env", "a.json", "sub/b.json", "none.json"]
            .map(|name| format!(".openclaw/{name}"));
        assert_eq!(noted(&home), without_secret);
        home.write("none.json", "{}");
        let all = [&without_secret[..], &["secret".to_owned()]].concat();
        assert_eq!(noted(&home), all);
    }

    #[test]
    fn unreadable_bytes_are_one_issue() {
        let deep = "[".repeat(100_000);
        let cases: [(&[u8], &str); 5] = [
            (b"", "<root>: JSON5 parse failed: EOF parsing value at 1:1"),
            (
                b"[]",
                "<root>: Invalid input: expected object, received array",
            ),
            (b"{\xff}", "<root>: not valid UTF-8 at 1:2"),
            (
                deep.as_bytes(),
                "<root>: JSON5 parse failed: nested deeper than 64 levels at 1:65",
            ),
            (
                b"{gateway: {mode: 'x'}, wat: 1}",
                "gateway.mode: Invalid input (allowed: \"local\", \"remote\")|<root>: Unrecognized key: \"wat\"",
            ),
        ];
        for (bytes, expected) in cases {
            let home = Home::new("");
            std::fs::write(&home.paths.config_file, bytes).unwrap();
            assert_eq!(home.issues().join("|"), expected);
        }
        let home = Home::new("");
        std::fs::write(
            &home.paths.config_file,
            b"\xef\xbb\xbf{gateway: {mode: 'local'}}",
        )
        .unwrap();
        assert_eq!(
            home.load().unwrap().config.gateway.mode,
            Some(GatewayMode::Local)
        );
    }

    #[test]
    fn the_error_is_the_text_of_every_command() {
        let home = Home::new("{wat: 1}");
        let text = home.load().unwrap_err().to_string();
        let file = home.paths.config_file.display();
        assert_eq!(
            text,
            format!(
                "Config invalid\nFile: {file}\nProblem:\n  - <root>: Unrecognized key: \"wat\"\nRun: openclaw config validate"
            )
        );
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let text = "{gateway: {port: 5, handshakeTimeoutMs: 6}, logging: {level: 'warn', consoleLevel: 'debug'}}";
        let plain = Home::new(text).load().unwrap().config;
        assert_eq!(
            (plain.gateway.port, plain.gateway.handshake_timeout_ms),
            (5, 6)
        );
        assert_eq!(
            (plain.logging.level, plain.logging.console_level),
            (LogLevel::Warn, LogLevel::Debug)
        );
        let pairs = [
            ("OPENCLAW_GATEWAY_PORT", "[::1]:7"),
            ("OPENCLAW_HANDSHAKE_TIMEOUT_MS", "8"),
            ("OPENCLAW_LOG_LEVEL", "trace"),
            ("OPENCLAW_WIDE_AREA_DOMAIN", "example.test"),
        ];
        let forced = Home::with_environment(text, &pairs).load().unwrap().config;
        assert_eq!(
            (forced.gateway.port, forced.gateway.handshake_timeout_ms),
            (7, 8)
        );
        assert_eq!(
            (forced.logging.level, forced.logging.console_level),
            (LogLevel::Trace, LogLevel::Trace)
        );
        assert_eq!(
            forced.discovery.wide_area_domain.as_deref(),
            Some("example.test")
        );
        let pairs = [
            ("OPENCLAW_GATEWAY_PORT", "x"),
            ("OPENCLAW_LOG_LEVEL", "loud"),
        ];
        let ignored = Home::with_environment(text, &pairs).load().unwrap();
        assert_eq!(
            (ignored.config.gateway.port, ignored.warnings.len()),
            (5, 2)
        );
    }

    #[test]
    fn environment_sources_in_order() {
        let text = "{env: {vars: {A: 'file', B: 'file', C: 'file', D: 'file'}, E: 'file', shellEnv: {}}, \
                     gateway: {auth: {token: '${A}${B}${C}${D}${E}'}}}";
        let home = Home::with_environment(text, &[("A", "process")]);
        let working = home.write("cwd/.env", "A=cwd\nB=cwd\nOPENCLAW_GATEWAY_URL=ws://evil\n");
        home.write(".env", "A=state\nB=state\nC=state\n");
        let mut environment = home.environment.clone();
        dotenv::read(&mut environment, &working, dotenv::Origin::WorkingDirectory);
        let loaded = load(&home.paths, &environment).unwrap();
        let token = loaded.config.gateway.auth.token.plain();
        assert_eq!(token, Some("processcwdstatefilefile"));
        assert_eq!(loaded.environment.gateway_url(), None);
    }

    #[test]
    fn a_missing_variable_is_a_warning_and_fails_closed() {
        let text = "{gateway: {auth: {mode: '${MODE}', token: '${TOK}'}, trustedProxies: ['10.0.0.1', '${P}']}}";
        let loaded = Home::new(text).load().unwrap();
        assert_eq!(
            loaded.warnings,
            [
                "gateway.auth.mode",
                "gateway.auth.token",
                "gateway.trustedProxies.1"
            ]
            .into_iter()
            .zip(["MODE", "TOK", "P"])
            .map(|(path, name)| expand::warning(path, name))
            .collect::<Vec<_>>()
        );
        let gateway = loaded.config.gateway;
        assert_eq!(
            (gateway.auth.mode, gateway.trusted_proxies),
            (None, vec!["10.0.0.1".to_owned()])
        );
        assert!(gateway.auth.token.is_configured() && gateway.auth.token.plain().is_none());
        assert!(format!("{:?}", gateway.auth.token).contains("\"TOK\" is missing or empty"));
    }
}
