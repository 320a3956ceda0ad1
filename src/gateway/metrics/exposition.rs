//! The Prometheus text format, version 0.0.4: families with help and type, samples with labels.
//!
//! Pure. Every family is written at once, with its samples behind it, as the format asks.

use std::fmt::Write;

/// What a family measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Observations by size, with their sum and number.
    Histogram,
    /// The sum and the number of observations.
    Summary,
}

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number.
    Whole(u64),
    /// Any other.
    Real(f64),
}

/// A text that grows family by family.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// The family that is being written.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Exposition {
    /// Begins a family. Names are ours, and valid.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        };
        let text = &mut self.text;
        text.push_str("# HELP ");
        text.push_str(name);
        text.push(' ');
        escape(text, help, false);
        text.push_str("\n# TYPE ");
        text.push_str(name);
        text.push(' ');
        text.push_str(kind);
        text.push('\n');
        Family { text, name }
    }

    /// A family of one sample without labels; none where the value is not known.
    pub fn one(&mut self, name: &'static str, kind: Kind, help: &str, value: Option<Number>) {
        if let Some(value) = value {
            self.family(name, kind, help).sample(&[], value);
        }
    }

    /// All that was written.
    pub fn into_text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// One sample of the family.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: Number) {
        self.line("", labels, value);
    }

    /// One sample with a label and each of the values that it may have.
    pub fn by(&mut self, label: &str, values: impl IntoIterator<Item = (&'static str, u64)>) {
        for (word, value) in values {
            self.sample(&[(label, word)], Number::Whole(value));
        }
    }

    /// The buckets of a histogram, each with its upper bound in the family's unit, then sum and number.
    /// `counts` has one more than `bounds`: what is above all of them.
    pub fn buckets(&mut self, bounds: &[f64], counts: &[u64], sum: f64) {
        let mut number = 0;
        for (at, count) in counts.iter().enumerate() {
            number += count;
            let bound = bounds.get(at).map_or(f64::INFINITY, |bound| *bound);
            self.line("_bucket", &[("le", &real(bound))], Number::Whole(number));
        }
        self.sum(sum, number);
    }

    /// Sum and number of the observations.
    pub fn sum(&mut self, sum: f64, number: u64) {
        self.line("_sum", &[], Number::Real(sum));
        self.line("_count", &[], Number::Whole(number));
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: Number) {
        let text = &mut self.text;
        text.push_str(self.name);
        text.push_str(suffix);
        for (at, (label, word)) in labels.iter().enumerate() {
            text.push(if at == 0 { '{' } else { ',' });
            text.push_str(label);
            text.push_str("=\"");
            escape(text, word, true);
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        text.push(' ');
        // Writing to a text cannot fail.
        let _ = match value {
            Number::Whole(whole) => writeln!(text, "{whole}"),
            Number::Real(number) => writeln!(text, "{}", real(number)),
        };
    }
}

fn real(number: f64) -> String {
    if number == f64::INFINITY {
        "+Inf".to_owned()
    } else if number == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        number.to_string()
    }
}

/// Only a label's value stands in quotes.
fn escape(text: &mut String, words: &str, quoted: bool) {
    for letter in words.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if quoted => text.push_str("\\\""),
            letter => text.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_the_format_says() {
        let mut page = Exposition::default();
        page.family("a_total", Kind::Counter, "What \"a\"\\ is\nfor.")
            .sample(&[("x", "1\\\"2\"\n3"), ("y", "")], Number::Whole(u64::MAX));
        page.one("b", Kind::Gauge, "B.", Some(Number::Real(0.25)));
        page.one("absent", Kind::Gauge, "C.", None);
        let mut family = page.family("d", Kind::Gauge, "D.");
        family.by("state", [("on", 1), ("off", 0)]);
        for odd in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e21] {
            family.sample(&[], Number::Real(odd));
        }
        assert_eq!(
            page.into_text(),
            "# HELP a_total What \"a\"\\\\ is\\nfor.\n\
             # TYPE a_total counter\n\
             a_total{x=\"1\\\\\\\"2\\\"\\n3\",y=\"\"} 18446744073709551615\n\
             # HELP b B.\n# TYPE b gauge\nb 0.25\n\
             # HELP d D.\n# TYPE d gauge\nd{state=\"on\"} 1\nd{state=\"off\"} 0\n\
             d +Inf\nd -Inf\nd NaN\nd 1000000000000000000000\n"
        );
    }

    #[test]
    fn buckets_hold_all_that_is_not_larger() {
        let mut page = Exposition::default();
        page.family("t_seconds", Kind::Histogram, "T.")
            .buckets(&[0.5, 2.0], &[3, 0, 1], 7.5);
        page.family("s_seconds", Kind::Summary, "S.").sum(1.5, 2);
        assert_eq!(
            page.into_text(),
            "# HELP t_seconds T.\n# TYPE t_seconds histogram\n\
             t_seconds_bucket{le=\"0.5\"} 3\nt_seconds_bucket{le=\"2\"} 3\n\
             t_seconds_bucket{le=\"+Inf\"} 4\nt_seconds_sum 7.5\nt_seconds_count 4\n\
             # HELP s_seconds S.\n# TYPE s_seconds summary\ns_seconds_sum 1.5\ns_seconds_count 2\n"
        );
    }
}
