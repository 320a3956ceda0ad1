//! `completion --write-state` and `--install`: the script below the state directory, and one marked block in the
//! start-up file of the shell that reads it.

use std::fs;
use std::io::{self, ErrorKind, IsTerminal};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::node_join::person::{Person, Script, Terminal};
use crate::config::Paths;
use crate::store::atomic::{self, PRIVATE_FILE, create_private_directory};

/// The first line of the block; the second one reads the script.
const MARK: &str = "# OpenClaw Completion";

/// Writes the script to `<state>/completions/openclaw.<shell>` and returns where it is.
///
/// # Errors
/// The file cannot be written.
pub fn write(paths: &Paths, shell: &str, script: &str) -> Result<PathBuf, CliError> {
    let path = paths
        .state_dir
        .join(format!("completions/openclaw.{shell}"));
    let directory = path.parent().unwrap_or(&paths.state_dir);
    create_private_directory(directory)
        .and_then(|()| atomic::write(&path, script.as_bytes(), PRIVATE_FILE))
        .map_err(|cause| failed("write", &path, &cause))?;
    Ok(path)
}

/// Writes the script and has the shell read it at its start, after a question or `--yes`.
///
/// # Errors
/// Nobody confirmed it; a file cannot be read or written.
pub fn install(invocation: &Invocation, shell: &str, script: &str) -> Result<Answer, CliError> {
    match io::stdin().is_terminal() {
        true => install_with(invocation, shell, script, &mut Terminal),
        false => install_with(invocation, shell, script, &mut Script),
    }
}

fn install_with(
    invocation: &Invocation,
    shell: &str,
    script: &str,
    person: &mut dyn Person,
) -> Result<Answer, CliError> {
    let paths = invocation.paths()?;
    let profile = profile(invocation, &paths, shell);
    let shown = paths.shorten(&profile);
    if !invocation.has("yes") {
        let answer = person.answer(&format!(
            "Have {shown} read the completions of openclaw? [y/N] "
        ));
        let answer = answer.unwrap_or_default();
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Err(CliError::NotConfirmed(
                "Nothing was changed. completion --install edits the start-up file of the shell; confirm with --yes.".into(),
            ));
        }
    }
    let before = match fs::read_to_string(&profile) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(cause) => return Err(failed("read", &profile, &cause)),
    };
    let path = write(&paths, shell, script)?;
    let after = with_block(&before, shell, &path.display().to_string());
    let changed = after != before;
    if changed {
        replace(&profile, &after).map_err(|cause| failed("write", &profile, &cause))?;
    }
    let text = match changed {
        true => {
            format!("{shown} now reads the completions of openclaw; they work in the next {shell}.")
        }
        false => {
            format!("{shown} already reads the completions of openclaw; the script is up to date.")
        }
    };
    Ok(Answer::new(
        json!({"shell": shell, "path": path, "profile": profile, "changed": changed}),
        text,
    ))
}

/// The start-up file of an interactive shell.
fn profile(invocation: &Invocation, paths: &Paths, shell: &str) -> PathBuf {
    let environment = invocation.environment();
    match shell {
        "bash" => paths.home.join(".bashrc"),
        "fish" => {
            let configured = environment.fish_directory().map(PathBuf::from);
            configured
                .unwrap_or_else(|| paths.home.join(".config/fish"))
                .join("config.fish")
        }
        _ => {
            let configured = environment.zsh_directory().map(PathBuf::from);
            configured
                .unwrap_or_else(|| paths.home.clone())
                .join(".zshrc")
        }
    }
}

/// The text with one block that reads the script, in the place of the one that was there.
fn with_block(text: &str, shell: &str, path: &str) -> String {
    let path = format!("'{}'", path.replace('\'', r"'\''"));
    let line = match shell {
        "fish" => format!("test -r {path}; and source {path}"),
        _ => format!("[ -r {path} ] && . {path}"),
    };
    let mut lines: Vec<&str> = text.lines().collect();
    let block = [MARK, &line];
    match lines.iter().position(|line| line.trim_end() == MARK) {
        Some(at) => {
            let ours = |line: &&str| line.contains("/completions/openclaw.");
            let end = at + 1 + usize::from(lines.get(at + 1).is_some_and(ours));
            lines.splice(at..end, block);
        }
        None if lines.is_empty() => lines.extend(block),
        None => lines.extend(["", block[0], block[1]]),
    }
    lines.join("\n") + "\n"
}

