//! What a job wants first is asked for before the rest, of peers and of the origin. It is an order and nothing else: who may
//! be asked stays as it is, and no front, however wrong, keeps a job from its end.

#[path = "common/swarm.rs"]
mod swarm;

use std::cell::Cell;
use std::collections::BTreeSet;
use swarm::*;
use zest_core::link::{Message, Outgoing, ZestMessage};
use zest_core::node::{Config, Event, Policy};
use zest_core::wire::zest::Claim;
use zest_core::{Duration, FileKey, JobId, PeerId};

const LIMIT: Duration = Duration::from_secs(60);
/// Chunks of the files here.
const CHUNKS: u32 = 1000;
/// Worlds that a thing of chance is looked at in.
const SEEDS: u8 = 20;

fn bytes(chunks: u32) -> u64 {
    u64::from(chunks) * u64::from(CHUNK)
}

fn config(seed: u8) -> Config {
    Config::new([seed; 32], PeerId(*b"-ZT0500-abcdefghijkl"))
}

/// A world of chance in which jobs want so many bytes first.
fn world(config: Config, front: u64) -> World {
    let mut world = World::with(config);
    world.front = front;
    world
}

/// Has all but a chunk, so that what is asked for is drawn.
fn nearly_all() -> Script {
    Script { has: Some((None, vec![(0, CHUNKS - 1)])), ..Script::fast() }
}

/// Fetches the same and has nothing yet.
fn newcomer() -> Script {
    Script { has: Some((None, vec![])), manifests: Manifests::Refused, ..Script::fast() }
}

/// Chunks that peers were asked for, in order, from this message on.
fn asked(world: &World, job: JobId, from: usize) -> Vec<u32> {
    let index = &world.task(job).file.index;
    let chunk = |message: &Outgoing| match message {
        Outgoing::ChunkRequest { hash, .. } => index.get(hash).copied(),
        _ => None,
    };
    world.sent[from..].iter().filter_map(|(_, message)| chunk(message)).collect()
}

/// Blocks that the origin was asked for, in order.
fn fetched(world: &World, job: JobId) -> Vec<u32> {
    world.fetched.iter().filter(|(of, _)| *of == job).map(|(_, block)| *block).collect()
}

#[test]
fn peers_are_asked_for_it_before_the_rest() {
    for seed in 0..SEEDS {
        for front in [0, bytes(10)] {
            let mut world = world(config(seed), front);
            world.peer(1, nearly_all());
            let job = world.job(&File::new(1, CHUNKS), None);
            world.run(LIMIT, |world| world.task(job).from_peers == CHUNKS - 1);
            let asked = asked(&world, job, 0);
            let first: BTreeSet<u32> = asked[..10].iter().copied().collect();
            assert_eq!(first == (0..10).collect(), front > 0, "seed {seed}, front {front}: {asked:?}");
            // What follows is drawn from all of it.
            assert!(asked[10..20].iter().any(|index| *index > 100), "seed {seed}: {asked:?}");
            assert_eq!(asked.len() as u32, CHUNKS - 1, "nothing is asked for twice");
        }
    }
}

#[test]
fn a_peer_that_lacks_it_is_asked_for_the_rest_and_for_what_it_has_of_it() {
    let mut world = world(config(1), bytes(10));
    world.peer(1, Script { has: Some((None, vec![(7, 500)])), ..Script::fast() });
    let job = world.job(&File::new(1, CHUNKS), None);
    assert!(world.run(LIMIT, |world| world.task(job).from_peers == 500), "it gives all it has");
    let asked = asked(&world, job, 0);
    assert_eq!(asked[..3].iter().copied().collect::<BTreeSet<u32>>(), (7..10).collect());
    assert_eq!(asked.len(), 500);
}

