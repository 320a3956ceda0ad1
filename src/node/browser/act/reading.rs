//! Reads what `/act` is asked to do, and judges it before the page is touched (node-host specification, section 4.6).

use std::time::Duration;

use serde_json::{Map, Value};

use super::super::error::BrowserError;
use super::action::{Action, Condition, Content, Field, Kind, LoadState, Named, Press, Rules};
use super::input::{Button, Modifiers};

/// How long an interaction may take, and what a caller may choose.
const INTERACTION: u64 = 8_000;
const SHORTEST: u64 = 500;
const LONGEST_INTERACTION: u64 = 60_000;

/// The same for waiting.
const WAIT: u64 = 20_000;
const LONGEST_WAIT: u64 = 120_000;

/// Characters of the pattern of an address that is waited for at most.
const LONGEST_PATTERN: usize = 1_024;

/// Milliseconds between two halves of an action at most.
const LONGEST_DELAY: u64 = 5_000;

/// Milliseconds of a wait for nothing at most.
const LONGEST_PAUSE: u64 = 30_000;

/// Actions of a batch, those of batches in it among them.
const MAX_ACTIONS: usize = 100;

/// Batches within each other.
const MAX_DEPTH: usize = 5;

impl Action {
    /// Reads a body of `/act`.
    ///
    /// # Errors
    /// [`BrowserError::Invalid`] with the specification's text.
    pub fn parse(body: &Map<String, Value>, rules: Rules<'_>) -> Result<Self, BrowserError> {
        let mut count = 0;
        Reader { body, rules }.action(0, &mut count)
    }
}

/// The members of one action.
#[derive(Clone, Copy)]
struct Reader<'a> {
    body: &'a Map<String, Value>,
    rules: Rules<'a>,
}

impl<'a> Reader<'a> {
    fn action(self, depth: usize, count: &mut usize) -> Result<Action, BrowserError> {
        let kind = self.text("kind").unwrap_or_default();
        self.refuse_selector(kind)?;
        let kind = match kind {
            "batch" => self.batch(depth, count)?,
            "click" => {
                let element = self.required("click")?;
                Kind::Click(element, self.press("click")?)
            }
            "clickCoords" => self.click_at()?,
            "close" => Kind::Close,
            "drag" => self.drag()?,
            "evaluate" => {
                let function = self.text("fn");
                let function = function.ok_or_else(|| invalid("evaluate requires fn"))?;
                self.may_evaluate()?;
                Kind::Evaluate(function.to_owned(), self.text("ref").map(by_ref))
            }
            "fill" => self.fill()?,
            "hover" => Kind::Hover(self.required("hover")?),
            "press" => {
                let key = self
                    .text("key")
                    .ok_or_else(|| invalid("press requires key"))?;
                Kind::Press(key.to_owned(), self.delay("press")?)
            }
            "resize" => self.resize()?,
            "scrollIntoView" => Kind::ScrollIntoView(self.required("scrollIntoView")?),
            "select" => {
                let values = self.texts("values").filter(|values| !values.is_empty());
                let both = self.named("ref", "selector").zip(values);
                let (element, values) =
                    both.ok_or_else(|| invalid("select requires ref/selector and values"))?;
                Kind::Select(element, values)
            }
            "type" => self.writing()?,
            "wait" => Kind::Wait(self.conditions()?),
            _ => return Err(invalid("kind is required")),
        };
        let limit = match kind {
            Kind::Wait(_) => self.limit(WAIT, LONGEST_WAIT),
            _ => self.limit(INTERACTION, LONGEST_INTERACTION),
        };
        Ok(Action { kind, limit })
    }

    fn batch(self, depth: usize, count: &mut usize) -> Result<Kind, BrowserError> {
        let actions = self.body.get("actions").and_then(Value::as_array);
        let actions = actions
            .filter(|actions| !actions.is_empty())
            .ok_or_else(|| invalid("actions are required"))?;
        if depth >= MAX_DEPTH {
            let text = format!("batch exceeds maximum depth of {MAX_DEPTH}");
            return Err(BrowserError::invalid(text));
        }
        *count += actions.len();
        if *count > MAX_ACTIONS {
            let text = format!("batch exceeds maximum of {MAX_ACTIONS} actions");
            return Err(BrowserError::invalid(text));
        }
        let mut parsed = Vec::new();
        for action in actions {
            let body = action
                .as_object()
                .ok_or_else(|| invalid("kind is required"))?;
            let own = Reader { body, ..self };
            let target = own.text("targetId");
            if target.is_some() && target != self.rules.target {
                return Err(invalid(
                    "batched actions must have the targetId of the batch",
                ));
            }
            parsed.push(own.action(depth + 1, count)?);
        }
        Ok(Kind::Batch {
            actions: parsed,
            stop_on_error: self.flag("stopOnError").unwrap_or(true),
        })
    }

