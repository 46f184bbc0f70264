//! The figures of `zest bench --transfer`: gathered per round, shown as a table or as JSON.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What one run of one program gave.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Run {
    /// Payload bytes that arrived.
    pub(super) bytes: u64,
    pub(super) wall_s: f64,
    /// User and system time of the program measured.
    pub(super) cpu_s: f64,
    /// Its peak resident memory.
    pub(super) rss_bytes: u64,
    /// What it had the disk read meanwhile.
    pub(super) disk_bytes: u64,
    /// Chunks that the client proved.
    pub(super) proven: u64,
    /// CPU time of the whole machine that was neither the program's nor the client's.
    pub(super) foreign_cpu_s: f64,
}

impl Run {
    fn gb_s(&self) -> f64 {
        self.bytes as f64 / 1e9 / self.wall_s
    }

    fn gb_cpu_s(&self) -> f64 {
        self.bytes as f64 / 1e9 / self.cpu_s
    }
}

/// What a ratio is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    Rate,
    PerCpu,
}

impl Figure {
    fn name(self) -> &'static str {
        match self {
            Self::Rate => "gb_per_s",
            Self::PerCpu => "gb_per_cpu_s",
        }
    }

    fn of(self, run: &Run) -> f64 {
        match self {
            Self::Rate => run.gb_s(),
            Self::PerCpu => run.gb_cpu_s(),
        }
    }
}

/// Which baseline a row is held against, in which figures.
pub(super) type Baselines = &'static [(&'static str, Figure)];

/// One program in one case.
#[derive(Debug)]
struct Row {
    case: String,
    connections: usize,
    program: String,
    baselines: Baselines,
    /// By round; a round that failed has none.
    runs: BTreeMap<u32, Run>,
}

/// All figures.
#[derive(Debug, Default)]
pub(super) struct Report {
    facts: Map<String, Value>,
    rows: Vec<Row>,
    /// Case, program, reason.
    not_measured: Vec<(String, String, String)>,
}

impl Report {
    /// Adds a fact about the run.
    pub(super) fn fact(&mut self, name: &str, value: impl Into<Value>) {
        self.facts.insert(name.to_owned(), value.into());
    }

    /// Adds the figures of one round.
    pub(super) fn add(
        &mut self,
        case: &str,
        connections: usize,
        program: &str,
        baselines: Baselines,
        round: u32,
        run: Run,
    ) {
        let same = |row: &&mut Row| {
            (row.case.as_str(), row.connections, row.program.as_str()) == (case, connections, program)
        };
        if let Some(row) = self.rows.iter_mut().find(same) {
            row.runs.insert(round, run);
            return;
        }
        let (case, program) = (case.to_owned(), program.to_owned());
        self.rows.push(Row { case, connections, program, baselines, runs: BTreeMap::from([(round, run)]) });
    }

    /// Says why something has no row, once.
    pub(super) fn not_measured(&mut self, case: &str, program: &str, reason: impl ToString) {
        let entry = (case.to_owned(), program.to_owned(), reason.to_string());
        if !self.not_measured.contains(&entry) {
            self.not_measured.push(entry);
        }
    }

    /// Ratios of a row to a baseline, each of two runs of one round.
    fn ratios(&self, row: &Row, baseline: &str, figure: Figure) -> Vec<f64> {
        let same = |other: &&Row| {
            (&other.case, other.connections, other.program.as_str()) == (&row.case, row.connections, baseline)
        };
        let Some(other) = self.rows.iter().find(same) else { return Vec::new() };
        let pairs = row.runs.iter().filter_map(|(round, run)| Some((run, other.runs.get(round)?)));
        pairs
            .map(|(run, other)| figure.of(run) / figure.of(other))
            .filter(|ratio| ratio.is_finite())
            .collect()
    }

    /// Share of the machine that other programs had while something was measured, 0 to 1.
    fn foreign_share(&self) -> f64 {
        let runs = || self.rows.iter().flat_map(|row| row.runs.values());
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        runs().map(|run| run.foreign_cpu_s).sum::<f64>() / runs().map(|run| run.wall_s * cores).sum::<f64>()
    }

