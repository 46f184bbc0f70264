//! Nodes that start together and find nobody do not all ask the origin at the same moment (policy `spare-origin`).

use zest_sim::{MS, Scenario, run};

/// Most nodes that may begin within one such window.
const WINDOW_NS: u64 = 100 * MS;

#[test]
fn discovery_failure_is_no_stampede() {
    for seed in 0..4 {
        let mut scenario = Scenario { chunks: 32, known: 0, spread_ns: 10 * MS, ..Scenario::crowd(seed, 64) };
        scenario.net.down_bytes_s = 50_000_000;
        scenario.origin.total_bytes_s = None;
        let report = run(scenario).unwrap_or_else(|failure| panic!("{}", failure.why));
        assert_eq!((report.finish_ns.len(), report.first_fetch_ns.len()), (64, 64), "everybody helps itself");
        let begun = &report.first_fetch_ns;
        let most =
            begun.iter().map(|from| begun.iter().filter(|at| (*from..from + WINDOW_NS).contains(at)).count());
        let most = most.max().unwrap_or(0);
        assert!(most <= 24, "seed {seed}: {most} of 64 nodes turn to the origin within 100 ms");
    }
}
