//! Invitations in the ledger: what each was made for, who used it, and who may still.

use std::collections::BTreeSet;

use proptest::{prop_assert, prop_assert_eq};

use super::{
    COMMANDS, DEVICES, SCOPES, Who,
    judge::{holds, set},
    subset,
    world::{Granted, Step, World, as_caller, held, node_claim, policy, public_key, role},
};
use crate::{
    identity::Token,
    pairing::{
        Part,
        change::Change,
        connect::{Admission, AuthMethod, ConnectClaim},
        invitation::{
            self, bootstrap,
            join_key::{self, NewKey},
            preapproval::{self, NewPreapproval},
            terms::Terms,
        },
        surface,
    },
    protocol::scope::{Role, Scopes},
};

/// What an invitation was made for, and what became of it.
#[derive(Clone, Debug)]
pub struct Offer {
    secret: String,
    id: String,
    roles: BTreeSet<String>,
    scopes: BTreeSet<String>,
    commands: BTreeSet<String>,
    uses: usize,
    until: u64,
    ended: bool,
    joined: BTreeSet<String>,
    removed: BTreeSet<String>,
}

/// What somebody asks an invitation to be.
#[derive(Clone, Debug)]
pub struct Wish {
    pub node: bool,
    pub scopes: u8,
    pub commands: u8,
    pub uses: u8,
    pub ttl_ms: u64,
}

const TALK: [&str; 4] = [
    "operator.approvals",
    "operator.read",
    "operator.talk.secrets",
    "operator.write",
];

