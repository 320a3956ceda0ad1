//! Every option of a snapshot on one page, alone and with others, and that refs mean the elements they stand behind.

use serde_json::{Value, json};

use crate::act::{act, at};
use crate::node::Node;
use crate::picture::Picture;
use crate::site::Site;
use crate::snapshots::taken;

const PAGE: &str = "<header id=head><h1 id=title>Shop</h1><nav id=nav aria-label=Main><ul><li><a id=home href=/home>Home</a></li>
    <li><a id=more href=/more>More</a></li></ul></nav></header>
    <main><ul id=bare><li>bare</li></ul><section><div><p>Two <b>words</b></p><button id=buy>Buy</button>
    <button id=again>Buy</button></div></section>
    <form id=form aria-label=Order><input id=name value=Ada aria-label=Name><input id=gift type=checkbox checked aria-label=Gift>
    <select id=size aria-label=Size><option>S</option><option selected>M</option></select>
    <textarea id=note aria-label=Note disabled>Hi</textarea></form>
    <table><tr><th>Item</th><td>Tea</td></tr></table></main>";

/// The whole page, with `HOST` for where it is; lines with a bar in front are left out of a compact text.
const LINES: &str = "- banner
  - heading \"Shop\" [ref=e1] [level=1]
  - navigation \"Main\" [ref=e2]
    - list
      - listitem [level=1]
        - link \"Home\" [ref=e3] [cursor=pointer]
          - /url: HOST/home
      - listitem [level=1]
        - link \"More\" [ref=e4] [cursor=pointer]
          - /url: HOST/more
- main
  - list
    - listitem [level=1]: bare
  - paragraph: Two words
  - button \"Buy\" [ref=e5]
  - button \"Buy\" [ref=e6] [nth=1]
  - form \"Order\"
    - textbox \"Name\" [ref=e7]: Ada
    - checkbox \"Gift\" [ref=e8] [checked]
    - combobox \"Size\" [ref=e9]: M
      - option \"S\" [ref=e10]
      - option \"M\" [ref=e11] [selected]
    - textbox \"Note\" [ref=e12] [disabled]: Hi
  - table
    - row
      - rowheader \"Item\" [ref=e13]
      - cell \"Tea\" [ref=e14]";

const INTERACTIVE: &str = "- link \"Home\" [ref=e1] [cursor=pointer]
- link \"More\" [ref=e2] [cursor=pointer]
- button \"Buy\" [ref=e3]
- button \"Buy\" [ref=e4] [nth=1]
- textbox \"Name\" [ref=e5]: Ada
- checkbox \"Gift\" [ref=e6] [checked]
- combobox \"Size\" [ref=e7]: M
- option \"S\" [ref=e8]
- option \"M\" [ref=e9] [selected]
- textbox \"Note\" [ref=e10] [disabled]: Hi";

const FORM: &str = "- form \"Order\"
  - textbox \"Name\" [ref=e1]: Ada
  - checkbox \"Gift\" [ref=e2] [checked]
  - combobox \"Size\" [ref=e3]: M
    - option \"S\" [ref=e4]
    - option \"M\" [ref=e5] [selected]
  - textbox \"Note\" [ref=e6] [disabled]: Hi";

/// Whoever asks for an element of a ref gets the one that has the id or the text.
fn refs_hold(node: &mut Node, snapshot: &Value, expected: &[&str]) {
    let refs = snapshot["refs"].as_object().unwrap();
    assert_eq!(refs.len(), expected.len(), "{snapshot}");
    for ((key, named), expected) in refs.iter().zip(expected) {
        let ask = "it => it.id || it.textContent";
        let answer = act(node, json!({"kind": "evaluate", "fn": ask, "ref": key}));
        assert_eq!(answer["result"], *expected, "{key} {named}");
    }
}

fn site_of(site: &Site) -> String {
    site.url("").trim_end_matches('/').to_owned()
}

