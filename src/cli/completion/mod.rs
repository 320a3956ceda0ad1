//! `completion`: the scripts with which shells complete this program, made from the command table (cli.md §2.10).
//!
//! Nothing is asked and no configuration is read. The same scripts are committed below `contrib/completions`.

use serde_json::json;

use crate::cli::answer::Answer;
use crate::cli::command::Command;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::table::ROOT;
use crate::config::key::KEYS;

pub mod bash;
pub mod fish;
pub mod install;
pub mod zsh;

/// The shells that can be completed in, by the names of their programs.
pub const SHELLS: &[&str] = &["bash", "fish", "zsh"];

/// The second half of every script's first line.
const HEAD: &str = "Made from the command table; do not edit.";

/// Prints the script of a shell, writes it below the state directory, or installs it for the user.
///
/// # Errors
/// A file cannot be read or written; the change of a start-up file was not confirmed.
pub fn run(invocation: &Invocation) -> Result<Answer, CliError> {
    let shell = invocation.text("shell").unwrap_or("zsh");
    let script = script(shell, &ROOT);
    if invocation.has("install") {
        return install::install(invocation, shell, &script);
    }
    if invocation.has("write-state") {
        let path = install::write(&invocation.paths()?, shell, &script)?;
        return Ok(Answer::new(json!({"shell": shell, "path": path}), ""));
    }
    Ok(Answer::new(
        json!({"shell": shell, "script": script}),
        script,
    ))
}

/// The script of one of [`SHELLS`]; of zsh for any other name.
pub fn script(shell: &str, root: &'static Command) -> String {
    match shell {
        "bash" => bash::script(root),
        "fish" => fish::script(root),
        _ => zsh::script(root),
    }
}

/// The keys of the configuration that can be typed as they stand in the table.
fn config_keys() -> Vec<&'static str> {
    let typed = KEYS
        .iter()
        .filter(|key| key.is_used() && !key.path.contains(['*', '$']));
    typed.map(|key| key.path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::run as answer;
    use crate::config::testing::Home;

    #[test]
    fn a_script_is_printed_for_the_shell_that_is_asked_for() {
        let home = Home::new("{broken");
        for (line, start) in [
            ("completion", "#compdef openclaw"),
            ("completion -s bash", "# bash completion"),
            ("completion --shell fish", "# fish completion"),
        ] {
            let answer = answer(&home, line).unwrap();
            assert!(answer.text.starts_with(start), "{line}");
            assert_eq!(answer.document.unwrap()["script"], answer.text, "{line}");
        }
    }

    #[test]
    fn scripts_name_nested_commands_flags_and_values() {
        for shell in SHELLS {
            let script = script(shell, &ROOT);
            for word in [
                "preapprove",
                "limits",
                "exec-approvals",
                "print-join-command",
                "trusted-proxy",
                "gateway.bind",
            ] {
                assert!(script.contains(word), "{shell}: {word}");
            }
            assert!(
                !script.contains("cli-backend-logs"),
                "{shell}: hidden options stay hidden"
            );
        }
    }
}
