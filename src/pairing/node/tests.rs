use super::*;
use crate::{
    pairing::{
        REQUEST_TTL_MS,
        testing::{Counter, NOW, caller, events, fate, records, saves, scopes, words},
    },
    protocol::scope::Scope,
};

fn metadata(commands: Option<&[&str]>) -> NodeMetadata {
    NodeMetadata {
        platform: Some("linux".into()),
        commands: commands.map(words),
        ..NodeMetadata::default()
    }
}

fn ask_at(
    state: &mut State,
    metadata: NodeMetadata,
    now: u64,
    entropy: &mut Counter,
) -> (Requested, Changes) {
    let policy = CommandPolicy::default();
    request(state, &"n".into(), metadata, false, &policy, now, entropy).unwrap()
}

fn pair(state: &mut State, commands: &[&str], entropy: &mut Counter) -> Approved {
    let (asked, _) = ask_at(state, metadata(Some(commands)), NOW, entropy);
    let id = asked.request["requestId"].as_str().unwrap().to_owned();
    let admin = scopes(&["operator.admin"]);
    approve(state, &id, None, &caller(&admin), NOW, entropy)
        .unwrap()
        .0
}

#[test]
fn a_request_is_told_once_and_refreshed_in_place() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let first = metadata(Some(&["system.run", "canvas.eval", " system.which "]));
    let (asked, changes) = ask_at(&mut state, first, NOW, &mut entropy);
    assert!(asked.created);
    let shown = json!({"requestId": "r1", "nodeId": "n", "platform": "linux",
        "commands": ["system.run", "system.which"], "silent": false, "ts": NOW,
        "requiredApproveScopes": ["operator.pairing", "operator.admin"]});
    let shown = digest::stamped(shown);
    assert_eq!(asked.request, shown);
    assert_eq!(events(&changes), [(REQUESTED, shown)]);
    assert_eq!(saves(&changes), [Part::NodesPending]);

    let named = NodeMetadata {
        display_name: Some("Pi".into()),
        ..NodeMetadata::default()
    };
    let (again, changes) = ask_at(&mut state, named, NOW + 9, &mut entropy);
    assert!(!again.created && events(&changes).is_empty());
    assert_eq!(again.request["requestId"], "r1");
    assert_eq!(again.request["displayName"], "Pi");
    assert_eq!(
        again.request["commands"],
        json!(["system.run", "system.which"])
    );
    assert_eq!(again.request["ts"], json!(NOW + 9), "the wait begins again");

    let (empty, _) = ask_at(&mut state, metadata(Some(&[])), NOW + 9, &mut entropy);
    assert_eq!(empty.request["commands"], json!([]));
    assert_eq!(
        empty.request["requiredApproveScopes"],
        json!(["operator.pairing"])
    );
    let (_, changes) = ask_at(&mut state, metadata(Some(&[])), NOW + 10, &mut entropy);
    assert_eq!(
        changes,
        [Change::Touch(Part::NodesPending)],
        "nothing but the time"
    );
    assert_eq!(state.nodes.pending.len(), 1);
}

#[test]
fn the_hint_stays_only_while_everybody_gives_it() {
    for (first, second, expected) in [
        (true, true, true),
        (true, false, false),
        (false, true, false),
    ] {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        let policy = CommandPolicy::default();
        for silent in [first, second] {
            let node = NodeId::from("n");
            let metadata = NodeMetadata::default();
            request(
                &mut state,
                &node,
                metadata,
                silent,
                &policy,
                NOW,
                &mut entropy,
            )
            .unwrap();
        }
        assert_eq!(state.nodes.pending.record("r1").unwrap().silent, expected);
    }
}

#[test]
fn commands_are_filtered_for_the_platform_given_else_known() {
    let asked = ["system.run", "canvas.eval"];
    let given = |platform: Option<&str>| NodeMetadata {
        platform: platform.map(str::to_owned),
        commands: Some(words(&asked)),
        ..NodeMetadata::default()
    };
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let table = [
        (None, json!(["canvas.eval"])),
        (Some("linux"), json!(["system.run"])),
        (None, json!(["system.run"])),
        (Some("macos"), json!(["system.run", "canvas.eval"])),
    ];
    for (platform, expected) in table {
        let (answer, _) = ask_at(&mut state, given(platform), NOW, &mut entropy);
        assert_eq!(answer.request["commands"], expected, "{platform:?}");
    }
}

