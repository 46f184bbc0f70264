//! Whole systems: nobody is told of anybody. Every machine runs the real finder beside its node, all begin at one node of the
//! DHT, or hear each other's multicast, and swarms come about.

use zest_core::node::Policy;
use zest_sim::{Finding, MS, Report, SEC, Scenario, run};

/// A file of 16 MiB on lines of 1 MB/s, whose origin needs 17 s for one copy of it.
fn world(seed: u64, nodes: u32, finding: Finding) -> Scenario {
    let mut world = Scenario::crowd(seed, nodes);
    (world.known, world.finding) = (0, Some(finding));
    (world.chunks, world.policy) = (256, Policy::SpareOrigin);
    (world.net.up_bytes_s, world.net.down_bytes_s, world.net.latency_ns) = (1_000_000, 1_000_000, 20 * MS);
    world.origin.total_bytes_s = Some(1_000_000);
    world.spread_ns = 10 * SEC;
    world
}

/// What the origin gave, in files, when all were done.
fn copies(world: Scenario) -> (Report, f64) {
    let nodes = world.nodes as usize;
    let report = run(world).unwrap_or_else(|failure| panic!("{failure:?}"));
    assert_eq!((report.finish_ns.len(), report.failed), (nodes, 0));
    let copies = report.origin_bytes as f64 / report.file_bytes as f64;
    (report, copies)
}

#[test]
fn two_hundred_and_fifty_six_that_know_one_node_of_the_dht_form_a_swarm() {
    let (report, copies) = copies(world(1, 256, Finding { lan: 0, dht: true, pex: true, tracker: false }));
    // Alone each of them would have brought one. It was 4.3 when everybody passed on whatever was claimed (five seeds), and 5.2 since
    // what strangers claim is passed on for the first five seconds alone.
    assert!(copies < 6.0, "{copies} copies");
    // Beside what finds them: a few hundred small packets each.
    assert!((1..256 * 400).contains(&report.datagrams), "{} datagrams", report.datagrams);
    assert!(report.found >= 255, "{} found", report.found);
}

#[test]
fn neighbours_find_each_other_without_the_dht() {
    let (report, copies) = copies(world(2, 32, Finding { lan: 32, dht: false, pex: false, tracker: false }));
    assert!(copies < 2.0, "{copies} copies");
    assert!(report.found >= 31, "{} found", report.found);
}

#[test]
fn sixty_four_that_know_one_tracker_form_a_swarm() {
    let (report, copies) = copies(world(4, 64, Finding { lan: 0, dht: false, pex: false, tracker: true }));
    assert!(copies < 3.0, "{copies} copies");
    // Each announces when it begins to have something, when it has all, and asks while it is hungry.
    assert!((64..64 * 10).contains(&report.datagrams), "{} requests", report.datagrams);
    assert!(report.found >= 63, "{} found", report.found);
}

#[test]
fn two_networks_that_share_a_node_of_the_dht_become_one_swarm() {
    let apart = Finding { lan: 16, dht: false, pex: false, tracker: false };
    let (_, two) = copies(world(3, 32, apart));
    let (_, one) = copies(world(3, 32, Finding { dht: true, pex: true, ..apart }));
    assert!(two > 1.8, "each of the two brings a copy: {two}");
    assert!(one < two, "together they bring less: {one} and {two}");
}
