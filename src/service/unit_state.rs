//! What `systemctl show` says of a unit.

use crate::service::manager::{Runtime, Socket};

/// A property in an answer of `systemctl show`, unless it is empty.
fn property<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once('='));
    let (_, value) = lines.find(|(key, _)| *key == name)?;
    (!value.is_empty()).then_some(value)
}

/// How a service runs.
pub fn runtime(text: &str) -> Runtime {
    let property = |name| property(text, name).map(str::to_owned);
    let state = property("ActiveState");
    let status = match state.as_deref() {
        Some("active" | "reloading") => "running",
        Some(_) => "stopped",
        None => "unknown",
    };
    Runtime {
        status,
        detail: None,
        state,
        sub_state: property("SubState"),
        pid: property("MainPID")
            .and_then(|pid| pid.parse().ok())
            .filter(|pid| *pid != 0),
        last_exit_status: property("ExecMainStatus").and_then(|code| code.parse().ok()),
        last_exit_reason: property("ExecMainCode"),
        missing_unit: property("LoadState").as_deref() == Some("not-found"),
    }
}

/// How a socket stands.
pub fn socket(unit: String, text: &str) -> Socket {
    let is = |name, values: &[&str]| property(text, name).is_some_and(|it| values.contains(&it));
    Socket {
        enabled: is("UnitFileState", &["enabled", "enabled-runtime"]),
        listening: is("ActiveState", &["active"]),
        addresses: text
            .lines()
            .filter_map(|line| line.strip_prefix("Listen="))
            .filter_map(|value| value.strip_suffix(" (Stream)"))
            .map(str::to_owned)
            .collect(),
        unit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_unit_is_read() {
        let show = "ActiveState=active\nSubState=running\nMainPID=4242\nExecMainStatus=0\nExecMainCode=0\nLoadState=loaded\n";
        let found = runtime(show);
        assert_eq!(
            (found.status, found.pid, found.last_exit_status),
            ("running", Some(4_242), Some(0))
        );
        assert_eq!(found.last_exit_reason.as_deref(), Some("0"));
        let gone = runtime("ActiveState=inactive\nSubState=dead\nMainPID=0\nLoadState=not-found\n");
        assert_eq!(
            (gone.status, gone.pid, gone.missing_unit),
            ("stopped", None, true)
        );
        assert_eq!(runtime("").status, "unknown");
    }

    #[test]
    fn the_addresses_of_a_socket_are_read() {
        let text = "ActiveState=active\nListen=127.0.0.1:18789 (Stream)\nListen=[::1]:18789 (Stream)\nListen=[::1]:53 (Datagram)\n";
        let found = socket("a.socket".to_owned(), text);
        assert_eq!(found.addresses, ["127.0.0.1:18789", "[::1]:18789"]);
        let ports = [18_789, 8_789, 53].map(|port| found.has_port(port));
        assert_eq!(ports, [true, false, false]);
    }

    #[test]
    fn the_state_of_a_socket_is_read() {
        for (text, enabled, listening) in [
            ("ActiveState=active\nUnitFileState=enabled\n", true, true),
            ("ActiveState=active\nUnitFileState=disabled\n", false, true),
            (
                "ActiveState=inactive\nUnitFileState=enabled-runtime\n",
                true,
                false,
            ),
            ("ActiveState=failed\nUnitFileState=\n", false, false),
            ("", false, false),
        ] {
            let found = socket("a.socket".to_owned(), text);
            assert_eq!(
                (found.enabled, found.listening),
                (enabled, listening),
                "{text}"
            );
        }
    }
}
