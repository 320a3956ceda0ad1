//! What is different between two setups of one process, and how the trail tells it (cli.md §3.5).
//!
//! Pure. The document is not all: a secret file, `<state>/.env` and the flags of the process have their
//! say, too. Secrets never leave here unhidden.

use serde_json::{Value, json};

use crate::config::Environment;
use crate::config::diff::{ChangedKey, diff};
use crate::config::key::Effect;
use crate::config::redact::redact;
use crate::gateway::auth::SharedAuth;
use crate::gateway::settings::RunFlags;
use crate::gateway::setup::Setup;
use crate::pairing::AuditEntry;

/// What is different for this process: keys of the document, and what came from elsewhere (a secret
/// file, `<state>/.env`). A key that a flag overrides has no effect.
pub fn changes(before: &Setup, after: &Setup, flags: &RunFlags) -> Vec<ChangedKey> {
    let mut changed = diff(&before.loaded.document, &after.loaded.document);
    for key in &mut changed {
        if is_overridden(&key.path, flags, &after.loaded.environment) {
            key.effect = Effect::None;
        }
    }
    let (old, new) = (&before.settings, &after.settings);
    if old.rules.generation() != new.rules.generation() {
        let path = match new.rules.auth {
            SharedAuth::Password(_) => "gateway.auth.password",
            _ => "gateway.auth.token",
        };
        add(&mut changed, path, "gateway.auth", Effect::Hot, None);
    }
    if old.rules.handshake_timeout != new.rules.handshake_timeout {
        let path = "gateway.handshakeTimeoutMs";
        add(&mut changed, path, path, Effect::Hot, None);
    }
    if old.port != new.port {
        let values = Some((json!(old.port), json!(new.port)));
        add(
            &mut changed,
            "gateway.port",
            "gateway.port",
            Effect::Restart,
            values,
        );
    }
    changed
}

fn is_overridden(path: &str, flags: &RunFlags, environment: &Environment) -> bool {
    match path {
        "gateway.auth.mode" => flags.auth.is_some(),
        "gateway.bind" => flags.bind.is_some(),
        "gateway.mode" => flags.allow_unconfigured,
        "gateway.port" => {
            flags.port.is_some() || environment.gateway_port().is_ok_and(|port| port.is_some())
        }
        "gateway.tailscale.mode" => flags.tailscale.is_some(),
        _ => false,
    }
}

/// Adds a key whose value came from elsewhere, unless something below `section` is named already.
fn add(
    changed: &mut Vec<ChangedKey>,
    path: &str,
    section: &str,
    effect: Effect,
    values: Option<(Value, Value)>,
) {
    let named = changed
        .iter()
        .any(|key| key.effect == effect && key.path.starts_with(section));
    if !named {
        let (before, after) = values.unzip();
        changed.push(ChangedKey {
            path: path.to_owned(),
            effect,
            before,
            after,
        });
    }
}

/// Those of the changes that have this effect.
pub fn with_effect(changed: &[ChangedKey], effect: Effect) -> Vec<ChangedKey> {
    let wanted = changed.iter().filter(|key| key.effect == effect);
    wanted.cloned().collect()
}

/// The paths, for log lines.
pub fn names(changed: &[ChangedKey]) -> String {
    let names: Vec<&str> = changed.iter().map(|key| key.path.as_str()).collect();
    names.join(", ")
}

