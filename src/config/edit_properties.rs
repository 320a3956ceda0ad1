//! Properties of editing over random documents: the value arrives, and every other byte stays.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::Value;

use crate::config::edit::{set, unset};
use crate::config::expand::Missing;
use crate::config::path::{ConfigPath, index};
use crate::config::redact::redact;
use crate::config::scan::{Body, Child, scan};
use crate::config::source;
use crate::config::validate::validate;

fn path(text: &str) -> ConfigPath {
    ConfigPath::parse(text).unwrap()
}

/// One way of writing a document; comments carry numbers so that a lost one is seen.
struct Writer {
    choices: Vec<u8>,
    at: usize,
    comments: usize,
}

impl Writer {
    fn choose(&mut self) -> u8 {
        self.at += 1;
        self.choices
            .get(self.at % self.choices.len().max(1))
            .copied()
            .unwrap_or(0)
    }

    fn blank(&mut self) -> String {
        self.comments += 1;
        match self.choose() % 8 {
            0 => format!("/* {{c{} }}*/", self.comments),
            1 => format!(" // ['c{}\n\t", self.comments),
            2 => "\n   ".to_owned(),
            3 => "\r\n".to_owned(),
            4 | 5 => " ".to_owned(),
            _ => String::new(),
        }
    }

    fn write(&mut self, value: &Value) -> String {
        let (open, close, entries): (_, _, Vec<String>) = match value {
            Value::Array(items) => (
                '[',
                ']',
                items.iter().map(|item| self.write(item)).collect(),
            ),
            Value::Object(members) => {
                let entries = members.iter().map(|(name, member)| {
                    let name = match self.choose() % 3 {
                        0 => name.clone(),
                        1 => format!("'{name}'"),
                        _ => format!("\"{name}\""),
                    };
                    format!(
                        "{name}{}:{}{}",
                        self.blank(),
                        self.blank(),
                        self.write(member)
                    )
                });
                ('{', '}', entries.collect())
            }
            scalar => return scalar.to_string(),
        };
        let mut text = open.to_string();
        let count = entries.len();
        for (at, entry) in entries.into_iter().enumerate() {
            text.push_str(&format!("{}{entry}{}", self.blank(), self.blank()));
            if at + 1 < count || self.choose() % 2 == 0 {
                text.push(',');
            }
        }
        text.push_str(&self.blank());
        text.push(close);
        text
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        r"[ -Z\\a-zäß☃]{0,6}".prop_map(Value::from),
    ];
    scalar.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map("[a-d]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_document() -> impl Strategy<Value = (Value, String)> {
    (
        btree_map("[a-d]", any_value(), 0..4),
        vec(any::<u8>(), 1..60),
    )
        .prop_map(|(members, choices)| {
            let document = Value::Object(members.into_iter().collect());
            let mut writer = Writer {
                choices,
                at: 0,
                comments: 0,
            };
            let text = format!(
                "{}{}{}",
                writer.blank(),
                writer.write(&document),
                writer.blank()
            );
            (document, text)
        })
}

fn any_path() -> impl Strategy<Value = ConfigPath> {
    vec("[a-e0-3]", 1..4).prop_map(|segments| path(&segments.join(".")))
}

/// Every comment of a text in order; the generated ones are recognizable by their numbers.
fn comments(text: &str) -> Vec<String> {
    let marks = text.match_indices("{c").chain(text.match_indices("['c"));
    let mut found: Vec<(usize, String)> = marks
        .map(|(at, mark)| {
            (
                at,
                text[at + mark.len()..]
                    .chars()
                    .take_while(char::is_ascii_digit)
                    .collect(),
            )
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, number)| number).collect()
}

/// Where the value of an existing path stands.
fn locate(text: &str, at: &ConfigPath) -> std::ops::Range<usize> {
    let mut node = scan(text).unwrap();
    for segment in at.segments() {
        let children = match node.body {
            Body::Array(children) | Body::Object(children) => children,
            Body::Scalar => Vec::new(),
        };
        let named = |child: &Child| child.key == *segment;
        let place = children.iter().position(named).or(index(segment)).unwrap();
        node = children.into_iter().nth(place).unwrap().value;
    }
    node.start..node.end
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn set_then_read_gives_the_value_and_touches_one_span(
        (document, text) in any_document(), at in any_path(), value in any_value(),
    ) {
        prop_assert_eq!(source::parse(&text).unwrap(), document.clone());
        let Ok(changed) = set(&text, &at, &value) else {
            return Ok(());
        };
        let reread = source::parse(&changed).unwrap();
        prop_assert_eq!(at.find(&reread), Some(&value));
        match at.find(&document) {
            // A replaced value: the text before and after it is the same, byte for byte.
            Some(old) => {
                let span = locate(&text, &at);
                prop_assert!(changed.starts_with(&text[..span.start]));
                prop_assert!(changed.ends_with(&text[span.end..]));
                let back = set(&changed, &at, old).unwrap();
                prop_assert_eq!(source::parse(&back).unwrap(), document);
            }
            // An added value: the old text is still there, in order, with additions only.
            None => {
                let mut rest = changed.chars();
                prop_assert!(text.chars().all(|letter| rest.any(|other| other == letter)));
                prop_assert_eq!(comments(&changed), comments(&text));
            }
        }
    }

    #[test]
    fn unset_removes_the_value_and_only_text(
        (document, text) in any_document(), at in any_path(),
    ) {
        let removed = unset(&text, &at).unwrap();
        prop_assert_eq!(removed.is_some(), at.find(&document).is_some());
        let Some(shorter) = removed else {
            return Ok(());
        };
        let mut rest = text.chars();
        prop_assert!(shorter.chars().all(|letter| rest.any(|other| other == letter)));
        let reread = source::parse(&shorter).unwrap();
        let last_is_index = at.segments().last().is_some_and(|last| index(last).is_some());
        prop_assert!(last_is_index || at.find(&reread).is_none());
    }
}

/// Texts that look like configuration often enough to be parsed now and then.
fn any_text() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(":"),
        Just(","),
        Just(" "),
        Just("\n"),
        Just("\r"),
        Just("\u{2028}"),
        Just("'"),
        Just("\""),
        Just("\\"),
        Just("//"),
        Just("/*"),
        Just("*/"),
        Just("gateway"),
        Just("$include"),
        Just("auth"),
        Just("token"),
        Just("'${A}'"),
        Just("0x1F"),
        Just("-Infinity"),
        Just("NaN"),
        Just(".5e-3"),
        Just("null"),
        Just("\\u0061"),
        Just("ü"),
        Just("\u{feff}"),
        Just("a:"),
        Just("{a:1}"),
    ];
    vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_parser_accepts_can_be_edited(inner in any_text(), wrap in any::<bool>()) {
        let text = if wrap { format!("{{{inner}}}") } else { inner };
        if let Ok(document) = source::parse(&text) {
            prop_assert!(scan(&text).is_some(), "{:?}", text);
            let changed = set(&text, &path("new.key"), &Value::from(1)).unwrap();
            prop_assert_eq!(&source::parse(&changed).unwrap()["new"]["key"], &Value::from(1));
            let back = unset(&changed, &path("new")).unwrap().unwrap();
            prop_assert_eq!(&source::parse(&back).unwrap(), &document);
            validate(&document, &Missing::new());
            redact("", &document);
        }
    }
}
