//! What a service may not do, as far as its job and its manager allow: tables of directives with the
//! reason where something is left open.
//!
//! The gateway only speaks on sockets and writes its state directory, so nearly everything is closed. A
//! node host runs other people's commands: whatever is closed for it is closed for them, so only bounds
//! that protect the machine stand there. A user's manager can do less: namespaces and capabilities need
//! privileges it does not have.

use crate::service::definition::{Definition, text};
use crate::service::error::ServiceError;
use crate::service::name::Kind;
use crate::service::quote::word;

/// Bounds of the gateway: 5,000 TLS connections with their threads, twice over.
const GATEWAY_BOUNDS: &[&str] = &[
    "MemoryMax=512M",
    "TasksMax=8192",
    "LimitNOFILE=16384",
    "UMask=0077",
];

/// Closed for the gateway by any manager: none of these needs a privilege to be given up.
const GATEWAY_EVERYWHERE: &[&str] = &[
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged",
    "SystemCallErrorNumber=EPERM",
];

/// Closed for the gateway by the machine's manager besides.
const GATEWAY_OF_THE_SYSTEM: &[&str] = &[
    "DevicePolicy=closed",
    "KeyringMode=private",
    "PrivateDevices=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHome=read-only",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "ProtectSystem=strict",
    "RemoveIPC=yes",
];

/// Why the temporary directory of a gateway is shared.
const SHARED_TMP: &str = "# PrivateTmp is off: the lock and the log of the gateway stand there, where commands look for them.";

/// Bounds of a node host, which its commands share.
const NODE_BOUNDS: &[&str] = &[
    "# Commands share these bounds. One that runs out of memory ends alone, not the node host.",
    "MemoryMax=75%",
    "TasksMax=4096",
    "OOMPolicy=continue",
];

/// Why nothing else is closed for a node host.
const NODE_OPEN: &[&str] = &[
    "# Commands run with the rights of this service; exec-approvals.json decides which ones run at all.",
    "# NoNewPrivileges is off, and with it all that implies it, because an allowed command may need sudo;",
    "# ProtectSystem and PrivateTmp are off because commands work on this machine's files, /tmp included.",
    "# Where no command needs that, close it with: systemctl edit (NoNewPrivileges=yes, ProtectSystem=full).",
];

/// The lines for a service.
///
/// # Errors
/// [`ServiceError`]: a path cannot stand in a unit.
pub fn lines(definition: &Definition) -> Result<Vec<String>, ServiceError> {
    let owned = |table: &[&str]| {
        table
            .iter()
            .map(|line| (*line).to_owned())
            .collect::<Vec<_>>()
    };
    if definition.name.kind == Kind::Node {
        return Ok(owned(&[NODE_BOUNDS, NODE_OPEN].concat()));
    }
    let mut lines = owned(&[GATEWAY_BOUNDS, GATEWAY_EVERYWHERE].concat());
    if definition.scope.is_system() {
        lines.extend(owned(GATEWAY_OF_THE_SYSTEM));
        lines.push(SHARED_TMP.to_owned());
        lines.push(format!("ReadWritePaths={}", writable(definition)?));
        let capability = match definition.has_low_port() {
            true => "CAP_NET_BIND_SERVICE",
            false => "",
        };
        lines.push(format!("CapabilityBoundingSet={capability}"));
        lines.push(format!("AmbientCapabilities={capability}"));
    }
    Ok(lines)
}

/// Where a gateway writes; a directory that is not there yet is no reason not to start.
fn writable(definition: &Definition) -> Result<String, ServiceError> {
    let state = [&definition.state_dir].into_iter();
    let words: Result<Vec<String>, ServiceError> = state
        .chain(&definition.writable)
        .map(|path| word("the state directory", &format!("-{}", text(path)?)))
        .collect();
    Ok(words?.join(" "))
}
