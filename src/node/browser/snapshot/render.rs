//! From the list of nodes to what callers get: lines of text with refs, or the nodes themselves
//! (node-host specification, section 4.5).

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::Taken;
use super::clicks::Click;
use super::roles::{CONTENT, INTERACTIVE, OWN_ROLES, SILENT, STRUCTURAL};
use super::text::{name, plain, quoted, tidy, url};
use super::tree::{Node, TEXT};
use crate::node::browser::error::BrowserError;
use crate::node::browser::refs::Element;

/// What a text ends with that was cut.
const TRUNCATED: &str = "\n\n[...TRUNCATED - page too large]";

/// Links at the end of a text.
const MAX_LINKS: usize = 100;

/// Letters of a name that an element has from its texts.
const MAX_CONTENT: usize = 100;

/// Nodes in which texts for such a name are looked for.
const MAX_SEARCHED: usize = 1_000;

/// Elements around a text of which it is looked whether they say it already.
const MAX_NAMING: usize = 16;

/// Nodes that are rendered between two looks at the clock.
const TURN: usize = 256;

/// What a text shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Style {
    /// Only what is worked with, as a flat list.
    pub interactive: bool,
    /// Nothing that only holds others together, unless it has a name or a ref in it.
    pub compact: bool,
    /// No lines deeper than this.
    pub depth: Option<usize>,
    /// Links with their URLs at the end.
    pub urls: bool,
    /// Where links lead stands below them.
    pub targets: bool,
    /// Letters at most.
    pub max_chars: usize,
}

/// A text with its refs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// The lines.
    pub text: String,
    /// It did not fit.
    pub truncated: bool,
    /// What its refs are, in their order.
    pub refs: Vec<(String, Element)>,
    /// How many of them are worked with.
    pub interactive: usize,
}

impl Text {
    /// The refs as callers see them.
    pub fn named(&self) -> Value {
        let members = self.refs.iter().map(|(key, element)| {
            let mut named = json!({"role": element.role, "name": element.name});
            if element.nth > 0 {
                named["nth"] = element.nth.into();
            }
            (key.clone(), named)
        });
        Value::Object(members.collect::<Map<_, _>>())
    }

    /// Numbers about the text.
    pub fn stats(&self) -> Value {
        json!({
            "lines": self.text.lines().count(),
            "chars": self.text.chars().count(),
            "refs": self.refs.len(),
            "interactive": self.interactive,
        })
    }
}

/// A node on its way into a line.
struct Entry<'a> {
    node: &'a Node,
    role: &'a str,
    name: String,
    referred: bool,
    interactive: bool,
    /// Something in it has a ref.
    holds_refs: bool,
}

struct Line {
    depth: usize,
    text: String,
    /// Its place among the refs.
    referred: Option<usize>,
    kind: Kind,
}

#[derive(PartialEq)]
enum Kind {
    Element,
    /// An element that something stands behind already.
    Full,
    Text,
    Target,
}

/// The lines of a page.
///
/// # Errors
/// [`BrowserError::TimedOut`].
pub fn text(taken: &Taken, style: &Style, deadline: Instant) -> Result<Text, BrowserError> {
    let entries = entries(&taken.nodes, deadline)?;
    let mut writer = Writer::new(taken, style);
    for turn in entries.chunks(TURN) {
        in_time(deadline)?;
        turn.iter().for_each(|entry| writer.add(entry));
    }
    let Writer {
        lines, elements, ..
    } = writer;
    let lines = joined(lines);
    let mut text = Text {
        truncated: taken.cut,
        ..Text::default()
    };
    let mut left = style.max_chars;
    for line in &lines {
        let rendered = format!("{}- {}", "  ".repeat(line.depth), line.text);
        let length = rendered.chars().count() + usize::from(!text.text.is_empty());
        if length > left {
            text.truncated = true;
            if line.referred.is_none() {
                let separator = if text.text.is_empty() { "" } else { "\n" };
                let part: String = separator
                    .chars()
                    .chain(rendered.chars())
                    .take(left)
                    .collect();
                text.text.push_str(&part);
            }
            break;
        }
        left -= length;
        if !text.text.is_empty() {
            text.text.push('\n');
        }
        text.text.push_str(&rendered);
        if let Some(element) = line.referred.and_then(|at| elements.get(at)) {
            text.interactive += usize::from(element.1);
            let key = format!("e{}", text.refs.len() + 1);
            text.refs.push((key, element.0.clone()));
        }
    }
    if lines.is_empty() {
        text.text.push_str(if style.interactive {
            "(no interactive elements)"
        } else {
            "(empty)"
        });
    }
    if text.truncated {
        text.text.push_str(TRUNCATED);
    }
    if style.urls {
        text.text.push_str(&links(&entries));
    }
    Ok(text)
}

fn in_time(deadline: Instant) -> Result<(), BrowserError> {
    if Instant::now() < deadline {
        Ok(())
    } else {
        Err(BrowserError::TimedOut)
    }
}

