//! `/`, `/start`, `/stop`.

use serde_json::{Value, json};

use super::super::context::Context;
use super::super::error::BrowserError;
use super::super::status;

/// `GET /`.
pub fn status(context: &Context<'_>) -> Result<Value, BrowserError> {
    Ok(status::full(context))
}

/// `POST /start`.
pub fn start(context: &Context<'_>) -> Result<Value, BrowserError> {
    let headless = match context.request.query("headless") {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => {
            let text = "Invalid headless value. Use \"true\" or \"false\".";
            return Err(BrowserError::invalid(text));
        }
    };
    context.browser_with(headless)?;
    Ok(json!({"ok": true, "profile": context.profile.name}))
}

/// `POST /stop`.
pub fn stop(context: &Context<'_>) -> Result<Value, BrowserError> {
    let stopped = context.instance.stop(context.deadline)?;
    Ok(json!({"ok": true, "stopped": stopped, "profile": context.profile.name}))
}
