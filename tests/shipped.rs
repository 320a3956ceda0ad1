//! What is committed for packages: made from the tables, and true of the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

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

#[test]
fn the_readme_shows_the_last_whole_measurement() {
    let results = entries("tests/bench/results");
    assert_eq!(results.len(), 1, "the last one stands alone: {results:?}");
    let last: Value = serde_json::from_str(&text(results.first().unwrap())).unwrap();
    let readme = text(&repository().join("README.md"));
    let (_, table) = readme
        .split_once("| What | Budget | Here | OpenClaw |")
        .unwrap();
    let lines = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let lines: Vec<Vec<&str>> = lines
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(lines.len() > 10, "{lines:?}");
    for line in lines {
        let rows = last["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["what"] == line[0]);
        let row = row.unwrap_or_else(|| panic!("nothing measures {line:?}"));
        assert_eq!(
            row["budget"].as_str().unwrap_or_default(),
            line[1],
            "{line:?}"
        );
        for (cell, sample) in [(line[2], &row["ours"]), (line[3], &row["reference"])] {
            let number = cell.split(' ').next().unwrap().replace(',', "");
            let shown: Option<f64> = number.parse().ok();
            let measured = sample["median"].as_f64();
            let same = match (shown, measured) {
                (Some(shown), Some(measured)) => (shown - measured).abs() <= measured * 0.05,
                (shown, measured) => shown.is_none() && measured.is_none(),
            };
            assert!(same, "{line:?} shows {shown:?}, measured was {measured:?}");
        }
        let missed = row["verdict"]
            .as_str()
            .is_some_and(|verdict| verdict.starts_with("MISSED"));
        assert_eq!(line[2].ends_with("(missed)"), missed, "{line:?}");
    }
}
