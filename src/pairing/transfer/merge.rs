//! What an import makes of an export: row by row, whichever side decided later, all of it or nothing.

use serde::Serialize;
use serde_json::{Value, json};

use super::Bundle;
use crate::identity::{DeviceId, NodeId};
use crate::pairing::{
    Caller, Entropy, State,
    change::{AuditEntry, Change, Changes, Part, SessionEnd},
    device,
    device_record::{DeviceRecord, DeviceRequest},
    expiry, node,
    node_record::{NodeRecord, NodeRequest},
    policy,
    refusal::Refusal,
    resolution::{self, Resolution},
    scopes,
    state::Entry,
};
use crate::protocol::scope::{Role, Scopes};

/// What becomes of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It was not known here.
    Added,
    /// What is known here was decided later, and stays.
    Kept,
    /// What is known here was decided later, and gives way because that was asked for.
    Replaced,
    /// It is known here just so.
    Same,
    /// What is known here was decided earlier.
    Updated,
}

impl Fate {
    /// Of a row that was decided at `theirs`, where `ours` is known: whether both say the same, and when ours was decided.
    fn of(ours: Option<(bool, u64)>, theirs: u64, replace: bool) -> Fate {
        match ours {
            None => Fate::Added,
            Some((true, _)) => Fate::Same,
            Some((false, ours)) if theirs > ours => Fate::Updated,
            Some(_) if replace => Fate::Replaced,
            Some(_) => Fate::Kept,
        }
    }

    fn changes(self) -> bool {
        matches!(self, Fate::Added | Fate::Replaced | Fate::Updated)
    }
}

/// One row of the answer of `device.pair.import`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The device, in a row about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// The node, in a row about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<NodeId>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What became of it.
    pub outcome: Fate,
}

/// The answer of `device.pair.import`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Imported {
    /// Every device of the export.
    pub devices: Vec<Row>,
    /// Every node of the export.
    pub nodes: Vec<Row>,
}

/// Merges an export into the state; with `replace` it wins over what was decided later here. Requests that ask for
/// nothing more than was imported are approved with it.
///
/// # Errors
/// `MissingScope` for a scope that the caller could not grant, `RecordUnreadable`; then nothing changes.
pub fn import(
    state: &mut State,
    bundle: &Bundle,
    replace: bool,
    caller: &Caller<'_>,
    now: u64,
    entropy: &mut dyn Entropy,
) -> Result<(Imported, Changes), Refusal> {
    check(state, bundle, caller)?;
    let how = How {
        bundle,
        replace,
        caller,
        now,
    };
    let mut lines = Changes::new();
    let nodes: Vec<Row> = bundle
        .nodes
        .iter()
        .map(|theirs| take_node(state, theirs, &how, entropy, &mut lines))
        .collect();
    let devices: Vec<Row> = bundle
        .devices
        .iter()
        .map(|theirs| take_device(state, theirs, &how, entropy, &mut lines))
        .collect();
    // A device on the disk has the commands that it came with.
    let mut changes = Changes::new();
    for (rows, part) in [(&nodes, Part::NodesPaired), (&devices, Part::DevicesPaired)] {
        if rows.iter().any(|row| row.outcome.changes()) {
            changes.push(Change::Save(part));
        }
    }
    for (part, mut ended) in [
        (Part::NodesPending, settle_nodes(state, &nodes, &how)),
        (Part::DevicesPending, settle_devices(state, &devices, &how)),
    ] {
        if !ended.is_empty() {
            changes.push(Change::Save(part));
            lines.append(&mut ended);
        }
    }
    changes.extend(lines);
    Ok((Imported { devices, nodes }, changes))
}

/// How an export is imported.
struct How<'a> {
    bundle: &'a Bundle,
    replace: bool,
    caller: &'a Caller<'a>,
    now: u64,
}

impl How<'_> {
    fn line(
        &self,
        action: &'static str,
        subject: &str,
        outcome: Fate,
        before: Option<Value>,
        after: Value,
    ) -> Change {
        let detail = json!({"outcome": outcome, "digest": self.bundle.digest});
        let line = AuditEntry::by(self.caller, action, subject);
        line.turning(before, Some(after)).detailing(detail).into()
    }
}

