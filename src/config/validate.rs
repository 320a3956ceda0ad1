//! The whole document against the table of keys: every issue, in document order (cli.md §3.4).

use serde_json::{Map, Value};

use crate::config::error::Issue;
use crate::config::expand::Missing;
use crate::config::key;
use crate::config::kind::{expect, unrecognized};

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
                self.issues.push(unknown(path, name));
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

fn unknown(path: &str, name: &str) -> Issue {
    let mut issue = unrecognized(path, name);
    if path == "gateway" && matches!(name, "token" | "password") {
        issue
            .message
            .push_str(&format!(" (did you mean gateway.auth.{name}?)"));
    }
    issue
}
