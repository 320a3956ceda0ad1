//! A peer that stalls in any phase delays nobody: while it is held there, another client finishes
//! its whole job.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::support::device::Device;
use crate::support::job::{whole_job, whole_job_of};
use crate::support::peer::{Peer, challenge};
use crate::support::process::{Gateway, SECRET};
use crate::support::tls;
use crate::support::websocket::WebSocket;

#[test]
fn a_peer_stalled_in_any_phase_delays_nobody() {
    let gateway = Gateway::start();
    let address = gateway.address;
    whole_job(&gateway);

    let opened = TcpStream::connect(address).unwrap();
    whole_job(&gateway);

    let mut half_line = TcpStream::connect(address).unwrap();
    half_line.write_all(b"GET / HT").unwrap();
    whole_job(&gateway);

    let upgraded = WebSocket::connect(address);
    whole_job(&gateway);

    let mut challenged = WebSocket::connect(address);
    challenge(&mut challenged);
    whole_job(&gateway);

    let mut half_frame = Peer::operator(address, SECRET);
    half_frame
        .socket
        .send_raw(&[0x81, 0x80 | 126, 0x40, 0x00, 1, 2, 3])
        .unwrap();
    whole_job(&gateway);

    // Asks for far more than its receive window holds and reads nothing of it.
    let mut deaf = Peer::operator(address, SECRET);
    for _ in 0..2_000 {
        deaf.send("health", json!({}));
    }
    whole_job(&gateway);

    // A node that never answers its invoke holds nobody but its own asker.
    let silent = Device::new();
    let mut operator = Peer::operator(address, SECRET);
    let _node = Peer::node(address, SECRET, &silent, &["system.which"]).unwrap();
    let request = operator.event("node.pair.requested")["payload"]["requestId"].clone();
    operator
        .call("node.pair.approve", json!({"requestId": request}))
        .unwrap();
    let asked = operator.send(
        "node.invoke",
        json!({"nodeId": silent.id, "command": "system.which", "params": {"bins": []}, "timeoutMs": 600_000, "idempotencyKey": "k"}),
    );
    whole_job(&gateway);
    // Not even its own asker's other requests.
    assert_eq!(operator.call("health", json!({})).unwrap()["ok"], true);
    drop(_node);
    let error = operator.answer(&asked).unwrap_err();
    assert_eq!(error["message"], "node disconnected (system.which)");
    drop((opened, half_line, upgraded, challenged, half_frame, deaf));
}

#[test]
fn a_peer_stalled_in_any_phase_of_tls_delays_nobody() {
    let gateway = Gateway::start_tls();
    let address = gateway.address;
    let whole_job = || {
        let device = Device::new();
        // First, so that it hears of the node's request.
        let operator = tls::operator(&gateway);
        let node = tls::node(&gateway, &device, &["system.which"]).unwrap();
        whole_job_of(operator, node, &device);
    };
    whole_job();

    let opened = TcpStream::connect(address).unwrap();
    whole_job();

    let mut hello = Vec::new();
    let mut unfinished = tls::client(address, &gateway.home);
    unfinished.conn.write_tls(&mut hello).unwrap();
    let mut half_hello = TcpStream::connect(address).unwrap();
    half_hello.write_all(&hello[..hello.len() / 2]).unwrap();
    whole_job();

    // A whole hello, its answer never taken.
    unfinished.sock.write_all(&hello).unwrap();
    whole_job();

    let secured = tls::Wire::tls(address, &gateway.home);
    whole_job();

    let mut half_line = tls::Wire::tls(address, &gateway.home);
    half_line.write_all(b"GET / HT").unwrap();
    whole_job();

    let mut challenged = tls::socket(&gateway);
    challenge(&mut challenged);
    whole_job();

    // Asks for far more than its receive window holds and reads nothing of it.
    let mut deaf = tls::operator(&gateway);
    for _ in 0..2_000 {
        deaf.send("health", json!({}));
    }
    whole_job();
    drop((
        opened, half_hello, unfinished, secured, half_line, challenged, deaf,
    ));
}

#[test]
fn a_handshake_that_does_not_come_is_ended_by_its_deadline() {
    let port = crate::support::process::free_port();
    let home = crate::support::home::Home::new();
    home.write_config(&format!(
        r#"{{ gateway: {{ mode: "local", port: {port}, handshakeTimeoutMs: 1500, auth: {{ mode: "token", token: "{SECRET}" }} }} }}"#
    ));
    let gateway = Gateway::start_at(home, port);
    let silent_to_the_end = || {
        let mut upgraded = WebSocket::connect(gateway.address);
        challenge(&mut upgraded);
        assert_eq!(
            upgraded.next(),
            crate::support::websocket::Message::Close(1000, String::new())
        );
    };
    silent_to_the_end();
    let mut half_line = TcpStream::connect(gateway.address).unwrap();
    half_line
        .set_read_timeout(Some(crate::support::PATIENCE))
        .unwrap();
    half_line.write_all(b"GET / HT").unwrap();
    let mut rest = Vec::new();
    half_line
        .read_to_end(&mut rest)
        .expect("the gateway ends the connection");
    // Whoever finished the handshake stays, longer than one who came later and did not.
    let mut operator = Peer::operator(gateway.address, SECRET);
    silent_to_the_end();
    assert_eq!(operator.call("health", json!({})).unwrap()["ok"], true);
}
