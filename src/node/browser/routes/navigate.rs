//! `/navigate`.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::context::{Context, Tab};
use super::super::error::BrowserError;
use super::super::interception::REFUSED;

/// How long a page may take to load.
pub const LOAD_LIMIT: Duration = Duration::from_secs(20);

/// `POST /navigate`.
pub fn navigate(context: &Context<'_>) -> Result<Value, BrowserError> {
    let url = context.request.body("url");
    let url = url.ok_or_else(|| BrowserError::invalid("url is required"))?;
    context.check_destination(url)?;
    let tab = context.any_tab()?;
    visit(context, &tab, url, LOAD_LIMIT)?;
    context.result(&tab, json!({}))
}

/// Sends a tab to a URL that was judged; where it ends up is judged too.
///
/// # Errors
/// As [`Page::navigate`]; [`BrowserError::Blocked`] when the guard refuses where it leads, or when it was led astray, and
/// then shows nothing.
pub fn visit(
    context: &Context<'_>,
    tab: &Tab,
    url: &str,
    limit: Duration,
) -> Result<(), BrowserError> {
    tab.page
        .navigate(url, limit, context.deadline)
        .map_err(|error| match error {
            BrowserError::NotLoaded(reason, url) => {
                let reason = tab.browser.told_reason(&reason, &url);
                if reason == REFUSED {
                    return BrowserError::Blocked;
                }
                BrowserError::NotLoaded(reason, url)
            }
            error => error,
        })?;
    context.check_arrival(tab, limit)
}
