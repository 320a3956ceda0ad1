//! Labels on a picture: the refs of a snapshot, drawn over the page for as long as the picture takes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::elements::{self, Area};
use super::error::BrowserError;
use super::page::Page;
use super::refs::Element;
use super::world::World;

/// Labels on one picture.
const MAX_LABELS: usize = 150;

/// Elements whose place is asked for.
const MAX_ASKED: usize = 500;

/// How long the page may take to drop the labels.
const PATIENCE: Duration = Duration::from_secs(2);

/// Draws labels in page coordinates, above everything else, out of reach of the page's style sheets.
const DRAW: &str = "(labels => {
  globalThis.labels?.remove();
  const host = document.createElement('div');
  const style = {all: 'initial', display: 'block', position: 'absolute', left: 0, top: 0, overflow: 'visible',
    width: 0, height: 0, 'z-index': 2147483647, 'pointer-events': 'none'};
  // The page's own style sheets have the last word but for this.
  for (const [name, value] of Object.entries(style)) host.style.setProperty(name, value, 'important');
  const root = host.attachShadow({mode: 'closed'});
  for (const {x, y, width, height, text} of labels) {
    const box = document.createElement('div');
    box.style.cssText = `position: absolute; box-sizing: border-box; border: 2px solid #ff4500; left: ${x}px; top: ${y}px;`
      + `width: ${width}px; height: ${height}px`;
    const label = document.createElement('div');
    label.style.cssText = 'position: absolute; font: bold 11px/14px monospace; padding: 0 3px; white-space: nowrap;'
      + `color: #fff; background: #ff4500; left: ${x}px; top: ${Math.max(0, y - 14)}px`;
    label.textContent = text;
    root.append(box, label);
  }
  document.documentElement.append(host);
  globalThis.labels = host;
  try { host.popover = 'manual'; host.showPopover(); } catch {}
})";

const REMOVE: &str = "globalThis.labels?.remove(); delete globalThis.labels";

/// How many elements have a label, and how many have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Labels that were drawn.
    pub drawn: usize,
    /// Elements outside of the picture, without a place on the page, or too many.
    pub skipped: usize,
}

/// Takes a picture with labels; `corner` is the upper left corner of what is seen, in the page, and only what lies in
/// `area` of the page has a label.
///
/// # Errors
/// As [`Page::call`] and as `shoot`.
pub fn with_labels<T>(
    page: &Page,
    refs: &[(String, Element)],
    corner: (f64, f64),
    area: Area,
    deadline: Instant,
    shoot: impl FnOnce() -> Result<T, BrowserError>,
) -> Result<(T, Count), BrowserError> {
    let labels = labels(page, refs, corner, area, deadline)?;
    let count = Count {
        drawn: labels.len(),
        skipped: refs.len() - labels.len(),
    };
    let world = World::enter(page, None, &page.target, deadline)?;
    world.evaluate(&format!("{DRAW}({})", Value::Array(labels)))?;
    let shot = shoot();
    // Also when the request's time is over.
    let patience = Instant::now() + PATIENCE;
    let removed = World::enter(page, None, &page.target, patience)
        .map_err(BrowserError::from)
        .and_then(|world| world.evaluate(REMOVE));
    let shot = shot?;
    removed?;
    Ok((shot, count))
}

fn labels(
    page: &Page,
    refs: &[(String, Element)],
    corner: (f64, f64),
    area: Area,
    deadline: Instant,
) -> Result<Vec<Value>, BrowserError> {
    let mut labels = Vec::new();
    for (key, element) in refs.iter().take(MAX_ASKED) {
        if labels.len() == MAX_LABELS {
            break;
        }
        let frame = element.frame.as_deref();
        if page.document(frame) != element.document {
            continue;
        }
        let node = json!({"backendNodeId": element.backend_node});
        let Some(mut place) = elements::place(page, frame, &node, deadline)? else {
            continue;
        };
        place.x += corner.0;
        place.y += corner.1;
        if place.meets(&area) {
            let Area {
                x,
                y,
                width,
                height,
            } = place;
            labels.push(json!({"x": x, "y": y, "width": width, "height": height, "text": key}));
        }
    }
    Ok(labels)
}
