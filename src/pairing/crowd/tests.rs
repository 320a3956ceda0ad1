use super::*;
use crate::{
    pairing::{
        Change, Changes, Part, Refusal,
        connect::{ConnectClaim, NotAdmitted, admit},
        device, expiry, node,
        node_record::NodeMetadata,
        testing::{Counter, NOW, caller, enters, local, remote, saves, scopes, waits},
    },
    protocol::scope::Role::{Node, Operator},
};

fn stranger(number: usize, address: &str) -> ConnectClaim {
    ConnectClaim {
        device: format!("d{number}").into(),
        public_key: format!("key-{number}"),
        reported_ip: address.parse().ok(),
        ..remote(Node, &[])
    }
}

/// Lets this stranger ask; what it was refused with when it found no place, and what changed.
fn ask(state: &mut State, claim: &ConnectClaim, entropy: &mut Counter) -> (Option<Full>, Changes) {
    match admit(state, claim, &Default::default(), NOW, entropy) {
        (Err(NotAdmitted::PairingRequired(_)), changes) => (None, changes),
        (Err(NotAdmitted::Crowded(full)), changes) => (Some(full), changes),
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn an_address_and_a_site_are_one_source() {
    let shown = |text: &str| Source::of(text.parse().ok()).to_string();
    assert_eq!(shown("203.0.113.9"), "203.0.113.9");
    assert_eq!(shown("::ffff:203.0.113.9"), "203.0.113.9");
    assert_eq!(shown("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    assert_eq!(shown("somewhere"), "unknown");
    assert_eq!(
        Source::of_text(Some("2001:db8:1:2::9")),
        Source::of_text(Some("2001:db8:1:2::"))
    );
}

#[test]
fn a_flood_of_fresh_keys_takes_the_places_of_its_own_source_alone() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let honest = stranger(1, "198.51.100.7");
    assert_eq!(ask(&mut state, &honest, &mut entropy).0, None);
    let mut saved = 0;
    for number in 0..10_000 {
        let (full, changes) = ask(
            &mut state,
            &stranger(100 + number, "203.0.113.9"),
            &mut entropy,
        );
        saved += saves(&changes).len();
        if let Some(full) = full {
            assert_eq!(
                (full.waiting, full.retry_after_ms),
                (MAX_STRANGERS_PER_SOURCE, REQUEST_TTL_MS)
            );
            let counted = Change::Crowded {
                source: full.source,
                what: Crowded::Refused,
            };
            assert_eq!(changes, [counted], "nothing is written and nobody is told");
        }
    }
    assert_eq!(saved, MAX_STRANGERS_PER_SOURCE);
    assert_eq!(state.devices.pending.len(), MAX_STRANGERS_PER_SOURCE + 1);
    // Both who waited before and who comes now are served.
    let late = stranger(2, "198.51.100.8");
    let (waiting, _) = waits(&mut state, &late, NOW, &mut entropy);
    let admin = scopes(&["operator.admin"]);
    for id in ["r1", waiting.request_id.as_str()] {
        device::approve(&mut state, id, None, &caller(&admin), NOW, &mut entropy).unwrap();
    }
    enters(&mut state, &honest, &mut entropy);
    enters(&mut state, &late, &mut entropy);
    // A place that is free again is taken again.
    let later = NOW + REQUEST_TTL_MS + 1;
    waits(
        &mut state,
        &stranger(20_000, "203.0.113.9"),
        later,
        &mut entropy,
    );
}

#[test]
fn a_full_list_makes_room_for_less_than_a_share_and_for_nobody_else() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let sources = MAX_STRANGERS / MAX_STRANGERS_PER_SOURCE;
    for number in 0..MAX_STRANGERS {
        let address = format!("203.0.113.{}", number % sources);
        assert_eq!(
            ask(&mut state, &stranger(number, &address), &mut entropy).0,
            None
        );
    }
    let honest = stranger(5_000, "2001:db8::7");
    let (full, changes) = ask(&mut state, &honest, &mut entropy);
    assert_eq!((full, state.devices.pending.len()), (None, MAX_STRANGERS));
    assert!(changes.iter().any(|change| matches!(
        change,
        Change::Crowded {
            what: Crowded::Displaced,
            ..
        }
    )));
    // An attacker with a network of its own for every request comes to an end where all are equal.
    let mut recorded = 0;
    for number in 0..5_000 {
        let claim = stranger(6_000 + number, &format!("2001:db8:{:x}::1", number + 1));
        recorded += usize::from(ask(&mut state, &claim, &mut entropy).0.is_none());
        assert_eq!(state.devices.pending.len(), MAX_STRANGERS);
    }
    assert!(recorded <= MAX_STRANGERS, "{recorded}");
    assert_eq!(
        device::requests_of(&state, &honest.device).count(),
        1,
        "who was there first stays"
    );
}

#[test]
fn a_paired_device_and_a_repeated_ask_always_find_their_place() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let member = local(Operator, &["operator.read"]);
    enters(&mut state, &member, &mut entropy);
    let mut again = Vec::new();
    for number in 0..MAX_STRANGERS_PER_SOURCE {
        let claim = stranger(number, "not reported");
        ask(&mut state, &claim, &mut entropy);
        again.push(claim);
    }
    assert!(
        ask(&mut state, &stranger(900, "not reported"), &mut entropy)
            .0
            .is_some()
    );
    for claim in &again {
        let (full, changes) = ask(&mut state, claim, &mut entropy);
        assert_eq!((full, changes), (None, vec![]));
    }
    // Another ask of the same device takes the place of its old one.
    let wider = ConnectClaim {
        role: Operator,
        ..again[0].clone()
    };
    assert_eq!(ask(&mut state, &wider, &mut entropy).0, None);
    let upgrade = local(Operator, &["operator.write"]);
    waits(&mut state, &upgrade, NOW, &mut entropy);
}

#[test]
fn what_a_stranger_says_of_itself_is_bounded() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let named = |bytes: usize| ConnectClaim {
        display_name: Some("x".repeat(bytes)),
        ..remote(Node, &[])
    };
    let long = |state: &mut State, entropy: &mut Counter| {
        let (verdict, changes) = admit(
            state,
            &named(MAX_REQUEST_BYTES),
            &Default::default(),
            NOW,
            entropy,
        );
        assert_eq!(
            (verdict, changes),
            (Err(NotAdmitted::RequestTooLong), vec![])
        );
    };
    long(&mut state, &mut entropy);
    waits(&mut state, &named(100), NOW, &mut entropy);
    long(&mut state, &mut entropy);
    let kept = state.devices.pending.records().next().unwrap();
    assert_eq!(kept.display_name.as_ref().unwrap().len(), 100);
}

