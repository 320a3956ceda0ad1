//! Attack scripts: floods of sockets, bytes and requests against a gateway, at any size, each with an honest
//! client whose whole job must get done meanwhile. The sizes are the callers'.
//!
//! Attackers come from addresses of 127/8 other than the honest client's. What a gateway may cost is
//! derived from its limits, and everything is back to where it was when the attack is over.

pub mod calls;
pub mod requests;
pub mod sockets;

use std::net::SocketAddr;

use serde_json::json;

use super::counters::{resident_kib, status};
use super::home::Home;
use super::job::whole_job;
use super::peer::Peer;
use super::process::{Gateway, SECRET, free_port};
use super::wait_for;

/// Sockets of this host that may wait for admission, those that give way already included.
const MAX_WAITING: u64 = 640;

/// What one waiting socket may cost: an unfinished frame of 64 KiB in a buffer that grows by doubling, the
/// touched part of its stack, and its bookkeeping.
const WAITING_KB: u64 = 192;

/// What the process may grow by besides: what the allocator keeps of ended threads.
const SLACK_KB: u64 = 64 * 1024;

/// Descriptors and threads that may differ by chance: a client that is just leaving.
const STRAYS: u64 = 4;

/// Log lines are bounded; what a flood may print at most.
const MAX_PRINTED_BYTES: usize = 512 * 1024;

/// What a process uses.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub rss_kb: u64,
    pub threads: u64,
    pub descriptors: u64,
}

impl Usage {
    pub fn of(gateway: &Gateway) -> Usage {
        let pid = gateway.process.pid();
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .count() as u64;
        Usage {
            rss_kb: resident_kib(pid),
            threads: status(pid, "Threads:"),
            descriptors,
        }
    }
}

/// A gateway and what it used before the attack.
pub struct Target {
    pub gateway: Gateway,
    before: Usage,
}

impl Target {
    /// A gateway with further settings below `gateway`, as JSON5 members.
    pub fn start(settings: &str) -> Target {
        raise_nofile();
        let port = free_port();
        let home = Home::new();
        home.write_config(&format!(
            r#"{{ gateway: {{ mode: "local", port: {port}, auth: {{ mode: "token", token: "{SECRET}" }}, {settings} }} }}"#
        ));
        let gateway = Gateway::start_at(home, port);
        // What the first client makes it allocate is no effect of the attack.
        whole_job(&gateway);
        let before = Usage::of(&gateway);
        Target { gateway, before }
    }

    pub fn address(&self) -> SocketAddr {
        self.gateway.address
    }

    /// Looks at the gateway in the middle of an attack: what it uses is within its limits, and an honest
    /// client gets its whole job done.
    pub fn withstands(&self) -> Usage {
        whole_job(&self.gateway);
        let now = Usage::of(&self.gateway);
        let bound = self.before.rss_kb + MAX_WAITING * WAITING_KB + SLACK_KB;
        assert!(now.rss_kb <= bound, "{now:?} after {:?}", self.before);
        assert!(
            now.threads <= self.before.threads + MAX_WAITING + 64,
            "{now:?} after {:?}",
            self.before
        );
        now
    }

    /// Waits until everything is released; nobody got in, and the log stayed short.
    pub fn recovers(self) {
        let Target { gateway, before } = self;
        whole_job(&gateway);
        wait_for("everything to be released", || {
            let now = Usage::of(&gateway);
            (now.threads <= before.threads + STRAYS
                && now.descriptors <= before.descriptors + STRAYS)
                .then_some(())
        });
        let mut owner = Peer::operator(gateway.address, SECRET);
        let listed = owner.call("device.pair.list", json!({})).unwrap();
        assert_eq!(listed["pending"], json!([]), "nobody asked to join");
        let mut paired = listed["paired"].as_array().unwrap().iter();
        assert!(
            paired.all(|device| device["clientId"] == "cli"),
            "nobody got in: {listed}"
        );
        assert!(
            gateway.process.output().len() <= MAX_PRINTED_BYTES,
            "the log stays short"
        );
    }
}

/// This process, which plays the clients, may hold as many sockets as the system lets it.
pub fn raise_nofile() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let _ = setrlimit(Resource::Nofile, raised);
}
