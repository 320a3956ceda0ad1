//! `node status`, and the same block for the pages of `gateway status` and `status`: what is installed, what
//! it runs, how it runs.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::service::document::{Hint, hints, service};
use crate::cli::service::kind;
use crate::cli::service::place::{LAUNCHD, Place};
use crate::cli::service::runtime;
use crate::service::account::Account;
use crate::service::definition::SECRETS;
use crate::service::unit::Installed;
use crate::service::{Kind, Manager, Runtime, ServiceError, Socket, UnitFile, environment_file};

/// What stands for a secret.
const REDACTED: &str = "<redacted>";

/// One service as it was found.
pub struct Seen {
    place: Place,
    manager: Manager,
    /// The unit file that counts.
    source: Option<UnitFile>,
    loaded: Result<bool, ServiceError>,
    installed: Option<Installed>,
    runtime: Runtime,
    socket: Option<Socket>,
}

/// Shows the node host's service. Exit code 0 whatever is found.
///
/// # Errors
/// Places that cannot be found.
pub fn status(invocation: &Invocation) -> Result<Answer, CliError> {
    let seen = Seen::look(invocation, kind(invocation))?;
    let mut answer = Answer::new(json!({"service": seen.document()}), seen.text());
    answer.notes = seen.notes();
    Ok(answer)
}

impl Seen {
    /// Looks at a service.
    ///
    /// # Errors
    /// Places that cannot be found.
    pub fn look(invocation: &Invocation, kind: Kind) -> Result<Seen, CliError> {
        Place::of(invocation, kind).map(Seen::at)
    }

    /// Looks at the service of a place; what its manager does not answer stays unknown. Where nobody has enabled a unit
    /// of a package, it may be the machine's that somebody started.
    pub fn at(place: Place) -> Seen {
        let machine = place.of_the_machine();
        let started = |seen: &Seen| seen.is_running() == Some(true);
        let seen = Seen::ask(place);
        if seen.is_in_use() || seen.place.system || !machine.is_offered() {
            return seen;
        }
        Some(Seen::ask(machine)).filter(started).unwrap_or(seen)
    }

    fn ask(place: Place) -> Seen {
        let manager = place.manager();
        let loaded = manager.is_loaded();
        // A manager that just could not be asked says nothing else when it is asked again.
        let (runtime, socket) = match &loaded {
            Ok(_) => (manager.runtime(), manager.socket()),
            Err(fault) => (Runtime::unknown(fault.to_string()), None),
        };
        Seen {
            loaded,
            runtime,
            socket,
            source: manager.source(),
            installed: manager.installed(),
            manager,
            place,
        }
    }

    /// The service that was looked at.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The unit file that counts.
    pub fn source(&self) -> Option<&UnitFile> {
        self.source.as_ref()
    }

    /// Whether it is a unit that no install of this program wrote.
    pub fn is_of_a_package(&self) -> bool {
        let source = self.source.as_ref();
        source.is_some_and(|source| source.whose().is_some())
    }

    /// Whether the unit was written for this service, is enabled or runs; one that a package only offers is not in use.
    fn is_in_use(&self) -> bool {
        self.place.is_set_up() || self.is_loaded() || self.is_running() == Some(true)
    }

