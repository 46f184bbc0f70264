//! The table of quality: what a swarm achieves against the fluid bound, row by row, as text that can be compared.

use crate::actors::Actor;
use crate::report::{Report, quantile};
use crate::run::run;
use crate::scenario::{Line, Outage, SEC, Scenario, Start};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use zest_core::node::{Found, Policy};

/// Where the table lies, seen from this crate.
pub const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../snapshots/quality.txt");

/// A large file costs as much to play as so many times the nodes: 4.
const LARGE: u32 = 4;
/// Sizes of swarms with xorbs of 64 MiB.
const REAL_SIZES: [u32; 3] = [2, 3, 8];
/// And of those that are larger, or alone, from an origin of 40 MB/s.
const REAL_CROWDS: [u32; 5] = [1, 64, 256, 1024, 4096];
/// Sizes of the swarms.
const SIZES: [u32; 6] = [1, 8, 64, 256, 1024, 4096];
/// Largest swarm that is played with `fastest`: 1,024. Begun cold, larger ones take many times the bound, and half an hour to play.
const FASTEST_MAX: u32 = 1024;
/// A row that takes longer than this has failed: 1 h, several times the longest.
const LIMIT_NS: u64 = 3600 * SEC;

const HEAD: &str = "\
# Quality of zest swarms, simulated. Written by `cargo run -p zest-sim -- quality`; a test compares the rows up to
# 64 nodes but for `large` ones. All nodes start within 1 s; 64 MiB in 1,024 chunks of 64 KiB, xorbs of 16 (large: 256 MiB,
# xorbs of 64); links 5 MB/s up and down, 0.5 ms one way; the origin sends 5 MB/s in all, first byte after 20 ms, so that each
# of the three terms of the bound is the whole of it. Mixed: one node in ten has a tenth of the uplink. Real: 512 MiB in xorbs of
# 64 MiB (1,000 chunks), links 125 MB/s, 0.05 ms one way, the origin sends 12, 40 or 400 MB/s in all (real mixed: 40).
# p50, p99, max: finish times from each node's own start over the bound max(F/u_s, F/d_min, N*F/(u_s + sum u_i)).
# fast: p50 of the nodes with a full uplink. origin: bytes it sent in copies of the file. twice, wrong: chunk bytes that came
# late or again, and wrong ones, per chunk byte needed. control: all other bytes between nodes, likewise. ev/ch: events that a
# node handled per chunk. bans: peers shut out, all nodes together. Nodes find each other as neighbours do; by a tracker: from its
# list, of which two addresses a second are dialled.
";

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// Nodes that start.
    pub nodes: u32,
    name: String,
    scenario: Scenario,
}

