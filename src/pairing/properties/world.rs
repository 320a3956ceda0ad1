//! The world that a sequence of operations works on, and the ledger of what was granted in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::{
    COMMANDS, DEVICES, Op, REAL_KEY, SCOPES, Who, asked_by,
    guests::Offer,
    judge::{holds, may, set, texts},
    subset,
};
use crate::{
    identity::{DeviceId, NodeId},
    pairing::{
        Caller, Changes, REQUEST_TTL_MS, Shelf, State,
        connect::{
            AddressSource, AdmissionPolicy, AuthMethod, ConnectClaim, Locality, NotAdmitted,
            Pairing, admit,
        },
        device, expire, next_expiry, node,
        node_record::NodeMetadata,
        policy::CommandPolicy,
        surface::{self, NodeClaim},
        testing::{
            Counter, NOW, caller, device_caller, paired, records, trusting, with_devices, words,
        },
        token,
    },
    protocol::scope::{Role, Scopes},
};

/// What the operator allows and denies in every run; `camera.snap` is added, `system.notify` taken.
pub fn policy() -> CommandPolicy {
    CommandPolicy {
        allow: words(&["camera.snap"]),
        deny: words(&["system.notify"]),
    }
}

/// An address in the only network whose nodes need no person.
const TRUSTED: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 7));

fn admission_policy() -> AdmissionPolicy {
    trusting(&["192.168.1.0/24"])
}

/// What was granted to one device or node, as far as the approvers knew.
#[derive(Clone, Debug, Default)]
pub struct Granted {
    pub key: String,
    pub roles: BTreeSet<String>,
    pub scopes: BTreeSet<String>,
}

#[derive(Default)]
pub struct World {
    pub state: State,
    pub entropy: Counter,
    pub now: u64,
    pub devices: BTreeMap<String, Granted>,
    /// What each device and key ever asked for from this host: all that silence may grant.
    pub asked_here: BTreeMap<(String, String), Granted>,
    pub nodes: BTreeMap<String, BTreeSet<String>>,
    pub declared: BTreeMap<String, Vec<String>>,
    pub said: Vec<Changes>,
    /// Setup codes and join keys.
    pub offers: Vec<Offer>,
    /// Pre-approvals by device.
    pub expected: BTreeMap<String, Offer>,
    /// The rows that somebody looked at last.
    pub looked: Vec<serde_json::Value>,
    /// Every id that ever waited, and whether on the first layer.
    pub ids: BTreeMap<String, bool>,
}

/// What an operation leads to.
pub type Step = Result<(), TestCaseError>;

impl World {
    /// `d2` is approved for everything and its token carries little; the others are strangers.
    pub fn new() -> World {
        let approved = ["operator.admin", "operator.pairing"];
        let mut record = paired(
            &approved,
            &[("operator", &["operator.pairing"]), ("node", &[])],
        );
        let key = "key-2-false";
        record["deviceId"] = "d2".into();
        record["publicKey"] = key.into();
        let granted = Granted {
            key: key.to_owned(),
            roles: ["operator", "node"].map(str::to_owned).into(),
            scopes: approved.map(str::to_owned).into(),
        };
        World {
            state: with_devices(&[record]),
            now: NOW,
            devices: BTreeMap::from([("d2".to_owned(), granted)]),
            ..World::default()
        }
    }