    /// The socket that starts it.
    pub fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }

    /// Whose account runs it, where that is another one than this command's.
    pub fn other_account(&self) -> Option<String> {
        let runner = self.place.runner(self.installed.as_ref()?)?;
        (Some(&runner) != Account::own().map(|own| own.name).as_ref()).then_some(runner)
    }

    /// `gateway` or `node`.
    pub fn noun(&self) -> &'static str {
        self.place.name.kind.word()
    }

    /// Whether it is a gateway's.
    pub fn is_gateway(&self) -> bool {
        self.place.name.kind == Kind::Gateway
    }

    /// The command that makes the unit another one: it is written anew, or a package's is added to.
    pub fn change(&self) -> String {
        if self.is_of_a_package() {
            return self.place.systemctl("edit");
        }
        let runner = self
            .installed
            .as_ref()
            .and_then(|unit| self.place.runner(unit));
        match runner.filter(|_| self.place.system) {
            Some(runner) => {
                let command = self.place.command_as_owner("install --force");
                format!("{command} --run-as {runner}")
            }
            None => self.place.command("install --force"),
        }
    }

    /// The command that takes a secret out of the file that the service is given.
    pub fn forget(&self, variable: &str) -> String {
        let file = self.secrets_file();
        let root = if self.place.system { "sudo " } else { "" };
        let restart = self.place.command_as_owner("restart");
        format!(
            "{root}sed -i '/^{variable}=/d' {} && {restart}",
            file.display()
        )
    }

    /// The program of the unit.
    pub fn program(&self) -> Option<String> {
        self.installed.as_ref()?.arguments.first().cloned()
    }

    /// Whether the unit bounds the memory of the service.
    pub fn is_bounded(&self) -> bool {
        let unit = self.installed.as_ref();
        unit.is_some_and(|unit| unit.memory_max.is_some())
    }

    /// Whether it starts by itself; `None` when its manager cannot be asked.
    pub fn is_enabled(&self) -> Option<bool> {
        self.loaded.as_ref().ok().copied()
    }

    /// Whether it runs; `None` when its manager does not say.
    pub fn is_running(&self) -> Option<bool> {
        match self.runtime.status {
            "running" => Some(true),
            "stopped" => Some(false),
            _ => None,
        }
    }

    fn is_loaded(&self) -> bool {
        matches!(self.loaded, Ok(true))
    }

    /// Whether there is a unit or plist, and not only one that a package offers.
    pub fn is_installed(&self) -> bool {
        self.installed.is_some() && self.is_in_use()
    }

    /// The variable of the unit, when it has it.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let installed = self.installed.as_ref()?;
        let mut pairs = installed.environment.iter();
        pairs
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// All variables of the unit; `None` without one.
    pub fn variables(&self) -> Option<Vec<(String, String)>> {
        Some(self.place.variables(self.installed.as_ref()?))
    }

    /// Services of the same kind beside this one: other profiles, or the machine's.
    pub fn others(&self) -> Vec<Value> {
        let own = self.source.as_ref().map(|source| &source.path);
        let user = self.place.beside(false);
        let files = user.into_iter().chain(self.place.beside(true));
        let files = files.filter(|file| Some(file) != own);
        files
            .map(|file| json!({"label": self.manager.label(), "sourcePath": file}))
            .collect()
    }

    /// The block of `node status --json`.
    pub fn document(&self) -> Value {
        let mut block = service(&self.manager, self.is_loaded());
        block["command"] = self.command();
        block["runtime"] = runtime::document(&self.runtime);
        if let (Some(source), false) = (&self.source, LAUNCHD) {
            let package = source.is_packaged.then_some("openclaw");
            let scope = if self.place.system { "system" } else { "user" };
            block["unit"] = json!({"name": self.place.unit, "scope": scope, "supplier": source.supplier.word(),
                "package": package, "dropIns": source.drop_ins});
        }
        if let Some(socket) = &self.socket {
            block["socket"] = json!({"name": socket.unit, "enabled": socket.enabled, "listening": socket.listening,
                "addresses": socket.addresses});
        }
        block
    }

    /// The block of the page `status`.
    pub fn summary(&self) -> Value {
        let ours = self.variable("OPENCLAW_SERVICE_MARKER") == Some("openclaw");
        let mut block = service(&self.manager, self.is_loaded());
        block["installed"] = json!(self.is_installed());
        block["managedByOpenClaw"] = json!(ours);
        block["runtime"] = runtime::document(&self.runtime);
        block
    }

    /// The summary in one line.
    pub fn line(&self) -> String {
        let (yes, no) = self.manager.loaded_words();
        let word = match (self.is_installed(), self.is_loaded()) {
            (false, _) => "not installed",
            (true, true) => yes,
            (true, false) => no,
        };
        format!(
            "{} · {word} · {}",
            self.manager.label(),
            self.runtime.status
        )
    }

    fn command(&self) -> Value {
        let Some(installed) = &self.installed else {
            return Value::Null;
        };
        let mut environment = Map::new();
        let mut sources = Map::new();
        let secret = |name: &str| SECRETS.contains(&name);
        for (name, value) in &installed.environment {
            let shown = if secret(name) {
                REDACTED
            } else {
                value.as_str()
            };
            environment.insert(name.clone(), json!(shown));
            sources.insert(name.clone(), json!("inline"));
        }
        for (name, _) in self.secrets() {
            environment.insert(name.clone(), json!(REDACTED));
            sources.insert(name, json!("file"));
        }
        let mut command = Map::new();
        command.insert("programArguments".to_owned(), json!(installed.arguments));
        if let Some(directory) = &installed.working_directory {
            command.insert("workingDirectory".to_owned(), json!(directory));
        }
        command.insert("environment".to_owned(), Value::Object(environment));
        command.insert("environmentValueSources".to_owned(), Value::Object(sources));
        let source = self.source.as_ref().map(|source| &source.path);
        command.insert("sourcePath".to_owned(), json!(source));
        Value::Object(command)
    }

    /// The secrets of the environment file that the service gets.
    pub fn secrets(&self) -> Vec<(String, String)> {
        environment_file::load(&self.secrets_file())
    }

    fn secrets_file(&self) -> PathBuf {
        let unit = self.installed.as_ref();
        let named = unit.and_then(|unit| unit.environment_file.clone());
        let state = || match self.place.served() {
            Some((_, paths)) => paths.state_dir,
            None => self.place.paths.state_dir.clone(),
        };
        named.unwrap_or_else(|| self.place.name.kind.environment_file(&state()))
    }

    /// The first lines of a page.
    pub fn heading(&self) -> String {
        let (yes, no) = self.manager.loaded_words();
        let word = if self.is_loaded() { yes } else { no };
        format!("Service: {} ({word})\n", self.manager.label())
    }

    /// Which unit it is, and what starts it, in words.
    pub fn unit_lines(&self) -> String {
        let Some(source) = &self.source else {
            return String::new();
        };
        let whose = source.whose().map(|whose| format!(" ({whose})"));
        let mut out = format!(
            "Service file: {}{}\n",
            source.path.display(),
            whose.unwrap_or_default()
        );
        for drop_in in &source.drop_ins {
            out += &format!("Drop-ins (not read here): {}\n", drop_in.display());
        }
        let used = |socket: &&Socket| socket.enabled || socket.listening;
        if let Some(socket) = self.socket.as_ref().filter(used) {
            let enabled = if socket.enabled {
                "enabled"
            } else {
                "disabled"
            };
            let listening = if socket.listening {
                "listening"
            } else {
                "closed"
            };
            out += &format!("Socket: {} ({enabled}, {listening})\n", socket.unit);
        }
        out
    }

    /// What to type so that it starts by itself; nothing where it does.
    pub fn start_lines(&self) -> String {
        if self.is_loaded() {
            return String::new();
        }
        let hints = hints(&self.place, self.loaded.as_ref().err());
        let lines = hints
            .iter()
            .map(|Hint { text, .. }| format!("Start with: {text}\n"));
        lines.collect()
    }

    /// How it runs, in words.
    pub fn runtime_line(&self) -> String {
        format!("Runtime: {}\n", runtime::text(&self.runtime))
    }

    fn text(&self) -> String {
        let mut out = self.heading();
        if let Some(installed) = &self.installed {
            out += &format!("Command: {}\n", installed.arguments.join(" "));
            out += &self.unit_lines();
            if let Some(directory) = &installed.working_directory {
                out += &format!("Working dir: {directory}\n");
            }
        }
        out += &self.runtime_line();
        let start = self.start_lines();
        if !start.is_empty() {
            out += &format!("\n{start}");
        }
        out
    }

    /// What is wrong with a service that should run.
    pub fn notes(&self) -> Vec<String> {
        if !self.is_loaded() || self.runtime.status == "running" {
            return Vec::new();
        }
        if self.runtime.missing_unit {
            return vec!["Service unit not found.".to_owned()];
        }
        if let Some(socket) = self.socket.as_ref().filter(|socket| socket.listening) {
            return vec![format!(
                "The first connection to {} starts it.",
                socket.unit
            )];
        }
        let mut notes = vec!["Service is loaded but not running.".to_owned()];
        if !LAUNCHD {
            let scope = if self.place.system { "" } else { "--user " };
            let unit = &self.place.unit;
            notes.push(format!(
                "Logs: journalctl {scope}-u {unit} -n 200 --no-pager"
            ));
        }
        notes
    }
}
