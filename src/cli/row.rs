//! Reading the rows that list methods answer with: absent and wrongly typed members read as absent.

use std::collections::HashMap;

use serde_json::Value;

use crate::cli::output::text::plain;

/// A text member, not empty.
pub fn text<'a>(row: &'a Value, name: &str) -> Option<&'a str> {
    row.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// A whole number.
pub fn number(row: &Value, name: &str) -> Option<u64> {
    row.get(name)?.as_u64()
}

/// Whether a member is `true`.
pub fn flag(row: &Value, name: &str) -> bool {
    row.get(name).and_then(Value::as_bool) == Some(true)
}

/// A list of texts; `None` when the member is no list.
pub fn words<'a>(row: &'a Value, name: &str) -> Option<Vec<&'a str>> {
    Some(
        row.get(name)?
            .as_array()?
            .iter()
            .filter_map(Value::as_str)
            .collect(),
    )
}

/// The elements of a list member; none when it is no list.
pub fn rows<'a>(document: &'a Value, name: &str) -> &'a [Value] {
    document
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The name a node or device is shown under: display name, else its id, safe for a terminal.
pub fn label(row: &Value) -> String {
    let name = text(row, "displayName")
        .map(plain)
        .filter(|name| !name.trim().is_empty());
    name.unwrap_or_else(|| plain(id(row)))
}

/// The same for tables that have a column for the id: without a name, the program and the beginning of the id.
pub fn short_label(row: &Value) -> String {
    const DIGITS: usize = 8;
    match (text(row, "clientId"), id(row).get(..DIGITS)) {
        (Some(client), Some(digits)) if label(row) == id(row) => {
            plain(&format!("{client} {digits}"))
        }
        _ => label(row),
    }
}

/// Node id, else device id, else nothing.
pub fn id(row: &Value) -> &str {
    text(row, "nodeId")
        .or_else(|| text(row, "deviceId"))
        .unwrap_or_default()
}

/// Rows by their id, the first of each: for lists that are joined.
pub fn by_id(rows: &[Value]) -> HashMap<&str, &Value> {
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        found.entry(id(row)).or_insert(row);
    }
    found
}

/// A cell: the text or nothing.
pub fn cell(row: &Value, name: &str) -> String {
    text(row, name).unwrap_or_default().to_owned()
}
