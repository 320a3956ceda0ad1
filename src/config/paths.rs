//! Where things are: home, state directory, configuration file, temporary directory (cli.md §3.1).
//!
//! Resolved once per run; every path is absolute from here on. Nothing is created.

use std::path::{Path, PathBuf};

use crate::config::environment::Environment;
use crate::config::error::ConfigError;

/// The port of a gateway that nobody configured.
pub const DEFAULT_GATEWAY_PORT: u16 = 18_789;

/// The same for `--dev`, so that a development gateway runs beside the real one.
pub const DEV_GATEWAY_PORT: u16 = 19_001;

/// Longest profile name.
const MAX_PROFILE_LENGTH: usize = 64;

/// The places of one run, all absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `OPENCLAW_HOME`, else `HOME`, else the passwd entry.
    pub home: PathBuf,
    /// Where pairing, identity and logs live (0700).
    pub state_dir: PathBuf,
    /// `openclaw.json`; may not exist.
    pub config_file: PathBuf,
    /// `TMPDIR` or `/tmp`.
    pub temp_dir: PathBuf,
    /// The profile in use; `None` for the default one.
    pub profile: Option<String>,
    /// Gateway port when neither environment nor file names one.
    pub default_port: u16,
}

impl Paths {
    /// Finds the places of a run. `profile` is the `--profile` flag and wins over
    /// `OPENCLAW_PROFILE`; the name `default` means none.
    ///
    /// # Errors
    /// [`ConfigError::Profile`] for an unusable name, [`ConfigError::NoHome`] without any home, and
    /// [`ConfigError::File`] when a relative override cannot be made absolute.
    pub fn resolve(environment: &Environment, profile: Option<&str>) -> Result<Self, ConfigError> {
        let profile = match profile.or_else(|| environment.setting("OPENCLAW_PROFILE")) {
            Some(name) if !is_profile_name(name) => {
                return Err(ConfigError::Profile(name.to_owned()));
            }
            Some("default") | None => None,
            Some(name) => Some(name.to_owned()),
        };
        let home = home(environment)?;
        let state_dir = match environment.setting("OPENCLAW_STATE_DIR") {
            Some(path) => absolute(&expand_tilde(path, &home))?,
            None => match &profile {
                Some(name) => home.join(format!(".openclaw-{name}")),
                None => home.join(".openclaw"),
            },
        };
        let config_file = match environment.setting("OPENCLAW_CONFIG_PATH") {
            Some(path) => absolute(&expand_tilde(path, &home))?,
            None => state_dir.join("openclaw.json"),
        };
        let temp_dir = absolute(Path::new(environment.setting("TMPDIR").unwrap_or("/tmp")))?;
        Ok(Self {
            home,
            state_dir,
            config_file,
            temp_dir,
            profile,
            default_port: DEFAULT_GATEWAY_PORT,
        })
    }

    /// The places of `--dev`: profile `dev` and its own default port.
    ///
    /// # Errors
    /// As [`Paths::resolve`].
    pub fn resolve_dev(environment: &Environment) -> Result<Self, ConfigError> {
        let mut paths = Self::resolve(environment, Some("dev"))?;
        paths.default_port = DEV_GATEWAY_PORT;
        Ok(paths)
    }

    /// `<state>/gateway-token`: the token of a gateway that may not write the configuration
    /// (cli.md §5.1 point 6); mode 0600.
    pub fn gateway_token_file(&self) -> PathBuf {
        self.state_dir.join("gateway-token")
    }

    /// The path with the home directory shortened to `~`, for text output only.
    pub fn shorten(&self, path: &Path) -> String {
        match path.strip_prefix(&self.home) {
            Ok(rest) if rest.as_os_str().is_empty() => "~".to_owned(),
            Ok(rest) => format!("~/{}", rest.display()),
            Err(_) => path.display().to_string(),
        }
    }
}

