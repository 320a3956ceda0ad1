//! Hosts and switches as network namespaces, and gateways on them.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::support::home::Home;
use crate::support::process::{Outcome, Running, SECRET, command, finish, program};
use crate::support::wait_for;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Port of every gateway here: each host has its own loopback.
pub const PORT: u16 = 18_789;

/// Switches, and the hosts at them. All of it is gone on drop.
pub struct Lan {
    name: String,
    hosts: Cell<u32>,
    cables: Cell<u32>,
}

/// A host: a network namespace with loopback and nothing else at first.
pub struct Host {
    pub namespace: String,
}

impl Lan {
    pub fn new() -> Lan {
        let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
        let lan = Lan {
            name: format!("ocl{}-{unique}", std::process::id()),
            hosts: Cell::new(0),
            cables: Cell::new(0),
        };
        ip(&["netns", "add", &lan.name]);
        lan.sysctl(&lan.name, "net.ipv6.conf.default.disable_ipv6=1");
        lan
    }

    fn sysctl(&self, namespace: &str, setting: &str) {
        ip(&["netns", "exec", namespace, "sysctl", "-wq", setting]);
    }

    pub fn host(&self) -> Host {
        let number = self.hosts.replace(self.hosts.get() + 1);
        let namespace = format!("{}h{number}", self.name);
        ip(&["netns", "add", &namespace]);
        ip(&["-n", &namespace, "link", "set", "lo", "up"]);
        // Nobody else can have an address here: they are usable at once.
        self.sysctl(&namespace, "net.ipv6.conf.default.accept_dad=0");
        Host { namespace }
    }

    /// Connects an interface of a host with the switch of this number; addresses with their prefix.
    pub fn plug(&self, host: &Host, interface: &str, switch: u32, addresses: &[&str]) {
        let bridge = format!("br{switch}");
        if !tried(&["-n", &self.name, "link", "show", &bridge]) {
            ip(&[
                "-n",
                &self.name,
                "link",
                "add",
                &bridge,
                "type",
                "bridge",
                "mcast_snooping",
                "0",
            ]);
            ip(&["-n", &self.name, "link", "set", &bridge, "up"]);
        }
        let number = self.cables.replace(self.cables.get() + 1);
        let port = format!("p{number}");
        ip(&[
            "-n",
            &self.name,
            "link",
            "add",
            &port,
            "type",
            "veth",
            "peer",
            "name",
            interface,
            "netns",
            &host.namespace,
        ]);
        ip(&[
            "-n", &self.name, "link", "set", &port, "master", &bridge, "up",
        ]);
        for address in addresses {
            ip(&[
                "-n",
                &host.namespace,
                "addr",
                "add",
                address,
                "dev",
                interface,
            ]);
        }
        ip(&["-n", &host.namespace, "link", "set", interface, "up"]);
    }

    /// Lets a host hear on one interface what it says on another, as other systems than Linux do by themselves.
    pub fn hear_oneself(&self, host: &Host) {
        for setting in [
            "net.ipv4.conf.all.accept_local=1",
            "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.conf.default.rp_filter=0",
        ] {
            self.sysctl(&host.namespace, setting);
        }
    }

    /// Takes the interface away.
    pub fn unplug(&self, host: &Host, interface: &str) {
        ip(&["-n", &host.namespace, "link", "del", interface]);
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for number in 0..self.hosts.get() {
            tried(&["netns", "del", &format!("{}h{number}", self.name)]);
        }
        tried(&["netns", "del", &self.name]);
    }
}

impl Host {
    /// A command on this host.
    pub fn command(&self, home: &Home, program: &Path) -> Command {
        let mut line = command(Path::new("ip"), home);
        line.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        line.args(["netns", "exec", &self.namespace]).arg(program);
        line
    }

    /// A command on this host, which is called `name` there.
    pub fn command_as(&self, name: &str, home: &Home, program: &Path) -> Command {
        let mut line = self.command(home, Path::new("unshare"));
        let script = "hostname \"$0\" && exec \"$@\"";
        line.args(["--uts", "sh", "-c", script, name]).arg(program);
        line
    }
}

