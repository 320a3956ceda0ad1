//! Dialogs of a page: every one is answered at once, or the page hangs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The answer that waits for the next dialog.
#[derive(Debug, Default)]
pub struct Dialogs {
    armed: Option<Armed>,
}

#[derive(Debug)]
struct Armed {
    accept: bool,
    text: Option<String>,
    until: Instant,
}

impl Dialogs {
    /// Answers the next dialog in this way if it opens within `patience`; `text` is for a prompt.
    pub fn arm(&mut self, accept: bool, text: Option<String>, patience: Duration) {
        let now = Instant::now();
        self.armed = Some(Armed {
            accept,
            text,
            // Beyond the clock's range is as good as never.
            until: now.checked_add(patience).unwrap_or(now),
        });
    }

    /// The answer to a dialog that has just opened, as params of `Page.handleJavaScriptDialog`. One that nobody
    /// expects is dismissed, but a page that asks whether it may be left may be left.
    pub fn answer(&mut self, opened: &Value) -> Value {
        let leaving = opened.get("type").and_then(Value::as_str) == Some("beforeunload");
        let armed = self
            .armed
            .take()
            .filter(|armed| Instant::now() < armed.until);
        match armed {
            Some(armed) => {
                let mut answer = json!({"accept": armed.accept});
                if let Some(text) = armed.text {
                    answer["promptText"] = text.into();
                }
                answer
            }
            None => json!({"accept": leaving}),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_dialog_is_answered_as_armed_and_no_other() {
        let mut dialogs = Dialogs::default();
        let prompt = json!({"type": "prompt", "message": "?"});
        assert_eq!(dialogs.answer(&prompt), json!({"accept": false}));
        dialogs.arm(true, Some("x".to_owned()), Duration::from_secs(600));
        assert_eq!(
            dialogs.answer(&prompt),
            json!({"accept": true, "promptText": "x"})
        );
        assert_eq!(dialogs.answer(&prompt), json!({"accept": false}));
        dialogs.arm(true, None, Duration::ZERO);
        assert_eq!(dialogs.answer(&prompt), json!({"accept": false}));
        let leaving = json!({"type": "beforeunload"});
        assert_eq!(dialogs.answer(&leaving), json!({"accept": true}));
    }
}
