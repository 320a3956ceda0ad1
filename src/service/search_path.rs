//! The `PATH` of a service: what the user's shell would find, without what a directory of the moment
//! brings (node-host §5.1).

use std::path::{Path, PathBuf};

/// Directories below the home that count whether they exist or not.
const OF_THE_HOME: [&str; 3] = [".local/bin", ".npm-global/bin", "bin"];

/// Directories below the home that count where they exist.
const OF_THE_HOME_IF_THERE: [&str; 4] =
    [".volta/bin", ".asdf/shims", ".bun/bin", ".nix-profile/bin"];

/// Directories of the system.
const OF_THE_SYSTEM: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// Where Homebrew installs on macOS.
const HOMEBREW: &str = "/opt/homebrew/bin";

/// The search path: `own` (the directory of this program), the home's, the system's, each once.
/// Directories below `here` are left out unless `here` is the home.
pub fn search_path(own: Option<&Path>, home: &Path, here: &Path, macos: bool) -> String {
    let there = |name: &&str| home.join(name).is_dir();
    let candidates = own
        .map(Path::to_owned)
        .into_iter()
        .chain(OF_THE_HOME.iter().map(|name| home.join(name)))
        .chain(
            OF_THE_HOME_IF_THERE
                .iter()
                .filter(|it| there(it))
                .map(|name| home.join(name)),
        )
        .chain(macos.then(|| PathBuf::from(HOMEBREW)))
        .chain(OF_THE_SYSTEM.iter().map(PathBuf::from));
    let of_the_moment =
        |path: &Path| here != home && here != Path::new("/") && path.starts_with(here);
    let mut found: Vec<String> = Vec::new();
    for directory in candidates {
        let Some(text) = directory.to_str() else {
            continue;
        };
        // A colon would end the entry in the middle.
        if text.contains(':') || of_the_moment(&directory) || found.iter().any(|it| it == text) {
            continue;
        }
        found.push(text.to_owned());
    }
    found.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TempDir;

    #[test]
    fn a_service_finds_the_programs_of_its_user_and_none_of_the_moment() {
        let home = Path::new("/nonexistent/u");
        let usual = "/nonexistent/u/.local/bin:/nonexistent/u/.npm-global/bin:/nonexistent/u/bin";
        let system = "/usr/local/bin:/usr/bin:/bin";
        let path = |own: &str, here: &str, macos| {
            search_path(Some(Path::new(own)), home, Path::new(here), macos)
        };
        for (own, here, macos, expected) in [
            ("/opt/oc", "/", false, format!("/opt/oc:{usual}:{system}")),
            (
                "/usr/bin",
                "/",
                false,
                format!("/usr/bin:{usual}:/usr/local/bin:/bin"),
            ),
            ("/w/target", "/w", false, format!("{usual}:{system}")),
            ("/a:b", "/", false, format!("{usual}:{system}")),
            (
                "/opt/oc",
                "/nonexistent/u",
                false,
                format!("/opt/oc:{usual}:{system}"),
            ),
            (
                "/opt/oc",
                "/",
                true,
                format!("/opt/oc:{usual}:{HOMEBREW}:{system}"),
            ),
        ] {
            assert_eq!(path(own, here, macos), expected, "{own} {here}");
        }
        let real = TempDir::new();
        std::fs::create_dir_all(real.join(".bun/bin")).unwrap();
        let found = search_path(None, real.path(), Path::new("/"), false);
        assert!(
            found.contains("/.bun/bin") && !found.contains(".volta"),
            "{found}"
        );
    }
}
