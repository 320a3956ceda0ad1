use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;

use super::*;
use crate::exec::document::{AgentPolicy, Entry, Security};
use crate::exec::testing::TempDir;

fn file(dir: &TempDir) -> ApprovalsFile {
    ApprovalsFile::new(dir.path(), Some(dir.path()))
}

fn written(dir: &TempDir) -> PathBuf {
    dir.path().join(NAME)
}

fn note(file: &ApprovalsFile, pattern: &str, command: &str, now_ms: u64) {
    let path = Path::new("/usr/bin").join(pattern);
    file.note_use(&RuleUse {
        agent: "main",
        patterns: &[pattern],
        command,
        resolved: Some(&path),
        now_ms,
    });
}

fn document(text: &str) -> Document {
    Document::parse(text).unwrap()
}

#[test]
fn get_creates_the_file_and_hides_the_secret() {
    let dir = TempDir::new();
    let file = file(&dir);
    assert!(file.load().hash.is_none());
    assert_eq!(file.snapshot().unwrap().answer()["hash"], sha256_hex(b""));
    assert!(!written(&dir).exists(), "a look at the file creates none");
    let answer = file.get().unwrap().answer();
    let bytes = fs::read(written(&dir)).unwrap();
    let mode = written(&dir).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(answer["hash"], sha256_hex(&bytes));
    assert_eq!(answer["exists"], true);
    assert_eq!(answer["file"]["socket"].as_object().unwrap().len(), 1);
    let stored: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(stored["socket"]["token"].as_str().unwrap().len(), 32);
    assert!(bytes.starts_with(b"{\n  \"version\": 1,\n") && bytes.ends_with(b"}\n"));
    let again = file.get().unwrap().answer();
    assert_eq!(again, answer, "a second look changes nothing");
}

#[test]
fn a_handwritten_file_is_brought_into_its_normal_form_once() {
    let dir = TempDir::new();
    let file = file(&dir);
    let text = r#"{"version":1,"agents":{"default":{"allowlist":["ls"," "]}}}"#;
    fs::write(written(&dir), text).unwrap();
    let settled = file.load().document.unwrap();
    assert_eq!(
        settled.agents.keys().collect::<Vec<_>>(),
        ["main"],
        "judged in its settled form"
    );
    let first = file.get().unwrap();
    assert!(
        first.document.agents.find("main").unwrap().allowlist[0]
            .id
            .is_some()
    );
    assert_ne!(first.hash, Some(sha256_hex(text.as_bytes())));
    assert_eq!(file.get().unwrap(), first);
}

