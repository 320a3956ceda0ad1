//! Whether an allowlist covers a command (node-host specification, sections 3.4 and 3.8).
//!
//! Understood are rules that are an exact absolute path, a bare program name, or exactly `*`. Globs,
//! argument patterns and command fingerprints satisfy nothing; neither do shells and wrapped commands.

use std::path::{Component, Path, PathBuf};

use super::document::Entry;
use super::miss::Miss;
use crate::exec::which::{self, Unresolved};
use crate::exec::wrapper::{NEVER_UNWRAPPED, Unwrapped, base_name};

/// A command as the judgement sees it.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// The argv and what stands behind its wrappers.
    pub unwrapped: &'a Unwrapped<'a>,
    /// Where the effective program was found: absolute, not canonical.
    pub resolved: Result<PathBuf, Unresolved>,
    /// What `~` means in a rule.
    pub home: Option<&'a Path>,
}

/// The result of looking for a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement<'a> {
    /// A rule covers the command.
    Allowed {
        /// The rule.
        entry: &'a Entry,
        /// Its place in the list, from 0.
        index: usize,
    },
    /// None does.
    Missed(Miss),
}

/// Looks for the first rule that covers the command.
pub fn judge<'a>(candidate: &Candidate<'_>, rules: &[&'a Entry]) -> Judgement<'a> {
    let miss = match covered_form(candidate) {
        Ok(resolved) => {
            let mut skipped = Vec::new();
            for (index, entry) in rules.iter().enumerate() {
                match matches(entry, candidate, resolved.as_deref()) {
                    Some(true) => return Judgement::Allowed { entry, index },
                    Some(false) => {}
                    None => skipped.push(entry.pattern.trim().to_owned()),
                }
            }
            match resolved {
                Some(path) => Miss::NoRule { path, skipped },
                None => Miss::NotFound(typed(candidate).to_owned()),
            }
        }
        Err(miss) => miss,
    };
    Judgement::Missed(miss)
}

/// The forms of a command that rules are evaluated for; gives the normalised path of the program.
fn covered_form(candidate: &Candidate<'_>) -> Result<Option<PathBuf>, Miss> {
    let unwrapped = candidate.unwrapped;
    let typed = typed(candidate);
    let name = base_name(typed);
    if unwrapped.is_shell() {
        return Err(Miss::Shell(name));
    }
    if unwrapped.blocked || unwrapped.wrappers > 0 || NEVER_UNWRAPPED.contains(&name.as_str()) {
        return Err(Miss::Wrapper(name));
    }
    if Path::new(typed)
        .components()
        .any(|part| part == Component::ParentDir)
    {
        return Err(Miss::ParentDirectory(typed.to_owned()));
    }
    Ok(candidate
        .resolved
        .as_ref()
        .ok()
        .map(|path| which::normalize(path)))
}

/// True and false are answers; `None` is a rule that is not evaluated.
fn matches(rule: &Entry, candidate: &Candidate<'_>, resolved: Option<&Path>) -> Option<bool> {
    let pattern = rule.pattern.trim();
    if rule.arg_pattern.is_some() || pattern.starts_with('=') {
        return None;
    }
    if pattern == "*" {
        return Some(true);
    }
    if pattern.contains(['*', '?']) {
        return None;
    }
    let Some(resolved) = resolved else {
        return Some(false);
    };
    if pattern.contains(['/', '\\', '~']) {
        let path = which::expand_home(pattern, candidate.home);
        return Some(path.is_absolute() && which::normalize(&path) == resolved);
    }
    let typed = typed(candidate);
    let bare = !typed.contains(['/', '\\', '~']);
    Some(bare && (typed == pattern || resolved.file_name().is_some_and(|name| name == pattern)))
}

fn typed<'a>(candidate: &Candidate<'a>) -> &'a str {
    candidate
        .unwrapped
        .effective
        .first()
        .map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::wrapper::unwrap;

    /// The vectors of the specification's section 7, with programs at their usual places. `miss!` marks
    /// commands the full policy allows and this evaluator refuses for want of analysis.
    #[test]
    fn vectors() {
        let rules = ["/usr/bin/git", "echo", "/w/**", "~/bin/tool", "/w/x y"].map(Entry::new);
        let rules: Vec<&Entry> = rules.iter().collect();
        let cases = [
            ("git|--version", "run"),
            ("/usr/bin/git|--version", "run"),
            ("echo|x", "run"),
            ("/bin/echo|x", "miss"),
            ("/w/x y", "run"),
            ("/home/u/bin/tool", "run"),
            ("~/bin/tool", "run"),
            ("tool", "miss"),
            ("/usr/bin/../bin/git", "miss"),
            ("./echo", "miss"),
            ("head|-n|1", "miss!"),
            ("head|/etc/passwd", "miss"),
            ("./s.sh", "miss!"),
            ("sh|s.sh", "miss!"),
            ("sh|-c|echo a && git --version", "miss!"),
            ("sh|-c|echo a > /tmp/x", "miss"),
            ("nice|-n|3|echo|x", "miss!"),
            ("env|echo|x", "miss!"),
            ("timeout|5|echo|x", "miss!"),
            ("nohup|echo|x", "miss!"),
            ("busybox|sh|-c|echo x", "miss!"),
            ("env|FOO=1|echo|x", "miss"),
            ("sudo|echo|x", "miss"),
            ("sh|-c|$0 \"$@\"|echo|hi", "miss"),
            ("absent", "miss"),
        ];
        for (line, expected) in cases {
            let argv: Vec<String> = line.split('|').map(str::to_owned).collect();
            let unwrapped = unwrap(&argv);
            let found = judge(&candidate(&unwrapped), &rules);
            let allowed = matches!(found, Judgement::Allowed { .. });
            assert_eq!(allowed, expected == "run", "{line}: {found:?}");
        }
    }

    fn candidate<'a>(unwrapped: &'a Unwrapped<'a>) -> Candidate<'a> {
        let typed = unwrapped.effective[0].as_str();
        let resolved = match typed {
            "absent" => Err(Unresolved::NotFound),
            "~/bin/tool" => Ok(PathBuf::from("/home/u/bin/tool")),
            "tool" => Ok(PathBuf::from("/opt/tool")),
            name if name.contains('/') => Ok(Path::new("/w").join(name)),
            name => Ok(Path::new("/usr/bin").join(name)),
        };
        Candidate {
            unwrapped,
            resolved,
            home: Some(Path::new("/home/u")),
        }
    }

    #[test]
    fn star_allows_programs_but_no_wrapper_and_no_shell() {
        let star = Entry::new(" * ");
        for (line, allowed) in [
            ("anything", true),
            ("absent", true),
            ("sudo|ls", false),
            ("sh|-c|ls", false),
        ] {
            let argv: Vec<String> = line.split('|').map(str::to_owned).collect();
            let unwrapped = unwrap(&argv);
            let found = judge(&candidate(&unwrapped), &[&star]);
            assert_eq!(
                matches!(found, Judgement::Allowed { .. }),
                allowed,
                "{line}"
            );
        }
    }

    #[test]
    fn rules_that_are_not_evaluated_are_named() {
        let mut conditional = Entry::new("/usr/bin/ls");
        conditional.arg_pattern = Some("-l".to_owned());
        let glob = Entry::new("/usr/bin/*");
        let fingerprint = Entry::new("=command:27de7c1b9fae1985");
        let argv = vec!["ls".to_owned()];
        let unwrapped = unwrap(&argv);
        let Judgement::Missed(miss) =
            judge(&candidate(&unwrapped), &[&conditional, &glob, &fingerprint])
        else {
            unreachable!("nothing here is evaluated")
        };
        assert_eq!(
            miss.to_string(),
            "no allowlist rule names /usr/bin/ls; only exact paths and names count here, not: \
             /usr/bin/ls, /usr/bin/*, =command:27de7c1b9fae1985"
        );
        assert_eq!(miss.pattern().as_deref(), Some("/usr/bin/ls"));
    }
}
