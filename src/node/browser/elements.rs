//! Elements of a page: found by CSS selector or by the ref of a snapshot, and where they are.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cdp::CdpError;
use super::error::BrowserError;
use super::page::Page;
use super::refs::Element;

/// How often a page is asked for an element that is not there yet.
const POLL: Duration = Duration::from_millis(100);

/// An element in the hands of the page's script engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle {
    /// The engine's id.
    pub object: String,
    /// The frame it is in; `None` is the page's own.
    pub frame: Option<String>,
}

/// A place on the page in CSS pixels, from the upper left corner of what is seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width, above 0.
    pub width: f64,
    /// Height, above 0.
    pub height: f64,
}

/// What is said of an element that is not there, or shows nothing; `name` is its ref or selector.
pub fn not_found(name: &str) -> BrowserError {
    BrowserError::Unexpected(format!(
        "Element \"{name}\" not found or not visible. Run a new snapshot to see current page elements."
    ))
}

/// The element behind a ref.
///
/// # Errors
/// [`not_found`] when the page does not have it any more, else as [`Page::call`].
pub fn by_ref(
    page: &Page,
    name: &str,
    element: &Element,
    deadline: Instant,
) -> Result<Handle, BrowserError> {
    let params = json!({"backendNodeId": element.backend_node});
    let answer = page.call_in(
        element.frame.as_deref(),
        "DOM.resolveNode",
        params,
        deadline,
    );
    let answer = answer.map_err(|error| match error {
        CdpError::Refused(_) => not_found(name),
        error => error.into(),
    })?;
    handle(&answer["object"], element.frame.clone()).ok_or_else(|| not_found(name))
}

/// The first element that a CSS selector finds, or none.
///
/// # Errors
/// [`BrowserError::Unexpected`] for a text that is no selector, else as [`Page::call`].
pub fn by_selector(
    page: &Page,
    selector: &str,
    deadline: Instant,
) -> Result<Option<Handle>, BrowserError> {
    let params = json!({"expression": format!("document.querySelector({})", json!(selector))});
    let answer = page.call("Runtime.evaluate", params, deadline)?;
    if let Some(thrown) = answer.pointer("/exceptionDetails/exception/description") {
        let text = thrown.as_str().and_then(|text| text.lines().next());
        return Err(BrowserError::Unexpected(
            text.unwrap_or_default().to_owned(),
        ));
    }
    Ok(handle(&answer["result"], None))
}

fn handle(object: &Value, frame: Option<String>) -> Option<Handle> {
    let object = object.get("objectId")?.as_str()?.to_owned();
    Some(Handle { object, frame })
}

/// Scrolls an element into view and gives the place of its border; `None` while it shows nothing.
///
/// # Errors
/// As [`Page::call`].
pub fn area(page: &Page, handle: &Handle, deadline: Instant) -> Result<Option<Area>, BrowserError> {
    let call = |method| {
        let params = json!({"objectId": handle.object});
        page.call_in(handle.frame.as_deref(), method, params, deadline)
    };
    // The browser refuses for what has no layout.
    for method in ["DOM.scrollIntoViewIfNeeded", "DOM.getBoxModel"] {
        match call(method) {
            Ok(answer) => {
                if let Some(quad) = answer.pointer("/model/border") {
                    return Ok(around(quad));
                }
            }
            Err(CdpError::Refused(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// The upright rectangle around four corners.
pub fn around(quad: &Value) -> Option<Area> {
    let numbers: Vec<f64> = quad.as_array()?.iter().filter_map(Value::as_f64).collect();
    let corners = numbers.chunks_exact(2);
    let (mut left, mut top) = (f64::INFINITY, f64::INFINITY);
    let (mut right, mut bottom) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    for corner in corners {
        left = left.min(corner[0]);
        right = right.max(corner[0]);
        top = top.min(corner[1]);
        bottom = bottom.max(corner[1]);
    }
    let (width, height) = (right - left, bottom - top);
    (width > 0.0 && height > 0.0).then_some(Area {
        x: left,
        y: top,
        width,
        height,
    })
}

/// Tries until something is there or `limit` passes: the page may still be building it.
///
/// # Errors
/// [`not_found`] of `name`, [`BrowserError::TimedOut`] when the request's time is over first, and what `attempt` fails
/// with.
pub fn wait_for<T>(
    name: &str,
    limit: Duration,
    deadline: Instant,
    mut attempt: impl FnMut() -> Result<Option<T>, BrowserError>,
) -> Result<T, BrowserError> {
    let until = Instant::now() + limit;
    loop {
        if let Some(found) = attempt()? {
            return Ok(found);
        }
        let now = Instant::now();
        if now >= deadline {
            return Err(BrowserError::TimedOut);
        }
        if now >= until {
            return Err(not_found(name));
        }
        std::thread::sleep(POLL.min(deadline - now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turned_element_has_an_upright_area() {
        let turned = json!([10, 0, 20, 10, 10, 20, 0, 10]);
        let expected = Area {
            x: 0.0,
            y: 0.0,
            width: 20.0,
            height: 20.0,
        };
        assert_eq!(around(&turned), Some(expected));
        assert_eq!(around(&json!([1, 1, 1, 1, 1, 1, 1, 1])), None);
        assert_eq!(around(&json!([])), None);
    }
}