    pub fn run(&mut self, op: Op) -> Step {
        match op {
            Op::Wait { ms } => self.now += ms,
            Op::Expire => {
                let changes = expire(&mut self.state, self.now);
                self.said.push(changes);
                let times = self
                    .state
                    .devices
                    .pending
                    .records()
                    .map(|request| request.ts);
                let times =
                    times.chain(self.state.nodes.pending.records().map(|request| request.ts));
                for ts in times {
                    prop_assert!(self.now.abs_diff(ts) <= REQUEST_TTL_MS, "{ts} is over");
                }
                prop_assert!(next_expiry(&self.state).is_none_or(|next| next > self.now));
            }
            Op::Connect {
                device,
                other_key,
                node,
                scopes,
                place,
                platform,
                method,
                secret,
            } => {
                let claim = claim(device, other_key, node, scopes, place, platform, method);
                self.connect(&match secret {
                    Some(pick) => self.with_secret(claim, pick),
                    None => claim,
                })?;
            }
            Op::IssueCode { who } => self.issue_code(&who)?,
            Op::CreateKey { wish, who } => self.create_key(&wish, &who)?,
            Op::Preapprove { device, wish, who } => self.preapprove(device, &wish, &who)?,
            Op::RevokeInvitation { pick, who } => self.revoke_invitation(pick, &who)?,
            Op::ApproveDevice { pick, who } => {
                let requests = self.state.devices.pending.records();
                let id = picked(requests.map(|request| request.request_id.clone()), pick);
                if let Some(id) = id {
                    self.approve_device(id.as_str(), None, &who)?;
                }
            }
            Op::ApproveNode { pick, who } => {
                let requests = self.state.nodes.pending.records();
                let id = picked(requests.map(|request| request.request_id.clone()), pick);
                if let Some(id) = id {
                    self.approve_node(id.as_str(), None, &who)?;
                }
            }
            Op::Look => self.look(),
            Op::ApproveLooked { pick, who } => self.approve_looked(pick, &who)?,
            Op::Rotate {
                device,
                node,
                scopes,
                who,
            } => self.rotate(device, node, scopes, &who)?,
            Op::Revoke { device, node, who } => self.revoke(device, node, &who)?,
            Op::Reconcile { device, commands } => {
                let claim = node_claim(device, subset(&COMMANDS, commands));
                let declared = claim.metadata.commands.clone().unwrap_or_default();
                self.declared.insert(claim.node.to_string(), declared);
                let (_, changes) = surface::reconcile(
                    &mut self.state,
                    &claim,
                    &policy(),
                    self.now,
                    &mut self.entropy,
                );
                self.said.push(changes);
            }
            Op::RequestNode {
                device,
                commands,
                platform,
            } => {
                let metadata = NodeMetadata {
                    platform: ["linux", "macos", "ios"]
                        .get(usize::from(platform))
                        .map(|name| (*name).into()),
                    commands: commands.map(|bits| subset(&COMMANDS, bits)),
                    ..NodeMetadata::default()
                };
                let node = NodeId::from(DEVICES[device]);
                let asked = node::request(
                    &mut self.state,
                    &node,
                    metadata,
                    true,
                    &policy(),
                    self.now,
                    &mut self.entropy,
                );
                let (answer, changes) =
                    asked.map_err(|error| TestCaseError::fail(error.to_string()))?;
                self.said.push(changes);
                prop_assert!(!answer.request.to_string().contains("SECRET"));
            }
            Op::RejectDevice { .. }
            | Op::RejectNode { .. }
            | Op::RemoveDevice { .. }
            | Op::RemoveNode { .. }
            | Op::Rename { .. } => {
                self.other(op)?;
            }
        }
        self.check()?;
        self.check_memory()
    }

    fn connect(&mut self, claim: &ConnectClaim) -> Step {
        let (id, role) = (claim.device.to_string(), claim.role.as_str().to_owned());
        let before = self.state.devices.paired.record(&id).cloned();
        let policy = admission_policy();
        let (verdict, changes) =
            admit(&mut self.state, claim, &policy, self.now, &mut self.entropy);
        self.said.push(changes);
        if let Err(NotAdmitted::NotInvited(_)) = &verdict {
            let after = self.state.devices.paired.record(&id);
            prop_assert_eq!(after, before.as_ref(), "refused and paired");
            return Ok(());
        }
        if claim.pairing == Pairing::Required {
            self.accepted(claim)?;
        }
        let invited = self.joined(claim, verdict.as_ref().ok())?;
        let here = claim.locality != Locality::Remote;
        // Written out once more, as the documents have it: nothing is asked of the code under test.
        let trusted = !here
            && claim.reported_ip == Some(TRUSTED)
            && claim.role == Role::Node
            && claim.scopes.is_empty();
        let asked = self
            .asked_here
            .entry((id.clone(), claim.public_key.clone()))
            .or_default();
        asked.key.clone_from(&claim.public_key);
        if here || trusted {
            asked.roles.insert(role.clone());
            asked.scopes.extend(set(&claim.scopes));
        }
        let after = self.state.devices.paired.record(&id);
        if before.is_none() && after.is_some() {
            prop_assert!(here || trusted || invited.is_some(), "silent from afar");
            let granted = invited.unwrap_or_else(|| asked.clone());
            let mut held = set(&claim.scopes);
            held.extend(granted.scopes.iter().cloned());
            self.devices.insert(id.clone(), granted);
            for entry in after.into_iter().flat_map(|record| record.tokens.values()) {
                for scope in entry
                    .scopes
                    .iter()
                    .filter(|scope| scope.as_str().starts_with("operator."))
                {
                    prop_assert!(
                        holds(&held, scope.as_str()),
                        "silent approval beyond the client"
                    );
                }
            }
        }
        let waived = claim.pairing == Pairing::Waived;
        if let Some(admission) = verdict
            .ok()
            .filter(|found| !waived || found.token.is_some())
        {
            let granted = self.devices.get(&id).cloned().unwrap_or_default();
            prop_assert_eq!(
                &granted.key,
                &claim.public_key,
                "came in with a key nobody approved"
            );
            prop_assert!(
                granted.roles.contains(&role),
                "came in with a role nobody approved"
            );
            for scope in &claim.scopes {
                prop_assert!(
                    holds(&granted.scopes, scope.as_str()),
                    "came in with {scope}"
                );
            }
            let issued = admission
                .token
                .ok_or_else(|| TestCaseError::fail("came in without token"))?;
            prop_assert!(token::verify(
                &self.state,
                &claim.device,
                &role,
                issued.token.as_str(),
                &claim.scopes
            ));
        }
        Ok(())
    }

