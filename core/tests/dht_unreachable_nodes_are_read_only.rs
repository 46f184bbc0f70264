//! BEP 43 and BEP 42: who is behind a NAT finds out, says so, answers nobody and is in nobody's table, and still finds
//! and announces. Who can be reached takes the id that belongs to its address.

#[path = "common/dht_net.rs"]
mod dht_net;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use dht_net::*;
use zest_core::dht::krpc::{self, Body, Query};
use zest_core::dht::{Action, Config, Dht, Event, Family, NodeId};
use zest_core::{Duration, Instant};

fn internet(seed: u64) -> Net {
    let mut net = Net::new(seed, Latency::Square);
    net.check_every = 20;
    for n in 0..120 {
        let addr = net.public_addr();
        let host = net.add(addr, n % 3 == 2);
        for router in 0..n.min(2) {
            net.handle(host, Event::Bootstrap { addr: net.hosts[router].addr });
        }
        net.run(Duration::from_secs(1));
    }
    net.run(Duration::from_secs(2700));
    net
}

#[test]
fn in_a_network_of_both_kinds() {
    let mut net = internet(1);
    let (mut open, mut believed) = (0, BTreeSet::new());
    for host in &net.hosts {
        assert!(!host.behind_nat() || !host.dht.stats().open[0], "{} cannot be reached", host.addr);
        open += usize::from(host.dht.stats().open[0]);
        believed.extend(host.dht.nodes(Family::V4).map(|(_, addr)| addr));
    }
    assert!(open >= 70, "{open} of 80 know that they can be reached");
    let pollution = believed.iter().filter(|addr| !net.is_reachable(**addr)).count();
    assert!(pollution <= 8, "{pollution} of 40 unreachable nodes are in tables");
    // One that cannot be reached announces, another finds it.
    let nat: Vec<usize> = (0..net.hosts.len()).filter(|host| net.hosts[*host].behind_nat()).collect();
    let announced = net.announce(nat[3], key(1), 7001);
    assert_eq!(net.wait(nat[3], announced).done.expect("it ends").1.announced_to, 8);
    let got = net.get(nat[9], key(1));
    assert_eq!(net.wait(nat[9], got).peers, [SocketAddr::new(net.hosts[nat[3]].addr.ip(), 7001)]);
}

#[test]
fn every_node_learns_its_address_and_takes_the_id_that_fits() {
    let net = internet(2);
    for (at, host) in net.hosts.iter().enumerate() {
        let told =
            net.other_actions.iter().filter(|(who, _)| *who == at).find_map(|(_, action)| match action {
                Action::ExternalAddr { ip, port } => Some((*ip, *port)),
                _ => None,
            });
        assert_eq!(told, Some((host.addr.ip(), Some(host.addr.port()))), "host {at}");
        assert!(host.dht.id(Family::V4).fits(host.addr.ip()), "host {at}");
    }
}

fn queries(sent: &[(SocketAddr, Vec<u8>)]) -> Vec<bool> {
    let read_only = |bytes| match krpc::parse(bytes).expect("a message").body {
        Body::Query { read_only, .. } => Some(read_only),
        _ => None,
    };
    sent.iter().filter_map(|(_, bytes)| read_only(bytes)).collect()
}

#[test]
fn what_the_runtime_knows_counts_more() {
    let stranger: SocketAddr = "20.1.1.1:6881".parse().unwrap();
    let ask = krpc::query(b"aa", &NodeId([7; 20]), &Query::Ping, None, true);
    for (known, answers, read_only) in [(Some(true), 1, false), (Some(false), 0, true), (None, 1, true)] {
        let mut dht = Dht::new(Config::new([1; 32]));
        feed(&mut dht, Instant(0), Event::Reachable { family: Family::V4, known });
        assert_eq!(feed(&mut dht, Instant(0), datagram(stranger, ask.clone())).len(), answers, "{known:?}");
        let sent = feed(&mut dht, Instant(0), Event::NodeHint { addr: "20.2.2.2:6881".parse().unwrap() });
        assert_eq!(queries(&sent), [read_only], "{known:?}");
        // Between machines of one site there is no NAT to speak of.
        let sent = feed(&mut dht, Instant(0), datagram("192.168.1.7:6881".parse().unwrap(), ask.clone()));
        assert_eq!(sent.len(), 1, "{known:?}");
        let sent = feed(&mut dht, Instant(0), Event::NodeHint { addr: "192.168.1.8:6881".parse().unwrap() });
        assert_eq!(queries(&sent), [false], "{known:?}");
    }
}

#[test]
fn only_the_lookup_of_our_own_id_offers_us_before_we_know() {
    let mut dht = Dht::new(Config::new([1; 32]));
    let router: SocketAddr = "20.1.1.1:6881".parse().unwrap();
    let own = feed(&mut dht, Instant(0), Event::Bootstrap { addr: router });
    assert_eq!(queries(&own), [false]);
    let get = feed(&mut dht, Instant(0), Event::Get { id: zest_core::dht::LookupId(1), info_hash: key(1) });
    assert_eq!(queries(&get), [true]);
}
