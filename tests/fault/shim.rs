//! A library that is loaded into the program and lies to it, about what reached the disk and about the time of day;
//! to the test it tells the truth about the heap.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::home::Home;
use crate::support::process::{Running, command, program};

/// What the library is told, in a file that both sides see; the offsets are those of `shim.c`.
pub struct Shim {
    path: PathBuf,
    file: File,
}

const CLOCK: u64 = 0;
const COUNTDOWN: u64 = 8;
const LASTING: u64 = 16;
const CALLS: u64 = 24;
const FAILED: u64 = 32;
const ASKED: u64 = 40;
const TOLD: u64 = 48;
const HEAP: u64 = 56;

/// Numbers in the file.
const NUMBERS: usize = 8;

impl Shim {
    /// One that changes nothing yet; `None`, and a word why, where it cannot be built.
    pub fn or_skip(test: &str, home: &Home) -> Option<Shim> {
        if library().is_none() {
            eprintln!("SKIPPED {test}: no C compiler, or a system without LD_PRELOAD");
            return None;
        }
        let path = home.path().join("shim");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        file.set_len(8 * NUMBERS as u64).unwrap();
        let shim = Shim { path, file };
        shim.sync_well();
        Some(shim)
    }

    /// A command of the program under its influence.
    pub fn command(&self, home: &Home, arguments: &[&str]) -> Command {
        let mut line = command(&program(), home);
        self.load_into(&mut line);
        line.args(arguments);
        line
    }

    /// Puts a prepared command under its influence.
    pub fn load_into(&self, line: &mut Command) {
        line.env("LD_PRELOAD", library().unwrap())
            .env("FAULT_SHIM", &self.path);
    }

    /// A gateway under its influence.
    pub fn gateway(&self, home: &Home) -> Running {
        let mut gateway = Running::start(self.command(home, &["gateway", "run"]));
        gateway.wait_for_output("[gateway] ready");
        gateway
    }

    /// After `successes` more, one sync fails, or all do.
    pub fn fail_sync(&self, successes: i64, lasting: bool) {
        self.write(LASTING, i64::from(lasting));
        self.write(COUNTDOWN, successes);
    }

    /// No sync fails any more.
    pub fn sync_well(&self) {
        self.write(COUNTDOWN, -1);
    }

    /// Syncs so far.
    pub fn syncs(&self) -> i64 {
        self.read(CALLS)
    }

    /// Syncs that failed so far.
    pub fn failed(&self) -> i64 {
        self.read(FAILED)
    }

    /// Moves the time of day by so much from what it really is.
    pub fn set_clock(&self, ms: i64) {
        self.write(CLOCK, ms);
    }

    /// Asks for the size of the heap; the number of the question.
    pub fn ask_heap(&self) -> i64 {
        let number = self.read(ASKED) + 1;
        self.write(ASKED, number);
        number
    }

    /// The bytes that the program has in use, once it answered that question. It does so when it next looks at a
    /// clock, and gives the pages of what is free back before.
    pub fn heap(&self, number: i64) -> Option<i64> {
        (self.read(TOLD) >= number).then(|| self.read(HEAP))
    }

    fn write(&self, at: u64, number: i64) {
        self.file.write_all_at(&number.to_ne_bytes(), at).unwrap();
    }

    fn read(&self, at: u64) -> i64 {
        let mut bytes = [0u8; 8];
        self.file.read_exact_at(&mut bytes, at).unwrap();
        i64::from_ne_bytes(bytes)
    }
}

/// The library, built once in each run.
fn library() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fault/shim.c");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tmp");
        std::fs::create_dir_all(&folder).unwrap();
        let library = folder.join(format!("fault-shim-{}.so", std::process::id()));
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl")
            .status();
        let built = cfg!(target_os = "linux") && built.is_ok_and(|status| status.success());
        built.then_some(library)
    });
    built.as_deref()
}
