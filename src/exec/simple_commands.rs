//! Every simple command in a shell script, in any nesting: for finding out what an inline script would
//! read, not for running or allowing it.
//!
//! Pure. It errs towards more commands and towards "cannot tell"; whoever asks must refuse then.

use std::iter::Peekable;
use std::str::Chars;

/// Nested substitutions and subshells that are followed at most.
const MAX_DEPTH: usize = 16;

/// One word of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Word {
    /// The text without its quotes.
    pub text: String,
    /// The shell makes something else of it: a variable, a substitution, a pattern.
    pub expands: bool,
    /// Some of it was quoted, so that it is no keyword.
    pub quoted: bool,
}

/// The commands of a script as words, without redirections; `None` when they cannot be told from the text.
pub fn simple_commands(script: &str) -> Option<Vec<Vec<Word>>> {
    let mut commands = Vec::new();
    let mut scanner = Scanner {
        left: script.chars().peekable(),
        commands: &mut commands,
        depth: 0,
    };
    scanner.list(None)?;
    Some(commands)
}

struct Scanner<'a, 'c> {
    left: Peekable<Chars<'a>>,
    commands: &'c mut Vec<Vec<Word>>,
    depth: usize,
}

/// The command that is being read.
#[derive(Default)]
struct Current {
    words: Vec<Word>,
    word: Option<Word>,
    /// The next word is where a redirection goes.
    target: bool,
}

impl Current {
    fn word(&mut self) -> &mut Word {
        self.word.get_or_insert_default()
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take() {
            if !std::mem::take(&mut self.target) {
                self.words.push(word);
            }
        }
    }

    fn end(&mut self, commands: &mut Vec<Vec<Word>>) {
        self.end_word();
        self.target = false;
        if !self.words.is_empty() {
            commands.push(std::mem::take(&mut self.words));
        }
    }

    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.word.is_none()
    }
}

impl Scanner<'_, '_> {
    /// Reads commands up to `closing`, or to the end of the text.
    fn list(&mut self, closing: Option<char>) -> Option<()> {
        if self.depth == MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        let mut current = Current::default();
        while let Some(letter) = self.left.next() {
            match letter {
                ' ' | '\t' => current.end_word(),
                '&' if self.left.peek() == Some(&'>') => {
                    self.left.next();
                    self.redirect('>', &mut current)?;
                }
                '\n' | ';' | '|' | '&' => current.end(self.commands),
                '<' | '>' => self.redirect(letter, &mut current)?,
                '(' if current.is_empty() => self.list(Some(')'))?,
                ')' if closing == Some(')') => {
                    current.end(self.commands);
                    self.depth -= 1;
                    return Some(());
                }
                '(' | ')' => return None,
                '\\' if self.left.peek() == Some(&'\n') => {
                    self.left.next();
                }
                '#' if current.word.is_none() => {
                    while self.left.peek().is_some_and(|next| *next != '\n') {
                        self.left.next();
                    }
                }
                _ => self.part(letter, current.word())?,
            }
        }
        current.end(self.commands);
        self.depth -= 1;
        closing.is_none().then_some(())
    }

    /// What stands inside a word.
    fn part(&mut self, letter: char, word: &mut Word) -> Option<()> {
        match letter {
            '\'' => {
                word.quoted = true;
                loop {
                    match self.left.next()? {
                        '\'' => return Some(()),
                        other => word.text.push(other),
                    }
                }
            }
            '"' => self.double_quoted(word),
            '\\' => {
                match self.left.next()? {
                    '\n' => {}
                    other => {
                        word.text.push(other);
                        word.quoted = true;
                    }
                }
                Some(())
            }
            '$' => self.expansion(word),
            '`' => self.backticks(word),
            _ => {
                word.expands |= matches!(letter, '*' | '?' | '[' | ']' | '{' | '}' | '~');
                word.text.push(letter);
                Some(())
            }
        }
    }

    fn double_quoted(&mut self, word: &mut Word) -> Option<()> {
        word.quoted = true;
        loop {
            match self.left.next()? {
                '"' => return Some(()),
                '\\' => match self.left.next()? {
                    '\n' => {}
                    escaped @ ('"' | '$' | '`' | '\\') => word.text.push(escaped),
                    other => word.text.extend(['\\', other]),
                },
                '$' => self.expansion(word)?,
                '`' => self.backticks(word)?,
                other => word.text.push(other),
            }
        }
    }

