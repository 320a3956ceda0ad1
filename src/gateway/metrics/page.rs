//! The page of all figures, read at the moment it is asked for.
//!
//! Locks are taken one after the other and each only for as long as counting takes; nothing waits for a disk
//! or a peer.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;

use crate::gateway::context::{Context, Phase};
use crate::gateway::limits::Kind as Credential;
use crate::gateway::metrics::counters::{
    BOUNDS, Endpoint, Handshake, InvokeEnd, NoPlace, REFUSALS, Served,
};
use crate::gateway::metrics::exposition::{
    Exposition,
    Kind::{Counter, Gauge, Histogram, Summary},
    Number,
};
use crate::net::{ServerTls, process};
use crate::store::clock::parse_rfc3339;

/// The media type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The states that discovery may be in (`Standing::document`).
const DISCOVERY: [&str; 4] = ["advertising", "degraded", "off", "starting"];

/// The phases of a gateway, with their words.
const PHASES: [(Phase, &str); 3] = [
    (Phase::Ready, "ready"),
    (Phase::Starting, "starting"),
    (Phase::Stopping, "stopping"),
];

/// Every figure.
pub fn page(context: &Context) -> String {
    let mut page = Exposition::default();
    process_part(&mut page);
    gateway_part(&mut page, context);
    door_part(&mut page, context);
    sessions_part(&mut page, context);
    pairing_part(&mut page, context);
    work_part(&mut page, context);
    store_part(&mut page, context);
    page.into_text()
}

fn whole(value: usize) -> Option<Number> {
    Some(Number::Whole(value as u64))
}

fn seconds(milliseconds: u64) -> Number {
    Number::Real(milliseconds as f64 / 1_000.0)
}

/// What every program tells, under the names that dashboards know.
#[rustfmt::skip]
fn process_part(page: &mut Exposition) {
    let usage = process::usage();
    let number = |value: Option<u64>| value.map(Number::Whole);
    let spent = Number::Real(usage.processor.as_secs_f64());
    page.one("process_cpu_seconds_total", Counter, "Processor time spent.", Some(spent));
    page.one("process_resident_memory_bytes", Gauge, "Memory that is present.", number(usage.resident_bytes));
    page.one("process_virtual_memory_bytes", Gauge, "Address space.", number(usage.virtual_bytes));
    page.one("process_threads", Gauge, "Threads.", number(usage.threads));
    page.one("process_open_fds", Gauge, "Open descriptors.", number(usage.descriptors));
    page.one("process_max_fds", Gauge, "Descriptors that may be open.", number(usage.descriptor_limit));
    page.one("process_start_time_seconds", Gauge, "When the process started, since the Unix epoch.", number(usage.started_at));
}

#[rustfmt::skip]
fn gateway_part(page: &mut Exposition, context: &Context) {
    page.family("openclaw_build_info", Gauge, "The program; always 1.")
        .sample(&[("version", context.version)], Number::Whole(1));
    page.one("openclaw_start_time_seconds", Gauge, "When the gateway started or restarted, since the Unix epoch.",
        Some(seconds(context.started_at_ms)));
    let phase = context.phase();
    page.family("openclaw_phase", Gauge, "Where the gateway is in its life: 1 for the phase that it is in.")
        .by("phase", PHASES.map(|(each, word)| (word, u64::from(each == phase))));
    let standing = context.publicity.document();
    let state = standing.get("state").and_then(Value::as_str);
    page.family("openclaw_discovery_state", Gauge, "How the gateway lets itself be found on the network: 1 for the state that it is in.")
        .by("state", DISCOVERY.map(|word| (word, u64::from(state == Some(word)))));
    let expiry = context.tls.as_ref().and_then(ServerTls::not_after).and_then(parse_rfc3339);
    page.one("openclaw_tls_certificate_expiry_timestamp_seconds", Gauge, "When the gateway's certificate expires, since the Unix epoch.",
        expiry.map(seconds));
}

/// Who comes to the door, and who is not let in.
#[rustfmt::skip]
fn door_part(page: &mut Exposition, context: &Context) {
    let counters = &context.counters;
    page.one("openclaw_connections", Gauge, "Open connections, admitted or not.", whole(context.connections.len()));
    page.one("openclaw_connections_limit", Gauge, "Connections that may be open.", whole(context.arrivals.limits().connections));
    let waiting = context.arrivals.usage();
    page.family("openclaw_connections_waiting", Gauge, "Open connections that are not admitted yet, by where they come from.")
        .by("from", [("local", waiting.local as u64), ("remote", waiting.remote as u64)]);
    page.one("openclaw_connections_accepted_total", Counter, "Connections that were accepted.", Some(Number::Whole(counters.accepted.value())));
    page.family("openclaw_connections_turned_away_total", Counter, "Connections for which there was no place, by what is full.")
        .by("reason", counters.turned_away.values(NoPlace::WORDS));
    page.one("openclaw_tls_handshake_failures_total", Counter, "TLS handshakes that failed.", Some(Number::Whole(counters.tls_failures.value())));
    page.family("openclaw_http_requests_total", Counter, "HTTP requests that asked for no WebSocket.")
        .by("endpoint", counters.http_requests.values(Endpoint::WORDS));
    page.family("openclaw_handshakes_total", Counter, "Handshakes of WebSocket connections, by how they ended.")
        .by("outcome", counters.handshakes.values(Handshake::WORDS));
    page.family("openclaw_handshakes_refused_total", Counter, "Refused handshakes, by why.")
        .by("reason", counters.refused.values(REFUSALS));
    let kinds = Credential::ALL.map(Credential::as_str);
    page.family("openclaw_auth_failures_total", Counter, "Wrong credentials, those of clients that are never locked out included.")
        .by("credential", counters.wrong.values(kinds));
    page.family("openclaw_auth_lockouts_total", Counter, "Clients that were locked out for wrong credentials.")
        .by("credential", counters.lockouts.values(kinds));
    let policy = context.rules().attempts;
    let locked = context.guard.rows(&policy).iter().filter(|row| row.locked_for.is_some()).count();
    page.one("openclaw_auth_locked_clients", Gauge, "Clients that are locked out now.", whole(locked));
}

