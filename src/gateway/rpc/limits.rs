//! What the gateway's limits hold at the moment, and giving a client that was locked out its attempts back.
//!
//! Both methods are ours and need `operator.admin`: the list names strangers by address and would tell
//! a guesser how many attempts are left.

use serde_json::{Value, json};

use super::call::{Call, Outcome, Reply};
use crate::gateway::context::Context;
use crate::gateway::invoke::MAX_OPEN;
use crate::gateway::limits::Kind;
use crate::gateway::limits::attempts::{AttemptPolicy, Key, Row};
use crate::gateway::limits::guard::milliseconds;
use crate::pairing::AuditEntry;
use crate::protocol::error::ErrorShape;
use crate::protocol::params::{GatewayLimitsClear, parse_nothing};

/// Rows of the list at most; the locked come first, and the total is told.
const MAX_ROWS: usize = 500;

/// `gateway.limits.list`.
pub fn list(call: &Call<'_>, params: Option<Value>) -> Outcome {
    parse_nothing(call.method, params)?;
    let context = call.context;
    let policy = context.rules().attempts;
    let rows = context.guard.rows(&policy);
    let now_ms = context.now_ms();
    let shown: Vec<Value> = rows
        .iter()
        .take(MAX_ROWS)
        .map(|row| rendered(row, now_ms))
        .collect();
    Ok(Reply::Now(json!({
        "ts": now_ms,
        "policy": rendered_policy(&policy),
        "attempts": shown,
        "attemptsTotal": rows.len(),
        "budgets": budgets(context),
    })))
}

/// `gateway.limits.clear`: without a name every counter.
pub fn clear(call: &Call<'_>, params: Option<Value>) -> Outcome {
    let asked = GatewayLimitsClear::parse(params)?;
    let kind = match asked
        .kind
        .as_deref()
        .map(|name| Kind::parse(name).ok_or(name))
    {
        Some(Err(name)) => return Err(unknown_kind(name)),
        Some(Ok(kind)) => Some(kind),
        None => None,
    };
    let chosen = |key: &Key| {
        kind.is_none_or(|kind| key.kind == kind)
            && asked
                .client
                .as_ref()
                .is_none_or(|client| key.client.to_string() == *client)
    };
    let cleared = call.context.guard.clear(chosen);
    if cleared > 0 {
        let caller = call.caller();
        call.context.store.audit(&AuditEntry {
            action: "auth.unlock",
            subject: asked.client.unwrap_or_else(|| "*".to_owned()),
            by: caller.label,
            via: caller.via,
            from: caller.from.map(|address| address.to_string()),
            after: Some(json!({"kind": kind.map(Kind::as_str), "cleared": cleared})),
            ..AuditEntry::default()
        });
    }
    Ok(Reply::Now(json!({"ok": true, "cleared": cleared})))
}

fn unknown_kind(name: &str) -> ErrorShape {
    let known = Kind::ALL.map(Kind::as_str).join(", ");
    ErrorShape::invalid(format!("unknown kind: {name} (known: {known})"))
}

fn rendered(row: &Row, now_ms: u64) -> Value {
    let left = row.locked_for.map(milliseconds);
    let mut rendered = json!({
        "kind": row.key.kind.as_str(),
        "client": row.key.client.to_string(),
        "browser": row.key.browser,
        "failures": row.failures,
        "locked": left.is_some(),
    });
    if let Some(left) = left {
        rendered["lockedForMs"] = json!(left);
        rendered["lockedUntilMs"] = json!(now_ms.saturating_add(left));
    }
    rendered
}

fn rendered_policy(policy: &AttemptPolicy) -> Value {
    json!({
        "maxAttempts": policy.limit(),
        "windowMs": policy.window.as_millis() as u64,
        "lockoutMs": policy.lockout.as_millis() as u64,
        "exemptLoopback": policy.exempt_loopback,
    })
}

