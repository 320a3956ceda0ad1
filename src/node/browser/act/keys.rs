//! Keys by name, as pages hear them: `Enter`, `a`, `Control+Shift+T` (node-host specification, section 4.6, "press").

use super::super::error::BrowserError;
use super::input::Modifiers;

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// What it means: `KeyboardEvent.key`.
    pub key: String,
    /// Where it lies: `KeyboardEvent.code`.
    pub code: String,
    /// The number that old pages go by: `KeyboardEvent.keyCode`.
    pub number: u32,
    /// What it writes, if anything.
    pub text: Option<String>,
}

/// Keys without a letter: name, number, what they write.
const NAMED: &[(&str, u32, &str)] = &[
    ("Alt", 18, ""),
    ("ArrowDown", 40, ""),
    ("ArrowLeft", 37, ""),
    ("ArrowRight", 39, ""),
    ("ArrowUp", 38, ""),
    ("Backspace", 8, ""),
    ("CapsLock", 20, ""),
    ("ContextMenu", 93, ""),
    ("Control", 17, ""),
    ("Delete", 46, ""),
    ("End", 35, ""),
    ("Enter", 13, "\r"),
    ("Escape", 27, ""),
    ("F1", 112, ""),
    ("F2", 113, ""),
    ("F3", 114, ""),
    ("F4", 115, ""),
    ("F5", 116, ""),
    ("F6", 117, ""),
    ("F7", 118, ""),
    ("F8", 119, ""),
    ("F9", 120, ""),
    ("F10", 121, ""),
    ("F11", 122, ""),
    ("F12", 123, ""),
    ("Home", 36, ""),
    ("Insert", 45, ""),
    ("Meta", 91, ""),
    ("PageDown", 34, ""),
    ("PageUp", 33, ""),
    ("Pause", 19, ""),
    ("PrintScreen", 44, ""),
    ("Shift", 16, ""),
    ("Tab", 9, ""),
];

/// Names that callers use for others.
const ALIASES: &[(&str, &str)] = &[
    ("ControlLeft", "Control"),
    ("Ctrl", "Control"),
    ("Del", "Delete"),
    ("Down", "ArrowDown"),
    ("Esc", "Escape"),
    ("Left", "ArrowLeft"),
    ("Return", "Enter"),
    ("Right", "ArrowRight"),
    ("ShiftLeft", "Shift"),
    ("Space", " "),
    ("Up", "ArrowUp"),
];

/// Keys with signs: where they lie, their number, what they write alone and with Shift.
const SIGNS: &[(&str, u32, char, char)] = &[
    ("Backquote", 192, '`', '~'),
    ("Backslash", 220, '\\', '|'),
    ("BracketLeft", 219, '[', '{'),
    ("BracketRight", 221, ']', '}'),
    ("Comma", 188, ',', '<'),
    ("Digit0", 48, '0', ')'),
    ("Digit1", 49, '1', '!'),
    ("Digit2", 50, '2', '@'),
    ("Digit3", 51, '3', '#'),
    ("Digit4", 52, '4', '$'),
    ("Digit5", 53, '5', '%'),
    ("Digit6", 54, '6', '^'),
    ("Digit7", 55, '7', '&'),
    ("Digit8", 56, '8', '*'),
    ("Digit9", 57, '9', '('),
    ("Equal", 187, '=', '+'),
    ("Minus", 189, '-', '_'),
    ("Period", 190, '.', '>'),
    ("Quote", 222, '\'', '"'),
    ("Semicolon", 186, ';', ':'),
    ("Slash", 191, '/', '?'),
    ("Space", 32, ' ', ' '),
];

/// The keys of a name such as `Control+A`: those that are held, and the one that is pressed.
///
/// # Errors
/// [`BrowserError::Unexpected`] for a name that no key has.
pub fn chord(name: &str) -> Result<(Modifiers, Key), BrowserError> {
    let unknown = || BrowserError::Unexpected(format!("Unknown key: \"{name}\""));
    let mut parts: Vec<&str> = name.split('+').collect();
    let mut last = parts.pop().unwrap_or_default();
    // `+` itself, alone or behind others.
    if last.is_empty() && parts.last() == Some(&"") {
        parts.pop();
        last = "+";
    }
    let mut held = Modifiers::default();
    for part in parts {
        let part = alias(part.trim());
        held = held.with(Modifiers::named(part).ok_or_else(unknown)?);
    }
    let last = if last.len() > 1 { last.trim() } else { last };
    Ok((held, key(last, held).ok_or_else(unknown)?))
}

/// The key that writes a character; `None` for one that no key of the usual keyboard has.
pub fn writing(character: char) -> Option<Key> {
    match character {
        '\n' | '\r' => named("Enter"),
        '\t' => named("Tab"),
        character => of_character(character, character.is_ascii_uppercase()),
    }
}

