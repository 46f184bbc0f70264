//! A wrong chunk or manifest costs its sender the link and every later one, and the job nothing but time.

#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::Duration;
use zest_core::link::{Extension, Message, PayloadKind, PeerFault, ZestMessage};
use zest_core::node::{BAN, Event, Found};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_corrupt_peer_is_banned_and_the_chunk_comes_from_elsewhere() {
    let mut world = World::new();
    world.peer(1, Script::fast().with(Chunks::WrongEvery(10)));
    world.peer(2, Script::fast());
    let job = world.job(&File::new(1, 1000), None);
    world.finish(job, LIMIT);
    assert_eq!(world.banned.iter().map(|(_, a)| *a).collect::<Vec<_>>(), [addr(1)]);
    assert!(!world.remote(1).open);
    assert_eq!(world.node.stats().banned, 1);
    assert!(world.remote(1).asked <= 64, "nothing more is asked of it");
}

#[test]
fn a_banned_address_is_not_dialled_before_its_ban_ends() {
    let mut world = World::new();
    world.peer(1, Script::fast().with(Chunks::WrongEvery(1)));
    let job = world.job(&File::new(1, 100), Some(Origin::healthy()));
    world.finish(job, LIMIT);
    assert_eq!(world.banned.len(), 1);
    let dials = world.dialled.len();
    world.handle(Event::PeerFound { addr: addr(1), how: Found::Named });
    world.run(BAN - Duration::from_secs(60), |_| false);
    world.handle(Event::PeerFound { addr: addr(1), how: Found::Named });
    assert_eq!(world.dialled.len(), dials);
    world.run(Duration::from_secs(120), |_| false);
    world.handle(Event::PeerFound { addr: addr(1), how: Found::Named });
    assert_eq!(world.dialled.len(), dials + 1, "afterwards it may try again");
}

#[test]
fn a_banned_peer_cannot_come_back_by_itself() {
    let mut world = World::new();
    let link = world.visitor(1, Script::fast().with(Chunks::WrongEvery(1)));
    let job = world.job(&File::new(1, 100), Some(Origin::healthy()));
    world.finish(job, LIMIT);
    assert!(!world.remotes[&link].open);
    let again = world.visitor(1, Script::fast());
    assert!(!world.remotes[&again].open, "the same peer id");
}

#[test]
fn what_a_banned_peer_still_says_means_nothing() {
    let mut world = World::new();
    world.peer(1, Script::fast().with(Chunks::WrongEvery(1)));
    let job = world.job(&File::new(1, 200), Some(Origin::healthy()));
    assert!(world.run(LIMIT, |w| !w.banned.is_empty()));
    let link = world.link_of(1);
    let asked = world.remote(1).asked;
    // The close is under way; the remote is quicker.
    let hello = zest_core::link::ExtHandshake::empty(zest_core::link::Dialect::Chunk)
        .with(Extension::UtXet, Some(1))
        .with(Extension::Zest, Some(3));
    world.handle(Event::Message { link, message: Message::ExtHandshake(hello) });
    let file = world.task(job).file.hash();
    world.handle(Event::Message {
        link,
        message: Message::Zest(ZestMessage::Have { file, total: 200, runs: vec![(0, 200)] }),
    });
    assert_eq!(world.remote(1).asked, asked);
    world.finish(job, LIMIT);
    assert_eq!(world.remote(1).asked, asked);
}

#[test]
fn a_sender_that_hangs_up_before_its_chunk_is_proven_is_banned_all_the_same() {
    let mut world = World::new();
    world.peer(1, Script::fast().with(Chunks::WrongEvery(1)));
    let job = world.job(&File::new(1, 200), Some(Origin::healthy()));
    assert!(world.run(LIMIT, |w| w.remotes.values().any(|r| r.given > 1)));
    let link = world.link_of(1);
    world.cut(link, None);
    world.finish(job, LIMIT);
    assert_eq!(world.banned.len(), 1);
    assert_eq!(world.dialled.len(), 1);
}

