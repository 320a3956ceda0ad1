//! `openclaw devices`: who may connect, and their tokens.

use serde_json::{Value, json};

use crate::cli::administration::{Administration, Fallback, open};
use crate::cli::answer::Answer;
use crate::cli::error::CliError;
use crate::cli::invocation::Invocation;
use crate::cli::nodes::decide::{choose, reject_chosen};
use crate::cli::nodes::{ended, with_note};
use crate::cli::output::text::plain;
use crate::cli::watch::{self, What};
use crate::cli::{pairing, row, selectors};
use crate::identity::Token;
use crate::pairing::resolution::Layer;
use crate::pairing::truth::{View, rows};
use crate::protocol::scope::{Role, Scope, Scopes};
use crate::store::{Clock, SystemClock};

pub mod access;
mod approve;
mod clear;
mod key_view;
pub mod keys;
mod transfer;
mod view;

pub use approve::approve;
pub use clear::clear;
pub use transfer::{export, import};

/// `devices list`: everything that waits, of both layers, and every paired device.
///
/// # Errors
/// As every administration command.
pub fn list(invocation: &Invocation) -> Result<Answer, CliError> {
    if let Some(watched) = watch::watching(invocation, What::Devices)? {
        return Ok(watched);
    }
    let mut gateway = open(invocation, &[Scope::PAIRING], Fallback::Pairing)?;
    let listed = gateway.call("device.pair.list", &json!({}))?;
    let nodes = gateway.call("node.pair.list", &json!({}))?;
    let pending = rows(
        row::rows(&listed, "pending"),
        row::rows(&nodes, "pending"),
        View::Devices,
    );
    let paired = row::rows(&listed, "paired");
    let (now, style) = (SystemClock.now_ms(), invocation.style());
    let mut text = view::list(&pending, paired, now, style);
    let mut document = json!({"pending": pending, "paired": paired});
    let expected = keys::expected(&mut *gateway);
    if !expected.is_empty() {
        text += &format!("\n{}", key_view::preapproved(&expected, now, style));
        document["preapproved"] = json!(expected);
    }
    for name in ["pairing", "crowded"] {
        if let Some(told) = listed.get(name) {
            document[name] = told.clone();
        }
    }
    let mut answer = Answer::new(document, text);
    answer.notes.extend(pairing::notes(&listed));
    Ok(with_note(answer, &*gateway))
}

/// `devices reject`: a request of either layer.
///
/// # Errors
/// `unknown requestId`, and as every administration command.
pub fn reject(invocation: &Invocation) -> Result<Answer, CliError> {
    let typed = invocation.required_argument(0)?;
    let mut gateway = open(invocation, &[Scope::PAIRING], Fallback::Offline)?;
    let chosen = choose(&mut *gateway, typed, Layer::Device)?;
    let rejected = reject_chosen(&mut *gateway, &chosen)?;
    let text = format!("Rejected {}", plain(row::id(&rejected)));
    Ok(with_note(Answer::new(rejected, text), &*gateway))
}

/// `devices remove`.
///
/// # Errors
/// `unknown deviceId`, `ambiguous device: …`, and as every administration command.
pub fn remove(invocation: &Invocation) -> Result<Answer, CliError> {
    let typed = invocation.required_argument(0)?;
    let mut gateway = open(invocation, &[Scope::PAIRING], Fallback::Offline)?;
    let listed = gateway.call("device.pair.list", &json!({}))?;
    let id = selectors::device(typed, row::rows(&listed, "paired"))?;
    let removed = remove_one(&mut *gateway, id)?;
    let text = format!("Removed {}", plain(row::id(&removed)));
    Ok(with_note(counting(Answer::new(removed, text)), &*gateway))
}

/// Removes one device; the own one takes its cached token with it.
fn remove_one(gateway: &mut dyn Administration, id: &str) -> Result<Value, CliError> {
    let removed = gateway.call("device.pair.remove", &json!({"deviceId": id}))?;
    if is_own(gateway, id) {
        gateway.forget_token();
    }
    Ok(removed)
}

/// The answer with the line that tells what it ended.
fn counting(mut answer: Answer) -> Answer {
    let line = answer.document.as_ref().and_then(ended);
    answer.notes.extend(line);
    answer
}

fn is_own(gateway: &dyn Administration, id: &str) -> bool {
    gateway.own_device().is_some_and(|own| own.as_str() == id)
}

