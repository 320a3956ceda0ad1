//! A fleet that comes back all at once when its gateway was killed and started again.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use serde_json::{Map, Value, json};

use super::ledger::operator;
use super::report;
use crate::support::device::Device;
use crate::support::flood::raise_nofile;
use crate::support::home::Home;
use crate::support::peer::{Peer, Refused, node_params};
use crate::support::process::{Gateway, SECRET, free_port};
use crate::support::websocket::WebSocket;

/// How many; `FAULT_NODES` says another number.
const NODES: usize = 5_000;

/// The close code of a gateway that has no room just now.
const TRY_LATER: u16 = 1013;

/// Everybody is in by then; who is told to come again for ever is not.
const ALL_WITHIN: Duration = Duration::from_secs(300);

/// Handshakes at the same time.
const AT_ONCE: usize = 64;

fn nodes() -> usize {
    let wanted = std::env::var("FAULT_NODES").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(NODES)
}

fn device(number: usize) -> Device {
    let mut seed = [7u8; 32];
    seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
    Device::from_seed(&seed)
}

/// A state directory in which every one of the fleet is paired and approved.
fn paired(home: &Home, fleet: &[Device]) {
    let (mut devices, mut nodes) = (Map::new(), Map::new());
    for device in fleet {
        let token = HEXLOWER.encode(device.public_key.as_bytes());
        devices.insert(
            device.id.clone(),
            json!({"deviceId": device.id, "publicKey": device.public_key, "role": "node", "roles": ["node"], "scopes": [],
                "clientId": "node-host", "clientMode": "node", "platform": "linux", "createdAtMs": 1, "approvedAtMs": 1,
                "tokens": {"node": {"token": token, "role": "node", "scopes": [], "createdAtMs": 1}}}),
        );
        nodes.insert(
            device.id.clone(),
            json!({"nodeId": device.id, "token": token, "platform": "linux", "caps": ["system"],
                "commands": ["system.which"], "createdAtMs": 1, "approvedAtMs": 1}),
        );
    }
    home.write(
        "devices/paired.json",
        Value::Object(devices).to_string().as_bytes(),
    );
    home.write(
        "nodes/paired.json",
        Value::Object(nodes).to_string().as_bytes(),
    );
}

/// One try of one node; `None` when it is told to come again, by a word or by an end of the connection.
fn join(address: SocketAddr, device: &Device) -> Option<Peer> {
    let socket = match WebSocket::connect_with(address, "/", &[]) {
        Ok(socket) => socket,
        Err(told) if told.starts_with("HTTP/") => {
            assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
            return None;
        }
        Err(_) => return None,
    };
    let params = node_params(SECRET, &["system.which"]);
    match Peer::handshake(socket, params, Some(device)) {
        Ok(peer) => Some(peer),
        Err(Refused { close: None, .. }) => None,
        Err(refused) => {
            let code = refused.close.as_ref().map(|(code, _)| *code);
            assert_eq!(code, Some(TRY_LATER), "{refused:?}");
            None
        }
    }
}

/// Everybody tries until everybody is in; how often somebody had to come again.
fn all_join(address: SocketAddr, fleet: &[Device]) -> (Vec<(usize, Peer)>, usize) {
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..fleet.len()).collect());
    let joined = Mutex::new(Vec::with_capacity(fleet.len()));
    let again = std::sync::atomic::AtomicUsize::new(0);
    let deadline = Instant::now() + ALL_WITHIN;
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(number) = waiting.lock().unwrap().pop_front() else {
                        return;
                    };
                    match join(address, &fleet[number]) {
                        Some(peer) => joined.lock().unwrap().push((number, peer)),
                        None => {
                            assert!(Instant::now() < deadline, "{number} is not let in");
                            again.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            waiting.lock().unwrap().push_back(number);
                            std::thread::sleep(Duration::from_millis(5));
                        }
                    }
                }
            });
        }
    });
    (joined.into_inner().unwrap(), again.into_inner())
}

fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

/// All of the fleet are listed as connected, with their commands.
fn check(owner: &mut Peer, count: usize) {
    let listed = owner.call("node.list", json!({})).unwrap();
    let rows = listed["nodes"].as_array().unwrap();
    let there = rows
        .iter()
        .filter(|row| row["connected"] == true && row["commands"] == json!(["system.which"]));
    assert_eq!(there.count(), count);
}

#[test]
fn a_fleet_is_back_after_a_restart_and_complete() {
    raise_nofile();
    let count = nodes();
    let fleet: Vec<Device> = (0..count).map(device).collect();
    let port = free_port();
    let home = Home::with_gateway(port, SECRET);
    paired(&home, &fleet);
    let mut gateway = Gateway::start_at(home, port);
    let (mut joined, _) = all_join(gateway.address, &fleet);
    check(&mut operator(gateway.address).unwrap(), count);
    gateway.crash_and_restart();
    let begun = Instant::now();
    joined.clear();
    let (mut joined, again) = all_join(gateway.address, &fleet);
    let took = begun.elapsed();
    let mut owner = operator(gateway.address).unwrap();
    check(&mut owner, count);
    for (number, node) in joined.iter_mut().step_by((count / 5).max(1)) {
        let asked = owner.send(
            "node.invoke",
            json!({"nodeId": fleet[*number].id, "command": "system.which", "params": {"bins": []}, "idempotencyKey": number.to_string()}),
        );
        node.answer_invoke(&json!({"bins": {}}));
        owner.answer(&asked).unwrap();
    }
    let peak = peak_kib(gateway.process.pid());
    report::row(
        "kill -9, the whole fleet comes back",
        &format!(
            "{count} nodes in {took:.1?}, {again} came again, peak {} MiB",
            peak / 1_024
        ),
        count,
        0,
    );
}
