//! Where the shared secrets come from, and where two sources of one gateway disagree.
//!
//! Generated tokens are told by their fingerprint. Passwords and what somebody made up are not, for a fingerprint lets
//! whoever reads it try guesses: of these only is said which places agree (value A, value B…).

use crate::cli::doctor::check::Check;
use crate::cli::doctor::scene::Scene;
use crate::cli::secret_print::fingerprint;
use crate::cli::service::Seen;
use crate::client::credentials::{Credential, CredentialSource};
use crate::config::Secret;
use crate::identity::sha256_hex;
use crate::store::directory::read_optional;

/// The place of what the gateway's service is given.
const GIVEN: &str = "the secrets file of the gateway service";

/// Whose secret it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The gateway of this machine, or who talks to it.
    Here,
    /// A gateway elsewhere.
    Elsewhere,
}

/// One place that names a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    place: String,
    owner: Owner,
    /// The value, or why the place gives none.
    value: Result<Known, String>,
}

/// What is known of a value; equal where the values are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    /// The whole SHA-256, never shown.
    digest: String,
    /// What may be shown of it, if anything.
    print: Option<String>,
}

impl Known {
    /// `kind`: `token` or `password`.
    fn of(kind: &str, secret: &str) -> Known {
        Known {
            digest: sha256_hex(secret.trim().as_bytes()),
            print: (kind == "token").then(|| fingerprint(secret)).flatten(),
        }
    }

    /// The fingerprint, or a letter that is the same wherever the value is among `named`.
    fn mark(&self, named: &[Named]) -> String {
        if let Some(print) = &self.print {
            return print.clone();
        }
        let mut secret: Vec<&Known> = Vec::new();
        for known in named.iter().filter_map(|named| named.value.as_ref().ok()) {
            if known.print.is_none() && !secret.contains(&known) {
                secret.push(known);
            }
        }
        let found = secret.iter().position(|known| *known == self);
        let letter = ('A'..='Z').nth(found.unwrap_or(secret.len()));
        format!("value {}", letter.unwrap_or('?'))
    }
}

impl Named {
    fn new(kind: &str, place: &str, owner: Owner, value: &str) -> Named {
        Named {
            place: place.to_owned(),
            owner,
            value: Ok(Known::of(kind, value)),
        }
    }

    /// One line about it, as one of `named`.
    fn line(&self, named: &[Named]) -> String {
        match &self.value {
            Ok(known) => format!("{}: {}", self.place, known.mark(named)),
            Err(why) => format!("{}: {why}", self.place),
        }
    }
}

/// `secrets.token` and `secrets.password`.
pub fn checks(scene: &Scene, gateway: Option<&Seen>, node: Option<&Seen>) -> Vec<Check> {
    let credentials = scene
        .endpoint
        .as_ref()
        .map(|endpoint| &endpoint.credentials);
    let credentials = credentials.ok();
    ["token", "password"]
        .map(|kind| {
            let named = named(scene, kind, gateway, node);
            let used = credentials.and_then(|found| match kind {
                "token" => found.token.as_ref(),
                _ => found.password.as_ref(),
            });
            let used = used.map(|used| shown(kind, used));
            let agree = agree(kind, &named, gateway);
            judge(kind, &named, used.as_ref(), scene.is_remote(), agree)
        })
        .into()
}

/// The command that leaves one source of the gateway's secret. What an install was given goes with the unit; a package's
/// unit stays.
fn agree(kind: &str, named: &[Named], gateway: Option<&Seen>) -> String {
    let variable = format!("OPENCLAW_GATEWAY_{}", kind.to_uppercase());
    let given = named.iter().any(|named| named.place == GIVEN);
    let own = |named: &Named| named.owner == Owner::Here && named.place.starts_with("env ");
    match gateway.filter(|seen| given && seen.is_of_a_package()) {
        _ if named.iter().any(own) => format!("unset {variable}"),
        Some(seen) => seen.forget(&variable),
        None => "openclaw gateway uninstall && openclaw gateway install".to_owned(),
    }
}

/// Place and value of the secret that commands use.
fn shown(kind: &str, used: &Credential) -> (String, Known) {
    let place = match used.source {
        CredentialSource::Generated => "the file gateway-token".to_owned(),
        source => source.to_string(),
    };
    (place, Known::of(kind, &used.value))
}

