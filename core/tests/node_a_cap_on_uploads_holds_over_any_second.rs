//! `--max-upload` is a promise: never more payload than that within a second, whatever kinds of answers are asked for, in
//! whatever order, and however long it takes to find them.

use zest_core::link::{Body, Dialect, ManifestPart, Message, ZestMessage};
use zest_core::node::{Action, Config, Direction, Event, ManifestPlace, Node, UPLOAD_BYTES_S_MIN};
use zest_core::{Duration, FileId, Instant, LinkId, Location, PeerId};
use zest_xet::{CHUNK_BYTES_MAX, Hash};

const RECORD_BYTES: u32 = zest_core::wire::zest::MANIFEST_RECORD_BYTES;

struct Seed {
    node: Node,
    now: Instant,
    /// What the node wants to have found.
    asked: Vec<Action>,
    /// Bytes that were given to sockets, and when.
    given: Vec<(Instant, LinkId, u64)>,
}

impl Seed {
    fn new(peers: u64) -> Self {
        Self::begun(peers, Instant::ZERO)
    }

    fn begun(peers: u64, began: Instant) -> Self {
        let config = Config {
            upload_bytes_s: Some(UPLOAD_BYTES_S_MIN),
            began,
            ..Config::new([3; 32], PeerId(*b"-ZT0500-abcdefghijkl"))
        };
        let mut seed =
            Self { node: Node::new(config), now: Instant(1_000_000), asked: vec![], given: vec![] };
        for peer in 0..peers {
            let mut id = *b"-XX0000-000000000000";
            id[12..].copy_from_slice(&peer.to_be_bytes());
            let addr = format!("10.0.0.{}:6881", 1 + peer).parse().unwrap();
            let (link, direction) = (LinkId(peer), Direction::Inbound);
            seed.handle(Event::LinkUp { link, addr, direction, peer_id: PeerId(id) });
        }
        seed
    }

    fn handle(&mut self, event: Event) {
        self.node.handle(self.now, event);
        while let Some(action) = self.node.poll_action() {
            match action {
                Action::Send { link, message } if message.payload_bytes() > 0 => {
                    self.given.push((self.now, link, message.payload_bytes()));
                }
                Action::LookupChunk { .. } | Action::LookupManifest { .. } => self.asked.push(action),
                _ => {}
            }
        }
        self.node.check_invariants();
    }

    fn asks_for_a_chunk(&mut self, peer: u64, req: u32) {
        let message =
            Message::ChunkRequest { req, hash: Hash::from_bytes([req as u8; 32]), dialect: Dialect::Chunk };
        self.handle(Event::Message { link: LinkId(peer), message });
    }

    fn asks_for_a_list(&mut self, peer: u64, req: u32) {
        let (file, first, count) = (Hash::from_bytes([9; 32]), 0, 1024);
        self.handle(Event::Message {
            link: LinkId(peer),
            message: Message::Zest(ZestMessage::ManifestRequest { req, file, first, count }),
        });
    }

    /// The disk finds all that was asked for.
    fn finds_everything(&mut self) {
        for action in std::mem::take(&mut self.asked) {
            let event = match action {
                Action::LookupChunk { link, req, hash, dialect } => {
                    let place = Some(Location { file: FileId(2), offset: 0, len: CHUNK_BYTES_MAX as u32 });
                    Event::ChunkLocated { link, req, hash, dialect, place }
                }
                Action::LookupManifest { link, req, first, count, .. } => {
                    let records =
                        Body::File(Location { file: FileId(3), offset: 0, len: count * RECORD_BYTES });
                    let place = Some(ManifestPlace {
                        part: ManifestPart { file_size: 1 << 40, total: 1 << 20, first, count },
                        records,
                    });
                    Event::ManifestLocated { link, req, place }
                }
                _ => continue,
            };
            self.handle(event);
        }
    }

    /// Time passes, and sockets take all they were given.
    fn passes(&mut self, time: Duration, told: &mut usize) {
        self.now = self.now + time;
        while *told < self.given.len() {
            let (_, link, bytes) = self.given[*told];
            *told += 1;
            self.handle(Event::Sent { link, bytes });
        }
        while self.node.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
            self.handle(Event::Timer);
        }
    }

    /// The most that was given within a second.
    fn most(&self) -> u64 {
        let within = |from: Instant| {
            let second = self.given.iter().filter(|(at, ..)| *at >= from && at.since(from).as_secs() < 1);
            second.map(|(.., bytes)| bytes).sum()
        };
        self.given.iter().map(|(at, ..)| within(*at)).max().unwrap_or(0)
    }
}

#[test]
fn a_chunk_list_does_not_overtake_chunks_that_are_being_looked_up() {
    let mut seed = Seed::new(3);
    seed.asks_for_a_chunk(0, 1);
    seed.asks_for_a_chunk(1, 2);
    seed.asks_for_a_list(2, 3);
    seed.finds_everything();
    let most = seed.most();
    assert!(most <= UPLOAD_BYTES_S_MIN, "{most} bytes at once under a cap of {UPLOAD_BYTES_S_MIN}");
}

#[test]
fn any_mixture_of_answers_stays_below_the_cap_and_near_it() {
    let mut seed = Seed::new(8);
    let mut told = 0;
    for step in 0..1000u32 {
        let peer = u64::from(step * 7 % 8);
        match step % 5 {
            0 | 3 => seed.asks_for_a_list(peer, step),
            _ => seed.asks_for_a_chunk(peer, step),
        }
        if step % 3 == 0 {
            seed.finds_everything();
        }
        seed.passes(Duration::from_millis(10), &mut told);
    }
    let (most, all) = (seed.most(), seed.given.iter().map(|(.., bytes)| bytes).sum::<u64>());
    assert!(most <= UPLOAD_BYTES_S_MIN, "{most} bytes within a second");
    assert!(all > 10 * UPLOAD_BYTES_S_MIN / 2, "{all} bytes in ten seconds");
}

/// Its last life may have given all that the cap allows a moment ago.
#[test]
fn a_process_that_was_started_again_gives_nothing_for_a_second() {
    let began = Instant(1_000_000);
    let mut seed = Seed::begun(2, began);
    let mut told = 0;
    seed.asks_for_a_chunk(0, 1);
    seed.asks_for_a_list(1, 2);
    for _ in 0..300 {
        seed.finds_everything();
        seed.passes(Duration::from_millis(10), &mut told);
    }
    assert_eq!(seed.given.len(), 2, "in the end all is given");
    assert!(seed.given.iter().all(|(at, ..)| at.since(began).as_secs() >= 1), "{:?}", seed.given);
}
