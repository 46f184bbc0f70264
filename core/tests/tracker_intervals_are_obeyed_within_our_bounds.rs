//! A tracker says when it wants to hear of us again; it can neither drive us nor silence us.

#[path = "common/announcing.rs"]
mod announcing;

use announcing::*;
use zest_core::tracker::*;
use zest_core::{Duration, Instant};

/// Time between an answer with this body and the next announce.
fn next_after(body: &[u8]) -> Duration {
    let mut world = World::new(config(&[&["http://t.example"]]));
    world.add(1);
    world.answer(body);
    let answered = world.now;
    assert!(world.pass_until(secs(100_000), |w| !w.gets.is_empty()), "it announces again");
    world.now.since(answered)
}

#[test]
fn intervals_hold_with_up_to_a_tenth_more() {
    for (body, want) in [
        (&b"d8:intervali600e5:peers0:e"[..], secs(600)),
        (b"d8:intervali600e12:min intervali900e5:peers0:e", secs(900)),
        (b"d5:peers0:e", INTERVAL_DEFAULT),
        (b"d8:intervali0e5:peers0:e", INTERVAL_MIN),
        (b"d8:intervali-5e5:peers0:e", INTERVAL_DEFAULT),
        (b"d8:intervali4294967295e5:peers0:e", INTERVAL_MAX),
        (b"d8:intervali60e12:min intervali4294967295e5:peers0:e", INTERVAL_MAX),
    ] {
        let waited = next_after(body);
        assert!(waited >= want && waited <= want + want / 10, "{waited:?} for {want:?}");
    }
}

#[test]
fn nodes_that_were_answered_together_do_not_come_back_together() {
    let mut times: Vec<Duration> = (0..20)
        .map(|seed| {
            let mut world = World::new(Config { seed: [seed; 32], ..config(&[&["http://t.example"]]) });
            world.add(1);
            world.answer(EMPTY);
            let answered = world.now;
            world.pass_until(secs(10_000), |w| !w.gets.is_empty());
            world.now.since(answered)
        })
        .collect();
    times.sort();
    assert!(times[19] - times[0] > secs(60), "{times:?}");
    times.dedup();
    assert_eq!(times.len(), 20);
}

#[test]
fn hunger_brings_an_announce_forward_to_the_minimum_and_no_further() {
    let mut world = World::new(config(&[&["http://t.example"]]));
    world.add(1);
    world.answer(b"d8:intervali1800e12:min intervali120e5:peers0:e");
    let answered = world.now;
    for _ in 0..100 {
        world.handle(Event::Hungry { swarm: swarm(1) });
    }
    assert!(world.gets.is_empty());
    assert!(world.pass_until(secs(1000), |w| !w.gets.is_empty()));
    assert_eq!(world.now.since(answered), secs(120));
}

#[test]
fn a_refused_swarm_is_asked_for_more_and_more_rarely() {
    let mut world = World::new(config(&[&["http://t.example"]]));
    world.add(1);
    let mut times = vec![];
    for _ in 0..8 {
        times.push(world.now);
        world.answer(b"d14:failure reason12:unregisterede");
        assert!(world.pass_until(secs(100_000), |w| !w.gets.is_empty()));
    }
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1].since(pair[0]).as_secs()).collect();
    assert_eq!(gaps, [300, 600, 1200, 2400, 4800, 7200, 7200]);
    assert_eq!(world.status, ["http://t.example:80 refuses: unregistered"], "told once");

    // BEP 31: the tracker names the pause itself, within our bounds.
    for (said, want) in [(&b"i10e"[..], 600), (b"5:never", 7200), (b"i0e", 60)] {
        let body = [b"d14:failure reason1:x8:retry in", said, b"e"].concat();
        let mut world = World::new(config(&[&["http://t.example"]]));
        world.add(1);
        world.answer(&body);
        let refused = world.now;
        assert!(world.pass_until(secs(100_000), |w| !w.gets.is_empty()));
        assert_eq!(world.now.since(refused).as_secs(), want);
    }
}

#[test]
fn a_clock_that_jumps_neither_floods_nor_stops_it() {
    let mut world = World::new(config(&[&["http://t.example"]]));
    for n in 0..50 {
        world.add(n);
    }
    while !world.gets.is_empty() {
        world.answer(EMPTY);
    }
    assert_eq!(world.peers.len(), 50);
    // A laptop slept for a week.
    world.now = world.now + secs(7 * 86_400);
    world.handle(Event::Timer);
    assert!(world.gets.len() <= OPEN_MAX, "{} at once", world.gets.len());
    while !world.gets.is_empty() {
        world.answer(EMPTY);
    }
    assert_eq!(world.peers.len(), 100, "each is announced once more");
    // Back: nothing happens before its time, and then it goes on.
    let before = world.now;
    world.now = Instant(0);
    world.handle(Event::Timer);
    assert!(world.gets.is_empty());
    world.now = before;
    assert!(world.pass_until(secs(2000), |w| !w.gets.is_empty()));
}
