//! What `/act` is asked to do, read and judged before the page is touched (node-host specification, section 4.6).

use std::time::Duration;

use serde_json::{Map, Value};

use super::super::error::BrowserError;
use super::input::{Button, Modifiers};

/// How long an interaction may take, and what a caller may choose.
const INTERACTION: u64 = 8_000;
const SHORTEST: u64 = 500;
const LONGEST_INTERACTION: u64 = 60_000;

/// The same for waiting.
const WAIT: u64 = 20_000;
const LONGEST_WAIT: u64 = 120_000;

/// Milliseconds between two halves of an action at most.
const LONGEST_DELAY: u64 = 5_000;

/// Milliseconds of a wait for nothing at most.
const LONGEST_PAUSE: u64 = 30_000;

/// Actions of a batch, those of batches in it among them.
const MAX_ACTIONS: usize = 100;

/// Batches within each other.
const MAX_DEPTH: usize = 5;

/// An element as the caller names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// By the ref of a snapshot.
    Ref(String),
    /// By CSS selector.
    Selector(String),
}

impl Named {
    /// The text it is called by.
    pub fn text(&self) -> &str {
        match self {
            Self::Ref(text) | Self::Selector(text) => text,
        }
    }
}

/// How a mouse button is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Press {
    /// Which one.
    pub button: Button,
    /// Twice in quick succession.
    pub double: bool,
    /// Keys that are held meanwhile.
    pub modifiers: Modifiers,
    /// Time between pointing and pressing.
    pub delay: Duration,
}

impl Press {
    /// The first button, once.
    pub fn plain() -> Self {
        Self {
            button: Button::Left,
            double: false,
            modifiers: Modifiers::default(),
            delay: Duration::ZERO,
        }
    }
}

/// A field and what belongs in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The field.
    pub element: Named,
    /// Its content.
    pub content: Content,
}

/// What belongs in a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A box that is ticked or not.
    Checked(bool),
    /// A text.
    Text(String),
}

/// A state of the page that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// A function of the page gives something true.
    Function(String),
    /// The page has loaded this far.
    Loaded(LoadState),
    /// Time has passed.
    Pause(Duration),
    /// An element shows.
    Selector(String),
    /// A text shows.
    Text(String),
    /// A text does not show.
    TextGone(String),
    /// The page's address fits a pattern.
    Url(String),
}

/// How far a page has loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadState {
    /// The document is read.
    Content,
    /// Everything it names is there.
    Load,
    /// Nothing is on its way any more.
    NetworkIdle,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Several, one after the other.
    Batch {
        /// What.
        actions: Vec<Action>,
        /// The first failure is the last action.
        stop_on_error: bool,
    },
    /// A click on an element.
    Click(Named, Press),
    /// A click on a place.
    ClickAt(f64, f64, Press),
    /// Closes the tab.
    Close,
    /// Pulls an element onto another.
    Drag(Named, Named),
    /// The value of a function of the page, which is given the element.
    Evaluate(String, Option<Named>),
    /// Fills fields of a form.
    Fill(Vec<Field>),
    /// Points at an element.
    Hover(Named),
    /// Presses a key, named with its modifiers.
    Press(String, Duration),
    /// Gives the page another size.
    Resize(u32, u32),
    /// Brings an element into view.
    ScrollIntoView(Named),
    /// Chooses options of a list by value or label.
    Select(Named, Vec<String>),
    /// Writes into an element.
    Type {
        /// Where.
        element: Named,
        /// What.
        text: String,
        /// Enter afterwards.
        submit: bool,
        /// Key by key.
        slowly: bool,
    },
    /// Waits for all of these.
    Wait(Vec<Condition>),
}

/// One thing to do and how long it may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// What.
    pub kind: Kind,
    /// How long.
    pub limit: Duration,
}

