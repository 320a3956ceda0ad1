use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::pairing::connect::AddressSource;
use crate::{
    pairing::{
        change::{Change, Part},
        connect::admit,
        testing::{
            Counter, NOW, events, local, paired, remote, scopes, trusting, waits, with_devices,
            words,
        },
    },
    protocol::scope::Role::{Node, Operator},
};

/// A situation in which one rule holds, and what every one of its conditions is turned into.
struct Case {
    devices: Vec<Value>,
    networks: &'static [&'static str],
    claim: ConnectClaim,
}

type Flip = (&'static str, fn(&mut Case));

/// The situation itself is approved by `rule`; with any single condition turned it waits for a person,
/// and what was approved before stays as it was.
fn holds_exactly(rule: &str, base: fn() -> Case, flips: &[Flip]) {
    let judge = |flip: fn(&mut Case)| {
        let mut case = base();
        flip(&mut case);
        let mut state = with_devices(&case.devices);
        let before = state.devices.paired.clone();
        let policy = trusting(case.networks);
        let (verdict, changes) = admit(
            &mut state,
            &case.claim,
            &policy,
            NOW,
            &mut Counter::default(),
        );
        let by = changes.iter().find_map(|change| match change {
            Change::Audit(entry) if entry.action == "device.approve" => entry.detail.clone(),
            _ => None,
        });
        let unchanged = state.devices.paired == before;
        (verdict.is_ok(), by, unchanged, events(&changes))
    };
    let (admitted, by, _, told) = judge(|_| {});
    assert!(admitted, "{rule}");
    assert_eq!(by.unwrap()["rule"], rule);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].0, &told[0].1["decision"]),
        ("device.pair.resolved", &json!("approved"))
    );
    for (what, flip) in flips {
        let (admitted, by, unchanged, told) = judge(*flip);
        assert!(!admitted && by.is_none() && unchanged, "{rule}: {what}");
        assert_eq!(told[0].0, "device.pair.requested", "{rule}: {what}");
    }
}

fn other_key() -> Value {
    let mut record = paired(&[], &[("node", &[])]);
    record["publicKey"] = json!("another key");
    record
}

#[test]
fn a_first_pairing_on_this_host_is_silent() {
    let base = || Case {
        devices: vec![],
        networks: &[],
        claim: local(Operator, &["operator.pairing"]),
    };
    holds_exactly(
        "local",
        base,
        &[
            ("from elsewhere", |case| {
                case.claim.locality = Locality::Remote
            }),
            ("a page that is no Control UI", |case| {
                case.claim.has_origin = true
            }),
            ("a record of another key", |case| {
                case.devices = vec![other_key()]
            }),
            ("another role of a known device", |case| {
                case.devices = vec![paired(&[], &[("node", &[])])];
            }),
            ("more scopes of a known device", |case| {
                case.devices = vec![paired(
                    &["operator.read"],
                    &[("operator", &["operator.read"])],
                )];
            }),
            ("a scope of no requested role", |case| {
                case.claim = local(Node, &["operator.read"])
            }),
        ],
    );
    let also: [fn(&mut ConnectClaim); 4] = [
        |claim| claim.role = Node,
        |claim| claim.method = AuthMethod::None,
        |claim| claim.locality = Locality::BrowserContainerLocal,
        |claim| (claim.has_origin, claim.browser_client) = (true, true),
    ];
    let nowhere = Networks::default();
    for change in also {
        let mut claim = local(Operator, &[]);
        change(&mut claim);
        let found = silence(&State::default(), &claim, Reason::NotPaired, &nowhere);
        assert_eq!(found, Some(Silence::Local), "{claim:?}");
    }
}

#[test]
fn a_revoked_role_is_not_minted_again_in_silence() {
    let mut revoked = paired(&[], &[("node", &[])]);
    revoked["tokens"]["node"]["revokedAtMs"] = json!(5);
    let mut state = with_devices(&[revoked]);
    let (waiting, _) = waits(&mut state, &local(Node, &[]), NOW, &mut Counter::default());
    assert_eq!(waiting.reason, Reason::RoleUpgrade);
}

