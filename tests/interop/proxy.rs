//! A real nginx in front of the gateway, as people run it on the same host: its own process in the
//! foreground with its own prefix, on loopback. Its clients come "from elsewhere" by a header that stands
//! for their socket address (`real_ip_header`), because everything here happens on one machine.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::home::Home;
use crate::support::peer::{ALL_SCOPES, Peer, Refused, node_params, operator_params};
use crate::support::process::{Gateway, Running, SECRET, command, free_port, http};
use crate::support::wait_for;
use crate::support::websocket::WebSocket;

/// Stands for the address of a client's socket.
const FROM: &str = "X-Test-Peer";

/// `ada:door` in the form of an `Authorization` header.
const ADA: (&str, &str) = ("Authorization", "Basic YWRhOmRvb3I=");

/// `eve:door`.
const EVE: (&str, &str) = ("Authorization", "Basic ZXZlOmRvb3I=");

struct Nginx {
    address: SocketAddr,
    _home: Home,
    _process: Running,
}

impl Nginx {
    /// Forwards to `port`; `extra` are further directives of the location.
    #[track_caller]
    fn start(port: u16, extra: &str) -> Nginx {
        let program = Path::new("/usr/sbin/nginx");
        assert!(
            program.exists(),
            "nginx is missing: apt-get install nginx-light"
        );
        let home = Home::new();
        let own = free_port();
        let prefix = home.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {prefix}/{name};"))
            .join(" ");
        let config = format!(
            "daemon off; master_process off; pid {prefix}/nginx.pid; error_log stderr;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; {temporary}\n\
             server {{ listen 127.0.0.1:{own};\n\
             set_real_ip_from 127.0.0.1; real_ip_header {FROM};\n\
             location / {{ proxy_pass http://127.0.0.1:{port}; proxy_http_version 1.1;\n\
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";\n\
             proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Host $http_host;\n\
             proxy_set_header X-Forwarded-Proto $scheme;\n\
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
             {extra}\n}} }} }}\n"
        );
        std::fs::write(home.path().join("nginx.conf"), config).unwrap();
        std::fs::write(
            home.path().join("users"),
            "ada:{PLAIN}door\neve:{PLAIN}door\n",
        )
        .unwrap();
        let mut nginx = command(program, &home);
        nginx
            .args(["-e", "stderr", "-c", "nginx.conf", "-p"])
            .arg(home.path());
        let mut process = Running::start(nginx);
        let address = SocketAddr::from(([127, 0, 0, 1], own));
        wait_for("nginx to listen", || {
            assert!(process.alive(), "nginx ended:\n{}", process.output());
            std::net::TcpStream::connect(address).ok()
        });
        Nginx {
            address,
            _home: home,
            _process: process,
        }
    }

    /// Connects through it; what the gateway or nginx answers otherwise.
    fn connect(
        &self,
        headers: &[(&str, &str)],
        params: Value,
        device: Option<&Device>,
    ) -> Result<Peer, Refused> {
        let socket = WebSocket::connect_with(self.address, "/gateway", headers);
        let socket = socket.unwrap_or_else(|answer| panic!("no upgrade: {answer}"));
        Peer::handshake(socket, params, device)
    }
}

/// A gateway whose `gateway` section has these further members.
#[track_caller]
fn gateway(members: &str) -> Gateway {
    let port = free_port();
    let home = Home::new();
    home.write_config(&format!(
        "{{ gateway: {{ mode: 'local', port: {port}, {members} }} }}"
    ));
    Gateway::start_at(home, port)
}

fn token() -> String {
    format!("auth: {{ mode: 'token', token: '{SECRET}' }}")
}

