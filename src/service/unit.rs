//! The systemd unit of a service, as text; and reading back what a unit on the disk says.

use std::path::{Path, PathBuf};

use crate::service::definition::{Definition, Scope, text};
use crate::service::error::ServiceError;
use crate::service::hardening;
use crate::service::name::Kind;
use crate::service::quote::{argument, literal_path, rest_of_line, word, words};

/// Seconds without a sign of life after which systemd restarts the process.
pub const WATCHDOG_SECONDS: u32 = 60;

/// The unit file of a service.
///
/// # Errors
/// [`ServiceError::LineBreak`] for a value with a line break, [`ServiceError::NotText`] for a path that is no text.
pub fn render(definition: &Definition) -> Result<String, ServiceError> {
    let mut lines = vec![
        "[Unit]".to_owned(),
        format!(
            "Description={}",
            rest_of_line("the profile", &definition.name.description())?
        ),
        "After=network-online.target".to_owned(),
        "Wants=network-online.target".to_owned(),
    ];
    match definition.name.kind {
        Kind::Gateway => {
            lines.push("StartLimitBurst=5".to_owned());
            lines.push("StartLimitIntervalSec=60".to_owned());
        }
        // A node host with refused credentials exits to be started again with others, however often.
        Kind::Node => lines.push("StartLimitIntervalSec=0".to_owned()),
    }
    lines.extend([String::new(), "[Service]".to_owned()]);
    lines.extend(owner(&definition.scope)?);
    lines.push(format!("ExecStart={}", exec_start(definition)?));
    lines.extend(supervision(definition.program.wrapped));
    lines.extend(
        [
            "Restart=always",
            "RestartSec=5",
            "RestartPreventExitStatus=78",
            "TimeoutStopSec=30",
            "TimeoutStartSec=30",
            "SuccessExitStatus=0 143",
            "KillMode=control-group",
        ]
        .map(str::to_owned),
    );
    for (name, value) in &definition.environment {
        lines.push(format!(
            "Environment={}",
            word(name, &format!("{name}={value}"))?
        ));
    }
    let secrets = text(&definition.environment_file())?;
    lines.push(format!(
        "EnvironmentFile=-{}",
        literal_path("the state directory", &secrets)?
    ));
    lines.extend(hardening::lines(definition)?);
    let target = match definition.scope {
        Scope::System(_) => "multi-user.target",
        Scope::User(_) => "default.target",
    };
    lines.extend([
        String::new(),
        "[Install]".to_owned(),
        format!("WantedBy={target}"),
    ]);
    Ok(lines.join("\n") + "\n")
}

fn owner(scope: &Scope) -> Result<Vec<String>, ServiceError> {
    let Scope::System(account) = scope else {
        return Ok(Vec::new());
    };
    Ok(vec![format!(
        "User={}",
        rest_of_line("the user", &account.name)?
    )])
}

/// The path of the executable is no argument: systemd expands nothing in it but `%`.
fn exec_start(definition: &Definition) -> Result<String, ServiceError> {
    let program = text(&definition.program.executable)?;
    let mut line = word("the path of the program", &program)?;
    for value in &definition.program.arguments {
        line.push(' ');
        line += &argument(value, value)?;
    }
    Ok(line)
}

fn supervision(wrapped: bool) -> Vec<String> {
    let watchdog = format!("WatchdogSec={WATCHDOG_SECONDS}");
    let lines = match wrapped {
        false => vec!["Type=notify", "NotifyAccess=main", &watchdog],
        true => vec![
            "Type=notify",
            "# The wrapper may start the program as its child, which then is not the process that a watchdog asks.",
            "NotifyAccess=all",
        ],
    };
    lines.into_iter().map(str::to_owned).collect()
}

/// What a unit on the disk says about its service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// The words of the last `ExecStart=`.
    pub arguments: Vec<String>,
    /// `Environment=`, in order; a later one of the same name wins.
    pub environment: Vec<(String, String)>,
    /// `EnvironmentFile=` of the unit, when it names exactly one file.
    pub environment_file: Option<PathBuf>,
    /// `MemoryMax=`; `None` where the service may take all memory.
    pub memory_max: Option<String>,
    /// `User=`: whom the machine's manager runs it as.
    pub user: Option<String>,
    /// `WorkingDirectory=`.
    pub working_directory: Option<String>,
}

/// What the specifiers stand for that units of packages use; others are left as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Specifiers {
    /// `%h`: the home of the manager's user.
    pub home: String,
    /// `%i`: what is behind the `@` of the unit's name.
    pub instance: String,
}

impl Specifiers {
    fn expand(&self, value: &str) -> String {
        let mut out = String::new();
        let mut rest = value.chars();
        while let Some(character) = rest.next() {
            if character != '%' {
                out.push(character);
                continue;
            }
            match rest.next() {
                Some('h') => out += &self.home.replace('%', "%%"),
                Some('i') => out += &self.instance.replace('%', "%%"),
                other => {
                    out.push('%');
                    out.extend(other);
                }
            }
        }
        out
    }
}

/// Reads a unit file: ours, the reference's or a package's. Drop-ins are not looked at.
pub fn read(text: &str, specifiers: &Specifiers) -> Installed {
    let mut found = Installed::default();
    let mut in_service = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_service = line == "[Service]";
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| in_service) else {
            continue;
        };
        let value = &specifiers.expand(value.trim());
        match key.trim() {
            "ExecStart" => found.arguments = words(value, true),
            "Environment" => {
                for assignment in words(value, false) {
                    if let Some((name, value)) = assignment.split_once('=') {
                        found.environment.retain(|(known, _)| known != name);
                        found.environment.push((name.to_owned(), value.to_owned()));
                    }
                }
            }
            "EnvironmentFile" => {
                let path = value.trim_start_matches('-').replace("%%", "%");
                found.environment_file = Some(Path::new(&unescaped(&path)).to_owned());
            }
            "MemoryMax" => {
                let bounded = !matches!(value.as_str(), "" | "infinity");
                found.memory_max = bounded.then(|| value.to_owned());
            }
            "User" => found.user = Some(value.to_owned()).filter(|name| !name.is_empty()),
            "WorkingDirectory" => found.working_directory = Some(value.replace("%%", "%")),
            _ => {}
        }
    }
    found
}

fn unescaped(path: &str) -> String {
    let mut out = String::new();
    let mut rest = path.chars();
    while let Some(character) = rest.next() {
        match character {
            '\\' => out.extend(rest.next()),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
#[path = "unit_tests.rs"]
mod tests;
