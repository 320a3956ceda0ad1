//! CoreDNS's configuration, as far as one more zone needs it: the server block of the zone, and the line of
//! the Corefile that imports such blocks.
//!
//! Pure text. The grammar is that of CoreDNS: words between blanks, quotes and comments only at the start of a
//! word, server blocks in braces, which a file with a single one may leave out.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use crate::discovery::domain::Domain;

/// The directory of our server blocks, beside the Corefile.
pub const SERVERS_DIRECTORY: &str = "openclaw.d";

/// What is imported: relative to the Corefile; that none is there is only a warning to CoreDNS.
const PATTERN: &str = "openclaw.d/*.server";

/// How often CoreDNS looks whether the serial of the zone has grown.
const RELOAD: &str = "10s";

/// Why a Corefile is left as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorefileError {
    /// Its only server block has no braces, so that nothing can stand beside it.
    NoBraces,
    /// A path that cannot be written into it.
    Path(String),
    /// A brace has no counterpart.
    Unbalanced,
    /// It has a server block of the domain already.
    Served(String),
}

/// The Corefile with the line that imports our server blocks; `None` when it has that line. Whatever else is in
/// it stays to the byte.
///
/// # Errors
/// It cannot be read, or serves `domain` itself.
pub fn with_import(corefile: &str, domain: &Domain) -> Result<Option<String>, CorefileError> {
    let outline = Outline::read(&words(corefile))?;
    if outline.keys.iter().any(|key| serves(key, domain)) {
        return Err(CorefileError::Served(domain.to_string()));
    }
    if outline.imports.iter().any(|import| import == PATTERN) {
        return Ok(None);
    }
    let gap = match corefile {
        "" => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    Ok(Some(format!(
        "{corefile}{gap}# Zones of openclaw, written by: openclaw dns setup --apply\nimport {PATTERN}\n"
    )))
}

/// The server block of a zone, with the addresses it answers at; on all of them where none is given.
///
/// # Errors
/// The path cannot be written into it.
pub fn server_block(
    domain: &Domain,
    zone: &Path,
    bind: &[IpAddr],
) -> Result<String, CorefileError> {
    let zone = quoted(zone)?;
    let bind = match bind {
        [] => String::new(),
        addresses => {
            let words: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            format!("    bind {}\n", words.join(" "))
        }
    };
    Ok(format!(
        "# Written by: openclaw dns setup --apply\n{} {{\n{bind}    file {zone} {{\n        reload {RELOAD}\n    }}\n    errors\n}}\n",
        domain.bare()
    ))
}

fn quoted(path: &Path) -> Result<String, CorefileError> {
    let refused = || CorefileError::Path(path.display().to_string());
    let text = path.to_str().ok_or_else(refused)?;
    // There is no way to write a backslash, and variables are replaced inside quotes too.
    let refuses = |letter: char| letter.is_control() || matches!(letter, '"' | '\\');
    if text.contains(refuses) || text.contains("{$") || text.contains("{%") {
        return Err(refused());
    }
    Ok(format!("\"{text}\""))
}

/// One word of a Corefile.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    line: usize,
    text: String,
}

fn words(text: &str) -> Vec<Word> {
    let mut found = Vec::new();
    let mut letters = text.trim_start_matches('\u{feff}').chars().peekable();
    let mut line = 1;
    while let Some(first) = letters.next() {
        let begun = line;
        let mut word = String::new();
        match first {
            '\n' => line += 1,
            letter if letter.is_whitespace() => {}
            '#' => while letters.next_if(|letter| *letter != '\n').is_some() {},
            '"' => {
                while let Some(letter) = letters.next() {
                    match letter {
                        '"' => break,
                        '\\' if letters.next_if_eq(&'"').is_some() => word.push('"'),
                        letter => {
                            line += usize::from(letter == '\n');
                            word.push(letter);
                        }
                    }
                }
                found.push(Word {
                    line: begun,
                    text: word,
                });
            }
            letter => {
                word.push(letter);
                while let Some(letter) = letters.next_if(|letter| !letter.is_whitespace()) {
                    word.push(letter);
                }
                found.push(Word {
                    line: begun,
                    text: word,
                });
            }
        }
    }
    found
}

/// What stands outside all braces.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outline {
    /// The keys of server blocks and the names of snippets.
    keys: Vec<String>,
    /// What is imported.
    imports: Vec<String>,
}

impl Outline {
    fn read(words: &[Word]) -> Result<Outline, CorefileError> {
        let mut outline = Outline::default();
        let mut rest = words.iter().peekable();
        while let Some(word) = rest.next() {
            match word.text.as_str() {
                "import" => {
                    let import = rest.next_if(|next| next.line == word.line);
                    outline
                        .imports
                        .extend(import.map(|import| import.text.clone()));
                }
                "{" => skip_block(&mut rest)?,
                "}" => return Err(CorefileError::Unbalanced),
                key => {
                    let goes_on = key.ends_with(',');
                    outline.keys.push(key.trim_end_matches(',').to_owned());
                    // Behind the keys of one line the brace has to follow.
                    match rest.peek() {
                        Some(next) if next.line == word.line || next.text == "{" || goes_on => {}
                        _ => return Err(CorefileError::NoBraces),
                    }
                }
            }
        }
        Ok(outline)
    }
}

