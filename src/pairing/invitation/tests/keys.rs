//! Join keys and pre-approvals.

use super::*;
use crate::{
    identity::DeviceKey,
    pairing::{
        invitation::{
            join_key::{Created, NewKey, create},
            preapproval::{NewPreapproval, preapprove},
            terms::Terms,
        },
        node,
        policy::CommandPolicy,
        surface::{self, Surface},
        testing::{device_caller, node_claim, words},
    },
};

const HOUR: u64 = 3_600_000;

fn node_terms(commands: &[&str]) -> Terms {
    Terms {
        role: Node,
        scopes: scopes(&[]),
        commands: words(commands),
    }
}

fn new_key(commands: &[&str], uses: u64) -> NewKey {
    NewKey {
        name: Some("rack 3".into()),
        terms: node_terms(commands),
        cidrs: Vec::new(),
        uses,
        ttl_ms: HOUR,
    }
}

fn made(state: &mut State, wanted: NewKey, entropy: &mut Counter) -> Created {
    let admin = scopes(&["operator.admin"]);
    let (created, changes) = create(state, wanted, &caller(&admin), NOW, entropy).unwrap();
    assert_eq!(saves(&changes), [Part::JoinKeys]);
    assert!(!format!("{changes:?}{state:?}").contains(created.key.as_str()));
    created
}

/// The claim of another device.
fn as_device(id: &str, claim: &ConnectClaim) -> ConnectClaim {
    ConnectClaim {
        device: id.into(),
        public_key: format!("key-{id}"),
        ..claim.clone()
    }
}

/// What the gateway does with a node that was admitted, in one transaction.
fn joins(
    state: &mut State,
    claim: &ConnectClaim,
    declared: &[&str],
    entropy: &mut Counter,
) -> (Surface, Changes) {
    let (admission, mut changes) = enters(state, claim, entropy);
    let mut node = node_claim(declared);
    node.node = (&claim.device).into();
    let policy = CommandPolicy::default();
    if let Some(by) = &admission.joined {
        changes.extend(surface::join(state, &node, by, &policy, NOW, entropy));
    }
    let (found, asked) = surface::reconcile(state, &node, &policy, NOW, entropy);
    changes.extend(asked);
    assert!(!format!("{changes:?}").contains("SECRET"), "{changes:?}");
    (found, changes)
}

#[test]
fn a_key_lets_new_nodes_in_on_both_layers_as_often_as_it_says() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let key = made(
        &mut state,
        new_key(&["system.run", "system.which"], 2),
        &mut entropy,
    );
    let first = invited(remote(Node, &[]), &key.key);
    let declared = ["system.which", "system.run"];
    let (found, changes) = joins(&mut state, &first, &declared, &mut entropy);
    assert_eq!(found.effective, declared);
    assert_eq!((found.paired, &found.request), (true, &None));
    assert_eq!(
        saves(&changes),
        [Part::JoinKeys, Part::DevicesPaired, Part::NodesPaired],
        "bound before anything"
    );
    let told: Vec<_> = events(&changes)
        .into_iter()
        .map(|(event, _)| event)
        .collect();
    assert_eq!(told, [device::RESOLVED]);

    // Coming again costs nothing and approves nothing.
    let (_, changes) = joins(&mut state, &first, &declared, &mut entropy);
    assert_eq!(saves(&changes), []);
    joins(&mut state, &as_device("e", &first), &declared, &mut entropy);
    assert_eq!(
        refused(&mut state, &as_device("f", &first), NOW),
        Why::UsedUp
    );
    let (again, _) = joins(&mut state, &first, &declared, &mut entropy);
    assert_eq!(again.effective, declared);
    let admin = scopes(&["operator.admin"]);
    let listed = list(&state, &caller(&admin), NOW).unwrap();
    let row = &listed.keys[0];
    assert_eq!(
        (&row["usesLeft"], &row["status"], &row["name"]),
        (&json!(0), &json!("used-up"), &json!("rack 3"))
    );
    assert_eq!(row["joined"][1]["deviceId"], "e");
    let shown = serde_json::to_string(&listed).unwrap();
    assert!(
        !shown.contains("SECRET") && !shown.contains("ecretHash"),
        "{shown}"
    );
}

