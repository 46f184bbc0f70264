//! A job that nobody can serve ends, not too early and not too late, and says why; one that somebody can serve does not.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::Duration;
use zest_core::node::{Event, FaultKind, JobFailure, OriginFault};

const LIMIT: Duration = Duration::from_secs(600);
/// [`zest_core::node::Config::patience`].
const PATIENCE: Duration = Duration::from_secs(20);

fn failure(world: &mut World, job: zest_core::JobId) -> (Duration, u32, String) {
    let began = world.now;
    assert!(world.run(LIMIT, |w| w.task(job).failed.is_some()), "it never failed");
    let (at, JobFailure::NoSource { missing, origin }) = world.task(job).failed.clone().unwrap();
    let asked = world.sent.len();
    // A failed job asks for nothing more, and fails once.
    world.run(Duration::from_secs(60), |_| false);
    let later = world.sent[asked..].iter().filter(|(_, m)| format!("{m:?}").contains("Request")).count();
    assert_eq!(later, 0);
    (at - began, missing, origin.expect("a reason").text)
}

#[test]
fn nobody_at_all() {
    let mut world = World::new();
    let job = world.job(&File::new(1, 100), None);
    let (took, missing, why) = failure(&mut world, job);
    assert_eq!((took, missing, why.as_str()), (PATIENCE, 0, "the origin is not used"));
}

#[test]
fn the_origin_gone_and_no_peers() {
    let mut world = World::new();
    let job = world.job(&File::new(1, 100), Some(Origin { plan: None, ..Origin::healthy() }));
    world.run(ms(300), |_| false);
    let why = OriginFault::new(FaultKind::Permanent, "403 from the CAS");
    world.handle(Event::OriginGone { job, why });
    let (took, _, why) = failure(&mut world, job);
    assert!(took <= PATIENCE, "{took:?}");
    assert_eq!(why, "403 from the CAS");
}

#[test]
fn the_origin_faults_until_it_counts_as_gone() {
    let mut world = World::new();
    let origin = Origin { faults_from: Some((2, fault("503 from the CDN"))), ..Origin::healthy() };
    let job = world.job(&File::new(1, 640), Some(origin));
    let (took, missing, why) = failure(&mut world, job);
    assert_eq!((missing, why.as_str()), (640 - 2 * BLOCK, "503 from the CDN"));
    assert!(took > PATIENCE && took < PATIENCE + Duration::from_secs(6), "{took:?}");
}

#[test]
fn peers_that_claim_everything_and_give_nothing_do_not_keep_it_alive() {
    for script in [
        Script::fast().with(Chunks::Mute),
        Script::fast().with(Chunks::NotFound),
        Script { greets: None, ..Script::fast() },
        Script { manifests: Manifests::Silent, ..Script::fast() },
        Script { manifests: Manifests::Refused, ..Script::fast() },
        Script::plain(),
        Script { dials: Dials::Refused, ..Script::fast() },
        Script { dials: Dials::Swallowed, ..Script::fast() },
    ] {
        let mut world = World::new();
        world.peer(1, script.clone());
        let job = world.job(&File::new(1, 100), None);
        let (took, ..) = failure(&mut world, job);
        assert!(took <= PATIENCE + Duration::from_secs(1), "{script:?}: {took:?}");
    }
}

#[test]
fn a_visitor_who_comes_back_on_and_on_does_not_keep_it_alive() {
    let mut world = World::new();
    let job = world.job(&File::new(1, 100), None);
    for _ in 0..60 {
        let link = world.visitor(1, Script::fast().with(Chunks::Mute));
        world.run(ms(900), |_| false);
        world.cut(link, None);
    }
    assert!(world.task(job).failed.is_some());
}

#[test]
fn the_last_peer_goes_in_the_middle() {
    let mut world = World::new();
    world.peer(1, Script::fast());
    let job = world.job(&File::new(1, 2000), None);
    assert!(world.run(LIMIT, |w| w.task(job).from_peers >= 500));
    world.rewrite(1, Script { dials: Dials::Refused, ..Script::fast() });
    world.cut(world.link_of(1), None);
    let (took, missing, _) = failure(&mut world, job);
    assert!(took <= PATIENCE && took + ms(10) > PATIENCE, "{took:?}");
    assert!(missing <= 1500 && missing > 1400, "{missing}");
}

#[test]
fn a_peer_that_comes_back_in_time_saves_it() {
    let mut world = World::new();
    world.peer(1, Script::fast());
    let job = world.job(&File::new(1, 1000), None);
    assert!(world.run(LIMIT, |w| w.task(job).from_peers >= 500));
    world.rewrite(1, Script { dials: Dials::Refused, ..Script::fast() });
    world.cut(world.link_of(1), None);
    world.run(Duration::from_secs(5), |_| false);
    world.rewrite(1, Script::fast());
    world.finish(job, LIMIT);
}

#[test]
fn a_slow_but_steady_peer_keeps_it_alive() {
    let mut world = World::new();
    // A chunk every 5 s.
    world.peer(1, Script { chunk_time: ms(5000), ..Script::fast() });
    let job = world.job(&File::new(1, 10), None);
    let end = world.run(Duration::from_secs(400), |w| w.task(job).complete.is_some());
    assert!(end, "{:?}", world.task(job).failed);
}

#[test]
fn a_slow_disk_keeps_it_alive() {
    let mut world = World::new();
    let file = File::new(1, 10);
    let job = world.job(&file, None);
    let (manifest, held) = (file.manifest.clone(), zest_core::node::BitSet::empty(10));
    world.tasks.get_mut(&job).unwrap().local.extend((0..10).map(|index| (index, true)));
    world.disk_time = Duration::from_secs(70);
    let place =
        |index| zest_core::Location { file: zest_core::FileId(1), offset: u64::from(index), len: CHUNK };
    let local = (0..10).map(|index| (index, place(index))).collect();
    world.handle(Event::JobManifest { job, manifest, held, local });
    world.finish(job, LIMIT);
}

#[test]
fn a_file_that_waits_for_the_one_before_it_is_kept_alive() {
    let mut world = World::new();
    // The first file keeps the only peer busy for a minute.
    world.peer(1, Script::fast().at(0.5));
    let first = world.job(&File::new(1, 500), None);
    let second = world.job(&File::new(2, 5), None);
    world.finish(first, LIMIT);
    world.finish(second, LIMIT);
}
