//! What can be done on a page, and what each thing needs to be known (node-host specification, section 4.6).

use std::time::Duration;

use super::input::{Button, Modifiers};

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
