//! `/screenshot` and `/pdf`.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::context::{Context, Tab};
use super::super::elements::{self, Area};
use super::super::error::BrowserError;
use super::super::files;
use super::super::labels::{self, Count};
use super::super::refs::Element;

/// The longest side of a picture, in its own pixels; what is longer is taken smaller, as JPEG.
const MAX_SIDE: f64 = 2_000.0;

/// Bytes of a picture; a larger one is taken again as JPEG, then smaller.
const MAX_PICTURE_BYTES: usize = 5 * 1024 * 1024;

/// What browsers can draw at once, in CSS pixels.
const MAX_DRAWN: f64 = 16_384.0;

/// Of JPEG pictures.
const QUALITY: u32 = 85;

/// How much smaller a picture is tried that is still too large, and how often.
const SHRINK: f64 = 0.7;
const ATTEMPTS: u32 = 6;

/// How long an element may take to show.
const ELEMENT_LIMIT: Duration = Duration::from_millis(8_000);

/// Bytes of a document read at once.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Bytes of the largest document: no larger file goes to the gateway.
const MAX_DOCUMENT_BYTES: usize = 10 * 1024 * 1024;

/// What is drawn.
struct Shot {
    area: Area,
    /// The area may lie outside of what is seen.
    beyond: bool,
    /// Where in the page what is seen begins.
    corner: (f64, f64),
    /// Picture pixels per CSS pixel at scale 1.
    density: f64,
}

impl Shot {
    /// The scale at which the picture is small enough.
    fn scale(&self) -> f64 {
        let side = self.area.width.max(self.area.height) * self.density;
        (MAX_SIDE / side).min(1.0)
    }
}

/// `POST /screenshot`.
pub fn screenshot(context: &Context<'_>) -> Result<Value, BrowserError> {
    let request = context.request;
    let (named, selector) = (request.body("ref"), request.body("element"));
    let full = request.flag("fullPage");
    if full && (named.is_some() || selector.is_some()) {
        let text = "fullPage is not supported for element screenshots";
        return Err(BrowserError::invalid(text));
    }
    let jpeg = match request.body("type") {
        None | Some("png") => false,
        Some("jpeg") => true,
        Some(_) => return Err(BrowserError::invalid("type must be png|jpeg")),
    };
    let tab = context.tab()?;
    let shot = shot(context, &tab, full, named, selector)?;
    if !request.flag("labels") {
        let path = picture(context, &tab, &shot, jpeg)?;
        return context.result(&tab, json!({"path": path}));
    }
    let mut refs = context.instance.refs().all(&tab.target.id);
    if refs.is_empty() {
        refs = super::snapshot::interactive(context, &tab)?;
    }
    let (path, count) = with_labels(context, &tab, &shot, &refs, jpeg)?;
    let members = json!({
        "path": path, "labels": true, "labelsCount": count.drawn, "labelsSkipped": count.skipped,
    });
    context.result(&tab, members)
}

/// A picture of what is seen of a tab with labels: its path, and how many there are.
///
/// # Errors
/// As [`screenshot`].
pub fn labelled(
    context: &Context<'_>,
    tab: &Tab,
    refs: &[(String, Element)],
) -> Result<(String, Count), BrowserError> {
    let shot = shot(context, tab, false, None, None)?;
    with_labels(context, tab, &shot, refs, false)
}

/// The kind of a picture that was kept.
pub fn image_type(path: &str) -> &'static str {
    if path.ends_with(".png") {
        "png"
    } else {
        "jpeg"
    }
}

fn with_labels(
    context: &Context<'_>,
    tab: &Tab,
    shot: &Shot,
    refs: &[(String, Element)],
    jpeg: bool,
) -> Result<(String, Count), BrowserError> {
    let shoot = || picture(context, tab, shot, jpeg);
    let (corner, area) = (shot.corner, shot.area);
    labels::with_labels(&tab.page, refs, corner, area, context.deadline, shoot)
}

