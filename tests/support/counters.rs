//! What the kernel counts of a process.

/// Resident memory in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// What the stacks of a process hold of that, in KiB: of its threads, and of those that the C library keeps for the
/// next ones. A stack is a private anonymous mapping right behind the inaccessible page that guards it.
pub fn stacks_kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let (mut stacks, mut guard_end, mut in_stack) = (0, 0, false);
    for line in text.lines() {
        if let Some(mapping) = Mapping::parse(line) {
            in_stack = mapping.writable && mapping.anonymous && mapping.start == guard_end;
            let guard = !mapping.accessible && mapping.end - mapping.start <= GUARD;
            guard_end = if guard { mapping.end } else { 0 };
        } else if in_stack {
            stacks += number(line, "Rss:").unwrap_or(0);
        }
    }
    stacks
}

/// The largest page there is, in bytes.
const GUARD: u64 = 64 * 1_024;

/// The head of a mapping in `smaps`.
struct Mapping {
    start: u64,
    end: u64,
    accessible: bool,
    writable: bool,
    anonymous: bool,
}

impl Mapping {
    fn parse(line: &str) -> Option<Mapping> {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let access = words.next()?;
        Some(Mapping {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            accessible: !access.starts_with("---"),
            writable: access == "rw-p",
            anonymous: words.nth(2)? == "0",
        })
    }
}

/// A number of `/proc/<pid>/status`, named with its colon.
#[track_caller]
pub fn status(pid: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    number(&text, name).unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// How often the threads of a process went to sleep so far, which is how often something woke them.
pub fn wake_ups(pid: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads
        // One may end meanwhile.
        .filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("status")).ok())
        .filter_map(|text| number(&text, "voluntary_ctxt_switches:"))
        .sum()
}

/// Bytes that a process handed to file systems so far.
pub fn written_bytes(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    number(&text, "write_bytes:").unwrap()
}

fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
