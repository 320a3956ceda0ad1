//! SIGKILL at random moments while many devices race for the uses of join keys: no key lets more devices in
//! than it is for, and whoever was let in still is.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::peer::{Peer, node_params};
use crate::support::process::{Gateway, SECRET};
use crate::support::wait_for;
use crate::support::websocket::WebSocket;

const KILLS: usize = 100;
const USES: usize = 3;
const DEVICES: usize = 6;

/// Joins from afar by `key`: `Some(true)` when it was let in, `Some(false)` when it was refused, nothing
/// when the gateway died before it said either.
fn join(address: SocketAddr, device: &Device, key: &str) -> Option<bool> {
    let afar = [("X-Forwarded-For", "198.51.100.7")];
    let socket = WebSocket::connect_with(address, "/", &afar).ok()?;
    let mut params = node_params("", &["system.which"]);
    params["auth"] = json!({"bootstrapToken": key});
    // The harness panics where a gateway says nothing at all.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        Peer::handshake(socket, params, Some(device))
    }));
    match outcome.ok()? {
        Ok(_) => Some(true),
        Err(refused) if refused.error.is_null() => None,
        Err(refused) => {
            let code = &refused.error["details"]["code"];
            assert_eq!(code, "AUTH_BOOTSTRAP_TOKEN_INVALID", "{refused:?}");
            Some(false)
        }
    }
}

fn make_key(gateway: &Gateway) -> Value {
    let mut operator = Peer::operator(gateway.address, SECRET);
    let wanted = json!({"uses": USES, "commands": ["system.which"]});
    operator.call("device.keys.create", wanted).unwrap()
}

#[test]
fn a_killed_gateway_neither_doubles_nor_loses_a_use_of_a_key() {
    let mut gateway = Gateway::start();
    let mut seed = [0u8; 1];
    let (mut let_in, mut cut_off) = (0, 0);
    for kill in 0..KILLS {
        let made = make_key(&gateway);
        let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
        let devices: Vec<Device> = (0..DEVICES).map(|_| Device::new()).collect();
        let (address, joined) = (gateway.address, AtomicUsize::new(0));
        let told: Vec<Option<bool>> = std::thread::scope(|scope| {
            let racers: Vec<_> = devices
                .iter()
                .map(|device| {
                    let joined = &joined;
                    scope.spawn(move || {
                        let told = join(address, device, key);
                        joined.fetch_add(usize::from(told == Some(true)), Ordering::SeqCst);
                        told
                    })
                })
                .collect();
            // One half dies on the way to the first join, the other half behind one.
            if kill % 2 == 1 {
                wait_for("a device to be let in", || {
                    (joined.load(Ordering::SeqCst) > 0).then_some(())
                });
            }
            getrandom::fill(&mut seed).unwrap();
            std::thread::sleep(Duration::from_micros(u64::from(seed[0]) * 100));
            gateway.process.kill();
            racers
                .into_iter()
                .map(|racer| racer.join().unwrap())
                .collect()
        });
        gateway.crash_and_restart();

        let keys = gateway.home.json("devices/join-keys.json");
        let bound: Vec<&str> = keys[id]["joined"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["deviceId"].as_str().unwrap())
            .collect();
        let (paired, nodes) = (
            gateway.home.json("devices/paired.json"),
            gateway.home.json("nodes/paired.json"),
        );
        assert!(bound.len() <= USES, "{bound:?}");
        for (device, told) in devices.iter().zip(&told) {
            let id = device.id.as_str();
            let is_bound = bound.contains(&id);
            assert!(
                *told != Some(true) || paired.get(id).is_some(),
                "let in and lost: {id}"
            );
            assert!(
                paired.get(id).is_none() || is_bound,
                "paired without a use: {id}"
            );
            assert!(paired.get(id).is_none() || nodes[id]["commands"] == json!(["system.which"]));
        }
        // Whoever holds a use finishes its join, and together no more than the key is for.
        let all = devices
            .iter()
            .filter(|device| join(address, device, key) == Some(true));
        let joined: Vec<&str> = all.map(|device| device.id.as_str()).collect();
        assert_eq!(joined.len(), USES, "{joined:?}");
        assert!(
            bound.iter().all(|id| joined.contains(id)),
            "{bound:?} {joined:?}"
        );
        let_in += told.iter().filter(|told| **told == Some(true)).count();
        cut_off += told.iter().filter(|told| told.is_none()).count();
    }
    assert!(let_in >= KILLS / 2, "{let_in}");
    let tried =
        format!("{KILLS} times under {DEVICES} devices racing for {USES} uses, {cut_off} cut off");
    super::report::row("kill -9 of the gateway, join keys", &tried, let_in, 0);
}
