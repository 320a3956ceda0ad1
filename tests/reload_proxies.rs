//! Trusted proxies that change under a running gateway.

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::{Peer, Refused, node_params, operator_params};
use crate::support::process::{Gateway, SECRET, free_port};
use crate::support::reloading::{applied, config, logged, replace, start};
use crate::support::websocket::WebSocket;

fn through_proxy(gateway: &Gateway, params: Value, device: &Device) -> Result<Peer, Refused> {
    let headers = [("X-Forwarded-For", "203.0.113.9"), ("X-User", "ann")];
    let socket = WebSocket::connect_with(gateway.address, "/", &headers).unwrap();
    Peer::handshake(socket, params, Some(device))
}

#[test]
fn who_is_behind_a_proxy_is_known_from_the_edit_on() {
    let gateway = start("");
    let port = gateway.address.port();
    let shown = |gateway: &Gateway, device: &Device| {
        through_proxy(gateway, node_params(SECRET, &[]), device)
            .err()
            .expect("it waits");
        let listed = gateway.cli(&["devices", "list", "--json"]).success().json();
        let rows = listed["pending"].as_array().unwrap().clone();
        rows.into_iter()
            .find(|row| row["deviceId"] == device.id.as_str())
            .unwrap()
    };
    let (before, after) = (Device::new(), Device::new());
    assert_eq!(shown(&gateway, &before).get("remoteIp"), None);
    replace(
        &gateway,
        &config(port, SECRET, "trustedProxies: ['127.0.0.1']"),
    );
    logged(&gateway, &applied("gateway.trustedProxies"), 1);
    assert_eq!(shown(&gateway, &after)["remoteIp"], "203.0.113.9");
}

#[test]
fn a_proxy_that_is_trusted_no_more_takes_its_users_along() {
    let port = free_port();
    let text = |proxies: &str, password: &str| {
        format!(
            "{{ gateway: {{ mode: 'local', port: {port}, reload: {{ debounceMs: 10 }}, trustedProxies: ['{proxies}'],
                auth: {{ mode: 'trusted-proxy', password: '{password}',
                         trustedProxy: {{ userHeader: 'X-User', allowLoopback: true }} }} }} }}"
        )
    };
    let home = Home::new();
    home.write_config(&text("127.0.0.1", SECRET));
    let gateway = Gateway::start_at(home, port);
    let own = |password: &str| {
        let mut params = operator_params("", &["operator.read"]);
        params["auth"] = json!({"password": password});
        Peer::connect(gateway.address, params, None)
    };
    let mut local = own(SECRET).unwrap();
    let device = Device::new();
    let params = || {
        let mut params = operator_params("", &["operator.read"]);
        params["client"] = json!({"id": "cli", "mode": "cli", "version": "1", "platform": "linux"});
        params["auth"] = json!({});
        params
    };
    let refused = through_proxy(&gateway, params(), &device)
        .err()
        .expect("it waits");
    let id = refused.error["details"]["requestId"]
        .as_str()
        .unwrap()
        .to_owned();
    gateway.cli(&["devices", "approve", &id]).success();
    let mut user = through_proxy(&gateway, params(), &device).unwrap();
    user.call("health", json!({})).unwrap();

    replace(&gateway, &text("192.0.2.1", SECRET));
    assert_eq!(user.closed(), (4001, "gateway auth changed".to_owned()));
    logged(&gateway, &applied("gateway.trustedProxies"), 1);
    through_proxy(&gateway, params(), &device)
        .err()
        .expect("nobody vouches for it");
    local.call("health", json!({})).unwrap();
    // The password of programs on this host is a secret like any other.
    replace(&gateway, &text("192.0.2.1", "another-secret-9"));
    assert_eq!(local.closed(), (4001, "gateway auth changed".to_owned()));
    logged(&gateway, &applied("gateway.auth.password"), 1);
    own(SECRET).err().expect("the old one is over");
    own("another-secret-9").unwrap();
}
