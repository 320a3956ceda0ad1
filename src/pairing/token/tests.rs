use serde_json::Value;

use super::*;
use crate::pairing::testing::{
    Counter, NOW, caller, device_caller, paired, saves, scopes, with_devices,
};

const FULL: &[&str] = &["operator.admin", "operator.read", "operator.write"];
const PAIRING: &[&str] = &["operator.pairing"];

fn device(edit: impl FnOnce(&mut Value)) -> State {
    let mut record = paired(
        &["operator.admin", "operator.pairing"],
        &[("operator", &["operator.pairing"]), ("node", &[])],
    );
    edit(&mut record);
    with_devices(&[record])
}

#[test]
fn a_token_is_right_only_in_every_respect() {
    let right = "SECRET-OLD-operator";
    let plain = || device(|_| {});
    type Row<'a> = (State, &'a str, &'a str, &'a str, &'a [&'a str], bool);
    let table: Vec<Row<'_>> = vec![
        (plain(), "d", "operator", right, &[], true),
        (plain(), "d", "operator", right, PAIRING, true),
        (plain(), "d", "operator", right, &["operator.read"], false),
        (plain(), "d", "operator", "SECRET-OLD-node", &[], false),
        (plain(), "d", "operator", "", &[], false),
        (plain(), "d", "node", right, &[], false),
        (plain(), "d", "worker", right, &[], false),
        (plain(), "e", "operator", right, &[], false),
        (
            device(|record| record["tokens"]["operator"]["revokedAtMs"] = json!(1)),
            "d",
            "operator",
            right,
            &[],
            false,
        ),
        (
            device(|record| record["approvedScopes"] = json!(["operator.read"])),
            "d",
            "operator",
            right,
            &[],
            false,
        ),
        (
            device(|record| {
                record["roles"] = json!(["node"]);
                record["role"] = json!("node");
            }),
            "d",
            "operator",
            right,
            &[],
            false,
        ),
        (
            device(|record| record["createdAtMs"] = json!("?")),
            "d",
            "operator",
            right,
            &[],
            false,
        ),
    ];
    for (row, (state, id, role, token, asked, expected)) in table.into_iter().enumerate() {
        let verdict = verify(&state, &id.into(), role, token, &scopes(asked));
        assert_eq!(verdict, expected, "row {row}");
    }
}

#[test]
fn a_rotation_stays_inside_approval_and_caller() {
    let narrow = |record: &mut Value| record["approvedScopes"] = json!(["operator.pairing"]);
    let holds_admin = |record: &mut Value| record["tokens"]["operator"]["scopes"] = json!(FULL);
    let none = |record: &mut Value| {
        record["tokens"].as_object_mut().unwrap().remove("operator");
    };
    let ok = |words: &[&str]| Ok(scopes(words));
    let denied = |why| Err(Refusal::RotationDenied(why));
    type Row<'a> = (
        State,
        &'a str,
        Option<&'a [&'a str]>,
        &'a [&'a str],
        Result<Scopes, Refusal>,
    );
    let table: Vec<Row<'_>> = vec![
        (device(|_| {}), "operator", None, PAIRING, ok(PAIRING)),
        (
            device(|_| {}),
            "operator",
            Some(&["operator.admin"]),
            FULL,
            ok(FULL),
        ),
        (
            device(|_| {}),
            "operator",
            Some(&["operator.admin"]),
            PAIRING,
            denied(Denial::ScopesBeyondCaller),
        ),
        (
            device(|_| {}),
            "operator",
            Some(&["operator.read"]),
            PAIRING,
            denied(Denial::ScopesBeyondCaller),
        ),
        (
            device(|_| {}),
            "operator",
            Some(&["node.x"]),
            FULL,
            denied(Denial::ScopesNotApproved),
        ),
        (
            device(narrow),
            "operator",
            Some(&["operator.read"]),
            FULL,
            denied(Denial::ScopesNotApproved),
        ),
        (
            device(holds_admin),
            "operator",
            Some(PAIRING),
            PAIRING,
            denied(Denial::ExistingScopesBeyondCaller),
        ),
        (
            device(holds_admin),
            "operator",
            None,
            PAIRING,
            denied(Denial::ScopesBeyondCaller),
        ),
        (
            device(holds_admin),
            "operator",
            Some(PAIRING),
            FULL,
            ok(PAIRING),
        ),
        (device(holds_admin), "operator", Some(&[]), FULL, ok(&[])),
        (
            device(holds_admin),
            "operator",
            Some(&["operator.bogus"]),
            FULL,
            denied(Denial::ScopesNotApproved),
        ),
        (
            device(holds_admin),
            "operator",
            Some(&["operator.read,operator.pairing"]),
            FULL,
            denied(Denial::ScopesNotApproved),
        ),
        (
            device(none),
            "operator",
            None,
            FULL,
            ok(&[
                "operator.admin",
                "operator.pairing",
                "operator.read",
                "operator.write",
            ]),
        ),
        (
            device(none),
            "operator",
            None,
            PAIRING,
            denied(Denial::ScopesBeyondCaller),
        ),
        (device(|_| {}), "node", None, PAIRING, ok(&[])),
        (
            device(|_| {}),
            "worker",
            None,
            FULL,
            denied(Denial::RoleNotApproved),
        ),
        (
            State::default(),
            "operator",
            None,
            FULL,
            denied(Denial::UnknownDevice),
        ),
    ];
    for (row, (mut state, role, wanted, held, expected)) in table.into_iter().enumerate() {
        let (before, held) = (state.clone(), scopes(held));
        let wanted = wanted.map(scopes);
        let verdict = rotate(
            &mut state,
            &"d".into(),
            role,
            wanted.as_ref(),
            &caller(&held),
            NOW,
            &mut Counter::default(),
        );
        let kept = verdict.is_err();
        assert_eq!(
            verdict.map(|(rotated, _)| rotated.scopes),
            expected,
            "row {row}"
        );
        assert_eq!(state == before, kept, "row {row}");
    }
}

