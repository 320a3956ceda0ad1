//! The trusted-proxy mode: a proxy that has already asked who somebody is names the user in a header
//! (protocol.md §4.9).
//!
//! Pure decisions over the peer address and the request head. A program on this host that no proxy stands
//! in front of may prove the password instead, where one is configured.

use std::net::IpAddr;

use crate::config::model::TrustedProxy;
use crate::gateway::auth_reason::{AuthReason, HeaderName};
use crate::gateway::credentials::Credentials;
use crate::gateway::forwarded::{ProxyTrust, is_given};
use crate::gateway::locality::{Locality, Place, RequestHeaders};
use crate::gateway::shared_secret::prove_password;
use crate::identity::Token;
use crate::pairing::connect::AuthMethod;

/// `gateway.auth.trustedProxy`, and the password of programs on this host.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyAuth {
    /// What the proxy must send.
    pub rule: TrustedProxy,
    /// What proves a program on this host that no proxy stands in front of.
    pub password: Option<Token>,
}

impl ProxyAuth {
    /// Step 1 of §4.2 in this mode; a program on this host may prove the password instead.
    pub fn check(
        &self,
        peer: IpAddr,
        place: &Place,
        headers: &RequestHeaders,
        proxies: &ProxyTrust,
        sent: &Credentials,
    ) -> Result<AuthMethod, AuthReason> {
        let reason = match self.user(peer, headers, proxies) {
            Ok(_) => return Ok(AuthMethod::TrustedProxy),
            Err(reason) => reason,
        };
        if place.locality != Locality::DirectLocal {
            return Err(reason);
        }
        match &self.password {
            Some(password) => prove_password(password, sent),
            None if sent.password.is_some() => Err(AuthReason::PasswordMissingConfig),
            None => Err(reason),
        }
    }

