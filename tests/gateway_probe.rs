//! `gateway probe`: which ways lead to a gateway, in which order, and without a trace.

use serde_json::{Value, json};

use crate::support::home::Home;
use crate::support::process::{Gateway, Outcome, SECRET, free_port, openclaw, openclaw_with};
use crate::support::ssh;

fn ids(report: &Value) -> Vec<&str> {
    let targets = report["targets"].as_array().unwrap().iter();
    targets
        .map(|target| target["id"].as_str().unwrap())
        .collect()
}

fn codes(report: &Value) -> Vec<&str> {
    let warnings = report["warnings"].as_array().unwrap().iter();
    warnings
        .map(|warning| warning["code"].as_str().unwrap())
        .collect()
}

fn probe(home: &Home, more: &[&str]) -> Outcome {
    openclaw(home, &[&["gateway", "probe", "--json"], more].concat())
}

#[test]
fn the_gateway_of_this_machine_is_described_and_nothing_is_left_behind() {
    let gateway = Gateway::start();
    let key = gateway.home.read("identity/device.json");
    let report = probe(&gateway.home, &[]).success().json();
    let members: Vec<&String> = report.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        [
            "ok",
            "degraded",
            "capability",
            "ts",
            "durationMs",
            "timeoutMs",
            "primaryTargetId",
            "warnings",
            "network",
            "discovery",
            "targets"
        ]
    );
    assert_eq!(
        (&report["ok"], &report["degraded"], &report["capability"]),
        (&json!(true), &json!(false), &json!("admin_capable"))
    );
    assert_eq!(report["primaryTargetId"], "localLoopback");
    assert_eq!(report["timeoutMs"], 3000);
    let url = format!("ws://{}", gateway.address);
    assert_eq!(report["network"]["localLoopbackUrl"], url);
    let target = &report["targets"][0];
    let members: Vec<&String> = target.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        [
            "id", "kind", "url", "active", "tunnel", "connect", "auth", "self", "config", "health",
            "summary", "presence"
        ]
    );
    assert_eq!(target["url"], url);
    let connect = &target["connect"];
    assert_eq!(
        (&connect["ok"], &connect["rpcOk"], &connect["scopeLimited"]),
        (&json!(true), &json!(true), &json!(false))
    );
    assert!(connect["latencyMs"].is_u64() && connect["error"].is_null());
    assert_eq!(
        (&target["health"]["ok"], &target["auth"]["role"]),
        (&json!(true), &json!("operator"))
    );
    assert!(target["self"]["host"].is_string() && target["presence"].is_array());
    let text = openclaw(&gateway.home, &["gateway", "probe"])
        .success()
        .stdout;
    for line in [
        "Gateway Status\nReachable: yes\nCapability: admin-capable\nProbe budget: 3000ms\n",
        "\nDiscovery (this machine)\n",
        &format!("\nTargets\nLocal loopback {url}\n  Connect: ok ("),
        " · Capability: admin-capable · Read probe: ok\n",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    assert_eq!(gateway.home.read("identity/device.json"), key);
    assert_eq!(gateway.home.read("identity/device-auth.json"), "");
    let listed = gateway.cli(&["nodes", "pending", "--json"]).success();
    assert_eq!(listed.json(), json!([]));
}

#[test]
fn a_refusal_and_silence_are_no_gateway_to_use() {
    let gateway = Gateway::start();
    let wrong = probe(&gateway.home, &["--token", "wrong"]);
    assert_eq!(wrong.code, 1);
    let report = wrong.json();
    let connect = &report["targets"][0]["connect"];
    assert_eq!(
        (&report["ok"], &connect["ok"]),
        (&json!(false), &json!(false))
    );
    let message = connect["error"].as_str().unwrap();
    assert!(
        message.starts_with("unauthorized: gateway token mismatch ("),
        "{message}"
    );
    assert_eq!(connect["close"], json!({"code": 1008, "reason": message}));
    let nobody = probe(&Home::with_gateway(free_port(), SECRET), &[]);
    let report = nobody.json();
    assert_eq!((nobody.code, &report["primaryTargetId"]), (1, &Value::Null));
    let error = report["targets"][0]["connect"]["error"].as_str().unwrap();
    assert!(
        error.starts_with("gateway not reachable: connect ECONNREFUSED"),
        "{error}"
    );
    let typed = probe(&gateway.home, &["--url", "ws://127.0.0.1:1"]);
    assert!(
        typed.code == 1 && typed.stderr.contains("requires explicit credentials"),
        "{typed:?}"
    );
}

