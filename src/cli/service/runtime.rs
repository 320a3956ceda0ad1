//! How a service runs, as a document and in words.

use serde_json::{Map, Value, json};

use crate::service::Runtime;

/// The member `runtime`, without what is not known.
pub fn document(runtime: &Runtime) -> Value {
    let mut block = Map::new();
    let mut add = |name: &str, value: Value| {
        if !value.is_null() {
            block.insert(name.to_owned(), value);
        }
    };
    add("status", json!(runtime.status));
    add("detail", json!(runtime.detail));
    add("state", json!(runtime.state));
    add("subState", json!(runtime.sub_state));
    add("pid", json!(runtime.pid));
    add("lastExitStatus", json!(runtime.last_exit_status));
    add("lastExitReason", json!(runtime.last_exit_reason));
    add("missingUnit", json!(runtime.missing_unit.then_some(true)));
    Value::Object(block)
}

/// The same in words.
pub fn text(runtime: &Runtime) -> String {
    let parts = [
        runtime.pid.map(|pid| format!("pid {pid}")),
        runtime.state.as_ref().map(|state| format!("state {state}")),
        runtime
            .sub_state
            .as_ref()
            .map(|state| format!("sub {state}")),
        runtime
            .last_exit_status
            .map(|code| format!("last exit {code}")),
        runtime
            .last_exit_reason
            .as_ref()
            .map(|reason| format!("reason {reason}")),
        runtime.detail.clone(),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    match parts.is_empty() {
        true => runtime.status.to_owned(),
        false => format!("{} ({})", runtime.status, parts.join(", ")),
    }
}
