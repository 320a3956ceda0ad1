//! Whether this process runs inside a container, where multicast usually reaches nobody and confuses the host.

use std::fs;

/// Words of a control group's path that a container's runtime leaves there.
const RUNTIMES: [&str; 5] = ["docker", "kubepods", "containerd", "lxc", "podman"];

/// Bytes that are read of one file; more than these a file of this kind never has.
const MAX_BYTES: usize = 64 * 1024;

/// What the machine shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Files that only runtimes make are there: `/.dockerenv`, `/run/.containerenv`.
    pub marked: bool,
    /// What the first process was told it runs in: its variable `container`, or `/run/systemd/container`.
    pub told: Option<String>,
    /// `/proc/1/cgroup`.
    pub control_groups: String,
}

impl Traces {
    /// Reads what can be read; what cannot is no trace.
    pub fn look() -> Traces {
        let marked = ["/.dockerenv", "/run/.containerenv"];
        let marked = marked.iter().any(|path| fs::exists(path).unwrap_or(false));
        let told = text("/run/systemd/container").or_else(|| {
            let variables = text("/proc/1/environ")?;
            let mut variables = variables.split('\0');
            variables.find_map(|variable| Some(variable.strip_prefix("container=")?.to_owned()))
        });
        Traces {
            marked,
            told,
            control_groups: text("/proc/1/cgroup").unwrap_or_default(),
        }
    }

    /// Whether they are those of a container.
    pub fn of_a_container(&self) -> bool {
        let told = self.told.as_deref().map(str::trim).unwrap_or_default();
        let grouped = self.control_groups.lines().any(|line| {
            let path = line.splitn(3, ':').nth(2).unwrap_or_default();
            RUNTIMES.iter().any(|runtime| path.contains(runtime))
        });
        self.marked || !told.is_empty() || grouped
    }
}

fn text(path: &str) -> Option<String> {
    let mut bytes = fs::read(path).ok()?;
    bytes.truncate(MAX_BYTES);
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn each_trace_alone_tells_a_container() {
        let traces = |marked, told: Option<&str>, control_groups: &str| Traces {
            marked,
            told: told.map(str::to_owned),
            control_groups: control_groups.to_owned(),
        };
        for (found, expected) in [
            (Traces::default(), false),
            (traces(true, None, ""), true),
            (traces(false, Some("podman\n"), ""), true),
            (traces(false, Some(" \n"), ""), false),
            (traces(false, None, "0::/\n"), false),
            (traces(false, None, "0::/init.scope\n"), false),
            (traces(false, None, "12:pids:/docker/3f2a\n0::/\n"), true),
            (traces(false, None, "0::/kubepods/besteffort/pod1\n"), true),
            (traces(false, None, "0::/system.slice/containerd.service\n"), true),
            (traces(false, None, "1:name=systemd:/lxc/web\n"), true),
            (traces(false, None, "0::/machine.slice/libpod-podman.scope\n"), true),
            (traces(false, None, "5:docker:/\n"), false),
        ] {
            assert_eq!(found.of_a_container(), expected, "{found:?}");
        }
    }
}
