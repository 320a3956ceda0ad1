//! A shell's inline script, read into the commands it runs (node-host specification, section 3.7).
//!
//! Only what every shell reads in the same way is understood: words, quotes, `&&`, `||`, `;`, `|` and a
//! comment at the end. Everything else is a fault, and a script with a fault is covered by no rule. Pure
//! functions over a text; which command is covered is judged elsewhere.

use std::fmt;

/// Bytes of a script that is read at most.
pub const MAX_SCRIPT: usize = 16 * 1024;

/// Commands of one script at most.
pub const MAX_COMMANDS: usize = 64;

/// One word, with its quotes taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What the shell passes on, as long as `plain` holds.
    pub text: String,
    /// No character of it means anything to any shell: the word is passed on as it stands.
    pub plain: bool,
}

impl Word {
    /// A word that no shell sees.
    pub fn literal(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            plain: true,
        }
    }
}

/// Why a script is not understood; Display completes "denied because …".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// A lone `&`, or `|&`.
    Background,
    /// A control character outside quotes.
    ControlCharacter,
    /// An operator with nothing on one side, or nothing at all.
    Empty,
    /// A `$` form other than `$NAME`.
    Expansion,
    /// A word that shells of different kinds or locales take apart differently.
    Dialect,
    /// More than one line.
    Line,
    /// `>`, `<` and what begins with them.
    Redirection,
    /// Parentheses.
    Subshell,
    /// `$(…)` or backticks.
    Substitution,
    /// Longer than is read.
    TooLong,
    /// A quote or an escape without its end.
    Unterminated,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Background => "starts something in the background",
            Self::ControlCharacter => "holds a control character",
            Self::Empty => "has an operator with nothing beside it, or is empty",
            Self::Expansion => "holds a `$` form other than $NAME",
            Self::Dialect => "holds a word that shells read differently",
            Self::Line => "has more than one line",
            Self::Redirection => "redirects input or output",
            Self::Subshell => "holds parentheses",
            Self::Substitution => "substitutes the output of a command",
            Self::TooLong => "is too long",
            Self::Unterminated => "has a quote or an escape without its end",
        })
    }
}

/// Reads a script into its commands, each at least one word. `fish` narrows what is understood to what
/// that shell reads like the others.
pub fn split(script: &str, fish: bool) -> Result<Vec<Vec<Word>>, Unread> {
    if script.len() > MAX_SCRIPT {
        return Err(Unread::TooLong);
    }
    if script.contains("\\\n") || script.contains("\\\r") {
        return Err(Unread::Line);
    }
    if script.contains('\0') {
        return Err(Unread::ControlCharacter);
    }
    if fish && script.contains(['\\', '^', '%', '{', '}', '[', ']']) {
        return Err(Unread::Dialect);
    }
    if swallows(script) {
        return Err(Unread::Dialect);
    }
    let mut reader = Reader {
        rest: script,
        commands: Vec::new(),
        words: Vec::new(),
        word: None,
        filled: false,
    };
    reader.read()?;
    Ok(reader.commands)
}

/// In some locales the last byte of a character outside ASCII and the `\` or `|` after it are one
/// character, so that the shell would not see the latter; the same for a `\` in front of one.
fn swallows(script: &str) -> bool {
    let mut before = ' ';
    for c in script.chars() {
        if (!before.is_ascii() && "\\|`".contains(c)) || (before == '\\' && !c.is_ascii()) {
            return true;
        }
        before = c;
    }
    false
}