fn take_node(
    state: &mut State,
    theirs: &NodeRecord,
    how: &How<'_>,
    entropy: &mut dyn Entropy,
    changes: &mut Changes,
) -> Row {
    let id = theirs.node_id.as_str();
    let ours = state.nodes.paired.record(id).cloned();
    let before = ours.as_ref().map(node::summary);
    let after = node::summary(theirs);
    let known = ours
        .as_ref()
        .map(|ours| (before.as_ref() == Some(&after), ours.approved_at_ms));
    let outcome = Fate::of(known, theirs.approved_at_ms, how.replace);
    if outcome.changes() {
        changes.push(how.line("node.import", id, outcome, before, after));
        changes.push(Change::Refilter {
            node: theirs.node_id.clone(),
            ask: true,
        });
        let mut record = theirs.clone();
        record.token = ours.map_or_else(|| entropy.token(), |ours| ours.token);
        state.nodes.paired.put(record);
    }
    Row {
        device_id: None,
        node_id: Some(theirs.node_id.clone()),
        display_name: theirs.metadata.display_name.clone(),
        outcome,
    }
}

fn take_device(
    state: &mut State,
    theirs: &DeviceRecord,
    how: &How<'_>,
    entropy: &mut dyn Entropy,
    changes: &mut Changes,
) -> Row {
    let id = theirs.device_id.as_str();
    let ours = state.devices.paired.record(id).cloned();
    let before = ours.as_ref().map(device::summary);
    let after = device::summary(theirs);
    let known = ours
        .as_ref()
        .map(|ours| (before.as_ref() == Some(&after), decided_at(ours)));
    let outcome = Fate::of(known, decided_at(theirs), how.replace);
    if outcome.changes() {
        changes.push(how.line("device.import", id, outcome, before, after));
        if ours.is_some() {
            // Whatever it may do less or more now, it finds out by connecting again.
            changes.push(Change::EndSessions {
                device: theirs.device_id.clone(),
                role: None,
                reason: SessionEnd::DeviceRemoved,
            });
        }
        let record = with_tokens(theirs, ours, how.now, entropy);
        state.devices.paired.put(record);
    }
    Row {
        device_id: Some(theirs.device_id.clone()),
        node_id: None,
        display_name: theirs.display_name.clone(),
        outcome,
    }
}

/// Ends the requests of imported nodes that are fulfilled now.
fn settle_nodes(state: &mut State, rows: &[Row], how: &How<'_>) -> Changes {
    let fulfilled = |request: &&NodeRequest| {
        let id = &request.node_id;
        let is_new = |row: &Row| row.node_id.as_ref() == Some(id) && row.outcome.changes();
        let record = state.nodes.paired.record(id.as_str());
        let approved = record
            .map(NodeRecord::approved_commands)
            .unwrap_or_default();
        rows.iter().any(is_new)
            && !expiry::is_expired(request.ts, how.now)
            && request
                .requested_commands()
                .iter()
                .all(|command| approved.contains(command))
    };
    let requests = state.nodes.pending.records().filter(fulfilled);
    let requests: Vec<NodeRequest> = requests.cloned().collect();
    let mut changes = Changes::new();
    for request in &requests {
        state.nodes.pending.remove(request.request_id.as_str());
        changes.push(node::resolved(request, "approved", how.now));
        let end = Resolution::of_node(request, resolution::Fate::Approved, how.now);
        changes.push(resolution::note(state, end.by(&how.caller.label)));
    }
    changes
}

/// Ends the requests of imported devices that are fulfilled now.
fn settle_devices(state: &mut State, rows: &[Row], how: &How<'_>) -> Changes {
    let fulfilled = |request: &&DeviceRequest| {
        let id = &request.device_id;
        let is_new = |row: &Row| row.device_id.as_ref() == Some(id) && row.outcome.changes();
        let gives = |record: &DeviceRecord| {
            let alive = record.effective_roles();
            let asked = request.requested_roles();
            asked.iter().all(|role| {
                let scopes = scopes::family(role, &request.scopes);
                alive.contains(role) && record.approves(role, &scopes)
            })
        };
        rows.iter().any(is_new)
            && !expiry::is_expired(request.ts, how.now)
            && state.devices.paired.record(id.as_str()).is_some_and(gives)
    };
    let requests = state.devices.pending.records().filter(fulfilled);
    let requests: Vec<DeviceRequest> = requests.cloned().collect();
    let mut changes = Changes::new();
    for request in &requests {
        state.devices.pending.remove(request.request_id.as_str());
        changes.push(device::resolved(request, "approved", how.now));
        let end = Resolution::of_device(request, resolution::Fate::Approved, how.now);
        changes.push(resolution::note(state, end.by(&how.caller.label)));
    }
    changes
}

