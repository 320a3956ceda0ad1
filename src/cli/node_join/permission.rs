//! Whether this machine may go to the gateway that was found, asking where only a person can say it.
//!
//! Nothing is sent and nothing stored here.

use crate::cli::error::{CliError, Failed};
use crate::cli::node_join::goal::{Goal, Seen};
use crate::cli::node_join::person::{Person, must_confirm};
use crate::cli::node_join::trust::{self, Facts, Verdict, judge};
use crate::cli::node_join::wish::Wish;
use crate::client::GatewayUrl;
use crate::config::paths::DEFAULT_GATEWAY_PORT;
use crate::identity::Fingerprint;
use crate::net::Presented;
use crate::store::NodeGateway;

/// Why a gateway may be joined.
#[derive(Debug, PartialEq, Eq)]
pub struct Trusted {
    /// The one certificate to trust.
    pub pin: Option<Fingerprint>,
    /// Why: `stored`, `typed`, `confirmed`, `authorities` or `none`.
    pub word: &'static str,
    /// What nobody was told yet.
    pub warning: Option<String>,
}

/// Whether this machine may go there, and on which certificate it relies.
///
/// # Errors
/// It belongs to another gateway, the certificate is not the pinned or expected one, nobody is there to confirm it, or
/// whoever was asked said no.
pub fn may_join(
    seen: &Seen,
    goal: &Goal,
    stored: &NodeGateway,
    wish: &Wish,
    person: &mut dyn Person,
) -> Result<Trusted, CliError> {
    let url = &seen.url;
    let former = former_url(stored);
    let same_endpoint = former
        .as_ref()
        .is_some_and(|former| former.host == url.host && former.port == url.port);
    let pin = stored_pin(stored, wish)?;
    let shown = seen.presented.as_ref().map(|shown| shown.fingerprint);
    // The same key at another address is the same gateway.
    let moved = pin.is_some() && pin == shown;
    match &former {
        Some(former) if !(same_endpoint || moved || wish.force) => {
            leave_former(former, url, person)?;
        }
        _ => {}
    }
    let Some(presented) = &seen.presented else {
        plaintext_is_fine(seen, goal, same_endpoint && stored.tls, wish, person)?;
        return Ok(Trusted {
            pin: None,
            word: "none",
            warning: None,
        });
    };
    let facts = Facts {
        presented,
        stored: pin,
        same_endpoint,
        typed: wish.pin,
        named: goal.found.is_none(),
        force: wish.force,
    };
    certificate_is_fine(facts, &url.authority(), announced(goal), person)
}

fn certificate_is_fine(
    facts: Facts<'_>,
    authority: &str,
    announced: Option<Fingerprint>,
    person: &mut dyn Person,
) -> Result<Trusted, CliError> {
    let presented: &Presented = facts.presented;
    let warning = trust::suspicion(presented, announced);
    let pinned = |word| Trusted {
        pin: Some(presented.fingerprint),
        word,
        warning: warning.clone(),
    };
    Ok(match judge(facts) {
        Verdict::Authorities => Trusted {
            pin: None,
            ..pinned("authorities")
        },
        Verdict::Stored => pinned("stored"),
        Verdict::Typed => pinned("typed"),
        Verdict::StoredDiffers(stored) => {
            return Err(trust::stored_differs(authority, stored, presented));
        }
        Verdict::TypedDiffers(typed) => {
            return Err(trust::typed_differs(authority, typed, presented));
        }
        Verdict::Ask if !person.is_there() => {
            return Err(trust::unconfirmed(authority, presented, warning));
        }
        Verdict::Ask => {
            person.tell(&trust::question(authority, presented, announced));
            must_confirm(person, "Trust this fingerprint?")?;
            Trusted {
                warning: None,
                ..pinned("confirmed")
            }
        }
    })
}

/// What the announcement says about the certificate: a hint, of whoever made the announcement.
fn announced(goal: &Goal) -> Option<Fingerprint> {
    Fingerprint::parse(goal.found.as_ref()?.hint("gatewayTlsSha256")?)
}

/// Where the gateway is that this machine belongs to.
fn former_url(stored: &NodeGateway) -> Option<GatewayUrl> {
    let port = stored.port.unwrap_or(DEFAULT_GATEWAY_PORT);
    Some(GatewayUrl::new(stored.host.as_ref()?, port, stored.tls))
}

/// The pin of the gateway that this machine belongs to; one that cannot be read is never none.
fn stored_pin(stored: &NodeGateway, wish: &Wish) -> Result<Option<Fingerprint>, CliError> {
    let Some(text) = &stored.tls_fingerprint else {
        return Ok(None);
    };
    let pin = Fingerprint::parse(text);
    if pin.is_none() && !wish.force {
        let text = "the fingerprint that node.json holds is none that is usable. Replace it with: openclaw node join --force --trust-fingerprint <sha256>";
        return Err(CliError::failed("CONFIG_INVALID", text));
    }
    Ok(pin)
}

