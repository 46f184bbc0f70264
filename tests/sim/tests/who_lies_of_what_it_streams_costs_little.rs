//! Cold swarms beside those who say that they stream everything and lie: a wrong list, wrong chunks, a list without end, a change of
//! mind. Nothing of it is used, nobody honest is shut out, everybody gets the file, and soon.

use zest_core::node::Policy;
use zest_sim::{Actor, Report, Scenario, Start, run};

/// What liars may cost, as the table of quality wants of a named attack.
const MOST: f64 = 1.5;

fn play(policy: Policy, liars: &[(Actor, u32)]) -> Report {
    let mut scenario = Scenario { policy, start: Start::Cold, ..Scenario::crowd(5, 8) };
    (scenario.chunks, scenario.block) = (1024, 128);
    scenario.net.up_bytes_s = 100_000_000;
    scenario.net.down_bytes_s = 100_000_000;
    scenario.origin.total_bytes_s = Some(10_000_000);
    scenario.actors = liars.to_vec();
    scenario.check_every = 5;
    run(scenario).unwrap_or_else(|failure| panic!("{liars:?}, {policy:?}: {}", failure.why))
}

#[test]
fn a_cold_swarm_beside_liars_is_done_nearly_as_soon_as_without() {
    for policy in [Policy::SpareOrigin, Policy::Fastest] {
        let calm = *play(policy, &[]).finish_ns.last().unwrap();
        for actor in Actor::TELLERS {
            for count in [1, 3] {
                let report = play(policy, &[(actor, count)]);
                assert_eq!(report.finish_ns.len(), 8, "everybody has it");
                let last = *report.finish_ns.last().unwrap();
                println!(
                    "{policy:?}, {count} {}: {:.2} s, {:.2} s without, {:.2} copies",
                    actor.name(),
                    last as f64 / 1e9,
                    calm as f64 / 1e9,
                    report.origin_copies()
                );
                assert!(last as f64 <= calm as f64 * MOST, "{policy:?}, {count} {}", actor.name());
            }
        }
    }
}

#[test]
fn what_streams_gives_spares_the_origin_under_the_usual_policy() {
    let report = play(Policy::Fastest, &[]);
    assert!(report.origin_copies() <= 1.25, "{:.2} copies", report.origin_copies());
}
