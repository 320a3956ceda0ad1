//! Where pages may be sent: schemes, and addresses that only this machine or its network can reach
//! (node-host specification, section 4.4, "Navigation guard").
//!
//! What is sent somewhere by a caller is `http:`, `https:` or `about:blank`; what a page shows beside that is a document
//! made by pages themselves: `about:srcdoc`, `data:`, `blob:`. The ports where browsers are debugged are nobody's,
//! whatever the policy says: who reaches one reads every file of this user. The judgement is pure over the addresses
//! that a host has; only [`check`] looks them up.
//!
//! What is judged here once is dialled by [`super::outlet`], for browsers that this program starts. One that somebody else
//! started looks names up itself: a name that is public here and private there (DNS rebinding) can be read through its
//! workers, or when the page has moved on.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::addresses::{ends_in_number, is_internal, is_own, literal};
use super::endpoint::Endpoint;
use super::error::BrowserError;
use crate::net::NetError;
use crate::net::dial::resolve;

/// How long looking up a host may take.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// The page of a tab that shows nothing.
pub const BLANK: &str = "about:blank";

/// What a browser shows a PDF with.
const VIEWER: &str = "chrome-extension://mhjfbmdgcfjbbpaeojofohoefgiehjai/";

/// Letters of a host at most (RFC 1035).
const MAX_HOST: usize = 253;

/// `browser.ssrfPolicy`, and what no policy allows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// `dangerouslyAllowPrivateNetwork`: every address.
    pub private_network: bool,
    /// `allowedHostnames` and `hostnameAllowlist`, lower-case: these hosts wherever they are; `*.example.org`
    /// is every host below `example.org`.
    pub hosts: Vec<String>,
    /// Where browsers of this node host are debugged, or were: no page gets there.
    pub debuggers: BTreeSet<Site>,
}

/// A place of the web that a page may be at if its host passes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site {
    /// The host, lower-case, without brackets and without a final dot.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// What is known of a place without a look at the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It depends on the addresses of the host.
    LookUp,
    /// Pages may be there.
    Passes,
    /// Pages may not.
    Refused,
}

/// Reads the URL of a navigation; `None` for `about:blank`.
///
/// # Errors
/// [`BrowserError::InvalidUrl`] and [`BrowserError::UnsupportedProtocol`].
pub fn destination(url: &str) -> Result<Option<Site>, BrowserError> {
    let invalid = || BrowserError::InvalidUrl(url.to_owned());
    let text = url.trim();
    if text.eq_ignore_ascii_case(BLANK) {
        return Ok(None);
    }
    let (scheme, rest) = text.split_once(':').ok_or_else(invalid)?;
    let named = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !named {
        return Err(invalid());
    }
    let scheme = scheme.to_ascii_lowercase();
    let usual = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return Err(BrowserError::UnsupportedProtocol(format!("{scheme}:"))),
    };
    // Browsers take any number of slashes of either kind here, and drop white space inside.
    if rest.contains(|letter: char| letter.is_control() || letter == ' ') {
        return Err(invalid());
    }
    let rest = rest.trim_start_matches(['/', '\\']);
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let place = authority
        .rsplit_once('@')
        .map_or(authority, |(_, place)| place);
    site_of(place, usual).map(Some).ok_or_else(invalid)
}

/// Reads the URL of a document that a page or a frame shows; `None` for one that came from no place of the web.
///
/// # Errors
/// As [`destination`].
pub fn document(url: &str) -> Result<Option<Site>, BrowserError> {
    let is = |name: &str| {
        let rest = url.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['#', '?']))
    };
    let made = is("") || is(BLANK) || is("about:srcdoc") || url.starts_with("data:");
    if made || url.starts_with(VIEWER) {
        return Ok(None);
    }
    match url.strip_prefix("blob:") {
        // Of an origin that is nobody's.
        Some(inner) if inner.starts_with("null/") => Ok(None),
        Some(inner) => destination(inner),
        None => destination(url),
    }
}

/// Judges where a navigation goes, with a look at the addresses of its host.
///
/// # Errors
/// As [`destination`] and [`check_site`].
pub fn check(policy: &Policy, url: &str, deadline: Instant) -> Result<(), BrowserError> {
    match destination(url)? {
        Some(site) => check_site(policy, &site, deadline),
        None => Ok(()),
    }
}

