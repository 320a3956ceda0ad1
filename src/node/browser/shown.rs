//! What a page and its frames show, and which address each document came from: the look at a name before a request
//! says where it leads then, this says where it led the browser.
//!
//! Fed by what the browser says of frames and answers; nothing here is up to the page's scripts. What workers of the page
//! were answered is not known here, nor what an earlier page read and kept: for browsers that go out through
//! [`super::outlet`] that holds no danger.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use serde_json::Value;

use super::addresses::is_internal;
use super::error::BrowserError;
use super::guard::{self, Policy, Site, Verdict};

/// Documents whose addresses are remembered: those of a page, of its frames, and of pages that can be gone back to.
const MAX_ARRIVALS: usize = 256;

/// Answers from internal addresses that are told apart; a page that has more is judged as if one were forbidden.
const MAX_INSIDE: usize = 64;

/// How a browser reaches the network, which says what the addresses of its answers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// By itself: an address is the one that a name led to.
    #[default]
    Direct,
    /// Through the outlet of the node host at this port of loopback: what came from an internal address went around it.
    Outlet(u16),
    /// Through a proxy of its owner, whose address says nothing about a server's.
    Proxy,
}

/// Where a document came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From this address.
    Address(IpAddr),
    /// It was there before anybody listened, or a page or a worker of its site made it.
    Elsewhere,
    /// It says that there is none.
    Nothing,
    /// From somewhere that the browser did not tell.
    Unknown,
}

/// The documents of one page.
#[derive(Debug, Default)]
pub struct Shown {
    way: Way,
    frames: HashMap<String, Frame>,
    arrivals: VecDeque<(String, Source)>,
    inside: Vec<Inside>,
}

/// What one frame shows; the page's own is one of them.
#[derive(Debug)]
struct Frame {
    document: String,
    place: Result<Option<Site>, BrowserError>,
    /// What is known without an answer of a server.
    source: Option<Source>,
}

/// An answer from an internal address, or around the outlet, to the document that asked for it.
#[derive(Debug, PartialEq, Eq)]
struct Inside {
    document: String,
    site: Site,
    address: IpAddr,
}

impl Shown {
    /// Nothing yet, in a browser that reaches the network in this way.
    pub fn new(way: Way) -> Self {
        Self {
            way,
            ..Self::default()
        }
    }

    /// A frame shows another document: the `frame` of `Page.frameNavigated`. With the one of the `page` all others are
    /// gone.
    pub fn navigated(&mut self, frame: &Value, page: bool) {
        let text = |name: &str| frame.get(name).and_then(Value::as_str);
        let document = text("loaderId").unwrap_or_default();
        if page {
            self.frames.clear();
            self.inside.retain(|inside| inside.document == document);
        }
        let url = text("url").unwrap_or_default();
        // An error page is called by the address that it could not show.
        let failed = text("unreachableUrl").is_some_and(|url| !url.is_empty());
        let source = if failed {
            Some(Source::Nothing)
        } else {
            url.starts_with("blob:").then_some(Source::Elsewhere)
        };
        let shown = Frame {
            document: document.to_owned(),
            place: if failed { Ok(None) } else { place(url) },
            source,
        };
        let id = text("id").unwrap_or_default();
        self.frames.insert(id.to_owned(), shown);
    }

    /// A frame was there already when somebody began to listen.
    pub fn found(&mut self, id: &str, url: &str) {
        let found = || Frame {
            document: String::new(),
            place: place(url),
            source: Some(Source::Elsewhere),
        };
        self.frames.entry(id.to_owned()).or_insert_with(found);
    }

