//! Text from the network made safe for a terminal, and its width on the screen.

use crate::protocol::hidden::is_hidden;

/// `text` without control characters and terminal escape sequences; line breaks and tabs become one blank.
pub fn plain(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '\u{1b}' => skip_escape(&mut rest),
            '\u{9b}' => skip_control_sequence(&mut rest),
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => {
                if !clean.ends_with(' ') {
                    clean.push(' ');
                }
            }
            _ if is_hidden(letter) => {}
            _ => clean.push(letter),
        }
    }
    clean
}

/// The same for a text of several lines, which stay lines.
pub fn plain_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(plain).collect();
    lines.join("\n")
}

/// `1 paired device`, `2 paired devices`.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Columns a text takes on a terminal.
pub fn width(text: &str) -> usize {
    text.chars().map(letter_width).sum()
}

/// Columns one character takes: 0 for combining marks, 2 for wide East Asian characters and emoji.
pub fn letter_width(letter: char) -> usize {
    match u32::from(letter) {
        0x0300..=0x036f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

type Letters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Skips what follows ESC: a control sequence, a string up to its terminator, or one character.
fn skip_escape(rest: &mut Letters<'_>) {
    match rest.next() {
        Some('[') => skip_control_sequence(rest),
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(rest),
        Some(letter) if ('\u{20}'..='\u{2f}').contains(&letter) => {
            rest.next();
        }
        _ => {}
    }
}

/// Skips parameters up to the final byte of a control sequence.
fn skip_control_sequence(rest: &mut Letters<'_>) {
    for letter in rest.by_ref() {
        if ('\u{40}'..='\u{7e}').contains(&letter) {
            return;
        }
    }
}

/// Skips up to BEL or ESC `\`.
fn skip_string(rest: &mut Letters<'_>) {
    while let Some(letter) = rest.next() {
        if letter == '\u{7}' {
            return;
        }
        if letter == '\u{1b}' && rest.peek() == Some(&'\\') {
            rest.next();
            return;
        }
    }
}

/// A word as a shell reads it back.
pub fn quoted(word: &str) -> String {
    let harmless = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=@%+,".contains(letter);
    if !word.is_empty() && word.chars().all(harmless) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_stripped() {
        for (given, expected) in [
            ("Build Node", "Build Node"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]8;;http://x\u{1b}\\link", "link"),
            ("a\nb\r\n\tc", "a b c"),
            ("bell\u{7}\u{0}\u{7f}", "bell"),
            ("\u{9b}2Jx", "x"),
            ("evil\u{202e}txt", "eviltxt"),
            ("zero\u{200b}width\u{feff}", "zerowidth"),
            ("👩\u{200d}💻", "👩\u{200d}💻"),
            ("\u{1b}", ""),
            ("\u{1b}(Bx", "x"),
        ] {
            assert_eq!(plain(given), expected, "{given:?}");
        }
    }

    #[test]
    fn widths() {
        for (text, expected) in [("abc", 3), ("日本", 4), ("e\u{301}", 1), ("", 0), ("·", 1)] {
            assert_eq!(width(text), expected, "{text}");
        }
    }

    #[test]
    fn quoting() {
        for (word, expected) in [
            ("219294ee-440b", "219294ee-440b"),
            ("ws://[::1]:1/?a=b", "'ws://[::1]:1/?a=b'"),
            ("a b", "'a b'"),
            ("it's", "'it'\\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
