//! How the elements of a page take the mouse, from a snapshot of its document with the computed style `cursor`.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

/// Entries that are kept of each list.
const MAX_ENTRIES: usize = 400_000;

/// How an element takes the mouse beside what its role says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Click {
    /// Not at all.
    #[default]
    None,
    /// Something listens for clicks.
    Heard,
    /// The pointer turns into a hand over it.
    Pointer,
}

/// An answer of `DOMSnapshot.captureSnapshot`: lists beside each other, with indexes into one list of texts. Only what
/// is asked about is kept of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Captured {
    documents: Vec<Document>,
    strings: Vec<Word>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    nodes: Nodes,
    layout: Layout,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Nodes {
    parent_index: List<i64>,
    node_name: List<i64>,
    backend_node_id: List<u64>,
    attributes: List<Names>,
    is_clickable: Indexes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Layout {
    node_index: List<usize>,
    styles: List<Style>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Indexes {
    index: List<usize>,
}

/// The texts that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// `HTML`, `BODY` and what is no element: what a whole page listens for is not about any of its elements.
    Whole,
    OnClick,
    Pointer,
    Other,
}

/// The names of an element's attributes, by index.
#[derive(Debug)]
struct Names(Box<[i64]>);

/// The computed `cursor`, by index.
#[derive(Debug)]
struct Style(Option<i64>);

/// The first entries of a list.
#[derive(Debug)]
struct List<T>(Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl Captured {
    /// How elements take the mouse, by the browser's own ids of their nodes.
    pub fn clicks(&self) -> HashMap<u64, Click> {
        let mut clicks = HashMap::new();
        for document in &self.documents {
            self.add(document, &mut clicks);
        }
        clicks
    }

    fn word(&self, index: i64) -> Option<Word> {
        self.strings.get(usize::try_from(index).ok()?).copied()
    }

    fn add(&self, document: &Document, clicks: &mut HashMap<u64, Click>) {
        let Document { nodes, layout } = document;
        let heard: HashSet<usize> = nodes.is_clickable.index.0.iter().copied().collect();
        let placed = layout.node_index.0.iter().zip(&layout.styles.0);
        let pointed: HashSet<usize> = placed
            .filter(|(_, style)| style.0.and_then(|at| self.word(at)) == Some(Word::Pointer))
            .map(|(index, _)| *index)
            .collect();
        for (index, backend_node) in nodes.backend_node_id.0.iter().enumerate() {
            let name = nodes.node_name.0.get(index).and_then(|at| self.word(*at));
            if name.is_none_or(|name| name == Word::Whole) {
                continue;
            }
            // Style and editing are inherited: only the outermost element counts.
            let parent = nodes.parent_index.0.get(index).copied();
            let parent = parent.and_then(|parent| usize::try_from(parent).ok());
            let outermost = |all: &HashSet<usize>| {
                all.contains(&index) && !parent.is_some_and(|parent| all.contains(&parent))
            };
            let names = nodes.attributes.0.get(index).map(|names| &*names.0);
            let mut names = names.into_iter().flatten().map(|at| self.word(*at));
            let click = if outermost(&pointed) {
                Click::Pointer
            } else if outermost(&heard) || names.any(|name| name == Some(Word::OnClick)) {
                Click::Heard
            } else {
                continue;
            };
            clicks.insert(*backend_node, click);
        }
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Word, E> {
                Ok(match text {
                    "HTML" | "BODY" => Word::Whole,
                    "onclick" => Word::OnClick,
                    "pointer" => Word::Pointer,
                    text if text.starts_with('#') => Word::Whole,
                    _ => Word::Other,
                })
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = List::<i64>::deserialize(deserializer)?;
        Ok(Self(pairs.0.into_iter().step_by(2).collect()))
    }
}

impl<'de> Deserialize<'de> for Style {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let styles = List::<i64>::deserialize(deserializer)?;
        Ok(Self(styles.0.first().copied()))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Each<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List<T>, A::Error> {
                let mut kept = Vec::new();
                while kept.len() < MAX_ENTRIES {
                    match list.next_element()? {
                        Some(entry) => kept.push(entry),
                        None => return Ok(List(kept)),
                    }
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(List(kept))
            }
        }
        deserializer.deserialize_seq(Each(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_takes_the_mouse_is_the_outermost_of_its_kind() {
        let strings = [
            "pointer", "auto", "HTML", "DIV", "SPAN", "onclick", "", "#text",
        ];
        // html > div (pointer) > span (pointer, inherited) > text; div with an empty attribute and onclick; html is listened to.
        let snapshot = json!({"strings": strings, "documents": [{
            "nodes": {
                "parentIndex": [-1, 0, 1, 2, 0],
                "nodeName": [2, 3, 4, 7, 3],
                "backendNodeId": [10, 11, 12, 13, 14],
                "attributes": [[], [], [], [], [3, -1, 5, 6]],
                "isClickable": {"index": [0]},
                "nodeValue": [-1, -1, -1, 6, -1],
            },
            "layout": {"nodeIndex": [0, 1, 2, 3, 4], "styles": [[1], [0], [0], [0], [1]]},
        }]});
        let expected = [(11, Click::Pointer), (14, Click::Heard)];
        let read = |value: serde_json::Value| serde_json::from_value::<Captured>(value).unwrap();
        assert_eq!(read(snapshot).clicks(), expected.into_iter().collect());
        assert!(read(json!({})).clicks().is_empty());
    }
}
