use std::sync::Arc;

use super::*;
use crate::exec::which;
use crate::node::testing::TempDir;

/// Long enough for any machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

fn launch(argv: &[&str]) -> Launch {
    let environment = ChildEnvironment::from([("PATH".into(), "/usr/bin:/bin".into())]);
    Launch {
        program: which::resolve(argv[0], Path::new("/"), "/usr/bin:/bin", None),
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        cwd: None,
        held: None,
        environment,
        timeout: None,
    }
}

fn shell(script: &str) -> Launch {
    launch(&["sh", "-c", script])
}

/// Runs and gives the outcome; a run that hangs fails the test instead of the test run.
fn finish(launch: Launch) -> Outcome {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(run(&launch, &Children::default())));
    receiver.recv_timeout(PATIENCE).unwrap()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Alive means more than a zombie that its reaper has not collected yet.
fn is_alive(pid: &str) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit(") ").next().unwrap_or("").starts_with('Z'),
        Err(_) => false,
    }
}

fn pids(path: &Path, count: usize) -> Vec<String> {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    wait_until("all members wrote their pid", || {
        read().lines().count() == count
    });
    read().lines().map(str::to_owned).collect()
}

#[test]
fn outcomes_follow_the_exit() {
    let cases: &[(&str, Option<i32>, bool, &str, &str)] = &[
        ("echo hello", Some(0), true, "hello\n", ""),
        ("echo no >&2; exit 3", Some(3), false, "", "no\n"),
        ("kill -9 $$", None, false, "", ""),
        ("cat; echo end", Some(0), true, "end\n", ""),
        ("printf '\\377'", Some(0), true, "\u{fffd}", ""),
    ];
    for (script, code, success, stdout, stderr) in cases {
        let outcome = finish(shell(script));
        assert_eq!(outcome.exit_code, *code, "{script}");
        assert_eq!(outcome.success(), *success, "{script}");
        assert_eq!(
            (outcome.stdout.as_str(), outcome.stderr.as_str()),
            (*stdout, *stderr),
            "{script}"
        );
        assert_eq!(
            outcome.payload().get("exitCode").is_some(),
            code.is_some(),
            "{script}"
        );
    }
}

#[test]
fn a_child_gets_exactly_its_environment_and_name() {
    let mut launch = launch(&["env"]);
    launch.environment = ChildEnvironment::from([("A".into(), "1".into())]);
    assert_eq!(finish(launch).stdout, "A=1\n");
    let mut named = shell("echo $0");
    named.argv = vec!["my-name".to_owned(), "-c".to_owned(), "echo $0".to_owned()];
    assert_eq!(finish(named).stdout, "my-name\n");
}

#[test]
fn a_program_that_cannot_start_is_an_outcome() {
    let dir = TempDir::new();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "x").unwrap();
    let missing = finish(launch(&["/nonexistent/program"]));
    assert_eq!(
        missing.error.as_deref(),
        Some("spawn /nonexistent/program ENOENT")
    );
    assert_eq!(
        missing.payload().to_string(),
        r#"{"timedOut":false,"success":false,"stdout":"","stderr":"","error":"spawn /nonexistent/program ENOENT"}"#
    );
    let plain = plain.to_str().unwrap();
    assert_eq!(
        finish(launch(&[plain])).error.unwrap(),
        format!("spawn {plain} EACCES")
    );
}

#[test]
fn a_bad_working_directory_is_named() {
    let dir = TempDir::new();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let gone = dir.path().join("gone");
    let cases = [
        (
            &gone,
            format!(
                "spawn pwd ENOENT (working directory does not exist: {})",
                gone.display()
            ),
        ),
        (
            &file,
            format!(
                "spawn pwd ENOTDIR (working directory is not a directory: {})",
                file.display()
            ),
        ),
    ];
    for (cwd, text) in cases {
        let mut launch = launch(&["pwd"]);
        launch.cwd = Some(cwd.clone());
        assert_eq!(finish(launch).error, Some(text));
    }
    let mut good = launch(&["pwd"]);
    good.cwd = Some(dir.path().to_owned());
    assert_eq!(finish(good).stdout, format!("{}\n", dir.path().display()));
}

#[test]
fn a_timeout_kills_the_whole_group() {
    let dir = TempDir::new();
    let file = dir.path().join("pids");
    let script = format!(
        "trap '' TERM; echo $$ >> '{0}'; sh -c 'trap \"\" TERM; echo $$ >> \"{0}\"; sleep 600' & sleep 600",
        file.display()
    );
    let mut launch = shell(&script);
    // Enough for both members to start and say who they are.
    launch.timeout = Some(Duration::from_secs(2));
    let outcome = finish(launch);
    assert!(outcome.timed_out && !outcome.success() && outcome.exit_code.is_none());
    assert_eq!(outcome.error, None);
    for pid in pids(&file, 2) {
        wait_until("the member is dead", || !is_alive(&pid));
    }
}

