//! A person's machine with this program's command line, and what stands around a node host at a gateway of the
//! reference.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::reference::{self, wait_long};
use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::network::{Network, Place};
use crate::support::peer::{ALL_SCOPES, Peer, operator_params};
use crate::support::process::{Outcome, Running, SECRET, command, program};

/// An operator's machine, for this program's command line.
pub struct Operator<'a> {
    pub home: Home,
    pub port: u16,
    pub secret: &'static str,
    /// Where the gateway lives, when it is not on this host.
    pub network: Option<&'a Network>,
}

impl Operator<'_> {
    pub fn new(port: u16) -> Operator<'static> {
        Operator {
            home: Home::new(),
            port,
            secret: SECRET,
            network: None,
        }
    }

    pub fn run(&self, arguments: &[&str]) -> Outcome {
        let url = self.url();
        let more = ["--json", "--timeout", "30000"];
        let arguments = [arguments, &self.gateway(&url), &more].concat();
        match self.network {
            Some(network) => network.openclaw(Place::Gateway, &self.home, &arguments),
            None => crate::support::process::openclaw(&self.home, &arguments),
        }
    }

    fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// The flags that name the gateway.
    fn gateway<'a>(&'a self, url: &'a str) -> [&'a str; 4] {
        ["--url", url, "--token", self.secret]
    }

    /// A terminal that shows what waits for approval.
    pub fn watch_approvals(&self) -> Running {
        let mut watch = command(&program(), &self.home);
        watch.args(["approvals", "pending", "--watch"]);
        watch.args(self.gateway(&self.url()));
        Running::start(watch)
    }

    #[track_caller]
    pub fn call(&self, method: &str, params: &Value) -> Value {
        self.try_call(method, params).success().json()
    }

    pub fn try_call(&self, method: &str, params: &Value) -> Outcome {
        self.run(&["gateway", "call", method, "--params", &params.to_string()])
    }

    /// Approves the node once it asks; its id.
    #[track_caller]
    pub fn approve(&self) -> String {
        // On one host the device layer is silent; what a slow start left waiting there is nobody's to approve.
        let waiting = wait_long("the pending node", || {
            let pending = self.run(&["nodes", "pending"]);
            let rows = (pending.code == 0).then(|| pending.json())?;
            let mut rows = rows.as_array()?.iter();
            rows.find(|row| row["layer"] == "node").cloned()
        });
        self.run(&["nodes", "approve", waiting["requestId"].as_str().unwrap()])
            .success();
        waiting["nodeId"].as_str().unwrap().to_owned()
    }

    pub fn echo(&self, node: &str) -> Outcome {
        // A gateway that still believes in a dead connection is not waited for.
        let patience = Some(1_000);
        self.invoke_within(
            patience,
            node,
            "system.run",
            &json!({"command": ["/bin/echo", "hi"]}),
        )
    }

    pub fn invoke(&self, node: &str, command: &str, params: &Value) -> Outcome {
        self.invoke_within(None, node, command, params)
    }

    /// The same with the gateway's patience in milliseconds.
    pub fn invoke_within(
        &self,
        patience: Option<u32>,
        node: &str,
        command: &str,
        params: &Value,
    ) -> Outcome {
        static KEY: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let key = KEY
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
            .to_string();
        let mut asked =
            json!({"nodeId": node, "command": command, "params": params, "idempotencyKey": key});
        if let Some(patience) = patience {
            asked["timeoutMs"] = json!(patience);
        }
        self.try_call("node.invoke", &asked)
    }

    #[track_caller]
    pub fn until_it_runs(&self, node: &str) {
        wait_long("a command to run", || {
            let outcome = self.echo(node);
            let ran = outcome.code == 0 && outcome.json()["payload"]["stdout"] == "hi\n";
            ran.then_some(())
        });
    }
}

/// A home of a reference gateway whose agent sleeps: told of a run, it would wake and hear nobody for minutes.
pub fn gateway_home(port: u16) -> Home {
    let home = Home::new();
    write_config(&home, port, SECRET);
    home
}

pub fn write_config(home: &Home, port: u16, secret: &str) {
    let asleep = r#"{ "agents": { "defaults": { "heartbeat": { "every": "0m" } } },"#;
    let config = reference::config(Some(port)).replacen('{', asleep, 1);
    home.write_config(&config.replace(SECRET, secret));
}

/// A backend that asks for approvals, as an agent does.
pub fn asker(port: u16) -> Peer {
    let mut params = operator_params(SECRET, &ALL_SCOPES);
    params["maxProtocol"] = json!(4);
    connect(port, params, None)
}

pub fn connect(port: u16, params: Value, device: Option<&Device>) -> Peer {
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    Peer::connect(address, params, device).expect("an operator of the reference")
}
