//! What of the rules let a session in, and whether that still holds (protocol.md §4.6, §4.8).
//!
//! Asked when the rules change, when a session that was on its way meanwhile comes in, and at each of its
//! requests. Device tokens are not here: they stand in the pairing records, whose changes end sessions
//! themselves.

use std::net::IpAddr;

use crate::gateway::locality::{Locality, RequestHeaders};
use crate::gateway::origin::check_origin;
use crate::gateway::rules::Rules;
use crate::gateway::shared_secret::Generation;
use crate::protocol::close;

/// Why a session was admitted, as far as a changed configuration can take it back.
#[derive(Clone, Debug, Default)]
pub struct Grounds {
    /// The browser it came from; `None` for a client that sent no `Origin`.
    pub browser: Option<Box<Browser>>,
    /// The trusted proxy that named its user; `None` when no proxy vouched for it.
    pub proxy: Option<IpAddr>,
    /// The shared secret it proved; `None` when something else authenticated it.
    pub secret: Option<Generation>,
}

/// What the origin check looked at.
#[derive(Clone, Debug)]
pub struct Browser {
    /// `Origin` and `Host`; nothing else of the head, which may hold secrets of the page.
    headers: RequestHeaders,
    /// Where it came from.
    locality: Locality,
}

impl Browser {
    /// The browser that sent these headers from there; `None` when no browser did.
    pub fn of(headers: &RequestHeaders, locality: Locality) -> Option<Box<Self>> {
        let kept = ["origin", "host"];
        let lines = kept
            .iter()
            .flat_map(|name| headers.lines.all(name).map(move |value| (*name, value)))
            .collect();
        headers.has_origin().then(|| {
            Box::new(Self {
                headers: RequestHeaders { lines, ..*headers },
                locality,
            })
        })
    }
}

/// Why a session may not stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Its origin is not allowed any more.
    Origin,
    /// The proxy that vouched for it is not trusted any more.
    Proxy,
    /// The shared secret is another one now.
    Secret,
}

impl Loss {
    /// Close code and reason.
    pub const fn close(self) -> (u16, &'static str) {
        match self {
            Self::Origin => (close::POLICY, close::ORIGIN_NOT_ALLOWED),
            Self::Proxy | Self::Secret => (close::AUTH_CHANGED, close::GATEWAY_AUTH_CHANGED),
        }
    }
}

impl Grounds {
    /// What `rules` have taken away; `None` while the session may stay.
    pub fn lost(&self, rules: &Rules) -> Option<Loss> {
        if self.secret.is_some() && self.secret != rules.generation() {
            return Some(Loss::Secret);
        }
        if self
            .proxy
            .is_some_and(|proxy| !rules.proxies.networks.contains(proxy))
        {
            return Some(Loss::Proxy);
        }
        let allowed = self.browser.as_ref().is_none_or(|browser| {
            check_origin(&browser.headers, &rules.origins, true, browser.locality).is_ok()
        });
        (!allowed).then_some(Loss::Origin)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::gateway::auth::SharedAuth;
    use crate::identity::Token;
    use crate::pairing::networks::Networks;

    /// The headers of a page at `origin`.
    pub(crate) fn page(origin: &str) -> RequestHeaders {
        let lines = [
            ("cookie", "secret"),
            ("origin", origin),
            ("host", "gateway"),
        ];
        RequestHeaders {
            forwarded: false,
            lines: lines.into_iter().collect(),
        }
    }

    #[test]
    fn of_a_page_only_origin_and_host_are_kept() {
        let browser = Browser::of(&page("https://ui"), Locality::Remote).unwrap();
        assert_eq!(browser.headers.origin(), Some("https://ui"));
        assert_eq!(browser.headers.host(), Some("gateway"));
        assert!(!format!("{browser:?}").contains("secret"));
        assert!(Browser::of(&RequestHeaders::default(), Locality::Remote).is_none());
    }

    fn rules(auth: SharedAuth, origins: &[&str]) -> Rules {
        let mut rules = Rules::local(auth);
        rules.origins.allowed = origins.iter().map(|&origin| origin.to_owned()).collect();
        rules.sealed()
    }

    #[test]
    fn a_session_stays_as_long_as_what_admitted_it_holds() {
        let token = |secret| SharedAuth::Token(Token::from(secret));
        let password = |secret| SharedAuth::Password(Token::from(secret));
        let before = rules(token("a"), &["https://ui"]);
        let with_secret = Grounds {
            secret: before.generation(),
            ..Grounds::default()
        };
        let from_browser = |origin: &str, locality| Grounds {
            browser: Browser::of(&page(origin), locality),
            ..Grounds::default()
        };
        let ui = from_browser("https://ui", Locality::Remote);
        let own_page = from_browser("http://localhost:1", Locality::DirectLocal);
        let by_device_token = Grounds::default();
        for (grounds, after, expected) in [
            (&with_secret, rules(token("a"), &[]), None),
            (&with_secret, rules(token("b"), &[]), Some(Loss::Secret)),
            (&with_secret, rules(password("a"), &[]), Some(Loss::Secret)),
            (
                &with_secret,
                rules(SharedAuth::None, &[]),
                Some(Loss::Secret),
            ),
            (&by_device_token, rules(token("b"), &[]), None),
            (&ui, rules(token("b"), &["HTTPS://UI"]), None),
            (&ui, rules(token("a"), &["*"]), None),
            (
                &ui,
                rules(token("a"), &["https://other"]),
                Some(Loss::Origin),
            ),
            (&own_page, rules(token("a"), &[]), None),
        ] {
            assert_eq!(grounds.lost(&after), expected, "{grounds:?} {after:?}");
        }
        let vouched = Grounds {
            proxy: Some([10, 0, 0, 7].into()),
            ..Grounds::default()
        };
        for (networks, expected) in [
            (&["10.0.0.0/8"][..], None),
            (&["10.0.0.8"], Some(Loss::Proxy)),
            (&[], Some(Loss::Proxy)),
        ] {
            let mut after = rules(token("b"), &[]);
            let networks: Vec<String> = networks.iter().map(|&text| text.to_owned()).collect();
            after.proxies.networks = Networks::parse(&networks);
            assert_eq!(vouched.lost(&after), expected, "{networks:?}");
            assert_eq!(by_device_token.lost(&after), None);
        }
        let both = Grounds {
            secret: before.generation(),
            ..ui.clone()
        };
        assert_eq!(both.lost(&before), None);
        assert_eq!(both.lost(&rules(token("b"), &[])), Some(Loss::Secret));
    }
}
