//! The environment of a run: which overrides a caller may set and what a child inherits.
//!
//! Pure functions over name and value pairs (node-host specification, section 2.5). Names are compared
//! upper-cased. Nothing here reads the process environment; the host passes its own in.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use super::blocked_names::{
    ALSO_OVERRIDE, EVERYWHERE, HARMLESS, INHERITABLE, OVERRIDE_ONLY, PREFIXES_EVERYWHERE,
    PREFIXES_OVERRIDE, PRIVATE,
};

/// Characters of a secret that is recognised by its value.
const SHORTEST_SECRET: usize = 8;

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
    let mut child = inherited(own, path);
    for (name, value) in overrides {
        if reaches_child(name, shell) {
            child.insert(name.into(), value.into());
        }
    }
    for (name, value) in [
        ("PATH", path),
        ("OPENCLAW_CLI", "1"),
        ("OPENCLAW_SHELL", "exec"),
    ] {
        child.insert(name.into(), value.into());
    }
    child
}

/// The names of the overrides that reach a child and may change what it does, or runs: any but those of terminal
/// and locale. No list of names could be complete, every program reads its own.
///
/// `overrides` and `shell` are as for [`child_environment`].
pub fn steering(overrides: &Variables, shell: bool) -> Vec<&str> {
    let names = overrides.keys().map(String::as_str);
    names
        .filter(|name| reaches_child(name, shell) && !is_harmless(&name.to_uppercase()))
        .collect()
}

