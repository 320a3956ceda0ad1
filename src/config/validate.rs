//! The whole document against the table of keys: every issue, in document order (cli.md §3.4).

use serde_json::{Map, Value};

use crate::config::error::Issue;
use crate::config::expand::Missing;
use crate::config::key;
use crate::config::kind::{expect, unrecognized};
use crate::config::suggest::nearest;

/// All issues of a document whose includes and variables are resolved. Places that need a missing
/// variable are skipped: they count as absent and are reported as warnings.
pub fn validate(document: &Value, missing: &Missing) -> Vec<Issue> {
    let mut walk = Walk {
        missing,
        segments: Vec::new(),
        issues: Vec::new(),
    };
    walk.value(document);
    walk.issues
}

struct Walk<'a> {
    missing: &'a Missing,
    segments: Vec<&'a str>,
    issues: Vec<Issue>,
}

impl<'a> Walk<'a> {
    fn value(&mut self, value: &'a Value) {
        let path = self.segments.join(".");
        if self.missing.contains_key(&path) {
            return;
        }
        if key::is_section(&self.segments) {
            match value {
                Value::Object(members) => self.section(&path, members),
                other => self.issues.extend(expect(&path, other, "object", false)),
            }
        } else if let Some(key) = key::find(&self.segments) {
            let found = self.issues.len();
            key.kind.check(&path, value, &mut self.issues);
            let missing = self.missing;
            let mut at = 0;
            // An item that needs a missing variable is absent too.
            self.issues.retain(|issue| {
                at += 1;
                at <= found || !missing.contains_key(&issue.path)
            });
        }
    }

    fn section(&mut self, path: &str, members: &'a Map<String, Value>) {
        for (name, member) in members {
            self.segments.push(name);
            let known = key::is_section(&self.segments) || key::find(&self.segments).is_some();
            if known {
                self.value(member);
            }
            self.segments.pop();
            if !known {
                let near = nearest(name, key::members(&self.segments));
                self.issues.push(unknown(path, name, near));
            }
        }
        if path == "gateway.auth.trustedProxy" && !members.contains_key("userHeader") {
            let path = "gateway.auth.trustedProxy.userHeader";
            self.issues.push(Issue::new(
                path,
                "userHeader is required for trusted-proxy mode",
            ));
        }
    }
}

