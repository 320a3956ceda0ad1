//! `effectivePolicy`: what comes of the policy file and of `tools.exec` together, with the source of each value
//! (cli.md §2.4).

use serde_json::{Value, json};

use crate::cli::administration::Administration;
use crate::cli::approvals::place::{Place, policy};
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::client::ClientError;
use crate::exec::{self, effective_policy};

/// The report for a snapshot. It never fails: what cannot be had is said in its note.
pub fn report(invocation: &Invocation, place: &mut Place, snapshot: &Value) -> Value {
    let configuration = match place {
        Place::Local(_, paths) => {
            let loaded = invocation.load(paths);
            loaded.map(|loaded| loaded.document).map_err(|error| {
                format!("{error}. Until that is repaired a node host here denies everything")
            })
        }
        Place::Remote(gateway, _) => of_gateway(&mut **gateway),
    };
    let document = policy(snapshot).map_err(|error| error.to_string());
    let known = configuration.and_then(|configuration| Ok((configuration, document?)));
    let (configuration, document) = match known {
        Ok(known) => known,
        Err(why) => return json!({"scopes": [], "note": why.replace('\n', " ")}),
    };
    let (silent, note) = match place {
        Place::Local(..) => (exec::Place::Node, ""),
        Place::Remote(_, None) => (exec::Place::Gateway, ""),
        Place::Remote(_, Some(_)) => (
            exec::Place::Node,
            " This is the gateway's openclaw.json; the node also judges by its own.",
        ),
    };
    let mut policy = effective_policy(&document, &configuration, silent);
    policy.note += note;
    json!(policy)
}

/// The configuration that a gateway tells, or why it does not.
fn of_gateway(gateway: &mut dyn Administration) -> Result<Value, String> {
    const METHOD: &str = "config.get";
    let untold = "the gateway does not tell its configuration";
    if !gateway.knows(METHOD) {
        return Err(format!(
            "{untold}; what the file above says stands, and openclaw approvals check says what would run"
        ));
    }
    let answer = gateway.call(METHOD, &json!({}));
    let answer = answer.map_err(|error| {
        let timeout = matches!(&error, CliError::Client(failure)
            if matches!(failure.error, ClientError::Timeout(_)));
        let more = if timeout {
            "; try a larger --timeout"
        } else {
            ""
        };
        format!("{untold} ({error}){more}; what the file above says stands")
    })?;
    let configuration = answer.get("config").filter(|found| found.is_object());
    let missing = || format!("{untold}; what the file above says stands");
    configuration.cloned().ok_or_else(missing)
}
