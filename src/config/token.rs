//! Where a generated gateway token is kept (cli.md §5.1 point 6).
//!
//! In the configuration file when that may be written, else in `<state>/gateway-token`, which the
//! local command line and node host read as their last source.

use serde_json::Value;

use crate::config::environment::Environment;
use crate::config::error::ConfigError;
use crate::config::path::ConfigPath;
use crate::config::paths::Paths;
use crate::config::source;
use crate::config::write::{Operation, apply};
use crate::store::atomic;

/// Writes `gateway.auth: {mode:"token", token}` into the configuration file, comments kept.
///
/// # Errors
/// As [`apply`]; the file is then as it was.
pub fn save_to_config(
    paths: &Paths,
    environment: &Environment,
    token: &str,
) -> Result<(), ConfigError> {
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

/// Writes the token of a gateway that may not touch the configuration, mode 0600.
///
/// # Errors
/// [`ConfigError::File`] when the state directory or the file cannot be written.
pub fn save_to_state(paths: &Paths, token: &str) -> Result<(), ConfigError> {
    let file = paths.gateway_token_file();
    let written = atomic::create_private_directory(&paths.state_dir)
        .and_then(|()| atomic::write(&file, format!("{token}\n").as_bytes(), atomic::PRIVATE_FILE));
    written.map_err(|cause| ConfigError::File {
        path: file,
        action: "write",
        cause,
    })
}

/// The token in `<state>/gateway-token`; `None` when there is none.
///
/// # Errors
/// [`ConfigError::File`] when the file exists and cannot be read.
pub fn read_from_state(paths: &Paths) -> Result<Option<String>, ConfigError> {
    let bytes = source::read(&paths.gateway_token_file())?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let token = text.trim();
    Ok((!token.is_empty()).then(|| token.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::testing::Home;

    #[test]
    fn a_token_in_the_configuration_keeps_its_comments() {
        let home = Home::new("{\n  // here\n  gateway: {\n    mode: 'local', // always\n  },\n}\n");
        save_to_config(&home.paths, &home.environment, "abc").unwrap();
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

    #[test]
    fn a_token_in_the_state_directory_is_private() {
        let home = Home::new("{}");
        assert_eq!(read_from_state(&home.paths).unwrap(), None);
        save_to_state(&home.paths, "abc").unwrap();
        assert_eq!(
            read_from_state(&home.paths).unwrap().as_deref(),
            Some("abc")
        );
        let mode = std::fs::metadata(home.paths.gateway_token_file())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(home.text(), "{}");
    }
}
