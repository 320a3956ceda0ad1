//! Tables with box-drawing borders that fit the terminal: columns shrink and wrap, none below 8 characters
//! while another could give way.

use crate::cli::output::text::{letter_width, plain, width};

/// No column is squeezed below this many characters (unless its content is narrower).
const NARROWEST: usize = 8;

/// One column: its heading and whether it gives way first.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Heading of the column.
    pub heading: &'static str,
    /// Whether it shrinks before the others do.
    pub flexible: bool,
}

/// A column that keeps its width as long as another can shrink.
pub const fn fixed(heading: &'static str) -> Column {
    Column {
        heading,
        flexible: false,
    }
}

/// A column that shrinks and wraps first.
pub const fn flexible(heading: &'static str) -> Column {
    Column {
        heading,
        flexible: true,
    }
}

/// Renders the table to at most `limit` columns, with a final newline. Cells are made safe for the terminal here.
pub fn grid(columns: &[Column], rows: &[Vec<String>], limit: usize) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|cell| plain(cell)).collect())
        .collect();
    let widths = layout(columns, &rows, limit);
    let heading: Vec<String> = columns
        .iter()
        .map(|column| column.heading.to_owned())
        .collect();
    let mut out = border(&widths, '┌', '┬', '┐');
    out += &line(&heading, &widths);
    out += &border(&widths, '├', '┼', '┤');
    for row in &rows {
        out += &line(row, &widths);
    }
    out += &border(&widths, '└', '┴', '┘');
    out
}

/// Content widths of the columns so that the whole line fits, as far as it can.
fn layout(columns: &[Column], rows: &[Vec<String>], limit: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let cells = rows.iter().filter_map(|row| row.get(index));
            cells
                .map(|cell| width(cell))
                .chain([width(column.heading)])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let frame = 3 * columns.len() + 1;
    for flexible in [true, false] {
        while widths.iter().sum::<usize>() + frame > limit {
            let widest = widths
                .iter()
                .enumerate()
                .filter(|(index, wide)| columns[*index].flexible == flexible && **wide > NARROWEST)
                .max_by_key(|(_, wide)| **wide)
                .map(|(index, _)| index);
            let Some(index) = widest else { break };
            widths[index] -= 1;
        }
    }
    widths
}

fn border(widths: &[usize], left: char, middle: char, right: char) -> String {
    let dashes: Vec<String> = widths.iter().map(|wide| "─".repeat(wide + 2)).collect();
    format!("{left}{}{right}\n", dashes.join(&middle.to_string()))
}

/// One row, as many screen lines as its tallest cell needs.
fn line(cells: &[String], widths: &[usize]) -> String {
    let wrapped: Vec<Vec<String>> = widths
        .iter()
        .enumerate()
        .map(|(index, wide)| wrap(cells.get(index).map_or("", String::as_str), *wide))
        .collect();
    let height = wrapped.iter().map(Vec::len).max().unwrap_or(1);
    let mut out = String::new();
    for level in 0..height {
        for (lines, wide) in wrapped.iter().zip(widths) {
            let text = lines.get(level).map_or("", String::as_str);
            let padding = wide.saturating_sub(width(text));
            out += &format!("│ {text}{} ", " ".repeat(padding));
        }
        out += "│\n";
    }
    out
}

/// Breaks a cell into lines of at most `limit` columns, at blanks where there are any.
fn wrap(text: &str, limit: usize) -> Vec<String> {
    let limit = limit.max(1);
    let mut lines = Vec::new();
    let mut current = String::new();
    for word in text.split(' ') {
        let blank = usize::from(!current.is_empty());
        if width(&current) + blank + width(word) <= limit {
            if blank == 1 {
                current.push(' ');
            }
            current += word;
            continue;
        }
        if !current.is_empty() {
            lines.push(std::mem::take(&mut current));
        }
        for letter in word.chars() {
            if width(&current) + letter_width(letter) > limit && !current.is_empty() {
                lines.push(std::mem::take(&mut current));
            }
            current.push(letter);
        }
    }
    lines.push(current);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_without_shrinking() {
        let rows = vec![vec!["Build Node".to_owned(), "10.0.0.7".to_owned()]];
        let expected = "┌────────────┬──────────┐\n\
                        │ Node       │ IP       │\n\
                        ├────────────┼──────────┤\n\
                        │ Build Node │ 10.0.0.7 │\n\
                        └────────────┴──────────┘\n";
        assert_eq!(grid(&[flexible("Node"), fixed("IP")], &rows, 120), expected);
    }

    #[test]
    fn shrinks_and_wraps_within_the_limit() {
        let columns = [flexible("Node"), fixed("ID"), flexible("Detail")];
        let rows = vec![vec![
            "Workshop Raspberry".to_owned(),
            "a".repeat(64),
            "client: node-host/node · path: /usr/bin:/bin".to_owned(),
        ]];
        for limit in [120, 80, 60, 40] {
            let text = grid(&columns, &rows, limit);
            for line in text.lines() {
                assert!(width(line) <= limit, "{limit}: {line}");
            }
            assert!(text.contains("Workshop"), "{text}");
            let letters: usize = text
                .lines()
                .filter_map(|line| line.split('│').nth(2))
                .map(|cell| cell.matches('a').count())
                .sum();
            assert_eq!(letters, 64, "{limit}: every character of the id stays");
        }
    }

    #[test]
    fn columns_stay_readable_when_the_terminal_is_tiny() {
        let columns = [flexible("Node"), flexible("Detail")];
        let rows = vec![vec!["a".repeat(30), "b".repeat(30)]];
        let widths = layout(&columns, &rows, 10);
        assert_eq!(widths, [NARROWEST, NARROWEST]);
    }

    #[test]
    fn cells_cannot_break_the_frame() {
        let rows = vec![vec!["\u{1b}[2Jx\ny".to_owned()]];
        assert!(grid(&[fixed("Node")], &rows, 80).contains("│ x y  │"));
    }
}
