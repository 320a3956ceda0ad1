//! The row of `openclaw doctor`.

use super::{GATEWAY, TIMEOUT};
use crate::cli::command::{Command, Flag};
use crate::cli::doctor;

/// `doctor`.
pub(super) const DOCTOR: Command = Command::leaf(
    "doctor",
    "Look for what is wrong on this machine, and say what mends it",
    doctor::doctor,
)
.flags(&[
    GATEWAY,
    TIMEOUT,
    &[Flag::switch(
        "fix",
        "Mend what needs no decision: modes of private files, temporary files left behind",
    )],
])
.details(
    "Looks at the configuration, the state directory, where secrets come from (by fingerprint, never by value), services, \
     the port, the clock, the gateway, discovery, TLS, nodes and this machine's node host. It changes nothing without \
     --fix, pairs nothing, and always ends within --timeout. Each line has an id, a state (ok, warn, fail, skipped) and, \
     where something is wrong, the command to type. Exit code 1 when something failed; warnings alone are no failure.",
);
