//! A peer of zest 0.4 gives whole blocks, and says nothing of what it has. Beside an origin that is slower than it, it gives most of a
//! model; beside one that is faster it costs nothing.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::Duration;

const LIMIT: Duration = Duration::from_secs(600);

/// Chunks that came from such a peer, of all, and how long it took.
fn shared(blocks: u32, peer_mb_s: f64, origin_mb_s: f64) -> (u32, u32, Duration) {
    let mut world = World::new();
    let file = File::new(1, blocks * BLOCK);
    world.peer(1, Script::original().at(peer_mb_s));
    let chunk_time = Duration::from_secs_f64(f64::from(CHUNK) / 1e6 / origin_mb_s);
    let job = world.job(&file, Some(Origin { chunk_time, one_line: true, ..Origin::healthy() }));
    let took = world.finish(job, LIMIT);
    let task = world.task(job);
    (task.from_peers, blocks * BLOCK, took)
}

#[test]
fn most_of_a_model_comes_from_it_beside_a_slow_origin() {
    for blocks in [7, 8, 16, 40] {
        let (from_peer, all, _) = shared(blocks, 200.0, 20.0);
        assert!(from_peer * 10 >= all * 8, "{from_peer} of {all} chunks, {blocks} blocks");
    }
}

#[test]
fn it_holds_up_nobody_beside_a_fast_origin() {
    for blocks in [7, 16] {
        let (_, all, took) = shared(blocks, 2.0, 100.0);
        let alone = Duration::from_secs_f64(f64::from(all) * f64::from(CHUNK) / 1e6 / 100.0);
        assert!(took < alone * 3 / 2 + ms(1500), "{took:?}, alone {alone:?}");
    }
}
