//! `/act`.

use serde_json::{Value, json};

use super::super::act::action::{Action, Kind, Rules};
use super::super::act::perform::perform;
use super::super::context::Context;
use super::super::error::BrowserError;

/// `POST /act`.
pub fn act(context: &Context<'_>) -> Result<Value, BrowserError> {
    let rules = Rules {
        evaluate: context.settings.evaluate,
        target: context.request.body("targetId"),
    };
    let action = Action::parse(&context.request.body, rules)?;
    // One that may not be looked at may be closed.
    let tab = match action.kind {
        Kind::Close => context.any_tab()?,
        _ => context.tab()?,
    };
    // Waiting changes nothing, and what it waits for may be another one's doing.
    let turn = match action.kind {
        Kind::Wait(_) => None,
        _ => {
            let turn = tab.page.turns.take(context.deadline);
            Some(turn.ok_or(BrowserError::TimedOut)?)
        }
    };
    let members = perform(context, &tab, &action)?;
    drop(turn);
    if action.kind == Kind::Close {
        // The browser may still list it for a moment.
        return Ok(json!({"ok": true, "targetId": tab.target.id}));
    }
    context.result(&tab, Value::Object(members))
}