fn entries(nodes: &[Node], deadline: Instant) -> Result<Vec<Entry<'_>>, BrowserError> {
    let mut entries: Vec<Entry<'_>> = Vec::with_capacity(nodes.len());
    // The places of the nodes that the present one is in.
    let mut around: Vec<usize> = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        if at % TURN == 0 {
            in_time(deadline)?;
        }
        around.truncate(node.depth);
        let mut entry = entry(node);
        if entry.referred && entry.name.is_empty() && entry.role == "generic" {
            entry.name = content(&nodes[at..]);
        }
        if entry.referred {
            for outer in around.iter().rev() {
                if std::mem::replace(&mut entries[*outer].holds_refs, true) {
                    break;
                }
            }
        }
        entries.push(entry);
        around.push(at);
    }
    Ok(entries)
}

fn entry(node: &Node) -> Entry<'_> {
    let own = OWN_ROLES.iter().find(|(own, _)| *own == node.role);
    let role = match own {
        Some((_, role)) => role,
        None if node.role == TEXT => TEXT,
        None if node
            .role
            .starts_with(|first: char| first.is_ascii_uppercase()) =>
        {
            "generic"
        }
        None => node.role.as_str(),
    };
    let root = node.role == "RootWebArea";
    let name = if role == TEXT || root {
        String::new()
    } else {
        name(&node.name)
    };
    let interactive = INTERACTIVE.contains(&role);
    let clickable = (node.focusable && role != "iframe") || node.click != Click::None;
    let worked_with = interactive || (clickable && !root && role != TEXT);
    let referred = worked_with || (CONTENT.contains(&role) && !name.is_empty());
    Entry {
        node,
        role,
        name,
        referred: referred && node.backend_node.is_some(),
        interactive: worked_with,
        holds_refs: false,
    }
}

/// What the texts in the first of these nodes say, in short.
fn content(nodes: &[Node]) -> String {
    let depth = nodes.first().map_or(0, |node| node.depth);
    let searched = nodes.iter().take(MAX_SEARCHED).skip(1);
    let inside = searched.take_while(|node| node.depth > depth);
    let mut content = String::new();
    for node in inside.filter(|node| node.role == TEXT) {
        if content.chars().count() > MAX_CONTENT {
            break;
        }
        content.push_str(&node.name);
        content.push(' ');
    }
    let tidied = tidy(&content);
    match tidied.char_indices().nth(MAX_CONTENT) {
        None => tidied,
        Some((end, _)) => format!("{}…", &tidied[..end]),
    }
}

/// The lines in their order, and the elements that some of them refer to, as far as they are written.
struct Writer<'a> {
    taken: &'a Taken,
    style: &'a Style,
    lines: Vec<Line>,
    /// With whether they are worked with.
    elements: Vec<(Element, bool)>,
    /// How many elements have a role and a name so far.
    counts: HashMap<(&'a str, &'a str), usize>,
    /// For every node that the present one is in: the depth of lines in it.
    around: Vec<usize>,
    /// Those of them that say something, by how many nodes they are in.
    naming: Vec<(usize, &'a Entry<'a>)>,
}

impl<'a> Writer<'a> {
    fn new(taken: &'a Taken, style: &'a Style) -> Self {
        Self {
            taken,
            style,
            lines: Vec::new(),
            elements: Vec::new(),
            counts: HashMap::new(),
            around: Vec::new(),
            naming: Vec::new(),
        }
    }

    fn add(&mut self, entry: &'a Entry<'a>) {
        let node = entry.node;
        self.around.truncate(node.depth);
        while self
            .naming
            .last()
            .is_some_and(|(depth, _)| *depth >= node.depth)
        {
            self.naming.pop();
        }
        let depth = self.around.last().copied().unwrap_or(0);
        let too_deep = self.style.depth.is_some_and(|limit| depth > limit);
        if entry.role == TEXT {
            self.around.push(depth);
            let said = tidy(&node.name);
            if !too_deep && !self.style.interactive && !said.is_empty() && !self.is_said(&said) {
                add_text(&mut self.lines, depth, &said);
            }
            return;
        }
        if !is_shown(entry, self.style) {
            self.around.push(depth);
            return;
        }
        let inner = depth + usize::from(!self.style.interactive);
        self.around.push(inner);
        if entry.referred || !node.value.is_empty() {
            self.naming.push((node.depth, entry));
        }
        if !too_deep {
            self.add_element(entry, depth);
        }
    }

    /// Whether an element around says this text already.
    fn is_said(&self, said: &str) -> bool {
        let mut nearest = self.naming.iter().rev().take(MAX_NAMING);
        nearest.any(|(_, outer)| {
            (outer.referred && outer.name.contains(said)) || outer.node.value.contains(said)
        })
    }

    fn add_element(&mut self, entry: &'a Entry<'a>, depth: usize) {
        let nth = self
            .counts
            .entry((entry.role, entry.name.as_str()))
            .or_default();
        let referred = entry.referred.then(|| {
            let element = element(self.taken, entry.node, entry.role, &entry.name, *nth);
            self.elements.push((element, entry.interactive));
            self.elements.len()
        });
        self.lines.push(element_line(entry, depth, referred, *nth));
        *nth += usize::from(entry.referred);
        let target = entry.node.url.as_deref().filter(|_| entry.role == "link");
        if let Some(target) = target.filter(|_| self.style.targets) {
            self.lines.push(Line {
                depth: depth + 1,
                text: format!("/url: {}", url(target)),
                referred: None,
                kind: Kind::Target,
            });
        }
    }
}

