//! The rows of `openclaw approvals`.

use super::{GATEWAY, RPC, TIMEOUT};
use crate::cli::approvals;
use crate::cli::command::{Argument, Command, Flag};

/// The group.
pub(super) const APPROVALS: Command = Command::group(
    "approvals",
    "Decide which commands may run on this machine, the gateway or a node",
    &[PENDING, RESOLVE],
)
.alias("exec-approvals");

const PENDING: Command = Command::leaf(
    "pending",
    "List the commands that wait for a decision",
    approvals::pending,
)
.flags(&[
    GATEWAY,
    TIMEOUT,
    &[
        Flag::switch(
            "watch",
            "Stay and show them as they come; with --json one object per line",
        ),
        Flag::text("until", "duration", "With --watch: end after this time"),
    ],
])
.details(
    "A gateway asks only while somebody can answer: a command that needs an approval is refused at once when no \
     approver is connected. --watch is one. It stays over restarts of the gateway and ends by Ctrl-C (exit code 130).",
)
.scopes("operator.approvals, operator.read");

const RESOLVE: Command = Command::leaf("resolve", "Decide about one command", approvals::resolve)
    .arguments(&[
        Argument::required("id", "Id of the approval, or a unique prefix"),
        Argument::required("decision", "allow-once, allow-always or deny"),
    ])
    .flags(RPC)
    .details(
        "allow-always also adds the programs of the command to the node's allowlist, never a shell or an interpreter.",
    )
    .scopes("operator.approvals, operator.read");
