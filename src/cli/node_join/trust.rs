//! Whether the certificate that a gateway shows is trusted: one decision over what is known, and the words around it.
//!
//! Pure. What an announcement says can only make somebody wary; it never replaces a pin and never answers the
//! question (discovery seed, security notes).

use serde_json::json;

use crate::cli::error::{CliError, Failed};
use crate::identity::Fingerprint;
use crate::net::Presented;

/// What decides.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What the gateway shows.
    pub presented: &'a Presented,
    /// The pin of the gateway that this machine belongs to.
    pub stored: Option<Fingerprint>,
    /// The gateway stands where that one does.
    pub same_endpoint: bool,
    /// `--trust-fingerprint`.
    pub typed: Option<Fingerprint>,
    /// The person named the gateway, rather than the network.
    pub named: bool,
    /// `--force`.
    pub force: bool,
}

/// What comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A person has to compare it.
    Ask,
    /// An authority of this machine vouches for the name that was typed: no pin.
    Authorities,
    /// It is this machine's pin already.
    Stored,
    /// The pin of this machine names another certificate.
    StoredDiffers(Fingerprint),
    /// It is what was typed.
    Typed,
    /// What was typed names another certificate.
    TypedDiffers(Fingerprint),
}

/// Decides.
pub fn judge(facts: Facts<'_>) -> Verdict {
    let presented = facts.presented.fingerprint;
    let typed = facts.typed == Some(presented);
    match (facts.typed, facts.stored) {
        (Some(typed), _) if typed != presented => Verdict::TypedDiffers(typed),
        (_, Some(stored)) if stored == presented => Verdict::Stored,
        (_, Some(stored)) if facts.same_endpoint && !(typed && facts.force) => {
            Verdict::StoredDiffers(stored)
        }
        _ if typed => Verdict::Typed,
        _ if facts.named && facts.presented.complaint.is_none() => Verdict::Authorities,
        _ => Verdict::Ask,
    }
}

/// What a person compares before they answer. `announced` is the fingerprint of the announcement.
pub fn question(authority: &str, presented: &Presented, announced: Option<Fingerprint>) -> String {
    let mut text = format!(
        "The gateway at {authority} shows a certificate with this SHA-256 fingerprint:\n\n  {}\n\n\
         Compare it with what `openclaw gateway fingerprint` prints on the gateway's own machine.",
        presented.fingerprint
    );
    if let Some(line) = suspicion(presented, announced) {
        text += &format!("\n{line}");
    }
    text
}

/// What is to be said aloud where the announcement names another certificate than the one that is shown.
pub fn suspicion(presented: &Presented, announced: Option<Fingerprint>) -> Option<String> {
    let announced = announced.filter(|announced| *announced != presented.fingerprint)?;
    Some(format!(
        "WARNING: its announcement names another fingerprint ({announced}). Either the announcement is out of date, or \
         somebody answers in the place of the gateway you mean."
    ))
}

/// The refusal of a certificate that is not the pinned one.
pub fn stored_differs(authority: &str, stored: Fingerprint, presented: &Presented) -> CliError {
    let message = format!(
        "{authority} does not show the certificate that this machine has pinned, so nothing was sent there\n\
         pinned:    {stored}\npresented: {}",
        presented.fingerprint
    );
    let hint = "Either somebody answers in the gateway's place, or the gateway has a new certificate. Run `openclaw gateway fingerprint` on \
                its machine; what that prints replaces the pin: openclaw node join --force --trust-fingerprint <sha256>";
    mismatch(message, hint, stored, presented)
}

/// The refusal of a certificate that is not the expected one.
pub fn typed_differs(authority: &str, typed: Fingerprint, presented: &Presented) -> CliError {
    let message = format!(
        "{authority} shows another certificate than the one to trust\n\
         expected:  {typed}\npresented: {}",
        presented.fingerprint
    );
    let hint = "Compare with `openclaw gateway fingerprint` on the gateway's machine.";
    mismatch(message, hint, typed, presented)
}