#[test]
fn a_blank_node_cannot_ask() {
    let mut state = State::default();
    let (policy, mut entropy) = (CommandPolicy::default(), Counter::default());
    let blank = NodeId::from("  ");
    let verdict = request(
        &mut state,
        &blank,
        metadata(None),
        false,
        &policy,
        NOW,
        &mut entropy,
    );
    assert_eq!(verdict.err(), Some(Refusal::NodeIdRequired));
}

#[test]
fn an_approver_needs_the_scopes_of_the_commands() {
    let missing = |scope: Scope| Some(Refusal::MissingScope(scope));
    let table: &[(&[&str], &[&str], Option<Refusal>)] = &[
        (&[], &["operator.pairing"], None),
        (&[], &["operator.write"], missing(Scope::PAIRING)),
        (
            &["system.notify"],
            &["operator.pairing"],
            missing(Scope::WRITE),
        ),
        (
            &["system.notify"],
            &["operator.pairing", "operator.write"],
            None,
        ),
        (
            &["system.which"],
            &["operator.pairing", "operator.write"],
            missing(Scope::ADMIN),
        ),
        (
            &["system.run.prepare"],
            &["operator.pairing"],
            missing(Scope::ADMIN),
        ),
        (&["system.run"], &["operator.admin"], None),
    ];
    for (commands, held, expected) in table {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        ask_at(&mut state, metadata(Some(commands)), NOW, &mut entropy);
        let (before, held) = (state.clone(), scopes(held));
        let verdict = approve(&mut state, "r1", None, &caller(&held), NOW, &mut entropy).err();
        assert_eq!(verdict, *expected, "{commands:?} {held:?}");
        assert_eq!(state == before, expected.is_some());
    }
}

#[test]
fn each_approval_draws_a_fresh_token_that_appears_in_its_answer_alone() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let first = pair(&mut state, &["system.which"], &mut entropy);
    assert_eq!(first.node["token"], "SECRET-1");
    assert_eq!(first.node["createdAtMs"], json!(NOW));
    let second = pair(&mut state, &[], &mut entropy);
    assert_eq!(second.node["token"], "SECRET-2");
    assert_eq!(second.node["commands"], json!([]), "exactly what was asked");
    let listed = serde_json::to_string(&list(&state, NOW)).unwrap();
    assert!(!listed.contains("SECRET"), "{listed}");
    let node = NodeId::from("n");
    assert_eq!(verify(&state, &node, "SECRET-1"), None);
    assert_eq!(verify(&state, &"x".into(), "SECRET-2"), None);
    let verified = verify(&state, &node, "SECRET-2").unwrap();
    assert!(!verified.to_string().contains("SECRET"));
}

#[test]
fn approval_and_rejection_tell_and_save() {
    let admin = scopes(&["operator.admin"]);
    let (mut state, mut entropy) = (State::default(), Counter::default());
    ask_at(&mut state, metadata(None), NOW, &mut entropy);
    let mut rejected = state.clone();
    let (_, changes) = approve(&mut state, "r1", None, &caller(&admin), NOW, &mut entropy).unwrap();
    assert_eq!(saves(&changes), [Part::NodesPaired, Part::NodesPending]);
    let payload = json!({"requestId": "r1", "nodeId": "n", "decision": "approved", "ts": NOW});
    assert_eq!(events(&changes), [(RESOLVED, payload)]);
    assert!(changes.contains(&Change::Refilter {
        node: "n".into(),
        ask: true
    }));
    assert!(!format!("{changes:?}").contains("SECRET"));

    let (answer, changes) = reject(&mut rejected, "r1", &caller(&admin), NOW).unwrap();
    assert_eq!(
        serde_json::to_value(answer).unwrap(),
        json!({"requestId": "r1", "nodeId": "n"})
    );
    let payload = json!({"requestId": "r1", "nodeId": "n", "decision": "rejected", "ts": NOW});
    assert_eq!(events(&changes), [(RESOLVED, payload)]);
    assert_eq!(records(&rejected), State::default());
}

