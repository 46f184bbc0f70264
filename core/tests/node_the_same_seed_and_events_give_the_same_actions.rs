//! All randomness is in the seed: two runs of one world give the same actions at the same times, byte for byte.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::Duration;
use zest_core::node::Config;

fn story(seed: u8) -> Vec<String> {
    let mut world = World::with(Config::new([seed; 32], zest_core::PeerId([seed; 20])));
    world.tracing = true;
    world.peer(1, Script::fast().at(20.0));
    world.peer(2, Script::fast().with(Chunks::WrongEvery(90)));
    world.peer(3, Script::fast().with(Chunks::SilentAfter(50)));
    world.peer(4, Script::plain().with(Chunks::Only(vec![(10, 300)])));
    world.peer(5, Script::original());
    world.peer(6, Script { dials: Dials::Refused, ..Script::fast() });
    let origin = Origin { faults: [(1, (3, fault("cut")))].into(), ..Origin::healthy() };
    let job = world.job(&File::new(1, 1500), Some(origin));
    world.tasks.get_mut(&job).unwrap().local.extend((0..90).map(|index| (index, index % 8 != 0)));
    world.run(ms(300), |_| false);
    world.cut(world.link_of(1), None);
    let other = world.job(&File::new(2, 200), None);
    world.finish(job, Duration::from_secs(60));
    world.remove(job);
    world.finish(other, Duration::from_secs(60));
    world.trace
}

#[test]
fn byte_for_byte() {
    let first = story(3);
    assert!(first.len() > 3000, "{}", first.len());
    assert!(first == story(3));
}

#[test]
fn another_seed_draws_other_request_ids() {
    let ids = |seed| {
        let asks = story(seed).into_iter().filter(|line| line.contains("ChunkRequest"));
        asks.take(10).collect::<Vec<_>>()
    };
    assert_ne!(ids(3), ids(4));
}
