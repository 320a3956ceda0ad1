//! What a page says, throws and asks for, bounded: a page that floods these logs costs no more than one that
//! does not (node-host specification, section 4.4, `/console`, `/errors`, `/requests`).

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use crate::store::clock::rfc3339;

/// Console messages kept.
const MAX_MESSAGES: usize = 500;

/// Uncaught errors kept.
const MAX_ERRORS: usize = 200;

/// Requests kept.
const MAX_REQUESTS: usize = 500;

/// Bytes kept of each text.
const MAX_TEXT_BYTES: usize = 4 * 1024;

/// Bytes kept of all texts of one kind.
const MAX_BYTES: usize = 512 * 1024;

/// Values of one console message that are shown.
const MAX_VALUES: usize = 32;

/// The newest of everything.
#[derive(Debug, Default)]
pub struct Logs {
    messages: Kept,
    errors: Kept,
    requests: Kept,
    /// The number of the last request.
    last_request: u64,
}

/// The newest entries that fit.
#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    /// What later events call it by.
    key: String,
    bytes: usize,
    shown: Value,
}

impl Kept {
    fn push(&mut self, limit: usize, key: &str, shown: Value) {
        let bytes = key.len() + weight(&shown);
        self.bytes += bytes;
        let key = key.to_owned();
        self.entries.push_back(Entry { key, bytes, shown });
        while self.entries.len() > limit || (self.bytes > MAX_BYTES && self.entries.len() > 1) {
            if let Some(entry) = self.entries.pop_front() {
                self.bytes -= entry.bytes;
            }
        }
    }

    /// The newest entry of this key.
    fn find(&mut self, key: &str) -> Option<&mut Value> {
        let mut newest = self.entries.iter_mut().rev();
        let entry = newest.find(|entry| entry.key == key)?;
        Some(&mut entry.shown)
    }

    fn list(&self, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let shown = self.entries.iter().map(|entry| &entry.shown);
        shown.filter(|entry| wanted(entry)).cloned().collect()
    }
}

impl Logs {
    /// Takes an event of the page; others than those of the logs are none of theirs.
    pub fn event(&mut self, method: &str, params: &Value) {
        match method {
            "Runtime.consoleAPICalled" => self.messages.push(MAX_MESSAGES, "", message(params)),
            "Runtime.exceptionThrown" => self.errors.push(MAX_ERRORS, "", error(params)),
            "Network.requestWillBeSent" => self.request(params),
            "Network.responseReceived" => {
                let status = params.pointer("/response/status").and_then(Value::as_u64);
                self.answer(params, |request| {
                    let status = status.unwrap_or(0);
                    request.insert("status".to_owned(), status.into());
                    request.insert("ok".to_owned(), (200..400).contains(&status).into());
                });
            }
            "Network.loadingFailed" => {
                let reason = params.get("errorText").cloned().unwrap_or_default();
                self.answer(params, |request| {
                    request.insert("ok".to_owned(), false.into());
                    request.insert("failureText".to_owned(), reason);
                });
            }
            _ => {}
        }
    }

    fn request(&mut self, params: &Value) {
        let text = |pointer: &str| params.pointer(pointer).and_then(Value::as_str);
        let id = text("/requestId").unwrap_or_default();
        // A redirect answers the request before it under the same id.
        if let Some(status) = params.pointer("/redirectResponse/status") {
            if let Some(before) = self.requests.find(id).and_then(Value::as_object_mut) {
                before.insert("status".to_owned(), status.clone());
                before.insert("ok".to_owned(), true.into());
            }
        }
        self.last_request += 1;
        let shown = json!({
            "id": format!("r{}", self.last_request),
            "timestamp": iso(params.get("wallTime").and_then(Value::as_f64).map(|at| at * 1_000.0)),
            "method": text("/request/method").unwrap_or_default(),
            "url": cut(text("/request/url").unwrap_or_default()),
            "resourceType": text("/type").unwrap_or("other").to_ascii_lowercase(),
        });
        self.requests.push(MAX_REQUESTS, id, shown);
    }

    fn answer(&mut self, params: &Value, change: impl FnOnce(&mut Map<String, Value>)) {
        let id = params.get("requestId").and_then(Value::as_str);
        let request = id.and_then(|id| self.requests.find(id));
        if let Some(request) = request.and_then(Value::as_object_mut) {
            change(request);
        }
    }

