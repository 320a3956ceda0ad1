//! The wide-area domain with real servers and clients: the gateway writes its zone, BIND serves it, `dig` and
//! our own browser read it from another host.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::home::Home;
use crate::support::network::{GATEWAY, Network, Place};
use crate::support::process::{Outcome, Running, command, finish};
use crate::support::wait_for;

const DOMAIN: &str = "openclaw.internal";
const PORT: u16 = 18_789;
const SERVICE: &str = "_openclaw-gw._tcp.openclaw.internal";

/// The tailnet address of the gateway's host in these tests.
const TAILNET: &str = "100.64.0.9";

/// A home whose gateway publishes in the domain.
fn home(bind: &str, port: u16) -> Home {
    let home = Home::new();
    configure(&home, bind, port);
    home
}

fn configure(home: &Home, bind: &str, port: u16) {
    home.write_config(&format!(
        r#"{{ gateway: {{ mode: "local", port: {port}, bind: "{bind}", auth: {{ mode: "token", token: "wide" }} }},
             discovery: {{ wideArea: {{ enabled: true, domain: "OpenClaw.Internal" }} }} }}"#
    ));
}

fn zone_file(home: &Home) -> PathBuf {
    home.state().join("dns/openclaw.internal.db")
}

fn gateway(network: &Network, home: &Home, environment: &[(&str, &str)]) -> Running {
    // The machine itself may be in a tailnet, which is not that of the test.
    let programs = home.path().join("bin");
    fs::create_dir_all(&programs).unwrap();
    let tailscale = programs.join("tailscale");
    fs::write(&tailscale, "#!/bin/sh\necho '{\"Self\":{}}'\n").unwrap();
    fs::set_permissions(&tailscale, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", programs.display());
    let mut command = network.command(Place::Gateway, home);
    command.args(["gateway", "run"]).env("PATH", path);
    command.envs(environment.iter().copied());
    let mut gateway = Running::start(command);
    gateway.wait_for_output("[gateway] ready");
    gateway
}

/// BIND on the gateway's host, configured by the snippet that we ship.
fn bind(network: &Network, home: &Home) -> Running {
    let directory = home.path().join("named");
    fs::create_dir_all(&directory).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/bind/named.conf.openclaw");
    let shipped = fs::read_to_string(shipped).unwrap();
    let example = "/home/pi/.openclaw/dns/openclaw.internal.db";
    assert!(shipped.contains(&format!("file \"{example}\"")));
    let zone = shipped.replace(example, &zone_file(home).display().to_string());
    fs::write(directory.join("named.conf.openclaw"), zone).unwrap();
    let config = directory.join("named.conf");
    let place = directory.display();
    let text = format!(
        "include \"{place}/named.conf.openclaw\";\ncontrols {{ }};\noptions {{ directory \"{place}\"; \
         pid-file \"{place}/pid\"; session-keyfile none; listen-on {{ {GATEWAY}; }}; listen-on-v6 {{ none; }}; \
         recursion no; dnssec-validation no; }};\n"
    );
    fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let mut check = command(Path::new("named-checkconf"), home);
    check.env("PATH", "/usr/bin:/usr/sbin").args(["-z", config]);
    let checked = finish(check).success();
    assert!(
        checked
            .stdout
            .contains("openclaw.internal/IN: loaded serial"),
        "{checked:?}"
    );
    let mut named = network.command_of(Place::Gateway, home, Path::new("/usr/sbin/named"));
    named.args(["-g", "-c", config]);
    let mut named = Running::start(named);
    named.wait_for_output("running");
    wait_for("BIND to answer", || {
        let answer = asked(network, home, DOMAIN, "SOA");
        (answer.code == 0 && !answer.stdout.is_empty()).then_some(())
    });
    named
}

/// What `dig` answers on the node's host, one line a record.
fn dig(network: &Network, home: &Home, name: &str, kind: &str) -> Vec<String> {
    let answer = asked(network, home, name, kind).success();
    answer.stdout.lines().map(str::to_owned).collect()
}

fn asked(network: &Network, home: &Home, name: &str, kind: &str) -> Outcome {
    let mut dig = network.command_of(Place::Node, home, Path::new("dig"));
    dig.args([&format!("@{GATEWAY}"), "+short", "+time=2", "+tries=5"]);
    dig.args(["-t", kind, name]);
    finish(dig)
}

fn serial(network: &Network, home: &Home) -> u32 {
    let soa = dig(network, home, DOMAIN, "SOA");
    soa[0].split(' ').nth(2).unwrap().parse().unwrap()
}

fn named_checkzone(home: &Home) -> Outcome {
    let mut check = command(Path::new("named-checkzone"), home);
    check.env("PATH", "/usr/bin:/usr/sbin");
    check
        .args(["-k", "fail", "-i", "full", DOMAIN])
        .arg(zone_file(home));
    finish(check)
}

#[test]
fn bind_serves_what_the_gateway_publishes() {
    let Some(network) = Network::or_skip("bind_serves_what_the_gateway_publishes") else {
        return;
    };
    let home = home("lan", PORT);
    let named = [
        ("OPENCLAW_MDNS_HOSTNAME", "attic"),
        ("OPENCLAW_CLI_PATH", "/opt/open \"claw\""),
    ];
    let first = gateway(&network, &home, &named);
    wait_for("the zone", || zone_file(&home).exists().then_some(()));
    named_checkzone(&home).success();
    let mut server = bind(&network, &home);
    let dig = |name: &str, kind: &str| dig(&network, &home, name, kind);

    let instances = dig(SERVICE, "PTR");
    let [instance] = instances.as_slice() else {
        panic!("{instances:?}")
    };
    assert!(
        instance.ends_with(&format!("\\(OpenClaw\\).{SERVICE}.")),
        "{instance}"
    );
    assert_eq!(
        dig(instance, "SRV"),
        [format!("0 0 {PORT} attic.{DOMAIN}.")]
    );
    let text = dig(instance, "TXT").concat();
    for pair in [
        "\"role=gateway\"",
        "\"transport=gateway\"",
        "\"gatewayPort=18789\"",
        r#""cliPath=/opt/open \"claw\"""#,
    ] {
        assert!(text.contains(pair), "{pair}: {text}");
    }
    assert!(!text.contains("gatewayTls"), "{text}");
    assert_eq!(dig(&format!("attic.{DOMAIN}"), "A"), [GATEWAY]);
    assert_eq!(
        dig(&format!("b._dns-sd._udp.{DOMAIN}"), "PTR"),
        [format!("{DOMAIN}.")]
    );
    assert_eq!(
        dig(&format!("_services._dns-sd._udp.{DOMAIN}"), "PTR"),
        [format!("{SERVICE}.")]
    );

    // A restart that changes nothing leaves the file alone; another port is another zone.
    let before = (
        fs::metadata(zone_file(&home)).unwrap(),
        serial(&network, &home),
    );
    drop(first);
    let second = gateway(&network, &home, &named);
    published(&network, &home);
    let after = fs::metadata(zone_file(&home)).unwrap();
    assert_eq!(before.0.modified().unwrap(), after.modified().unwrap());
    drop(second);
    configure(&home, "lan", 18_790);
    let _third = gateway(&network, &home, &named);
    wait_for("another zone", || {
        fs::read_to_string(zone_file(&home))
            .ok()?
            .contains("SRV 0 0 18790")
            .then_some(())
    });
    server.signal("HUP");
    server.wait_for_output("all zones loaded");
    wait_for("the new serial", || {
        (serial(&network, &home) > before.1).then_some(())
    });
    assert_eq!(dig(instance, "SRV"), [format!("0 0 18790 attic.{DOMAIN}.")]);
}

/// Waits until the gateway says that its zone is right.
fn published(network: &Network, home: &Home) -> Value {
    wait_for("the gateway to have published", || {
        let health = network.openclaw(Place::Gateway, home, &["gateway", "health", "--json"]);
        let wide_area = health.json()["discovery"]["wideArea"].clone();
        (wide_area["state"] == "published").then_some(wide_area)
    })
}

/// Runs a program on the gateway's host to its good end.
fn on_gateways_host(network: &Network, home: &Home, words: &[&str]) -> Outcome {
    let mut line = network.command_of(Place::Gateway, home, Path::new(words[0]));
    line.args(&words[1..]);
    finish(line).success()
}

/// Gives the gateway's host an interface into a tailnet.
fn join_tailnet(network: &Network, home: &Home) {
    for words in [
        &[
            "link",
            "add",
            "tailscale0",
            "type",
            "veth",
            "peer",
            "name",
            "tailnet",
        ][..],
        &["addr", "add", "100.64.0.9/10", "dev", "tailscale0"],
        &[
            "-6",
            "addr",
            "add",
            "fd7a:115c:a1e0::9/48",
            "dev",
            "tailscale0",
            "nodad",
        ],
        &["link", "set", "tailnet", "up"],
        &["link", "set", "tailscale0", "up"],
    ] {
        on_gateways_host(network, home, &[&["ip"], words].concat());
    }
}

#[test]
fn a_gateway_in_a_tailnet_listens_and_is_published_there() {
    let Some(network) = Network::or_skip("a_gateway_in_a_tailnet_listens_and_is_published_there")
    else {
        return;
    };
    let home = home("tailnet", PORT);
    let mut outside = gateway(&network, &home, &[]);
    outside.wait_for_output("gateway.bind=tailnet: this machine is in no tailnet");
    drop(outside);
    join_tailnet(&network, &home);
    let _gateway = gateway(
        &network,
        &home,
        &[("OPENCLAW_TAILNET_DNS", "attic.tail1.ts.net")],
    );
    for address in [TAILNET, "fd7a:115c:a1e0::9", "127.0.0.1"] {
        let script = format!("exec 3<>/dev/tcp/{address}/{PORT}");
        on_gateways_host(&network, &home, &["bash", "-c", &script]);
    }
    let wide_area = published(&network, &home);
    assert_eq!(wide_area["domain"], "openclaw.internal.");
    named_checkzone(&home).success();
    let zone = fs::read_to_string(zone_file(&home)).unwrap();
    for line in [
        "IN A 100.64.0.9\n",
        "IN AAAA fd7a:115c:a1e0::9\n",
        "\"tailnetDns=attic.tail1.ts.net\"",
    ] {
        assert!(zone.contains(line), "{line}: {zone}");
    }
}

#[test]
fn a_gateway_that_only_loopback_reaches_says_why_it_is_not_published() {
    let Some(network) =
        Network::or_skip("a_gateway_that_only_loopback_reaches_says_why_it_is_not_published")
    else {
        return;
    };
    let home = home("loopback", PORT);
    let _gateway = gateway(&network, &home, &[]);
    let reason = wait_for("the reason", || {
        let health = network.openclaw(Place::Gateway, &home, &["gateway", "health", "--json"]);
        let wide_area = health.json()["discovery"]["wideArea"].clone();
        (wide_area["state"] == "degraded").then(|| wide_area["reason"].to_string())
    });
    assert!(reason.contains("only bound to loopback"), "{reason}");
    assert!(!zone_file(&home).exists());
    // A tailnet that comes later is noticed.
    join_tailnet(&network, &home);
    published(&network, &home);
    let zone = fs::read_to_string(zone_file(&home)).unwrap();
    assert!(zone.contains("IN A 100.64.0.9\n"), "{zone}");
}

#[test]
fn any_name_and_text_makes_a_zone_that_bind_accepts() {
    let Some(network) = Network::or_skip("any_name_and_text_makes_a_zone_that_bind_accepts") else {
        return;
    };
    for (path, name) in [
        ("/opt/\"quoted\"; \\back$(x)", "plain"),
        (
            "/opt/Küche 1.2/@ \u{1F600}",
            "(brackets) ; 'single' \"double\" \\ $ @",
        ),
        ("/tab\there", "Küche. 1.2 \u{1F600}"),
    ] {
        let home = home("lan", PORT);
        let machine_info = home.path().join("machine-info");
        fs::write(&machine_info, format!("PRETTY_HOSTNAME={name}\n")).unwrap();
        // An /etc of the gateway's own, with the name that its administrator gave the machine.
        let etc = home.path().join("etc");
        let (etc, info) = (etc.display(), machine_info.display());
        let script = format!(
            "cp -a /etc '{etc}' && cp '{info}' '{etc}/machine-info' && mount --bind '{etc}' /etc && exec \"$0\" gateway run"
        );
        let mut command = network.command_of(Place::Gateway, &home, Path::new("sh"));
        command
            .args(["-c", &script])
            .arg(crate::support::process::program());
        command.env("OPENCLAW_CLI_PATH", path);
        let mut gateway = Running::start(command);
        gateway.wait_for_output("[gateway] ready");
        wait_for("the zone", || zone_file(&home).exists().then_some(()));
        let zone = fs::read_to_string(zone_file(&home)).unwrap();
        let checked = named_checkzone(&home);
        assert_eq!(checked.code, 0, "{checked:?}\n{zone}");
        let server = bind(&network, &home);
        let instances = dig(&network, &home, SERVICE, "PTR");
        let [instance] = instances.as_slice() else {
            panic!("{instances:?}");
        };
        let text = dig(&network, &home, instance, "TXT").concat();
        assert!(text.contains("displayName="), "{text}");
        drop(server);
    }
}

#[test]
fn the_domain_is_browsed_from_another_network_through_its_own_servers() {
    let name = "the_domain_is_browsed_from_another_network_through_its_own_servers";
    let Some(network) = Network::or_skip(name) else {
        return;
    };
    let home = home("lan", PORT);
    let _gateway = gateway(&network, &home, &[("OPENCLAW_MDNS_HOSTNAME", "attic")]);
    wait_for("the zone", || zone_file(&home).exists().then_some(()));
    let _server = bind(&network, &home);
    let client = Home::new();
    configure(&client, "loopback", PORT);
    // The first server is not there; the second is BIND.
    let discover = |servers: &str| {
        let conf = client.path().join("resolv.conf");
        fs::write(&conf, servers).unwrap();
        let script = format!(
            "mount --bind '{}' /etc/resolv.conf && exec \"$0\" gateway discover --json --timeout 3000",
            conf.display()
        );
        let mut command = network.command_of(Place::Node, &client, Path::new("sh"));
        command
            .args(["-c", &script])
            .arg(crate::support::process::program());
        command.env_remove("OPENCLAW_DISABLE_BONJOUR");
        finish(command).success().json()
    };
    let found = discover(&format!("nameserver 127.0.0.1\nnameserver {GATEWAY}\n"));
    assert_eq!(
        found["domains"],
        serde_json::json!(["local.", "openclaw.internal."])
    );
    assert_eq!(found["count"], 1, "{found}");
    let beacon = &found["beacons"][0];
    assert_eq!(beacon["domain"], "openclaw.internal.");
    assert_eq!(beacon["host"], format!("attic.{DOMAIN}"));
    assert_eq!(beacon["wsUrl"], format!("ws://{GATEWAY}:{PORT}"));
    assert!(
        beacon["cliPath"].as_str().unwrap().ends_with("/openclaw"),
        "{beacon}"
    );
    // Without any server the look around still ends well.
    assert_eq!(discover("nameserver 127.0.0.1\n")["count"], 0);
}
