//! The flash crowd: a thousand nodes pull the same file within the same second, and the origin sends it about once.

use zest_sim::{Scenario, Start, run};

#[test]
fn a_thousand_nodes_start_at_once() {
    for (seed, start) in [(1, Start::Warm), (2, Start::Cold)] {
        let mut scenario = Scenario::crowd(seed, 1000);
        (scenario.chunks, scenario.block, scenario.start) = (64, 4, start);
        let report = run(scenario).unwrap_or_else(|failure| panic!("seed {seed}: {}", failure.why));
        assert_eq!(report.finish_ns.len(), 1000, "all of them finish");
        // A file this small is through the origin in under a second, about the time in which the crowd gathers.
        assert!(report.origin_copies() <= 2.0, "seed {seed}, {start}: {report}");
    }
}
