//! Storing a generated gateway token in the configuration file, comments kept (cli.md §5.1 point 6).

use serde_json::Value;

use crate::config::environment::Environment;
use crate::config::error::ConfigError;
use crate::config::path::ConfigPath;
use crate::config::paths::Paths;
use crate::config::write::{Operation, apply};

/// Writes `gateway.auth: {mode:"token", token}` into the configuration file, comments kept.
///
/// # Errors
/// As [`apply`]; the file is then as it was.
pub fn save(paths: &Paths, environment: &Environment, token: &str) -> Result<(), ConfigError> {
    let set =
        |path, value| ConfigPath::parse(path).map(|path| Operation::Set(path, Value::from(value)));
    let operations: Vec<Operation> = [
        set("gateway.auth.mode", "token"),
        set("gateway.auth.token", token),
    ]
    .into_iter()
    .flatten()
    .collect();
    apply(paths, environment, &operations).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::Home;

    #[test]
    fn a_stored_token_keeps_the_comments() {
        let home = Home::new("{\n  // here\n  gateway: {\n    mode: 'local', // always\n  },\n}\n");
        save(&home.paths, &home.environment, "abc").unwrap();
        assert_eq!(
            home.text(),
            "{\n  // here\n  gateway: {\n    mode: 'local', // always\n    auth: {\n      mode: \"token\",\n      \
             token: \"abc\"\n    },\n  },\n}\n"
        );
        assert_eq!(
            home.load().unwrap().config.gateway.auth.token.plain(),
            Some("abc")
        );
    }
}