/// Whether everything may be imported, before anything is.
fn check(state: &State, bundle: &Bundle, caller: &Caller<'_>) -> Result<(), Refusal> {
    let devices = &state.devices.paired;
    let unreadable = bundle
        .devices
        .iter()
        .any(|theirs| matches!(devices.entry(theirs.device_id.as_str()), Entry::Unreadable));
    let nodes = &state.nodes.paired;
    let unreadable = unreadable
        || bundle
            .nodes
            .iter()
            .any(|theirs| nodes.is_unreadable(theirs.node_id.as_str()));
    if unreadable {
        return Err(Refusal::RecordUnreadable);
    }
    let of_devices = bundle
        .devices
        .iter()
        .map(|theirs| scopes::family(Role::Operator.as_str(), theirs.approved_scopes()));
    let of_nodes = bundle
        .nodes
        .iter()
        .map(|theirs| policy::required_approve_scopes(theirs.approved_commands()));
    let mut needed: Vec<Scopes> = of_devices.chain(of_nodes).collect();
    needed.retain(|needed| !needed.is_empty());
    match needed
        .iter()
        .find_map(|needed| caller.scopes.missing(needed))
    {
        Some(scope) => Err(Refusal::MissingScope(scope)),
        None => Ok(()),
    }
}

/// When the latest decision about a device was made, epoch milliseconds: its approval, or the end of a token.
fn decided_at(record: &DeviceRecord) -> u64 {
    let revoked = record.tokens.values().map(|token| token.revoked_at_ms);
    revoked
        .max()
        .flatten()
        .unwrap_or_default()
        .max(record.approved_at_ms)
}

