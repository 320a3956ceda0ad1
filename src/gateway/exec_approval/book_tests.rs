//! The life of a request: who finds it, who waits for it, what a decision allows and for how long.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::protocol::params::ExecApprovalRequest;
use ExecDecision::{AllowAlways, AllowOnce, Deny};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn asked(id: &str, extra: Value) -> Asked {
    let mut params = json!({"id": id, "host": "node", "nodeId": "n", "systemRunPlan": {"argv": ["/bin/ls"], "cwd": null,
        "commandText": "/bin/ls", "agentId": null, "sessionKey": null}});
    params
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    Asked::read(ExecApprovalRequest::parse(Some(params)).unwrap()).unwrap()
}

fn requester(conn: &str, device: Option<&str>) -> Requester {
    Requester {
        conn: conn.into(),
        device: device.map(DeviceId::from),
    }
}

/// A book with a clock.
struct Desk {
    book: Book,
    now: Instant,
}

impl Desk {
    fn new() -> Desk {
        Desk {
            book: Book::default(),
            now: Instant::now(),
        }
    }

    fn open(&mut self, id: &str) -> Arc<Approval> {
        self.try_open(asked(id, json!({})), requester("a", Some("d")))
            .unwrap()
    }

    fn try_open(&mut self, asked: Asked, by: Requester) -> Result<Arc<Approval>, NotOpened> {
        let id = || "drawn".to_owned();
        self.book.open(asked, by, MINUTE, id, (self.now, 1_000))
    }

    fn resolve(&mut self, id: &str, decision: ExecDecision) -> Result<bool, NotResolved> {
        self.book
            .resolve(id, decision, &"b".into(), self.now)
            .map(|settled| settled.is_some())
    }

    fn wait(&mut self, id: &str, conn: &str) -> Option<Awaited> {
        let waiter = Waiter {
            conn: conn.into(),
            request: "1".to_owned(),
        };
        self.book
            .wait(id, waiter, self.now)
            .map(|(_, awaited)| awaited)
    }

    fn permit(&self, id: &str) -> Result<Permit, ClaimFault> {
        self.claim(id, "n", Some("d"), "other connection", json!({}))
    }

    fn claim(
        &self,
        id: &str,
        node: &str,
        device: Option<&str>,
        conn: &str,
        params: Value,
    ) -> Result<Permit, ClaimFault> {
        let device = device.map(DeviceId::from);
        let claim = Claim {
            run_id: id,
            params: &params.as_object().cloned().unwrap_or_else(Map::new),
            node: &node.into(),
            device: device.as_ref(),
            conn: &conn.into(),
        };
        self.book.permit(&claim, self.now)
    }
}

#[test]
fn ids_are_found_whole_or_by_a_start_that_only_one_open_request_has() {
    let mut desk = Desk::new();
    for id in ["Abc-1", "abd-2", "abd-23"] {
        desk.open(id);
    }
    let found = |desk: &Desk, given: &str| {
        desk.book
            .find(given, desk.now)
            .map(|approval| approval.id.clone())
    };
    let cases = [
        ("Abc-1", Ok("Abc-1")),
        (" aBC ", Ok("Abc-1")),
        ("abd-2", Ok("abd-2")),
        ("ab", Err(NotFound::Ambiguous)),
        ("x", Err(NotFound::Unknown)),
        ("  ", Err(NotFound::Unknown)),
    ];
    for (given, expected) in cases {
        assert_eq!(found(&desk, given), expected.map(str::to_owned), "{given}");
    }
    desk.resolve("abc", Deny).unwrap();
    assert_eq!(found(&desk, "Abc-1").as_deref(), Ok("Abc-1"));
    assert_eq!(
        found(&desk, "abc"),
        Err(NotFound::Unknown),
        "decided: by its full id alone"
    );
    desk.now += GRACE;
    assert_eq!(found(&desk, "Abc-1"), Err(NotFound::Unknown));
}

