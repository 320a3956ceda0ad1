//! The HTTP requests that are not upgrades: liveness and readiness, and a plain no to all else
//! (protocol.md §1.7).
//!
//! Pure: a request head and the state of the gateway in, a response out. No path, no name and no count
//! is told to somebody who is neither on this host nor holds the shared secret.

use serde_json::json;

use crate::gateway::auth::SharedAuth;
use crate::gateway::context::{Context, Phase};
use crate::gateway::locality::{Locality, Place};
use crate::identity::secret_eq;
use crate::net::Head;
use crate::net::http::Response;

/// What readiness waits for while the gateway starts.
const STARTING: &str = "startup-sidecars";

/// What readiness reports while the gateway stops.
const STOPPING: &str = "stopping";

/// The response to a request that asks for no upgrade.
pub fn answer(context: &Context, head: &Head, place: &Place) -> Response {
    let detailed = place.locality == Locality::DirectLocal
        || bears_secret(head.header("authorization"), &context.rules().auth);
    respond(
        &head.method,
        head.path(),
        context.phase(),
        context.uptime_ms(),
        detailed,
    )
}

fn respond(method: &str, path: &str, phase: Phase, uptime_ms: u64, detailed: bool) -> Response {
    let live = matches!(path, "/health" | "/healthz");
    if !live && !matches!(path, "/ready" | "/readyz") {
        return Response::text(404, "Not Found");
    }
    if !matches!(method, "GET" | "HEAD") {
        return Response::text(405, "Method Not Allowed").with_header("Allow", "GET, HEAD");
    }
    if live {
        return Response::json(200, json!({"ok": true, "status": "live"}).to_string());
    }
    let failing: &[&str] = match phase {
        Phase::Ready => &[],
        Phase::Starting => &[STARTING],
        Phase::Stopping => &[STOPPING],
    };
    let ready = failing.is_empty();
    let body = if detailed {
        json!({"ready": ready, "failing": failing, "uptimeMs": uptime_ms})
    } else {
        json!({"ready": ready})
    };
    Response::json(if ready { 200 } else { 503 }, body.to_string())
}

/// Whether `Authorization: Bearer …` carries the shared secret; without one, nobody does.
fn bears_secret(authorization: Option<&str>, auth: &SharedAuth) -> bool {
    let (SharedAuth::Password(secret) | SharedAuth::Token(secret)) = auth else {
        return false;
    };
    let given = authorization.and_then(|value| value.split_once(' '));
    given.is_some_and(|(scheme, value)| {
        scheme.eq_ignore_ascii_case("bearer") && secret_eq(secret.as_str(), value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Token;

    #[test]
    #[rustfmt::skip]
    fn each_path_and_method_has_its_answer() {
        let live = r#"{"ok":true,"status":"live"}"#;
        for (method, path, phase, detailed, status, body) in [
            ("GET", "/health", Phase::Starting, false, "200 OK", live),
            ("HEAD", "/healthz", Phase::Ready, false, "200 OK", live),
            ("GET", "/ready", Phase::Ready, false, "200 OK", r#"{"ready":true}"#),
            ("GET", "/readyz", Phase::Ready, true, "200 OK", r#"{"ready":true,"failing":[],"uptimeMs":7}"#),
            ("GET", "/readyz", Phase::Starting, false, "503 Service Unavailable", r#"{"ready":false}"#),
            ("GET", "/ready", Phase::Starting, true, "503 Service Unavailable", r#"{"ready":false,"failing":["startup-sidecars"],"uptimeMs":7}"#),
            ("GET", "/ready", Phase::Stopping, true, "503 Service Unavailable", r#"{"ready":false,"failing":["stopping"],"uptimeMs":7}"#),
            ("POST", "/health", Phase::Ready, true, "405 Method Not Allowed", "Method Not Allowed"),
            ("DELETE", "/readyz", Phase::Ready, true, "405 Method Not Allowed", "Method Not Allowed"),
            ("GET", "/", Phase::Ready, true, "404 Not Found", "Not Found"),
            ("POST", "/api/x", Phase::Ready, true, "404 Not Found", "Not Found"),
            ("GET", "/healthy", Phase::Ready, true, "404 Not Found", "Not Found"),
        ] {
            let text = respond(method, path, phase, 7, detailed).render(false);
            assert!(
                text.starts_with(&format!("HTTP/1.1 {status}\r\n")),
                "{method} {path}: {text}"
            );
            assert!(
                text.ends_with(&format!("\r\n\r\n{body}")),
                "{method} {path}: {text}"
            );
            let allow = text.contains("Allow: GET, HEAD\r\n");
            assert_eq!(allow, status.starts_with("405"), "{method} {path}");
            for header in [
                "X-Content-Type-Options: nosniff",
                "Referrer-Policy: no-referrer",
                "Permissions-Policy: ",
            ] {
                assert!(text.contains(header), "{method} {path}: {header}");
            }
        }
    }

    #[test]
    fn only_the_shared_secret_opens_the_details() {
        let token = SharedAuth::Token(Token::from("s"));
        for (auth, header, expected) in [
            (&token, Some("Bearer s"), true),
            (&token, Some("bearer  s "), true),
            (&token, Some("Basic s"), false),
            (&token, Some("Bearer x"), false),
            (&token, Some("Bearer"), false),
            (&token, None, false),
            (&SharedAuth::None, Some("Bearer "), false),
        ] {
            assert_eq!(bears_secret(header, auth), expected, "{header:?}");
        }
    }
}