/// Who is connected, and what goes over the lines.
#[rustfmt::skip]
fn sessions_part(page: &mut Exposition, context: &Context) {
    let sessions = context.hub.sessions();
    let mut kinds: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut queued = 0;
    for session in &sessions {
        *kinds.entry((session.role.as_str(), session.client.mode.as_str())).or_default() += 1;
        queued += session.outbox.queued_bytes();
    }
    let mut family = page.family("openclaw_sessions", Gauge, "Admitted connections, by role and by the mode of their client.");
    for ((role, mode), number) in kinds {
        family.sample(&[("role", role), ("mode", mode)], Number::Whole(number));
    }
    page.one("openclaw_queued_bytes", Gauge, "Bytes that wait to be sent to all sessions together.", whole(queued));
    let counters = &context.counters;
    let number = |value: u64| Some(Number::Whole(value));
    let traffic = &counters.traffic;
    page.one("openclaw_received_bytes_total", Counter, "Bytes of WebSocket frames that arrived.", number(traffic.received()));
    page.one("openclaw_sent_bytes_total", Counter, "Bytes of WebSocket frames that left.", number(traffic.sent()));
    page.one("openclaw_events_dropped_total", Counter, "Events that were dropped because their reader is too slow.", number(traffic.dropped()));
    page.one("openclaw_slow_readers_closed_total", Counter, "Connections that ended because their reader is too slow.", number(traffic.given_up()));
    page.family("openclaw_requests_total", Counter, "Requests of sessions, by what became of them at once.")
        .by("outcome", counters.requests.values(Served::WORDS));
}

/// Who belongs here and who asks to; absent while the pairing files cannot be read.
#[rustfmt::skip]
fn pairing_part(page: &mut Exposition, context: &Context) {
    let counted = context.store.read(|state| {
        let (devices, nodes) = (&state.devices, &state.nodes);
        (devices.paired.len(), nodes.paired.len(), devices.pending.len(), nodes.pending.len())
    });
    page.one("openclaw_pairing_store_readable", Gauge, "Whether the pairing files can be read.", whole(usize::from(counted.is_ok())));
    if let Ok((devices, nodes, waiting_devices, waiting_nodes)) = counted {
        page.one("openclaw_paired_devices", Gauge, "Paired devices.", whole(devices));
        page.one("openclaw_paired_nodes", Gauge, "Nodes whose commands were approved.", whole(nodes));
        page.family("openclaw_pending_requests", Gauge, "Pairing requests that wait for a person, by layer.")
            .by("layer", [("device", waiting_devices as u64), ("node", waiting_nodes as u64)]);
    }
}

/// What nodes are asked to do.
#[rustfmt::skip]
fn work_part(page: &mut Exposition, context: &Context) {
    let (connected, open) = {
        let registry = context.registry();
        (registry.connected(), registry.invokes.len())
    };
    page.one("openclaw_connected_nodes", Gauge, "Nodes that are connected now.", whole(connected));
    page.one("openclaw_invokes_open", Gauge, "Invokes that wait for their node.", whole(open));
    let counters = &context.counters;
    page.family("openclaw_invokes_total", Counter, "Invokes of nodes that are over, by how they ended.")
        .by("outcome", counters.invokes.values(InvokeEnd::WORDS));
    let time = &counters.invoke_time;
    page.family("openclaw_invoke_duration_seconds", Histogram, "Time from asking a node to its answer, or to the end without one.")
        .buckets(&BOUNDS, &time.counts(), time.sum());
    let waiting = context.approvals().pending(Instant::now()).len();
    page.one("openclaw_exec_approvals_pending", Gauge, "Commands that wait for a person's approval.", whole(waiting));
}

/// What reaches the disk.
#[rustfmt::skip]
fn store_part(page: &mut Exposition, context: &Context) {
    let saves = context.store.figures();
    page.family("openclaw_saves_total", Counter, "Saves of the pairing files; concurrent changes share one.")
        .by("outcome", [("failed", saves.failed), ("ok", saves.succeeded)]);
    page.family("openclaw_save_duration_seconds", Summary, "Time that saves took, the failed ones included.")
        .sum(saves.time.as_secs_f64(), saves.attempts);
    let lines = context.store.trail_figures();
    page.family("openclaw_audit_lines_total", Counter, "Lines of the audit log.")
        .by("outcome", [("lost", lines.lost), ("written", lines.written)]);
    page.one("openclaw_audit_lines_waiting", Gauge, "Lines of the audit log that the disk does not take now.", Some(Number::Whole(lines.waiting)));
}