fn shot(
    context: &Context<'_>,
    tab: &Tab,
    full: bool,
    named: Option<&str>,
    selector: Option<&str>,
) -> Result<Shot, BrowserError> {
    let page = &tab.page;
    let element = match (named, selector) {
        (None, None) => None,
        (Some(name), _) => {
            let element = context.instance.refs().find(&tab.target.id, name)?;
            let handle = elements::by_ref(page, name, &element, context.deadline)?;
            Some(elements::wait_for(
                name,
                limit(context),
                context.deadline,
                || elements::area(page, &handle, context.deadline),
            )?)
        }
        (None, Some(selector)) => Some(elements::wait_for(
            selector,
            limit(context),
            context.deadline,
            || match elements::by_selector(page, selector, context.deadline)? {
                Some(handle) => elements::area(page, &handle, context.deadline),
                None => Ok(None),
            },
        )?),
    };
    let metrics = page.call("Page.getLayoutMetrics", json!({}), context.deadline)?;
    let number = |pointer: &str| metrics.pointer(pointer).and_then(Value::as_f64);
    let seen = |name: &str| number(&format!("/cssVisualViewport/{name}")).unwrap_or_default();
    let density = number("/visualViewport/clientWidth").unwrap_or_default() / seen("clientWidth");
    let window = Area {
        x: seen("pageX"),
        y: seen("pageY"),
        width: seen("clientWidth").max(1.0),
        height: seen("clientHeight").max(1.0),
    };
    let area = match element {
        // Elements are placed from the corner of what is seen, pictures from that of the page.
        Some(area) => Area {
            x: area.x + seen("pageX"),
            y: area.y + seen("pageY"),
            width: area.width.min(MAX_DRAWN),
            height: area.height.min(MAX_DRAWN),
        },
        None if full => Area {
            x: 0.0,
            y: 0.0,
            width: number("/cssContentSize/width")
                .unwrap_or_default()
                .clamp(1.0, MAX_DRAWN),
            height: number("/cssContentSize/height")
                .unwrap_or_default()
                .clamp(1.0, MAX_DRAWN),
        },
        None => window,
    };
    Ok(Shot {
        area,
        // What is seen needs no other layout of the page for the picture.
        beyond: !window.holds(&area),
        corner: (seen("pageX"), seen("pageY")),
        density: if density.is_finite() && density > 0.0 {
            density
        } else {
            1.0
        },
    })
}

fn limit(context: &Context<'_>) -> Duration {
    let given = context.request.milliseconds("timeoutMs");
    given.unwrap_or(ELEMENT_LIMIT)
}

/// The path of the picture, which may be a JPEG after all.
fn picture(
    context: &Context<'_>,
    tab: &Tab,
    shot: &Shot,
    mut jpeg: bool,
) -> Result<String, BrowserError> {
    let mut scale = shot.scale();
    jpeg |= scale < 1.0;
    for _ in 0..ATTEMPTS {
        let Area {
            x,
            y,
            width,
            height,
        } = shot.area;
        let mut params = json!({
            "format": if jpeg { "jpeg" } else { "png" },
            "clip": {"x": x, "y": y, "width": width, "height": height, "scale": scale},
            "captureBeyondViewport": shot.beyond,
        });
        if jpeg {
            params["quality"] = QUALITY.into();
        }
        let answer = tab
            .page
            .call("Page.captureScreenshot", params, context.deadline)?;
        let bytes = decoded(&answer)?;
        if bytes.len() <= MAX_PICTURE_BYTES {
            let ending = if jpeg { "jpg" } else { "png" };
            return files::keep(&context.proxy.paths.state_dir, ending, &bytes);
        }
        if jpeg {
            scale *= SHRINK;
        }
        jpeg = true;
    }
    Err(BrowserError::Unexpected(
        "the screenshot does not get small enough".to_owned(),
    ))
}

/// `POST /pdf`.
pub fn pdf(context: &Context<'_>) -> Result<Value, BrowserError> {
    let tab = context.tab()?;
    let params = json!({"printBackground": true, "transferMode": "ReturnAsStream"});
    let answer = tab.page.call("Page.printToPDF", params, context.deadline)?;
    let stream = answer.get("stream").cloned().unwrap_or_default();
    let bytes = drain(context, &tab, &stream);
    let closed = tab
        .page
        .call("IO.close", json!({"handle": stream}), context.deadline);
    let bytes = bytes?;
    closed?;
    let path = files::keep(&context.proxy.paths.state_dir, "pdf", &bytes)?;
    context.result(&tab, json!({"path": path}))
}

fn drain(context: &Context<'_>, tab: &Tab, stream: &Value) -> Result<Vec<u8>, BrowserError> {
    let mut bytes = Vec::new();
    loop {
        let params = json!({"handle": stream, "size": CHUNK_BYTES});
        let answer = tab.page.call("IO.read", params, context.deadline)?;
        let encoded = answer.get("base64Encoded").and_then(Value::as_bool);
        match encoded {
            Some(true) => bytes.extend(decoded(&answer)?),
            _ => bytes.extend(
                answer
                    .get("data")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .bytes(),
            ),
        }
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(BrowserError::Unexpected(
                "the document exceeds 10MB".to_owned(),
            ));
        }
        if answer.get("eof").and_then(Value::as_bool) != Some(false) {
            return Ok(bytes);
        }
    }
}

fn decoded(answer: &Value) -> Result<Vec<u8>, BrowserError> {
    let data = answer
        .get("data")
        .and_then(Value::as_str)
        .unwrap_or_default();
    data_encoding::BASE64
        .decode(data.as_bytes())
        .map_err(|error| BrowserError::Unexpected(format!("the browser sent no base64: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_page_is_drawn_smaller() {
        let scale = |width, height, density| {
            let area = Area {
                x: 0.0,
                y: 0.0,
                width,
                height,
            };
            Shot {
                area,
                beyond: true,
                corner: (0.0, 0.0),
                density,
            }
            .scale()
        };
        assert_eq!(scale(800.0, 600.0, 1.0), 1.0);
        assert_eq!(scale(800.0, 8_000.0, 1.0), 0.25);
        assert_eq!(scale(2_000.0, 10.0, 2.0), 0.5);
    }
}
