//! Requests for documents, held until their destination is judged: what a page's links, scripts, frames and
//! redirects lead to passes the same guard as what a caller asks for.
//!
//! The connection's reader hands them over and goes on; a host that has to be looked up costs a thread for as
//! long as that takes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cdp::Connection;
use super::guard::{self, Policy};

/// Hosts that are looked up at the same time; a page that asks for more gets none of them.
const MAX_LOOKUPS: usize = 16;

/// How long one look-up may take.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// Looking up only waits.
const LOOKUP_STACK: usize = 256 * 1024;

/// What the browser says of a document that was refused here.
pub const REFUSED: &str = "net::ERR_BLOCKED_BY_CLIENT";

/// Judges the document requests of one browser.
#[derive(Debug)]
pub struct Interception {
    policy: Mutex<Policy>,
    lookups: AtomicUsize,
}

/// What is known of a destination without a look at the network.
enum Verdict {
    LookUp,
    Passes,
    Refused,
}

impl Interception {
    /// Judges by this policy.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy: Mutex::new(policy),
            lookups: AtomicUsize::new(0),
        }
    }

    /// Judges by this policy from now on; whether that is another one.
    pub fn change(&self, policy: &Policy) -> bool {
        let mut own = self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        let other = *own != *policy;
        if other {
            own.clone_from(policy);
        }
        other
    }

    /// Switches the holding of requests on or off, as the policy needs it, for a page or a frame.
    pub fn switch(&self, connection: &Connection, session: &str) {
        if self.policy().private_network {
            connection.tell(Some(session), "Fetch.disable", json!({}));
        } else {
            let documents =
                json!([{"urlPattern": "*", "resourceType": "Document", "requestStage": "Request"}]);
            connection.tell(
                Some(session),
                "Fetch.enable",
                json!({"patterns": documents}),
            );
        }
    }

    /// Takes a held request and lets it go or refuses it; returns at once.
    pub fn judge(self: &Arc<Self>, connection: &Arc<Connection>, session: &str, held: &Value) {
        let url = held
            .pointer("/request/url")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let request = held.get("requestId").cloned().unwrap_or_default();
        let passes = match self.verdict(url) {
            Verdict::Passes => true,
            Verdict::Refused => false,
            Verdict::LookUp => {
                if self.look_up(connection, session, url, &request) {
                    return;
                }
                false
            }
        };
        answer(connection, session, &request, passes);
    }

    fn verdict(&self, url: &str) -> Verdict {
        // What is no address of the web asks nobody on the network.
        let Ok(destination) = guard::destination(url) else {
            let web = ["http:", "https:"]
                .iter()
                .any(|scheme| url.starts_with(scheme));
            return if web {
                Verdict::Refused
            } else {
                Verdict::Passes
            };
        };
        let policy = self.policy();
        match destination.host {
            None => Verdict::Passes,
            Some(host) if policy.trusts(&host) => Verdict::Passes,
            Some(host) => match guard::literal(&host) {
                Some(address) if policy.passes(&host, &[address]) => Verdict::Passes,
                Some(_) => Verdict::Refused,
                None => Verdict::LookUp,
            },
        }
    }

    /// Decides in a thread of its own; false when there can be none.
    fn look_up(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        session: &str,
        url: &str,
        request: &Value,
    ) -> bool {
        let free = |used: usize| (used < MAX_LOOKUPS).then_some(used + 1);
        if self
            .lookups
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, free)
            .is_err()
        {
            return false;
        }
        let (own, connection) = (Arc::clone(self), Arc::clone(connection));
        let (session, url, request) = (session.to_owned(), url.to_owned(), request.clone());
        let work = move || {
            let deadline = Instant::now() + LOOKUP_LIMIT;
            let passes = guard::check(&own.policy(), &url, deadline).is_ok();
            answer(&connection, &session, &request, passes);
            own.lookups.fetch_sub(1, Ordering::AcqRel);
        };
        let builder = std::thread::Builder::new().name("browser-lookup".to_owned());
        let started = builder.stack_size(LOOKUP_STACK).spawn(work).is_ok();
        if !started {
            self.lookups.fetch_sub(1, Ordering::AcqRel);
        }
        started
    }

    fn policy(&self) -> Policy {
        let policy = self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        policy.clone()
    }
}

fn answer(connection: &Connection, session: &str, request: &Value, passes: bool) {
    if passes {
        let params = json!({"requestId": request});
        connection.tell(Some(session), "Fetch.continueRequest", params);
    } else {
        let params = json!({"requestId": request, "errorReason": "BlockedByClient"});
        connection.tell(Some(session), "Fetch.failRequest", params);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_no_look_up_is_decided_at_once() {
        let named = Policy {
            hosts: vec!["127.0.0.1".to_owned()],
            ..Policy::default()
        };
        let interception = Interception::new(named);
        for (url, expected) in [
            ("http://127.0.0.1/", Some(true)),
            ("http://127.1/", Some(false)),
            ("https://8.8.8.8/", Some(true)),
            ("http://169.254.169.254/latest", Some(false)),
            ("http://%31/", Some(false)),
            ("data:text/html,x", Some(true)),
            ("about:blank", Some(true)),
            ("http://a.example/", None),
        ] {
            let verdict = match interception.verdict(url) {
                Verdict::Passes => Some(true),
                Verdict::Refused => Some(false),
                Verdict::LookUp => None,
            };
            assert_eq!(verdict, expected, "{url}");
        }
        assert!(interception.change(&Policy::default()));
        assert!(!interception.change(&Policy::default()));
        assert!(matches!(
            interception.verdict("http://127.0.0.1/"),
            Verdict::Refused
        ));
    }
}