fn mismatch(message: String, hint: &str, expected: Fingerprint, presented: &Presented) -> CliError {
    let mut failed = Failed::new("GATEWAY_UNREACHABLE", message);
    failed.hint = Some(hint.to_owned());
    failed.details = json!({"tls": "fingerprint-mismatch", "expectedSha256": expected.to_string(),
        "presentedSha256": presented.fingerprint.to_string()});
    failed.into()
}

/// The refusal to trust where nobody can be asked.
pub fn unconfirmed(authority: &str, presented: &Presented, warning: Option<String>) -> CliError {
    let mut message = format!(
        "nobody has confirmed the certificate of {authority}\npresented: {}",
        presented.fingerprint
    );
    if let Some(warning) = warning {
        message += &format!("\n{warning}");
    }
    let mut failed = Failed::new("NOT_CONFIRMED", message);
    let hint = "Run `openclaw gateway fingerprint` on the gateway's machine and pass what it prints: --trust-fingerprint <sha256>";
    failed.hint = Some(hint.to_owned());
    failed.details = json!({"presentedSha256": presented.fingerprint.to_string()});
    failed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(text: &str) -> Fingerprint {
        Fingerprint::of(text.as_bytes())
    }

    #[test]
    fn the_decision() {
        use Verdict::{Ask, Authorities, Stored, StoredDiffers, Typed, TypedDiffers};
        let shown = Presented {
            fingerprint: print("shown"),
            complaint: Some("is not signed".to_owned()),
        };
        let vouched = Presented {
            complaint: None,
            ..shown.clone()
        };
        let it = Facts {
            presented: &shown,
            stored: None,
            same_endpoint: false,
            typed: None,
            named: false,
            force: false,
        };
        let (right, wrong) = (Some(print("shown")), Some(print("other")));
        let known = Facts {
            stored: wrong,
            same_endpoint: true,
            ..it
        };
        for (facts, expected) in [
            (it, Ask),
            (Facts { named: true, ..it }, Ask),
            (
                Facts {
                    presented: &vouched,
                    named: true,
                    ..it
                },
                Authorities,
            ),
            // The network names a host: that an authority vouches for it says nothing about whose gateway it is.
            (
                Facts {
                    presented: &vouched,
                    ..it
                },
                Ask,
            ),
            (Facts { typed: right, ..it }, Typed),
            (Facts { typed: wrong, ..it }, TypedDiffers(print("other"))),
            (
                Facts {
                    stored: right,
                    same_endpoint: true,
                    ..it
                },
                Stored,
            ),
            // The gateway has moved.
            (
                Facts {
                    stored: right,
                    ..it
                },
                Stored,
            ),
            (known, StoredDiffers(print("other"))),
            (
                Facts {
                    presented: &vouched,
                    named: true,
                    ..known
                },
                StoredDiffers(print("other")),
            ),
            (
                Facts {
                    force: true,
                    ..known
                },
                StoredDiffers(print("other")),
            ),
            (
                Facts {
                    typed: right,
                    ..known
                },
                StoredDiffers(print("other")),
            ),
            (
                Facts {
                    typed: right,
                    force: true,
                    ..known
                },
                Typed,
            ),
            (
                Facts {
                    typed: wrong,
                    force: true,
                    ..known
                },
                TypedDiffers(print("other")),
            ),
            // Another gateway than before: its pin says nothing about this one.
            (
                Facts {
                    stored: wrong,
                    ..it
                },
                Ask,
            ),
        ] {
            assert_eq!(judge(facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn an_announcement_that_differs_is_said_aloud_and_one_that_agrees_is_no_comfort() {
        let shown = Presented {
            fingerprint: print("shown"),
            complaint: None,
        };
        let silent = question("10.0.0.1:1", &shown, None);
        assert!(silent.contains(&print("shown").to_string()));
        assert!(silent.contains("openclaw gateway fingerprint"));
        assert_eq!(question("10.0.0.1:1", &shown, Some(print("shown"))), silent);
        let wary = question("10.0.0.1:1", &shown, Some(print("other")));
        assert!(wary.contains("WARNING") && wary.contains(&print("other").to_string()));
    }
}
