//! A node host with a browser, connected to a gateway that the test plays.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::home::Home;
use crate::support::process::{Running, command, free_port};
use crate::support::scripted::{Caller, Scripted, node_host};
use crate::support::{PATIENCE, wait_for};

/// A node host and its gateway.
pub struct Node {
    pub home: Home,
    pub host: Running,
    pub caller: Caller,
    pub port: u16,
    /// A browser that somebody else started.
    stranger: Option<(Running, Home)>,
    _gateway: Scripted,
}

/// The settings that most tests want: pages on loopback, no sandbox where tests run as root.
pub const OPEN: &str = "ssrfPolicy: { dangerouslyAllowPrivateNetwork: true }";

impl Node {
    /// A node host whose pages may be on loopback.
    pub fn start() -> Node {
        Self::with(OPEN, "")
    }

    /// The same with other members of `browser` and of the whole configuration.
    pub fn with(browser: &str, more: &str) -> Node {
        let (home, port) = (Home::new(), free_port());
        home.write_config(&config(port, browser, more));
        Self::at(home, port)
    }

    /// A node host on a home that stands.
    pub fn at(home: Home, port: u16) -> Node {
        Self::given(home, port, &[])
    }

    /// The same with these environment variables.
    pub fn given(home: Home, port: u16, environment: &[(&str, &str)]) -> Node {
        let gateway = Scripted::new();
        let own = gateway.port().to_string();
        let host = node_host(&home, environment, &["--port", &own]);
        let caller = gateway.caller().welcome(None, 30_000);
        Node {
            home,
            host,
            caller,
            port,
            stranger: None,
            _gateway: gateway,
        }
    }

    /// A node host that uses a browser which the test started with these flags.
    pub fn attached(flags: &[&str], browser: &str) -> Node {
        let (place, port) = (Home::new(), free_port());
        let mut line = command(Path::new("chromium"), &place);
        line.args(["--headless=new", "--disable-gpu", "--no-first-run"])
            .args(["--disable-dev-shm-usage", "--disable-background-networking"])
            .arg(format!(
                "--user-data-dir={}",
                place.path().join("data").display()
            ))
            .arg(format!("--remote-debugging-port={port}"))
            .args(
                rustix::process::geteuid()
                    .is_root()
                    .then_some("--no-sandbox"),
            )
            .args(flags)
            .arg("about:blank");
        let mut stranger = Running::start_group(line);
        stranger.wait_for_output("DevTools listening on");
        let home = Home::new();
        let browser = format!("{browser}, cdpUrl: \"http://127.0.0.1:{port}\"");
        home.write_config(&config(port, &browser, ""));
        let mut node = Self::at(home, port);
        node.stranger = Some((stranger, place));
        node
    }

    /// One request; its payload or the text of its error.
    pub fn ask(&mut self, request: &Value) -> Result<Value, String> {
        payload(&self.caller.invoke("browser.proxy", request))
    }

    pub fn get(&mut self, path: &str) -> Result<Value, String> {
        self.result(&json!({"path": path, "timeoutMs": 60_000}))
    }

    pub fn get_with(&mut self, path: &str, query: Value) -> Result<Value, String> {
        self.result(&json!({"path": path, "query": query, "timeoutMs": 60_000}))
    }

    pub fn post(&mut self, path: &str, body: Value) -> Result<Value, String> {
        self.whole(path, body)
            .map(|payload| payload["result"].clone())
    }

    pub fn delete(&mut self, path: &str) -> Result<Value, String> {
        self.result(&json!({"method": "DELETE", "path": path, "timeoutMs": 60_000}))
    }

    /// The whole payload of a request with a body: its result and its files.
    pub fn whole(&mut self, path: &str, body: Value) -> Result<Value, String> {
        self.ask(&json!({"method": "POST", "path": path, "body": body, "timeoutMs": 60_000}))
    }

    fn result(&mut self, request: &Value) -> Result<Value, String> {
        self.ask(request).map(|payload| payload["result"].clone())
    }

    /// Sends the current tab to a page and gives the result.
    #[track_caller]
    pub fn show(&mut self, url: &str) -> Value {
        self.post("/navigate", json!({"url": url})).unwrap()
    }

    /// The browser's process id.
    pub fn pid(&mut self) -> u32 {
        let status = self.get("/").unwrap();
        u32::try_from(status["pid"].as_u64().expect("a browser that runs")).unwrap()
    }

    /// Where the browser of the usual profile keeps its things.
    pub fn user_data(&self) -> std::path::PathBuf {
        self.home.state().join("browser/openclaw/user-data")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let user_data = self.user_data();
        self.host.kill();
        if let Some((browser, place)) = &mut self.stranger {
            browser.kill();
            let data = place.path().join("data");
            wait_for("the browser of another to end", || no_process_of(&data));
        }
        // Its browser goes with it; what is left of it would write into a directory that is being removed.
        let deadline = Instant::now() + PATIENCE;
        while !processes_of(&user_data).is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let left = processes_of(&user_data);
        for pid in &left {
            kill(*pid);
        }
        assert!(
            left.is_empty() || std::thread::panicking(),
            "its browser outlived its node host"
        );
    }
}

/// Kills one process.
pub fn kill(pid: u32) {
    let status = std::process::Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status();
    status.unwrap();
}

/// `Some` when no process has this directory among its arguments.
pub fn no_process_of(directory: &Path) -> Option<()> {
    processes_of(directory).is_empty().then_some(())
}

/// The processes that have this directory among their arguments.
pub fn processes_of(directory: &Path) -> Vec<u32> {
    let directory = directory.display().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let arguments = std::fs::read(entry.path().join("cmdline")).ok()?;
            String::from_utf8_lossy(&arguments)
                .contains(&directory)
                .then_some(pid)
        })
        .collect()
}

/// The configuration of a node host whose browser is debugged at `port`.
pub fn config(port: u16, browser: &str, more: &str) -> String {
    let root = rustix::process::geteuid().is_root();
    format!(
        "{{ browser: {{ cdpPortRangeStart: {port}, headless: true, noSandbox: {root}, {browser} }}, {more} }}"
    )
}

/// The payload of a result of `browser.proxy`, or its error's message.
pub fn payload(result: &Value) -> Result<Value, String> {
    if result["ok"] == true {
        let text = result["payloadJSON"].as_str().expect("a text");
        return Ok(serde_json::from_str(text).unwrap());
    }
    assert_eq!(result["error"]["code"], "INVALID_REQUEST", "{result}");
    let message = result["error"]["message"].as_str().unwrap();
    Err(message.to_owned())
}