#[test]
fn an_id_is_taken_until_its_record_is_forgotten() {
    let mut desk = Desk::new();
    desk.open("x");
    let again = |desk: &mut Desk| {
        desk.try_open(asked("x", json!({})), requester("z", None))
            .map(|approval| approval.serial)
    };
    assert_eq!(again(&mut desk), Err(NotOpened::Known));
    desk.resolve("x", AllowOnce).unwrap();
    desk.now += GRACE - Duration::from_millis(1);
    assert_eq!(again(&mut desk), Err(NotOpened::Known));
    desk.now += Duration::from_millis(1);
    assert_eq!(again(&mut desk), Ok(2));
}

#[test]
fn decisions_are_taken_once_and_by_somebody_else() {
    let mut desk = Desk::new();
    desk.open("x");
    desk.try_open(asked("y", json!({"ask": "always"})), requester("b", None))
        .unwrap();
    desk.open("z");
    let steps = [
        ("y", AllowAlways, Err(NotResolved::AlwaysUnavailable)),
        ("y", AllowOnce, Err(NotResolved::OwnRequest)),
        ("y", Deny, Ok(true)),
        ("x", AllowAlways, Ok(true)),
        ("x", AllowAlways, Ok(false)),
        ("x", AllowOnce, Err(NotResolved::AlreadyResolved)),
        ("none", Deny, Err(NotResolved::NotFound(NotFound::Unknown))),
    ];
    for (id, decision, expected) in steps {
        assert_eq!(desk.resolve(id, decision), expected, "{id} {decision}");
    }
    desk.now += MINUTE + SECOND;
    let late = desk.resolve("z", AllowOnce);
    assert_eq!(late, Err(NotResolved::NotFound(NotFound::Unknown)));
}

#[test]
fn who_waits_is_answered_when_it_ends_and_at_once_after_that() {
    let mut desk = Desk::new();
    desk.open("x");
    assert_eq!(desk.wait("X", "w"), None, "the full id alone");
    assert_eq!(desk.wait("x", "w"), Some(Awaited::Waiting));
    assert_eq!(desk.wait("x", "gone"), Some(Awaited::Waiting));
    desk.book.drop_waiters(&"gone".into());
    let settled = desk.book.resolve("x", AllowOnce, &"b".into(), desk.now);
    let settled = settled.unwrap().unwrap();
    let answered: Vec<_> = settled
        .waiters
        .iter()
        .map(|waiter| waiter.conn.as_str())
        .collect();
    assert_eq!((answered, settled.decision), (vec!["w"], Some(AllowOnce)));
    assert_eq!(desk.wait("x", "w"), Some(Awaited::Ended(Some(AllowOnce))));
    desk.open("y");
    desk.now += MINUTE + SECOND;
    assert_eq!(desk.wait("y", "w"), Some(Awaited::Ended(None)));
    desk.now += GRACE;
    assert_eq!(desk.wait("y", "w"), None);
}

#[test]
fn the_timer_expires_what_is_open_and_forgets_what_is_over() {
    let mut desk = Desk::new();
    let approval = desk.open("x");
    desk.wait("x", "w");
    let end = approval.deadline;
    assert!(matches!(desk.book.due(&approval, desk.now), Due::Later(at) if at == end));
    let Due::Expired(settled) = desk.book.due(&approval, end) else {
        panic!("open at its deadline")
    };
    assert_eq!((settled.waiters.len(), settled.decision), (1, None));
    let forgotten = end + GRACE;
    assert!(matches!(desk.book.due(&approval, end), Due::Later(at) if at == forgotten));
    assert!(matches!(
        desk.book.due(&approval, forgotten),
        Due::Forgotten
    ));
    assert!(desk.book.is_empty());
    assert_eq!((desk.book.bytes, desk.book.waiting), (0, 0));
}