    /// The newest console messages at least as severe as `level`; `None` is all.
    pub fn messages(&self, level: Option<u8>) -> Vec<Value> {
        self.messages.list(|message| {
            let kind = message
                .get("type")
                .and_then(Value::as_str)
                .unwrap_or_default();
            level.is_none_or(|level| severity(kind) >= level)
        })
    }

    /// The newest uncaught errors.
    pub fn errors(&self) -> Vec<Value> {
        self.errors.list(|_| true)
    }

    /// The newest requests whose URL contains `filter`.
    pub fn requests(&self, filter: &str) -> Vec<Value> {
        self.requests.list(|request| {
            let url = request.get("url").and_then(Value::as_str);
            url.is_some_and(|url| url.contains(filter))
        })
    }

    /// Forgets the errors.
    pub fn clear_errors(&mut self) {
        self.errors = Kept::default();
    }

    /// Forgets the requests.
    pub fn clear_requests(&mut self) {
        self.requests = Kept::default();
    }
}

/// How severe a kind of console message is.
pub fn severity(kind: &str) -> u8 {
    match kind {
        "error" | "assert" => 3,
        "warning" | "warn" => 2,
        "debug" | "verbose" => 0,
        _ => 1,
    }
}

fn message(params: &Value) -> Value {
    let values = params.get("args").and_then(Value::as_array);
    let values = values.into_iter().flatten().take(MAX_VALUES).map(shown);
    let text = values.collect::<Vec<_>>().join(" ");
    let mut message = json!({
        "type": params.get("type").cloned().unwrap_or_default(),
        "text": cut(&text),
        "timestamp": iso(params.get("timestamp").and_then(Value::as_f64)),
    });
    if let Some(frame) = params.pointer("/stackTrace/callFrames/0") {
        let url = frame.get("url").and_then(Value::as_str).unwrap_or_default();
        message["location"] = json!({
            "url": cut(url),
            "lineNumber": frame.get("lineNumber"),
            "columnNumber": frame.get("columnNumber"),
        });
    }
    message
}

