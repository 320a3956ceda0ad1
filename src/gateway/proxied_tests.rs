//! Connections that a proxy or a tailnet speaks for, over a real connection.

use serde_json::{Value, json};

use crate::config::model::TrustedProxy;
use crate::discovery::tailscale::testing::FakeTailscale;
use crate::gateway::auth::SharedAuth;
use crate::gateway::loopback::{Client, Rig, bare, key, now_ms, operator, signed};
use crate::gateway::proxy_auth::ProxyAuth;
use crate::identity::Token;
use crate::pairing::networks::Networks;

const USER: (&str, &str) = ("x-auth-user", "ada");
const CLIENT: (&str, &str) = ("x-forwarded-for", "198.51.100.7");

/// A gateway behind a proxy on this host that names the user.
fn behind_proxy() -> Rig {
    Rig::with(|settings| {
        let rules = &mut settings.rules;
        rules.auth = SharedAuth::TrustedProxy(Box::new(ProxyAuth {
            rule: TrustedProxy {
                user_header: "X-Auth-User".to_owned(),
                required_headers: vec!["x-forwarded-for".to_owned()],
                allow_users: vec!["ada".to_owned()],
                allow_loopback: true,
            },
            password: Some(Token::from("open")),
        }));
        rules.proxies.networks = Networks::parse(&["127.0.0.1".to_owned()]);
        rules.proxies.identity_header = Some("X-Auth-User".to_owned());
        rules.origins.allowed = vec!["https://ui.example".to_owned()];
    })
}