#[test]
fn a_run_at_its_limit_may_say_goodbye() {
    let mut launch = shell("trap 'echo bye; exit 3' TERM; echo on; sleep 600 & wait");
    launch.timeout = Some(Duration::from_secs(2));
    let outcome = finish(launch);
    assert!(outcome.timed_out && outcome.exit_code.is_none());
    assert_eq!(outcome.stdout, "on\nbye\n");
}

#[test]
fn a_child_that_outlives_its_runner_does_not_stay_as_a_zombie() {
    let dir = TempDir::new();
    let file = dir.path().join("pid");
    let children = Children::default();
    let launch = shell(&format!("echo $$ > '{}'; exec sleep 600", file.display()));
    let program = launch.program.clone().unwrap();
    let running = start(&launch, &program, &children).unwrap();
    let pid = pids(&file, 1).remove(0);
    // As after a kill that had no effect in time.
    assert_eq!(running.reap(&children), None);
    assert!(is_alive(&pid));
    let number = Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(number, Signal::KILL).unwrap();
    let entry = Path::new("/proc").join(&pid);
    wait_until("it is collected", || !entry.exists());
}

#[test]
fn a_held_directory_is_entered_whatever_stands_at_its_path() {
    let dir = TempDir::new();
    let (place, moved) = (dir.path().join("place"), dir.path().join("moved"));
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("mark"), "judged").unwrap();
    let bound = crate::exec::plan::Directory::bind(&place).unwrap();
    let mut launch = launch(&["cat", "mark"]);
    launch.held = Some(bound.hold().unwrap());
    launch.cwd = Some(place.clone());
    std::fs::rename(&place, &moved).unwrap();
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("mark"), "replaced").unwrap();
    assert_eq!(finish(launch).stdout, "judged");
}

#[test]
fn output_is_capped_and_the_child_runs_on() {
    let outcome = finish(shell(
        "head -c 3000000 /dev/zero | tr '\\0' x; echo done >&2; exit 7",
    ));
    assert_eq!(outcome.exit_code, Some(7));
    assert!(outcome.stdout.len() <= 200_000 + "\n... (truncated)".len());
    assert!(outcome.truncated && outcome.stdout.ends_with("x\n... (truncated)"));
}

#[test]
fn a_background_grandchild_that_holds_the_pipes_delays_nothing() {
    let dir = TempDir::new();
    let file = dir.path().join("pid");
    let outcome = finish(shell(&format!(
        "sleep 600 & echo $! > '{}'; echo out",
        file.display()
    )));
    assert_eq!(
        (outcome.exit_code, outcome.stdout.as_str()),
        (Some(0), "out\n")
    );
    let pid = pids(&file, 1).remove(0);
    assert!(
        is_alive(&pid),
        "a grandchild in the background is left alone"
    );
    let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn output_that_is_still_in_the_pipe_at_the_exit_is_kept() {
    let outcome = finish(shell("head -c 150000 /dev/zero | tr '\\0' x; echo end"));
    assert_eq!(
        (outcome.stdout.len(), outcome.exit_code),
        (150_004, Some(0))
    );
    assert!(outcome.stdout.ends_with("xend\n"));
}

#[test]
fn a_stopping_host_ends_every_group() {
    let dir = TempDir::new();
    let children = Arc::new(Children::default());
    let polite = dir.path().join("polite");
    let stubborn = dir.path().join("stubborn");
    let scripts = [
        format!("echo $$ >> '{}'; exec sleep 600", polite.display()),
        format!(
            "trap '' TERM; echo $$ >> '{}'; while :; do sleep 600; done",
            stubborn.display()
        ),
    ];
    let runs = scripts.map(|script| {
        let children = Arc::clone(&children);
        std::thread::spawn(move || run(&shell(&script), &children))
    });
    let mut all = pids(&polite, 1);
    all.extend(pids(&stubborn, 1));
    children.stop();
    for run in runs {
        assert_eq!(run.join().unwrap().exit_code, None);
    }
    for pid in &all {
        wait_until("the leader is dead", || !is_alive(pid));
    }
    let refused = run(&shell("true"), &children);
    assert_eq!(
        refused.error.as_deref(),
        Some("spawn sh the node host is stopping")
    );
}
