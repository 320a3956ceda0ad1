//! What must hold after any sequence of operations by anybody: nothing is granted that nobody granted,
//! no secret shows, nobody waits unseen, nothing waits too long.
//!
//! The ledger below notes what each approver was shown and approved, and judges the state by rules of
//! its own rather than by those of the room.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::Value;

use super::{
    Caller, Changes, REQUEST_TTL_MS, State,
    change::Part,
    connect::{AuthMethod, ConnectClaim, Locality, Pairing, admit},
    device, expire, next_expiry, node,
    node_record::NodeMetadata,
    policy::CommandPolicy,
    surface::{self, NodeClaim},
    testing::{Counter, NOW, caller, device_caller, paired, scopes, with_devices, words},
    token,
    truth::{self, View},
};
use crate::{
    identity::{DeviceId, NodeId},
    protocol::scope::{Role, Scopes},
};

const SCOPES: [&str; 6] = [
    "operator.admin",
    "operator.read",
    "operator.write",
    "operator.pairing",
    "operator.talk.secrets",
    "node.x",
];
const COMMANDS: [&str; 5] = [
    "system.run",
    "system.which",
    "system.notify",
    "canvas.eval",
    "camera.snap",
];
const DEVICES: [&str; 3] = ["d0", "d1", "d2"];

/// What the operator allows and denies in every run; `camera.snap` is added, `system.notify` taken.
fn policy() -> CommandPolicy {
    CommandPolicy {
        allow: words(&["camera.snap"]),
        deny: words(&["system.notify"]),
    }
}

#[derive(Clone, Debug)]
struct Who {
    scopes: u8,
    device: Option<usize>,
}

#[derive(Clone, Debug)]
enum Op {
    Connect {
        device: usize,
        other_key: bool,
        node: bool,
        scopes: u8,
        place: u8,
        platform: u8,
        method: u8,
    },
    ApproveDevice {
        pick: usize,
        who: Who,
    },
    RejectDevice {
        pick: usize,
        who: Who,
    },
    RemoveDevice {
        device: usize,
        who: Who,
    },
    Rotate {
        device: usize,
        node: bool,
        scopes: Option<u8>,
        who: Who,
    },
    Revoke {
        device: usize,
        node: bool,
        who: Who,
    },
    Reconcile {
        device: usize,
        commands: u8,
    },
    RequestNode {
        device: usize,
        commands: Option<u8>,
        platform: u8,
    },
    ApproveNode {
        pick: usize,
        who: Who,
    },
    RejectNode {
        pick: usize,
        who: Who,
    },
    RemoveNode {
        device: usize,
        who: Who,
    },
    Rename {
        device: usize,
        who: Who,
    },
    Wait {
        ms: u64,
    },
    Expire,
}

fn who() -> impl Strategy<Value = Who> {
    // Everybody, and more often those two that matter: pairing alone, and an administrator.
    let scopes = prop_oneof![Just(0b1000), Just(0b0001), any::<u8>()];
    let device = prop::option::of(0..DEVICES.len());
    (scopes, device).prop_map(|(scopes, device)| Who { scopes, device })
}

fn operation() -> impl Strategy<Value = Op> {
    let device = || 0..DEVICES.len();
    let connect = (
        device(),
        prop::bool::weighted(0.1),
        any::<bool>(),
        any::<u8>(),
        0..4u8,
        0..3u8,
        0..4u8,
    );
    prop_oneof![
        6 => connect.prop_map(|(device, other_key, node, scopes, place, platform, method)| {
            Op::Connect { device, other_key, node, scopes, place, platform, method }
        }),
        4 => (any::<usize>(), who()).prop_map(|(pick, who)| Op::ApproveDevice { pick, who }),
        1 => (any::<usize>(), who()).prop_map(|(pick, who)| Op::RejectDevice { pick, who }),
        1 => (device(), who()).prop_map(|(device, who)| Op::RemoveDevice { device, who }),
        3 => (device(), any::<bool>(), prop::option::of(any::<u8>()), who())
            .prop_map(|(device, node, scopes, who)| Op::Rotate { device, node, scopes, who }),
        2 => (device(), any::<bool>(), who()).prop_map(|(device, node, who)| Op::Revoke { device, node, who }),
        4 => (device(), any::<u8>()).prop_map(|(device, commands)| Op::Reconcile { device, commands }),
        2 => (device(), prop::option::of(any::<u8>()), 0..3u8)
            .prop_map(|(device, commands, platform)| Op::RequestNode { device, commands, platform }),
        4 => (any::<usize>(), who()).prop_map(|(pick, who)| Op::ApproveNode { pick, who }),
        1 => (any::<usize>(), who()).prop_map(|(pick, who)| Op::RejectNode { pick, who }),
        1 => (device(), who()).prop_map(|(device, who)| Op::RemoveNode { device, who }),
        1 => (device(), who()).prop_map(|(device, who)| Op::Rename { device, who }),
        2 => (0..200_000u64).prop_map(|ms| Op::Wait { ms }),
        1 => Just(Op::Expire),
    ]
}

