//! A disk that fills up under the running gateway: operations fail with their error, nothing that
//! was acknowledged is lost, and when there is room again it goes on without a restart.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::support::home::Home;
use crate::support::peer::Peer;
use crate::support::process::{Running, SECRET, command, free_port, http, program};
use crate::support::wait_for;

/// Whether this machine lets a test mount a small file system in a namespace of its own.
fn may_mount() -> bool {
    let probe = std::env::temp_dir();
    let script = format!("mount -t tmpfs -o size=64k tmpfs {}", probe.display());
    Command::new("unshare")
        .args(["-rm", "sh", "-c", &script])
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn a_full_disk_fails_operations_and_loses_nothing() {
    if !may_mount() {
        println!("skipped: this kernel refuses a mount namespace (unshare -rm)");
        return;
    }
    let port = free_port();
    let home = Home::new();
    std::fs::create_dir_all(home.state()).unwrap();
    let config = format!(
        r#"{{ gateway: {{ mode: "local", port: {port}, auth: {{ mode: "token", token: "{SECRET}" }} }} }}"#
    );
    let script = format!(
        "mount -t tmpfs -o size=512k tmpfs {state} && printf '%s' '{config}' > {state}/openclaw.json && exec {program} gateway run",
        state = home.state().display(),
        program = program().display(),
    );
    let mut line = command(&PathBuf::from("/usr/bin/unshare"), &home);
    line.args(["-rm", "sh", "-c", &script]);
    let mut process = Running::start(line);
    process.wait_for_output("[gateway] ready");
    let address = ([127, 0, 0, 1], port).into();
    let inside = PathBuf::from(format!(
        "/proc/{}/root{}",
        process.pid(),
        home.state().display()
    ));
    let read = |name: &str| std::fs::read_to_string(inside.join(name)).unwrap();

    let mut operator = Peer::operator(address, SECRET);
    let mut approve = |node: &str| {
        let requested = operator.call(
            "node.pair.request",
            json!({"nodeId": node, "platform": "linux"}),
        )?;
        operator.call(
            "node.pair.approve",
            json!({"requestId": requested["request"]["requestId"]}),
        )
    };
    approve("before").expect("room enough");
    let (paired, pending) = (read("nodes/paired.json"), read("nodes/pending.json"));
    // Fill what is left, to the last byte.
    let filler = inside.join("filler");
    let mut length = 1 << 20;
    let mut block = Vec::new();
    while length > 0 {
        block.resize(block.len() + length, 0u8);
        if std::fs::write(&filler, &block).is_err() {
            block.truncate(block.len() - length);
            length /= 2;
        }
    }
    let error = approve("during").unwrap_err();
    assert_eq!(error["code"], "UNAVAILABLE", "{error}");
    assert!(
        !error["message"].as_str().unwrap().contains('/'),
        "no path in {error}"
    );
    assert_eq!(read("nodes/paired.json"), paired);
    assert_eq!(read("nodes/pending.json"), pending);
    assert!(http(address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").contains("live"));

    std::fs::remove_file(&filler).unwrap();
    wait_for("room again", || approve("after").ok());
    let now: serde_json::Value = serde_json::from_str(&read("nodes/paired.json")).unwrap();
    let names: Vec<&String> = now.as_object().unwrap().keys().collect();
    assert!(
        names.iter().any(|name| *name == "before") && names.iter().any(|name| *name == "after"),
        "{names:?}"
    );
    assert!(
        !names.iter().any(|name| *name == "during"),
        "what failed did not happen: {names:?}"
    );
    process.signal("TERM");
    assert_eq!(process.exit_code(), 0, "{}", process.output());
}