/// Every row, in order, of swarms up to this size.
#[must_use]
pub fn rows(nodes_max: u32) -> Vec<Row> {
    let mut rows = Vec::new();
    let ways = [
        (Policy::SpareOrigin, Start::Warm),
        (Policy::SpareOrigin, Start::Cold),
        (Policy::Fastest, Start::Warm),
        (Policy::Fastest, Start::Cold),
    ];
    for (links, slow_permille) in [("equal", 0), ("mixed", 100)] {
        for (policy, start) in ways {
            for nodes in SIZES.into_iter().filter(|nodes| *nodes <= nodes_max) {
                // A tenth of fewer than ten nodes is nobody.
                if (slow_permille > 0 && nodes < 10) || (policy == Policy::Fastest && nodes > FASTEST_MAX) {
                    continue;
                }
                let mut scenario = crowd(nodes, policy, start);
                scenario.net.slow_permille = slow_permille;
                rows.push(row(links, scenario));
            }
        }
    }
    // A model has more than 64 MiB: what a start costs weighs less there.
    for (name, slow_permille) in [("large", 0), ("large mixed", 100)] {
        for nodes in [1, 64].into_iter().filter(|nodes| nodes * LARGE <= nodes_max) {
            if slow_permille > 0 && nodes < 10 {
                continue;
            }
            let mut scenario = crowd(nodes, Policy::SpareOrigin, Start::Warm);
            scenario.net.slow_permille = slow_permille;
            (scenario.chunks, scenario.block) = (4096, 64);
            rows.push(row(name, scenario));
        }
    }
    // Xorbs as they are, and lines that are quick beside the origin: what counts there is how soon others have what one streams.
    for origin in [12, 40, 400] {
        for (policy, start) in ways {
            let crowds = REAL_CROWDS.into_iter().filter(|_| origin == 40);
            let mut sizes: Vec<u32> = REAL_SIZES.into_iter().chain(crowds).collect();
            sizes.sort_unstable();
            for nodes in sizes.into_iter().filter(|nodes| nodes * real_weight(*nodes) <= nodes_max) {
                rows.push(row(&format!("real {origin} MB/s"), real(nodes, policy, start, origin)));
            }
        }
    }
    for (policy, start) in ways {
        for nodes in REAL_CROWDS.into_iter().filter(|nodes| nodes * real_weight(*nodes) <= nodes_max) {
            if nodes >= 10 {
                let mut scenario = real(nodes, policy, start, 40);
                scenario.net.slow_permille = 100;
                rows.push(row("real mixed", scenario));
            }
        }
    }
    let mut special = |name: &str, nodes: u32, policy: Policy, change: &dyn Fn(&mut Scenario)| {
        let mut scenario = crowd(nodes, policy, Start::Warm);
        change(&mut scenario);
        if nodes <= nodes_max {
            rows.push(row(name, scenario));
        }
    };
    let spare = Policy::SpareOrigin;
    for actor in [Actor::Dead, Actor::Mute, Actor::HaveLiar, Actor::Liar] {
        special(&format!("8 {}", actor.name()), 1, Policy::Fastest, &|s| s.actors.push((actor, 8)));
    }
    special("19 liars", 1, Policy::Fastest, &|s| s.actors.push((Actor::Liar, 19)));
    special("19 liars", 1, spare, &|s| s.actors.push((Actor::Liar, 19)));
    special("1 liar", 19, spare, &|s| s.actors.push((Actor::Liar, 1)));
    special("1 twister", 19, spare, &|s| s.actors.push((Actor::Twister, 1)));
    special("claim-liars 3", 61, spare, &|s| s.actors.push((Actor::ClaimLiar, 3)));
    special("mute 3", 61, spare, &|s| s.actors.push((Actor::Mute, 3)));
    special("leechers 6", 58, spare, &|s| s.actors.push((Actor::Leecher, 6)));
    for nodes in [64, 256] {
        special("20 % leave", nodes, spare, &|s| s.churn.leave_permille = 200);
    }
    special("by a tracker", 64, spare, &|s| s.told = Found::Tracker);
    special("by a tracker", 64, Policy::Fastest, &|s| s.told = Found::Tracker);
    special("20 % crash", 64, spare, &|s| s.churn.crash_permille = 200);
    special("parted 3-8 s", 64, spare, &|s| s.net.partition_ns = Some((3 * SEC, 8 * SEC)));
    special("nobody known", 8, spare, &|s| s.known = 0);
    special("crash, rot", 64, spare, &|s| (s.churn.crash_permille, s.churn.rot_permille) = (200, 50));
    // One seed has all, and there is no origin to speak of.
    let strangers = [
        (Actor::Idle, 0),
        (Actor::Idle, 40),
        (Actor::Namer, 12),
        (Actor::Forger, 8),
        (Actor::Hog, 16),
        (Actor::Squatter, 300),
        (Actor::Gatherer, 16),
        (Actor::Spy, 8),
    ];
    for (actor, count) in strangers {
        let name = if count == 0 { "1 seed".to_owned() } else { format!("seed, {count} {}", actor.name()) };
        special(&name, 3, Policy::Fastest, &|s| {
            (s.seeds, s.actors) = (1, vec![(actor, count)]);
            s.origin.total_bytes_s = Some(50_000);
            s.net.nat_permille = if actor == Actor::Idle { 1000 } else { 0 };
            if actor == Actor::Idle {
                s.known = s.known.max(count + 4);
            }
            s.near = actor == Actor::Spy;
        });
    }
    for (nodes, policy) in [(1, Policy::Fastest), (8, spare)] {
        for (what, seconds) in [(Line::Cdn, 30), (Line::Cdn, 120), (Line::Whole, 30), (Line::Whole, 120)] {
            let name = format!("{} out {seconds} s", what.name());
            let outage = Outage { what, from_ns: 3 * SEC, until_ns: (3 + seconds) * SEC, busy: false };
            special(&name, nodes, policy, &|s| s.origin.outage = Some(outage));
        }
    }
    rows
}

/// What such a row costs to play, beside one of as many nodes: the test plays those of up to eight.
fn real_weight(nodes: u32) -> u32 {
    if nodes > 8 { 16 } else { 8 }
}

fn real(nodes: u32, policy: Policy, start: Start, origin_mb_s: u64) -> Scenario {
    Scenario { policy, start, limit_ns: LIMIT_NS, ..Scenario::real(1, nodes, origin_mb_s) }
}

fn crowd(nodes: u32, policy: Policy, start: Start) -> Scenario {
    let mut scenario = Scenario::crowd(1, nodes);
    (scenario.policy, scenario.start, scenario.limit_ns) = (policy, start, LIMIT_NS);
    scenario
}