fn is_profile_name(name: &str) -> bool {
    name.len() <= MAX_PROFILE_LENGTH
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn home(environment: &Environment) -> Result<PathBuf, ConfigError> {
    match environment.setting("OPENCLAW_HOME") {
        Some(path) if path.starts_with('~') => {
            absolute(&expand_tilde(path, &home_of_the_system(environment)?))
        }
        Some(path) => absolute(Path::new(path)),
        None => home_of_the_system(environment),
    }
}

/// The home that other programs go by, a service manager for one: `HOME`, else the passwd entry.
///
/// # Errors
/// [`ConfigError::NoHome`] without any home, [`ConfigError::File`] as in [`Paths::resolve`].
pub fn home_of_the_system(environment: &Environment) -> Result<PathBuf, ConfigError> {
    let named = environment.setting("HOME").map(PathBuf::from);
    let home = named.or_else(dirs::home_dir);
    absolute(&home.ok_or(ConfigError::NoHome)?)
}

fn expand_tilde(path: &str, home: &Path) -> PathBuf {
    match path.strip_prefix('~') {
        Some("") => home.to_owned(),
        Some(rest) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(path),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, ConfigError> {
    std::path::absolute(path).map_err(|cause| ConfigError::File {
        path: path.to_owned(),
        action: "resolve",
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(pairs: &[(&str, &str)], profile: Option<&str>) -> Result<Paths, ConfigError> {
        Paths::resolve(&Environment::from_pairs(pairs.iter().copied()), profile)
    }

    type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>, &'a str, &'a str);

    #[test]
    fn precedence_of_places() {
        let home = ("HOME", "/home/a");
        let cases: [Case<'_>; 10] = [
            (
                &[home],
                None,
                "/home/a/.openclaw",
                "/home/a/.openclaw/openclaw.json",
            ),
            (
                &[home],
                Some("x"),
                "/home/a/.openclaw-x",
                "/home/a/.openclaw-x/openclaw.json",
            ),
            (
                &[home],
                Some("default"),
                "/home/a/.openclaw",
                "/home/a/.openclaw/openclaw.json",
            ),
            (
                &[home, ("OPENCLAW_PROFILE", "y")],
                None,
                "/home/a/.openclaw-y",
                "/home/a/.openclaw-y/openclaw.json",
            ),
            (
                &[home, ("OPENCLAW_PROFILE", "y")],
                Some("x"),
                "/home/a/.openclaw-x",
                "/home/a/.openclaw-x/openclaw.json",
            ),
            (
                &[home, ("OPENCLAW_HOME", "~/b")],
                None,
                "/home/a/b/.openclaw",
                "/home/a/b/.openclaw/openclaw.json",
            ),
            (
                &[home, ("OPENCLAW_HOME", "/srv")],
                None,
                "/srv/.openclaw",
                "/srv/.openclaw/openclaw.json",
            ),
            (
                &[home, ("OPENCLAW_STATE_DIR", "/s")],
                Some("x"),
                "/s",
                "/s/openclaw.json",
            ),
            (
                &[
                    home,
                    ("OPENCLAW_STATE_DIR", "~/s"),
                    ("OPENCLAW_CONFIG_PATH", "/c.json"),
                ],
                None,
                "/home/a/s",
                "/c.json",
            ),
            (
                &[home, ("OPENCLAW_STATE_DIR", "  ")],
                None,
                "/home/a/.openclaw",
                "/home/a/.openclaw/openclaw.json",
            ),
        ];
        for (pairs, profile, state, file) in cases {
            let paths = resolve(pairs, profile).unwrap();
            assert_eq!(
                (paths.state_dir, paths.config_file),
                (state.into(), file.into()),
                "{pairs:?} {profile:?}"
            );
        }
    }

    #[test]
    fn relative_overrides_become_absolute() {
        let paths = resolve(&[("HOME", "/h"), ("OPENCLAW_STATE_DIR", "here")], None).unwrap();
        assert!(paths.state_dir.is_absolute() && paths.state_dir.ends_with("here"));
    }

    #[test]
    fn profile_names() {
        for name in ["", "-a", "_a", "a b", "a/b", "..", &"a".repeat(65)] {
            assert!(
                matches!(
                    resolve(&[("HOME", "/h")], Some(name)),
                    Err(ConfigError::Profile(_))
                ),
                "{name}"
            );
        }
        for name in ["a", "A-b_9", &"a".repeat(64)] {
            assert!(resolve(&[("HOME", "/h")], Some(name)).is_ok(), "{name}");
        }
        let dev = Paths::resolve_dev(&Environment::from_pairs([("HOME", "/h")])).unwrap();
        assert_eq!(
            (dev.state_dir, dev.default_port),
            ("/h/.openclaw-dev".into(), DEV_GATEWAY_PORT)
        );
    }

    #[test]
    fn shortens_only_below_home() {
        let paths = resolve(&[("HOME", "/h")], None).unwrap();
        assert_eq!(
            paths.shorten(&paths.config_file),
            "~/.openclaw/openclaw.json"
        );
        assert_eq!(paths.shorten(Path::new("/hx/a")), "/hx/a");
    }
}
