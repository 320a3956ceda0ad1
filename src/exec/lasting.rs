//! What an approval that is to stick allows from then on (node-host specification, section 3.10).
//!
//! Rules name programs by their path, never an interpreter, a shell or a program that starts others: such a
//! rule would allow whatever they can be told to run. What cannot be said by paths is said by the one command
//! line that was approved, in its directory and with its script.

use std::path::Path;

use super::assessment::{Assessment, Segment};
use super::bound_line::BoundLine;
use super::document::{EVERY_AGENT, FORMER_MAIN_AGENT};
use super::programs::Programs;
use super::shell;
use super::wrapper::{base_name, is_wrapper};

/// Programs that run what their arguments or input say, or start the program they are told; versions behind
/// the name do not matter.
const INTERPRETERS: &[&str] = &[
    "ansible",
    "at",
    "awk",
    "batch",
    "bazel",
    "bun",
    "bunx",
    "cargo",
    "ccache",
    "choom",
    "chroot",
    "clojure",
    "crontab",
    "csh",
    "csi",
    "dbus-launch",
    "dbus-run-session",
    "deno",
    "distcc",
    "docker",
    "eatmydata",
    "ed",
    "elixir",
    "elvish",
    "emacs",
    "erl",
    "escript",
    "esno",
    "ex",
    "expect",
    "fakeroot",
    "fd",
    "find",
    "firejail",
    "flatpak",
    "flock",
    "gawk",
    "gdb",
    "ghci",
    "git-shell",
    "gmake",
    "go",
    "gradle",
    "groovy",
    "gsed",
    "guile",
    "guix",
    "iex",
    "ionice",
    "irb",
    "java",
    "jiti",
    "jjs",
    "jruby",
    "jshell",
    "julia",
    "just",
    "kotlin",
    "ksh93",
    "kubectl",
    "ld",
    "ld-linux",
    "ld-linux-x86-64.so",
    "ld.so",
    "lftp",
    "linux32",
    "linux64",
    "lldb",
    "logrotate",
    "ltrace",
    "lua",
    "luajit",
    "lxc-exec",
    "machinectl",
    "make",
    "mawk",
    "meson",
    "mit-scheme",
    "mksh",
    "mvn",
    "nawk",
    "nc",
    "ncat",
    "netcat",
    "nice",
    "ninja",
    "nix",
    "nix-shell",
    "node",
    "nodejs",
    "nohup",
    "npm",
    "npx",
    "nsenter",
    "numactl",
    "nvim",
    "octave",
    "oksh",
    "opam",
    "osascript",
    "parallel",
    "pdksh",
    "perf",
    "perl",
    "php",
    "pip",
    "pipenv",
    "pipx",
    "pkexec",
    "pnpm",
    "podman",
    "poetry",
    "prlimit",
    "pypy",
    "python",
    "racket",
    "rake",
    "rbash",
    "rc",
    "rlwrap",
    "rscript",
    "rsync",
    "ruby",
    "run-parts",
    "runcon",
    "runghc",
    "runuser",
    "sbt",
    "scala",
    "screen",
    "script",
    "sed",
    "sem",
    "setarch",
    "setpriv",
    "setsid",
    "sg",
    "socat",
    "softlimit",
    "ssh",
    "sshpass",
    "start-stop-daemon",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "swipl",
    "systemd-inhibit",
    "systemd-nspawn",
    "systemd-run",
    "tar",
    "taskset",
    "tcl",
    "tclsh",
    "tcsh",
    "time",
    "timeout",
    "tmux",
    "ts-node",
    "ts-node-esm",
    "tsx",
    "unbuffer",
    "unshare",
    "uv",
    "uvx",
    "valgrind",
    "vi",
    "vim",
    "vimdiff",
    "vite-node",
    "watch",
    "wish",
    "xargs",
    "xonsh",
    "xvfb-run",
    "yarn",
    "yash",
    "zx",
];

/// Starts of names of which every program is one of those: interpreters by version, loaders of programs.
const FAMILIES: &[&str] = &[
    "java", "ld-", "lua", "perl", "php", "pypy", "python", "qemu-", "ruby",
];

/// The patterns of the rules that an approval of this command adds: a path for each program it would start
/// that may be named, else that of its line; none where neither says for certain what was approved.
pub fn lasting_patterns(
    assessment: &Assessment<'_>,
    line: &BoundLine,
    programs: &dyn Programs,
) -> Vec<String> {
    let mut patterns = Vec::new();
    if assessment.analysis_ok() {
        for segment in &assessment.segments {
            collect(segment, programs, &mut patterns);
        }
    }
    if patterns.is_empty() {
        patterns.extend(line.pattern());
    }
    patterns
}

/// Whether rules may be added under an agent key that a run names: not under the key of every agent, nor under
/// a name that means another agent.
pub fn holds_lasting_rules(agent: &str) -> bool {
    agent != EVERY_AGENT && agent != FORMER_MAIN_AGENT
}

fn collect(segment: &Segment<'_>, programs: &dyn Programs, patterns: &mut Vec<String>) {
    if segment.blocked {
        return;
    }
    if !segment.inner.is_empty() {
        return segment
            .inner
            .iter()
            .for_each(|inner| collect(inner, programs, patterns));
    }
    let Some(path) = &segment.path else { return };
    if starts_others(path, programs) {
        return;
    }
    let Some(pattern) = path.to_str() else { return };
    // A path with such a character would mean other programs too.
    let plain = !pattern.contains(['*', '?']);
    if plain && !patterns.iter().any(|known| known == pattern) {
        patterns.push(pattern.to_owned());
    }
}

/// Whether this program runs what it is told: an interpreter, a shell or a wrapper. A link of another name to
/// an interpreter is one too; a wrapper behind a link is not (a program of busybox's collection is what its own
/// name says).
pub fn starts_others(path: &Path, programs: &dyn Programs) -> bool {
    let canonical = programs.canonical(path);
    let evaluates = |path: &Path| is_named(path, &[is_interpreter, shell::is_shell]);
    is_named(path, &[is_wrapper]) || evaluates(path) || canonical.as_deref().is_some_and(evaluates)
}

/// Whether a program of this name runs what its arguments or its input say: a shell, an interpreter, or one that
/// starts others. A rule for it allows whatever it can be told.
pub fn runs_what_it_is_told(name: &str) -> bool {
    is_named(
        Path::new(name),
        &[is_wrapper, is_interpreter, shell::is_shell],
    )
}

fn is_interpreter(name: &str) -> bool {
    INTERPRETERS.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Whether a file's name, with or without the version behind it, is of one of these kinds. What has no readable
/// name is of every kind.
fn is_named(path: &Path, kinds: &[fn(&str) -> bool]) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return true;
    };
    let name = base_name(name);
    let version = |mark: char| mark.is_ascii_digit() || matches!(mark, '.' | '-');
    let family = name.trim_end_matches(version);
    kinds.iter().any(|is| is(&name) || is(family))
}

#[cfg(test)]
#[path = "lasting_tests.rs"]
mod tests;
