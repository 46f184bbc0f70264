//! How a file is laid out at the origin is asked for at once where nobody else is known, a moment later where nobody else gives, and
//! never where peers give all.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::Duration;
use zest_core::node::{Event, Policy};

const LIMIT: Duration = Duration::from_secs(60);
/// More than the moment that peers have.
const MOMENT: Duration = Duration::from_millis(160);

/// Whether it was asked for by then.
fn asked_within(world: &mut World, job: zest_core::JobId, limit: Duration) -> bool {
    world.run(limit, |world| world.task(job).layouts_asked == 1)
}

#[test]
fn nobody_is_known_so_it_is_asked_at_once() {
    let mut world = World::new();
    let job = world.job(&File::new(1, 100), Some(Origin::healthy()));
    assert_eq!(world.task(job).layouts_asked, 1);
    let alone = world.job_without_peers(&File::new(2, 100), Origin::healthy());
    assert_eq!(world.task(alone).layouts_asked, 1);
    world.finish(job, LIMIT);
    world.finish(alone, LIMIT);
    assert_eq!((world.task(job).layouts_asked, world.task(alone).layouts_asked), (1, 1), "once");
}

#[test]
fn a_peer_that_never_answers_keeps_it_for_a_moment_only() {
    for script in [
        Script { dials: Dials::Swallowed, ..Script::fast() },
        Script { greets: None, ..Script::fast() },
        Script { manifests: Manifests::Silent, ..Script::fast() },
    ] {
        let mut world = World::new();
        world.peer(1, script);
        let job = world.job(&File::new(1, 100), Some(Origin::healthy()));
        assert_eq!(world.task(job).layouts_asked, 0, "somebody may give it all");
        assert!(asked_within(&mut world, job, MOMENT));
        world.finish(job, LIMIT);
    }
}

#[test]
fn who_says_that_it_has_nothing_keeps_it_no_longer_than_that_takes() {
    let mut world = World::new();
    let nothing = Script { has: Some((Some(0), vec![])), manifests: Manifests::Refused, ..Script::fast() };
    world.peer(1, Script { latency: ms(1), ..nothing });
    let job = world.job(&File::new(1, 100), Some(Origin::healthy()));
    assert!(asked_within(&mut world, job, ms(50)));
    world.finish(job, LIMIT);
}

#[test]
fn what_peers_lack_is_a_reason_and_so_is_one_that_falls_silent_or_is_slow() {
    for policy in [Policy::Fastest, Policy::SpareOrigin] {
        for script in [
            Script { has: Some((None, vec![(0, 500)])), ..Script::fast() },
            Script { chunks: Chunks::SilentAfter(100), ..Script::fast() },
            Script { chunks: Chunks::NotFound, ..Script::fast() },
        ] {
            let mut world = World::new();
            world.policy = Some(policy);
            world.peer(1, script);
            let file = File::new(1, 1000);
            let job = world.job(&file, Some(Origin::healthy()));
            world.finish(job, LIMIT);
            assert_eq!(world.task(job).layouts_asked, 1, "{policy:?}");
        }
    }
    let mut world = World::new();
    world.peer(1, Script::fast().at(0.2));
    let job = world.job(&File::new(1, 3000), Some(Origin::healthy()));
    world.finish(job, LIMIT);
    assert_eq!(world.task(job).layouts_asked, 1, "the origin helps a slow peer");
}

#[test]
fn a_peer_that_leaves_half_way_is_a_reason() {
    let mut world = World::new();
    world.peer(1, Script::fast());
    let job = world.job(&File::new(1, 3000), Some(Origin::healthy()));
    assert!(world.run(LIMIT, |world| world.task(job).from_peers > 1000));
    assert_eq!(world.task(job).layouts_asked, 0);
    let link = world.link_of(1);
    world.handle(Event::LinkDown { link, fault: None });
    world.finish(job, LIMIT);
    assert!(world.task(job).layouts_asked <= 1);
}

#[test]
fn a_job_that_is_paused_or_over_asks_for_nothing() {
    let mut world = World::new();
    world.peer(1, Script { dials: Dials::Swallowed, ..Script::fast() });
    let file = File::new(1, 100);
    let (paused, over) =
        (world.job(&file, Some(Origin::healthy())), world.job(&File::new(2, 9), Some(Origin::healthy())));
    world.handle(Event::JobPaused { job: paused, paused: true });
    world.remove(over);
    assert!(!asked_within(&mut world, paused, Duration::from_secs(20)));
    assert_eq!(world.task(over).layouts_asked, 0);
    world.handle(Event::JobPaused { job: paused, paused: false });
    assert!(asked_within(&mut world, paused, Duration::from_secs(1)));
    world.finish(paused, LIMIT);
}
