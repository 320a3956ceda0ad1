use serde_json::{Value, json};

use super::{
    bootstrap::{Issued, Profile, TTL_MS, discard, issue},
    *,
};
use crate::{
    pairing::{
        AuditEntry, Change, Part, Refusal, State,
        connect::{
            AddressSource, Admission, AdmissionPolicy, AuthMethod, ConnectClaim, NotAdmitted, admit,
        },
        device,
        testing::{
            Counter, NOW, caller, enters, events, local, paired, remote, saves, scopes, waits,
            with_devices,
        },
    },
    protocol::scope::Role::{Node, Operator},
};

fn with_code(state: &mut State, entropy: &mut Counter) -> Issued {
    let admin = scopes(&["operator.admin"]);
    let (issued, changes) = issue(state, &Profile::usual(), &caller(&admin), NOW, entropy).unwrap();
    assert_eq!(saves(&changes), [Part::Bootstrap]);
    issued
}

fn invited(claim: ConnectClaim, secret: &Token) -> ConnectClaim {
    ConnectClaim {
        method: AuthMethod::BootstrapToken,
        invitation: Some(secret.clone()),
        ..claim
    }
}

fn refused(state: &mut State, claim: &ConnectClaim, now: u64) -> Why {
    let before = state.clone();
    match admit(
        state,
        claim,
        &AdmissionPolicy::default(),
        now,
        &mut Counter::default(),
    ) {
        (Err(NotAdmitted::NotInvited(denied)), changes) => {
            assert!(!format!("{changes:?}{denied:?}").contains("SECRET"));
            assert_eq!((&before, saves(&changes)), (&*state, vec![]));
            denied.why
        }
        (other, _) => panic!("should be refused: {other:?}"),
    }
}

fn handed(admission: &Admission) -> Vec<(&'static str, String)> {
    let tokens = admission.hand_off.iter();
    tokens
        .map(|(role, token)| (role.as_str(), token.scopes.join(",")))
        .collect()
}

mod keys;

const FOUR: &str = "operator.approvals,operator.read,operator.talk.secrets,operator.write";

#[test]
fn a_node_with_a_setup_code_comes_in_with_all_it_offers() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let code = with_code(&mut state, &mut entropy);
    assert_eq!(code.expires_at_ms, NOW + TTL_MS);
    let claim = invited(remote(Node, &[]), &code.token);
    let (admission, changes) = enters(&mut state, &claim, &mut entropy);
    assert_eq!(handed(&admission), [("operator", FOUR.to_owned())]);
    assert_eq!(admission.spent.as_ref(), Some(&code.token));
    assert_eq!(saves(&changes)[0], Part::Bootstrap, "bound before anything");
    assert_eq!(
        events(&changes)
            .iter()
            .map(|(event, payload)| (*event, payload["decision"].clone()))
            .collect::<Vec<_>>(),
        [(device::RESOLVED, json!("approved"))]
    );
    assert!(!format!("{changes:?}").contains("SECRET"));
    let record = state.devices.paired.record("d").unwrap();
    assert_eq!(record.roles, ["node", "operator"]);
    assert_eq!(record.approved_scopes().join(","), FOUR);

    // The hello got lost: the same device gets all of it again, nobody else anything.
    let (again, _) = enters(&mut state, &claim, &mut entropy);
    assert_eq!(again.hand_off, admission.hand_off);
    assert_eq!(again.token, admission.token);
    let other = ConnectClaim {
        device: "e".into(),
        public_key: "key-e".into(),
        ..claim.clone()
    };
    assert_eq!(refused(&mut state, &other, NOW), Why::OtherDevice);

    assert_eq!(saves(&discard(&mut state, &code.token)), [Part::Bootstrap]);
    assert_eq!(discard(&mut state, &code.token), []);
    assert_eq!(refused(&mut state, &claim, NOW), Why::Unknown);
}

#[test]
fn a_code_is_neither_used_nor_spent_while_pairing_is_closed() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let code = with_code(&mut state, &mut entropy);
    let claim = invited(remote(Node, &[]), &code.token);
    let closed = AdmissionPolicy {
        pairing_enabled: false,
        ..AdmissionPolicy::default()
    };
    let before = state.clone();
    let (verdict, changes) = admit(&mut state, &claim, &closed, NOW, &mut entropy);
    assert!(matches!(verdict, Err(NotAdmitted::PairingClosed(_))));
    assert_eq!((changes, &state), (vec![], &before));
    let (admission, _) = enters(&mut state, &claim, &mut entropy);
    assert_eq!(admission.spent, Some(code.token));
}

