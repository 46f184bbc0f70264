//! The figures: gathered, and shown as a table or as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::args::Args;

/// What a figure should be. Its median is held against it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

impl Bar {
    fn holds(self, median: f64) -> bool {
        match self {
            Self::AtMost(limit) => median <= limit,
            // A share of 100 % may come out a rounding error below.
            Self::AtLeast(limit) => median >= limit - 1e-9,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {limit}"),
            Self::AtLeast(limit) => format!("≥ {limit}"),
        }
    }
}

#[derive(Debug)]
struct Row {
    name: String,
    /// One value per round, in the order of the rounds.
    values: Vec<f64>,
    bar: Option<Bar>,
}

#[derive(Debug)]
pub(crate) struct Report {
    facts: Map<String, Value>,
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(args: &Args) -> Self {
        let mut report = Self { facts: Map::new(), rows: Vec::new() };
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        report.describe(json!({"cores": cores, "runs": args.runs, "version": env!("CARGO_PKG_VERSION")}));
        report
    }

    /// Adds facts about the run.
    pub(crate) fn describe(&mut self, facts: Value) {
        if let Value::Object(facts) = facts {
            self.facts.extend(facts);
        }
    }

    pub(crate) fn number(&mut self, name: &str, value: f64) {
        self.facts.insert(name.to_owned(), json!(value));
    }

    /// Adds a figure with one value per round; none if there are no values.
    pub(crate) fn row(&mut self, name: &str, values: Vec<f64>, bar: Option<Bar>) {
        if !values.is_empty() {
            self.rows.push(Row { name: name.to_owned(), values, bar });
        }
    }

    pub(crate) fn json(&self) -> String {
        let row = |row: &Row| {
            let (min, median, max) = spread(&row.values);
            json!({
                "name": row.name,
                "values": row.values,
                "min": min,
                "median": median,
                "max": max,
                "bar": row.bar.map(Bar::text),
                "holds": row.bar.map(|bar| bar.holds(median)),
            })
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        format!("{}\n", json!({"facts": self.facts, "rows": rows}))
    }

    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        let facts: Vec<String> = self.facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let _ = writeln!(out, "{}\n", facts.join(", "));
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let _ = writeln!(out, "{:width$} {:>10} {:>10} {:>10}   bar", "", "min", "median", "max");
        for row in &self.rows {
            let (min, median, max) = spread(&row.values);
            let bar = row.bar.map_or(String::new(), |bar| {
                format!("   {} {}", bar.text(), if bar.holds(median) { "holds" } else { "MISSED" })
            });
            let _ = writeln!(
                out,
                "{:width$} {:>10} {:>10} {:>10}{bar}",
                row.name,
                show(min),
                show(median),
                show(max)
            );
        }
        out
    }
}

/// Three significant digits or so.
fn show(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Minimum, median, maximum.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = match sorted.len() % 2 {
        0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    };
    (sorted[0], median, sorted[sorted.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), (1.0, 2.0, 3.0));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), (1.0, 2.5, 4.0));
        assert_eq!(spread(&[7.0]), (7.0, 7.0, 7.0));
    }

    #[test]
    fn bars_are_held_against_the_median() {
        let mut report = Report { facts: Map::new(), rows: Vec::new() };
        report.row("fast", vec![9.0, 1.0, 1.0], Some(Bar::AtMost(1.0)));
        report.row("slow", vec![2.0], Some(Bar::AtMost(1.0)));
        report.row("nothing", vec![], None);
        let table = report.table();
        assert!(
            table.contains("≤ 1 holds") && table.contains("≤ 1 MISSED") && !table.contains("nothing"),
            "{table}"
        );
        let json: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!((&json["rows"][0]["holds"], &json["rows"][1]["holds"]), (&json!(true), &json!(false)));
    }
}
