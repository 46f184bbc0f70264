//! Lookups: the largest file of a model stands for the others, xorbs help when files give too little, and nothing is
//! asked twice within thirty seconds.

#[path = "common/finding.rs"]
mod finding;

use finding::*;
use std::collections::BTreeSet;
use zest_core::discovery::*;
use zest_core::lsd::Group;
use zest_core::{Duration, InfoHash, Instant, JobId};

#[test]
fn xorbs_that_become_known_late_are_looked_up_if_they_are_wanted() {
    let mut world = World::with_dht();
    world.want(1, file(1, 1));
    world.pass(GATHER);
    world.answer([]);
    world.pass(ROUND_MIN);
    assert!(world.gets.is_empty(), "there is nothing else to look for");
    world.handle(Event::Planned { job: JobId(1), xorbs: &[hash(70), hash(71)] });
    world.pass(GATHER);
    let asked: Vec<InfoHash> = world.gets.iter().map(|(_, swarm)| *swarm).collect();
    assert_eq!(asked, [InfoHash::of_xorb(&hash(70)), InfoHash::of_xorb(&hash(71))]);
    world.handle(Event::Planned { job: JobId(1), xorbs: &[hash(72)] });
    world.pass(GATHER);
    assert_eq!(world.gets.len(), 2, "told once");
}

#[test]
fn a_model_with_enough_peers_costs_one_look() {
    let mut world = World::with_dht();
    for n in (0..30).rev() {
        world.want(n, file(n, 1));
    }
    world.pass(GATHER);
    assert_eq!(world.gets.len(), 1);
    assert_eq!(world.answer(0..8), key(0), "the largest, though it came last");
    assert_eq!(world.found.len(), 8);
    world.pass(ROUND_MIN);
    assert!(world.gets.is_empty(), "one connection serves all files");
    let told: BTreeSet<JobId> = world.searched.iter().map(|(job, ..)| *job).collect();
    assert_eq!(told.len(), 30, "every job hears of it");
    // One file that none of them has.
    world.handle(Event::Starved { job: JobId(17) });
    world.pass(GATHER);
    assert_eq!(world.answer([]), key(17));
}

#[test]
fn a_model_with_few_peers_has_every_file_looked_up() {
    let mut world = World::with_dht();
    for n in 0..5 {
        world.want(n, file(n, 1));
    }
    world.pass(GATHER);
    world.answer([1, 2, 3]);
    world.pass(ROUND_MIN);
    let swarms: BTreeSet<InfoHash> = world.gets.iter().map(|(_, swarm)| *swarm).collect();
    assert_eq!(swarms, (1..5).map(key).collect());
}

#[test]
fn what_one_job_found_counts_for_the_next_for_thirty_seconds() {
    let mut world = World::with_dht();
    world.want(1, file(1, 1));
    world.pass(GATHER);
    world.answer([1, 2]);
    world.pass(ROUND_MIN);
    world.handle(Event::Dropped { job: JobId(1) });
    world.found.clear();
    world.searched.clear();
    world.want(2, file(1, 1));
    assert_eq!(world.found.len(), 2, "at once, from what is known");
    assert!(matches!(world.searched[..], [(JobId(2), 2, _)]));
    world.want(3, file(1, 1));
    world.pass(CACHE - secs(3) - GATHER);
    assert!(world.gets.is_empty(), "no second question");
    assert!(world.pass_until(secs(5), |w| !w.gets.is_empty()), "after that there is one");
    assert_eq!(world.found.len(), 4);
    world.answer([1, 2]);
    assert_eq!(world.found.len(), 6, "what is known no longer is told again, once for all jobs");
}

