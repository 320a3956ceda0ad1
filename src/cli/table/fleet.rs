//! Rows about many nodes and devices at once.

use super::{GATEWAY, TIMEOUT};
use crate::cli::command::{Argument, Command, Flag};
use crate::cli::{devices, nodes};

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

/// `devices export`.
pub(super) const EXPORT: Command = Command::leaf(
    "export",
    "Write all pairings to a file, without their tokens",
    devices::export,
)
.flags(&[
    GATEWAY,
    TIMEOUT,
    &[Flag::text(
        "output",
        "path",
        "The file, for its owner alone (default: stdout)",
    )],
])
.details(
    "The file holds devices and nodes with what they were approved for, and a digest; no token and no request that \
     waits. It comes from a running gateway, or from a state directory that none uses, one of OpenClaw too.",
)
.scopes("operator.admin");

/// `devices import`.
pub(super) const IMPORT: Command = Command::leaf(
    "import",
    "Take over the pairings of another gateway from an export",
    devices::import,
)
.arguments(&[Argument::required("file", "What openclaw devices export wrote; - reads stdin")])
.flags(&[
    GATEWAY,
    TIMEOUT,
    &[
        Flag::switch("dry-run", "Only show what would become of each row"),
        Flag::switch(
            "replace",
            "Also replace what was decided later here than in the export",
        ),
    ],
])
.details(
    "Rows are merged: what is not known here is added, what was decided earlier here is updated, what was decided later \
     stays. All of it is taken over, or nothing. A device needs no new approval: it proves its key, and gets its token \
     when it connects with the shared secret of this gateway. A device that was removed here comes back when it is in the \
     export.",
)
.scopes("operator.admin");
