//! Doing what `/act` asks for.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::super::cdp::CdpError;
use super::super::context::{Context, Tab};
use super::super::elements::{Handle, not_found};
use super::super::error::BrowserError;
use super::super::page::value_of;
use super::super::world::World;
use super::action::{Action, Kind, Named, Press};
use super::conditions;
use super::drag;
use super::fields::Form;
use super::input::{Input, Modifiers, Point};
use super::reach::{Finder, Need};

/// How long a page may take to show what a click led to, at least, however short the action's own time was.
const ASTRAY: Duration = Duration::from_secs(5);

/// Bytes of the results of a batch.
const MAX_RESULTS_BYTES: usize = 10 * 1024 * 1024;

/// Does one thing on a tab; the members that it adds to the result.
///
/// # Errors
/// What kept it from being done; [`BrowserError::Blocked`] when it led where the navigation policy does not.
pub fn perform(
    context: &Context<'_>,
    tab: &Tab,
    action: &Action,
) -> Result<Map<String, Value>, BrowserError> {
    if let Kind::Batch {
        actions,
        stop_on_error,
    } = &action.kind
    {
        return batch(context, tab, actions, *stop_on_error);
    }
    let page = &*tab.page;
    let limit = action.limit;
    let before = page.document(None);
    let finder = finder(context, tab, limit);
    let until = finder.until;
    let actor = Actor {
        context,
        tab,
        finder,
        input: Input { page, until },
    };
    let done = actor.act(&action.kind);
    match done {
        // What it was about to do may have closed the tab.
        Err(_) if page.is_closed() && action.kind.may_close() => Ok(Map::new()),
        Err(BrowserError::TimedOut) if Instant::now() < context.deadline => {
            Err(BrowserError::slow(action.kind.name(), limit))
        }
        Err(error) => Err(error),
        Ok(members) => {
            if !matches!(action.kind, Kind::Close) && !page.is_closed() {
                actor.arrive(&before)?;
            }
            Ok(members)
        }
    }
}

/// Clicks on an element when nobody else acts on the tab.
///
/// # Errors
/// As [`perform`].
pub fn click(
    context: &Context<'_>,
    tab: &Tab,
    element: Named,
    press: Press,
    limit: Duration,
) -> Result<(), BrowserError> {
    let turn = tab.page.turns.take(context.deadline);
    let _turn = turn.ok_or(BrowserError::TimedOut)?;
    let kind = Kind::Click(element, press);
    perform(context, tab, &Action { kind, limit }).map(drop)
}

/// An element that need not show, as soon as it is there.
///
/// # Errors
/// As [`Finder::find`], and `not_found` when `limit` passes.
pub fn find_in_time(
    context: &Context<'_>,
    tab: &Tab,
    element: &Named,
    limit: Duration,
) -> Result<Handle, BrowserError> {
    let finder = finder(context, tab, limit);
    finder.wait(element.text(), || finder.find(element))
}

fn finder<'a>(context: &'a Context<'_>, tab: &'a Tab, limit: Duration) -> Finder<'a> {
    let now = Instant::now();
    Finder {
        page: &tab.page,
        instance: &context.instance,
        limit,
        until: context.deadline.min(now.checked_add(limit).unwrap_or(now)),
        deadline: context.deadline,
    }
}

fn batch(
    context: &Context<'_>,
    tab: &Tab,
    actions: &[Action],
    stop_on_error: bool,
) -> Result<Map<String, Value>, BrowserError> {
    let mut results = Results::default();
    for action in actions {
        let done = match perform(context, tab, action) {
            Ok(members) => results.add(members),
            Err(BrowserError::TimedOut) => return Err(BrowserError::TimedOut),
            Err(error) => results.fail(error),
        };
        if !done && stop_on_error {
            break;
        }
    }
    let mut members = Map::new();
    members.insert("results".to_owned(), results.list.into());
    Ok(members)
}

/// The results of a batch, not more than go back to the caller.
#[derive(Default)]
struct Results {
    list: Vec<Value>,
    bytes: usize,
}

impl Results {
    /// Takes what an action gave; whether there is room for it.
    fn add(&mut self, members: Map<String, Value>) -> bool {
        let mut result = Map::new();
        result.insert("ok".to_owned(), true.into());
        result.extend(members);
        let result = Value::Object(result);
        let bytes = result.to_string().len();
        if self.bytes + bytes > MAX_RESULTS_BYTES {
            let text = "the action was done, but its result does not fit: the results of a batch may have 10MB";
            return self.fail(BrowserError::Unexpected(text.to_owned()));
        }
        self.bytes += bytes;
        self.list.push(result);
        true
    }