#[test]
fn a_stray_token_is_no_target() {
    let mut state = device(|record| {
        record["roles"] = json!(["node"]);
        record["role"] = json!("node");
    });
    let full = scopes(FULL);
    let denied = Denial::RoleNotApproved;
    let rotated = rotate(
        &mut state,
        &"d".into(),
        "operator",
        None,
        &caller(&full),
        NOW,
        &mut Counter::default(),
    );
    assert_eq!(rotated.err(), Some(Refusal::RotationDenied(denied)));
    let revoked = revoke(&mut state, &"d".into(), "operator", &caller(&full), NOW);
    assert_eq!(revoked.err(), Some(Refusal::RevocationDenied(denied)));
}

#[test]
fn only_its_own_device_is_told_the_new_token() {
    let (own, other) = (DeviceId::from("d"), DeviceId::from("e"));
    let (pairing, full) = (scopes(PAIRING), scopes(FULL));
    let table = [
        (caller(&full), Some(false)),
        (device_caller(&pairing, &own), Some(true)),
        (device_caller(&full, &own), Some(true)),
        (device_caller(&full, &other), Some(false)),
        (device_caller(&pairing, &other), None),
    ];
    for (caller, told) in table {
        let rotated = rotate(
            &mut device(|_| {}),
            &own,
            "operator",
            None,
            &caller,
            NOW,
            &mut Counter::default(),
        );
        let answer = rotated
            .ok()
            .map(|(rotated, _)| serde_json::to_value(rotated).unwrap());
        let token = answer.map(|answer| answer.get("token").is_some());
        assert_eq!(token, told, "{caller:?}");
    }
}

#[test]
fn a_rotation_replaces_the_value_and_ends_the_sessions_of_its_role() {
    let mut state = device(|record| record["tokens"]["operator"]["revokedAtMs"] = json!(7));
    let full = scopes(FULL);
    let (rotated, changes) = rotate(
        &mut state,
        &"d".into(),
        "operator",
        None,
        &caller(&full),
        NOW,
        &mut Counter::default(),
    )
    .unwrap();
    assert_eq!(rotated.rotated_at_ms, NOW);
    assert_eq!(saves(&changes), [Part::DevicesPaired]);
    let end = Change::EndSessions {
        device: "d".into(),
        role: Some(Role::Operator),
        reason: SessionEnd::DeviceRemoved,
    };
    assert!(changes.contains(&end));
    assert!(!format!("{changes:?}").contains("SECRET"));
    assert!(verify(
        &state,
        &"d".into(),
        "operator",
        "SECRET-1",
        &scopes(PAIRING)
    ));
    assert!(!verify(
        &state,
        &"d".into(),
        "operator",
        "SECRET-OLD-operator",
        &Scopes::none()
    ));
    let entry = &state.devices.paired.record("d").unwrap().tokens["operator"];
    assert_eq!((entry.created_at_ms, entry.revoked_at_ms), (1, None));
}