#[test]
fn it_comes_before_the_rest_of_files_that_come_before() {
    let mut world = world(config(1), 8);
    let files = [1, 2, 3].map(|number| File::new(number, CHUNKS));
    let jobs = files.map(|file| world.job(&file, None));
    world.peer(1, nearly_all());
    world.run(LIMIT, |world| jobs.iter().all(|job| !asked(world, *job, 0).is_empty()));
    assert_eq!(jobs.map(|job| asked(&world, job, 0)[0]), [0; 3]);
    // Then it is the first one's turn, for all of it.
    let before = asked(&world, jobs[0], 0).len();
    world.run(LIMIT, |world| asked(world, jobs[0], 0).len() > before + 100);
    assert_eq!(jobs.map(|job| asked(&world, job, 0).len().min(2)), [2, 1, 1]);
}

#[test]
fn it_may_grow_while_the_rest_is_coming() {
    for seed in 0..SEEDS {
        let mut world = world(config(seed), 8);
        world.peer(1, nearly_all());
        let job = world.job(&File::new(1, CHUNKS), None);
        world.run(LIMIT, |world| world.task(job).disk.contains(&0));
        let from = world.sent.len();
        let before: BTreeSet<u32> = asked(&world, job, 0).into_iter().collect();
        assert!(before.len() < 40, "the rest is still to come");
        // A byte of the twentieth chunk belongs to it.
        world.handle(Event::JobFront { job, bytes: bytes(19) + 1 });
        let still: BTreeSet<u32> = (0..20).filter(|index| !before.contains(index)).collect();
        world.run(LIMIT, |world| asked(world, job, from).len() >= still.len() + 20);
        let after = asked(&world, job, from);
        assert_eq!(after[..still.len()].iter().copied().collect::<BTreeSet<u32>>(), still, "seed {seed}");
        assert!(after[still.len()..].iter().any(|index| *index > 100), "seed {seed}: {after:?}");
    }
}

#[test]
fn the_origin_begins_with_it_where_nodes_begin_anywhere() {
    let mut firsts: BTreeSet<u32> = BTreeSet::new();
    for seed in 0..SEEDS {
        for front in [0, 8] {
            let mut world = world(config(seed), front);
            world.peer(1, newcomer());
            world.run(ms(10), |_| false);
            let job = world.job(&File::new(1, CHUNKS), Some(Origin::healthy()));
            world.finish(job, LIMIT);
            let first = fetched(&world, job)[0];
            match front {
                0 => drop(firsts.insert(first)),
                _ => assert_eq!(first, 0, "seed {seed}"),
            }
        }
    }
    assert!(firsts.len() > 5, "without a front they begin anywhere: {firsts:?}");
}

#[test]
fn a_crowd_whose_word_came_before_the_size_of_the_file_is_one() {
    for front in [0, 8] {
        let mut world = world(config(1), front);
        for port in 1..=3 {
            let has = Some((None, vec![(CHUNKS - u32::from(port), 1)]));
            world.peer(port, Script { has, ..Script::fast() });
        }
        world.run(ms(10), |_| false);
        let job = world.job(&File::new(1, CHUNKS), Some(Origin::healthy()));
        world.run(LIMIT, |world| !world.fetched.is_empty());
        let first = fetched(&world, job);
        assert!(first.len() <= 2, "two streams at once in a crowd, not {first:?}");
        assert!(front == 0 || first[0] == 0, "{first:?}");
        world.finish(job, LIMIT);
    }
}

#[test]
fn the_origin_gives_it_of_every_file_before_it_gives_the_rest_of_one() {
    for front in [0, 8] {
        let mut world = world(config(1), 0);
        // The first one takes all there is, for the first half of its blocks.
        let first = world.job(&File::new(1, CHUNKS), Some(Origin::healthy()));
        world.front = front;
        let others = [2, 3, 4].map(|number| world.job(&File::new(number, CHUNKS), Some(Origin::healthy())));
        world.run(LIMIT, |world| world.fetched.len() >= 12);
        let order: Vec<JobId> = world.fetched[8..12].iter().map(|(job, _)| *job).collect();
        match front {
            0 => assert_eq!(order, [first; 4]),
            _ => assert_eq!(order, [others[0], others[1], others[2], first]),
        }
        for job in [first, others[0], others[1], others[2]] {
            world.finish(job, LIMIT);
        }
    }
}