    fn fail(&mut self, error: BrowserError) -> bool {
        let text = match error {
            BrowserError::Unexpected(text) => text,
            error => error.to_string(),
        };
        self.list.push(json!({"ok": false, "error": text}));
        false
    }
}

/// The source of a function that takes what the page's caller wrote: a function, or an expression.
pub fn function_of(source: &str) -> String {
    format!(
        "function (element) {{ const it = (\n{source}\n); return typeof it === 'function' ? it(element) : it }}"
    )
}

/// One action under way.
struct Actor<'a> {
    context: &'a Context<'a>,
    tab: &'a Tab,
    finder: Finder<'a>,
    input: Input<'a>,
}

impl Actor<'_> {
    fn act(&self, kind: &Kind) -> Result<Map<String, Value>, BrowserError> {
        let (finder, input) = (&self.finder, self.input);
        let form = Form { finder, input };
        self.awake()?;
        match kind {
            Kind::Click(named, press) => {
                let at = finder.reach(named, Need::Hit)?.at;
                input.click(at, press)?;
            }
            Kind::ClickAt(x, y, press) => input.click(Point { x: *x, y: *y }, press)?,
            Kind::Close => {
                let context = self.context;
                context.instance.close_tab(
                    &self.tab.browser,
                    &self.tab.target.id,
                    context.deadline,
                )?;
            }
            Kind::Drag(start, end) => drag::drag(finder, input, start, end)?,
            Kind::Evaluate(source, element) => return self.evaluate(source, element.as_ref()),
            Kind::Fill(fields) => fields.iter().try_for_each(|field| form.fill(field))?,
            Kind::Hover(named) => {
                let at = finder.reach(named, Need::Shown)?.at;
                input.point(at, Modifiers::default())?;
            }
            Kind::Press(key, delay) => input.press(None, key, *delay)?,
            Kind::Resize(width, height) => {
                let params = json!({"width": width, "height": height, "deviceScaleFactor": 0, "mobile": false});
                let method = "Emulation.setDeviceMetricsOverride";
                finder.page.call(method, params, finder.until)?;
            }
            Kind::ScrollIntoView(named) => drop(finder.reach(named, Need::Shown)?),
            Kind::Select(named, values) => form.choose(named, values)?,
            Kind::Type {
                element,
                text,
                submit,
                slowly,
            } => {
                let first = if *slowly { "" } else { text };
                let handle = form.replace(element, first)?;
                let frame = handle.frame.as_deref();
                if *slowly {
                    input.write_slowly(frame, text)?;
                }
                if *submit {
                    input.press(frame, "Enter", Duration::ZERO)?;
                }
            }
            Kind::Wait(wanted) => {
                for condition in wanted {
                    conditions::wait_for(finder, input, condition)?;
                }
            }
            Kind::Batch { .. } => {}
        }
        Ok(Map::new())
    }

    /// A page that nobody looks at goes on as if somebody did.
    fn awake(&self) -> Result<(), BrowserError> {
        let params = json!({"enabled": true});
        let method = "Emulation.setFocusEmulationEnabled";
        self.finder.page.call(method, params, self.finder.until)?;
        Ok(())
    }

    fn evaluate(
        &self,
        source: &str,
        element: Option<&Named>,
    ) -> Result<Map<String, Value>, BrowserError> {
        let page = self.finder.page;
        let handle = match element {
            None => None,
            Some(named) => Some(self.attached(named)?),
        };
        let function = function_of(source);
        let answer = match &handle {
            None => {
                let params = json!({"expression": format!("({function})()"), "returnByValue": true,
                    "awaitPromise": true, "userGesture": true});
                page.call("Runtime.evaluate", params, self.finder.until)
            }
            Some(handle) => {
                let function = format!("function () {{ return ({function})(this) }}");
                let params = json!({"objectId": handle.object, "functionDeclaration": function,
                    "returnByValue": true, "awaitPromise": true, "userGesture": true});
                let frame = handle.frame.as_deref();
                page.call_in(frame, "Runtime.callFunctionOn", params, self.finder.until)
            }
        };
        let answer = match answer {
            Err(CdpError::TimedOut) => {
                // What runs for ever would keep the page from everything else.
                let patience = Instant::now() + ASTRAY;
                let _ = page.call("Runtime.terminateExecution", json!({}), patience);
                return Err(BrowserError::TimedOut);
            }
            answer => answer?,
        };
        let mut members = Map::new();
        let kind = answer.pointer("/result/type").and_then(Value::as_str);
        let is_value = kind != Some("undefined");
        let special = answer.pointer("/result/unserializableValue").cloned();
        let value = value_of(answer)?;
        if is_value {
            members.insert("result".to_owned(), special.unwrap_or(value));
        }
        Ok(members)
    }

    /// An element that is part of its document still.
    fn attached(&self, named: &Named) -> Result<Handle, BrowserError> {
        const CONNECTED: &str = "function () { return this.isConnected }";
        let missing = || not_found(named.text());
        let handle = self.finder.find(named)?.ok_or_else(missing)?;
        match self.finder.call(&handle, CONNECTED, &[])? {
            Some(Value::Bool(true)) => Ok(handle),
            _ => Err(missing()),
        }
    }

    /// Waits until the page has done what comes right after the action; its own scripts have no say in that.
    fn heard(&self) -> Result<(), BrowserError> {
        let (page, until) = (self.finder.page, self.finder.until);
        let world = World::enter(page, None, &page.target, until);
        let waited = world
            .map_err(BrowserError::from)
            .and_then(|world| world.evaluate("new Promise(done => setTimeout(done, 0))"));
        match waited {
            // It went elsewhere meanwhile, or is gone.
            Err(BrowserError::Unexpected(_)) => Ok(()),
            waited => waited.map(drop),
        }
    }

    /// Waits for the document that the action led to, if it did, and judges where that is.
    fn arrive(&self, before: &str) -> Result<(), BrowserError> {
        let (page, context) = (self.finder.page, self.context);
        let until = context
            .deadline
            .min(self.finder.until.max(Instant::now() + ASTRAY));
        // What the page does right after the action is heard before this is answered.
        self.heard()?;
        match page.settle(until) {
            // A document that is slow to come is not the action's fault.
            Ok(()) | Err(CdpError::TimedOut) => {}
            Err(CdpError::Gone(_)) if page.is_closed() => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if page.document(None) == before {
            return Ok(());
        }
        context.check_arrival(self.tab, ASTRAY)
    }
}

