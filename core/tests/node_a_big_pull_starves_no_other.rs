//! Pulls that are equally urgent get equal shares of peers, origin and disk: whoever comes later, or wants less, does not wait until one
//! that began earlier is over. The files of one pull come one after the other.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::node::{Event, Priority};
use zest_core::{Duration, JobId};

const LIMIT: Duration = Duration::from_secs(120);
const BIG: u32 = 4_000;
const SMALL: u32 = 320;

/// What serves both pulls.
#[derive(Clone, Copy, PartialEq, Debug)]
enum From {
    Peers,
    Origin,
    Disk,
}

fn world(from: From) -> World {
    let mut world = World::new();
    world.disk_time = ms(1);
    if from == From::Peers {
        (1..3).for_each(|port| world.peer(port, Script::fast()));
    }
    world
}

/// A job that is all of a pull.
fn pull(world: &mut World, from: From, number: u8, chunks: u32) -> JobId {
    world.pull = u32::from(number);
    let origin = Origin { one_line: true, ..Origin::healthy() };
    let job = world.job(&File::new(number, chunks), (from != From::Peers).then_some(origin));
    if from == From::Disk {
        world.tasks.get_mut(&job).unwrap().local = (0..chunks).map(|index| (index, true)).collect();
    }
    job
}

fn came(world: &World, job: JobId) -> u32 {
    let task = world.task(job);
    task.from_peers + task.from_origin + task.copied
}

/// How long the small one takes that begins in the middle of a big one.
fn small_beside_big(from: From, wish: Option<Priority>) -> Duration {
    let mut world = world(from);
    let big = pull(&mut world, from, 1, BIG);
    assert!(world.run(LIMIT, |world| came(world, big) > SMALL));
    let small = pull(&mut world, from, 2, SMALL);
    if let Some(priority) = wish {
        world.handle(Event::JobPriority { job: small, priority });
    }
    let took = world.finish(small, LIMIT);
    world.finish(big, LIMIT);
    took
}

fn small_alone(from: From) -> Duration {
    let mut world = world(from);
    let small = pull(&mut world, from, 2, SMALL);
    world.finish(small, LIMIT)
}

#[test]
fn a_small_pull_beside_a_big_one_does_not_wait_for_its_end() {
    // What the origin gives already it goes on giving: a third of its line is left at first.
    for (from, times) in [(From::Peers, 3), (From::Origin, 4), (From::Disk, 3)] {
        let (alone, beside) = (small_alone(from), small_beside_big(from, None));
        println!("{from:?}: {beside:?} beside a big one, {alone:?} alone");
        assert!(beside <= alone * times, "{from:?}: {beside:?} beside a big one, {alone:?} alone");
    }
}

#[test]
fn what_is_less_urgent_waits_and_what_is_more_urgent_does_not() {
    for from in [From::Peers, From::Origin, From::Disk] {
        let [low, normal, high] =
            [Priority::Low, Priority::Normal, Priority::High].map(|wish| small_beside_big(from, Some(wish)));
        println!("{from:?}: {high:?}, {normal:?}, {low:?}");
        assert!(high <= normal && normal * 3 < low, "{from:?}: {high:?}, {normal:?}, {low:?}");
    }
}

#[test]
fn a_pull_of_many_small_files_does_not_hold_up_one_of_a_big_file() {
    let mut world = world(From::Peers);
    for number in 0..100 {
        world.pull = 1;
        world.priority = 200;
        world.job(&File::of_many(number, SMALL), None);
    }
    world.priority = 0;
    let big = pull(&mut world, From::Peers, 2, 4 * SMALL);
    let took = world.finish(big, LIMIT);
    let mut alone = self::world(From::Peers);
    let big = pull(&mut alone, From::Peers, 2, 4 * SMALL);
    let alone = alone.finish(big, LIMIT);
    assert!(took <= alone * 3, "{took:?} beside many small files, {alone:?} alone");
}

#[test]
fn the_files_of_one_pull_come_one_after_the_other() {
    let mut world = world(From::Peers);
    let first = world.job(&File::new(1, 2000), None);
    let second = world.job(&File::new(2, 2000), None);
    world.finish(first, LIMIT);
    assert!(came(&world, second) < 200, "{}", came(&world, second));
    world.finish(second, LIMIT);
}

#[test]
fn of_two_big_pulls_none_falls_behind() {
    for from in [From::Peers, From::Origin, From::Disk] {
        let mut world = world(from);
        let [one, other] = [1, 2].map(|number| pull(&mut world, from, number, 5_000));
        world.run(LIMIT, |world| came(world, one).max(came(world, other)) > 2_500);
        let (one, other) = (came(&world, one), came(&world, other));
        assert!(one.min(other) * 3 > one.max(other) * 2, "{from:?}: {one} and {other}");
    }
}

#[test]
fn what_rests_is_not_copied_either() {
    let mut world = world(From::Disk);
    let rests = pull(&mut world, From::Disk, 1, SMALL);
    world.run(LIMIT, |world| came(world, rests) > 10);
    world.handle(Event::JobPaused { job: rests, paused: true });
    let other = pull(&mut world, From::Disk, 2, SMALL);
    world.finish(other, LIMIT);
    assert!(came(&world, rests) < SMALL / 2, "{}", came(&world, rests));
    world.handle(Event::JobPaused { job: rests, paused: false });
    world.finish(rests, LIMIT);
}
