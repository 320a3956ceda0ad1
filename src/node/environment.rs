//! The environment of a run: which overrides a caller may set and what a child inherits.
//!
//! Pure functions over name and value pairs (node-host specification, section 2.5). Names are compared
//! upper-cased. Nothing here reads the process environment; the host passes its own in.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use super::blocked_names::{
    EVERYWHERE, INHERITABLE, OVERRIDE_ONLY, PREFIXES_EVERYWHERE, PREFIXES_OVERRIDE, SECRETS,
    SHELL_SAFE,
};

/// Environment variables a caller sets, by name.
pub type Variables = BTreeMap<String, String>;

/// The whole environment of a child, sorted so that tests and children see one order.
pub type ChildEnvironment = BTreeMap<OsString, OsString>;

/// What a caller's environment is refused for; Display is the wire message (code `INVALID_REQUEST`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvironmentRefusal {
    /// `env NAME=value` prefixes of the command name blocked variables, sorted and unique.
    Assignments(Vec<String>),
    /// The `env` parameter holds names that are blocked or not portable, each list sorted and unique.
    Overrides {
        /// Blocked names, upper-cased.
        blocked: Vec<String>,
        /// Names that are no portable variable names, as given (trimmed).
        invalid: Vec<String>,
    },
}

impl std::fmt::Display for EnvironmentRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Assignments(names) => write!(
                f,
                "SYSTEM_RUN_DENIED: command env assignment rejected (blocked env assignment keys: {})",
                names.join(", ")
            ),
            Self::Overrides { blocked, invalid } => {
                let mut parts = Vec::new();
                if !blocked.is_empty() {
                    parts.push(format!("blocked override keys: {}", blocked.join(", ")));
                }
                if !invalid.is_empty() {
                    let names = invalid.join(", ");
                    parts.push(format!("invalid non-portable override keys: {names}"));
                }
                let parts = parts.join("; ");
                write!(
                    f,
                    "SYSTEM_RUN_DENIED: environment override rejected ({parts})"
                )
            }
        }
    }
}

impl std::error::Error for EnvironmentRefusal {}

/// Checks the `env` parameter of a run and returns it with trimmed names.
pub fn check_overrides(overrides: &Variables) -> Result<Variables, EnvironmentRefusal> {
    let mut blocked = BTreeSet::new();
    let mut invalid = BTreeSet::new();
    let mut accepted = Variables::new();
    for (name, value) in overrides {
        let trimmed = name.trim();
        let upper = trimmed.to_uppercase();
        if !is_portable(trimmed) {
            invalid.insert(if trimmed.is_empty() {
                name.clone()
            } else {
                trimmed.to_owned()
            });
        } else if blocks_override(&upper) {
            blocked.insert(upper);
        } else {
            accepted.insert(trimmed.to_owned(), value.clone());
        }
    }
    if blocked.is_empty() && invalid.is_empty() {
        return Ok(accepted);
    }
    Err(EnvironmentRefusal::Overrides {
        blocked: blocked.into_iter().collect(),
        invalid: invalid.into_iter().collect(),
    })
}

/// Checks the names that `env NAME=value` prefixes of a command assign.
pub fn check_assignments<'a>(
    names: impl IntoIterator<Item = &'a str>,
) -> Result<(), EnvironmentRefusal> {
    let blocked: BTreeSet<String> = names
        .into_iter()
        .map(str::to_uppercase)
        .filter(|name| blocks_override(name))
        .collect();
    if blocked.is_empty() {
        return Ok(());
    }
    Err(EnvironmentRefusal::Assignments(
        blocked.into_iter().collect(),
    ))
}

/// The whole environment of a child: the host's own without what a child must not inherit, the
/// overrides that survive, `PATH` as the host searches it, and the marks of a run.
///
/// `overrides` must have passed [`check_overrides`]; `shell` says that the command is a shell, which
/// lets only terminal and locale overrides through.
pub fn child_environment<'a>(
    own: impl IntoIterator<Item = (&'a OsStr, &'a OsStr)>,
    overrides: &Variables,
    shell: bool,
    path: &str,
) -> ChildEnvironment {
    let mut child: ChildEnvironment = own
        .into_iter()
        .filter(|(name, _)| !blocks_inheriting(&upper(name)))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for (name, value) in overrides {
        if !shell || is_shell_safe(&name.to_uppercase()) {
            child.insert(name.into(), value.into());
        }
    }
    child.retain(|name, _| !SECRETS.contains(&upper(name).as_str()));
    for (name, value) in [
        ("PATH", path),
        ("OPENCLAW_CLI", "1"),
        ("OPENCLAW_SHELL", "exec"),
    ] {
        child.insert(name.into(), value.into());
    }
    child
}

fn upper(name: &OsStr) -> String {
    name.to_string_lossy().to_uppercase()
}

fn blocks_override(upper: &str) -> bool {
    upper == "PATH"
        || EVERYWHERE.contains(&upper)
        || OVERRIDE_ONLY.contains(&upper)
        || has_prefix(upper, PREFIXES_EVERYWHERE)
        || has_prefix(upper, PREFIXES_OVERRIDE)
}

fn blocks_inheriting(upper: &str) -> bool {
    EVERYWHERE.contains(&upper)
        || (OVERRIDE_ONLY.contains(&upper) && !INHERITABLE.contains(&upper))
        || has_prefix(upper, PREFIXES_EVERYWHERE)
}