#[test]
fn everything_is_bounded() {
    let mut desk = Desk::new();
    for number in 0..MAX_OPEN_PER_REQUESTER {
        desk.open(&number.to_string());
    }
    let full = desk.try_open(asked("one more", json!({})), requester("other", Some("d")));
    assert_eq!(
        full.err(),
        Some(NotOpened::RequesterFull),
        "a device is one requester"
    );
    desk.resolve("0", Deny).unwrap();
    desk.open("in its place");
    let big = json!({"resolvedPath": "x".repeat(200 * 1024)});
    let mut refused = None;
    for number in 0..64 {
        let conn = format!("conn-{number}");
        let asked = asked(&format!("big-{number}"), big.clone());
        refused = desk.try_open(asked, requester(&conn, None)).err();
        assert!(desk.book.bytes <= MAX_TOTAL_BYTES);
    }
    assert_eq!(refused, Some(NotOpened::GatewayFull));
    let long = desk.book.open(
        asked("long", json!({})),
        requester("z", None),
        Duration::from_secs(u64::MAX),
        String::new,
        (desk.now, 0),
    );
    let long = long.unwrap();
    assert_eq!(
        (long.deadline - desk.now, long.expires_at_ms),
        (MAX_TIMEOUT, 86_400_000)
    );
    for _ in 0..MAX_WAITING_PER_CONNECTION {
        assert_eq!(desk.wait("long", "w"), Some(Awaited::Waiting));
    }
    assert_eq!(desk.wait("long", "w"), Some(Awaited::Full));
    assert_eq!(desk.wait("long", "v"), Some(Awaited::Waiting));
}

#[test]
fn the_number_of_records_is_bounded() {
    let mut desk = Desk::new();
    let mut open = |number: usize| {
        let by = requester(&format!("conn-{}", number / MAX_OPEN_PER_REQUESTER), None);
        desk.try_open(asked(&number.to_string(), json!({})), by)
            .err()
    };
    assert!((0..MAX_RECORDS).all(|number| open(number).is_none()));
    assert_eq!(open(MAX_RECORDS), Some(NotOpened::GatewayFull));
}

#[test]
fn claims_are_refused_in_the_order_of_the_table() {
    let mut desk = Desk::new();
    desk.open("device");
    let bare = |id: &str, extra: Value| (asked(id, extra), requester("a", None));
    let (own, by) = bare("client", json!({}));
    desk.try_open(own, by).unwrap();
    let (other_host, by) = bare("gateway", json!({"host": "gateway", "command": "ls"}));
    desk.try_open(other_host, by).unwrap();
    desk.open("denied");
    desk.open("late");
    for id in ["device", "client", "gateway"] {
        desk.resolve(id, AllowOnce).unwrap();
    }
    desk.resolve("denied", Deny).unwrap();
    let edited = json!({"cwd": "/elsewhere", "env": {"A": "1"}});
    let env = json!({"env": {"A": "1"}});
    let none = json!({});
    let cases = [
        ("none", "n", Some("d"), "a", &none, "UNKNOWN_APPROVAL_ID"),
        ("devic", "n", Some("d"), "a", &none, "UNKNOWN_APPROVAL_ID"),
        (
            "gateway",
            "n",
            None,
            "a",
            &none,
            "APPROVAL_NODE_BINDING_MISSING",
        ),
        (
            "device",
            "m",
            Some("e"),
            "a",
            &edited,
            "APPROVAL_NODE_MISMATCH",
        ),
        (
            "device",
            "n",
            Some("e"),
            "a",
            &edited,
            "APPROVAL_DEVICE_MISMATCH",
        ),
        (
            "device",
            "n",
            None,
            "a",
            &edited,
            "APPROVAL_DEVICE_MISMATCH",
        ),
        (
            "client",
            "n",
            Some("d"),
            "b",
            &edited,
            "APPROVAL_CLIENT_MISMATCH",
        ),
        (
            "device",
            "n",
            Some("d"),
            "b",
            &edited,
            "APPROVAL_REQUEST_MISMATCH",
        ),
        (
            "denied",
            "n",
            Some("d"),
            "b",
            &env,
            "APPROVAL_ENV_BINDING_MISSING",
        ),
        ("denied", "n", Some("d"), "b", &none, "APPROVAL_REQUIRED"),
        ("late", "n", Some("d"), "b", &none, "APPROVAL_REQUIRED"),
    ];
    for (id, node, device, conn, params, code) in cases {
        let fault = desk
            .claim(id, node, device, conn, params.clone())
            .unwrap_err();
        let error = fault.error(id);
        assert_eq!(error.detail_code(), Some(code), "{id}");
    }
    assert!(desk.claim("client", "n", Some("d"), "a", none).is_ok());
    desk.now += MINUTE + Duration::from_millis(1);
    assert_eq!(desk.permit("late"), Err(ClaimFault::Expired));
    desk.now += GRACE;
    assert_eq!(desk.permit("late"), Err(ClaimFault::Unknown));
}

