//! Typed reading of a validated document: the value at a path, or the table's preset.
//!
//! A place that needs a missing variable reads as unset. Reading a path that the table does not have
//! gives the empty value; a test reads every key once.

use std::path::PathBuf;

use serde_json::Value;

use crate::config::expand::Missing;
use crate::config::key::{self, Preset};
use crate::config::kind::integer;
use crate::config::path::join;
use crate::config::word::Word;

/// A validated document with its missing variables.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The document after includes and variables.
    pub document: &'a Value,
    /// Places that read as unset.
    pub missing: &'a Missing,
}

impl<'a> View<'a> {
    /// The value at a path of plain names, unless it is unset.
    pub fn value(self, path: &str) -> Option<&'a Value> {
        if self.missing.contains_key(path) {
            return None;
        }
        path.split('.')
            .try_fold(self.document, |value, name| value.get(name))
    }

    /// `true` or `false`, or the preset.
    pub fn flag(self, path: &str) -> bool {
        self.optional_flag(path)
            .unwrap_or(preset(path) == Preset::Flag(true))
    }

    /// `true` or `false` where the preset follows from other keys.
    pub fn optional_flag(self, path: &str) -> Option<bool> {
        self.value(path)?.as_bool()
    }

    /// A whole number, or the preset.
    pub fn number(self, path: &str) -> u64 {
        self.optional_number(path).unwrap_or(match preset(path) {
            Preset::Number(number) => number,
            _ => 0,
        })
    }

    /// A whole number without a preset.
    pub fn optional_number(self, path: &str) -> Option<u64> {
        integer(self.value(path)?)
    }

    /// A trimmed text; empty is unset.
    pub fn text(self, path: &str) -> Option<String> {
        let text = self.value(path)?.as_str()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A text that names a file; a leading `~/` is the home directory.
    pub fn file(self, path: &str, home: &std::path::Path) -> Option<PathBuf> {
        let text = self.text(path)?;
        Some(match text.strip_prefix("~/") {
            Some(rest) => home.join(rest),
            None => PathBuf::from(text),
        })
    }

    /// A word without a preset.
    pub fn optional_word<W: Word>(self, path: &str) -> Option<W> {
        W::parse(self.value(path)?.as_str()?)
    }

    /// A word, or the preset; `otherwise` is what a table without preset would mean.
    pub fn word<W: Word>(self, path: &str, otherwise: W) -> W {
        let preset = || match preset(path) {
            Preset::Text(word) => W::parse(word),
            _ => None,
        };
        self.optional_word(path)
            .or_else(preset)
            .unwrap_or(otherwise)
    }

    /// A list of trimmed texts; items that are empty or need a missing variable are left out.
    pub fn list(self, path: &str) -> Vec<String> {
        self.optional_list(path).unwrap_or_default()
    }

    /// A list that differs from the empty one when it is unset.
    pub fn optional_list(self, path: &str) -> Option<Vec<String>> {
        let items = self.value(path)?.as_array()?;
        let present = items.iter().enumerate().filter_map(|(at, item)| {
            let text = item.as_str()?.trim();
            let usable =
                !text.is_empty() && !self.missing.contains_key(&join(path, &at.to_string()));
            usable.then(|| text.to_owned())
        });
        Some(present.collect())
    }
}

fn preset(path: &str) -> Preset {
    let segments: Vec<&str> = path.split('.').collect();
    key::find(&segments).map_or(Preset::Unset, |key| key.preset)
}
