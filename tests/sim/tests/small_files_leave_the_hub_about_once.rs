//! Small files outside Xet: a hundred nodes that begin together take each of them from the Hub about once, whoever else is there.

use zest_core::node::Policy;
use zest_sim::{Actor, MS, NetOptions, Report, SEC, Scenario, quantile, run};

/// 1 Gbit/s.
const LINE_BYTES_S: u64 = 125_000_000;

fn crowd(seed: u64, policy: Policy, nodes: u32, actors: Vec<(Actor, u32)>) -> Report {
    let scenario = Scenario {
        policy,
        actors,
        plain: 20,
        chunks: 256,
        spread_ns: 20 * MS,
        check_every: 50,
        ..Scenario::crowd(seed, nodes)
    };
    let (up_bytes_s, down_bytes_s) = (LINE_BYTES_S, LINE_BYTES_S);
    let net = NetOptions { up_bytes_s, down_bytes_s, ..scenario.net.clone() };
    let scenario = Scenario { net, ..scenario };
    run(scenario).unwrap_or_else(|failure| panic!("{}", failure.why))
}

#[test]
fn a_hundred_nodes_take_each_from_the_hub_three_times_at_most() {
    for (seed, policy) in [(7, Policy::Fastest), (8, Policy::SpareOrigin), (9, Policy::Fastest)] {
        let report = crowd(seed, policy, 100, vec![]);
        assert_eq!((report.plain_of_hub.len(), report.plain_ns.len()), (20, 100));
        let [half, most, last] = [500, 950, 1000].map(|permille| quantile(&report.plain_ns, permille) / MS);
        println!("{policy:?}: {:?}, after {half}, {most} and {last} ms", report.plain_of_hub);
        assert!(report.plain_of_hub.iter().all(|times| (1..=3).contains(times)), "{:?}", report.plain_of_hub);
        let of_hub: u32 = report.plain_of_hub.iter().sum();
        assert_eq!(u64::from(of_hub) + report.plain_of_peers, 20 * 100, "nothing comes twice");
    }
}

#[test]
fn one_node_alone_waits_for_nobody() {
    let report = crowd(7, Policy::Fastest, 1, vec![]);
    assert_eq!(report.plain_of_hub, [1; 20]);
    // Listed after 100 ms, then the Hub: 100 ms and what a megabyte takes at 5 MB/s.
    assert!(report.plain_ns[0] < 450 * MS, "{} ms", report.plain_ns[0] / MS);
}

#[test]
fn liars_mutes_and_tricklers_cost_a_bounded_time() {
    for actor in [Actor::Liar, Actor::Mute, Actor::Trickler, Actor::HaveLiar, Actor::Twister, Actor::Leecher]
    {
        let report = crowd(7, Policy::Fastest, 40, vec![(actor, 10)]);
        println!(
            "{}: {:?}, last after {} ms, {} bans",
            actor.name(),
            report.plain_of_hub,
            quantile(&report.plain_ns, 1000) / MS,
            report.bans
        );
        assert_eq!((report.plain_ns.len(), report.failed), (40, 0), "{}", actor.name());
        assert!(quantile(&report.plain_ns, 1000) < 10 * SEC, "{} hold somebody up", actor.name());
    }
}
