//! `nodes approve --silent-ssh user@host`: approves without a question what asked for that, once an SSH login
//! to the gateway's host as the gateway's own user has worked (seed: Auto-approval). Everything else falls
//! back to a person: the request and the exact command are shown.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::administration::Administration;
use crate::cli::error::{CliError, Failed};
use crate::cli::nodes::waiting;
use crate::cli::output::text::plain;
use crate::cli::row;
use crate::client::ssh::{SshError, SshTarget, quoted};
use crate::pairing::truth::View;

/// How long the login may take.
const LOGIN_LIMIT: Duration = Duration::from_secs(20);

/// Folder in the state directory whose files the gateway may have us read.
const PROOF_FOLDER: &str = "ssh-proof";

/// Characters of the secret: 32 bytes as base64url. Nothing else that was read leaves this machine.
const SECRET_CHARS: usize = 43;

/// The only request that is marked silent, when no id was typed.
///
/// # Errors
/// None is, or several are.
pub fn only_silent(gateway: &mut dyn Administration) -> Result<String, CliError> {
    let rows = waiting(gateway, View::Devices)?;
    let silent: Vec<&str> = rows
        .iter()
        .filter(|row| row::flag(row, "silent"))
        .filter_map(|row| row::text(row, "requestId"))
        .collect();
    match silent.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err(CliError::failed(
            "NOT_CONFIRMED",
            "no waiting request is marked silent",
        )),
        several => {
            let mut failed = Failed::new(
                "NOT_CONFIRMED",
                "several waiting requests are marked silent",
            );
            failed.hint = Some(format!("Name one of: {}", several.join(", ")));
            Err(failed.into())
        }
    }
}

/// Proves the login for this request; the approval itself is the caller's.
///
/// # Errors
/// Anything that is not proven, with the request and the command for a person.
pub fn prove(
    gateway: &mut dyn Administration,
    target: &SshTarget,
    request: &Value,
) -> Result<(), CliError> {
    let id = row::text(request, "requestId").unwrap_or_default();
    if !row::flag(request, "silent") {
        return Err(by_hand(request, "the request is not marked silent"));
    }
    let challenge = gateway
        .call("gateway.pairing.ssh.begin", &json!({"requestId": id}))
        .map_err(|error| by_hand(request, &error.to_string()))?;
    let path = row::text(&challenge, "path").unwrap_or_default();
    let proof = row::text(&challenge, "proofId").unwrap_or_default();
    if !is_proof_path(path) {
        return Err(by_hand(
            request,
            "the gateway names a file that is no proof",
        ));
    }
    let (uid, secret) = target
        .read(&format!("id -u && cat -- {}", quoted(path)), LOGIN_LIMIT)
        .and_then(|printed| parsed(&printed))
        .map_err(|error| by_hand(request, &error.to_string()))?;
    let params = json!({"proofId": proof, "uid": uid, "secret": secret});
    gateway
        .call("gateway.pairing.ssh.check", &params)
        .map_err(|error| by_hand(request, &error.to_string()))?;
    Ok(())
}

/// A gateway can have nothing read but a file of its own making: what is read is sent to it.
fn is_proof_path(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let id = parts.next().unwrap_or_default();
    let is_id = |letter: char| letter.is_ascii_hexdigit() || letter == '-';
    path.starts_with('/')
        && parts.next() == Some(PROOF_FOLDER)
        && id.len() == 36
        && id.chars().all(is_id)
        && !path.chars().any(char::is_control)
        && !path.split('/').any(|part| part == "..")
}

fn parsed(printed: &str) -> Result<(u64, String), SshError> {
    let strange = || SshError::Failed("the other side did not answer as a proof".to_owned());
    let (uid, secret) = printed.split_once('\n').ok_or_else(strange)?;
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    if secret.len() != SECRET_CHARS || !secret.chars().all(letter) {
        return Err(strange());
    }
    let uid = uid.trim().parse().map_err(|_| strange())?;
    Ok((uid, secret.to_owned()))
}

/// The normal prompt: what asks, and how a person approves it.
fn by_hand(request: &Value, why: &str) -> CliError {
    let id = row::text(request, "requestId").unwrap_or_default();
    let commands = row::words(request, "commands").unwrap_or_default();
    let message = format!(
        "not approved silently: {why}\n  Request: {}\n  Node:    {} ({})\n  Commands: {}",
        plain(id),
        row::label(request),
        plain(row::id(request)),
        plain(&commands.join(", ")),
    );
    let mut failed = Failed::new("NOT_CONFIRMED", message);
    failed.hint = Some(format!(
        "Review it, then approve it with: openclaw nodes approve {}",
        plain(id)
    ));
    failed.details = json!({"request": request, "reason": why});
    failed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "219294ee-440b-4a7b-91a1-4a7b29e85f99";

    #[test]
    fn only_a_file_of_the_gateways_own_making_is_read() {
        for (path, fine) in [
            (format!("/home/pi/.openclaw/ssh-proof/{ID}"), true),
            (format!("/srv/it's here/ssh-proof/{ID}"), true),
            (format!("ssh-proof/{ID}"), false),
            (format!("/home/pi/.ssh/{ID}"), false),
            ("/home/pi/.ssh/id_ed25519".to_owned(), false),
            (format!("/ssh-proof/../ssh-proof/{ID}"), false),
            (format!("/x/ssh-proof/{ID}\n"), false),
            (format!("/x\n/ssh-proof/{ID}"), false),
            ("/x/ssh-proof/".to_owned(), false),
        ] {
            assert_eq!(is_proof_path(&path), fine, "{path:?}");
        }
    }

    #[test]
    fn nothing_but_a_secret_is_handed_on() {
        let secret = "A".repeat(SECRET_CHARS);
        assert_eq!(
            parsed(&format!("1000\n{secret}")),
            Ok((1000, secret.clone()))
        );
        for printed in [
            String::new(),
            secret.clone(),
            format!("pi\n{secret}"),
            format!("1000\n{secret}A"),
            format!("Welcome\n1000\n{secret}"),
            "1000\n-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(),
        ] {
            assert!(parsed(&printed).is_err(), "{printed:?}");
        }
    }
}
