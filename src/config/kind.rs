//! The shapes that configuration values may have, and what is said when they do not.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;
use serde_json::{Map, Value};

use crate::config::error::Issue;
use crate::config::path::join;
use crate::config::redact::without_login;
use crate::config::reference_check;
use crate::identity::Fingerprint;

/// The shape of one key's value.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Accepted without a look.
    Any,
    /// Browser profiles: names and their endpoints.
    BrowserProfiles,
    /// `true` or `false`.
    Flag,
    /// SHA-256 as hex digits; colons, case and a `sha256:` prefix do not matter.
    Fingerprint,
    /// A whole number within both bounds.
    Integer {
        /// Smallest accepted value.
        min: u64,
        /// Largest accepted value.
        max: u64,
    },
    /// An IPv4 address.
    Ipv4,
    /// A list of addresses and CIDR blocks.
    Networks,
    /// An object without a look inside.
    Object,
    /// A text or a reference to a secret's source (cli.md §3.2).
    Secret,
    /// A provider of secrets.
    SecretProvider,
    /// Any text.
    Text,
    /// A list of texts.
    TextList,
    /// The header name of the trusted-proxy mode: a text of at least one character.
    UserHeader,
    /// A `ws://` or `wss://` URL.
    WebSocketUrl,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// The largest whole number that every JSON reader keeps exactly.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

impl Kind {
    /// Any whole number above zero.
    pub const POSITIVE: Self = Self::Integer {
        min: 1,
        max: MAX_INTEGER,
    };
    /// Any whole number from zero.
    pub const NATURAL: Self = Self::Integer {
        min: 0,
        max: MAX_INTEGER,
    };

    /// Appends what is wrong with `value` as this kind; nothing when it fits.
    pub fn check(self, path: &str, value: &Value, issues: &mut Vec<Issue>) {
        match self {
            Self::Any => {}
            Self::BrowserProfiles => check_browser_profiles(path, value, issues),
            Self::Integer { min, max } => issues.extend(check_integer(path, value, min, max)),
            Self::Networks => check_list(path, value, issues, |item| {
                let valid = item.parse::<IpAddr>().is_ok() || item.parse::<IpNetwork>().is_ok();
                (!valid).then(|| {
                    format!(
                        "Invalid input: expected an IP address or CIDR block, received {item:?}"
                    )
                })
            }),
            Self::Object => issues.extend(expect(path, value, "object", value.is_object())),
            Self::Flag => issues.extend(expect(path, value, "boolean", value.is_boolean())),
            Self::Secret => reference_check::check_input(path, value, issues),
            Self::SecretProvider => reference_check::check_provider(path, value, issues),
            Self::TextList => check_list(path, value, issues, |_| None),
            Self::Word(allowed) => issues.extend(check_word(path, value, allowed)),
            Self::Fingerprint | Self::Ipv4 | Self::Text | Self::UserHeader | Self::WebSocketUrl => {
                issues.extend(self.check_text(path, value));
            }
        }
    }

    fn check_text(self, path: &str, value: &Value) -> Option<Issue> {
        let Some(text) = value.as_str() else {
            return expect(path, value, "string", false);
        };
        let fault = match self {
            Self::Fingerprint if Fingerprint::parse(text).is_none() => {
                "Invalid input: expected a SHA-256 fingerprint (64 hex digits)"
            }
            Self::Ipv4 if text.parse::<Ipv4Addr>().is_err() => {
                "Invalid input: expected an IPv4 address"
            }
            Self::UserHeader if text.is_empty() => "userHeader is required for trusted-proxy mode",
            Self::WebSocketUrl if !is_websocket_url(text) => {
                "Invalid input: expected a ws:// or wss:// URL"
            }
            Self::WebSocketUrl if without_login(text) != text => {
                "Invalid input: a URL must not contain a user name or password"
            }
            _ => return None,
        };
        Some(Issue::new(path, fault))
    }
}

