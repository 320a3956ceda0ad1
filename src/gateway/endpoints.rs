//! The HTTP requests that are not upgrades: liveness, readiness and, where they are enabled, metrics, and a
//! plain no to all else (protocol.md §1.7).
//!
//! A request head and the state of the gateway in, a response out; only failed attempts to prove the
//! shared secret are noted. No path, no name and no count
//! is told to somebody who is neither on this host nor holds the shared secret.

use serde_json::json;

use crate::gateway::auth::{SharedAuth, check_shared};
use crate::gateway::auth_reason::AuthReason;
use crate::gateway::context::{Context, Phase};
use crate::gateway::credentials::Credentials;
use crate::gateway::examine;
use crate::gateway::limits::Claimant;
use crate::gateway::locality::{Locality, Place, RequestHeaders};
use crate::gateway::metrics::{Endpoint, page};
use crate::net::Head;
use crate::net::http::Response;

/// What readiness waits for while the gateway starts.
const STARTING: &str = "startup-sidecars";

/// What readiness reports while the gateway stops.
const STOPPING: &str = "stopping";

/// The response to a request that asks for no upgrade.
pub fn answer(
    context: &Context,
    claimant: &Claimant<'_>,
    head: &Head,
    headers: &RequestHeaders,
    place: &Place,
) -> Response {
    let (path, method) = (head.path(), head.method.as_str());
    let rules = context.rules();
    let endpoint = endpoint(path, rules.metrics);
    context.counters.http_requests.note(endpoint as usize);
    let local = place.locality == Locality::DirectLocal && !headers.may_be_of_a_page();
    // Nobody guesses at a secret where it opens nothing.
    if matches!(endpoint, Endpoint::Metrics) {
        return figures(method, || {
            let authorization = head.header("authorization");
            match local {
                true => Ok(()),
                false => prove(claimant, authorization, &rules.auth),
            }
            .map(|()| page::page(context))
        });
    }
    let detailed = is_readiness(path)
        && (local || prove(claimant, head.header("authorization"), &rules.auth).is_ok());
    respond(method, path, context.phase(), context.uptime_ms(), detailed)
}

fn respond(method: &str, path: &str, phase: Phase, uptime_ms: u64, detailed: bool) -> Response {
    let live = matches!(path, "/health" | "/healthz");
    if !live && !is_readiness(path) {
        return Response::text(404, "Not Found");
    }
    if !is_reading(method) {
        return not_allowed();
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

fn is_readiness(path: &str) -> bool {
    matches!(path, "/ready" | "/readyz")
}

/// The figures for whoever may see them; `open` proves that, and reads them.
fn figures(method: &str, open: impl FnOnce() -> Result<String, Denied>) -> Response {
    if !is_reading(method) {
        return not_allowed();
    }
    match open() {
        Ok(page) => Response::page(page::CONTENT_TYPE, page),
        Err(Denied::Locked(milliseconds)) => Response::text(429, "Too Many Requests")
            .with_header("Retry-After", milliseconds.div_ceil(1_000).to_string()),
        Err(Denied::Secret) => {
            Response::text(401, "Unauthorized").with_header("WWW-Authenticate", "Bearer")
        }
    }
}

/// What a request asks for; metrics are not there unless they are enabled.
fn endpoint(path: &str, metrics: bool) -> Endpoint {
    match path {
        "/health" | "/healthz" => Endpoint::Health,
        "/metrics" if metrics => Endpoint::Metrics,
        path if is_readiness(path) => Endpoint::Ready,
        _ => Endpoint::Other,
    }
}

fn is_reading(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
}

fn not_allowed() -> Response {
    Response::text(405, "Method Not Allowed").with_header("Allow", "GET, HEAD")
}

/// Why somebody does not see what only the shared secret opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denied {
    /// Nothing is looked at for so many milliseconds: too many wrong ones came before.
    Locked(u64),
    /// No secret, or a wrong one.
    Secret,
}

/// Whether `Authorization: Bearer …` carries the shared secret; without one, nobody does. A wrong one
/// counts like one in a connect (protocol.md §4.5).
fn prove(
    claimant: &Claimant<'_>,
    authorization: Option<&str>,
    auth: &SharedAuth,
) -> Result<(), Denied> {
    let sent = bearer(authorization, auth);
    let shared = examine::shared(claimant, auth, &sent, || check_shared(auth, &sent));
    let proven = match shared {
        Ok(method) if method.is_shared_secret() => examine::let_in(claimant, method),
        Ok(_) => return Err(Denied::Secret),
        Err(reason) => Err(examine::without_device(claimant, reason)),
    };
    proven.map_err(|reason| match reason {
        AuthReason::RateLimited(left) => Denied::Locked(left),
        _ => Denied::Secret,
    })
}

/// The bearer token as the shared credential that the gateway asks for.
fn bearer(authorization: Option<&str>, auth: &SharedAuth) -> Credentials {
    let given = authorization.and_then(|value| value.split_once(' '));
    let bearer = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let secret = Credentials::clean(bearer.map(|(_, value)| value));
    match auth {
        SharedAuth::Password(_) => Credentials {
            password: secret,
            ..Credentials::default()
        },
        _ => Credentials {
            token: secret,
            ..Credentials::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::auth::AuthMethod;
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
            (
                &SharedAuth::Password(Token::from("s")),
                Some("Bearer s"),
                true,
            ),
            (&SharedAuth::None, Some("Bearer "), false),
        ] {
            let verdict = check_shared(auth, &bearer(header, auth));
            let opened = verdict.is_ok_and(AuthMethod::is_shared_secret);
            assert_eq!(opened, expected, "{header:?}");
        }
    }
}
