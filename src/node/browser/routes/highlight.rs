//! `/highlight`: shows on the page which element a ref means.

use serde_json::{Value, json};

use super::super::context::Context;
use super::super::elements;
use super::super::error::BrowserError;

/// `POST /highlight`.
pub fn highlight(context: &Context<'_>) -> Result<Value, BrowserError> {
    let name = context.request.body("ref");
    let name = name.ok_or_else(|| BrowserError::invalid("ref is required"))?;
    let tab = context.tab()?;
    let element = context.instance.refs().find(&tab.target.id, name)?;
    let handle = elements::by_ref(&tab.page, name, &element, context.deadline)?;
    elements::area(&tab.page, &handle, context.deadline)?
        .ok_or_else(|| elements::not_found(name))?;
    let color = json!({"r": 255, "g": 69, "b": 0, "a": 0.4});
    let style = json!({"showInfo": true, "contentColor": color, "paddingColor": color, "borderColor": color});
    let shown = json!({"highlightConfig": style, "objectId": handle.object});
    for (method, params) in [
        ("DOM.enable", json!({})),
        ("Overlay.enable", json!({})),
        ("Overlay.highlightNode", shown),
    ] {
        let frame = handle.frame.as_deref();
        tab.page.call_in(frame, method, params, context.deadline)?;
    }
    context.result(&tab, json!({}))
}
