//! Text of manual pages in the `man` macros, which groff and mandoc both read without a warning.

/// Longest source line; what is longer is broken between words.
const COLUMNS: usize = 78;

/// One page under construction.
#[derive(Debug)]
pub struct Page {
    out: String,
}

impl Page {
    /// A page with its title line. `date`: year, month and day; `source`: what the page belongs to.
    pub fn new(comment: &str, name: &str, section: u8, date: &str, source: &str) -> Page {
        let title = escaped(&name.to_uppercase());
        let out = format!(
            ".\\\" {comment}\n.TH {title} {section} \"{date}\" \"{}\" \"OpenClaw\"\n",
            escaped(source)
        );
        Page { out }
    }

    /// The text.
    pub fn finish(self) -> String {
        self.out
    }

    /// `.SH`: a section in capitals.
    pub fn section(&mut self, title: &str) {
        self.out += &format!(".SH {}\n", escaped(&title.to_uppercase()));
    }

    /// `.SS`: a section of a section.
    pub fn subsection(&mut self, title: &str) {
        self.out += &format!(".SS {}\n", escaped(title));
    }

    /// The one line of a page's NAME section.
    pub fn name(&mut self, name: &str, what: &str) {
        self.section("Name");
        self.out += &format!("{} \\- {}\n", escaped(name), escaped(what));
    }

    /// A line of plain text directly below a heading.
    pub fn text(&mut self, text: &str) {
        self.filled(&escaped(text));
    }

    /// A paragraph of plain text.
    pub fn paragraph(&mut self, text: &str) {
        self.out += ".PP\n";
        self.text(text);
    }

    /// A command line: words in bold, then what stands for something in italics.
    pub fn usage(&mut self, words: &str, rest: &str) {
        self.filled(&format!("{}{}", bold(words), placeholders(rest)));
    }

    /// A tag and what it means: `tag` with its placeholder in italics.
    pub fn tagged(&mut self, tag: &str, rest: &str, meaning: &str) {
        self.out += &format!(".TP\n{}{}\n", bold(tag), placeholders(rest));
        self.text(meaning);
    }

    /// Lines as they stand, in a fixed font where there is one.
    pub fn example(&mut self, lines: &[&str]) {
        self.out += ".PP\n.nf\n.RS\n";
        for line in lines {
            self.out += &guarded(&escaped(line));
            self.out.push('\n');
        }
        self.out += ".RE\n.fi\n";
    }

    /// Pages to read next, of one section.
    pub fn see_also<'a>(&mut self, pages: impl IntoIterator<Item = (&'a str, u8)>) {
        self.section("See also");
        let mut pages: Vec<_> = pages.into_iter().collect();
        pages.sort_by_key(|(name, section)| (*section, *name));
        let count = pages.len();
        for (at, (name, section)) in pages.into_iter().enumerate() {
            let comma = if at + 1 < count { "," } else { "" };
            self.out += &format!(".BR {} ({section}){comma}\n", escaped(name));
        }
    }

    /// Escaped text, broken into lines.
    fn filled(&mut self, text: &str) {
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && line.len() + 1 + word.len() > COLUMNS {
                self.out += &guarded(&line);
                self.out.push('\n');
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line += word;
        }
        if !line.is_empty() {
            self.out += &guarded(&line);
            self.out.push('\n');
        }
    }
}

fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escaped(text))
}

/// `[options] <requestId>` with the words between the brackets in italics.
fn placeholders(text: &str) -> String {
    let mut out = String::new();
    for letter in escaped(text).chars() {
        match letter {
            '<' => out += "\\fI",
            '>' => out += "\\fR",
            letter => out.push(letter),
        }
    }
    out
}

/// Plain text as roff: a backslash and a minus are themselves, quotes stay straight.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '\\' => out += "\\e",
            '-' => out += "\\-",
            '~' => out += "\\(ti",
            '^' => out += "\\(ha",
            '`' => out += "\\(ga",
            '\'' => out += "\\(aq",
            '\u{2014}' => out += "\\(em",
            letter => out.push(letter),
        }
    }
    out
}

/// A line that starts like a request is none.
fn guarded(line: &str) -> String {
    match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_to_roff_is_text() {
        let mut page = Page::new("Made.", "open-claw", 1, "2026-11-30", "openclaw 1");
        page.paragraph(".bashrc is a file's \\name of -x");
        page.usage("openclaw nodes", " [options] <requestId>");
        assert_eq!(
            page.finish(),
            ".\\\" Made.\n.TH OPEN\\-CLAW 1 \"2026-11-30\" \"openclaw 1\" \"OpenClaw\"\n\
             .PP\n\\&.bashrc is a file\\(aqs \\ename of \\-x\n\
             \\fBopenclaw nodes\\fR [options] \\fIrequestId\\fR\n"
        );
    }

    #[test]
    fn long_text_is_broken_between_words() {
        let mut page = Page::new("Made.", "x", 1, "2026-11-30", "x");
        page.text(&"word ".repeat(40));
        let page = page.finish();
        let lines: Vec<&str> = page.lines().skip(2).collect();
        assert!(
            lines.len() > 1 && lines.iter().all(|line| line.len() <= COLUMNS),
            "{page}"
        );
        assert_eq!(lines.join(" "), "word ".repeat(40).trim_end());
    }
}