    /// The frames of an answer of `Page.getFrameTree` were there already.
    pub fn found_all(&mut self, answer: &Value) {
        let mut open: Vec<&Value> = answer.get("frameTree").into_iter().collect();
        while let Some(tree) = open.pop() {
            let frame = tree.get("frame").unwrap_or(&Value::Null);
            let text = |name: &str| frame.get(name).and_then(Value::as_str);
            let failed = text("unreachableUrl").is_some_and(|url| !url.is_empty());
            let url = text("url").filter(|_| !failed).unwrap_or_default();
            self.found(text("id").unwrap_or_default(), url);
            let inner = tree.get("childFrames").and_then(Value::as_array);
            open.extend(inner.into_iter().flatten());
        }
    }

    /// A frame is gone: `Page.frameDetached`.
    pub fn detached(&mut self, params: &Value) {
        let text = |name: &str| params.get(name).and_then(Value::as_str);
        // One that only moves to another process stays.
        if text("reason") != Some("swap") {
            self.frames.remove(text("frameId").unwrap_or_default());
        }
    }

    /// Whether a frame is one of the page's.
    pub fn has(&self, frame: &str) -> bool {
        self.frames.contains_key(frame)
    }

    /// A server has answered: `Network.responseReceived`.
    pub fn answered(&mut self, params: &Value) {
        let text = |pointer: &str| params.pointer(pointer).and_then(Value::as_str);
        let document = text("/loaderId").unwrap_or_default();
        let address = text("/response/remoteIPAddress").unwrap_or_default();
        let address = address.trim_start_matches('[').trim_end_matches(']');
        let address = address.parse::<IpAddr>().ok();
        if text("/type") == Some("Document") {
            let worker = params.pointer("/response/fromServiceWorker");
            let source = match address {
                Some(_) if self.way != Way::Direct => Source::Elsewhere,
                Some(address) => Source::Address(address),
                None if worker == Some(&Value::Bool(true)) => Source::Elsewhere,
                None => Source::Unknown,
            };
            self.arrivals.push_back((document.to_owned(), source));
            if self.arrivals.len() > MAX_ARRIVALS {
                self.arrivals.pop_front();
            }
        }
        let url = text("/response/url").unwrap_or_default();
        let (Some(address), Ok(Some(site))) = (address, guard::destination(url)) else {
            return;
        };
        let inside = Inside {
            document: document.to_owned(),
            site,
            address,
        };
        let taints = match self.way {
            Way::Direct => is_internal(address),
            Way::Outlet(port) => {
                let response = &params["response"];
                // What is kept names the outlet of another life, which is no port of the web.
                let around = response["remotePort"] == inside.site.port;
                let own = response["remotePort"] == port;
                around && !own && response["fromDiskCache"] != true && is_internal(address)
            }
            Way::Proxy => false,
        };
        if taints && self.inside.len() <= MAX_INSIDE && !self.inside.contains(&inside) {
            self.inside.push(inside);
        }
    }

    /// Judges everything that is shown by what is known here; the places whose hosts have to be looked up yet.
    ///
    /// # Errors
    /// [`BrowserError::Blocked`].
    pub fn judge(&self, policy: &Policy) -> Result<Vec<Site>, BrowserError> {
        let mut open = Vec::new();
        for frame in self.frames.values() {
            let Some(site) = frame.place.clone()? else {
                continue;
            };
            let passes = match (policy.verdict(&site), self.source(frame)) {
                (Verdict::Refused, _) => false,
                (_, Source::Address(address)) => policy.passes(&site, &[address]),
                (Verdict::Passes, _) | (_, Source::Nothing) => true,
                (Verdict::LookUp, Source::Unknown) if self.way == Way::Direct => false,
                (Verdict::LookUp, _) => {
                    open.push(site);
                    true
                }
            };
            if !passes {
                return Err(BrowserError::Blocked);
            }
        }
        let led = |inside: &Inside| !policy.passes(&inside.site, &[inside.address]);
        let uncounted = self.inside.len() > MAX_INSIDE && !policy.private_network;
        if self.inside.iter().any(led) || uncounted {
            return Err(BrowserError::Blocked);
        }
        open.sort();
        open.dedup();
        Ok(open)
    }

