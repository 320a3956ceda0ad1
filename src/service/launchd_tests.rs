use super::*;
use crate::service::definition::Scope;
use crate::service::name::Kind;
use crate::service::testing::{Programs, define};
use crate::store::testing::TempDir;

fn at(home: &TempDir, programs: &Programs) -> Launchd {
    Launchd {
        label: "ai.openclaw.node".to_owned(),
        uid: 501,
        home: home.path().to_owned(),
        secrets: home.join("node.systemd.env"),
        asker: programs.asker(),
    }
}

#[test]
fn an_agent_is_loaded_and_an_uninstall_leaves_nothing() {
    let home = TempDir::new();
    let programs = Programs::new().add("launchctl", "bootout*) exit 3;;\n*) exit 0;;");
    let launchd = at(&home, &programs);
    fs::write(&launchd.secrets, "X=1").unwrap();
    let mut definition = define(Kind::Node, Scope::User(None), &[], true);
    definition.state_dir = home.join("state");
    let written = launchd.install(&definition, "<plist/>").unwrap();
    let file = written.file.display().to_string();
    assert!(home.join("state/logs").is_dir() && home.join("state/tmp").is_dir());
    assert!(launchd.uninstall().unwrap());
    assert!(!written.file.exists() && !launchd.secrets.exists());
    assert!(!launchd.uninstall().unwrap());
    assert_eq!(
        programs.asked(),
        [
            format!("launchctl bootout gui/501 {file}"),
            "launchctl enable gui/501/ai.openclaw.node".to_owned(),
            format!("launchctl bootstrap gui/501 {file}"),
            format!("launchctl bootout gui/501 {file}"),
        ]
    );
}

#[test]
fn a_stopped_agent_is_disabled_first_and_starts_again() {
    let home = TempDir::new();
    let programs = Programs::new().add("launchctl", "print*) exit 113;;\n*) exit 0;;");
    let launchd = at(&home, &programs);
    launchd.stop().unwrap();
    launchd.start().unwrap();
    let file = launchd.file().display().to_string();
    assert_eq!(
        programs.asked(),
        [
            "launchctl disable gui/501/ai.openclaw.node".to_owned(),
            "launchctl bootout gui/501/ai.openclaw.node".to_owned(),
            "launchctl print gui/501/ai.openclaw.node".to_owned(),
            "launchctl enable gui/501/ai.openclaw.node".to_owned(),
            format!("launchctl bootstrap gui/501 {file}"),
        ]
    );
}

#[test]
fn the_state_of_an_agent_is_read() {
    let found = runtime("gui/501/x = {\n\tstate = running\n\tpid = 77\n\tlast exit code = 1\n}\n");
    assert_eq!(
        (found.status, found.pid, found.last_exit_status),
        ("running", Some(77), Some(1))
    );
    assert_eq!(runtime("\tstate = not running\n").status, "stopped");
}
