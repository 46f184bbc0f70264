//! The duty cycle: what [`plan`] computes is what the machine does.

#[path = "common/finding.rs"]
mod finding;

use finding::*;
use std::collections::BTreeMap;
use zest_core::discovery::plan::{self, ANNOUNCE_PACKETS, LOADS, Load};
use zest_core::discovery::*;
use zest_core::lsd::Group;
use zest_core::{InfoHash, Instant, tracker};

/// What a node sent in so many hours, while it seeded a load.
struct Measured {
    dht_milli: u64,
    tracker_milli: u64,
    lan_milli: u64,
    /// Times of every swarm's DHT announces.
    times: BTreeMap<InfoHash, Vec<Instant>>,
    seconds: u64,
}

fn measure(load: Load, hours: u64, config: Config) -> Measured {
    let tiers = vec![vec!["udp://192.0.2.9:6969".parse().unwrap()]];
    let mut world = World::new(Config { tiers, ..config });
    world.handle(Event::Dht { up: true });
    for group in Group::ALL {
        world.handle(Event::LanGroup { group, up: true });
    }
    let began = world.now;
    for n in 0..load.files {
        world.handle_fast(Event::Seed { file: file(n, u64::from(n % load.groups)) });
    }
    let end = began + secs(hours * 3600);
    let (mut dht, mut trackers, mut lan) = (0, 0, 0);
    let mut times: BTreeMap<InfoHash, Vec<Instant>> = BTreeMap::new();
    loop {
        for action in std::mem::take(&mut world.trackers) {
            let tracker::Action::SendTo { to, bytes } = action else { continue };
            trackers += 1;
            let action: &[u8] = if bytes.len() == 16 { &[0; 4] } else { &[0, 0, 0, 1] };
            // Interval 1,800 s.
            let reply = [action, &bytes[12..16], &[0, 0, 7, 8, 0, 0, 0, 1, 0, 0, 0, 1]].concat();
            world.handle_fast(Event::Datagram { from: to, bytes: &reply });
        }
        for (op, swarm) in std::mem::take(&mut world.announces) {
            dht += u64::from(ANNOUNCE_PACKETS);
            times.entry(swarm).or_default().push(world.now);
            world.handle_fast(Event::DhtDone { op, packets: ANNOUNCE_PACKETS });
        }
        lan += std::mem::take(&mut world.lan).len() as u64;
        world.log.clear();
        let busy = |w: &World| !(w.trackers.is_empty() && w.announces.is_empty());
        let left = end.since(world.now);
        if world.trackers.is_empty() && world.announces.is_empty() && !world.pass_until(left, busy) {
            break;
        }
    }
    let seconds = hours * 3600;
    let milli = |count: u64| count * 1000 / seconds;
    Measured { dht_milli: milli(dht), tracker_milli: milli(trackers), lan_milli: milli(lan), times, seconds }
}

fn near(measured: u64, planned: u64) -> bool {
    measured.abs_diff(planned) <= planned / 8 + 2
}

#[test]
fn measured_rates_are_the_planned_ones() {
    for (name, load) in LOADS {
        let planned = plan::plan(load, 6000, 3000);
        let hours = if load.files > 100 { 8 } else { 48 };
        let got = measure(load, hours, config());
        println!(
            "{name}: DHT {} of {}, tracker {} of {}, LAN {} of {} (thousandths of a packet per second)",
            got.dht_milli,
            planned.dht_milli,
            got.tracker_milli,
            planned.udp_tracker_milli,
            got.lan_milli,
            planned.lan_milli
        );
        assert!(near(got.dht_milli, planned.dht_milli), "{name}");
        let udp = planned.udp_tracker_milli;
        // All files are announced once more, at the start.
        assert!(got.tracker_milli <= udp + udp / 8 && got.tracker_milli >= udp / 2, "{name}");
        assert!(near(got.lan_milli, planned.lan_milli), "{name}");
        let burst = 400 * 1000 / got.seconds;
        assert!(got.dht_milli <= 6000 + burst, "{name}: never above the budget");
        assert!(
            got.dht_milli + got.tracker_milli + got.lan_milli < 10_000,
            "{name}: ten packets a second in all"
        );
    }
}

