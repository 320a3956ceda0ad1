//! `make fuzz TIME=60`: random inputs for so many seconds, or the files given as arguments once more.
//!
//! Environment: `FUZZ_SECONDS` (whole run, default 60), `FUZZ_SEED` (default: the clock). A failing input
//! is written to `target/fuzz/`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

// What only the ordinary tests use is dead here.
#[allow(dead_code)]
#[path = "mod.rs"]
mod fuzz;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fuzz::targets::TARGETS;
use fuzz::{campaign, examine};

/// Memory that no bounded set of inputs of 64 KiB may need, in KiB.
const MOST_MEMORY_KIB: u64 = 256 * 1024;

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    if !files.is_empty() {
        return replay(&files);
    }
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seconds = number("FUZZ_SECONDS").unwrap_or(60);
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|age| age.as_nanos() as u64);
    let seed = number("FUZZ_SEED").unwrap_or(clock.unwrap_or(1));
    println!("seed {seed} (FUZZ_SEED={seed} repeats this run), {seconds} s");
    let share = Duration::from_secs(seconds) / TARGETS.len() as u32;
    for target in &TARGETS {
        let begun = Instant::now();
        match campaign(target, seed, |tried| {
            tried % 64 == 0 && begun.elapsed() >= share
        }) {
            Ok(tried) => {
                let rate = tried as f64 / begun.elapsed().as_secs_f64().max(0.001);
                println!(
                    "{:<8} {tried:>9} inputs, {rate:>7.0} per second",
                    target.name
                );
            }
            Err((input, why)) => {
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz");
                let file = folder.join(format!("{}-{seed}.input", target.name));
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&file, &input).unwrap();
                println!(
                    "{}: {why}\nseed {seed}, input in {}",
                    target.name,
                    file.display()
                );
                println!("again: cargo test --test fuzz -- {}", file.display());
                return ExitCode::FAILURE;
            }
        }
    }
    fuzz::states::tidy();
    let peak = peak_memory_kib();
    println!("peak memory {} MiB", peak / 1024);
    if peak > MOST_MEMORY_KIB {
        println!("more than {} MiB", MOST_MEMORY_KIB / 1024);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Runs saved inputs; the name of a file begins with its target.
fn replay(files: &[String]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        let input = std::fs::read(file).unwrap();
        let name = Path::new(file)
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let target = TARGETS.iter().find(|target| name.starts_with(target.name));
        let target = target.unwrap_or_else(|| panic!("{name} names no target"));
        match examine(target, &input) {
            Ok(()) => println!("{file}: holds"),
            Err(why) => {
                println!("{file}: {why}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}