fn words(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

impl Wish {
    fn terms(&self) -> Terms {
        let scopes: Scopes = subset(&SCOPES, self.scopes).into_iter().collect();
        Terms {
            role: role(self.node),
            scopes: if self.node { Scopes::none() } else { scopes },
            commands: if self.node {
                subset(&COMMANDS, self.commands)
            } else {
                Vec::new()
            },
        }
    }

    fn offer(&self, secret: &str, id: &str, now: u64) -> Offer {
        let terms = self.terms();
        Offer {
            secret: secret.to_owned(),
            id: id.to_owned(),
            roles: words(&[terms.role.as_str()]),
            scopes: set(&terms.scopes),
            commands: terms.commands.into_iter().collect(),
            uses: usize::from(self.uses),
            until: now + self.ttl_ms,
            ended: false,
            joined: BTreeSet::new(),
            removed: BTreeSet::new(),
        }
    }
}

/// That whoever made this could have approved it.
fn contained(held: &BTreeSet<String>, offer: &Offer) -> Step {
    let runs = |command: &String| command.starts_with("system.run") || command == "system.which";
    prop_assert!(holds(held, "operator.pairing"));
    let exec = offer.commands.iter().any(runs);
    prop_assert!(!exec || holds(held, "operator.admin"), "exec without admin");
    prop_assert!(offer.commands.is_empty() || exec || holds(held, "operator.write"));
    for scope in &offer.scopes {
        prop_assert!(holds(held, scope), "invited to {scope} without holding it");
        prop_assert!(TALK.contains(&scope.as_str()), "invited to {scope}");
    }
    Ok(())
}

impl World {
    pub fn issue_code(&mut self, who: &Who) -> Step {
        let (held, own) = held(who);
        let caller = as_caller(&held, own.as_ref());
        let profile = bootstrap::Profile::usual();
        let made = bootstrap::issue(
            &mut self.state,
            &profile,
            &caller,
            self.now,
            &mut self.entropy,
        );
        let Ok((issued, changes)) = made else {
            return Ok(());
        };
        self.said.push(changes);
        let offer = Offer {
            secret: issued.token.as_str().to_owned(),
            id: String::new(),
            roles: words(&["node", "operator"]),
            scopes: words(&TALK),
            commands: BTreeSet::new(),
            uses: 1,
            until: self.now + 600_000,
            ended: false,
            joined: BTreeSet::new(),
            removed: BTreeSet::new(),
        };
        contained(&set(&held), &offer)?;
        self.offers.push(offer);
        Ok(())
    }

    pub fn create_key(&mut self, wish: &Wish, who: &Who) -> Step {
        let (held, own) = held(who);
        let caller = as_caller(&held, own.as_ref());
        let wanted = NewKey {
            name: None,
            terms: wish.terms(),
            cidrs: Vec::new(),
            uses: wish.uses.into(),
            ttl_ms: wish.ttl_ms,
        };
        let before = self.state.clone();
        let made = join_key::create(
            &mut self.state,
            wanted,
            &caller,
            self.now,
            &mut self.entropy,
        );
        let Ok((created, changes)) = made else {
            prop_assert_eq!(&self.state, &before, "a refusal changed something");
            return Ok(());
        };
        self.said.push(changes);
        prop_assert!(caller.device_bound.is_none());
        let id = created.shown["id"].as_str().unwrap_or_default().to_owned();
        let offer = wish.offer(created.key.as_str(), &id, self.now);
        contained(&set(&held), &offer)?;
        self.offers.push(offer);
        Ok(())
    }

    pub fn preapprove(&mut self, device: usize, wish: &Wish, who: &Who) -> Step {
        let (held, own) = held(who);
        let caller = as_caller(&held, own.as_ref());
        let wanted = NewPreapproval {
            public_key: public_key(device, false),
            name: None,
            terms: wish.terms(),
            ttl_ms: wish.ttl_ms,
        };
        let before = self.state.clone();
        let Ok((_, changes)) = preapproval::preapprove(&mut self.state, wanted, &caller, self.now)
        else {
            prop_assert_eq!(&self.state, &before, "a refusal changed something");
            return Ok(());
        };
        self.said.push(changes);
        prop_assert!(caller.device_bound.is_none());
        let id = DEVICES[device];
        prop_assert!(before.devices.paired.record(id).is_none());
        let offer = wish.offer("", id, self.now);
        contained(&set(&held), &offer)?;
        self.expected.insert(id.to_owned(), offer);
        Ok(())
    }

    pub fn revoke_invitation(&mut self, pick: usize, who: &Who) -> Step {
        let (held, own) = held(who);
        let caller = as_caller(&held, own.as_ref());
        let ids = self.offers.iter().chain(self.expected.values());
        let ids: Vec<String> = ids
            .map(|offer| offer.id.clone())
            .filter(|id| !id.is_empty())
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let id = &ids[pick % ids.len()];
        let Ok((_, changes)) = invitation::revoke(&mut self.state, id, &caller, self.now) else {
            return Ok(());
        };
        self.said.push(changes);
        self.expected.remove(id);
        let offers = self.offers.iter_mut().filter(|offer| &offer.id == id);
        offers.for_each(|offer| offer.ended = true);
        Ok(())
    }

    /// The claim with one of the secrets that were ever made.
    pub fn with_secret(&self, claim: ConnectClaim, pick: usize) -> ConnectClaim {
        if self.offers.is_empty() {
            return claim;
        }
        let secret = &self.offers[pick % self.offers.len()].secret;
        ConnectClaim {
            method: AuthMethod::BootstrapToken,
            invitation: Some(Token::from(secret.as_str())),
            ..claim
        }
    }

    /// That the secret of this claim invites its device by the ledger; called when it was accepted.
    pub fn accepted(&mut self, claim: &ConnectClaim) -> Step {
        let Some(secret) = &claim.invitation else {
            return Ok(());
        };
        let device = claim.device.as_str();
        let offer = self
            .offers
            .iter_mut()
            .find(|offer| offer.secret == secret.as_str());
        let Some(offer) = offer else {
            prop_assert!(false, "a secret nobody made");
            return Ok(());
        };
        prop_assert!(!offer.ended && self.now <= offer.until, "{offer:?}");
        prop_assert!(offer.roles.contains(claim.role.as_str()));
        for scope in &claim.scopes {
            prop_assert!(holds(&offer.scopes, scope.as_str()));
        }
        prop_assert!(!offer.removed.contains(device), "came back by {offer:?}");
        if offer.id.is_empty() {
            offer.joined.insert(device.to_owned());
        }
        let room = offer.joined.contains(device) || offer.joined.len() < offer.uses;
        prop_assert!(
            room && offer.joined.len() <= offer.uses,
            "too many: {offer:?}"
        );
        Ok(())
    }

    /// What an invitation that paired this device gave it, by the ledger; None when none did.
    pub fn joined(
        &mut self,
        claim: &ConnectClaim,
        admission: Option<&Admission>,
    ) -> Result<Option<Granted>, proptest::test_runner::TestCaseError> {
        let Some(by) = admission.and_then(|admission| admission.joined.as_ref()) else {
            return Ok(None);
        };
        let device = claim.device.to_string();
        let offer = match by.rule {
            "preapproval" => self.expected.get_mut(&device),
            _ => {
                let secret = claim.invitation.as_ref().map_or("", Token::as_str);
                self.offers.iter_mut().find(|offer| offer.secret == secret)
            }
        };
        let Some(offer) = offer else {
            prop_assert!(false, "joined by nothing: {by:?}");
            return Ok(None);
        };
        if by.rule == "preapproval" {
            prop_assert!(self.now <= offer.until && offer.roles.contains(claim.role.as_str()));
        }
        offer.joined.insert(device.clone());
        prop_assert!(
            offer.joined.len() <= offer.uses.max(1),
            "too many: {offer:?}"
        );
        let commands: BTreeSet<String> = by.commands.iter().cloned().collect();
        prop_assert_eq!(&commands, &offer.commands);
        let granted = Granted {
            key: claim.public_key.clone(),
            roles: offer.roles.clone(),
            scopes: offer.scopes.clone(),
        };
        if claim.role == Role::Node {
            let index = DEVICES
                .iter()
                .position(|id| *id == device)
                .unwrap_or_default();
            let node = node_claim(index, subset(&COMMANDS, 0xff));
            let (now, entropy) = (self.now, &mut self.entropy);
            let changes = surface::join(&mut self.state, &node, by, &policy(), now, entropy);
            if changes.contains(&Change::Save(Part::NodesPaired)) {
                self.nodes.insert(device.clone(), commands);
                self.declared.insert(device, subset(&COMMANDS, 0xff));
            }
            self.said.push(changes);
        }
        Ok(Some(granted))
    }

    /// A device was removed: nothing that let it in does so again.
    pub fn guest_removed(&mut self, device: &str) {
        self.expected.remove(device);
        for offer in self
            .offers
            .iter_mut()
            .filter(|offer| offer.joined.contains(device))
        {
            match offer.id.is_empty() {
                true => offer.ended = true,
                false => {
                    offer.removed.insert(device.to_owned());
                }
            }
        }
    }
}
