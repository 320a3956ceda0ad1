//! The sentences of the product documents that require or forbid something, each beside the test that
//! proves it: `pairing.tsv` and `node_host.tsv` have one row per sentence. Here it is checked that every named test exists;
//! `sentences` proves those that no other test does.

mod sentences;

use std::collections::BTreeSet;
use std::path::Path;

/// Columns: id, document, the requirement in short, the tests that prove it (separated by blanks).
const TABLES: [&str; 2] = [include_str!("pairing.tsv"), include_str!("node_host.tsv")];

/// Documents that the table may name.
const DOCUMENTS: [&str; 6] = [
    "gateway-pairing",
    "gateway-pairing-older",
    "devices-cli",
    "node-cli",
    "node-host",
    "users",
];

/// Source folders with the path under which their tests run.
const ROOTS: [(&str, &str); 4] = [
    ("src", ""),
    ("tests/interop", "interop"),
    ("tests/fault", "fault"),
    ("tests", "main"),
];

struct Row<'a> {
    id: &'a str,
    document: &'a str,
    sentence: &'a str,
    tests: Vec<&'a str>,
}

fn rows() -> impl Iterator<Item = Row<'static>> {
    let lines = TABLES
        .iter()
        .flat_map(|table| table.lines())
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
        let [id, document, sentence, tests] = columns[..] else {
            panic!("not four columns: {line}")
        };
        Row {
            id,
            document,
            sentence,
            tests: tests.split_whitespace().collect(),
        }
    })
}

#[test]
fn every_sentence_names_tests_that_exist() {
    let tests = all_tests();
    assert!(tests.len() > 500, "{} tests found", tests.len());
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for row in rows() {
        assert!(seen.insert(row.id), "{} stands there twice", row.id);
        assert!(!row.id.is_empty() && !row.sentence.is_empty(), "{}", row.id);
        assert!(DOCUMENTS.contains(&row.document), "{}", row.id);
        assert!(!row.tests.is_empty(), "{}: no test", row.id);
        for test in row.tests {
            assert!(tests.contains(test), "{}: there is no test {test}", row.id);
        }
        count += 1;
    }
    assert!(
        count > 90,
        "{count} rows: whoever removes some says why here"
    );
}

#[test]
fn the_names_of_tests_are_those_that_the_harness_prints() {
    let tests = all_tests();
    for name in [
        "main::requirements::the_names_of_tests_are_those_that_the_harness_prints",
        "main::attacks::proofs::a_challenge_is_answered_once",
        "main::main_job::a_second_home_is_another_machine",
        "interop::newer_node_host::it_waits_on_both_layers_by_itself_and_survives_a_restart",
        "fault::crash::a_killed_gateway_loses_no_acknowledged_approval",
        "pairing::policy::tests::what_an_approver_must_hold",
        "pairing::device::tests::a_removal_sweeps_both_layers",
        "gateway::handshake_tests::first_frames_that_are_no_connect",
        "gateway::rpc::tests::refusals_before_a_handler_come_in_order",
    ] {
        assert!(tests.contains(name), "{name}");
    }
    assert!(!tests.contains("pairing::policy::what_an_approver_must_hold"));
}

/// The full names of all tests, read from the sources.
fn all_tests() -> BTreeSet<String> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    for (folder, prefix) in ROOTS {
        let mut path: Vec<String> = Vec::new();
        path.extend((!prefix.is_empty()).then(|| prefix.to_owned()));
        let others: Vec<_> = ROOTS
            .iter()
            .filter(|(other, _)| *other != folder)
            .map(|(other, _)| package.join(other))
            .collect();
        walk(&package.join(folder), &path, &mut |file, module| {
            if others
                .iter()
                .any(|other| file.starts_with(other) && other.starts_with(package.join(folder)))
            {
                return;
            }
            let text = std::fs::read_to_string(file).unwrap();
            tests.extend(tests_in(&text, module));
        });
    }
    tests
}

/// Calls `visit` with each source file below `folder` and the path of its module.
fn walk(folder: &Path, module: &[String], visit: &mut impl FnMut(&Path, &[String])) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let mut inner = module.to_vec();
        if path.is_dir() {
            inner.push(entry.file_name().into_string().unwrap());
            walk(&path, &inner, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let stem = path.file_stem().unwrap().to_str().unwrap();
            if !matches!(stem, "mod" | "main" | "lib") {
                inner.push(stem.to_owned());
            }
            visit(&path, &inner);
        }
    }
}

/// The tests of one file: functions behind `#[test]`, inside or behind an inline `mod`.
fn tests_in(text: &str, module: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut module = module.to_vec();
    let mut marked = false;
    for line in text.lines() {
        if let Some(name) = line
            .strip_prefix("mod ")
            .and_then(|rest| rest.strip_suffix(" {"))
        {
            module.push(name.to_owned());
        }
        let line = line.trim_start();
        marked |= line == "#[test]";
        let name = line
            .strip_prefix("fn ")
            .and_then(|rest| rest.split(['(', '<']).next());
        if let (true, Some(name)) = (marked, name) {
            found.push(format!("{}::{name}", module.join("::")));
            marked = false;
        }
    }
    found
}