#[test]
fn what_is_over_or_unknown_is_not_decided() {
    let admin = scopes(&["operator.admin"]);
    let late = NOW + REQUEST_TTL_MS + 1;
    for (id, now, over) in [("r1", late, true), ("r2", NOW, false)] {
        let (mut state, mut entropy) = (State::default(), Counter::default());
        ask_at(&mut state, metadata(None), NOW, &mut entropy);
        let approval = approve(&mut state, id, None, &caller(&admin), now, &mut entropy).err();
        let rejection = reject(&mut state, id, &caller(&admin), now).err();
        for refusal in [approval, rejection] {
            assert_eq!(
                refusal.as_ref().map(ToString::to_string).as_deref(),
                Some("unknown requestId")
            );
            let state = if over { json!("expired") } else { json!(null) };
            assert_eq!(fate(refusal), (state, json!(null), json!(null)), "{id}");
        }
    }
}

#[test]
fn an_operators_name_outlives_what_the_node_calls_itself() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let admin = scopes(&["operator.admin"]);
    let who = caller(&admin);
    let node = NodeId::from("n");
    assert_eq!(
        rename(&mut state, &node, "x", &who).err(),
        Some(Refusal::UnknownNode)
    );
    pair(&mut state, &[], &mut entropy);
    assert_eq!(
        rename(&mut state, &node, " ", &who).err(),
        Some(Refusal::DisplayNameRequired)
    );
    let (renamed, changes) = rename(&mut state, &node, "  Living Room  ", &who).unwrap();
    let answer = json!({"nodeId": "n", "displayName": "Living Room"});
    assert_eq!(serde_json::to_value(renamed).unwrap(), answer);
    assert_eq!(saves(&changes), [Part::NodesPaired]);

    let own = NodeMetadata {
        display_name: Some("pi-4711".into()),
        ..metadata(Some(&[]))
    };
    ask_at(&mut state, own, NOW, &mut entropy);
    approve(&mut state, "r2", None, &who, NOW, &mut entropy).unwrap();
    let record = state.nodes.paired.record("n").unwrap();
    assert_eq!(record.metadata.display_name.as_deref(), Some("Living Room"));
    let text = state.render(Part::NodesPaired).unwrap();
    assert!(text.contains("\"nameOverride\": true"), "{text}");
}

#[test]
fn a_node_that_was_not_renamed_takes_its_new_name() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    pair(&mut state, &[], &mut entropy);
    let own = NodeMetadata {
        display_name: Some("pi".into()),
        ..NodeMetadata::default()
    };
    ask_at(&mut state, own, NOW, &mut entropy);
    let admin = scopes(&["operator.admin"]);
    approve(
        &mut state,
        "r2",
        None,
        &caller(&admin),
        NOW + 5,
        &mut entropy,
    )
    .unwrap();
    let record = state.nodes.paired.record("n").unwrap();
    assert_eq!(record.metadata.display_name.as_deref(), Some("pi"));
    assert_eq!(
        record.metadata.platform.as_deref(),
        Some("linux"),
        "absent is no eraser"
    );
    assert_eq!(
        (record.created_at_ms, record.approved_at_ms),
        (NOW, NOW + 5)
    );
}

#[test]
fn a_removal_stops_the_commands_and_tells() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    pair(&mut state, &["system.which"], &mut entropy);
    let pairing = scopes(&["operator.pairing"]);
    let unknown = remove(&mut state, &"x".into(), &caller(&pairing), NOW).err();
    assert_eq!(unknown, Some(Refusal::UnknownNode));
    let (_, changes) = remove(&mut state, &"n".into(), &caller(&pairing), NOW).unwrap();
    let payload = json!({"requestId": "", "nodeId": "n", "decision": "removed", "ts": NOW});
    assert_eq!(events(&changes), [(RESOLVED, payload)]);
    assert_eq!(changes.last(), Some(&Change::Touch(Part::Resolved)));
    assert_eq!(
        changes.iter().rev().nth(1),
        Some(&Change::Refilter {
            node: "n".into(),
            ask: true
        })
    );
    assert_eq!(records(&state), State::default());
}

#[test]
fn signs_of_life_touch_what_exists() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    assert_eq!(presence_alive(&mut state, &"n".into(), "manual", NOW), []);
    assert_eq!(
        connected(&mut state, &"n".into(), Some("instance"), NOW),
        []
    );
    pair(&mut state, &[], &mut entropy);
    assert_eq!(
        presence_alive(&mut state, &"n".into(), "manual", NOW + 1),
        [Change::Save(Part::NodesPaired)]
    );
    assert_eq!(
        connected(&mut state, &"other".into(), Some("n"), NOW + 2),
        [Change::Touch(Part::NodesPaired)]
    );
    let record = state.nodes.paired.record("n").unwrap();
    assert_eq!(
        (record.last_seen_at_ms, record.last_connected_at_ms),
        (Some(NOW + 1), Some(NOW + 2))
    );
    assert_eq!(record.last_seen_reason.as_deref(), Some("manual"));
}

