//! Screenshots by size and pixel, and printed documents.

use serde_json::{Value, json};

use crate::node::Node;
use crate::picture::{Picture, file};
use crate::site::Site;
use crate::snapshots::{reference, taken};

const RED: [u8; 3] = [255, 0, 0];
const GREEN: [u8; 3] = [0, 128, 0];
const BLUE: [u8; 3] = [0, 0, 255];
const WHITE: [u8; 3] = [255, 255, 255];
/// Of the labels.
const ORANGE: [u8; 3] = [255, 69, 0];

/// Red in the corner, a green button at 200,100, blue at 50,1500, all of it 800 by 1800.
const BOXES: &str = "<style>html { scrollbar-width: none } body { margin: 0; height: 1800px }
    div, button { position: absolute; border: 0; padding: 0 }</style>
    <div style='left:0;top:0;width:100px;height:60px;background:#f00'></div>
    <button id=green aria-label=Green style='left:200px;top:100px;width:120px;height:80px;background:#008000'></button>
    <div id=blue style='left:50px;top:1500px;width:100px;height:90px;background:#00f'></div>";

/// Shows a page in a window of 800 by 600 pixels.
fn at(node: &mut Node, url: &str) {
    node.show(url);
    let size = json!({"kind": "resize", "width": 800, "height": 600});
    node.post("/act", size).unwrap();
}

#[track_caller]
fn payload(node: &mut Node, body: Value) -> Value {
    node.whole("/screenshot", body.clone())
        .unwrap_or_else(|error| panic!("{body}: {error}"))
}

#[track_caller]
fn shot(node: &mut Node, body: Value) -> Picture {
    Picture::of(&payload(node, body))
}

#[test]
fn a_picture_shows_what_is_seen_the_whole_page_or_one_element() {
    let (mut node, site) = (Node::start(), Site::start());
    let url = site.page("/", "Boxes", BOXES);
    at(&mut node, &url);
    let answer = payload(&mut node, json!({}));
    assert_eq!(
        (&answer["result"]["ok"], &answer["result"]["url"]),
        (&json!(true), &json!(url))
    );
    let seen = Picture::of(&answer);
    assert_eq!((seen.jpeg, seen.size()), (false, (800, 600)));
    seen.is_filled((0, 0, 100, 60), RED);
    seen.is_filled((200, 100, 120, 80), GREEN);
    for (x, y) in [(100, 30), (50, 60), (199, 140), (320, 140), (799, 599)] {
        seen.shows(x, y, WHITE);
    }

    let whole = shot(&mut node, json!({"fullPage": true}));
    assert_eq!((whole.jpeg, whole.size()), (false, (800, 1800)));
    whole.is_filled((0, 0, 100, 60), RED);
    whole.is_filled((50, 1500, 100, 90), BLUE);
    for (x, y) in [(49, 1550), (150, 1550), (100, 1499), (100, 1590)] {
        whole.shows(x, y, WHITE);
    }

    // Elements are scrolled to; a ref and a selector mean the same.
    let snapshot = taken(&mut node, json!({}));
    let green = reference(&snapshot, "Green");
    for (body, size, colour) in [
        (json!({"ref": green}), (120, 80), GREEN),
        (json!({"element": "#green"}), (120, 80), GREEN),
        (json!({"element": "#blue"}), (100, 90), BLUE),
    ] {
        let element = shot(&mut node, body.clone());
        assert_eq!(element.size(), size, "{body}");
        element.is_filled((0, 0, size.0, size.1), colour);
    }
    let scroll = json!({"kind": "evaluate", "fn": "() => scrollTo(0, 1100)"});
    node.post("/act", scroll).unwrap();
    let scrolled = shot(&mut node, json!({}));
    scrolled.is_filled((50, 400, 100, 90), BLUE);
    scrolled.shows(10, 10, WHITE);
    // What is seen stays where it was, whatever was taken meanwhile.
    shot(&mut node, json!({"fullPage": true}));
    shot(&mut node, json!({})).is_filled((50, 400, 100, 90), BLUE);

    for (body, error) in [
        (
            json!({"fullPage": true, "element": "#green"}),
            "fullPage is not supported for element screenshots",
        ),
        (
            json!({"fullPage": true, "ref": green}),
            "fullPage is not supported for element screenshots",
        ),
        (json!({"type": "gif"}), "type must be png|jpeg"),
        (
            json!({"element": "#none", "timeoutMs": 300}),
            "Error: Element \"#none\" not found or not visible. Run a new snapshot to see current page elements.",
        ),
        (
            json!({"ref": "e99"}),
            "Error: Unknown ref \"e99\". Run a new snapshot and use a ref from that snapshot.",
        ),
        (
            json!({"element": "<"}),
            "Error: SyntaxError: Failed to execute 'querySelector' on 'Document': '<' is not a valid selector.",
        ),
        (
            json!({"targetId": "zz"}),
            "tab not found: browser tab \"zz\" not found. Use action=tabs and pass suggestedTargetId, tabId, label, \
             or raw targetId.",
        ),
    ] {
        let refused = node.post("/screenshot", body.clone());
        assert_eq!(refused, Err(format!("Error: {error}")), "{body}");
    }
}

