use serde_json::Value;

use super::*;
use crate::{
    pairing::{
        change::SessionEnd,
        device,
        testing::{
            Counter, NOW, caller, enters, events, local, paired, remote, saves, scopes, waits,
            with_devices,
        },
    },
    protocol::{
        limits::MAX_CLOSE_REASON_BYTES,
        scope::Role::{Node, Operator},
    },
};

fn read_only() -> State {
    with_devices(&[paired(
        &["operator.read"],
        &[("operator", &["operator.read"])],
    )])
}

#[test]
fn each_shortfall_has_its_reason_in_order() {
    let stranger = |claim: ConnectClaim| ConnectClaim {
        public_key: "other".into(),
        ..claim
    };
    let windows = |claim: ConnectClaim| ConnectClaim {
        platform: Some("win32".into()),
        ..claim
    };
    let table = [
        (
            stranger(windows(remote(Node, &["operator.admin"]))),
            "not-paired",
        ),
        (
            windows(remote(Node, &["operator.admin"])),
            "metadata-upgrade",
        ),
        (remote(Node, &["operator.admin"]), "role-upgrade"),
        (remote(Operator, &["operator.admin"]), "scope-upgrade"),
        (remote(Operator, &["operator.write"]), "scope-upgrade"),
    ];
    for (claim, reason) in table {
        let (waiting, _) = waits(&mut read_only(), &claim, NOW, &mut Counter::default());
        assert_eq!(waiting.reason.as_str(), reason, "{claim:?}");
    }
    for claim in [remote(Operator, &["operator.read"]), remote(Operator, &[])] {
        enters(&mut read_only(), &claim, &mut Counter::default());
    }
}

#[test]
fn only_a_differing_claim_departs_from_a_pin() {
    let some = |text: &str| Some(text.to_owned());
    let table = [
        (some("Linux"), some("  linux "), false),
        (some("linux"), some("darwin"), true),
        (some("linux"), None, false),
        (some("linux"), some(" "), false),
        (None, some("darwin"), false),
        (some(""), some("darwin"), false),
        (some("É"), some("é"), true),
    ];
    for (pinned, claimed, expected) in table {
        assert_eq!(
            departs(&pinned, &claimed),
            expected,
            "{pinned:?} {claimed:?}"
        );
    }
}

#[test]
fn a_remote_device_waits_and_the_operators_hear_of_it() {
    let mut state = State::default();
    let claim = remote(Node, &[]);
    let (waiting, changes) = waits(&mut state, &claim, NOW, &mut Counter::default());
    assert_eq!(saves(&changes), [Part::DevicesPending]);
    let expected = json!({"requestId": "r1", "deviceId": "d", "publicKey": "key-d",
        "displayName": "Build Node", "platform": "linux", "clientId": "node-host",
        "clientMode": "node", "role": "node", "roles": ["node"], "scopes": [],
        "remoteIp": "203.0.113.9", "silent": false, "isRepair": false, "ts": NOW});
    let expected = crate::pairing::digest::stamped(expected);
    assert_eq!(events(&changes), [("device.pair.requested", expected)]);
    assert_eq!(
        waiting.close_reason(),
        "pairing required: device is not approved yet (requestId: r1)"
    );
    assert!(waiting.details().get("approvedRoles").is_none());
}

#[test]
fn a_refusal_says_what_is_asked_and_what_is_approved() {
    let claim = remote(Operator, &["operator.admin"]);
    let (waiting, _) = waits(&mut read_only(), &claim, NOW, &mut Counter::default());
    assert_eq!(
        waiting.message(),
        "pairing required: device is asking for more scopes than currently approved"
    );
    let expected = json!({"code": "PAIRING_REQUIRED", "reason": "scope-upgrade",
        "requestId": "r1",
        "remediationHint": "Review the requested scopes, then approve the pending upgrade.",
        "deviceId": "d", "requestedRole": "operator", "requestedScopes": ["operator.admin"],
        "approvedRoles": ["operator"], "approvedScopes": ["operator.read"]});
    assert_eq!(waiting.details().to_string(), expected.to_string());
}

#[test]
fn another_key_is_told_nothing_about_the_approval() {
    let claim = ConnectClaim {
        public_key: "other".into(),
        ..local(Operator, &[])
    };
    let (waiting, changes) = waits(&mut read_only(), &claim, NOW, &mut Counter::default());
    assert_eq!(waiting.reason, Reason::NotPaired);
    assert!(waiting.details().get("approvedRoles").is_none());
    assert_eq!(events(&changes)[0].1["isRepair"], json!(true));
}