/// Judges a place of the web, with a look at the addresses of its host.
///
/// # Errors
/// [`BrowserError::Blocked`]; [`BrowserError::NotLoaded`] for a host without addresses; [`BrowserError::TimedOut`] when
/// the request's time is over first.
pub fn check_site(policy: &Policy, site: &Site, deadline: Instant) -> Result<(), BrowserError> {
    match policy.verdict(site) {
        Verdict::Passes => return Ok(()),
        Verdict::Refused => return Err(BrowserError::Blocked),
        Verdict::LookUp => {}
    }
    let until = deadline.min(Instant::now() + LOOKUP_LIMIT);
    let found = match addresses(&site.host, until) {
        Ok(found) => found,
        Err(NetError::TimedOut) if Instant::now() >= deadline => {
            return Err(BrowserError::TimedOut);
        }
        Err(_) => {
            let reason = "net::ERR_NAME_NOT_RESOLVED".to_owned();
            return Err(BrowserError::NotLoaded(reason, site.host.clone()));
        }
    };
    if policy.passes(site, &found) {
        Ok(())
    } else {
        Err(BrowserError::Blocked)
    }
}

/// The addresses of a host.
///
/// # Errors
/// As [`resolve`].
pub fn addresses(host: &str, deadline: Instant) -> Result<Vec<IpAddr>, NetError> {
    let found = resolve(host, 0, deadline)?;
    Ok(found.iter().map(|address| address.ip()).collect())
}

/// Whether a host, other than an IPv6 address, may have this byte. Escapes and full-width letters are read in the
/// browser's own way, and others in the dialler's: nothing that needs that is judged.
pub fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
}

/// The host of a cookie's domain, which may begin with a dot; `None` for what is no host.
pub fn domain_host(domain: &str) -> Option<String> {
    let host = domain.strip_prefix('.').unwrap_or(domain);
    site_of(host, 0).map(|site| site.host)
}