fn leave_former(
    former: &GatewayUrl,
    url: &GatewayUrl,
    person: &mut dyn Person,
) -> Result<(), CliError> {
    if person.is_there() {
        let question =
            format!("This machine belongs to {former}. Shall it belong to {url} instead?");
        return must_confirm(person, &question);
    }
    let message = format!("this machine belongs to {former} already");
    let mut failed = Failed::new("NOT_CONFIRMED", message);
    failed.hint = Some(format!("To make it a node of {url} instead, add --force."));
    Err(failed.into())
}

/// Plaintext that the rule permits is still nothing to fall into. `was_secure`: this very gateway spoke TLS before.
fn plaintext_is_fine(
    seen: &Seen,
    goal: &Goal,
    was_secure: bool,
    wish: &Wish,
    person: &mut dyn Person,
) -> Result<(), CliError> {
    let url = &seen.url;
    if was_secure && !wish.force {
        let message = format!(
            "this machine has joined {} through TLS, and now it is to be plaintext",
            url.authority()
        );
        let mut failed = Failed::new("NOT_CONFIRMED", message);
        let hint = "Somebody may answer in the gateway's place. If TLS was turned off there on purpose, add --force.";
        failed.hint = Some(hint.to_owned());
        return Err(failed.into());
    }
    if wish.pin.is_some() {
        return Err(CliError::rule(format!(
            "--trust-fingerprint needs a gateway that speaks TLS; {url} is plaintext"
        )));
    }
    match (&goal.found, person.is_there()) {
        // Whoever announces a gateway decides whether it speaks TLS, so only a person decides to go without.
        (Some(_), false) => return Err(unconfirmed_plaintext(url)),
        (None, false) => return Ok(()),
        (None, true) if url.is_loopback() => return Ok(()),
        (_, true) => {}
    }
    let question = format!(
        "Nothing is encrypted on the way to {url}: others on that network can read the credentials, commands and output. Go on?"
    );
    must_confirm(person, &question)
}