    pub(super) fn json(&self) -> Value {
        let row = |row: &Row| {
            let spread_of = |value: &dyn Fn(&Run) -> f64| spread_json(row.runs.values().map(value).collect());
            let most = |value: &dyn Fn(&Run) -> u64| row.runs.values().map(value).max().unwrap_or(0);
            let ratios: Vec<Value> = row
                .baselines
                .iter()
                .filter(|(baseline, figure)| !self.ratios(row, baseline, *figure).is_empty())
                .map(|(baseline, figure)| {
                    let mut value = spread_json(self.ratios(row, baseline, *figure));
                    value["to"] = json!(baseline);
                    value["of"] = json!(figure.name());
                    value
                })
                .collect();
            json!({
                "case": row.case,
                "connections": row.connections,
                "program": row.program,
                "rounds": row.runs.len(),
                "bytes_per_run": most(&|run| run.bytes),
                "gb_per_s": spread_of(&Run::gb_s),
                "cpu_s_per_gb": spread_of(&|run| 1.0 / run.gb_cpu_s()),
                "gb_per_cpu_s": spread_of(&Run::gb_cpu_s),
                "rss_bytes_max": most(&|run| run.rss_bytes),
                "from_disk": spread_of(&|run| run.disk_bytes as f64 / run.bytes as f64),
                "chunks_proven": row.runs.values().map(|run| run.proven).sum::<u64>(),
                "ratios": ratios,
            })
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        let missing: Vec<Value> = self
            .not_measured
            .iter()
            .map(|(case, program, reason)| json!({"case": case, "program": program, "reason": reason}))
            .collect();
        let mut facts = self.facts.clone();
        facts.insert("foreign_cpu_share".to_owned(), json!(self.foreign_share()));
        json!({"facts": facts, "rows": rows, "not_measured": missing})
    }

    pub(super) fn table(&self) -> String {
        let mut out = String::new();
        let facts: Vec<String> = self
            .facts
            .iter()
            .map(|(name, value)| {
                format!(
                    "{} {}",
                    name.replace('_', " "),
                    value.as_str().map_or(value.to_string(), str::to_owned)
                )
            })
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{}; other programs had {:.0} % of the machine",
            facts.join(", "),
            100.0 * self.foreign_share()
        );
        let mut heading = String::new();
        for row in &self.rows {
            let this = match row.connections {
                0 => row.case.clone(),
                1 => format!("{}, 1 connection", row.case),
                n => format!("{}, {n} connections", row.case),
            };
            if this != heading {
                let _ = writeln!(
                    out,
                    "\n{this:<24}{:>18}{:>18}{:>9}{:>8}   ratio, pair by pair",
                    "GB/s", "CPU s per GB", "RSS MB", "disk"
                );
                heading = this;
            }
            let runs = || row.runs.values();
            let rss = runs().map(|run| run.rss_bytes).max().unwrap_or(0) as f64 / 1e6;
            let disk = spread(runs().map(|run| 100.0 * run.disk_bytes as f64 / run.bytes as f64).collect()).1;
            let ratios: Vec<String> = row
                .baselines
                .iter()
                .filter_map(|(baseline, figure)| {
                    let (least, median, most) = spread_of(self.ratios(row, baseline, *figure))?;
                    let of = match figure {
                        Figure::Rate => "GB/s",
                        Figure::PerCpu => "GB per CPU s",
                    };
                    Some(format!("{least:.2}/{median:.2}/{most:.2} {of} of {baseline}"))
                })
                .collect();
            let _ = writeln!(
                out,
                "  {:<22}{:>18}{:>18}{rss:>9.0}{:>7.0}%   {}",
                row.program,
                show(runs().map(Run::gb_s).collect()),
                show(runs().map(|run| 1.0 / run.gb_cpu_s()).collect()),
                disk,
                ratios.join(", "),
            );
        }
        if !self.not_measured.is_empty() {
            out.push_str("\nnot measured:\n");
            for (case, program, reason) in &self.not_measured {
                let _ = writeln!(out, "  {case}, {program}: {reason}");
            }
        }
        out.push_str(
            "\nleast/median/most of the rounds. A GB is 10⁹ bytes of payload; CPU time is that of the program named, not of the \
             client that\ndrains it; disk is what the program had the disk read, in percent of the payload.",
        );
        out
    }
}

/// Least, median, most; zeros where there is nothing.
fn spread(values: Vec<f64>) -> (f64, f64, f64) {
    spread_of(values).unwrap_or_default()
}

fn spread_of(mut values: Vec<f64>) -> Option<(f64, f64, f64)> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let median = match values.len() % 2 {
        0 => f64::midpoint(*values.get(middle.checked_sub(1)?)?, values[middle]),
        _ => values[middle],
    };
    Some((*values.first()?, median, *values.last()?))
}

fn spread_json(values: Vec<f64>) -> Value {
    let (min, median, max) = spread(values);
    json!({"min": min, "median": median, "max": max})
}

fn show(values: Vec<f64>) -> String {
    let (least, median, most) = spread(values);
    format!("{least:.2}/{median:.2}/{most:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(cpu_s: f64) -> Run {
        Run { bytes: 1_000_000_000, wall_s: 0.5, cpu_s, rss_bytes: 3_000_000, proven: 4, ..Run::default() }
    }

    fn report() -> Report {
        let mut report = Report::default();
        report.fact("cores", 2);
        for round in 0..3 {
            let slower = f64::from(round + 1);
            report.add("hot", 8, "sendfile", &[], round, run(slower));
            report.add("hot", 8, "zest serve", &[("sendfile", Figure::PerCpu)], round, run(slower / 2.0));
        }
        report.not_measured("hot", "zest-seed", "not built");
        report.not_measured("hot", "zest-seed", "not built");
        report
    }

    #[test]
    fn ratios_are_of_runs_of_one_round() {
        let json = report().json();
        let row = &json["rows"][1];
        assert_eq!(
            (&row["program"], &row["rounds"], &row["chunks_proven"]),
            (&json!("zest serve"), &json!(3), &json!(12))
        );
        assert_eq!(
            row["ratios"],
            json!([{"to": "sendfile", "of": "gb_per_cpu_s", "min": 2.0, "median": 2.0, "max": 2.0}])
        );
        assert_eq!(row["gb_per_s"]["median"], json!(2.0));
        assert_eq!(json["rows"][0]["ratios"], json!([]));
        assert_eq!(json["not_measured"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn a_round_without_its_baseline_gives_no_ratio() {
        let mut report = report();
        report.add("hot", 8, "zest serve", &[], 7, run(100.0));
        assert_eq!(report.ratios(&report.rows[1], "sendfile", Figure::PerCpu), [2.0, 2.0, 2.0]);
        assert_eq!(spread_of(vec![]), None);
        assert_eq!(spread(vec![4.0, 1.0, 2.0, 3.0]), (1.0, 2.5, 4.0));
    }

    #[test]
    fn the_table_names_what_is_missing() {
        let table = report().table();
        assert!(table.contains("hot, 8 connections"), "{table}");
        assert!(table.contains("2.00/2.00/2.00 GB per CPU s of sendfile"), "{table}");
        assert!(table.contains("hot, zest-seed: not built"), "{table}");
    }
}
