//! A restart without any bootstrap node: the saved table leads back into the network, under the same id; and a table
//! that is stale, damaged or a lie does no harm.

#[path = "common/dht_net.rs"]
mod dht_net;

use std::net::{Ipv4Addr, SocketAddr};

use dht_net::*;
use zest_core::Duration;
use zest_core::dht::{Action, Event, Family, Saved, SavedError};

#[test]
fn a_restart_needs_no_bootstrap_node() {
    let mut net = Net::loopback(1, 40);
    net.run(Duration::from_secs(1200));
    assert!(net.other_actions.iter().any(|(host, action)| (*host, action) == (5, &Action::Save)));
    let (bytes, id) = (net.hosts[5].dht.saved().to_bytes(), net.hosts[5].dht.id(Family::V4));
    assert!(bytes.len() < 4000);
    net.kill(5);
    net.run(Duration::from_secs(60));
    let again = net.add(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 20_000), false);
    let saved = Saved::parse(&bytes).expect("our own");
    assert!(saved.nodes() >= 8);
    net.handle(again, Event::Restore(Box::new(saved)));
    assert_eq!(net.hosts[again].dht.id(Family::V4), id);
    // At once, though none of the nodes has answered yet.
    let announced = net.announce(again, key(1), 7001);
    assert_eq!(net.wait(again, announced).done.expect("it ends").1.announced_to, 8);
    let got = net.get(11, key(1));
    assert_eq!(net.wait(11, got).peers.len(), 1);
}

#[test]
fn nodes_that_are_gone_are_told_to_nobody_and_soon_forgotten() {
    let mut net = Net::loopback(2, 40);
    net.run(Duration::from_secs(1200));
    let saved = net.hosts[5].dht.saved();
    (1..40).for_each(|host| net.kill(host));
    let again = net.add(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 20_000), false);
    net.handle(again, Event::Restore(Box::new(saved.clone())));
    net.handle(again, Event::Bootstrap { addr: net.hosts[0].addr });
    // Somebody asks before anything could be verified.
    let asker = net.add(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 20_001), false);
    net.handle(asker, Event::NodeHint { addr: net.hosts[again].addr });
    net.run(Duration::from_secs(600));
    let gone = |addr: SocketAddr| (10_001..10_040).contains(&addr.port());
    for host in [again, asker] {
        assert!(net.hosts[host].dht.nodes(Family::V4).all(|(_, addr)| !gone(addr)), "host {host}");
    }
    assert!(net.hosts[asker].dht.nodes(Family::V4).any(|(_, addr)| addr == net.hosts[again].addr));
}

#[test]
fn what_is_no_table_is_refused_and_says_why() {
    let mut net = Net::loopback(3, 20);
    net.run(Duration::from_secs(600));
    let bytes = net.hosts[5].dht.saved().to_bytes();
    assert_eq!(Saved::parse(b""), Err(SavedError::Length(0)));
    assert_eq!(Saved::parse(b"GET / HTTP/1.1\r\n"), Err(SavedError::Version));
    assert_eq!(Saved::parse(&bytes[..bytes.len() - 1]), Err(SavedError::Length(bytes.len() - 1)));
    assert_eq!(Saved::parse(&bytes[..60]), Err(SavedError::Length(60)));
    let mut flipped = bytes.clone();
    flipped[40] ^= 1;
    assert_eq!(Saved::parse(&flipped), Err(SavedError::Checksum));
    assert_eq!(Saved::parse(&bytes).expect("our own").to_bytes(), bytes);
}
