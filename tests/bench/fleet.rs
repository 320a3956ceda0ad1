//! Many paired nodes: one is paired by the program, the others get records like its own.

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::{ALL_SCOPES, Peer, node_params, operator_params};
use crate::support::process::{Gateway, Running, SECRET, command, free_port, program};
use crate::support::tls;
use crate::support::websocket::WebSocket;

const RECORDS: [&str; 2] = ["devices/paired.json", "nodes/paired.json"];

/// A gateway that knows this many nodes, none of them connected.
pub struct Fleet {
    pub gateway: Gateway,
    devices: Vec<Device>,
}

impl Fleet {
    pub fn paired(nodes: usize, through_tls: bool) -> Fleet {
        let port = free_port();
        let home = match through_tls {
            true => Home::with_tls_gateway(port, SECRET, ""),
            false => Home::with_gateway(port, SECRET),
        };
        let mut gateway = Gateway::start_at(home, port);
        let devices: Vec<Device> = (0..nodes).map(|_| Device::new()).collect();
        let first = node(&gateway, &devices[0]);
        approve(&mut operator(&gateway));
        drop(first);
        gateway.process.signal("TERM");
        assert_eq!(gateway.process.exit_code(), 0);
        for name in RECORDS {
            let mut records = gateway.home.json(name);
            let known = records.as_object_mut().unwrap();
            let model = known[&devices[0].id].clone();
            for device in &devices[1..] {
                known.insert(device.id.clone(), like(&model, &devices[0], device));
            }
            gateway.home.write(name, records.to_string().as_bytes());
        }
        let mut line = command(&program(), &gateway.home);
        // As its units start it.
        line.env("MALLOC_ARENA_MAX", "2").args(["gateway", "run"]);
        gateway.process = Running::start(line);
        gateway.process.wait_for_output("[gateway] ready");
        Fleet { gateway, devices }
    }

    /// Connects all of them, one after the other.
    pub fn connect(&self) -> Vec<Peer> {
        let join = |device| node(&self.gateway, device);
        self.devices.iter().map(join).collect()
    }

    pub fn operator(&self) -> Peer {
        operator(&self.gateway)
    }
}

/// The record of `model`'s device with another key and a token of its own.
fn like(record: &Value, model: &Device, device: &Device) -> Value {
    let mut text = record.to_string();
    for (old, new) in [
        (&model.id, &device.id),
        (&model.public_key, &device.public_key),
    ] {
        text = text.replace(old.as_str(), new);
    }
    let mut record: Value = serde_json::from_str(&text).unwrap();
    if let Some(token) = record.pointer_mut("/tokens/node/token") {
        *token = json!(device.public_key);
    }
    if let Some(token) = record.get_mut("token") {
        *token = json!(device.public_key);
    }
    record
}

fn node(gateway: &Gateway, device: &Device) -> Peer {
    let params = node_params(SECRET, &["system.which"]);
    Peer::handshake(socket(gateway), params, Some(device)).unwrap()
}

fn operator(gateway: &Gateway) -> Peer {
    let params = operator_params(SECRET, &ALL_SCOPES);
    Peer::handshake(socket(gateway), params, None).unwrap()
}

/// A WebSocket to the gateway, through TLS where that is what it speaks.
fn socket(gateway: &Gateway) -> WebSocket {
    if gateway.home.read(tls::CERTIFICATE).is_empty() {
        WebSocket::connect(gateway.address)
    } else {
        tls::socket(gateway)
    }
}

/// Approves the one node that waits.
pub fn approve(operator: &mut Peer) {
    let list = operator.call("node.pair.list", json!({})).unwrap();
    let request = list["pending"][0]["requestId"].clone();
    let approved = operator.call("node.pair.approve", json!({"requestId": request}));
    approved.unwrap();
}
