//! `dns setup`: the plan, and carrying it out with a CoreDNS and a service manager of the test's own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::support::home::Home;
use crate::support::process::{
    Outcome, Running, command, finish, free_port, openclaw_with, program,
};
use crate::support::wait_for;

const COREFILE: &str =
    "# Ours\n.:53 {\n    forward . 1.1.1.1 {\n        max_fails 3\n    }\n    log\n}\n";

/// A machine with a Corefile, whose gateway listens on a private address.
struct Machine {
    home: Home,
}

impl Machine {
    fn new() -> Machine {
        let home = Home::new();
        home.write_config(
            r#"{ gateway: { mode: "local", bind: "custom", customBindHost: "10.1.2.3", auth: { token: "t" } },
                 discovery: { wideArea: { domain: "OpenClaw.Internal" } } }"#,
        );
        fs::create_dir(home.path().join("bin")).unwrap();
        let machine = Machine { home };
        fs::write(machine.file("Corefile"), COREFILE).unwrap();
        machine
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A program of that name that notes how it was called.
    fn install(&self, name: &str, body: &str) {
        let log = self.file("log");
        let script = format!(
            "#!/bin/sh\necho \"{name} $*\" >>'{}'\n{body}\n",
            log.display()
        );
        let (source, program) = (self.file("script"), self.file("bin").join(name));
        fs::write(&source, script).unwrap();
        fs::set_permissions(&source, fs::Permissions::from_mode(0o755)).unwrap();
        // A file that this process has written may be held open by a child of another test.
        assert!(
            Command::new("cp")
                .args([&source, &program])
                .status()
                .unwrap()
                .success()
        );
    }

