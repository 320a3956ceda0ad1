//! What binds a decision to one run: the plan, the environment, the node, who asked (protocol.md §8.5).
//!
//! A caller that says a run was approved must ask for exactly what was approved. Nothing it supplies is
//! forwarded in place of what was recorded; what differs from the record is refused, not corrected.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::exec::plan::Plan;
use crate::identity::ids::{ConnId, DeviceId, NodeId};
use crate::identity::sha256_hex;
use crate::protocol::error::ErrorShape;
use crate::protocol::params::ExecDecision;

/// Environment of a run as it is hashed, by name.
pub type Environment = BTreeMap<String, String>;

/// The pairs of `given` that can be approved: trimmed portable names with text values.
pub fn environment<'a>(given: impl IntoIterator<Item = (&'a str, &'a str)>) -> Environment {
    let pairs = given.into_iter().filter_map(|(name, value)| {
        let name = name.trim();
        is_portable(name).then(|| (name.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

/// SHA-256 of the pairs as JSON text, hex; `None` for no pairs.
pub fn environment_hash(pairs: &Environment) -> Option<String> {
    if pairs.is_empty() {
        return None;
    }
    let pairs: Vec<Value> = pairs
        .iter()
        .map(|(name, value)| json!([name, value]))
        .collect();
    Some(sha256_hex(Value::Array(pairs).to_string().as_bytes()))
}

fn is_portable(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// What a decision is bound to.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// What runs, where, for whom.
    pub plan: Plan,
    /// Hash of the environment it was asked for with.
    pub environment: Option<String>,
}

impl Binding {
    /// `systemRunBinding` of the stored request.
    pub fn to_value(&self) -> Value {
        json!({
            "argv": self.plan.argv,
            "cwd": self.plan.cwd,
            "agentId": self.plan.agent_id,
            "sessionKey": self.plan.session_key,
            "envHash": self.environment,
        })
    }

    /// Whether `claim` asks for this run and no other.
    pub fn covers(&self, claim: &Claim<'_>) -> Result<Environment, ClaimFault> {
        if !is_same_run(&self.plan, claim.params) {
            return Err(ClaimFault::RequestMismatch);
        }
        let given = claim.environment();
        let keys = || given.keys().cloned().collect();
        let actual = environment_hash(&given);
        match (&self.environment, actual) {
            (expected, actual) if *expected == actual => Ok(given),
            (None, _) => Err(ClaimFault::EnvironmentUnbound { keys: keys() }),
            (Some(expected), actual) => Err(ClaimFault::EnvironmentMismatch {
                keys: keys(),
                expected: expected.clone(),
                actual,
            }),
        }
    }
}

/// Whether everything that `params` say about the run is what `plan` says (D15). What they leave out is the
/// plan's to say.
fn is_same_run(plan: &Plan, params: &Map<String, Value>) -> bool {
    let texts = [
        ("rawCommand", Some(plan.command_text.as_str())),
        ("cwd", plan.cwd.as_deref()),
        ("agentId", plan.agent_id.as_deref()),
        ("sessionKey", plan.session_key.as_deref()),
    ];
    let same_text = |(name, planned): &(&str, Option<&str>)| match params.get(*name) {
        None => true,
        Some(Value::Null) => planned.is_none(),
        Some(Value::String(text)) => said(text) == *planned,
        Some(_) => false,
    };
    let same_argv = match params.get("command") {
        None => true,
        Some(Value::Array(words)) => words
            .iter()
            .map(Value::as_str)
            .eq(plan.argv.iter().map(|word| Some(word.as_str()))),
        Some(_) => false,
    };
    let same_plan = match params.get("systemRunPlan") {
        None | Some(Value::Null) => true,
        Some(given) => Plan::parse(given).map(normalized).as_ref() == Some(plan),
    };
    same_argv && same_plan && texts.iter().all(same_text)
}

/// A text without the white space around it; blank says nothing.
fn said(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty())
}

/// A plan in the form in which plans are stored and compared.
pub fn normalized(plan: Plan) -> Plan {
    let tidy = |text: Option<String>| text.as_deref().and_then(said).map(str::to_owned);
    Plan {
        cwd: tidy(plan.cwd),
        command_text: plan.command_text.trim().to_owned(),
        command_preview: tidy(plan.command_preview),
        agent_id: tidy(plan.agent_id),
        session_key: tidy(plan.session_key),
        ..plan
    }
}

/// A `system.run` call that says it was approved.
#[derive(Debug)]
pub struct Claim<'a> {
    /// The approval it names.
    pub run_id: &'a str,
    /// Its parameters as sent.
    pub params: &'a Map<String, Value>,
    /// The node it is for.
    pub node: &'a NodeId,
    /// The device of the caller, if it has one.
    pub device: Option<&'a DeviceId>,
    /// The connection of the caller.
    pub conn: &'a ConnId,
}

impl Claim<'_> {
    fn environment(&self) -> Environment {
        let given = self.params.get("env").and_then(Value::as_object);
        let texts = given
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
        environment(texts)
    }
}

/// What a claim that fits its approval may forward. It is used up only when it is spent
/// ([`super::Book::spend`]).
#[derive(Clone, Debug, PartialEq)]
pub struct Permit {
    /// The approval's id.
    pub id: String,
    /// Which approval of that id.
    pub serial: u64,
    /// What was decided.
    pub decision: ExecDecision,
    plan: Plan,
    environment: Environment,
}

impl Permit {
    pub(super) fn new(
        (id, serial): (&str, u64),
        decision: ExecDecision,
        plan: &Plan,
        environment: Environment,
    ) -> Self {
        Self {
            id: id.to_owned(),
            serial,
            decision,
            plan: plan.clone(),
            environment,
        }
    }

    /// The command as one line.
    pub fn command(&self) -> &str {
        &self.plan.command_text
    }

    /// Puts what was approved in the place of what the caller sent, and says so.
    pub fn fill(&self, params: &mut Map<String, Value>) {
        let plan = &self.plan;
        let text = |text: &Option<String>| text.clone().map(Value::String);
        let environment = Some(&self.environment).filter(|pairs| !pairs.is_empty());
        let members = [
            ("command", Some(json!(plan.argv))),
            ("rawCommand", Some(json!(plan.command_text))),
            ("cwd", text(&plan.cwd)),
            ("agentId", text(&plan.agent_id)),
            ("sessionKey", text(&plan.session_key)),
            ("systemRunPlan", Some(plan.to_value())),
            ("env", environment.map(|pairs| json!(pairs))),
            ("runId", Some(json!(self.id))),
            ("approved", Some(json!(true))),
            ("approvalDecision", Some(json!(self.decision))),
        ];
        for (name, value) in members {
            match value {
                Some(value) => params.insert(name.to_owned(), value),
                None => params.shift_remove(name),
            };
        }
    }
}

/// Why a run may not claim an approval; in the order in which it is found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimFault {
    /// It names no approval.
    MissingRunId,
    /// No such approval is kept.
    Unknown,
    /// The time to decide and to run is over.
    Expired,
    /// The approval is for no node.
    NodeMissing,
    /// The approval is for another node.
    NodeMismatch,
    /// Another device asked for the approval.
    DeviceMismatch,
    /// Another connection, of no device, asked for the approval.
    ClientMismatch,
    /// Something else was approved.
    RequestMismatch,
    /// It was approved without an environment.
    EnvironmentUnbound {
        /// Names in the environment given now.
        keys: Vec<String>,
    },
    /// It was approved with another environment.
    EnvironmentMismatch {
        /// Names in the environment given now.
        keys: Vec<String>,
        /// Hash of the approved one.
        expected: String,
        /// Hash of the one given now.
        actual: Option<String>,
    },
    /// It was not allowed, or has run already.
    Required,
}

