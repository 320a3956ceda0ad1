//! The tabs of one browser as callers name them: numbers that are never given out twice, labels, prefixes
//! (node-host specification, section 4.4, "Tab").
//!
//! Pure over the list of targets that the browser gives.

use serde_json::{Value, json};

use super::error::BrowserError;

/// Tabs that stay open after another one is opened.
pub const MAX_TABS: usize = 8;

/// Letters of a label at most.
const MAX_LABEL: usize = 64;

/// A page that the browser lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The browser's own id.
    pub id: String,
    /// Title of the page.
    pub title: String,
    /// Where it is.
    pub url: String,
}

impl Target {
    /// The pages of an answer of `Target.getTargets`.
    pub fn pages(answer: &Value) -> Vec<Self> {
        let infos = answer.get("targetInfos").and_then(Value::as_array);
        infos.into_iter().flatten().filter_map(Self::page).collect()
    }

    /// One page; `None` for a target that is none.
    pub fn page(info: &Value) -> Option<Self> {
        let text = |name| info.get(name).and_then(Value::as_str);
        (text("type") == Some("page")).then_some(())?;
        Some(Self {
            id: text("targetId")?.to_owned(),
            title: text("title").unwrap_or_default().to_owned(),
            url: text("url").unwrap_or_default().to_owned(),
        })
    }
}

/// What is known about the tabs of one profile.
#[derive(Debug, Default)]
pub struct TabBook {
    last_number: u64,
    tabs: Vec<Tab>,
    last_used: Option<String>,
    /// Targets that were closed here and may still be listed for a moment.
    closed: Vec<String>,
}

#[derive(Debug)]
struct Tab {
    target: Target,
    number: u64,
    label: Option<String>,
}

impl TabBook {
    /// Takes over what the browser lists now. A target that was replaced keeps its number: one with the same
    /// URL, or the only new one where only one is gone.
    pub fn update(&mut self, listed: &[Target]) {
        let is_listed = |id: &String| listed.iter().any(|target| target.id == *id);
        self.closed.retain(is_listed);
        let listed = listed
            .iter()
            .filter(|target| !self.closed.contains(&target.id));
        let listed: Vec<&Target> = listed.collect();
        let mut gone: Vec<Tab> = Vec::new();
        let mut kept: Vec<Tab> = Vec::new();
        for mut tab in self.tabs.drain(..) {
            match listed.iter().find(|target| target.id == tab.target.id) {
                Some(target) => {
                    tab.target = (*target).clone();
                    kept.push(tab);
                }
                None => gone.push(tab),
            }
        }
        let known = |id: &str| kept.iter().any(|tab| tab.target.id == id);
        let new: Vec<&Target> = listed
            .into_iter()
            .filter(|target| !known(&target.id))
            .collect();
        let single = new.len() == 1 && gone.len() == 1;
        for target in new {
            let heir = gone
                .iter()
                .position(|tab| single || tab.target.url == target.url);
            let (number, label, former) = match heir {
                Some(at) => {
                    let tab = gone.remove(at);
                    (tab.number, tab.label, Some(tab.target.id))
                }
                None => {
                    self.last_number += 1;
                    (self.last_number, None, None)
                }
            };
            if former.is_some() && self.last_used == former {
                self.last_used = Some(target.id.clone());
            }
            kept.push(Tab {
                target: target.clone(),
                number,
                label,
            });
        }
        kept.sort_by_key(|tab| tab.number);
        self.tabs = kept;
    }

    /// The page that a caller means.
    ///
    /// # Errors
    /// [`BrowserError::UnknownTab`] and [`BrowserError::AmbiguousTab`].
    pub fn find(&self, name: &str) -> Result<&Target, BrowserError> {
        let name = name.trim();
        let exact = self.tabs.iter().find(|tab| {
            tab.target.id == name
                || tab.label.as_deref() == Some(name)
                || tab_id(tab.number) == name
        });
        if let Some(tab) = exact {
            return Ok(&tab.target);
        }
        let unknown = || BrowserError::UnknownTab(name.to_owned());
        let prefix = name.to_ascii_lowercase();
        if prefix.is_empty() {
            return Err(unknown());
        }
        let mut starting = self
            .tabs
            .iter()
            .filter(|tab| tab.target.id.to_ascii_lowercase().starts_with(&prefix));
        match (starting.next(), starting.next()) {
            (Some(tab), None) => Ok(&tab.target),
            (None, _) => Err(unknown()),
            (Some(_), Some(_)) => Err(BrowserError::AmbiguousTab),
        }
    }