#[test]
fn requests_in_the_name_of_strange_nodes_are_bounded_and_those_of_members_are_not() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let member = local(Node, &[]);
    enters(&mut state, &member, &mut entropy);
    let mut request = |state: &mut State, node: &str| {
        let metadata = NodeMetadata {
            remote_ip: Some("203.0.113.9".into()),
            ..NodeMetadata::default()
        };
        node::request(
            state,
            &node.into(),
            metadata,
            false,
            &Default::default(),
            NOW,
            &mut entropy,
        )
    };
    for number in 0..MAX_STRANGERS {
        request(&mut state, &format!("n{number}")).unwrap();
    }
    let before = state.clone();
    let refused = request(&mut state, "one more").unwrap_err();
    assert!(matches!(&refused, Refusal::Crowded(full) if full.retry_after_ms == REQUEST_TTL_MS));
    assert!(
        refused
            .to_string()
            .contains("(1024; this one comes from 203.0.113.9)"),
        "{refused}"
    );
    assert_eq!(state, before);
    let (again, _) = request(&mut state, "n1").unwrap();
    assert!(!again.created);
    let (of_member, changes) = request(&mut state, "d").unwrap();
    assert!(of_member.created && saves(&changes) == [Part::NodesPending]);
    expiry::expire(&mut state, NOW + REQUEST_TTL_MS + 1);
    assert!(state.nodes.pending.is_empty());
}
