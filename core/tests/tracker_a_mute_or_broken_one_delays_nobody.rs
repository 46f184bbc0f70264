//! Tiers of BEP 12, back-off of BEP 15: who does not answer costs little and comes back by himself.

#[path = "common/announcing.rs"]
mod announcing;

use announcing::*;
use zest_core::tracker::*;
use zest_core::{Duration, Instant};

/// Lets time pass; only trackers whose name is in `alive` answer.
fn live(world: &mut World, span: Duration, alive: &[&str]) {
    let end = world.now + span;
    loop {
        while let Some(at) =
            world.gets.iter().position(|(_, url)| alive.iter().any(|name| url.contains(name)))
        {
            let (id, _) = world.gets.remove(at);
            world.handle(Event::HttpReply { id, status: 200, body: EMPTY });
        }
        let left = end.since(world.now);
        if !world
            .pass_until(left, |w| w.gets.iter().any(|(_, url)| alive.iter().any(|name| url.contains(name))))
        {
            world.now = end;
            return;
        }
    }
}

fn asked(world: &World, name: &str) -> Vec<Instant> {
    let get = |action: &Action| matches!(action, Action::HttpGet { url, .. } if url.contains(name));
    world.log.iter().filter(|(_, action)| get(action)).map(|(at, _)| *at).collect()
}

#[test]
fn every_tier_goes_its_own_way() {
    let mut world = World::new(config(&[&["http://mute.example"], &["http://good.example"]]));
    for n in 0..30 {
        world.add(n);
    }
    live(&mut world, secs(1), &["good"]);
    assert_eq!(world.peers.len(), 30, "nobody waited for the mute one");
    assert_eq!(asked(&world, "mute").len(), 1, "one request finds out");
}

#[test]
fn in_one_list_the_next_tracker_is_asked_after_fifteen_seconds_once() {
    let one_list =
        Config { every_tier: false, ..config(&[&["http://mute.example"], &["http://good.example"]]) };
    let mut world = World::new(one_list);
    for n in 0..30 {
        world.add(n);
    }
    live(&mut world, secs(16), &["good"]);
    assert_eq!(world.peers.len(), 30, "after one time-out all go to the next");
    assert_eq!((asked(&world, "mute").len(), world.cancelled.len()), (1, 1));
    let words = "http://mute.example:80 tracker gave no answer within 15 s; next try in 1";
    assert!(world.status[0].starts_with(words), "{:?}", world.status);
    // BEP 12: the list is gone through from its start each time, but a mute tracker is asked by one swarm at a time.
    live(&mut world, secs(4 * 3600), &["good"]);
    let tries = asked(&world, "mute").len();
    assert!((2..20).contains(&tries), "{tries} tries in four hours");
    assert!(asked(&world, "good").len() >= 30 * 7);
    // It comes back, and is the first of the list again.
    live(&mut world, secs(2 * 3600), &["good", "mute"]);
    let before = asked(&world, "good").len();
    live(&mut world, secs(2 * 3600), &["good", "mute"]);
    assert_eq!(asked(&world, "good").len(), before, "the first one answers");
}

#[test]
fn who_answers_moves_to_the_front_of_his_tier() {
    let urls = ["http://t1.example", "http://t2.example", "http://t3.example"];
    let mut world = World::new(config(&[&urls]));
    world.add(1);
    live(&mut world, secs(60), &["t3"]);
    assert_eq!(world.peers.len(), 1);
    let before = world.log.len();
    live(&mut world, secs(2000), &["t1", "t2", "t3"]);
    let first = world.log[before..].iter().find_map(|(_, action)| match action {
        Action::HttpGet { url, .. } => Some(url.clone()),
        _ => None,
    });
    assert!(first.expect("an announce").contains("t3"), "whoever answered last is asked first");
}

#[test]
fn tiers_are_shuffled_by_the_seed() {
    let urls = ["http://t1.example", "http://t2.example", "http://t3.example"];
    let mut firsts = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let mut world = World::new(Config { seed: [seed; 32], ..config(&[&urls]) });
        world.add(1);
        assert_eq!(world.gets.len(), 1, "one tracker of a tier");
        firsts.insert(world.gets[0].1[7..9].to_string());
    }
    assert_eq!(firsts.len(), 3, "{firsts:?}");
}

#[test]
fn pauses_double_up_to_a_ceiling_and_one_answer_ends_them() {
    let mut world = World::new(config(&[&["http://t.example"]]));
    for n in 0..5 {
        world.add(n);
    }
    for _ in 0..12 {
        assert!(!world.gets.is_empty() || world.pass_until(secs(10_000), |w| !w.gets.is_empty()));
        assert_eq!(world.gets.len(), 1, "one request at a time");
        world.answer_status(500, b"no");
    }
    let times = asked(&world, "t.example");
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1].since(pair[0]).as_secs()).collect();
    for (n, gap) in gaps.iter().enumerate() {
        let pause = (15 << n.min(8)).min(3840);
        assert!((pause..=pause + pause / 4).contains(gap), "pause {n} of {gaps:?}");
    }
    assert!(world.pass_until(secs(10_000), |w| !w.gets.is_empty()));
    world.answer(EMPTY);
    live(&mut world, secs(15), &["t.example"]);
    assert_eq!(world.peers.len(), 5, "and all swarms are announced soon");
    assert_eq!(world.status.last().unwrap(), "http://t.example:80 works");
}

#[test]
fn every_way_to_fail_is_told_in_words() {
    for (status, body, words) in [
        (404, &b"<html>"[..], "tracker answered with HTTP status 404"),
        (200, b"<html>", "reply is not bencoded: bencode byte 0: byte begins no value"),
        (200, b"i1e", "reply is not a dictionary"),
        (400, b"d14:failure reason3:bade", "refuses: bad"),
    ] {
        let mut world = World::new(config(&[&["http://t.example"]]));
        world.add(1);
        world.answer_status(status, body);
        assert!(world.status[0].contains(words), "{:?}", world.status);
    }
    let mut world = World::new(config(&[&["http://t.example"]]));
    world.add(1);
    let (id, _) = world.gets.remove(0);
    world.handle(Event::HttpFailed { id, why: "connection\nrefused" });
    assert!(
        world.status[0].starts_with("http://t.example:80 connection\u{fffd}refused; next try"),
        "{:?}",
        world.status
    );
    let mut world = World::new(config(&[&["http://t.example"]]));
    world.add(1);
    world.answer(b"d5:peers0:15:warning message10:get updatee");
    assert_eq!(world.status, ["http://t.example:80 works and says: get update"]);
}

#[test]
fn a_name_without_an_address_is_a_failure_like_any_other() {
    let one_list =
        Config { every_tier: false, ..config(&[&["udp://gone.example:1"], &["http://good.example"]]) };
    let mut world = World::new(one_list);
    world.add(1);
    let (tracker, host, port) = world.resolves.remove(0);
    assert_eq!((host.as_str(), port), ("gone.example", 1));
    world.handle(Event::Resolved { tracker, addrs: &[] });
    let words = "udp://gone.example:1 gone.example has no address; next try in 1";
    assert!(world.status[0].starts_with(words), "{:?}", world.status);
    world.answer(EMPTY);
    assert_eq!(world.peers.len(), 1, "the next one is asked at once");
    // A resolver that never answers is one that has no address.
    assert!(world.pass_until(secs(3600), |w| !w.resolves.is_empty()));
    world.pass(secs(15));
    world.answer(EMPTY);
    assert!(world.status.iter().any(|s| s.contains("no answer within 15 s")), "{:?}", world.status);
}