#[test]
fn a_picture_that_is_wanted_as_jpeg_or_would_be_too_large_is_one() {
    let (mut node, site) = (Node::start(), Site::start());
    at(&mut node, &site.page("/", "Boxes", BOXES));
    let jpeg = shot(&mut node, json!({"type": "jpeg"}));
    assert_eq!((jpeg.jpeg, jpeg.size()), (true, (800, 600)));
    // Where a block of 16 pixels has several colours, they are mixed.
    jpeg.is_filled((0, 0, 78, 46), RED);
    jpeg.is_filled((210, 114, 92, 60), GREEN);
    jpeg.shows(500, 300, WHITE);
    let whole = shot(&mut node, json!({"type": "jpeg", "fullPage": true}));
    assert_eq!((whole.jpeg, whole.size()), (true, (800, 1800)));
    whole.is_filled((66, 1506, 76, 76), BLUE);

    // A side of more than 2000 pixels is made to fit: half of everything here.
    let tall = format!("{BOXES}<div style='top:0;width:1px;height:4000px'></div>");
    at(&mut node, &site.page("/tall", "Tall", &tall));
    let half = shot(&mut node, json!({"fullPage": true}));
    assert_eq!((half.jpeg, half.size()), (true, (400, 2000)));
    half.is_filled((114, 66, 28, 12), GREEN);
    half.is_filled((34, 754, 12, 28), BLUE);
    half.shows(200, 1990, WHITE);
    let wide = "<div id=wide style='width:5000px;height:500px;background:#008000'></div>";
    at(&mut node, &site.page("/wide", "Wide", wide));
    let element = shot(&mut node, json!({"element": "#wide"}));
    assert_eq!((element.jpeg, element.size()), (true, (2000, 200)));
    element.is_filled((16, 16, 1960, 160), GREEN);

    // Noise, of which a PNG of this size would have more than 5 MiB; in its corner it is red.
    let noise = "<style>body { margin: 0 }</style><canvas id=c width=1900 height=1500 style='display:block'></canvas>
        <script>const context = c.getContext('2d'), image = context.createImageData(1900, 1500);
        let seed = 1;
        for (let at = 0; at < image.data.length; at++) {
          seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
          image.data[at] = at % 4 === 3 ? 255 : seed >>> 24;
        }
        context.putImageData(image, 0, 0);
        context.fillStyle = '#f00'; context.fillRect(0, 0, 200, 200);</script>";
    at(&mut node, &site.page("/noise", "Noise", noise));
    for body in [
        json!({"fullPage": true}),
        json!({"element": "#c", "type": "png"}),
    ] {
        let answer = payload(&mut node, body);
        let (mime, bytes) = file(&answer);
        let picture = Picture::decode(&bytes);
        assert_eq!((picture.jpeg, &*mime), (true, "image/jpeg"));
        assert!(bytes.len() <= 5 * 1024 * 1024, "{}", bytes.len());
        let (width, height) = picture.size();
        // Smaller only where that is needed, and not out of shape.
        assert!((1000..=1900).contains(&width), "{width}");
        let shape = f64::from(width) / f64::from(height);
        assert!((shape - 1900.0 / 1500.0).abs() < 0.01, "{width}x{height}");
        picture.is_filled((16, 16, 64, 64), RED);
    }
}