impl ClaimFault {
    /// The answer to the caller that named `run_id`.
    pub fn error(&self, run_id: &str) -> ErrorShape {
        let (message, code) = self.words();
        let mut details = json!({"code": code});
        if *self != ClaimFault::MissingRunId {
            details["runId"] = json!(run_id);
        }
        match self {
            ClaimFault::EnvironmentUnbound { keys } => details["envKeys"] = json!(keys),
            ClaimFault::EnvironmentMismatch {
                keys,
                expected,
                actual,
            } => {
                details["envKeys"] = json!(keys);
                details["expectedEnvHash"] = json!(expected);
                details["actualEnvHash"] = json!(actual);
            }
            _ => {}
        }
        ErrorShape::invalid(message).with_details(details)
    }

    const fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::MissingRunId => ("approval override requires params.runId", "MISSING_RUN_ID"),
            Self::Unknown => ("unknown or expired approval id", "UNKNOWN_APPROVAL_ID"),
            Self::Expired => ("approval expired", "APPROVAL_EXPIRED"),
            Self::NodeMissing => (
                "approval id missing node binding",
                "APPROVAL_NODE_BINDING_MISSING",
            ),
            Self::NodeMismatch => (
                "approval id not valid for this node",
                "APPROVAL_NODE_MISMATCH",
            ),
            Self::DeviceMismatch => (
                "approval id not valid for this device",
                "APPROVAL_DEVICE_MISMATCH",
            ),
            Self::ClientMismatch => (
                "approval id not valid for this client",
                "APPROVAL_CLIENT_MISMATCH",
            ),
            Self::RequestMismatch => (
                "approval id does not match request",
                "APPROVAL_REQUEST_MISMATCH",
            ),
            Self::EnvironmentUnbound { .. } => (
                "approval id missing env binding for requested env overrides",
                "APPROVAL_ENV_BINDING_MISSING",
            ),
            Self::EnvironmentMismatch { .. } => {
                ("approval id env binding mismatch", "APPROVAL_ENV_MISMATCH")
            }
            Self::Required => ("approval required", "APPROVAL_REQUIRED"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            argv: vec!["/bin/echo".into(), "a b".into()],
            cwd: Some("/tmp".into()),
            command_text: "/bin/echo \"a b\"".into(),
            command_preview: None,
            agent_id: Some("main".into()),
            session_key: None,
            operand: None,
        }
    }

    fn cover(params: Value, environment: Option<&str>) -> Result<Environment, ClaimFault> {
        let binding = Binding {
            plan: plan(),
            environment: environment.map(str::to_owned),
        };
        binding.covers(&Claim {
            run_id: "r",
            params: params.as_object().unwrap(),
            node: &"n".into(),
            device: None,
            conn: &"c".into(),
        })
    }

    #[test]
    fn the_hash_of_an_environment_is_that_of_the_specification() {
        let vector = "c0a99ace5269b1fa63a9e666bee583d2f5298354494a23dbb42b06abce494159";
        let pairs = environment([
            (" FOO ", "bar"),
            ("1X", "no"),
            ("bad-key", "no"),
            ("", "no"),
        ]);
        assert_eq!(environment_hash(&pairs).as_deref(), Some(vector));
        assert_eq!(environment_hash(&Environment::new()), None);
        let forth = environment([("B", "2"), ("A", "1")]);
        let back = environment([("A", "1"), ("B", "2")]);
        assert_eq!(environment_hash(&forth), environment_hash(&back));
    }

    #[test]
    fn only_what_was_approved_is_covered() {
        let same = [
            json!({}),
            json!({"command": ["/bin/echo", "a b"], "rawCommand": " /bin/echo \"a b\" ", "cwd": "/tmp",
                   "agentId": "main", "sessionKey": null, "systemRunPlan": plan().to_value()}),
            json!({"sessionKey": "", "systemRunPlan": null, "env": {"bad-key": "x", "N": 1}}),
        ];
        for params in same {
            assert_eq!(
                cover(params.clone(), None),
                Ok(Environment::new()),
                "{params}"
            );
        }
        let mut other_plan = plan();
        other_plan.argv.push("more".into());
        let edited = [
            json!({"command": ["/bin/echo"]}),
            json!({"command": ["/bin/echo", "a", "b"]}),
            json!({"command": "/bin/echo \"a b\""}),
            json!({"command": ["/bin/echo", 1]}),
            json!({"command": null}),
            json!({"rawCommand": "/bin/echo a b"}),
            json!({"rawCommand": null}),
            json!({"cwd": "/"}),
            json!({"cwd": null}),
            json!({"cwd": ["/tmp"]}),
            json!({"agentId": "other"}),
            json!({"agentId": ""}),
            json!({"sessionKey": "s"}),
            json!({"systemRunPlan": other_plan.to_value()}),
            json!({"systemRunPlan": "x"}),
        ];
        for params in edited {
            assert_eq!(
                cover(params.clone(), None),
                Err(ClaimFault::RequestMismatch),
                "{params}"
            );
        }
    }

    #[test]
    fn the_environment_is_the_approved_one() {
        let bound = environment_hash(&environment([("A", "1")]));
        let bound = bound.as_deref();
        let pairs = environment([("A", "1")]);
        assert_eq!(
            cover(json!({"env": {" A ": "1", "b-d": "x"}}), bound),
            Ok(pairs)
        );
        assert_eq!(
            cover(json!({"env": {"A": "1"}}), None),
            Err(ClaimFault::EnvironmentUnbound {
                keys: vec!["A".into()]
            })
        );
        for env in [json!({"env": {"A": "2"}}), json!({"env": {}}), json!({})] {
            assert!(matches!(
                cover(env, bound),
                Err(ClaimFault::EnvironmentMismatch { .. })
            ));
        }
        let fault = cover(json!({}), bound).unwrap_err().error("r");
        assert_eq!(
            fault.details.as_deref(),
            Some(
                &json!({"code": "APPROVAL_ENV_MISMATCH", "runId": "r", "envKeys": [], "expectedEnvHash": bound,
                        "actualEnvHash": null})
            )
        );
    }

    #[test]
    fn what_is_forwarded_is_what_was_approved() {
        let permit = Permit::new(
            ("id", 1),
            ExecDecision::AllowOnce,
            &plan(),
            environment([("A", "1")]),
        );
        let given = json!({"cwd": "/elsewhere", "sessionKey": "s", "env": {"A": "1", "B-": "2"}, "timeoutMs": 5,
            "approvalDecision": "allow-always"});
        let Value::Object(mut params) = given else {
            panic!()
        };
        permit.fill(&mut params);
        assert_eq!(
            Value::Object(params),
            json!({"command": ["/bin/echo", "a b"], "rawCommand": "/bin/echo \"a b\"", "cwd": "/tmp", "agentId": "main",
                "systemRunPlan": plan().to_value(), "env": {"A": "1"}, "timeoutMs": 5, "runId": "id",
                "approved": true, "approvalDecision": "allow-once"})
        );
    }
}
