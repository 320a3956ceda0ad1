//! The identity of a tailnet's user: Tailscale Serve names the user, and the tailnet confirms whose the
//! address is (protocol.md §4.1, last row).
//!
//! It counts only for who sent no shared credential and comes through a proxy on this host. What the
//! headers say is a claim; without the tailnet's word it is nothing.

use std::net::IpAddr;

use crate::gateway::admission::Arrival;
use crate::gateway::auth::{AuthMethod, SharedAuth};
use crate::gateway::auth_reason::AuthReason;
use crate::gateway::credentials::Credentials;
use crate::gateway::forwarded::{ProxyTrust, is_given};
use crate::gateway::locality::Locality;
use crate::gateway::whois::{Whois, WhoisFault};
use crate::net::Headers;

/// The headers that Tailscale Serve always adds.
const SERVED: [&str; 3] = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];

/// The header in which it names the user.
const LOGIN: &str = "tailscale-user-login";

/// Who a request is said to come from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim<'a> {
    address: IpAddr,
    login: &'a str,
}

/// Step 1 of §4.2 for a connection whose shared credentials did not suffice: what the tailnet says about it,
/// else `verdict` as it was.
pub fn or_tailnet_user(
    whois: &Whois,
    auth: &SharedAuth,
    arrival: &Arrival,
    sent: &Credentials,
    verdict: Result<AuthMethod, AuthReason>,
) -> Result<AuthMethod, AuthReason> {
    let applies = whois.is_enabled()
        && matches!(auth, SharedAuth::Password(_) | SharedAuth::Token(_))
        && arrival.place.locality != Locality::DirectLocal
        && !sent.names_shared_secret();
    if !applies {
        return verdict;
    }
    match claim(arrival.peer, &arrival.headers.lines)? {
        Some(claim) => confirm(&claim, whois.login(claim.address)),
        None => verdict,
    }
}

/// The claim of a request; `None` when nothing about it speaks of a tailnet.
fn claim(peer: IpAddr, headers: &Headers) -> Result<Option<Claim<'_>>, AuthReason> {
    let is_served =
        peer.to_canonical().is_loopback() && SERVED.iter().all(|name| is_given(headers, name));
    let login = headers.only(LOGIN).map(str::trim);
    match login.filter(|login| !login.is_empty()) {
        None if is_served => Err(AuthReason::TailscaleUserMissing),
        None => Ok(None),
        Some(_) if !is_served => Err(AuthReason::TailscaleProxyMissing),
        Some(login) => {
            // Only the proxy on this host stands in between, whoever else is trusted.
            let address = ProxyTrust::default().client(headers);
            let address = address.ok_or(AuthReason::TailscaleWhoisFailed)?;
            Ok(Some(Claim { address, login }))
        }
    }
}

fn confirm(claim: &Claim<'_>, known: Result<String, WhoisFault>) -> Result<AuthMethod, AuthReason> {
    let login = known.map_err(|_| AuthReason::TailscaleWhoisFailed)?;
    if login.to_lowercase() == claim.login.to_lowercase() {
        Ok(AuthMethod::Tailscale)
    } else {
        Err(AuthReason::TailscaleUserMismatch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::tailscale::Fault;

    #[test]
    #[rustfmt::skip]
    fn a_claim_needs_the_proxy_and_the_user() {
        use AuthReason::*;
        const FOR: (&str, &str) = ("x-forwarded-for", "100.64.1.2");
        const PROTO: (&str, &str) = ("x-forwarded-proto", "https");
        const HOST: (&str, &str) = ("x-forwarded-host", "gw.tail.ts.net");
        const WHO: (&str, &str) = ("Tailscale-User-Login", " ada@example.com ");
        let address: IpAddr = "100.64.1.2".parse().unwrap();
        let ada = Ok(Some(Claim { address, login: "ada@example.com" }));
        for (peer, lines, expected) in [
            ("127.0.0.1", &[FOR, PROTO, HOST, WHO][..], ada.clone()),
            ("::1", &[FOR, PROTO, HOST, WHO], ada.clone()),
            ("::ffff:127.0.0.1", &[FOR, PROTO, HOST, WHO], ada.clone()),
            ("127.0.0.1", &[("x-forwarded-for", "1.1.1.1, 100.64.1.2, 127.0.0.1"), PROTO, HOST, WHO], ada),
            ("127.0.0.1", &[FOR, PROTO, HOST], Err(TailscaleUserMissing)),
            ("127.0.0.1", &[FOR, PROTO, HOST, ("tailscale-user-login", " ")], Err(TailscaleUserMissing)),
            ("127.0.0.1", &[FOR, PROTO, HOST, WHO, WHO], Err(TailscaleUserMissing)),
            ("127.0.0.1", &[FOR, PROTO, WHO], Err(TailscaleProxyMissing)),
            ("127.0.0.1", &[WHO], Err(TailscaleProxyMissing)),
            ("100.64.1.9", &[FOR, PROTO, HOST, WHO], Err(TailscaleProxyMissing)),
            ("192.168.1.7", &[FOR, PROTO, HOST], Ok(None)),
            ("192.168.1.7", &[], Ok(None)),
            ("127.0.0.1", &[FOR], Ok(None)),
            ("127.0.0.1", &[("x-forwarded-for", "127.0.0.1"), PROTO, HOST, WHO], Err(TailscaleWhoisFailed)),
            ("127.0.0.1", &[("x-forwarded-for", "--help"), PROTO, HOST, WHO], Err(TailscaleWhoisFailed)),
        ] {
            let headers: Headers = lines.iter().copied().collect();
            assert_eq!(claim(peer.parse().unwrap(), &headers), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn the_tailnet_has_the_last_word() {
        let claim = Claim {
            address: "100.64.1.2".parse().unwrap(),
            login: "Ada@Example.com",
        };
        for (known, expected) in [
            (Ok("ada@example.COM"), Ok(AuthMethod::Tailscale)),
            (
                Ok("eve@example.com"),
                Err(AuthReason::TailscaleUserMismatch),
            ),
            (
                Ok("ada@example.com.evil"),
                Err(AuthReason::TailscaleUserMismatch),
            ),
            (
                Err(WhoisFault::NotAsked(Fault::TimedOut)),
                Err(AuthReason::TailscaleWhoisFailed),
            ),
        ] {
            let verdict = confirm(&claim, known.clone().map(str::to_owned));
            assert_eq!(verdict, expected, "{known:?}");
        }
    }
}