#[test]
fn a_code_invites_for_ten_minutes_to_what_it_says() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let code = with_code(&mut state, &mut entropy);
    let table = [
        (remote(Node, &[]), NOW + TTL_MS + 1, Why::Expired),
        (remote(Node, &[]), NOW - TTL_MS - 1, Why::Expired),
        (remote(Node, &["node.x"]), NOW, Why::Scopes),
        (remote(Operator, &["operator.admin"]), NOW, Why::Scopes),
        (remote(Operator, &["operator.pairing"]), NOW, Why::Scopes),
    ];
    for (claim, now, why) in table {
        let claim = invited(claim, &code.token);
        assert_eq!(refused(&mut state, &claim, now), why, "{claim:?}");
    }
    let wrong = invited(remote(Node, &[]), &Token::from("SECRET-0"));
    assert_eq!(refused(&mut state, &wrong, NOW), Why::Unknown);
    let last = invited(remote(Node, &[]), &code.token);
    assert!(
        admit(
            &mut state,
            &last,
            &AdmissionPolicy::default(),
            NOW + TTL_MS,
            &mut entropy
        )
        .0
        .is_ok()
    );
}

#[test]
fn whoever_shows_a_code_first_owns_it_even_while_a_person_decides() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let code = with_code(&mut state, &mut entropy);
    let record = |state: &State| {
        let text = state.render(Part::Bootstrap).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()[code.token.as_str()].take()
    };
    assert_eq!(
        record(&state)["redeemedProfile"],
        json!({"roles": [], "scopes": []})
    );
    let claim = invited(remote(Operator, &["operator.read"]), &code.token);
    let (waiting, changes) = waits(&mut state, &claim, NOW, &mut entropy);
    assert_eq!(
        saves(&changes),
        [Part::Bootstrap, Part::DevicesPending],
        "an operator waits"
    );
    let other = ConnectClaim {
        device: "e".into(),
        public_key: "key-e".into(),
        ..claim.clone()
    };
    assert_eq!(refused(&mut state, &other, NOW), Why::OtherDevice);

    let admin = scopes(&["operator.admin"]);
    let id = waiting.request_id.as_str();
    device::approve(&mut state, id, None, &caller(&admin), NOW, &mut entropy).unwrap();
    let (admission, _) = enters(&mut state, &claim, &mut entropy);
    assert_eq!((handed(&admission), admission.spent), (vec![], None));
    let record = record(&state);
    assert_eq!(
        record["redeemedProfile"],
        json!({"roles": ["operator"], "scopes": ["operator.read"]})
    );
    assert_eq!(
        (&record["deviceId"], &record["publicKey"]),
        (&json!("d"), &json!("key-d"))
    );
}

#[test]
fn a_code_is_gone_when_the_last_of_it_was_taken() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let admin = scopes(&["operator.admin"]);
    let profile = Profile {
        roles: vec!["operator".to_owned()],
        scopes: scopes(&["operator.write"]),
    };
    let (code, _) = issue(&mut state, &profile, &caller(&admin), NOW, &mut entropy).unwrap();
    let claim = invited(local(Operator, &["operator.write"]), &code.token);
    let (admission, _) = enters(&mut state, &claim, &mut entropy);
    assert_eq!(
        (handed(&admission), admission.spent),
        (vec![], Some(code.token))
    );
}

#[test]
fn a_paired_device_gets_nothing_more_by_a_code() {
    let mut entropy = Counter::default();
    let record = paired(&[], &[("node", &[])]);
    let mut state = with_devices(&[record]);
    let code = with_code(&mut state, &mut entropy);
    let claim = invited(remote(Node, &[]), &code.token);
    let (admission, _) = enters(&mut state, &claim, &mut entropy);
    assert_eq!((handed(&admission), admission.spent), (vec![], None));
    let claim = invited(remote(Operator, &["operator.read"]), &code.token);
    let (waiting, _) = waits(&mut state, &claim, NOW, &mut entropy);
    assert_eq!(waiting.reason.as_str(), "role-upgrade");
}

#[test]
fn what_the_device_asked_for_before_is_no_part_of_it() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    waits(
        &mut state,
        &remote(Operator, &["operator.admin"]),
        NOW,
        &mut entropy,
    );
    let code = with_code(&mut state, &mut entropy);
    let claim = invited(remote(Node, &[]), &code.token);
    let (_, changes) = enters(&mut state, &claim, &mut entropy);
    let record = state.devices.paired.record("d").unwrap();
    assert_eq!(record.approved_scopes().join(","), FOUR);
    assert_eq!(events(&changes)[0].1["requestId"], json!("r1"));
    assert!(state.devices.pending.is_empty());
}

