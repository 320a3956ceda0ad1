//! What roles are for (node-host specification, section 4.5).

/// Roles of what is worked with; they always get a ref.
pub const INTERACTIVE: [&str; 17] = [
    "button",
    "checkbox",
    "combobox",
    "link",
    "listbox",
    "menuitem",
    "menuitemcheckbox",
    "menuitemradio",
    "option",
    "radio",
    "searchbox",
    "slider",
    "spinbutton",
    "switch",
    "tab",
    "textbox",
    "treeitem",
];

/// Roles that get a ref when they have a name.
pub const CONTENT: [&str; 10] = [
    "article",
    "cell",
    "columnheader",
    "gridcell",
    "heading",
    "listitem",
    "main",
    "navigation",
    "region",
    "rowheader",
];

/// Roles that only hold others together.
pub const STRUCTURAL: [&str; 18] = [
    "application",
    "directory",
    "document",
    "generic",
    "grid",
    "group",
    "ignored",
    "list",
    "menu",
    "menubar",
    "none",
    "presentation",
    "row",
    "rowgroup",
    "table",
    "tablist",
    "toolbar",
    "tree",
];

/// Roles that say nothing by themselves.
pub const SILENT: [&str; 4] = ["generic", "ignored", "none", "presentation"];

/// The browser's own roles that have a word here; its others say nothing by themselves.
pub const OWN_ROLES: [(&str, &str); 8] = [
    ("Canvas", "canvas"),
    ("DisclosureTriangle", "button"),
    ("DisclosureTriangleGrouped", "button"),
    ("Iframe", "iframe"),
    ("IframePresentational", "iframe"),
    ("Audio", "audio"),
    ("PluginObject", "object"),
    ("Video", "video"),
];
