//! Elements of a page: found by CSS selector or by the ref of a snapshot, and where they are.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cdp::CdpError;
use super::error::BrowserError;
use super::page::Page;
use super::refs::{self, Element};
use super::world::World;

/// How often a page is asked for an element that is not there yet.
const POLL: Duration = Duration::from_millis(100);

/// Between two looks at an element that has to hold still.
pub const STILL: Duration = Duration::from_millis(40);

/// How long what is around an element may take to be scrolled.
const SETTLE: Duration = Duration::from_secs(1);

/// Frames in processes of their own that are in each other.
const MAX_NESTED: usize = 16;

/// An element in the hands of the page's script engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle {
    /// The engine's id.
    pub object: String,
    /// The frame whose session reaches it; `None` is the page's own.
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

impl Area {
    /// Whether another place lies within this one.
    pub fn holds(&self, other: &Self) -> bool {
        self.x <= other.x
            && self.y <= other.y
            && other.x + other.width <= self.x + self.width
            && other.y + other.height <= self.y + self.height
    }

    /// Whether two places have something in common.
    pub fn meets(&self, other: &Self) -> bool {
        let beside = self.x + self.width <= other.x || other.x + other.width <= self.x;
        let above = self.y + self.height <= other.y || other.y + other.height <= self.y;
        !beside && !above
    }
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
/// [`refs::unknown`] when another document is shown by now, [`not_found`] when this one does not have it any more, else as [`Page::call`].
pub fn by_ref(
    page: &Page,
    name: &str,
    element: &Element,
    deadline: Instant,
) -> Result<Handle, BrowserError> {
    // Ids of nodes count anew with every process, and another document may be in another process.
    if page.document(element.frame.as_deref()) != element.document {
        return Err(refs::unknown(&refs::normalize(name)));
    }
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

/// The first element that a CSS selector finds, or none. The page's scripts have no say in that.
///
/// # Errors
/// [`BrowserError::Unexpected`] for a text that is no selector, else as [`Page::call`].
pub fn by_selector(
    page: &Page,
    selector: &str,
    deadline: Instant,
) -> Result<Option<Handle>, BrowserError> {
    let expression = format!("document.querySelector({})", json!(selector));
    Ok(handle(&selected(page, &expression, deadline)?, None))
}

/// The only element that a CSS selector finds, or none.
///
/// # Errors
/// [`BrowserError::Unexpected`] for one that finds several, else as [`by_selector`].
pub fn only_by_selector(
    page: &Page,
    selector: &str,
    deadline: Instant,
) -> Result<Option<Handle>, BrowserError> {
    let expression = format!(
        "(found => found.length > 1 ? found.length : found[0])(document.querySelectorAll({}))",
        json!(selector)
    );
    let found = selected(page, &expression, deadline)?;
    match found.get("value").and_then(Value::as_u64) {
        Some(count) => Err(BrowserError::Unexpected(format!(
            "Selector \"{selector}\" matched {count} elements. Name one of them by its ref from a new snapshot, or \
             use a selector that only one matches."
        ))),
        None => Ok(handle(&found, None)),
    }
}

/// What an expression with a selector finds, as the script engine describes it; `null` when the page went elsewhere
/// meanwhile.
fn selected(page: &Page, expression: &str, deadline: Instant) -> Result<Value, BrowserError> {
    let found = match World::enter(page, None, &page.target, deadline) {
        Err(CdpError::Refused(_)) => None,
        world => world?.object(expression)?,
    };
    Ok(found.unwrap_or_default())
}

/// An element in an answer of the script engine; `None` when it is none. `frame` is whose session it came from.
pub fn handle(object: &Value, frame: Option<String>) -> Option<Handle> {
    let object = object.get("objectId")?.as_str()?.to_owned();
    Some(Handle { object, frame })
}

/// Scrolls an element into view and gives the place of its border; `None` while it shows nothing.
///
/// # Errors
/// As [`Page::call`].
pub fn area(page: &Page, handle: &Handle, deadline: Instant) -> Result<Option<Area>, BrowserError> {
    if !scroll_to(page, handle, deadline)? {
        return Ok(None);
    }
    let node = json!({"objectId": handle.object});
    place(page, handle.frame.as_deref(), &node, deadline)
}

/// Scrolls an element into view; false for one that has no layout.
///
/// # Errors
/// As [`Page::call`].
pub fn scroll_to(page: &Page, handle: &Handle, deadline: Instant) -> Result<bool, BrowserError> {
    let (frame, node) = (handle.frame.as_deref(), json!({"objectId": handle.object}));
    let answer = page.call_in(frame, "DOM.scrollIntoViewIfNeeded", node.clone(), deadline);
    if laid_out(answer)?.is_none() {
        return Ok(false);
    }
    if frame.is_none() {
        return Ok(true);
    }
    // The frames around it scroll in processes of their own, some time later.
    let until = deadline.min(Instant::now() + SETTLE);
    let metrics = page.call("Page.getLayoutMetrics", json!({}), deadline)?;
    let side = |name: &str| {
        metrics["cssVisualViewport"][name]
            .as_f64()
            .unwrap_or_default()
    };
    let window = Area {
        x: 0.0,
        y: 0.0,
        width: side("clientWidth"),
        height: side("clientHeight"),
    };
    let mut last = None;
    loop {
        let seen = place(page, frame, &node, deadline)?;
        let still = seen.filter(|seen| last == Some(*seen));
        if still.is_some_and(|seen| seen.meets(&window)) || Instant::now() >= until {
            return Ok(true);
        }
        last = seen;
        std::thread::sleep(STILL);
    }
}

/// The place of an element's border where it is now; `None` while it shows nothing. `node` names it in the browser's
/// words, `frame` is whose session reaches it.
///
/// # Errors
/// As [`Page::call`].
pub fn place(
    page: &Page,
    frame: Option<&str>,
    node: &Value,
    deadline: Instant,
) -> Result<Option<Area>, BrowserError> {
    let answer = page.call_in(frame, "DOM.getBoxModel", node.clone(), deadline);
    let quad = laid_out(answer)?.and_then(|answer| around(answer.pointer("/model/border")?));
    let Some(mut area) = quad else {
        return Ok(None);
    };
    let Some((left, top)) = frame_corner(page, frame, deadline)? else {
        return Ok(None);
    };
    area.x += left;
    area.y += top;
    Ok(Some(area))
}

/// Where on the page the frame begins whose session reaches an element; `None` while it shows nothing.
///
/// # Errors
/// As [`Page::call`].
pub fn frame_corner(
    page: &Page,
    frame: Option<&str>,
    deadline: Instant,
) -> Result<Option<(f64, f64)>, BrowserError> {
    let (mut left, mut top) = (0.0, 0.0);
    let mut inner = frame.map(str::to_owned);
    // A frame in a process of its own knows nothing of where it is.
    for _ in 0..MAX_NESTED {
        let Some(frame) = inner else { break };
        let Some((outer, area)) = frame_place(page, &frame, deadline)? else {
            return Ok(None);
        };
        left += area.x;
        top += area.y;
        inner = outer;
    }
    Ok(Some((left, top)))
}

/// The place of a frame that lives in a process of its own, and the frame whose session reaches its element.
fn frame_place(
    page: &Page,
    frame: &str,
    deadline: Instant,
) -> Result<Option<(Option<String>, Area)>, BrowserError> {
    let others = page.frames_apart().into_iter().map(Some);
    for outer in std::iter::once(None).chain(others) {
        laid_out(page.call_in(outer.as_deref(), "DOM.enable", json!({}), deadline))?;
        let params = json!({"frameId": frame});
        let owner = page.call_in(outer.as_deref(), "DOM.getFrameOwner", params, deadline);
        let Some(owner) = laid_out(owner)? else {
            continue;
        };
        let node = json!({"backendNodeId": owner["backendNodeId"]});
        let answer = page.call_in(outer.as_deref(), "DOM.getBoxModel", node, deadline);
        let quad = laid_out(answer)?.and_then(|answer| around(answer.pointer("/model/content")?));
        return Ok(quad.map(|area| (outer, area)));
    }
    Ok(None)
}

/// What the browser says of an element; `None` where it refuses, as it does for what has no layout.
fn laid_out(answer: Result<Value, CdpError>) -> Result<Option<Value>, BrowserError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(CdpError::Refused(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
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
