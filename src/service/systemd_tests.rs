use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::config::Environment;
use crate::service::testing::{Programs, account};
use crate::store::testing::TempDir;

const UNIT: &str = "openclaw-node.service";

fn at(home: &TempDir, programs: &Programs) -> Systemd {
    Systemd::new(
        UNIT.to_owned(),
        false,
        None,
        home.path().to_owned(),
        programs.asker(),
    )
}

/// Quiet answers to everything.
fn willing() -> Programs {
    Programs::new().add("systemctl", "*) exit 0;;")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_manager_that_cannot_be_asked_leaves_no_unit_behind() {
    let unreached = Programs::new().add(
        "systemctl",
        "*) echo 'Failed to connect to bus' >&2; exit 1;;",
    );
    let home = TempDir::new();
    let systemd = at(&home, &unreached);
    assert!(systemd.install("[Service]\nfirst=1\n").is_err());
    assert!(!systemd.file().exists());
    at(&home, &willing())
        .install("[Service]\nfirst=1\n")
        .unwrap();
    assert!(systemd.install("[Service]\nsecond=1\n").is_err());
    assert!(systemd.file().exists());
}

#[test]
fn an_install_writes_enables_and_restarts_and_an_uninstall_leaves_nothing() {
    let (home, programs) = (TempDir::new(), willing());
    let systemd = at(&home, &programs);
    let secrets = home.join("node.systemd.env");
    let text = format!("[Service]\nEnvironmentFile=-{}\n", secrets.display());
    fs::write(&secrets, "X=1").unwrap();

    let first = systemd.install("[Service]\nformer=1\n").unwrap();
    assert_eq!((first.backup, mode(&first.file)), (None, 0o600));
    let second = systemd.install(&text).unwrap();
    let backup = second.backup.unwrap();
    assert_eq!(
        fs::read_to_string(&backup).unwrap(),
        "[Service]\nformer=1\n"
    );
    assert_eq!((mode(&backup), systemd.is_loaded().unwrap()), (0o600, true));
    // The same once more is no reason to lose the one before.
    assert_eq!(systemd.install(&text).unwrap().backup, None);
    assert!(backup.exists());

    assert!(systemd.uninstall().unwrap());
    assert_eq!(
        fs::read_dir(home.join(".config/systemd/user"))
            .unwrap()
            .count(),
        0
    );
    assert!(!secrets.exists());
    assert!(!systemd.uninstall().unwrap(), "there is nothing any more");
    let quiet = "systemctl --user --no-ask-password";
    let asked = programs.asked();
    let step = |words: &str| format!("{quiet} {words}");
    let install = [
        step("daemon-reload"),
        step(&format!("enable {UNIT}")),
        step(&format!("restart {UNIT}")),
    ];
    assert_eq!(asked[..3], install);
    let removal = [
        step(&format!("disable --now {UNIT}")),
        step("daemon-reload"),
        step(&format!("reset-failed {UNIT}")),
    ];
    assert_eq!(asked[asked.len() - 3..], removal);
}

#[test]
fn a_masked_unit_is_not_written_through() {
    let (home, programs) = (TempDir::new(), willing());
    let systemd = at(&home, &programs);
    let elsewhere = home.join("elsewhere");
    fs::write(&elsewhere, "mine").unwrap();
    fs::create_dir_all(systemd.file().parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&elsewhere, systemd.file()).unwrap();
    let refusal = systemd.install("x").unwrap_err().to_string();
    assert!(refusal.contains("systemctl unmask"), "{refusal}");
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine");
    assert!(programs.asked().is_empty());
}

#[test]
fn a_manager_that_is_not_reached_is_asked_for_through_the_machines_one() {
    let home = TempDir::new();
    let own = Account::own().unwrap().name;
    let bus = "*) echo 'Failed to connect to bus: No medium found' >&2; exit 1;;";
    let programs = Programs::new().add("systemctl", &format!("--machine*) exit 0;;\n{bus}"));
    assert!(at(&home, &programs).is_loaded().unwrap());
    let asked = programs.asked();
    assert_eq!(
        asked[1],
        format!("systemctl --machine {own}@ --user --no-ask-password is-enabled {UNIT}")
    );

    let programs = Programs::new().add("systemctl", bus);
    let systemd = at(&home, &programs);
    let fault = systemd.is_loaded().unwrap_err();
    assert!(matches!(fault, ServiceError::NoUserBus { .. }), "{fault:?}");
    assert_eq!(systemd.runtime().status, "unknown");

    let nowhere = Asker::new(&Environment::from_pairs([("PATH", "/nonexistent")]));
    let missing = Systemd::new(
        UNIT.to_owned(),
        false,
        None,
        home.path().to_owned(),
        nowhere,
    );
    let fault = missing.is_loaded().unwrap_err();
    assert_eq!(
        fault.to_string(),
        "systemctl not available; systemd user services are required on Linux."
    );
}

#[test]
fn root_behind_sudo_speaks_to_the_manager_of_the_user_and_the_machines_is_asked_without_a_user() {
    let (home, programs) = (TempDir::new(), willing());
    let mut systemd = at(&home, &programs);
    systemd.account = Some(account());
    systemd.start().unwrap();
    systemd.system = true;
    systemd.stop().unwrap();
    assert_eq!(systemd.file(), Path::new("/etc/systemd/system").join(UNIT));
    assert_eq!(
        programs.asked(),
        [
            format!("systemctl --machine openclaw-test@ --user --no-ask-password start {UNIT}"),
            format!("systemctl --no-ask-password stop {UNIT}"),
        ]
    );
}

#[test]
fn a_refusal_is_told_in_the_managers_words() {
    let home = TempDir::new();
    let programs = Programs::new().add("systemctl", "*) echo 'Job failed.' >&2; exit 5;;");
    let refusal = at(&home, &programs).restart().unwrap_err().to_string();
    assert_eq!(
        refusal,
        format!("systemctl --user restart {UNIT} failed: Job failed.")
    );
}

#[test]
fn the_state_of_a_unit_is_read() {
    let show = "ActiveState=active\nSubState=running\nMainPID=4242\nExecMainStatus=0\nExecMainCode=0\nLoadState=loaded\n";
    let found = runtime(show);
    assert_eq!(
        (found.status, found.pid, found.last_exit_status),
        ("running", Some(4_242), Some(0))
    );
    assert_eq!(found.last_exit_reason.as_deref(), Some("0"));
    let gone = runtime("ActiveState=inactive\nSubState=dead\nMainPID=0\nLoadState=not-found\n");
    assert_eq!(
        (gone.status, gone.pid, gone.missing_unit),
        ("stopped", None, true)
    );
    assert_eq!(runtime("").status, "unknown");
}

#[test]
fn lingering_is_known_or_not_known() {
    let home = TempDir::new();
    for (answer, expected) in [
        ("*) echo Linger=yes;;", Some(true)),
        ("*) echo Linger=no;;", Some(false)),
        (
            "*) echo 'Failed to get user: User ID 0 is not logged in or lingering' >&2; exit 1;;",
            Some(false),
        ),
        ("*) echo 'Failed to connect to bus' >&2; exit 1;;", None),
    ] {
        let programs = Programs::new().add("loginctl", answer);
        assert_eq!(at(&home, &programs).lingers("u"), expected, "{answer}");
    }
}
