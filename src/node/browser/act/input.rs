//! The mouse and the keyboard of a page.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::error::BrowserError;
use super::super::page::Page;
use super::action::Press;
use super::keys::{self, Key};

/// Between two keys of a text that is written slowly.
const WRITING_PACE: Duration = Duration::from_millis(75);

/// Points of a way that the mouse takes with a button held.
const STEPS: u32 = 5;

/// A mouse button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Button {
    /// The first.
    Left,
    /// The wheel.
    Middle,
    /// The second.
    Right,
}

impl Button {
    const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Middle => "middle",
            Self::Right => "right",
        }
    }

    /// Its bit among the buttons that are held.
    const fn bit(self) -> u32 {
        match self {
            Self::Left => 1,
            Self::Right => 2,
            Self::Middle => 4,
        }
    }
}

/// Keys that are held while another one, or the mouse, is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modifiers(u32);

impl Modifiers {
    /// Alt.
    pub const ALT: Self = Self(1);
    /// Control.
    pub const CONTROL: Self = Self(2);
    /// Meta, or Command.
    pub const META: Self = Self(4);
    /// Shift.
    pub const SHIFT: Self = Self(8);

    /// Each with the name of its key.
    const KEYS: [(Self, &'static str); 4] = [
        (Self::ALT, "Alt"),
        (Self::CONTROL, "Control"),
        (Self::META, "Meta"),
        (Self::SHIFT, "Shift"),
    ];

    /// The one with this name; `ControlOrMeta` is what commands are given with on this system.
    pub fn named(name: &str) -> Option<Self> {
        let name = match name {
            "ControlOrMeta" if cfg!(target_os = "macos") => "Meta",
            "ControlOrMeta" => "Control",
            name => name,
        };
        let found = Self::KEYS.iter().find(|(_, own)| *own == name);
        found.map(|(modifier, _)| *modifier)
    }

    /// Both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the other is among these.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// As the browser takes them.
    pub const fn bits(self) -> u32 {
        self.0
    }

    fn names(self) -> impl Iterator<Item = (Self, &'static str)> {
        Self::KEYS
            .into_iter()
            .filter(move |(modifier, _)| self.has(*modifier))
    }
}

/// A place on the page in CSS pixels, from the upper left corner of what is seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Down.
    pub y: f64,
}

/// The mouse and the keyboard of one page until an action's time is over.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The page.
    pub page: &'a Page,
    /// When the action's time is over.
    pub until: Instant,
}

