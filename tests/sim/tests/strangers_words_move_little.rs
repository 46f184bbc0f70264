//! Strangers who take places and give nothing, and strangers who name a victim: both get little out of a swarm.

use zest_core::node::{Found, Policy};
use zest_sim::{Actor, Report, Scenario, run};

const SEC: f64 = 1e9;

/// One node that fetches from one seed through its own line of 5 MB/s, the origin being out of reach behind 50 KB/s.
fn fetching(actors: Vec<(Actor, u32)>, told: Found) -> Report {
    let mut scenario =
        Scenario { policy: Policy::Fastest, seeds: 1, actors, told, known: 60, ..Scenario::crowd(3, 1) };
    // Nobody can come to it, so that it has to dial the one who gives.
    scenario.net.nat_permille = 1000;
    scenario.origin.total_bytes_s = Some(50_000);
    run(scenario).unwrap_or_else(|failure| panic!("{}", failure.why))
}

#[test]
fn idle_peers_keep_nobody_from_the_one_who_gives() {
    let alone = fetching(vec![], Found::Lan).finish_ns[0] as f64 / SEC;
    for (told, idle) in [(Found::Lan, 12), (Found::Lan, 40), (Found::Tracker, 12)] {
        let took = fetching(vec![(Actor::Idle, idle)], told).finish_ns[0] as f64 / SEC;
        println!("{idle} idle, told by {told:?}: {took:.1} s, alone {alone:.1} s");
        // A place is free after 3 s at the latest, and then every half second.
        let patience = 3.0 + 0.6 * f64::from(idle);
        assert!(took <= alone + patience, "{idle} idle, told by {told:?}: {took:.1} s, alone {alone:.1} s");
    }
}

/// One seed, the only one who has anything, and three nodes that fetch from it; how long the last one takes.
fn served(actors: Vec<(Actor, u32)>) -> f64 {
    let mut scenario = Scenario { policy: Policy::Fastest, seeds: 1, actors, ..Scenario::crowd(3, 3) };
    scenario.origin.total_bytes_s = Some(50_000);
    let report = run(scenario).unwrap_or_else(|failure| panic!("{}", failure.why));
    report.finish_ns.iter().copied().max().expect("three of them") as f64 / SEC
}

#[test]
fn one_address_that_asks_without_end_slows_nobody_by_more_than_a_quarter() {
    let alone = served(vec![]);
    for hogs in [1, 16, 64] {
        let took = served(vec![(Actor::Hog, hogs)]);
        println!("{hogs} hogs: {took:.1} s, alone {alone:.1} s");
        assert!(took <= 1.25 * alone, "{hogs} hogs of one address: {took:.1} s, alone {alone:.1} s");
    }
}

#[test]
fn one_address_that_takes_every_place_keeps_nobody_out() {
    let alone = served(vec![]);
    let took = served(vec![(Actor::Squatter, 300)]);
    println!("300 squatters: {took:.1} s, alone {alone:.1} s");
    assert!(took <= 1.25 * alone, "300 squatters of one address: {took:.1} s, alone {alone:.1} s");
}

#[test]
fn files_that_are_named_without_end_are_not_remembered() {
    let alone = served(vec![]);
    // What a node may remember of them the actor looks at itself.
    let took = served(vec![(Actor::Gatherer, 16)]);
    println!("16 gatherers: {took:.1} s, alone {alone:.1} s");
    assert!(took <= 1.25 * alone, "16 gatherers of one address: {took:.1} s, alone {alone:.1} s");
}

#[test]
fn what_one_hub_shows_is_told_to_nobody_who_does_not_speak_of_it() {
    let near = |actors| {
        let mut scenario =
            Scenario { policy: Policy::Fastest, seeds: 1, near: true, actors, ..Scenario::crowd(3, 3) };
        scenario.origin.total_bytes_s = Some(50_000);
        let report = run(scenario).unwrap_or_else(|failure| panic!("{}", failure.why));
        assert!(report.payload_bytes > report.origin_bytes, "those who speak of it give it to each other");
        report.finish_ns.iter().copied().max().expect("three of them") as f64 / SEC
    };
    let alone = near(vec![]);
    // What they hear they look at themselves.
    let took = near(vec![(Actor::Spy, 8)]);
    println!("8 spies: {took:.1} s, alone {alone:.1} s");
    assert!(took <= 1.25 * alone, "8 spies: {took:.1} s, alone {alone:.1} s");
}

#[test]
fn a_victim_that_is_named_without_end_is_left_in_peace() {
    let report = fetching(vec![(Actor::Namer, 12)], Found::Lan);
    let minutes = report.ended_ns as f64 / SEC / 60.0;
    println!("{} knocks in {minutes:.1} minutes", report.knocks);
    assert!(report.knocks as f64 <= 1.0 + minutes, "{} knocks in {minutes:.1} minutes", report.knocks);
}
