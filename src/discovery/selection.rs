//! Which way leads to a gateway: the client policy of the discovery seed ("Transport selection") as one pure
//! function, and the route to what discovery found.
//!
//! What comes from the network only ever becomes an offer to a person, and never permission to go in plaintext
//! over a tailnet or the internet.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::client::GatewayUrl;
use crate::client::ssh::SshTarget;
use crate::discovery::found::{Found, host};
use crate::net::address::{is_private, is_tailnet};

/// What is known before a way is chosen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Situation<'a> {
    /// The endpoint this machine is paired with.
    pub paired: Option<&'a GatewayUrl>,
    /// Whether that one answered just now.
    pub paired_answers: bool,
    /// What discovery found, in both domains.
    pub found: &'a [Found],
    /// A tailnet name or address that the configuration names.
    pub tailnet: Option<&'a GatewayUrl>,
    /// A login on the gateway's host.
    pub ssh: Option<&'a SshTarget>,
}

/// The way, in the seed's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice<'a> {
    /// 1. The paired endpoint answers: use it.
    Paired(&'a GatewayUrl),
    /// 2. Found gateways: let a person choose one, then keep it as the direct endpoint.
    Offer(Vec<Offer<'a>>),
    /// 3. The configured tailnet endpoint: try it.
    Tailnet(&'a GatewayUrl),
    /// 4. Forward the loopback port over SSH.
    Ssh(&'a SshTarget),
    /// Nothing leads anywhere.
    Nowhere,
}

/// A found gateway that can be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer<'a> {
    /// What was found.
    pub found: &'a Found,
    /// Where a connection goes.
    pub url: GatewayUrl,
}

/// Why a found gateway is not connected to. Display says it after its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoute {
    /// It speaks no TLS, and all its addresses are beyond the private networks around this machine.
    Plaintext(IpAddr),
    /// No address of it was found.
    Unresolved,
}

/// Chooses the way.
pub fn choose<'a>(situation: &Situation<'a>) -> Choice<'a> {
    if let Some(paired) = situation.paired.filter(|_| situation.paired_answers) {
        return Choice::Paired(paired);
    }
    let offers: Vec<Offer<'a>> = offers(situation.found).collect();
    if !offers.is_empty() {
        return Choice::Offer(offers);
    }
    match (situation.tailnet, situation.ssh) {
        (Some(tailnet), _) if tailnet.secure => Choice::Tailnet(tailnet),
        (_, Some(target)) => Choice::Ssh(target),
        (_, None) => Choice::Nowhere,
    }
}

/// The found gateways that can be connected to.
pub fn offers(found: &[Found]) -> impl Iterator<Item = Offer<'_>> {
    found.iter().filter_map(|found| {
        let url = route(found).ok()?;
        Some(Offer { found, url })
    })
}

/// Where a connection to a found gateway goes: to a resolved address and port, whatever TXT says. That it says
/// it speaks TLS only decides what is tried there; without TLS only a private address that is no tailnet's will do.
///
/// # Errors
/// [`NoRoute`].
pub fn route(found: &Found) -> Result<GatewayUrl, NoRoute> {
    let best = found.addresses.first().ok_or(NoRoute::Unresolved)?;
    let secure = found.says_tls();
    let near = |address: &&SocketAddr| secure || is_near(address.ip());
    let address = found.addresses.iter().find(near);
    let address = address.ok_or(NoRoute::Plaintext(best.ip()))?;
    Ok(GatewayUrl::new(&host(*address), found.port, secure))
}

/// Whether plaintext to a found address stays on the networks around this machine.
fn is_near(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || (is_private(address) && !is_tailnet(address))
}

