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
    let script = format!(
        "(key => {{ const values = {{}}; for (const name of Object.keys({store})) \
         if (key === null || key === name) values[name] = {store}.getItem(name); return values; }})({key})"
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
