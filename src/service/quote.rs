//! Quoting for systemd's unit files, which have four kinds of values with four sets of special
//! characters; and reading quoted words back.
//!
//! Line breaks are refused everywhere: a value must never become another line.

use crate::service::error::ServiceError;

/// A value that may stand on one line.
///
/// # Errors
/// [`ServiceError::LineBreak`].
pub fn one_line<'a>(what: &str, value: &'a str) -> Result<&'a str, ServiceError> {
    if value.contains(['\r', '\n', '\0']) {
        return Err(ServiceError::LineBreak {
            what: what.to_owned(),
        });
    }
    Ok(value)
}

/// One word of a list (`Environment=`, `ReadWritePaths=`): quoted where it has to be, `%` doubled.
///
/// # Errors
/// [`ServiceError::LineBreak`].
pub fn word(what: &str, value: &str) -> Result<String, ServiceError> {
    Ok(quoted(&one_line(what, value)?.replace('%', "%%")))
}

/// One argument of `ExecStart=`: a word in which `$` stands for itself too.
///
/// # Errors
/// [`ServiceError::LineBreak`].
pub fn argument(what: &str, value: &str) -> Result<String, ServiceError> {
    word(what, &value.replace('$', "$$"))
}

/// The whole rest of a line (`Description=`, `EnvironmentFile=`): never quoted, `%` doubled.
///
/// # Errors
/// [`ServiceError::LineBreak`].
pub fn rest_of_line(what: &str, value: &str) -> Result<String, ServiceError> {
    Ok(one_line(what, value)?.replace('%', "%%"))
}

/// The path of `EnvironmentFile=`, in which `*`, `?` and `[` would match other files.
///
/// # Errors
/// [`ServiceError::LineBreak`].
pub fn literal_path(what: &str, value: &str) -> Result<String, ServiceError> {
    let mut escaped = String::with_capacity(value.len());
    for character in rest_of_line(what, value)?.chars() {
        if matches!(character, '*' | '?' | '[' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    Ok(escaped)
}

fn quoted(value: &str) -> String {
    let plain = |it: char| {
        !it.is_whitespace() && !it.is_control() && !matches!(it, '"' | '\'' | '\\' | ';')
    };
    // A comment sign only begins a comment at the start of a line, which no value stands at.
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    let mut out = String::from("\"");
    for character in value.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\t' => out.push_str("\\t"),
            it if it.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(it))),
            it => out.push(it),
        }
    }
    out.push('"');
    out
}

/// The words of a line as systemd reads them, doubled `%` (and with `exec` also `$`) taken back. A line
/// that systemd would refuse ends at its fault.
pub fn words(line: &str, exec: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = line.chars().peekable();
    loop {
        while rest.next_if(|it| it.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return found;
        }
        let Some(word) = next_word(&mut rest) else {
            return found;
        };
        let word = word.replace("%%", "%");
        found.push(if exec { word.replace("$$", "$") } else { word });
    }
}

fn next_word(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let mut word = String::new();
    let mut quote = None;
    loop {
        match (rest.next(), quote) {
            (None, None) => return Some(word),
            (None, Some(_)) => return None,
            (Some('\\'), _) => word.push(escaped(rest)?),
            (Some(it), Some(open)) if it == open => quote = None,
            (Some(it @ ('"' | '\'')), None) => quote = Some(it),
            (Some(it), None) if it.is_whitespace() => return Some(word),
            (Some(it), _) => word.push(it),
        }
    }
}

fn escaped(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match rest.next()? {
        'n' => Some('\n'),
        's' => Some(' '),
        't' => Some('\t'),
        'x' => {
            let digits: String = rest.by_ref().take(2).collect();
            u8::from_str_radix(&digits, 16).ok().map(char::from)
        }
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_quoted_as_each_place_wants_it() {
        for (value, as_argument, as_word, as_rest, as_path) in [
            ("plain", "plain", "plain", "plain", "plain"),
            ("", "\"\"", "\"\"", "", ""),
            (
                "My Node",
                "\"My Node\"",
                "\"My Node\"",
                "My Node",
                "My Node",
            ),
            ("5%h", "5%%h", "5%%h", "5%%h", "5%%h"),
            ("$HOME", "$$HOME", "$HOME", "$HOME", "$HOME"),
            ("a\"b", "\"a\\\"b\"", "\"a\\\"b\"", "a\"b", "a\"b"),
            ("a\\b", "\"a\\\\b\"", "\"a\\\\b\"", "a\\b", "a\\\\b"),
            ("it's", "\"it's\"", "\"it's\"", "it's", "it's"),
            (";", "\";\"", "\";\"", ";", ";"),
            ("a[1]*", "a[1]*", "a[1]*", "a[1]*", "a\\[1]\\*"),
            (
                "a\tb\u{1b}",
                "\"a\\tb\\x1b\"",
                "\"a\\tb\\x1b\"",
                "a\tb\u{1b}",
                "a\tb\u{1b}",
            ),
        ] {
            assert_eq!(argument("x", value).unwrap(), as_argument, "{value:?}");
            assert_eq!(word("x", value).unwrap(), as_word, "{value:?}");
            assert_eq!(rest_of_line("x", value).unwrap(), as_rest, "{value:?}");
            assert_eq!(literal_path("x", value).unwrap(), as_path, "{value:?}");
        }
    }

    #[test]
    fn a_line_break_never_gets_into_a_unit() {
        for value in ["a\nExecStartPre=/bin/evil", "a\r", "\0"] {
            for quote in [argument, word, rest_of_line, literal_path] {
                let refusal = quote("--display-name", value).unwrap_err().to_string();
                assert!(
                    refusal.starts_with("--display-name contains a line break"),
                    "{refusal}"
                );
            }
        }
    }

    #[test]
    fn an_unfinished_quote_gives_no_word() {
        assert_eq!(words("a \"b", true), ["a"]);
        assert_eq!(
            words("  a   'b c' \"\" \\x41\\s", false),
            ["a", "b c", "", "A "]
        );
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(values in proptest::collection::vec("[^\r\n\0]{0,12}", 0..6)) {
            let line: Vec<String> = values.iter().map(|it| argument("x", it).unwrap()).collect();
            // `$$` and `%%` of a value itself are doubled as well.
            prop_assert_eq!(words(&line.join(" "), true), values);
        }
    }
}