/// The imported record with tokens of this gateway: those that its device may hold already, else new ones.
fn with_tokens(
    theirs: &DeviceRecord,
    ours: Option<DeviceRecord>,
    now: u64,
    entropy: &mut dyn Entropy,
) -> DeviceRecord {
    let mut record = theirs.clone();
    record.approved_scopes = Some(record.approved_scopes().clone());
    for (role, token) in &mut record.tokens {
        let held = ours.as_ref().and_then(|ours| ours.tokens.get(role));
        match held.filter(|held| held.revoked_at_ms.is_none()) {
            Some(held) => token.token = held.token.clone(),
            None => {
                token.token = entropy.token();
                token.rotated_at_ms = Some(now);
            }
        }
    }
    record
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{device, key, node, read};
    use super::*;
    use crate::pairing::testing::{Counter, NOW, caller, scopes};

    #[test]
    fn rows_are_merged_by_when_they_were_decided() {
        let admin = scopes(&["operator.admin"]);
        let by = caller(&admin);
        let operator = |at: u64, scope: &str| {
            let token = json!([{"role": "operator", "scopes": [scope], "createdAtMs": 1}]);
            device(
                1,
                at,
                json!({"roles": ["operator"], "scopes": [scope], "tokens": token}),
            )
        };
        let revoked =
            json!({"tokens": [{"role": "node", "scopes": [], "createdAtMs": 1, "revokedAtMs": 9}]});
        for (ours, theirs, replace, expected) in [
            (None, operator(5, "operator.read"), false, Fate::Added),
            (
                Some(operator(5, "operator.read")),
                operator(5, "operator.read"),
                false,
                Fate::Same,
            ),
            (
                Some(operator(5, "operator.read")),
                operator(7, "operator.write"),
                false,
                Fate::Updated,
            ),
            (
                Some(operator(7, "operator.read")),
                operator(5, "operator.write"),
                false,
                Fate::Kept,
            ),
            (
                Some(operator(7, "operator.read")),
                operator(5, "operator.write"),
                true,
                Fate::Replaced,
            ),
            (
                Some(device(1, 5, revoked.clone())),
                device(1, 7, json!({})),
                false,
                Fate::Kept,
            ),
            (
                Some(device(1, 5, json!({}))),
                device(1, 5, revoked),
                false,
                Fate::Updated,
            ),
        ] {
            let mut state = State::default();
            let mut counter = Counter::default();
            if let Some(ours) = &ours {
                let known = read(std::slice::from_ref(ours), &[]);
                import(&mut state, &known, false, &by, NOW, &mut counter).unwrap();
            }
            let before = state.clone();
            let bundle = read(std::slice::from_ref(&theirs), &[]);
            let (imported, changes) =
                import(&mut state, &bundle, replace, &by, NOW, &mut counter).unwrap();
            assert_eq!(imported.devices[0].outcome, expected, "{ours:?} {theirs}");
            assert_eq!(state == before, !expected.changes(), "{ours:?} {theirs}");
            assert_eq!(changes.is_empty(), !expected.changes());
            let ended = changes
                .iter()
                .any(|change| matches!(change, Change::EndSessions { .. }));
            assert_eq!(ended, expected.changes() && ours.is_some());
        }
    }

    #[test]
    fn imported_devices_have_tokens_of_this_gateway_and_keep_those_they_hold() {
        let admin = scopes(&["operator.admin"]);
        let (mut state, mut counter) = (State::default(), Counter::default());
        let (id, _) = key(1);
        let token =
            |state: &State| state.devices.paired.record(&id).unwrap().tokens["node"].clone();
        let both = read(&[device(1, 5, json!({}))], &[node(&id, 5, &["system.run"])]);
        let (_, changes) =
            import(&mut state, &both, false, &caller(&admin), NOW, &mut counter).unwrap();
        assert_eq!(
            changes[..2],
            [
                Change::Save(Part::NodesPaired),
                Change::Save(Part::DevicesPaired)
            ]
        );
        let first = token(&state);
        assert!(first.token.as_str().starts_with("SECRET-") && first.rotated_at_ms == Some(NOW));
        assert!(
            state
                .nodes
                .paired
                .record(&id)
                .unwrap()
                .token
                .as_str()
                .starts_with("SECRET-")
        );
        assert!(
            state
                .devices
                .paired
                .record(&id)
                .unwrap()
                .effective_roles()
                .contains("node")
        );
        let newer = read(&[device(1, 9, json!({"scopes": ["node.x"]}))], &[]);
        import(
            &mut state,
            &newer,
            false,
            &caller(&admin),
            NOW,
            &mut counter,
        )
        .unwrap();
        assert_eq!(token(&state).token, first.token);
    }

    #[test]
    fn requests_that_an_import_fulfils_are_approved_with_it_and_others_stay() {
        let admin = scopes(&["operator.admin"]);
        let ((id, public), mut state) = (key(1), State::default());
        let asks = |request: &str, role: &str, ts: u64| json!({"requestId": request, "deviceId": id, "publicKey": public, "role": role, "roles": [role], "ts": ts});
        let waits = |request: &str, node: &str, commands: &[&str]| json!({"requestId": request, "nodeId": node, "commands": commands, "ts": NOW});
        let devices = json!({"d1": asks("d1", "node", NOW), "d2": asks("d2", "operator", NOW), "d3": asks("d3", "node", 1)});
        let nodes = json!({"n1": waits("n1", &id, &["system.which"]), "n2": waits("n2", "m", &["system.which"])});
        state.read(Part::DevicesPending, devices).unwrap();
        state.read(Part::NodesPending, nodes).unwrap();
        let commands = &["system.run", "system.which"];
        let bundle = read(
            &[device(1, 5, json!({}))],
            &[node(&id, 5, commands), node("m", 5, &[])],
        );
        let by = caller(&admin);
        let (_, changes) = import(
            &mut state,
            &bundle,
            false,
            &by,
            NOW,
            &mut Counter::default(),
        )
        .unwrap();
        let left = |request: &str| {
            state.devices.pending.record(request).is_some()
                || state.nodes.pending.record(request).is_some()
        };
        let waiting = ["d1", "d2", "d3", "n1", "n2"].map(left);
        assert_eq!(waiting, [false, true, true, false, true]);
        for part in [Part::DevicesPending, Part::NodesPending] {
            assert!(changes.contains(&Change::Save(part)), "{changes:?}");
        }
        let ended: Vec<&str> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Emit { payload, .. } => payload["requestId"].as_str(),
                _ => None,
            })
            .collect();
        assert_eq!(ended, ["n1", "d1"]);
        let end = resolution::find(&state, "d1", NOW).unwrap();
        assert_eq!(end.state, resolution::Fate::Approved);
    }

    #[test]
    fn nobody_imports_what_they_could_not_grant_and_then_nothing_is() {
        let operator = device(
            2,
            5,
            json!({"roles": ["operator"], "scopes": ["operator.write"], "tokens": []}),
        );
        for (held, devices, nodes, missing) in [
            (
                &["operator.pairing"][..],
                vec![device(1, 5, json!({})), operator],
                vec![],
                "operator.read",
            ),
            (
                &["operator.pairing", "operator.write"],
                vec![device(1, 5, json!({}))],
                vec![node("n", 5, &["system.run"])],
                "operator.admin",
            ),
        ] {
            let held = scopes(held);
            let mut state = State::default();
            let bundle = read(&devices, &nodes);
            let refused = import(
                &mut state,
                &bundle,
                false,
                &caller(&held),
                NOW,
                &mut Counter::default(),
            );
            assert_eq!(
                refused.unwrap_err().to_string(),
                format!("missing scope: {missing}")
            );
            assert_eq!(state, State::default());
        }
    }
}
