//! What the kernel counts of a process.

/// Resident memory in KiB.
pub fn resident_kib(pid: u32) -> u64 {
    status(pid, "VmRSS:")
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
