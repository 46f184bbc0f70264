//! What was looked up or announced while nobody in the DHT answered is looked up and announced again as soon as somebody does.

#[path = "common/finding.rs"]
mod finding;

use finding::*;
use zest_core::discovery::*;

/// Nobody answers the oldest question.
fn in_vain(world: &mut World, op: OpId) {
    world.handle(Event::DhtVain { op });
    world.handle(Event::DhtDone { op, packets: 1 });
}

#[test]
fn a_look_that_reached_nobody_is_made_again_at_once() {
    for wait in [0, 1, 5, 20] {
        let mut world = World::with_dht();
        world.want(1, file(1, 1));
        world.pass(secs(1));
        let (op, _) = world.gets.remove(0);
        in_vain(&mut world, op);
        world.pass(secs(wait));
        assert!(world.gets.is_empty(), "nobody is asked twice for nothing");
        world.handle(Event::DhtReached);
        assert_eq!(
            world.gets.iter().map(|(_, swarm)| *swarm).collect::<Vec<_>>(),
            [key(1)],
            "{wait} s later"
        );
        world.answer([7]);
        assert_eq!(world.found, [(peer(7), Found::Dht, Some(key(1)))]);
        world.handle(Event::DhtReached);
        assert!(world.gets.is_empty(), "once");
    }
}

#[test]
fn an_announcement_that_reached_nobody_is_made_again_at_once() {
    let mut world = World::with_dht();
    world.handle(Event::Seed { file: file(1, 1) });
    world.handle(Event::Seed { file: file(2, 1) });
    world.pass(secs(5));
    assert_eq!(world.announces.len(), 2);
    let (heard, vain) = (world.announces[0].0, world.announces[1]);
    world.announces.clear();
    world.handle(Event::DhtDone { op: heard, packets: 20 });
    in_vain(&mut world, vain.0);
    world.pass(secs(60));
    assert!(world.announces.is_empty());
    world.handle(Event::DhtReached);
    world.pass(secs(1));
    assert_eq!(world.announces.iter().map(|(_, swarm)| *swarm).collect::<Vec<_>>(), [vain.1]);
    let (op, _) = world.announces.remove(0);
    world.handle(Event::DhtDone { op, packets: 20 });
    world.handle(Event::DhtReached);
    world.pass(secs(60));
    assert!(world.announces.is_empty(), "once");
}
