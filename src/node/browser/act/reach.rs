//! Where an element can be clicked, once it can: it shows, holds still, is switched on, and nothing lies over it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::cdp::CdpError;
use super::super::elements::{self, Handle, not_found};
use super::super::error::BrowserError;
use super::super::instance::Instance;
use super::super::page::{Page, value_of};
use super::action::Named;
use super::input::Point;

/// What is needed of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It shows.
    Shown,
    /// It shows and is switched on.
    Enabled,
    /// It gets what the mouse does at its place, and is switched on.
    Hit,
}

/// What a page says about one of its elements; in the coordinates of the element's own frame.
const PROBE: &str = r"function () {
  const element = this.nodeType === 1 ? this : this.parentElement;
  if (!element || !element.isConnected) return { state: 'gone' };
  const view = element.ownerDocument.defaultView;
  if (!view || view.getComputedStyle(element).visibility !== 'visible') return { state: 'hidden' };
  let place = null;
  [...element.getClientRects()].forEach((rect, index) => {
    const left = Math.max(rect.left, 0), right = Math.min(rect.right, view.innerWidth);
    const top = Math.max(rect.top, 0), bottom = Math.min(rect.bottom, view.innerHeight);
    if (!place && right - left > 0 && bottom - top > 0)
      place = { index, left: rect.left, top: rect.top, x: (left + right) / 2, y: (top + bottom) / 2,
                width: rect.width, height: rect.height };
  });
  if (!place) return { state: 'hidden' };
  if (element.matches(':disabled') || element.closest('[aria-disabled=true]')) return { state: 'disabled', place };
  let hit = element.ownerDocument.elementFromPoint(place.x, place.y);
  while (hit && hit.shadowRoot) {
    const inner = hit.shadowRoot.elementFromPoint(place.x, place.y);
    if (!inner || inner === hit) break;
    hit = inner;
  }
  const takers = [element, ...(element.labels || [])];
  if (element.control) takers.push(element.control);
  for (let node = hit; node; node = node.assignedSlot || node.parentNode || node.host)
    if (takers.includes(node)) return { state: 'free', place };
  const tag = hit ? '<' + hit.localName + (hit.id ? ' id=' + JSON.stringify(hit.id) : '') + '>' : 'nothing of the page';
  return { state: 'covered', by: tag, place };
}";

/// Finds elements of a page for one action.
pub struct Finder<'a> {
    /// The page.
    pub page: &'a Page,
    /// Its browser, which knows what the last snapshot named.
    pub instance: &'a Instance,
    /// How long the action may take.
    pub limit: Duration,
    /// When its time is over.
    pub until: Instant,
    /// When the request's time is over.
    pub deadline: Instant,
}

/// An element that can be used, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Reached {
    /// The element.
    pub handle: Handle,
    /// Where the mouse meets it.
    pub at: Point,
}

