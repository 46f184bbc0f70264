//! Two, three and eight machines pull the same new model at the same time: xorbs of 64 MiB, which nobody can prove before they are
//! whole, over quick links from an origin of 12 to 400 MB/s.

use zest_core::node::Policy;
use zest_sim::{MS, Report, SEC, Scenario, Start, run};

/// 512 MiB in eight xorbs.
fn play(nodes: u32, origin_mb_s: u64, policy: Policy) -> Report {
    let mut scenario = Scenario { policy, start: Start::Cold, ..Scenario::real(1, nodes, origin_mb_s) };
    (scenario.net.up_bytes_s, scenario.net.down_bytes_s) = (1_000_000_000, 1_000_000_000);
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

/// Three that start at once, know each other and have nothing. Each had waited for others for 0.3 to 1.2 s, though all were linked after a few
/// milliseconds.
#[test]
fn few_that_have_found_each_other_begin() {
    for seed in 1..=4 {
        let real = Scenario { spread_ns: 0, ..Scenario::real(seed, 3, 100) };
        let report = run(Scenario { policy: Policy::SpareOrigin, start: Start::Cold, ..real });
        let report = report.unwrap_or_else(|failure| panic!("{}", failure.why));
        let begun: Vec<u64> = report.first_fetch_ns.iter().map(|at| at / MS).collect();
        println!("seed {seed}: begun after {begun:?} ms, {:.3} copies", report.origin_copies());
        assert!(begun.first().is_some_and(|at| *at < 300), "seed {seed}: begun after {begun:?} ms");
        assert!(report.origin_copies() <= 1.05, "seed {seed}: {:.3} copies", report.origin_copies());
    }
}

/// More than everybody is linked with: who is not linked with whoever streams a xorb sees nothing of it before it is whole.
#[test]
fn who_hears_of_a_stream_through_others_waits_for_it() {
    for (policy, nodes) in [(Policy::SpareOrigin, 24), (Policy::SpareOrigin, 32), (Policy::Fastest, 24)] {
        let scenario = Scenario { policy, start: Start::Cold, ..Scenario::real(1, nodes, 40) };
        let report = run(scenario).unwrap_or_else(|failure| panic!("{}", failure.why));
        let ([p50, ..], copies) = (report.finish(), report.origin_copies());
        println!("{nodes}, {policy:?}: p50 {p50:.2}, {copies:.3} copies");
        assert!(p50 <= 1.25 && copies <= 1.2, "{nodes}, {policy:?}: p50 {p50:.2}, {copies:.3} copies");
    }
}

#[test]
fn who_follows_a_stream_leaves_it_to_whoever_streams_it() {
    // Eight that start in the same 10 ms: as soon as somebody found that sharing is worth it, it claimed what it followed as well; whoever streamed
    // it stopped, and all began anew. 1.38 to 1.42 copies; now 1.00 in 23 of 24 worlds, and 1.12 in one, where those that do not share yet
    // begin what another has claimed and does not come to.
    for (origin_mb_s, xorbs, seeds) in [(12, 2, [3, 11]), (40, 4, [5, 9])] {
        for seed in seeds {
            let mut scenario =
                Scenario { policy: Policy::Fastest, start: Start::Cold, ..Scenario::crowd(seed, 8) };
            (scenario.chunks, scenario.block, scenario.spread_ns) = (xorbs * 1024, 1024, 10 * MS);
            (scenario.net.up_bytes_s, scenario.net.down_bytes_s) = (1_250_000_000, 1_250_000_000);
            (scenario.net.latency_ns, scenario.origin.plan_ns) = (50_000, 80 * MS);
            scenario.origin.total_bytes_s = Some(origin_mb_s * 1_000_000);
            scenario.churn.stays_ns = Some(SEC);
            let report = run(scenario).unwrap_or_else(|failure| panic!("{}", failure.why));
            let copies = report.origin_copies();
            println!("{origin_mb_s} MB/s, seed {seed}: {copies:.3} copies");
            assert!(copies <= 1.15, "{origin_mb_s} MB/s, seed {seed}: {copies:.3} copies");
        }
    }
}

/// Lines of 1 Gbit/s: whoever streams the first three xorbs cannot give them to seven others as fast as they come, and was on probation
/// when it offered the next ones. The offer was lost, its claims were not believed, and both xorbs were fetched twice: 1.13 to 1.39 copies.
#[test]
fn what_somebody_offers_who_is_slow_just_then_is_followed_later() {
    for seed in [10, 13, 21] {
        let real = Scenario::real(seed, 8, 40);
        let scenario = Scenario { policy: Policy::SpareOrigin, start: Start::Cold, ..real };
        let report = run(scenario).unwrap_or_else(|failure| panic!("{}", failure.why));
        assert!(report.origin_copies() <= 1.05, "seed {seed}: {:.3} copies", report.origin_copies());
    }
}