impl fmt::Display for NoRoute {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoRoute::Plaintext(address) => {
                let what = match is_tailnet(*address) {
                    true => "a tailnet address",
                    false => "a public address",
                };
                write!(
                    out,
                    "it speaks plaintext ws:// at {address}, {what}: turn on gateway.tls or tailscale serve there, or use --ssh"
                )
            }
            NoRoute::Unresolved => out.write_str("its host has no address here"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::found::LOCAL;

    fn found(addresses: &[&str], tls: bool) -> Found {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        let lies = [
            ("gatewayPort", &b"6666"[..]),
            ("lanHost", b"evil.local"),
            ("tailnetDns", b"evil.ts.net"),
            ("gatewayTlsSha256", b"00"),
        ];
        let tls = tls.then_some(("gatewayTls", &b"1"[..]));
        let txt = lies.into_iter().chain(tls);
        Found::new(b"Pi", LOCAL, "pi.local.", 18_789, addresses, txt)
    }

    #[test]
    fn the_order_of_the_seed() {
        let url = |text: &str| GatewayUrl::parse(text).unwrap();
        let (paired, near) = (url("wss://gw.lan:1"), url("ws://192.168.1.7:18789"));
        let (tailnet, plain) = (url("wss://pi.t.ts.net"), url("ws://pi.t.ts.net"));
        let ssh = SshTarget::parse("pi@gw").unwrap();
        let here = [found(&["192.168.1.7:18789"], false)];
        let far = [
            found(&["100.64.0.7:18789"], false),
            found(&["8.8.8.8:18789"], false),
            found(&[], true),
        ];
        let offer = || {
            Choice::Offer(vec![Offer {
                found: &here[0],
                url: near.clone(),
            }])
        };
        let all = Situation {
            paired: Some(&paired),
            paired_answers: true,
            found: &here,
            tailnet: Some(&tailnet),
            ssh: Some(&ssh),
        };
        let silent = Situation {
            paired_answers: false,
            ..all
        };
        let nothing_found = Situation {
            found: &[],
            ..silent
        };
        let cases = [
            ("1: paired and reachable", all, Choice::Paired(&paired)),
            ("2: paired but silent", silent, offer()),
            (
                "2: not paired",
                Situation {
                    paired: None,
                    paired_answers: false,
                    ..all
                },
                offer(),
            ),
            ("3: nothing found", nothing_found, Choice::Tailnet(&tailnet)),
            (
                "3: only plaintext on tailnet and public routes, and unresolved",
                Situation {
                    found: &far,
                    ..silent
                },
                Choice::Tailnet(&tailnet),
            ),
            (
                "4: plaintext to the tailnet is no way",
                Situation {
                    tailnet: Some(&plain),
                    ..nothing_found
                },
                Choice::Ssh(&ssh),
            ),
            (
                "4: no tailnet",
                Situation {
                    tailnet: None,
                    ..nothing_found
                },
                Choice::Ssh(&ssh),
            ),
            (
                "nothing at all",
                Situation {
                    tailnet: Some(&plain),
                    ssh: None,
                    ..nothing_found
                },
                Choice::Nowhere,
            ),
            ("nothing known", Situation::default(), Choice::Nowhere),
        ];
        for (name, situation, expected) in cases {
            assert_eq!(choose(&situation), expected, "{name}");
        }
    }

    #[test]
    fn a_route_is_resolved_and_never_plaintext_beyond_the_private_networks() {
        let tailnet = "100.100.1.2".parse().unwrap();
        let tailnet_v6 = "fd7a:115c:a1e0::7".parse().unwrap();
        let public = "8.8.8.8".parse().unwrap();
        for (addresses, tls, expected) in [
            (vec!["192.168.1.7:1"], false, Ok("ws://192.168.1.7:18789")),
            (vec!["192.168.1.7:1"], true, Ok("wss://192.168.1.7:18789")),
            (vec!["[fd00::7]:1"], false, Ok("ws://[fd00::7]:18789")),
            (vec!["[fe80::7%3]:1"], false, Ok("ws://[fe80::7%3]:18789")),
            (vec!["127.0.0.1:1"], false, Err(NoRoute::Unresolved)),
            (vec!["100.100.1.2:1"], true, Ok("wss://100.100.1.2:18789")),
            (vec!["8.8.8.8:1"], true, Ok("wss://8.8.8.8:18789")),
            (
                vec!["100.100.1.2:1"],
                false,
                Err(NoRoute::Plaintext(tailnet)),
            ),
            (
                vec!["[fd7a:115c:a1e0::7]:1"],
                false,
                Err(NoRoute::Plaintext(tailnet_v6)),
            ),
            (vec!["8.8.8.8:1"], false, Err(NoRoute::Plaintext(public))),
            (
                vec!["100.100.1.2:1", "8.8.8.8:1", "[fd00::7]:1"],
                false,
                Ok("ws://[fd00::7]:18789"),
            ),
            (vec![], true, Err(NoRoute::Unresolved)),
        ] {
            let found = route(&found(&addresses, tls)).map(|url| url.to_string());
            assert_eq!(found, expected.map(str::to_owned), "{addresses:?} {tls}");
        }
    }
}
