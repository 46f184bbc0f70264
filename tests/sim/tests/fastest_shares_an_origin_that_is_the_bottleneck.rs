//! Policy `fastest` among many that start together: an origin that is the bottleneck is shared, one that is not is used.

use zest_core::node::Policy;
use zest_sim::{Report, Scenario, Start, run};

fn crowd(start: Start, change: impl FnOnce(&mut Scenario)) -> Report {
    let mut scenario = Scenario::crowd(1, 8);
    (scenario.policy, scenario.start) = (Policy::Fastest, start);
    change(&mut scenario);
    let report = run(scenario).unwrap_or_else(|failure| panic!("{}", failure.why));
    assert_eq!(report.finish_ns.len(), 8, "all of them finish");
    report
}

#[test]
fn eight_on_one_line_take_about_one_copy_through_it() {
    for start in [Start::Warm, Start::Cold] {
        let report = crowd(start, |_| ());
        assert!(report.origin_copies() <= 1.5, "{start}: {report}");
    }
}

#[test]
fn where_uplinks_are_slow_everybody_takes_what_the_origin_gives() {
    let slow_up = |s: &mut Scenario| {
        s.net.up_bytes_s = 500_000;
        s.origin.total_bytes_s = None;
    };
    let report = crowd(Start::Warm, slow_up);
    assert!(report.origin_copies() >= 6.0, "{report}");
}
