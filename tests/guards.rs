//! A gateway that could let in anybody, or nobody, does not start: one sentence, one fix, exit code 78.

use crate::support::home::Home;
use crate::support::process::{free_port, openclaw, openclaw_with};

const RULE: &str = "trustedProxy: { userHeader: 'x-user' }";

#[test]
fn proxies_and_tailscale_guard_only_what_is_set_up_for_them() {
    for (members, arguments, expected) in [
        (
            "auth: { mode: 'trusted-proxy' }".to_owned(),
            &[][..],
            "gateway.auth.trustedProxy is not configured",
        ),
        (
            format!("auth: {{ mode: 'trusted-proxy', {RULE} }}"),
            &[],
            "gateway.trustedProxies is empty",
        ),
        (
            format!(
                "auth: {{ mode: 'trusted-proxy', token: 't', {RULE} }}, trustedProxies: ['10.0.0.1']"
            ),
            &[],
            "a shared token is configured too",
        ),
        (
            "auth: { token: 't' }, bind: 'lan'".to_owned(),
            &["--tailscale", "serve"],
            "gateway.tailscale.mode=serve needs gateway.bind=loopback",
        ),
        (
            "auth: { token: 't' }, tailscale: { mode: 'funnel' }".to_owned(),
            &[],
            "needs gateway.auth.mode=password",
        ),
    ] {
        let home = Home::new();
        let port = free_port();
        home.write_config(&format!(
            "{{ gateway: {{ mode: 'local', port: {port}, {members} }} }}"
        ));
        let outcome = openclaw(&home, &[&["gateway", "run"], arguments].concat());
        assert_eq!(outcome.code, 78, "{members}: {outcome:?}");
        let said = &outcome.stderr;
        assert!(
            said.contains(expected) && said.contains("Fix: "),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_token_in_the_environment_counts_against_a_proxy_too() {
    let home = Home::new();
    home.write_config(&format!(
        "{{ gateway: {{ mode: 'local', auth: {{ mode: 'trusted-proxy', {RULE} }}, trustedProxies: ['10.0.0.1'] }} }}"
    ));
    let token = [("OPENCLAW_GATEWAY_TOKEN", "secret-of-mine")];
    let outcome = openclaw_with(&home, &token, &["gateway", "run"]);
    assert_eq!(outcome.code, 78, "{outcome:?}");
    assert!(!outcome.stderr.contains("secret-of-mine"), "{outcome:?}");
}

#[test]
fn a_configuration_that_cannot_be_read_is_an_invalid_one() {
    let home = Home::new();
    let file = home.state().join("openclaw.json");
    std::fs::create_dir_all(&file).unwrap();
    let run = openclaw(&home, &["gateway", "run"]);
    assert_eq!(run.code, 78, "{run:?}");
    let shown = openclaw(&home, &["config", "validate", "--json"]);
    let report = shown.json();
    assert_eq!(
        (shown.code, &report["valid"], &report["issues"][0]["path"]),
        (1, &false.into(), &"<root>".into()),
        "{shown:?}"
    );
}
