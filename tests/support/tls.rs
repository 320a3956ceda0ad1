//! TLS as the tests' own ends speak it: `rustls` with its own verifier, none of the program's code.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    version,
};

use super::home::Home;
use super::peer::{ALL_SCOPES, Peer, Refused, node_params, operator_params};
use super::process::{Gateway, SECRET};
use super::websocket::WebSocket;

/// Where a generated pair stands below the state directory.
pub const CERTIFICATE: &str = "gateway/tls/gateway-cert.pem";
pub const KEY: &str = "gateway/tls/gateway-key.pem";

/// A connection of the tests, plain or through TLS.
pub enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    pub fn socket(&self) -> &TcpStream {
        match self {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => &stream.sock,
        }
    }

    /// Connects through TLS with the certificate at `home` as the only authority and 127.0.0.1 as the
    /// name; the handshake is done.
    pub fn tls(address: SocketAddr, home: &Home) -> Wire {
        let mut stream = client(address, home);
        stream.sock.set_read_timeout(Some(super::PATIENCE)).unwrap();
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        Wire::Tls(Box::new(stream))
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(buffer),
            Wire::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}

/// A TLS client that trusts the certificate at `home`; nothing is sent yet.
pub fn client(address: SocketAddr, home: &Home) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(home)).unwrap();
    let config = ClientConfig::builder_with_provider(default_provider().into())
        .with_protocol_versions(&[&version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    StreamOwned::new(session, socket)
}

/// A TLS server session with the pair at `home`.
pub fn server(home: &Home) -> ServerConnection {
    let key = PrivateKeyDer::from_pem_slice(home.read(KEY).as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate(home)], key)
        .unwrap();
    ServerConnection::new(Arc::new(config)).unwrap()
}

/// The generated certificate at `home`.
pub fn certificate(home: &Home) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(home.read(CERTIFICATE).as_bytes()).unwrap()
}

/// Its fingerprint as lower-case hex.
pub fn fingerprint(home: &Home) -> String {
    HEXLOWER.encode(digest(&SHA256, &certificate(home)).as_ref())
}

/// A WebSocket to a gateway that speaks TLS.
pub fn socket(gateway: &Gateway) -> WebSocket {
    let wire = Wire::tls(gateway.address, &gateway.home);
    WebSocket::upgrade(wire, gateway.address, "/", &[]).unwrap_or_else(|answer| panic!("{answer}"))
}

/// An operator without a device, with every scope, through TLS.
#[track_caller]
pub fn operator(gateway: &Gateway) -> Peer {
    let params = operator_params(SECRET, &ALL_SCOPES);
    Peer::handshake(socket(gateway), params, None).expect("operator connects")
}

/// A node through TLS.
pub fn node(
    gateway: &Gateway,
    device: &super::device::Device,
    commands: &[&str],
) -> Result<Peer, Refused> {
    Peer::handshake(socket(gateway), node_params(SECRET, commands), Some(device))
}

/// One GET through TLS; status line, headers and body as one text.
pub fn get(gateway: &Gateway, path: &str) -> String {
    let mut wire = Wire::tls(gateway.address, &gateway.home);
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    wire.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // Fails unless the gateway says goodbye in TLS.
    wire.read_to_string(&mut answer).unwrap();
    answer
}
