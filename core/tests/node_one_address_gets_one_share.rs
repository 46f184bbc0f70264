//! What is given is shared out by party (everybody at one address), whatever a party asks for and over however many links.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use zest_core::link::{Body, Dialect, Message, Outgoing};
use zest_core::node::limits::{BUDGET_PARTY_MIN, BUDGET_SHARE, PRICE_BURST};
use zest_core::node::{Action, Config, Direction, Event, ManifestPlace, Node};
use zest_core::{Duration, FileId, Instant, LinkId, Location, PeerId};
use zest_xet::Hash;

const CHUNK_BYTES: u32 = 65_536;
const RECORD_BYTES: u32 = zest_core::wire::zest::MANIFEST_RECORD_BYTES;
/// The one that does as others do.
const HONEST: u64 = 0;

fn ip(n: u8) -> IpAddr {
    IpAddr::from([203, 0, 113, n])
}

struct Seed {
    node: Node,
    now: Instant,
    next: u32,
    ahead: Vec<u64>,
    given: Vec<u64>,
    answers: Vec<u32>,
    refused: Vec<u64>,
    held: Vec<LinkId>,
}

impl Seed {
    /// Links by the address they come from.
    fn new(cap: Option<u64>, links: &[IpAddr]) -> Seed {
        let config = Config { upload_bytes_s: cap, ..Config::new([3; 32], PeerId(*b"-ZT0500-abcdefghijkl")) };
        let none = vec![0; links.len()];
        let (node, now) = (Node::new(config), Instant(5_000_000));
        let (ahead, given, refused, answers) = (none.clone(), none.clone(), none, vec![0; links.len()]);
        let mut seed = Seed { node, now, next: 0, ahead, given, answers, refused, held: vec![] };
        for (link, ip) in links.iter().enumerate() {
            let mut id = *b"-XX0000-000000000000";
            id[12..].copy_from_slice(&(link as u64).to_be_bytes());
            let addr = SocketAddr::new(*ip, 10_000 + link as u16);
            let (link, direction) = (LinkId(link as u64), Direction::Inbound);
            seed.handle(Event::LinkUp { link, addr, direction, peer_id: PeerId(id) });
        }
        seed
    }

    fn handle(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            self.node.handle(self.now, event);
            while let Some(action) = self.node.poll_action() {
                match action {
                    Action::LookupChunk { link, req, hash, dialect } => {
                        let place = Some(Location { file: FileId(2), offset: 0, len: CHUNK_BYTES });
                        events.push_back(Event::ChunkLocated { link, req, hash, dialect, place });
                    }
                    Action::LookupManifest { link, req, first, count, .. } => {
                        let len = count * RECORD_BYTES;
                        let records = Body::File(Location { file: FileId(3), offset: 0, len });
                        let (file_size, total) = (1 << 40, 1 << 20);
                        let place = Some(ManifestPlace { file_size, total, first, count, records });
                        events.push_back(Event::ManifestLocated { link, req, place });
                    }
                    Action::Send { link, message: Outgoing::ErrorReply { .. } } => {
                        self.refused[link.0 as usize] += 1;
                    }
                    Action::Send { link, message } => {
                        let bytes = message.payload_bytes();
                        self.ahead[link.0 as usize] += bytes;
                        self.given[link.0 as usize] += bytes;
                        self.answers[link.0 as usize] += u32::from(bytes > 0);
                    }
                    Action::Hold { link, .. } => self.held.push(link),
                    _ => {}
                }
            }
            self.node.check_invariants();
        }
    }

    fn asks(&mut self, link: u64) {
        self.next += 1;
        let hash = Hash::from_bytes([self.next as u8; 32]);
        let message = Message::ChunkRequest { req: self.next, hash, dialect: Dialect::Chunk };
        self.handle(Event::Message { link: LinkId(link), message });
    }

    fn asks_for_a_list(&mut self, link: u64, count: u32) {
        self.next += 1;
        let (req, file, first) = (self.next, Hash::from_bytes([9; 32]), 0);
        let message = Message::ManifestRequest { req, file, first, count };
        self.handle(Event::Message { link: LinkId(link), message });
    }

    /// Its socket takes so much, at most.
    fn reads(&mut self, link: u64, most: u64) {
        let bytes = self.ahead[link as usize].min(most);
        if bytes > 0 {
            self.ahead[link as usize] -= bytes;
            self.handle(Event::Sent { link: LinkId(link), bytes });
        }
    }

    fn passes(&mut self, time: Duration) {
        self.now = self.now + time;
        while self.node.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
            self.handle(Event::Timer);
        }
    }

    /// The share of the honest one in what was given.
    fn share(&self) -> f64 {
        self.given[HONEST as usize] as f64 / self.given.iter().sum::<u64>() as f64
    }
}

