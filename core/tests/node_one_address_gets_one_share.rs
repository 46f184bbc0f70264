//! What is given is shared out by party (everybody at one address), whatever a party asks for and over however many links.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use zest_core::link::{Body, Dialect, ManifestPart, Message, Outgoing, ZestMessage};
use zest_core::node::limits::{BUDGET_PARTY_MIN, BUDGET_SHARE, PRICE_BURST, XORBS_AHEAD_BYTES};
use zest_core::node::{Action, Config, Direction, Event, ManifestPlace, Node};
use zest_core::{Duration, FileId, Instant, LinkId, Location, PeerId};
use zest_xet::Hash;

const CHUNK_BYTES: u32 = 65_536;
const XORB_BYTES: u32 = 8 << 20;
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
    fn new(cap: Option<u64>, links: &[IpAddr]) -> Self {
        let config = Config { upload_bytes_s: cap, ..Config::new([3; 32], PeerId(*b"-ZT0500-abcdefghijkl")) };
        let none = vec![0; links.len()];
        let (node, now) = (Node::new(config), Instant(5_000_000));
        let (ahead, given, refused, answers) = (none.clone(), none.clone(), none, vec![0; links.len()]);
        let mut seed = Self { node, now, next: 0, ahead, given, answers, refused, held: vec![] };
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
                        let [.., a, b, c, d] = hash.as_bytes()[..12] else {
                            unreachable!("a hash is longer")
                        };
                        let len = u32::from_le_bytes([a, b, c, d]);
                        let place = Some(Location { file: FileId(2), offset: 0, len });
                        events.push_back(Event::ChunkLocated { link, req, hash, dialect, place });
                    }
                    Action::LookupManifest { link, req, first, count, .. } => {
                        let len = count * RECORD_BYTES;
                        let records = Body::File(Location { file: FileId(3), offset: 0, len });
                        let (file_size, total) = (1 << 40, 1 << 20);
                        let place = Some(ManifestPlace {
                            part: ManifestPart { file_size, total, first, count },
                            records,
                        });
                        events.push_back(Event::ManifestLocated { link, req, place });
                    }
                    Action::LookupXorb { link, req, xorb, start, .. } => {
                        let body = Body::File(Location { file: FileId(4), offset: 0, len: XORB_BYTES });
                        let answer = Outgoing::XorbBytes { req: req.0, xorb, start, body, len: XORB_BYTES };
                        events.push_back(Event::XorbLocated { link, answer });
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
        self.asks_for(link, u64::from(self.next), CHUNK_BYTES);
    }

    /// For a chunk of its own number and length.
    fn asks_for(&mut self, link: u64, chunk: u64, len: u32) {
        self.next += 1;
        let mut hash = [7; 32];
        hash[..8].copy_from_slice(&chunk.to_le_bytes());
        hash[8..12].copy_from_slice(&len.to_le_bytes());
        let hash = Hash::from_bytes(hash);
        let message = Message::ChunkRequest { req: self.next, hash, dialect: Dialect::Chunk };
        self.handle(Event::Message { link: LinkId(link), message });
    }

    fn asks_for_a_list(&mut self, link: u64, count: u32) {
        self.asks_for_list(link, 0, count);
    }

    /// For a part of the list of a file of that number.
    fn asks_for_list(&mut self, link: u64, number: u64, count: u32) {
        self.next += 1;
        let mut file = [9; 32];
        file[..8].copy_from_slice(&number.to_le_bytes());
        let (req, file, first) = (self.next, Hash::from_bytes(file), 0);
        let message = Message::Zest(ZestMessage::ManifestRequest { req, file, first, count });
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
fn share_beside(links: usize, seconds: u32, asks: impl Fn(&mut Seed, u64)) -> f64 {
    let mut addresses = vec![ip(2); links + 1];
    addresses[HONEST as usize] = ip(1);
    let mut seed = Seed::new(Some(10_000_000), &addresses);
    let mut open = vec![0; links + 1];
    for _ in 0..50 * seconds {
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

/// Honest peers, each at an address of its own, beside so many links of one other address, on a line without a cap that sends
/// what is in its sockets in turn, as TCP does; the share of the honest together while all ask.
fn share_of_a_line(honest: u64, links: u64, asks: impl Fn(&mut Seed, u64)) -> f64 {
    let addresses: Vec<IpAddr> = (0..honest + links).map(|n| ip(n.min(honest) as u8)).collect();
    let mut seed = Seed::new(None, &addresses);
    let mut open = vec![0; addresses.len()];
    for _ in 0..8000 / honest {
        for link in 0..honest + links {
            // Each has 32 requests out.
            while open[link as usize] < 32 {
                open[link as usize] += 1;
                if link < honest { seed.asks(link) } else { asks(&mut seed, link) }
            }
        }
        for link in 0..honest + links {
            if seed.ahead[link as usize] > 0 {
                seed.passes(Duration::from_micros(4000));
                seed.reads(link, 16 << 10);
            }
            open[link as usize] -= std::mem::take(&mut seed.answers[link as usize]);
        }
    }
    let taken = |link: usize| seed.given[link] - seed.ahead[link];
    let ours: u64 = (0..honest as usize).map(taken).sum();
    ours as f64 / (0..addresses.len()).map(taken).sum::<u64>() as f64
}

/// So much of what there is slows an honest peer by 1.25.
const NEARLY_ALL: f64 = 0.8;

#[test]
fn who_asks_again_for_what_it_was_given_gets_what_others_leave() {
    let again = |seed: &mut Seed, link: u64| seed.asks_for(link, u64::from(seed.next) % 50, CHUNK_BYTES);
    for links in [1, 100] {
        let share = share_beside(links, 20, again);
        assert!(share >= NEARLY_ALL, "{share:.3} of the cap beside {links} links that ask again and again");
        let share = share_of_a_line(1, links as u64, again);
        assert!(share >= NEARLY_ALL, "{share:.3} of the line beside {links} links that ask again and again");
    }
    let lists = |seed: &mut Seed, link: u64| seed.asks_for_a_list(link, 4000);
    let share = share_beside(20, 20, lists);
    assert!(share >= NEARLY_ALL, "{share:.3} of the cap beside a list again and again");
    let share = share_of_a_line(1, 20, lists);
    assert!(share >= NEARLY_ALL, "{share:.3} of the line beside a list again and again");
}

#[test]
fn who_asks_again_is_served_where_nobody_else_waits() {
    let mut seed = Seed::new(None, &[ip(1), ip(2)]);
    for _ in 0..2000 {
        seed.asks_for(1, 7, CHUNK_BYTES);
        seed.passes(Duration::from_millis(1));
        seed.reads(1, u64::MAX);
    }
    assert_eq!(seed.given[1], 2000 * u64::from(CHUNK_BYTES), "all that was asked for");
}

/// Two machines that lost what they had been given: each had to wait until the other took nothing for a while.
#[test]
fn two_that_ask_again_do_not_wait_for_each_other() {
    let mut seed = Seed::new(None, &[ip(1), ip(2)]);
    for _ in 0..2000 {
        [0, 1].into_iter().for_each(|link| seed.asks_for(link, link, CHUNK_BYTES));
        seed.passes(Duration::from_millis(1));
        [0, 1].into_iter().for_each(|link| seed.reads(link, u64::MAX));
    }
    let given: Vec<u64> = seed.given.iter().map(|bytes| bytes / u64::from(CHUNK_BYTES)).collect();
    assert!(given.iter().all(|given| *given >= 1900), "{given:?} of 2,000 each");
}

#[test]
fn more_chunks_than_are_remembered_are_told_apart_all_the_same() {
    let again = |seed: &mut Seed, link: u64| seed.asks_for(link, u64::from(seed.next) % 600, CHUNK_BYTES);
    let share = share_beside(1, 60, again);
    assert!(
        share >= NEARLY_ALL,
        "{share:.3} of the cap beside 600 chunks again and again, the first time included"
    );
}

#[test]
fn many_links_that_fetch_like_others_get_one_share_of_a_line() {
    let share = share_of_a_line(1, 100, Seed::asks);
    assert!(share >= 0.45, "{share:.3} of the line for one beside a hundred links of one address");
    let share = share_of_a_line(4, 100, Seed::asks);
    assert!(share >= NEARLY_ALL, "{share:.3} of the line for four beside a hundred links of one address");
}

#[test]
fn a_turn_is_so_many_bytes() {
    let long = |seed: &mut Seed, link: u64| seed.asks_for(link, u64::from(seed.next), 2 * CHUNK_BYTES);
    let share = share_beside(1, 60, long);
    assert!(share >= 0.45, "{share:.3} of the cap beside one that asks for the longest chunks");
    let mut seed = Seed::new(Some(10_000_000), &[ip(1), ip(2)]);
    for _ in 0..3000 {
        // Short ones for the honest one, as they come.
        seed.asks_for(HONEST, u64::from(seed.next), CHUNK_BYTES / 16);
        seed.asks(1);
        seed.passes(Duration::from_millis(1));
        (0..2).for_each(|link| seed.reads(link, u64::MAX));
    }
    let (short, long) = (seed.given[0] / 4096, seed.given[1] / 65_536);
    assert!(short >= 2500, "{short} of 3,000 short chunks at 4 MB/s beside {long} long ones");
}

#[test]
fn a_hundred_links_of_one_address_get_as_much_as_one() {
    let share = share_beside(100, 10, Seed::asks);
    assert!(share > 0.45, "{share:.3} of the cap for an honest peer beside a hundred links of one address");
}

#[test]
fn chunk_lists_take_turns_with_chunks() {
    let share = share_beside(1, 10, |seed, link| seed.asks_for_a_list(link, u32::MAX));
    assert!(share > 0.3, "{share:.3} of the cap for an honest peer beside one that asks for chunk lists");
}

#[test]
fn a_part_of_a_list_costs_as_many_turns_as_it_is_long() {
    // Another list each time: who asks for the same again pays otherwise.
    let lists = |seed: &mut Seed, link: u64| seed.asks_for_list(link, seed.next.into(), u32::MAX);
    let share = share_beside(1, 20, lists);
    assert!(share > 0.45, "{share:.3} of the cap for an honest peer beside one that asks for long lists");
    let share = share_of_a_line(1, 1, lists);
    assert!(share > 0.45, "{share:.3} of the line for an honest peer beside one that asks for long lists");
}

#[test]
fn lists_over_many_links_are_paid_for_though_they_go_out_at_once() {
    let lists = |seed: &mut Seed, link: u64| seed.asks_for_list(link, seed.next.into(), u32::MAX);
    let share = share_of_a_line(1, 20, lists);
    assert!(share > 0.45, "{share:.3} of the line for an honest peer beside twenty links that ask for lists");
}

#[test]
fn ranges_of_xorbs_over_many_links_do_not_fill_the_line_for_who_comes_next() {
    let addresses: Vec<IpAddr> = (0..21).map(|link| ip(1 + u8::from(link > 0))).collect();
    let mut seed = Seed::new(None, &addresses);
    for link in 1..21 {
        for number in 0..20 {
            let xorb = Hash::from_bytes([number; 32]);
            let message = Message::XorbRequest { req: number.into(), xorb, start: 0, end: 100 };
            seed.handle(Event::Message { link: LinkId(link), message });
        }
    }
    // One link has one share of the line, whatever lies ahead of it.
    let one = seed.ahead.iter().copied().max().expect("links");
    assert!(one >= u64::from(XORB_BYTES) * 8, "{one} bytes: a xorb of the longest at least");
    let others = seed.ahead.iter().sum::<u64>() - one;
    assert!(
        others <= XORBS_AHEAD_BYTES + u64::from(XORB_BYTES),
        "{others} bytes lie ahead of the other links of one address"
    );
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