/// One line for the trail per key that has an effect; secrets are hidden.
pub fn trail(
    changed: &[ChangedKey],
    via: &str,
    detail: &dyn Fn(&ChangedKey) -> Value,
) -> Vec<AuditEntry> {
    let hidden = |key: &ChangedKey, value: &Option<Value>| {
        value.as_ref().map(|value| redact(&key.path, value))
    };
    changed
        .iter()
        .filter(|key| key.effect != Effect::None)
        .map(|key| AuditEntry {
            action: "config.change",
            subject: key.path.clone(),
            by: "configuration".to_owned(),
            via: via.to_owned(),
            before: hidden(key, &key.before),
            after: hidden(key, &key.after),
            detail: Some(detail(key)),
            ..AuditEntry::default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::testing::Home;
    use crate::gateway::setup::{MissingToken, Source};
    use crate::identity::Token;

    fn setup(text: &str, variables: &[(&str, &str)], flags: &RunFlags) -> Setup {
        let home = Home::with_environment(text, variables);
        let source = Source {
            paths: &home.paths,
            environment: &home.environment,
            flags,
            verbose: false,
        };
        let mut setup = source.read(&mut Vec::new(), MissingToken::Refuse).unwrap();
        // Every home has its own place; that is not what is compared.
        setup.settings.state_dir = PathBuf::new();
        setup
    }

    fn described(before: &Setup, after: &Setup, flags: &RunFlags) -> String {
        let changed = changes(before, after, flags);
        let words = changed
            .iter()
            .map(|key| format!("{} {:?}", key.path, key.effect));
        words.collect::<Vec<_>>().join("|")
    }

    #[test]
    fn what_changed_is_named_with_what_it_does_to_this_process() {
        let text =
            |more: &str| format!("{{gateway: {{mode: 'local', auth: {{token: 'a'}}, {more}}}}}");
        let with_port = RunFlags {
            port: Some(7),
            ..RunFlags::default()
        };
        let with_token = RunFlags {
            token: Some(Token::from("f")),
            ..RunFlags::default()
        };
        let none = RunFlags::default();
        for (more, flags, expected) in [
            ("", &none, ""),
            ("port: 5", &none, "gateway.port Restart"),
            ("port: 5", &with_port, "gateway.port None"),
            (
                "bind: 'auto', nodes: {denyCommands: ['x']}",
                &none,
                "gateway.bind Restart|gateway.nodes.denyCommands Hot",
            ),
            (
                "handshakeTimeoutMs: 5",
                &none,
                "gateway.handshakeTimeoutMs Hot",
            ),
            ("reload: {mode: 'hot'}", &none, "gateway.reload.mode None"),
        ] {
            let (before, after) = (setup(&text(""), &[], flags), setup(&text(more), &[], flags));
            assert_eq!(described(&before, &after, flags), expected, "{more}");
        }
        let other = text("").replace("'a'", "'b'");
        let changed = setup(&other, &[], &none);
        assert_eq!(
            described(&setup(&text(""), &[], &none), &changed, &none),
            "gateway.auth.token Hot"
        );
        let overridden = described(
            &setup(&text(""), &[], &with_token),
            &setup(&other, &[], &with_token),
            &with_token,
        );
        assert_eq!(
            overridden, "gateway.auth.token Hot",
            "the flag still wins; the edit is noted"
        );
    }

    #[test]
    fn what_comes_from_elsewhere_is_a_change_of_its_key() {
        let none = RunFlags::default();
        let text = "{gateway: {mode: 'local', auth: {token: {source: 'env', provider: 'default', id: 'TOK'}}}}";
        let before = setup(text, &[("TOK", "a")], &none);
        for (variables, expected) in [
            (&[("TOK", "a")][..], ""),
            (&[("TOK", "b")], "gateway.auth.token Hot"),
            (
                &[("TOK", "a"), ("OPENCLAW_GATEWAY_PORT", "7")],
                "gateway.port Restart",
            ),
            (
                &[("TOK", "a"), ("OPENCLAW_HANDSHAKE_TIMEOUT_MS", "7")],
                "gateway.handshakeTimeoutMs Hot",
            ),
        ] {
            let after = setup(text, variables, &none);
            assert_eq!(described(&before, &after, &none), expected, "{variables:?}");
        }
    }

    #[test]
    fn the_trail_names_keys_and_values_but_no_secret() {
        let none = RunFlags::default();
        let text = |token: &str, deny: &str| {
            format!(
                "{{gateway: {{mode: 'local', auth: {{token: '{token}'}}, nodes: {{denyCommands: ['{deny}']}}}}, agents: {{x: '{deny}'}}}}"
            )
        };
        let before = setup(&text("old-secret", "a"), &[], &none);
        let after = setup(&text("new-secret", "b"), &[], &none);
        let entries = trail(
            &changes(&before, &after, &none),
            "file",
            &|key| json!({"effect": key.effect.as_str()}),
        );
        let shown = serde_json::to_value(&entries).unwrap();
        let hidden = "__OPENCLAW_REDACTED__";
        assert_eq!(
            shown,
            json!([
                {"action": "config.change", "subject": "gateway.auth.token", "by": "configuration", "via": "file",
                 "before": hidden, "after": hidden, "detail": {"effect": "hot"}},
                {"action": "config.change", "subject": "gateway.nodes.denyCommands", "by": "configuration", "via": "file",
                 "before": ["a"], "after": ["b"], "detail": {"effect": "hot"}},
            ])
        );
    }
}