/// The words whose bit is set.
fn subset(all: &[&str], bits: u8) -> Vec<String> {
    let chosen = all
        .iter()
        .enumerate()
        .filter(|(index, _)| bits >> index & 1 == 1);
    chosen.map(|(_, word)| (*word).to_owned()).collect()
}

/// Whether holding `held` is enough for `scope`, in the ledger's own words.
fn holds(held: &BTreeSet<String>, scope: &str) -> bool {
    held.contains(scope)
        || (scope.starts_with("operator.") && held.contains("operator.admin"))
        || (scope == "operator.read" && held.contains("operator.write"))
}

/// Whether a session with `held` may give or take `scope`: an administrator may everything.
fn may(held: &BTreeSet<String>, scope: &str) -> bool {
    held.contains("operator.admin") || holds(held, scope)
}

fn set(scopes: &Scopes) -> BTreeSet<String> {
    scopes.iter().map(ToString::to_string).collect()
}

/// What was granted to one device or node, as far as the approvers knew.
#[derive(Clone, Debug, Default)]
struct Granted {
    key: String,
    roles: BTreeSet<String>,
    scopes: BTreeSet<String>,
}

#[derive(Default)]
struct World {
    state: State,
    entropy: Counter,
    now: u64,
    devices: BTreeMap<String, Granted>,
    /// What each device and key ever asked for from this host: all that silence may grant.
    asked_here: BTreeMap<(String, String), Granted>,
    nodes: BTreeMap<String, BTreeSet<String>>,
    declared: BTreeMap<String, Vec<String>>,
    said: Vec<Changes>,
}

type Step = Result<(), TestCaseError>;

impl World {
    /// `d2` is approved for everything and its token carries little; the others are strangers.
    fn new() -> World {
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

    fn run(&mut self, op: Op) -> Step {
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
            } => {
                self.connect(&claim(
                    device, other_key, node, scopes, place, platform, method,
                ))?;
            }
            Op::ApproveDevice { pick, who } => self.approve_device(pick, &who)?,
            Op::ApproveNode { pick, who } => self.approve_node(pick, &who)?,
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
        self.check()
    }