#[test]
fn a_revocation_needs_the_scopes_of_the_token() {
    let holds = |words: &'static [&'static str]| {
        move |record: &mut Value| record["tokens"]["operator"]["scopes"] = json!(words)
    };
    let none = |record: &mut Value| {
        record["tokens"].as_object_mut().unwrap().remove("operator");
    };
    let own = DeviceId::from("d");
    let other = DeviceId::from("e");
    let (pairing, full) = (scopes(PAIRING), scopes(FULL));
    let beyond = Some(Denial::ExistingScopesBeyondCaller);
    let table = [
        (device(|_| {}), "operator", caller(&pairing), None),
        (device(holds(FULL)), "operator", caller(&pairing), beyond),
        (
            device(holds(&["operator.write"])),
            "operator",
            caller(&pairing),
            beyond,
        ),
        (device(holds(FULL)), "operator", caller(&full), None),
        (device(|_| {}), "node", caller(&pairing), None),
        (
            device(none),
            "operator",
            caller(&full),
            Some(Denial::UnknownToken),
        ),
        (
            device(|_| {}),
            "worker",
            caller(&full),
            Some(Denial::RoleNotApproved),
        ),
        (
            State::default(),
            "operator",
            caller(&full),
            Some(Denial::UnknownDevice),
        ),
        (
            device(|_| {}),
            "operator",
            device_caller(&pairing, &own),
            None,
        ),
        (
            device(|_| {}),
            "operator",
            device_caller(&pairing, &other),
            Some(Denial::OtherDevice),
        ),
        (
            device(|_| {}),
            "operator",
            device_caller(&full, &other),
            None,
        ),
    ];
    for (row, (mut state, role, caller, expected)) in table.into_iter().enumerate() {
        let before = state.clone();
        let verdict = revoke(&mut state, &own, role, &caller, NOW);
        assert_eq!(
            verdict.as_ref().err().and_then(Refusal::denial),
            expected,
            "row {row}"
        );
        match verdict {
            Err(_) => assert_eq!(state, before, "row {row}"),
            Ok((revoked, _)) => {
                let answer = json!({"deviceId": "d", "role": role, "revokedAtMs": NOW});
                assert_eq!(serde_json::to_value(revoked).unwrap(), answer);
                let old = format!("SECRET-OLD-{role}");
                assert!(
                    !verify(&state, &own, role, &old, &Scopes::none()),
                    "row {row}"
                );
            }
        }
    }
}

#[test]
fn a_connect_reuses_mints_or_goes_without() {
    let scopes_of = |words: &'static [&'static str]| {
        move |record: &mut Value| record["tokens"]["operator"]["scopes"] = json!(words)
    };
    let none = |record: &mut Value| {
        record["tokens"].as_object_mut().unwrap().remove("operator");
    };
    let revoked = |record: &mut Value| record["tokens"]["operator"]["revokedAtMs"] = json!(7);
    let reused = |words: &[&str]| Some((scopes(words), false));
    let minted = |words: &[&str]| Some((scopes(words), true));
    type Row<'a> = (State, &'a [&'a str], Option<(Scopes, bool)>);
    let table: Vec<Row<'_>> = vec![
        (device(|_| {}), PAIRING, reused(PAIRING)),
        (device(|_| {}), &[], reused(PAIRING)),
        (
            device(|_| {}),
            &["operator.write"],
            minted(&["operator.read", "operator.write"]),
        ),
        (device(|_| {}), &["node.x"], None),
        (device(none), PAIRING, minted(PAIRING)),
        (device(revoked), PAIRING, None),
        (device(scopes_of(&["node.y"])), PAIRING, minted(PAIRING)),
        (
            device(|record| record["roles"] = json!([])),
            PAIRING,
            reused(PAIRING),
        ),
        (State::default(), &[], None),
    ];
    for (row, (mut state, asked, expected)) in table.into_iter().enumerate() {
        let issued = ensure(
            &mut state,
            &"d".into(),
            "operator",
            &scopes(asked),
            NOW,
            &mut Counter::default(),
        );
        let found = issued
            .as_ref()
            .map(|(issued, made)| (issued.scopes.clone(), *made));
        assert_eq!(found, expected, "row {row}");
        if let Some((issued, made)) = issued {
            assert!(verify(
                &state,
                &"d".into(),
                "operator",
                issued.token.as_str(),
                &scopes(asked)
            ));
            assert!(!made || issued.issued_at_ms == NOW, "row {row}");
        }
    }
}
