//! Requests of pages, held until their destination is judged: what a page's links, scripts, frames and redirects lead
//! to, and what it loads, passes the same guard as what a caller asks for.
//!
//! Every request is held, not documents alone: what a script fetches it can show, and a picture that loads or does not
//! tells which machines there are. So a public page with a picture of the local network shows it only where the policy
//! names the host. Workers are held through the sessions of their pages, shared and service workers through their own.
//! WebSockets, WebRTC and what the browser opens ahead of a request are no requests to it and cannot be held; a
//! debugger refuses WebSockets of pages itself. Browsers that go out through [`super::outlet`] reach nothing else anyway:
//! of theirs only documents are held, which may have schemes that need no network.
//!
//! The connection's reader hands them over and goes on; hosts that have to be looked up wait in [`Lookups`].

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::cdp::Connection;
use super::error::BrowserError;
use super::guard::{self, Policy, Site, Verdict};
use super::lookups::Lookups;
use super::shown::Way;

/// What the browser says of a document that was refused here.
pub const REFUSED: &str = "net::ERR_BLOCKED_BY_CLIENT";

/// The kinds of targets whose requests are held; those that load documents come first.
const HELD: [&str; 4] = ["page", "iframe", "shared_worker", "service_worker"];

/// Judges the requests of one browser.
#[derive(Debug)]
pub struct Interception {
    way: Way,
    policy: Mutex<Policy>,
    lookups: Arc<Lookups>,
}

impl Interception {
    /// Judges by this policy what is to be held of a browser that reaches the network in this way.
    pub fn new(way: Way, policy: Policy) -> Self {
        Self::with(way, policy, Lookups::of_system())
    }

    fn with(way: Way, policy: Policy, lookups: Lookups) -> Self {
        Self {
            way,
            policy: Mutex::new(policy),
            lookups: Arc::new(lookups),
        }
    }

    /// Judges by this policy from now on.
    pub fn change(&self, policy: &Policy) {
        let mut own = self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        if *own != *policy {
            own.clone_from(policy);
        }
    }

    /// Holds the requests of a target from now on, if it is of a kind that makes some.
    pub fn hold(&self, connection: &Connection, session: &str, kind: &str) {
        let mut pattern = json!({"urlPattern": "*", "requestStage": "Request"});
        let kinds = match self.way {
            Way::Direct | Way::Proxy => &HELD[..],
            Way::Outlet(_) => {
                pattern["resourceType"] = "Document".into();
                &HELD[..2]
            }
        };
        if kinds.contains(&kind) {
            let patterns = json!({"patterns": [pattern]});
            connection.tell(Some(session), "Fetch.enable", patterns);
        }
    }

    /// Takes a held request and lets it go or refuses it; returns at once.
    pub fn judge(self: &Arc<Self>, connection: &Arc<Connection>, session: &str, held: &Value) {
        let text = |pointer: &str| held.pointer(pointer).and_then(Value::as_str);
        let url = text("/request/url").unwrap_or_default();
        let document = text("/resourceType") == Some("Document");
        let request = held.get("requestId").cloned().unwrap_or_default();
        let (connection, session) = (Arc::clone(connection), session.to_owned());
        self.decide(url, document, move |passes| {
            answer(&connection, &session, &request, passes);
        });
    }

    /// Tells whether a request may go on, at once or when its host is looked up.
    fn decide(
        self: &Arc<Self>,
        url: &str,
        document: bool,
        told: impl FnOnce(bool) + Send + 'static,
    ) {
        let site = match place(url, document) {
            Ok(Some(site)) => site,
            Ok(None) => return told(true),
            Err(_) => return told(false),
        };
        match self.policy().verdict(&site) {
            Verdict::Passes => told(true),
            Verdict::Refused => told(false),
            Verdict::LookUp => {
                let own = Arc::clone(self);
                let host = site.host.clone();
                let then = move |found: &[_]| {
                    told(!found.is_empty() && own.policy().passes(&site, found));
                };
                self.lookups.ask(&host, Box::new(then));
            }
        }
    }