#[test]
fn a_silent_first_pairing_hands_out_a_token_with_the_scopes_asked_for() {
    let mut state = State::default();
    let claim = local(Operator, &["operator.write", "operator.pairing"]);
    let (admission, changes) = enters(&mut state, &claim, &mut Counter::default());
    let token = admission.token.unwrap();
    let normal = scopes(&["operator.pairing", "operator.read", "operator.write"]);
    assert_eq!(
        (token.token.as_str(), token.issued_at_ms),
        ("SECRET-1", NOW)
    );
    assert_eq!(token.scopes, normal);
    assert_eq!(saves(&changes), [Part::DevicesPaired]);
    let record = state.devices.paired.record("d").unwrap();
    assert_eq!(
        record.scopes,
        scopes(&["operator.write", "operator.pairing"])
    );
    assert_eq!(record.approved_scopes.as_ref(), Some(&record.scopes));
    let (admission, changes) = enters(&mut state, &claim, &mut Counter::default());
    assert_eq!(admission.token.unwrap(), token);
    assert_eq!(changes, []);
}

#[test]
fn upgrades_are_never_silent_even_on_this_host() {
    let mut revoked = paired(&[], &[("node", &[])]);
    revoked["tokens"]["node"]["revokedAtMs"] = json!(5);
    let table = [
        (
            read_only(),
            local(Operator, &["operator.write"]),
            Reason::ScopeUpgrade,
        ),
        (read_only(), local(Node, &[]), Reason::RoleUpgrade),
        (
            with_devices(&[revoked]),
            local(Node, &[]),
            Reason::RoleUpgrade,
        ),
    ];
    for (mut state, claim, reason) in table {
        let before = state.devices.paired.clone();
        let (waiting, _) = waits(&mut state, &claim, NOW, &mut Counter::default());
        assert_eq!(waiting.reason, reason);
        assert_eq!(state.devices.paired, before, "the approval stays as it was");
    }
}

#[test]
fn a_wider_request_from_afar_is_not_approved_by_a_local_visit() {
    let mut state = State::default();
    let mut entropy = Counter::default();
    waits(
        &mut state,
        &remote(Operator, &["operator.admin"]),
        NOW,
        &mut entropy,
    );
    let claim = local(Operator, &["operator.read"]);
    let (waiting, _) = waits(&mut state, &claim, NOW, &mut entropy);
    assert!(state.devices.paired.is_empty());
    let request = state
        .devices
        .pending
        .record(waiting.request_id.as_str())
        .unwrap();
    assert!(!request.silent);
}

#[test]
fn a_record_that_cannot_be_read_lets_nobody_in_and_is_not_replaced() {
    let mut broken = paired(&[], &[("node", &[])]);
    broken["createdAtMs"] = json!("yesterday");
    let mut state = with_devices(&[broken]);
    let before = state.clone();
    let (verdict, changes) = admit(
        &mut state,
        &local(Node, &[]),
        &AdmissionPolicy::default(),
        NOW,
        &mut Counter::default(),
    );
    assert_eq!(verdict, Err(NotAdmitted::RecordUnreadable));
    assert_eq!((changes, state), (Changes::new(), before));
}

#[test]
fn pins_stand_for_the_claim_and_an_unpinned_claim_is_not_stored() {
    let mut state = read_only();
    let claim = ConnectClaim {
        platform: Some("LINUX".into()),
        device_family: Some("Pi".into()),
        ..remote(Operator, &[])
    };
    let (admission, _) = enters(&mut state, &claim, &mut Counter::default());
    assert_eq!(admission.platform.as_deref(), Some("Linux"));
    assert_eq!(admission.device_family.as_deref(), Some("Pi"));
    let record = state.devices.paired.record("d").unwrap();
    assert_eq!(
        (record.platform.as_deref(), record.device_family.as_deref()),
        (Some("Linux"), None)
    );
}

