//! Two, three and eight machines pull the same new model at the same time: xorbs of 64 MiB, which nobody can prove before they are
//! whole, over quick links from an origin of 12 to 400 MB/s.

use zest_core::node::Policy;
use zest_sim::{Report, Scenario, Start, run};

/// 512 MiB in eight xorbs.
fn play(nodes: u32, origin_mb_s: u64, policy: Policy) -> Report {
    let mut scenario = Scenario { policy, start: Start::Cold, ..Scenario::crowd(1, nodes) };
    (scenario.chunks, scenario.block) = (8000, 1000);
    (scenario.net.up_bytes_s, scenario.net.down_bytes_s) = (1_000_000_000, 1_000_000_000);
    scenario.net.latency_ns = 50_000;
    scenario.origin.total_bytes_s = Some(origin_mb_s * 1_000_000);
    let report = run(scenario).unwrap_or_else(|failure| panic!("{}", failure.why));
    let [p50, ..] = report.finish();
    println!("{nodes} at {origin_mb_s} MB/s, {policy:?}: p50 {p50:.2}, {:.3} copies", report.origin_copies());
    report
}

fn copies(policy: Policy, origins: &[u64], most: f64) {
    for nodes in [2, 3, 8] {
        for &origin in origins {
            let copies = play(nodes, origin, policy).origin_copies();
            assert!(copies <= most, "{nodes} at {origin} MB/s: {copies:.3} copies");
        }
    }
}

#[test]
fn who_spares_the_origin_has_one_copy_of_it() {
    copies(Policy::SpareOrigin, &[12, 40, 100, 400], 1.05);
}

#[test]
fn by_the_usual_policy_it_is_little_more() {
    // At 400 MB/s one that uses the origin beside its peers is done sooner: 1.0 to 1.7 copies.
    copies(Policy::Fastest, &[12, 40, 100], 1.25);
}
