//! The row of `openclaw completion`.

use super::JSON;
use crate::cli::command::{Command, Flag, Takes};
use crate::cli::completion::{self, SHELLS};

/// `completion`.
pub(super) const COMPLETION: Command = Command::leaf(
    "completion",
    "Print the completion script of a shell, or install it",
    completion::run,
)
.flags(&[&[
    Flag::valued("shell", Takes::Choice("shell", SHELLS), "Shell to complete in")
        .short('s')
        .default("zsh"),
    Flag::switch(
        "write-state",
        "Write the script below the state directory and print nothing",
    ),
    Flag::switch(
        "install",
        "Write it there and have the shell's start-up file read it",
    )
    .short('i'),
    Flag::switch("yes", "With --install: ask nothing").short('y'),
    JSON,
]])
.details(
    "A package has installed the scripts where the shells look for them; --install is for a program that was copied by \
     hand. It adds one marked block to ~/.bashrc, $ZDOTDIR/.zshrc or fish's config.fish and replaces it when it is run again.",
);
