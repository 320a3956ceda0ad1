//! Durations as people type them, and ages and times left as people read them.

use crate::protocol::limits::DAY_MS;

/// Why a duration was not understood; Display is the text after the option's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DurationFault {
    /// Nothing was given.
    Empty,
    /// Not a number with a unit.
    Malformed(String),
    /// More than this.
    TooLong(&'static str),
    /// A number alone where a unit is needed.
    Unitless(String),
}

impl std::fmt::Display for DurationFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DurationFault::Empty => write!(out, "invalid duration (empty)"),
            DurationFault::Malformed(text) => write!(out, "invalid duration: {text}"),
            DurationFault::TooLong(limit) => write!(out, "at most {limit}"),
            DurationFault::Unitless(number) => write!(out, "name a unit, e.g. {number}m"),
        }
    }
}

/// Milliseconds of `90`, `1.5h`, `1h30m`, `2D`: units ms, s, m, h, d in any case; a bare number is milliseconds.
///
/// # Errors
/// [`DurationFault`] for nothing, unknown units, signs and blanks inside.
pub fn parse_duration(text: &str) -> Result<u64, DurationFault> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(DurationFault::Empty);
    }
    let malformed = || DurationFault::Malformed(trimmed.to_owned());
    let lower = trimmed.to_ascii_lowercase();
    let mut rest = lower.as_str();
    let mut total = 0.0_f64;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .unwrap_or(rest.len());
        let amount: f64 = rest[..digits].parse().map_err(|_| malformed())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(rest.len());
        let alone = parts == 0 && rest.is_empty();
        total += amount * unit(&rest[..letters], alone).ok_or_else(malformed)?;
        rest = &rest[letters..];
        parts += 1;
    }
    Ok(total.round() as u64)
}

/// The same with a unit: nobody who types a bare number means milliseconds.
///
/// # Errors
/// As [`parse_duration`], and [`DurationFault::Unitless`].
pub fn duration_with_unit(text: &str) -> Result<u64, DurationFault> {
    let parsed = parse_duration(text)?;
    match text.contains(char::is_alphabetic) {
        true => Ok(parsed),
        false => Err(DurationFault::Unitless(text.trim().to_owned())),
    }
}

/// Whole milliseconds, or a duration with its unit.
pub fn milliseconds(text: &str) -> Option<u64> {
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().ok(),
        false => duration_with_unit(text).ok(),
    }
}

/// Milliseconds of one unit; no unit only where the number stands alone.
fn unit(name: &str, alone: bool) -> Option<f64> {
    match name {
        "" if alone => Some(1.0),
        "ms" => Some(1.0),
        "s" => Some(1_000.0),
        "m" => Some(60_000.0),
        "h" => Some(3_600_000.0),
        "d" => Some(DAY_MS as f64),
        _ => None,
    }
}

/// How long ago `then` was, both in epoch milliseconds: `just now`, `5m ago`, `3h ago`, `2d ago`, `unknown`.
pub fn age(now: u64, then: Option<u64>) -> String {
    const JUST_NOW_SECONDS: u64 = 30;
    let Some(then) = then else {
        return "unknown".to_owned();
    };
    let seconds = rounded(now.saturating_sub(then), 1_000);
    if seconds < JUST_NOW_SECONDS {
        return "just now".to_owned();
    }
    let minutes = rounded(seconds, 60);
    if minutes < 60 {
        return format!("{minutes}m ago");
    }
    let hours = rounded(minutes, 60);
    if hours < 48 {
        return format!("{hours}h ago");
    }
    format!("{}d ago", rounded(hours, 24))
}

/// What is left of a time, for people: `3d`, `59m`, `90s`; in milliseconds. Rounded up: what is there for an
/// hour is not called 59 minutes a moment later.
pub fn left(milliseconds: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(DAY_MS, "d"), (3_600_000, "h"), (60_000, "m")];
    let unit = UNITS.iter().find(|(unit, _)| milliseconds >= 2 * unit);
    let (unit, name) = unit.copied().unwrap_or((1_000, "s"));
    format!("{}{name}", milliseconds.div_ceil(unit))
}

/// A limit of whole minutes, in words: `5 minutes`.
pub fn minutes(milliseconds: u64) -> String {
    format!("{} minutes", milliseconds / 60_000)
}

fn rounded(amount: u64, unit: u64) -> u64 {
    (amount + unit / 2) / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let bad = |text: &str| Err(DurationFault::Malformed(text.to_owned()));
        for (text, expected) in [
            ("90", Ok(90)),
            ("250ms", Ok(250)),
            ("1.5h", Ok(5_400_000)),
            ("1h30m", Ok(5_400_000)),
            ("2D", Ok(172_800_000)),
            (" 10s ", Ok(10_000)),
            ("", Err(DurationFault::Empty)),
            ("  ", Err(DurationFault::Empty)),
            ("5parsecs", bad("5parsecs")),
            ("1h 30m", bad("1h 30m")),
            ("1h30", bad("1h30")),
            ("-5s", bad("-5s")),
            ("1..5s", bad("1..5s")),
            ("h", bad("h")),
        ] {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
        assert_eq!(
            DurationFault::Malformed("5parsecs".to_owned()).to_string(),
            "invalid duration: 5parsecs"
        );
        assert_eq!(DurationFault::Empty.to_string(), "invalid duration (empty)");
        assert_eq!(duration_with_unit("3m"), Ok(180_000));
        let bare = duration_with_unit(" 3 ").unwrap_err();
        assert_eq!(bare.to_string(), "name a unit, e.g. 3m");
    }

    #[test]
    fn times_left() {
        for (milliseconds, expected) in [
            (0, "0s"),
            (1, "1s"),
            (119_000, "119s"),
            (120_000, "2m"),
            (3_500_000, "59m"),
            (2 * 3_600_000, "2h"),
            (90_000_000, "25h"),
            (2 * DAY_MS + 1, "3d"),
        ] {
            assert_eq!(left(milliseconds), expected, "{milliseconds}");
        }
        assert_eq!(minutes(300_000), "5 minutes");
    }

    #[test]
    fn ages() {
        const NOW: u64 = 1_000_000_000_000;
        for (elapsed, expected) in [
            (0, "just now"),
            (29_400, "just now"),
            (30_000, "1m ago"),
            (89_000, "1m ago"),
            (90_000, "2m ago"),
            (59 * 60_000, "59m ago"),
            (60 * 60_000, "1h ago"),
            (90 * 60_000, "2h ago"),
            (47 * 3_600_000, "47h ago"),
            (48 * 3_600_000, "2d ago"),
            (10 * DAY_MS, "10d ago"),
        ] {
            assert_eq!(age(NOW, Some(NOW - elapsed)), expected, "{elapsed}");
        }
        assert_eq!(age(NOW, Some(NOW + 5_000)), "just now");
        assert_eq!(age(NOW, None), "unknown");
    }
}
