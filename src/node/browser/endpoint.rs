//! The debugging endpoint of a browser: what it says about itself over HTTP, and where its socket is.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cdp::Socket;
use super::guard::is_of_host;
use crate::net::{NetError, dial, http};

/// Bytes of the answer that are read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// How long a status may wait for the HTTP answer.
pub const HTTP_PROBE: Duration = Duration::from_millis(300);

/// How long a status may wait for the socket.
pub const SOCKET_PROBE: Duration = Duration::from_millis(600);

/// What a `cdpUrl` looks like.
pub const FORM: &str = "http://host:port or ws://host:port/path";

/// A place of an endpoint: `http://host:port` or the `ws://` URL of its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The socket's path, where it is known already.
    pub path: Option<String>,
}

impl Endpoint {
    /// The endpoint of a browser on this machine.
    pub fn local(port: u16) -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port,
            path: None,
        }
    }

    /// Reads a `cdpUrl`; `None` for one with TLS, without a host or with one that others may read in another way, or
    /// with what no URL holds and a request line must not.
    pub fn parse(url: &str) -> Option<Self> {
        let url = url.trim();
        if !url.chars().all(|letter| letter.is_ascii_graphic()) {
            return None;
        }
        let (scheme, rest) = url.split_once("://")?;
        let socket = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "ws" => true,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (place, path) = rest.split_at(end);
        let (host, port) = place.rsplit_once(':').unwrap_or((place, "80"));
        let bracketed = host
            .strip_prefix('[')
            .and_then(|inside| inside.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        let known = match host.contains(':') {
            true => host.parse::<Ipv6Addr>().is_ok(),
            false => bracketed.is_none() && !host.is_empty() && host.bytes().all(is_of_host),
        };
        if !known {
            return None;
        }
        Some(Self {
            host: host.to_owned(),
            port: port.parse().ok()?,
            path: (socket && path.len() > 1).then(|| path.to_owned()),
        })
    }

    /// The place in a URL or a `Host` header.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Asks where the socket is. What a server that is no browser says is not repeated.
    ///
    /// # Errors
    /// [`NetError`] when nobody answers in time, or not in the way of a browser.
    pub fn socket(&self, deadline: Instant) -> Result<Socket, NetError> {
        let path = match &self.path {
            Some(path) => path.clone(),
            None => self.ask(deadline)?,
        };
        Ok(Socket {
            host: self.host.clone(),
            port: self.port,
            path,
        })
    }

    fn ask(&self, deadline: Instant) -> Result<String, NetError> {
        let mut stream = dial::connect(&self.host, self.port, deadline)?;
        let host = self.authority();
        let answer = http::get(
            &mut stream,
            &host,
            "/json/version",
            MAX_ANSWER_BYTES,
            deadline,
        );
        let answer = answer.map_err(NetError::without_body)?;
        let version: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let url = version.get("webSocketDebuggerUrl").and_then(Value::as_str);
        // The host in it is what the browser was asked for: only the path is news.
        let path = url
            .and_then(|url| url.split_once("://"))
            .and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned()));
        path.ok_or(NetError::AcceptKeyMismatch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_http_or_sockets() {
        let parsed = |url: &str| Endpoint::parse(url).map(|it| (it.host, it.port, it.path));
        let expected = |host: &str, port, path: Option<&str>| {
            Some((host.to_owned(), port, path.map(str::to_owned)))
        };
        assert_eq!(
            parsed("http://127.0.0.1:9222"),
            expected("127.0.0.1", 9222, None)
        );
        assert_eq!(parsed("http://[::1]:9222/"), expected("::1", 9222, None));
        assert_eq!(
            parsed("ws://h:1/devtools/browser/x"),
            expected("h", 1, Some("/devtools/browser/x"))
        );
        for url in [
            "https://h:1",
            "h:1",
            "http://:1",
            "http://h:x",
            "ws://h:1/x HTTP/1.1",
            "ws://h:1/x\r\nHost: other",
            "http://h\t:1",
            "http://8.8.8.8\\evil.example:1",
            "http://8.8.8.8@evil.example:1",
            "http://8.8.8.8%2eevil.example:1",
            "http://8.8.8.8;evil.example:1",
            "http://[8.8.8.8]:1",
            "http://[::1]evil.example:1",
            "http://a:b:1",
        ] {
            assert_eq!(parsed(url), None, "{url}");
        }
    }
}