#[test]
fn a_connect_refreshes_what_it_says_and_erases_nothing() {
    let mut state = read_only();
    let claim = ConnectClaim {
        display_name: Some("New".into()),
        ..remote(Operator, &[])
    };
    let (_, changes) = enters(&mut state, &claim, &mut Counter::default());
    assert_eq!(changes, [Change::Touch(Part::DevicesPaired)]);
    let silent = ConnectClaim {
        display_name: None,
        reported_ip: None,
        ..claim
    };
    let (_, changes) = enters(&mut state, &silent, &mut Counter::default());
    assert_eq!(changes, []);
    let record = state.devices.paired.record("d").unwrap();
    let known = (record.display_name.as_deref(), record.remote_ip.as_deref());
    assert_eq!(known, (Some("New"), Some("203.0.113.9")));
    assert_eq!(record.client_id.as_deref(), Some("cli"));
}

#[test]
fn a_used_device_token_is_noted() {
    let mut state = read_only();
    let claim = ConnectClaim {
        method: AuthMethod::DeviceToken,
        ..remote(Operator, &[])
    };
    enters(&mut state, &claim, &mut Counter::default());
    let record = state.devices.paired.record("d").unwrap();
    assert_eq!(record.tokens["operator"].last_used_at_ms, Some(NOW));
}

#[test]
fn who_skips_pairing_leaves_nothing_behind() {
    for pairing in [Pairing::Absent, Pairing::Waived] {
        let mut state = State::default();
        let claim = ConnectClaim {
            pairing,
            ..remote(Operator, &["operator.admin"])
        };
        let (admission, changes) = enters(&mut state, &claim, &mut Counter::default());
        assert_eq!(admission.token, None);
        assert_eq!(
            (changes, state),
            (Changes::new(), State::default()),
            "{pairing:?}"
        );
    }
}

#[test]
fn who_need_not_pair_still_gets_the_token_of_its_record_but_not_beyond_it() {
    let table: [(Pairing, &[&str], bool); 4] = [
        (Pairing::Waived, &["operator.read"], true),
        (Pairing::Waived, &["operator.admin"], false),
        (Pairing::Absent, &["operator.read"], false),
        (Pairing::Required, &["operator.read"], true),
    ];
    for (pairing, asked, token) in table {
        let claim = ConnectClaim {
            pairing,
            ..remote(Operator, asked)
        };
        let (admission, _) = enters(&mut read_only(), &claim, &mut Counter::default());
        assert_eq!(admission.token.is_some(), token, "{pairing:?} {asked:?}");
    }
}

#[test]
fn an_approved_upgrade_of_each_kind_lets_the_device_in() {
    let windows = Some("win32".to_owned());
    let claims = [
        ConnectClaim {
            public_key: "other".into(),
            ..remote(Operator, &["operator.read"])
        },
        ConnectClaim {
            platform: windows,
            ..remote(Operator, &["operator.read"])
        },
        remote(Node, &[]),
        remote(Operator, &["operator.admin"]),
    ];
    let admin = scopes(&["operator.admin"]);
    for claim in claims {
        let (mut state, mut entropy) = (read_only(), Counter::default());
        let (waiting, _) = waits(&mut state, &claim, NOW, &mut entropy);
        let id = waiting.request_id.as_str();
        device::approve(&mut state, id, None, &caller(&admin), NOW, &mut entropy).unwrap();
        let (admission, _) = enters(&mut state, &claim, &mut entropy);
        assert!(admission.token.is_some(), "{claim:?}");
    }
}

#[test]
fn a_new_key_inherits_nothing_and_ends_the_sessions_of_the_old_one() {
    let roles = paired(
        &["operator.admin"],
        &[
            (
                "operator",
                &["operator.admin", "operator.read", "operator.write"],
            ),
            ("node", &[]),
        ],
    );
    let (mut state, mut entropy) = (with_devices(&[roles]), Counter::default());
    let claim = ConnectClaim {
        public_key: "other".into(),
        ..remote(Node, &[])
    };
    let (waiting, _) = waits(&mut state, &claim, NOW, &mut entropy);
    let pairing = scopes(&["operator.pairing"]);
    let id = waiting.request_id.as_str();
    let (_, changes) =
        device::approve(&mut state, id, None, &caller(&pairing), NOW, &mut entropy).unwrap();
    let record = state.devices.paired.record("d").unwrap();
    assert_eq!(record.public_key, "other");
    assert_eq!(
        record.approved_roles().into_iter().collect::<Vec<_>>(),
        ["node"]
    );
    assert_eq!(record.tokens.keys().collect::<Vec<_>>(), ["node"]);
    assert!(record.approved_scopes().is_empty());
    let end = Change::EndSessions {
        device: "d".into(),
        role: None,
        reason: SessionEnd::DeviceRemoved,
    };
    assert!(changes.contains(&end));
}

