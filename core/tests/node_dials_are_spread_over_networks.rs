//! Addresses that nobody named are dialled in the order of how they were found, and not too many of them in one network.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use zest_core::node::{Action, Config, Event, Found, Node};
use zest_core::{Instant, PeerId};

fn node() -> Node {
    Node::new(Config::new([7; 32], PeerId(*b"-ZT0500-abcdefghijkl")))
}

/// Takes an event in; the addresses that are dialled.
fn dials(node: &mut Node, event: Event) -> Vec<SocketAddr> {
    node.handle(Instant(1_000_000), event);
    node.check_invariants();
    let actions = std::iter::from_fn(|| node.poll_action());
    actions
        .filter_map(|action| if let Action::Dial { addr, .. } = action { Some(addr) } else { None })
        .collect()
}

fn find(node: &mut Node, addr: &str, how: Found) -> Vec<SocketAddr> {
    dials(node, Event::PeerFound { addr: addr.parse().unwrap(), how })
}

#[test]
fn one_network_of_the_internet_gets_a_third_of_the_dials() {
    let mut node = node();
    let near = (1..=20).flat_map(|n| find(&mut node, &format!("198.51.100.{n}:6881"), Found::Dht)).count();
    assert_eq!(near, 4, "of 20 in one /24");
    let near = (1..=20).flat_map(|n| find(&mut node, &format!("[2001:db8:7:{n}::1]:1"), Found::Dht)).count();
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
