use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::json;

use super::chain::{Fault, Place, Tally, Verifier};
use super::*;
use crate::pairing::AuditEntry;
use crate::store::testing::TempDir;

fn entry(subject: &str) -> AuditEntry {
    AuditEntry {
        action: "device.approve",
        subject: subject.to_owned(),
        by: "operator".to_owned(),
        via: "device.pair.approve".to_owned(),
        from: Some("127.0.0.1".to_owned()),
        after: Some(json!({"roles": ["node"]})),
        ..AuditEntry::default()
    }
}

#[test]
fn a_decision_is_one_private_line() {
    let temp = TempDir::new();
    let path = temp.join("audit.jsonl");
    let log = AuditLog::new(path.clone());
    assert!(log.newest(10).unwrap().is_empty());
    log.append(7, &entry("line\nbreak")).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1);
    let mut line: Value = serde_json::from_str(&text).unwrap();
    assert!(line["chain"].take().is_string());
    assert_eq!(
        line,
        json!({"ts": 7, "action": "device.approve", "subject": "line\nbreak", "by": "operator",
               "via": "device.pair.approve", "from": "127.0.0.1", "after": {"roles": ["node"]},
               "seq": 1, "chain": null})
    );
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_line_that_is_too_long_keeps_its_place_and_loses_its_length() {
    let temp = TempDir::new();
    let log = AuditLog::new(temp.join("audit.jsonl"));
    let long = "h".repeat(MAX_BYTES as usize);
    log.append(1, &entry("first")).unwrap();
    for _ in 0..=KEPT_FILES {
        let line = AuditEntry {
            before: Some(json!({"hash": long})),
            detail: Some(json!({"short": true})),
            ..entry(&long)
        };
        log.append(2, &line).unwrap();
    }
    let lines = log.newest(10).unwrap();
    assert_eq!(lines.len(), 2 + KEPT_FILES as usize);
    assert_eq!(lines[0]["subject"], "first");
    let last = &lines[1];
    assert_eq!(last["subject"].as_str().unwrap().chars().count(), 1_025);
    assert_eq!(last["before"], json!({"bytesLeftOut": long.len() + 11}));
    assert_eq!(
        (&last["by"], &last["detail"]),
        (&json!("operator"), &json!({"short": true}))
    );
}

#[test]
fn a_torn_line_costs_only_itself() {
    let temp = TempDir::new();
    let path = temp.join("audit.jsonl");
    let log = AuditLog::new(path.clone());
    log.append(1, &entry("a")).unwrap();
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"ts\":2,\"acti").unwrap();
    log.append(3, &entry("c")).unwrap();
    let newest = log.newest(10).unwrap();
    assert_eq!(newest.len(), 2);
    assert_eq!(newest[1]["subject"], "c");
}

