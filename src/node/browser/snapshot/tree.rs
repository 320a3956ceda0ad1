//! The accessibility tree of a page as a flat list in reading order, without what says nothing
//! (node-host specification, section 4.5).
//!
//! Pure over the answers of `Accessibility.getFullAXTree` and `DOMSnapshot.captureSnapshot`. Nothing here recurses: how
//! deep a page is nested is up to the page.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

/// Role of a piece of text.
pub const TEXT: &str = "StaticText";

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

/// One node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// How many nodes of the list it is in.
    pub depth: usize,
    /// Its role as the browser calls it; `unknown` without one.
    pub role: String,
    /// Its accessible name, as the page gives it.
    pub name: String,
    /// What it holds, as the page gives it.
    pub value: String,
    /// More about it, as the page gives it.
    pub description: String,
    /// Where a link leads.
    pub url: Option<String>,
    /// `level=1`, `checked` and the like.
    pub states: Vec<String>,
    /// The browser's own id of its node in the page.
    pub backend_node: Option<u64>,
    /// The frame whose session reaches it; `None` is the page's own.
    pub frame: Option<String>,
    /// The keyboard reaches it.
    pub focusable: bool,
    /// How it takes the mouse, whatever its role.
    pub click: Click,
}

impl Node {
    /// Whether it holds a frame.
    pub fn is_frame(&self) -> bool {
        ["Iframe", "IframePresentational"].contains(&self.role.as_str())
    }
}

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

/// What is known of the elements of a page beside their roles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// How elements take the mouse.
    pub clicks: HashMap<u64, Click>,
    /// An element that stays in the list even when it says nothing.
    pub kept: Option<u64>,
}

/// The tree of one frame as a list; the root is first.
pub fn flatten(answer: &Value, frame: Option<&str>, marks: &Marks) -> Vec<Node> {
    let given = answer.get("nodes").and_then(Value::as_array);
    let given: Vec<&Value> = given.into_iter().flatten().collect();
    let by_id: HashMap<&str, &Value> = given
        .iter()
        .filter_map(|node| Some((id(node)?, *node)))
        .collect();
    let children: HashSet<&str> = given.iter().flat_map(|node| child_ids(node)).collect();
    let roots = given.iter().filter_map(|node| id(node));
    let root = roots.into_iter().find(|id| !children.contains(id));
    let mut open: Vec<(&str, usize)> = root.into_iter().map(|root| (root, 0)).collect();
    let mut seen = HashSet::new();
    let mut list = Vec::new();
    while let Some((id, depth)) = open.pop() {
        let Some(given) = by_id.get(id).filter(|_| seen.insert(id)) else {
            continue;
        };
        if SILENT.contains(&text(given, "/role/value")) {
            continue;
        }
        let mut inner = depth;
        if let Some(node) = node(given, depth, frame, marks) {
            list.push(node);
            inner += 1;
        }
        let children: Vec<&str> = child_ids(given).collect();
        open.extend(children.into_iter().rev().map(|child| (child, inner)));
    }
    list
}

fn node(given: &Value, depth: usize, frame: Option<&str>, marks: &Marks) -> Option<Node> {
    let backend_node = given.get("backendDOMNodeId").and_then(Value::as_u64);
    let click = backend_node.and_then(|id| marks.clicks.get(&id)).copied();
    let ignored = given.get("ignored").and_then(Value::as_bool) == Some(true);
    if ignored {
        let kept = backend_node.is_some() && backend_node == marks.kept;
        let clickable = click.is_some() && !is_hidden(given);
        if !kept && !clickable {
            return None;
        }
    }
    let role = match text(given, "/role/value") {
        _ if ignored => "generic",
        "" => "unknown",
        role => role,
    };
    Some(Node {
        depth,
        role: role.to_owned(),
        name: text(given, "/name/value").to_owned(),
        value: written(given.pointer("/value/value")),
        description: text(given, "/description/value").to_owned(),
        url: property(given, "url").and_then(|url| Some(url.as_str()?.to_owned())),
        states: states(given),
        backend_node,
        frame: frame.map(str::to_owned),
        focusable: property(given, "focusable").and_then(Value::as_bool) == Some(true),
        click: click.unwrap_or_default(),
    })
}

