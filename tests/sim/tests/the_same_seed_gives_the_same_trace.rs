//! Nothing in a run comes from anywhere but its scenario.

use zest_sim::{Report, Scenario, run};

fn played(scenario: Scenario) -> Report {
    run(scenario).unwrap_or_else(|failure| panic!("{failure:?}"))
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..6 {
        for make in [Scenario::from_seed, Scenario::bytes_from_seed] {
            let (one, other) = (played(make(seed)), played(make(seed)));
            assert_eq!(one, other, "seed {seed}");
        }
    }
}

#[test]
fn another_seed_gives_another_trace() {
    let crowd = |seed| Scenario { chunks: 64, ..Scenario::crowd(seed, 12) };
    assert_ne!(played(crowd(1)).trace_hash, played(crowd(2)).trace_hash);
}

#[test]
fn looking_on_changes_nothing() {
    let trace = zest_sim::Trace::with_lines(false);
    let watched = zest_sim::run_with(Scenario::from_seed(3), trace, zest_sim::Canary::None);
    assert_eq!(watched.expect("it keeps its promises"), played(Scenario::from_seed(3)));
}
