//! Collected figures, the table they end in, and the file with the raw ones.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

/// Several measurements of one thing, in ascending order.
#[derive(Clone, Debug)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// In milliseconds.
    pub fn of_durations(durations: impl IntoIterator<Item = Duration>) -> Sample {
        Self::of(durations.into_iter().map(milliseconds))
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

    /// `median (min–max) unit`; a single measurement stands alone.
    pub fn text(&self, unit: &str) -> String {
        let [low, high] = [self.quantile(0.0), self.quantile(1.0)];
        let shown = |value: f64| match value.abs() {
            large if large >= 100.0 => format!("{value:.0}"),
            middle if middle >= 0.1 => format!("{value:.2}"),
            _ => format!("{value:.3}"),
        };
        match self.0.len() {
            1 => format!("{} {unit}", shown(low)),
            _ => format!(
                "{} ({}–{}) {unit}",
                shown(self.median()),
                shown(low),
                shown(high)
            ),
        }
    }

    /// Every measurement, or how they are spread when there are many.
    fn raw(&self) -> Value {
        const MANY: usize = 100;
        let round = |value: f64| (value * 1e4).round() / 1e4;
        let mut raw = json!({"median": round(self.median()), "min": round(self.quantile(0.0)),
            "max": round(self.quantile(1.0)), "count": self.0.len()});
        if self.0.len() <= MANY {
            raw["values"] = self.0.iter().copied().map(round).collect();
        } else {
            for (name, share) in [("p1", 0.01), ("p25", 0.25), ("p75", 0.75), ("p99", 0.99)] {
                raw[name] = json!(round(self.quantile(share)));
            }
        }
        raw
    }
}

impl From<f64> for Sample {
    fn from(value: f64) -> Sample {
        Sample(vec![value])
    }
}

pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// One row of the table.
pub struct Row {
    what: String,
    unit: &'static str,
    budget: String,
    limit: Option<f64>,
    ours: Option<Sample>,
    reference: Option<Sample>,
    command: String,
    note: String,
}

impl Row {
    pub fn new(what: &str, unit: &'static str, ours: impl Into<Sample>) -> Row {
        Row {
            what: what.to_owned(),
            unit,
            budget: String::new(),
            limit: None,
            ours: Some(ours.into()),
            reference: None,
            command: String::new(),
            note: String::new(),
        }
    }

    /// A row that says why there is nothing in it.
    pub fn missing(what: &str, why: &str) -> Row {
        let row = Row {
            ours: None,
            ..Row::new(what, "", 0.0)
        };
        row.note(why)
    }

    /// The budget: the median is at most `limit`.
    pub fn at_most(self, limit: f64) -> Row {
        let budget = format!("≤ {limit} {}", self.unit);
        self.limited(limit, &budget)
    }

    /// The same in the words of the budget.
    pub fn limited(mut self, limit: f64, budget: &str) -> Row {
        self.limit = Some(limit);
        self.budget = budget.to_owned();
        self
    }

    pub fn reference(mut self, reference: Option<impl Into<Sample>>) -> Row {
        self.reference = reference.map(Into::into);
        self
    }

    /// How somebody else would measure it.
    pub fn command(mut self, command: &str) -> Row {
        self.command = command.to_owned();
        self
    }

    pub fn note(mut self, note: &str) -> Row {
        self.note = note.to_owned();
        self
    }

    fn verdict(&self) -> String {
        match (&self.ours, self.limit) {
            (None, _) => "not measured".to_owned(),
            (Some(_), None) => String::new(),
            (Some(ours), Some(limit)) if ours.median() <= limit => "met".to_owned(),
            (Some(_), Some(0.0)) => "MISSED".to_owned(),
            (Some(ours), Some(limit)) => {
                format!("MISSED by {:.0} %", (ours.median() / limit - 1.0) * 100.0)
            }
        }
    }

    fn cells(&self) -> Vec<String> {
        let text = |sample: &Option<Sample>| {
            sample
                .as_ref()
                .map_or(String::new(), |sample| sample.text(self.unit))
        };
        let ratio = match (&self.ours, &self.reference) {
            (Some(ours), Some(reference)) if ours.median() > 0.0 => {
                format!("{:.1}", reference.median() / ours.median())
            }
            _ => String::new(),
        };
        vec![
            self.what.clone(),
            self.budget.clone(),
            text(&self.ours),
            text(&self.reference),
            ratio,
            self.verdict(),
            self.note.clone(),
        ]
    }

    fn raw(&self) -> Value {
        json!({"what": self.what, "unit": self.unit, "budget": self.budget, "limit": self.limit,
            "ours": self.ours.as_ref().map(Sample::raw), "reference": self.reference.as_ref().map(Sample::raw),
            "verdict": self.verdict(), "command": self.command, "note": self.note})
    }
}

