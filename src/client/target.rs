//! Which gateway a command talks to: its URL, and who said so.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A WebSocket URL, taken apart once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayUrl {
    /// `wss://` rather than `ws://`.
    pub secure: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path and query for the upgrade, at least `/`.
    pub path: String,
}

/// Why a text is no gateway URL. Display is the reason alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlFault {
    /// User name or password inside the URL.
    Credentials,
    /// No host.
    Host,
    /// A blank, a control character or a letter that no URL has behind the host.
    Path,
    /// A port that is none.
    Port,
    /// Neither `ws://` nor `wss://`.
    Scheme,
}

/// Who named the gateway. Display is the word reported to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlSource {
    /// `--url`.
    Flag,
    /// `OPENCLAW_GATEWAY_URL`.
    Environment,
    /// `gateway.remote.url`.
    Remote,
    /// The gateway of this machine.
    Local,
    /// `--ssh` alone.
    Ssh,
    /// `--host` and `--port` of the node host, or what `node.json` remembers.
    NodeHost,
    /// Discovery, a setup code or `--url`, for a node that joins.
    Join,
}

impl GatewayUrl {
    /// Reads `ws://host[:port][/path]` or `wss://…`.
    ///
    /// # Errors
    /// [`UrlFault`], when the URL could not be used as it stands.
    pub fn parse(text: &str) -> Result<GatewayUrl, UrlFault> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or(UrlFault::Scheme)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "ws" => false,
            "wss" => true,
            _ => return Err(UrlFault::Scheme),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UrlFault::Credentials);
        }
        let (host, port) = split_port(authority)?;
        let default = if secure { 443 } else { 80 };
        let port = match port {
            None | Some("") => default,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or(UrlFault::Port)?,
        };
        // The rest of what a name could hold means something to a shell, and URLs are printed to be pasted.
        let named = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '-' | '_');
        let (address, zone) = host.split_once('%').unwrap_or((host, "0"));
        let is_address = address.parse::<Ipv6Addr>().is_ok() && zone.chars().all(named);
        if host.is_empty() || !(host.chars().all(named) || is_address) {
            return Err(UrlFault::Host);
        }
        let tail = tail.split('#').next().unwrap_or("");
        // It goes into the first line of a request, and to terminals.
        if !tail.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlFault::Path);
        }
        let path = if tail.starts_with('/') {
            tail.to_owned()
        } else {
            format!("/{tail}")
        };
        Ok(GatewayUrl {
            secure,
            host: host.to_owned(),
            port,
            path,
        })
    }

    /// The URL of a host and port.
    pub fn new(host: &str, port: u16, secure: bool) -> GatewayUrl {
        let host = host
            .trim()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        GatewayUrl {
            secure,
            host,
            port,
            path: "/".to_owned(),
        }
    }

    /// The address when the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether the host is this machine by its very form: `localhost`, 127.0.0.0/8, `::1`, or IPv4-mapped loopback.
    pub fn is_loopback(&self) -> bool {
        let name = self.host.trim_end_matches('.');
        name.eq_ignore_ascii_case("localhost")
            || self
                .address()
                .is_some_and(|address| address.to_canonical().is_loopback())
    }

    /// `host:port`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Host (without brackets) and the digits after its colon.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), UrlFault> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(UrlFault::Host)?;
        return match after {
            "" => Ok((host, None)),
            _ => after
                .strip_prefix(':')
                .map(|port| (host, Some(port)))
                .ok_or(UrlFault::Port),
        };
    }
    match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(UrlFault::Host),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

impl fmt::Display for GatewayUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        let path = if self.path == "/" { "" } else { &self.path };
        write!(out, "{scheme}://{}{path}", self.authority())
    }
}

impl fmt::Display for UrlFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            UrlFault::Credentials => "it must not contain a user name or password",
            UrlFault::Host => "it has no usable host",
            UrlFault::Path => "its path holds a blank or another character that no URL has",
            UrlFault::Port => "its port is not a number from 1 to 65535",
            UrlFault::Scheme => "it must start with ws:// or wss://",
        })
    }
}

impl std::error::Error for UrlFault {}

impl fmt::Display for UrlSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            UrlSource::Flag => "cli --url",
            UrlSource::Environment => "env OPENCLAW_GATEWAY_URL",
            UrlSource::Remote => "config gateway.remote.url",
            UrlSource::Local => "local loopback",
            UrlSource::Ssh => "cli --ssh",
            UrlSource::NodeHost => "node host settings",
            UrlSource::Join => "node join",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (text, expected) in [
            ("ws://127.0.0.1:18789", Ok("ws://127.0.0.1:18789")),
            ("WS://Host.example", Ok("ws://Host.example:80")),
            ("wss://gw.example.com/", Ok("wss://gw.example.com:443")),
            (
                "wss://gw.example.com:8443/claw?x=1#y",
                Ok("wss://gw.example.com:8443/claw?x=1"),
            ),
            (" ws://[::1]:18789 ", Ok("ws://[::1]:18789")),
            ("ws://[fd00::1]", Ok("ws://[fd00::1]:80")),
            ("ws://host:", Ok("ws://host:80")),
            ("http://host", Err(UrlFault::Scheme)),
            ("host:18789", Err(UrlFault::Scheme)),
            ("ws://", Err(UrlFault::Host)),
            ("ws://:18789", Err(UrlFault::Host)),
            ("ws://::1:18789", Err(UrlFault::Host)),
            ("ws://a b", Err(UrlFault::Host)),
            ("wss://a$(id)", Err(UrlFault::Host)),
            ("wss://a;reboot", Err(UrlFault::Host)),
            ("wss://a`id`", Err(UrlFault::Host)),
            ("wss://a&b", Err(UrlFault::Host)),
            ("wss://[fe80::1%$(id)]", Err(UrlFault::Host)),
            ("ws://host/a b", Err(UrlFault::Path)),
            (
                "ws://host/x HTTP/1.1\r\nX-Forwarded-For: 10.0.0.1",
                Err(UrlFault::Path),
            ),
            ("ws://host/\u{1b}[2J", Err(UrlFault::Path)),
            ("ws://host/\u{202e}", Err(UrlFault::Path)),
            ("ws://host:0", Err(UrlFault::Port)),
            ("ws://host:65536", Err(UrlFault::Port)),
            ("ws://[::1]x", Err(UrlFault::Port)),
            ("ws://user:pass@host", Err(UrlFault::Credentials)),
        ] {
            let found = GatewayUrl::parse(text).map(|url| url.to_string());
            assert_eq!(found, expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn loopback_by_form() {
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST.", true),
            ("127.0.0.1", true),
            ("127.8.9.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("localhost.example.com", false),
            ("0.0.0.0", false),
            ("::", false),
        ] {
            assert_eq!(
                GatewayUrl::new(host, 1, false).is_loopback(),
                expected,
                "{host}"
            );
        }
    }
}
