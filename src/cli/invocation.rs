//! A parsed command as its handler sees it: typed values by name, and the surroundings it runs in.

use crate::cli::advice::addressed;
use crate::cli::command::{Command, Flag};
use crate::cli::error::{CliError, Usage};
use crate::cli::output::Style;
use crate::cli::output::time::{DurationFault, duration_with_unit, milliseconds, parse_duration};
use crate::cli::parse::{Typed, TypedOption};
use crate::config::paths::DEV_GATEWAY_PORT;
use crate::config::word::{LogLevel, Word};
use crate::config::{Environment, Loaded, Paths};

/// One command about to run.
#[derive(Debug)]
pub struct Invocation {
    typed: Typed,
    style: Style,
    environment: Environment,
}

impl Invocation {
    /// Wraps what was typed.
    pub fn new(typed: Typed, style: Style, environment: Environment) -> Invocation {
        Invocation {
            typed,
            style,
            environment,
        }
    }

    /// The environment of the process.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The places of this run: `--dev` and `--profile` before the command, then the environment.
    ///
    /// # Errors
    /// As [`Paths::resolve`].
    pub fn paths(&self) -> Result<Paths, CliError> {
        self.paths_in(&self.environment)
    }

    /// The same in another environment, for a command that works for somebody else.
    ///
    /// # Errors
    /// As [`Paths::resolve`].
    pub fn paths_in(&self, environment: &Environment) -> Result<Paths, CliError> {
        let dev = self.global("dev").is_some() || self.has("dev");
        let found = match (dev, self.global("profile")) {
            (true, None | Some("dev")) => Paths::resolve_dev(environment),
            (true, Some(_)) => return Err(CliError::rule("Cannot combine --dev with --profile")),
            (false, profile) => Paths::resolve(environment, profile),
        };
        Ok(found?)
    }

    /// Advice whose commands mean the same files as this one: with its `--profile` or `--dev`.
    pub fn addressed(&self, advice: &str) -> String {
        let paths = self.paths().ok();
        let profile = paths.and_then(|paths| Some((paths.profile?, paths.default_port)));
        let option = match profile {
            None => return advice.to_owned(),
            Some((_, DEV_GATEWAY_PORT)) => "--dev".to_owned(),
            Some((name, _)) => format!("--profile {name}"),
        };
        // A node host's gateway is mostly on another machine, with profiles of its own.
        let group = self.name().starts_with("node ").then_some("node");
        addressed(advice, &option, group)
    }

    /// The configuration of a command that ends by itself. From here on warnings go to stderr, or what `--log-level`
    /// or `OPENCLAW_LOG_LEVEL` ask for.
    ///
    /// # Errors
    /// As [`crate::config::load()`].
    pub fn load(&self, paths: &Paths) -> Result<Loaded, CliError> {
        self.load_in(paths, &self.environment)
    }

    /// The same in another environment, for a command that works for somebody else.
    ///
    /// # Errors
    /// As [`crate::config::load()`].
    pub fn load_in(&self, paths: &Paths, environment: &Environment) -> Result<Loaded, CliError> {
        let asked = self.global("log-level").and_then(LogLevel::parse);
        let level = asked.or_else(|| self.environment.log_level().ok().flatten());
        let level = level.unwrap_or(LogLevel::Warn).filter();
        crate::cli::output::log_to_stderr(level);
        let loaded = crate::config::load(paths, environment)?;
        for warning in &loaded.warnings {
            log::warn!("{warning}");
        }
        Ok(loaded)
    }

    /// The command's row.
    pub fn command(&self) -> &'static Command {
        match self.typed.path.last() {
            Some(command) => command,
            None => &crate::cli::table::ROOT,
        }
    }

    /// The words of the command without the program's name: `nodes approve`.
    pub fn name(&self) -> String {
        let words: Vec<&str> = self.typed.path.iter().skip(1).map(|row| row.name).collect();
        words.join(" ")
    }

    /// What the terminal can show.
    pub fn style(&self) -> &Style {
        &self.style
    }

    /// Whether the command's `--json` was given.
    pub fn json(&self) -> bool {
        self.has("json")
    }

    /// Whether an option of the command was given.
    pub fn has(&self, name: &str) -> bool {
        self.own(name).next().is_some()
    }

    /// The last value of an option of the command as typed.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.own(name).last().map(|option| option.value.as_str())
    }

    /// The value of an option, trimmed; empty counts as absent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name)
            .map(str::trim)
            .filter(|text| !text.is_empty())
    }

    /// All values of a repeatable option, trimmed, without empty ones.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.own(name)
            .map(|option| option.value.trim())
            .filter(|text| !text.is_empty())
            .collect()
    }

    /// An option in whole milliseconds: as typed, else its default in the table, else zero.
    pub fn milliseconds(&self, name: &str) -> u64 {
        let typed = self.value(name).or_else(|| self.row(name)?.default);
        typed.and_then(milliseconds).unwrap_or(0)
    }

    /// An option that is a port.
    pub fn port(&self, name: &str) -> Option<u16> {
        self.value(name)?.trim().parse().ok()
    }

    /// An option that is a duration with its unit, in milliseconds.
    ///
    /// # Errors
    /// `Invalid --<name>: invalid duration: …` or `Invalid --<name>: name a unit, e.g. 3m`.
    pub fn duration(&self, name: &'static str) -> Result<Option<u64>, CliError> {
        self.duration_by(name, duration_with_unit)
    }

    /// The same for an option of OpenClaw, where a bare number is milliseconds (cli.md §1.6).
    ///
    /// # Errors
    /// `Invalid --<name>: invalid duration: …`.
    pub fn duration_or_milliseconds(&self, name: &'static str) -> Result<Option<u64>, CliError> {
        self.duration_by(name, parse_duration)
    }

    fn duration_by(
        &self,
        name: &'static str,
        parse: fn(&str) -> Result<u64, DurationFault>,
    ) -> Result<Option<u64>, CliError> {
        let parsed = self.value(name).map(parse).transpose();
        Ok(parsed.map_err(|fault| Usage::BadDuration(name, fault))?)
    }

    /// A positional argument, trimmed; empty counts as absent.
    pub fn argument(&self, index: usize) -> Option<&str> {
        let text = self.typed.arguments.get(index)?.trim();
        (!text.is_empty()).then_some(text)
    }

    /// A positional argument that must be there.
    ///
    /// # Errors
    /// `error: missing required argument '…'` when it is empty.
    pub fn required_argument(&self, index: usize) -> Result<&str, CliError> {
        let name = self
            .command()
            .arguments
            .get(index)
            .map_or("", |row| row.name);
        let missing = || CliError::Usage(Usage::MissingArgument(name));
        self.argument(index).ok_or_else(missing)
    }

    /// All positional arguments as typed.
    pub fn arguments(&self) -> &[String] {
        &self.typed.arguments
    }

    /// The value of a global option; empty text for a switch that was given.
    pub fn global(&self, name: &str) -> Option<&str> {
        global(&self.typed, name)
    }

    fn own<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a TypedOption> {
        let options = self.typed.options.iter();
        options.filter(move |option| !option.global && option.flag.long == name)
    }

    fn row(&self, name: &str) -> Option<&'static Flag> {
        self.command().own_flags().find(|flag| flag.long == name)
    }
}

/// The value of a global option among what was typed.
pub fn global<'a>(typed: &'a Typed, name: &str) -> Option<&'a str> {
    let options = typed.options.iter().rev();
    options
        .filter(|option| option.global && option.flag.long == name)
        .map(|option| option.value.as_str())
        .next()
}
