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
