//! `tests/snapshots/quality.txt` says what the code achieves: its rows of up to 64 nodes are played again, or of as many as
//! `NODES` says.

use zest_sim::quality::{PATH, diff, play_rows, rows};

/// Rows up to this size are played in every test run; larger ones take minutes.
const NODES: u32 = 64;

#[test]
fn the_quality_table_is_up_to_date() {
    let table = std::fs::read_to_string(PATH).expect("the table is committed");
    let nodes = std::env::var("NODES").map_or(NODES, |text| text.parse().expect("a number"));
    let rows = rows(nodes);
    let lines = play_rows(&rows, &|_| {});
    let diff = diff(&table, &rows, &lines);
    assert!(
        diff.is_empty(),
        "the table of quality changed:\n{diff}If that is meant, write it anew: cargo run -p zest-sim -- quality"
    );
}
