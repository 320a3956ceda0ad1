//! What this process uses of the machine, as the system accounts for it.
//!
//! Read on demand from `/proc`; where there is none, what it would say is absent.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Ticks of a second in `/proc/<pid>/stat`, the same on every Linux that this program runs on.
const TICKS_PER_SECOND: u64 = 100;

/// One look at this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time of all threads so far.
    pub processor: Duration,
    /// Memory that is present, bytes.
    pub resident_bytes: Option<u64>,
    /// Address space, bytes.
    pub virtual_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open descriptors, the one that this look needs left out.
    pub descriptors: Option<u64>,
    /// Descriptors it may open; `None` is no limit.
    pub descriptor_limit: Option<u64>,
    /// When it started, seconds since the Unix epoch.
    pub started_at: Option<u64>,
}

/// Looks at this process.
pub fn usage() -> Usage {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Usage {
        // Never negative; a clock that went wrong counts as nothing.
        processor: Duration::try_from(spent).unwrap_or_default(),
        resident_bytes: kibibytes(&status, "VmRSS"),
        virtual_bytes: kibibytes(&status, "VmSize"),
        threads: line(&status, "Threads").and_then(|value| value.parse().ok()),
        descriptors: descriptors(),
        descriptor_limit: getrlimit(Resource::Nofile).current,
        started_at: started_at(&stat, &boot),
    }
}

/// Whether this process was started so that a signal passes it by, as `nohup` does; false where the system does not tell.
pub fn ignores(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    is_ignored(&status, signal)
}

fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = line(status, "SigIgn").and_then(|mask| u64::from_str_radix(mask, 16).ok());
    let bit = u32::try_from(signal - 1)
        .ok()
        .and_then(|at| 1_u64.checked_shl(at));
    mask.zip(bit).is_some_and(|(mask, bit)| mask & bit != 0)
}

fn descriptors() -> Option<u64> {
    let listed = fs::read_dir("/proc/self/fd").ok()?.count();
    Some((listed as u64).saturating_sub(1))
}

/// The value behind `name:` in `/proc/self/status`.
fn line<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found == name).then(|| value.trim())
    })
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let number = line(status, name)?.strip_suffix("kB")?.trim();
    number.parse::<u64>().ok()?.checked_mul(1_024)
}

/// From field 22 of `/proc/self/stat` (ticks since boot) and the time of the boot.
fn started_at(stat: &str, boot: &str) -> Option<u64> {
    // The name in field 2 may hold anything, a bracket too.
    let behind_name = stat.rsplit_once(')')?.1;
    let ticks: u64 = behind_name.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let booted = boot.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(booted.trim().parse::<u64>().ok()? + ticks / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_writes_is_read() {
        let status = "Name:\tVmRSS: 1 kB\nVmSize:\t    2048 kB\nVmRSS:\t     512 kB\nThreads:\t7\n";
        assert_eq!(kibibytes(status, "VmRSS"), Some(512 * 1_024));
        assert_eq!(kibibytes(status, "VmSize"), Some(2_048 * 1_024));
        assert_eq!(line(status, "Threads"), Some("7"));
        assert_eq!(kibibytes(status, "VmSwap"), None);
        let stat = "42 (a) b) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1234 0 0";
        let boot = "cpu 1 2\nbtime 1000000\nprocesses 3\n";
        assert_eq!(started_at(stat, boot), Some(1_000_012));
        assert_eq!(started_at("", boot), None);
        assert_eq!(started_at(stat, "cpu 1"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_seen_as_it_is() {
        let before = usage();
        let kept = fs::File::open("/proc/self/status").unwrap();
        let after = usage();
        assert!(before.resident_bytes > Some(100_000));
        assert!(before.virtual_bytes > before.resident_bytes);
        assert!(before.threads >= Some(1));
        assert!(after.descriptors >= Some(4));
        assert!(after.processor >= before.processor && after.processor > Duration::ZERO);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let age = now.unwrap().as_secs() - after.started_at.unwrap();
        assert!(age < 24 * 3_600, "{age}");
        drop(kept);
    }

    #[test]
    fn a_signal_that_is_ignored_has_its_bit_in_the_mask() {
        let status = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert_eq!(
            [1, 2, 13, 15].map(|signal| is_ignored(status, signal)),
            [true, false, true, false]
        );
        assert!(!is_ignored("", 1) && !is_ignored(status, 0));
    }
}
