//! The params of each method as typed values (specification sections 5 to 9).
//!
//! Every `parse` takes the params as they came, checks them against a closed schema and answers with
//! the exact error of section 1.2; blank names are refused here too, so that handlers see real ones.

mod approvals;
mod device;
mod exec_approval;
mod keys;
mod limits;
mod node;
mod pair;
mod system;

pub use approvals::*;
pub use device::*;
pub use exec_approval::*;
pub use keys::*;
pub use limits::*;
pub use node::*;
pub use pair::*;
pub use system::*;

use crate::protocol::error::ErrorShape;

/// `text` trimmed, or `INVALID_REQUEST` with `message` when nothing is left.
fn non_blank(text: &str, message: &str) -> Result<String, ErrorShape> {
    match text.trim() {
        "" => Err(ErrorShape::invalid(message)),
        trimmed => Ok(trimmed.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    type Outcome = Result<(), String>;
    type Parser = fn(Option<Value>) -> Outcome;

    fn text<T>(result: Result<T, ErrorShape>) -> Outcome {
        result.map(|_| ()).map_err(|error| error.message)
    }

    /// Every parser by its method.
    const PARSERS: &[(&str, Parser)] = &[
        ("status", |value| text(parse_nothing("status", value))),
        ("set-heartbeats", |value| text(SetHeartbeats::parse(value))),
        ("system-event", |value| text(SystemEvent::parse(value))),
        ("device.pair.approve", |value| {
            text(PairApprove::parse("device.pair.approve", value))
        }),
        ("node.pair.reject", |value| {
            text(parse_request_id("node.pair.reject", value))
        }),
        ("device.pair.remove", |value| {
            text(DevicePairRemove::parse(value))
        }),
        ("device.token.rotate", |value| {
            text(DeviceTokenRotate::parse(value))
        }),
        ("device.token.revoke", |value| {
            text(DeviceTokenRevoke::parse(value))
        }),
        ("device.keys.create", |value| {
            text(DeviceKeysCreate::parse(value))
        }),
        ("device.keys.preapprove", |value| {
            text(DeviceKeysPreapprove::parse(value))
        }),
        ("device.keys.revoke", |value| text(parse_key_id(value))),
        ("gateway.limits.clear", |value| {
            text(GatewayLimitsClear::parse(value))
        }),
        ("node.pair.request", |value| {
            text(NodePairRequest::parse(value))
        }),
        ("node.pair.remove", |value| {
            text(NodePairRemove::parse(value))
        }),
        ("node.pair.verify", |value| {
            text(NodePairVerify::parse(value))
        }),
        ("node.rename", |value| text(NodeRename::parse(value))),
        ("node.describe", |value| text(NodeDescribe::parse(value))),
        ("node.invoke", |value| text(NodeInvoke::parse(value))),
        ("node.invoke.result", |value| {
            text(NodeInvokeResult::parse(value))
        }),
        ("node.event", |value| text(NodeEvent::parse(value))),
        ("node.pending.ack", |value| text(PendingAck::parse(value))),
        ("node.pending.drain", |value| {
            text(PendingDrain::parse(value))
        }),
        ("node.pending.enqueue", |value| {
            text(PendingEnqueue::parse(value))
        }),
        ("exec.approvals.set", |value| {
            text(ExecApprovalsSet::parse(value))
        }),
        ("exec.approval.request", |value| {
            text(ExecApprovalRequest::parse(value))
        }),
        ("exec.approval.resolve", |value| {
            text(ExecApprovalResolve::parse(value))
        }),
        ("exec.approval.get", |value| text(parse_approval_id(value))),
        ("exec.approvals.node.get", |value| {
            text(ExecApprovalsNodeGet::parse(value))
        }),
        ("exec.approvals.node.set", |value| {
            text(ExecApprovalsNodeSet::parse(value))
        }),
    ];

    fn outcome(method: &str, params: Value) -> Outcome {
        let (_, parse) = PARSERS.iter().find(|(name, _)| *name == method).unwrap();
        parse(Some(params))
    }

    #[test]
    fn bad_params_are_told_exactly() {
        let table: &[(&str, Value, &str)] = &[
            (
                "status",
                json!({"x":1}),
                "invalid status params: at root: unexpected property 'x'",
            ),
            (
                "set-heartbeats",
                json!({}),
                "invalid set-heartbeats params: enabled (boolean) required",
            ),
            (
                "set-heartbeats",
                json!({"enabled":1}),
                "invalid set-heartbeats params: enabled (boolean) required",
            ),
            ("system-event", json!({"text":"  "}), "text required"),
            ("system-event", json!({}), "text required"),
            (
                "device.pair.approve",
                json!({}),
                "invalid device.pair.approve params: must have required property 'requestId'",
            ),
            (
                "device.pair.approve",
                json!({"requestId":""}),
                "invalid device.pair.approve params: at /requestId: must NOT have fewer than 1 characters",
            ),
            (
                "device.pair.approve",
                json!({"requestId":"r","expectedDigest":""}),
                "invalid device.pair.approve params: at /expectedDigest: must NOT have fewer than 1 characters",
            ),
            (
                "node.pair.reject",
                json!({"requestId":"r","expectedDigest":"x"}),
                "invalid node.pair.reject params: at root: unexpected property 'expectedDigest'",
            ),
            (
                "device.pair.remove",
                json!({"deviceId":1}),
                "invalid device.pair.remove params: at /deviceId: must be string",
            ),
            (
                "device.token.rotate",
                json!({"deviceId":"d"}),
                "invalid device.token.rotate params: must have required property 'role'",
            ),
            (
                "device.token.rotate",
                json!({"deviceId":"d","role":"node","scopes":[""]}),
                "invalid device.token.rotate params: at /scopes/0: must NOT have fewer than 1 characters",
            ),
            (
                "device.token.revoke",
                json!({"deviceId":"d","role":"node","scopes":[]}),
                "invalid device.token.revoke params: at root: unexpected property 'scopes'",
            ),
            (
                "device.keys.create",
                json!({"uses":-1}),
                "invalid device.keys.create params: at /uses: must be >= 0",
            ),
            (
                "device.keys.create",
                json!({"role":"worker"}),
                "invalid device.keys.create params: at /role: must be equal to one of the allowed values",
            ),
            (
                "device.keys.preapprove",
                json!({}),
                "invalid device.keys.preapprove params: must have required property 'publicKey'",
            ),
            (
                "device.keys.revoke",
                json!({"id":""}),
                "invalid device.keys.revoke params: at /id: must NOT have fewer than 1 characters",
            ),
            (
                "node.pair.request",
                json!({"nodeId":" "}),
                "nodeId required",
            ),
            (
                "node.pair.request",
                json!({"nodeId":"n".repeat(100_000)}),
                "invalid node.pair.request params: at /nodeId: must NOT have more than 256 characters",
            ),
            (
                "node.pair.request",
                json!({"nodeId":"n","commands":vec!["c"; 513],"caps":["x".repeat(257)]}),
                "invalid node.pair.request params: at /caps/0: must NOT have more than 256 characters; at /commands: must NOT have more than 512 items",
            ),
            (
                "node.rename",
                json!({"nodeId":"n","displayName":"x".repeat(257)}),
                "invalid node.rename params: at /displayName: must NOT have more than 256 characters",
            ),
            (
                "node.pair.request",
                json!({"nodeId":"n","permissions":{}}),
                "invalid node.pair.request params: at root: unexpected property 'permissions'",
            ),
            (
                "node.pair.request",
                json!({"nodeId":"n","silent":1}),
                "invalid node.pair.request params: at /silent: must be boolean",
            ),
            (
                "node.pair.remove",
                json!({}),
                "invalid node.pair.remove params: must have required property 'nodeId'",
            ),
            (
                "node.pair.verify",
                json!({"nodeId":"n"}),
                "invalid node.pair.verify params: must have required property 'token'",
            ),
            (
                "node.rename",
                json!({"nodeId":"n","displayName":" "}),
                "displayName required",
            ),
            ("node.describe", json!({"nodeId":" "}), "nodeId required"),
            (
                "node.describe",
                json!({}),
                "invalid node.describe params: must have required property 'nodeId'",
            ),
            (
                "node.invoke",
                json!({"nodeId":"n","command":"c"}),
                "invalid node.invoke params: must have required property 'idempotencyKey'",
            ),
            (
                "node.invoke",
                json!({"nodeId":" ","command":"c","idempotencyKey":"k"}),
                "nodeId and command required",
            ),
            (
                "node.invoke",
                json!({"nodeId":"n","command":" ","idempotencyKey":"k"}),
                "nodeId and command required",
            ),
            (
                "node.invoke",
                json!({"nodeId":"n","command":"c","idempotencyKey":"k","timeoutMs":-1}),
                "invalid node.invoke params: at /timeoutMs: must be >= 0",
            ),
            (
                "node.invoke.result",
                json!({"id":"i","nodeId":"n"}),
                "invalid node.invoke.result params: must have required property 'ok'",
            ),
            (
                "node.invoke.result",
                json!({"id":"i","nodeId":"n","ok":true,"error":{"code":1}}),
                "invalid node.invoke.result params: at /error/code: must be string",
            ),
            (
                "node.event",
                json!({"event":""}),
                "invalid node.event params: at /event: must NOT have fewer than 1 characters",
            ),
            (
                "node.pending.ack",
                json!({"ids":[]}),
                "invalid node.pending.ack params: at /ids: must NOT have fewer than 1 items",
            ),
            (
                "node.pending.drain",
                json!({"maxItems":0}),
                "invalid node.pending.drain params: at /maxItems: must be >= 1",
            ),
            (
                "node.pending.drain",
                json!({"maxItems":11}),
                "invalid node.pending.drain params: at /maxItems: must be <= 10",
            ),
            (
                "node.pending.enqueue",
                json!({"nodeId":"n","type":"x"}),
                "invalid node.pending.enqueue params: at /type: must be equal to one of the allowed values",
            ),
            (
                "exec.approvals.set",
                json!({"file":{"version":2,"agents":{"a":{"allowlist":[{}]}}}}),
                "invalid exec.approvals.set params: at /file/version: must be equal to constant; at /file/agents/a/allowlist/0: must have required property 'pattern'",
            ),
            (
                "exec.approvals.set",
                json!({"baseHash":""}),
                "invalid exec.approvals.set params: must have required property 'file'; at /baseHash: must NOT have fewer than 1 characters",
            ),
            (
                "exec.approval.resolve",
                json!({"id":"x","decision":"allow"}),
                "invalid decision",
            ),
            (
                "exec.approval.request",
                json!({"id":"","systemRunPlan":{"argv":[1]},"turnSourceThreadId":true}),
                "invalid exec.approval.request params: at /id: must NOT have fewer than 1 characters; at /systemRunPlan: must have required property 'cwd'; at /systemRunPlan: must have required property 'commandText'; at /systemRunPlan: must have required property 'agentId'; at /systemRunPlan: must have required property 'sessionKey'; at /systemRunPlan/argv/0: must be string; at /systemRunPlan: must be null; at /systemRunPlan: must match a schema in anyOf; at /turnSourceThreadId: must be string; at /turnSourceThreadId: must be number; at /turnSourceThreadId: must be null; at /turnSourceThreadId: must match a schema in anyOf",
            ),
            (
                "exec.approvals.node.get",
                json!({"nodeId":""}),
                "invalid exec.approvals.node.get params: at /nodeId: must NOT have fewer than 1 characters",
            ),
            (
                "exec.approvals.node.get",
                json!({"nodeId":" "}),
                "nodeId required",
            ),
            (
                "exec.approvals.node.set",
                json!({"nodeId":"n"}),
                "invalid exec.approvals.node.set params: must have required property 'file'",
            ),
            (
                "exec.approvals.node.set",
                json!({"nodeId":"n","file":{"version":2}}),
                "invalid exec.approvals.node.set params: at /file/version: must be equal to constant",
            ),
            (
                "exec.approvals.node.set",
                json!({"nodeId":"n","file":{"version":1},"baseHash":"h".repeat(129)}),
                "invalid exec.approvals.node.set params: at /baseHash: must NOT have more than 128 characters",
            ),
        ];
        for (method, params, expected) in table {
            assert_eq!(
                outcome(method, params.clone()).unwrap_err(),
                *expected,
                "{params}"
            );
        }
    }

    #[test]
    fn good_params_pass() {
        let table = [
            ("status", json!({})),
            ("set-heartbeats", json!({"enabled":false})),
            ("system-event", json!({"text":"hi","anything":[1]})),
            (
                "device.token.rotate",
                json!({"deviceId":"d","role":"node","scopes":[]}),
            ),
            (
                "node.pair.request",
                json!({"nodeId":"n","caps":[],"commands":["a"],"silent":true}),
            ),
            (
                "node.invoke",
                json!({"nodeId":"n","command":"c","idempotencyKey":"k","params":null,"timeoutMs":0}),
            ),
            ("node.event", json!({"event":"e"})),
            ("node.pending.ack", json!({"ids":["a"]})),
            ("node.pending.drain", json!({})),
            (
                "node.pending.enqueue",
                json!({"nodeId":"n","type":"status.request","priority":"high","expiresInMs":1000,"wake":true}),
            ),
            (
                "exec.approvals.node.set",
                json!({"nodeId":"n","file":{"version":1},"baseHash":"h"}),
            ),
        ];
        for (method, params) in table {
            assert_eq!(outcome(method, params.clone()), Ok(()), "{method} {params}");
        }
    }

    #[test]
    fn params_that_are_no_object_name_their_method() {
        for (method, parse) in PARSERS {
            let text = parse(Some(json!([1]))).unwrap_err();
            let own_words = matches!(*method, "set-heartbeats" | "system-event");
            assert!(
                own_words || text == format!("invalid {method} params: must be object"),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_params_upset_a_parser(
            index in 0..PARSERS.len(),
            name in "[a-zA-Z]{1,10}",
            text in ".{0,10}",
            number in any::<f64>(),
        ) {
            let (_, parse) = PARSERS[index];
            for value in [json!(text), json!(number), json!([text]), json!({(name.as_str()): number})] {
                let _ = parse(Some(json!({(name.as_str()): value.clone(), "nodeId": text.clone()})));
                let _ = parse(Some(value));
            }
        }
    }
}