    /// Approves a request as `who`; whether anything was approved.
    pub fn approve_device(
        &mut self,
        id: &str,
        expected: Option<&str>,
        who: &Who,
    ) -> Result<bool, TestCaseError> {
        let request = self.state.devices.pending.record(id).cloned();
        let (held, own) = held(who);
        let caller = as_caller(&held, own.as_ref());
        let before = self.state.clone();
        let (state, entropy) = (&mut self.state, &mut self.entropy);
        let verdict = device::approve(state, id, expected, &caller, self.now, entropy);
        let Some((answer, changes)) = verdict.ok().filter(|(answer, _)| !answer.already_approved)
        else {
            prop_assert_eq!(&self.state, &before, "a refusal changed something");
            return Ok(false);
        };
        let request = request.ok_or_else(|| TestCaseError::fail("approved what did not wait"))?;
        let shown = request.shown(&before.devices.paired);
        self.said.push(changes);
        prop_assert!(
            caller
                .device_bound
                .is_none_or(|own| own == &request.device_id)
        );
        prop_assert!(!answer.device.to_string().contains("SECRET"));
        let held = set(&held);
        let old = before.devices.paired.record(request.device_id.as_str());
        for (role, entry) in &self
            .state
            .devices
            .paired
            .record(request.device_id.as_str())
            .unwrap()
            .tokens
        {
            if old.and_then(|old| old.tokens.get(role)) == Some(entry) {
                continue;
            }
            for scope in entry
                .scopes
                .iter()
                .filter(|scope| scope.as_str().starts_with("operator."))
            {
                prop_assert!(
                    holds(&held, scope.as_str()),
                    "approved {scope} without holding it"
                );
            }
        }
        let granted = self
            .devices
            .entry(request.device_id.to_string())
            .or_default();
        if granted.key != request.public_key {
            *granted = Granted {
                key: request.public_key.clone(),
                ..Granted::default()
            };
        }
        granted.roles.extend(texts(&shown["roles"]));
        granted.scopes.extend(texts(&shown["scopes"]));
        Ok(true)
    }