#[test]
fn several_gateways_are_told_apart_and_secrets_stay_with_theirs() {
    let (here, there) = (Gateway::start(), Gateway::start());
    let url = format!("ws://{}", there.address);
    let report = probe(&here.home, &["--url", &url, "--token", SECRET]);
    let report = report.success().json();
    assert_eq!(ids(&report), ["explicit", "localLoopback"]);
    assert_eq!(report["primaryTargetId"], "explicit");
    assert_eq!(codes(&report), ["multiple_gateways"]);
    assert_eq!(
        report["warnings"][0]["targetIds"],
        json!(["explicit", "localLoopback"])
    );
    // What was typed is wrong for the other one, and right for none but it.
    let report = probe(&here.home, &["--url", &url, "--token", "wrong"]);
    let report = report.success().json();
    let ok = |index: usize| report["targets"][index]["connect"]["ok"] == true;
    assert_eq!((ok(0), ok(1)), (false, true));
    // Without any device, a gateway elsewhere lets nobody read.
    here.home.write_config(&format!(
        "{{ gateway: {{ mode: 'remote', port: {}, remote: {{ url: '{url}' }} }} }}",
        free_port()
    ));
    let limited = probe(&here.home, &[]);
    let report = limited.json();
    assert_eq!(ids(&report), ["configRemote", "localLoopback"]);
    assert_eq!(report["targets"][0]["active"], true);
    // A secret that cannot be had is named, and nothing weaker stands in for it.
    here.home.write_config(&format!(
        "{{ gateway: {{ mode: 'local', port: {}, auth: {{ token: {{source: 'env', provider: 'default', id: 'NOT_SET'}} }} }} }}",
        here.address.port()
    ));
    let unresolved = probe(&here.home, &[]);
    assert_eq!(codes(&unresolved.json()), ["auth_secretref_unresolved"]);
    assert_eq!(unresolved.code, 1);
    // Two ways that lack the same secret are one warning, and a way that leads nowhere has no address.
    here.home.write_config(&format!(
        "{{ gateway: {{ mode: 'remote', port: {}, remote: {{ url: '{url}', sshTarget: 'pi@gw', \
         token: {{source: 'env', provider: 'default', id: 'NOT_SET'}} }} }} }}",
        free_port()
    ));
    let unresolved = probe(&here.home, &[]).json();
    let targets = json!(["sshTunnel", "configRemote"]);
    assert_eq!(codes(&unresolved), ["auth_secretref_unresolved"]);
    assert_eq!(unresolved["warnings"][0]["targetIds"], targets);
    let shown = openclaw(&here.home, &["gateway", "probe"]);
    assert!(shown.stdout.contains("\nSSH tunnel\n"), "{shown:?}");
}

#[test]
fn a_login_is_a_way_of_its_own_and_one_that_fails_is_a_warning() {
    let gateway = Gateway::start();
    let place = gateway.home.path();
    ssh::stand_in(place);
    let path = ssh::path(place);
    let run = |more: &[&str]| {
        let line = [&["gateway", "probe", "--json"], more].concat();
        openclaw_with(&gateway.home, &[("PATH", &path)], &line)
    };
    let with = [
        "--ssh",
        "pi@gw:2222",
        "--ssh-identity",
        "/key",
        "--token",
        SECRET,
    ];
    let report = run(&with).success().json();
    assert_eq!(ids(&report), ["sshTunnel", "localLoopback"]);
    assert_eq!(
        (codes(&report), &report["primaryTargetId"]),
        (vec![], &json!("sshTunnel"))
    );
    let tunnel = &report["targets"][0]["tunnel"];
    assert_eq!(
        (&tunnel["kind"], &tunnel["target"], &tunnel["remotePort"]),
        (
            &json!("ssh"),
            &json!("pi@gw:2222"),
            &json!(gateway.address.port())
        )
    );
    let asked = std::fs::read_to_string(place.join("ssh.log")).unwrap();
    assert!(asked.contains("-i\n/key\n"), "{asked}");
    ssh::program(
        place,
        "ssh",
        "#!/bin/sh\necho 'Host key verification failed.' >&2\nexit 255\n",
    );
    let report = run(&["--ssh", "pi@gw"]).success().json();
    assert_eq!(
        (codes(&report), &report["primaryTargetId"]),
        (vec!["ssh_tunnel_failed"], &json!("localLoopback"))
    );
    let why = report["targets"][0]["connect"]["error"].as_str().unwrap();
    assert!(why.contains("Host key verification failed"), "{why}");
}