/// What a number of paired and connected nodes costs.
pub struct Point {
    nodes: usize,
    costs: Vec<(&'static str, &'static str, Sample)>,
}

impl Point {
    pub fn new(nodes: usize) -> Point {
        Point {
            nodes,
            costs: Vec::new(),
        }
    }

    pub fn cost(&mut self, what: &'static str, unit: &'static str, sample: impl Into<Sample>) {
        let sample = sample.into();
        eprintln!("{} nodes, {what}: {}", self.nodes, sample.text(unit));
        self.costs.push((what, unit, sample));
    }

    fn raw(&self) -> Value {
        let costs = self
            .costs
            .iter()
            .map(|(what, unit, sample)| json!({"what": what, "unit": unit, "ours": sample.raw()}));
        json!({"nodes": self.nodes, "costs": costs.collect::<Vec<_>>()})
    }
}

/// Everything that was measured.
pub struct Report {
    begun: String,
    machine: Value,
    rows: Vec<Row>,
    points: Vec<Point>,
}

impl Report {
    pub fn new() -> Report {
        Report {
            begun: output("date", &["-u", "+%Y-%m-%dT%H-%M"]),
            machine: machine(),
            rows: Vec::new(),
            points: Vec::new(),
        }
    }

    pub fn row(&mut self, row: Row) {
        let cells = row.cells();
        let said: Vec<&str> = cells
            .iter()
            .map(String::as_str)
            .filter(|cell| !cell.is_empty())
            .collect();
        eprintln!("{}", said.join(" | "));
        self.rows.push(row);
    }

    pub fn point(&mut self, point: Point) {
        self.points.push(point);
    }

    pub fn print(&self) {
        println!("\nmachine: {}", self.machine["text"].as_str().unwrap());
        println!("medians with (min–max); ratio: the reference's figure divided by ours\n");
        let head = [
            "what",
            "budget",
            "ours",
            "reference",
            "ratio",
            "verdict",
            "note",
        ];
        let rows = self.rows.iter().map(Row::cells);
        table(
            &std::iter::once(head.map(str::to_owned).to_vec())
                .chain(rows)
                .collect::<Vec<_>>(),
        );
        if !self.points.is_empty() {
            println!("\nwhat paired and connected nodes cost\n");
            table(&self.curve());
        }
        println!("\ncommands");
        for row in self.rows.iter().filter(|row| !row.command.is_empty()) {
            println!("  {}: {}", row.what, row.command);
        }
    }

    /// One column per number of nodes.
    fn curve(&self) -> Vec<Vec<String>> {
        let head = self
            .points
            .iter()
            .map(|point| format!("{} nodes", point.nodes));
        let mut lines = vec![
            std::iter::once("cost".to_owned())
                .chain(head)
                .collect::<Vec<_>>(),
        ];
        for (what, unit, _) in &self.points[0].costs {
            let cell = |point: &Point| {
                let found = point.costs.iter().find(|(name, _, _)| name == what);
                found.map_or(String::new(), |(_, _, sample)| sample.text(unit))
            };
            let cells = self.points.iter().map(cell);
            lines.push(std::iter::once((*what).to_owned()).chain(cells).collect());
        }
        lines
    }

    /// Writes the raw results and returns where: a whole run is kept beside this source, others below `target`.
    pub fn save(&self, whole: bool, quick: bool) -> String {
        let folder = if whole {
            "tests/bench/results"
        } else {
            "target/bench"
        };
        let name = format!("{folder}/{}.json", self.begun);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let document = json!({
            "begun": self.begun, "quick": quick, "machine": self.machine,
            "rows": self.rows.iter().map(Row::raw).collect::<Vec<_>>(),
            "curves": self.points.iter().map(Point::raw).collect::<Vec<_>>(),
        });
        std::fs::write(path, format!("{document:#}\n")).unwrap();
        name
    }
}

fn table(lines: &[Vec<String>]) {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..lines[0].len()).filter_map(width).collect();
    for (index, line) in lines.iter().enumerate() {
        let cells = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())));
        println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
        if index == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            println!("| {} |", rules.join(" | "));
        }
    }
}

/// What the figures were measured on, and how busy it was.
fn machine() -> Value {
    let field = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(String::new(), |line| {
            line.trim_matches([' ', '\t', ':']).to_owned()
        })
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let text = format!(
        "{}, {} with {cores} cores and {} of memory, {}, load {}",
        output("uname", &["-srm"]),
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal"),
        output("rustc", &["--version"]),
        std::fs::read_to_string("/proc/loadavg")
            .unwrap_or_default()
            .trim(),
    );
    json!({"text": text, "cores": cores})
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let bytes = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}
