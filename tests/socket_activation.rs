//! A gateway that is started with sockets which somebody else opened before it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

use crate::support::home::Home;
use crate::support::process::SECRET;
use crate::support::process::{Running, command, free_port, program};
use crate::support::reloading::config;

/// `gateway run` with this socket as the first one passed on.
fn activated(home: &Home, socket: &TcpListener) -> Running {
    // The shell puts it where a service manager does, and becomes the gateway.
    let script = r#"LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" gateway run 3<&0 </dev/null"#;
    let bare = command(&program(), home);
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(script).arg(program()).env_clear();
    for (name, value) in bare.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let socket: OwnedFd = socket.try_clone().unwrap().into();
    shell.current_dir(home.path()).stdin(socket);
    Running::start(shell)
}

/// Whether the health path answers on a connection.
fn healthy(mut stream: TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.starts_with("HTTP/1.1 200")
}

#[test]
fn who_connected_before_the_start_is_served_and_a_restart_refuses_nobody() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let home = Home::new();
    home.write_config(&config(address.port(), SECRET, ""));
    let early = TcpStream::connect(address).unwrap();
    let mut gateway = activated(&home, &socket);
    assert!(healthy(early));
    gateway.wait_for_output(&format!("listening ws://{address}"));

    gateway.signal("USR1");
    gateway.wait_for_output("[shutdown] stopped");
    // Whether it is up again or not: the socket is open all the time.
    assert!(healthy(TcpStream::connect(address).unwrap()));
    gateway.signal("TERM");
    assert_eq!(gateway.exit_code(), 0);
}

#[test]
fn a_socket_elsewhere_than_configured_is_refused_with_the_way_out() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let home = Home::new();
    home.write_config(&config(free_port(), SECRET, ""));
    let mut gateway = activated(&home, &socket);
    assert_eq!(gateway.exit_code(), 78);
    let output = gateway.output();
    let address = socket.local_addr().unwrap().to_string();
    assert!(
        output.contains(&address) && output.contains("ListenStream="),
        "{output}"
    );
}