/// A gateway on a host of a name.
pub struct Gateway<'a> {
    host: &'a Host,
    name: String,
    variables: Vec<(String, String)>,
    pub home: Home,
    pub process: Running,
}

impl<'a> Gateway<'a> {
    pub fn start(host: &'a Host, name: &str) -> Gateway<'a> {
        Self::start_with(host, name, "", &[])
    }

    /// With more members of the configuration, and more variables.
    pub fn start_with(
        host: &'a Host,
        name: &str,
        config: &str,
        variables: &[(&str, &str)],
    ) -> Gateway<'a> {
        let home = Home::new();
        home.write_config(&document(config));
        Self::started(host, name, home, variables)
    }

    /// One that speaks TLS, with a certificate of its own making.
    pub fn start_tls(host: &'a Host, name: &str) -> Gateway<'a> {
        let home = Home::new();
        home.write_config(&document("").replacen(
            "gateway: {",
            "gateway: { tls: { enabled: true },",
            1,
        ));
        Self::started(host, name, home, &[])
    }

    /// One at another port, beside a first.
    pub fn start_at(host: &'a Host, name: &str, port: u16) -> Gateway<'a> {
        let home = Home::new();
        let ports = (format!("port: {PORT}"), format!("port: {port}"));
        home.write_config(&document("").replacen(&ports.0, &ports.1, 1));
        Self::started(host, name, home, &[])
    }

    fn started(host: &'a Host, name: &str, home: Home, variables: &[(&str, &str)]) -> Gateway<'a> {
        // This machine may be a container, and inside the namespace that does not matter.
        let mut all = vec![("OPENCLAW_DISABLE_BONJOUR".to_owned(), "0".to_owned())];
        let given = variables.iter();
        all.extend(given.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let process = launch(host, name, &home, &all);
        let mut gateway = Gateway {
            host,
            name: name.to_owned(),
            variables: all,
            home,
            process,
        };
        gateway.process.wait_for_output("[gateway] ready");
        gateway
    }

    /// Writes the configuration anew, with these members.
    pub fn configure(&self, config: &str) {
        self.home.write_config(&document(config));
    }

    /// Kills it and starts it again at once.
    pub fn crash_and_restart(&mut self) {
        self.process.kill();
        self.process = launch(self.host, &self.name, &self.home, &self.variables);
        self.process.wait_for_output("[gateway] ready");
    }

    /// Stops it in order.
    pub fn stop(&mut self) {
        self.process.signal("TERM");
        assert_eq!(self.process.exit_code(), 0, "{}", self.process.output());
    }

    pub fn cli(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.host.command(&self.home, &program());
        command.args(arguments);
        finish(command)
    }

    /// What it says about its own discovery.
    pub fn discovery(&self) -> Value {
        let status = self.cli(&["gateway", "status", "--json"]).success().json();
        status["gateway"]["discovery"].clone()
    }

    /// Waits until it says this about its state, and returns all it says.
    #[track_caller]
    pub fn wait_for(&self, state: &str) -> Value {
        wait_for(&format!("the state {state}"), || {
            let said = self.discovery();
            (said["state"] == state).then_some(said)
        })
    }

    /// Whether a request goes through.
    #[track_caller]
    pub fn answers(&self) {
        let health = self.cli(&["gateway", "health", "--json"]).success().json();
        assert_eq!(health["ok"], true);
    }
}

fn document(config: &str) -> String {
    format!(
        r#"{{ gateway: {{ mode: "local", port: {PORT}, bind: "lan", auth: {{ mode: "token", token: "{SECRET}" }} }}, {config} }}"#
    )
}

fn launch(host: &Host, name: &str, home: &Home, variables: &[(String, String)]) -> Running {
    let mut command = host.command_as(name, home, &program());
    command.args(["gateway", "run"]);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    Running::start(command)
}

#[track_caller]
pub fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output();
    let output = output.expect("ip is installed (make lan)");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "ip {}: {said}",
        arguments.join(" ")
    );
}

fn tried(arguments: &[&str]) -> bool {
    let output = Command::new("ip").args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}
