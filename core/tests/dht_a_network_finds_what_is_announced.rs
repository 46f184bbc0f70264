//! Two nodes, and sixty on one loopback address: everybody finds what anybody announced, with few queries.

#[path = "common/dht_net.rs"]
mod dht_net;

use dht_net::*;
use zest_core::Duration;
use zest_core::dht::{End, Event, Family};

#[test]
fn two_nodes_of_which_one_knows_the_other() {
    let mut net = Net::loopback(1, 2);
    let announced = net.announce(1, key(1), 7001);
    let done = net.wait(1, announced).done.expect("it ends").1;
    assert_eq!((done.announced_to, done.end), (1, End::Exhausted));
    let got = net.get(0, key(1));
    assert_eq!(net.wait(0, got).peers, ["127.0.0.1:7001".parse().unwrap()]);
    // And the other way round, though the first was never told of the second.
    let announced = net.announce(0, key(2), 7002);
    assert_eq!(net.wait(0, announced).done.expect("it ends").1.announced_to, 1);
    let got = net.get(1, key(2));
    assert_eq!(net.wait(1, got).peers, ["127.0.0.1:7002".parse().unwrap()]);
}

#[test]
fn sixty_nodes_find_every_key_with_at_most_twenty_queries() {
    let mut net = Net::loopback(2, 60);
    net.run(Duration::from_secs(60));
    for (at, host) in net.hosts.iter().enumerate() {
        let nodes = host.dht.nodes(Family::V4).count();
        assert!(nodes >= 12, "host {at} knows {nodes}");
    }
    let mut asked = Vec::new();
    for n in 0..60u16 {
        let host = usize::from(n);
        let announced = net.announce(host, key(n.into()), 7000 + n);
        let done = net.wait(host, announced).done.expect("it ends").1;
        assert_eq!((done.announced_to, done.end), (8, End::Proven), "key {n}");
    }
    for n in 0..60u16 {
        let host = (usize::from(n) + 23) % 60;
        let got = net.get(host, key(n.into()));
        let found = net.wait(host, got);
        let done = found.done.expect("it ends").1;
        let peer = std::net::SocketAddr::new([127, 0, 0, 1].into(), 7000 + n);
        assert_eq!(found.peers, [peer], "key {n}");
        assert!(done.asked <= 20, "key {n}: {} queries", done.asked);
        assert!(found.first.expect("a peer").since(found.started) < Duration::from_millis(5), "key {n}");
        asked.push(done.asked);
    }
    println!("queries per lookup: p50 {:?}, max {:?}", quantile(&asked, 500), asked.iter().max());
}

#[test]
fn a_key_nobody_has_ends_without_peers() {
    let mut net = Net::loopback(3, 30);
    let got = net.get(7, key(99));
    let found = net.wait(7, got);
    let done = found.done.expect("it ends").1;
    assert_eq!((found.peers.len(), done.end), (0, End::Proven));
}

#[test]
fn a_wish_waits_for_the_first_node_and_gives_up_without_one() {
    let mut net = Net::loopback(4, 20);
    let late = net.add("127.0.0.1:9999".parse().unwrap(), false);
    let announced = net.announce(3, key(5), 7005);
    net.wait(3, announced);
    let early = net.get(late, key(5));
    net.run(Duration::from_secs(3));
    assert!(net.result(late, early).done.is_none());
    net.handle(late, Event::Bootstrap { addr: net.hosts[0].addr });
    assert_eq!(net.wait(late, early).peers.len(), 1);

    let alone = net.add("127.0.0.1:9998".parse().unwrap(), false);
    let got = net.get(alone, key(5));
    let found = net.wait(alone, got);
    let (at, done) = found.done.expect("it ends");
    assert_eq!((done.end, done.asked), (End::NoNodes, 0));
    assert_eq!(at.since(found.started), Duration::from_secs(10));
}

#[test]
fn a_cancelled_wish_is_silent_and_hints_lead_into_a_network() {
    let mut net = Net::loopback(5, 20);
    let id = net.get(3, key(1));
    net.handle(3, Event::Cancel { id });
    net.run(Duration::from_secs(60));
    assert!(net.result(3, id).done.is_none());
    // Somebody who has no bootstrap node, but a peer that told its DHT port.
    let stranger = net.add("127.0.0.1:9999".parse().unwrap(), false);
    net.handle(stranger, Event::NodeHint { addr: net.hosts[4].addr });
    net.run(Duration::from_secs(60));
    assert!(net.hosts[stranger].dht.nodes(Family::V4).count() >= 8);
}

#[test]
fn what_a_wish_cost_is_told_whether_it_was_heard_or_not() {
    let mut net = Net::loopback(4, 30);
    net.run(Duration::from_secs(60));
    // Announcements get lost; what was sent was sent.
    net.loss_of_1000 = 200;
    let (mut announces, mut taken) = (0, 0);
    for n in 0..20 {
        let host = n as usize;
        let before = net.hosts[host].sent_for_keys;
        let announced = net.announce(host, key(n), 7000);
        let (_, done) = net.wait(host, announced).done.expect("it ends");
        assert_eq!(u64::from(done.asked + done.announces), net.hosts[host].sent_for_keys - before, "key {n}");
        announces += done.announces;
        taken += done.announced_to;
    }
    assert!(taken < announces, "{taken} of {announces} announcements were taken: some were lost");
    let found = net.get(29, key(0));
    assert_eq!(net.wait(29, found).done.expect("it ends").1.announces, 0, "who only looks announces nothing");
}
