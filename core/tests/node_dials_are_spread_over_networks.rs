//! Addresses that nobody named are dialled in the order of how they were found, and not too many of them in one network.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use zest_core::node::{Action, Config, Direction, Event, Found, JobSpec, Node};
use zest_core::{Duration, FileId, Instant, JobId, LinkId, PeerId};
use zest_xet::Hash;

/// A node that fetches something, and the time.
struct World(Node, Instant);

fn node() -> World {
    let mut node = Node::new(Config::new([7; 32], PeerId(*b"-ZT0500-abcdefghijkl")));
    let file = Hash::from_bytes([7; 32]);
    let spec = JobSpec::new(file, 1 << 30, FileId(1));
    node.handle(Instant(1_000_000), Event::JobAdded { job: JobId(1), spec });
    World(node, Instant(1_000_000))
}

/// Takes an event in, as much later as the pace of dials asks for; the addresses that are dialled, to each of which a link comes up.
fn dials(World(node, now): &mut World, event: Event) -> Vec<SocketAddr> {
    *now = *now + Duration::from_millis(500);
    node.handle(*now, event);
    node.check_invariants();
    let actions = std::iter::from_fn(|| node.poll_action());
    let dialled: Vec<SocketAddr> = actions
        .filter_map(|action| if let Action::Dial { addr, .. } = action { Some(addr) } else { None })
        .collect();
    for (at, &addr) in dialled.iter().enumerate() {
        let mut id = [b'-'; 20];
        id[..8].copy_from_slice(&(now.0 + at as u64).to_be_bytes());
        let (link, direction) = (LinkId(now.0 + at as u64), Direction::Outbound);
        node.handle(*now, Event::LinkUp { link, addr, direction, peer_id: PeerId(id) });
    }
    dialled
}

fn find(node: &mut World, addr: &str, how: Found) -> Vec<SocketAddr> {
    dials(node, Event::PeerFound { addr: addr.parse().unwrap(), how })
}

#[test]
fn one_network_of_the_internet_gets_a_third_of_the_dials() {
    let mut node = node();
    let near = (1..=20).flat_map(|n| find(&mut node, &format!("198.51.100.{n}:6881"), Found::Dht)).count();
    assert_eq!(near, 4, "of 20 in one /24");
    let near =
        (1..=20).flat_map(|n| find(&mut node, &format!("[2001:db8:7:{n}::1]:6881"), Found::Dht)).count();
    assert_eq!(near, 4, "of 20 in one /48");
    let far: BTreeSet<_> =
        (1..=20).flat_map(|n| find(&mut node, &format!("203.0.{n}.1:6881"), Found::Dht)).collect();
    assert_eq!(far.len(), 4, "all others that there is room for");
    // A place in the full network is free: somebody of it is next.
    let next = dials(&mut node, Event::DialFailed { addr: "198.51.100.1:6881".parse().unwrap() });
    assert_eq!(next.len(), 1);
}

#[test]
fn neighbours_and_named_peers_are_not_counted() {
    let mut node = node();
    let lan = (1..=8).flat_map(|n| find(&mut node, &format!("198.51.100.{n}:6881"), Found::Lan)).count();
    let named =
        (11..=18).flat_map(|n| find(&mut node, &format!("198.51.100.{n}:6881"), Found::Named)).count();
    let site = (1..=4).flat_map(|n| find(&mut node, &format!("192.168.1.{n}:6881"), Found::Tracker)).count();
    assert_eq!((lan, named, site), (8, 8, 4));
}

#[test]
fn our_own_address_is_forgotten_and_makes_room() {
    let mut node = node();
    let us: SocketAddr = "192.0.2.1:6881".parse().unwrap();
    assert_eq!(find(&mut node, "192.0.2.1:6881", Found::Tracker), [us]);
    for n in 2..=4 {
        find(&mut node, &format!("192.0.2.{n}:6881"), Found::Tracker);
    }
    assert!(find(&mut node, "192.0.2.5:6881", Found::Tracker).is_empty(), "no room");
    let next = dials(&mut node, Event::OwnAddress { addr: us });
    assert_eq!(next, ["192.0.2.5:6881".parse().unwrap()]);
}
