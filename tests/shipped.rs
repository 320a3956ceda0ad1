//! What is committed for packages: made from the tables, and true of the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::home::Home;
use crate::support::process::{openclaw, openclaw_with};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn entries(directory: &str) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(repository().join(directory)).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn completions_and_manual_pages_are_those_of_the_tables() {
    let mut known = BTreeSet::new();
    for (path, made) in openclaw::cli::generated::files() {
        let path = repository().join(path);
        let committed = fs::read_to_string(&path).unwrap_or_default();
        let line = committed
            .lines()
            .zip(made.lines())
            .position(|(old, new)| old != new);
        assert!(
            committed == made,
            "{} is not what the tables say (line {}). Run: make generate",
            path.display(),
            line.map_or(0, |line| line + 1)
        );
        known.insert(path);
    }
    for directory in ["bash", "fish", "zsh"].map(|it| format!("contrib/completions/{it}")) {
        assert!(
            entries(&directory).is_subset(&known),
            "left over; run: make generate"
        );
    }
    assert!(
        entries("contrib/man").is_subset(&known),
        "left over; run: make generate"
    );
}

#[test]
fn example_configurations_are_valid_without_a_warning() {
    let home = Home::new();
    let examples = entries("contrib/examples");
    assert!(examples.len() > 3);
    for example in examples
        .into_iter()
        .chain([repository().join("contrib/docker/openclaw.json")])
    {
        let copy = home.path().join("openclaw.json");
        fs::copy(&example, &copy).unwrap();
        let environment = [
            ("OPENCLAW_CONFIG_PATH", copy.to_str().unwrap()),
            ("OPENCLAW_GATEWAY_TOKEN", "0123456789abcdef0123456789abcdef"),
        ];
        let outcome = openclaw_with(&home, &environment, &["config", "validate", "--json"]);
        let example = example.display();
        assert_eq!(outcome.code, 0, "{example}: {outcome:?}");
        assert_eq!(
            outcome.json(),
            json!({"valid": true, "path": copy}),
            "{example}"
        );
    }
}

#[test]
fn shipped_units_close_what_installed_units_close() {
    let home = Home::new();
    home.write_config("{ gateway: { mode: 'local', auth: { token: 'unit-of-the-test' } } }");
    for (kind, flags, unit) in [
        ("gateway", &[][..], "user/openclaw-gateway.service"),
        (
            "gateway",
            &["--system", "--run-as", "root"],
            "system/openclaw-gateway.service",
        ),
        ("node", &[], "user/openclaw-node.service"),
        (
            "node",
            &["--system", "--run-as", "root"],
            "system/openclaw-node@.service",
        ),
    ] {
        let arguments = [&[kind, "install", "--print"], flags].concat();
        let rendered = openclaw(&home, &arguments).success().stdout;
        let shipped = text(&repository().join("contrib/systemd").join(unit));
        let own = [
            "Description=",
            "Environment=",
            "EnvironmentFile=",
            "ExecStart=",
            "User=",
            "ReadWritePaths=",
            "#",
        ];
        let lines = rendered
            .lines()
            .filter(|line| own.iter().all(|start| !line.starts_with(start)));
        for line in lines {
            assert!(shipped.lines().any(|it| it == line), "{unit} lacks {line}");
        }
        assert!(shipped.contains("ExecStart=/usr/bin/openclaw "), "{unit}");
        for text in [&rendered, &shipped] {
            let arenas = text.contains("\nEnvironment=MALLOC_ARENA_MAX=2\n");
            assert_eq!(arenas, kind == "gateway", "{unit}");
        }
    }
}
