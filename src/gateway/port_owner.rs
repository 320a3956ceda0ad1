//! Who listens on a port of this machine, whether it is a gateway, and ending it on request
//! (cli.md §5.2).
//!
//! It reads `/proc` where there is one; elsewhere nobody is found. Only a process that runs this
//! program is ever ended.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::identity::Fingerprint;
use crate::net::{NetError, Trust, dial, trust};

/// How long a probe of the health path may take; the port is on this machine.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the look whether somebody listens may take; the port is on this machine.
const LOOK_TIMEOUT: Duration = Duration::from_millis(500);

/// The state of a TCP socket that listens.
const LISTENING: &str = "0A";

/// The state of a UDP socket that receives from anybody.
const UNCONNECTED: &str = "07";

/// Bytes of the probe's answer that are looked at.
const PROBE_BYTES: usize = 2048;

/// The name of this program's processes.
const PROGRAM: &str = "openclaw";

/// After TERM, when KILL follows.
const GRACE: Duration = Duration::from_millis(700);

/// After KILL, how long the port may take to become free.
const RELEASE: Duration = Duration::from_secs(3);

/// Pause between two looks at a port that is being given up.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A process that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process id.
    pub pid: i32,
    /// The name of its program.
    pub program: String,
    /// Whose process it is.
    pub user: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "pid {} {}: {} ({})",
            self.pid, self.user, self.program, self.address
        )
    }
}

/// Every process of this machine that listens on `port` and may be seen.
pub fn owners(port: u16) -> Vec<Owner> {
    holders(listening_sockets(), port)
}

/// Every process of this machine that receives UDP on `port` and may be seen.
pub fn udp_owners(port: u16) -> Vec<Owner> {
    holders(
        sockets(["/proc/net/udp", "/proc/net/udp6"], UNCONNECTED),
        port,
    )
}

/// The processes behind those of the `sockets` that are at `port`.
fn holders(mut sockets: Vec<(SocketAddr, u64)>, port: u16) -> Vec<Owner> {
    sockets.retain(|(at, _)| at.port() == port);
    let mut found: Vec<Owner> = Vec::new();
    for pid in process_ids() {
        let inodes = socket_inodes(pid);
        for (address, inode) in &sockets {
            if inodes.contains(inode) {
                found.push(Owner {
                    address: *address,
                    pid,
                    program: program(pid),
                    user: user(pid),
                });
            }
        }
    }
    found
}

/// Whether somebody takes connections to this port on loopback, seen in `/proc` or not.
pub fn is_busy(port: u16) -> bool {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // Who is seen is not connected to: that would start a gateway that waits for its first connection.
    let every = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let mut seen = listening_sockets().into_iter();
    if seen.any(|(at, _)| at == local || at == every) {
        return true;
    }
    let host = local.ip().to_string();
    dial::connect_to(&[local], &host, port, Instant::now() + LOOK_TIMEOUT).is_ok()
}

/// The ports that a process listens on, each once, in rising order; none when that may not be seen.
pub fn ports_of(pid: u32) -> Vec<u16> {
    let inodes = i32::try_from(pid).map(socket_inodes).unwrap_or_default();
    let own = listening_sockets()
        .into_iter()
        .filter(|(_, inode)| inodes.contains(inode));
    let ports: BTreeSet<u16> = own.map(|(at, _)| at.port()).collect();
    ports.into_iter().collect()
}

/// What a person should know about the process that holds the state directory. `busy` is the port that
/// commands use, if somebody listens there: nothing is to be said when that may be the holder.
pub fn elsewhere(holder: u32, busy: Option<u16>) -> Option<String> {
    let ports = ports_of(holder);
    if busy.is_some_and(|port| ports.is_empty() || ports.contains(&port)) {
        return None;
    }
    let Some(first) = ports.first() else {
        return Some(format!(
            "Process {holder} holds the state directory but does not answer there; is it on another port?"
        ));
    };
    Some(format!(
        "Process {holder} holds the state directory and listens on port {first}, not on the configured one: \
         restart it, or ask it with OPENCLAW_GATEWAY_PORT={first}."
    ))
}