fn is_hidden(given: &Value) -> bool {
    let reasons = given.get("ignoredReasons").and_then(Value::as_array);
    let mut reasons = reasons.into_iter().flatten();
    reasons.any(|reason| HIDDEN.contains(&text(reason, "/name")))
}

fn states(given: &Value) -> Vec<String> {
    let mut states = Vec::new();
    if let Some(level) = property(given, "level").and_then(Value::as_u64) {
        states.push(format!("level={level}"));
    }
    for name in ["checked", "pressed"] {
        match property(given, name).map(|value| written(Some(value))) {
            Some(value) if value == "true" => states.push(name.to_owned()),
            Some(value) if value == "mixed" => states.push(format!("{name}=mixed")),
            _ => {}
        }
    }
    for name in ["disabled", "expanded", "selected"] {
        if property(given, name).and_then(Value::as_bool) == Some(true) {
            states.push(name.to_owned());
        }
    }
    states
}

fn property<'a>(given: &'a Value, name: &str) -> Option<&'a Value> {
    let properties = given.get("properties")?.as_array()?;
    let found = properties
        .iter()
        .find(|property| text(property, "/name") == name)?;
    found.pointer("/value/value")
}

fn id(given: &Value) -> Option<&str> {
    given.get("nodeId")?.as_str()
}

fn child_ids(given: &Value) -> impl DoubleEndedIterator<Item = &str> {
    let ids = given.get("childIds").and_then(Value::as_array);
    ids.into_iter().flatten().filter_map(Value::as_str)
}

fn text<'a>(given: &'a Value, pointer: &str) -> &'a str {
    let text = given.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default()
}

fn written(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// How the elements of a page and of its frames in the same process take the mouse, from a snapshot with the
/// computed style `cursor`.
pub fn clicks(snapshot: &Value) -> HashMap<u64, Click> {
    let strings = snapshot.get("strings").and_then(Value::as_array);
    let string = |index: &Value| {
        let index = usize::try_from(index.as_i64()?).ok()?;
        strings?.get(index)?.as_str()
    };
    let documents = snapshot.get("documents").and_then(Value::as_array);
    let mut clicks = HashMap::new();
    for document in documents.into_iter().flatten() {
        clicks_of(document, &string, &mut clicks);
    }
    clicks
}

fn clicks_of<'a>(
    document: &Value,
    string: &impl Fn(&Value) -> Option<&'a str>,
    clicks: &mut HashMap<u64, Click>,
) {
    let list = |pointer: &str| {
        let list = document.pointer(pointer).and_then(Value::as_array);
        list.map(Vec::as_slice).unwrap_or_default()
    };
    let number = |value: &Value| usize::try_from(value.as_u64()?).ok();
    let (parents, names) = (list("/nodes/parentIndex"), list("/nodes/nodeName"));
    let attributes = list("/nodes/attributes");
    let heard: HashSet<usize> = list("/nodes/isClickable/index")
        .iter()
        .filter_map(number)
        .collect();
    let placed = list("/layout/nodeIndex").iter().zip(list("/layout/styles"));
    let pointed: HashSet<usize> = placed
        .filter(|(_, styles)| styles.get(0).and_then(string) == Some("pointer"))
        .filter_map(|(index, _)| number(index))
        .collect();
    for (index, backend_node) in list("/nodes/backendNodeId").iter().enumerate() {
        let name = names.get(index).and_then(string).unwrap_or("#");
        // What a whole page listens for is not about any of its elements.
        if name.starts_with('#') || ["HTML", "BODY"].contains(&name) {
            continue;
        }
        // Style and editing are inherited: only the outermost element counts.
        let parent = parents.get(index).and_then(number);
        let outermost = |all: &HashSet<usize>| {
            all.contains(&index) && !parent.is_some_and(|parent| all.contains(&parent))
        };
        let pairs = attributes.get(index).and_then(Value::as_array);
        let mut own = pairs.into_iter().flatten().step_by(2).filter_map(string);
        let click = if outermost(&pointed) {
            Click::Pointer
        } else if outermost(&heard) || own.any(|name| name == "onclick") {
            Click::Heard
        } else {
            continue;
        };
        if let Some(id) = backend_node.as_u64() {
            clicks.insert(id, click);
        }
    }
}