fn skip_block<'a>(rest: &mut impl Iterator<Item = &'a Word>) -> Result<(), CorefileError> {
    let mut depth = 1_usize;
    for word in rest {
        match word.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Ok(());
        }
    }
    Err(CorefileError::Unbalanced)
}

/// Whether the key of a server block is this domain on DNS's own port.
fn serves(key: &str, domain: &Domain) -> bool {
    let key = key.to_ascii_lowercase();
    let key = key.strip_prefix("dns://").unwrap_or(&key);
    let key = key.strip_suffix(":53").unwrap_or(key);
    key.trim_end_matches('.') == domain.bare()
}

impl fmt::Display for CorefileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBraces => out.write_str(
                "has a server block without braces, beside which no other can stand; put it into braces first",
            ),
            Self::Path(path) => write!(
                out,
                "cannot name {path:?}: a path with quotes, backslashes, control characters or {{$ cannot stand in it"
            ),
            Self::Unbalanced => out.write_str("has a brace without its counterpart; mend it first"),
            Self::Served(domain) => write!(
                out,
                "has a server block of {domain} already; remove it, or leave it and do without --apply"
            ),
        }
    }
}

impl std::error::Error for CorefileError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> Domain {
        Domain::parse("openclaw.internal").unwrap()
    }

    const UNRELATED: &str = "\
(snip) {\n    errors\n    log\n}\n\n# openclaw.internal {\n.:53, example.org:53 {\n    import snip\n    \
forward . 1.1.1.1 { # comment with }\n        max_fails 3\n    }\n    hosts {\n        10.0.0.1 a \"b } c\"\n    }\n}\n\
\ntls://openclaw.internal {\n    whoami\n}\n{$ZONE} openclaw.internal:5300 {\n    file \"/a b/{$X}.db\"\n}";

    #[test]
    fn an_unrelated_corefile_gains_one_line_once() {
        for before in [
            "",
            UNRELATED,
            "import other/*.conf\n",
            "# nothing\n",
            ".\n{\n}",
        ] {
            let after = with_import(before, &domain()).unwrap().unwrap();
            assert!(after.starts_with(before), "{after}");
            assert_eq!(after.matches("import openclaw.d/*.server\n").count(), 1);
            assert_eq!(with_import(&after, &domain()), Ok(None), "{after}");
            // What it served it still serves, as the same words.
            let (old, new) = (words(before), words(&after));
            assert_eq!(new[..old.len()], old);
            assert_eq!(
                new[old.len()..]
                    .iter()
                    .map(|word| word.text.as_str())
                    .collect::<Vec<_>>(),
                ["import", PATTERN]
            );
        }
        let inside = ". {\n    import openclaw.d/*.server\n}\n";
        assert!(with_import(inside, &domain()).unwrap().is_some());
        let commented = "# import openclaw.d/*.server\n";
        assert!(with_import(commented, &domain()).unwrap().is_some());
    }

    #[test]
    fn a_corefile_that_nothing_can_be_added_to_is_refused() {
        let served = CorefileError::Served("openclaw.internal.".to_owned());
        for (corefile, error) in [
            ("openclaw.internal {\n}\n", served.clone()),
            ("dns://OpenClaw.Internal.:53 {\n}\n", served.clone()),
            ("example.org,\nopenclaw.internal {\n}\n", served),
            (".:53\nforward . 1.1.1.1\n", CorefileError::NoBraces),
            (".", CorefileError::NoBraces),
            (".\nerrors {\n}\n", CorefileError::NoBraces),
            (". {\n", CorefileError::Unbalanced),
            (". {\n}\n}\n", CorefileError::Unbalanced),
            (". {\n \"unclosed }\n", CorefileError::Unbalanced),
        ] {
            assert_eq!(with_import(corefile, &domain()), Err(error), "{corefile}");
        }
    }

    #[test]
    fn the_server_block_serves_the_zone_at_its_addresses() {
        let zone = Path::new("/root/my state/dns/openclaw.internal.db");
        let bind = ["100.64.0.9", "fd7a:115c:a1e0::9"].map(|text| text.parse().unwrap());
        let expected = "# Written by: openclaw dns setup --apply
openclaw.internal {
    bind 100.64.0.9 fd7a:115c:a1e0::9
    file \"/root/my state/dns/openclaw.internal.db\" {
        reload 10s
    }
    errors
}
";
        let block = server_block(&domain(), zone, &bind).unwrap();
        assert_eq!(block, expected);
        let outline = Outline::read(&words(&block)).unwrap();
        assert_eq!(outline.keys, ["openclaw.internal"]);
        assert!(!server_block(&domain(), zone, &[]).unwrap().contains("bind"));
        for path in ["/a\"b", "/a\\b", "/a\nb", "/{$HOME}/b", "/{%HOME%}/b"] {
            assert_eq!(
                server_block(&domain(), Path::new(path), &[]),
                Err(CorefileError::Path(path.to_owned()))
            );
        }
    }
}
