//! The rows of `openclaw approvals`.

use super::{GATEWAY, TIMEOUT};
use crate::cli::approvals::{self, allowlist};
use crate::cli::command::{Argument, Command, Flag, Offers, Takes};

/// Default budget of `approvals get`, in milliseconds: a node answers it, which may be slow.
const GET_TIMEOUT: &str = "60000";

/// The group.
pub(super) const APPROVALS: Command = Command::group(
    "approvals",
    "Decide which commands may run on this machine, the gateway or a node",
    &[GET, SET, ALLOWLIST, CHECK, PENDING, RESOLVE],
)
.alias("exec-approvals")
.details(
    "The exec policy of a machine is its exec-approvals.json: the node host there judges by it alone, and edits count \
     at once. Without --gateway and --node the commands work on this machine's own file and need no gateway. A node \
     takes from elsewhere only what narrows its policy, unless its own openclaw.json says \
     nodeHost.execApprovals.remoteEdits: \"widen\".",
);

const NODE: Flag = Flag::text("node", "idOrNameOrIp", "This node, through the gateway");

/// Whose policy is meant.
const PLACE: &[Flag] = &[
    NODE,
    Flag::switch(
        "gateway",
        "The policy of the gateway's host, through the gateway",
    ),
];

const SCOPES: &str = "operator.admin with --gateway or --node, else none";

const GET: Command = Command::leaf(
    "get",
    "Show a machine's exec policy and what comes of it",
    approvals::get,
)
.flags(&[
    PLACE,
    GATEWAY,
    &[Flag::valued(
        "timeout",
        Takes::Milliseconds,
        "Budget for connect, handshake and answer",
    )
    .default(GET_TIMEOUT)],
])
.scopes(SCOPES);

const SET: Command = Command::leaf("set", "Replace a machine's exec policy", approvals::set)
    .flags(&[
        PLACE,
        &[
            Flag::text("file", "path", "The new policy, JSON5"),
            Flag::switch("stdin", "Read the new policy from stdin"),
            Flag::text(
                "base-hash",
                "hex",
                "Replace only what still has this hash (from get --json)",
            ),
        ],
        GATEWAY,
        TIMEOUT,
    ])
    .details(
        "The text is checked before anything is written: an unknown member or value is refused with line and column. \
         The secret of the socket stays when the text does not name one.",
    )
    .scopes(SCOPES);

const RULE: &[&[Flag]] = &[
    PLACE,
    &[Flag::text("agent", "id", "The agent the rule is for; * is every agent").default("*")],
    GATEWAY,
    TIMEOUT,
];

const PATTERN: Argument = Argument::required(
    "pattern",
    "Path of a program, a pattern of paths (quote it), or a bare name",
);

const ALLOWLIST: Command = Command::group(
    "allowlist",
    "Add or remove one rule of a machine's allowlist",
    &[
        Command::leaf("add", "Let a program run", allowlist::add)
            .arguments(&[PATTERN])
            .flags(RULE)
            .details(
                "/usr/bin/uname covers that program however it is called; uname covers whichever program of that \
                 name comes first on the search path, typed without a path; in a path * and ? stand for anything but \
                 /, ** for anything, ~ for the home of the user who runs the node host. Arguments are not matched.",
            )
            .scopes(SCOPES),
        Command::leaf("remove", "Take a rule back", allowlist::remove)
            .arguments(&[PATTERN])
            .flags(RULE)
            .scopes(SCOPES),
    ],
);

const CHECK: Command = Command::leaf(
    "check",
    "Say whether a machine would run a command, and why; nothing is run",
    approvals::check,
)
.arguments(&[Argument::required(
    "command",
    "Program and arguments; everything behind -- belongs to it",
)
.many()
.offers(Offers::Commands)])
.flags(&[
    &[
        NODE,
        Flag::text("cwd", "dir", "Where the command would run"),
        Flag::text("agent", "id", "The agent it would run for (default: main)"),
    ],
    GATEWAY,
    TIMEOUT,
])
.details(
    "Example: openclaw approvals check --node pi -- git status. The exit code is 0 when the command would run and 1 \
     when it would be refused or could not start. Without --node this machine's own files decide, with the search path of this shell; a \
     node asked by --node answers for itself, with the search path of its node host. What an approver might still \
     allow counts as refused.",
)
.scopes("operator.read and operator.write with --node, else none");

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
    .flags(super::RPC)
    .details(
        "allow-always also adds the programs of the command to the node's allowlist, never a shell or an interpreter.",
    )
    .scopes("operator.approvals, operator.read");