fn named(scene: &Scene, kind: &str, gateway: Option<&Seen>, node: Option<&Seen>) -> Vec<Named> {
    let variable = format!("OPENCLAW_GATEWAY_{}", kind.to_uppercase());
    let mut found = Vec::new();
    let mut add = |place: String, owner, value: &str| {
        found.push(Named::new(kind, &place, owner, value));
    };
    if let Some(value) = scene.environment.credential(&variable) {
        let owner = if scene.is_remote() {
            Owner::Elsewhere
        } else {
            Owner::Here
        };
        add(format!("env {variable}"), owner, value);
    }
    for (seen, noun) in [(gateway, "gateway"), (node, "node")] {
        let Some(seen) = seen else { continue };
        // A node host may belong to another gateway, and a gateway to somebody else.
        let owner = match seen.other_account() {
            None if noun == "gateway" => Owner::Here,
            _ => Owner::Elsewhere,
        };
        if let Some(value) = seen.variable(&variable) {
            add(format!("the unit of the {noun} service"), owner, value);
        }
        for (_, value) in seen.secrets().iter().filter(|(name, _)| *name == variable) {
            let place = match noun {
                "gateway" => GIVEN.to_owned(),
                _ => format!("the secrets file of the {noun} service"),
            };
            add(place, owner, value);
        }
    }
    if kind == "token" {
        let generated = read_optional(&scene.paths.gateway_token_file())
            .ok()
            .flatten();
        if let Some(value) = generated.as_deref().filter(|text| !text.trim().is_empty()) {
            add("the file gateway-token".to_owned(), Owner::Here, value);
        }
    }
    if let Ok(loaded) = &scene.loaded {
        let gateway = &loaded.config.gateway;
        let (local, remote) = match kind {
            "token" => (&gateway.auth.token, &gateway.remote.token),
            _ => (&gateway.auth.password, &gateway.remote.password),
        };
        for (secret, section, owner) in [
            (local, "auth", Owner::Here),
            (remote, "remote", Owner::Elsewhere),
        ] {
            let place = format!("config gateway.{section}.{kind}");
            match secret {
                Secret::Absent => {}
                Secret::Plain(value) => found.push(Named::new(kind, &place, owner, value)),
                Secret::Unavailable { why, .. } => found.push(Named {
                    place,
                    owner,
                    value: Err(why.clone()),
                }),
            }
        }
    }
    found
}

/// `used`: place and value of what commands use; `agree`: the command that leaves one source.
fn judge(
    kind: &str,
    named: &[Named],
    used: Option<&(String, Known)>,
    remote: bool,
    agree: String,
) -> Check {
    let id = format!("secrets.{kind}");
    let items: Vec<String> = named.iter().map(|one| one.line(named)).collect();
    if named.is_empty() {
        return Check::skipped(&id, format!("no {kind} is named anywhere"));
    }
    if let Some(missing) = named.iter().find(|named| named.value.is_err()) {
        let what = format!(
            "{} is configured and gives no value; provide what it names, here and to the service, or set another",
            missing.place
        );
        let path = missing.place.trim_start_matches("config ");
        return Check::fail(&id, what, format!("openclaw config set {path} <{kind}>")).items(items);
    }
    let own: Vec<&Named> = named
        .iter()
        .filter(|named| named.owner == Owner::Here)
        .collect();
    let differ = own.windows(2).any(|pair| pair[0].value != pair[1].value);
    let wins = match used {
        Some((place, known)) => {
            format!("commands use the {kind} of {place} ({})", known.mark(named))
        }
        None => format!("commands use no {kind}"),
    };
    if differ && !remote {
        let what = format!("sources for this machine's gateway disagree; {wins}");
        return Check::warn(&id, what, agree).items(items);
    }
    Check::ok(&id, wins).items(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check::State;

    #[test]
    fn passwords_and_made_up_tokens_are_told_by_where_they_agree_and_generated_ones_by_fingerprint()
    {
        let long = "0123456789abcdef0123456789abcdef";
        for (kind, long_is) in [("token", "sha256:3eb1bd43"), ("password", "value C")] {
            let new = |place: &str, value: &str| Named::new(kind, place, Owner::Here, value);
            let named = [
                new("a", "hunter2"),
                new("b", "hunter3"),
                new("c", " hunter2\n"),
                new("d", long),
            ];
            let lines: Vec<String> = named.iter().map(|one| one.line(&named)).collect();
            let last = format!("d: {long_is}");
            assert_eq!(lines, ["a: value A", "b: value B", "c: value A", &last]);
        }
    }

    #[test]
    #[rustfmt::skip]
    fn sources_of_one_gateway_that_disagree_are_a_warning() {
        let here = |place: &str, value: &str| Named::new("token", place, Owner::Here, value);
        let there = |place: &str, value: &str| Named::new("token", place, Owner::Elsewhere, value);
        let missing = Named { value: Err("gone".to_owned()), ..here("config gateway.auth.token", "") };
        let used = ("env T".to_owned(), Known::of("token", "a"));
        for (named, remote, state, fix) in [
            (vec![], false, State::Skipped, None),
            (vec![here("env T", "a"), here("config c", "a")], false, State::Ok, None),
            (vec![here("env T", "a"), here("config c", "b")], false, State::Warn, Some("unset OPENCLAW_GATEWAY_TOKEN")),
            (vec![here("the file", "a"), here("config c", "b")], false, State::Warn, Some("openclaw gateway uninstall && openclaw gateway install")),
            (vec![here("env T", "a"), there("config r", "b")], false, State::Ok, None),
            (vec![here("file", "a"), here("config c", "b")], true, State::Ok, None),
            (vec![missing], false, State::Fail, Some("openclaw config set gateway.auth.token <token>")),
        ] {
            let agree = agree("token", &named, None);
            let check = judge("token", &named, Some(&used), remote, agree);
            assert_eq!((check.state, check.fix.as_deref()), (state, fix), "{named:?}");
            assert_eq!(check.items.len(), named.len());
        }
        let check = judge("token", &[here("env T", "a")], None, false, String::new());
        assert_eq!(check.what, "commands use no token");
    }
}
