//! The rows of `openclaw audit`.

use super::JSON;
use crate::cli::audit;
use crate::cli::command::{Command, Flag};

/// The group.
pub(super) const AUDIT: Command = Command::group(
    "audit",
    "Read and check the trail of decisions on this machine",
    &[TAIL, VERIFY],
);

/// Whose trail.
const NODE: Flag = Flag::switch(
    "node",
    "The trail of this machine's node host instead of its gateway's",
);

const TAIL: Command = Command::leaf("tail", "Show the newest lines", audit::tail)
    .flags(&[&[
        Flag::text("lines", "count", "How many lines (with --since: all)")
            .short('n')
            .default("20"),
        Flag::switch(
            "follow",
            "Stay and show lines as they come; with --json one object per line",
        )
        .short('f'),
        Flag::text("since", "duration", "Only lines of this time, e.g. 1h"),
        Flag::text("kind", "kind", "Only lines of these kinds, e.g. device or node.approve").many(),
        NODE,
        JSON,
    ]])
    .details(
        "The trail is audit.jsonl in the state directory, and the files it was moved aside to. It works with and \
         without a running gateway. --follow stays over rotations and ends by Ctrl-C (exit code 130).",
    );

const VERIFY: Command = Command::leaf(
    "verify",
    "Check that no line was changed, removed or put in later",
    audit::verify,
)
.flags(&[&[
    Flag::text(
        "expect",
        "number:chain",
        "The end of the chain that an earlier check printed must still be there",
    ),
    NODE,
    JSON,
]])
.details(
    "Every line carries its number and a SHA-256 over itself and all lines before it. The exit code is 1 at the first \
     break, with its file and line. Lines from before there was a chain are counted, a line that a crash tore is no \
     break, and pairings that no line explains are warned of. Who may write the file could compute the whole chain \
     anew: keep the end of the chain elsewhere and pass it to --expect.",
);