    /// The same on the second layer.
    pub fn approve_node(
        &mut self,
        id: &str,
        expected: Option<&str>,
        who: &Who,
    ) -> Result<bool, TestCaseError> {
        let request = self.state.nodes.pending.record(id).cloned();
        let (held, own) = held(who);
        let before = self.state.clone();
        let caller = as_caller(&held, own.as_ref());
        let (state, entropy) = (&mut self.state, &mut self.entropy);
        let verdict = node::approve(state, id, expected, &caller, self.now, entropy);
        let Some((_, changes)) = verdict.ok().filter(|(answer, _)| !answer.already_approved) else {
            prop_assert_eq!(&self.state, &before, "a refusal changed something");
            return Ok(false);
        };
        let request = request.ok_or_else(|| TestCaseError::fail("approved what did not wait"))?;
        let shown = request.shown();
        self.said.push(changes);
        let (held, commands) = (set(&held), texts(&shown["commands"]));
        let runs = commands
            .iter()
            .any(|command| command.starts_with("system.run") || command == "system.which");
        prop_assert!(holds(&held, "operator.pairing"));
        prop_assert!(
            !runs || holds(&held, "operator.admin"),
            "exec without admin"
        );
        prop_assert!(commands.is_empty() || runs || holds(&held, "operator.write"));
        let old = before
            .nodes
            .paired
            .record(request.node_id.as_str())
            .map(|record| &record.token);
        let new = self
            .state
            .nodes
            .paired
            .record(request.node_id.as_str())
            .map(|record| &record.token);
        prop_assert_ne!(old, new, "an approval without a fresh token");
        self.nodes
            .insert(request.node_id.to_string(), commands.into_iter().collect());
        Ok(true)
    }

    fn rotate(&mut self, device: usize, node: bool, bits: Option<u8>, who: &Who) -> Step {
        let (held, own) = held(who);
        let caller = as_caller(&held, own.as_ref());
        let (device, role) = (DeviceId::from(DEVICES[device]), role(node).as_str());
        let wanted = bits.map(|bits| asked_by(node, bits).into_iter().collect::<Scopes>());
        let before = self.state.clone();
        let verdict = token::rotate(
            &mut self.state,
            &device,
            role,
            wanted.as_ref(),
            &caller,
            self.now,
            &mut self.entropy,
        );
        let Ok((rotated, changes)) = verdict else {
            prop_assert_eq!(&self.state, &before, "a refusal changed something");
            return Ok(());
        };
        self.said.push(changes);
        prop_assert!(caller.device_bound.is_none_or(|own| own == &device));
        prop_assert_eq!(rotated.token.is_some(), own.as_ref() == Some(&device));
        let held = set(&held);
        let old = before
            .devices
            .paired
            .record(device.as_str())
            .and_then(|record| record.tokens.get(role));
        for scope in rotated
            .scopes
            .iter()
            .chain(old.iter().flat_map(|entry| &entry.scopes))
        {
            prop_assert!(
                may(&held, scope.as_str()),
                "rotated {scope} without holding it"
            );
        }
        Ok(())
    }

    fn revoke(&mut self, device: usize, node: bool, who: &Who) -> Step {
        let (held, own) = held(who);
        let caller = as_caller(&held, own.as_ref());
        let (device, role) = (DeviceId::from(DEVICES[device]), role(node).as_str());
        let before = self.state.clone();
        let verdict = token::revoke(&mut self.state, &device, role, &caller, self.now);
        let Ok((_, changes)) = verdict else {
            prop_assert_eq!(&self.state, &before, "a refusal changed something");
            return Ok(());
        };
        self.said.push(changes);
        prop_assert!(caller.device_bound.is_none_or(|own| own == &device));
        let held = set(&held);
        let old = &before
            .devices
            .paired
            .record(device.as_str())
            .unwrap()
            .tokens[role];
        for scope in &old.scopes {
            prop_assert!(
                may(&held, scope.as_str()),
                "revoked {scope} without holding it"
            );
        }
        prop_assert!(!token::verify(
            &self.state,
            &device,
            role,
            old.token.as_str(),
            &Scopes::none()
        ));
        Ok(())
    }

