//! The origin fails, pauses, cuts and errs; the job goes on as soon as it may, and peers fill in.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::Duration;
use zest_core::node::{Event, FaultKind, OriginFault};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_cut_block_is_asked_for_again() {
    let mut world = World::new();
    let faults = (0..10).map(|n| (n, (n * 5, fault("the body ended early")))).collect();
    let job = world.job(&File::new(1, 640), Some(Origin { faults, ..Origin::healthy() }));
    world.finish(job, LIMIT);
    assert_eq!(world.task(job).from_origin, 640);
}

#[test]
fn a_block_that_moves_on_between_its_faults_is_not_given_up() {
    let mut world = World::new();
    // Each fetch brings three chunks of the one block: more faults than are allowed in a row. What is there already is
    // streamed over.
    let faults = (0..21).map(|n| (n, ((n + 1) * 3, fault("cut again")))).collect();
    let job = world.job(&File::new(1, BLOCK), Some(Origin { faults, ..Origin::healthy() }));
    let took = world.finish(job, LIMIT);
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_pause_that_the_origin_asks_for_is_kept() {
    let mut world = World::new();
    let pause =
        OriginFault { retry_after: Some(Duration::from_secs(7)), ..OriginFault::new(FaultKind::Busy, "429") };
    let job = world
        .job(&File::new(1, BLOCK), Some(Origin { faults: [(0, (10, pause))].into(), ..Origin::healthy() }));
    let took = world.finish(job, LIMIT);
    assert!(took > Duration::from_secs(7) && took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn a_chunk_that_is_wrong_a_few_times_is_asked_for_again() {
    let mut world = World::new();
    world.peer(1, Script { greets: None, ..Script::fast() });
    let wrong = [(5, 1), (70, 3)].into();
    let job = world.job(&File::new(1, 640), Some(Origin { wrong, ..Origin::healthy() }));
    world.finish(job, LIMIT);
    assert_eq!(world.node.stats().chunks_bad, 4);
    assert!(world.banned.is_empty());
}

#[test]
fn a_chunk_that_is_always_wrong_is_an_error_in_the_end() {
    let mut world = World::new();
    let wrong = [(5, u32::MAX)].into();
    let job = world.job(&File::new(1, 640), Some(Origin { wrong, ..Origin::healthy() }));
    assert!(world.run(LIMIT, |w| w.task(job).failed.is_some()));
    assert_eq!(world.task(job).disk.len(), 639);
}

#[test]
fn a_chunk_that_is_wrong_at_the_origin_comes_from_a_peer() {
    let mut world = World::new();
    world.peer(1, Script::fast().at(3.0));
    let wrong = (0..640).step_by(7).map(|index| (index, u32::MAX)).collect();
    let job = world.job(&File::new(1, 640), Some(Origin { wrong, ..Origin::healthy() }));
    world.finish(job, LIMIT);
}

#[test]
fn peers_go_on_when_the_origin_is_gone() {
    let mut world = World::new();
    world.peer(1, Script::fast().at(3.0));
    let job = world.job(&File::new(1, 640), Some(Origin { chunk_time: ms(10), ..Origin::healthy() }));
    assert!(world.run(LIMIT, |w| w.task(job).from_origin > 50));
    let why = OriginFault::new(FaultKind::Permanent, "offline");
    world.handle(Event::OriginGone { job, why });
    world.finish(job, LIMIT);
}

#[test]
fn a_layout_that_contradicts_the_proven_manifest_is_not_used() {
    // The manifest first, then the layout.
    let mut world = World::new();
    let (file, other) = (File::new(1, 300), File::new(2, 200));
    world.peer(1, Script::fast());
    let job = world.job(&file, Some(Origin { plan: None, ..Origin::healthy() }));
    assert!(world.run(LIMIT, |w| w.task(job).from_peers > 10));
    let wrong = |chunks| Event::JobPlanned { job, chunks, blocks: vec![], held: vec![], local: vec![] };
    world.handle(wrong(other.len()));
    world.finish(job, LIMIT);
    // The layout first: what came by it does not count.
    let mut world = World::new();
    let job = world.job(&file, Some(Origin { plan: None, ..Origin::healthy() }));
    let block = zest_core::node::Block {
        xorb: other.hash(),
        chunks: 0..200,
        runs: vec![zest_core::node::Run { first: 0, count: 200, xorb_chunk: 0, offset: 0 }],
        whole: false,
        wire_bytes: 1 << 20,
    };
    world.streams = false;
    world.handle(Event::JobPlanned { job, chunks: 200, blocks: vec![block], held: vec![3], local: vec![] });
    world.peer(1, Script::fast());
    world.finish(job, LIMIT);
    assert_eq!(world.task(job).from_peers, 300);
}

#[test]
fn zest_0_4_peers_serve_blocks_beside_the_origin_and_without_it() {
    let mut world = World::new();
    world.peer(1, Script::original());
    world.run(ms(20), |_| false);
    let job = world.job(&File::new(1, 20 * BLOCK), Some(Origin { chunk_time: ms(4), ..Origin::healthy() }));
    world.finish(job, LIMIT);
    let task = world.task(job);
    assert!(task.from_peers >= 4 * BLOCK, "{}", task.from_peers);
    assert!(task.from_peers + task.from_origin == 20 * BLOCK);

    let mut world = World::new();
    world.peer(1, Script::original());
    let origin = Origin { faults_from: Some((0, fault("the CDN is off"))), ..Origin::healthy() };
    let job = world.job(&File::new(1, 20 * BLOCK), Some(origin));
    world.finish(job, LIMIT);
    assert_eq!(world.task(job).from_peers, 20 * BLOCK);
}
