//! One machine on a quick line, 4 GiB in xorbs of 64 MiB: how many streams it asks the origin for is found by what they bring.

use zest_core::node::Policy;
use zest_sim::{Actor, Report, Scenario, Start, run};

/// Seconds that it takes.
fn play(change: impl FnOnce(&mut Scenario)) -> (f64, Report) {
    let mut scenario = Scenario { policy: Policy::Fastest, start: Start::Cold, ..Scenario::crowd(1, 1) };
    (scenario.chunks, scenario.block) = (64_000, 1000);
    (scenario.net.up_bytes_s, scenario.net.down_bytes_s) = (1_250_000_000, 1_250_000_000);
    scenario.net.latency_ns = 50_000;
    scenario.origin.total_bytes_s = None;
    change(&mut scenario);
    let bytes = scenario.chunks as f64 * 65_536.0;
    let report = run(scenario).unwrap_or_else(|failure| panic!("{}", failure.why));
    let secs = report.finish_ns.last().map_or(f64::INFINITY, |ns| *ns as f64 / 1e9);
    println!("{secs:.1} s, {:.0} MB/s, {:.3} copies", bytes / secs / 1e6, report.origin_copies());
    (secs, report)
}

#[test]
fn ten_megabytes_a_second_each_are_asked_for_by_up_to_sixty_four() {
    let (secs, report) = play(|scenario| scenario.origin.conn_bytes_s = Some(10_000_000));
    // Eight alone take 52 s.
    assert!(secs < 16.0, "{secs:.1} s");
    assert!(report.origin_copies() < 1.001, "nothing is fetched twice for it");
}

#[test]
fn a_stranger_who_says_that_he_wants_the_same_keeps_nobody_from_asking() {
    let (secs, report) = play(|scenario| {
        scenario.origin.conn_bytes_s = Some(10_000_000);
        scenario.actors.push((Actor::Leecher, 1));
    });
    // Eight take 52 s, and two, with which it begins beside others, four times as long.
    assert!(secs < 24.0, "{secs:.1} s");
    assert!(report.origin_copies() < 2.0, "the stranger fetches it as well, and nobody twice");
}

#[test]
fn a_line_that_is_full_is_not_slowed_by_trying() {
    let (secs, _) = play(|scenario| scenario.origin.total_bytes_s = Some(100_000_000));
    let alone = 64_000.0 * 65_536.0 / 100e6;
    assert!(secs < 1.03 * alone, "{secs:.1} s, at best {alone:.1}");
}

#[test]
fn who_is_refused_asks_with_fewer() {
    let limits = |most: u32| {
        move |scenario: &mut Scenario| {
            (scenario.origin.conn_bytes_s, scenario.origin.conns_max) = (Some(10_000_000), Some(most));
        }
    };
    // With twenty, 200 MB/s are to be had; eight take 52 s.
    let (secs, _) = play(limits(20));
    assert!(secs < 40.0, "{secs:.1} s");
    // With eight they are what eight give.
    let (secs, _) = play(limits(8));
    assert!(secs < 60.0, "{secs:.1} s");
}
