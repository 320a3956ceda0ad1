//! The chain through a trail: every line carries its number and a SHA-256 over the line before it and
//! itself, so that a line that was changed, removed or put in later shows. Pure.
//!
//! A line ends with `,"seq":<number>[,"prev":"<hex>"],"chain":"<hex>"}`. `chain` is the SHA-256 of the chain
//! before it and of the line's own bytes in front of `,"chain"`. What stands between two chained lines (a
//! line that a crash tore) goes into the chain of the next one. The first line of a file that follows another
//! one repeats in `prev` what it continues, so that it can be checked when the other file is gone.
//!
//! It is no seal against whoever may write the file and computes the chain anew from there; for that the end
//! of the chain has to be known elsewhere.

use std::fmt;

use serde_json::Value;

use crate::identity::digest::sha256_hex;

/// What stands before the chain in a line.
const BEFORE_CHAIN: &str = ",\"chain\":\"";

/// What stands behind it.
const BEHIND_CHAIN: &str = "\"}";

/// The end of a chain: what the next line continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The number of the line, from 1.
    pub seq: u64,
    /// Its chain, 64 hex digits.
    pub chain: String,
}

/// Where a line stands in a trail of several files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index of the file, the oldest first.
    pub file: usize,
    /// Line in that file, from 1.
    pub line: u64,
}

/// Why a trail is not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The line is not what was written.
    Altered,
    /// Lines that were written are not there.
    Missing {
        /// Number of the first one.
        from: u64,
        /// Number of the last one.
        to: u64,
    },
    /// A line without a chain among chained ones.
    NotChained,
    /// A line that was there before, or one out of order.
    Repeated {
        /// Its number.
        seq: u64,
    },
    /// A line that cannot be read and that no crash explains.
    Unreadable,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Altered => write!(out, "this line was changed after it was written"),
            Fault::Missing { from, to } if from == to => {
                write!(out, "line number {from} is missing before this line")
            }
            Fault::Missing { from, to } => {
                write!(
                    out,
                    "line numbers {from} to {to} are missing before this line"
                )
            }
            Fault::NotChained => write!(out, "this line was put in: it carries no chain"),
            Fault::Repeated { seq } => write!(
                out,
                "line number {seq} stands here again, or in another order than it was written in"
            ),
            Fault::Unreadable => {
                write!(out, "this line cannot be read, and no crash explains it")
            }
        }
    }
}

impl Fault {
    /// One word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Fault::Altered => "altered",
            Fault::Missing { .. } => "missing",
            Fault::NotChained => "not-chained",
            Fault::Repeated { .. } => "repeated",
            Fault::Unreadable => "unreadable",
        }
    }
}

/// The line that continues `previous`, without a line break, and its link. `entry` is a JSON object with at
/// least one member, on one line; `between`: the bytes of the trail since the line of `previous`;
/// `opens_file`: whether it is the first line of its file.
pub fn seal(
    previous: Option<&Link>,
    between: &[u8],
    entry: &str,
    opens_file: bool,
) -> (String, Link) {
    let seq = previous.map_or(1, |link| link.seq + 1);
    let before = continued(previous, between);
    let mut line = entry.strip_suffix('}').unwrap_or(entry).to_owned();
    line.push_str(&format!(",\"seq\":{seq}"));
    if opens_file && !before.is_empty() {
        line.push_str(&format!(",\"prev\":\"{before}\""));
    }
    let chain = sum(&before, line.as_bytes());
    line.push_str(BEFORE_CHAIN);
    line.push_str(&chain);
    line.push_str(BEHIND_CHAIN);
    (line, Link { seq, chain })
}

/// The link of a line, if it carries one; says nothing about whether it is right.
pub fn link_of(line: &[u8]) -> Option<Link> {
    match Shape::of(line) {
        Shape::Chained { seq, chain, .. } => Some(Link { seq, chain }),
        Shape::Fragment | Shape::Plain(_) => None,
    }
}

/// What the chain of the next line starts from.
fn continued(previous: Option<&Link>, between: &[u8]) -> String {
    match previous {
        None => String::new(),
        Some(link) if between.is_empty() => link.chain.clone(),
        Some(link) => sum(&link.chain, between),
    }
}

fn sum(before: &str, bytes: &[u8]) -> String {
    sha256_hex(&[before.as_bytes(), bytes].concat())
}

/// What a line looks like.
enum Shape<'a> {
    Chained {
        entry: Value,
        seq: u64,
        prev: Option<String>,
        chain: String,
        /// What the chain is over; nothing when the line does not end as it was written.
        body: &'a [u8],
    },
    /// No JSON object.
    Fragment,
    /// An object without a chain.
    Plain(Value),
}

