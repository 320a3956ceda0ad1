use super::*;
use crate::{
    pairing::{
        REQUEST_TTL_MS,
        connect::ConnectClaim,
        surface,
        testing::{
            Counter, NOW, caller, device_caller, events, local, node_claim, paired, remote, saves,
            scopes, waits, with_devices,
        },
    },
    protocol::scope::{
        Role::{Node, Operator},
        Scope, Scopes,
    },
};

const FULL: &[&str] = &["operator.admin", "operator.read", "operator.write"];

fn approve_as(state: &mut State, held: &[&str]) -> Result<Changes, Refusal> {
    let (held, mut entropy) = (scopes(held), Counter::default());
    approve(state, "r1", &caller(&held), NOW, &mut entropy).map(|(_, changes)| changes)
}

fn asking(state: State, claim: &ConnectClaim) -> State {
    let mut state = state;
    waits(&mut state, claim, NOW, &mut Counter::default());
    state
}

#[test]
fn an_approver_hands_on_only_what_they_hold() {
    let missing = |word: &str| Err(Refusal::MissingScope(Scope::from(word)));
    let table: &[(ConnectClaim, &[&str], Result<(), Refusal>)] = &[
        (remote(Node, &[]), &["operator.pairing"], Ok(())),
        (remote(Operator, &[]), &["operator.pairing"], Ok(())),
        (
            remote(Operator, &["operator.pairing"]),
            &["operator.pairing"],
            Ok(()),
        ),
        (
            remote(Operator, &["operator.read"]),
            &["operator.pairing"],
            missing("operator.read"),
        ),
        (
            remote(Operator, &["operator.read"]),
            &["operator.write"],
            Ok(()),
        ),
        (
            remote(Operator, &["operator.write"]),
            &["operator.read"],
            missing("operator.write"),
        ),
        (
            remote(Operator, &["operator.admin"]),
            &["operator.pairing", "operator.write"],
            missing("operator.admin"),
        ),
        (
            remote(Operator, &["operator.talk.secrets"]),
            &["operator.admin"],
            Ok(()),
        ),
        (
            remote(Node, &["operator.read"]),
            &["operator.admin"],
            Err(Refusal::ScopeOutsideRoles(Scope::READ)),
        ),
        (
            remote(Operator, &["node.x"]),
            &["operator.admin"],
            Err(Refusal::ScopeOutsideRoles("node.x".into())),
        ),
    ];
    for (claim, held, expected) in table {
        let mut state = asking(State::default(), claim);
        let before = state.clone();
        let verdict = approve_as(&mut state, held);
        assert_eq!(verdict.clone().map(|_| ()), *expected, "{claim:?} {held:?}");
        assert!(
            verdict.is_ok() || state == before,
            "a refusal changes nothing"
        );
    }
}

#[test]
fn an_approval_saves_the_record_first_and_says_so() {
    let mut state = asking(State::default(), &remote(Node, &[]));
    let pairing = scopes(&["operator.pairing"]);
    let (answer, changes) = approve(
        &mut state,
        "r1",
        &caller(&pairing),
        NOW,
        &mut Counter::default(),
    )
    .unwrap();
    assert_eq!(saves(&changes), [Part::DevicesPaired, Part::DevicesPending]);
    let resolved = json!({"requestId": "r1", "deviceId": "d", "decision": "approved", "ts": NOW});
    assert_eq!(events(&changes), [(RESOLVED, resolved)]);
    assert!(state.devices.pending.is_empty());
    let answer = serde_json::to_value(answer).unwrap();
    let token = json!([{"role": "node", "scopes": [], "createdAtMs": NOW}]);
    assert_eq!(
        (&answer["requestId"], &answer["device"]["tokens"]),
        (&json!("r1"), &token)
    );
    assert!(!answer.to_string().contains("SECRET"));
    let audit = changes.iter().find_map(|change| match change {
        Change::Audit(entry) => Some(entry),
        _ => None,
    });
    let audit = audit.unwrap();
    assert_eq!(
        (audit.action, audit.subject.as_str()),
        ("device.approve", "d")
    );
    assert_eq!(audit.after.as_ref().unwrap()["roles"], json!(["node"]));
    assert!(!serde_json::to_string(audit).unwrap().contains("SECRET"));
}

