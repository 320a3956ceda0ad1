//! `/tabs*`: list, open, focus, close, label.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::context::Context;
use super::super::endpoint::Endpoint;
use super::super::error::BrowserError;
use super::super::guard::BLANK;
use super::super::instance::Running;
use super::super::start;
use super::super::tabs::{MAX_TABS, Target, checked_label};
use super::navigate::{LOAD_LIMIT, visit};

/// `GET /tabs`.
pub fn list(context: &Context<'_>) -> Result<Value, BrowserError> {
    let Some(browser) = context.instance.running() else {
        return Ok(json!({"running": false, "tabs": []}));
    };
    Ok(json!({"running": true, "tabs": rendered(context, &browser)?}))
}

/// `POST /tabs/open`.
pub fn open(context: &Context<'_>) -> Result<Value, BrowserError> {
    let request = context.request;
    let url = request
        .body("url")
        .ok_or_else(|| BrowserError::invalid("url is required"))?;
    let label = request.body("label").map(checked_label).transpose()?;
    context.check_destination(url)?;
    new_tab(context, url, label)
}

/// `POST /tabs/focus`.
pub fn focus(context: &Context<'_>) -> Result<Value, BrowserError> {
    let name = context.request.body("targetId");
    let name = name.ok_or_else(|| BrowserError::invalid("targetId is required"))?;
    activate(context, &find(context, name)?)?;
    Ok(json!({"ok": true}))
}

/// `DELETE /tabs/<targetId>`.
pub fn close(context: &Context<'_>) -> Result<Value, BrowserError> {
    let target = find(context, context.last)?;
    shut(context, &*running(context)?, &target)?;
    Ok(json!({"ok": true}))
}

/// `POST /tabs/action`.
pub fn action(context: &Context<'_>) -> Result<Value, BrowserError> {
    let request = context.request;
    match request.body("action").unwrap_or_default() {
        "list" => {
            let mut listed = list(context)?;
            Ok(json!({"ok": true, "tabs": listed["tabs"].take()}))
        }
        "new" => {
            let label = request.body("label").map(checked_label).transpose()?;
            Ok(json!({"ok": true, "tab": new_tab(context, BLANK, label)?}))
        }
        "label" => {
            let name = request.body("targetId");
            let name = name.ok_or_else(|| BrowserError::invalid("targetId is required"))?;
            let label = request.body("label").unwrap_or_default();
            let target = find(context, name)?;
            context.instance.book().label(&target, label)?;
            let browser = running(context)?;
            let tab = rendered_tab(context, &browser, &target)?;
            Ok(json!({"ok": true, "tab": tab}))
        }
        "close" => {
            let target = at_index(context)?;
            shut(context, &*running(context)?, &target)?;
            Ok(json!({"ok": true, "targetId": target}))
        }
        "select" => {
            if request.body.get("index").and_then(Value::as_u64).is_none() {
                return Err(BrowserError::invalid("index is required"));
            }
            let target = at_index(context)?;
            activate(context, &target)?;
            Ok(json!({"ok": true, "targetId": target}))
        }
        _ => Err(BrowserError::invalid("unknown tab action")),
    }
}

/// The tab at the request's `index`, or the current one.
fn at_index(context: &Context<'_>) -> Result<String, BrowserError> {
    let browser = running(context)?;
    context.instance.update(&browser, context.deadline)?;
    let index = context.request.body.get("index").and_then(Value::as_u64);
    let book = context.instance.book();
    let found = match index {
        Some(index) => usize::try_from(index).ok().and_then(|index| book.at(index)),
        None => book.current(),
    };
    let name = index.map_or_else(|| "current".to_owned(), |index| index.to_string());
    found
        .map(|target| target.id.clone())
        .ok_or(BrowserError::UnknownTab(name))
}

fn find(context: &Context<'_>, name: &str) -> Result<String, BrowserError> {
    context
        .instance
        .update(&*running(context)?, context.deadline)?;
    Ok(context.instance.book().find(name)?.id.clone())
}

fn running(context: &Context<'_>) -> Result<Arc<Running>, BrowserError> {
    context.instance.running().ok_or(BrowserError::NotRunning)
}

fn shut(context: &Context<'_>, browser: &Running, target: &str) -> Result<(), BrowserError> {
    context
        .instance
        .close_tab(browser, target, context.deadline)
}

fn activate(context: &Context<'_>, target: &str) -> Result<(), BrowserError> {
    let params = json!({"targetId": target});
    let connection = &running(context)?.connection;
    connection.call(None, "Target.activateTarget", params, context.deadline)?;
    context.instance.book().used(target);
    Ok(())
}

/// Opens a tab at a URL that was judged, closes what is too many, and gives the tab.
fn new_tab(context: &Context<'_>, url: &str, label: Option<&str>) -> Result<Value, BrowserError> {
    let browser = context.browser()?;
    let target = browser.open_tab(context.deadline)?;
    if url != BLANK {
        let visited = context
            .known_tab(&browser, &target)
            .and_then(|tab| visit(context, &tab, url, LOAD_LIMIT));
        if let Err(error) = visited {
            // A tab that shows nothing that was asked for is of no use.
            let _ = shut(context, &browser, &target);
            return Err(error);
        }
    }
    context.instance.update(&browser, context.deadline)?;
    if let Some(label) = label {
        context.instance.book().label(&target, label)?;
    }
    context.instance.book().used(&target);
    let surplus = context.instance.book().surplus(MAX_TABS, &target);
    for old in surplus {
        // It may have closed itself.
        let _ = shut(context, &browser, &old);
    }
    rendered_tab(context, &browser, &target)
}

fn rendered(context: &Context<'_>, browser: &Running) -> Result<Vec<Value>, BrowserError> {
    context.instance.update(browser, context.deadline)?;
    let Endpoint { host, port, .. } = start::endpoint(context.profile)?;
    let shown = |target: &Target| context.may_list(browser, target);
    Ok(context.instance.book().render(&host, port, shown))
}

fn rendered_tab(
    context: &Context<'_>,
    browser: &Running,
    target: &str,
) -> Result<Value, BrowserError> {
    let mut tabs = rendered(context, browser)?.into_iter();
    tabs.find(|tab| tab["targetId"] == target)
        .ok_or_else(|| BrowserError::UnknownTab(target.to_owned()))
}