impl Input<'_> {
    /// Points at a place.
    ///
    /// # Errors
    /// As [`Page::call`], like all of these.
    pub fn point(self, at: Point, modifiers: Modifiers) -> Result<(), BrowserError> {
        self.mouse("mouseMoved", at, json!({"modifiers": modifiers.bits()}))
    }

    /// Clicks on a place.
    pub fn click(self, at: Point, press: &Press) -> Result<(), BrowserError> {
        self.point(at, press.modifiers)?;
        self.rest(press.delay)?;
        for count in 1..=(if press.double { 2 } else { 1 }) {
            for (kind, held) in [("mousePressed", press.button.bit()), ("mouseReleased", 0)] {
                let members = json!({"button": press.button.name(), "buttons": held, "clickCount": count,
                    "modifiers": press.modifiers.bits()});
                self.mouse(kind, at, members)?;
            }
        }
        Ok(())
    }

    /// Presses the first button at a place.
    pub fn hold(self, at: Point) -> Result<(), BrowserError> {
        self.mouse(
            "mousePressed",
            at,
            json!({"button": "left", "buttons": 1, "clickCount": 1}),
        )
    }

    /// Moves with the first button held.
    pub fn pull(self, from: Point, to: Point) -> Result<(), BrowserError> {
        for step in 1..=STEPS {
            let part = f64::from(step) / f64::from(STEPS);
            let between = |from: f64, to: f64| from + (to - from) * part;
            let at = Point {
                x: between(from.x, to.x),
                y: between(from.y, to.y),
            };
            self.mouse("mouseMoved", at, json!({"button": "left", "buttons": 1}))?;
        }
        Ok(())
    }

    /// Lets the first button go.
    pub fn release(self, at: Point) -> Result<(), BrowserError> {
        self.mouse(
            "mouseReleased",
            at,
            json!({"button": "left", "buttons": 0, "clickCount": 1}),
        )
    }

    /// Carries what the page wants dragged to a place and drops it.
    pub fn drop_at(self, at: Point, data: &Value) -> Result<(), BrowserError> {
        for kind in ["dragEnter", "dragOver", "drop"] {
            let params = json!({"type": kind, "x": at.x, "y": at.y, "data": data});
            self.page
                .call("Input.dispatchDragEvent", params, self.until)?;
        }
        Ok(())
    }

    /// Presses a key with those that its name holds, in the frame that has the focus.
    pub fn press(
        self,
        frame: Option<&str>,
        name: &str,
        delay: Duration,
    ) -> Result<(), BrowserError> {
        let (held, key) = keys::chord(name)?;
        let mut down = Modifiers::default();
        for (modifier, name) in held.names() {
            down = down.with(modifier);
            let (_, key) = keys::chord(name)?;
            self.key(frame, "rawKeyDown", &key, down)?;
        }
        self.key_down(frame, &key, held)?;
        self.rest(delay)?;
        self.key(frame, "keyUp", &key, held)?;
        for (_, name) in held.names() {
            let (_, key) = keys::chord(name)?;
            self.key(frame, "keyUp", &key, Modifiers::default())?;
        }
        Ok(())
    }

    /// Writes a text at once.
    pub fn insert(self, frame: Option<&str>, text: &str) -> Result<(), BrowserError> {
        let params = json!({"text": text});
        self.page
            .call_in(frame, "Input.insertText", params, self.until)?;
        Ok(())
    }

    /// Writes a text key by key.
    pub fn write_slowly(self, frame: Option<&str>, text: &str) -> Result<(), BrowserError> {
        for character in text.chars() {
            match keys::writing(character) {
                Some(key) => {
                    self.key_down(frame, &key, Modifiers::default())?;
                    self.key(frame, "keyUp", &key, Modifiers::default())?;
                }
                None => self.insert(frame, character.encode_utf8(&mut [0; 4]))?,
            }
            self.rest(WRITING_PACE)?;
        }
        Ok(())
    }

    /// Does nothing for a while.
    ///
    /// # Errors
    /// [`BrowserError::TimedOut`] when the action's time ends first.
    pub fn rest(self, pause: Duration) -> Result<(), BrowserError> {
        let left = self.until.saturating_duration_since(Instant::now());
        std::thread::sleep(pause.min(left));
        if pause > left {
            return Err(BrowserError::TimedOut);
        }
        Ok(())
    }

    fn mouse(self, kind: &str, at: Point, members: Value) -> Result<(), BrowserError> {
        let mut params = members;
        params["type"] = kind.into();
        params["x"] = at.x.into();
        params["y"] = at.y.into();
        self.page
            .call("Input.dispatchMouseEvent", params, self.until)?;
        Ok(())
    }

    fn key_down(self, frame: Option<&str>, key: &Key, held: Modifiers) -> Result<(), BrowserError> {
        let kind = if key.text.is_some() {
            "keyDown"
        } else {
            "rawKeyDown"
        };
        self.key(frame, kind, key, held)
    }

    fn key(
        self,
        frame: Option<&str>,
        kind: &str,
        key: &Key,
        held: Modifiers,
    ) -> Result<(), BrowserError> {
        let mut params = json!({"type": kind, "key": key.key, "code": key.code, "windowsVirtualKeyCode": key.number,
            "nativeVirtualKeyCode": key.number, "modifiers": held.bits()});
        if let Some(text) = key.text.as_deref().filter(|_| kind == "keyDown") {
            params["text"] = text.into();
        }
        self.page
            .call_in(frame, "Input.dispatchKeyEvent", params, self.until)?;
        Ok(())
    }
}
