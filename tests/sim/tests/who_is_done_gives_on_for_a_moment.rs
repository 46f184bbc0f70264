//! Who comes first streams all of a new model; who comes a little later follows what it streams and is behind it by a moment. A process
//! that ends with its last chunk leaves what it has not passed on to be fetched again.

use zest_core::node::Policy;
use zest_sim::{SEC, Scenario, Start, run};

/// Copies that leave an origin of 40 MB/s: three machines of the usual policy, 3 s apart, four xorbs of 64 MiB; each ends so long after it is done.
fn copies(seed: u64, stays_ns: u64) -> f64 {
    let mut scenario = Scenario { policy: Policy::Fastest, start: Start::Cold, ..Scenario::crowd(seed, 3) };
    (scenario.chunks, scenario.block, scenario.spread_ns) = (4096, 1024, 6 * SEC);
    (scenario.net.up_bytes_s, scenario.net.down_bytes_s) = (1_250_000_000, 1_250_000_000);
    (scenario.net.latency_ns, scenario.origin.total_bytes_s) = (50_000, Some(40_000_000));
    scenario.churn.stays_ns = Some(stays_ns);
    let copies = run(scenario).unwrap_or_else(|failure| panic!("{}", failure.why)).origin_copies();
    println!("{copies:.3} copies, seed {seed}, {} s", stays_ns as f64 / SEC as f64);
    copies
}

fn mean(stays_ns: u64) -> f64 {
    (1..=6).map(|seed| copies(seed, stays_ns)).sum::<f64>() / 6.0
}

#[test]
fn a_second_is_enough_for_those_that_follow() {
    let (leave, stay) = (mean(0), mean(SEC));
    assert!(stay < 1.15 && leave > stay + 0.1, "{stay:.3} copies, {leave:.3} if they leave at once");
}
