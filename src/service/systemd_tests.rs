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
    let asker = programs.asker();
    let systemd = Systemd::new(UNIT.to_owned(), true, None, home.path().to_owned(), asker);
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

const GATEWAY: &str = "openclaw-gateway.service";

/// The machine's gateway on a system of its own below `root`, with the units of the package.
fn packaged(root: &TempDir, programs: &Programs) -> Systemd {
    let units = root.join("usr/lib/systemd/system");
    fs::create_dir_all(&units).unwrap();
    fs::create_dir_all(root.join("etc/systemd/system")).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/systemd/system");
    for name in [GATEWAY, "openclaw-gateway.socket"] {
        fs::copy(shipped.join(name), units.join(name)).unwrap();
    }
    let home = root.join("home/pi");
    let gateway = GATEWAY.to_owned();
    let mut systemd = Systemd::new(gateway, true, None, home.clone(), programs.asker());
    systemd.directories = UnitDirectories::new(root.path(), &home, true);
    systemd
}

/// Answers for a gateway whose service and socket stand like this.
fn standing(service: &str, socket: &str) -> Programs {
    let answers = format!(
        "*is-enabled*) exit 1;;\n*show*.socket*) printf '{socket}';;\n*show*) printf 'ActiveState={service}\\n';;\n*) exit 0;;"
    );
    Programs::new().add("systemctl", &answers)
}

const SHUT: &str = "ActiveState=inactive\\nUnitFileState=enabled\\n";
const OPEN: &str = "ActiveState=active\\nUnitFileState=enabled\\n";
const UNUSED: &str = "ActiveState=inactive\\nUnitFileState=disabled\\n";

#[test]
fn the_unit_of_a_package_is_seen_and_an_uninstall_leaves_it() {
    let (root, programs) = (TempDir::new(), willing());
    let systemd = packaged(&root, &programs);
    let vendor = root.join("usr/lib/systemd/system").join(GATEWAY);
    assert_eq!(systemd.source().unwrap().path, vendor);
    assert!(!systemd.uninstall().unwrap());
    assert!(vendor.exists() && programs.asked().is_empty());

    // An install is written over it and taken away again.
    let written = systemd.install("[Service]\nUser=pi\n").unwrap();
    assert_eq!((&written.file, written.backup), (&systemd.file(), None));
    assert_eq!(systemd.source().unwrap().path, written.file);
    assert!(systemd.uninstall().unwrap());
    assert_eq!(systemd.source().unwrap().path, vendor);
}

#[test]
fn a_service_whose_socket_is_enabled_starts_by_itself() {
    let root = TempDir::new();
    for (socket, expected) in [(SHUT, true), (OPEN, true), (UNUSED, false)] {
        let programs = standing("inactive", socket);
        let systemd = packaged(&root, &programs);
        assert_eq!(systemd.is_loaded().unwrap(), expected, "{socket}");
    }
    let wants = root.join("etc/systemd/system/sockets.target.wants");
    let programs = willing();
    let systemd = packaged(&root, &programs);
    assert!(!systemd.is_wanted());
    fs::create_dir_all(&wants).unwrap();
    fs::write(wants.join("openclaw-gateway.socket"), "").unwrap();
    assert!(systemd.is_wanted() && programs.asked().is_empty());
}

#[test]
fn a_stopped_service_is_not_started_again_by_its_socket_which_opens_with_it() {
    let root = TempDir::new();
    let of_service = |word| format!("{word} {GATEWAY}");
    let of_both = |word| format!("{word} openclaw-gateway.socket {GATEWAY}");
    for (service, socket, word, steps) in [
        ("active", OPEN, "stop", vec![of_both("stop")]),
        ("inactive", OPEN, "stop", vec![of_both("stop")]),
        ("active", UNUSED, "stop", vec![of_service("stop")]),
        ("inactive", SHUT, "start", vec![of_both("start")]),
        ("active", SHUT, "start", vec![of_service("start")]),
        ("inactive", UNUSED, "start", vec![of_service("start")]),
        ("active", OPEN, "restart", vec![of_service("restart")]),
        (
            "active",
            SHUT,
            "restart",
            vec![of_service("stop"), of_both("start")],
        ),
        ("active", UNUSED, "restart", vec![of_service("restart")]),
    ] {
        let programs = standing(service, socket);
        let systemd = packaged(&root, &programs);
        match word {
            "stop" => systemd.stop(),
            "start" => systemd.start(),
            _ => systemd.restart(),
        }
        .unwrap();
        let asked = programs.asked();
        let changes = asked.iter().filter(|line| !line.contains(" show "));
        let steps = steps
            .iter()
            .map(|step| format!("systemctl --no-ask-password {step}"));
        assert!(
            changes.eq(steps.collect::<Vec<_>>().iter()),
            "{service} {socket}: {asked:?}"
        );
    }
}
