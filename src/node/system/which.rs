//! `system.which`: where programs are, by the resolver that runs use (node-host specification, 2.2).

use serde_json::{Map, Value, json};

use crate::exec::which;
use crate::node::machine::Machine;
use crate::protocol::error::ErrorShape;

/// Answers `system.which`: the found ones of the asked names, by name.
pub fn which(machine: &Machine, params: &Value) -> Result<Value, ErrorShape> {
    let Some(names) = params.get("bins").and_then(Value::as_array) else {
        return Err(ErrorShape::invalid("Error: INVALID_REQUEST: bins required"));
    };
    let mut found = Map::new();
    for name in names.iter().filter_map(Value::as_str).map(str::trim) {
        if let Ok(path) = which::find(name, &machine.path) {
            found.insert(name.to_owned(), path.to_string_lossy().into());
        }
    }
    Ok(json!({ "bins": found }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::{TempDir, machine};

    #[test]
    fn only_found_programs_are_listed() {
        let dir = TempDir::new();
        let machine = machine(&dir);
        let params = json!({"bins": [" sh ", "no-such-program", "/bin/sh", 7, null, ""]});
        let found = which(&machine, &params).unwrap();
        let names: Vec<_> = found["bins"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["sh"]);
        for params in [json!({}), json!({"bins": "sh"}), json!(null)] {
            let error = which(&machine, &params).unwrap_err();
            assert_eq!(error.message, "Error: INVALID_REQUEST: bins required");
        }
    }
}