fn unknown(path: &str, name: &str, near: Option<&str>) -> Issue {
    let mut issue = unrecognized(path, name);
    let meant = match (path, name, near) {
        ("gateway", "token" | "password", _) => Some(format!("gateway.auth.{name}")),
        ("", _, near) => near.map(str::to_owned),
        (_, _, near) => near.map(|near| format!("{path}.{near}")),
    };
    if let Some(meant) = meant {
        issue.message += &format!(" (did you mean {meant}?)");
    }
    issue
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::kind::Kind;

    fn issues(document: &Value) -> Vec<String> {
        validate(document, &Missing::new())
            .iter()
            .map(Issue::to_string)
            .collect()
    }

    /// The document in which `path` has `value`.
    fn at(path: &str, value: Value) -> Value {
        path.rsplit('.')
            .fold(value, |inner, name| json!({ name: inner }))
    }

    const NUMBER: &str = "Invalid input: expected number, received string";
    const FLAG: &str = "Invalid input: expected boolean, received string";
    const TEXT: &str = "Invalid input: expected string, received number";
    const LIST: &str = "Invalid input: expected array, received string";
    const OBJECT: &str = "Invalid input: expected object, received string";
    const SECRET: &str = "Invalid input: expected string or secret reference, received number";

    /// A good value, a bad one and what is said about it, for every row of the table.
    fn samples(kind: Kind) -> Option<(Value, Value, String)> {
        let sample = |good, bad, message: &str| Some((good, bad, message.to_owned()));
        match kind {
            Kind::Any => None,
            Kind::BrowserProfiles => sample(json!({"work": {"cdpPort": 1}}), json!("x"), OBJECT),
            Kind::Fingerprint => sample(
                json!("AB:".repeat(31) + "cd"),
                json!("abc"),
                "Invalid input: expected a SHA-256 fingerprint (64 hex digits)",
            ),
            Kind::Flag => sample(json!(true), json!("x"), FLAG),
            Kind::Integer { min, .. } => sample(json!(min), json!("x"), NUMBER),
            Kind::Ipv4 => sample(
                json!("10.0.0.1"),
                json!("::1"),
                "Invalid input: expected an IPv4 address",
            ),
            Kind::Networks => sample(json!(["10.0.0.0/8", "::1"]), json!("10.0.0.0/8"), LIST),
            Kind::Object => sample(json!({"x": 1}), json!("x"), OBJECT),
            Kind::Secret => sample(json!("s"), json!(5), SECRET),
            Kind::SecretProvider => sample(
                json!({"source": "env", "allowlist": ["A"]}),
                json!("x"),
                OBJECT,
            ),
            Kind::Text => sample(json!("x"), json!(5), TEXT),
            Kind::TextList => sample(json!(["x"]), json!("x"), LIST),
            Kind::UserHeader => sample(json!("x-user"), json!(5), TEXT),
            Kind::WebSocketUrl => sample(
                json!("wss://host:1"),
                json!("http://x"),
                "Invalid input: expected a ws:// or wss:// URL",
            ),
            Kind::Word(allowed) => {
                let list = allowed
                    .iter()
                    .map(|word| format!("\"{word}\""))
                    .collect::<Vec<_>>()
                    .join(", ");
                sample(
                    json!(allowed[0]),
                    json!("no such"),
                    &format!("Invalid input (allowed: {list})"),
                )
            }
        }
    }

    #[test]
    fn every_key_takes_a_good_value_and_names_a_bad_one() {
        for key in key::KEYS {
            let path = key.path.replace('*', "x");
            let Some((good, bad, message)) = samples(key.kind) else {
                assert!(
                    issues(&at(&path, json!([{"anything": 1}]))).is_empty(),
                    "{path}"
                );
                continue;
            };
            let mut others = Vec::new();
            if path.starts_with("gateway.auth.trustedProxy") && !path.ends_with("userHeader") {
                others.push("gateway.auth.trustedProxy.userHeader: userHeader is required for trusted-proxy mode".to_owned());
            }
            assert_eq!(issues(&at(&path, good)), others, "{path}");
            others.insert(0, format!("{path}: {message}"));
            assert_eq!(issues(&at(&path, bad)), others, "{path}");
        }
    }

    #[test]
    fn every_issue_is_reported_at_once() {
        let document = json!({
            "wat": 1,
            "gateway": {
                "bogus": 1,
                "token": "x",
                "port": "18789",
                "bind": "0.0.0.0",
                "nodes": {"pairing": {"autoApproveCidrs": "10.0.0.0/8"}},
                "tls": {"x": 1},
            },
            "agents": {"anything": ["goes"]},
            "tools": {"web": {}, "exec": {"wrong": 1}},
        });
        assert_eq!(
            issues(&document),
            [
                "<root>: Unrecognized key: \"wat\"",
                "gateway: Unrecognized key: \"bogus\"",
                "gateway: Unrecognized key: \"token\" (did you mean gateway.auth.token?)",
                "gateway.port: Invalid input: expected number, received string",
                "gateway.bind: Invalid input (allowed: \"auto\", \"lan\", \"loopback\", \"custom\", \"tailnet\")",
                "gateway.nodes.pairing.autoApproveCidrs: Invalid input: expected array, received string",
                "gateway.tls: Unrecognized key: \"x\"",
                "tools.exec: Unrecognized key: \"wrong\"",
            ]
        );
    }

    #[test]
    fn a_mistyped_key_is_told_with_the_one_that_was_meant() {
        for (document, said) in [
            (
                json!({"gateway": {"prot": 1}}),
                "\"prot\" (did you mean gateway.port?)",
            ),
            (json!({"gatewy": {}}), "\"gatewy\" (did you mean gateway?)"),
            (
                json!({"gateway": {"tls": {"enable": true}}}),
                "\"enable\" (did you mean gateway.tls.enabled?)",
            ),
        ] {
            let found = issues(&document);
            assert!(found[0].ends_with(said), "{found:?}");
        }
    }

    #[test]
    fn bounds_items_and_references() {
        let reference = |id: &str| json!({"source": "env", "provider": "default", "id": id});
        let cases = [
            (
                "gateway.port",
                json!(0),
                "gateway.port: Too small: expected number to be >=1",
            ),
            (
                "gateway.port",
                json!(65_536),
                "gateway.port: Too big: expected number to be <=65535",
            ),
            (
                "gateway.port",
                json!(1.5),
                "gateway.port: Invalid input: expected int, received number",
            ),
            (
                "gateway.port",
                Value::Null,
                "gateway.port: Invalid input: expected number, received null",
            ),
            (
                "gateway",
                json!([]),
                "gateway: Invalid input: expected object, received array",
            ),
            (
                "gateway.nodes.allowCommands",
                json!(["a", 1]),
                "gateway.nodes.allowCommands.1: Invalid input: expected string, received number",
            ),
            (
                "gateway.trustedProxies",
                json!(["10.0.0.0/40"]),
                "gateway.trustedProxies.0: Invalid input: expected an IP address or CIDR block, received \"10.0.0.0/40\"",
            ),
            (
                "gateway.auth.trustedProxy.userHeader",
                json!(""),
                "gateway.auth.trustedProxy.userHeader: userHeader is required for trusted-proxy mode",
            ),
            (
                "gateway.auth.token",
                reference("lower"),
                "gateway.auth.token.id: Invalid secret id for source \"env\"",
            ),
            (
                "gateway.auth.token",
                json!({"source": "x", "provider": "P", "id": "A", "more": 1}),
                "gateway.auth.token: Unrecognized key: \"more\"|gateway.auth.token.provider: Invalid secret provider name|gateway.auth.token.source: Invalid input (allowed: \"env\", \"file\", \"exec\")",
            ),
            (
                "gateway.auth.token",
                json!({"source": "file", "provider": "default"}),
                "gateway.auth.token.id: Invalid input: expected string, received undefined",
            ),
            (
                "gateway.auth.token",
                json!({"source": "file", "provider": "f", "id": "gateway"}),
                "gateway.auth.token.id: Invalid secret id for source \"file\"",
            ),
            (
                "gateway.auth.token",
                json!({"source": "exec", "provider": "f", "id": "a/../b"}),
                "gateway.auth.token.id: Invalid secret id for source \"exec\"",
            ),
            (
                "secrets.providers.Bad",
                json!({"source": "env"}),
                "secrets.providers.Bad: Invalid secret provider name",
            ),
            (
                "secrets.providers.f",
                json!({"source": "file", "mode": "x"}),
                "secrets.providers.f.path: Invalid input: expected a file path|secrets.providers.f.mode: Invalid input (allowed: \"json\", \"singleValue\")",
            ),
            (
                "secrets.providers.e",
                json!({"source": "exec", "command": "pass"}),
                "secrets.providers.e.command: Invalid input: expected an absolute path",
            ),
            (
                "browser.profiles",
                json!({"A": {}, "b": {"driver": "existing-session"}}),
                "browser.profiles.A: Invalid profile name: use lower-case letters, digits and \"-\"|browser.profiles.A: Profile must set cdpPort or cdpUrl",
            ),
            (
                "gateway.remote.url",
                json!("ws://"),
                "gateway.remote.url: Invalid input: expected a ws:// or wss:// URL",
            ),
        ];
        for (path, value, expected) in cases {
            assert_eq!(issues(&at(path, value)).join("|"), expected, "{path}");
        }
    }

    #[test]
    fn a_name_with_a_dot_is_not_a_path() {
        assert_eq!(
            issues(&json!({"gateway.port": 1})),
            ["<root>: Unrecognized key: \"gateway.port\""]
        );
    }
}
