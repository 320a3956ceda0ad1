//! The accessibility tree as the browser sends it, read as it comes: only what a snapshot needs is kept.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

/// Nodes of one answer that are kept.
const MAX_NODES: usize = 100_000;

/// Bytes kept of one text, and of all texts of one answer.
const MAX_TEXT_BYTES: usize = 64 * 1024;
const MAX_TEXTS_BYTES: usize = 8 * 1024 * 1024;

/// Parts of a line of text, bullets and line breaks: their texts stand elsewhere or are none.
const SILENT: [&str; 3] = ["InlineTextBox", "LineBreak", "ListMarker"];

/// Why the browser hides a node from everybody.
const HIDDEN: [&str; 5] = [
    "ariaHiddenElement",
    "ariaHiddenSubtree",
    "inertElement",
    "inertSubtree",
    "notVisible",
];

/// An answer of `Accessibility.getFullAXTree`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Tree {
    /// Its nodes.
    pub nodes: Nodes,
}

/// The nodes of a tree, without silent ones.
#[derive(Debug, Default)]
pub struct Nodes {
    /// In the browser's order.
    pub list: Vec<Given>,
    /// There were more nodes, or longer texts, than are kept.
    pub cut: bool,
}

/// One node.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Given {
    /// Its number in the tree.
    pub node_id: Id,
    /// The browser takes it for nothing by itself.
    pub ignored: bool,
    /// Why.
    ignored_reasons: Vec<Reason>,
    /// Its role.
    pub role: Said,
    /// Its name.
    pub name: Said,
    /// What it holds.
    pub value: Said,
    /// More about it.
    pub description: Said,
    /// What else is known.
    pub properties: Properties,
    /// What is in it.
    pub child_ids: Vec<Id>,
    /// The browser's own id of its node in the page.
    #[serde(rename = "backendDOMNodeId")]
    pub backend_node: Option<u64>,
}

impl Given {
    /// Whether the browser hides it from everybody.
    pub fn is_hidden(&self) -> bool {
        self.ignored_reasons.iter().any(|reason| reason.hidden)
    }
}

/// The number of a node; `None` for one that is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Id(Option<i64>);

/// The text of a value: its own, or how a number or a switch is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Said {
    /// Empty without one.
    value: Plain,
}

impl Said {
    /// The text.
    pub fn text(&self) -> &str {
        &self.value.0
    }

    /// Takes the text out.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.value.0).into()
    }
}

#[derive(Debug, Default)]
struct Plain(Box<str>);

/// Properties that a snapshot shows.
#[derive(Debug, Default)]
pub struct Properties {
    /// Where a link leads.
    pub url: Option<Box<str>>,
    /// The keyboard reaches it.
    pub focusable: bool,
    /// Of a heading.
    level: Option<u32>,
    checked: Option<Ticked>,
    pressed: Option<Ticked>,
    disabled: bool,
    expanded: bool,
    selected: bool,
}

#[derive(Debug, Clone, Copy)]
enum Ticked {
    Fully,
    Mixed,
}

impl Properties {
    /// `level=1`, `checked` and the like, in the order in which they are shown.
    pub fn states(&self) -> Vec<String> {
        let mut states = Vec::new();
        states.extend(self.level.map(|level| format!("level={level}")));
        for (name, ticked) in [("checked", self.checked), ("pressed", self.pressed)] {
            states.extend(ticked.map(|ticked| match ticked {
                Ticked::Fully => name.to_owned(),
                Ticked::Mixed => format!("{name}=mixed"),
            }));
        }
        let switches = [
            ("disabled", self.disabled),
            ("expanded", self.expanded),
            ("selected", self.selected),
        ];
        states.extend(
            switches
                .iter()
                .filter(|(_, on)| *on)
                .map(|(name, _)| (*name).to_owned()),
        );
        states
    }

