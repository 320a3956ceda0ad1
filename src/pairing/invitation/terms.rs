//! What an invitation offers: one role, with scopes or commands, and never more than its author could
//! approve himself.

use serde::{Deserialize, Serialize};

use crate::{
    pairing::{Caller, Refusal, policy, scopes},
    protocol::{
        limits::DAY_MS,
        params::Offer,
        scope::{Role, Scope, Scopes},
    },
};

/// The longest life of a join key or pre-approval, in milliseconds: 30 days. A secret that outlives its purpose
/// gets lost.
const MAX_TTL_MS: u64 = MAX_TTL_DAYS * DAY_MS;

const MAX_TTL_DAYS: u64 = 30;

/// The only operator scopes that an invitation can hand out.
pub const OPERATOR_SCOPES: [Scope; 4] = [
    Scope::APPROVALS,
    Scope::READ,
    Scope::TALK_SECRETS,
    Scope::WRITE,
];

/// Longest name of a key or command, in bytes: enough for a sentence, a bound on what lists show.
const MAX_WORD_BYTES: usize = 200;

/// How many commands or networks one invitation may name; more than any node declares.
pub(super) const MAX_WORDS: usize = 100;

/// Role, scopes and commands of an invitation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// The one role.
    pub role: Role,
    /// What an operator may then do.
    #[serde(default)]
    pub scopes: Scopes,
    /// What of a node's declaration is approved with it; anything else waits for a person.
    #[serde(default)]
    pub commands: Vec<String>,
}

impl From<Offer> for Terms {
    fn from(offer: Offer) -> Terms {
        Terms {
            role: offer.role,
            scopes: offer.scopes,
            commands: offer.commands,
        }
    }
}

impl Terms {
    /// The same in normal form, if an invitation may offer it and this caller could approve it.
    ///
    /// # Errors
    /// `InvitationsDenied`, `InvitationInvalid`, `MissingScope`.
    pub(super) fn authorized(self, caller: &Caller<'_>) -> Result<Terms, Refusal> {
        if caller.device_bound.is_some() {
            return Err(Refusal::InvitationsDenied);
        }
        let terms = Terms {
            role: self.role,
            scopes: scopes::union(&self.scopes, &Scopes::none()),
            commands: policy::words(&self.commands),
        };
        terms.check()?;
        let needed = policy::required_approve_scopes(&terms.commands);
        match caller.scopes.missing(needed.iter().chain(&terms.scopes)) {
            Some(scope) => Err(Refusal::MissingScope(scope)),
            None => Ok(terms),
        }
    }

    fn check(&self) -> Result<(), Refusal> {
        let invalid = |text: String| Err(Refusal::InvitationInvalid(text));
        match self.role {
            Role::Node if !self.scopes.is_empty() => {
                return invalid(
                    "a node has no scopes: leave them out or ask for role operator".into(),
                );
            }
            Role::Operator if self.scopes.is_empty() => {
                return invalid("an operator invitation must name its scopes".into());
            }
            Role::Operator if !self.commands.is_empty() => {
                return invalid(
                    "an operator has no commands: leave them out or ask for role node".into(),
                );
            }
            Role::Node | Role::Operator => {}
        }
        let beyond = self
            .scopes
            .iter()
            .find(|scope| !OPERATOR_SCOPES.contains(scope));
        if let Some(scope) = beyond {
            let allowed: Vec<&str> = OPERATOR_SCOPES.iter().map(Scope::as_str).collect();
            return invalid(format!(
                "an invitation cannot hand out {scope} (only {})",
                allowed.join(", ")
            ));
        }
        words("commands", &self.commands)
    }
}

/// Checks a list of words that a person typed.
pub(super) fn words(what: &str, list: &[String]) -> Result<(), Refusal> {
    if list.len() > MAX_WORDS {
        let text = format!("at most {MAX_WORDS} {what} can be named");
        return Err(Refusal::InvitationInvalid(text));
    }
    list.iter().try_for_each(|text| word(what, text))
}

/// A name that a person typed, as it is kept; None when nothing is left of it.
pub(super) fn name(typed: Option<&str>) -> Result<Option<String>, Refusal> {
    let name = typed.unwrap_or_default();
    word("name", name)?;
    Ok(Some(name.trim().to_owned()).filter(|name| !name.is_empty()))
}

/// Checks one word that a person typed.
fn word(what: &str, text: &str) -> Result<(), Refusal> {
    if text.len() > MAX_WORD_BYTES || text.chars().any(char::is_control) {
        let text = format!("{what}: at most {MAX_WORD_BYTES} bytes without control characters");
        return Err(Refusal::InvitationInvalid(text));
    }
    Ok(())
}

/// The end of a life that begins now, epoch milliseconds.
pub(super) fn end_of_life(ttl_ms: u64, now: u64) -> Result<u64, Refusal> {
    if ttl_ms == 0 || ttl_ms > MAX_TTL_MS {
        let text = format!("ttl must be between 1 millisecond and {MAX_TTL_DAYS} days");
        return Err(Refusal::InvitationInvalid(text));
    }
    Ok(now.saturating_add(ttl_ms))
}