#[test]
fn where_others_fetch_the_same_a_stream_ends_with_it_and_goes_on_at_a_place_of_its_own() {
    let mut places: BTreeSet<u32> = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut world =
            world(Config { origin_fetches_max: 1, origin_fetches_limit: 1, ..config(seed) }, bytes(2));
        world.peer(1, newcomer());
        world.run(ms(10), |_| false);
        let job = world.job(&File::new(1, CHUNKS), Some(Origin::healthy()));
        world.run(LIMIT, |world| world.task(job).disk.contains(&0));
        // Half a front is there when it turns out to be longer.
        world.handle(Event::JobFront { job, bytes: bytes(3) });
        world.finish(job, LIMIT);
        let (order, task) = (fetched(&world, job), world.task(job));
        assert_eq!((order[0], order.len()), (0, 17), "16 blocks, one of them in two parts: {order:?}");
        places.insert(order[1]);
        // The origin of this world streams a block from its beginning again: the first part of one comes twice.
        assert!(task.streamed < CHUNKS + BLOCK, "{}", task.streamed);
    }
    assert!(places.len() > 5, "{places:?}");
}

#[test]
fn alone_a_stream_goes_on_behind_it() {
    let mut world = world(config(1), bytes(3));
    let job = world.job(&File::new(1, CHUNKS), Some(Origin::healthy()));
    world.finish(job, LIMIT);
    assert_eq!((fetched(&world, job).len(), world.task(job).streamed), (16, CHUNKS));
}

#[test]
fn under_spare_origin_another_nodes_part_is_waited_for_all_the_same() {
    let mut world = world(Config { policy: Policy::SpareOrigin, ..config(1) }, bytes(10));
    let file = File::new(1, CHUNKS);
    // Gives the list and nothing else.
    world.peer(1, Script { has: Some((None, vec![(CHUNKS - 1, 1)])), ..Script::fast() });
    world.run(ms(10), |_| false);
    let job = world.job(&file, Some(Origin::healthy()));
    let link = world.link_of(1);
    let claims = vec![Claim { first: 0, score: u64::MAX, beat: 0 }];
    world.run(ms(100), |_| false);
    world.says(link, Message::Zest(ZestMessage::Claim { file: FileKey::of(&file.hash()), claims }));
    world.run(ms(2500), |_| false);
    let order = fetched(&world, job);
    assert!(!order.is_empty() && !order.contains(&0), "{order:?}");
    // Until nobody believes any more that it will come from there.
    world.finish(job, LIMIT);
    assert!(fetched(&world, job).contains(&0));
}

#[test]
fn what_is_held_already_is_no_longer_wanted_first() {
    let mut world = world(config(1), bytes(10));
    world.peer(1, nearly_all());
    let job = world.job(&File::new(1, CHUNKS), Some(Origin::healthy()));
    world.tasks.get_mut(&job).unwrap().disk.extend(0..8);
    world.finish(job, LIMIT);
    let asked = asked(&world, job, 0);
    assert_eq!(asked[..2].iter().copied().collect::<BTreeSet<u32>>(), [8, 9].into());
    assert!(asked.iter().all(|index| *index >= 8));
}

#[test]
fn a_front_that_makes_no_sense_does_no_harm() {
    for lie in [1, bytes(CHUNKS) - 1, bytes(CHUNKS), bytes(CHUNKS) + 1, u64::MAX] {
        let mut world = world(config(1), lie);
        world.peer(1, Script { has: Some((None, vec![(0, 640)])), ..Script::fast() });
        let job = world.job(&File::new(1, CHUNKS), Some(Origin::healthy()));
        world.run(ms(100), |_| false);
        for bytes in [0, u64::MAX, 8, lie] {
            world.handle(Event::JobFront { job, bytes });
        }
        world.finish(job, LIMIT);
        assert_eq!((world.task(job).from_peers, world.task(job).from_origin), (640, 360), "{lie}");
        world.handle(Event::JobFront { job, bytes: 8 });
        world.remove(job);
        world.handle(Event::JobFront { job, bytes: 8 });
    }
}

