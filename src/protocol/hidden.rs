//! Characters that a terminal obeys or that a reader does not see, and JSON text in which none of them
//! stands as itself. Names come from devices nobody approved yet; they must not look like other names.

use std::fmt::Write;

/// Whether a character reorders, hides or breaks what stands around it. Joiners and variation selectors
/// are no such characters: scripts and emoji need them.
pub fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// The text with every hidden character spelled out as `\u{202E}`, so that a person sees what a program gets.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_hidden(letter) {
            spell_out(&mut out, letter);
        } else {
            out.push(letter);
        }
    }
    out
}

/// Appends a character spelled out as `\u{202E}`.
pub fn spell_out(out: &mut String, letter: char) {
    // Writing to a text cannot fail.
    let _ = write!(out, "\\u{{{:X}}}", u32::from(letter));
}

/// JSON text with every hidden character written as an escape; it still says the same. Line breaks, which
/// JSON has only between its values, stay.
pub fn escaped(json: String) -> String {
    if !json
        .chars()
        .any(|letter| letter != '\n' && is_hidden(letter))
    {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 64);
    for letter in json.chars() {
        if letter == '\n' || !is_hidden(letter) {
            out.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            // Writing to a text cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn hidden_characters_are_spelled_out() {
        for (text, shown) in [
            ("echo hi", "echo hi"),
            ("日本 👩\u{200d}💻", "日本 👩\u{200d}💻"),
            ("evil\u{202e}txt", "evil\\u{202E}txt"),
            ("\u{1b}[2Ja\nb", "\\u{1B}[2Ja\\u{A}b"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn nothing_hides_and_the_value_stays() {
        let names = [
            "Pi",
            "日本",
            "e\u{301}",
            "👩\u{200d}💻\u{fe0f}",
            "red\u{1b}[31m",
            "a\nb",
            "\u{7f}\u{9b}2J",
            "evil\u{202e}txt",
            "zero\u{200b}width",
            "mark\u{feff}",
            "tag\u{e0041}",
            "line\u{2028}break",
            "\u{ad}",
        ];
        for name in names {
            let value = json!({"displayName": name});
            for text in [value.to_string(), format!("{value:#}")] {
                let shown = escaped(text.clone());
                assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
                assert!(
                    !shown
                        .chars()
                        .any(|letter| letter != '\n' && is_hidden(letter)),
                    "{shown:?}"
                );
                assert_eq!(
                    shown == text,
                    !name
                        .chars()
                        .any(|letter| is_hidden(letter) && u32::from(letter) > 0x7e)
                );
            }
        }
    }
}