/// `devices rotate`: always JSON.
///
/// # Errors
/// `device token rotation denied`, `ambiguous device: …`, and as every administration command.
pub fn rotate(invocation: &Invocation) -> Result<Answer, CliError> {
    let role = invocation.text("role").unwrap_or_default();
    let scopes: Scopes = typed_scopes(invocation).collect();
    let mut gateway = open(invocation, &[Scope::PAIRING], Fallback::Offline)?;
    let device = token_target(invocation, &mut *gateway, role, &scopes)?;
    let mut params = json!({"deviceId": device, "role": role});
    if !scopes.is_empty() {
        params["scopes"] = json!(scopes);
    }
    let rotated = gateway.call("device.token.rotate", &params)?;
    if let (Some(token), Some(role)) = (row::text(&rotated, "token"), Role::parse(role)) {
        if is_own(&*gateway, &device) {
            let scopes = row::words(&rotated, "scopes").unwrap_or_default();
            gateway.keep_token(role, &Token::from(token), &scopes.into_iter().collect());
        }
    }
    let told = match rotated.get("told").and_then(Value::as_bool) {
        Some(true) => Some("The device was told its new token."),
        Some(false) => Some(
            "The device was not told its new token; it gets it when it connects with its key and the shared secret.",
        ),
        None => None,
    };
    let mut answer = counting(Answer::json(rotated));
    answer.notes.extend(told.map(str::to_owned));
    Ok(with_note(answer, &*gateway))
}

/// What `--scope` names: repeated or with commas, and also without the `operator.` before each.
fn typed_scopes(invocation: &Invocation) -> impl Iterator<Item = String> {
    let typed = invocation.values("scope").into_iter();
    let words = typed.flat_map(|typed| typed.split(',')).map(str::trim);
    words
        .filter(|word| !word.is_empty())
        .map(|word| match word.contains('.') {
            true => word.to_owned(),
            false => format!("{}.{word}", Role::Operator),
        })
}

/// `devices revoke`: always JSON.
///
/// # Errors
/// `device token revocation denied`, `ambiguous device: …`, and as every administration command.
pub fn revoke(invocation: &Invocation) -> Result<Answer, CliError> {
    let role = invocation.text("role").unwrap_or_default();
    let mut gateway = open(invocation, &[Scope::PAIRING], Fallback::Offline)?;
    let device = token_target(invocation, &mut *gateway, role, &Scopes::none())?;
    let params = json!({"deviceId": device, "role": role});
    let revoked = gateway.call("device.token.revoke", &params)?;
    if is_own(&*gateway, &device) && role == Role::Operator.as_str() {
        gateway.forget_token();
    }
    Ok(with_note(counting(Answer::json(revoked)), &*gateway))
}

/// The device that `--device` means, with the session raised to the scopes that its token carries or will
/// carry: a gateway refuses everything beyond the caller's own without saying what was missing.
fn token_target(
    invocation: &Invocation,
    gateway: &mut dyn Administration,
    role: &str,
    wanted: &Scopes,
) -> Result<String, CliError> {
    let typed = invocation.text("device").unwrap_or_default();
    let listed = gateway.call("device.pair.list", &json!({}))?;
    let paired = row::rows(&listed, "paired");
    let id = selectors::device(typed, paired)?.to_owned();
    let record = paired.iter().find(|device| row::id(device) == id);
    let token = record.and_then(|device| {
        let mut tokens = row::rows(device, "tokens").iter();
        tokens.find(|token| row::text(token, "role") == Some(role))
    });
    let held = token.and_then(|token| row::words(token, "scopes"));
    let approved = record.and_then(|device| row::words(device, "scopes"));
    let needed = match (wanted.is_empty(), token) {
        (false, _) | (true, Some(_)) => held.unwrap_or_default(),
        (true, None) => approved.unwrap_or_default(),
    };
    let wanted = wanted.iter().map(Scope::as_str);
    let needed = needed.into_iter().chain(wanted);
    let operator: Scopes = needed
        .filter(|scope| scope.starts_with("operator."))
        .collect();
    gateway.raise(&operator)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::invocation;
    use crate::config::testing::Home;

    #[test]
    fn scopes_may_be_repeated_joined_by_commas_and_short() {
        let words = ["devices", "rotate", "--device", "d", "--role", "operator"];
        let scopes = ["--scope", "operator.read,pairing", "--scope", "write, ,"];
        let typed = invocation(&Home::new(""), &[&words[..], &scopes].concat()).unwrap();
        let scopes: Vec<String> = typed_scopes(&typed).collect();
        assert_eq!(
            scopes,
            ["operator.read", "operator.pairing", "operator.write"]
        );
    }
}
