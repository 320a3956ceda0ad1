use super::*;
use crate::{
    pairing::{
        REQUEST_TTL_MS,
        connect::ConnectClaim,
        surface,
        testing::{
            Counter, NOW, caller, device_caller, events, fate, local, node_claim, paired, records,
            remote, saves, scopes, waits, with_devices,
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
    approve(state, "r1", None, &caller(&held), NOW, &mut entropy).map(|(_, changes)| changes)
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
        None,
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
    let request = asking(State::default(), &remote(Node, &[]));
    let request = request.devices.pending.record("r1").unwrap();
    let end = Resolution::of_device(request, Fate::Expired, NOW + REQUEST_TTL_MS);
    let over = Some(Refusal::RequestResolved(Box::new(end)));
    let table = [
        (caller(&pairing), "r1", NOW, None),
        (caller(&pairing), "r9", NOW, unknown.clone()),
        (caller(&pairing), "r1", late, over.clone()),
        (device_caller(&pairing, &other), "r1", late, denied.clone()),
        (device_caller(&pairing, &own), "r1", NOW, None),
        (device_caller(&pairing, &other), "r1", NOW, denied.clone()),
        (device_caller(&pairing, &own), "r9", NOW, denied),
        (device_caller(&pairing, &own), "r1", late, over),
        (device_caller(&admin, &other), "r1", NOW, None),
        (device_caller(&admin, &other), "r9", NOW, unknown),
    ];
    for (caller, id, now, expected) in table {
        let asked = asking(State::default(), &remote(Node, &[]));
        let mut state = asked.clone();
        let verdict = approve(&mut state, id, None, &caller, now, &mut Counter::default()).err();
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
    node::approve(&mut state, "r2", None, &caller(&admin), NOW, &mut entropy).unwrap();
    let more = node_claim(&["system.run", "system.which"]);
    surface::reconcile(&mut state, &more, &policy, NOW, &mut entropy);

    let device = DeviceId::from("d");
    let (answer, changes) = remove(&mut state, &device, &caller(&admin), NOW).unwrap();
    assert_eq!(
        serde_json::to_value(answer).unwrap(),
        json!({"deviceId": "d"})
    );
    assert_eq!(records(&state), State::default());
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
    assert_eq!(records(&state), State::default());
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

fn digest_of(state: &State, id: &str) -> String {
    let request = state.devices.pending.record(id).unwrap();
    let row = request.shown(&state.devices.paired);
    row["digest"].as_str().unwrap().to_owned()
}

#[test]
fn what_was_shown_is_approved_or_nothing_is() {
    let mut entropy = Counter::default();
    let claim = remote(Operator, &["operator.read"]);
    let mut state = asking(State::default(), &claim);
    let shown = digest_of(&state, "r1");
    // The same device under another name and from elsewhere: the id stays, the row does not.
    let moved = ConnectClaim {
        display_name: Some("Trusted Desk".into()),
        reported_ip: Some([198, 51, 100, 7].into()),
        ..claim.clone()
    };
    waits(&mut state, &moved, NOW + 1, &mut entropy);
    let before = state.clone();
    let admin = scopes(FULL);
    let by = caller(&admin);
    let refused = approve(&mut state, "r1", Some(&shown), &by, NOW + 2, &mut entropy).unwrap_err();
    let details = refused.details().unwrap();
    assert_eq!(
        (&details["code"], &details["request"]["displayName"]),
        (&json!("REQUEST_CHANGED"), &json!("Trusted Desk"))
    );
    assert_eq!(details["digest"], json!(digest_of(&state, "r1")));
    assert_eq!(state, before, "a refusal changes nothing");

    // Merely asking again changes nothing an approver decides on.
    let shown = digest_of(&state, "r1");
    waits(&mut state, &moved, NOW + 9, &mut entropy);
    assert_eq!(digest_of(&state, "r1"), shown);
    approve(&mut state, "r1", Some(&shown), &by, NOW + 9, &mut entropy).unwrap();
}

#[test]
fn wider_scopes_between_the_look_and_the_approval_are_never_approved_with_it() {
    let mut entropy = Counter::default();
    let narrow = remote(Operator, &["operator.read"]);
    let mut state = State::default();
    waits(&mut state, &narrow, NOW, &mut entropy);
    let shown = digest_of(&state, "r1");
    let wide = remote(Operator, &["operator.admin"]);
    waits(&mut state, &wide, NOW + 1, &mut entropy);
    let (admin, before) = (scopes(FULL), state.clone());
    for id in ["r1", "r2"] {
        let refused = approve(
            &mut state,
            id,
            Some(&shown),
            &caller(&admin),
            NOW + 2,
            &mut entropy,
        );
        assert!(refused.is_err(), "{id}");
        assert_eq!(state, before);
    }
    let late = approve(
        &mut state,
        "r1",
        None,
        &caller(&admin),
        NOW + 2,
        &mut entropy,
    )
    .err();
    assert_eq!(fate(late), (json!("superseded"), json!(null), json!("r2")));
}

#[test]
fn approving_again_is_a_success_that_changes_nothing() {
    let (pairing, mut entropy) = (scopes(&["operator.pairing"]), Counter::default());
    let by = caller(&pairing);
    let mut state = asking(State::default(), &remote(Node, &[]));
    let shown = digest_of(&state, "r1");
    approve(&mut state, "r1", None, &by, NOW, &mut entropy).unwrap();
    let before = state.clone();
    for expected in [None, Some(shown.as_str())] {
        let again = approve(&mut state, "r1", expected, &by, NOW + 5, &mut entropy);
        let (answer, changes) = again.unwrap();
        assert!(answer.already_approved && changes.is_empty());
        assert_eq!(answer.device["deviceId"], "d");
        assert!(!answer.device.to_string().contains("SECRET"));
    }
    let other = approve(&mut state, "r1", Some("0123"), &by, NOW + 5, &mut entropy).err();
    assert_eq!(fate(other).0, "approved", "something else was approved");
    let rejected = reject(&mut state, "r1", &by, NOW + 5).err();
    assert_eq!(
        fate(rejected),
        (json!("approved"), json!("tester"), json!(null))
    );
    assert_eq!(state, before);

    // Another device learns nothing of it; the same one may.
    let (own, other) = (DeviceId::from("d"), DeviceId::from("e"));
    let bound = device_caller(&pairing, &other);
    let denied = approve(&mut state, "r1", None, &bound, NOW, &mut entropy).err();
    assert_eq!(denied, Some(Refusal::ApprovalDenied));
    let bound = device_caller(&pairing, &own);
    assert!(approve(&mut state, "r1", None, &bound, NOW, &mut entropy).is_ok());

    remove(&mut state, &own, &by, NOW + 6).unwrap();
    let gone = approve(&mut state, "r1", None, &by, NOW + 7, &mut entropy).err();
    assert_eq!(fate(gone), (json!("removed"), json!("tester"), json!(null)));
}

#[test]
fn a_rejected_request_stays_rejected_and_says_so() {
    let (pairing, mut entropy) = (scopes(&["operator.pairing"]), Counter::default());
    let by = caller(&pairing);
    let mut state = asking(State::default(), &remote(Node, &[]));
    reject(&mut state, "r1", &by, NOW).unwrap();
    let refused = approve(&mut state, "r1", None, &by, NOW, &mut entropy).unwrap_err();
    assert_eq!(refused.to_string(), "unknown requestId");
    assert_eq!(
        fate(Some(refused)),
        (json!("rejected"), json!("tester"), json!(null))
    );
    assert!(state.devices.paired.is_empty());
}

#[test]
fn another_key_is_marked_and_its_approval_takes_nothing_over() {
    let old = paired(&["operator.admin"], &[("operator", FULL), ("node", &[])]);
    let claim = ConnectClaim {
        public_key: "another".into(),
        ..remote(Node, &[])
    };
    let mut state = asking(with_devices(&[old]), &claim);
    let pairing = scopes(&["operator.pairing"]);
    let listed = list(&state, &caller(&pairing), NOW).pending;
    assert_eq!(listed[0]["keyChanged"], true);
    let digest = listed[0]["digest"].as_str();
    let done = approve(
        &mut state,
        "r1",
        digest,
        &caller(&pairing),
        NOW,
        &mut Counter::default(),
    );
    let (_, changes) = done.unwrap();
    let record = state.devices.paired.record("d").unwrap();
    assert_eq!(record.effective_roles(), BTreeSet::from(["node"]));
    assert!(record.approved_scopes().is_empty());
    let ends = |change: &Change| matches!(change, Change::EndSessions { role: None, .. });
    assert!(
        changes.iter().any(ends),
        "the sessions of the other key end"
    );
    let same = asking(state, &remote(Node, &[]));
    assert_eq!(
        list(&same, &caller(&pairing), NOW).pending[0]["keyChanged"],
        true
    );
}

#[test]
fn an_approver_needs_every_scope_that_merged_attempts_asked_for() {
    let mut entropy = Counter::default();
    let mut state = State::default();
    for asked in [&["operator.admin"][..], &["operator.pairing"]] {
        waits(&mut state, &remote(Operator, asked), NOW, &mut entropy);
    }
    waits(&mut state, &remote(Node, &[]), NOW, &mut entropy);
    let id = state
        .devices
        .pending
        .records()
        .next()
        .unwrap()
        .request_id
        .clone();
    let before = state.clone();
    let table: [(&[&str], Option<&str>); 4] = [
        (&["operator.pairing"], Some("operator.admin")),
        (
            &["operator.pairing", "operator.write"],
            Some("operator.admin"),
        ),
        (&[], Some("operator.admin")),
        (&["operator.admin"], None),
    ];
    for (held, missing) in table {
        let held = scopes(held);
        let mut state = before.clone();
        let verdict = approve(
            &mut state,
            id.as_str(),
            None,
            &caller(&held),
            NOW,
            &mut entropy,
        );
        let missing = missing.map(|scope| Refusal::MissingScope(scope.into()));
        assert_eq!(verdict.err(), missing, "{held:?}");
        assert_eq!(state == before, missing.is_some());
    }
}
