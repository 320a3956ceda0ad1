//! `/console`, `/errors`, `/requests`: what a page said, threw and asked for.

use serde_json::{Value, json};

use super::super::context::Context;
use super::super::error::BrowserError;
use super::super::logs::severity;

/// `GET /console`.
pub fn console(context: &Context<'_>) -> Result<Value, BrowserError> {
    let tab = context.tab()?;
    let level = context.request.query("level").map(severity);
    let messages = tab.page.logs(|logs| logs.messages(level));
    context.result(&tab, json!({"messages": messages}))
}

/// `GET /errors`.
pub fn errors(context: &Context<'_>) -> Result<Value, BrowserError> {
    let tab = context.tab()?;
    let clear = context.request.query_flag("clear");
    let errors = tab.page.logs(|logs| {
        let errors = logs.errors();
        if clear {
            logs.clear_errors();
        }
        errors
    });
    context.result(&tab, json!({"errors": errors}))
}

/// `GET /requests`.
pub fn requests(context: &Context<'_>) -> Result<Value, BrowserError> {
    let tab = context.tab()?;
    let request = context.request;
    let (filter, clear) = (
        request.query("filter").unwrap_or_default(),
        request.query_flag("clear"),
    );
    let requests = tab.page.logs(|logs| {
        let requests = logs.requests(filter);
        if clear {
            logs.clear_requests();
        }
        requests
    });
    let requests = requests.into_iter().map(|mut request| {
        let text = |name: &str| request.get(name).and_then(Value::as_str);
        if let (Some(reason), Some(url)) = (text("failureText"), text("url")) {
            request["failureText"] = tab.browser.told_reason(reason, url).into();
        }
        request
    });
    context.result(&tab, json!({"requests": requests.collect::<Vec<_>>()}))
}
