//! Machines that are not run for a while in the middle of a pull of many: whoever wakes calls nobody dead or silent for what it
//! has not heard itself, and asks for nothing twice that lies in its sockets.

use zest_core::node::Policy;
use zest_sim::{Report, Scenario, run};

const MS: u64 = 1_000_000;
const SEC: u64 = 1000 * MS;

/// A crowd, of which so many of 1,000 are frozen up to three times for so long.
fn frozen(seed: u64, policy: Policy, permille: u32, frozen_ns: (u64, u64)) -> Report {
    let mut scenario = Scenario { policy, ..Scenario::crowd(seed, 24) };
    scenario.churn.freeze_permille = permille;
    scenario.churn.frozen_ns = frozen_ns;
    let report = run(scenario).unwrap_or_else(|failure| panic!("{}", failure.why));
    println!("{policy:?}: {} freezes, {} let go, {report}", report.freezes, report.let_go);
    assert_eq!((report.finish_ns.len(), report.bans), (24, 0), "all finish, nobody is shut out");
    assert!(report.freezes > 0);
    report
}

#[test]
fn nobody_is_let_go_by_one_who_slept() {
    for (seed, policy) in [(1, Policy::SpareOrigin), (2, Policy::SpareOrigin), (3, Policy::Fastest)] {
        let report = frozen(seed, policy, 500, (5 * SEC, 30 * SEC));
        assert_eq!(report.let_go, 0, "{report}");
    }
}

#[test]
fn a_swarm_of_starved_machines_asks_hardly_anything_twice_and_the_origin_for_one_copy() {
    let reports =
        [1, 2, 3, 4, 5, 6, 7, 8].map(|seed| frozen(seed, Policy::SpareOrigin, 1000, (SEC, 3 * SEC)));
    let late: u64 = reports.iter().map(|report| report.late_bytes + report.double_bytes).sum();
    let payload: u64 = reports.iter().map(|report| report.payload_bytes).sum();
    let share = late as f64 / payload as f64;
    assert!(share <= 0.008, "{:.2} % of the chunks came late or again", share * 100.0);
    // Of one world lots decide: one of 24 takes 1.12.
    for report in &reports {
        assert!(report.origin_copies() <= 1.15, "{report}");
    }
    let copies = reports.iter().map(Report::origin_copies).sum::<f64>() / reports.len() as f64;
    assert!(copies <= 1.08, "{copies:.3} copies");
}