#[test]
fn leads_are_always_there_and_nobody_is_forgotten() {
    let load = LOADS[2].1;
    let planned = plan::plan(load, 6000, 3000);
    let got = measure(load, 16, config());
    assert_eq!(got.times.len(), load.files as usize, "every file was announced");
    let mut longest = 0;
    for lead in (0..load.groups).map(|group| {
        // Of each group the largest: the smallest remainder in its size.
        let members = (0..load.files).filter(|n| n % load.groups == group);
        members.map(|n| (std::cmp::Reverse(file(n, 0).bytes), key(n))).min().expect("a group has files").1
    }) {
        let times = &got.times[&lead];
        // The first hours go to what was never announced.
        for pair in times.windows(2) {
            longest = longest.max(pair[1].since(pair[0]).as_secs());
        }
        assert!(times.len() as u64 >= got.seconds / 1650 - 3, "{} announces of a lead in 16 h", times.len());
    }
    assert!(longest <= 1800, "a lead was away for {longest} s, while DHT nodes forget after 1,800 s");
    let rest = got.times.values().map(|times| times.len()).min().unwrap();
    assert!(
        rest as u64 >= got.seconds / planned.rest_every_s - 1,
        "{rest} announces of the least lucky file"
    );
}

#[test]
fn a_file_that_peers_ask_for_is_announced_more_often() {
    let mut world = World::new(Config { dht_milli_packets_per_s: 500, ..config() });
    world.handle(Event::Dht { up: true });
    for n in 0..300 {
        world.handle_fast(Event::Seed { file: file(n, 1) });
    }
    let mut counts: BTreeMap<InfoHash, u32> = BTreeMap::new();
    let end = world.now + secs(24 * 3600);
    while world.pass_until(end.since(world.now), |w| !w.announces.is_empty()) {
        for (op, swarm) in std::mem::take(&mut world.announces) {
            *counts.entry(swarm).or_default() += 1;
            world.handle_fast(Event::DhtDone { op, packets: 28 });
        }
        world.handle_fast(Event::Asked { file: hash(299) });
        world.handle_fast(Event::Asked { file: hash(1_000_000) });
    }
    let mean = counts.values().sum::<u32>() / 300;
    assert!(counts[&key(299)] >= 4 * mean, "{} against {mean}", counts[&key(299)]);
}

#[test]
fn a_pull_does_not_wait_for_the_announces_of_a_terabyte() {
    let mut world = World::with_dht();
    for n in 0..1000 {
        world.handle_fast(Event::Seed { file: file(n, u64::from(n % 100)) });
    }
    let end = world.now + secs(3600);
    while world.pass_until(end.since(world.now), |w| !w.announces.is_empty()) {
        for (op, _) in std::mem::take(&mut world.announces) {
            world.handle_fast(Event::DhtDone { op, packets: 28 });
        }
    }
    let began = world.now;
    for job in 0..3 {
        world.want(job, file(5000 + job, 9000 + u64::from(job)));
    }
    assert!(world.pass_until(secs(10), |w| w.gets.len() == 3));
    assert_eq!(world.now.since(began), GATHER, "three looks are always in the budget");
}

#[test]
fn a_dht_that_costs_more_than_planned_is_asked_less() {
    let mut world = World::with_dht();
    for n in 0..1000 {
        world.handle_fast(Event::Seed { file: file(n, n.into()) });
    }
    let began = world.now;
    let mut packets = 0u64;
    let end = began + secs(8 * 3600);
    while world.pass_until(end.since(world.now), |w| !w.announces.is_empty()) {
        for (op, _) in std::mem::take(&mut world.announces) {
            packets += 90;
            world.handle_fast(Event::DhtDone { op, packets: 90 });
        }
    }
    let milli = packets * 1000 / (8 * 3600);
    assert!((5000..6100).contains(&milli), "{milli} thousandths of a packet per second");
}

#[test]
fn budgets_at_their_smallest_still_let_everything_through_in_time() {
    let tight = Config { dht_milli_packets_per_s: 1, dht_burst_packets: 1, ..config() };
    let mut world = World::new(tight);
    world.handle(Event::Dht { up: true });
    world.want(1, file(1, 1));
    assert!(world.pass_until(secs(10), |w| !w.gets.is_empty()), "the first look");
    world.answer([]);
    assert!(world.pass_until(secs(1 << 20), |w| !w.gets.is_empty()), "and the next, some day");
}
