//! Places are shared out: where none is free, whoever has most of them, or does nothing with it, makes room for a newcomer.

use std::net::{IpAddr, SocketAddr};
use zest_core::link::{Dialect, Message};
use zest_core::node::limits::{IDLE_GRACE, PARTY_SHARE, RECORD_GRACE};
use zest_core::node::{Action, Config, Direction, Event, Node};
use zest_core::{Duration, Instant, LinkId, PeerId};
use zest_xet::Hash;

/// Places of the seeder.
const PLACES: usize = 64;

struct Seed {
    node: Node,
    now: Instant,
    next: u64,
    closed: Vec<LinkId>,
}

impl Seed {
    fn new() -> Self {
        let mut config = Config::new([3; 32], PeerId(*b"-ZT0500-abcdefghijkl"));
        (config.peers_max, config.inbound_max) = (PLACES, PLACES);
        Self { node: Node::new(config), now: Instant(5_000_000), next: 0, closed: vec![] }
    }

    fn handle(&mut self, event: Event) {
        self.node.handle(self.now, event);
        while let Some(action) = self.node.poll_action() {
            if let Action::Close { link, .. } = action {
                self.closed.push(link);
                self.node.handle(self.now, Event::LinkDown { link, fault: None });
            }
        }
        self.node.check_invariants();
    }

    /// Somebody comes from there; whether it stays, and its name.
    fn comes(&mut self, ip: [u8; 4]) -> (bool, LinkId) {
        self.next += 1;
        let (link, mut id) = (LinkId(self.next), *b"-XX0000-000000000000");
        id[12..].copy_from_slice(&self.next.to_be_bytes());
        let addr = SocketAddr::new(IpAddr::from(ip), 10_000 + self.next as u16);
        self.handle(Event::LinkUp { link, addr, direction: Direction::Inbound, peer_id: PeerId(id) });
        (!self.closed.contains(&link), link)
    }

    fn asks(&mut self, link: LinkId) {
        let hash = Hash::from_bytes([7; 32]);
        let message = Message::ChunkRequest { req: 1, hash, dialect: Dialect::Chunk };
        self.handle(Event::Message { link, message });
    }
}

#[test]
fn idle_links_of_one_address_make_room_for_others_at_once() {
    let mut seed = Seed::new();
    for _ in 0..PLACES + 8 {
        seed.comes([203, 0, 113, 9]);
    }
    for host in 1..=40 {
        let (stays, link) = seed.comes([198, 51, 100, host]);
        assert!(stays, "the {host}th newcomer of a network of forty");
        seed.asks(link);
    }
    assert_eq!(seed.node.stats().peers as usize, PLACES);
}

#[test]
fn busy_links_of_one_address_keep_nobody_out_either() {
    let mut seed = Seed::new();
    let links: Vec<LinkId> = (0..PLACES).map(|_| seed.comes([203, 0, 113, 9]).1).collect();
    for host in 1..=20 {
        links.iter().for_each(|link| seed.asks(*link));
        assert!(seed.comes([198, 51, host, 1]).0);
    }
}

#[test]
fn a_rented_network_of_many_addresses_keeps_nobody_out() {
    let mut seed = Seed::new();
    for n in 0..PLACES as u8 {
        let (_, link) = seed.comes([203, 0, 113, n]);
        seed.asks(link);
    }
    for network in 1..=4 {
        assert!(seed.comes([198, 51, network, 1]).0, "from the {network}th other network");
    }
}

#[test]
fn a_flood_from_one_address_pushes_out_nobody_else() {
    let mut seed = Seed::new();
    let honest: Vec<LinkId> = (1..=PLACES as u8).map(|host| seed.comes([198, host, 0, 1]).1).collect();
    honest.iter().for_each(|link| seed.asks(*link));
    seed.now = seed.now + IDLE_GRACE + RECORD_GRACE;
    for _ in 0..500 {
        seed.comes([203, 0, 113, 9]);
    }
    let pushed = honest.iter().filter(|link| seed.closed.contains(link)).count();
    // Who does nothing for a minute makes room for a party that has no more than one link itself.
    assert!(pushed <= 2, "{pushed} of {PLACES} honest peers were pushed out");
}

#[test]
fn where_all_are_neighbours_the_idle_ones_make_room() {
    let mut seed = Seed::new();
    let links: Vec<LinkId> = (0..PLACES).map(|_| seed.comes([127, 0, 0, 1]).1).collect();
    assert!(!seed.comes([127, 0, 0, 1]).0, "nobody has been idle yet");
    seed.now = seed.now + IDLE_GRACE + Duration::from_millis(1);
    seed.asks(links[0]);
    assert!(seed.comes([127, 0, 0, 1]).0);
    assert!(!seed.closed.contains(&links[0]), "who does something stays");
    const { assert!(PARTY_SHARE >= 4) };
}