/// Connects with these headers; the whole answer.
fn ask(
    rig: &Rig,
    headers: &[(&'static str, &str)],
    params: impl FnOnce(&str) -> Value,
) -> (Value, Client) {
    let mut client = rig.client_with(headers);
    let params = params(&client.nonce);
    (client.call("connect", params), client)
}

fn control_ui(auth: Value) -> Value {
    bare("openclaw-control-ui", "ui", &["operator.admin"], auth)
}

#[test]
fn a_control_ui_that_its_proxy_vouches_for_comes_in_unpaired() {
    let rig = behind_proxy();
    let headers = [USER, CLIENT, ("origin", "https://ui.example")];
    let (answer, _) = ask(&rig, &headers, |_| control_ui(json!({})));
    assert_eq!(answer["payload"]["auth"]["scopes"], json!([]), "{answer}");
    let (answer, mut admin) = ask(&rig, &headers, |nonce| {
        signed(control_ui(json!({})), &key(3), nonce, now_ms())
    });
    let hello = &answer["payload"];
    assert_eq!(
        hello["auth"]["scopes"],
        json!(["operator.admin"]),
        "{answer}"
    );
    assert_eq!(hello["auth"]["method"], "trusted-proxy");
    assert!(hello["auth"].get("deviceToken").is_none());
    assert_eq!(hello["snapshot"]["authMode"], "trusted-proxy");
    let devices = admin.call("device.pair.list", json!({}))["payload"].clone();
    assert_eq!(devices["pending"], json!([]), "nothing waits");
    assert_eq!(devices["paired"], json!([]), "nothing is paired");
}

#[test]
#[rustfmt::skip]
fn everybody_else_behind_the_proxy_is_paired_or_refused() {
    let rig = behind_proxy();
    let node = |nonce: &str| {
        let mut params = bare("node-host", "node", &[], json!({}));
        params["role"] = json!("node");
        signed(params, &key(4), nonce, now_ms())
    };
    let (answer, _) = ask(&rig, &[USER, CLIENT], node);
    let details = &answer["error"]["details"];
    assert_eq!(details["code"], "PAIRING_REQUIRED", "{answer}");
    for (headers, reason) in [
        (&[CLIENT, ("x-auth-user", "eve")][..], "trusted_proxy_user_not_allowed"),
        (&[CLIENT], "trusted_proxy_user_missing"),
        (&[USER], "trusted_proxy_missing_header_x-forwarded-for"),
    ] {
        let (answer, mut client) = ask(&rig, headers, node);
        assert_eq!(answer["error"], json!({
            "code": "INVALID_REQUEST", "message": "unauthorized",
            "details": {"code": "AUTH_UNAUTHORIZED", "authReason": reason, "canRetryWithDeviceToken": false,
                "recommendedNextStep": "review_auth_configuration"},
        }), "{headers:?}");
        let (_, code, text) = client.closing();
        assert_eq!((code, text.as_str()), (1008, "unauthorized"));
    }
}

#[test]
fn a_program_on_this_host_proves_the_password_where_no_proxy_is() {
    let rig = behind_proxy();
    let command = |auth: Value| move |_: &str| bare("cli", "cli", &["operator.read"], auth);
    let (answer, _) = ask(&rig, &[], command(json!({"password": "open"})));
    assert_eq!(
        answer["payload"]["auth"]["scopes"],
        json!(["operator.read"]),
        "{answer}"
    );
    for (headers, auth, code) in [
        (&[][..], json!({"password": "no"}), "AUTH_PASSWORD_MISMATCH"),
        (&[CLIENT], json!({"password": "open"}), "AUTH_UNAUTHORIZED"),
        (
            &[("x-auth-user", "eve")],
            json!({"password": "open"}),
            "AUTH_UNAUTHORIZED",
        ),
        (&[], json!({"token": "open"}), "AUTH_PASSWORD_MISSING"),
    ] {
        let (answer, _) = ask(&rig, headers, command(auth.clone()));
        let found = &answer["error"]["details"]["code"];
        assert_eq!(found, code, "{headers:?} {auth}: {answer}");
    }
}

#[test]
#[rustfmt::skip]
fn a_tailnet_vouches_for_its_own_users() {
    const ADDRESS: &str = "100.64.1.2";
    let fake = FakeTailscale::new(
        "case $3 in 100.64.1.2) echo '{\"UserProfile\":{\"LoginName\":\"Ada@example.com\"}}';; *) exit 1;; esac",
    );
    let rig = Rig::with(|settings| {
        settings.tailscale = Some(fake.program());
        settings.rules.origins.allowed = vec!["https://ui.example".to_owned()];
    });
    let served = |address: &'static str, login: &'static str| {
        [
            ("x-forwarded-for", address),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "gw.tail.ts.net"),
            ("tailscale-user-login", login),
            ("origin", "https://ui.example"),
        ]
    };
    let ui = |auth: Value| move |nonce: &str| signed(control_ui(auth), &key(5), nonce, now_ms());
    let (answer, _) = ask(&rig, &served(ADDRESS, "ada@EXAMPLE.com"), ui(json!({})));
    assert_eq!(answer["error"]["details"]["code"], "PAIRING_REQUIRED", "guests are users of a tailnet too: {answer}");
    let request = json!({"requestId": answer["error"]["details"]["requestId"]});
    let mut owner = rig.session(|_| operator(&["operator.admin"]));
    assert_eq!(owner.call("device.pair.approve", request)["ok"], true);
    let (answer, _) = ask(&rig, &served(ADDRESS, "ada@EXAMPLE.com"), ui(json!({})));
    assert_eq!(answer["payload"]["auth"]["method"], "tailscale", "{answer}");
    assert_eq!(answer["payload"]["auth"]["scopes"], json!(["operator.admin"]));
    let (answer, _) = ask(&rig, &served(ADDRESS, "ada@example.com"), |_| control_ui(json!({})));
    assert_eq!(answer["error"]["details"]["code"], "CONTROL_UI_DEVICE_IDENTITY_REQUIRED", "{answer}");
    let partly = &served(ADDRESS, "ada@example.com")[1..];
    let nobody = [&served(ADDRESS, "")[..3], &[("origin", "https://ui.example")]].concat();
    for (headers, auth, code) in [
        (&served(ADDRESS, "eve@example.com")[..], json!({}), "AUTH_TAILSCALE_IDENTITY_MISMATCH"),
        (&served("100.64.9.9", "ada@example.com"), json!({}), "AUTH_TAILSCALE_WHOIS_FAILED"),
        (partly, json!({}), "AUTH_TAILSCALE_PROXY_MISSING"),
        (&nobody, json!({}), "AUTH_TAILSCALE_IDENTITY_MISSING"),
        // Whoever shows a secret is judged by it.
        (&served(ADDRESS, "ada@example.com"), json!({"token": "wrong"}), "AUTH_TOKEN_MISMATCH"),
        (&[("origin", "https://ui.example")], json!({}), "AUTH_TOKEN_MISSING"),
    ] {
        let (answer, _) = ask(&rig, headers, ui(auth.clone()));
        let error = &answer["error"];
        assert_eq!(error["details"]["code"], code, "{headers:?}: {answer}");
    }
    let before = fake.runs().len();
    let local = |_: &str| bare("cli", "cli", &[], json!({}));
    let (answer, _) = ask(&rig, &[], local);
    assert_eq!(answer["error"]["details"]["code"], "DEVICE_IDENTITY_REQUIRED");
    assert_eq!(fake.runs().len(), before, "nobody is asked about this host");
    let without = Rig::with(|settings| settings.rules.origins.allowed = vec!["https://ui.example".to_owned()]);
    let (answer, _) = ask(&without, &served(ADDRESS, "ada@example.com"), ui(json!({})));
    assert_eq!(answer["error"]["details"]["code"], "AUTH_TOKEN_MISSING", "not asked for, not heard");
}