    fn source(&self, frame: &Frame) -> Source {
        let heard = || {
            let mut arrivals = self.arrivals.iter().rev();
            arrivals.find(|(document, _)| *document == frame.document)
        };
        frame
            .source
            .or_else(|| heard().map(|(_, source)| *source))
            .unwrap_or(Source::Unknown)
    }
}

fn place(url: &str) -> Result<Option<Site>, BrowserError> {
    guard::document(url).map_err(|_| BrowserError::Blocked)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PAGE: &str = "P";

    fn blocked(shown: &Shown, policy: &Policy) -> bool {
        shown.judge(policy) == Err(BrowserError::Blocked)
    }

    fn frame(id: &str, document: &str, url: &str) -> Value {
        json!({"id": id, "loaderId": document, "url": url})
    }

    fn answer(document: &str, kind: &str, url: &str, address: &str) -> Value {
        json!({"loaderId": document, "type": kind, "response": {"url": url, "remoteIPAddress": address}})
    }

    fn names(hosts: &[&str]) -> Policy {
        Policy {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..Policy::default()
        }
    }

    /// A page at `http://a.example/` that came from `address`.
    fn at(address: &str) -> Shown {
        reached(Way::Direct, address)
    }

    fn reached(way: Way, address: &str) -> Shown {
        let mut shown = Shown::new(way);
        shown.answered(&answer("1", "Document", "http://a.example/", address));
        shown.navigated(&frame(PAGE, "1", "http://a.example/"), true);
        shown
    }

    #[test]
    fn a_document_is_judged_by_the_address_that_it_came_from() {
        let policy = Policy::default();
        assert_eq!(at("8.8.8.8").judge(&policy), Ok(Vec::new()));
        assert!(blocked(&at("127.0.0.1"), &policy));
        assert!(blocked(&at("[::1]"), &policy));
        // Not told, and nobody's answer was heard.
        assert!(blocked(&at(""), &policy));
        let mut unheard = Shown::default();
        unheard.navigated(&frame(PAGE, "1", "http://a.example/"), true);
        assert!(blocked(&unheard, &policy));
        // The operator's hosts are wherever they are.
        assert_eq!(
            at("127.0.0.1").judge(&names(&["a.example"])),
            Ok(Vec::new())
        );
        // The proxy's address says nothing about the server's.
        let looked_up = reached(Way::Proxy, "127.0.0.1").judge(&policy).unwrap();
        assert_eq!(looked_up.len(), 1);
    }

    #[test]
    fn what_came_from_no_server_is_judged_by_its_site() {
        let policy = Policy::default();
        let show = |url: &str| {
            let mut shown = Shown::default();
            shown.navigated(&frame(PAGE, "1", url), true);
            shown.judge(&policy).map(|open| open.len())
        };
        for (url, expected) in [
            ("about:blank", Ok(0)),
            ("data:text/html,x", Ok(0)),
            ("blob:http://a.example/1", Ok(1)),
            ("blob:http://10.0.0.1/1", Err(BrowserError::Blocked)),
            ("file:///etc/passwd", Err(BrowserError::Blocked)),
            ("chrome://version/", Err(BrowserError::Blocked)),
        ] {
            assert_eq!(show(url), expected, "{url}");
        }
        let mut early = Shown::default();
        let frames = json!({"frameTree": {"frame": {"id": PAGE, "url": "http://a.example/"},
            "childFrames": [{"frame": {"id": "F", "url": "http://b.example/"}}]}});
        early.found_all(&frames);
        assert_eq!(early.judge(&policy).unwrap().len(), 2);
        let mut served = Shown::default();
        let mut by_worker = answer("1", "Document", "http://a.example/", "");
        by_worker["response"]["fromServiceWorker"] = true.into();
        served.answered(&by_worker);
        served.navigated(&frame(PAGE, "1", "http://a.example/"), true);
        assert_eq!(served.judge(&policy).unwrap().len(), 1);
        // What says that there is nothing shows nothing.
        let mut failed = Shown::default();
        let mut error = frame(PAGE, "1", "chrome-error://chromewebdata/");
        error["unreachableUrl"] = "http://10.0.0.1/".into();
        failed.navigated(&error, true);
        assert_eq!(failed.judge(&policy), Ok(Vec::new()));
    }

    #[test]
    fn one_forbidden_frame_is_enough_until_it_is_gone() {
        let policy = Policy::default();
        let mut shown = at("8.8.8.8");
        shown.answered(&answer("2", "Document", "http://10.0.0.1/", "10.0.0.1"));
        shown.navigated(&frame("F", "2", "http://10.0.0.1/"), false);
        assert!(blocked(&shown, &policy));
        assert!(!blocked(&shown, &names(&["10.0.0.1"])));
        shown.detached(&json!({"frameId": "F", "reason": "swap"}));
        assert!(shown.has("F"));
        shown.detached(&json!({"frameId": "F", "reason": "remove"}));
        // What it said may stand elsewhere on the page by now.
        assert!(blocked(&shown, &policy));
        shown.answered(&answer("3", "Document", "http://a.example/", "8.8.8.8"));
        shown.navigated(&frame(PAGE, "3", "http://a.example/"), true);
        assert!(!blocked(&shown, &policy));
    }

    #[test]
    fn an_answer_from_inside_taints_the_document_that_asked() {
        let policy = Policy::default();
        let mut shown = at("8.8.8.8");
        shown.answered(&answer("1", "Fetch", "http://b.example/", "93.184.216.34"));
        assert!(!blocked(&shown, &policy));
        // The name led elsewhere when the browser asked.
        shown.answered(&answer("1", "Fetch", "http://b.example/", "192.168.0.1"));
        assert!(blocked(&shown, &policy));
        assert!(!blocked(&shown, &names(&["b.example"])));
        for number in 0..MAX_INSIDE {
            let url = format!("http://h{number}.b.example/");
            shown.answered(&answer("1", "Fetch", &url, "192.168.0.1"));
        }
        assert!(blocked(&shown, &names(&["b.example", "*.b.example"])));
        assert_eq!(shown.inside.len(), MAX_INSIDE + 1);
    }

    #[test]
    fn what_came_around_the_outlet_taints_whatever_asked_for_it() {
        let policy = Policy::default();
        let after = |response: Value| {
            let mut shown = Shown::new(Way::Outlet(1080));
            let mut answer = answer("1", "Fetch", "http://b.example/", "127.0.0.1");
            for (name, value) in response.as_object().unwrap() {
                answer["response"][name] = value.clone();
            }
            shown.answered(&answer);
            shown.navigated(&frame(PAGE, "1", "http://a.example/"), true);
            blocked(&shown, &policy)
        };
        for (response, tainted) in [
            (json!({"remotePort": 1080}), false),
            (json!({"remotePort": 80}), true),
            // The outlet of another life of the browser.
            (json!({"remotePort": 1081}), false),
            (json!({"remotePort": 80, "fromDiskCache": true}), false),
            (
                json!({"remotePort": 80, "remoteIPAddress": "8.8.8.8"}),
                false,
            ),
            (json!({"remotePort": 80, "remoteIPAddress": ""}), false),
        ] {
            assert_eq!(after(response.clone()), tainted, "{response}");
        }
    }

    #[test]
    fn what_is_gone_back_to_is_where_it_came_from() {
        let policy = Policy::default();
        let mut shown = at("8.8.8.8");
        shown.navigated(&frame(PAGE, "2", "about:blank"), true);
        shown.navigated(&frame(PAGE, "1", "http://a.example/"), true);
        assert_eq!(shown.judge(&policy), Ok(Vec::new()));
    }
}
