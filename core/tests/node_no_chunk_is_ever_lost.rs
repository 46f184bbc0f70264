//! Links come and go, sources stall, jobs are reopened and removed: every chunk is somewhere, every count is right. The
//! node's own check runs after each event; here the job also has to end.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::Duration;
use zest_core::link::{Outgoing, ZestMessage};
use zest_core::node::{Config, Event, Source};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_link_that_breaks_again_and_again_delays_but_loses_nothing() {
    let mut world = World::new();
    world.peer(1, Script::fast());
    let job = world.job(&File::new(1, 3000), None);
    for _ in 0..8 {
        world.run(Duration::from_secs(30), |w| {
            w.remotes.values().last().is_some_and(|r| r.open && r.given > 200)
        });
        let link = world.link_of(1);
        world.cut(link, None);
    }
    world.finish(job, LIMIT);
    assert!(world.dialled.len() >= 8, "an address that gives is dialled again");
}

#[test]
fn a_peer_that_wakes_up_is_used_again() {
    let mut world = World::new();
    world.peer(1, Script::fast().with(Chunks::SilentAfter(100)));
    let job = world.job(&File::new(1, 1000), None);
    world.run(ms(4000), |_| false);
    let link = world.link_of(1);
    world.remotes.get_mut(&link).unwrap().script = Script::fast();
    // The probe it was sent is lost; the link is closed and dialled anew.
    world.rewrite(1, Script::fast());
    world.finish(job, LIMIT);
}

#[test]
fn a_late_answer_is_welcome_until_someone_else_gave_it() {
    let mut world = World::new();
    // 600 ms of silence in every answer's way: longer than the doubt, shorter than a stall.
    world.peer(1, Script { latency: ms(300), ..Script::fast() });
    let job = world.job(&File::new(1, 200), None);
    world.finish(job, LIMIT);
    assert!(world.node.stats().chunks_duplicate <= 16, "{:?}", world.node.stats());
    assert_eq!(world.buffers_out(), 0);
}

#[test]
fn a_stalled_peers_begun_payload_is_given_back() {
    let mut world = World::new();
    // One chunk takes 5 s: called off while it comes.
    world.peer(1, Script { chunk_time: ms(5000), ..Script::fast() });
    world.peer(2, Script { latency: ms(50), ..Script::fast() });
    let job = world.job(&File::new(1, 300), None);
    world.finish(job, LIMIT);
    world.run(ms(20_000), |_| false);
    assert_eq!(world.buffers_out(), 0);
}

#[test]
fn a_job_removed_with_everything_under_way_leaves_nothing_behind() {
    let mut world = World::new();
    let file = File::new(1, 1000);
    world.peer(1, Script::fast().at(2.0));
    world.peer(2, Script::original().at(1.0));
    let job = world.job(&file, Some(Origin::healthy()));
    world.tasks.get_mut(&job).unwrap().local.extend((0..200).map(|index| (index, true)));
    assert!(world.run(LIMIT, |w| w.task(job).copied > 3 && w.task(job).streamed > 10));
    world.remove(job);
    let link = world.link_of(1);
    let file_hash = file.hash();
    assert!(world.sent.contains(&(link, Outgoing::Zest(ZestMessage::Uninterest { file: file_hash }))));
    // Reports of its copies, fetches and proofs still come in.
    world.run(ms(3000), |_| false);
    assert_eq!(world.buffers_out(), 0);
    assert_eq!(world.node.poll_timeout(), None, "no timer outlives the last job");
    let next = world.job(&File::new(2, 1000), Some(Origin::healthy()));
    world.tasks.get_mut(&next).unwrap().local.extend((0..1000).map(|index| (index, true)));
    world.finish(next, LIMIT);
    assert_eq!(world.task(next).copied, 1000);
}

#[test]
fn copies_go_on_when_their_limit_was_used_up_by_a_removed_job() {
    let mut world = World::with(Config { copies_max: 4, ..Config::new([1; 32], zest_core::PeerId([1; 20])) });
    let job = world.job(&File::new(1, 100), Some(Origin::healthy()));
    world.tasks.get_mut(&job).unwrap().local.extend((0..100).map(|index| (index, true)));
    assert!(world.run(LIMIT, |w| w.task(job).copied > 0));
    world.remove(job);
    let next = world.job(&File::new(2, 100), Some(Origin::healthy()));
    world.tasks.get_mut(&next).unwrap().local.extend((0..100).map(|index| (index, true)));
    world.finish(next, LIMIT);
    assert_eq!((world.task(next).copied, world.task(next).streamed), (100, 0));
}

#[test]
fn what_lies_on_this_machine_is_not_fetched() {
    let mut world = World::with(Config { copies_max: 2, ..Config::new([1; 32], zest_core::PeerId([1; 20])) });
    let file = File::new(1, 10 * BLOCK);
    world.peer(1, Script::fast());
    let job = world.job(&file, Some(Origin::healthy()));
    world.tasks.get_mut(&job).unwrap().local.extend((0..9 * BLOCK).map(|index| (index, true)));
    world.finish(job, LIMIT);
    let task = world.task(job);
    assert_eq!((task.copied, task.from_peers), (9 * BLOCK, BLOCK));
    assert_eq!(task.streamed, 0);
}

