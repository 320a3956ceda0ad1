//! What the tests of this room share: countable randomness, claims, callers and small questions.

use serde_json::{Value, json};

use super::{
    Caller, Change, Changes, Entropy, Refusal, State,
    change::Part,
    connect::{
        AddressSource, Admission, AdmissionPolicy, AuthMethod, ConnectClaim, Locality, NotAdmitted,
        Pairing, admit,
    },
    networks::Networks,
    node_record::NodeMetadata,
    surface::NodeClaim,
    waiting::PairingRequired,
};
use crate::{
    identity::{DeviceId, NodeId, RequestId, Token},
    protocol::scope::{Role, Scopes},
};

/// A time of the day for tests, epoch milliseconds.
pub const NOW: u64 = 1_795_221_000_000;

/// Ids `r1`, `r2`, … and tokens `SECRET-1`, `SECRET-2`, ….
#[derive(Debug, Default)]
pub struct Counter {
    requests: u32,
    tokens: u32,
}

impl Entropy for Counter {
    fn request_id(&mut self) -> RequestId {
        self.requests += 1;
        RequestId::from(format!("r{}", self.requests))
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token::from(format!("SECRET-{}", self.tokens))
    }
}

/// Scopes from words.
pub fn scopes(words: &[&str]) -> Scopes {
    words.iter().copied().collect()
}

/// A remote device `d` with a proven shared token that asks for this.
pub fn remote(role: Role, words: &[&str]) -> ConnectClaim {
    ConnectClaim {
        device: DeviceId::from("d"),
        public_key: "key-d".to_owned(),
        role,
        scopes: scopes(words),
        platform: Some("linux".to_owned()),
        device_family: None,
        display_name: Some("Build Node".to_owned()),
        client_id: if role == Role::Node {
            "node-host"
        } else {
            "cli"
        }
        .to_owned(),
        client_mode: if role == Role::Node { "node" } else { "cli" }.to_owned(),
        reported_ip: Some([203, 0, 113, 9].into()),
        reported_by: AddressSource::Direct,
        locality: Locality::Remote,
        has_origin: false,
        browser_client: false,
        method: AuthMethod::Token,
        invitation: None,
        pairing: Pairing::Required,
    }
}

/// The same on this host.
pub fn local(role: Role, words: &[&str]) -> ConnectClaim {
    ConnectClaim {
        locality: Locality::DirectLocal,
        reported_ip: None,
        ..remote(role, words)
    }
}

/// A policy that approves first node pairings from these networks.
pub fn trusting(networks: &[&str]) -> AdmissionPolicy {
    AdmissionPolicy {
        auto_approve: Networks::parse(&words(networks)),
        ..AdmissionPolicy::default()
    }
}

/// A caller with the shared secret and these scopes.
pub fn caller(scopes: &Scopes) -> Caller<'_> {
    Caller {
        scopes,
        device_bound: None,
        own_device: None,
        label: "tester".to_owned(),
        via: "test".to_owned(),
        from: None,
    }
}

/// A caller who came with the token of `device`.
pub fn device_caller<'a>(scopes: &'a Scopes, device: &'a DeviceId) -> Caller<'a> {
    let admin = scopes.allows(&crate::protocol::scope::Scope::ADMIN);
    Caller {
        device_bound: Some(device).filter(|_| !admin),
        own_device: Some(device),
        ..caller(scopes)
    }
}

/// A node claim for node `d` on Linux with these commands.
pub fn node_claim(commands: &[&str]) -> NodeClaim {
    NodeClaim {
        node: NodeId::from("d"),
        metadata: NodeMetadata {
            display_name: Some("Build Node".to_owned()),
            platform: Some("linux".to_owned()),
            caps: Some(vec!["system".to_owned()]),
            commands: Some(words(commands)),
            ..NodeMetadata::default()
        },
    }
}

/// Owned words.
pub fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

/// Lets a device in that must come in.
pub fn enters(
    state: &mut State,
    claim: &ConnectClaim,
    entropy: &mut Counter,
) -> (Admission, Changes) {
    let (verdict, changes) = admit(state, claim, &AdmissionPolicy::default(), NOW, entropy);
    (verdict.unwrap(), changes)
}

/// The refusal of a device that must wait.
pub fn waits(
    state: &mut State,
    claim: &ConnectClaim,
    now: u64,
    entropy: &mut Counter,
) -> (PairingRequired, Changes) {
    match admit(state, claim, &AdmissionPolicy::default(), now, entropy) {
        (Err(NotAdmitted::PairingRequired(waiting)), changes) => (*waiting, changes),
        (other, _) => panic!("should wait: {other:?}"),
    }
}

/// The events among changes.
pub fn events(changes: &Changes) -> Vec<(&'static str, Value)> {
    let emitted = changes.iter().filter_map(|change| match change {
        Change::Emit { event, payload } => Some((*event, payload.clone())),
        _ => None,
    });
    emitted.collect()
}

/// The state without its memory of former requests.
pub fn records(state: &State) -> State {
    State {
        resolved: Default::default(),
        ..state.clone()
    }
}

/// What became of a request, as its refusal tells: state, who, replacement.
pub fn fate(refusal: Option<Refusal>) -> (Value, Value, Value) {
    let details = refusal
        .and_then(|refusal| refusal.details())
        .unwrap_or_default();
    (
        details["state"].clone(),
        details["by"].clone(),
        details["replacedBy"].clone(),
    )
}

/// The parts that must be saved, in order.
pub fn saves(changes: &Changes) -> Vec<Part> {
    let saved = changes.iter().filter_map(|change| match change {
        Change::Save(part) => Some(*part),
        _ => None,
    });
    saved.collect()
}

/// A state whose devices are these records.
pub fn with_devices(records: &[Value]) -> State {
    let mut state = State::default();
    let members = records.iter().map(|record| {
        let id = record["deviceId"].as_str().unwrap().to_owned();
        (id, record.clone())
    });
    state
        .read(Part::DevicesPaired, Value::Object(members.collect()))
        .unwrap();
    state
}

/// A paired device `d` with one token per role: `(role, token scopes)`.
pub fn paired(approved: &[&str], tokens: &[(&str, &[&str])]) -> Value {
    let roles: Vec<&str> = tokens.iter().map(|(role, _)| *role).collect();
    let entries = tokens.iter().map(|(role, scopes)| {
        let entry = json!({"token": format!("SECRET-OLD-{role}"), "role": role, "scopes": scopes,
            "createdAtMs": 1});
        ((*role).to_owned(), entry)
    });
    json!({"deviceId": "d", "publicKey": "key-d", "displayName": "Old Name", "platform": "Linux",
        "role": roles[0], "roles": roles, "scopes": approved, "approvedScopes": approved,
        "tokens": Value::Object(entries.collect()), "createdAtMs": 1, "approvedAtMs": 2})
}
