//! `node status`, and the same block for the pages of `gateway status` and `status`: what is installed, what
//! it runs, how it runs.

use serde_json::{Map, Value, json};

use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::service::document::{Hint, hints, service};
use crate::cli::service::kind;
use crate::cli::service::place::{LAUNCHD, Place};
use crate::service::definition::SECRETS;
use crate::service::unit::Installed;
use crate::service::{Kind, Manager, Runtime, ServiceError, environment_file};

/// What stands for a secret.
const REDACTED: &str = "<redacted>";

/// One service as it was found.
pub struct Seen {
    place: Place,
    manager: Manager,
    loaded: Result<bool, ServiceError>,
    installed: Option<Installed>,
    runtime: Runtime,
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

    /// Looks at the service of a place; what its manager does not answer stays unknown.
    pub fn at(place: Place) -> Seen {
        let manager = place.manager();
        let loaded = manager.is_loaded();
        // A manager that just could not be asked says nothing else when it is asked again.
        let runtime = match &loaded {
            Ok(_) => manager.runtime(),
            Err(fault) => Runtime::unknown(fault.to_string()),
        };
        Seen {
            loaded,
            runtime,
            installed: manager.installed(),
            manager,
            place,
        }
    }

    /// `gateway` or `node`.
    pub fn noun(&self) -> &'static str {
        self.place.name.kind.word()
    }

    /// Whether it is a gateway's.
    pub fn is_gateway(&self) -> bool {
        self.place.name.kind == Kind::Gateway
    }

    /// The command that writes the unit anew.
    pub fn install_anew(&self) -> String {
        self.place.command("install --force")
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

    /// Whether there is a unit or plist.
    pub fn is_installed(&self) -> bool {
        self.installed.is_some()
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
        Some(self.installed.as_ref()?.environment.clone())
    }

    /// Services of the same kind beside this one: other profiles, or the machine's.
    pub fn others(&self) -> Vec<Value> {
        let own = self.manager.file();
        let user = self.place.beside(false);
        let files = user.into_iter().chain(self.place.beside(true));
        let files = files.filter(|file| *file != own);
        files
            .map(|file| json!({"label": self.manager.label(), "sourcePath": file}))
            .collect()
    }

    /// The block of `node status --json`.
    pub fn document(&self) -> Value {
        let mut block = service(&self.manager, self.is_loaded());
        block["command"] = self.command();
        block["runtime"] = runtime(&self.runtime);
        block
    }

    /// The block of the page `status`.
    pub fn summary(&self) -> Value {
        let ours = self.variable("OPENCLAW_SERVICE_MARKER") == Some("openclaw");
        let mut block = service(&self.manager, self.is_loaded());
        block["installed"] = json!(self.is_installed());
        block["managedByOpenClaw"] = json!(ours);
        block["runtime"] = runtime(&self.runtime);
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
        command.insert("sourcePath".to_owned(), json!(self.manager.file()));
        Value::Object(command)
    }

    /// The secrets of the environment file that the service gets.
    pub fn secrets(&self) -> Vec<(String, String)> {
        let named = self
            .installed
            .as_ref()
            .and_then(|unit| unit.environment_file.clone());
        let usual = || {
            self.place
                .name
                .kind
                .environment_file(&self.place.paths.state_dir)
        };
        environment_file::load(&named.unwrap_or_else(usual))
    }

    /// The first lines of a page.
    pub fn heading(&self) -> String {
        let (yes, no) = self.manager.loaded_words();
        let word = if self.is_loaded() { yes } else { no };
        format!("Service: {} ({word})\n", self.manager.label())
    }

    /// How it runs, in words.
    pub fn runtime_line(&self) -> String {
        format!("Runtime: {}\n", spoken(&self.runtime))
    }

    fn text(&self) -> String {
        let mut out = self.heading();
        if let Some(installed) = &self.installed {
            out += &format!("Command: {}\n", installed.arguments.join(" "));
            out += &format!("Service file: {}\n", self.manager.file().display());
            if let Some(directory) = &installed.working_directory {
                out += &format!("Working dir: {directory}\n");
            }
        }
        out += &self.runtime_line();
        if !self.is_loaded() {
            out.push('\n');
            let fault = self.loaded.as_ref().err();
            for Hint { text, .. } in hints(&self.place, fault) {
                out += &format!("Start with: {text}\n");
            }
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
        let mut notes = vec!["Service is loaded but not running.".to_owned()];
        if !LAUNCHD {
            let scope = if self.place.system { "" } else { "--user " };
            let unit = self.place.name.unit();
            notes.push(format!(
                "Logs: journalctl {scope}-u {unit} -n 200 --no-pager"
            ));
        }
        notes
    }
}

fn runtime(runtime: &Runtime) -> Value {
    let mut block = Map::new();
    let mut add = |name: &str, value: Value| {
        if !value.is_null() {
            block.insert(name.to_owned(), value);
        }
    };
    add("status", json!(runtime.status));
    add("detail", json!(runtime.detail));
    add("state", json!(runtime.state));
    add("subState", json!(runtime.sub_state));
    add("pid", json!(runtime.pid));
    add("lastExitStatus", json!(runtime.last_exit_status));
    add("lastExitReason", json!(runtime.last_exit_reason));
    add("missingUnit", json!(runtime.missing_unit.then_some(true)));
    Value::Object(block)
}

fn spoken(runtime: &Runtime) -> String {
    let parts = [
        runtime.pid.map(|pid| format!("pid {pid}")),
        runtime.state.as_ref().map(|state| format!("state {state}")),
        runtime
            .sub_state
            .as_ref()
            .map(|state| format!("sub {state}")),
        runtime
            .last_exit_status
            .map(|code| format!("last exit {code}")),
        runtime
            .last_exit_reason
            .as_ref()
            .map(|reason| format!("reason {reason}")),
        runtime.detail.clone(),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    match parts.is_empty() {
        true => runtime.status.to_owned(),
        false => format!("{} ({})", runtime.status, parts.join(", ")),
    }
}
