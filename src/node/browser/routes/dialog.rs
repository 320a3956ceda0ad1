//! `/hooks/dialog`: how the next dialog of a page is answered.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::context::Context;
use super::super::error::BrowserError;

/// How long an answer waits for its dialog.
const PATIENCE: Duration = Duration::from_secs(120);

/// `POST /hooks/dialog`.
pub fn arm(context: &Context<'_>) -> Result<Value, BrowserError> {
    let request = context.request;
    let accept = request.body.get("accept").and_then(Value::as_bool);
    let accept = accept.ok_or_else(|| BrowserError::invalid("accept is required"))?;
    let text = request.text("promptText").map(str::to_owned);
    let patience = request.milliseconds("timeoutMs").unwrap_or(PATIENCE);
    let tab = context.any_tab()?;
    tab.page
        .dialogs(|dialogs| dialogs.arm(accept, text, patience));
    Ok(json!({"ok": true}))
}
