//! Whether a browser's `Origin` may open a gateway connection (protocol.md §4.6).
//!
//! Pure decisions over the request head; what stops a page of somebody else's from using a browser on
//! this host.

use std::net::IpAddr;

use crate::gateway::locality::{Locality, RequestHeaders};

/// Which origins may open a gateway connection (`gateway.controlUi.*`).
#[derive(Clone, Debug, Default)]
pub struct OriginPolicy {
    /// Exact origins, or `*`; compared without case.
    pub allowed: Vec<String>,
    /// Accept an origin whose host equals the `Host` header.
    pub host_header_fallback: bool,
}

/// Why an origin was refused; the text is `details.reason` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginFault {
    /// No `Origin` where one is needed, or not an origin.
    MissingOrInvalid,
    /// A well-formed origin that nothing allows.
    NotAllowed,
}

impl OriginFault {
    /// The value of `details.reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::MissingOrInvalid => "origin missing or invalid",
            Self::NotAllowed => "origin not allowed",
        }
    }
}

/// The origin check of §4.6. `browser_client` says that the client names itself a Control UI or
/// webchat client; any other client is checked only when it sends an `Origin`.
pub fn check_origin(
    headers: &RequestHeaders,
    policy: &OriginPolicy,
    browser_client: bool,
    locality: Locality,
) -> Result<(), OriginFault> {
    if !headers.has_origin() && !browser_client {
        return Ok(());
    }
    let origin = headers.origin().map(str::trim).unwrap_or_default();
    let authority = origin_authority(origin).ok_or(OriginFault::MissingOrInvalid)?;
    let listed = policy
        .allowed
        .iter()
        .map(|entry| entry.trim())
        .any(|entry| entry == "*" || canonical(entry).eq_ignore_ascii_case(canonical(origin)));
    let same_host = policy.host_header_fallback
        && headers.host().is_some_and(|host| {
            let host = without_default_port(origin, host.trim());
            host.eq_ignore_ascii_case(without_default_port(origin, authority))
        });
    let local = locality == Locality::DirectLocal && is_loopback_host(host_name(authority));
    if listed || same_host || local {
        Ok(())
    } else {
        Err(OriginFault::NotAllowed)
    }
}

/// An origin as browsers write it: a person may add the slash of the address bar or the port that the
/// scheme implies.
fn canonical(origin: &str) -> &str {
    let origin = origin.strip_suffix('/').unwrap_or(origin);
    without_default_port(origin, origin)
}

/// `text` without the port that the scheme of `origin` implies.
fn without_default_port<'a>(origin: &str, text: &'a str) -> &'a str {
    let scheme = origin.split("://").next().unwrap_or_default();
    let implied = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => ":80",
        "https" | "wss" => ":443",
        _ => return text,
    };
    text.strip_suffix(implied).unwrap_or(text)
}

/// `host[:port]` of a serialized origin `scheme://host[:port]`; `None` for `null`, a path, a user or
/// anything else that is not exactly that.
pub fn origin_authority(origin: &str) -> Option<&str> {
    let (scheme, authority) = origin.split_once("://")?;
    let scheme_ok = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let authority_ok = !host_name(authority).is_empty()
        && !authority
            .contains(|c: char| "/?#@\\".contains(c) || c.is_whitespace() || c.is_control());
    (scheme_ok && authority_ok).then_some(authority)
}

/// The host of `host[:port]` or `[v6][:port]`, without brackets.
pub fn host_name(authority: &str) -> &str {
    let authority = authority.trim();
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.chars().all(|c| c.is_ascii_digit()) => {
            host
        }
        _ => authority,
    }
}

