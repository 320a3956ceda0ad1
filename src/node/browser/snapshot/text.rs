//! What a page says, made fit for one line: no page can write a line, or a ref, of its own.

/// Letters of a name.
const MAX_NAME: usize = 500;

/// What marks a ref in a snapshot, and what a page's own texts have instead.
const REF_MARK: (&str, &str) = ("[ref=", "[ref =");

/// A text in one line: every run of white space and control characters is one space, and what only changes how
/// others are shown is gone.
pub fn tidy(text: &str) -> String {
    let mut tidied = String::new();
    let mut gap = false;
    for letter in text.chars() {
        if letter.is_whitespace() || letter.is_control() {
            gap = true;
        } else if !is_invisible(letter) {
            if gap && !tidied.is_empty() {
                tidied.push(' ');
            }
            gap = false;
            tidied.push(letter);
        }
    }
    tidied
}

/// Marks of direction and width; those that letters of some scripts need stay.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A name in one line, of bounded length.
pub fn name(text: &str) -> String {
    let tidied = tidy(text);
    match tidied.char_indices().nth(MAX_NAME) {
        None => tidied,
        Some((end, _)) => format!("{}…", &tidied[..end]),
    }
}

/// A tidied text between quotes.
pub fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", without_refs(&text))
}

/// A tidied text as it stands after a colon: between quotes when something in it could be taken for grammar.
pub fn plain(text: &str) -> String {
    if text.contains(['"', '\\', '[', ']', '>']) || text.starts_with(['-', '/']) {
        quoted(text)
    } else {
        text.to_owned()
    }
}

/// A URL in one line.
pub fn url(text: &str) -> String {
    without_refs(&name(text).replace(' ', "%20"))
}

fn without_refs(text: &str) -> String {
    text.replace(REF_MARK.0, REF_MARK.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_a_page_stays_in_its_line_and_names_no_ref() {
        for (given, expected) in [
            (" a\n\t b\u{0}\u{1b}[1m\u{85}c ", "a b [1m c"),
            ("a\u{2028}b\u{202e}c\u{200b}", "a bc"),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
        ] {
            assert_eq!(tidy(given), expected, "{given:?}");
        }
        assert_eq!(name(&"ä".repeat(501)), format!("{}…", "ä".repeat(500)));
        assert_eq!(name(&"ä".repeat(500)), "ä".repeat(500));
        assert_eq!(quoted("a \" [ref=e1] \\"), "\"a \\\" [ref =e1] \\\\\"");
        assert_eq!(plain("Price: 5"), "Price: 5");
        assert_eq!(plain("x [ref=e1]"), "\"x [ref =e1]\"");
        assert_eq!(plain("- button"), "\"- button\"");
        assert_eq!(
            url("javascript:a [ref=e1]\n- b"),
            "javascript:a%20[ref =e1]%20-%20b"
        );
    }
}