#[test]
fn a_decision_for_one_run_is_used_once_and_a_lasting_one_while_it_is_kept() {
    let mut desk = Desk::new();
    desk.open("once");
    desk.open("always");
    desk.resolve("once", AllowOnce).unwrap();
    desk.resolve("always", AllowAlways).unwrap();
    let (first, second) = (desk.permit("once").unwrap(), desk.permit("once").unwrap());
    assert_eq!(desk.book.spend(&first, desk.now), Ok(()));
    assert_eq!(
        desk.book.spend(&second, desk.now),
        Err(ClaimFault::Required)
    );
    assert_eq!(desk.permit("once"), Err(ClaimFault::Required));
    desk.book.unspend(&first, desk.now);
    assert_eq!(
        desk.book.spend(&second, desk.now),
        Ok(()),
        "the first one came to nothing"
    );
    let lasting = desk.permit("always").unwrap();
    for _ in 0..3 {
        assert_eq!(desk.book.spend(&lasting, desk.now), Ok(()));
    }
    desk.now += GRACE;
    assert_eq!(
        desk.book.spend(&lasting, desk.now),
        Err(ClaimFault::Unknown)
    );
}

#[test]
fn a_decision_ends_with_the_time_of_its_request() {
    let mut desk = Desk::new();
    let approval = desk.open("x");
    desk.now = approval.deadline;
    desk.resolve("x", AllowOnce).unwrap();
    let permit = desk.permit("x").unwrap();
    desk.now += Duration::from_millis(1);
    assert_eq!(desk.permit("x"), Err(ClaimFault::Expired));
    assert_eq!(desk.book.spend(&permit, desk.now), Err(ClaimFault::Expired));
}

#[test]
fn a_permit_does_not_pass_to_another_request_of_the_same_id() {
    let mut desk = Desk::new();
    desk.open("x");
    desk.resolve("x", AllowOnce).unwrap();
    let old = desk.permit("x").unwrap();
    let ended = desk.book.revoke(|approval| approval.id == "x", desk.now);
    assert_eq!(ended.len(), 1);
    desk.open("x");
    desk.resolve("x", AllowOnce).unwrap();
    assert_eq!(desk.book.spend(&old, desk.now), Err(ClaimFault::Unknown));
    desk.book.unspend(&old, desk.now);
    assert!(desk.permit("x").is_ok());
}

#[test]
fn what_is_revoked_is_denied_or_forgotten() {
    let mut desk = Desk::new();
    desk.open("open");
    desk.open("decided");
    desk.try_open(asked("stays", json!({})), requester("a", Some("e")))
        .unwrap();
    desk.wait("open", "w");
    desk.resolve("decided", AllowAlways).unwrap();
    let of_device = |approval: &Approval| approval.requester.device == Some("d".into());
    let ended = desk.book.revoke(of_device, desk.now);
    let told: Vec<_> = ended
        .iter()
        .map(|(settled, open)| (settled.approval.id.as_str(), settled.decision, *open))
        .collect();
    assert_eq!(
        told,
        [
            ("open", Some(Deny), true),
            ("decided", Some(AllowAlways), false)
        ]
    );
    assert_eq!(ended[0].0.waiters.len(), 1);
    assert_eq!((desk.book.len(), desk.book.waiting), (1, 0));
    assert_eq!(desk.permit("decided"), Err(ClaimFault::Unknown));
    assert_eq!(desk.wait("open", "w"), None);
}