/// Reads `host[:port]`.
fn site_of(text: &str, usual: u16) -> Option<Site> {
    let (host, port) = match text.strip_prefix('[') {
        Some(inside) => {
            let (address, after) = inside.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (
                address,
                after.strip_prefix(':').or(after.is_empty().then_some(""))?,
            )
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = match port {
        "" => usual,
        port => port.parse().ok()?,
    };
    place(host, port)
}

/// The place of a host, which is a name or an address without brackets; `None` for what is no host.
pub fn place(host: &str, port: u16) -> Option<Site> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let plain = |byte: u8| is_of_host(byte) || byte == b':';
    let parts = !host.is_empty() && !host.ends_with('.') && host.len() <= MAX_HOST;
    if !parts || !host.bytes().all(plain) {
        return None;
    }
    let host = host.to_ascii_lowercase();
    // What browsers take for no host at all may be one to others.
    let number = !host.contains(':') && ends_in_number(&host) && literal(&host).is_none();
    (!number).then_some(Site { host, port })
}

impl Site {
    /// Where a browser is debugged.
    pub fn of(endpoint: &Endpoint) -> Self {
        Self {
            host: endpoint.host.to_ascii_lowercase(),
            port: endpoint.port,
        }
    }

    /// Whether another place may be this one.
    fn is_at(&self, other: &Self, addresses: &[IpAddr]) -> bool {
        if self.port != other.port {
            return false;
        }
        let own = |site: &Self, addresses: &[IpAddr]| {
            is_this_machine(&site.host) || addresses.iter().copied().any(is_own)
        };
        let address = literal(&self.host);
        let known: Vec<IpAddr> = address.into_iter().collect();
        self.host == other.host
            || address.is_some_and(|address| addresses.contains(&address))
            || (own(self, &known) && own(other, addresses))
    }
}

impl Policy {
    /// Whether the operator lets pages go to a host, wherever that is.
    pub fn trusts(&self, host: &str) -> bool {
        self.private_network
            || self
                .hosts
                .iter()
                .any(|allowed| match allowed.strip_prefix("*.") {
                    Some(domain) => host
                        .strip_suffix(domain)
                        .is_some_and(|below| below.ends_with('.') && below.len() > 1),
                    None => allowed == host,
                })
    }

    /// What is known of a place without a look at the addresses of its host.
    pub fn verdict(&self, site: &Site) -> Verdict {
        let verdict = |passes| match passes {
            true => Verdict::Passes,
            false => Verdict::Refused,
        };
        if let Some(address) = literal(&site.host) {
            return verdict(self.passes(site, &[address]));
        }
        let beside = self.debuggers.iter().any(|own| own.port == site.port);
        if !self.passes(site, &[]) {
            Verdict::Refused
        } else if self.trusts(&site.host) && !beside {
            Verdict::Passes
        } else {
            Verdict::LookUp
        }
    }

    /// Whether pages may be at a host on some port, as far as that is known without a look at its addresses.
    pub fn may_know(&self, host: &str) -> bool {
        let site = Site {
            host: host.to_owned(),
            port: 0,
        };
        self.verdict(&site) != Verdict::Refused
    }

    /// Whether pages may be at a place whose host has these addresses.
    pub fn passes(&self, site: &Site, addresses: &[IpAddr]) -> bool {
        if self.debuggers.iter().any(|own| own.is_at(site, addresses)) {
            return false;
        }
        let internal = || is_local_name(&site.host) || addresses.iter().copied().any(is_internal);
        self.trusts(&site.host) || !internal()
    }
}

/// Names of this machine whatever the resolver says.
fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// Names that mean this machine or its network whatever the resolver says.
fn is_local_name(host: &str) -> bool {
    is_this_machine(host)
        || [".local", ".internal"]
            .iter()
            .any(|end| host.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(host: &str, port: u16) -> Site {
        Site {
            host: host.to_owned(),
            port,
        }
    }

    fn read(found: Result<Option<Site>, BrowserError>) -> Result<Option<(String, u16)>, String> {
        found
            .map(|found| found.map(|site| (site.host, site.port)))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn only_pages_of_the_web_are_destinations() {
        for (url, expected) in [
            ("http://Example.org/a?b#c", Some(("example.org", 80))),
            (
                "https://user:pw@example.org.:8443",
                Some(("example.org", 8443)),
            ),
            ("https:///\\example.org\\x", Some(("example.org", 443))),
            ("http://[::1]:80/", Some(("::1", 80))),
            ("http://evil@10.0.0.1#@example.org", Some(("10.0.0.1", 80))),
            (
                "http://xn--bcher-kva.example/",
                Some(("xn--bcher-kva.example", 80)),
            ),
            ("http://127.0.0.1./", Some(("127.0.0.1", 80))),
            ("http://LOCALHOST./", Some(("localhost", 80))),
            ("http://0x7F.1:1/", Some(("0x7f.1", 1))),
            (" about:blank ", None),
            ("ABOUT:BLANK", None),
        ] {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(read(destination(url)), Ok(expected), "{url}");
        }
        let unsupported =
            |scheme: &str| format!("Navigation blocked: unsupported protocol \"{scheme}\"");
        for (url, scheme) in [
            ("file:///etc/passwd", "file:"),
            ("JavaScript:alert(1)", "javascript:"),
            ("view-source:http://a", "view-source:"),
            ("about:version", "about:"),
            ("about:blank#x", "about:"),
            ("data:text/html,x", "data:"),
            ("blob:http://a/b", "blob:"),
        ] {
            assert_eq!(read(destination(url)), Err(unsupported(scheme)), "{url}");
        }
        for url in [
            "nonsense",
            "http://",
            "http://a b/",
            "http://a:99999/",
            "http://%31%32%37.1/",
            "http://[::1",
            "http://1\t0.0.0.1/",
            "http://localhost../",
            "http://./",
            "http://127.0.0.08/",
            "http://a.256/",
            "http://\u{ff11}27.0.0.1/",
            "http://127\u{3002}0.0.1/",
            "http://l\u{00ad}ocalhost/",
            "http://b\u{fc}cher.example/",
        ] {
            let invalid = Err(format!("Invalid URL: {url}"));
            assert_eq!(read(destination(url)), invalid, "{url}");
        }
    }

    #[test]
    fn documents_are_of_the_web_or_made_by_pages() {
        for url in [
            "",
            "about:blank",
            "about:blank#blocked",
            "about:srcdoc",
            "data:text/html,<p>",
            "blob:null/0b1e",
            "chrome-extension://mhjfbmdgcfjbbpaeojofohoefgiehjai/index.html",
        ] {
            assert_eq!(read(document(url)), Ok(None), "{url}");
        }
        for url in ["http://a.example:81/x", "blob:http://a.example:81/0b1e"] {
            let expected = Some(("a.example".to_owned(), 81));
            assert_eq!(read(document(url)), Ok(expected), "{url}");
        }
        for url in [
            "file:///etc/passwd",
            "blob:file:///x",
            "filesystem:http://a/temporary/x",
            "view-source:http://a/",
            "javascript:1",
            "chrome://version/",
            "devtools://devtools/bundled/inspector.html",
            "chrome-extension://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/x.html",
            "about:version",
            "about:blanket",
        ] {
            assert!(document(url).is_err(), "{url}");
        }
    }

    #[test]
    fn one_address_of_this_network_is_enough_and_so_is_its_name() {
        let policy = Policy::default();
        let addresses = |list: &[&str]| -> Vec<IpAddr> {
            list.iter().map(|text| text.parse().unwrap()).collect()
        };
        let named = site("a.example", 80);
        assert!(policy.passes(&named, &addresses(&["8.8.8.8"])));
        assert!(!policy.passes(&named, &addresses(&["8.8.8.8", "10.0.0.1"])));
        assert_eq!(policy.verdict(&named), Verdict::LookUp);
        for host in [
            "localhost",
            "a.localhost",
            "printer.local",
            "metadata.google.internal",
        ] {
            let place = site(host, 80);
            assert!(!policy.passes(&place, &addresses(&["8.8.8.8"])), "{host}");
            assert_eq!(policy.verdict(&place), Verdict::Refused, "{host}");
        }
        for (host, expected) in [
            ("8.8.8.8", Verdict::Passes),
            ("0x08080808", Verdict::Passes),
            ("2130706433", Verdict::Refused),
            ("::ffff:7f00:1", Verdict::Refused),
        ] {
            assert_eq!(policy.verdict(&site(host, 80)), expected, "{host}");
        }
    }

    #[test]
    fn hosts_that_the_operator_named_pass() {
        let policy = Policy {
            hosts: vec!["127.0.0.1".to_owned(), "*.lan.example".to_owned()],
            ..Policy::default()
        };
        let inside = ["10.0.0.1".parse().unwrap()];
        for (host, passes) in [
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("127.1", false),
            ("a.lan.example", true),
            ("lan.example", false),
            ("evillan.example", false),
        ] {
            assert_eq!(policy.passes(&site(host, 80), &inside), passes, "{host}");
        }
        let open = Policy {
            private_network: true,
            ..Policy::default()
        };
        assert!(open.passes(&site("localhost", 80), &inside));
        assert_eq!(open.verdict(&site("a.example", 80)), Verdict::Passes);
    }

    #[test]
    fn no_policy_leads_to_a_debugger() {
        let policy = Policy {
            private_network: true,
            hosts: vec!["localhost".to_owned()],
            debuggers: [site("127.0.0.1", 18_800), site("10.0.0.9", 9222)].into(),
        };
        for (host, port, expected) in [
            ("127.0.0.1", 18_800, Verdict::Refused),
            ("127.8.8.8", 18_800, Verdict::Refused),
            ("0.0.0.0", 18_800, Verdict::Refused),
            ("2130706433", 18_800, Verdict::Refused),
            ("::1", 18_800, Verdict::Refused),
            ("::ffff:127.0.0.1", 18_800, Verdict::Refused),
            ("localhost", 18_800, Verdict::Refused),
            ("a.localhost", 18_800, Verdict::Refused),
            ("10.0.0.9", 9222, Verdict::Refused),
            ("10.0.0.9", 18_800, Verdict::Passes),
            ("127.0.0.1", 9222, Verdict::Passes),
            ("127.0.0.1", 80, Verdict::Passes),
            ("a.example", 80, Verdict::Passes),
            ("a.example", 18_800, Verdict::LookUp),
        ] {
            assert_eq!(policy.verdict(&site(host, port)), expected, "{host} {port}");
        }
        let led = ["127.0.0.1".parse().unwrap()];
        assert!(!policy.passes(&site("a.example", 18_800), &led));
        assert!(policy.passes(&site("a.example", 80), &led));
    }
}