#[test]
fn xorbs_are_looked_up_only_when_their_file_gives_too_few() {
    let xorbs: Vec<_> = (100..120).map(hash).collect();
    let xorb_keys: BTreeSet<InfoHash> = xorbs.iter().take(XORBS_MAX).map(InfoHash::of_xorb).collect();
    let mut world = World::with_dht();
    world.handle(Event::Want { job: JobId(1), file: file(1, 1), xorbs: &xorbs });
    world.pass(GATHER);
    world.answer([1, 2, 3]);
    world.pass(secs(20));
    assert!(world.gets.is_empty(), "three peers will do");

    let mut world = World::with_dht();
    world.handle(Event::Want { job: JobId(1), file: file(1, 1), xorbs: &xorbs });
    world.pass(GATHER);
    world.answer([1]);
    world.pass(ROUND_MIN + GATHER);
    let asked: BTreeSet<InfoHash> = world.gets.iter().map(|(_, swarm)| *swarm).collect();
    assert_eq!(asked, xorb_keys);
    let (op, swarm) = world.gets[0];
    world.handle(Event::DhtPeers { op, peers: &[peer(77)] });
    assert_eq!(world.found.last(), Some(&(peer(77), Found::Dht, Some(swarm))));
    world.handle(Event::Dropped { job: JobId(1) });
    assert_eq!((world.discovery.swarms(), world.gets.len()), (0, 0), "they go with their job");
}

#[test]
fn looks_that_find_nobody_become_rare_and_spread_over_nodes() {
    let gaps = |seed: u8| -> Vec<u64> {
        let mut world = World::new(Config { seed: [seed; 32], ..config() });
        world.handle(Event::Dht { up: true });
        world.want(1, file(1, 1));
        let mut times = vec![];
        while times.len() < 9 {
            assert!(world.pass_until(secs(1000), |w| !w.gets.is_empty()));
            times.push(world.now);
            world.answer([]);
        }
        times.windows(2).map(|pair| pair[1].since(pair[0]).as_secs()).collect()
    };
    let one = gaps(1);
    assert!(one.iter().all(|gap| (30..=LOOK_AGAIN_MAX.as_secs() + 10).contains(gap)), "{one:?}");
    assert!(one[5..].iter().all(|gap| *gap >= 150), "{one:?}");
    let thirds: BTreeSet<u64> = (0..20).map(|seed| gaps(seed)[2]).collect();
    assert!(thirds.len() > 8 && thirds.last().unwrap() - thirds.first().unwrap() > 20, "{thirds:?}");
}

#[test]
fn nodes_that_found_nobody_do_not_run_to_the_origin_together() {
    let mut pauses: Vec<Duration> = (0..100)
        .map(|seed| {
            let mut world = World::new(Config { seed: [seed; 32], ..config() });
            // No DHT, no tracker, no LAN: the worst case is told as soon as any other.
            world.want(1, file(1, 1));
            assert!(world.pass_until(secs(10), |w| !w.searched.is_empty()));
            let (job, peers, pause) = world.searched[0];
            assert_eq!((job, peers), (JobId(1), 0));
            pause
        })
        .collect();
    pauses.sort();
    assert!(*pauses.last().unwrap() < ALONE_PAUSE);
    for (n, pause) in pauses.iter().enumerate() {
        let even = ALONE_PAUSE * n as u32 / 100;
        assert!(pause.abs_diff(even) < ALONE_PAUSE / 4, "node {n} waits {pause:?}, evenly spread {even:?}");
    }
}

#[test]
fn a_mute_dht_and_a_mute_tracker_end_a_round_in_time() {
    let tiers = vec![vec!["http://mute.example".parse().unwrap()]];
    let mut world = World::new(Config { tiers, ..config() });
    world.handle(Event::Dht { up: true });
    world.want(1, file(1, 1));
    let began = world.now;
    assert!(world.pass_until(secs(100), |w| !w.searched.is_empty()));
    assert_eq!(world.now.since(began), GATHER + ROUND_MAX);
    // Its question is given up after a minute; late words are no words.
    let (op, _) = world.gets[0];
    world.pass(OP_MAX);
    assert!(world.stopped.contains(&op));
    let before = world.found.len();
    world.handle(Event::DhtPeers { op, peers: &[peer(1)] });
    world.handle(Event::DhtDone { op, packets: 5 });
    assert_eq!(world.found.len(), before);
}