#[test]
fn labels_frame_what_they_name_and_stay_out_of_the_next_picture() {
    let (mut node, site) = (Node::start(), Site::start());
    at(&mut node, &site.page("/", "Boxes", BOXES));
    for body in [
        json!({"labels": true}),
        json!({"labels": true, "fullPage": true}),
    ] {
        let answer = payload(&mut node, body.clone());
        assert_eq!(
            (
                &answer["result"]["labels"],
                &answer["result"]["labelsCount"],
                &answer["result"]["labelsSkipped"]
            ),
            (&json!(true), &json!(1), &json!(0)),
            "{body}"
        );
        let labelled = Picture::of(&answer);
        // The frame, two pixels wide, with the button inside and the label above.
        for (x, y, width, height) in [
            (200, 100, 120, 2),
            (200, 178, 120, 2),
            (200, 100, 2, 80),
            (318, 100, 2, 80),
        ] {
            labelled.is_filled((x, y, width, height), ORANGE);
        }
        labelled.is_filled((202, 102, 116, 76), GREEN);
        labelled.is_filled((200, 86, 3, 14), ORANGE);
        labelled.shows(199, 90, WHITE);
        let written = (86..100)
            .flat_map(|y| (203..218).map(move |x| (x, y)))
            .filter(|&(x, y)| labelled.at(x, y) != ORANGE);
        assert!(written.count() > 10, "a text in the label");
    }
    let plain = shot(&mut node, json!({}));
    plain.is_filled((200, 100, 120, 80), GREEN);
    plain.is_filled((200, 80, 120, 20), WHITE);
    let snapshot = node
        .ask(&json!({"path": "/snapshot", "query": {"labels": true}, "timeoutMs": 60_000}))
        .unwrap();
    assert_eq!(snapshot["result"]["imageType"], "png");
    Picture::of(&snapshot).shows(200, 100, ORANGE);
    let element = shot(&mut node, json!({"labels": true, "element": "#green"}));
    assert_eq!(element.size(), (120, 80));
    element.shows(0, 0, ORANGE);
    element.shows(60, 40, GREEN);
}

/// What a document that a browser printed has in its compressed parts, as lines.
fn unpacked(document: &[u8]) -> String {
    let find = |from: usize, what: &[u8]| {
        let mut places = document[from..].windows(what.len());
        places.position(|part| part == what).map(|at| from + at)
    };
    let (mut text, mut at) = (String::new(), 0);
    while let Some(begin) = find(at, b"stream\n") {
        let end = find(begin, b"endstream").unwrap();
        let part = &document[begin + "stream\n".len()..end];
        if let Ok(part) = miniz_oxide::inflate::decompress_to_vec_zlib(part) {
            text.push_str(&String::from_utf8_lossy(&part));
            text.push('\n');
        }
        at = end + "endstream".len();
    }
    text
}

/// The words of such lines, spelled by the document's own table of letters.
fn words(lines: &str) -> Vec<String> {
    let numbers = |line: &str| -> Vec<u32> {
        line.split(['<', '>'])
            .filter_map(|part| u32::from_str_radix(part, 16).ok())
            .collect()
    };
    let mut letters = std::collections::HashMap::new();
    let table = lines.lines().filter(|line| line.starts_with('<'));
    for line in table.filter(|line| line.ends_with('>')) {
        match numbers(line)[..] {
            [glyph, letter] => drop(letters.insert(glyph, letter)),
            [first, last, letter] => {
                letters.extend((first..=last).map(|glyph| (glyph, letter + glyph - first)));
            }
            _ => {}
        }
    }
    let letter = |glyph: &[u8]| {
        let glyph = u32::from_str_radix(std::str::from_utf8(glyph).unwrap(), 16).unwrap();
        char::from_u32(letters[&glyph]).unwrap()
    };
    let mut words: Vec<String> = Vec::new();
    for line in lines.lines() {
        if line.ends_with(" Tm") {
            words.push(String::new());
        } else if let (true, Some(word)) = (line.ends_with("> Tj"), words.last_mut()) {
            let glyphs = line.rsplit_once('<').unwrap().1.trim_end_matches("> Tj");
            word.extend(glyphs.as_bytes().chunks(4).map(letter));
        }
    }
    words
}

#[test]
fn a_document_has_the_pages_and_the_text_of_its_page() {
    let (mut node, site) = (Node::start(), Site::start());
    let body = "<p style='break-after:page'>First</p><p style='background:#f00'>Second</p>";
    let url = site.page("/", "Print", body);
    node.show(&url);
    let answer = node.whole("/pdf", json!({})).unwrap();
    assert_eq!(answer["result"]["url"], json!(url));
    let (mime, bytes) = file(&answer);
    assert_eq!((&*mime, &bytes[..5]), ("application/pdf", &b"%PDF-"[..]));
    let plain = String::from_utf8_lossy(&bytes);
    // Letter, and two of it.
    assert_eq!(plain.matches("/MediaBox [0 0 612 792]").count(), 2);
    assert!(plain.contains("/Count 2") && plain.contains("/Title (Print)"));
    let lines = unpacked(&bytes);
    assert_eq!(words(&lines), ["First", "Second"]);
    assert!(lines.contains(" 1 0 0 rg\n"), "backgrounds are printed");
    let path = answer["result"]["path"].as_str().unwrap();
    let directory = node.home.state().join("media/browser");
    let kept = std::path::Path::new(path);
    assert_eq!(
        (kept.parent(), kept.extension().unwrap().to_str()),
        (Some(&*directory), Some("pdf"))
    );
    let unknown = node.post("/pdf", json!({"targetId": "zz"})).unwrap_err();
    assert!(unknown.starts_with("Error: tab not found: "), "{unknown}");
}