/// What a ref of a node stands for.
fn element(taken: &Taken, node: &Node, role: &str, name: &str, nth: usize) -> Element {
    let document = taken.documents.get(&node.frame).cloned();
    Element {
        backend_node: node.backend_node.unwrap_or_default(),
        frame: node.frame.as_deref().map(str::to_owned),
        document: document.unwrap_or_default(),
        role: role.to_owned(),
        name: name.to_owned(),
        nth,
    }
}

fn is_shown(entry: &Entry<'_>, style: &Style) -> bool {
    if entry.node.role == "RootWebArea" {
        return false;
    }
    if style.interactive {
        return entry.referred && entry.interactive;
    }
    if entry.referred || !entry.name.is_empty() {
        return true;
    }
    if SILENT.contains(&entry.role) {
        return false;
    }
    !style.compact || !STRUCTURAL.contains(&entry.role) || entry.holds_refs
}

fn element_line(entry: &Entry<'_>, depth: usize, referred: Option<usize>, nth: usize) -> Line {
    let mut text = entry.role.to_owned();
    // Writing to a text does not fail.
    if !entry.name.is_empty() {
        let _ = write!(text, " {}", quoted(&entry.name));
    }
    if let Some(number) = referred {
        let _ = write!(text, " [ref=e{number}]");
        if nth > 0 {
            let _ = write!(text, " [nth={nth}]");
        }
    }
    for state in &entry.node.states {
        let _ = write!(text, " [{state}]");
    }
    if entry.node.click == Click::Pointer {
        text.push_str(" [cursor=pointer]");
    }
    let value = name(&entry.node.value);
    let full = !value.is_empty() && value != entry.name;
    if full {
        let _ = write!(text, ": {}", plain(&value));
    }
    Line {
        depth,
        text,
        referred: referred.map(|number| number - 1),
        kind: if full { Kind::Full } else { Kind::Element },
    }
}

fn add_text(lines: &mut Vec<Line>, depth: usize, said: &str) {
    if let Some(last) = lines.last_mut() {
        if last.kind == Kind::Text && last.depth == depth {
            last.text.push(' ');
            last.text.push_str(said);
            return;
        }
    }
    lines.push(Line {
        depth,
        text: said.to_owned(),
        referred: None,
        kind: Kind::Text,
    });
}

/// Puts a text that is all there is in an element behind it, and the rest in lines of their own.
fn joined(lines: Vec<Line>) -> Vec<Line> {
    let depths: Vec<usize> = lines.iter().map(|line| line.depth).collect();
    let mut joined: Vec<Line> = Vec::with_capacity(lines.len());
    for (at, mut line) in lines.into_iter().enumerate() {
        if line.kind == Kind::Text {
            let alone = depths.get(at + 1).is_none_or(|next| *next < line.depth);
            match joined.last_mut() {
                Some(outer) if alone && outer.kind == Kind::Element && outer.depth < line.depth => {
                    let _ = write!(outer.text, ": {}", plain(&line.text));
                    outer.kind = Kind::Full;
                    continue;
                }
                _ => line.text = format!("text: {}", plain(&line.text)),
            }
        }
        joined.push(line);
    }
    joined
}

fn links(entries: &[Entry<'_>]) -> String {
    let mut seen = HashSet::new();
    let links = entries.iter().filter(|entry| entry.role == "link");
    let links = links.filter_map(|entry| Some((&entry.name, entry.node.url.as_deref()?)));
    let mut text = String::new();
    for (name, target) in links.filter(|link| seen.insert(*link)).take(MAX_LINKS) {
        if text.is_empty() {
            text.push_str("\n\nLinks:");
        }
        let number = text.lines().count() - 2;
        let _ = write!(text, "\n{number}. {} -> {}", plain(name), url(target));
    }
    text
}

/// The first nodes as they are, with refs.
pub fn nodes(taken: &Taken, limit: usize) -> (Vec<Value>, Vec<(String, Element)>) {
    let mut rendered = Vec::new();
    let mut refs = Vec::new();
    for (node, number) in taken.nodes.iter().take(limit).zip(1..) {
        let key = format!("ax{number}");
        let mut members = json!({"ref": key, "role": node.role, "name": tidy(&node.name)});
        for (member, text) in [("value", &node.value), ("description", &node.description)] {
            if !text.is_empty() {
                members[member] = text.as_str().into();
            }
        }
        if let Some(backend_node) = node.backend_node {
            members["backendDOMNodeId"] = backend_node.into();
            refs.push((key, element(taken, node, &node.role, &name(&node.name), 0)));
        }
        members["depth"] = node.depth.into();
        rendered.push(members);
    }
    (rendered, refs)
}
