//! `/navigate`.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::context::Context;
use super::super::error::BrowserError;
use super::super::guard::BLANK;
use super::super::page::Page;

/// How long a page may take to load.
pub const LOAD_LIMIT: Duration = Duration::from_secs(20);

/// `POST /navigate`.
pub fn navigate(context: &Context<'_>) -> Result<Value, BrowserError> {
    let url = context.request.body("url");
    let url = url.ok_or_else(|| BrowserError::invalid("url is required"))?;
    context.check_destination(url)?;
    let tab = context.tab()?;
    visit(context, &tab.page, url, LOAD_LIMIT)?;
    context.result(&tab, json!({}))
}

/// Sends a page to a URL that was judged; where it ends up is judged too.
///
/// # Errors
/// As [`Page::navigate`]; [`BrowserError::Blocked`] when it was led astray, and then shows nothing.
pub fn visit(
    context: &Context<'_>,
    page: &Page,
    url: &str,
    limit: Duration,
) -> Result<(), BrowserError> {
    page.navigate(url, limit, context.deadline)?;
    let shown = page.evaluate("document.URL", context.deadline)?;
    let shown = shown.as_str().unwrap_or(BLANK);
    context.check_arrival(page, shown, limit)
}