/// A start-up file keeps its permissions; one that is new gets the usual ones.
fn replace(profile: &Path, text: &str) -> io::Result<()> {
    const NEW_FILE: u32 = 0o644;
    let mode = fs::metadata(profile).map_or(NEW_FILE, |found| found.permissions().mode() & 0o777);
    if let Some(directory) = profile.parent() {
        fs::create_dir_all(directory)?;
    }
    atomic::write(profile, text.as_bytes(), mode)
}

fn failed(verb: &str, path: &Path, cause: &io::Error) -> CliError {
    CliError::failed(
        "UNAVAILABLE",
        format!("cannot {verb} {}: {cause}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::run;
    use crate::config::testing::Home;

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn write_state_says_nothing_and_keeps_the_script_to_its_owner() {
        let home = Home::new("{}");
        let answer = run(&home, "completion -s bash --write-state").unwrap();
        assert_eq!(answer.text, "");
        let path = home.paths.state_dir.join("completions/openclaw.bash");
        assert_eq!(answer.document.unwrap()["path"], json!(path));
        assert!(text(&path).starts_with("# bash completion"));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            PRIVATE_FILE
        );
    }

    #[test]
    fn install_adds_one_block_and_touches_nothing_else() {
        let home = Home::new("{}");
        let profile = home.paths.home.join(".bashrc");
        fs::write(&profile, "alias ll='ls -l'\n").unwrap();
        fs::set_permissions(&profile, fs::Permissions::from_mode(0o600)).unwrap();
        let first = run(&home, "completion -s bash -i -y").unwrap();
        assert_eq!(first.document.unwrap()["changed"], true);
        let script = home.paths.state_dir.join("completions/openclaw.bash");
        let expected = format!(
            "alias ll='ls -l'\n\n{MARK}\n[ -r '{0}' ] && . '{0}'\n",
            script.display()
        );
        assert_eq!(text(&profile), expected);
        assert_eq!(
            fs::metadata(&profile).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let again = run(&home, "completion -s bash -i -y").unwrap();
        assert_eq!(again.document.unwrap()["changed"], false);
        assert_eq!(text(&profile), expected);
    }

    #[test]
    fn a_block_that_is_there_is_replaced_in_its_place() {
        let old = "a\n# OpenClaw Completion\nsource \"/old/completions/openclaw.zsh\"\nb\n";
        let new = with_block(old, "zsh", "/it's/completions/openclaw.zsh");
        let path = r"'/it'\''s/completions/openclaw.zsh'";
        assert_eq!(new, format!("a\n{MARK}\n[ -r {path} ] && . {path}\nb\n"));
    }

    #[test]
    fn fish_reads_a_file_of_its_own_directory_which_is_made() {
        let mut home = Home::new("{}");
        home.environment.set(
            "XDG_CONFIG_HOME",
            &home.paths.config_file.display().to_string(),
        );
        let refused = run(&home, "completion -s fish -i -y").unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("openclaw.json/fish/config.fish"),
            "{refused}"
        );
        let home = Home::new("{}");
        run(&home, "completion -s fish -i -y").unwrap();
        assert!(text(&home.paths.home.join(".config/fish/config.fish")).contains("; and source "));
    }

    #[test]
    fn without_a_yes_nothing_is_changed() {
        let home = Home::new("{}");
        let invocation =
            crate::cli::testing::invocation(&home, &["completion", "--install"]).unwrap();
        let refused = install_with(&invocation, "zsh", "", &mut Script).unwrap_err();
        assert!(matches!(refused, CliError::NotConfirmed(_)), "{refused}");
        assert!(!home.paths.home.join(".zshrc").exists());
        assert!(!home.paths.state_dir.join("completions").exists());
    }
}