#[test]
fn a_change_of_metadata_alone_is_silent_for_a_proven_local_program() {
    let base = || Case {
        devices: vec![paired(
            &["operator.read"],
            &[("operator", &["operator.read"])],
        )],
        networks: &["203.0.113.0/24"],
        claim: ConnectClaim {
            platform: Some("linux 6.19".into()),
            ..local(Operator, &["operator.read"])
        },
    };
    holds_exactly(
        "metadata",
        base,
        &[
            ("nothing proven", |case| {
                case.claim.method = AuthMethod::None
            }),
            ("from elsewhere", |case| {
                case.claim = ConnectClaim {
                    platform: Some("linux 6.19".into()),
                    ..remote(Operator, &["operator.read"])
                };
            }),
            ("a container's browser", |case| {
                case.claim.locality = Locality::BrowserContainerLocal;
            }),
            ("a page", |case| case.claim.has_origin = true),
            ("a Control UI", |case| case.claim.browser_client = true),
            ("another role", |case| {
                (case.claim.role, case.claim.scopes) = (Node, scopes(&[]));
            }),
            ("more scopes", |case| {
                case.claim.scopes = scopes(&["operator.admin"])
            }),
            ("another key", |case| case.claim.public_key = "other".into()),
            ("a revoked token", |case| {
                case.devices[0]["tokens"]["operator"]["revokedAtMs"] = json!(5);
            }),
        ],
    );
    let nowhere = Networks::default();
    for method in [AuthMethod::Password, AuthMethod::DeviceToken] {
        let mut case = base();
        case.claim.method = method;
        let state = with_devices(&case.devices);
        let found = silence(&state, &case.claim, Reason::MetadataUpgrade, &nowhere);
        assert_eq!(found, Some(Silence::Metadata), "{method:?}");
    }
}

fn from_the_lan() -> Case {
    Case {
        devices: vec![],
        networks: &["10.0.0.0/8", "192.168.1.0/24"],
        claim: ConnectClaim {
            reported_ip: Some([192, 168, 1, 7].into()),
            ..remote(Node, &[])
        },
    }
}

#[test]
fn a_fresh_node_of_a_trusted_network_is_silent() {
    let flips: &[Flip] = &[
        ("nothing configured", |case| case.networks = &[]),
        ("other networks configured", |case| {
            case.networks = &["10.0.0.0/8", "192.168.2.7"]
        }),
        ("an operator", |case| case.claim.role = Operator),
        ("a scope", |case| case.claim.scopes = scopes(&["node.x"])),
        ("a page", |case| case.claim.has_origin = true),
        ("a Control UI or webchat", |case| {
            case.claim.browser_client = true
        }),
        ("no reported address", |case| case.claim.reported_ip = None),
        ("another address", |case| {
            case.claim.reported_ip = Some([192, 168, 2, 7].into())
        }),
        ("an address that a proxy on this host reports", |case| {
            case.claim.reported_by = AddressSource::LoopbackTrustedProxy;
        }),
        ("another key of a known device", |case| {
            case.devices = vec![other_key()]
        }),
        ("another role of a known device", |case| {
            case.devices = vec![paired(&[], &[("operator", &[])])];
        }),
        ("another platform of a known device", |case| {
            case.devices = vec![paired(&[], &[("node", &[])])];
            case.claim.platform = Some("win32".into());
        }),
        ("a revoked token of a known device", |case| {
            let mut record = paired(&[], &[("node", &[])]);
            record["tokens"]["node"]["revokedAtMs"] = json!(5);
            case.devices = vec![record];
        }),
        ("scopes of a known device", |case| {
            case.devices = vec![paired(&[], &[("node", &[])])];
            case.claim.scopes = scopes(&["node.x"]);
        }),
    ];
    holds_exactly("network", from_the_lan, flips);
    holds_exactly(
        "network",
        || {
            let mut case = from_the_lan();
            case.claim.reported_by = AddressSource::TrustedProxy;
            case
        },
        flips,
    );
}

#[test]
fn the_trail_names_the_network_and_only_the_device_layer_is_covered() {
    let case = from_the_lan();
    let policy = trusting(case.networks);
    let mut state = State::default();
    let (verdict, changes) = admit(
        &mut state,
        &case.claim,
        &policy,
        NOW,
        &mut Counter::default(),
    );
    assert!(verdict.unwrap().token.unwrap().scopes.is_empty());
    let audit = changes.iter().find_map(|change| match change {
        Change::Audit(entry) => Some(entry.clone()),
        _ => None,
    });
    let audit = audit.unwrap();
    assert_eq!(audit.detail.unwrap()["network"], "192.168.1.0/24");
    assert_eq!(audit.from.as_deref(), Some("192.168.1.7"));
    assert!(state.nodes.paired.is_empty() && state.devices.pending.is_empty());
    assert!(changes.contains(&Change::Save(Part::DevicesPaired)));
    let record = state.devices.paired.record("d").unwrap();
    assert_eq!(
        (record.roles.as_slice(), record.scopes.is_empty()),
        (&["node".to_owned()][..], true)
    );
}