/// What every program that this host starts inherits: the host's own environment without what a child must not
/// have, and `PATH` as the host searches it.
pub fn inherited<'a>(
    own: impl IntoIterator<Item = (&'a OsStr, &'a OsStr)>,
    path: &str,
) -> ChildEnvironment {
    let mut child: ChildEnvironment = own
        .into_iter()
        .filter(|(name, _)| !blocks_inheriting(&upper(name)) && !is_private(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    child.insert("PATH".into(), path.into());
    child
}

/// The host's own environment without variables that hold one of `secrets`, whatever they are called: a
/// configuration may take a credential from a variable of any name. Secrets too short to be one are not
/// looked for, they would match by chance.
pub fn without_secrets<'a>(
    own: impl IntoIterator<Item = (&'a OsStr, &'a OsStr)>,
    secrets: &[&str],
) -> Vec<(OsString, OsString)> {
    let holds = |value: &OsStr| {
        let value = value.to_string_lossy();
        let found = |secret: &&str| secret.len() >= SHORTEST_SECRET && value.trim() == *secret;
        secrets.iter().any(found)
    };
    own.into_iter()
        .filter(|(_, value)| !holds(value))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn upper(name: &OsStr) -> String {
    name.to_string_lossy().to_uppercase()
}

fn blocks_override(upper: &str) -> bool {
    upper == "PATH"
        || EVERYWHERE.contains(&upper)
        || OVERRIDE_ONLY.contains(&upper)
        || ALSO_OVERRIDE.contains(&upper)
        || has_prefix(upper, PREFIXES_EVERYWHERE)
        || has_prefix(upper, PREFIXES_OVERRIDE)
}

fn blocks_inheriting(upper: &str) -> bool {
    EVERYWHERE.contains(&upper)
        || (OVERRIDE_ONLY.contains(&upper) && !INHERITABLE.contains(&upper))
        || has_prefix(upper, PREFIXES_EVERYWHERE)
}

fn reaches_child(name: &str, shell: bool) -> bool {
    !is_private(name.as_ref()) && (!shell || is_harmless(&name.to_uppercase()))
}

fn is_private(name: &OsStr) -> bool {
    PRIVATE.contains(&upper(name).as_str())
}

fn is_harmless(upper: &str) -> bool {
    HARMLESS.contains(&upper) || upper.starts_with("LC_")
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
            ("OPENCLAW_SETUP_CODE", "c"),
            ("CLAWDBOT_GATEWAY_TOKEN", "t"),
            ("NOTIFY_SOCKET", "/run/n"),
            ("WATCHDOG_USEC", "1"),
            ("INVOCATION_ID", "0123"),
            ("OPENCLAW_SERVICE_KIND", "node"),
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
    fn a_secret_is_kept_back_under_any_name() {
        let own = [
            ("MY_GATEWAY_KEY", " s3cret-value "),
            ("OTHER", "s3cret"),
            ("ONE", "1"),
        ];
        let own = own.map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
        let kept = without_secrets(own, &["s3cret-value", "1"]);
        let names: Vec<_> = kept
            .iter()
            .map(|(name, _)| name.to_str().unwrap())
            .collect();
        assert_eq!(names, ["OTHER", "ONE"]);
    }

    /// Names whose place is easily got wrong, each with what a caller may set and what a child inherits.
    #[test]
    fn names_that_are_easily_misplaced() {
        // name, a caller may set it, a child inherits it
        let cases = [
            ("SHELL", false, false),
            ("ENV", false, false),
            ("CC", false, false),
            ("BROWSER", false, false),
            ("SSLKEYLOGFILE", false, false),
            ("HOSTALIASES", false, false),
            ("_JAVA_OPTIONS", false, false),
            ("LUA_INIT_5_4", false, false),
            ("GIT_SSL_NO_VERIFY", false, false),
            ("LD_LIBRARY_PATH", false, false),
            ("DYLD_X", false, false),
            ("BASH_FUNC_X%%", false, false),
            ("HOME", false, true),
            ("PAGER", false, true),
            ("GIT_PAGER", false, true),
            ("MANPAGER", false, true),
            ("HISTFILE", false, true),
            ("ZDOTDIR", false, true),
            ("GRADLE_USER_HOME", false, true),
            ("KUBECONFIG", false, true),
            ("AWS_CONFIG_FILE", false, true),
            ("AWS_SHARED_CREDENTIALS_FILE", false, true),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", false, true),
            ("AZURE_AUTH_LOCATION", false, true),
            ("GOOGLE_APPLICATION_CREDENTIALS", false, true),
            ("NODE_EXTRA_CA_CERTS", false, true),
            ("NODE_TLS_REJECT_UNAUTHORIZED", false, true),
            ("SSL_CERT_FILE", false, true),
            ("DOCKER_HOST", false, true),
            ("ALL_PROXY", false, true),
            ("SSH_AUTH_SOCK", false, true),
            ("GIT_SSH", false, false),
            ("SSH_ASKPASS", false, false),
            ("VISUAL", false, false),
            ("PIP_INDEX_URL", false, false),
            ("GOPATH", false, false),
            ("CARGO_HOME", false, false),
            ("VIRTUAL_ENV", false, false),
            ("XDG_CONFIG_HOME", false, false),
            ("ANSIBLE_CONFIG", false, false),
            ("AWS_ACCESS_KEY_ID", false, false),
            ("AWS_SESSION_TOKEN", false, false),
            ("GH_TOKEN", false, false),
            ("GITHUB_TOKEN", false, false),
            ("NPM_TOKEN", false, false),
            ("DATABASE_URL", false, false),
            ("REDIS_URL", false, false),
            ("GIT_CONFIG_GLOBAL", false, true),
            ("NPM_CONFIG_PREFIX", false, true),
            ("CARGO_REGISTRIES_X_TOKEN", false, true),
            ("TF_VAR_REGION", false, true),
            ("USER", true, true),
            ("LANG", true, true),
            ("XDG_RUNTIME_DIR", true, true),
            ("LDAP_URL", true, true),
            ("GIT_AUTHOR_NAME", true, true),
            ("GITX_CONFIG_", true, true),
        ];
        for (name, settable, inherited) in cases {
            let set = check_overrides(&variables(&[(&name.replace('%', ""), "v")]));
            assert_eq!(set.is_ok(), settable, "{name}");
            let own = [(OsStr::new(name), OsStr::new("v"))];
            let child = child_environment(own, &Variables::new(), false, "/bin");
            assert_eq!(child.contains_key(OsStr::new(name)), inherited, "{name}");
        }
        // PATH is replaced by the host's own, never by a caller's.
        assert!(check_overrides(&variables(&[("path", "/x")])).is_err());
    }

    #[test]
    fn of_a_shells_overrides_only_terminal_and_locale_stay() {
        let names = [
            "TERM",
            "LANG",
            "LC_ALL",
            "LC_CTYPE",
            "LC_MESSAGES",
            "COLORTERM",
            "NO_COLOR",
            "FORCE_COLOR",
            "LC_TIME",
            "lc_x",
        ];
        let gone = ["LC", "TERMINFO", "LANGUAGE", "TZ", "FOO", "USER"];
        let all: Vec<_> = names.iter().chain(&gone).map(|name| (*name, "v")).collect();
        let child = child_environment([], &variables(&all), true, "/bin");
        for name in names {
            assert!(child.contains_key(OsStr::new(name)), "{name}");
        }
        for name in gone {
            assert!(!child.contains_key(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn tables_are_upper_case_and_without_doubles() {
        for table in [EVERYWHERE, OVERRIDE_ONLY, INHERITABLE, HARMLESS, PRIVATE] {
            let unique: BTreeSet<_> = table.iter().collect();
            assert_eq!(unique.len(), table.len());
            assert!(table.iter().all(|name| **name == name.to_uppercase()));
        }
        assert!(OVERRIDE_ONLY.iter().all(|name| !EVERYWHERE.contains(name)));
        assert!(INHERITABLE.iter().all(|name| OVERRIDE_ONLY.contains(name)));
    }
}
