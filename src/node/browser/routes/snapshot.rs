//! `/snapshot` (node-host specification, section 4.5).

use serde_json::{Value, json};

use super::super::context::{Context, Tab};
use super::super::error::BrowserError;
use super::super::refs::Element;
use super::super::request::Request;
use super::super::snapshot::render::{self, Style};
use super::super::snapshot::{self, Scope};
use super::capture;

/// Nodes of the format `aria`.
const LIMIT: usize = 500;
const MAX_LIMIT: usize = 2_000;

/// Letters of a text.
const MAX_CHARS: usize = 40_000;
const EFFICIENT_CHARS: usize = 8_000;

/// The longest text that can be asked for.
const CHARS_LIMIT: usize = 1_000_000;

/// Depth of a text in the mode `efficient`.
const EFFICIENT_DEPTH: usize = 6;

/// What a request wants.
#[derive(Debug, PartialEq)]
enum Wanted {
    /// At most so many nodes.
    Nodes(usize),
    Text {
        style: Style,
        labels: bool,
        /// The result has numbers about the text.
        stats: bool,
    },
}

/// `GET /snapshot`.
pub fn snapshot(context: &Context<'_>) -> Result<Value, BrowserError> {
    let wanted = wanted(context.request)?;
    let scope = Scope {
        frame: context.request.query("frame"),
        selector: context.request.query("selector"),
    };
    let tab = context.tab()?;
    let taken = snapshot::take(&tab.page, scope, context.deadline)?;
    let members = match wanted {
        Wanted::Nodes(limit) => {
            let (nodes, refs) = render::nodes(&taken, limit);
            remember(context, &tab, refs);
            json!({"format": "aria", "nodes": nodes})
        }
        Wanted::Text {
            style,
            labels,
            stats,
        } => {
            let text = render::text(&taken, &style, context.deadline)?;
            let mut members = json!({"format": "ai", "snapshot": text.text, "refs": text.named()});
            if text.truncated {
                members["truncated"] = true.into();
            }
            if stats {
                members["stats"] = text.stats();
            }
            remember(context, &tab, text.refs.clone());
            if labels {
                let (path, count) = capture::labelled(context, &tab, &text.refs)?;
                members["labels"] = true.into();
                members["labelsCount"] = count.drawn.into();
                members["labelsSkipped"] = count.skipped.into();
                members["imageType"] = capture::image_type(&path).into();
                members["imagePath"] = path.into();
            }
            members
        }
    };
    context.result(&tab, members)
}

/// The elements that are worked with on a tab, remembered as if they had been asked for.
pub fn interactive(
    context: &Context<'_>,
    tab: &Tab,
) -> Result<Vec<(String, Element)>, BrowserError> {
    let taken = snapshot::take(&tab.page, Scope::default(), context.deadline)?;
    let style = Style {
        interactive: true,
        max_chars: MAX_CHARS,
        ..Style::default()
    };
    let text = render::text(&taken, &style, context.deadline)?;
    remember(context, tab, text.refs.clone());
    Ok(text.refs)
}

fn remember(context: &Context<'_>, tab: &Tab, refs: Vec<(String, Element)>) {
    let mut known = context.instance.refs();
    known.replace(&tab.target.id, refs.into_iter().collect());
}

fn wanted(request: &Request) -> Result<Wanted, BrowserError> {
    let number = |name: &str| {
        let number = request.query(name)?.parse::<f64>().ok()?;
        // Fractions are nobody's, and what is beyond the range is as good as its end.
        (number >= 0.0).then_some(number as usize)
    };
    let efficient = request.query("mode") == Some("efficient");
    let labels = request.query_flag("labels");
    match request.query("format") {
        Some("aria") if labels || efficient => {
            let text = "labels/mode=efficient require format=ai";
            return Err(BrowserError::invalid(text));
        }
        Some("aria") => {
            let limit = number("limit").filter(|limit| *limit > 0);
            return Ok(Wanted::Nodes(limit.unwrap_or(LIMIT).min(MAX_LIMIT)));
        }
        None | Some("ai") => {}
        Some(_) => return Err(BrowserError::invalid("format must be ai|aria")),
    }
    let interactive = efficient || request.query_flag("interactive");
    let compact = efficient || request.query_flag("compact");
    let depth = number("depth").or(efficient.then_some(EFFICIENT_DEPTH));
    let urls = request.query_flag("urls");
    let max_chars = number("maxChars").filter(|chars| *chars > 0);
    let usual = if efficient {
        EFFICIENT_CHARS
    } else {
        MAX_CHARS
    };
    let selected = request.query("selector").is_some();
    let stats = interactive || compact || depth.is_some() || selected || urls || labels;
    let style = Style {
        interactive,
        compact,
        depth,
        urls,
        targets: !stats,
        max_chars: max_chars.unwrap_or(usual).min(CHARS_LIMIT),
    };
    Ok(Wanted::Text {
        style,
        labels,
        stats,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: Value) -> Result<Wanted, String> {
        let request = Request::parse(&json!({"path": "/snapshot", "query": query})).unwrap();
        wanted(&request).map_err(|error| error.to_string())
    }

    #[test]
    fn the_query_says_what_is_wanted() {
        for (query, expected) in [
            (json!({"format": "aria"}), 500),
            (json!({"format": "aria", "limit": 7.9}), 7),
            (json!({"format": "aria", "limit": "9999"}), 2_000),
            (json!({"format": "aria", "limit": 0}), 500),
            (json!({"format": "aria", "limit": "x"}), 500),
        ] {
            assert_eq!(read(query.clone()), Ok(Wanted::Nodes(expected)), "{query}");
        }
        let plain = Style {
            targets: true,
            max_chars: 40_000,
            ..Style::default()
        };
        let efficient = Style {
            interactive: true,
            compact: true,
            depth: Some(6),
            max_chars: 8_000,
            ..Style::default()
        };
        let deep = Style {
            depth: Some(0),
            max_chars: 12,
            ..Style::default()
        };
        for (query, style, stats) in [
            (json!({}), plain.clone(), false),
            (json!({"frame": "#f", "refs": "aria"}), plain, false),
            (json!({"mode": "efficient"}), efficient, true),
            (json!({"depth": 0, "maxChars": 12}), deep, true),
        ] {
            let text = Wanted::Text {
                style,
                labels: false,
                stats,
            };
            assert_eq!(read(query.clone()), Ok(text), "{query}");
        }
        let refused = "labels/mode=efficient require format=ai";
        for query in [
            json!({"format": "aria", "labels": true}),
            json!({"format": "aria", "mode": "efficient"}),
        ] {
            assert_eq!(read(query), Err(refused.to_owned()));
        }
        assert_eq!(
            read(json!({"format": "html"})),
            Err("format must be ai|aria".to_owned())
        );
    }
}