/// The JSON name of a value's type, as issues call it.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A whole, non-negative number, also when it was written as `1e3` or `10.0`.
pub fn integer(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        let whole = number.fract() == 0.0 && (0.0..=MAX_INTEGER as f64).contains(&number);
        whole.then_some(number as u64)
    })
}

/// An issue unless the value has the expected type.
pub fn expect(path: &str, value: &Value, expected: &str, fits: bool) -> Option<Issue> {
    (!fits).then(|| {
        let received = type_name(value);
        Issue::new(
            path,
            format!("Invalid input: expected {expected}, received {received}"),
        )
    })
}

/// `Unrecognized key` issues for every member that `known` does not name.
pub fn check_members(
    path: &str,
    members: &Map<String, Value>,
    known: &[&str],
    issues: &mut Vec<Issue>,
) {
    for name in members
        .keys()
        .filter(|name| !known.contains(&name.as_str()))
    {
        issues.push(unrecognized(path, name));
    }
}

/// The issue of a key that nobody knows.
pub fn unrecognized(path: &str, name: &str) -> Issue {
    Issue::new(path, format!("Unrecognized key: {}", Value::from(name)))
}

fn check_integer(path: &str, value: &Value, min: u64, max: u64) -> Option<Issue> {
    let Some(number) = value.as_f64() else {
        return expect(path, value, "number", false);
    };
    if number.fract() != 0.0 {
        return Some(Issue::new(
            path,
            "Invalid input: expected int, received number",
        ));
    }
    if number < min as f64 {
        return Some(Issue::new(
            path,
            format!("Too small: expected number to be >={min}"),
        ));
    }
    (number > max as f64)
        .then(|| Issue::new(path, format!("Too big: expected number to be <={max}")))
}

fn check_word(path: &str, value: &Value, allowed: &'static [&'static str]) -> Option<Issue> {
    if value.as_str().is_some_and(|word| allowed.contains(&word)) {
        return None;
    }
    let list = allowed
        .iter()
        .map(|word| format!("\"{word}\""))
        .collect::<Vec<_>>()
        .join(", ");
    Some(Issue {
        allowed: allowed.to_vec(),
        ..Issue::new(path, format!("Invalid input (allowed: {list})"))
    })
}

fn check_list(
    path: &str,
    value: &Value,
    issues: &mut Vec<Issue>,
    fault: impl Fn(&str) -> Option<String>,
) {
    let Some(items) = value.as_array() else {
        issues.extend(expect(path, value, "array", false));
        return;
    };
    for (at, item) in items.iter().enumerate() {
        let path = join(path, &at.to_string());
        match item.as_str() {
            Some(text) => issues.extend(fault(text).map(|message| Issue::new(&path, message))),
            None => issues.extend(expect(&path, item, "string", false)),
        }
    }
}

fn check_browser_profiles(path: &str, value: &Value, issues: &mut Vec<Issue>) {
    let Some(profiles) = value.as_object() else {
        issues.extend(expect(path, value, "object", false));
        return;
    };
    for (name, profile) in profiles {
        let path = join(path, name);
        let plain = |byte: u8| byte == b'-' || byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if name.is_empty() || !name.bytes().all(plain) {
            issues.push(Issue::new(
                &path,
                "Invalid profile name: use lower-case letters, digits and \"-\"",
            ));
        }
        let Some(profile) = profile.as_object() else {
            issues.extend(expect(&path, profile, "object", false));
            continue;
        };
        let reachable = profile.contains_key("cdpPort") || profile.contains_key("cdpUrl");
        let existing = profile.get("driver").and_then(Value::as_str) == Some("existing-session");
        if !reachable && !existing {
            issues.push(Issue::new(&path, "Profile must set cdpPort or cdpUrl"));
        }
    }
}

fn is_websocket_url(text: &str) -> bool {
    let text = text.trim();
    ["ws://", "wss://"].iter().any(|scheme| {
        let start = text
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        start
            && text[scheme.len()..]
                .starts_with(|first: char| !matches!(first, '/' | '?' | '#' | ':'))
    })
}
