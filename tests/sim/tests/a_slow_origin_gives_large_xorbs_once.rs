//! A swarm under `spare-origin` that begins without anybody knowing the chunks: of what an owner fetches nothing can be seen
//! before it is whole. Where the origin takes longer for that than claims used to be believed, it still sends about one copy.

use zest_core::node::Policy;
use zest_sim::{Scenario, Start, run};

#[test]
fn a_slow_origin_gives_large_xorbs_once() {
    // 42 MB in four xorbs of 10 MB, which take 6 to 25 s each.
    for (seed, origin_bytes_s) in
        [(1, 5_000_000), (2, 5_000_000), (3, 5_000_000), (1, 1_600_000), (1, 8_000_000)]
    {
        let crowd = Scenario::crowd(seed, 8);
        let (policy, start) = (Policy::SpareOrigin, Start::Cold);
        let mut scenario = Scenario { policy, start, chunks: 640, block: 160, ..crowd };
        scenario.origin.total_bytes_s = Some(origin_bytes_s);
        let report = run(scenario).unwrap_or_else(|failure| panic!("{}", failure.why));
        println!("seed {seed}, {origin_bytes_s} bytes/s: {report}");
        assert!(
            report.origin_copies() <= 1.1,
            "{:.2} copies at {origin_bytes_s} bytes/s",
            report.origin_copies()
        );
    }
}
