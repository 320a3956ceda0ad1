//! What is committed and made from the tables: completion scripts and manual pages. `make generate` writes it, a test
//! compares it.

use crate::cli::completion::{SHELLS, script};
use crate::cli::manual;
use crate::cli::table::ROOT;

/// Every file by its path from the top of the repository, with its text.
pub fn files() -> Vec<(String, String)> {
    let scripts = SHELLS.iter().map(|shell| {
        // The names under which each shell looks for it.
        let name = match *shell {
            "bash" => "openclaw".to_owned(),
            "zsh" => "_openclaw".to_owned(),
            other => format!("openclaw.{other}"),
        };
        (
            format!("contrib/completions/{shell}/{name}"),
            script(shell, &ROOT),
        )
    });
    let pages = manual::pages(&ROOT).into_iter();
    scripts
        .chain(pages.map(|(name, text)| (format!("contrib/man/{name}"), text)))
        .collect()
}