#[test]
fn what_a_key_does_not_name_waits_for_a_person() {
    // of the key, declared → runs at once, waits
    type Row = (
        &'static [&'static str],
        &'static [&'static str],
        &'static [&'static str],
        bool,
    );
    let table: &[Row] = &[
        (
            &["system.which"],
            &["system.which"],
            &["system.which"],
            false,
        ),
        (
            &["system.which"],
            &["system.run", "system.which"],
            &["system.which"],
            true,
        ),
        (&["canvas.eval"], &["canvas.eval"], &[], true),
        (&["canvas.eval"], &["system.which"], &[], true),
        (&[], &["system.which"], &[], true),
        (&["system.which"], &[], &[], true),
    ];
    for (allowed, declared, runs, waits) in table {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        let key = made(&mut state, new_key(allowed, 1), &mut entropy);
        let claim = invited(remote(Node, &[]), &key.key);
        let (found, _) = joins(&mut state, &claim, declared, &mut entropy);
        assert_eq!(
            (found.effective, found.request.is_some()),
            (words(runs), *waits),
            "{allowed:?} {declared:?}"
        );
    }
}

#[test]
fn a_key_refuses_with_its_reason_and_is_not_used_up_by_it() {
    type Row = (fn(&mut NewKey), ConnectClaim, u64, Why);
    let table: [Row; 8] = [
        (|_| {}, remote(Node, &[]), NOW + HOUR + 1, Why::Expired),
        (|_| {}, remote(Operator, &[]), NOW, Why::Role),
        (|_| {}, remote(Node, &["node.x"]), NOW, Why::Scopes),
        (
            |key| key.cidrs = words(&["10.0.0.0/8"]),
            remote(Node, &[]),
            NOW,
            Why::Address,
        ),
        (
            |key| key.cidrs = words(&["10.0.0.0/8"]),
            local(Node, &[]),
            NOW,
            Why::Address,
        ),
        (
            |key| key.cidrs = words(&["203.0.113.0/24"]),
            ConnectClaim {
                reported_by: AddressSource::LoopbackTrustedProxy,
                ..remote(Node, &[])
            },
            NOW,
            Why::Address,
        ),
        (
            |key| key.cidrs = words(&["203.0.113.0/24"]),
            ConnectClaim {
                reported_ip: None,
                ..remote(Node, &[])
            },
            NOW,
            Why::Address,
        ),
        (
            |key| {
                key.terms.role = Operator;
                key.terms.scopes = scopes(&["operator.read"]);
            },
            remote(Operator, &["operator.write"]),
            NOW,
            Why::Scopes,
        ),
    ];
    for (change, claim, now, why) in table {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        let mut wanted = new_key(&[], 1);
        change(&mut wanted);
        let key = made(&mut state, wanted, &mut entropy);
        let claim = invited(claim, &key.key);
        assert_eq!(refused(&mut state, &claim, now), why, "{claim:?}");
    }
    for (cidr, claim) in [
        ("203.0.113.9", remote(Node, &[])),
        ("127.0.0.0/8", local(Node, &[])),
    ] {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        let mut wanted = new_key(&[], 1);
        wanted.cidrs = words(&["fd00::/8", cidr]);
        let key = made(&mut state, wanted, &mut entropy);
        enters(&mut state, &invited(claim, &key.key), &mut entropy);
    }
}

#[test]
fn a_removed_device_does_not_come_back_by_its_key() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let key = made(&mut state, new_key(&["system.which"], 5), &mut entropy);
    let claim = invited(remote(Node, &[]), &key.key);
    joins(&mut state, &claim, &["system.which"], &mut entropy);
    let admin = scopes(&["operator.admin"]);
    let (_, changes) = device::remove(&mut state, &"d".into(), &caller(&admin), NOW).unwrap();
    assert_eq!(
        saves(&changes)[0],
        Part::JoinKeys,
        "before the removal itself"
    );
    assert_eq!(refused(&mut state, &claim, NOW), Why::Removed);
    enters(&mut state, &as_device("e", &claim), &mut entropy);
}

#[test]
fn a_join_that_was_interrupted_is_finished_and_counts_once() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let key = made(&mut state, new_key(&["system.which"], 1), &mut entropy);
    let before = state.clone();
    let claim = invited(remote(Node, &[]), &key.key);
    joins(&mut state, &claim, &["system.which"], &mut entropy);
    // After each step on the disk: the key alone, the key and the node.
    for nodes in [before.nodes.clone(), state.nodes.clone()] {
        let mut torn = State {
            devices: before.devices.clone(),
            nodes,
            invitations: state.invitations.clone(),
            resolved: before.resolved.clone(),
            switch: before.switch,
        };
        let other = as_device("e", &claim);
        assert_eq!(refused(&mut torn, &other, NOW), Why::UsedUp);
        let (found, _) = joins(&mut torn, &claim, &["system.which"], &mut entropy);
        assert_eq!(found.effective, ["system.which"]);
        assert_eq!(torn.invitations, state.invitations);
    }
}