    /// The page of a request that names none: the last used one, else the first.
    pub fn current(&self) -> Option<&Target> {
        let last = self.last_used.as_deref();
        let used = self
            .tabs
            .iter()
            .find(|tab| Some(tab.target.id.as_str()) == last);
        used.or(self.tabs.first()).map(|tab| &tab.target)
    }

    /// Remembers the page as the one that was used last.
    pub fn used(&mut self, target: &str) {
        self.last_used = Some(target.to_owned());
    }

    /// A page was closed here: nothing takes its place, however long the browser still lists it.
    pub fn close(&mut self, target: &str) {
        self.tabs.retain(|tab| tab.target.id != target);
        self.closed.push(target.to_owned());
    }

    /// The page at this place of the list.
    pub fn at(&self, index: usize) -> Option<&Target> {
        self.tabs.get(index).map(|tab| &tab.target)
    }

    /// The oldest pages beyond `limit` without `newest`.
    pub fn surplus(&self, limit: usize, newest: &str) -> Vec<String> {
        let count = self.tabs.len().saturating_sub(limit);
        let others = self.tabs.iter().filter(|tab| tab.target.id != newest);
        others
            .take(count)
            .map(|tab| tab.target.id.clone())
            .collect()
    }

    /// Names a page; another one that had the name loses it.
    ///
    /// # Errors
    /// [`BrowserError::Invalid`] for a text that is no label.
    pub fn label(&mut self, target: &str, label: &str) -> Result<(), BrowserError> {
        let label = checked_label(label)?;
        for tab in &mut self.tabs {
            if tab.target.id == target {
                tab.label = Some(label.to_owned());
            } else if tab.label.as_deref() == Some(label) {
                tab.label = None;
            }
        }
        Ok(())
    }

    /// The pages as callers see them, in the order of their numbers; the sockets are at `port` of `host`. Title and URL
    /// of one that may not be `shown` are left out.
    pub fn render(&self, host: &str, port: u16, shown: impl Fn(&Target) -> bool) -> Vec<Value> {
        let tab = |tab: &Tab| {
            let target = &tab.target;
            let id = tab_id(tab.number);
            let mut rendered = json!({"targetId": target.id});
            if shown(target) {
                rendered["title"] = target.title.as_str().into();
                rendered["url"] = target.url.as_str().into();
            }
            rendered["wsUrl"] = format!("ws://{host}:{port}/devtools/page/{}", target.id).into();
            rendered["type"] = "page".into();
            rendered["suggestedTargetId"] = tab.label.as_deref().unwrap_or(&id).into();
            rendered["tabId"] = id.as_str().into();
            if let Some(label) = &tab.label {
                rendered["label"] = label.as_str().into();
            }
            rendered
        };
        self.tabs.iter().map(tab).collect()
    }
}

/// A label as it is stored.
///
/// # Errors
/// [`BrowserError::Invalid`] for anything but 1 to 64 letters of `A-Za-z0-9_.:-`.
pub fn checked_label(label: &str) -> Result<&str, BrowserError> {
    let label = label.trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    if label.is_empty() || label.len() > MAX_LABEL || !label.bytes().all(plain) {
        let text = "tab label must be 1-64 letters, digits, \"_\", \".\", \":\" or \"-\"";
        return Err(BrowserError::invalid(text));
    }
    Ok(label)
}

