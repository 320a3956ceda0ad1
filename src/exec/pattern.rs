//! Patterns of rules (node-host specification, section 3.4).
//!
//! `**` is any text, `*` any text without `/`, `?` one character but `/`; everything else means itself.
//! Anchored at both ends, case counts.

use std::path::{Component, Path};

use super::which;

/// Characters of a pattern that is matched at most; a longer one matches nothing.
const MAX_PATTERN: usize = 4096;

/// The pattern that covers every command whose wrappers do not forbid it.
pub const EVERYTHING: &str = "*";

/// What a rule's pattern says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// Exactly `*`.
    Everything,
    /// A fingerprint of one command line; it covers no program.
    Fingerprint(String),
    /// A program typed without a path, by its name.
    Name(String),
    /// Nothing: a relative home without a home, a `..`, or too long.
    Nothing,
    /// A path, as found on the search path or typed.
    Path(String),
}

impl Pattern {
    /// Reads a rule's pattern; `home` is what a leading `~` means.
    pub fn read(text: &str, home: Option<&Path>) -> Self {
        let text = text.trim();
        if text == EVERYTHING {
            return Self::Everything;
        }
        if let Some(fingerprint) = text.strip_prefix('=') {
            return Self::Fingerprint(fingerprint.to_owned());
        }
        if text.is_empty() || text.len() > MAX_PATTERN {
            return Self::Nothing;
        }
        if !text.contains(['/', '\\', '~']) {
            return Self::Name(text.to_owned());
        }
        let path = which::expand_home(text, home);
        let through_parent = path.components().any(|part| part == Component::ParentDir);
        match path.to_str() {
            Some(path) if !through_parent && !path.starts_with('~') => {
                // Repeated slashes and `.` are the same path.
                Self::Path(which::normalize(Path::new(path)).display().to_string())
            }
            _ => Self::Nothing,
        }
    }

    /// True when it covers a program at this path, absolute and without `.` and `..`.
    pub fn covers_path(&self, path: &Path) -> bool {
        match self {
            Self::Everything => true,
            Self::Path(pattern) => path.to_str().is_some_and(|path| glob(pattern, path)),
            Self::Fingerprint(_) | Self::Name(_) | Self::Nothing => false,
        }
    }

    /// True when it covers a program that was typed without a path.
    pub fn covers_name(&self, name: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Name(pattern) => glob(pattern, name),
            Self::Fingerprint(_) | Self::Nothing | Self::Path(_) => false,
        }
    }
}

/// The steps of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Any,
    AnyInside,
    One,
    This(char),
}

/// Matches a whole text; time is bounded by the product of both lengths.
fn glob(pattern: &str, text: &str) -> bool {
    let mut steps = Vec::new();
    for c in pattern.chars() {
        let step = match (c, steps.last()) {
            ('*', Some(Step::AnyInside | Step::Any)) => {
                steps.pop();
                Step::Any
            }
            ('*', _) => Step::AnyInside,
            ('?', _) => Step::One,
            (c, _) => Step::This(c),
        };
        steps.push(step);
    }
    // reached[n]: the text so far is matched by the first n steps.
    let mut reached = vec![false; steps.len() + 1];
    reached[0] = true;
    skip_empty(&steps, &mut reached);
    for c in text.chars() {
        let mut next = vec![false; steps.len() + 1];
        for (at, step) in steps.iter().enumerate().filter(|(at, _)| reached[*at]) {
            match step {
                Step::Any => next[at] = true,
                Step::AnyInside if c != '/' => next[at] = true,
                Step::One if c != '/' => next[at + 1] = true,
                Step::This(wanted) if *wanted == c => next[at + 1] = true,
                _ => {}
            }
        }
        skip_empty(&steps, &mut next);
        reached = next;
    }
    reached.last() == Some(&true)
}

/// Steps that may match nothing are passed over.
fn skip_empty(steps: &[Step], reached: &mut [bool]) {
    for (at, step) in steps.iter().enumerate() {
        if reached[at] && matches!(step, Step::Any | Step::AnyInside) {
            reached[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        let home = Some(Path::new("/home/u"));
        // pattern, path, covered
        let cases = [
            ("/usr/bin/git", "/usr/bin/git", true),
            (" /usr/bin/git ", "/usr/bin/git", true),
            ("/usr//bin/./git", "/usr/bin/git", true),
            ("/usr/bin/git", "/usr/bin/gitk", false),
            ("/usr/bin/gi", "/usr/bin/git", false),
            ("/usr/bin/GIT", "/usr/bin/git", false),
            ("/usr/bin/*", "/usr/bin/git", true),
            ("/usr/bin/*", "/usr/bin/", true),
            ("/usr/*", "/usr/bin/git", false),
            ("/usr/**", "/usr/bin/git", true),
            ("/usr/**", "/usr", false),
            ("/w/**/bin/rg", "/w/a/b/bin/rg", true),
            ("/w/**/bin/rg", "/w/bin/rg", false),
            ("**/bin/rg", "/usr/bin/rg", true),
            ("/w/***", "/w/a/b", true),
            ("/w/a?c", "/w/abc", true),
            ("/w/a?c", "/w/a/c", false),
            ("/w/[ab]", "/w/a", false),
            ("/w/[ab]", "/w/[ab]", true),
            ("/w/{a,b}", "/w/a", false),
            ("~/bin/*", "/home/u/bin/x", true),
            ("~", "/home/u", true),
            ("~root/x", "/root/x", false),
            ("/w/../t/x", "/t/x", false),
            ("bin/x", "/w/bin/x", false),
            ("git", "/usr/bin/git", false),
            ("*", "/usr/bin/git", true),
            ("=command:27de7c1b9fae1985", "/usr/bin/git", false),
            ("", "/usr/bin/git", false),
            ("/w/ü?", "/w/üä", true),
        ];
        for (pattern, path, covered) in cases {
            let read = Pattern::read(pattern, home);
            assert_eq!(
                read.covers_path(Path::new(path)),
                covered,
                "{pattern} {path}"
            );
        }
        let homeless = Pattern::read("~/bin/*", None);
        assert!(!homeless.covers_path(Path::new("/home/u/bin/x")));
        assert!(!homeless.covers_path(Path::new("~/bin/x")));
    }

    #[test]
    fn names_match_programs_typed_without_a_path() {
        for (pattern, name, covered) in [
            ("git", "git", true),
            ("git", "gitk", false),
            ("git*", "gitk", true),
            ("*", "git", true),
            ("/usr/bin/git", "git", false),
            ("=git", "git", false),
        ] {
            let read = Pattern::read(pattern, None);
            assert_eq!(read.covers_name(name), covered, "{pattern} {name}");
        }
    }

    #[test]
    fn hostile_patterns_cost_no_more_than_their_length() {
        let pattern = format!("/{}b", "**a".repeat(200));
        let path = format!("/{}", "a".repeat(1000));
        assert!(!Pattern::read(&pattern, None).covers_path(Path::new(&path)));
        let long = format!("/{}", "x".repeat(MAX_PATTERN));
        assert_eq!(Pattern::read(&long, None), Pattern::Nothing);
    }
}
