//! Under `spare-origin` a node that knows nobody goes to the origin after a short pause. While somebody looks for peers it
//! waits for that, and no longer.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::link::{Message, ZestMessage};
use zest_core::node::{Config, Event, Policy};
use zest_core::{Duration, PeerId};

const LIMIT: Duration = Duration::from_secs(60);

fn world() -> World {
    let config = Config::new([7; 32], PeerId(*b"-ZT0500-abcdefghijkl"));
    World::with(Config { policy: Policy::SpareOrigin, ..config })
}

/// How long the job takes if somebody looks for peers for so long.
fn looked_for(wait: Option<Duration>) -> Duration {
    let mut world = world();
    let job = world.job(&File::new(1, 100), Some(Origin::healthy()));
    if let Some(wait) = wait {
        let until = world.now + wait;
        world.handle(Event::JobLooking { job, until });
    }
    let took = world.finish(job, LIMIT);
    assert_eq!(world.task(job).from_origin, 100);
    took
}

#[test]
fn it_waits_as_long_as_they_are_looked_for() {
    let alone = looked_for(None);
    let waited = looked_for(Some(Duration::from_secs(5)));
    assert!(alone < Duration::from_secs(3), "{alone:?}");
    assert!(waited >= Duration::from_secs(5) && waited < Duration::from_secs(8), "{waited:?}");
    // Nobody is there after all, as was found out quickly.
    assert!(looked_for(Some(Duration::from_millis(10))) < alone);
}

#[test]
fn what_is_told_too_late_changes_nothing() {
    let mut world = world();
    let job = world.job(&File::new(1, 100), Some(Origin::healthy()));
    world.run(Duration::from_secs(3), |world| world.task(job).from_origin > 0);
    let until = world.now + Duration::from_secs(30);
    world.handle(Event::JobLooking { job, until });
    assert!(world.finish(job, LIMIT) < Duration::from_secs(10), "it goes on");
}

/// When the origin is asked first beside one that fetches the same and has nothing; and where somebody looks for others so long.
fn first_fetch_beside_one(looked_for: Option<Duration>) -> Duration {
    let mut world = world();
    let file = File::new(1, 100);
    let job = world.job(&file, Some(Origin::healthy()));
    if let Some(wait) = looked_for {
        let until = world.now + wait;
        world.handle(Event::JobLooking { job, until });
    }
    let script = Script { has: Some((Some(0), vec![])), manifests: Manifests::Refused, ..Script::fast() };
    let other = world.visitor(7002, script);
    world.run(LIMIT, |world| world.remote(7002).interested.contains(&file.hash()));
    world.says(other, Message::Zest(ZestMessage::Interest { file: file.hash() }));
    world.run(LIMIT, |world| !world.fetched_at.is_empty());
    world.elapsed()
}

#[test]
fn beside_few_that_have_nothing_either_it_waits_no_longer() {
    let few = first_fetch_beside_one(None);
    assert!(few < Duration::from_millis(500), "{few:?}");
    let looked_for = first_fetch_beside_one(Some(Duration::from_secs(5)));
    assert!(looked_for >= Duration::from_secs(5), "who is looked for may have all of it: {looked_for:?}");
}

#[test]
fn the_other_policy_never_waits() {
    let mut world = World::new();
    let job = world.job(&File::new(1, 100), Some(Origin::healthy()));
    let until = world.now + Duration::from_secs(30);
    world.handle(Event::JobLooking { job, until });
    assert!(world.finish(job, LIMIT) < Duration::from_secs(3));
}