#[test]
fn what_is_held_already_is_not_fetched() {
    let mut world = World::new();
    let job = world.job(&File::new(1, 640), Some(Origin::healthy()));
    world.tasks.get_mut(&job).unwrap().disk.extend((0..640).filter(|i| i / BLOCK != 3));
    world.finish(job, LIMIT);
    assert_eq!(world.task(job).streamed, BLOCK);
}

#[test]
fn a_reopened_job_fetches_what_was_doubtful() {
    let mut world = World::new();
    let job = world.job(&File::new(1, 640), Some(Origin::healthy()));
    world.finish(job, LIMIT);
    let doubtful: Vec<u32> = (100..110).collect();
    let task = world.tasks.get_mut(&job).unwrap();
    task.complete = None;
    task.disk.retain(|index| !doubtful.contains(index));
    world.handle(Event::JobReopened { job, missing: doubtful });
    world.finish(job, LIMIT);
    // And with nothing doubtful it is complete again.
    world.tasks.get_mut(&job).unwrap().complete = None;
    world.handle(Event::JobReopened { job, missing: vec![] });
    assert!(world.task(job).complete.is_some());
}

#[test]
fn a_manifest_that_comes_late_discards_what_it_does_not_name() {
    let mut world = World::new();
    let file = File::new(1, 640);
    let job = world.job(&file, Some(Origin::healthy()));
    assert!(world.run(LIMIT, |w| w.task(job).from_origin > 200));
    // Ten of them turn out to be wrong.
    let disk = &mut world.tasks.get_mut(&job).unwrap().disk;
    let wrong: Vec<u32> = disk.iter().copied().take(10).collect();
    disk.retain(|index| !wrong.contains(index));
    let mut held = zest_core::node::BitSet::empty(640);
    disk.iter().for_each(|index| {
        held.insert(*index);
    });
    world.handle(Event::JobManifest { job, manifest: file.manifest.clone(), held, local: vec![] });
    assert!(wrong.iter().all(|index| world.node.needs(job, *index)));
    world.finish(job, LIMIT);
}

#[test]
fn a_job_that_had_all_and_whose_list_names_other_chunks_fetches_those() {
    let mut world = World::new();
    let file = File::new(1, 640);
    let job = world.job(&file, Some(Origin::healthy()));
    world.finish(job, LIMIT);
    let task = world.tasks.get_mut(&job).unwrap();
    task.complete = None;
    task.disk.retain(|index| index % 100 != 7);
    let mut held = zest_core::node::BitSet::empty(640);
    task.disk.iter().for_each(|index| {
        held.insert(*index);
    });
    world.handle(Event::JobManifest { job, manifest: file.manifest.clone(), held, local: vec![] });
    world.finish(job, LIMIT);
}

#[test]
fn an_empty_file_is_complete_at_once() {
    let mut world = World::new();
    let job = world.job(&File::new(1, 0), Some(Origin::healthy()));
    world.finish(job, LIMIT);
}

#[test]
fn reports_of_unknown_things_are_nothing() {
    let mut world = World::new();
    let job = world.job(&File::new(1, 10), Some(Origin::healthy()));
    let ghost = zest_core::JobId(9999);
    let link = zest_core::LinkId(9999);
    for source in [Source::Disk, Source::Origin, Source::Peer(link)] {
        for (job, index) in [(ghost, 0), (job, 4_000_000_000)] {
            world.handle(Event::ChunkDone { job, index, source });
            world.handle(Event::ChunkBad { job, index, source });
        }
    }
    world.handle(Event::OriginEnded { job: ghost, block: 0, fault: None });
    world.handle(Event::OriginEnded { job, block: 77, fault: None });
    world.handle(Event::ManifestBad { job, link });
    world.handle(Event::LinkDown { link, fault: None });
    world.handle(Event::JobRemoved { job: ghost });
    world.handle(Event::JobReopened { job: ghost, missing: vec![1] });
    world.handle(Event::BlockFromPeer { link, req: zest_core::ReqId(1), good: false });
    world.finish(job, LIMIT);
}

#[test]
fn a_job_that_is_opened_again_does_not_rest_because_it_was_paused_when_it_ended() {
    let mut world = World::new();
    let job = world.job(&File::new(1, 64), Some(Origin::healthy()));
    world.run(ms(100), |w| w.task(job).from_origin > 10);
    // What is under way still arrives, and that is all of it.
    world.handle(Event::JobPaused { job, paused: true });
    (0..64).filter(|index| world.node.needs(job, *index)).collect::<Vec<u32>>().into_iter().for_each(
        |index| {
            world.tasks.get_mut(&job).unwrap().disk.insert(index);
            world.handle(Event::ChunkDone { job, index, source: Source::Origin });
        },
    );
    assert!(world.task(job).complete.is_some());
    world.handle(Event::JobPaused { job, paused: false });
    world.tasks.get_mut(&job).unwrap().complete = None;
    world.tasks.get_mut(&job).unwrap().disk.remove(&9);
    world.handle(Event::JobReopened { job, missing: vec![9] });
    assert!(world.run(Duration::from_secs(10), |w| w.task(job).complete.is_some()), "it rests for ever");
}