    fn other(&mut self, op: Op) -> Step {
        let before = self.state.clone();
        let now = self.now;
        let (who, subject) = match &op {
            Op::RejectDevice { pick, who } => {
                let request = picked(self.state.devices.pending.records().cloned(), *pick);
                (who, request.map(|request| request.request_id.to_string()))
            }
            Op::RejectNode { pick, who } => {
                let request = picked(self.state.nodes.pending.records().cloned(), *pick);
                (who, request.map(|request| request.request_id.to_string()))
            }
            Op::RemoveDevice { device, who }
            | Op::RemoveNode { device, who }
            | Op::Rename { device, who } => (who, Some(DEVICES[*device].to_owned())),
            _ => return Ok(()),
        };
        let (held, own) = held(who);
        let caller = as_caller(&held, own.as_ref());
        let subject = subject.unwrap_or_default();
        let state = &mut self.state;
        let done = match &op {
            Op::RejectDevice { .. } => {
                device::reject(state, &subject, &caller, now).map(|done| done.1)
            }
            Op::RejectNode { .. } => node::reject(state, &subject, &caller, now).map(|done| done.1),
            Op::RemoveDevice { .. } => {
                device::remove(state, &subject.as_str().into(), &caller, now).map(|done| done.1)
            }
            Op::RemoveNode { .. } => {
                node::remove(state, &subject.as_str().into(), &caller, now).map(|done| done.1)
            }
            _ => node::rename(state, &subject.as_str().into(), "x", &caller).map(|done| done.1),
        };
        let Ok(changes) = done else {
            prop_assert_eq!(&self.state, &before, "a refusal changed something");
            return Ok(());
        };
        self.said.push(changes);
        match op {
            Op::RemoveDevice { .. } => {
                prop_assert!(
                    caller
                        .device_bound
                        .is_none_or(|own| own.as_str() == subject)
                );
                self.devices.remove(&subject);
                self.nodes.remove(&subject);
                self.guest_removed(&subject);
                let mut kept = records(&self.state);
                // A key remembers whom it let in, so that it does so no more.
                kept.invitations.join_keys = Shelf::default();
                let text = format!("{kept:?}");
                prop_assert!(
                    !text.contains(&format!("\"{subject}\"")),
                    "left behind: {text}"
                );
            }
            Op::RemoveNode { .. } => {
                self.nodes.remove(&subject);
            }
            _ => {}
        }
        Ok(())
    }
}

fn picked<T>(items: impl Iterator<Item = T>, pick: usize) -> Option<T> {
    let mut items: Vec<T> = items.collect();
    if items.is_empty() {
        None
    } else {
        Some(items.swap_remove(pick % items.len()))
    }
}

pub fn role(node: bool) -> Role {
    if node { Role::Node } else { Role::Operator }
}

pub fn held(who: &Who) -> (Scopes, Option<DeviceId>) {
    let scopes = subset(&SCOPES, who.scopes).into_iter().collect();
    (
        scopes,
        who.device.map(|device| DeviceId::from(DEVICES[device])),
    )
}

pub fn as_caller<'a>(scopes: &'a Scopes, own: Option<&'a DeviceId>) -> Caller<'a> {
    own.map_or_else(|| caller(scopes), |own| device_caller(scopes, own))
}

fn claim(
    device: usize,
    other_key: bool,
    node: bool,
    scopes: u8,
    place: u8,
    platform: u8,
    method: u8,
) -> ConnectClaim {
    let methods = [
        AuthMethod::Token,
        AuthMethod::Password,
        AuthMethod::DeviceToken,
        AuthMethod::None,
    ];
    let asked = asked_by(node, scopes);
    ConnectClaim {
        device: DEVICES[device].into(),
        public_key: public_key(device, other_key),
        role: role(node),
        scopes: asked.into_iter().collect(),
        platform: Some(["linux", "linux 6", "win32"][usize::from(platform)].to_owned()),
        device_family: None,
        display_name: None,
        client_id: "cli".to_owned(),
        client_mode: "cli".to_owned(),
        reported_ip: (place == 2).then_some(TRUSTED),
        reported_by: AddressSource::Direct,
        locality: if place == 0 {
            Locality::DirectLocal
        } else {
            Locality::Remote
        },
        has_origin: false,
        browser_client: false,
        method: methods[usize::from(method)],
        invitation: None,
        pairing: if place == 3 {
            Pairing::Waived
        } else {
            Pairing::Required
        },
    }
}

/// The key of a device, or one that is not its own.
pub fn public_key(device: usize, other_key: bool) -> String {
    match (DEVICES.len() - 1 == device, other_key) {
        (true, false) => REAL_KEY.to_owned(),
        _ => format!("key-{device}-{other_key}"),
    }
}

pub fn node_claim(device: usize, commands: Vec<String>) -> NodeClaim {
    node_claim_of(DEVICES[device], commands)
}

/// What node `node` says about itself.
pub fn node_claim_of(node: &str, commands: Vec<String>) -> NodeClaim {
    let metadata = NodeMetadata {
        platform: Some("linux".to_owned()),
        commands: Some(commands),
        ..NodeMetadata::default()
    };
    NodeClaim {
        node: node.into(),
        metadata,
    }
}
