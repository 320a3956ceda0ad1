//! The table of routes: method and path, what the browser must be for it, who handles it
//! (node-host specification, section 4.4).

mod act;
mod capture;
mod cookies;
mod dialog;
mod highlight;
mod life;
mod logs;
mod navigate;
mod set;
mod snapshot;
mod storage;
mod tabs;
mod transfer;

use serde_json::Value;

use super::context::Context;
use super::error::BrowserError;
use super::profiles;
use super::request::{Method, Request};

/// What a route needs of the browser before it begins; what starts one does so itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Nothing: it says or changes something about any profile, run by whomever.
    Anything,
    /// It starts the browser where it needs one.
    Driven,
    /// A browser that runs already.
    Running,
}

/// Handles a request: the result, or why there is none.
pub type Handler = fn(&Context<'_>) -> Result<Value, BrowserError>;

/// One route.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    method: Method,
    /// The path; a segment `*` stands for any one.
    path: &'static str,
    /// What it needs.
    pub start: Start,
    /// Who handles it.
    pub handle: Handler,
}

const fn route(method: Method, path: &'static str, start: Start, handle: Handler) -> Route {
    Route {
        method,
        path,
        start,
        handle,
    }
}

use Method::{Delete, Get, Post};
use Start::{Anything, Driven, Running};

/// Every route.
const ROUTES: &[Route] = &[
    route(Get, "/", Anything, life::status),
    route(Post, "/start", Driven, life::start),
    route(Post, "/stop", Driven, life::stop),
    route(Get, "/profiles", Anything, profiles::list),
    route(Post, "/profiles/create", Anything, profiles::create),
    route(Delete, "/profiles/*", Anything, profiles::delete),
    route(Post, "/reset-profile", Driven, profiles::reset),
    route(Get, "/tabs", Driven, tabs::list),
    route(Post, "/tabs/open", Driven, tabs::open),
    route(Post, "/tabs/focus", Running, tabs::focus),
    route(Post, "/tabs/action", Driven, tabs::action),
    route(Delete, "/tabs/*", Running, tabs::close),
    route(Post, "/navigate", Driven, navigate::navigate),
    route(Get, "/snapshot", Driven, snapshot::snapshot),
    route(Post, "/highlight", Driven, highlight::highlight),
    route(Post, "/screenshot", Driven, capture::screenshot),
    route(Post, "/pdf", Driven, capture::pdf),
    route(Post, "/act", Driven, act::act),
    route(Get, "/console", Driven, logs::console),
    route(Get, "/errors", Driven, logs::errors),
    route(Get, "/requests", Driven, logs::requests),
    route(Get, "/cookies", Driven, cookies::list),
    route(Post, "/cookies/set", Driven, cookies::set),
    route(Post, "/cookies/clear", Driven, cookies::clear),
    route(Get, "/storage/*", Driven, storage::read),
    route(Post, "/storage/*/set", Driven, storage::set),
    route(Post, "/storage/*/clear", Driven, storage::clear),
    route(Post, "/hooks/dialog", Driven, dialog::arm),
    route(Post, "/hooks/file-chooser", Driven, transfer::choose),
    route(Post, "/wait/download", Driven, transfer::wait),
    route(Post, "/download", Driven, transfer::download),
    route(Post, "/set/offline", Driven, set::offline),
    route(Post, "/set/headers", Driven, set::headers),
    route(Post, "/set/geolocation", Driven, set::geolocation),
    route(Post, "/set/media", Driven, set::media),
    route(Post, "/set/timezone", Driven, set::timezone),
    route(Post, "/set/locale", Driven, set::locale),
    route(Post, "/set/device", Driven, set::device),
    route(Post, "/permissions/grant", Driven, set::grant),
];

/// Routes of the reference that this program does not have.
const ELSEWHERE: &[(Method, &str)] = &[
    (Get, "/doctor"),
    (Post, "/response/body"),
    (Post, "/set/credentials"),
    (Post, "/trace/start"),
    (Post, "/trace/stop"),
];

/// The route of a request and the part of the path that it leaves open.
///
/// # Errors
/// [`BrowserError::UnsupportedRoute`] with the path, [`BrowserError::NotFound`].
pub fn find(request: &Request) -> Result<(&'static Route, &str), BrowserError> {
    let (method, path) = (request.method, request.path.as_str());
    let found = ROUTES
        .iter()
        .filter(|route| route.method == method)
        .find_map(|route| Some((route, open_part(route.path, path)?)));
    if let Some(found) = found {
        return Ok(found);
    }
    if ELSEWHERE.contains(&(method, path)) {
        return Err(BrowserError::UnsupportedRoute(path.to_owned()));
    }
    Err(BrowserError::NotFound)
}

/// What stands in `path` where `pattern` has its `*`; the empty text where it has none; `None` when they differ.
fn open_part<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let Some((before, after)) = pattern.split_once('*') else {
        return (pattern == path).then_some("");
    };
    let part = path.strip_prefix(before)?.strip_suffix(after)?;
    (!part.is_empty() && !part.contains('/')).then_some(part)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(method: &str, path: &str) -> Result<(&'static str, String), String> {
        let request = Request::parse(&json!({"method": method, "path": path})).unwrap();
        find(&request)
            .map(|(route, last)| (route.path, last.to_owned()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn routes_are_found_by_method_and_path() {
        for (method, path, route, last) in [
            ("GET", "/", "/", ""),
            ("GET", "tabs/", "/tabs", ""),
            ("DELETE", "/tabs/AB12", "/tabs/*", "AB12"),
            ("POST", "/storage/local/set", "/storage/*/set", "local"),
            ("GET", "/storage/session", "/storage/*", "session"),
        ] {
            assert_eq!(
                found(method, path),
                Ok((route, last.to_owned())),
                "{method} {path}"
            );
        }
        for (method, path) in [
            ("POST", "/"),
            ("GET", "/navigate"),
            ("DELETE", "/tabs"),
            ("DELETE", "/tabs/a/b"),
            ("POST", "/storage//set"),
            ("GET", "/nothing"),
        ] {
            assert_eq!(
                found(method, path),
                Err("Not Found".to_owned()),
                "{method} {path}"
            );
        }
    }

    #[test]
    fn a_route_that_is_out_of_scope_says_so() {
        let text = "/trace/start is not supported by this node host";
        assert_eq!(found("POST", "/trace/start"), Err(text.to_owned()));
    }
}