/// One honest peer beside a party with so many links, under a cap; its share.
fn share_beside(links: usize, asks: impl Fn(&mut Seed, u64)) -> f64 {
    let mut addresses = vec![ip(2); links + 1];
    addresses[HONEST as usize] = ip(1);
    let mut seed = Seed::new(Some(10_000_000), &addresses);
    let mut open = vec![0; links + 1];
    for _ in 0..500 {
        for link in 0..=links as u64 {
            // Each has 32 requests out.
            while open[link as usize] < 32 {
                open[link as usize] += 1;
                if link == HONEST { seed.asks(link) } else { asks(&mut seed, link) }
            }
            seed.reads(link, u64::MAX);
            seed.passes(Duration::from_micros(20_000 / (links as u64 + 1)));
            open[link as usize] -= std::mem::take(&mut seed.answers[link as usize]);
        }
    }
    seed.share()
}

#[test]
fn a_hundred_links_of_one_address_get_as_much_as_one() {
    let share = share_beside(100, Seed::asks);
    assert!(share > 0.45, "{share:.3} of the cap for an honest peer beside a hundred links of one address");
}

#[test]
fn chunk_lists_take_turns_with_chunks() {
    let share = share_beside(1, |seed, link| seed.asks_for_a_list(link, u32::MAX));
    assert!(share > 0.3, "{share:.3} of the cap for an honest peer beside one that asks for chunk lists");
}

#[test]
fn one_address_that_reads_slowly_on_many_links_does_not_hold_all_places() {
    let mut addresses = vec![ip(2); 9];
    addresses[HONEST as usize] = ip(1);
    let mut seed = Seed::new(None, &addresses);
    for link in 1..9 {
        (0..100).for_each(|_| seed.asks(link));
    }
    for _ in 0..200 {
        // Each of its sockets moves just often enough to count as one that reads.
        (1..9).for_each(|link| seed.reads(link, 10));
        seed.asks(HONEST);
        seed.passes(Duration::from_millis(20));
        seed.reads(HONEST, u64::MAX);
    }
    let given = seed.given[HONEST as usize] / u64::from(CHUNK_BYTES);
    assert!(given >= 190, "{given} of 200 chunks for the one that reads");
}

#[test]
fn a_days_budget_is_not_one_strangers() {
    let mut seed = Seed::new(None, &[ip(1), ip(2), ip(2)]);
    let budget = 400 << 20;
    seed.handle(Event::UploadBudget { bytes: Some(budget) });
    let all = |seed: &mut Seed| {
        for _ in 0..2 * budget / u64::from(CHUNK_BYTES) {
            for link in [1, 2] {
                seed.asks(link);
                seed.reads(link, u64::MAX);
                seed.passes(Duration::from_millis(1));
            }
        }
    };
    all(&mut seed);
    let given = seed.given[1] + seed.given[2];
    let share = (budget / BUDGET_SHARE).max(BUDGET_PARTY_MIN);
    assert!(given <= share + 32 * u64::from(CHUNK_BYTES), "{given} bytes for one address of {budget} a day");
    assert!(given + u64::from(CHUNK_BYTES) >= share && seed.refused[1] > 0, "{given} bytes, then a word");
    seed.asks(HONEST);
    assert_eq!(seed.given[HONEST as usize], u64::from(CHUNK_BYTES), "others are served");
    // What the account says now and then changes nothing, the next day everything.
    seed.handle(Event::UploadBudget { bytes: Some(budget - given) });
    all(&mut seed);
    assert!(seed.given[1] + seed.given[2] <= share + 32 * u64::from(CHUNK_BYTES));
    seed.handle(Event::UploadBudget { bytes: Some(budget) });
    seed.asks(1);
    assert!(seed.given[1] + seed.given[2] > given, "a new day");
}

#[test]
fn who_says_much_and_fetches_nothing_is_not_listened_to_for_a_while() {
    let mut seed = Seed::new(None, &[ip(1), ip(2), ip(2)]);
    let mut asked = 0;
    // One record at a time, on two links, a hundred thousand requests a second.
    while seed.held.is_empty() {
        seed.asks_for_a_list(1 + asked % 2, 1);
        seed.reads(1, u64::MAX);
        seed.reads(2, u64::MAX);
        seed.passes(Duration::from_micros(10));
        asked += 1;
        assert!(asked < 20_000, "{asked} requests for a record each");
    }
    assert!(asked > 5000, "some are free: {asked}");
    // The same number of requests from one that fetches what it asks for.
    seed.held.clear();
    for _ in 0..4 * asked {
        seed.asks(HONEST);
        seed.reads(HONEST, u64::MAX);
        seed.passes(Duration::from_micros(10));
    }
    assert_eq!(seed.held, [], "whoever fetches pays with that");
    const { assert!(PRICE_BURST.as_secs() >= 1) };
}