#[test]
fn replacing_needs_the_hash_and_keeps_the_secret() {
    let dir = TempDir::new();
    let file = file(&dir);
    let seen = file.get().unwrap();
    let token = file.load().document.unwrap().socket.unwrap().token;
    let given = document(r#"{"version":1,"agents":{"*":{"allowlist":[{"pattern":"/bin/ls"}]}}}"#);
    let replace = |base: Option<&str>| file.replace(base, given.clone(), RemoteEdits::Widen);
    for base in [None, Some(" ")] {
        assert!(matches!(
            replace(base),
            Err(ApprovalsError::BaseHashRequired)
        ));
    }
    for base in ["0", &sha256_hex(b"")] {
        assert!(matches!(replace(Some(base)), Err(ApprovalsError::Changed)));
    }
    let after = replace(seen.hash.as_deref()).unwrap();
    assert!(
        after.document.agents.find("*").unwrap().allowlist[0]
            .id
            .is_some()
    );
    assert_eq!(after.hash, file.load().hash);
    let socket = file.load().document.unwrap().socket.unwrap();
    assert_eq!(socket.token, token);
    assert_eq!(socket.path, seen.document.socket.unwrap().path);
}

#[test]
fn a_broken_file_is_kept_until_it_is_repaired_knowingly() {
    let dir = TempDir::new();
    let file = file(&dir);
    fs::write(
        written(&dir),
        "{\"version\":1,\n\"defaults\":{\"securty\":\"deny\"}}",
    )
    .unwrap();
    let before = fs::read(written(&dir)).unwrap();
    let fault = file.load().document.unwrap_err();
    assert!(
        fault.contains("exec-approvals.json: defaults: unknown field `securty`")
            && fault.contains("at line 2 column 21"),
        "{fault}"
    );
    let told = file.get().unwrap();
    assert_eq!(
        told.answer()["file"],
        json!({"version":1,"defaults":{},"agents":{}})
    );
    assert_eq!(told.answer()["fault"], json!(fault));
    assert_eq!(told.hash, Some(sha256_hex(&before)));
    assert!(matches!(file.snapshot(), Err(ApprovalsError::Broken(_))));
    assert!(matches!(
        file.edit(None, |_| true),
        Err(ApprovalsError::Broken(_))
    ));
    let base = told.hash.as_deref();
    let refused = file
        .replace(base, Document::default(), RemoteEdits::Narrow)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("is broken") && refused.contains("line 2") && refused.contains("Repair"),
        "{refused}"
    );
    assert_eq!(fs::read(written(&dir)).unwrap(), before);
    let deny = document(r#"{"version":1,"defaults":{"security":"deny"}}"#);
    file.replace(base, deny, RemoteEdits::Narrow).unwrap();
    assert!(file.load().document.is_ok());
}

#[test]
fn what_is_no_policy_file_denies_with_its_place() {
    let dir = TempDir::new();
    let file = file(&dir);
    let mut large = b"{\"version\":1,\n".to_vec();
    large.resize(strict::MAX_BYTES + 1, b' ');
    let cases: [(&[u8], &str); 5] = [
        (&large, "larger than 1048576 bytes at line 2 column 1048563"),
        (
            b"{\"version\":1}\n}",
            "trailing characters at line 2 column 1",
        ),
        (
            b"{\"version\":1,\n\"x\xff\":1}",
            "not valid UTF-8 at line 2 column 3",
        ),
        (
            b"\xef\xbb\xbf{\"version\":1}",
            "byte order mark, save it as UTF-8 without one at line 1 column 1",
        ),
        (b"", "EOF while parsing a value at line 1 column 0"),
    ];
    for (bytes, said) in cases {
        fs::write(written(&dir), bytes).unwrap();
        let fault = file.load().document.unwrap_err();
        assert!(fault.ends_with(said), "{fault}");
        assert!(file.get().unwrap().hash.is_some());
        assert_eq!(fs::read(written(&dir)).unwrap(), bytes);
    }
    fs::remove_file(written(&dir)).unwrap();
    fs::create_dir(written(&dir)).unwrap();
    assert!(
        file.load()
            .document
            .unwrap_err()
            .contains("not a regular file")
    );
}

#[test]
fn an_edit_from_elsewhere_narrows_and_anything_more_needs_leave() {
    let dir = TempDir::new();
    let file = file(&dir);
    let text = r#"{"version":1,"agents":{"a":{"security":"allowlist","allowlist":["ls","rg"]}}}"#;
    fs::write(written(&dir), text).unwrap();
    let replace = |text: &str, edits| {
        let hash = file.get().unwrap().hash;
        file.replace(hash.as_deref(), document(text), edits)
    };
    let narrower = r#"{"version":1,"agents":{"a":{"security":"allowlist","allowlist":["rg"]}}}"#;
    replace(narrower, RemoteEdits::Narrow).unwrap();
    let refused = replace(text, RemoteEdits::Narrow).unwrap_err().to_string();
    assert_eq!(
        refused,
        "exec approvals edit refused: agent a would get the rule ls. Edits from elsewhere may only narrow this \
         policy. Make the edit on the node itself with openclaw approvals, or let it be made from elsewhere: run \
         openclaw config set nodeHost.execApprovals.remoteEdits widen there"
    );
    replace(text, RemoteEdits::Widen).unwrap();
    let policy = file.load().document.unwrap();
    assert_eq!(policy.agents.find("a").unwrap().allowlist.len(), 2);
}

#[test]
fn without_a_file_an_edit_from_elsewhere_compares_with_the_defaults() {
    let dir = TempDir::new();
    let file = file(&dir);
    let rule = document(r#"{"version":1,"agents":{"*":{"allowlist":["ls"]}}}"#);
    assert!(matches!(
        file.replace(None, rule.clone(), RemoteEdits::Narrow),
        Err(ApprovalsError::Widens(_))
    ));
    assert!(!written(&dir).exists());
    file.replace(Some(&sha256_hex(b"")), rule, RemoteEdits::Widen)
        .unwrap();
}

#[test]
fn an_edit_that_changes_nothing_leaves_the_file_untouched() {
    let dir = TempDir::new();
    let file = file(&dir);
    let text = "{ \"version\": 1, \"agents\": {\"*\": {\"allowlist\": [\"ls\"]}}}";
    fs::write(written(&dir), text).unwrap();
    file.edit(None, |policy| policy.allow("*", " ls ", 5))
        .unwrap();
    assert_eq!(fs::read_to_string(written(&dir)).unwrap(), text);
    let hash = file.load().hash;
    let added = file
        .edit(hash.as_deref(), |policy| policy.allow("*", "rg", 5))
        .unwrap();
    let rules = &added.document.agents.find("*").unwrap().allowlist;
    assert_eq!(rules[1].last_used_at, Some(5.into()));
    let stale = file.edit(hash.as_deref(), |policy| policy.allow("*", "fd", 5));
    assert!(matches!(stale, Err(ApprovalsError::Changed)));
}

#[test]
fn an_edit_never_writes_what_it_could_not_read() {
    let dir = TempDir::new();
    let file = file(&dir);
    let before = file.get().unwrap();
    let huge = "x".repeat(strict::MAX_BYTES);
    let refused = file.edit(None, |policy| policy.allow("*", &huge, 5));
    assert!(matches!(refused, Err(ApprovalsError::Invalid(_))));
    assert_eq!(file.get().unwrap(), before);
}

#[test]
fn edits_of_many_at_once_are_all_kept() {
    const EDITORS: usize = 4;
    const EDITS: usize = 12;
    let dir = TempDir::new();
    let start = Barrier::new(EDITORS);
    std::thread::scope(|scope| {
        for editor in 0..EDITORS {
            let (dir, start) = (&dir, &start);
            scope.spawn(move || {
                // One value each, as programs beside each other have.
                let file = file(dir);
                start.wait();
                for edit in 0..EDITS {
                    let pattern = format!("/{editor}/{edit}");
                    file.edit(None, |policy| policy.allow("*", &pattern, 1))
                        .unwrap();
                }
            });
        }
    });
    let policy = file(&dir).load().document.unwrap();
    assert_eq!(
        policy.agents.find("*").unwrap().allowlist.len(),
        EDITORS * EDITS
    );
}

#[test]
fn of_two_edits_of_the_same_content_one_is_refused() {
    let dir = TempDir::new();
    let seen = file(&dir).get().unwrap().hash.unwrap();
    let start = Barrier::new(2);
    let outcomes: Vec<bool> = std::thread::scope(|scope| {
        let edit = |pattern: &'static str| {
            let (dir, start, seen) = (&dir, &start, &seen);
            scope.spawn(move || {
                let file = file(dir);
                start.wait();
                file.edit(Some(seen), |policy| policy.allow("*", pattern, 1))
                    .is_ok()
            })
        };
        let editors = [edit("a"), edit("b")];
        editors.map(|editor| editor.join().unwrap()).into()
    });
    assert_eq!(
        outcomes.iter().filter(|kept| **kept).count(),
        1,
        "{outcomes:?}"
    );
}

#[test]
fn links_are_not_written_through_and_what_stands_there_is_told() {
    let dir = TempDir::new();
    let target = dir.path().join("elsewhere");
    fs::create_dir(&target).unwrap();
    std::os::unix::fs::symlink(&target, dir.path().join("state")).unwrap();
    let through_directory = ApprovalsFile::new(&dir.path().join("state"), Some(dir.path()));
    assert_eq!(through_directory.get().unwrap().hash, None);
    std::os::unix::fs::symlink("elsewhere/policy", written(&dir)).unwrap();
    assert_eq!(file(&dir).get().unwrap().hash, None);
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    let text =
        r#"{"version":1,"defaults":{"security":"deny"},"agents":{"a":{"allowlist":["ls"]}}}"#;
    fs::write(target.join("policy"), text).unwrap();
    let told = file(&dir).get().unwrap();
    assert_eq!(told.hash, Some(sha256_hex(text.as_bytes())));
    assert_eq!(told.document.defaults.security, Some(Security::Deny));
    for file in [through_directory, file(&dir)] {
        let edited = file.edit(None, |_| true);
        assert!(matches!(edited, Err(ApprovalsError::SymbolicLink(_))));
    }
    assert_eq!(fs::read_to_string(target.join("policy")).unwrap(), text);
}

#[test]
fn use_is_shown_with_the_policy_and_leaves_its_bytes_alone() {
    let dir = TempDir::new();
    let file = file(&dir);
    let text =
        r#"{"version":1,"agents":{"main":{"allowlist":["ls","rg"]},"*":{"allowlist":["ls"]}}}"#;
    fs::write(written(&dir), text).unwrap();
    let hash = file.get().unwrap().hash;
    for now in 1000..1100 {
        note(&file, "ls", &format!("ls {now}"), now);
    }
    let entry = |snapshot: &Snapshot, agent: &str| -> Entry {
        let agent: &AgentPolicy = snapshot.document.agents.find(agent).unwrap();
        agent.allowlist[0].clone()
    };
    let seen = file.get().unwrap();
    assert_eq!(seen.hash, hash, "the hash that clients edit against stays");
    let used = entry(&seen, "main");
    assert_eq!(used.last_used_at, Some(1099.into()));
    assert_eq!(used.last_used_command.as_deref(), Some("ls 1099"));
    assert_eq!(used.last_resolved_path.as_deref(), Some("/usr/bin/ls"));
    assert_eq!(entry(&seen, "*").last_used_at, None);
    // Another program sees what was written: the first use at once, the others once a minute.
    let other = ApprovalsFile::new(dir.path(), None);
    assert_eq!(
        entry(&other.snapshot().unwrap(), "main").last_used_at,
        Some(1000.into())
    );
    note(&file, "ls", "ls", 61_000);
    assert_eq!(
        entry(&other.snapshot().unwrap(), "main").last_used_at,
        Some(61_000.into())
    );
    note(&file, "rg", "rg", 61_001);
    file.write_usage();
    assert_eq!(
        other
            .snapshot()
            .unwrap()
            .document
            .agents
            .find("main")
            .unwrap()
            .allowlist[1]
            .last_used_at,
        Some(61_001.into())
    );
}

#[test]
fn a_record_of_use_that_cannot_be_read_is_left_alone() {
    let dir = TempDir::new();
    let file = file(&dir);
    fs::write(
        written(&dir),
        r#"{"version":1,"agents":{"main":{"allowlist":["ls"]}}}"#,
    )
    .unwrap();
    let record = dir.path().join("exec-approvals-usage.json");
    fs::write(&record, "{oops").unwrap();
    note(&file, "ls", "ls", 7);
    let seen = file.get().unwrap();
    assert_eq!(
        seen.document.agents.find("main").unwrap().allowlist[0].last_used_at,
        Some(7.into())
    );
    assert_eq!(fs::read_to_string(&record).unwrap(), "{oops");
}

#[test]
fn the_record_of_use_forgets_rules_that_are_gone() {
    let dir = TempDir::new();
    let file = file(&dir);
    for pattern in ["ls", "rg"] {
        file.edit(None, |policy| policy.allow("main", pattern, 1))
            .unwrap();
        note(&file, pattern, pattern, 7);
    }
    file.edit(None, |policy| policy.disallow("main", "ls"))
        .unwrap();
    file.write_usage();
    let text = fs::read_to_string(dir.path().join("exec-approvals-usage.json")).unwrap();
    assert!(
        text.contains("\"rg\"") && !text.contains("\"ls\""),
        "{text}"
    );
}

#[test]
fn a_fault_is_news_once_and_again_after_a_repair() {
    let dir = TempDir::new();
    let file = file(&dir);
    let fault = "line 1".to_owned();
    let seen = [Some(&fault), Some(&fault), None, None, Some(&fault)];
    let news: Vec<bool> = seen.into_iter().map(|fault| file.is_news(fault)).collect();
    assert_eq!(news, [true, false, true, false, true]);
}