impl Finder<'_> {
    /// The element that is named, if it is there; the first one where a selector finds several.
    ///
    /// # Errors
    /// As [`elements::by_ref`], `Refs::find`, [`elements::by_selector`].
    pub fn find(&self, named: &Named) -> Result<Option<Handle>, BrowserError> {
        match named {
            Named::Ref(name) => self.referred(name),
            Named::Selector(selector) => elements::by_selector(self.page, selector, self.until),
        }
    }

    /// The same, and no other element is named.
    ///
    /// # Errors
    /// As [`Finder::find`] and [`elements::only_by_selector`].
    fn find_only(&self, named: &Named) -> Result<Option<Handle>, BrowserError> {
        match named {
            Named::Ref(name) => self.referred(name),
            Named::Selector(selector) => {
                elements::only_by_selector(self.page, selector, self.until)
            }
        }
    }

    fn referred(&self, name: &str) -> Result<Option<Handle>, BrowserError> {
        let element = self.instance.refs().find(&self.page.target, name)?;
        elements::by_ref(self.page, name, &element, self.until).map(Some)
    }

    /// Waits for an element, scrolls it into view, and waits until it can be used.
    ///
    /// # Errors
    /// [`not_found`], [`BrowserError::Unexpected`] for one that is covered or switched off, or not the only one.
    pub fn reach(&self, named: &Named, need: Need) -> Result<Reached, BrowserError> {
        let name = named.text();
        let mut reason = None;
        let reached = self.wait(name, || {
            let Some(handle) = self.find_only(named)? else {
                return Ok(None);
            };
            match self.look(&handle, name, need)? {
                Ok(at) => Ok(Some(Reached { handle, at })),
                Err(text) => {
                    reason = text;
                    self.release(&handle);
                    Ok(None)
                }
            }
        });
        reached.map_err(|error| match reason {
            Some(text) if error == not_found(name) => BrowserError::Unexpected(text),
            _ => error,
        })
    }

    /// Tries until something is there; see [`elements::wait_for`].
    ///
    /// # Errors
    /// As [`elements::wait_for`].
    pub fn wait<T>(
        &self,
        name: &str,
        mut attempt: impl FnMut() -> Result<Option<T>, BrowserError>,
    ) -> Result<T, BrowserError> {
        let left = self.until.saturating_duration_since(Instant::now());
        elements::wait_for(name, left, self.deadline, || match attempt() {
            // The action's time ended in the middle of the last attempt.
            Err(BrowserError::TimedOut) if Instant::now() < self.deadline => Ok(None),
            attempted => attempted,
        })
    }

    /// The value of a function of the page that is called on an element; `None` when the page went elsewhere.
    ///
    /// # Errors
    /// What the function threw, else as [`Page::call`].
    pub fn call(
        &self,
        handle: &Handle,
        function: &str,
        arguments: &[Value],
    ) -> Result<Option<Value>, BrowserError> {
        let arguments: Vec<Value> = arguments
            .iter()
            .map(|value| json!({"value": value}))
            .collect();
        let params = json!({"objectId": handle.object, "functionDeclaration": function, "arguments": arguments,
            "returnByValue": true, "awaitPromise": true});
        let frame = handle.frame.as_deref();
        match self
            .page
            .call_in(frame, "Runtime.callFunctionOn", params, self.until)
        {
            Ok(answer) => value_of(answer).map(Some),
            Err(CdpError::Refused(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The page may forget the handle.
    fn release(&self, handle: &Handle) {
        let params = json!({"objectId": handle.object});
        // Whatever becomes of it, the next document forgets all of them.
        let frame = handle.frame.as_deref();
        let _ = self
            .page
            .call_in(frame, "Runtime.releaseObject", params, self.until);
    }

    /// Where the element can be used now, or what keeps it from that if there is more to say than that it does not
    /// show.
    fn look(
        &self,
        handle: &Handle,
        name: &str,
        need: Need,
    ) -> Result<Result<Point, Option<String>>, BrowserError> {
        // Without a layout there is nothing to scroll to.
        if !elements::scroll_to(self.page, handle, self.until)? {
            return Ok(Err(None));
        }
        let Some(first) = self.call(handle, PROBE, &[])? else {
            return Ok(Err(None));
        };
        std::thread::sleep(elements::STILL);
        let Some(seen) = self.call(handle, PROBE, &[])? else {
            return Ok(Err(None));
        };
        let text = |member: &str| seen.get(member).and_then(Value::as_str).unwrap_or_default();
        let fault = match (text("state"), need) {
            ("free", _) | ("disabled" | "covered", Need::Shown) | ("covered", Need::Enabled) => {
                None
            }
            ("disabled", _) => Some(format!("Element \"{name}\" is disabled.")),
            ("covered", Need::Hit) => Some(format!(
                "Element \"{name}\" is covered by {}. Close what lies over it, or run a new snapshot.",
                text("by")
            )),
            _ => return Ok(Err(None)),
        };
        if fault.is_some() {
            return Ok(Err(fault));
        }
        if first.get("place") != seen.get("place") {
            return Ok(Err(Some(format!(
                "Element \"{name}\" does not hold still."
            ))));
        }
        Ok(self.on_page(handle, &seen["place"])?.ok_or(None))
    }

    /// A place in an element's frame as the place on the page.
    fn on_page(&self, handle: &Handle, place: &Value) -> Result<Option<Point>, BrowserError> {
        let number = |name: &str| place.get(name).and_then(Value::as_f64).unwrap_or_default();
        let (mut x, mut y) = (number("x"), number("y"));
        let frame = handle.frame.as_deref();
        // The element knows its place in its own frame, which may be in others of the same process.
        let quads = json!({"objectId": handle.object});
        let Some(answer) = self.ask(frame, "DOM.getContentQuads", quads)? else {
            return Ok(None);
        };
        let index = place
            .get("index")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let quad = answer
            .pointer(&format!("/quads/{index}"))
            .or_else(|| answer.pointer("/quads/0"));
        if let Some((left, top)) = quad.and_then(corner) {
            x += left - number("left");
            y += top - number("top");
        }
        let begins = elements::frame_corner(self.page, frame, self.until)?;
        Ok(begins.map(|(left, top)| Point {
            x: x + left,
            y: y + top,
        }))
    }

    /// What the browser answers; `None` when it refuses.
    fn ask(
        &self,
        frame: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Option<Value>, BrowserError> {
        match self.page.call_in(frame, method, params, self.until) {
            Ok(answer) => Ok(Some(answer)),
            Err(CdpError::Refused(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The upper left corner of the upright rectangle around a quad.
fn corner(quad: &Value) -> Option<(f64, f64)> {
    elements::around(quad).map(|area| (area.x, area.y))
}
