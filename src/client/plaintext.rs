//! The plaintext rule: `ws://` only to this machine, or with an opt-in to private addresses, and then the connection
//! goes to exactly the addresses that were checked (cli.md §1.2, node-host §1.5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use crate::client::budget::Budget;
use crate::client::error::ClientError;
use crate::client::target::{GatewayUrl, UrlSource};
use crate::client::transport::failure;
use crate::net::address::{is_private, is_tailnet};
use crate::net::{NetError, dial};

/// Addresses to connect to, in order, after the rule was applied to every one of them.
///
/// # Errors
/// [`ClientError::Plaintext`] when the rule forbids it, [`ClientError::Unresolvable`] when the name has no address,
/// [`ClientError::Timeout`] when finding it took beyond the budget.
pub fn addresses(
    url: &GatewayUrl,
    source: UrlSource,
    opted_in: bool,
    budget: &Budget,
) -> Result<Vec<SocketAddr>, ClientError> {
    let rule = Rule {
        opted_in,
        joins: source == UrlSource::Join,
    };
    let refused = |why: &str, helps: bool| ClientError::Plaintext {
        url: url.to_string(),
        host: url.host.clone(),
        source,
        opted_in: !helps,
        why: why.to_owned(),
    };
    if let Some(address) = url.address() {
        if !url.secure && !rule.permits(address) {
            return Err(refused(rule.reason(address), rule.opt_in_helps(address)));
        }
        return Ok(vec![SocketAddr::new(address, url.port)]);
    }
    if url.is_loopback() {
        let both = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        return Ok(both
            .map(|address| SocketAddr::new(address, url.port))
            .to_vec());
    }
    if !url.secure && !opted_in {
        let why = "a host name other than localhost needs the opt-in";
        return Err(refused(why, true));
    }
    let deadline = budget.at_most(budget.steps().lookup);
    let found = dial::resolve(&url.host, url.port, deadline).map_err(|error| match error {
        NetError::TimedOut if Instant::now() < budget.deadline() => ClientError::Unresolvable {
            host: url.host.clone(),
        },
        error => failure(error, &url.authority(), budget),
    })?;
    let foreign = found.iter().find(|found| !rule.permits(found.ip()));
    match foreign {
        Some(foreign) if !url.secure => {
            let address = foreign.ip();
            let why = format!("it resolves to {address}, {}", rule.reason(address));
            Err(refused(&why, false))
        }
        _ => Ok(found),
    }
}

/// To whom plaintext may go.
#[derive(Clone, Copy)]
struct Rule {
    /// `OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1`.
    opted_in: bool,
    /// A node joins: what it was told by others on the network is no permission for a tailnet route (discovery seed).
    joins: bool,
}

impl Rule {
    fn permits(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || (self.opted_in && self.can_opt_in(address))
    }

    fn can_opt_in(self, address: IpAddr) -> bool {
        is_private(address) && !(self.joins && is_tailnet(address))
    }

    /// Whether a refusal may advise the opt-in: to a node that joins only where it would help.
    fn opt_in_helps(self, address: IpAddr) -> bool {
        !self.opted_in && (!self.joins || self.can_opt_in(address))
    }

