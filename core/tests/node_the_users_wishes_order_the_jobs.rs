//! What the user says of a job or of the whole process while it runs: sooner, later, not now, by another policy. Every job still
//! comes to its end.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::Duration;
use zest_core::node::{Event, Policy, Priority};

const LIMIT: Duration = Duration::from_secs(60);
const CHUNKS: u32 = 1000;

#[test]
fn what_is_wanted_sooner_comes_before_what_began_earlier() {
    for (priority, is_first) in [(Priority::Normal, false), (Priority::High, true)] {
        let mut world = World::new();
        world.peer(1, Script::fast());
        let earlier = world.job(&File::new(1, CHUNKS), None);
        let later = world.job(&File::new(2, CHUNKS), None);
        world.handle(Event::JobPriority { job: later, priority });
        let either =
            |world: &World| world.task(earlier).complete.is_some() || world.task(later).complete.is_some();
        assert!(world.run(LIMIT, either));
        assert_eq!(world.task(later).complete.is_some(), is_first, "{priority:?}");
        world.finish(earlier, LIMIT);
        world.finish(later, LIMIT);
    }
}

#[test]
fn what_rests_is_asked_of_nobody_and_goes_on_later() {
    let mut world = World::new();
    world.peer(1, Script::fast());
    let rests = world.job(&File::new(1, CHUNKS), Some(Origin::healthy()));
    let other = world.job(&File::new(2, CHUNKS), Some(Origin::healthy()));
    world.run(LIMIT, |world| world.task(rests).from_peers > 10);
    world.handle(Event::JobPaused { job: rests, paused: true });
    world.finish(other, LIMIT);
    let came = world.task(rests).from_peers + world.task(rests).from_origin;
    assert!(came < CHUNKS, "{came} came");
    assert!(
        !world.run(LIMIT, |world| world.task(rests).complete.is_some() || world.task(rests).failed.is_some())
    );
    assert_eq!(world.task(rests).from_peers + world.task(rests).from_origin, came, "a minute later");
    world.handle(Event::JobPaused { job: rests, paused: false });
    world.finish(rests, LIMIT);
}

#[test]
fn another_policy_in_the_middle_keeps_no_job_from_its_end() {
    for policies in [
        [Policy::SpareOrigin, Policy::Fastest],
        [Policy::Fastest, Policy::SpareOrigin],
        [Policy::SpareOrigin; 2],
    ] {
        let mut world = World::new();
        for port in 1..5 {
            world.peer(port, Script { has: Some((None, vec![(0, CHUNKS / 2)])), ..Script::fast() });
        }
        let job = world.job(&File::new(1, CHUNKS), Some(Origin::healthy()));
        for (step, policy) in policies.into_iter().enumerate() {
            let enough = CHUNKS / 4 * (step as u32 + 1);
            world.run(LIMIT, |world| world.task(job).from_peers + world.task(job).from_origin >= enough);
            world.handle(Event::Settings { policy, upload_bytes_s: Some(1 << 20), download_bytes_s: None });
        }
        world.finish(job, LIMIT);
    }
}

#[test]
fn a_job_has_its_own_policy_whatever_that_of_others_is() {
    for usual in [Policy::Fastest, Policy::SpareOrigin] {
        let mut world = World::new();
        world.handle(Event::Settings { policy: usual, upload_bytes_s: None, download_bytes_s: None });
        let mut job = |n: u8, policy| {
            world.policy = policy;
            world.job(&File::new(n, 100), Some(Origin::healthy()))
        };
        let spares = job(1, Some(Policy::SpareOrigin));
        let fast = job(2, Some(Policy::Fastest));
        let usual_one = job(3, None);
        // Who shares the origin's work waits for others; who does not has no reason to.
        let until = world.now + Duration::from_secs(10);
        for job in [spares, fast, usual_one] {
            world.handle(Event::JobLooking { job, until });
        }
        let early = Duration::from_secs(5);
        world.run(early, |world| world.task(spares).complete.is_some());
        assert!(world.task(fast).complete.is_some(), "{usual:?}");
        assert_eq!(world.task(spares).from_origin, 0, "{usual:?}");
        let waits = usual == Policy::SpareOrigin;
        assert_eq!(world.task(usual_one).complete.is_none(), waits, "{usual:?}");
        world.finish(spares, LIMIT);
        world.finish(usual_one, LIMIT);
    }
}

#[test]
fn a_job_that_gets_another_policy_on_its_way_still_comes_to_its_end() {
    let mut world = World::new();
    for port in 1..5 {
        world.peer(port, Script { has: Some((None, vec![(0, CHUNKS / 2)])), ..Script::fast() });
    }
    let job = world.job(&File::new(1, CHUNKS), Some(Origin::healthy()));
    let policies = [Some(Policy::SpareOrigin), None, Some(Policy::SpareOrigin), Some(Policy::Fastest)];
    for (step, policy) in policies.into_iter().enumerate() {
        let enough = CHUNKS / 8 * (step as u32 + 1);
        world.run(LIMIT, |world| world.task(job).from_peers + world.task(job).from_origin >= enough);
        world.handle(Event::JobPolicy { job, policy });
    }
    world.finish(job, LIMIT);
}
