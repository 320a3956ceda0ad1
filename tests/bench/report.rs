//! Collected figures and the table they end in.

use std::process::Command;
use std::time::Duration;

/// Several measurements of one thing.
pub struct Sample(Vec<f64>);

impl Sample {
    /// In milliseconds.
    pub fn of_durations(durations: impl IntoIterator<Item = Duration>) -> Sample {
        Self::of(
            durations
                .into_iter()
                .map(|duration| duration.as_secs_f64() * 1e3),
        )
    }

    pub fn of(values: impl IntoIterator<Item = f64>) -> Sample {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        assert!(!values.is_empty(), "nothing was measured");
        Sample(values)
    }

    /// The value below which `share` (0 to 1) of the measurements lie.
    pub fn quantile(&self, share: f64) -> f64 {
        self.0[((self.0.len() - 1) as f64 * share).round() as usize]
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// `median (min–max) unit`.
    pub fn text(&self, unit: &str) -> String {
        format!(
            "{:.2} ({:.2}–{:.2}) {unit}",
            self.median(),
            self.0[0],
            self.0[self.0.len() - 1]
        )
    }
}

/// The rows of the table.
pub struct Report {
    rows: Vec<[String; 4]>,
}

impl Report {
    pub fn new() -> Report {
        Report { rows: Vec::new() }
    }

    /// One row; `verdict` says whether the budget is met.
    pub fn row(&mut self, what: &str, budget: &str, measured: String, verdict: bool) {
        let verdict = if verdict { "met" } else { "MISSED" };
        eprintln!("{what}: {measured} [{budget}: {verdict}]");
        self.rows.push([
            what.to_owned(),
            budget.to_owned(),
            measured,
            verdict.to_owned(),
        ]);
    }

    pub fn print(&self) {
        let machine = Command::new("uname")
            .arg("-srm")
            .output()
            .map(|output| output.stdout);
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!(
            "\nmachine: {} with {cores} cores; command: make bench; medians with (min–max)\n",
            String::from_utf8_lossy(&machine.unwrap_or_default()).trim()
        );
        let widths: Vec<usize> = (0..4)
            .map(|column| {
                self.rows
                    .iter()
                    .map(|row| row[column].chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for row in &self.rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
                .collect();
            println!("| {} |", cells.join(" | "));
        }
    }
}