impl Finder<'_> {
    /// The value of an expression in the page; `None` when the page went elsewhere meanwhile.
    ///
    /// # Errors
    /// What the page threw, else as `Page::call`.
    pub fn evaluate(&self, expression: &str) -> Result<Option<Value>, BrowserError> {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        match self.page.call("Runtime.evaluate", params, self.until) {
            Ok(answer) => value_of(answer).map(Some),
            Err(CdpError::Refused(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Kind {
    /// Its word.
    const fn name(&self) -> &'static str {
        match self {
            Self::Batch { .. } => "batch",
            Self::Click(..) => "click",
            Self::ClickAt(..) => "clickCoords",
            Self::Close => "close",
            Self::Drag(..) => "drag",
            Self::Evaluate(..) => "evaluate",
            Self::Fill(_) => "fill",
            Self::Hover(_) => "hover",
            Self::Press(..) => "press",
            Self::Resize(..) => "resize",
            Self::ScrollIntoView(_) => "scrollIntoView",
            Self::Select(..) => "select",
            Self::Type { .. } => "type",
            Self::Wait(_) => "wait",
        }
    }

    /// Whether a page may close itself because of it, before all of it is done.
    const fn may_close(&self) -> bool {
        matches!(
            self,
            Self::Click(..)
                | Self::ClickAt(..)
                | Self::Drag(..)
                | Self::Press(..)
                | Self::Type { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_a_batch_are_bounded_together() {
        let members = |bytes: usize| {
            let mut members = Map::new();
            members.insert("result".to_owned(), "x".repeat(bytes).into());
            members
        };
        let mut results = Results::default();
        assert!(results.add(members(MAX_RESULTS_BYTES / 2)));
        assert!(!results.add(members(MAX_RESULTS_BYTES / 2)));
        assert!(results.add(members(10)));
        let kept: Vec<bool> = results.list.iter().map(|it| it["ok"] == true).collect();
        assert_eq!(kept, [true, false, true]);
        assert!(Value::from(results.list).to_string().len() < MAX_RESULTS_BYTES);
    }
}
