//! One thing that was looked at: what it is called, how it stands, and the command that mends it.

use serde_json::{Map, Value, json};

use crate::cli::output::text::{plain, quoted};

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    Ok,
    /// It does not concern this machine, or cannot be looked at now.
    Skipped,
    /// It works, and somebody should know.
    Warn,
    /// It does not work, or gives something away.
    Fail,
}

impl State {
    /// The states in the order in which they are counted.
    pub const ALL: [State; 4] = [State::Ok, State::Warn, State::Fail, State::Skipped];

    /// The word in JSON and text.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Skipped => "skipped",
            State::Warn => "warn",
            State::Fail => "fail",
        }
    }
}

/// The outcome of one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name for programs: `subject.point`. Stable.
    pub id: String,
    /// How it stands.
    pub state: State,
    /// What was found, a sentence without its full stop.
    pub what: String,
    /// The command to type.
    pub fix: Option<String>,
    /// The places that it is about, when there are several.
    pub items: Vec<String>,
}

impl Check {
    fn new(id: &str, state: State, what: String) -> Check {
        Check {
            id: id.to_owned(),
            state,
            what,
            fix: None,
            items: Vec::new(),
        }
    }

    /// As it should be.
    pub fn ok(id: &str, what: impl Into<String>) -> Check {
        Check::new(id, State::Ok, what.into())
    }

    /// Not looked at, and why.
    pub fn skipped(id: &str, why: impl Into<String>) -> Check {
        Check::new(id, State::Skipped, why.into())
    }

    /// Something to know, and the command for it.
    pub fn warn(id: &str, what: impl Into<String>, fix: impl Into<String>) -> Check {
        Check::new(id, State::Warn, what.into()).fix(fix)
    }

    /// Something to mend, and the command for it.
    pub fn fail(id: &str, what: impl Into<String>, fix: impl Into<String>) -> Check {
        Check::new(id, State::Fail, what.into()).fix(fix)
    }

    /// The same in one of two states.
    pub fn bad(id: &str, fails: bool, what: impl Into<String>, fix: impl Into<String>) -> Check {
        let state = if fails { State::Fail } else { State::Warn };
        Check::new(id, state, what.into()).fix(fix)
    }

    /// The same check with the places that it is about.
    pub fn items(mut self, items: Vec<String>) -> Check {
        self.items = items;
        self
    }

    fn fix(mut self, fix: impl Into<String>) -> Check {
        self.fix = Some(fix.into());
        self
    }

    /// `{id, state, what, items?, fix?}`.
    pub fn document(&self) -> Value {
        let mut out = Map::new();
        out.insert("id".to_owned(), json!(self.id));
        out.insert("state".to_owned(), json!(self.state.as_str()));
        out.insert("what".to_owned(), json!(self.what));
        if !self.items.is_empty() {
            out.insert("items".to_owned(), json!(self.items));
        }
        if let Some(fix) = &self.fix {
            out.insert("fix".to_owned(), json!(fix));
        }
        Value::Object(out)
    }

    /// The lines for a person.
    pub fn text(&self) -> String {
        let mut out = format!(
            "{:<8}{:<25} {}\n",
            self.state.as_str(),
            self.id,
            plain(&self.what)
        );
        for item in &self.items {
            out += &format!("{:34}{}\n", "", plain(item));
        }
        if let Some(fix) = &self.fix {
            out += &format!("{:34}Fix: {}\n", "", plain(fix));
        }
        out
    }
}

/// The command that opens these files in the editor of the person.
pub fn edit<'a>(paths: impl IntoIterator<Item = &'a str>) -> String {
    let paths: Vec<String> = paths.into_iter().map(quoted).collect();
    format!("\"${{EDITOR:-vi}}\" {}", paths.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_shown_with_what_it_is_about_and_its_fix() {
        let check = Check::fail("state.modes", "open to others", "openclaw doctor --fix")
            .items(vec!["/s/\u{1b}a".to_owned()]);
        let text = check.text();
        assert!(
            text.starts_with("fail    state.modes               open to others\n"),
            "{text}"
        );
        assert!(text.ends_with("Fix: openclaw doctor --fix\n"), "{text}");
        assert!(!text.contains('\u{1b}'));
        let document = check.document();
        assert_eq!(document["state"], "fail");
        assert_eq!(document["items"][0], "/s/\u{1b}a");
        assert_eq!(
            Check::ok("a.b", "well").document(),
            json!({"id": "a.b", "state": "ok", "what": "well"})
        );
    }
}