    fn reason(self, address: IpAddr) -> &'static str {
        let address = address.to_canonical();
        match (is_private(address), self.opted_in) {
            (true, _) if self.joins && is_tailnet(address) => {
                "an address of a tailnet, where a node joins through wss:// only"
            }
            (true, false) => "a private address, which needs the opt-in",
            _ => "a public address",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check(url: &str, opted_in: bool) -> Result<Vec<String>, String> {
        check_of(UrlSource::Flag, url, opted_in)
    }

    fn check_of(source: UrlSource, url: &str, opted_in: bool) -> Result<Vec<String>, String> {
        let url = GatewayUrl::parse(url).unwrap();
        let budget = Budget::new(Duration::from_secs(10));
        addresses(&url, source, opted_in, &budget)
            .map(|found| found.iter().map(SocketAddr::to_string).collect())
            .map_err(|error| match error {
                ClientError::Plaintext { why, .. } => why,
                other => other.to_string(),
            })
    }

    #[test]
    fn the_rule() {
        let public = Err("a public address");
        let private = Err("a private address, which needs the opt-in");
        for (url, opted_in, expected) in [
            ("ws://127.0.0.1:1", false, Ok("127.0.0.1:1")),
            ("ws://[::1]:1", false, Ok("[::1]:1")),
            (
                "ws://[::ffff:127.0.0.1]:1",
                false,
                Ok("[::ffff:127.0.0.1]:1"),
            ),
            ("ws://10.1.2.3:1", false, private),
            ("ws://10.1.2.3:1", true, Ok("10.1.2.3:1")),
            ("ws://172.31.0.1:1", true, Ok("172.31.0.1:1")),
            ("ws://172.32.0.1:1", true, public),
            ("ws://192.168.1.1:1", true, Ok("192.168.1.1:1")),
            ("ws://169.254.1.1:1", true, Ok("169.254.1.1:1")),
            ("ws://100.64.0.1:1", true, Ok("100.64.0.1:1")),
            ("ws://100.128.0.1:1", true, public),
            ("ws://[fd00::1]:1", true, Ok("[fd00::1]:1")),
            ("ws://[fe80::1]:1", true, Ok("[fe80::1]:1")),
            ("ws://[2001:db8::1]:1", true, public),
            ("ws://[::]:1", true, public),
            ("ws://0.0.0.0:1", true, public),
            ("ws://8.8.8.8:1", true, public),
            ("ws://8.8.8.8:1", false, public),
            ("wss://8.8.8.8:1", false, Ok("8.8.8.8:1")),
            (
                "ws://gateway.example:1",
                false,
                Err("a host name other than localhost needs the opt-in"),
            ),
        ] {
            let found = check(url, opted_in);
            let expected = expected
                .map(|one: &str| vec![one.to_owned()])
                .map_err(str::to_owned);
            assert_eq!(found, expected, "{url} {opted_in}");
        }
    }

    #[test]
    fn localhost_is_both_loopback_addresses_without_asking_anybody() {
        let expected = vec!["127.0.0.1:7".to_owned(), "[::1]:7".to_owned()];
        assert_eq!(check("ws://localhost:7", false), Ok(expected));
    }

    #[test]
    fn a_node_that_joins_never_speaks_plaintext_on_a_tailnet() {
        let tailnet = "an address of a tailnet, where a node joins through wss:// only";
        for (url, opted_in, refusal) in [
            ("ws://100.64.0.1:1", true, Some(tailnet)),
            ("ws://100.64.0.1:1", false, Some(tailnet)),
            ("ws://[fd7a:115c:a1e0::1]:1", true, Some(tailnet)),
            ("ws://[::ffff:100.100.1.1]:1", true, Some(tailnet)),
            ("ws://8.8.8.8:1", true, Some("a public address")),
            (
                "ws://10.1.2.3:1",
                false,
                Some("a private address, which needs the opt-in"),
            ),
            ("ws://10.1.2.3:1", true, None),
            ("ws://[fd7a:115c:a1e1::1]:1", true, None),
            ("ws://127.0.0.1:1", false, None),
            ("wss://100.64.0.1:1", false, None),
        ] {
            let refused = check_of(UrlSource::Join, url, opted_in).err();
            assert_eq!(refused.as_deref(), refusal, "{url} {opted_in}");
        }
        // What would not help is not advised.
        let advised = |url: &str| {
            let url = GatewayUrl::parse(url).unwrap();
            let budget = Budget::new(Duration::from_secs(10));
            let error = addresses(&url, UrlSource::Join, false, &budget).unwrap_err();
            error
                .to_string()
                .contains("OPENCLAW_ALLOW_INSECURE_PRIVATE_WS=1")
        };
        assert!(advised("ws://10.1.2.3:1") && !advised("ws://100.64.0.1:1"));
        assert!(!advised("ws://8.8.8.8:1"));
    }
}
