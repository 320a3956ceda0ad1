//! `make install` and `make uninstall`: what they put into a directory and take away again.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::home::Home;
use crate::support::process::program;

fn install(action: &str, destination: &Path, prefix: &str) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let status = Command::new(repository.join("contrib/build/install.sh"))
        .arg(action)
        .env("PROGRAM", program())
        .env("DESTDIR", destination)
        .env("PREFIX", prefix)
        .status()
        .unwrap();
    assert!(status.success(), "{action} {prefix}");
}

fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path.display().to_string()),
        }
    }
    found
}

#[test]
fn uninstall_takes_its_files_and_no_directory_of_others() {
    let home = Home::new();
    let destination = home.path().join("destination");
    install("install", &destination, "/usr/local");
    let local = destination.join("usr/local");
    for file in [
        "bin/openclaw",
        "share/doc/openclaw/contrib/examples/lan-tls.json5",
        // A link of the installed README leads there.
        "share/doc/openclaw/contrib/NETWORK.md",
        // Where doctor looks for it.
        "share/doc/openclaw/contrib/avahi/openclaw-gateway.service",
    ] {
        assert!(local.join(file).is_file(), "{file}");
    }
    // The installed documents name these directories beside themselves.
    for directory in [
        "avahi", "bind", "docker", "examples", "launchd", "openrc", "procd",
    ] {
        let installed = local.join("share/doc/openclaw/contrib").join(directory);
        assert!(!files(&installed).is_empty(), "{directory}");
    }
    install("uninstall", &destination, "/usr/local");
    assert!(files(&destination).is_empty(), "{:?}", files(&destination));
    assert!(!local.join("share/doc/openclaw").exists());
    // Empty now, but a machine may have had them before.
    for directory in ["bin", "lib/sysusers.d", "share/doc", "share/man/man1"] {
        assert!(local.join(directory).is_dir(), "{directory}");
    }
}

#[test]
fn uninstall_keeps_what_somebody_put_among_its_documents() {
    let home = Home::new();
    install("install", home.path(), "/usr");
    let note = home
        .path()
        .join("usr/share/doc/openclaw/contrib/examples/mine.json5");
    fs::write(&note, "{}").unwrap();
    install("uninstall", home.path(), "/usr");
    assert!(note.is_file());
}

#[test]
fn completions_go_where_each_shell_looks_below_that_prefix() {
    let home = Home::new();
    for (prefix, zsh) in [
        ("/usr", "vendor-completions"),
        ("/usr/local", "site-functions"),
        ("/opt/openclaw", "site-functions"),
    ] {
        install("install", home.path(), prefix);
        let share = home.path().join(&prefix[1..]).join("share");
        assert!(
            share.join("zsh").join(zsh).join("_openclaw").is_file(),
            "{prefix}"
        );
        assert!(
            share.join("bash-completion/completions/openclaw").is_file(),
            "{prefix}"
        );
    }
}
