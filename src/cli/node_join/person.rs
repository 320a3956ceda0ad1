//! Whoever can be asked: a person at the terminal, and in scripts nobody.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGINT, SIGQUIT};
use signal_hook::low_level::emulate_default_handler;

use crate::cli::error::CliError;
use crate::cli::{complain, prompt};

/// More than any answer has, in bytes.
const MAX_ANSWER_BYTES: u64 = 4096;

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const CTRL_U: u8 = 21;
const CTRL_BACKSLASH: u8 = 28;
const DELETE: u8 = 127;

/// What is said when somebody leaves before the end.
const LEFT: CliError =
    CliError::NotConfirmed(Cow::Borrowed("Left without joining; nothing was stored."));

/// Somebody to show things to and to ask.
pub trait Person {
    /// Whether there is anybody who could answer.
    fn is_there(&self) -> bool;

    /// Shows lines.
    fn tell(&mut self, text: &str);

    /// The answer to a question; `None` when whoever was asked went away.
    fn answer(&mut self, question: &str) -> Option<String>;

    /// The same, and nobody sees what is typed.
    fn secret(&mut self, question: &str) -> Option<String>;
}

/// The terminal of this process; questions go to stderr.
pub struct Terminal;

impl Person for Terminal {
    fn is_there(&self) -> bool {
        true
    }

    fn tell(&mut self, text: &str) {
        // A reader that went away gets no answer either.
        let _ = complain(text);
    }

    fn answer(&mut self, question: &str) -> Option<String> {
        prompt(question).ok()?;
        let mut line = String::new();
        let read = io::stdin()
            .lock()
            .take(MAX_ANSWER_BYTES)
            .read_line(&mut line);
        (read.ok()? > 0).then_some(line)
    }

    fn secret(&mut self, question: &str) -> Option<String> {
        // Whoever answers as soon as the question is there is not seen either.
        let unseen = Unseen::begin().ok()?;
        prompt(question).ok()?;
        let typed = unseen.line();
        drop(unseen);
        // The end of the line was not shown either.
        let _ = prompt("\n");
        typed.unwrap_or_else(|signal| {
            // The terminal shows what is typed again, so this ends as it would have without a question.
            let _ = emulate_default_handler(signal);
            None
        })
    }
}

/// The terminal while it shows nothing; as it was before once this is dropped. Ctrl-C comes as a byte meanwhile, so
/// that nothing ends the process before.
struct Unseen {
    before: Termios,
}

impl Unseen {
    fn begin() -> io::Result<Unseen> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        let shown = LocalModes::ECHO | LocalModes::ECHONL;
        quiet.local_modes -= shown | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Unseen { before })
    }

    /// What is typed up to the end of the line; `None` when nothing more comes, the signal's number where the key of a
    /// signal was typed.
    fn line(&self) -> Result<Option<String>, i32> {
        typed(io::stdin().lock().take(MAX_ANSWER_BYTES))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // Whoever took the terminal away has nothing to see.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// A line of keys as a terminal without line editing sends them.
fn typed(keys: impl BufRead) -> Result<Option<String>, i32> {
    let mut line = Vec::new();
    for key in keys.bytes() {
        let Ok(key) = key else { break };
        match key {
            b'\r' | b'\n' => return Ok(String::from_utf8(line).ok()),
            CTRL_C => return Err(SIGINT),
            CTRL_BACKSLASH => return Err(SIGQUIT),
            CTRL_D => return Ok(None),
            BACKSPACE | DELETE => drop(line.pop()),
            CTRL_U => line.clear(),
            key => line.push(key),
        }
    }
    Ok(None)
}

/// A script: it reads what is said, and answers nothing.
pub struct Script;

impl Person for Script {
    fn is_there(&self) -> bool {
        false
    }

    fn tell(&mut self, text: &str) {
        let _ = complain(text);
    }

    fn answer(&mut self, _question: &str) -> Option<String> {
        None
    }

    fn secret(&mut self, _question: &str) -> Option<String> {
        None
    }
}

/// An answer without the blanks around it.
///
/// # Errors
/// Whoever was asked wants to leave: `q`, or no answer at all.
pub fn asked(person: &mut dyn Person, question: &str) -> Result<String, CliError> {
    let answer = person.answer(question).ok_or(LEFT)?;
    match answer.trim() {
        "q" | "Q" | "quit" => Err(LEFT),
        answer => Ok(answer.to_owned()),
    }
}

/// Whether a question is answered with yes; an empty answer is a no.
///
/// # Errors
/// As [`asked`].
pub fn confirmed(person: &mut dyn Person, question: &str) -> Result<bool, CliError> {
    loop {
        let answer = asked(person, &format!("{question} [y/N] "))?;
        match answer.to_ascii_lowercase().as_str() {
            "y" | "yes" => return Ok(true),
            "" | "n" | "no" => return Ok(false),
            _ => person.tell("Please answer y or n; q leaves."),
        }
    }
}

/// The same where a no ends everything.
///
/// # Errors
/// A no, and as [`asked`].
pub fn must_confirm(person: &mut dyn Person, question: &str) -> Result<(), CliError> {
    confirmed(person, question)?.then_some(()).ok_or(LEFT)
}

#[cfg(test)]
pub mod testing {
    use super::Person;

    /// Somebody whose answers are known beforehand; goes away after the last one.
    #[derive(Default)]
    pub struct Actor {
        answers: Vec<String>,
        /// Everything that was shown or asked.
        pub seen: String,
    }

    impl Actor {
        pub fn new(answers: &[&str]) -> Actor {
            Actor {
                answers: answers.iter().rev().map(|&it| it.to_owned()).collect(),
                seen: String::new(),
            }
        }
    }

    impl Person for Actor {
        fn is_there(&self) -> bool {
            true
        }

        fn tell(&mut self, text: &str) {
            self.seen += text;
            self.seen.push('\n');
        }

        fn answer(&mut self, question: &str) -> Option<String> {
            self.seen += question;
            let answer = self.answers.pop()?;
            self.seen += &format!("<{answer}>\n");
            Some(answer)
        }

        fn secret(&mut self, question: &str) -> Option<String> {
            self.seen += question;
            self.answers.pop()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Actor;
    use super::*;

    #[test]
    fn keys_that_nobody_sees_can_be_taken_back_and_left() {
        for (keys, expected) in [
            (&b"key\n"[..], Ok(Some("key"))),
            (b"kez\x7fy\r", Ok(Some("key"))),
            (b"wrong\x15key\n", Ok(Some("key"))),
            (b"key\x03", Err(SIGINT)),
            (b"key\x1c", Err(SIGQUIT)),
            (b"key\x04", Ok(None)),
            (b"key", Ok(None)),
        ] {
            let expected = expected.map(|line| line.map(str::to_owned));
            assert_eq!(typed(keys), expected, "{keys:?}");
        }
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answers, expected) in [
            (&["y"][..], Some(true)),
            (&[" YES \n"], Some(true)),
            (&[""], Some(false)),
            (&["no"], Some(false)),
            (&["maybe", "y"], Some(true)),
            (&["yy", "q"], None),
            (&["q"], None),
            (&[], None),
        ] {
            let outcome = confirmed(&mut Actor::new(answers), "Sure?");
            assert_eq!(outcome.ok(), expected, "{answers:?}");
        }
        assert!(must_confirm(&mut Actor::new(&["n"]), "Sure?").is_err());
        assert!(must_confirm(&mut Script, "Sure?").is_err());
    }
}