fn is_shell_safe(upper: &str) -> bool {
    SHELL_SAFE.contains(&upper) || upper.starts_with("LC_")
}

fn has_prefix(upper: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| upper.starts_with(prefix))
}

/// `^[A-Za-z_][A-Za-z0-9_()]*$`
fn is_portable(name: &str) -> bool {
    let mut bytes = name.bytes();
    let starts = bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    starts && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'(' | b')'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn overrides_are_judged_by_name() {
        let both = "SYSTEM_RUN_DENIED: environment override rejected (blocked override keys: \
                    LD_PRELOAD, PATH; invalid non-portable override keys: bad-key)";
        let cases: &[(&[&str], Option<&str>)] = &[
            (&["FOO", "foo_BAR", "_x", "f()"], None),
            (&["ld_preload", "PATH", "bad-key"], Some(both)),
            (
                &["1A", ""],
                Some(
                    "SYSTEM_RUN_DENIED: environment override rejected (invalid non-portable override keys: , 1A)",
                ),
            ),
            (
                &["HOME"],
                Some(
                    "SYSTEM_RUN_DENIED: environment override rejected (blocked override keys: HOME)",
                ),
            ),
            (
                &[
                    "git_config_count",
                    "TF_VAR_x",
                    "NPM_CONFIG_REGISTRY",
                    "CARGO_REGISTRIES_A_INDEX",
                ],
                Some(
                    "SYSTEM_RUN_DENIED: environment override rejected (blocked override keys: \
                     CARGO_REGISTRIES_A_INDEX, GIT_CONFIG_COUNT, NPM_CONFIG_REGISTRY, TF_VAR_X)",
                ),
            ),
            (
                &["DYLD_INSERT_LIBRARIES", "BASH_FUNC_x()"],
                Some(
                    "SYSTEM_RUN_DENIED: environment override rejected (blocked override keys: \
                     BASH_FUNC_X(), DYLD_INSERT_LIBRARIES)",
                ),
            ),
        ];
        for (names, expected) in cases {
            let given = variables(&names.iter().map(|name| (*name, "v")).collect::<Vec<_>>());
            let refusal = check_overrides(&given)
                .err()
                .map(|refusal| refusal.to_string());
            assert_eq!(refusal.as_deref(), *expected, "{names:?}");
        }
    }

    #[test]
    fn assignments_go_through_the_same_list() {
        assert_eq!(check_assignments(["FOO", "LANG"]), Ok(()));
        assert_eq!(
            check_assignments(["node_options", "FOO"])
                .unwrap_err()
                .to_string(),
            "SYSTEM_RUN_DENIED: command env assignment rejected (blocked env assignment keys: NODE_OPTIONS)"
        );
    }

    #[test]
    fn children_inherit_only_what_they_may() {
        let own = [
            ("HOME", "/home/u"),
            ("LD_PRELOAD", "x.so"),
            ("NODE_OPTIONS", "--inspect"),
            ("GITHUB_TOKEN", "secret"),
            ("https_proxy", "http://p"),
            ("SSH_AUTH_SOCK", "/s"),
            ("GIT_CONFIG_COUNT", "1"),
            ("OPENCLAW_GATEWAY_TOKEN", "t"),
            ("OPENCLAW_GATEWAY_PASSWORD", "p"),
            ("EDITOR", "vi"),
            ("CUSTOM", "1"),
            ("PATH", "/old"),
        ];
        let overrides = variables(&[
            ("CUSTOM", "2"),
            ("LC_TIME", "C"),
            ("term", "dumb"),
            ("OPENCLAW_GATEWAY_TOKEN", "again"),
            ("OPENCLAW_CLI", "0"),
        ]);
        let common = [
            ("GIT_CONFIG_COUNT", "1"),
            ("HOME", "/home/u"),
            ("LC_TIME", "C"),
            ("OPENCLAW_CLI", "1"),
            ("OPENCLAW_SHELL", "exec"),
            ("PATH", "/bin"),
            ("SSH_AUTH_SOCK", "/s"),
            ("https_proxy", "http://p"),
            ("term", "dumb"),
        ];
        for (shell, custom) in [(false, "2"), (true, "1")] {
            let own = own
                .iter()
                .map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
            let custom = [("CUSTOM", custom)];
            let expected = common.iter().chain(&custom);
            let expected = expected
                .map(|(name, value)| (name.into(), value.into()))
                .collect();
            let found = child_environment(own, &overrides, shell, "/bin");
            assert_eq!(found, expected, "shell={shell}");
        }
    }

    #[test]
    fn tables_are_upper_case_and_without_doubles() {
        for table in [EVERYWHERE, OVERRIDE_ONLY, INHERITABLE, SHELL_SAFE, SECRETS] {
            let unique: BTreeSet<_> = table.iter().collect();
            assert_eq!(unique.len(), table.len());
            assert!(table.iter().all(|name| **name == name.to_uppercase()));
        }
        assert!(OVERRIDE_ONLY.iter().all(|name| !EVERYWHERE.contains(name)));
        assert!(INHERITABLE.iter().all(|name| OVERRIDE_ONLY.contains(name)));
    }
}