#[test]
fn a_token_carries_what_was_asked_else_what_there_was() {
    // (approved, token scopes, claim role, claim scopes) → token scopes of that role afterwards
    type Row = (
        &'static [&'static str],
        &'static [&'static str],
        &'static [&'static str],
        &'static [&'static str],
    );
    let table: &[Row] = &[
        (
            &["operator.read"],
            &["operator.read"],
            &["operator.write"],
            &["operator.read", "operator.write"],
        ),
        (
            &["operator.admin"],
            FULL,
            &["operator.read"],
            &["operator.read"],
        ),
        (
            &["operator.admin"],
            &["operator.read"],
            &[],
            &["operator.read"],
        ),
        (&["operator.admin"], FULL, &[], FULL),
        (&["operator.read"], &[], &[], &[]),
        (&["operator.read"], FULL, &[], &["operator.read"]),
    ];
    for (approved, token, asked, expected) in table {
        let state = with_devices(&[paired(approved, &[("operator", token)])]);
        let claim = ConnectClaim {
            platform: Some("win32".into()),
            ..remote(Operator, asked)
        };
        let mut state = asking(state, &claim);
        approve_as(&mut state, FULL).unwrap();
        let entry = &state.devices.paired.record("d").unwrap().tokens["operator"];
        assert_eq!(
            entry.scopes,
            scopes(expected),
            "{approved:?} {token:?} {asked:?}"
        );
        let times = (
            entry.created_at_ms,
            entry.rotated_at_ms,
            entry.revoked_at_ms,
        );
        assert_eq!(times, (1, Some(NOW), None));
    }
}

#[test]
fn an_approval_adds_to_the_record_and_leaves_other_roles_alone() {
    let old = paired(&["operator.read"], &[("operator", &["operator.read"])]);
    let claim = ConnectClaim {
        display_name: None,
        ..remote(Node, &[])
    };
    let mut state = asking(with_devices(&[old]), &claim);
    approve_as(&mut state, &["operator.pairing"]).unwrap();
    let record = state.devices.paired.record("d").unwrap();
    assert_eq!(record.roles, ["operator", "node"]);
    assert_eq!(record.role.as_deref(), Some("node"));
    assert_eq!(record.approved_scopes(), &scopes(&["operator.read"]));
    assert_eq!(
        record.tokens["operator"].token.as_str(),
        "SECRET-OLD-operator"
    );
    assert_eq!(
        record.display_name.as_deref(),
        Some("Old Name"),
        "absent is no eraser"
    );
    assert_eq!((record.created_at_ms, record.approved_at_ms), (1, NOW));
}

#[test]
fn an_approval_brings_a_revoked_role_back() {
    let mut old = paired(&[], &[("node", &[])]);
    old["tokens"]["node"]["revokedAtMs"] = json!(5);
    let mut state = asking(with_devices(&[old]), &local(Node, &[]));
    approve_as(&mut state, &["operator.pairing"]).unwrap();
    let record = state.devices.paired.record("d").unwrap();
    assert!(record.effective_roles().contains("node"));
    assert_ne!(record.tokens["node"].token.as_str(), "SECRET-OLD-node");
}

#[test]
fn approval_and_rejection_know_who_may_and_what_is_open() {
    let (own, other) = (DeviceId::from("d"), DeviceId::from("e"));
    let (pairing, admin) = (scopes(&["operator.pairing"]), scopes(&["operator.admin"]));
    let late = NOW + REQUEST_TTL_MS + 1;
    let (denied, unknown) = (Some(Refusal::ApprovalDenied), Some(Refusal::UnknownRequest));
    let table = [
        (caller(&pairing), "r1", NOW, None),
        (caller(&pairing), "r9", NOW, unknown.clone()),
        (caller(&pairing), "r1", late, unknown.clone()),
        (device_caller(&pairing, &own), "r1", NOW, None),
        (device_caller(&pairing, &other), "r1", NOW, denied.clone()),
        (device_caller(&pairing, &own), "r9", NOW, denied.clone()),
        (device_caller(&pairing, &own), "r1", late, denied),
        (device_caller(&admin, &other), "r1", NOW, None),
        (device_caller(&admin, &other), "r9", NOW, unknown),
    ];
    for (caller, id, now, expected) in table {
        let asked = asking(State::default(), &remote(Node, &[]));
        let mut state = asked.clone();
        let verdict = approve(&mut state, id, &caller, now, &mut Counter::default()).err();
        assert_eq!(verdict, expected, "{caller:?} {id} {now}");
        let expected = expected.map(|refusal| match refusal {
            Refusal::ApprovalDenied => Refusal::RejectionDenied,
            other => other,
        });
        let mut state = asked;
        let verdict = reject(&mut state, id, &caller, now).err();
        assert_eq!(verdict, expected, "{caller:?} {id} {now}");
    }
}

#[test]
fn a_rejection_forgets_the_request_alone() {
    let mut state = asking(
        with_devices(&[paired(&[], &[("node", &[])])]),
        &remote(Operator, &[]),
    );
    let pairing = scopes(&["operator.pairing"]);
    let (answer, changes) = reject(&mut state, "r1", &caller(&pairing), NOW).unwrap();
    assert_eq!(
        serde_json::to_value(answer).unwrap(),
        json!({"requestId": "r1", "deviceId": "d"})
    );
    assert_eq!(saves(&changes), [Part::DevicesPending]);
    let resolved = json!({"requestId": "r1", "deviceId": "d", "decision": "rejected", "ts": NOW});
    assert_eq!(events(&changes), [(RESOLVED, resolved)]);
    assert!(state.devices.pending.is_empty() && state.devices.paired.record("d").is_some());
}