#[test]
fn a_revoked_key_lets_nobody_in_and_ends_nobody() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let key = made(&mut state, new_key(&[], 5), &mut entropy);
    let claim = invited(remote(Node, &[]), &key.key);
    enters(&mut state, &claim, &mut entropy);
    let pairing = scopes(&["operator.pairing"]);
    let id = key.shown["id"].as_str().unwrap();
    let (revoked, changes) = revoke(&mut state, id, &caller(&pairing), NOW).unwrap();
    assert_eq!(
        (revoked.kind, saves(&changes)),
        ("join-key", vec![Part::JoinKeys])
    );
    assert_eq!(
        refused(&mut state, &as_device("e", &claim), NOW),
        Why::Revoked
    );
    assert_eq!(refused(&mut state, &claim, NOW), Why::Revoked);
    assert!(state.devices.paired.record("d").is_some());
    let unknown = revoke(&mut state, "zzz", &caller(&pairing), NOW);
    assert_eq!(unknown.unwrap_err(), Refusal::UnknownInvitation);
}

#[test]
fn nobody_invites_to_what_he_could_not_approve() {
    let operator = |words: &[&str]| Terms {
        role: Operator,
        scopes: scopes(words),
        commands: Vec::new(),
    };
    let table: &[(&[&str], Terms, Option<&str>)] = &[
        (
            &["operator.read"],
            node_terms(&[]),
            Some("operator.pairing"),
        ),
        (&["operator.pairing"], node_terms(&[]), None),
        (
            &["operator.pairing"],
            node_terms(&["camera.snap"]),
            Some("operator.write"),
        ),
        (
            &["operator.pairing", "operator.write"],
            node_terms(&["camera.snap"]),
            None,
        ),
        (
            &["operator.pairing", "operator.write"],
            node_terms(&["system.which"]),
            Some("operator.admin"),
        ),
        (
            &["operator.pairing", "operator.write"],
            node_terms(&[" system.run "]),
            Some("operator.admin"),
        ),
        (&["operator.admin"], node_terms(&["system.run"]), None),
        (
            &["operator.pairing"],
            operator(&["operator.read"]),
            Some("operator.read"),
        ),
        (
            &["operator.pairing", "operator.read"],
            operator(&["operator.read"]),
            None,
        ),
        (
            &["operator.pairing", "operator.read"],
            operator(&["operator.write"]),
            Some("operator.write"),
        ),
    ];
    for (held, terms, missing) in table {
        let held = scopes(held);
        let key = NewKey {
            terms: terms.clone(),
            ..new_key(&[], 1)
        };
        let device = NewPreapproval {
            public_key: DeviceKey::from_seed(&[9; 32]).unwrap().public().encode(),
            name: None,
            terms: terms.clone(),
            ttl_ms: HOUR,
        };
        let (mut state, mut entropy) = (State::default(), Counter::default());
        let by = caller(&held);
        let made = create(&mut state, key, &by, NOW, &mut entropy).map(drop);
        let expected = missing.map(|scope| Refusal::MissingScope(scope.into()));
        assert_eq!(made.err(), expected, "{held:?} {terms:?}");
        let expects = preapprove(&mut state, device, &by, NOW).map(drop);
        assert_eq!(expects.err(), expected, "{held:?} {terms:?}");
    }
    let (admin, own) = (scopes(&["operator.pairing"]), "d".into());
    let bound = device_caller(&admin, &own);
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let denied = Err(Refusal::InvitationsDenied);
    let made = create(&mut state, new_key(&[], 1), &bound, NOW, &mut entropy);
    assert_eq!(made.map(drop), denied);
    assert_eq!(revoke(&mut state, "x", &bound, NOW).map(drop), denied);
    assert_eq!(list(&state, &bound, NOW).map(drop), denied);
}

