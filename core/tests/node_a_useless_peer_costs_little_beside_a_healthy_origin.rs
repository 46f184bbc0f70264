//! A peer that is silent, slow, empty or a liar must not hold a job up for more than the grace and one stall.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// Time the origin needs alone.
fn alone(chunks: u32) -> Duration {
    let mut world = World::new();
    let job = world.job(&File::new(1, chunks), Some(Origin::healthy()));
    world.finish(job, LIMIT)
}

fn beside(chunks: u32, scripts: &[Script]) -> (Duration, World) {
    let mut world = World::new();
    for (port, script) in (1..).zip(scripts) {
        world.peer(port, script.clone());
    }
    let job = world.job(&File::new(1, chunks), Some(Origin::healthy()));
    let took = world.finish(job, LIMIT);
    let task = world.task(job);
    assert_eq!(task.disk.len() as u32, chunks);
    (took, world)
}

/// The grace, and the time after which nobody relies on a silent peer, and a little for what was stolen from it.
const GRACE: Duration = ms(150);
const DOUBT: Duration = ms(450);

#[test]
fn the_origin_begins_at_once_when_nobody_is_there() {
    let mut world = World::new();
    let job = world.job(&File::new(1, 640), Some(Origin::healthy()));
    world.run(ms(45), |_| false);
    assert!(world.task(job).streamed > 0);
}

#[test]
fn the_origin_begins_at_once_when_all_dials_fail() {
    let mut world = World::new();
    world.peer(1, Script { dials: Dials::Refused, ..Script::fast() });
    world.peer(2, Script { dials: Dials::Refused, ..Script::fast() });
    let job = world.job(&File::new(1, 640), Some(Origin::healthy()));
    world.run(ms(50), |_| false);
    assert!(world.task(job).streamed > 0);
}

#[test]
fn a_dial_into_nowhere_costs_the_grace() {
    let (took, _) = beside(640, &[Script { dials: Dials::Swallowed, ..Script::fast() }]);
    assert!(took <= alone(640) + GRACE, "{took:?}");
}

#[test]
fn a_link_that_says_nothing_costs_the_grace() {
    let (took, _) = beside(640, &[Script { greets: None, ..Script::fast() }]);
    assert!(took <= alone(640) + GRACE, "{took:?}");
}

#[test]
fn a_peer_without_the_file_costs_nothing() {
    let empty = Script { has: Some((Some(0), vec![])), manifests: Manifests::Refused, ..Script::fast() };
    let (took, _) = beside(640, &[empty]);
    assert!(took <= alone(640) + ms(5), "{took:?}");
}

#[test]
fn a_manifest_that_never_comes_costs_the_grace() {
    for manifests in [Manifests::Silent, Manifests::SilentAfter(1), Manifests::InParts(1)] {
        let (took, _) = beside(6000, &[Script { manifests: manifests.clone(), ..Script::fast() }]);
        // A part that came earns two more graces.
        assert!(took <= alone(6000) + GRACE * 3, "{manifests:?}: {took:?}");
    }
}

#[test]
fn a_mute_peer_that_claims_everything_costs_less_than_a_stall() {
    let (took, _) = beside(640, &[Script::fast().with(Chunks::Mute)]);
    assert!(took <= alone(640) + DOUBT, "{took:?}");
    let mutes = vec![Script::fast().with(Chunks::Mute); 5];
    let (took, _) = beside(640, &mutes);
    assert!(took <= alone(640) + DOUBT, "{took:?}");
}

#[test]
fn the_origin_joins_when_not_one_chunk_came() {
    let mut world = World::new();
    world.peer(1, Script::fast().with(Chunks::Mute));
    let job = world.job(&File::new(1, 640), Some(Origin::healthy()));
    assert!(world.run(ms(500), |w| w.task(job).streamed > 0), "within half a second");
}

#[test]
fn the_origin_joins_peers_that_are_too_slow() {
    let mut world = World::new();
    world.peer(1, Script::fast().at(5.0));
    let job = world.job(&File::new(1, 2000), Some(Origin::healthy()));
    assert!(world.run(ms(650), |w| w.task(job).streamed > 0));
    world.finish(job, LIMIT);
    assert!(world.task(job).from_peers > 10, "and they go on giving");
}

#[test]
fn a_peer_that_goes_silent_in_the_middle_costs_less_than_a_stall() {
    let (took, _) = beside(640, &[Script::fast().with(Chunks::SilentAfter(100))]);
    assert!(took <= alone(640) + DOUBT, "{took:?}");
}

#[test]
fn a_trickle_holds_up_a_handful_of_chunks_for_a_moment() {
    for gap in [ms(100), ms(350), ms(700), ms(1900), ms(3000)] {
        let (took, world) = beside(640, &[Script { chunk_time: gap, ..Script::fast() }]);
        assert!(took <= alone(640) + ms(1200), "{gap:?}: {took:?}");
        assert!(world.banned.is_empty());
    }
}

#[test]
fn a_peer_that_refuses_what_it_claims_costs_the_grace() {
    let (took, world) = beside(640, &[Script::fast().with(Chunks::NotFound)]);
    assert!(took <= alone(640) + GRACE + ms(10), "{took:?}");
    assert!(world.remote(1).asked <= 32, "it is not asked on and on: {}", world.remote(1).asked);
}

#[test]
fn a_plain_peer_without_the_chunks_costs_nothing() {
    let (took, world) =
        beside(640, &[Script::plain().with(Chunks::NotFound), Script::fast().with(Chunks::Mute)]);
    assert!(took <= alone(640) + DOUBT, "{took:?}");
    assert!(world.remote(1).asked <= 32);
}

#[test]
fn a_mute_zest_0_4_peer_does_not_keep_its_block() {
    let (took, _) = beside(640, &[Script { blocks: Chunks::Mute, ..Script::original() }]);
    assert!(took <= alone(640) + ms(1400), "{took:?}");
}

#[test]
fn a_useless_peer_is_let_go_and_its_place_is_not_kept() {
    let mut world = World::new();
    world.peer(1, Script::fast().with(Chunks::Mute));
    let job = world.job(&File::new(1, 640), None);
    assert!(world.run(LIMIT, |w| w.task(job).failed.is_some()));
    let link = world.link_of(1);
    assert!(world.dialled.len() > 1, "a stalled peer may be dialled again");
    assert!(world.dialled.len() <= 5, "but not on and on");
    assert!(world.banned.is_empty(), "silence is no crime");
    assert!(link.0 > 0 && world.now > Instant(1_000_000));
}