    fn click_at(self) -> Result<Kind, BrowserError> {
        let place = |name| self.number(name).filter(|&value| value >= 0.0);
        let both = place("x").zip(place("y"));
        let (x, y) = both.ok_or_else(|| invalid("clickCoords requires non-negative x and y"))?;
        Ok(Kind::ClickAt(x, y, self.press("clickCoords")?))
    }

    fn drag(self) -> Result<Kind, BrowserError> {
        let start = self.named("startRef", "startSelector");
        let start = start.ok_or_else(|| invalid("drag requires startRef or startSelector"))?;
        let end = self.named("endRef", "endSelector");
        let end = end.ok_or_else(|| invalid("drag requires endRef or endSelector"))?;
        Ok(Kind::Drag(start, end))
    }

    fn fill(self) -> Result<Kind, BrowserError> {
        let fields = self.body.get("fields").and_then(Value::as_array);
        let fields: Vec<Field> = fields.into_iter().flatten().filter_map(field).collect();
        if fields.is_empty() {
            return Err(invalid("fill requires fields"));
        }
        Ok(Kind::Fill(fields))
    }

    fn resize(self) -> Result<Kind, BrowserError> {
        // The browser's own bound.
        let side = |name| {
            let side = self.number(name)?.round();
            (side >= 1.0).then_some(side.min(10_000_000.0) as u32)
        };
        let both = side("width").zip(side("height"));
        let (width, height) =
            both.ok_or_else(|| invalid("resize requires positive width and height"))?;
        Ok(Kind::Resize(width, height))
    }

    fn writing(self) -> Result<Kind, BrowserError> {
        let element = self.required("type")?;
        let text = self.body.get("text").and_then(Value::as_str);
        let text = text.ok_or_else(|| invalid("type requires text"))?;
        Ok(Kind::Type {
            element,
            text: text.to_owned(),
            submit: self.flag("submit").unwrap_or(false),
            slowly: self.flag("slowly").unwrap_or(false),
        })
    }

    fn conditions(self) -> Result<Vec<Condition>, BrowserError> {
        let owned = |name| self.text(name).map(str::to_owned);
        let pause = self.milliseconds("timeMs");
        if pause.is_some_and(|pause| pause > LONGEST_PAUSE) {
            let text = format!("wait timeMs exceeds maximum of {LONGEST_PAUSE}ms");
            return Err(BrowserError::invalid(text));
        }
        let state = match self.text("loadState") {
            Some("domcontentloaded") => Some(LoadState::Content),
            Some("load") => Some(LoadState::Load),
            Some("networkidle") => Some(LoadState::NetworkIdle),
            _ => None,
        };
        let conditions = [
            pause.map(|pause| Condition::Pause(Duration::from_millis(pause))),
            owned("text").map(Condition::Text),
            owned("textGone").map(Condition::TextGone),
            owned("selector").map(Condition::Selector),
            owned("url").map(address_pattern).transpose()?,
            state.map(Condition::Loaded),
            owned("fn").map(Condition::Function),
        ];
        let conditions: Vec<Condition> = conditions.into_iter().flatten().collect();
        if conditions.is_empty() {
            return Err(invalid(
                "wait requires at least one of: timeMs, text, textGone, selector, url, loadState, fn",
            ));
        }
        if self.text("fn").is_some() {
            self.may_evaluate()?;
        }
        Ok(conditions)
    }