#[test]
fn a_key_that_makes_no_sense_is_not_made() {
    type Row = (fn(&mut NewKey), &'static str);
    let table: [Row; 10] = [
        (|key| key.uses = 0, "uses must be between 1 and 10000"),
        (|key| key.uses = 10_001, "uses must be between 1 and 10000"),
        (
            |key| key.ttl_ms = 0,
            "ttl must be between 1 millisecond and 30 days",
        ),
        (
            |key| key.ttl_ms = 31 * 24 * HOUR,
            "ttl must be between 1 millisecond and 30 days",
        ),
        (
            |key| key.cidrs = words(&["10.0.0.0/40"]),
            "not an IP address or CIDR block: 10.0.0.0/40",
        ),
        (
            |key| key.name = Some("a\nb".into()),
            "name: at most 200 bytes without control characters",
        ),
        (
            |key| key.terms.commands = words(&["a\u{1b}"]),
            "commands: at most 200 bytes without control characters",
        ),
        (
            |key| key.terms.scopes = scopes(&["operator.read"]),
            "a node has no scopes: leave them out or ask for role operator",
        ),
        (
            |key| {
                key.terms = Terms {
                    role: Operator,
                    ..node_terms(&[])
                }
            },
            "an operator invitation must name its scopes",
        ),
        (
            |key| {
                key.terms = Terms {
                    role: Operator,
                    scopes: scopes(&["operator.read", "operator.pairing"]),
                    commands: Vec::new(),
                };
            },
            "an invitation cannot hand out operator.pairing (only operator.approvals, operator.read, operator.talk.secrets, operator.write)",
        ),
    ];
    let admin = scopes(&["operator.admin"]);
    for (change, message) in table {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        let mut wanted = new_key(&[], 1);
        change(&mut wanted);
        let refusal = create(&mut state, wanted, &caller(&admin), NOW, &mut entropy).unwrap_err();
        assert_eq!(refusal.to_string(), message);
        assert_eq!(state, State::default());
    }
}

#[test]
fn dead_keys_are_listed_for_a_week_and_their_number_is_bounded() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let admin = scopes(&["operator.admin"]);
    for _ in 0..join_key::MAX_KEYS {
        made(&mut state, new_key(&[], 1), &mut entropy);
    }
    let mut add = |now| {
        let wanted = new_key(&[], 1);
        create(&mut state, wanted, &caller(&admin), now, &mut entropy).map(drop)
    };
    let week = 7 * 24 * HOUR;
    assert!(matches!(
        add(NOW + HOUR + week - 1),
        Err(Refusal::InvitationInvalid(_))
    ));
    assert_eq!(add(NOW + HOUR + week), Ok(()));
    assert_eq!(list(&state, &caller(&admin), NOW).unwrap().keys.len(), 1);
}

/// A claim with a real key, and its pre-approval.
fn expected(commands: &[&str]) -> (ConnectClaim, NewPreapproval) {
    let key = DeviceKey::from_seed(&[9; 32]).unwrap().public();
    let claim = ConnectClaim {
        device: key.device_id(),
        public_key: key.encode(),
        ..remote(Node, &[])
    };
    let wanted = NewPreapproval {
        public_key: format!(" {} ", key.encode()),
        name: Some("Attic".into()),
        terms: node_terms(commands),
        ttl_ms: HOUR,
    };
    (claim, wanted)
}

#[test]
fn a_device_that_is_expected_comes_in_once_on_both_layers() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let admin = scopes(&["operator.admin"]);
    let (claim, wanted) = expected(&["system.which"]);
    // It was here before and waits.
    waits(&mut state, &claim, NOW, &mut entropy);
    let (row, changes) = preapprove(&mut state, wanted.clone(), &caller(&admin), NOW).unwrap();
    assert_eq!(
        (saves(&changes), &row["status"]),
        (vec![Part::Preapproved], &json!("waiting"))
    );

    let (found, changes) = joins(
        &mut state,
        &claim,
        &["system.which", "system.run"],
        &mut entropy,
    );
    assert_eq!(
        (found.effective.as_slice(), found.request.is_some()),
        (&words(&["system.which"])[..], true)
    );
    assert_eq!(saves(&changes)[0], Part::Preapproved);
    assert_eq!(events(&changes)[0].1["requestId"], json!("r1"));
    let record = state.nodes.paired.record(claim.device.as_str()).unwrap();
    assert_eq!(record.metadata.display_name.as_deref(), Some("Attic"));
    assert!(record.name_override);
    let listed = list(&state, &caller(&admin), NOW).unwrap();
    assert_eq!(listed.preapproved[0]["status"], "used");
    let again = preapprove(&mut state, wanted, &caller(&admin), NOW).unwrap_err();
    assert!(
        again.to_string().contains("paired already as device"),
        "{again}"
    );

    // A node that a person closed stays closed; a device that was removed waits again.
    node::remove(&mut state, &(&claim.device).into(), &caller(&admin), NOW).unwrap();
    let (found, _) = joins(&mut state, &claim, &["system.which"], &mut entropy);
    assert_eq!(found.effective, words(&[]));
    device::remove(&mut state, &claim.device, &caller(&admin), NOW).unwrap();
    assert_eq!(
        list(&state, &caller(&admin), NOW).unwrap().preapproved,
        [] as [Value; 0]
    );
    waits(&mut state, &claim, NOW, &mut entropy);
}

