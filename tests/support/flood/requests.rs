//! Fresh keys by the thousand that ask to join, with the right shared secret or a wrong one.

use serde_json::{Value, json};

use super::Target;
use crate::support::device::Device;
use crate::support::peer::{Peer, Refused, node_params};
use crate::support::process::SECRET;
use crate::support::websocket::WebSocket;

/// Requests of one source that may wait.
const PER_SOURCE: usize = 64;

/// Memory that ten thousand attempts may leave behind, in KiB: the waiting requests, their resolutions and
/// what the allocator keeps.
const LEFT_KB: u64 = 32 * 1024;

/// A node with a fresh key, seen by a trusted proxy at `from`.
fn ask(target: &Target, from: &str, secret: &str, device: &Device) -> Result<Peer, Refused> {
    let headers = [("X-Forwarded-For", from)];
    let socket = WebSocket::connect_with(target.address(), "/", &headers).unwrap();
    Peer::handshake(socket, node_params(secret, &["system.which"]), Some(device))
}

/// `count` fresh keys of one source that knows the shared secret; somebody else joins before, meanwhile
/// and after.
pub fn fresh_keys(count: usize) {
    let target = Target::start(r#"trustedProxies: ["127.0.0.1"]"#);
    let mut owner = Peer::operator(target.address(), SECRET);
    let before = super::Usage::of(&target.gateway);
    let joins = |owner: &mut Peer, from: &str, device: &Device| {
        let request = match ask(&target, from, SECRET, device) {
            Err(refused) => refused.error["details"]["requestId"].clone(),
            Ok(_) => panic!("nobody approved {from}"),
        };
        assert!(request.is_string(), "{from} finds a place");
        owner
            .call("device.pair.approve", json!({"requestId": request}))
            .unwrap();
        ask(&target, from, SECRET, device).expect("approved");
        owner
            .call("device.pair.remove", json!({"deviceId": device.id}))
            .unwrap();
    };
    let early = Device::new();
    let waiting = ask(&target, "198.51.100.7", SECRET, &early).err().unwrap();
    let (mut recorded, mut refused) = (0, 0);
    for number in 0..count {
        let error = ask(&target, "203.0.113.9", SECRET, &Device::new())
            .err()
            .unwrap()
            .error;
        if error["details"]["code"] == "PAIRING_REQUIRED" {
            recorded += 1;
        } else {
            assert_eq!(error["code"], "UNAVAILABLE", "{error}");
            assert_eq!(error["details"]["code"], "PAIRING_REQUESTS_FULL");
            assert!(error["retryAfterMs"].as_u64().unwrap() > 0 && error["retryable"] == true);
            refused += 1;
        }
        if number % (count / 4).max(1) == 0 {
            target.withstands();
            joins(&mut owner, "198.51.100.8", &Device::new());
        }
    }
    assert_eq!(recorded, PER_SOURCE);
    joins(&mut owner, "198.51.100.7", &early);
    assert!(waiting.error["details"]["requestId"].is_string());
    let now = super::Usage::of(&target.gateway);
    println!(
        "{count} fresh keys: {recorded} recorded, {refused} refused, {} KiB more",
        now.rss_kb.saturating_sub(before.rss_kb)
    );
    assert!(
        now.rss_kb <= before.rss_kb + LEFT_KB,
        "{now:?} after {before:?}"
    );

    let listed = target
        .gateway
        .cli(&["devices", "list", "--json"])
        .success()
        .json();
    assert_eq!(listed["pending"].as_array().unwrap().len(), PER_SOURCE);
    assert_eq!(listed["crowded"][0]["source"], "203.0.113.9");
    assert_eq!(listed["crowded"][0]["refused"], refused);
    let shown = target.gateway.cli(&["nodes", "pending"]).success();
    assert!(
        shown.stderr.contains(&format!(
            "Too many requests of 203.0.113.9: {refused} refused"
        )),
        "{shown:?}"
    );
    let trail = target.gateway.home.read("audit.jsonl");
    assert_eq!(
        trail
            .lines()
            .filter(|line| line.contains("\"pairing.crowded\""))
            .count(),
        1
    );
    assert!(
        trail.lines().count() < 200,
        "refusals leave no lines of their own"
    );
    for row in listed["pending"].as_array().unwrap() {
        owner
            .call("device.pair.reject", json!({"requestId": row["requestId"]}))
            .unwrap();
    }
    target.recovers();
}

/// `count` fresh keys that do not know the secret: none of them leaves a request.
pub fn fresh_keys_without_the_secret(count: usize) {
    let target = Target::start(r#"trustedProxies: ["127.0.0.1"]"#);
    for _ in 0..count {
        let refused = ask(&target, "203.0.113.9", "wrong", &Device::new())
            .err()
            .unwrap();
        let code = refused.error["details"]["code"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(
            ["AUTH_TOKEN_MISMATCH", "AUTH_RATE_LIMITED"].contains(&code.as_str()),
            "{code}"
        );
    }
    let waits = ask(&target, "198.51.100.7", SECRET, &Device::new())
        .err()
        .unwrap();
    let mut owner = Peer::operator(target.address(), SECRET);
    let listed = owner.call("device.pair.list", json!({})).unwrap();
    assert_eq!(
        (
            listed["pending"].as_array().unwrap().len(),
            &listed["crowded"]
        ),
        (1, &Value::Null)
    );
    let request = waits.error["details"]["requestId"].clone();
    owner
        .call("device.pair.reject", json!({"requestId": request}))
        .unwrap();
    target.recovers();
}