    fn take(&mut self, property: &mut Property) {
        let on = property.value.text() == "true";
        let ticked = match property.value.text() {
            "true" => Some(Ticked::Fully),
            "mixed" => Some(Ticked::Mixed),
            _ => None,
        };
        match &*property.name.0 {
            "url" => self.url = Some(std::mem::take(&mut property.value.value.0)),
            "focusable" => self.focusable = on,
            "level" => self.level = property.value.text().parse().ok(),
            "checked" => self.checked = ticked,
            "pressed" => self.pressed = ticked,
            "disabled" => self.disabled = on,
            "expanded" => self.expanded = on,
            "selected" => self.selected = on,
            _ => {}
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Property {
    name: Plain,
    value: Said,
}

#[derive(Debug, Default)]
struct Reason {
    hidden: bool,
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let property = Property::deserialize(deserializer)?;
        Ok(Self {
            hidden: HIDDEN.contains(&&*property.name.0),
        })
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Plain::deserialize(deserializer)?;
        Ok(Self(text.0.parse().ok()))
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Properties;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of properties")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Properties, A::Error> {
                let mut properties = Properties::default();
                while let Some(mut property) = list.next_element::<Property>()? {
                    properties.take(&mut property);
                }
                Ok(properties)
            }
        }
        deserializer.deserialize_seq(Each)
    }
}

impl<'de> Deserialize<'de> for Nodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Nodes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of nodes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Nodes, A::Error> {
                let mut nodes = Nodes::default();
                let mut room = MAX_TEXTS_BYTES;
                while nodes.list.len() < MAX_NODES {
                    let Some(mut node) = list.next_element::<Given>()? else {
                        return Ok(nodes);
                    };
                    if SILENT.contains(&node.role.text()) {
                        continue;
                    }
                    let texts = [&node.name, &node.value, &node.description];
                    let bytes = texts.iter().map(|said| said.text().len()).sum::<usize>();
                    match room.checked_sub(bytes) {
                        Some(left) => room = left,
                        None => {
                            nodes.cut = true;
                            (node.name, node.value, node.description) = Default::default();
                        }
                    }
                    nodes.list.push(node);
                }
                while list.next_element::<IgnoredAny>()?.is_some() {
                    nodes.cut = true;
                }
                Ok(nodes)
            }
        }
        deserializer.deserialize_seq(Each)
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Plain;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_str<E>(self, text: &str) -> Result<Plain, E> {
                let mut end = text.len().min(MAX_TEXT_BYTES);
                while !text.is_char_boundary(end) {
                    end -= 1;
                }
                Ok(Plain(text[..end].into()))
            }

            fn visit_bool<E>(self, on: bool) -> Result<Plain, E> {
                Ok(Plain(on.to_string().into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Plain, E> {
                Ok(Plain(number.to_string().into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Plain, E> {
                Ok(Plain(number.to_string().into()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Plain, E> {
                Ok(Plain(number.to_string().into()))
            }

            fn visit_unit<E>(self) -> Result<Plain, E> {
                Ok(Plain::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Plain, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Plain::default())
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Plain, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Plain::default())
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(nodes: &[serde_json::Value]) -> Nodes {
        let text = json!({"nodes": nodes, "more": {"ignored": [1]}}).to_string();
        serde_json::from_str::<Tree>(&text).unwrap().nodes
    }

    #[test]
    fn what_is_too_much_is_left_out_and_told() {
        let text = |letters: usize| json!({"nodeId": "1", "role": {"value": "StaticText"}, "name": {"value": "ä".repeat(letters)}});
        let nodes = read(&[text(MAX_TEXT_BYTES)]);
        assert_eq!(nodes.list[0].name.text().len(), MAX_TEXT_BYTES);
        assert!(!nodes.cut);
        let many = MAX_TEXTS_BYTES / MAX_TEXT_BYTES;
        let nodes = read(&vec![text(MAX_TEXT_BYTES); many + 1]);
        assert!(nodes.cut && nodes.list[many].name.text().is_empty());
        let bare = vec![json!({"nodeId": "1"}); MAX_NODES + 5];
        let nodes = read(&bare);
        assert_eq!((nodes.list.len(), nodes.cut), (MAX_NODES, true));
        assert!(!read(&bare[..MAX_NODES]).cut);
    }

    #[test]
    fn values_of_any_kind_are_texts() {
        for (value, expected) in [
            (json!("a"), "a"),
            (json!(true), "true"),
            (json!(-3), "-3"),
            (json!(0.5), "0.5"),
            (json!(null), ""),
            (json!([1, {"a": 2}]), ""),
            (json!({"a": [2]}), ""),
        ] {
            let node = json!({"nodeId": "x", "childIds": ["2", "y"], "value": {"type": "t", "value": value}});
            let nodes = read(&[node]);
            assert_eq!(nodes.list[0].value.text(), expected);
            assert_eq!(nodes.list[0].child_ids, [Id(Some(2)), Id(None)]);
        }
    }
}
