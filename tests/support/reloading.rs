//! A running gateway whose configuration is edited.

use super::PATIENCE;
use super::home::Home;
use super::process::{Gateway, SECRET, free_port};

/// The configuration of a gateway with further members of `gateway`.
pub fn config(port: u16, secret: &str, more: &str) -> String {
    format!(
        r#"{{ gateway: {{ mode: "local", port: {port}, reload: {{ debounceMs: 10 }},
              auth: {{ mode: "token", token: "{secret}" }}, {more} }} }}"#
    )
}

pub fn start(more: &str) -> Gateway {
    let port = free_port();
    let home = Home::new();
    home.write_config(&config(port, SECRET, more));
    Gateway::start_at(home, port)
}

/// Replaces the configuration as editors do: beside it, then renamed over it.
pub fn replace(gateway: &Gateway, text: &str) {
    gateway.home.write("openclaw.json.new", text.as_bytes());
    let state = gateway.home.state();
    std::fs::rename(state.join("openclaw.json.new"), state.join("openclaw.json")).unwrap();
}

/// Waits until the log holds `line` for the `times`th time.
#[track_caller]
pub fn logged(gateway: &Gateway, line: &str, times: usize) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while gateway.process.output().matches(line).count() < times {
        assert!(
            std::time::Instant::now() < deadline,
            "not {times} times {line:?} in:\n{}",
            gateway.process.output()
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

pub fn applied(keys: &str) -> String {
    format!("[reload] config change applied ({keys})")
}