#[test]
fn a_file_of_the_reference_is_read_and_stripped_of_power() {
    let mut state = State::default();
    let document = json!({
        "SECRET-A": {"token": "SECRET-A", "ts": NOW, "issuedAtMs": NOW, "future": {"a": 1},
            "profile": {"roles": ["operator", "node"],
                        "scopes": ["operator.admin", "operator.pairing", "operator.read"]}},
        "SECRET-B": {"token": "SECRET-B"},
    });
    state.read(Part::Bootstrap, document.clone()).unwrap();
    let text = state.render(Part::Bootstrap).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document);
    let secret = Token::from("SECRET-A");
    let mut entropy = Counter::default();
    let claim = invited(remote(Operator, &["operator.admin"]), &secret);
    assert_eq!(refused(&mut state, &claim, NOW), Why::Scopes);
    let (admission, _) = enters(
        &mut state,
        &invited(remote(Node, &[]), &secret),
        &mut entropy,
    );
    assert_eq!(
        handed(&admission),
        [("operator", "operator.read".to_owned())]
    );
    let unreadable = invited(remote(Node, &[]), &Token::from("SECRET-B"));
    assert_eq!(refused(&mut state, &unreadable, NOW), Why::Unknown);
}

#[test]
fn a_closed_file_invites_nobody_and_is_never_written() {
    let mut state = State::default();
    state.close(Part::Bootstrap, "broken");
    let claim = invited(remote(Node, &[]), &Token::from("SECRET-1"));
    assert_eq!(refused(&mut state, &claim, NOW), Why::Unreadable);
    assert!(state.render(Part::Bootstrap).is_err());
    let admin = scopes(&["operator.admin"]);
    let issued = issue(
        &mut state,
        &Profile::usual(),
        &caller(&admin),
        NOW,
        &mut Counter::default(),
    );
    assert_eq!(issued.unwrap_err(), Refusal::RecordUnreadable);
    enters(&mut state, &local(Node, &[]), &mut Counter::default());
}

#[test]
fn nobody_issues_what_he_could_not_approve() {
    let table: [(&[&str], &str); 3] = [
        (&["operator.read"], "operator.pairing"),
        (&["operator.pairing"], "operator.approvals"),
        (
            &["operator.pairing", "operator.approvals", "operator.read"],
            "operator.talk.secrets",
        ),
    ];
    for (held, missing) in table {
        let mut state = State::default();
        let held = scopes(held);
        let refusal = issue(
            &mut state,
            &Profile::usual(),
            &caller(&held),
            NOW,
            &mut Counter::default(),
        );
        assert_eq!(refusal.unwrap_err(), Refusal::MissingScope(missing.into()));
        assert_eq!(state, State::default());
    }
}

#[test]
fn old_codes_go_and_their_number_is_bounded() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let admin = scopes(&["operator.admin"]);
    for later in 0..(bootstrap::MAX_TOKENS as u64 + 3) {
        let by = caller(&admin);
        issue(
            &mut state,
            &Profile::usual(),
            &by,
            NOW + later,
            &mut entropy,
        )
        .unwrap();
    }
    let kept = state.invitations.bootstrap.table().unwrap();
    assert_eq!(kept.len(), bootstrap::MAX_TOKENS);
    assert!(kept.record("SECRET-3").is_none() && kept.record("SECRET-4").is_some());
    let by = caller(&admin);
    let late = NOW + TTL_MS + 1_000;
    issue(&mut state, &Profile::usual(), &by, late, &mut entropy).unwrap();
    assert_eq!(state.invitations.bootstrap.table().unwrap().len(), 1);
}

#[test]
fn the_trail_names_invitations_that_exist_and_no_secret() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let code = with_code(&mut state, &mut entropy);
    let claim = invited(remote(Operator, &["operator.admin"]), &code.token);
    let denied = verify(&state, code.token.as_str(), &claim.visit(), NOW).unwrap_err();
    let entry: AuditEntry = denied.audit(&claim.device, claim.reported_ip).unwrap();
    assert!(entry.subject.starts_with("bootstrap-"), "{entry:?}");
    assert!(!format!("{entry:?}").contains("SECRET"));
    let guessed = verify(&state, "SECRET-9", &claim.visit(), NOW).unwrap_err();
    assert_eq!(guessed.audit(&claim.device, None), None);
    let _ = Change::from(entry);
}
