//! QR codes as text for a terminal and as SVG. Pure: a text in, a picture out.

use std::fmt::Write;

use qrcodegen::{QrCode, QrCodeEcc};

/// Light modules around the code, on every side (ISO/IEC 18004).
const QUIET: i32 = 4;

/// Pixels of one module in the SVG at its own size.
const MODULE_PIXELS: i32 = 8;

/// White on black whatever the terminal's theme, and back.
const PAPER: (&str, &str) = ("\u{1b}[38;5;231;48;5;16m", "\u{1b}[0m");

/// A text as a square of modules.
pub struct Picture {
    code: QrCode,
}

impl Picture {
    /// The picture of a text; None when it is too long for any (about 2,300 bytes).
    pub fn of(text: &str) -> Option<Picture> {
        let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
        Some(Picture { code })
    }

    /// Characters of one line of [`Picture::half_blocks`].
    pub fn width(&self) -> usize {
        usize::try_from(self.code.size() + 2 * QUIET).unwrap_or(usize::MAX)
    }

    /// Two modules in one character; light ones are drawn, as on a dark terminal.
    pub fn half_blocks(&self, color: bool) -> String {
        let (open, close) = if color { PAPER } else { ("", "") };
        let range = -QUIET..self.code.size() + QUIET;
        let mut out = String::new();
        for y in range.clone().step_by(2) {
            out += open;
            for x in range.clone() {
                // What lies below the last line is paper only where paper is still to come.
                let lower = range.contains(&(y + 1)) && self.is_light(x, y + 1);
                out.push(match (self.is_light(x, y), lower) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                });
            }
            out += close;
            out.push('\n');
        }
        out
    }

    /// A complete SVG document with a final newline.
    pub fn svg(&self) -> String {
        let side = self.code.size() + 2 * QUIET;
        let pixels = side * MODULE_PIXELS;
        let mut dark = String::new();
        for y in 0..self.code.size() {
            for x in 0..self.code.size() {
                if !self.is_light(x, y) {
                    // Writing to a string cannot fail.
                    let _ = write!(dark, "M{} {}h1v1h-1z", x + QUIET, y + QUIET);
                }
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{pixels}\" height=\"{pixels}\" \
             viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\n\
             <rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/>\n<path fill=\"#000\" d=\"{dark}\"/>\n</svg>\n"
        )
    }

    /// Outside the code everything is paper.
    fn is_light(&self, x: i32, y: i32) -> bool {
        !self.code.get_module(x, y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an independent reader sees in a picture of `side` modules.
    fn read(side: usize, is_light: impl Fn(usize, usize) -> bool) -> String {
        const SCALE: usize = 4;
        let mut image =
            rqrr::PreparedImage::prepare_from_greyscale(side * SCALE, side * SCALE, |x, y| {
                if is_light(x / SCALE, y / SCALE) {
                    255
                } else {
                    0
                }
            });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "one code is seen");
        grids[0].decode().unwrap().1
    }

    fn code_of(length: usize) -> String {
        "eyJ1cmwiOiJ3c3M6Ly9nd-0123456789_"
            .chars()
            .cycle()
            .take(length)
            .collect()
    }

    #[test]
    fn the_text_form_is_read_back_by_another_program() {
        for length in [20, 134, 200, 700] {
            let text = code_of(length);
            let picture = Picture::of(&text).unwrap();
            for color in [false, true] {
                let shown = picture.half_blocks(color);
                let plain = shown.replace(PAPER.0, "").replace(PAPER.1, "");
                let lines: Vec<Vec<char>> =
                    plain.lines().map(|line| line.chars().collect()).collect();
                assert!(lines.iter().all(|line| line.len() == picture.width()));
                let seen = read(picture.width(), |x, y| {
                    let upper = y % 2 == 0;
                    match lines[y / 2][x] {
                        '█' => true,
                        '▀' => upper,
                        '▄' => !upper,
                        _ => false,
                    }
                });
                assert_eq!(seen, text);
                assert_eq!(shown.contains('\u{1b}'), color);
            }
        }
    }

    #[test]
    fn the_svg_is_read_back_by_another_program() {
        let text = code_of(134);
        let picture = Picture::of(&text).unwrap();
        let svg = picture.svg();
        let side = picture.width();
        assert!(
            svg.contains(&format!("viewBox=\"0 0 {side} {side}\"")),
            "{svg}"
        );
        let path = svg.split("d=\"").nth(1).unwrap().split('"').next().unwrap();
        let dark: Vec<(usize, usize)> = path
            .split_inclusive('z')
            .map(|square| {
                let corner = square
                    .strip_prefix('M')
                    .unwrap()
                    .strip_suffix("h1v1h-1z")
                    .unwrap();
                let (x, y) = corner.split_once(' ').unwrap();
                (x.parse().unwrap(), y.parse().unwrap())
            })
            .collect();
        assert_eq!(read(side, |x, y| !dark.contains(&(x, y))), text);
    }

    #[test]
    fn too_much_is_no_picture() {
        assert!(Picture::of(&code_of(4_000)).is_none());
    }
}