    fn policy(&self) -> Policy {
        let policy = self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        policy.clone()
    }
}

/// Where a request goes; `None` for one that asks nobody on the network.
fn place(url: &str, document: bool) -> Result<Option<Site>, BrowserError> {
    match guard::document(url) {
        // Pages get nothing but documents of other schemes, and what the browser's own pages consist of.
        Err(BrowserError::UnsupportedProtocol(_)) if !document => Ok(None),
        place => place,
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
    use std::net::IpAddr;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    fn decided(interception: &Arc<Interception>, url: &str, document: bool) -> bool {
        let (told, heard) = channel();
        interception.decide(url, document, move |passes| told.send(passes).unwrap());
        heard.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    fn judging(policy: Policy, addresses: &[&str]) -> Arc<Interception> {
        let parsed = addresses.iter().map(|text| text.parse().unwrap());
        let found = Mutex::new(parsed.collect::<Vec<IpAddr>>());
        // One address at every look.
        let resolve = move |_: &str| found.lock().unwrap().pop().into_iter().collect();
        Arc::new(Interception::with(
            Way::Direct,
            policy,
            Lookups::new(Box::new(resolve)),
        ))
    }

    #[test]
    fn every_request_is_judged_and_documents_by_their_scheme_too() {
        let named = Policy {
            hosts: vec!["127.0.0.1".to_owned()],
            ..Policy::default()
        };
        let interception = judging(named, &[]);
        for (url, document, other) in [
            ("http://127.0.0.1/", true, true),
            ("http://127.1/", false, false),
            ("https://8.8.8.8/", true, true),
            ("http://169.254.169.254/latest", false, false),
            ("http://[64:ff9b::7f00:1]/", false, false),
            ("http://%31/", false, false),
            ("http://unknown.example/", false, false),
            ("data:text/html,x", true, true),
            ("about:blank", true, true),
            ("about:srcdoc", true, true),
            ("blob:http://127.0.0.1/x", true, true),
            ("blob:http://127.0.0.2/x", false, false),
            ("file:///etc/passwd", false, true),
            ("chrome://version/", false, true),
            ("view-source:http://127.0.0.1/", false, true),
        ] {
            assert_eq!(decided(&interception, url, true), document, "{url}");
            assert_eq!(decided(&interception, url, false), other, "{url}");
        }
        interception.change(&Policy::default());
        assert!(!decided(&interception, "http://127.0.0.1/", true));
    }

    #[test]
    fn a_debugger_is_out_of_reach_where_everything_else_is_allowed() {
        let debugger = Site {
            host: "127.0.0.1".to_owned(),
            port: 18_800,
        };
        let open = Policy {
            private_network: true,
            debuggers: [debugger].into(),
            ..Policy::default()
        };
        let interception = judging(open, &["127.0.0.1"]);
        for (url, passes) in [
            ("http://127.0.0.1:18800/json/new?file:///", false),
            ("http://localhost:18800/json", false),
            ("http://a.example:18800/json", false),
            ("http://127.0.0.1:18801/", true),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(decided(&interception, url, true), passes, "{url}");
        }
    }

    #[test]
    fn a_name_is_judged_by_each_address_that_it_has_in_turn() {
        let url = "http://a.example/";
        let interception = judging(Policy::default(), &["127.0.0.1"]);
        assert!(!decided(&interception, url, false));
        let interception = judging(Policy::default(), &["8.8.8.8"]);
        assert!(decided(&interception, url, false));
        // What was found is judged by the policy of the moment.
        let debugger = Site {
            host: "8.8.8.8".to_owned(),
            port: 80,
        };
        interception.change(&Policy {
            debuggers: [debugger].into(),
            ..Policy::default()
        });
        assert!(!decided(&interception, url, false));
    }
}