    /// What follows a `$`.
    fn expansion(&mut self, word: &mut Word) -> Option<()> {
        word.expands = true;
        match self.left.peek() {
            Some('(') => {
                self.left.next();
                self.list(Some(')'))
            }
            Some('{') => {
                self.left.next();
                loop {
                    match self.left.next()? {
                        '}' => return Some(()),
                        '$' | '`' | '(' | '\'' | '"' | '\\' => return None,
                        _ => {}
                    }
                }
            }
            Some('\'') => None,
            _ => {
                word.text.push('$');
                Some(())
            }
        }
    }

    fn backticks(&mut self, word: &mut Word) -> Option<()> {
        word.expands = true;
        let mut inner = String::new();
        loop {
            match self.left.next()? {
                '`' => break,
                '\\' => match self.left.next()? {
                    escaped @ ('`' | '\\' | '$') => inner.push(escaped),
                    other => inner.extend(['\\', other]),
                },
                other => inner.push(other),
            }
        }
        let mut scanner = Scanner {
            left: inner.chars().peekable(),
            commands: &mut *self.commands,
            depth: self.depth,
        };
        scanner.list(None)
    }

    /// What follows `<` or `>`: the rest of the operator. Here-documents are not followed.
    fn redirect(&mut self, operator: char, current: &mut Current) -> Option<()> {
        let number = current.word.as_ref().is_some_and(|word| {
            !word.quoted && word.text.bytes().all(|byte| byte.is_ascii_digit())
        });
        if number {
            current.word = None;
        }
        current.end_word();
        match self.left.peek() {
            Some('(') => {
                self.left.next();
                current.word().expands = true;
                return self.list(Some(')'));
            }
            Some('<') if operator == '<' => {
                self.left.next();
                if self.left.next() != Some('<') {
                    return None;
                }
            }
            Some('>' | '|' | '&') => {
                self.left.next();
            }
            _ => {}
        }
        current.target = true;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_any_nesting() {
        // script, commands as `a b|c`; an expanding word is shown with `~` in front
        let cases = [
            ("ls -l", Some("ls -l")),
            ("a && b || c; d & e | f\ng", Some("a|b|c|d|e|f|g")),
            ("a 2>&1 >/dev/null b &> f", Some("a b")),
            ("a 'x;y' \"p|q\" \\; z", Some("a x;y p|q ; z")),
            ("a # b; c\nd", Some("a|d")),
            ("a#b", Some("a#b")),
            ("echo $(b c) $X", Some("b c|echo ~ ~$X")),
            ("echo \"$(b \"$(c)\")\"", Some("c|b ~|echo ~")),
            ("echo `b \\`c\\``", Some("c|b ~|echo ~")),
            ("(a; b) | c", Some("a|b|c")),
            ("echo $((1+2))", Some("1+2|echo ~")),
            ("diff <(a) >(b)", Some("a|b|diff ~ ~")),
            ("a <<< word b", Some("a b")),
            ("a ${X:-y} *.c", Some("a ~ ~*.c")),
            ("a \\\n b", Some("a b")),
            ("", Some("")),
            ("a <<X\nb\nX", None),
            ("f() { a; }", None),
            ("x=(a b)", None),
            ("a 'b", None),
            ("a \"b", None),
            ("a $(b", None),
            ("a )", None),
            ("a $'\\x41'", None),
            ("a ${X:-$(b)}", None),
            ("a \\", None),
            ("case x in a) b;; esac", None),
        ];
        for (script, expected) in cases {
            let found = simple_commands(script).map(|commands| {
                let line = |words: &Vec<Word>| {
                    let shown = words.iter().map(|word| {
                        let mark = if word.expands { "~" } else { "" };
                        format!("{mark}{}", word.text)
                    });
                    shown.collect::<Vec<_>>().join(" ")
                };
                commands.iter().map(line).collect::<Vec<_>>().join("|")
            });
            assert_eq!(found.as_deref(), expected, "{script}");
        }
        let deep = "$(".repeat(MAX_DEPTH) + &")".repeat(MAX_DEPTH);
        assert_eq!(simple_commands(&deep), None);
    }
}