fn tab_id(number: u64) -> String {
    format!("t{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(id: &str, url: &str) -> Target {
        Target {
            id: id.to_owned(),
            title: format!("title of {id}"),
            url: url.to_owned(),
        }
    }

    fn numbers(book: &TabBook) -> Vec<(String, String)> {
        let tabs = book.render("h", 1, |_| true);
        let text = |tab: &Value, name: &str| tab[name].as_str().unwrap().to_owned();
        tabs.iter()
            .map(|tab| (text(tab, "targetId"), text(tab, "tabId")))
            .collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    }

    #[test]
    fn numbers_are_never_given_out_twice_and_follow_a_replaced_target() {
        let mut book = TabBook::default();
        book.update(&[target("A", "u1"), target("B", "u2")]);
        assert_eq!(numbers(&book), pairs(&[("A", "t1"), ("B", "t2")]));
        book.label("B", "work").unwrap();
        book.used("B");
        // The only one gone and the only new one; then the one with the same URL.
        book.update(&[target("A", "u1"), target("C", "u3")]);
        assert_eq!(numbers(&book), pairs(&[("A", "t1"), ("C", "t2")]));
        assert_eq!(book.current().unwrap().id, "C");
        assert_eq!(book.find("work").unwrap().id, "C");
        book.update(&[target("X", "u9"), target("D", "u1"), target("E", "u8")]);
        assert_eq!(
            numbers(&book),
            pairs(&[("D", "t1"), ("X", "t3"), ("E", "t4")])
        );
        book.update(&[]);
        assert!(book.tabs.is_empty() && book.current().is_none());
        book.update(&[target("F", "u1")]);
        assert_eq!(numbers(&book), pairs(&[("F", "t5")]));
    }

    #[test]
    fn a_tab_that_was_closed_here_has_no_heir_and_does_not_come_back() {
        let mut book = TabBook::default();
        book.update(&[target("A", "u"), target("B", "v")]);
        book.close("A");
        book.update(&[target("A", "u"), target("B", "v"), target("C", "u")]);
        assert_eq!(numbers(&book), pairs(&[("B", "t2"), ("C", "t3")]));
        book.update(&[target("B", "v"), target("C", "u"), target("D", "w")]);
        assert!(book.closed.is_empty());
        assert_eq!(
            numbers(&book),
            pairs(&[("B", "t2"), ("C", "t3"), ("D", "t4")])
        );
    }

    #[test]
    fn a_tab_has_four_names() {
        let mut book = TabBook::default();
        book.update(&[target("AB12", "u"), target("AB34", "v"), target("T1", "w")]);
        book.label("AB34", "t9").unwrap();
        for (name, found) in [
            ("AB12", "AB12"),
            ("ab3", "AB34"),
            ("t2", "AB34"),
            ("t9", "AB34"),
            ("t1", "AB12"),
            (" T1 ", "T1"),
        ] {
            assert_eq!(
                book.find(name).map(|it| it.id.as_str()),
                Ok(found),
                "{name}"
            );
        }
        assert_eq!(book.find("ab"), Err(BrowserError::AmbiguousTab));
        let unknown = "tab not found: browser tab \"zz\" not found. Use action=tabs and pass suggestedTargetId, \
                       tabId, label, or raw targetId.";
        assert_eq!(book.find("zz").unwrap_err().to_string(), unknown);
        assert!(book.find(" ").is_err());
    }

    #[test]
    fn labels_have_a_shape_and_one_owner() {
        let mut book = TabBook::default();
        book.update(&[target("A", "u"), target("B", "v")]);
        for label in ["", "a b", &"x".repeat(65), "ü"] {
            assert!(book.label("A", label).is_err(), "{label}");
        }
        book.label("A", " a.b:c_d-1 ").unwrap();
        book.label("B", "a.b:c_d-1").unwrap();
        let tabs = book.render("127.0.0.1", 5, |target| target.url != "v");
        assert_eq!(tabs[0].get("label"), None);
        let expected = json!({"targetId": "B", "wsUrl": "ws://127.0.0.1:5/devtools/page/B",
            "type": "page", "suggestedTargetId": "a.b:c_d-1", "tabId": "t2", "label": "a.b:c_d-1"});
        assert_eq!(tabs[1], expected);
    }

    #[test]
    fn the_oldest_others_are_too_many() {
        let mut book = TabBook::default();
        book.update(&["A", "B", "C", "D"].map(|id| target(id, id)));
        assert_eq!(book.surplus(2, "A"), ["B", "C"]);
        assert_eq!(book.surplus(4, "A"), [""; 0]);
    }
}
