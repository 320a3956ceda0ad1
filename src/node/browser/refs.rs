//! The elements that the last snapshot of each tab named (node-host specification, section 4.5, "Refs").

use std::collections::HashMap;

use super::error::BrowserError;

/// One named element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The browser's own id of its node.
    pub backend_node: u64,
    /// The frame whose session reaches it; `None` is the page's own.
    pub frame: Option<String>,
    /// The document that this session showed then.
    pub document: String,
    /// Its role.
    pub role: String,
    /// Its accessible name.
    pub name: String,
    /// Which one of several with this role and name, from 0.
    pub nth: usize,
}

/// The elements of every tab, by target and ref. A new snapshot of a tab replaces those of the last.
#[derive(Debug, Default)]
pub struct Refs {
    tabs: HashMap<String, HashMap<String, Element>>,
}

impl Refs {
    /// Replaces what the last snapshot of a tab named.
    pub fn replace(&mut self, target: &str, elements: HashMap<String, Element>) {
        self.tabs.insert(target.to_owned(), elements);
    }

    /// What the last snapshot of a tab named, in the order of the refs.
    pub fn all(&self, target: &str) -> Vec<(String, Element)> {
        let elements = self.tabs.get(target).into_iter().flatten();
        let mut all: Vec<(String, Element)> = elements
            .map(|(name, element)| (name.clone(), element.clone()))
            .collect();
        // `e2` stands before `e10`.
        all.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
        all
    }

    /// Forgets tabs that are not listed any more.
    pub fn retain(&mut self, is_listed: impl Fn(&str) -> bool) {
        self.tabs.retain(|target, _| is_listed(target));
    }

    /// The element a caller means by `e12`, `@e12`, `ref=e12`, `12` or `ax7`.
    ///
    /// # Errors
    /// [`BrowserError::Unexpected`] for one that the last snapshot did not name.
    pub fn find(&self, target: &str, given: &str) -> Result<Element, BrowserError> {
        let name = normalize(given);
        let elements = self.tabs.get(target);
        let found = elements.and_then(|elements| elements.get(&name));
        found.cloned().ok_or_else(|| unknown(&name))
    }
}

/// What is said of a ref that the last snapshot did not name, or that is of a document that is not shown any more.
pub fn unknown(name: &str) -> BrowserError {
    BrowserError::Unexpected(format!(
        "Unknown ref \"{name}\". Run a new snapshot and use a ref from that snapshot."
    ))
}

/// The ref as snapshots write it.
pub fn normalize(given: &str) -> String {
    let given = given.trim();
    let bare = given.strip_prefix('@').unwrap_or(given);
    let bare = bare.strip_prefix("ref=").unwrap_or(bare);
    if !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("e{bare}")
    } else {
        bare.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(backend_node: u64) -> Element {
        Element {
            backend_node,
            frame: None,
            document: String::new(),
            role: "button".to_owned(),
            name: "Go".to_owned(),
            nth: 0,
        }
    }

    #[test]
    fn a_ref_has_several_forms_and_lives_until_the_next_snapshot() {
        let mut refs = Refs::default();
        let first = [
            ("e12".to_owned(), element(1)),
            ("ax7".to_owned(), element(2)),
        ];
        refs.replace("A", first.into_iter().collect());
        for (given, node) in [
            ("e12", 1),
            ("@e12", 1),
            ("ref=e12", 1),
            (" 12 ", 1),
            ("ax7", 2),
        ] {
            assert_eq!(
                refs.find("A", given).map(|it| it.backend_node),
                Ok(node),
                "{given}"
            );
        }
        let unknown =
            "Error: Unknown ref \"e12\". Run a new snapshot and use a ref from that snapshot.";
        assert_eq!(refs.find("B", "12").unwrap_err().to_string(), unknown);
        refs.replace("A", HashMap::new());
        assert_eq!(refs.find("A", "12").unwrap_err().to_string(), unknown);
        refs.retain(|target| target != "A");
        assert!(refs.tabs.is_empty());
    }
}
