//! Scripts of this program in a frame, in a world of their own: they see the page's elements, but nothing that
//! the page's scripts have made of the language.

use std::time::Instant;

use serde_json::{Value, json};

use super::cdp::CdpError;
use super::elements::{Handle, handle};
use super::error::BrowserError;
use super::page::{Page, value_of};

/// The name of the world.
const NAME: &str = "openclaw";

/// The world in one frame.
#[derive(Debug)]
pub struct World<'a> {
    page: &'a Page,
    session: Option<String>,
    context: Value,
    deadline: Instant,
}

impl<'a> World<'a> {
    /// The world in a frame that `session` reaches; it stays as long as the frame's document.
    ///
    /// # Errors
    /// As [`Page::call`].
    pub fn enter(
        page: &'a Page,
        session: Option<&str>,
        frame: &str,
        deadline: Instant,
    ) -> Result<Self, CdpError> {
        let params = json!({"frameId": frame, "worldName": NAME});
        let mut answer = page.call_in(session, "Page.createIsolatedWorld", params, deadline)?;
        Ok(Self {
            page,
            session: session.map(str::to_owned),
            context: answer["executionContextId"].take(),
            deadline,
        })
    }

    /// The value of an expression, as JSON; a promise is waited for.
    ///
    /// # Errors
    /// [`BrowserError::Unexpected`] with what the script threw, else as [`Page::call`].
    pub fn evaluate(&self, expression: &str) -> Result<Value, BrowserError> {
        value_of(self.run(expression, true)?)
    }

    /// What an expression gives, as the script engine describes it; `None` when its document is gone by now.
    ///
    /// # Errors
    /// [`BrowserError::Unexpected`] with the first line of what the script threw, else as [`Page::call`].
    pub fn object(&self, expression: &str) -> Result<Option<Value>, BrowserError> {
        let mut answer = match self.run(expression, false) {
            Err(CdpError::Refused(_)) => return Ok(None),
            answer => answer?,
        };
        if let Some(thrown) = answer.pointer("/exceptionDetails/exception/description") {
            let text = thrown.as_str().and_then(|text| text.lines().next());
            let text = text.unwrap_or_default().to_owned();
            return Err(BrowserError::Unexpected(text));
        }
        Ok(Some(answer["result"].take()))
    }

    /// The first element that a CSS selector finds, or none.
    ///
    /// # Errors
    /// [`BrowserError::Unexpected`] for a text that is no selector, else as [`Page::call`].
    pub fn find(&self, selector: &str) -> Result<Option<Handle>, BrowserError> {
        let answer = self.run(
            &format!("document.querySelector({})", json!(selector)),
            false,
        )?;
        if answer.get("exceptionDetails").is_some() {
            let text = format!("\"{selector}\" is not a valid selector");
            return Err(BrowserError::Unexpected(text));
        }
        Ok(handle(&answer["result"], self.session.clone()))
    }

    fn run(&self, expression: &str, by_value: bool) -> Result<Value, CdpError> {
        let params = json!({"expression": expression, "contextId": self.context, "returnByValue": by_value, "awaitPromise": by_value});
        let session = self.session.as_deref();
        self.page
            .call_in(session, "Runtime.evaluate", params, self.deadline)
    }
}