impl Shape<'_> {
    fn of(line: &[u8]) -> Shape<'_> {
        let entry: Value = match serde_json::from_slice(line) {
            Ok(entry @ Value::Object(_)) => entry,
            _ => return Shape::Fragment,
        };
        let text = |name: &str| entry[name].as_str().map(str::to_owned);
        let Some(chain) = text("chain") else {
            return Shape::Plain(entry);
        };
        let end = format!("{BEFORE_CHAIN}{chain}{BEHIND_CHAIN}");
        Shape::Chained {
            body: line.strip_suffix(end.as_bytes()).unwrap_or_default(),
            seq: entry["seq"].as_u64().unwrap_or_default(),
            prev: text("prev"),
            chain,
            entry,
        }
    }
}

/// What was found in a trail so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines that carry the chain.
    pub chained: u64,
    /// Lines from before there was a chain.
    pub not_chained: u64,
    /// Lines that a crash tore.
    pub torn: u64,
    /// Number of the first chained line.
    pub first: Option<u64>,
}

/// Checks a trail line by line, the oldest first.
#[derive(Debug)]
pub struct Verifier {
    /// Whether older lines may have been rotated away.
    rotated: bool,
    link: Option<Link>,
    between: Vec<u8>,
    /// Lines that no chained line has confirmed as torn yet: the first one, and whether the last one ended.
    pending: Option<(Place, bool)>,
    tally: Tally,
    lines: u64,
}

impl Verifier {
    /// `rotated`: whether the trail may begin in the middle, because its oldest files go.
    pub fn new(rotated: bool) -> Verifier {
        Verifier {
            rotated,
            link: None,
            between: Vec::new(),
            pending: None,
            tally: Tally::default(),
            lines: 0,
        }
    }

    /// Takes the next line without its line break; `ended`: whether it had one. Answers what it says, when it
    /// is a line of the trail.
    ///
    /// # Errors
    /// The first break, with its place.
    pub fn take(
        &mut self,
        place: Place,
        line: &[u8],
        ended: bool,
    ) -> Result<Option<Value>, (Place, Fault)> {
        self.lines += 1;
        match Shape::of(line) {
            Shape::Fragment => {
                if self.link.is_some() {
                    let first = self.pending.map_or(place, |(first, _)| first);
                    self.pending = Some((first, ended));
                    self.keep(line, ended);
                } else {
                    self.tally.not_chained += 1;
                }
                Ok(None)
            }
            Shape::Plain(_) if self.link.is_some() => Err((place, Fault::NotChained)),
            Shape::Plain(entry) => {
                self.tally.not_chained += 1;
                Ok(Some(entry))
            }
            Shape::Chained {
                entry,
                seq,
                prev,
                chain,
                body,
            } => {
                self.check(seq, prev, &chain, body)
                    .map_err(|fault| match self.pending {
                        // The chain would fit if a crash had torn that line.
                        Some((first, _)) => (first, Fault::Unreadable),
                        None => (place, fault),
                    })?;
                self.tally.torn += u64::from(self.pending.take().is_some());
                self.tally.chained += 1;
                self.tally.first.get_or_insert(seq);
                self.link = Some(Link { seq, chain });
                self.between.clear();
                Ok(Some(entry))
            }
        }
    }

    /// The link of the last line that was taken and right.
    pub fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// The end of the trail: what was found, and the end of its chain.
    ///
    /// # Errors
    /// A last line that cannot be read although it is a whole one.
    pub fn finish(mut self) -> Result<(Tally, Option<Link>), (Place, Fault)> {
        match self.pending {
            Some((place, true)) => return Err((place, Fault::Unreadable)),
            Some((_, false)) => self.tally.torn += 1,
            None => {}
        }
        Ok((self.tally, self.link))
    }

    fn keep(&mut self, line: &[u8], ended: bool) {
        self.between.extend_from_slice(line);
        if ended {
            self.between.push(b'\n');
        }
    }

    fn check(&self, seq: u64, prev: Option<String>, chain: &str, body: &[u8]) -> Result<(), Fault> {
        let expected = self.link.as_ref().map_or(1, |link| link.seq + 1);
        let begins_late = self.link.is_none() && self.rotated && self.lines == 1 && prev.is_some();
        let before = match prev {
            Some(prev) if begins_late => prev,
            _ => continued(self.link.as_ref(), &self.between),
        };
        if seq > expected && !begins_late {
            return Err(Fault::Missing {
                from: expected,
                to: seq - 1,
            });
        }
        if seq < expected {
            return Err(Fault::Repeated { seq });
        }
        match sum(&before, body) == chain {
            true => Ok(()),
            false => Err(Fault::Altered),
        }
    }
}

#[cfg(test)]
mod tests;