fn unconfirmed_plaintext(url: &GatewayUrl) -> CliError {
    let message = format!(
        "{url} was found on the network and is plaintext, and nobody is there to confirm it"
    );
    let mut failed = Failed::new("NOT_CONFIRMED", message);
    let hint = format!(
        "Anybody on the network may have announced it. Turn on gateway.tls there, or name it: openclaw node join --url {url}"
    );
    failed.hint = Some(hint);
    failed.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::node_join::person::Script;
    use crate::cli::node_join::person::testing::Actor;
    use crate::cli::node_join::wish::Then;
    use crate::discovery::Found;
    use crate::discovery::found::LOCAL;

    const HERE: &str = "10.0.0.1:18789";

    fn print(text: &str) -> Fingerprint {
        Fingerprint::of(text.as_bytes())
    }

    fn wish() -> Wish {
        Wish {
            then: Then::Nothing,
            pin: None,
            force: false,
            json: false,
            limit: None,
        }
    }

    /// A gateway that the network named, with what its announcement says about its certificate.
    fn goal(announced: &str) -> Goal {
        let txt = [
            ("gatewayTls", &b"1"[..]),
            ("gatewayTlsSha256", announced.as_bytes()),
        ];
        let addresses = [HERE.parse().unwrap()];
        let found = Found::new(b"Pi", LOCAL, "pi.local", 18_789, addresses, txt);
        Goal {
            urls: found.urls().collect(),
            found: Some(found),
        }
    }

    fn secure() -> Seen {
        Seen {
            url: GatewayUrl::parse(&format!("wss://{HERE}")).unwrap(),
            presented: Some(Presented {
                fingerprint: print("real"),
                complaint: Some("is not signed".to_owned()),
            }),
        }
    }

    fn plain() -> Seen {
        Seen {
            url: GatewayUrl::parse(&format!("ws://{HERE}")).unwrap(),
            presented: None,
        }
    }

    fn belongs_to(host: &str, tls: bool, pin: Option<&str>) -> NodeGateway {
        NodeGateway {
            host: Some(host.to_owned()),
            port: None,
            tls,
            tls_fingerprint: pin.map(|pin| print(pin).to_string()),
        }
    }

    #[test]
    fn an_announcement_never_answers_for_the_person_and_never_replaces_a_pin() {
        let none = NodeGateway::default();
        for announced in [
            "",
            "garbage",
            &print("real").to_string(),
            &print("x").to_string(),
        ] {
            let goal = goal(announced);
            let error = may_join(&secure(), &goal, &none, &wish(), &mut Script).unwrap_err();
            assert_eq!(error.document()["error"]["code"], "NOT_CONFIRMED");
            let refused = may_join(&secure(), &goal, &none, &wish(), &mut Actor::new(&[""]));
            assert!(refused.is_err(), "the default is no");
            let mut person = Actor::new(&["y"]);
            let trusted = may_join(&secure(), &goal, &none, &wish(), &mut person).unwrap();
            assert_eq!(
                (trusted.pin, trusted.word),
                (Some(print("real")), "confirmed")
            );
            assert!(person.seen.contains(&print("real").to_string()));
            let warned = announced == print("x").to_string();
            assert_eq!(person.seen.contains("WARNING"), warned, "{}", person.seen);

            // The pin of this machine is what it was, whatever is announced.
            let pinned = belongs_to("10.0.0.1", true, Some("former"));
            for person in [
                &mut Actor::new(&["y", "y", "y"]) as &mut dyn Person,
                &mut Script,
            ] {
                let error = may_join(&secure(), &goal, &pinned, &wish(), person).unwrap_err();
                let text = error.to_string();
                assert!(text.contains(&print("former").to_string()), "{text}");
                assert!(text.contains(&print("real").to_string()), "{text}");
            }
        }
    }

    #[test]
    fn a_pin_that_matches_asks_nothing_wherever_the_gateway_is_now() {
        let goal = goal(&print("x").to_string());
        for host in ["10.0.0.1", "10.0.0.250"] {
            let pinned = belongs_to(host, true, Some("real"));
            let trusted = may_join(&secure(), &goal, &pinned, &wish(), &mut Script).unwrap();
            assert_eq!((trusted.pin, trusted.word), (Some(print("real")), "stored"));
            assert!(trusted.warning.unwrap().contains("WARNING"));
        }
    }

    #[test]
    fn leaving_a_gateway_is_asked_or_forced() {
        let (goal, elsewhere) = (goal(""), belongs_to("10.0.0.250", true, Some("former")));
        let wish = Wish {
            pin: Some(print("real")),
            ..wish()
        };
        assert!(may_join(&secure(), &goal, &elsewhere, &wish, &mut Script).is_err());
        assert!(may_join(&secure(), &goal, &elsewhere, &wish, &mut Actor::new(&["n"])).is_err());
        let mut person = Actor::new(&["y"]);
        may_join(&secure(), &goal, &elsewhere, &wish, &mut person).unwrap();
        assert!(person.seen.contains("belongs to wss://10.0.0.250:18789"));
        let forced = Wish {
            force: true,
            ..wish
        };
        may_join(&secure(), &goal, &elsewhere, &forced, &mut Script).unwrap();
    }

    #[test]
    fn plaintext_is_asked_about_and_no_way_around_tls() {
        let (goal, none) = (goal(""), NodeGateway::default());
        let named = Goal {
            urls: goal.urls.clone(),
            found: None,
        };
        assert!(may_join(&plain(), &named, &none, &wish(), &mut Script).is_ok());
        for (at, force) in [(HERE, false), (HERE, true), ("127.0.0.1:18789", false)] {
            let found = Seen {
                url: GatewayUrl::parse(&format!("ws://{at}")).unwrap(),
                presented: None,
            };
            let wish = Wish { force, ..wish() };
            let error = may_join(&found, &goal, &none, &wish, &mut Script).unwrap_err();
            assert_eq!(error.document()["error"]["code"], "NOT_CONFIRMED");
            assert!(error.hint().unwrap().contains(&format!("--url ws://{at}")));
        }
        let mut person = Actor::new(&["n"]);
        assert!(may_join(&plain(), &goal, &none, &wish(), &mut person).is_err());
        assert!(person.seen.contains("others on that network can read"));
        let before = belongs_to("10.0.0.1", true, None);
        let error = may_join(&plain(), &goal, &before, &wish(), &mut Actor::new(&["y"]));
        assert!(error.unwrap_err().to_string().contains("through TLS"));
        let pinned = Wish {
            pin: Some(print("real")),
            ..wish()
        };
        assert!(may_join(&plain(), &goal, &none, &pinned, &mut Script).is_err());
    }

    #[test]
    fn a_pin_that_cannot_be_read_is_not_no_pin() {
        let mut broken = belongs_to("10.0.0.1", true, None);
        broken.tls_fingerprint = Some("abc".to_owned());
        let wish = Wish {
            pin: Some(print("real")),
            ..wish()
        };
        assert!(may_join(&secure(), &goal(""), &broken, &wish, &mut Script).is_err());
        let forced = Wish {
            force: true,
            ..wish
        };
        assert!(may_join(&secure(), &goal(""), &broken, &forced, &mut Script).is_ok());
    }
}