    fn press(self, kind: &str) -> Result<Press, BrowserError> {
        let button = match self.text("button") {
            None | Some("left") => Button::Left,
            Some("right") => Button::Right,
            Some("middle") => Button::Middle,
            Some(_) => {
                let text = format!("{kind} button must be left|right|middle");
                return Err(BrowserError::invalid(text));
            }
        };
        let names = self.body.get("modifiers").and_then(Value::as_array);
        let mut modifiers = Modifiers::default();
        for name in names.into_iter().flatten() {
            let named = name.as_str().and_then(Modifiers::named);
            let named = named
                .ok_or_else(|| invalid("modifiers must be Alt|Control|ControlOrMeta|Meta|Shift"))?;
            modifiers = modifiers.with(named);
        }
        Ok(Press {
            button,
            double: self.flag("doubleClick").unwrap_or(false),
            modifiers,
            delay: self.delay(kind)?,
        })
    }

    fn delay(self, kind: &str) -> Result<Duration, BrowserError> {
        let delay = self.milliseconds("delayMs").unwrap_or(0);
        if delay > LONGEST_DELAY {
            let text = format!("{kind} delayMs exceeds maximum of {LONGEST_DELAY}ms");
            return Err(BrowserError::invalid(text));
        }
        Ok(Duration::from_millis(delay))
    }

    fn limit(self, usual: u64, longest: u64) -> Duration {
        let wanted = self.milliseconds("timeoutMs").unwrap_or(usual);
        Duration::from_millis(wanted.clamp(SHORTEST, longest))
    }

    fn refuse_selector(self, kind: &str) -> Result<(), BrowserError> {
        const WITHOUT: [&str; 8] = [
            "batch",
            "clickCoords",
            "close",
            "drag",
            "evaluate",
            "fill",
            "press",
            "resize",
        ];
        if WITHOUT.contains(&kind) && self.text("selector").is_some() {
            return Err(invalid(
                "'selector' is not supported. Use 'ref' from snapshot instead. Take a snapshot, then name the element \
                 by its ref, such as \"e12\".",
            ));
        }
        Ok(())
    }

    fn may_evaluate(self) -> Result<(), BrowserError> {
        if self.rules.evaluate {
            return Ok(());
        }
        Err(invalid(
            "act:evaluate is disabled by config (browser.evaluateEnabled=false).",
        ))
    }

    fn required(self, kind: &str) -> Result<Named, BrowserError> {
        let missing = || BrowserError::invalid(format!("{kind} requires ref or selector"));
        self.named("ref", "selector").ok_or_else(missing)
    }

    fn named(self, by_name: &str, by_selector: &str) -> Option<Named> {
        let selector = || {
            self.text(by_selector)
                .map(|text| Named::Selector(text.to_owned()))
        };
        self.text(by_name).map(by_ref).or_else(selector)
    }

    /// A text, trimmed and not blank.
    fn text(self, name: &str) -> Option<&'a str> {
        let text = self.body.get(name)?.as_str()?.trim();
        (!text.is_empty()).then_some(text)
    }

    fn texts(self, name: &str) -> Option<Vec<String>> {
        let values = self.body.get(name)?.as_array()?;
        let texts = values.iter().filter_map(plain);
        Some(texts.collect())
    }

    fn flag(self, name: &str) -> Option<bool> {
        match self.body.get(name)? {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => match text.trim() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    fn number(self, name: &str) -> Option<f64> {
        let number = match self.body.get(name)? {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_f64(),
        };
        number.filter(|number: &f64| number.is_finite())
    }

    fn milliseconds(self, name: &str) -> Option<u64> {
        Some(self.number(name)?.max(0.0) as u64)
    }
}

fn by_ref(name: &str) -> Named {
    Named::Ref(name.to_owned())
}

/// A text, number or switch as a text.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn field(given: &Value) -> Option<Field> {
    let text = |name: &str| given.get(name)?.as_str().map(str::trim);
    let element = by_ref(text("ref").filter(|name| !name.is_empty())?);
    let value = given.get("value").and_then(plain).unwrap_or_default();
    let content = match text("type") {
        Some("checkbox" | "radio") => Content::Checked(matches!(value.as_str(), "1" | "true")),
        _ => Content::Text(value),
    };
    Some(Field { element, content })
}

fn invalid(text: &str) -> BrowserError {
    BrowserError::invalid(text)
}

/// The condition of an address, whose pattern may not be longer than any that a person writes.
fn address_pattern(pattern: String) -> Result<Condition, BrowserError> {
    if pattern.chars().count() > LONGEST_PATTERN {
        let text = format!("wait url must be at most {LONGEST_PATTERN} characters");
        return Err(BrowserError::invalid(text));
    }
    Ok(Condition::Url(pattern))
}

#[cfg(test)]
mod tests;