/// What is used of each bound; `perClient` where a single client has one too.
fn budgets(context: &Context) -> Value {
    let (limits, waiting) = (context.arrivals.limits(), context.arrivals.usage());
    let (full, per_source) = (limits.full, limits.per_source);
    json!([
        {"name": "connections", "used": context.connections.len(), "limit": limits.connections},
        {"name": "waiting-local", "used": waiting.local, "limit": full, "perClient": per_source},
        {"name": "waiting-remote", "used": waiting.remote, "limit": full, "perClient": per_source},
        {"name": "unauthenticated", "used": context.preauth.used(), "limit": limits.all_pools(),
            "perClient": context.preauth.limit()},
        {"name": "open-invokes", "used": context.registry().invokes.len(), "limit": MAX_OPEN},
    ])
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::gateway::limits::Claimant;
    use crate::gateway::locality::{Locality, Place, RequestHeaders};
    use crate::gateway::testing::House;

    fn fail(house: &House, address: &str, kind: Kind, times: usize) {
        let address: IpAddr = address.parse().unwrap();
        let place = Place {
            client: Some(address),
            locality: Locality::Remote,
            reported: None,
            source: None,
        };
        let headers = RequestHeaders::default();
        let policy = house.context.rules().attempts;
        let claimant = Claimant::new(&house.context, policy, address, &place, &headers, "connect");
        for _ in 0..times {
            let _ = claimant.failed(kind, None, "token_mismatch");
        }
    }

    #[test]
    fn the_list_names_counters_and_budgets_for_administrators_only() {
        let house = House::new();
        fail(&house, "192.0.2.1", Kind::SharedSecret, 10);
        fail(&house, "2001:db8::7", Kind::DeviceToken, 2);
        let admin = house.operator(&["operator.admin"]);
        let list = admin.ask("gateway.limits.list", json!({}));
        assert_eq!(
            list["policy"],
            json!({"maxAttempts": 10, "windowMs": 60_000, "lockoutMs": 300_000, "exemptLoopback": true})
        );
        let attempts = list["attempts"].as_array().unwrap();
        assert_eq!((attempts.len(), &list["attemptsTotal"]), (2, &json!(2)));
        assert_eq!(attempts[0]["client"], "192.0.2.1");
        assert_eq!(
            (&attempts[0]["locked"], &attempts[0]["failures"]),
            (&json!(true), &json!(10))
        );
        assert!(attempts[0]["lockedForMs"].as_u64().unwrap() > 290_000);
        assert_eq!(attempts[1]["client"], "2001:db8::/64");
        assert_eq!(
            (&attempts[1]["locked"], &attempts[1]["failures"]),
            (&json!(false), &json!(2))
        );
        let names: Vec<&str> = list["budgets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                "connections",
                "waiting-local",
                "waiting-remote",
                "unauthenticated",
                "open-invokes"
            ]
        );
        for method in ["gateway.limits.list", "gateway.limits.clear"] {
            let reader = house.operator(&["operator.read", "operator.pairing"]);
            let refused = reader.refused(method, json!({}));
            assert_eq!(refused["message"], "missing scope: operator.admin");
        }
    }

    #[test]
    fn clearing_takes_what_is_named_and_leaves_a_line() {
        let house = House::new();
        fail(&house, "192.0.2.1", Kind::SharedSecret, 10);
        fail(&house, "192.0.2.1", Kind::DeviceToken, 1);
        fail(&house, "192.0.2.2", Kind::SharedSecret, 1);
        let admin = house.operator(&["operator.admin"]);
        let clear = |params| admin.ask("gateway.limits.clear", params)["cleared"].clone();
        assert_eq!(clear(json!({"client": "192.0.2.9"})), 0);
        assert_eq!(
            clear(json!({"client": "192.0.2.1", "kind": "shared-secret"})),
            1
        );
        assert_eq!(clear(json!({"kind": "device-token"})), 1);
        assert_eq!(clear(json!({})), 1);
        let refused = admin.refused("gateway.limits.clear", json!({"kind": "x"}));
        assert_eq!(
            refused["message"],
            "unknown kind: x (known: bootstrap-token, device-token, shared-secret)"
        );
        let trail = house.context.store.audit_log().newest(10).unwrap();
        let unlocks: Vec<&Value> = trail
            .iter()
            .filter(|line| line["action"] == "auth.unlock")
            .collect();
        assert_eq!(unlocks.len(), 3, "{trail:?}");
        assert_eq!(unlocks[0]["subject"], "192.0.2.1");
        assert_eq!(unlocks[2]["subject"], "*");
    }
}
