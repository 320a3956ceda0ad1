//! Whether `openclaw.json` can be used.

use crate::cli::doctor::check::{Check, edit};
use crate::cli::doctor::scene::Scene;
use crate::config::Issue;

const ID: &str = "config.valid";

/// `config.valid`.
pub fn checks(scene: &Scene) -> Vec<Check> {
    let path = scene.paths.config_file.to_string_lossy();
    let found = scene.loaded.as_ref();
    let found = found.map(|loaded| (loaded.exists, loaded.warnings.as_slice()));
    vec![judge(&path, found.map_err(Vec::as_slice))]
}

/// `found`: whether the file is there and what it warns of, or its issues.
fn judge(path: &str, found: Result<(bool, &[String]), &[Issue]>) -> Check {
    match found {
        Err(issues) => {
            let what = format!("{path} is not valid: nothing that needs it works");
            let items = issues.iter().map(Issue::to_string).collect();
            Check::fail(ID, what, edit([path])).items(items)
        }
        Ok((false, _)) => Check::ok(ID, format!("there is no {path}; the defaults hold")),
        Ok((true, [])) => Check::ok(ID, format!("{path} is valid")),
        Ok((true, warnings)) => {
            let what = format!("{path} is valid, with warnings");
            Check::warn(ID, what, "openclaw config validate").items(warnings.to_vec())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check::State;

    #[test]
    fn each_file_is_judged_by_what_became_of_it() {
        let warnings = ["missing env var \"X\"".to_owned()];
        let issues = [Issue::root("JSON5 parse failed: … at 1:29")];
        for (found, state, items) in [
            (Ok((false, &[][..])), State::Ok, 0),
            (Ok((true, &[][..])), State::Ok, 0),
            (Ok((true, &warnings[..])), State::Warn, 1),
            (Err(&issues[..]), State::Fail, 1),
        ] {
            let check = judge("/c", found);
            assert_eq!(
                (check.state, check.items.len()),
                (state, items),
                "{check:?}"
            );
            assert_eq!(check.fix.is_some(), items > 0);
            let editor = state == State::Fail;
            let fix = check.fix.unwrap_or_default();
            assert_eq!(fix == "\"${EDITOR:-vi}\" /c", editor, "{fix}");
        }
    }
}