struct Reader<'a> {
    rest: &'a str,
    commands: Vec<Vec<Word>>,
    words: Vec<Word>,
    /// The word being read.
    word: Option<Word>,
    /// The shell fills something into that word.
    filled: bool,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn read(&mut self) -> Result<(), Unread> {
        while let Some(c) = self.next() {
            match c {
                ' ' | '\t' => self.end_word(),
                '\n' => return Err(Unread::Line),
                '#' if self.word.is_none() => {
                    return match self.rest.contains('\n') {
                        true => Err(Unread::Line),
                        false => self.end_command(),
                    };
                }
                ';' => self.end_command()?,
                '&' if self.rest.starts_with('&') => {
                    self.next();
                    self.end_command()?;
                }
                '&' => return Err(Unread::Background),
                '|' if self.rest.starts_with('&') => return Err(Unread::Background),
                '|' => {
                    if self.rest.starts_with('|') {
                        self.next();
                    }
                    self.end_command()?;
                }
                '<' | '>' => return Err(Unread::Redirection),
                '(' | ')' => return Err(Unread::Subshell),
                '`' => return Err(Unread::Substitution),
                '\'' => self.single_quoted()?,
                '"' => self.double_quoted()?,
                '\\' => {
                    let escaped = self.next().ok_or(Unread::Unterminated)?;
                    self.push(escaped, true);
                }
                '$' => self.dollar(false)?,
                // A subscript of what was filled in is arithmetic, which can run text.
                '[' if self.filled => return Err(Unread::Expansion),
                c if c.is_control() => return Err(Unread::ControlCharacter),
                c => self.push(c, false),
            }
        }
        self.end_command()
    }

    fn single_quoted(&mut self) -> Result<(), Unread> {
        let (text, rest) = self.rest.split_once('\'').ok_or(Unread::Unterminated)?;
        self.rest = rest;
        self.current().text.push_str(text);
        Ok(())
    }

    fn double_quoted(&mut self) -> Result<(), Unread> {
        self.current();
        while let Some(c) = self.next() {
            match c {
                '"' => return Ok(()),
                '\n' => return Err(Unread::Line),
                '`' => return Err(Unread::Substitution),
                '$' => self.dollar(true)?,
                '[' if self.filled => return Err(Unread::Expansion),
                '\\' if self.rest.starts_with(['\\', '"', '$', '`']) => {
                    let escaped = self.next().ok_or(Unread::Unterminated)?;
                    self.push(escaped, true);
                }
                c if c.is_control() && c != '\t' => return Err(Unread::ControlCharacter),
                c => self.push(c, true),
            }
        }
        Err(Unread::Unterminated)
    }

    /// `$NAME`, `${NAME}` and the one-character parameters are text that the shell fills in; a `$` that
    /// stands alone is itself. Other forms run text in one shell or another: `$(…)`, `$[…]`, `${x@P}`,
    /// `$'…'`, and a subscript after a name.
    fn dollar(&mut self, quoted: bool) -> Result<(), Unread> {
        let rest = self.rest;
        let name = |text: &str| {
            text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .unwrap_or(text.len())
        };
        let length = match rest.chars().next() {
            None | Some(' ' | '\t') => {
                self.push('$', true);
                return Ok(());
            }
            Some('"') if quoted => {
                self.push('$', true);
                return Ok(());
            }
            Some('(') => return Err(Unread::Substitution),
            Some('{') => match name(&rest[1..]) {
                0 => return Err(Unread::Expansion),
                length if rest[1 + length..].starts_with('}') => length + 2,
                _ => return Err(Unread::Expansion),
            },
            // `$#name` is a length in some shells.
            Some('#') if !ends_word(&rest[1..]) => return Err(Unread::Expansion),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            Some(c) if c.is_ascii_digit() => 1,
            Some(_) => match name(rest) {
                0 => return Err(Unread::Expansion),
                length => length,
            },
        };
        let (parameter, rest) = rest.split_at(length);
        if rest.starts_with('[') {
            return Err(Unread::Expansion);
        }
        self.rest = rest;
        self.filled = true;
        let word = self.current();
        word.plain = false;
        word.text.push('$');
        word.text.push_str(parameter);
        Ok(())
    }

    fn push(&mut self, c: char, quoted: bool) {
        let word = self.current();
        let first = word.text.is_empty();
        word.plain &= quoted || is_plain(c, first);
        word.text.push(c);
    }

    fn current(&mut self) -> &mut Word {
        self.word.get_or_insert_with(|| Word::literal(""))
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take());
        self.filled = false;
    }

    fn end_command(&mut self) -> Result<(), Unread> {
        self.end_word();
        if self.words.is_empty() {
            return Err(Unread::Empty);
        }
        if self.commands.len() == MAX_COMMANDS {
            return Err(Unread::TooLong);
        }
        self.commands.push(std::mem::take(&mut self.words));
        Ok(())
    }
}

fn ends_word(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with([' ', '\t', '"', ';', '|', '&'])
}

/// Characters that stand for themselves outside quotes, in every shell. `=` in front is a path lookup
/// to one of them.
fn is_plain(c: char, first: bool) -> bool {
    c.is_ascii_alphanumeric() || "/._+@,:%-".contains(c) || (c == '=' && !first)
}