fn key(name: &str, held: Modifiers) -> Option<Key> {
    let name = alias(name);
    let mut characters = name.chars();
    let mut key = match (characters.next(), characters.next()) {
        (Some(character), None) => of_character(character, held.has(Modifiers::SHIFT))?,
        _ => named(name).or_else(|| by_place(name, held.has(Modifiers::SHIFT)))?,
    };
    // What is held together with these writes nothing.
    if held.has(Modifiers::CONTROL) || held.has(Modifiers::ALT) || held.has(Modifiers::META) {
        key.text = None;
    }
    Some(key)
}

fn alias(name: &str) -> &str {
    let found = ALIASES.iter().find(|(alias, _)| *alias == name);
    found.map_or(name, |(_, meant)| meant)
}

fn named(name: &str) -> Option<Key> {
    let (name, number, text) = NAMED.iter().find(|(own, ..)| *own == name)?;
    let sided = matches!(*name, "Alt" | "Control" | "Meta" | "Shift");
    Some(Key {
        key: (*name).to_owned(),
        code: if sided {
            format!("{name}Left")
        } else {
            (*name).to_owned()
        },
        number: *number,
        text: (!text.is_empty()).then(|| (*text).to_owned()),
    })
}

/// `KeyA` and `Digit1`.
fn by_place(name: &str, shift: bool) -> Option<Key> {
    if let Some(letter) = name.strip_prefix("Key") {
        let mut letters = letter.chars();
        return match (letters.next(), letters.next()) {
            (Some(letter), None) if letter.is_ascii_uppercase() => {
                of_character(letter.to_ascii_lowercase(), shift)
            }
            _ => None,
        };
    }
    let (_, _, plain, shifted) = SIGNS.iter().find(|(code, ..)| *code == name)?;
    of_character(if shift { *shifted } else { *plain }, shift)
}

fn of_character(character: char, shift: bool) -> Option<Key> {
    let written = if shift {
        character.to_ascii_uppercase()
    } else {
        character
    };
    let (code, number) = if character.is_ascii_alphabetic() {
        let letter = character.to_ascii_uppercase();
        (format!("Key{letter}"), u32::from(letter))
    } else {
        let sign = SIGNS
            .iter()
            .find(|(_, _, plain, shifted)| *plain == character || *shifted == character);
        let (code, number, ..) = sign?;
        ((*code).to_owned(), *number)
    };
    Some(Key {
        key: written.to_string(),
        code,
        number,
        text: Some(written.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_by_name() {
        for (name, held, key, code, number, text) in [
            ("Enter", 0, "Enter", "Enter", 13, Some("\r")),
            ("Return", 0, "Enter", "Enter", 13, Some("\r")),
            ("a", 0, "a", "KeyA", 65, Some("a")),
            ("A", 0, "A", "KeyA", 65, Some("A")),
            ("KeyA", 0, "a", "KeyA", 65, Some("a")),
            ("Shift+a", 8, "A", "KeyA", 65, Some("A")),
            ("Control+A", 2, "A", "KeyA", 65, None),
            ("Ctrl+Alt+Delete", 3, "Delete", "Delete", 46, None),
            ("Meta+c", 4, "c", "KeyC", 67, None),
            ("?", 0, "?", "Slash", 191, Some("?")),
            ("Digit1", 0, "1", "Digit1", 49, Some("1")),
            ("Shift+Digit1", 8, "!", "Digit1", 49, Some("!")),
            ("Space", 0, " ", "Space", 32, Some(" ")),
            ("+", 0, "+", "Equal", 187, Some("+")),
            ("Control++", 2, "+", "Equal", 187, None),
            ("Shift", 0, "Shift", "ShiftLeft", 16, None),
            ("F12", 0, "F12", "F12", 123, None),
            ("Down", 0, "ArrowDown", "ArrowDown", 40, None),
        ] {
            let expected = Key {
                key: key.to_owned(),
                code: code.to_owned(),
                number,
                text: text.map(str::to_owned),
            };
            let (modifiers, found) = chord(name).unwrap();
            assert_eq!((modifiers.bits(), found), (held, expected), "{name}");
        }
    }

    #[test]
    fn a_name_that_no_key_has_is_refused() {
        for name in ["Foo", "Hyper+a", "é", "Key", "KeyAB", "", "Control+"] {
            let error = chord(name).unwrap_err().to_string();
            assert_eq!(error, format!("Error: Unknown key: \"{name}\""));
        }
        assert_eq!(writing('é'), None);
        assert_eq!(writing('\n').unwrap().key, "Enter");
    }
}
