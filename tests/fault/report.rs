//! The table at the end of `make fault`: what was tried, what was acknowledged, and what of that was lost.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

static TURN: Mutex<()> = Mutex::new(());

/// Adds a row, and fails the test afterwards when something that was acknowledged was not found again.
#[track_caller]
pub fn row(fault: &str, tried: &str, acknowledged: usize, lost: usize) {
    let _turn = TURN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let line = format!("{fault:<34} | {tried:<80} | {acknowledged:>12} | {lost:>4}\n");
    print!("{line}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fault.txt");
    append(&path, &line);
    assert_eq!(lost, 0, "acknowledged and lost: {line}");
}

fn append(path: &Path, line: &str) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    if file.metadata().unwrap().len() == 0 {
        let head = format!(
            "{:<34} | {:<80} | {:>12} | {:>4}\n",
            "fault", "tried", "acknowledged", "lost"
        );
        file.write_all(head.as_bytes()).unwrap();
    }
    file.write_all(line.as_bytes()).unwrap();
}