#[derive(Clone, Debug)]
enum Step {
    Open(u8),
    Wait(u8),
    Resolve(u8, ExecDecision),
    Run(u8),
    Fail(u8),
    Timer(u8),
    Revoke(u8),
    Leave,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = 0..4_u8;
    let decision = prop_oneof![Just(AllowOnce), Just(AllowAlways), Just(Deny)];
    let step = prop_oneof![
        id.clone().prop_map(Step::Open),
        id.clone().prop_map(Step::Wait),
        (id.clone(), decision).prop_map(|(id, decision)| Step::Resolve(id, decision)),
        id.clone().prop_map(Step::Run),
        id.clone().prop_map(Step::Fail),
        id.clone().prop_map(Step::Timer),
        id.prop_map(Step::Revoke),
        Just(Step::Leave),
        (0..40_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    /// Against a model that remembers only what was allowed and when.
    #[test]
    fn nothing_runs_that_was_not_allowed_and_no_permission_for_one_run_serves_two(steps in steps()) {
        let mut desk = Desk::new();
        let mut latest: HashMap<u8, Arc<Approval>> = HashMap::new();
        // What is allowed by serial: how, and until when.
        let mut allowed: HashMap<u64, (ExecDecision, Instant)> = HashMap::new();
        for step in steps {
            match step {
                Step::Open(id) => {
                    if let Ok(approval) = desk.try_open(asked(&id.to_string(), json!({})), requester("a", Some("d"))) {
                        latest.insert(id, approval);
                    }
                }
                Step::Wait(id) => drop(desk.wait(&id.to_string(), "w")),
                Step::Resolve(id, decision) => {
                    if desk.resolve(&id.to_string(), decision) == Ok(true) && decision != Deny {
                        let approval = &latest[&id];
                        let end = approval.deadline.min(desk.now + GRACE);
                        allowed.insert(approval.serial, (decision, end));
                    }
                }
                Step::Run(id) | Step::Fail(id) => {
                    let Ok(permit) = desk.permit(&id.to_string()) else { continue };
                    prop_assert_eq!(desk.book.spend(&permit, desk.now), Ok(()));
                    let serial = latest[&id].serial;
                    let (decision, end) = allowed.get(&serial).copied().expect("allowed");
                    prop_assert!(desk.now <= end);
                    prop_assert_eq!(decision, permit.decision);
                    if matches!(step, Step::Fail(_)) {
                        desk.book.unspend(&permit, desk.now);
                    } else if decision == AllowOnce {
                        allowed.remove(&serial);
                    }
                }
                Step::Timer(id) => {
                    if let Some(approval) = latest.get(&id) {
                        drop(desk.book.due(approval, desk.now));
                    }
                }
                Step::Revoke(id) => {
                    for (settled, _) in desk.book.revoke(|approval| approval.id == id.to_string(), desk.now) {
                        allowed.remove(&settled.approval.serial);
                    }
                }
                Step::Leave => desk.book.drop_waiters(&"w".into()),
                Step::Pass(seconds) => desk.now += Duration::from_secs(seconds),
            }
            let entries = || desk.book.entries.values();
            prop_assert_eq!(desk.book.bytes, entries().map(|entry| entry.approval.asked.bytes).sum::<usize>());
            prop_assert_eq!(desk.book.waiting, entries().map(|entry| entry.waiters.len()).sum::<usize>());
        }
    }
}
