//! A small closed-schema checker that words its findings exactly as specification section 1.2.
//!
//! Schemas are constant tables. A value is checked whole first, so that every finding is told at once
//! (missing fields, then unexpected ones, then each field in the order of its table); only then are
//! the fields taken out as typed values. The list is bounded, however long the offending value is.

use serde_json::{Map, Value};

use crate::protocol::{close::truncate, error::ErrorShape};

/// Bytes of findings after which the rest is only counted: a peer must not make us write a book.
const MAX_LIST_BYTES: usize = 2_048;

/// Bytes of one finding; only names chosen by the peer can make it longer.
const MAX_ITEM_BYTES: usize = 256;

/// What a value has to be.
#[derive(Debug)]
pub enum Kind {
    /// Any JSON value.
    Any,
    /// What one of these kinds allows.
    AnyOf(&'static [Kind]),
    /// `true` or `false`.
    Boolean,
    /// Such a text of at most `max` characters, or such a list of at most `max` items.
    Bounded {
        /// What it has to be.
        of: &'static Kind,
        /// Most allowed characters or items.
        max: usize,
    },
    /// Exactly this string.
    Constant(&'static str),
    /// Exactly this number.
    ConstantNumber(i64),
    /// A whole number within these bounds, inclusive.
    Integer {
        /// Smallest allowed value.
        min: i64,
        /// Largest allowed value.
        max: i64,
    },
    /// An array of at least `min` such items.
    List {
        /// What each item has to be.
        of: &'static Kind,
        /// Fewest allowed items.
        min: usize,
    },
    /// An object whose values are all of one kind, under names of the sender's choice.
    Map(&'static Kind),
    /// `null`.
    Null,
    /// Any number.
    Number,
    /// An object with these fields and no others.
    Object(&'static [Field]),
    /// An object with at least these fields.
    Open(&'static [Field]),
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// A string of at least `min` characters; 0 and 1 are used.
    Text {
        /// Fewest allowed characters.
        min: usize,
    },
}

/// `str`: any string.
pub const TEXT: Kind = Kind::Text { min: 0 };
/// `str+`: a non-empty string.
pub const NAME: Kind = Kind::Text { min: 1 };
/// `str|null`.
pub const NULLABLE_TEXT: Kind = Kind::AnyOf(&[TEXT, Kind::Null]);
/// Array of `str+`.
pub const NAMES: Kind = Kind::List { of: &NAME, min: 0 };
/// `int0`: an integer that is not negative.
pub const COUNT: Kind = Kind::Integer {
    min: 0,
    max: i64::MAX,
};

/// One field of an object.
#[derive(Debug)]
pub struct Field {
    name: &'static str,
    kind: Kind,
    required: bool,
}

/// A field that must be present.
pub const fn required(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        required: true,
    }
}

/// A field that may be absent; `null` counts as present.
pub const fn optional(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        required: false,
    }
}

/// Checks `value` and returns every finding joined with `"; "`, bounded in length.
pub fn check(value: &Value, kind: &Kind) -> Result<(), String> {
    let mut findings = Findings::default();
    examine(value, kind, "", &mut findings);
    findings.into_result()
}

/// The object inside `params` after it passed `kind`; absent and `null` params count as `{}`.
/// The error reads `invalid <method> params: <list>`.
pub fn parse_params(
    method: &str,
    params: Option<Value>,
    kind: &Kind,
) -> Result<Fields, ErrorShape> {
    let value = match params {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(value) => value,
    };
    Fields::parse(value, kind)
        .map_err(|list| ErrorShape::invalid(format!("invalid {method} params: {list}")))
}

/// The fields of a checked object, taken out one by one. What the schema requires is there; asking
/// for another type than the schema's yields the same as asking for an absent field.
#[derive(Debug)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Checks `value` against an object kind and opens it; the error is the list of findings.
    pub fn parse(value: Value, kind: &Kind) -> Result<Fields, String> {
        check(&value, kind)?;
        match value {
            Value::Object(map) => Ok(Fields(map)),
            _ => Err(must_be("object")),
        }
    }

    /// Takes an optional string.
    pub fn text(&mut self, name: &str) -> Option<String> {
        match self.0.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Takes a string that the schema requires.
    pub fn required_text(&mut self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    /// Takes an optional array of strings.
    pub fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let Some(Value::Array(items)) = self.0.remove(name) else {
            return None;
        };
        let text = |item| match item {
            Value::String(text) => Some(text),
            _ => None,
        };
        Some(items.into_iter().filter_map(text).collect())
    }

    /// Takes an optional boolean.
    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        self.0.remove(name)?.as_bool()
    }

    /// Takes an optional integer that the schema keeps at or above zero.
    pub fn count(&mut self, name: &str) -> Option<u64> {
        u64::try_from(whole_number(&self.0.remove(name)?)?).ok()
    }

    /// Takes an optional value of any kind.
    pub fn value(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Takes an optional nested object.
    pub fn object(&mut self, name: &str) -> Option<Fields> {
        match self.0.remove(name) {
            Some(Value::Object(map)) => Some(Fields(map)),
            _ => None,
        }
    }
}

/// Findings so far, in words.
#[derive(Default)]
struct Findings {
    list: String,
    omitted: usize,
}

impl Findings {
    fn add(&mut self, path: &str, finding: &str) {
        let place = if path.is_empty() {
            String::new()
        } else {
            format!("at {path}: ")
        };
        self.push(&format!("{place}{finding}"));
    }

    fn push(&mut self, item: &str) {
        if self.list.len() > MAX_LIST_BYTES {
            self.omitted += 1;
            return;
        }
        if !self.list.is_empty() {
            self.list.push_str("; ");
        }
        self.list.push_str(truncate(item, MAX_ITEM_BYTES));
    }

    fn into_result(mut self) -> Result<(), String> {
        if self.omitted > 0 {
            self.list.push_str(&format!("; and {} more", self.omitted));
        }
        if self.list.is_empty() {
            Ok(())
        } else {
            Err(self.list)
        }
    }
}

fn examine(value: &Value, kind: &Kind, path: &str, findings: &mut Findings) {
    match (kind, value) {
        (Kind::Any, _)
        | (Kind::Boolean, Value::Bool(_))
        | (Kind::Null, Value::Null)
        | (Kind::Number, Value::Number(_)) => {}
        (Kind::AnyOf(kinds), _) => examine_any_of(value, kinds, path, findings),
        (Kind::Boolean, _) => findings.add(path, &must_be("boolean")),
        (Kind::Null, _) => findings.add(path, &must_be("null")),
        (Kind::Number, _) => findings.add(path, &must_be("number")),
        (Kind::Bounded { of, max }, value) => examine_bounded(value, of, *max, path, findings),
        (Kind::Constant(word), _) => {
            if value.as_str() != Some(word) {
                findings.add(path, "must be equal to constant");
            }
        }
        (Kind::ConstantNumber(number), _) => {
            if whole_number(value) != Some(i128::from(*number)) {
                findings.add(path, "must be equal to constant");
            }
        }
        (Kind::OneOf(words), _) => {
            if !value.as_str().is_some_and(|word| words.contains(&word)) {
                findings.add(path, "must be equal to one of the allowed values");
            }
        }
        (Kind::Integer { min, max }, _) => examine_integer(value, *min, *max, path, findings),
        (Kind::Text { min }, Value::String(text)) => {
            if text.chars().take(*min).count() < *min {
                findings.add(path, &format!("must NOT have fewer than {min} characters"));
            }
        }
        (Kind::Text { .. }, _) => findings.add(path, &must_be("string")),
        (Kind::List { of, min }, Value::Array(items)) => {
            if items.len() < *min {
                findings.add(path, &format!("must NOT have fewer than {min} items"));
            }
            for (index, item) in items.iter().enumerate() {
                examine(item, of, &format!("{path}/{index}"), findings);
            }
        }
        (Kind::List { .. }, _) => findings.add(path, &must_be("array")),
        (Kind::Map(of), Value::Object(map)) => {
            for (name, item) in map {
                examine(item, of, &below(path, name), findings);
            }
        }
        (Kind::Object(fields), Value::Object(map)) => {
            examine_object(map, fields, true, path, findings);
        }
        (Kind::Open(fields), Value::Object(map)) => {
            examine_object(map, fields, false, path, findings);
        }
        (Kind::Map(_) | Kind::Object(_) | Kind::Open(_), _) => {
            findings.add(path, &must_be("object"));
        }
    }
}

fn examine_object(
    map: &Map<String, Value>,
    fields: &[Field],
    closed: bool,
    path: &str,
    findings: &mut Findings,
) {
    for field in fields {
        if field.required && !map.contains_key(field.name) {
            findings.add(
                path,
                &format!("must have required property '{}'", field.name),
            );
        }
    }
    if closed {
        for name in map.keys() {
            if !fields.iter().any(|field| field.name == name) {
                let place = if path.is_empty() { "root" } else { path };
                let name = truncate(name, MAX_ITEM_BYTES / 2);
                findings.push(&format!("at {place}: unexpected property '{name}'"));
            }
        }
    }
    for field in fields {
        if let Some(value) = map.get(field.name) {
            examine(value, &field.kind, &below(path, field.name), findings);
        }
    }
}

fn examine_any_of(value: &Value, kinds: &[Kind], path: &str, findings: &mut Findings) {
    if kinds.iter().any(|kind| check(value, kind).is_ok()) {
        return;
    }
    for kind in kinds {
        examine(value, kind, path, findings);
    }
    findings.add(path, "must match a schema in anyOf");
}

fn examine_bounded(value: &Value, of: &Kind, max: usize, path: &str, findings: &mut Findings) {
    let (count, noun) = match value {
        Value::String(text) => (text.chars().take(max + 1).count(), "characters"),
        Value::Array(items) => (items.len(), "items"),
        _ => (0, ""),
    };
    if count > max {
        findings.add(path, &format!("must NOT have more than {max} {noun}"));
    } else {
        examine(value, of, path, findings);
    }
}

fn examine_integer(value: &Value, min: i64, max: i64, path: &str, findings: &mut Findings) {
    match whole_number(value) {
        None => findings.add(path, &must_be("integer")),
        Some(number) if number < i128::from(min) => {
            findings.add(path, &format!("must be >= {min}"));
        }
        Some(number) if number > i128::from(max) => {
            findings.add(path, &format!("must be <= {max}"));
        }
        Some(_) => {}
    }
}

/// A JSON number without a fraction; `2.0` and `1e3` are integers to the reference.
fn whole_number(value: &Value) -> Option<i128> {
    let number = value.as_number()?;
    number
        .as_u64()
        .map(i128::from)
        .or_else(|| number.as_i64().map(i128::from))
        .or_else(|| {
            number
                .as_f64()
                .filter(|float| float.fract() == 0.0)
                .map(|float| float as i128)
        })
}

/// `path` extended by one name, escaped as a JSON pointer.
fn below(path: &str, name: &str) -> String {
    let name = truncate(name, MAX_ITEM_BYTES / 2);
    format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn must_be(kind: &str) -> String {
    format!("must be {kind}")
}

#[cfg(test)]
mod tests;
