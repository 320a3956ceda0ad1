//! The rows of the service commands of `gateway` and `node`.

use super::{JSON, SSH};
use crate::cli::command::{Command, Flag, Takes};
use crate::cli::service;

pub(super) const SYSTEM: Flag = Flag::switch(
    "system",
    "The service of the machine instead of the user's (systemd; root alone changes it)",
);

/// What every command takes that works on an installed service.
const INSTALLED: &[Flag] = &[SYSTEM, JSON];

/// What both installs take.
const INSTALL: &[Flag] = &[
    Flag::text(
        "runtime",
        "runtime",
        "Accepted for compatibility (node or bun), without effect",
    ),
    Flag::text(
        "wrapper",
        "path",
        "Program that the service starts instead of this one, with the same arguments",
    )
    .environment("OPENCLAW_WRAPPER"),
    Flag::switch(
        "force",
        "Write and restart a service that is installed already",
    ),
    Flag::switch("print", "Print the unit or plist and change nothing"),
    Flag::text("run-as", "user", "With --system: the account it runs as"),
    SYSTEM,
    JSON,
];

const SYSTEM_DETAILS: &str = "Without --system the service belongs to the user and ends with the last session, unless lingering is on. With --system it \
     starts with the machine: it runs as the user behind sudo or the one of --run-as, on that user's state directory.";

const START: &str = "Start the service";
const STOP: &str = "Stop the service; it stays installed";
const RESTART: &str = "Restart the service";
const UNINSTALL: &str = "Stop the service and remove its unit and secrets";

/// `gateway install`.
pub const GATEWAY_INSTALL: Command = Command::leaf(
    "install",
    "Install the gateway as a service (systemd or launchd)",
    service::install,
)
.flags(&[
    &[
        Flag::valued(
            "port",
            Takes::Port,
            "Port for WebSocket and HTTP (default: configured)",
        ),
        Flag::text(
            "token",
            "token",
            "Shared token, kept in a file that only its owner reads",
        )
        .environment("OPENCLAW_GATEWAY_TOKEN"),
    ],
    INSTALL,
])
.details(SYSTEM_DETAILS)
.failure("Gateway install failed: ");

/// `gateway start`.
pub const GATEWAY_START: Command = Command::leaf("start", START, service::start)
    .flags(&[INSTALLED])
    .failure("Gateway start failed: ");

/// `gateway stop`.
pub const GATEWAY_STOP: Command = Command::leaf("stop", STOP, service::stop)
    .flags(&[INSTALLED])
    .failure("Gateway stop failed: ");

/// `gateway restart`.
pub const GATEWAY_RESTART: Command = Command::leaf("restart", RESTART, service::restart)
    .flags(&[INSTALLED])
    .failure("Gateway restart failed: ");

/// `gateway uninstall`.
pub const GATEWAY_UNINSTALL: Command = Command::leaf("uninstall", UNINSTALL, service::uninstall)
    .flags(&[INSTALLED])
    .failure("Gateway uninstall failed: ");

/// `node install`.
pub const NODE_INSTALL: Command = Command::leaf(
    "install",
    "Install the node host as a service (systemd or launchd)",
    service::install,
)
.flags(&[
    &[
        Flag::text(
            "host",
            "host",
            "Gateway host (default: saved, else 127.0.0.1)",
        ),
        Flag::valued(
            "port",
            Takes::Port,
            "Gateway port (default: saved, else 18789)",
        ),
        Flag::switch("tls", "Use TLS"),
        Flag::text(
            "tls-fingerprint",
            "sha256",
            "Expected certificate fingerprint; implies --tls",
        ),
        SSH,
        Flag::text(
            "node-id",
            "id",
            "Another instance id; forgets the stored node token",
        ),
        Flag::text(
            "display-name",
            "name",
            "Name shown to operators (default: saved, else the host name)",
        ),
    ],
    INSTALL,
])
.details(SYSTEM_DETAILS)
.failure("Node install failed: ");

/// `node status`.
pub const NODE_STATUS: Command = Command::leaf(
    "status",
    "Show whether the node host is installed and runs",
    service::status,
)
.flags(&[INSTALLED])
.failure("Node status failed: ");

/// `node start`.
pub const NODE_START: Command = Command::leaf("start", START, service::start)
    .flags(&[INSTALLED])
    .failure("Node start failed: ");

/// `node stop`.
pub const NODE_STOP: Command = Command::leaf("stop", STOP, service::stop)
    .flags(&[INSTALLED])
    .failure("Node stop failed: ");

/// `node restart`.
pub const NODE_RESTART: Command = Command::leaf("restart", RESTART, service::restart)
    .flags(&[INSTALLED])
    .failure("Node restart failed: ");

/// `node uninstall`.
pub const NODE_UNINSTALL: Command = Command::leaf("uninstall", UNINSTALL, service::uninstall)
    .flags(&[INSTALLED])
    .failure("Node uninstall failed: ");