    fn connect(&mut self, claim: &ConnectClaim) -> Step {
        let (id, role) = (claim.device.to_string(), claim.role.as_str().to_owned());
        let before = self.state.devices.paired.record(&id).cloned();
        let (verdict, changes) = admit(&mut self.state, claim, self.now, &mut self.entropy);
        self.said.push(changes);
        let here = claim.locality != Locality::Remote;
        let asked = self
            .asked_here
            .entry((id.clone(), claim.public_key.clone()))
            .or_default();
        asked.key.clone_from(&claim.public_key);
        if here {
            asked.roles.insert(role.clone());
            asked.scopes.extend(set(&claim.scopes));
        }
        let after = self.state.devices.paired.record(&id);
        if before.is_none() && after.is_some() {
            prop_assert!(here, "silent from afar");
            self.devices.insert(id.clone(), asked.clone());
            let held = set(&claim.scopes);
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

    fn approve_device(&mut self, pick: usize, who: &Who) -> Step {
        let Some(request) = picked(self.state.devices.pending.records().cloned(), pick) else {
            return Ok(());
        };
        let shown = request.shown();
        let (held, own) = held(who);
        let caller = as_caller(&held, own.as_ref());
        let before = self.state.clone();
        let id = request.request_id.as_str();
        let verdict = device::approve(&mut self.state, id, &caller, self.now, &mut self.entropy);
        let Ok((answer, changes)) = verdict else {
            prop_assert_eq!(&self.state, &before, "a refusal changed something");
            return Ok(());
        };
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
        Ok(())
    }

    fn approve_node(&mut self, pick: usize, who: &Who) -> Step {
        let Some(request) = picked(self.state.nodes.pending.records().cloned(), pick) else {
            return Ok(());
        };
        let shown = request.shown();
        let (held, own) = held(who);
        let before = self.state.clone();
        let caller = as_caller(&held, own.as_ref());
        let id = request.request_id.as_str();
        let verdict = node::approve(&mut self.state, id, &caller, self.now, &mut self.entropy);
        let Ok((_, changes)) = verdict else {
            prop_assert_eq!(&self.state, &before, "a refusal changed something");
            return Ok(());
        };
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
        Ok(())
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
                let text = format!("{:?}", self.state);
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

    /// What holds whatever happened.
    fn check(&mut self) -> Step {
        for record in self.state.devices.paired.records() {
            let granted = self
                .devices
                .get(record.device_id.as_str())
                .cloned()
                .unwrap_or_default();
            prop_assert_eq!(&record.public_key, &granted.key);
            for role in record.approved_roles() {
                prop_assert!(granted.roles.contains(role), "role {role} out of nowhere");
            }
            for scope in record.approved_scopes() {
                prop_assert!(
                    holds(&granted.scopes, scope.as_str()),
                    "approved {scope} out of nowhere"
                );
            }
            for (role, entry) in &record.tokens {
                prop_assert!(
                    granted.roles.contains(role),
                    "token for {role} out of nowhere"
                );
                for scope in &entry.scopes {
                    let own = scope.as_str().starts_with(&format!("{role}."));
                    prop_assert!(
                        own && holds(&granted.scopes, scope.as_str()),
                        "token {scope} out of nowhere"
                    );
                }
            }
        }
        for (node, declared) in &self.declared {
            let claim = node_claim_of(node, declared.clone());
            let found = surface::surface(&self.state, &claim, &policy(), self.now);
            let granted = self.nodes.get(node).cloned().unwrap_or_default();
            for command in &found.effective {
                prop_assert!(
                    granted.contains(command),
                    "{command} runs and nobody approved it"
                );
                prop_assert!(
                    declared.contains(command),
                    "{command} runs and was not declared"
                );
                prop_assert!(
                    !["system.notify", "canvas.eval"].contains(&command.as_str()),
                    "{command} is not allowed"
                );
            }
        }
        self.check_lists()
    }

    fn check_lists(&mut self) -> Step {
        let all = scopes(&["operator.admin"]);
        let shown = serde_json::to_string(&(
            device::list(&self.state, &caller(&all), self.now),
            node::list(&self.state, self.now),
            truth::pending(&self.state, View::Devices, self.now),
        ));
        prop_assert!(!shown.unwrap().contains("SECRET"), "a list shows a token");
        for changes in self.said.drain(..) {
            prop_assert!(
                !format!("{changes:?}").contains("SECRET"),
                "a change shows a token"
            );
        }
        let rows = truth::pending(&self.state, View::Devices, self.now);
        let listed: BTreeSet<String> = rows
            .iter()
            .flat_map(|row| texts(&serde_json::json!([row["requestId"]])))
            .collect();
        let devices = self
            .state
            .devices
            .pending
            .records()
            .map(|request| (&request.request_id, request.ts));
        let nodes = self
            .state
            .nodes
            .pending
            .records()
            .map(|request| (&request.request_id, request.ts));
        for (id, ts) in devices.chain(nodes) {
            let over = self.now.abs_diff(ts) > REQUEST_TTL_MS;
            prop_assert_eq!(listed.contains(id.as_str()), !over, "{} waits unseen", id);
        }
        let waiting: Vec<&str> = self
            .state
            .nodes
            .pending
            .records()
            .map(|request| request.node_id.as_str())
            .collect();
        let unique: BTreeSet<&str> = waiting.iter().copied().collect();
        prop_assert_eq!(waiting.len(), unique.len(), "two requests of one node");
        Ok(())
    }
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn picked<T>(items: impl Iterator<Item = T>, pick: usize) -> Option<T> {
    let mut items: Vec<T> = items.collect();
    if items.is_empty() {
        None
    } else {
        Some(items.swap_remove(pick % items.len()))
    }
}

/// Mostly scopes that fit the role, else any.
fn asked_by(node: bool, bits: u8) -> Vec<String> {
    let mut asked = subset(&SCOPES, bits);
    if bits < 0xe0 {
        asked.retain(|scope| scope.starts_with("node.") == node);
    }
    asked
}

fn role(node: bool) -> Role {
    if node { Role::Node } else { Role::Operator }
}

fn held(who: &Who) -> (Scopes, Option<DeviceId>) {
    let scopes = subset(&SCOPES, who.scopes).into_iter().collect();
    (
        scopes,
        who.device.map(|device| DeviceId::from(DEVICES[device])),
    )
}

fn as_caller<'a>(scopes: &'a Scopes, own: Option<&'a DeviceId>) -> Caller<'a> {
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
        public_key: format!("key-{device}-{other_key}"),
        role: role(node),
        scopes: asked.into_iter().collect(),
        platform: Some(["linux", "linux 6", "win32"][usize::from(platform)].to_owned()),
        device_family: None,
        display_name: None,
        client_id: "cli".to_owned(),
        client_mode: "cli".to_owned(),
        reported_ip: None,
        locality: if place == 0 {
            Locality::DirectLocal
        } else {
            Locality::Remote
        },
        has_origin: false,
        browser_client: false,
        method: methods[usize::from(method)],
        pairing: if place == 3 {
            Pairing::Waived
        } else {
            Pairing::Required
        },
    }
}

fn node_claim(device: usize, commands: Vec<String>) -> NodeClaim {
    node_claim_of(DEVICES[device], commands)
}

fn node_claim_of(node: &str, commands: Vec<String>) -> NodeClaim {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_granted_shown_or_kept_waiting_by_any_sequence(operations in prop::collection::vec(operation(), 1..60)) {
        let mut world = World::new();
        for op in operations {
            world.run(op)?;
        }
        let mut again = State::default();
        for part in Part::ALL {
            let text = world.state.render(part).unwrap();
            again.read(part, serde_json::from_str(&text).unwrap()).unwrap();
        }
        prop_assert_eq!(again, world.state, "a state that its own files do not give back");
    }
}
