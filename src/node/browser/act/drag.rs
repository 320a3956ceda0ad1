//! Pulling one element onto another: with the mouse alone, or by the page's own dragging where it has one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::elements::Handle;
use super::super::error::BrowserError;
use super::action::Named;
use super::input::{Input, Modifiers, Point};
use super::reach::{Finder, Need};

/// How long what is dragged may take to be picked up.
const PICK_UP: Duration = Duration::from_secs(2);

/// How far a mouse moves before pages take that for dragging.
const THRESHOLD: f64 = 6.0;

/// Gives an object that will hold the event with which the page's own dragging begins.
const WATCH: &str = "function () { const seen = {}; this.ownerDocument.defaultView.addEventListener('dragstart', \
                     event => { seen.event = event }, { capture: true, once: true }); return seen }";

/// Whether it has begun, and the page did not stop it.
const BEGUN: &str = "function () { return !!this.event && !this.event.defaultPrevented }";

/// Drags an element onto another.
///
/// # Errors
/// As [`Finder::reach`].
pub fn drag(
    finder: &Finder<'_>,
    input: Input<'_>,
    start: &Named,
    end: &Named,
) -> Result<(), BrowserError> {
    let page = finder.page;
    // One that cannot be reached is told before anything moves.
    finder.reach(end, Need::Shown)?;
    let from = finder.reach(start, Need::Hit)?;
    page.forget_drag();
    let method = "Input.setInterceptDrags";
    page.call(method, json!({"enabled": true}), finder.until)?;
    let done = pull(finder, input, &from.handle, from.at, end);
    // Otherwise nobody could drag anything by hand; a page that is gone needs nothing.
    let _ = page.call(method, json!({"enabled": false}), finder.until);
    done
}

fn pull(
    finder: &Finder<'_>,
    input: Input<'_>,
    handle: &Handle,
    from: Point,
    end: &Named,
) -> Result<(), BrowserError> {
    let watch = finder.object(handle, WATCH)?;
    input.point(from, Modifiers::default())?;
    input.hold(from)?;
    let near = Point {
        x: from.x + THRESHOLD,
        y: from.y + THRESHOLD,
    };
    input.pull(from, near)?;
    let data = match watch {
        Some(watch) if finder.call(&watch, BEGUN, &[])? == Some(Value::Bool(true)) => {
            let until = finder.until.min(Instant::now() + PICK_UP);
            Some(finder.page.dragged(until)?)
        }
        _ => None,
    };
    // The other end may have to be scrolled to, or make room.
    let to = finder.reach(end, Need::Shown)?.at;
    match data {
        Some(data) => input.drop_at(to, &data)?,
        None => input.pull(near, to)?,
    }
    input.release(to)
}

impl Finder<'_> {
    /// The object that a function of the page gives when it is called on an element.
    fn object(&self, handle: &Handle, function: &str) -> Result<Option<Handle>, BrowserError> {
        let params = json!({"objectId": handle.object, "functionDeclaration": function});
        let frame = handle.frame.as_deref();
        let answer = self
            .page
            .call_in(frame, "Runtime.callFunctionOn", params, self.until)?;
        let object = answer.pointer("/result/objectId").and_then(Value::as_str);
        Ok(object.map(|object| Handle {
            object: object.to_owned(),
            frame: handle.frame.clone(),
        }))
    }
}
