//! Loading: file, includes, environment sources, variables, validation, typed view, in this order.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::config::build::Builder;
use crate::config::environment::{DotenvOrigin, Environment};
use crate::config::error::{ConfigError, Issue};
use crate::config::expand::{self, Missing};
use crate::config::include;
use crate::config::model::Config;
use crate::config::paths::Paths;
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
/// [`ConfigError::File`] when the file cannot be read, [`ConfigError::Invalid`] with every issue.
pub fn load(paths: &Paths, environment: &Environment) -> Result<Loaded, ConfigError> {
    let draft = read(paths, environment)?;
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
/// As [`load`], but [`ConfigError::Invalid`] only when the text is no JSON5 object or an include fails.
pub fn read(paths: &Paths, environment: &Environment) -> Result<Draft, ConfigError> {
    let bytes = source::read(&paths.config_file)?;
    let text = match &bytes {
        Some(bytes) => Some(source::decode(bytes).map_err(|issue| invalid(paths, vec![issue]))?),
        None => None,
    };
    draft(text, paths, environment).map_err(|issues| invalid(paths, issues))
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
    let document = match text {
        Some(text) => source::parse(text).map_err(|issue| vec![issue])?,
        None => Value::Object(Map::new()),
    };
    let mut document = include::resolve(document, &paths.config_file)?;
    let mut environment = environment.clone();
    environment.read_dotenv(&paths.state_dir.join(".env"), DotenvOrigin::StateDir);
    apply_env_block(&document, &mut environment);
    let missing = expand::expand(&mut document, &environment);
    Ok(Draft {
        document,
        missing,
        environment,
        exists: text.is_some(),
    })
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