/// A value of the page as its console shows it.
fn shown(value: &Value) -> String {
    let found = ["value", "unserializableValue", "description"]
        .iter()
        .find_map(|name| value.get(name));
    let kind = || {
        value
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    match found {
        Some(Value::String(text)) => cut(text).to_owned(),
        Some(other) => cut(&other.to_string()).to_owned(),
        None => kind(),
    }
}

fn error(params: &Value) -> Value {
    let details = params.get("exceptionDetails").unwrap_or(&Value::Null);
    let exception = details.get("exception").unwrap_or(&Value::Null);
    let description = exception.get("description").and_then(Value::as_str);
    let stack = description
        .map(str::to_owned)
        .or_else(|| {
            exception
                .get("value")
                .map(|value| shown(&json!({"value": value})))
        })
        .or_else(|| {
            details
                .get("text")
                .and_then(Value::as_str)
                .map(str::to_owned)
        })
        .unwrap_or_default();
    let name = exception.get("className").and_then(Value::as_str);
    let first = stack.lines().next().unwrap_or_default();
    let bare = name.and_then(|name| first.strip_prefix(name)?.strip_prefix(": "));
    json!({
        "message": cut(bare.unwrap_or(first)),
        "name": name.unwrap_or("Error"),
        "stack": cut(&stack),
        "timestamp": iso(params.get("timestamp").and_then(Value::as_f64)),
    })
}

/// A time of the browser, in milliseconds since 1970.
fn iso(at_ms: Option<f64>) -> String {
    // Fractions and what is out of range are no part of the text.
    rfc3339(at_ms.unwrap_or_default().max(0.0) as u64)
}

/// The beginning of a text, at a character's end.
fn cut(text: &str) -> &str {
    if text.len() <= MAX_TEXT_BYTES {
        return text;
    }
    let mut end = MAX_TEXT_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Bytes of the texts of an entry, and a bit for everything around them.
fn weight(entry: &Value) -> usize {
    match entry {
        Value::String(text) => text.len() + 16,
        Value::Object(members) => members.values().map(weight).sum(),
        _ => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(logs: &mut Logs, kind: &str, text: &str) {
        let params = json!({"type": kind, "timestamp": 1_700_000_000_123.4, "args": [{"type": "string", "value": text},
            {"type": "number", "value": 7}, {"type": "undefined"}, {"type": "object", "description": "Object"}],
            "stackTrace": {"callFrames": [{"url": "http://h/", "lineNumber": 2, "columnNumber": 3}]}});
        logs.event("Runtime.consoleAPICalled", &params);
    }

    #[test]
    fn messages_have_text_time_and_place() {
        let mut logs = Logs::default();
        log(&mut logs, "log", "clicked");
        let expected = json!({"type": "log", "text": "clicked 7 undefined Object", "timestamp": "2023-11-14T22:13:20.123Z",
            "location": {"url": "http://h/", "lineNumber": 2, "columnNumber": 3}});
        assert_eq!(logs.messages(None), [expected]);
        for kind in ["debug", "warning", "error", "info"] {
            log(&mut logs, kind, "x");
        }
        let kinds = |level: &str| {
            let kept = logs.messages(Some(severity(level)));
            kept.iter()
                .map(|it| it["type"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(kinds("error"), ["error"]);
        assert_eq!(kinds("warning"), ["warning", "error"]);
        assert_eq!(kinds("info"), ["log", "warning", "error", "info"]);
        assert_eq!(kinds("debug").len(), 5);
    }

    #[test]
    fn a_flood_leaves_the_newest_within_their_bounds() {
        let mut logs = Logs::default();
        for at in 0..2_000 {
            log(&mut logs, "log", &at.to_string());
        }
        let kept = logs.messages(None);
        assert_eq!(kept.len(), MAX_MESSAGES);
        assert!(
            kept[MAX_MESSAGES - 1]["text"]
                .as_str()
                .unwrap()
                .starts_with("1999 ")
        );
        let long = "ü".repeat(MAX_TEXT_BYTES);
        for _ in 0..600 {
            log(&mut logs, "log", &long);
        }
        assert!(logs.messages.bytes <= MAX_BYTES && logs.messages.entries.len() > 50);
        let text = logs.messages(None).pop().unwrap()["text"].clone();
        assert!(text.as_str().unwrap().len() <= MAX_TEXT_BYTES);
    }

    #[test]
    fn errors_are_taken_apart() {
        let mut logs = Logs::default();
        let thrown = |exception: Value| json!({"timestamp": 0.0, "exceptionDetails": {"text": "Uncaught", "exception": exception}});
        let stack = "TypeError: no\n    at f (http://h/:1:2)";
        logs.event(
            "Runtime.exceptionThrown",
            &thrown(json!({"className": "TypeError", "description": stack})),
        );
        logs.event(
            "Runtime.exceptionThrown",
            &thrown(json!({"value": "plain"})),
        );
        let errors = logs.errors();
        assert_eq!(
            (&errors[0]["message"], &errors[0]["name"]),
            (&json!("no"), &json!("TypeError"))
        );
        assert_eq!(errors[0]["stack"], stack);
        assert_eq!(errors[1]["message"], "plain");
        logs.clear_errors();
        assert!(logs.errors().is_empty());
    }

    #[test]
    fn a_request_learns_its_answer_and_a_redirect_is_two() {
        let mut logs = Logs::default();
        let sent = |id: &str, url: &str, redirect: Value| {
            json!({"requestId": id, "type": "Document", "wallTime": 1.5,
            "request": {"url": url, "method": "GET"}, "redirectResponse": redirect})
        };
        logs.event(
            "Network.requestWillBeSent",
            &sent("A", "http://h/a", Value::Null),
        );
        logs.event(
            "Network.requestWillBeSent",
            &sent("A", "http://h/b", json!({"status": 302})),
        );
        logs.event(
            "Network.responseReceived",
            &json!({"requestId": "A", "response": {"status": 404}}),
        );
        logs.event(
            "Network.requestWillBeSent",
            &sent("B", "http://h/c", Value::Null),
        );
        logs.event(
            "Network.loadingFailed",
            &json!({"requestId": "B", "errorText": "net::ERR_FAILED"}),
        );
        let all = logs.requests("");
        let first = json!({"id": "r1", "timestamp": "1970-01-01T00:00:01.500Z", "method": "GET", "url": "http://h/a",
            "resourceType": "document", "status": 302, "ok": true});
        assert_eq!(all[0], first);
        assert_eq!(
            (&all[1]["status"], &all[1]["ok"]),
            (&json!(404), &json!(false))
        );
        assert_eq!(
            (&all[2]["failureText"], &all[2]["ok"]),
            (&json!("net::ERR_FAILED"), &json!(false))
        );
        assert_eq!(logs.requests("/c").len(), 1);
        logs.clear_requests();
        assert!(logs.requests("").is_empty());
    }
}
