//! What the gateway says about the machine it runs on: its own presence row (protocol.md §9.2).

use std::fs;

use crate::gateway::presence::Row;

/// Longest text taken from the operating system, in characters.
const MAX_CHARACTERS: usize = 64;

/// The gateway's own presence row; its time stamp is set when somebody looks.
pub fn row() -> Row {
    let host = name();
    let version = env!("CARGO_PKG_VERSION");
    Row {
        text: format!("Gateway: {host} · version {version}"),
        host: Some(host),
        version: Some(version.to_owned()),
        platform: Some(platform()),
        device_family: Some(family().to_owned()),
        model_identifier: Some(architecture().to_owned()),
        mode: Some("gateway".to_owned()),
        reason: Some("self".to_owned()),
        ..Row::default()
    }
}

/// This machine's host name.
pub fn name() -> String {
    let sources = ["/proc/sys/kernel/hostname", "/etc/hostname"];
    let found = sources.into_iter().find_map(first_line);
    found.unwrap_or_else(|| "gateway".to_owned())
}

/// What people call this machine: the name its administrator gave it (machine-info(5)), else its host name up
/// to the first dot.
pub fn display_name() -> String {
    let given = fs::read_to_string("/etc/machine-info").ok();
    given.as_deref().and_then(pretty_name).unwrap_or_else(|| {
        let name = name();
        name.split('.').next().unwrap_or_default().to_owned()
    })
}

fn pretty_name(machine_info: &str) -> Option<String> {
    let mut lines = machine_info.lines();
    let value = lines.find_map(|line| line.trim().strip_prefix("PRETTY_HOSTNAME="))?;
    let value = value.trim().trim_matches(['"', '\'']);
    let value: String = value.chars().take(MAX_CHARACTERS).collect();
    (!value.trim().is_empty()).then_some(value)
}

/// Operating system and release, `linux 6.18.44`.
fn platform() -> String {
    match first_line("/proc/sys/kernel/osrelease") {
        Some(release) => format!("{} {release}", std::env::consts::OS),
        None => std::env::consts::OS.to_owned(),
    }
}

fn family() -> &'static str {
    match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Mac",
        other => other,
    }
}

/// The architecture in the words of the reference.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn first_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line: String = text
        .lines()
        .next()?
        .trim()
        .chars()
        .take(MAX_CHARACTERS)
        .collect();
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_the_administrator_gave_is_read() {
        for (text, name) in [
            (
                "PRETTY_HOSTNAME=\"Ada's Pi\"\nCHASSIS=embedded\n",
                Some("Ada's Pi"),
            ),
            ("CHASSIS=embedded\nPRETTY_HOSTNAME=Attic\n", Some("Attic")),
            ("PRETTY_HOSTNAME=\"\"\n", None),
            ("#PRETTY_HOSTNAME=x\n", None),
            ("", None),
        ] {
            assert_eq!(pretty_name(text).as_deref(), name, "{text}");
        }
    }
}
