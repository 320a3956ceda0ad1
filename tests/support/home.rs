//! A temporary home directory with a state directory inside, removed on drop.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// One user's home on one machine: `HOME`, the state directory and `TMPDIR`.
pub struct Home {
    root: PathBuf,
}

impl Home {
    pub fn new() -> Home {
        let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
        let root =
            std::env::temp_dir().join(format!("openclaw-test-{}-{unique}", std::process::id()));
        std::fs::create_dir_all(root.join("tmp")).unwrap();
        Home { root }
    }

    /// A home whose gateway listens on `port` and asks for `token`.
    pub fn with_gateway(port: u16, token: &str) -> Home {
        let home = Home::new();
        home.write_config(&format!(
            r#"{{ gateway: {{ mode: "local", port: {port}, auth: {{ mode: "token", token: "{token}" }} }} }}"#
        ));
        home
    }

    /// The same with TLS on the port; `tls` are more members of `gateway.tls`.
    pub fn with_tls_gateway(port: u16, token: &str, tls: &str) -> Home {
        let home = Home::new();
        home.write_config(&format!(
            r#"{{ gateway: {{ mode: "local", port: {port}, tls: {{ enabled: true, {tls} }},
                 auth: {{ mode: "token", token: "{token}" }} }} }}"#
        ));
        home
    }

    pub fn path(&self) -> &Path {
        &self.root
    }

    pub fn temp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub fn state(&self) -> PathBuf {
        self.root.join(".openclaw")
    }

    pub fn write_config(&self, text: &str) {
        self.write("openclaw.json", text.as_bytes());
    }

    /// Writes a file below the state directory, creating its folders.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.state().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.state().join(name)).unwrap_or_default()
    }

    /// The file as JSON; `null` when it is missing.
    pub fn json(&self, name: &str) -> Value {
        let text = self.read(name);
        if text.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::env::var_os("OPENCLAW_TEST_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}