/// Whether what listens there answers `GET /healthz` as a gateway does: through TLS with the pinned
/// certificate, in plaintext without a pin.
pub fn answers_like_gateway(address: SocketAddr, pin: Option<Fingerprint>) -> bool {
    probe(address, pin).is_ok_and(|answer| {
        answer.starts_with("HTTP/1.1 200") && answer.contains(r#"{"ok":true,"status":"live"}"#)
    })
}

/// Ends the gateways that hold `port` and waits until it can be bound. The error is the sentence for the
/// person: a holder that is no gateway, or one that does not go.
pub fn evict(port: u16) -> Result<(), String> {
    let found = owners(port);
    if found.is_empty() {
        log::info!(target: "gateway", "force: no listeners on port {port}");
        return Ok(());
    }
    if let Some(stranger) = found.iter().find(|owner| owner.program != PROGRAM) {
        let Owner { pid, program, .. } = stranger;
        return Err(format!(
            "Force: port {port} is held by pid {pid} ({program}), not an openclaw gateway"
        ));
    }
    let pids: HashSet<i32> = found.iter().map(|owner| owner.pid).collect();
    for signal in [Signal::TERM, Signal::KILL] {
        for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            // One that is gone already is what is wanted.
            let _ = kill_process(pid, signal);
        }
        let patience = if signal == Signal::TERM {
            GRACE
        } else {
            RELEASE
        };
        if becomes_free(port, patience) {
            for pid in pids {
                log::info!(target: "gateway", "force: killed pid {pid} ({PROGRAM}) on port {port}");
            }
            return Ok(());
        }
    }
    Err(format!("Force: port {port} is still in use"))
}

fn becomes_free(port: u16, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(LOOK_INTERVAL);
    }
    true
}

fn probe(address: SocketAddr, pin: Option<Fingerprint>) -> Result<String, NetError> {
    let deadline = Instant::now() + PROBE_TIMEOUT;
    let host = address.ip().to_string();
    let mut stream = dial::connect_to(&[address], &host, address.port(), deadline)?;
    if let Some(pin) = pin {
        stream = trust::secure(stream, &Trust::Pin(pin), &host, deadline)?;
    }
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all_until(request, deadline)?;
    let answer = stream.read_to_end_until(PROBE_BYTES, deadline)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Every listening socket of this machine with its inode.
fn listening_sockets() -> Vec<(SocketAddr, u64)> {
    sockets(["/proc/net/tcp", "/proc/net/tcp6"], LISTENING)
}

/// The sockets of these tables that are in `state`.
fn sockets(tables: [&str; 2], state: &str) -> Vec<(SocketAddr, u64)> {
    tables
        .iter()
        .map(|table| fs::read_to_string(table).unwrap_or_default())
        .flat_map(|text| {
            text.lines()
                .skip(1)
                .filter_map(|line| socket(line, state))
                .collect::<Vec<_>>()
        })
        .collect()
}

/// A line of `/proc/net/tcp` or `udp`: the address and the inode of a socket in `state`.
fn socket(line: &str, state: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if fields.get(3) != Some(&state) {
        return None;
    }
    let (host, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((
        SocketAddr::new(host_address(host)?, port),
        fields.get(9)?.parse().ok()?,
    ))
}

/// The kernel prints addresses as 32-bit words in the byte order of the machine.
fn host_address(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for at in (0..hex.len()).step_by(8) {
        bytes.extend(
            u32::from_str_radix(hex.get(at..at + 8)?, 16)
                .ok()?
                .to_ne_bytes(),
        );
    }
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical()),
        _ => None,
    }
}

fn process_ids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn socket_inodes(pid: i32) -> HashSet<u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return HashSet::new();
    };
    let inode = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        target
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?
            .parse()
            .ok()
    };
    entries.flatten().filter_map(inode).collect()
}

fn program(pid: i32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
    if name.is_empty() {
        "unknown".to_owned()
    } else {
        name
    }
}

fn user(pid: i32) -> String {
    let Ok(found) = fs::metadata(format!("/proc/{pid}")) else {
        return "unknown".to_owned();
    };
    let uid = found.uid().to_string();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id == uid).then(|| name.to_owned())
    });
    name.unwrap_or(uid)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_of_the_socket_table_are_read() {
        let local = "   0: 0100007F:4965 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0000000000000000 100 0 0 10 0";
        let connected = local.replace(" 0A ", " 01 ");
        if cfg!(target_endian = "little") {
            assert_eq!(
                socket(local, LISTENING),
                Some(("127.0.0.1:18789".parse().unwrap(), 12345))
            );
        }
        assert_eq!(socket(&connected, LISTENING), None);
        assert_eq!(socket("garbage", LISTENING), None);
    }

    #[test]
    fn a_listener_that_is_seen_is_not_connected_to() {
        for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED] {
            let listener = TcpListener::bind((address, 0)).unwrap();
            assert!(is_busy(listener.local_addr().unwrap().port()));
            listener.set_nonblocking(true).unwrap();
            if cfg!(target_os = "linux") {
                let nobody = listener.accept().unwrap_err();
                assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
            }
        }
    }

    #[test]
    fn a_listener_of_this_process_is_found_and_is_no_gateway() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        if cfg!(target_os = "linux") {
            let own = i32::try_from(std::process::id()).unwrap();
            let found = owners(address.port());
            assert!(
                found
                    .iter()
                    .any(|owner| owner.pid == own && owner.address == address),
                "{found:?}"
            );
        }
        let answering = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").unwrap();
        });
        assert!(!answers_like_gateway(address, None));
        answering.join().unwrap();
    }
}
