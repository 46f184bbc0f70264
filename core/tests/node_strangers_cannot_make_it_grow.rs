//! Whatever a remote says, the node holds no more than its named limits, and does no work for files it does not fetch.

#[path = "common/memory.rs"]
mod memory;
#[path = "common/swarm.rs"]
mod swarm;

use swarm::*;
use zest_core::link::{Message, Outgoing, ZestMessage};
use zest_core::node::{CANDIDATES_MAX, Event, INBOUND_MAX, PEERS_MAX};
use zest_core::{Duration, FileKey};
use zest_xet::Hash;

const LIMIT: Duration = Duration::from_secs(60);
/// Bytes that tables and queues of a node may keep as room for the next: 4 KiB.
const ROOM: isize = 4 << 10;

/// Bytes that the node holds, and the world around it, but for what it has noted of the past.
fn memory(world: &mut World) -> isize {
    (world.sent, world.trace, world.held) = (vec![], vec![], vec![]);
    world.remotes.values_mut().for_each(|remote| remote.interested.clear());
    memory::held()
}

#[test]
fn claims_about_impossible_numbers_of_chunks_are_void() {
    let mut world = World::new();
    let file = File::new(1, 100);
    let silent = Script { has: None, manifests: Manifests::Refused, ..Script::fast() };
    world.peer(1, silent);
    let job = world.job(&file, Some(Origin::healthy()));
    world.run(ms(10), |_| false);
    let link = world.link_of(1);
    for total in [u32::MAX, 1 << 30, 807, 1] {
        world.says(
            link,
            Message::Zest(ZestMessage::Have { file: file.hash(), total, runs: vec![(0, total)] }),
        );
        world.says(
            link,
            Message::Zest(ZestMessage::Have { file: file.hash(), total, runs: vec![(total - 1, 1)] }),
        );
        world.says(
            link,
            Message::Zest(ZestMessage::HaveMore {
                file: FileKey::of(&file.hash()),
                runs: vec![(0, 1), (2, u32::MAX - 2)],
            }),
        );
    }
    world.finish(job, LIMIT);
    assert_eq!(world.task(job).from_origin, 100);
}

#[test]
fn claims_about_unknown_files_are_not_kept() {
    let mut world = World::new();
    world.peer(1, Script::fast());
    world.run(ms(10), |_| false);
    let link = world.link_of(1);
    let before = memory(&mut world);
    for n in 0..1000u32 {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        let file = Hash::from_bytes(bytes);
        world.says(
            link,
            Message::Zest(ZestMessage::Have { file, total: u32::MAX, runs: vec![(0, u32::MAX)] }),
        );
        world.says(
            link,
            Message::Zest(ZestMessage::HaveMore { file: FileKey::of(&file), runs: vec![(0, 5)] }),
        );
    }
    assert!(world.remotes[&link].open);
    let grown = memory(&mut world) - before;
    assert!(grown <= ROOM, "{grown} bytes for 1,000 files that nobody fetches");
}

#[test]
fn a_flood_of_claims_ends_the_link() {
    let mut world = World::new();
    let file = File::new(1, 3000);
    world.peer(1, Script::fast().at(1.0));
    let job = world.job(&file, Some(Origin::healthy()));
    world.run(ms(10), |_| false);
    let link = world.link_of(1);
    for n in 0..2000 {
        world.says(
            link,
            Message::Zest(ZestMessage::Have { file: file.hash(), total: 3000, runs: vec![(n, 1)] }),
        );
    }
    assert!(!world.remotes[&link].open);
    world.finish(job, LIMIT);
}

#[test]
fn visitors_cannot_take_all_places() {
    let mut world = World::new();
    for port in 1..=2000 {
        world.visitor(port, Script::fast());
    }
    assert_eq!(world.node.stats().peers as usize, INBOUND_MAX);
    for port in 3000..3200 {
        world.peer(port, Script::fast());
    }
    world.run(ms(5), |_| false);
    assert_eq!(world.node.stats().peers as usize, PEERS_MAX);
    world.run(Duration::from_secs(100), |_| false);
}

