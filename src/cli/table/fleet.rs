//! Rows about many nodes and devices at once.

use super::{GATEWAY, TIMEOUT};
use crate::cli::command::{Command, Flag};
use crate::cli::nodes;

/// `nodes prune`.
pub(super) const PRUNE: Command = Command::leaf(
    "prune",
    "Remove paired nodes that were not seen for long, with their devices",
    nodes::prune,
)
.flags(&[
    GATEWAY,
    TIMEOUT,
    &[
        Flag::text(
            "not-seen",
            "duration",
            "For how long nothing was seen of them, e.g. 90d; an hour at least",
        )
        .required(),
        Flag::switch("dry-run", "Only show which nodes would go"),
        Flag::switch("yes", "Confirm"),
    ],
])
.details(
    "A node that was never seen counts from its approval, a later approval counts as seen, and so does any use of its \
     device in another role. Connected nodes never go. Without --yes a terminal is asked; a script is refused.",
)
.scopes("operator.pairing");

const WATCH: Flag = Flag::switch(
    "watch",
    "Stay and show what changes; with --json one object per line",
);
const UNTIL: Flag = Flag::text(
    "until",
    "condition",
    "With --watch: end when this is true, e.g. connected, paired, pending=0",
);
const AFTER: Flag = Flag::text(
    "after",
    "id",
    "With --watch: only what came after the event with this id",
);

/// Watching nodes.
pub(super) const WATCH_NODES: &[Flag] = &[
    WATCH,
    UNTIL,
    AFTER,
    Flag::text("node", "idOrNameOrIp", "With --watch: only this node"),
];

/// Watching devices.
pub(super) const WATCH_DEVICES: &[Flag] = &[
    WATCH,
    UNTIL,
    AFTER,
    Flag::text("device", "id", "With --watch: only this device"),
];

/// What watching is.
pub(super) const WATCHING: &str = "\
    --watch shows everything once (the event snapshot), then what changes, over restarts of the gateway, and needs \
    operator.pairing and operator.read. Every event has an id, which grows within the life of a gateway: --after goes on \
    behind it, and where that cannot be told a snapshot with \"missed\": true comes first. --until ends with exit code 0 \
    once its condition is true: connected, disconnected, paired, or a count of what is shown (pending=0, paired>=2, \
    connected<=1); with it --timeout (milliseconds, or 60s) is for the whole wait and ends with exit code 1. Ctrl-C ends \
    with 130.";