#[test]
fn what_somebody_waits_for_already_stays_with_the_operator() {
    let mut state = State::default();
    let mut entropy = Counter::default();
    let case = from_the_lan();
    waits(&mut state, &case.claim, NOW, &mut entropy);
    let policy = trusting(case.networks);
    let (verdict, _) = admit(&mut state, &case.claim, &policy, NOW, &mut entropy);
    assert!(
        verdict.is_err(),
        "it was asked for without a rule, so it is shown to the end"
    );
}

fn any_claim() -> impl Strategy<Value = ConnectClaim> {
    let role = prop_oneof![Just(Node), Just(Operator)];
    let asked =
        prop_oneof![3 => Just(vec![]), 1 => Just(vec!["node.x"]), 1 => Just(vec!["operator.read"])];
    let address = prop_oneof![
        2 => Just(Some("192.168.1.7")), 1 => Just(Some("::ffff:192.168.1.8")), 1 => Just(None),
        1 => Just(Some("203.0.113.9")), 1 => Just(Some("fd00::7")),
    ];
    let source = prop_oneof![
        Just(AddressSource::Direct),
        Just(AddressSource::TrustedProxy),
        Just(AddressSource::LoopbackTrustedProxy)
    ];
    let locality = prop_oneof![
        4 => Just(Locality::Remote), 1 => Just(Locality::DirectLocal), 1 => Just(Locality::BrowserContainerLocal)
    ];
    let method = prop_oneof![
        Just(AuthMethod::Token),
        Just(AuthMethod::None),
        Just(AuthMethod::DeviceToken)
    ];
    let rest = (
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
        any::<bool>(),
        method,
    );
    (role, asked, address, source, locality, rest).prop_map(
        |(role, asked, address, source, locality, (origin, browser, moved, method))| ConnectClaim {
            reported_ip: address.map(|text| text.parse().unwrap()),
            reported_by: source,
            locality,
            has_origin: origin,
            browser_client: browser,
            method,
            platform: Some(if moved { "win32" } else { "linux" }.to_owned()),
            ..remote(role, &asked)
        },
    )
}

proptest! {
    /// Whatever comes, an approval for the sake of a network is that of a stranger who asks for nothing but
    /// to be a node, from an address that the list holds and that nobody on this host could invent.
    #[test]
    fn a_network_lets_in_nothing_but_fresh_nodes(
        claim in any_claim(),
        known in prop::sample::select(vec![0u8, 0, 0, 1, 2, 3]),
        listed in prop::sample::select(vec![&["192.168.1.0/24"][..], &["fd00::/8"], &[]]),
    ) {
        let devices = match known {
            0 => vec![],
            1 => vec![other_key()],
            2 => vec![paired(&[], &[("node", &[])])],
            _ => vec![paired(&["operator.read"], &[("operator", &["operator.read"])])],
        };
        let mut state = with_devices(&devices);
        let policy = trusting(listed);
        let (verdict, changes) = admit(&mut state, &claim, &policy, NOW, &mut Counter::default());
        let by_network = changes.iter().any(|change| matches!(change, Change::Audit(entry)
            if entry.detail.as_ref().is_some_and(|detail| detail["rule"] == "network")));
        let address = claim.reported_ip.map(|address| address.to_canonical().to_string()).unwrap_or_default();
        let in_list = match listed.first() {
            Some(&"192.168.1.0/24") => address.starts_with("192.168.1."),
            Some(_) => address.starts_with("fd"),
            None => false,
        };
        let eligible = known == 0 && claim.locality == Locality::Remote && claim.role == Node
            && claim.scopes.is_empty() && !claim.has_origin && !claim.browser_client && in_list
            && claim.reported_by != AddressSource::LoopbackTrustedProxy;
        prop_assert_eq!(by_network, eligible);
        if eligible {
            prop_assert!(verdict.is_ok());
            let record = state.devices.paired.record("d").unwrap();
            prop_assert_eq!(&record.roles, &words(&["node"]));
            prop_assert!(record.scopes.is_empty());
        }
    }
}