/// What an action is judged by beside itself.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// `browser.evaluateEnabled`.
    pub evaluate: bool,
    /// The tab that the request names.
    pub target: Option<&'a str>,
}

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
            owned("url").map(Condition::Url),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALL: Rules<'static> = Rules {
        evaluate: true,
        target: None,
    };

    fn parsed(body: &Value) -> Result<Action, String> {
        Action::parse(body.as_object().unwrap(), ALL).map_err(|error| error.to_string())
    }

    #[test]
    fn a_wrong_action_is_refused_in_the_specified_words() {
        let selector = "'selector' is not supported. Use 'ref' from snapshot instead. Take a snapshot, then name the \
                        element by its ref, such as \"e12\".";
        for (body, text) in [
            (json!({}), "kind is required"),
            (json!({"kind": "fly"}), "kind is required"),
            (json!({"kind": 7}), "kind is required"),
            (json!({"kind": "click"}), "click requires ref or selector"),
            (
                json!({"kind": "click", "ref": " "}),
                "click requires ref or selector",
            ),
            (
                json!({"kind": "click", "ref": "e1", "button": "none"}),
                "click button must be left|right|middle",
            ),
            (
                json!({"kind": "click", "ref": "e1", "modifiers": ["Shift", "Hyper"]}),
                "modifiers must be Alt|Control|ControlOrMeta|Meta|Shift",
            ),
            (
                json!({"kind": "click", "ref": "e1", "delayMs": 5001}),
                "click delayMs exceeds maximum of 5000ms",
            ),
            (
                json!({"kind": "clickCoords", "x": 1}),
                "clickCoords requires non-negative x and y",
            ),
            (
                json!({"kind": "clickCoords", "x": 1, "y": -0.5}),
                "clickCoords requires non-negative x and y",
            ),
            (
                json!({"kind": "type", "text": "x"}),
                "type requires ref or selector",
            ),
            (json!({"kind": "type", "ref": "e1"}), "type requires text"),
            (
                json!({"kind": "type", "ref": "e1", "text": 7}),
                "type requires text",
            ),
            (json!({"kind": "press"}), "press requires key"),
            (json!({"kind": "hover"}), "hover requires ref or selector"),
            (
                json!({"kind": "scrollIntoView"}),
                "scrollIntoView requires ref or selector",
            ),
            (
                json!({"kind": "drag", "endRef": "e1"}),
                "drag requires startRef or startSelector",
            ),
            (
                json!({"kind": "drag", "startRef": "e1"}),
                "drag requires endRef or endSelector",
            ),
            (
                json!({"kind": "select", "ref": "e1"}),
                "select requires ref/selector and values",
            ),
            (
                json!({"kind": "select", "values": ["a"]}),
                "select requires ref/selector and values",
            ),
            (
                json!({"kind": "select", "ref": "e1", "values": []}),
                "select requires ref/selector and values",
            ),
            (json!({"kind": "fill"}), "fill requires fields"),
            (
                json!({"kind": "fill", "fields": [{"value": "x"}]}),
                "fill requires fields",
            ),
            (
                json!({"kind": "resize", "width": 0, "height": 9}),
                "resize requires positive width and height",
            ),
            (
                json!({"kind": "wait"}),
                "wait requires at least one of: timeMs, text, textGone, selector, url, loadState, fn",
            ),
            (
                json!({"kind": "wait", "loadState": "someday"}),
                "wait requires at least one of: timeMs, text, textGone, selector, url, loadState, fn",
            ),
            (
                json!({"kind": "wait", "timeMs": 30001}),
                "wait timeMs exceeds maximum of 30000ms",
            ),
            (json!({"kind": "evaluate"}), "evaluate requires fn"),
            (json!({"kind": "batch"}), "actions are required"),
            (
                json!({"kind": "batch", "actions": []}),
                "actions are required",
            ),
            (
                json!({"kind": "batch", "actions": [{"kind": "press"}]}),
                "press requires key",
            ),
            (
                json!({"kind": "batch", "actions": ["x"]}),
                "kind is required",
            ),
            (
                json!({"kind": "batch", "actions": [{"kind": "close", "targetId": "t2"}]}),
                "batched actions must have the targetId of the batch",
            ),
            (
                json!({"kind": "press", "key": "a", "selector": "p"}),
                selector,
            ),
            (
                json!({"kind": "evaluate", "fn": "1", "selector": "p"}),
                selector,
            ),
        ] {
            assert_eq!(parsed(&body), Err(text.to_owned()), "{body}");
        }
    }

    #[test]
    fn what_the_configuration_switches_off_is_refused_however_it_is_asked_for() {
        let rules = Rules {
            evaluate: false,
            ..ALL
        };
        let evaluate = json!({"kind": "evaluate", "fn": "1"});
        for body in [
            evaluate.clone(),
            json!({"kind": "wait", "fn": "true"}),
            json!({"kind": "batch", "actions": [evaluate]}),
        ] {
            let error = Action::parse(body.as_object().unwrap(), rules).unwrap_err();
            assert_eq!(
                error.to_string(),
                "act:evaluate is disabled by config (browser.evaluateEnabled=false)."
            );
        }
    }

    #[test]
    fn times_are_held_within_their_bounds() {
        let click = json!({"kind": "click", "ref": "e1"});
        let wait = json!({"kind": "wait", "text": "x"});
        for (base, given, expected) in [
            (&click, json!(null), 8_000),
            (&click, json!(1), 500),
            (&click, json!("900"), 900),
            (&click, json!(1e9), 60_000),
            (&wait, json!(null), 20_000),
            (&wait, json!(-4), 500),
            (&wait, json!(119_999.9), 119_999),
            (&wait, json!(1e9), 120_000),
        ] {
            let mut body = base.clone();
            body["timeoutMs"] = given;
            assert_eq!(parsed(&body).unwrap().limit.as_millis(), expected, "{body}");
        }
    }

    #[test]
    fn actions_of_batches_in_batches_count() {
        let close = || json!({"kind": "close"});
        let batch = |actions: Vec<Value>| json!({"kind": "batch", "actions": actions});
        let many = |count: usize| batch((0..count).map(|_| close()).collect());
        assert!(parsed(&many(100)).is_ok());
        let too_many = Err("batch exceeds maximum of 100 actions".to_owned());
        assert_eq!(parsed(&many(101)), too_many);
        assert!(parsed(&batch(vec![many(49), many(49)])).is_ok());
        assert_eq!(parsed(&batch(vec![many(49), many(50)])), too_many);
        let nested = |depth: usize| (1..depth).fold(many(1), |inner, _| batch(vec![inner]));
        assert!(parsed(&nested(5)).is_ok());
        assert_eq!(
            parsed(&nested(6)),
            Err("batch exceeds maximum depth of 5".to_owned())
        );
    }

    #[test]
    fn members_are_read_as_they_are_meant() {
        let body = json!({"kind": "fill", "fields": [
            {"ref": "e1", "type": "checkbox", "value": true}, {"ref": "e2", "type": "radio", "value": 1},
            {"ref": "e3", "type": "checkbox", "value": "1"}, {"ref": "e4", "type": "checkbox", "value": "yes"},
            {"ref": "e5", "value": 7.5}, {"ref": "e6", "type": "text"}, {"value": "nowhere"}]});
        let Kind::Fill(fields) = parsed(&body).unwrap().kind else {
            panic!("{body}")
        };
        let contents: Vec<Content> = fields.into_iter().map(|field| field.content).collect();
        let text = |text: &str| Content::Text(text.to_owned());
        let checked = Content::Checked;
        assert_eq!(
            contents,
            [
                checked(true),
                checked(true),
                checked(true),
                checked(false),
                text("7.5"),
                text("")
            ]
        );
        let body =
            json!({"kind": "wait", "timeMs": 5, "url": "**/end", "loadState": "networkidle"});
        let expected = [
            Condition::Pause(Duration::from_millis(5)),
            Condition::Url("**/end".to_owned()),
            Condition::Loaded(LoadState::NetworkIdle),
        ];
        assert_eq!(parsed(&body).unwrap().kind, Kind::Wait(expected.into()));
        let both = json!({"kind": "hover", "ref": "e1", "selector": "p"});
        assert_eq!(parsed(&both).unwrap().kind, Kind::Hover(by_ref("e1")));
    }
}