fn row(name: &str, scenario: Scenario) -> Row {
    Row { nodes: scenario.nodes, name: name.to_owned(), scenario }
}

/// The head of the table.
#[must_use]
pub fn head() -> String {
    format!(
        "{HEAD}{:>5} {:<12} {:<4} {:<13} {:>6} {:>6} {:>6} {:>6} {:>7} {:>6} {:>6} {:>7} {:>6} {:>5}\n",
        "nodes",
        "policy",
        "from",
        "world",
        "p50",
        "p99",
        "max",
        "fast",
        "origin",
        "twice",
        "wrong",
        "control",
        "ev/ch",
        "bans"
    )
}

impl Row {
    /// What the row is about: the part of the line before the figures.
    #[must_use]
    pub fn title(&self) -> String {
        let policy = match self.scenario.policy {
            Policy::Fastest => "fastest",
            Policy::SpareOrigin => "spare-origin",
        };
        format!("{:>5} {policy:<12} {:<4} {:<13}", self.nodes, self.scenario.start.to_string(), self.name)
    }

    /// Plays it. A line of the table, or what went wrong in its place.
    #[must_use]
    pub fn play(&self) -> String {
        match run(self.scenario.clone()) {
            Ok(report) => format!("{} {}", self.title(), figures(&report)),
            Err(failure) => format!("{} {}", self.title(), failure.why),
        }
    }
}

fn figures(report: &Report) -> String {
    let [p50, p99, max] = report.finish();
    let fast = report.over_bound(quantile(&report.fast_ns, 500));
    let percent = |bytes: u64| 100.0 * report.share(bytes);
    let mut line = String::new();
    let _ = write!(
        line,
        "{p50:>6.3} {p99:>6.3} {max:>6.3} {fast:>6.3} {:>7.3} {:>5.2}% {:>5.2}% {:>6.3}% {:>6.1} {:>5}",
        report.origin_copies(),
        percent(report.late_bytes + report.double_bytes),
        percent(report.wrong_bytes),
        percent(report.control_bytes),
        report.events_per_chunk(),
        report.bans
    );
    if report.failed > 0 {
        let _ = write!(line, "  {} failed", report.failed);
    }
    line
}

/// Plays rows on all cores; `told` hears of each line as it is done.
#[must_use]
pub fn play_rows(rows: &[Row], told: &(dyn Fn(&str) + Sync)) -> Vec<String> {
    let lines: Mutex<Vec<String>> = Mutex::new(vec![String::new(); rows.len()]);
    // The large ones first, so that no core waits for one at the end.
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(rows[*at].nodes));
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let line = rows[at].play();
            told(&line);
            lines.lock().expect("no holder panics")[at] = line;
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        (1..cores).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    lines.into_inner().expect("no holder panics")
}

/// Puts new lines into an old table: a row that was not played keeps its line if it has one.
#[must_use]
pub fn merged(old: &str, all: &[Row], played: &[Row], lines: &[String]) -> String {
    let mut text = head();
    for row in all {
        let new = played.iter().position(|p| p.title() == row.title()).map(|at| lines[at].as_str());
        if let Some(line) = new.or_else(|| line_of(old, row)) {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

/// The line of a row in a table.
#[must_use]
pub fn line_of<'a>(table: &'a str, row: &Row) -> Option<&'a str> {
    let title = row.title();
    table.lines().find(|line| line.starts_with(&title) && line[title.len()..].starts_with(' '))
}

/// What is different: old lines with `-`, new ones with `+`. Empty if nothing is.
#[must_use]
pub fn diff(old: &str, rows: &[Row], lines: &[String]) -> String {
    let mut text = String::new();
    for (row, new) in rows.iter().zip(lines) {
        let before = line_of(old, row);
        if before != Some(new) {
            if let Some(before) = before {
                let _ = writeln!(text, "-{before}");
            }
            let _ = writeln!(text, "+{new}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_own_title_and_is_found_again() {
        let rows = rows(4096);
        let lines: Vec<String> = rows.iter().map(|row| format!("{} figures", row.title())).collect();
        let table = merged("", &rows, &rows, &lines);
        for (row, line) in rows.iter().zip(&lines) {
            assert_eq!(line_of(&table, row), Some(line.as_str()));
        }
        assert_eq!(diff(&table, &rows, &lines), "");
        let mut changed = lines.clone();
        changed[3] = format!("{} others", rows[3].title());
        assert_eq!(diff(&table, &rows, &changed).lines().count(), 2);
        // Rows that were not played stay.
        assert_eq!(merged(&table, &rows, &rows[..2], &lines[..2]), table);
    }
}