#[test]
fn what_a_reader_waits_for_comes_before_the_rest_wherever_it_is() {
    for seed in 0..SEEDS {
        let mut world = world(config(seed), 0);
        world.peer(1, nearly_all());
        let job = world.job(&File::new(1, CHUNKS), None);
        world.run(LIMIT, |world| world.task(job).disk.len() > 10);
        let from = world.sent.len();
        let before: BTreeSet<u32> = asked(&world, job, 0).into_iter().collect();
        world.handle(Event::JobAwaited { job, bytes: bytes(700) + 1..bytes(720) });
        let wanted: BTreeSet<u32> = (700..720).filter(|index| !before.contains(index)).collect();
        world.run(LIMIT, |world| asked(world, job, from).len() >= wanted.len() + 20);
        let after = asked(&world, job, from);
        assert_eq!(after[..wanted.len()].iter().copied().collect::<BTreeSet<u32>>(), wanted, "seed {seed}");
        // Another place, past the end of the file: no harm.
        world.handle(Event::JobAwaited { job, bytes: bytes(CHUNKS) - 1..u64::MAX });
        world.run(LIMIT, |world| world.task(job).disk.len() > 900);
    }
}

#[test]
fn the_first_bytes_that_a_reader_waits_for_have_the_origin_for_themselves() {
    for awaited in [None, Some(700)] {
        let mut world = world(config(1), 0);
        world.whole = true;
        let job = world.job_without_peers(&File::new(1, CHUNKS), Origin::healthy());
        if let Some(chunk) = awaited {
            world.handle(Event::JobAwaited { job, bytes: bytes(chunk) + 1..bytes(chunk) + 9 });
        }
        world.run(LIMIT, |world| world.task(job).disk.len() >= 10);
        let first = fetched(&world, job);
        match awaited {
            None => assert!(first.len() > 1, "several at once: {first:?}"),
            // Nothing of a xorb is proven before its last chunk: what comes beside it makes the reader wait.
            Some(chunk) => assert_eq!(first, [chunk / BLOCK]),
        }
        world.run(LIMIT, |world| fetched(world, job).len() > 3);
        world.finish(job, LIMIT);
    }
}

/// Of a file that nothing proves but its whole blocks, while somebody reads it: blocks that are whole when half of its chunks are here, and
/// the most that were under way at once until then.
fn read_half(origin: Origin) -> (usize, usize) {
    let mut world = world(config(1), 0);
    world.whole = true;
    let job = world.job_without_peers(&File::new(1, CHUNKS), origin);
    world.handle(Event::JobAwaited { job, bytes: 0..1 });
    let most = Cell::new(0);
    world.run(LIMIT, |world| {
        most.set(most.get().max(world.task(job).fetches.len()));
        world.task(job).disk.len() as u32 >= CHUNKS / 2
    });
    let disk = &world.task(job).disk;
    let is_whole = |block: &u32| (block * BLOCK..(block + 1) * BLOCK).all(|index| disk.contains(&index));
    let whole = (0..CHUNKS / BLOCK).filter(is_whole).count();
    world.finish(job, LIMIT);
    assert_eq!(world.task(job).from_origin, CHUNKS, "each chunk counts once");
    (whole, most.get())
}

#[test]
fn blocks_that_share_a_line_come_one_after_the_other_while_the_file_is_read() {
    let (whole, most) = read_half(Origin { chunk_time: ms(20), one_line: true, ..Origin::healthy() });
    // One is tried beside it now and then, and one is begun when the one before is nearly here.
    assert!(whole >= 6 && most <= 2, "{whole} of 7 whole, {most} at once");
}

#[test]
fn where_each_connection_is_given_little_a_reader_has_as_many_as_usual() {
    let (_, most) = read_half(Origin { chunk_time: ms(100), ..Origin::healthy() });
    assert!(most >= 8, "{most}");
}