    fn setup(&self, arguments: &[&str]) -> Outcome {
        let corefile = self.file("Corefile").display().to_string();
        let path = self.file("bin").display().to_string();
        let words = [&["dns", "setup", "--corefile", &corefile], arguments].concat();
        openclaw_with(&self.home, &[("PATH", &path)], &words)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// Which file it is, and since when.
    fn stamp(&self, name: &str) -> (u64, i64, i64) {
        let metadata = fs::metadata(self.file(name)).unwrap();
        (metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
    }
}

/// What a machine says that is in a tailnet.
const IN_TAILNET: &str = r#"echo '{"Self":{"TailscaleIPs":["fd7a:115c:a1e0::9","100.64.0.9"]}}'"#;

const ZONE: &str = ".openclaw/dns/openclaw.internal.db";
const SERVER: &str = "openclaw.d/openclaw.internal.server";

#[test]
fn the_plan_says_what_is_needed_and_changes_nothing() {
    let machine = Machine::new();
    let zone = machine.file(ZONE).display().to_string();
    let plan = machine.setup(&["--json"]).success().json();
    assert_eq!(plan["domain"], "openclaw.internal.");
    assert_eq!(plan["zonePath"], zone);
    assert_eq!(plan["applied"], false);
    assert_eq!(
        plan["recommendedConfig"],
        json!({"gateway": {"bind": "auto"}, "discovery": {"wideArea": {"enabled": true, "domain": "openclaw.internal."}}})
    );
    machine.install("tailscale", IN_TAILNET);
    let plan = machine
        .setup(&["--json", "--domain", "Other.Example"])
        .success()
        .json();
    assert_eq!(plan["domain"], "other.example.");
    assert_eq!(
        plan["tailnetIPs"],
        json!(["100.64.0.9", "fd7a:115c:a1e0::9"])
    );
    assert_eq!(plan["splitDns"]["nameservers"], plan["tailnetIPs"]);
    let text = machine.setup(&[]).success().stdout;
    for part in [
        "│ Domain ",
        "│ openclaw.internal. ",
        "100.64.0.9",
        "\"bind\": \"auto\"",
        "split DNS",
        "--apply",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(machine.read("Corefile"), COREFILE);
    assert!(!machine.file(".openclaw/dns").exists() && !machine.file("openclaw.d").exists());
}

#[test]
fn a_domain_is_needed_and_checked() {
    let home = Home::new();
    home.write_config("{}");
    let setup =
        |arguments: &[&str]| openclaw_with(&home, &[], &[&["dns", "setup"], arguments].concat());
    let none = setup(&[]);
    let expected =
        "No wide-area domain configured. Set discovery.wideArea.domain or pass --domain.";
    assert_eq!((none.code, none.stdout.as_str()), (1, ""));
    assert!(none.stderr.contains(expected), "{none:?}");
    let none = setup(&["--json"]);
    assert_eq!(
        (none.code, &none.json()["error"]["message"]),
        (1, &json!(expected))
    );
    for (domain, why) in [
        ("../../etc", "part \"\""),
        ("pi.local", "multicast DNS"),
        ("a/b", "part \"a/b\""),
    ] {
        let refused = setup(&["--domain", domain]);
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains(why), "{refused:?}");
    }
    let named = openclaw_with(
        &home,
        &[("OPENCLAW_WIDE_AREA_DOMAIN", "from.env")],
        &["dns", "setup", "--json"],
    );
    assert_eq!(named.success().json()["domain"], "from.env.");
    home.write_config("{discovery: {wideArea: {domain: 'a b'}}}");
    let refused = setup(&["--json"]);
    assert_eq!(
        (refused.code, &refused.json()["error"]["code"]),
        (1, &json!("CONFIG_INVALID"))
    );
}

#[test]
fn apply_serves_the_zone_once_and_keeps_what_stood_there() {
    let machine = Machine::new();
    machine.install("coredns", "");
    machine.install("systemctl", "");
    machine.install("tailscale", IN_TAILNET);
    let first = machine.setup(&["--apply", "--json"]).success();
    assert_eq!(first.json()["applied"], true);
    let corefile = machine.read("Corefile");
    assert!(corefile.starts_with(COREFILE), "{corefile}");
    assert!(
        corefile.ends_with("\nimport openclaw.d/*.server\n"),
        "{corefile}"
    );
    assert_eq!(machine.read("Corefile.bak"), COREFILE);
    let server = machine.read(SERVER);
    let zone = machine.file(ZONE).display().to_string();
    for line in [
        "openclaw.internal {\n",
        "    bind 100.64.0.9 fd7a:115c:a1e0::9\n",
        &format!("    file \"{zone}\" {{\n"),
    ] {
        assert!(server.contains(line), "{line}: {server}");
    }
    assert!(
        machine.read(ZONE).contains(" IN A 100.64.0.9\n"),
        "{}",
        machine.read(ZONE)
    );
    assert!(
        machine
            .read("log")
            .ends_with("systemctl restart coredns.service\n"),
        "{}",
        machine.read("log")
    );

    let files = ["Corefile", "Corefile.bak", SERVER, ZONE];
    let before = files.map(|name| machine.stamp(name));
    let second = machine.setup(&["--apply"]).success();
    assert_eq!(files.map(|name| machine.stamp(name)), before);
    assert!(second.stdout.contains("Restarted CoreDNS."), "{second:?}");
    assert_eq!(machine.read("log").matches("restart").count(), 2);

    // Another domain gets a block of its own, and the Corefile has its line already.
    machine
        .setup(&["--apply", "--domain", "other.example"])
        .success();
    assert_eq!(machine.read("Corefile"), corefile);
    assert!(
        machine
            .read("openclaw.d/other.example.server")
            .contains("other.example {\n")
    );
}

#[test]
fn the_configuration_says_of_no_program_that_it_is_tailscale() {
    let machine = Machine::new();
    machine.install("tailscale", IN_TAILNET);
    let path = machine.file("bin").display().to_string();
    machine.home.write_config(&format!(
        r#"{{ env: {{ vars: {{ PATH: "{path}" }} }}, discovery: {{ wideArea: {{ domain: "openclaw.internal" }} }} }}"#
    ));
    let mut command = command(&program(), &machine.home);
    command.args(["dns", "setup", "--json"]).env_remove("PATH");
    finish(command).success();
    assert_eq!(machine.read("log"), "");
    machine.setup(&["--json"]).success();
    assert!(machine.read("log").contains("tailscale status"));
}

#[test]
fn root_writes_no_zone_for_the_account_whose_gateway_it_is_and_serves_the_one_that_is_there() {
    let machine = Machine::new();
    for program in ["coredns", "systemctl"] {
        machine.install(program, "");
    }
    machine.install("tailscale", IN_TAILNET);
    let target = machine.file("ld.so.preload");
    fs::create_dir_all(machine.file(".openclaw/dns")).unwrap();
    symlink(&target, machine.file(ZONE)).unwrap();
    for name in [".openclaw/dns", ".openclaw"] {
        chown(machine.file(name), Some(65_534), Some(65_534)).unwrap();
    }
    let refused = machine.setup(&["--apply"]);
    assert_eq!(
        (refused.code, refused.stdout.as_str()),
        (1, ""),
        "{refused:?}"
    );
    for part in [
        "belongs to the account with id 65534",
        "while it runs with discovery.wideArea.enabled: true",
    ] {
        assert!(refused.stderr.contains(part), "{part}: {refused:?}");
    }
    assert!(!target.exists());
    assert_eq!(machine.read("Corefile"), COREFILE);
    // Its gateway has written it.
    fs::remove_file(machine.file(ZONE)).unwrap();
    fs::write(machine.file(ZONE), "; a zone\n").unwrap();
    machine.setup(&["--apply"]).success();
    assert!(machine.read(SERVER).contains("openclaw.internal {\n"));
    assert_eq!(machine.read(ZONE), "; a zone\n");
}

#[test]
fn apply_changes_nothing_where_it_cannot_be_done() {
    let machine = Machine::new();
    let refused = |why: &str| {
        let outcome = machine.setup(&["--apply"]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""), "{why}");
        assert!(outcome.stderr.contains(why), "{why}: {outcome:?}");
    };
    refused("there is no program coredns");
    machine.install("coredns", "");
    refused("systemctl is not available");
    machine.install("systemctl", "");
    for (corefile, why) in [
        (
            "openclaw.internal:53 {\n}\n",
            "has a server block of openclaw.internal. already",
        ),
        (".:53\nlog\n", "without braces"),
        (". {\n", "without its counterpart"),
    ] {
        fs::write(machine.file("Corefile"), corefile).unwrap();
        refused(why);
        assert_eq!(machine.read("Corefile"), corefile);
        assert!(!machine.file("openclaw.d").exists());
    }
    fs::write(machine.file("Corefile"), COREFILE).unwrap();
    machine.install(
        "systemctl",
        "case $1 in restart) echo 'Unit coredns.service not found.' >&2; exit 5;; esac",
    );
    refused("CoreDNS does not restart: Unit coredns.service not found.");
    refused("everything is written");
    assert_eq!(machine.read("Corefile.bak"), COREFILE);
}

#[test]
fn a_running_gateway_keeps_the_zone_as_its_configuration_says() {
    let machine = Machine::new();
    machine.install("tailscale", IN_TAILNET);
    let port = free_port();
    let configure = |enabled: bool, domain: &str| {
        machine.home.write_config(&format!(
            r#"{{ gateway: {{ mode: "local", port: {port}, reload: {{ debounceMs: 20 }}, auth: {{ token: "t" }} }},
                 discovery: {{ wideArea: {{ enabled: {enabled}, domain: "{domain}" }} }} }}"#
        ));
    };
    configure(false, "openclaw.internal");
    let mut command = command(&program(), &machine.home);
    command
        .arg("gateway")
        .arg("run")
        .env("PATH", machine.file("bin"));
    let mut gateway = Running::start(command);
    gateway.wait_for_output("[gateway] ready");
    let wide_area = |state: &str| {
        wait_for(&format!("the zone to be {state}"), || {
            let health = openclaw_with(&machine.home, &[], &["gateway", "health", "--json"]);
            let found = health.success().json()["discovery"]["wideArea"].clone();
            (found["state"] == state || (state == "absent" && found.is_null())).then_some(found)
        })
    };
    wide_area("absent");
    assert!(!machine.file(ZONE).exists());
    configure(true, "openclaw.internal");
    assert_eq!(wide_area("published")["domain"], "openclaw.internal.");
    let zone = machine.read(ZONE);
    for line in [
        " IN A 100.64.0.9\n",
        " IN AAAA fd7a:115c:a1e0::9\n",
        &format!(" SRV 0 0 {port} "),
    ] {
        assert!(zone.contains(line), "{line}: {zone}");
    }
    let status = openclaw_with(&machine.home, &[], &["gateway", "status"]).success();
    assert!(
        status
            .stdout
            .contains("Wide area: published (openclaw.internal.)\n"),
        "{status:?}"
    );
    // What is no domain is said, and the zone of before stays.
    let before = machine.stamp(ZONE);
    configure(true, "a/b");
    let reason = wide_area("degraded")["reason"].to_string();
    assert!(reason.contains("1 to 63 letters"), "{reason}");
    configure(true, "openclaw.internal");
    wide_area("published");
    configure(false, "openclaw.internal");
    wide_area("absent");
    assert_eq!(machine.stamp(ZONE), before);
    // What is no file is not waited for, and ends no later.
    fs::remove_file(machine.file(ZONE)).unwrap();
    let made = Command::new("mkfifo").arg(machine.file(ZONE)).status();
    assert!(made.unwrap().success());
    configure(true, "openclaw.internal");
    let reason = wide_area("degraded")["reason"].to_string();
    assert!(reason.contains("not a regular file"), "{reason}");
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code(), 0);
}
