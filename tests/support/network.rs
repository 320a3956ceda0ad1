//! Two hosts on a switch: network namespaces that a test makes and takes away again.
//!
//! Needs root, `ip` and a kernel with namespaces, veth and bridges; where they are refused, the test is told why.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::home::Home;
use super::process::{Outcome, Running, command, finish, program};

/// The address of the gateway's host and of the node's.
pub const GATEWAY: &str = "10.77.0.1";
pub const NODE: &str = "10.77.0.2";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// One of the two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Gateway,
    Node,
}

/// Three namespaces: two hosts and the switch between them; gone on drop.
pub struct Network {
    name: String,
}

impl Network {
    /// Makes the network; `Err` says why this machine cannot.
    pub fn new() -> Result<Network, String> {
        let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
        let network = Network {
            name: format!("oc{}-{unique}", std::process::id()),
        };
        let switch = network.switch();
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "br0", "up"])?;
        for (place, address) in [(Place::Gateway, GATEWAY), (Place::Node, NODE)] {
            let host = network.host(place);
            let port = port(place);
            ip(&["netns", "add", &host])?;
            ip(&["-n", &host, "link", "set", "lo", "up"])?;
            ip(&[
                "-n", &switch, "link", "add", port, "type", "veth", "peer", "name", "eth0",
                "netns", &host,
            ])?;
            ip(&["-n", &switch, "link", "set", port, "master", "br0", "up"])?;
            ip(&[
                "-n",
                &host,
                "addr",
                "add",
                &format!("{address}/24"),
                "dev",
                "eth0",
            ])?;
            ip(&["-n", &host, "link", "set", "eth0", "up"])?;
        }
        Ok(network)
    }

    /// The same, or a line that says why the test is skipped.
    pub fn or_skip(test: &str) -> Option<Network> {
        Network::new()
            .map_err(|why| eprintln!("SKIPPED {test}: no network namespaces here: {why}"))
            .ok()
    }

    /// The node's cable is pulled: its link loses the carrier.
    pub fn pull(&self) {
        self.set(&["link", "set", port(Place::Node), "down"]);
    }

    /// And plugged in again.
    pub fn plug(&self) {
        self.set(&["link", "set", port(Place::Node), "up"]);
    }

    /// The switch carries nothing of the node any more, which no link shows.
    pub fn mute(&self) {
        self.set(&["link", "set", port(Place::Node), "nomaster"]);
    }

    /// And carries it again.
    pub fn unmute(&self) {
        self.set(&["link", "set", port(Place::Node), "master", "br0"]);
    }

    /// A command of the program at `home` on one of the hosts.
    pub fn command(&self, place: Place, home: &Home) -> Command {
        self.command_of(place, home, &program())
    }

    /// The same for another program.
    pub fn command_of(&self, place: Place, home: &Home, program: &Path) -> Command {
        // `ip netns exec` becomes the program: its process id is the program's.
        let mut line = command(Path::new("ip"), home);
        line.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        line.args(["netns", "exec", &self.host(place)]).arg(program);
        line
    }

    /// Runs one command line of the program to its end.
    pub fn openclaw(&self, place: Place, home: &Home, arguments: &[&str]) -> Outcome {
        let mut command = self.command(place, home);
        command.args(arguments);
        finish(command)
    }

    /// A node host on the node's machine for the gateway at `port`.
    pub fn node_host(&self, home: &Home, port: u16, token: &str) -> Running {
        let mut command = self.command(Place::Node, home);
        let port = port.to_string();
        command
            .env("OPENCLAW_GATEWAY_TOKEN", token)
            .env("OPENCLAW_ALLOW_INSECURE_PRIVATE_WS", "1")
            .args(["node", "run", "--host", GATEWAY, "--port", &port]);
        command.args(["--display-name", "Far"]);
        Running::start(command)
    }

    fn host(&self, place: Place) -> String {
        let letter = if place == Place::Gateway { 'g' } else { 'n' };
        format!("{}{letter}", self.name)
    }

    fn switch(&self) -> String {
        format!("{}s", self.name)
    }

    #[track_caller]
    fn set(&self, arguments: &[&str]) {
        ip(&[&["-n", &self.switch()][..], arguments].concat()).unwrap();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in [
            self.host(Place::Gateway),
            self.host(Place::Node),
            self.switch(),
        ] {
            // One that was never made is not there.
            let _ = ip(&["netns", "del", &namespace]);
        }
    }
}

/// The switch's end of a host's cable.
fn port(place: Place) -> &'static str {
    match place {
        Place::Gateway => "gate",
        Place::Node => "node",
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", arguments.join(" "), said.trim()))
}
