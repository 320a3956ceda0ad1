use super::*;
use crate::service::testing::{HOME, NAME, account, define};

#[test]
fn the_unit_of_a_node_host_says_what_the_specification_lists() {
    let variables = [
        ("OPENCLAW_ALLOW_INSECURE_PRIVATE_WS", "1"),
        ("OPENCLAW_GATEWAY_TOKEN", "a-secret"),
        ("HTTPS_PROXY", "http://proxy"),
    ];
    let unit = render(&define(Kind::Node, Scope::User(None), &variables, false)).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        &format!("Description=OpenClaw Node Host (v{version})"),
        "ExecStart=/usr/bin/true node run --host gw.lan --port 19000 --display-name \"M\\\"y\\\\ $$HOME 100%% 'Node' <&>;\"",
        "Type=notify",
        "NotifyAccess=main",
        "WatchdogSec=60",
        "Restart=always",
        "RestartSec=5",
        "RestartPreventExitStatus=78",
        "TimeoutStopSec=30",
        "TimeoutStartSec=30",
        "SuccessExitStatus=0 143",
        "KillMode=control-group",
        "Environment=\"HOME=/home/u v/a%%b[1]\"",
        "Environment=TMPDIR=/tmp",
        "Environment=OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1",
        "Environment=OPENCLAW_LAUNCHD_LABEL=ai.openclaw.node",
        "Environment=OPENCLAW_SYSTEMD_UNIT=openclaw-node",
        "Environment=\"OPENCLAW_WINDOWS_TASK_NAME=OpenClaw Node\"",
        "Environment=OPENCLAW_TASK_SCRIPT_NAME=node.cmd",
        "Environment=OPENCLAW_LOG_PREFIX=node",
        "Environment=OPENCLAW_SERVICE_MARKER=openclaw",
        "Environment=OPENCLAW_SERVICE_KIND=node",
        &format!("Environment=OPENCLAW_SERVICE_VERSION={version}"),
        "EnvironmentFile=-/home/u v/a%%b\\[1]/.openclaw/node.systemd.env",
        "WantedBy=default.target",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}\n{unit}");
    }
    assert!(
        !unit.contains("a-secret") && !unit.contains("proxy"),
        "{unit}"
    );
    assert!(!unit.contains("User="), "{unit}");
}

#[test]
fn a_gateway_of_the_system_is_shut_in_and_one_of_a_user_as_far_as_its_manager_can() {
    let system = render(&define(Kind::Gateway, Scope::System(account()), &[], false)).unwrap();
    let user = render(&define(Kind::Gateway, Scope::User(None), &[], false)).unwrap();
    for line in [
        "NoNewPrivileges=yes",
        "SystemCallFilter=@system-service",
        "MemoryMax=512M",
        "UMask=0077",
    ] {
        assert!(system.contains(line) && user.contains(line), "{line}");
    }
    for line in [
        "User=openclaw-test",
        "ProtectSystem=strict",
        "ReadWritePaths=\"-/home/u v/a%%b[1]/.openclaw\" -/tmp",
        "CapabilityBoundingSet=\n",
        "WantedBy=multi-user.target",
    ] {
        assert!(
            system.contains(line) && !user.contains(line),
            "{line}\n{system}"
        );
    }
    assert!(
        user.contains("ExecStart=/usr/bin/true gateway --port 18789\n"),
        "{user}"
    );
}

#[test]
fn a_profile_and_a_wrapper_are_kept_and_a_wrapped_process_is_not_watched() {
    let variables = [("OPENCLAW_PROFILE", "lab"), ("OPENCLAW_WRAPPER", "x")];
    let unit = render(&define(Kind::Node, Scope::User(None), &variables, false)).unwrap();
    for line in [
        "Environment=OPENCLAW_PROFILE=lab",
        "Environment=OPENCLAW_WRAPPER=/usr/bin/true",
        "NotifyAccess=all",
        "Environment=OPENCLAW_SYSTEMD_UNIT=openclaw-node-lab",
    ] {
        assert!(unit.contains(line), "{line}\n{unit}");
    }
    assert!(!unit.contains("WatchdogSec"), "{unit}");
}

#[test]
fn a_line_break_is_refused_wherever_it_stands() {
    let mut definition = define(Kind::Node, Scope::User(None), &[], false);
    definition
        .program
        .arguments
        .push("a\nExecStartPre=/bin/evil".to_owned());
    assert!(matches!(
        render(&definition),
        Err(ServiceError::LineBreak { .. })
    ));
    let mut definition = define(Kind::Node, Scope::User(None), &[], false);
    definition
        .environment
        .push(("X".to_owned(), "a\rb".to_owned()));
    let refusal = render(&definition).unwrap_err().to_string();
    assert!(refusal.starts_with("X contains a line break"), "{refusal}");
}

#[test]
fn what_was_written_is_read_back() {
    let definition = define(Kind::Node, Scope::User(None), &[], false);
    let found = read(&render(&definition).unwrap(), &Specifiers::default());
    assert_eq!(found.arguments, definition.argv().unwrap());
    assert_eq!(found.arguments.last().map(String::as_str), Some(NAME));
    assert_eq!(found.environment, definition.environment);
    assert_eq!(found.environment_file, Some(definition.environment_file()));
    assert!(
        definition
            .environment
            .contains(&("HOME".to_owned(), HOME.to_owned()))
    );
    assert_eq!(
        read(
            "ExecStart=/outside/a/section\n[Unit]\nExecStart=x",
            &Specifiers::default()
        ),
        Installed::default()
    );
}

#[test]
fn the_units_of_packages_are_read_for_whom_they_run() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/systemd");
    let text = |path: &str| std::fs::read_to_string(repository.join(path)).unwrap();
    let specifiers = Specifiers {
        home: "/home/a%b".to_owned(),
        instance: "alex".to_owned(),
    };
    let user = read(&text("user/openclaw-gateway.service"), &specifiers);
    let secrets = Path::new("/home/a%b/.openclaw/gateway.systemd.env");
    assert_eq!(user.environment_file.as_deref(), Some(secrets));
    assert_eq!((user.user, user.memory_max.is_some()), (None, true));
    let machine = read(&text("system/openclaw-gateway.service"), &specifiers);
    assert_eq!(machine.user.as_deref(), Some("openclaw"));
    assert_eq!(machine.arguments[0], "/usr/bin/openclaw");
    let node = read(&text("system/openclaw-node@.service"), &specifiers);
    assert_eq!(node.user.as_deref(), Some("alex"));
    let unit = ("OPENCLAW_SYSTEMD_UNIT", "openclaw-node@alex.service");
    let pairs = node.environment.iter();
    assert!(
        pairs
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .any(|pair| pair == unit)
    );
    assert_eq!(specifiers.expand("%%i %t %h %"), "%%i %t /home/a%%b %");
}