#[test]
fn a_wrong_manifest_is_the_end_of_its_sender_and_the_next_peer_is_asked() {
    for manifests in [Manifests::Wrong, Manifests::Nonsense] {
        let mut world = World::new();
        world.peer(1, Script { manifests: manifests.clone(), ..Script::fast() });
        world.peer(2, Script::fast());
        let job = world.job(&File::new(1, 5000), None);
        world.finish(job, LIMIT);
        assert_eq!(world.banned.iter().map(|(_, a)| *a).collect::<Vec<_>>(), [addr(1)], "{manifests:?}");
        assert_eq!(world.task(job).from_peers, 5000);
    }
}

#[test]
fn an_answer_to_another_question_is_the_end_of_its_sender() {
    let mut world = World::new();
    world.peer(1, Script::fast().with(Chunks::Mute));
    world.peer(2, Script { latency: ms(20), ..Script::fast() });
    let job = world.job(&File::new(1, 500), None);
    assert!(world.run(LIMIT, |w| w.remotes.values().any(|r| r.asked > 0)));
    let link = world.link_of(1);
    let req = world
        .sent
        .iter()
        .rev()
        .find_map(|(to, message)| match message {
            zest_core::link::Outgoing::ChunkRequest { req, .. } if *to == link => Some(*req),
            _ => None,
        })
        .unwrap();
    let part = zest_core::link::ManifestPart { file_size: 1, total: 1, first: 0, count: 1 };
    let kind = PayloadKind::ManifestPart(part);
    let buf = world.buffer();
    world.handle(Event::Payload { link, req, kind, buf, len: 36 });
    assert_eq!(world.buffers_out(), 0, "it is given back");
    assert_eq!(world.banned.len(), 1);
    world.finish(job, LIMIT);
}

#[test]
fn a_broken_protocol_bans_and_a_strike_does_not() {
    let mut world = World::new();
    world.peer(1, Script::fast().with(Chunks::Mute));
    world.peer(2, Script::fast().with(Chunks::Mute));
    world.run(ms(10), |_| false);
    world.cut(world.link_of(1), Some(PeerFault::BadExtHandshake));
    world.cut(world.link_of(2), Some(PeerFault::EmptyAnswer { req: zest_core::ReqId(1) }));
    world.run(Duration::from_secs(10), |_| false);
    assert_eq!(world.banned.iter().map(|(_, a)| *a).collect::<Vec<_>>(), [addr(1)]);
    assert_eq!(world.dialled.iter().filter(|(_, a)| *a == addr(1)).count(), 1);
    assert_eq!(world.dialled.iter().filter(|(_, a)| *a == addr(2)).count(), 2);
}

#[test]
fn a_corrupt_zest_0_4_peer_is_banned() {
    let mut world = World::new();
    world.peer(1, Script { blocks: Chunks::WrongEvery(1), ..Script::original() });
    let job = world.job(&File::new(1, 640), Some(Origin::healthy()));
    world.finish(job, LIMIT);
    assert_eq!(world.banned.len(), 1);
}

#[test]
fn a_rotten_place_on_our_own_disk_is_fetched_from_the_network() {
    let mut world = World::new();
    let file = File::new(1, 640);
    world.peer(1, Script::fast());
    let job = world.job(&file, Some(Origin::healthy()));
    // Told with the manifest, before the first chunk.
    let places = (0..600).map(|index| (index, index % 100 != 0));
    world.tasks.get_mut(&job).unwrap().local.extend(places);
    world.finish(job, LIMIT);
    let task = world.task(job);
    assert_eq!((task.copied, task.from_peers + task.from_origin), (594, 46));
    assert!(world.banned.is_empty());
}

#[test]
fn nineteen_liars_of_twenty_are_banned_and_cost_little() {
    let honest = {
        let mut world = World::new();
        world.peer(1, Script::fast());
        let job = world.job(&File::new(1, 4000), None);
        world.finish(job, LIMIT)
    };
    let mut world = World::new();
    for port in 1..=20 {
        let chunks = if port == 7 { Chunks::Good } else { Chunks::WrongEvery(1) };
        world.peer(port, Script::fast().with(chunks));
    }
    let job = world.job(&File::new(1, 4000), None);
    let took = world.finish(job, LIMIT);
    assert_eq!(world.banned.len(), 19);
    assert!(took < honest.mul_f64(1.1), "{took:?} beside {honest:?}");
}