    /// The user that a trusted proxy names.
    pub fn user<'a>(
        &self,
        peer: IpAddr,
        headers: &'a RequestHeaders,
        proxies: &ProxyTrust,
    ) -> Result<&'a str, AuthReason> {
        let rule = &self.rule;
        let lines = &headers.lines;
        let peer = peer.to_canonical();
        if proxies.networks.is_empty() {
            return Err(AuthReason::TrustedProxyNoProxiesConfigured);
        }
        if !proxies.networks.contains(peer) {
            return Err(AuthReason::TrustedProxyUntrustedSource);
        }
        if peer.is_loopback() && !rule.allow_loopback {
            return Err(AuthReason::TrustedProxyLoopbackSource);
        }
        let mut required = rule.required_headers.iter().map(|name| name.trim());
        if let Some(missing) = required.find(|name| !is_given(lines, name)) {
            let name = HeaderName::new(missing);
            return Err(AuthReason::TrustedProxyMissingHeader(name));
        }
        // A proxy that adds its line to one that the client sent leaves open who of them speaks.
        let user = lines.only(rule.user_header.trim()).map(str::trim);
        let user = user
            .filter(|user| !user.is_empty())
            .ok_or(AuthReason::TrustedProxyUserMissing)?;
        let mut allowed = rule.allow_users.iter().map(|name| name.trim());
        if rule.allow_users.is_empty() || allowed.any(|name| name == user) {
            Ok(user)
        } else {
            Err(AuthReason::TrustedProxyUserNotAllowed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::locality::place;
    use crate::pairing::networks::Networks;

    struct Case {
        proxies: &'static [&'static str],
        required: &'static [&'static str],
        users: &'static [&'static str],
        loopback: bool,
        password: Option<&'static str>,
    }

    const LAN: Case = Case {
        proxies: &["10.0.0.0/8"],
        required: &[],
        users: &[],
        loopback: false,
        password: None,
    };

    fn check(
        case: &Case,
        peer: &str,
        lines: &[(&str, &str)],
        sent: &Credentials,
    ) -> Result<AuthMethod, AuthReason> {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let auth = ProxyAuth {
            rule: TrustedProxy {
                user_header: "X-Auth-User".to_owned(),
                required_headers: owned(case.required),
                allow_users: owned(case.users),
                allow_loopback: case.loopback,
            },
            password: case.password.map(Token::from),
        };
        let proxies = ProxyTrust {
            identity_header: Some(auth.rule.user_header.clone()),
            networks: Networks::parse(&owned(case.proxies)),
            real_ip_fallback: false,
        };
        let peer = peer.parse().unwrap();
        let headers = RequestHeaders::new(lines.iter().copied().collect(), &proxies);
        let place = place(peer, &headers, &proxies);
        auth.check(peer, &place, &headers, &proxies, sent)
    }

    #[test]
    #[rustfmt::skip]
    fn a_proxy_is_asked_in_this_order() {
        use AuthReason::*;
        const USER: (&str, &str) = ("x-auth-user", "ada");
        let nobody = Case { proxies: &[], ..LAN };
        let here = Case { proxies: &["127.0.0.1", "::1"], ..LAN };
        let allowed = Case { proxies: &["127.0.0.1", "::1"], loopback: true, ..LAN };
        let headers = Case { required: &["X-Forwarded-Proto", "x-team"], ..LAN };
        let users = Case { users: &["grace", " ada "], ..LAN };
        let missing = |name| Err(TrustedProxyMissingHeader(HeaderName::new(name)));
        let ok = Ok(AuthMethod::TrustedProxy);
        for (case, peer, lines, expected) in [
            (&nobody, "10.0.0.1", &[USER][..], Err(TrustedProxyNoProxiesConfigured)),
            (&LAN, "192.168.1.7", &[USER], Err(TrustedProxyUntrustedSource)),
            (&LAN, "127.0.0.1", &[USER], Err(TrustedProxyUntrustedSource)),
            (&here, "127.0.0.1", &[USER], Err(TrustedProxyLoopbackSource)),
            (&here, "::1", &[USER], Err(TrustedProxyLoopbackSource)),
            (&allowed, "127.0.0.1", &[USER], ok),
            (&allowed, "::ffff:127.0.0.1", &[USER], ok),
            (&LAN, "10.0.0.1", &[USER], ok),
            (&LAN, "::ffff:10.0.0.1", &[("X-AUTH-USER", " ada ")], ok),
            (&headers, "10.0.0.1", &[], missing("x-forwarded-proto")),
            (&headers, "10.0.0.1", &[USER, ("x-forwarded-proto", "https")], missing("x-team")),
            (&headers, "10.0.0.1", &[USER, ("x-forwarded-proto", "https"), ("x-team", " ")], missing("x-team")),
            (&headers, "10.0.0.1", &[USER, ("x-forwarded-proto", "https"), ("X-Team", "a")], ok),
            (&headers, "10.0.0.1", &[("x-forwarded-proto", "https"), ("X-Team", "a")], Err(TrustedProxyUserMissing)),
            (&LAN, "10.0.0.1", &[], Err(TrustedProxyUserMissing)),
            (&LAN, "10.0.0.1", &[("x-auth-user", "  ")], Err(TrustedProxyUserMissing)),
            // One line of the client and one of the proxy: nobody knows which is which.
            (&LAN, "10.0.0.1", &[("x-auth-user", "forged"), USER], Err(TrustedProxyUserMissing)),
            (&users, "10.0.0.1", &[USER], ok),
            (&users, "10.0.0.1", &[("x-auth-user", "Ada")], Err(TrustedProxyUserNotAllowed)),
            (&users, "10.0.0.1", &[("x-auth-user", "eve")], Err(TrustedProxyUserNotAllowed)),
        ] {
            let verdict = check(case, peer, lines, &Credentials::default());
            assert_eq!(verdict, expected, "{peer} {lines:?}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn only_this_very_host_may_prove_the_password() {
        use AuthReason::*;
        let with = Case { password: Some("open"), ..LAN };
        let behind = Case { password: Some("open"), proxies: &["127.0.0.1"], loopback: true, ..LAN };
        let sent = |password: &str| Credentials { password: Credentials::clean(Some(password)), ..Credentials::default() };
        for (case, peer, lines, password, expected) in [
            (&with, "127.0.0.1", &[][..], "open", Ok(AuthMethod::Password)),
            (&with, "127.0.0.1", &[], "wrong", Err(PasswordMismatch)),
            (&with, "127.0.0.1", &[], "", Err(PasswordMissing)),
            (&LAN, "127.0.0.1", &[], "open", Err(PasswordMissingConfig)),
            (&LAN, "127.0.0.1", &[], "", Err(TrustedProxyUntrustedSource)),
            (&behind, "127.0.0.1", &[], "open", Ok(AuthMethod::Password)),
            (&with, "127.0.0.1", &[("x-forwarded-for", "127.0.0.1")], "open", Err(TrustedProxyUntrustedSource)),
            // The user header alone is a proxy's, however empty the rest of the chain.
            (&behind, "127.0.0.1", &[("x-auth-user", "ada"), ("x-auth-user", "eve")], "open", Err(TrustedProxyUserMissing)),
            (&with, "192.168.1.7", &[], "open", Err(TrustedProxyUntrustedSource)),
            (&with, "10.0.0.1", &[], "open", Err(TrustedProxyUserMissing)),
        ] {
            let verdict = check(case, peer, lines, &sent(password));
            assert_eq!(verdict, expected, "{peer} {lines:?} {password}");
        }
    }

    #[test]
    fn a_name_is_shown_short_and_plain() {
        assert_eq!(HeaderName::new("X-Team").as_str(), "x-team");
        assert_eq!(HeaderName::new("a b\r\né").as_str(), "ab");
        assert_eq!(HeaderName::new(&"n".repeat(500)).as_str(), "n".repeat(48));
    }
}