#[test]
fn every_option_of_a_text_alone_and_with_others() {
    let (mut node, site) = at(PAGE);
    let host = site_of(&site);
    let without_targets = |text: &str| {
        let lines = text.lines().filter(|line| !line.contains("/url:"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let down_to = |text: &str, depth: usize| {
        let lines = text
            .lines()
            .filter(|line| line.find('-').unwrap() <= 2 * depth);
        lines.collect::<Vec<_>>().join("\n")
    };
    let links = format!("\n\nLinks:\n1. Home -> {host}/home\n2. More -> {host}/more");
    let full = LINES.replace("HOST", &host);
    // Without the list that holds no ref.
    let compact = without_targets(&full).replacen(
        "  - list\n    - listitem [level=1]: bare",
        "  - listitem [level=1]: bare",
        1,
    );
    // Texts deeper than that are not joined to the lines above, refs are counted anew.
    let shallow = "- banner\n  - heading \"Shop\" [ref=e1] [level=1]\n  - navigation \"Main\" [ref=e2]\n- main\n  - list\n  \
                   - paragraph\n  - button \"Buy\" [ref=e3]\n  - button \"Buy\" [ref=e4] [nth=1]\n  - form \"Order\"\n  - table";
    let navigation = "- navigation \"Main\" [ref=e1]\n  - list\n    - listitem [level=1]\n      \
                      - link \"Home\" [ref=e2] [cursor=pointer]\n    - listitem [level=1]\n      \
                      - link \"More\" [ref=e3] [cursor=pointer]";
    let home = "- link \"Home\" [ref=e1] [cursor=pointer]";
    for (query, expected, interactive) in [
        (json!({}), full.clone(), None),
        (json!({"format": "ai", "refs": "role"}), full.clone(), None),
        (json!({"refs": "aria"}), full.clone(), None),
        (json!({"compact": true}), compact.clone(), Some(10)),
        (json!({"compact": "yes", "depth": 9}), compact, Some(10)),
        (
            json!({"interactive": true}),
            INTERACTIVE.to_owned(),
            Some(10),
        ),
        (
            json!({"interactive": "1", "compact": true, "depth": 6}),
            INTERACTIVE.to_owned(),
            Some(10),
        ),
        (
            json!({"mode": "efficient"}),
            INTERACTIVE.to_owned(),
            Some(10),
        ),
        (
            json!({"mode": "efficient", "urls": true}),
            format!("{INTERACTIVE}{links}"),
            Some(10),
        ),
        (json!({"depth": 0}), "- banner\n- main".to_owned(), Some(0)),
        (json!({"depth": 1}), shallow.to_owned(), Some(2)),
        (json!({"depth": 99}), without_targets(&full), Some(10)),
        (json!({"selector": "#form"}), FORM.to_owned(), Some(6)),
        (
            json!({"selector": "#form", "depth": 1}),
            down_to(FORM, 1).replace("e6", "e4"),
            Some(4),
        ),
        (
            json!({"selector": "#form", "compact": true, "interactive": true}),
            {
                let flat = FORM.lines().skip(1).map(str::trim_start);
                flat.collect::<Vec<_>>().join("\n")
            },
            Some(6),
        ),
        (
            json!({"selector": "#nav", "urls": true, "compact": true}),
            format!("{navigation}{links}"),
            Some(2),
        ),
        (
            json!({"selector": "#home", "urls": true}),
            format!("{home}\n\nLinks:\n1. Home -> {host}/home"),
            Some(1),
        ),
        (
            json!({"selector": "p", "interactive": true}),
            "(no interactive elements)".to_owned(),
            Some(0),
        ),
        (json!({"selector": "title"}), "(empty)".to_owned(), Some(0)),
        (
            json!({"maxChars": 60}),
            "- banner\n  - heading \"Shop\" [ref=e1] [level=1]\n\n[...TRUNCATED - page too large]"
                .to_owned(),
            None,
        ),
        (
            json!({"mode": "efficient", "maxChars": 60}),
            format!("{home}\n\n[...TRUNCATED - page too large]"),
            Some(1),
        ),
    ] {
        let snapshot = taken(&mut node, query.clone());
        assert_eq!(snapshot["snapshot"], expected, "{query}");
        let refs = snapshot["refs"].as_object().unwrap().len();
        assert_eq!(refs, expected.matches("[ref=e").count(), "{query}");
        let stats = interactive.map_or(Value::Null, |interactive| {
            json!({"lines": expected.lines().count(), "chars": expected.chars().count(), "refs": refs,
                "interactive": interactive})
        });
        assert_eq!(snapshot["stats"], stats, "{query}");
        let truncated = expected.contains("TRUNCATED");
        assert_eq!(snapshot["truncated"] == true, truncated, "{query}");
        assert_eq!(
            (&snapshot["format"], &snapshot["url"]),
            (&json!("ai"), &json!(site.url("/")))
        );
    }
    let all = taken(&mut node, json!({}));
    let ids = [
        "title", "nav", "home", "more", "buy", "again", "name", "gift", "size", "S", "M", "note",
        "Item", "Tea",
    ];
    refs_hold(&mut node, &all, &ids);
    let some = taken(&mut node, json!({"mode": "efficient"}));
    refs_hold(
        &mut node,
        &some,
        &[
            "home", "more", "buy", "again", "name", "gift", "size", "S", "M", "note",
        ],
    );
}

#[test]
fn nodes_of_a_page_or_a_part_of_it() {
    let (mut node, _site) = at(PAGE);
    let rows = |node: &mut Node, query: Value| {
        let snapshot = taken(node, query);
        assert_eq!(snapshot["format"], "aria");
        let nodes = snapshot["nodes"].as_array().unwrap();
        let row = |node: &Value| {
            assert!(node["backendDOMNodeId"].is_u64(), "{node}");
            let text = |name: &str| node[name].as_str().unwrap().to_owned();
            (
                text("ref"),
                text("role"),
                text("name"),
                node["depth"].as_u64().unwrap(),
            )
        };
        nodes.iter().map(row).collect::<Vec<_>>()
    };
    let row = |number: usize, role: &str, name: &str, depth: u64| {
        (
            format!("ax{number}"),
            role.to_owned(),
            name.to_owned(),
            depth,
        )
    };
    let all = rows(&mut node, json!({"format": "aria"}));
    assert_eq!(
        all[..5],
        [
            row(1, "RootWebArea", "Act", 0),
            row(2, "banner", "", 1),
            row(3, "heading", "Shop", 2),
            row(4, "StaticText", "Shop", 3),
            row(5, "navigation", "Main", 2),
        ]
    );
    assert_eq!(
        rows(&mut node, json!({"format": "aria", "limit": 3})),
        all[..3]
    );
    assert_eq!(
        rows(&mut node, json!({"format": "aria", "limit": "x"})),
        all
    );
    let part = rows(
        &mut node,
        json!({"format": "aria", "selector": "#nav", "limit": 4}),
    );
    assert_eq!(
        part,
        [
            row(1, "navigation", "Main", 0),
            row(2, "list", "", 1),
            row(3, "listitem", "", 2),
            row(4, "link", "Home", 3)
        ]
    );
    let given = json!({"kind": "evaluate", "fn": "it => it.id", "ref": "ax4"});
    assert_eq!(act(&mut node, given)["result"], "home");
    let snapshot = taken(&mut node, json!({"format": "aria", "selector": "#name"}));
    assert_eq!(snapshot["nodes"][0]["value"], "Ada");
}

#[test]
fn labels_go_with_every_other_option() {
    let (mut node, site) = (Node::start(), Site::start());
    let inner = "<style>body { margin: 0 }</style><button style='width:90px;height:30px;border:0;background:#008000'
        aria-label=Inner></button>";
    site.page("/inner", "Inner", inner);
    let body = format!(
        "<style>body {{ margin: 0 }} iframe {{ border: 0; position: absolute; left: 100px; top: 200px }}</style>
         <h1>Head</h1><button>Outer</button><iframe src='{}'></iframe>",
        site.named("/inner")
    );
    node.show(&site.page("/", "Labels", &body));
    act(
        &mut node,
        json!({"kind": "resize", "width": 800, "height": 600}),
    );
    for (query, refs, labels) in [
        (json!({"labels": true}), 3, 3),
        (json!({"labels": true, "mode": "efficient"}), 2, 2),
        (
            json!({"labels": true, "frame": "iframe", "interactive": true}),
            1,
            1,
        ),
        (
            json!({"labels": true, "selector": "h1", "compact": true, "depth": 3, "urls": true}),
            1,
            1,
        ),
        (json!({"labels": true, "selector": "title"}), 0, 0),
    ] {
        let request = json!({"path": "/snapshot", "query": query, "timeoutMs": 60_000});
        let payload = node.ask(&request).unwrap();
        let result = &payload["result"];
        assert_eq!(result["refs"].as_object().unwrap().len(), refs, "{query}");
        assert_eq!(
            (
                &result["labels"],
                &result["labelsCount"],
                &result["labelsSkipped"],
                &result["imageType"]
            ),
            (&json!(true), &json!(labels), &json!(0), &json!("png")),
            "{query}"
        );
        assert!(result["stats"].is_object(), "{query}");
        // The button in the frame is framed where it is, if it is named.
        let picture = Picture::of(&payload);
        let framed = result["refs"].to_string().contains("Inner");
        let (edge, inside) = ([255, 69, 0], [0, 128, 0]);
        picture.shows(100, 200, if framed { edge } else { inside });
        picture.shows(189, 229, if framed { edge } else { inside });
        picture.shows(145, 215, inside);
    }
}
