//! Peers that ask and do not read hold no place: others are served as if they were not there. On a fast line each is given
//! much ahead, on a slow one little.

use zest_core::link::{Dialect, Message, Outgoing};
use zest_core::node::{Action, Config, Direction, Event, Node, UPLOAD_SLOTS};
use zest_core::{Duration, FileId, Instant, LinkId, Location, PeerId, ReqId};
use zest_xet::Hash;

const CHUNK_BYTES: u32 = 65_536;

struct Seed {
    node: Node,
    now: Instant,
    next: u32,
    /// Bytes that each link was given and did not take.
    ahead: Vec<u64>,
}

impl Seed {
    fn new(peers: usize) -> Self {
        let node = Node::new(Config::new([3; 32], PeerId(*b"-ZT0500-abcdefghijkl")));
        let mut seed = Self { node, now: Instant(1_000_000), next: 0, ahead: vec![0; peers] };
        for peer in 0..peers {
            let mut id = *b"-XX0000-000000000000";
            id[12..].copy_from_slice(&(peer as u64).to_be_bytes());
            let addr = format!("10.0.{}.{}:6881", peer / 250, 1 + peer % 250).parse().unwrap();
            let (link, direction) = (LinkId(peer as u64), Direction::Inbound);
            seed.handle(Event::LinkUp { link, addr, direction, peer_id: PeerId(id) });
        }
        seed
    }

    fn handle(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            self.node.handle(self.now, event);
            while let Some(action) = self.node.poll_action() {
                match action {
                    Action::LookupChunk { link, req, hash, dialect } => {
                        let place = Some(Location { file: FileId(2), offset: 0, len: CHUNK_BYTES });
                        events.insert(0, Event::ChunkLocated { link, req, hash, dialect, place });
                    }
                    Action::Send { link, message: Outgoing::Chunk { len, .. } } => {
                        self.ahead[link.0 as usize] += u64::from(len);
                    }
                    _ => {}
                }
            }
            self.node.check_invariants();
        }
    }

    fn asks(&mut self, peer: usize, count: u32) {
        for _ in 0..count {
            self.next += 1;
            let mut hash = [7; 32];
            hash[..4].copy_from_slice(&self.next.to_le_bytes());
            let hash = Hash::from_bytes(hash);
            let message = Message::ChunkRequest { req: ReqId(self.next).0, hash, dialect: Dialect::Chunk };
            self.handle(Event::Message { link: LinkId(peer as u64), message });
        }
    }

    /// Its socket takes all it was given.
    fn reads(&mut self, peer: usize) -> u64 {
        let bytes = std::mem::take(&mut self.ahead[peer]);
        if bytes > 0 {
            self.handle(Event::Sent { link: LinkId(peer as u64), bytes });
        }
        bytes
    }

    fn passes(&mut self, time: Duration) {
        self.now = self.now + time;
        while self.node.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
            self.handle(Event::Timer);
        }
    }
}

#[test]
fn forty_that_never_read_take_nobodys_place() {
    let mut seed = Seed::new(41);
    for peer in 0..40 {
        seed.asks(peer, 500);
        seed.passes(Duration::from_millis(60));
    }
    for _ in 0..100 {
        seed.asks(40, 16);
        seed.passes(Duration::from_millis(60));
        assert!(seed.reads(40) > 0, "who reads is served");
        while seed.reads(40) > 0 {}
    }
    let most = seed.ahead.iter().max().expect("some");
    assert!(*most <= 17 * u64::from(CHUNK_BYTES) * 2, "{most} bytes wait for one that does not read");
}

/// Everybody asks for plenty and reads, each after `pause`; what was given ahead to one at a time, at most, once the pace
/// is known.
fn ahead(pause: Duration) -> u64 {
    let peers = 8;
    let mut seed = Seed::new(peers);
    (0..peers).for_each(|peer| seed.asks(peer, 400));
    let mut most = 0;
    for round in 0..60 {
        for peer in 0..peers {
            seed.passes(pause);
            let read = seed.reads(peer);
            seed.asks(peer, (read / u64::from(CHUNK_BYTES)) as u32);
            if round > 20 {
                most = most.max(read);
            }
        }
    }
    most
}

#[test]
fn what_is_given_ahead_follows_the_pace_of_the_line() {
    let (slow, fast) = (ahead(Duration::from_millis(20)), ahead(Duration::from_micros(100)));
    assert!(slow <= 4 * u64::from(CHUNK_BYTES), "{slow} bytes ahead on a slow line");
    assert!(fast >= 12 * u64::from(CHUNK_BYTES), "{fast} bytes ahead on a fast line");
    const { assert!(UPLOAD_SLOTS < 8, "more want something than are served at a time") };
}