#[test]
fn one_peer_has_one_link_in_each_direction() {
    let mut world = World::new();
    world.peer(1, Script::fast());
    world.run(ms(10), |_| false);
    for _ in 0..10 {
        world.visitor(1, Script::fast());
    }
    assert_eq!(world.node.stats().peers, 2);
}

#[test]
fn addresses_are_bounded_and_dead_ones_are_forgotten() {
    let mut world = World::new();
    for port in 1..=3000 {
        world.peer(port, Script { dials: Dials::Refused, ..Script::fast() });
    }
    assert_eq!(world.dialled.len(), CANDIDATES_MAX);
    world.run(Duration::from_secs(100), |_| false);
    // 1 + 2 + 4 + 8 s between five dials, and then no more.
    assert_eq!(world.dialled.len(), 5 * CANDIDATES_MAX);
    assert_eq!(world.node.poll_timeout(), None);
    let times: Vec<u64> = world
        .dialled
        .iter()
        .filter(|(_, a)| *a == addr(1))
        .map(|(at, _)| (*at - world.dialled[0].0).as_secs())
        .collect();
    assert_eq!(times, [0, 1, 3, 7, 15]);
}

#[test]
fn requests_of_peers_are_answered_and_little_is_kept_of_them() {
    let mut world = World::new();
    let link = world.visitor(1, Script::fast());
    world.run(ms(10), |_| false);
    let before = memory(&mut world);
    for req in 0..1000 {
        let file = Hash::from_bytes([req as u8; 32]);
        world.says(
            link,
            Message::Zest(ZestMessage::ManifestRequest { req, file, first: u32::MAX, count: u32::MAX }),
        );
        world.says(link, Message::Zest(ZestMessage::Interest { file }));
        world.says(link, Message::Zest(ZestMessage::Uninterest { file }));
        world.says(link, Message::ChunkRequest { req, hash: file, dialect: zest_core::link::Dialect::Chunk });
        world.says(link, Message::Zest(ZestMessage::Cancel { req }));
        world.says(link, Message::Zest(ZestMessage::Slot { open: true, wait_ms: 9 }));
    }
    world.run(ms(10), |_| false);
    let nones = world
        .sent
        .iter()
        .filter(|(_, m)| matches!(m, Outgoing::Zest(ZestMessage::ManifestNone { .. })))
        .count();
    assert_eq!(nones, 1000);
    let grown = memory(&mut world) - before;
    assert!(grown <= ROOM, "{grown} bytes for 6,000 requests that were answered or called off");
    // What a peer follows is remembered, up to a limit: ten thousand more than that leave nothing behind.
    let follow = |world: &mut World, salt: u8| {
        for n in 0..10_000u32 {
            let mut bytes = [salt; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            world.says(link, Message::Zest(ZestMessage::Interest { file: Hash::from_bytes(bytes) }));
        }
        // What was put off until its time has come and gone.
        world.run(ms(10), |_| false);
        memory(world)
    };
    let kept = follow(&mut world, 7);
    println!("{} bytes for the files that one peer may follow", kept - before);
    let after = follow(&mut world, 8);
    assert!(after <= kept + ROOM, "{after} bytes after ten thousand more, {kept} before");
}

#[test]
fn a_file_that_peers_must_not_know_of_is_never_mentioned() {
    let mut world = World::new();
    let file = File::new(1, 300);
    world.peer(1, Script::fast());
    world.run(ms(10), |_| false);
    let job = world.job_without_peers(&file, Origin::healthy());
    world.says(
        world.link_of(1),
        Message::Zest(ZestMessage::Have { file: file.hash(), total: 300, runs: vec![(0, 300)] }),
    );
    world.finish(job, LIMIT);
    assert!(world.sent.is_empty(), "{:?}", world.sent);
    world.handle(Event::JobRemoved { job });
    assert!(world.sent.is_empty(), "{:?}", world.sent);
}