#[test]
fn full_files_move_aside_and_the_oldest_goes() {
    let temp = TempDir::new();
    let path = temp.join("audit.jsonl");
    let mut log = AuditLog::new(path.clone());
    log.append(0, &entry("0")).unwrap();
    let line = fs::metadata(&path).unwrap().len();
    // The first line of a later file is longer.
    log.max_bytes = 2 * line + 80;
    for ts in 1..9 {
        log.append(ts, &entry(&ts.to_string())).unwrap();
    }
    let subjects = |limit| -> Vec<u64> {
        let newest = log.newest(limit).unwrap();
        newest
            .iter()
            .map(|entry| entry["ts"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(subjects(100), [2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(subjects(3), [6, 7, 8]);
    assert!(numbered(&path, KEPT_FILES).exists());
    assert!(!numbered(&path, KEPT_FILES + 1).exists());
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let temp = TempDir::new();
    let log = AuditLog::new(temp.join("missing/audit.jsonl"));
    assert!(log.append(1, &entry("a")).is_err());
}

#[test]
fn no_name_hides_in_a_line() {
    let temp = TempDir::new();
    let path = temp.join("audit.jsonl");
    let name = "Pi\u{1b}[2J\u{202e}\u{9b}";
    AuditLog::new(path.clone()).append(7, &entry(name)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("Pi\\u001b[2J\\u202e\\u009b"), "{text}");
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap()["subject"],
        name
    );
}

/// What the verifier says about the files at `path`.
fn verify(path: &Path) -> Result<(Tally, u64), (u64, Fault)> {
    let trail = AuditTrail::open(path).unwrap();
    let mut verifier = Verifier::new(trail.is_rotated());
    let broken = |(place, fault): (Place, Fault)| (place.line, fault);
    let mut found = None;
    let read = trail.each(|line| {
        let taken = verifier.take(line.place, &line.bytes, line.ended);
        found = taken.map_err(broken).err();
        match found {
            Some(_) => Err(io::Error::other("broken")),
            None => Ok(()),
        }
    });
    match (read, found) {
        (_, Some(fault)) => Err(fault),
        (Ok(()), None) => {
            let (tally, link) = verifier.finish().map_err(broken)?;
            Ok((tally, link.map_or(0, |link| link.seq)))
        }
        (Err(error), None) => panic!("{error}"),
    }
}

#[test]
fn the_chain_goes_on_over_restarts_rotations_and_torn_lines() {
    let temp = TempDir::new();
    let path = temp.join("audit.jsonl");
    let mut torn = 0;
    for round in 1..=60 {
        // Each round is another process.
        let log = AuditLog::with_max_bytes(path.clone(), 1_500);
        for _ in 0..round % 3 + 1 {
            log.append(round, &entry("a")).unwrap();
        }
        if round % 7 == 0 {
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            file.write_all(b"{\"ts\":2,\"acti").unwrap();
            torn += 1;
        }
        let (tally, last) = verify(&path).unwrap();
        assert_eq!(last, tally.first.unwrap() + tally.chained - 1, "{round}");
    }
    assert!(torn > 0 && verify(&path).unwrap().0.first > Some(1));
    fs::write(
        &path,
        fs::read_to_string(&path)
            .unwrap()
            .replace("operator", "0perator"),
    )
    .unwrap();
    assert!(matches!(verify(&path), Err((_, Fault::Altered))));
}

#[test]
fn two_writers_of_one_trail_share_its_chain() {
    let temp = TempDir::new();
    let path = temp.join("audit.jsonl");
    let logs = [(); 2].map(|()| AuditLog::with_max_bytes(path.clone(), 20_000));
    std::thread::scope(|scope| {
        for log in &logs {
            scope.spawn(|| {
                for ts in 0..60 {
                    log.append(ts, &entry("a")).unwrap();
                }
            });
        }
    });
    let (tally, last) = verify(&path).unwrap();
    assert_eq!(last, 120, "{tally:?}");
}

#[test]
fn a_trail_from_before_the_chain_is_continued_with_one() {
    let temp = TempDir::new();
    let path = temp.join("audit.jsonl");
    fs::write(&path, "{\"ts\":1,\"action\":\"old\"}\n{\"ts\":2,\"ac").unwrap();
    let log = AuditLog::new(path.clone());
    log.append(3, &entry("a")).unwrap();
    let (tally, last) = verify(&path).unwrap();
    assert_eq!((tally.not_chained, tally.chained, last), (2, 1, 1));
}

#[test]
fn what_is_taken_away_from_a_running_writer_shows() {
    let temp = TempDir::new();
    let path = temp.join("audit.jsonl");
    let log = AuditLog::new(path.clone());
    for ts in 1..=4 {
        log.append(ts, &entry("a")).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let kept: Vec<&str> = text.split_inclusive('\n').take(2).collect();
    fs::write(&path, kept.concat()).unwrap();
    log.append(5, &entry("b")).unwrap();
    assert_eq!(verify(&path), Err((3, Fault::Missing { from: 3, to: 4 })));
    fs::remove_file(&path).unwrap();
    log.append(6, &entry("c")).unwrap();
    assert_eq!(verify(&path), Err((1, Fault::Missing { from: 1, to: 5 })));
}

#[test]
fn a_stopped_reader_of_the_lock_keeps_no_line_for_ever() {
    let temp = TempDir::new();
    let path = temp.join("audit.jsonl");
    let log = AuditLog::new(path.clone());
    log.append(1, &entry("a")).unwrap();
    let other = File::open(&path).unwrap();
    let held = turn::within(&other, Duration::ZERO).unwrap();
    assert!(held.is_some());
    let refused = log.append(2, &entry("b")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TimedOut);
    drop(held);
    log.append(3, &entry("b")).unwrap();
    assert_eq!(verify(&path).unwrap().1, 2);
}
