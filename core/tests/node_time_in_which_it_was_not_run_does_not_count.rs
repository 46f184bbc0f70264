//! A node whose process was not run for a while calls nobody silent, dead or empty for it: what came meanwhile is looked at
//! first, and the time in which nobody could tell it anything does not count.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::node::{Config, Event, Policy};
use zest_core::{Duration, PeerId};

const LIMIT: Duration = Duration::from_secs(60);

/// A world whose node has a clock that stands still while it is not run.
fn world(policy: Policy) -> World {
    let mut world = World::with(Config { policy, ..Config::new([5; 32], PeerId(*b"-ZT0500-we-ourselves")) });
    world.lived = Some(Default::default());
    world
}

#[test]
fn peers_whose_answers_lay_unread_are_asked_for_nothing_twice() {
    for frozen_s in [1, 2, 5, 30, 600] {
        let mut world = world(Policy::Fastest);
        let file = File::new(1, 3000);
        for port in 1..=3 {
            world.peer(port, Script { latency: ms(5), chunk_time: ms(3), ..Script::fast() });
        }
        let job = world.job(&file, None);
        for _ in 0..5 {
            assert!(!world.run(ms(370), |w| w.task(job).complete.is_some()), "it takes longer");
            world.freeze(Duration::from_secs(frozen_s));
        }
        world.finish(job, LIMIT);
        let stats = world.node.stats();
        assert_eq!((stats.chunks_asked, stats.chunks_duplicate), (3000, 0), "frozen for {frozen_s} s");
        assert!(world.remotes.values().all(|remote| remote.open), "and nobody is let go");
        assert_eq!(world.remotes.len(), 3);
    }
}

#[test]
fn one_that_is_run_now_and_then_counts_the_time_it_was_run() {
    let mut world = world(Policy::Fastest);
    let file = File::new(1, 1000);
    world.peer(1, Script { latency: ms(150), chunk_time: ms(3), ..Script::fast() });
    world.peer(2, Script { latency: ms(150), chunk_time: ms(3), ..Script::fast() });
    let job = world.job(&file, None);
    // It runs for 30 ms and then not for 300.
    while !world.run(ms(30), |w| w.task(job).complete.is_some()) {
        world.freeze(ms(300));
    }
    assert!(world.remotes.values().all(|remote| remote.open && remote.given > 300));
    assert_eq!(world.node.stats().chunks_duplicate, 0);
}

#[test]
fn a_job_that_waits_for_a_source_has_its_patience_when_it_wakes() {
    let mut world = world(Policy::Fastest);
    let file = File::new(1, 10);
    let job = world.job(&file, None);
    world.run(ms(500), |_| false);
    world.freeze(Duration::from_secs(3600));
    world.run(Duration::from_secs(5), |_| false);
    assert!(world.task(job).failed.is_none(), "it waited for five seconds and a half");
    world.peer(1, Script::fast());
    world.finish(job, LIMIT);
}

#[test]
fn a_peer_that_is_silent_is_still_found_out_in_time() {
    let mut world = world(Policy::Fastest);
    let file = File::new(1, 600);
    world.peer(1, Script { chunks: Chunks::SilentAfter(20), ..Script::fast() });
    world.peer(2, Script::fast());
    let job = world.job(&file, None);
    world.run(ms(100), |_| false);
    world.freeze(Duration::from_secs(20));
    let took = world.finish(job, LIMIT);
    assert!(took < ms(22_000), "twenty seconds of them it was not there: {took:?}");
}

#[test]
fn a_peer_that_is_not_read_from_is_not_silent() {
    let mut world = World::new();
    let file = File::new(1, 400);
    for port in 1..=2 {
        world.peer(port, Script { latency: ms(5), chunk_time: ms(5), ..Script::fast() });
    }
    let job = world.job(&file, None);
    world.run(ms(100), |_| false);
    for port in 1..=2 {
        world.stop_reading(world.link_of(port));
    }
    assert!(!world.run(Duration::from_secs(15), |w| w.task(job).complete.is_some()), "nothing is read");
    for port in 1..=2 {
        assert!(world.remote(port).open, "nobody is let go for it");
        world.read_again(world.link_of(port));
    }
    world.finish(job, LIMIT);
    let stats = world.node.stats();
    assert_eq!((stats.chunks_asked, stats.chunks_duplicate), (400, 0));
}

#[test]
fn what_is_said_of_links_that_are_gone_changes_nothing() {
    let mut world = World::new();
    for open in [false, true, true, false] {
        world.handle(Event::Intake { link: zest_core::LinkId(99), open });
    }
    assert!(world.node.poll_timeout().is_none());
}