/// The one device that waits, as an operator on this host sees it.
#[track_caller]
fn waiting(gateway: &Gateway, device: &Device) -> Value {
    let mut admin = Peer::operator(gateway.address, SECRET);
    let list = admin.call("device.pair.list", json!({})).unwrap();
    let rows = list["pending"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{list}");
    assert_eq!(rows[0]["deviceId"], json!(device.id), "{list}");
    rows[0].clone()
}

#[track_caller]
fn refused(outcome: Result<Peer, Refused>) -> Value {
    match outcome {
        Ok(peer) => panic!("it came in: {}", peer.hello),
        Err(refused) => refused.error,
    }
}

#[test]
fn a_proxy_that_nobody_trusts_makes_its_clients_unknown_and_remote() {
    // Not even a list of networks that holds every address lets its clients in.
    let nodes = "nodes: { pairing: { autoApproveCidrs: ['0.0.0.0/0', '::/0'] } }";
    let gateway = gateway(&format!("{}, {nodes}", token()));
    let nginx = Nginx::start(gateway.address.port(), "");
    for headers in [
        &[][..],
        &[(FROM, "203.0.113.9")],
        &[("X-Forwarded-For", "127.0.0.1"), ("X-Real-IP", "127.0.0.1")],
    ] {
        let device = Device::new();
        let error = refused(nginx.connect(headers, node_params(SECRET, &[]), Some(&device)));
        assert_eq!(error["details"]["code"], "PAIRING_REQUIRED", "{error}");
        let row = waiting(&gateway, &device);
        assert_eq!(row.get("remoteIp"), None, "{row}");
        let mut admin = Peer::operator(gateway.address, SECRET);
        let id = json!({"requestId": row["requestId"]});
        admin.call("device.pair.reject", id).unwrap();
        let session = nginx.connect(headers, operator_params(SECRET, &ALL_SCOPES), None);
        let mut session = session.expect("the secret is right");
        assert_eq!(session.hello["auth"]["scopes"], json!([]), "{headers:?}");
        assert!(session.call("health", json!({})).is_ok());
        assert!(session.call("device.pair.list", json!({})).is_err());
    }
}

#[test]
fn a_trusted_proxy_names_its_client_and_the_client_cannot() {
    let nodes = "nodes: { pairing: { autoApproveCidrs: ['203.0.113.0/24'] } }";
    let trust = "trustedProxies: ['127.0.0.1', '::1'], allowRealIpFallback: true";
    let gateway = gateway(&format!("{}, {trust}, {nodes}", token()));
    let nginx = Nginx::start(gateway.address.port(), "");
    for (headers, remote_ip) in [
        (&[(FROM, "203.0.113.9")][..], json!("203.0.113.9")),
        (&[(FROM, "2001:db8::7")], json!("2001:db8::7")),
        // What the client wrote stands left of what nginx saw.
        (
            &[(FROM, "198.51.100.7"), ("X-Forwarded-For", "203.0.113.9")],
            json!("198.51.100.7"),
        ),
        (
            &[
                (FROM, "198.51.100.7"),
                ("X-Forwarded-For", "127.0.0.1"),
                ("X-Real-IP", "127.0.0.1"),
            ],
            json!("198.51.100.7"),
        ),
        (
            &[
                (FROM, "198.51.100.7"),
                ("X-Forwarded-For", "203.0.113.9"),
                ("X-Forwarded-For", "10.0.0.1, garbage"),
            ],
            json!("198.51.100.7"),
        ),
    ] {
        let device = Device::new();
        let error = refused(nginx.connect(headers, node_params(SECRET, &[]), Some(&device)));
        assert_eq!(
            error["details"]["code"], "PAIRING_REQUIRED",
            "a proxy on this host never opens a listed network: {headers:?} {error}"
        );
        let row = waiting(&gateway, &device);
        assert_eq!(row["remoteIp"], remote_ip, "{headers:?}");
        let mut admin = Peer::operator(gateway.address, SECRET);
        let id = json!({"requestId": row["requestId"]});
        admin.call("device.pair.reject", id).unwrap();
        let session = nginx.connect(headers, operator_params(SECRET, &ALL_SCOPES), None);
        let hello = session.expect("the secret is right").hello;
        assert_eq!(hello["auth"]["scopes"], json!([]), "{headers:?}");
    }
}

#[test]
fn a_proxy_that_asks_who_somebody_is_names_the_user() {
    let rule = "userHeader: 'X-Auth-User', requiredHeaders: ['X-Forwarded-Proto'], allowUsers: ['ada'], \
                allowLoopback: true";
    let members = format!(
        "auth: {{ mode: 'trusted-proxy', password: 'local', trustedProxy: {{ {rule} }} }}, \
         trustedProxies: ['127.0.0.1'], controlUi: {{ allowedOrigins: ['https://ui.example'] }}"
    );
    let gateway = gateway(&members);
    let nginx = Nginx::start(
        gateway.address.port(),
        "auth_basic door; auth_basic_user_file users; proxy_set_header X-Auth-User $remote_user;",
    );
    let mut ui = operator_params("", &ALL_SCOPES);
    ui["client"] =
        json!({"id": "openclaw-control-ui", "mode": "ui", "version": "1", "platform": "web"});
    ui["auth"] = json!({});
    let origin = ("Origin", "https://ui.example");
    let device = Device::new();
    for forged in [
        None,
        Some(("X-Auth-User", "mallory")),
        Some(("X-Auth-User", "")),
    ] {
        let headers: Vec<_> = [ADA, origin].into_iter().chain(forged).collect();
        let peer = nginx.connect(&headers, ui.clone(), Some(&device));
        let hello = peer.expect("ada comes in").hello;
        assert_eq!(hello["snapshot"]["authMode"], "trusted-proxy", "{hello}");
        let without = nginx.connect(&headers, ui.clone(), None);
        let hello = without.expect("ada comes in without a device").hello;
        assert_eq!(hello["auth"]["scopes"], json!([]));
    }
    let error = refused(nginx.connect(
        &[EVE, origin, ("X-Auth-User", "ada")],
        ui.clone(),
        Some(&device),
    ));
    assert_eq!(error["message"], "unauthorized", "{error}");
    assert_eq!(
        error["details"]["authReason"],
        "trusted_proxy_user_not_allowed"
    );
    let without_password =
        "GET / HTTP/1.1\r\nHost: gw\r\nX-Auth-User: ada\r\nConnection: close\r\n\r\n";
    let answer = http(nginx.address, without_password);
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    // The password is for programs on this host; through the proxy it opens nothing.
    let mut with_password = ui;
    with_password["auth"] = json!({"password": "local"});
    with_password["client"] = operator_params("", &[])["client"].clone();
    let through = refused(nginx.connect(&[EVE], with_password.clone(), None));
    assert_eq!(through["details"]["code"], "AUTH_UNAUTHORIZED", "{through}");
    let here = Peer::connect(gateway.address, with_password, None);
    let hello = here.expect("a program on this host").hello;
    assert_eq!(hello["snapshot"]["authMode"], "trusted-proxy");
}

#[test]
fn health_is_told_through_a_proxy_and_details_are_not() {
    let gateway = gateway(&format!("{}, trustedProxies: ['127.0.0.1']", token()));
    let nginx = Nginx::start(gateway.address.port(), "");
    let get = |address: SocketAddr, path: &str, more: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{more}\r\n");
        let answer = http(address, &request);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    };
    let ok = "HTTP/1.1 200 OK".to_owned();
    let (status, body) = get(nginx.address, "/healthz", "");
    assert_eq!(
        (status, body.as_str()),
        (ok.clone(), r#"{"ok":true,"status":"live"}"#)
    );
    let bearer = format!("Authorization: Bearer {SECRET}\r\n");
    for (address, more, detailed) in [
        (nginx.address, "", false),
        (nginx.address, "X-Forwarded-For: 127.0.0.1\r\n", false),
        (nginx.address, "Authorization: Bearer wrong\r\n", false),
        (nginx.address, &bearer, true),
        (gateway.address, "", true),
    ] {
        let (status, body) = get(address, "/readyz", more);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, ok);
        assert_eq!(body.get("uptimeMs").is_some(), detailed, "{more} {body}");
    }
    let (status, _) = get(nginx.address, "/anything", "");
    assert_eq!(status, "HTTP/1.1 404 Not Found");
}
