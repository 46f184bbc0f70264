//! Peers that are faster than the threshold give everything; the origin is ready and not asked for a byte.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::Duration;
use zest_core::link::Outgoing;

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn one_warm_peer_gives_everything() {
    let mut world = World::new();
    let file = File::new(1, 3000);
    world.peer(1, Script::fast());
    let job = world.job(&file, Some(Origin::healthy()));
    let took = world.finish(job, LIMIT);
    assert_eq!((world.task(job).streamed, world.task(job).from_peers), (0, 3000));
    assert_eq!(world.task(job).layouts_asked, 0, "nothing was to come from there");
    // 3,000 × 0.65 ms on its line, and little else.
    assert!(took < ms(2200), "{took:?}");
    assert_eq!(world.node.stats().chunks_asked, 3000, "nothing is asked for twice");
    assert_eq!(world.buffers_out(), 0);
}

#[test]
fn several_warm_peers_share_the_work_and_begin_at_different_places() {
    let mut world = World::new();
    let file = File::new(1, 3000);
    for port in 1..=3 {
        world.peer(port, Script::fast());
    }
    let job = world.job(&file, Some(Origin::healthy()));
    let took = world.finish(job, LIMIT);
    assert_eq!((world.task(job).streamed, world.task(job).from_peers), (0, 3000));
    assert!(took < ms(800), "three lines are three times as fast: {took:?}");
    let firsts: Vec<_> = (1..=3)
        .map(|port| {
            let link = world.link_of(port);
            let first = world.sent.iter().find_map(|(to, message)| match message {
                Outgoing::ChunkRequest { hash, .. } if *to == link => Some(*hash),
                _ => None,
            });
            first.expect("each was asked")
        })
        .collect();
    assert!(firsts[0] != firsts[1] && firsts[1] != firsts[2] && firsts[0] != firsts[2]);
    for port in 1..=3 {
        assert!(world.remote(port).given > 700, "a fair share: {}", world.remote(port).given);
    }
}

#[test]
fn one_that_falls_silent_among_them_is_no_reason_to_ask_it() {
    let mut world = World::new();
    let file = File::new(1, 6000);
    world.peer(1, Script::fast());
    world.peer(2, Script::fast());
    world.peer(3, Script { chunks: Chunks::SilentAfter(50), ..Script::fast() });
    let job = world.job(&file, Some(Origin::healthy()));
    world.finish(job, LIMIT);
    assert_eq!((world.task(job).streamed, world.task(job).from_peers), (0, 6000));
}

#[test]
fn many_small_files_come_from_a_warm_peer_alone() {
    let mut world = World::new();
    world.peer(1, Script::fast());
    for number in 0..40 {
        let file = File::new(number, 3);
        let job = world.job(&file, Some(Origin::healthy()));
        world.finish(job, LIMIT);
        assert_eq!((world.task(job).streamed, world.task(job).layouts_asked), (0, 0), "file {number}");
        world.remove(job);
    }
}

#[test]
fn a_manifest_in_many_parts_may_outlast_the_grace() {
    let mut world = World::new();
    // 20,000 records: three parts, with a round trip of 50 ms each.
    let file = File::new(1, 20_000);
    world.peer(1, Script { latency: ms(25), chunk_time: Duration::from_micros(300), ..Script::fast() });
    let job = world.job(&file, Some(Origin::healthy()));
    world.finish(job, LIMIT);
    assert_eq!(world.task(job).streamed, 0);
}

#[test]
fn what_no_peer_has_comes_from_the_origin_and_only_that() {
    let mut world = World::new();
    let file = File::new(1, 1280);
    world.peer(1, Script { has: Some((None, vec![(0, 640)])), ..Script::fast() });
    let job = world.job(&file, Some(Origin::healthy()));
    world.finish(job, LIMIT);
    assert_eq!((world.task(job).from_peers, world.task(job).from_origin), (640, 640));
}

#[test]
fn peers_help_with_the_far_end_of_what_the_origin_is_at() {
    let mut world = World::new();
    // One block, so that the peer finds nothing that is not covered.
    let file = File::new(1, BLOCK);
    let job = world.job(&file, Some(Origin { chunk_time: ms(20), ..Origin::healthy() }));
    world.run(ms(200), |_| false);
    world.peer(1, Script::fast());
    let took = world.finish(job, LIMIT);
    let task = world.task(job);
    assert!(task.from_peers > 40 && task.from_origin >= 8, "{} and {}", task.from_peers, task.from_origin);
    assert!(took < ms(300), "{took:?}");
    assert!(task.streamed < BLOCK, "the fetch is ended when the rest is there");
}

#[test]
fn a_far_peer_fills_its_line_after_a_few_round_trips() {
    let mut world = World::new();
    // 80 MB/s, a round trip of 100 ms: 131 MB take 1.64 s.
    world.peer(1, Script { latency: ms(50), ..Script::fast().at(80.0) });
    let job = world.job(&File::new(1, 2000), None);
    let took = world.finish(job, LIMIT);
    assert!(took < ms(2800), "{took:?}");
    assert_eq!(world.node.stats().chunks_asked, 2000);
}
