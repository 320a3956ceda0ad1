//! The reference OpenClaw beside this program: the same measurements on its processes, where it is installed.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::reference::{self, OLDER};
use crate::report::Sample;
use crate::start::{reachable_after, wall};
use crate::support::counters;
use crate::support::home::Home;
use crate::support::process::{Running, free_port};

/// It needs seconds for what is measured, so it is measured less often.
const RUNS: usize = 3;

/// How long a started process is left alone before its memory counts as idle.
const SETTLING: Duration = Duration::from_secs(5);

/// The reference, or why it is not there.
pub struct Other {
    installed: bool,
    gateway: Option<OtherGateway>,
}

/// A running gateway of the reference.
pub struct OtherGateway {
    pub home: Home,
    pub address: SocketAddr,
    pub process: Running,
    /// Start to the first accepted connection.
    pub starts: Sample,
    /// MB of the whole process group, before anybody connected.
    pub idle_mb: f64,
}

impl Other {
    pub fn look() -> Other {
        Other {
            installed: OLDER.folder().join("installed").exists(),
            gateway: None,
        }
    }

    /// The sentence for a run without it.
    pub fn missing(&self) -> Option<&'static str> {
        let why =
            "the reference is not installed, so its column stays empty (make interop installs it)";
        (!self.installed).then_some(why)
    }

    /// Its gateway, started once for all sections.
    pub fn gateway(&mut self) -> Option<&OtherGateway> {
        if self.installed && self.gateway.is_none() {
            self.gateway = Some(start());
        }
        self.gateway.as_ref()
    }

    /// Wall time of one of its commands at `home`.
    pub fn wall(&self, home: &Home, arguments: &[&str]) -> Option<Sample> {
        let command = || {
            let mut command = OLDER.command(home);
            command.args(arguments);
            command
        };
        self.installed.then(|| wall(RUNS, command))
    }

    /// MB on the disk: its Node and its package.
    pub fn size_mb(&self) -> Option<f64> {
        self.installed.then(|| {
            let package = OLDER.package();
            let modules = package.ancestors().nth(2).unwrap();
            (bytes_below(modules) + bytes_below(&reference::node_program())) as f64 / 1e6
        })
    }

    /// MB of its idle node host at a gateway on `port` that needs nothing to let it in.
    pub fn node_host_mb(&self, port: u16, mut connected: impl FnMut() -> bool) -> Option<f64> {
        self.installed.then(|| {
            let home = reference::home(None);
            let node = OLDER.node_host(&home, port);
            reference::wait_long("the reference's node host", || connected().then_some(()));
            std::thread::sleep(SETTLING);
            group_mb(node.pid())
        })
    }
}

fn start() -> OtherGateway {
    let begin = || {
        let port = free_port();
        let home = reference::home(Some(port));
        let mut command = OLDER.bare_command(&home);
        command.args(["gateway", "run"]);
        let (process, took) = reachable_after(command, port, reference::REFERENCE_PATIENCE);
        (home, port, process, took)
    };
    let mut starts: Vec<Duration> = (1..RUNS).map(|_| begin().3).collect();
    let (home, port, process, took) = begin();
    starts.push(took);
    reference::wait_long("the reference gateway", || {
        process.output().contains("[gateway] ready").then_some(())
    });
    std::thread::sleep(SETTLING);
    OtherGateway {
        home,
        address: ([127, 0, 0, 1], port).into(),
        starts: Sample::of_durations(starts),
        idle_mb: group_mb(process.pid()),
        process,
    }
}

/// MB resident of all processes of a group.
pub fn group_mb(group: u32) -> f64 {
    let mut kib = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name before may hold anything, even brackets.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        if fields.split_whitespace().nth(2) == Some(&group.to_string()) {
            kib += counters::resident_kib(pid);
        }
    }
    kib as f64 / 1024.0
}

fn bytes_below(path: &Path) -> u64 {
    let meta = std::fs::symlink_metadata(path).unwrap();
    if !meta.is_dir() {
        return meta.len();
    }
    let entries = std::fs::read_dir(path).unwrap();
    entries
        .map(|entry| bytes_below(&entry.unwrap().path()))
        .sum()
}
