//! Whoever has the manifest gives it: silence, refusal, hang-ups and bad timing only change who is asked next.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::link::{Message, Outgoing, ZestMessage};
use zest_core::node::Event;
use zest_core::{Duration, FileKey};

const LIMIT: Duration = Duration::from_secs(60);

fn fetch_from(scripts: &[Script], chunks: u32) -> (Duration, World) {
    let mut world = World::new();
    for (port, script) in (1..).zip(scripts) {
        world.peer(port, script.clone());
    }
    let job = world.job(&File::new(1, chunks), None);
    let took = world.finish(job, LIMIT);
    (took, world)
}

#[test]
fn a_second_peer_takes_over_from_a_silent_one() {
    for manifests in [Manifests::Silent, Manifests::SilentAfter(1), Manifests::SilentAfter(2)] {
        let (took, _) = fetch_from(
            &[
                Script { manifests: manifests.clone(), ..Script::fast() },
                Script { latency: ms(3), ..Script::fast() },
            ],
            9000,
        );
        assert!(took < ms(9000) * 65 / 100 / 2 + ms(2000), "{manifests:?}: {took:?}");
    }
}

#[test]
fn a_second_peer_takes_over_when_the_first_has_none() {
    let (_, world) = fetch_from(
        &[
            Script { manifests: Manifests::Refused, ..Script::fast() },
            Script { latency: ms(3), ..Script::fast() },
        ],
        2000,
    );
    assert!(world.remote(1).given > 100, "its chunks are as good as any: {}", world.remote(1).given);
}

#[test]
fn a_second_peer_takes_over_when_the_first_hangs_up_in_the_middle() {
    let mut world = World::new();
    world.peer(1, Script { manifests: Manifests::SilentAfter(1), ..Script::fast() });
    world.peer(2, Script { latency: ms(5), ..Script::fast() });
    let job = world.job(&File::new(1, 9000), None);
    world.run(ms(30), |_| false);
    world.cut(world.link_of(1), None);
    world.rewrite(1, Script { dials: Dials::Refused, ..Script::fast() });
    world.finish(job, LIMIT);
}

#[test]
fn only_one_peer_is_asked_at_a_time() {
    let (_, world) = fetch_from(&vec![Script::fast(); 4], 2000);
    let asks = world
        .sent
        .iter()
        .filter(|(_, m)| matches!(m, Outgoing::Zest(ZestMessage::ManifestRequest { .. })))
        .count();
    assert_eq!(asks, 1);
}

#[test]
fn a_peer_that_has_none_is_asked_again_when_it_has_some_of_the_file() {
    let mut world = World::new();
    let file = File::new(1, 300);
    world.peer(1, Script { manifests: Manifests::Refused, has: Some((Some(0), vec![])), ..Script::fast() });
    let job = world.job(&file, None);
    world.run(ms(3000), |_| false);
    let link = world.link_of(1);
    world.remotes.get_mut(&link).unwrap().script = Script::fast();
    world
        .says(link, Message::Zest(ZestMessage::Have { file: file.hash(), total: 300, runs: vec![(0, 300)] }));
    world.finish(job, LIMIT);
}

#[test]
fn a_peer_that_gets_chunks_later_is_asked_for_them() {
    let mut world = World::new();
    let file = File::new(1, 300);
    world.peer(1, Script { has: Some((None, vec![(0, 100)])), ..Script::fast() });
    let job = world.job(&file, None);
    world.run(ms(3000), |_| false);
    assert_eq!(world.task(job).from_peers, 100);
    world.says(
        world.link_of(1),
        Message::Zest(ZestMessage::HaveMore {
            file: FileKey::of(&file.hash()),
            runs: vec![(100, 50), (250, 50)],
        }),
    );
    world.run(ms(1000), |_| false);
    assert_eq!(world.task(job).from_peers, 200);
    world.says(
        world.link_of(1),
        Message::Zest(ZestMessage::HaveMore { file: FileKey::of(&file.hash()), runs: vec![(150, 100)] }),
    );
    world.finish(job, LIMIT);
}

#[test]
fn the_only_peer_gets_a_second_chance_after_a_pause() {
    let mut world = World::new();
    let file = File::new(1, 300);
    world.peer(1, Script { manifests: Manifests::Silent, ..Script::fast() });
    let job = world.job(&file, None);
    world.run(ms(800), |_| false);
    let link = world.link_of(1);
    world.remotes.get_mut(&link).unwrap().script = Script::fast();
    let took = world.finish(job, LIMIT);
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_manifest_that_is_here_already_is_not_waited_for() {
    let mut world = World::new();
    let file = File::new(1, 300);
    world.peer(1, Script { manifests: Manifests::Silent, ..Script::fast() });
    let job = world.job(&file, None);
    world.run(ms(100), |_| false);
    let (manifest, held) = (file.manifest.clone(), zest_core::node::BitSet::empty(300));
    world.handle(Event::JobManifest { job, manifest, held, local: vec![] });
    let took = world.finish(job, LIMIT);
    assert!(took < ms(400), "{took:?}");
}

#[test]
fn a_far_and_slow_peer_can_give_a_manifest_and_a_file() {
    // 40 KB/s, 300 ms away: less than a chunk a second.
    let far = Script { latency: ms(150), ..Script::fast().at(0.04) };
    let (_, world) = fetch_from(&[far], 20);
    assert!(world.banned.is_empty());
}

#[test]
fn a_peer_that_has_none_yet_is_not_asked_with_every_chunk_that_it_gets() {
    let mut world = World::new();
    let file = File::new(1, 300);
    world
        .peer(1, Script { manifests: Manifests::Refused, has: Some((None, vec![(0, 1)])), ..Script::fast() });
    let job = world.job(&file, None);
    world.run(ms(100), |_| false);
    let link = world.link_of(1);
    let more = |first| {
        let runs = vec![(first, 1)];
        Message::Zest(ZestMessage::HaveMore { file: FileKey::of(&file.hash()), runs })
    };
    let asks = |world: &World| {
        let ask =
            |(_, sent): &&(_, Outgoing)| matches!(sent, Outgoing::Zest(ZestMessage::ManifestRequest { .. }));
        world.sent.iter().filter(ask).count()
    };
    for first in 1..200 {
        world.says(link, more(first));
        world.run(ms(20), |_| false);
    }
    assert!((2..=6).contains(&asks(&world)), "{} times in four seconds", asks(&world));
    // It is asked once it has it: while it gets more, and at once if it has all.
    world.remotes.get_mut(&link).unwrap().script =
        Script { has: Some((None, vec![(0, 300)])), ..Script::fast() };
    let all = Message::Zest(ZestMessage::Have { file: file.hash(), total: 300, runs: vec![(0, 300)] });
    world.says(link, all);
    let took = world.finish(job, LIMIT);
    assert!(took < ms(600), "{took:?}");
}