#[test]
fn a_connection_is_noted_in_the_device_of_a_node_whose_commands_wait() {
    let mut state = State::default();
    let device =
        json!({"n": {"deviceId": "n", "publicKey": "k", "createdAtMs": 1, "approvedAtMs": 1}});
    state.read(Part::DevicesPaired, device).unwrap();
    let touched = [Change::Touch(Part::DevicesPaired)];
    assert_eq!(connected(&mut state, &"n".into(), None, NOW), touched);
    // A connection that is noted late, with its approval, is older than what was seen since.
    connected(&mut state, &"n".into(), None, NOW - 1);
    let record = state.devices.paired.record("n").unwrap();
    assert_eq!(record.last_seen_at_ms, Some(NOW));
    assert_eq!(record.last_seen_reason.as_deref(), Some("connect"));
}

#[test]
fn more_commands_between_the_look_and_the_approval_are_refused() {
    let admin = scopes(&["operator.admin"]);
    let (mut state, mut entropy) = (State::default(), Counter::default());
    let (asked, _) = ask_at(
        &mut state,
        metadata(Some(&["system.which"])),
        NOW,
        &mut entropy,
    );
    let shown = asked.request["digest"].as_str().unwrap().to_owned();
    let again = ask_at(
        &mut state,
        metadata(Some(&["system.which"])),
        NOW + 5,
        &mut entropy,
    )
    .0;
    assert_eq!(
        again.request["digest"],
        json!(shown),
        "only the time differs"
    );
    let more = metadata(Some(&["system.which", "system.run"]));
    let (asked, _) = ask_at(&mut state, more, NOW + 6, &mut entropy);
    let before = state.clone();
    let refused = approve(
        &mut state,
        "r1",
        Some(&shown),
        &caller(&admin),
        NOW + 7,
        &mut entropy,
    );
    let details = refused.unwrap_err().details().unwrap();
    assert_eq!(details["request"], asked.request);
    assert_eq!(state, before);
    let now = asked.request["digest"].as_str();
    approve(
        &mut state,
        "r1",
        now,
        &caller(&admin),
        NOW + 7,
        &mut entropy,
    )
    .unwrap();
}

#[test]
fn approving_again_gives_no_second_token() {
    let admin = scopes(&["operator.admin"]);
    let (mut state, mut entropy) = (State::default(), Counter::default());
    pair(&mut state, &["system.which"], &mut entropy);
    let before = state.clone();
    let pairing = scopes(&["operator.pairing"]);
    let again = approve(
        &mut state,
        "r1",
        None,
        &caller(&pairing),
        NOW + 1,
        &mut entropy,
    );
    let (answer, changes) = again.unwrap();
    assert!(answer.already_approved && changes.is_empty());
    assert_eq!(answer.node["commands"], json!(["system.which"]));
    assert!(
        !answer.node.to_string().contains("SECRET"),
        "no token for who did not approve"
    );
    assert_eq!(state, before);
    remove(&mut state, &"n".into(), &caller(&admin), NOW + 2).unwrap();
    let gone = approve(
        &mut state,
        "r1",
        None,
        &caller(&admin),
        NOW + 3,
        &mut entropy,
    )
    .err();
    assert_eq!(fate(gone).0, "removed");
}

#[test]
fn an_instance_id_never_reaches_the_record_of_a_device() {
    let (mut state, mut entropy) = (State::default(), Counter::default());
    pair(&mut state, &[], &mut entropy);
    let device =
        json!({"n": {"deviceId": "n", "publicKey": "k", "createdAtMs": 1, "approvedAtMs": 1}});
    state.read(Part::DevicesPaired, device).unwrap();
    assert_eq!(
        connected(&mut state, &"other".into(), Some("n"), NOW),
        [],
        "whoever names another device as its instance is not that device"
    );
    let record = state.nodes.paired.record("n").unwrap();
    assert_eq!(record.last_connected_at_ms, None);
}