#[test]
fn no_change_that_others_hear_of_shows_a_token() {
    let mut state = State::default();
    let claim = local(Operator, &["operator.admin"]);
    let (_, changes) = enters(&mut state, &claim, &mut Counter::default());
    for (_, payload) in events(&changes) {
        assert!(!Value::to_string(&payload).contains("SECRET"));
    }
}

/// A policy whose switch is closed by configuration.
fn closed() -> AdmissionPolicy {
    AdmissionPolicy {
        pairing_enabled: false,
        auto_approve: Networks::parse(&["203.0.113.0/24".to_owned()]),
    }
}

#[test]
fn while_pairing_is_closed_nothing_new_is_recorded_or_approved_by_any_rule() {
    let moved = |claim: ConnectClaim| ConnectClaim {
        platform: Some("win32".into()),
        ..claim
    };
    let known = || {
        with_devices(&[paired(
            &["operator.read"],
            &[("operator", &["operator.read"])],
        )])
    };
    let table = [
        (State::default(), remote(Node, &[])),
        (State::default(), remote(Operator, &["operator.read"])),
        (State::default(), local(Operator, &["operator.read"])),
        (State::default(), local(Node, &[])),
        (known(), remote(Node, &[])),
        (known(), local(Node, &[])),
        (known(), remote(Operator, &["operator.write"])),
        (known(), moved(remote(Operator, &["operator.read"]))),
        // Silent as a rule, but this approval would need more than the client has.
        (known(), moved(local(Operator, &[]))),
        (
            known(),
            ConnectClaim {
                public_key: "other".into(),
                ..local(Operator, &[])
            },
        ),
    ];
    for (mut state, claim) in table {
        let before = state.clone();
        let (verdict, changes) = admit(&mut state, &claim, &closed(), NOW, &mut Counter::default());
        let Err(NotAdmitted::PairingClosed(refused)) = verdict else {
            panic!("{claim:?}: {verdict:?}")
        };
        assert_eq!((changes, &state), (vec![], &before), "{claim:?}");
        assert_eq!(refused.request_id, None);
        let details = refused.details();
        assert_eq!(details["code"], "PAIRING_REQUIRED");
        assert_eq!(details["reason"], "pairing-disabled");
        let hint = details["remediationHint"].as_str().unwrap();
        assert!(
            hint.contains("openclaw gateway pairing open --for 3m"),
            "{hint}"
        );
        assert!(refused.close_reason().len() <= MAX_CLOSE_REASON_BYTES);
    }
}

#[test]
fn who_is_known_keeps_working_while_pairing_is_closed() {
    let record = paired(&["operator.read"], &[("operator", &["operator.read"])]);
    let moved = ConnectClaim {
        platform: Some("linux 6.19".into()),
        ..local(Operator, &["operator.read"])
    };
    for claim in [
        remote(Operator, &["operator.read"]),
        local(Operator, &["operator.read"]),
        moved,
    ] {
        let mut state = with_devices(std::slice::from_ref(&record));
        let (verdict, _) = admit(&mut state, &claim, &closed(), NOW, &mut Counter::default());
        assert!(verdict.unwrap().token.is_some(), "{claim:?}");
        assert!(state.devices.pending.is_empty());
    }
}

#[test]
fn a_request_from_before_is_named_left_as_it_is_and_can_still_be_approved() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let claim = remote(Node, &[]);
    waits(&mut state, &claim, NOW, &mut entropy);
    let before = state.clone();
    let (verdict, changes) = admit(&mut state, &claim, &closed(), NOW + 9, &mut entropy);
    let Err(NotAdmitted::PairingClosed(refused)) = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(refused.details()["requestId"], "r1");
    assert_eq!((changes, &state), (vec![], &before));
    let admin = scopes(&["operator.admin"]);
    device::approve(&mut state, "r1", None, &caller(&admin), NOW, &mut entropy).unwrap();
    let (verdict, _) = admit(&mut state, &claim, &closed(), NOW + 9, &mut entropy);
    assert!(verdict.is_ok());
}