#[test]
fn only_the_expected_device_in_time_in_its_role_comes_in() {
    let admin = scopes(&["operator.admin"]);
    let (claim, wanted) = expected(&[]);
    let table = [
        (as_device("e", &claim), NOW),
        (claim.clone(), NOW + HOUR + 1),
        (
            ConnectClaim {
                role: Operator,
                ..claim.clone()
            },
            NOW,
        ),
        (
            ConnectClaim {
                scopes: scopes(&["node.x"]),
                ..claim.clone()
            },
            NOW,
        ),
        (
            ConnectClaim {
                has_origin: true,
                ..claim.clone()
            },
            NOW,
        ),
        (
            ConnectClaim {
                public_key: "other".into(),
                ..claim.clone()
            },
            NOW,
        ),
    ];
    for (stranger, now) in table {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        preapprove(&mut state, wanted.clone(), &caller(&admin), NOW).unwrap();
        let before = state.invitations.clone();
        waits(&mut state, &stranger, now, &mut entropy);
        assert_eq!(state.invitations, before, "{stranger:?}");
    }
    let (mut state, mut entropy) = (State::default(), Counter::default());
    preapprove(&mut state, wanted.clone(), &caller(&admin), NOW).unwrap();
    let id = claim.device.as_str();
    assert_eq!(
        revoke(&mut state, id, &caller(&admin), NOW).unwrap().0.kind,
        "preapproval"
    );
    waits(&mut state, &claim, NOW, &mut entropy);
    let bad = NewPreapproval {
        public_key: "short".into(),
        ..wanted
    };
    let refusal = preapprove(&mut state, bad, &caller(&admin), NOW).unwrap_err();
    assert!(
        refusal.to_string().starts_with("not an Ed25519 public key"),
        "{refusal}"
    );
}

#[test]
fn files_come_back_as_they_were_written() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let admin = scopes(&["operator.admin"]);
    made(&mut state, new_key(&["system.run"], 2), &mut entropy);
    preapprove(
        &mut state,
        expected(&["system.run"]).1,
        &caller(&admin),
        NOW,
    )
    .unwrap();
    let mut again = State::default();
    for part in [Part::JoinKeys, Part::Preapproved] {
        let text = state.render(part).unwrap();
        assert!(!text.contains("SECRET"), "{text}");
        let mut document: Value = serde_json::from_str(&text).unwrap();
        for (_, record) in document.as_object_mut().unwrap() {
            record["fromTheFuture"] = json!([1]);
        }
        again.read(part, document.clone()).unwrap();
        let text = again.render(part).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document);
        state.close(part, "broken");
        assert_eq!(
            list(&state, &caller(&admin), NOW),
            Err(Refusal::RecordUnreadable)
        );
    }
    let shown = serde_json::to_string(&list(&again, &caller(&admin), NOW).unwrap()).unwrap();
    assert!(!shown.contains("fromTheFuture"), "{shown}");
}

#[test]
fn on_this_host_too_a_key_lets_in_those_it_counts_or_nobody() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let key = made(&mut state, new_key(&[], 1), &mut entropy).key;
    for (number, id) in ["a", "b", "c"].into_iter().enumerate() {
        let page = ConnectClaim {
            browser_client: true,
            ..as_device(id, &invited(local(Node, &[]), &key))
        };
        waits(&mut state, &page, NOW, &mut entropy);
        assert_eq!(state.devices.paired.len(), 0, "{number}");
    }
    let node = as_device("n", &invited(local(Node, &[]), &key));
    enters(&mut state, &node, &mut entropy);
    assert_eq!(
        refused(&mut state, &as_device("m", &node), NOW),
        Why::UsedUp
    );
}
