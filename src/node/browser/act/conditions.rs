//! States of a page that `/act` waits for.

use serde_json::{Value, json};

use super::super::error::BrowserError;
use super::action::{Condition, LoadState, Named};
use super::input::Input;
use super::perform::function_of;
use super::reach::Finder;

/// Whether an element shows, wherever on the page.
const SHOWS: &str = r"function () {
  const { width, height } = this.getBoundingClientRect();
  return width > 0 && height > 0 && getComputedStyle(this).visibility === 'visible';
}";

/// Waits until a condition holds.
///
/// # Errors
/// [`BrowserError::Unexpected`] with what did not come about in time, or with what a function of the page threw.
pub fn wait_for(
    finder: &Finder<'_>,
    input: Input<'_>,
    condition: &Condition,
) -> Result<(), BrowserError> {
    let what = match condition {
        Condition::Pause(pause) => return input.rest(*pause),
        Condition::Loaded(LoadState::NetworkIdle) => {
            return finder.page.rest(finder.until).map_err(BrowserError::from);
        }
        Condition::Selector(selector) => {
            let named = Named::Selector(selector.clone());
            return finder.wait(selector, || {
                let Some(handle) = finder.find(&named)? else {
                    return Ok(None);
                };
                let shows = finder.call(&handle, SHOWS, &[])?;
                Ok((shows == Some(Value::Bool(true))).then_some(()))
            });
        }
        Condition::Text(text) => format!("text \"{text}\""),
        Condition::TextGone(text) => format!("text \"{text}\" to go"),
        Condition::Url(pattern) => format!("url \"{pattern}\""),
        Condition::Loaded(_) => "loadState".to_owned(),
        Condition::Function(_) => "fn".to_owned(),
    };
    let held = finder.wait(&what, || {
        let value = finder.evaluate(&expression(condition))?;
        Ok(value.filter(|value| holds(condition, value)).map(drop))
    });
    held.map_err(|error| {
        if error == super::super::elements::not_found(&what) {
            BrowserError::slow(&format!("waiting for {what}"), finder.limit)
        } else {
            error
        }
    })
}

/// What the page is asked.
fn expression(condition: &Condition) -> String {
    match condition {
        Condition::Text(text) | Condition::TextGone(text) => format!(
            "(text => {{ const even = text => text.replace(/\\s+/g, ' ').trim().toLowerCase(); \
             return even(document.body ? document.body.innerText : '').includes(even(text)) }})({})",
            json!(text)
        ),
        Condition::Url(_) => "document.URL".to_owned(),
        Condition::Loaded(_) => "document.readyState".to_owned(),
        Condition::Function(source) => {
            format!("(async () => !!(await ({})()))()", function_of(source))
        }
        Condition::Pause(_) | Condition::Selector(_) => "true".to_owned(),
    }
}

/// Whether the page's answer is what is waited for.
fn holds(condition: &Condition, answer: &Value) -> bool {
    match condition {
        Condition::TextGone(_) => answer == false,
        Condition::Url(pattern) => answer.as_str().is_some_and(|url| fits(pattern, url)),
        Condition::Loaded(LoadState::Content) => answer != "loading",
        Condition::Loaded(_) => answer == "complete",
        _ => answer == true,
    }
}

/// Characters of an address of which a pattern is compared with the first ones alone; a page may make its own longer.
const MAX_ADDRESS: usize = 65_536;

/// Whether an address fits a pattern: `*` stands for anything but a slash, `**` for anything. The time it takes is
/// their lengths multiplied, whatever both are.
fn fits(pattern: &str, url: &str) -> bool {
    let mut tokens = Vec::new();
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        let mut stars = usize::from(letter == '*');
        while letter == '*' && letters.next_if_eq(&'*').is_some() {
            stars += 1;
        }
        tokens.push(match stars {
            0 => Token::Letter(letter),
            1 => Token::Segment,
            _ => Token::Anything,
        });
    }
    // Where in the pattern one may stand after what was read of the address.
    let mut places = vec![false; tokens.len() + 1];
    places[0] = true;
    pass_stars(&tokens, &mut places);
    let mut read = url.chars();
    for letter in read.by_ref().take(MAX_ADDRESS) {
        let mut next = vec![false; tokens.len() + 1];
        for (at, token) in tokens.iter().enumerate().filter(|(at, _)| places[*at]) {
            match token {
                Token::Letter(wanted) => next[at + 1] |= *wanted == letter,
                Token::Segment => next[at] |= letter != '/',
                Token::Anything => next[at] = true,
            }
        }
        pass_stars(&tokens, &mut next);
        places = next;
    }
    places[tokens.len()] && read.next().is_none()
}

/// One piece of a pattern.
enum Token {
    Anything,
    Letter(char),
    Segment,
}

/// A star may stand for nothing.
fn pass_stars(tokens: &[Token], places: &mut [bool]) {
    for (at, token) in tokens.iter().enumerate() {
        if places[at] && !matches!(token, Token::Letter(_)) {
            places[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_fit_patterns() {
        for (pattern, url, expected) in [
            ("http://a/b", "http://a/b", true),
            ("http://a/b", "http://a/bc", false),
            ("**/b", "http://a/b", true),
            ("**/b", "http://a/b/c", false),
            ("http://a/*", "http://a/b", true),
            ("http://a/*", "http://a/b/c", false),
            ("http://a/*/c", "http://a/b/c", true),
            ("**/b*", "http://a/bcd?x=1", true),
            ("**", "", true),
            ("*é*", "xéy", true),
        ] {
            assert_eq!(fits(pattern, url), expected, "{pattern} {url}");
        }
    }

    #[test]
    fn no_pattern_of_a_caller_takes_long_or_deep() {
        let long = "a".repeat(60_000);
        assert!(fits(&"*a".repeat(500), &long));
        assert!(!fits(&format!("{}b", "**a".repeat(300)), &long[..5_000]));
    }

    #[test]
    fn answers_of_the_page_are_judged_by_what_is_waited_for() {
        let text = |text: &str| text.to_owned();
        for (condition, answer, expected) in [
            (Condition::Text(text("x")), json!(true), true),
            (Condition::TextGone(text("x")), json!(true), false),
            (Condition::TextGone(text("x")), json!(false), true),
            (
                Condition::Loaded(LoadState::Content),
                json!("interactive"),
                true,
            ),
            (
                Condition::Loaded(LoadState::Load),
                json!("interactive"),
                false,
            ),
            (Condition::Loaded(LoadState::Load), json!("complete"), true),
            (Condition::Url(text("**/b")), json!("http://a/b"), true),
        ] {
            assert_eq!(
                holds(&condition, &answer),
                expected,
                "{condition:?} {answer}"
            );
        }
    }
}
