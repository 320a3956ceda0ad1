//! Where the shared secrets come from, told by the beginning of their SHA-256 and never by their value; and where
//! two sources of one gateway disagree.

use std::fmt;

use crate::cli::doctor::check::Check;
use crate::cli::doctor::scene::Scene;
use crate::cli::service::Seen;
use crate::client::credentials::{Credential, CredentialSource};
use crate::config::Secret;
use crate::identity::sha256_hex;
use crate::store::directory::read_optional;

/// Hex digits of a fingerprint: enough to tell two secrets apart, useless for guessing a long one.
const DIGITS: usize = 8;

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
    /// The fingerprint, or why the place gives no value.
    value: Result<String, String>,
}

impl Named {
    fn new(place: &str, owner: Owner, value: &str) -> Named {
        let value = Ok(fingerprint(value));
        Named {
            place: place.to_owned(),
            owner,
            value,
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Ok(print) => write!(out, "{}: sha256:{print}", self.place),
            Err(why) => write!(out, "{}: {why}", self.place),
        }
    }
}

/// `sha256:` of a secret, cut.
fn fingerprint(secret: &str) -> String {
    let mut digest = sha256_hex(secret.trim().as_bytes());
    digest.truncate(DIGITS);
    digest
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
            judge(kind, &named, used.map(shown).as_ref(), scene.is_remote())
        })
        .into()
}

/// Place and fingerprint of the secret that commands use.
fn shown(used: &Credential) -> (String, String) {
    let place = match used.source {
        CredentialSource::Generated => "the file gateway-token".to_owned(),
        source => source.to_string(),
    };
    (place, fingerprint(&used.value))
}

fn named(scene: &Scene, kind: &str, gateway: Option<&Seen>, node: Option<&Seen>) -> Vec<Named> {
    let variable = format!("OPENCLAW_GATEWAY_{}", kind.to_uppercase());
    let mut found = Vec::new();
    let mut add = |place: String, owner, value: &str| found.push(Named::new(&place, owner, value));
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
        // A node host may belong to another gateway.
        let owner = if noun == "gateway" {
            Owner::Here
        } else {
            Owner::Elsewhere
        };
        if let Some(value) = seen.variable(&variable) {
            add(format!("the unit of the {noun} service"), owner, value);
        }
        for (_, value) in seen.secrets().iter().filter(|(name, _)| *name == variable) {
            add(
                format!("the secrets file of the {noun} service"),
                owner,
                value,
            );
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
                Secret::Plain(value) => found.push(Named::new(&place, owner, value)),
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

/// `used`: place and fingerprint of what commands use.
fn judge(kind: &str, named: &[Named], used: Option<&(String, String)>, remote: bool) -> Check {
    let id = format!("secrets.{kind}");
    let items: Vec<String> = named.iter().map(Named::to_string).collect();
    if named.is_empty() {
        return Check::skipped(&id, format!("no {kind} is named anywhere"));
    }
    if let Some(missing) = named.iter().find(|named| named.value.is_err()) {
        let what = format!("{} is configured and gives no value", missing.place);
        let path = missing.place.trim_start_matches("config ");
        return Check::fail(&id, what, format!("openclaw config get {path}")).items(items);
    }
    let own: Vec<&Named> = named
        .iter()
        .filter(|named| named.owner == Owner::Here)
        .collect();
    let differ = own.windows(2).any(|pair| pair[0].value != pair[1].value);
    let wins = match used {
        Some((place, print)) => format!("commands use the {kind} of {place} (sha256:{print})"),
        None => format!("commands use no {kind}"),
    };
    if differ && !remote {
        let what = format!("sources for this machine's gateway disagree; {wins}");
        let fix = match own.iter().any(|named| named.place.starts_with("env ")) {
            true => format!("unset OPENCLAW_GATEWAY_{}", kind.to_uppercase()),
            false => "openclaw gateway uninstall && openclaw gateway install".to_owned(),
        };
        return Check::warn(&id, what, fix).items(items);
    }
    Check::ok(&id, wins).items(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check::State;

    #[test]
    fn a_fingerprint_tells_secrets_apart_and_shows_none() {
        let secret = "0123456789abcdef";
        let print = fingerprint(secret);
        assert_eq!(print, "9f9f5111");
        assert_eq!(fingerprint(" 0123456789abcdef\n"), print);
        assert_ne!(fingerprint("0123456789abcdeF"), print);
        let shown = Named::new("env X", Owner::Here, secret).to_string();
        assert_eq!(shown, "env X: sha256:9f9f5111");
    }

    #[test]
    #[rustfmt::skip]
    fn sources_of_one_gateway_that_disagree_are_a_warning() {
        let here = |place: &str, value: &str| Named::new(place, Owner::Here, value);
        let there = |place: &str, value: &str| Named::new(place, Owner::Elsewhere, value);
        let missing = Named { value: Err("gone".to_owned()), ..here("config gateway.auth.token", "") };
        let used = ("env T".to_owned(), fingerprint("a"));
        for (named, remote, state, fix) in [
            (vec![], false, State::Skipped, None),
            (vec![here("env T", "a"), here("config c", "a")], false, State::Ok, None),
            (vec![here("env T", "a"), here("config c", "b")], false, State::Warn, Some("unset OPENCLAW_GATEWAY_TOKEN")),
            (vec![here("the file", "a"), here("config c", "b")], false, State::Warn, Some("openclaw gateway uninstall && openclaw gateway install")),
            (vec![here("env T", "a"), there("config r", "b")], false, State::Ok, None),
            (vec![here("file", "a"), here("config c", "b")], true, State::Ok, None),
            (vec![missing], false, State::Fail, Some("openclaw config get gateway.auth.token")),
        ] {
            let check = judge("token", &named, Some(&used), remote);
            assert_eq!((check.state, check.fix.as_deref()), (state, fix), "{named:?}");
            assert_eq!(check.items.len(), named.len());
        }
        let check = judge("token", &[here("env T", "a")], None, false);
        assert_eq!(check.what, "commands use no token");
    }
}