#[test]
fn a_removal_sweeps_both_layers() {
    let (mut state, mut entropy) = (
        with_devices(&[paired(&[], &[("node", &[])])]),
        Counter::default(),
    );
    let policy = Default::default();
    let admin = scopes(&["operator.admin"]);
    waits(&mut state, &remote(Operator, &[]), NOW, &mut entropy);
    surface::reconcile(
        &mut state,
        &node_claim(&["system.run"]),
        &policy,
        NOW,
        &mut entropy,
    );
    node::approve(&mut state, "r2", &caller(&admin), NOW, &mut entropy).unwrap();
    let more = node_claim(&["system.run", "system.which"]);
    surface::reconcile(&mut state, &more, &policy, NOW, &mut entropy);

    let device = DeviceId::from("d");
    let (answer, changes) = remove(&mut state, &device, &caller(&admin), NOW).unwrap();
    assert_eq!(
        serde_json::to_value(answer).unwrap(),
        json!({"deviceId": "d"})
    );
    assert_eq!(state, State::default());
    assert_eq!(
        saves(&changes),
        [
            Part::DevicesPending,
            Part::NodesPending,
            Part::NodesPaired,
            Part::DevicesPaired
        ]
    );
    let told: Vec<_> = events(&changes)
        .into_iter()
        .map(|(event, payload)| {
            (
                event,
                payload["requestId"].clone(),
                payload["decision"].clone(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (RESOLVED, json!("r1"), json!("rejected")),
            (node::RESOLVED, json!("r3"), json!("removed")),
            (node::RESOLVED, json!(""), json!("removed")),
        ]
    );
    let end = Change::EndSessions {
        device,
        role: None,
        reason: SessionEnd::DeviceRemoved,
    };
    assert_eq!(changes.last(), Some(&end));
}

#[test]
fn a_device_bound_caller_removes_itself_alone() {
    let (own, other) = (DeviceId::from("d"), DeviceId::from("e"));
    let (pairing, admin) = (scopes(&["operator.pairing"]), scopes(&["operator.admin"]));
    let (denied, unknown) = (Some(Refusal::RemovalDenied), Some(Refusal::UnknownDevice));
    let table = [
        (caller(&pairing), &own, None),
        (caller(&pairing), &other, unknown.clone()),
        (device_caller(&pairing, &own), &own, None),
        (device_caller(&pairing, &own), &other, denied.clone()),
        (device_caller(&pairing, &other), &own, denied),
        (device_caller(&pairing, &other), &other, unknown),
        (device_caller(&admin, &other), &own, None),
    ];
    for (caller, device, expected) in table {
        let mut state = with_devices(&[paired(&[], &[("node", &[])])]);
        let verdict = remove(&mut state, device, &caller, NOW).err();
        assert_eq!(verdict, expected, "{caller:?} {device}");
    }
}

#[test]
fn an_unreadable_record_blocks_approval_and_can_be_removed() {
    let mut state = asking(State::default(), &remote(Node, &[]));
    let broken = json!({"d": {"deviceId": "d", "vault": "SECRET"}});
    state.read(Part::DevicesPaired, broken).unwrap();
    assert_eq!(approve_as(&mut state, FULL), Err(Refusal::RecordUnreadable));
    let admin = scopes(FULL);
    let (_, changes) = remove(&mut state, &"d".into(), &caller(&admin), NOW).unwrap();
    assert!(!format!("{changes:?}").contains("SECRET"));
    assert_eq!(state, State::default());
}

#[test]
fn a_list_is_sorted_redacted_and_cut_to_the_caller() {
    let mut other = paired(&["operator.read"], &[("operator", &["operator.read"])]);
    other["deviceId"] = json!("e");
    other["approvedAtMs"] = json!(9);
    let mut state = with_devices(&[paired(&[], &[("node", &[])]), other]);
    let mut entropy = Counter::default();
    waits(&mut state, &remote(Operator, &[]), NOW, &mut entropy);
    let later = ConnectClaim {
        device: "e".into(),
        ..remote(Node, &[])
    };
    let later = ConnectClaim {
        public_key: "key-e".into(),
        ..later
    };
    waits(&mut state, &later, NOW + 1, &mut entropy);
    let none = Scopes::none();
    let ids = |rows: &[Value]| -> Vec<String> {
        rows.iter()
            .map(|row| row["deviceId"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = list(&state, &caller(&none), NOW + 1);
    assert_eq!(
        (ids(&all.pending), ids(&all.paired)),
        (vec!["e".into(), "d".into()], vec!["e".into(), "d".into()])
    );
    assert!(!serde_json::to_string(&all).unwrap().contains("SECRET"));
    let own = DeviceId::from("d");
    let bound = list(&state, &device_caller(&none, &own), NOW + 1);
    assert_eq!(
        (ids(&bound.pending), ids(&bound.paired)),
        (vec!["d".into()], vec!["d".into()])
    );
    let late = list(&state, &caller(&none), NOW + REQUEST_TTL_MS + 1);
    assert_eq!(ids(&late.pending), ["e"]);
}
