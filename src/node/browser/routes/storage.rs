//! `/storage/<kind>*`: what a page's origin keeps in the browser.

use serde_json::{Value, json};

use super::super::context::Context;
use super::super::error::BrowserError;

/// `GET /storage/local` and `/storage/session`.
pub fn read(context: &Context<'_>) -> Result<Value, BrowserError> {
    let store = store(context)?;
    let tab = context.tab()?;
    let key = context
        .request
        .query("key")
        .map_or(Value::Null, Value::from);
    // Some names mean something to scripts: none is used as one.
    let script = format!(
        "((store, key) => {{ const entries = []; for (let at = 0; at < store.length; at++) {{ \
         const name = store.key(at); if (key === null || key === name) entries.push([name, store.getItem(name)]) }} \
         return Object.fromEntries(entries) }})({store}, {key})"
    );
    let values = tab.page.evaluate(&script, context.deadline)?;
    context.result(&tab, json!({"values": values}))
}

/// `POST /storage/<kind>/set`.
pub fn set(context: &Context<'_>) -> Result<Value, BrowserError> {
    let store = store(context)?;
    let request = context.request;
    let key = request
        .body("key")
        .ok_or_else(|| BrowserError::invalid("key is required"))?;
    let value = match request.body.get("value") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let tab = context.tab()?;
    let script = format!("{store}.setItem({}, {})", json!(key), json!(value));
    tab.page.evaluate(&script, context.deadline)?;
    Ok(json!({"ok": true, "targetId": tab.target.id}))
}

/// `POST /storage/<kind>/clear`.
pub fn clear(context: &Context<'_>) -> Result<Value, BrowserError> {
    let store = store(context)?;
    let tab = context.tab()?;
    tab.page
        .evaluate(&format!("{store}.clear()"), context.deadline)?;
    Ok(json!({"ok": true, "targetId": tab.target.id}))
}

/// The page's name for the storage that the path names.
fn store(context: &Context<'_>) -> Result<&'static str, BrowserError> {
    match context.last {
        "local" => Ok("window.localStorage"),
        "session" => Ok("window.sessionStorage"),
        _ => Err(BrowserError::invalid("kind must be local|session")),
    }
}
