//! Which browser program of this machine is used: a list of places, the first executable file wins
//! (node-host specification, section 4.1).

use std::path::{Path, PathBuf};

/// A browser program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable {
    /// Its file.
    pub path: PathBuf,
    /// Whose it is: `chrome`, `brave`, `edge`, `chromium` or `custom`.
    pub kind: &'static str,
}

/// What is said when there is none.
pub const NONE_FOUND: &str =
    "No supported browser found (Chrome/Brave/Edge/Chromium on macOS, Linux, or Windows).";

/// Where browsers are installed on Linux.
const LINUX: &[(&str, &str)] = &[
    ("/usr/bin/google-chrome", "chrome"),
    ("/usr/bin/google-chrome-stable", "chrome"),
    ("/usr/bin/chrome", "chrome"),
    ("/opt/google/chrome/chrome", "chrome"),
    ("/usr/bin/brave-browser", "brave"),
    ("/usr/bin/brave-browser-stable", "brave"),
    ("/usr/bin/brave", "brave"),
    ("/opt/brave.com/brave/brave-browser", "brave"),
    ("/snap/bin/brave", "brave"),
    ("/usr/bin/microsoft-edge", "edge"),
    ("/usr/bin/microsoft-edge-stable", "edge"),
    ("/opt/microsoft/msedge/msedge", "edge"),
    ("/usr/bin/chromium", "chromium"),
    ("/usr/bin/chromium-browser", "chromium"),
    ("/usr/lib/chromium/chromium", "chromium"),
    ("/usr/lib/chromium-browser/chromium-browser", "chromium"),
    ("/snap/bin/chromium", "chromium"),
];

/// The same on macOS, below `/` and below the home directory.
const MACOS: &[(&str, &str)] = &[
    (
        "Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "chrome",
    ),
    (
        "Applications/Brave Browser.app/Contents/MacOS/Brave Browser",
        "brave",
    ),
    (
        "Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
        "edge",
    ),
    (
        "Applications/Chromium.app/Contents/MacOS/Chromium",
        "chromium",
    ),
];

/// The places of a system (`std::env::consts::OS`) in their order.
pub fn places(system: &str, home: &Path) -> Vec<Executable> {
    let found = |path: PathBuf, kind| Executable { path, kind };
    if system == "macos" {
        let below = |root: &Path| {
            let place = |(path, kind): &(&str, &'static str)| found(root.join(path), kind);
            MACOS.iter().map(place).collect::<Vec<_>>()
        };
        return [below(Path::new("/")), below(home)].concat();
    }
    LINUX
        .iter()
        .map(|(path, kind)| found(PathBuf::from(path), kind))
        .collect()
}

/// The first of `places` that `is_executable`.
pub fn first(places: Vec<Executable>, is_executable: impl Fn(&Path) -> bool) -> Option<Executable> {
    places.into_iter().find(|place| is_executable(&place.path))
}

/// A configured program; what it is called says whose it is.
pub fn configured(path: &Path) -> Executable {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_ascii_lowercase();
    let kinds = [
        ("chromium", "chromium"),
        ("brave", "brave"),
        ("edge", "edge"),
        ("chrome", "chrome"),
    ];
    let kind = kinds.into_iter().find(|(part, _)| name.contains(part));
    Executable {
        path: path.to_owned(),
        kind: kind.map_or("custom", |(_, kind)| kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_executable_place_wins() {
        let home = Path::new("/home/a");
        let with = |system, there: &[&str]| {
            let there = |path: &Path| there.iter().any(|place| path == Path::new(place));
            first(places(system, home), there).map(|found| (found.path, found.kind))
        };
        assert_eq!(with("linux", &[]), None);
        for (there, expected) in [
            (
                &["/usr/bin/chromium"][..],
                ("/usr/bin/chromium", "chromium"),
            ),
            (
                &[
                    "/usr/bin/chromium",
                    "/usr/bin/microsoft-edge",
                    "/usr/bin/brave-browser",
                ],
                ("/usr/bin/brave-browser", "brave"),
            ),
            (
                &["/snap/bin/chromium", "/opt/google/chrome/chrome"],
                ("/opt/google/chrome/chrome", "chrome"),
            ),
        ] {
            let expected = Some((PathBuf::from(expected.0), expected.1));
            assert_eq!(with("linux", there), expected);
        }
        let own = "/home/a/Applications/Chromium.app/Contents/MacOS/Chromium";
        assert_eq!(
            with("macos", &[own]),
            Some((PathBuf::from(own), "chromium"))
        );
        assert_eq!(with("linux", &[own]), None);
    }

    #[test]
    fn a_configured_program_is_known_by_its_name() {
        for (path, kind) in [
            ("/opt/x/chromium-145", "chromium"),
            ("/opt/x/Google Chrome", "chrome"),
            ("/opt/msedge", "edge"),
            ("/opt/brave", "brave"),
            ("/opt/x/browser", "custom"),
        ] {
            assert_eq!(configured(Path::new(path)).kind, kind, "{path}");
        }
    }
}