#[test]
fn peers_say_how_they_were_found_and_we_are_none() {
    let mut world = World::with_dht();
    world.handle(Event::LanGroup { group: Group::V4, up: true });
    world.handle(Event::Own { addr: peer(9) });
    world.want(1, file(1, 1));
    world.handle(Event::Seed { file: file(2, 1) });
    world.pass(GATHER);
    world.handle(Event::Named { addr: peer(1) });
    world.handle(Event::Exchanged { addr: peer(2) });
    let near = "192.168.1.9:6771".parse().unwrap();
    let text = zest_core::lsd::message::write(Group::V4, 7000, &[key(2)], "x");
    world.handle(Event::LanDatagram { group: Group::V4, from: near, bytes: &text });
    world.handle(Event::Named { addr: peer(9) });
    world.handle(Event::Exchanged { addr: "0.0.0.0:1".parse().unwrap() });
    let gets = world.gets.len();
    world.answer([3, 9]);
    assert_eq!(gets, 1);
    let how: Vec<Found> = world.found.iter().map(|(_, how, _)| *how).collect();
    assert_eq!(how, [Found::Named, Found::Pex, Found::Lan, Found::Dht]);
    assert!(
        Found::Named < Found::Lan && Found::Lan < Found::Tracker && Found::Tracker < Found::Dht,
        "the near ones are better"
    );
    assert_eq!(world.found[2], ("192.168.1.9:7000".parse().unwrap(), Found::Lan, Some(key(2))));
}

#[test]
fn a_neighbour_that_speaks_again_is_told_again_however_soon() {
    let mut world = World::with_dht();
    world.handle(Event::LanGroup { group: Group::V4, up: true });
    world.handle(Event::Seed { file: file(2, 1) });
    let near = "192.168.1.9:6771".parse().unwrap();
    // A pull that ends and begins again takes the same port: what was linked is gone.
    for times in 1..4 {
        let text = zest_core::lsd::message::write(Group::V4, 7000, &[key(2)], "x");
        world.handle(Event::LanDatagram { group: Group::V4, from: near, bytes: &text });
        assert_eq!(world.found.len(), times);
        world.pass(secs(8));
    }
}

#[test]
fn a_thousand_peers_and_a_thousand_jobs_stay_within_the_limits() {
    let mut world = World::with_dht();
    world.want(1, file(1, 1));
    world.pass(GATHER);
    let (op, _) = world.gets[0];
    let many: Vec<_> = (0..5000).map(peer).collect();
    world.handle(Event::DhtPeers { op, peers: &many });
    assert_eq!(world.found.len(), KNOWN_PEERS_MAX);
    for n in 2..JOBS_MAX as u32 + 100 {
        world.handle_fast(Event::Want { job: JobId(n), file: file(n, n.into()), xorbs: &[] });
    }
    world.handle(Event::Timer);
    assert_eq!(world.discovery.swarms(), JOBS_MAX);
    world.pass(secs(1));
    assert!(world.gets.len() <= OPS_MAX);
}

#[test]
fn a_clock_that_jumps_loses_and_floods_nothing() {
    let mut world = World::with_dht();
    for n in 0..20 {
        world.want(n, file(n, n.into()));
        world.handle(Event::Seed { file: file(100 + n, 100) });
    }
    world.pass(secs(5));
    let asked = world.log.len();
    world.now = world.now + secs(30 * 86_400);
    world.handle(Event::Timer);
    world.handle(Event::Timer);
    assert!(world.log.len() < asked + 200, "a month of sleep is not caught up");
    let then = world.now;
    world.now = Instant(0);
    world.handle(Event::Timer);
    world.now = then;
    while !world.gets.is_empty() {
        world.answer([]);
    }
    assert!(world.pass_until(secs(1000), |w| !w.gets.is_empty()), "and it goes on");
}

#[test]
fn the_same_seed_and_events_give_the_same_actions() {
    let run = || {
        let mut world = World::with_dht();
        for n in 0..50 {
            world.want(n, file(n, (n / 7).into()));
            world.handle(Event::Seed { file: file(200 + n, (n / 7).into()) });
            world.pass(secs(u64::from(n)));
            if n % 3 == 0 && !world.gets.is_empty() {
                world.answer([n as u16, 3]);
            }
            if n % 5 == 0 {
                world.handle(Event::Dropped { job: JobId(n / 2) });
                world.handle(Event::Dht { up: n % 2 == 0 });
            }
        }
        world.log
    };
    let log = run();
    assert_eq!(log, run());
    assert!(log.len() > 100);
}
