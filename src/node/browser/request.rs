//! One request through the proxy, read from the params of `browser.proxy` (node-host specification, section 4.2).

use std::time::Duration;

use serde_json::{Map, Value};

use super::error::BrowserError;

/// How long a request may take that does not say so.
const DEFAULT_TIMEOUT: u64 = 20_000;

/// How long a request may take at most: each holds one of the node's few places for browser requests.
const MAX_TIMEOUT: f64 = 600_000.0;

/// What a request wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Remove.
    Delete,
    /// Read; also every method that is none.
    Get,
    /// Do.
    Post,
}

impl Method {
    /// The word of the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "DELETE",
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// A request for one route.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// Path with a leading slash and without trailing ones.
    pub path: String,
    /// Query values as texts, the profile among them.
    pub query: Map<String, Value>,
    /// The body; anything but an object counts as an empty one.
    pub body: Map<String, Value>,
    /// The profile that was named.
    pub profile: Option<String>,
    /// How long it may take.
    pub timeout: Duration,
}

impl Request {
    /// Reads the params of an invoke.
    ///
    /// # Errors
    /// [`BrowserError::Invalid`] without a path.
    pub fn parse(params: &Value) -> Result<Self, BrowserError> {
        let text = |name| params.get(name).and_then(Value::as_str).map(str::trim);
        let path = text("path").filter(|path| !path.is_empty());
        let path = path.ok_or_else(|| BrowserError::invalid("INVALID_REQUEST: path required"))?;
        let object = |name| params.get(name).and_then(Value::as_object).cloned();
        let mut query: Map<String, Value> = object("query")
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(name, value)| Some((name, stringified(value)?)))
            .collect();
        let body = object("body").unwrap_or_default();
        let named = |value: Option<&Value>| {
            let name = value?.as_str()?.trim();
            (!name.is_empty()).then(|| name.to_owned())
        };
        let profile = named(query.get("profile"))
            .or_else(|| named(body.get("profile")))
            .or_else(|| named(params.get("profile")));
        if let Some(profile) = &profile {
            query.insert("profile".to_owned(), profile.as_str().into());
        }
        let method = text("method").unwrap_or_default().to_ascii_uppercase();
        let timeout = params.get("timeoutMs").and_then(Value::as_f64);
        Ok(Self {
            method: match method.as_str() {
                "POST" => Method::Post,
                "DELETE" => Method::Delete,
                _ => Method::Get,
            },
            path: format!("/{}", path.trim_matches('/')),
            query,
            body,
            profile,
            // Fractions of a millisecond are nobody's.
            timeout: Duration::from_millis(
                timeout.map_or(DEFAULT_TIMEOUT, |it| it.clamp(1.0, MAX_TIMEOUT) as u64),
            ),
        })
    }

    /// A query value, trimmed; `None` when it is missing or blank.
    pub fn query(&self, name: &str) -> Option<&str> {
        trimmed(self.query.get(name))
    }

    /// Whether a query value says yes.
    pub fn query_flag(&self, name: &str) -> bool {
        matches!(self.query(name), Some("true" | "1" | "yes"))
    }

    /// A text of the body, trimmed; `None` when it is missing or blank.
    pub fn body(&self, name: &str) -> Option<&str> {
        trimmed(self.body.get(name))
    }

    /// A text of the body as it was given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name)?.as_str()
    }

    /// Whether a member of the body says yes.
    pub fn flag(&self, name: &str) -> bool {
        self.body
            .get(name)
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    /// A duration of the body in milliseconds.
    pub fn milliseconds(&self, name: &str) -> Option<Duration> {
        let value = self.body.get(name)?.as_f64()?;
        (value >= 0.0).then(|| Duration::from_millis(value as u64))
    }

    /// The tab that is meant.
    pub fn target(&self) -> Option<&str> {
        match self.method {
            Method::Get => self.query("targetId"),
            Method::Delete | Method::Post => self.body("targetId"),
        }
    }
}

fn trimmed(value: Option<&Value>) -> Option<&str> {
    let text = value?.as_str()?.trim();
    (!text.is_empty()).then_some(text)
}

fn stringified(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(_) => Some(value),
        other => Some(other.to_string().into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_is_tidied() {
        let params = json!({"method": "post", "path": "tabs/open//", "query": {"a": 1, "b": null, "c": true, "d": " x "},
            "body": {"url": "u", "profile": "work"}, "timeoutMs": 1.9, "profile": "third"});
        let request = Request::parse(&params).unwrap();
        assert_eq!(
            (request.method, request.path.as_str()),
            (Method::Post, "/tabs/open")
        );
        assert_eq!(
            request.query,
            *json!({"a": "1", "c": "true", "d": " x ", "profile": "work"})
                .as_object()
                .unwrap()
        );
        assert_eq!((request.query("d"), request.query("b")), (Some("x"), None));
        assert!(request.query_flag("c"));
        assert_eq!(request.timeout, Duration::from_millis(1));

        let bare =
            Request::parse(&json!({"path": "/", "method": "PATCH", "body": [], "timeoutMs": -5}))
                .unwrap();
        assert_eq!(
            (bare.method, bare.path.as_str(), bare.timeout),
            (Method::Get, "/", Duration::from_millis(1))
        );
        assert!(bare.profile.is_none() && bare.body.is_empty());
        let slow = Request::parse(&json!({"path": "/tabs"})).unwrap();
        assert_eq!(slow.timeout, Duration::from_secs(20));
        let endless = Request::parse(&json!({"path": "/tabs", "timeoutMs": 1e15})).unwrap();
        assert_eq!(endless.timeout, Duration::from_secs(600));
    }

    #[test]
    fn the_profile_of_the_query_wins() {
        for (query, body, outer, expected) in [
            (json!("q"), json!("b"), json!("o"), Some("q")),
            (json!(" "), json!("b"), json!("o"), Some("b")),
            (json!(null), json!(null), json!("o"), Some("o")),
            (json!(null), json!(null), json!(null), None),
        ] {
            let params = json!({"path": "/", "query": {"profile": query}, "body": {"profile": body}, "profile": outer});
            let request = Request::parse(&params).unwrap();
            assert_eq!(request.profile.as_deref(), expected);
            assert_eq!(request.query("profile"), expected);
        }
    }

    #[test]
    fn a_path_is_required() {
        for params in [json!({}), json!({"path": " "}), json!(null)] {
            let error = Request::parse(&params).unwrap_err();
            assert_eq!(error.to_string(), "INVALID_REQUEST: path required");
        }
    }
}