/// A name or address of this host.
pub fn is_loopback_host(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: Option<&str>, origin: Option<&str>) -> RequestHeaders {
        let host = host.map(|host| ("host", host));
        let origin = origin.map(|origin| ("origin", origin));
        RequestHeaders {
            forwarded: false,
            lines: host.into_iter().chain(origin).collect(),
        }
    }

    #[test]
    #[rustfmt::skip]
    fn origins_are_judged_by_list_host_and_locality() {
        use Locality::{DirectLocal, Remote};
        use OriginFault::{MissingOrInvalid, NotAllowed};
        let list = ["https://UI.example.com", "http://other:8080"];
        for (origin, host, browser, locality, allowed, fallback, expected) in [
            (None, None, false, Remote, &list[..], false, Ok(())),
            (None, None, true, DirectLocal, &list[..], false, Err(MissingOrInvalid)),
            (Some("null"), None, false, DirectLocal, &list[..], false, Err(MissingOrInvalid)),
            (Some(""), None, false, DirectLocal, &list[..], false, Err(MissingOrInvalid)),
            (Some("https://a/b"), None, false, Remote, &list[..], false, Err(MissingOrInvalid)),
            (Some("https://u@a"), None, false, Remote, &list[..], false, Err(MissingOrInvalid)),
            (Some("https://ui.example.com"), None, true, Remote, &list[..], false, Ok(())),
            (Some("https://evil"), None, false, Remote, &["*"][..], false, Ok(())),
            (Some("null"), None, false, Remote, &["*"][..], false, Err(MissingOrInvalid)),
            (Some("https://evil"), Some("evil"), false, Remote, &[][..], false, Err(NotAllowed)),
            (Some("https://evil:1"), Some("evil:1"), false, Remote, &[][..], true, Ok(())),
            (Some("https://evil"), Some("evil:1"), false, Remote, &[][..], true, Err(NotAllowed)),
            (Some("HTTPS://Evil:1"), Some("eVIL:1"), false, Remote, &[][..], true, Ok(())),
            (Some("https://evil"), Some("evil:443"), false, Remote, &[][..], true, Ok(())),
            (Some("https://evil"), Some("evil:80"), false, Remote, &[][..], true, Err(NotAllowed)),
            (Some("http://[2001:db8::1]:8080"), Some("[2001:DB8::1]:8080"), false, Remote, &[][..], true, Ok(())),
            (Some("http://[2001:db8::1]"), Some("[2001:db8::2]"), false, Remote, &[][..], true, Err(NotAllowed)),
            (Some("https://evil"), None, false, Remote, &[][..], true, Err(NotAllowed)),
            (Some("https://a"), None, false, Remote, &["https://a/"][..], false, Ok(())),
            (Some("https://a"), None, false, Remote, &["https://a:443"][..], false, Ok(())),
            (Some("https://a:8443"), None, false, Remote, &["https://a"][..], false, Err(NotAllowed)),
            (Some("http://a"), None, false, Remote, &["https://a"][..], false, Err(NotAllowed)),
            (Some("https://aa"), None, false, Remote, &["https://a"][..], false, Err(NotAllowed)),
            (Some("https://a.b"), None, false, Remote, &["https://b"][..], false, Err(NotAllowed)),
            (Some("http://[2001:DB8::1]"), None, false, Remote, &["http://[2001:db8::1]"][..], false, Ok(())),
            (Some("file://"), None, false, DirectLocal, &["*"][..], false, Err(MissingOrInvalid)),
            (Some("http://[::ffff:127.0.0.1]"), None, true, DirectLocal, &[][..], false, Ok(())),
            (Some("http://[::2]"), None, true, DirectLocal, &[][..], false, Err(NotAllowed)),
            (Some("http://LOCALHOST"), None, true, DirectLocal, &[][..], false, Ok(())),
            (Some("http://localhost"), None, true, Locality::BrowserContainerLocal, &[][..], false, Err(NotAllowed)),
            (Some("http://localhost:3000"), None, true, DirectLocal, &[][..], false, Ok(())),
            (Some("http://127.0.0.2"), None, true, DirectLocal, &[][..], false, Ok(())),
            (Some("http://[::1]:18789"), None, true, DirectLocal, &[][..], false, Ok(())),
            (Some("http://localhost"), None, true, Remote, &[][..], false, Err(NotAllowed)),
            (Some("http://localhost.evil"), None, true, DirectLocal, &[][..], false, Err(NotAllowed)),
            (Some("http://evil"), Some("localhost"), false, DirectLocal, &[][..], false, Err(NotAllowed)),
        ] {
            let policy = OriginPolicy {
                allowed: allowed.iter().map(|&entry| entry.to_owned()).collect(),
                host_header_fallback: fallback,
            };
            let verdict = check_origin(&headers(host, origin), &policy, browser, locality);
            assert_eq!(verdict, expected, "{origin:?} host={host:?} {locality:?}");
        }
    }

    #[test]
    fn two_origins_are_none() {
        let mut lines = vec![
            ("host", "gw"),
            ("origin", "https://a"),
            ("origin", "https://b"),
        ];
        let policy = OriginPolicy {
            allowed: vec!["*".to_owned()],
            host_header_fallback: true,
        };
        let verdict = |lines: &[(&str, &str)]| {
            let headers = RequestHeaders {
                forwarded: false,
                lines: lines.iter().copied().collect(),
            };
            check_origin(&headers, &policy, false, Locality::Remote)
        };
        assert_eq!(verdict(&lines), Err(OriginFault::MissingOrInvalid));
        lines.pop();
        assert_eq!(verdict(&lines), Ok(()));
    }
}
