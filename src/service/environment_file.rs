//! The environment file of a service: its secrets, one `NAME="value"` per line, mode 0600, as systemd's
//! `EnvironmentFile=` reads it. Where systemd does not, the service reads it itself.

use std::fs;
use std::io;
use std::path::Path;

use crate::config::Environment;
use crate::service::error::ServiceError;
use crate::service::name::Kind;
use crate::service::quote::one_line;
use crate::store::atomic::{PRIVATE_FILE, create_private_directory, write};
use crate::store::directory::read_optional;

/// The text of a file with these variables.
///
/// # Errors
/// [`ServiceError::LineBreak`].
pub fn render(variables: &[(String, String)]) -> Result<String, ServiceError> {
    let mut text =
        String::from("# Secrets of a service; see openclaw --help. Keep the mode 0600.\n");
    for (name, value) in variables {
        let mut quoted = String::new();
        for character in one_line(name, value)?.chars() {
            if matches!(character, '"' | '\\' | '`' | '$') {
                quoted.push('\\');
            }
            quoted.push(character);
        }
        text += &format!("{name}=\"{quoted}\"\n");
    }
    Ok(text)
}

/// The variables of a file; lines of another form are skipped, as systemd does.
pub fn parse(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with(['#', ';']));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), unquoted(value.trim())))
        .filter(|(name, _)| !name.is_empty())
        .collect()
}

fn unquoted(value: &str) -> String {
    if let Some(inner) = value
        .strip_prefix('\'')
        .and_then(|it| it.strip_suffix('\''))
    {
        return inner.to_owned();
    }
    let inner = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    let mut out = String::new();
    let mut rest = inner.unwrap_or(value).chars();
    while let Some(character) = rest.next() {
        match character {
            '\\' => out.extend(rest.next()),
            other => out.push(other),
        }
    }
    out
}

/// Writes the file, or removes it when there is nothing to keep.
///
/// # Errors
/// [`ServiceError::LineBreak`], [`ServiceError::File`].
pub fn save(path: &Path, variables: &[(String, String)]) -> Result<(), ServiceError> {
    if variables.is_empty() {
        return remove(path);
    }
    let text = render(variables)?;
    let made = path.parent().map_or(Ok(()), create_private_directory);
    made.and_then(|()| write(path, text.as_bytes(), PRIVATE_FILE))
        .map_err(|cause| ServiceError::file(path, "write", cause))
}

/// Whether a path has the name of such a file, of whatever service.
pub fn is_named(path: &Path) -> bool {
    let kinds = [Kind::Gateway, Kind::Node].map(|kind| kind.environment_file(Path::new("/")));
    kinds
        .iter()
        .any(|usual| usual.file_name() == path.file_name())
}

/// Removes the file; a missing one is as good.
///
/// # Errors
/// [`ServiceError::File`].
pub fn remove(path: &Path) -> Result<(), ServiceError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(ServiceError::file(path, "remove", cause))
        }
        _ => Ok(()),
    }
}

/// Takes over what the file says where nothing is set; a missing or unreadable file says nothing.
pub fn take_over(environment: &mut Environment, path: &Path) {
    for (name, value) in load(path) {
        environment.set_missing(&name, &value);
    }
}

/// The variables of the file at `path`; none where there is no such file.
pub fn load(path: &Path) -> Vec<(String, String)> {
    let text = read_optional(path).ok().flatten().unwrap_or_default();
    parse(&text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;
    use crate::store::testing::TempDir;

    fn variable(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn secrets_are_kept_from_others_and_read_where_nothing_is_set() {
        let directory = TempDir::new();
        let path = directory.join("state/node.systemd.env");
        let secret = variable("OPENCLAW_GATEWAY_TOKEN", "a \"b\" \\c $d `e` #f");
        save(&path, std::slice::from_ref(&secret)).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("OPENCLAW_GATEWAY_TOKEN=\"a \\\"b\\\" \\\\c \\$d \\`e\\` #f\"\n"),
            "{text}"
        );

        let mut environment = Environment::default();
        take_over(&mut environment, &path);
        assert_eq!(environment.gateway_token(), Some(secret.1.as_str()));
        let mut environment = Environment::from_pairs([("OPENCLAW_GATEWAY_TOKEN", "mine")]);
        take_over(&mut environment, &path);
        assert_eq!(environment.gateway_token(), Some("mine"));

        save(&path, &[]).unwrap();
        assert!(!path.exists());
        save(&path, &[]).unwrap();
    }

    #[test]
    fn a_secret_with_a_line_break_is_refused() {
        assert!(render(&[variable("T", "a\nB=c")]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in "[^\r\n\0]{0,24}") {
            let written = [variable("NAME", &value)];
            prop_assert_eq!(parse(&render(&written).unwrap()), written);
        }
    }
}
