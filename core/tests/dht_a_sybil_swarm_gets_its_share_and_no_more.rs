//! A thousand ids in one /24, all of them close to us or to a key: the table and every lookup give that network its
//! share, however many there are.

#[path = "common/dht_net.rs"]
mod dht_net;

use std::net::{IpAddr, SocketAddr};

use dht_net::*;
use zest_core::dht::krpc::{self, Answer, Query};
use zest_core::dht::{Config, Dht, Event, Family, Limits, NodeId};
use zest_core::{Duration, Instant};

fn of_network(dht: &Dht, family: Family, evil: impl Fn(IpAddr) -> bool) -> usize {
    dht.nodes(family).filter(|(_, addr)| evil(addr.ip())).count()
}

/// Every one of them asks, and answers every ping.
fn besiege(dht: &mut Dht, swarm: &[(NodeId, SocketAddr)]) {
    let mut now = Instant(1_000_000);
    for round in 0..3 {
        for (id, from) in swarm {
            now = now + Duration::from_millis(600);
            let ask = krpc::query(b"aa", id, &Query::Ping, None, false);
            for (to, bytes) in feed(dht, now, datagram(*from, ask)) {
                let message = krpc::parse(&bytes).expect("ours");
                if to == *from && matches!(message.body, krpc::Body::Query { .. }) {
                    let reply =
                        krpc::reply(message.tid, id, "9.9.9.9:9".parse().unwrap(), &Answer::default());
                    feed(dht, now, datagram(to, reply));
                }
            }
            if round == 2 {
                // Time for what is due.
                while let Some((at, _)) = dht.poll_timeout().filter(|(at, _)| *at <= now) {
                    feed(dht, at.max(now), Event::Timer);
                }
            }
        }
    }
}

fn open(seed: u8) -> Dht {
    let mut dht = Dht::new(Config::new([seed; 32]));
    for family in Family::ALL {
        feed(&mut dht, Instant(0), Event::Reachable { family, known: Some(true) });
    }
    dht
}

#[test]
fn in_the_table_of_an_ipv4_node() {
    let (mut dht, mut dice) = (open(1), Dice::new(1));
    let own = dht.id(Family::V4);
    let swarm: Vec<_> = (0..1000u32)
        .map(|n| {
            let mut id = dice.bytes();
            // Half of them right beside us.
            if n % 2 == 0 {
                id[..12].copy_from_slice(&own.0[..12]);
            }
            (NodeId(id), SocketAddr::new([66, 6, 6, n as u8].into(), 1024 + n as u16))
        })
        .collect();
    besiege(&mut dht, &swarm);
    let share =
        of_network(&dht, Family::V4, |ip| matches!(ip, IpAddr::V4(v4) if v4.octets()[..3] == [66, 6, 6]));
    assert!(share >= 1, "nobody is shut out");
    assert!(share <= Limits::default().table_site as usize, "{share} of 1,000");
}

#[test]
fn in_the_table_of_an_ipv6_node() {
    let (mut dht, mut dice) = (open(2), Dice::new(2));
    // One /64, and then a whole /48 of them.
    for nets in [1u16, 1000] {
        let swarm: Vec<_> = (0..1000u16)
            .map(|n| {
                let ip = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0x66, n % nets, 0, 0, 0, n);
                (NodeId(dice.bytes()), SocketAddr::new(ip.into(), 6881))
            })
            .collect();
        besiege(&mut dht, &swarm);
        let share = of_network(&dht, Family::V6, |_| true);
        assert!((1..=Limits::default().table_site as usize).contains(&share), "{share} of 1,000");
    }
}

#[test]
fn one_address_is_one_node_whatever_its_port() {
    let (mut dht, mut dice) = (open(3), Dice::new(3));
    let swarm: Vec<_> = (0..500u16)
        .map(|n| (NodeId(dice.bytes()), SocketAddr::new([66, 6, 6, 6].into(), 1024 + n)))
        .collect();
    besiege(&mut dht, &swarm);
    assert_eq!(dht.nodes(Family::V4).count(), 1);
}

#[test]
fn a_key_is_found_though_its_neighbourhood_is_besieged() {
    let mut net = Net::new(11, Latency::Square);
    net.check_every = 20;
    for n in 0..200 {
        let addr = net.public_addr();
        let host = net.add(addr, false);
        net.handle(host, Event::Reachable { family: Family::V4, known: Some(true) });
        for known in 0..n.min(2) {
            let addr = net.hosts[known].addr;
            net.handle(host, Event::NodeHint { addr });
        }
        net.run(Duration::from_secs(1));
    }
    // Fifty nodes of one /24 that have just moved in; each claims an id next to the key.
    let target = key(1);
    for n in 0..50u8 {
        let host = net.add(SocketAddr::new([66, 6, 6, n].into(), 6881), false);
        let mut seed = target.0;
        seed[19] = n;
        net.handle(host, Event::Restore(Box::new(saved_with_id(NodeId(seed), net.hosts[0].addr))));
        assert_eq!(net.hosts[host].dht.id(Family::V4), NodeId(seed));
        net.handle(host, Event::Reachable { family: Family::V4, known: Some(true) });
    }
    net.run(Duration::from_secs(1200));
    let announced = net.announce(20, target, 7001);
    let done = net.wait(20, announced).done.expect("it ends").1;
    assert_eq!(done.announced_to, 8);
    let honest = |host: &&Host| matches!(host.addr.ip(), IpAddr::V4(v4) if v4.octets()[..3] != [66, 6, 6]);
    let holders = net.hosts.iter().filter(honest).filter(|host| host.dht.stats().stored.1 > 0).count();
    assert!(holders >= 6, "{holders} honest nodes hold the key");
    let got = net.get(77, target);
    assert_eq!(net.wait(77, got).peers.len(), 1);
}

/// What a run with this id and one node would have saved.
fn saved_with_id(id: NodeId, node: SocketAddr) -> zest_core::dht::Saved {
    let mut dht = Dht::new(Config::new([1; 32]));
    feed(&mut dht, Instant(0), Event::NodeHint { addr: node });
    let mut bytes = dht.saved().to_bytes();
    bytes.truncate(bytes.len() - 8);
    bytes[5..25].copy_from_slice(&id.0);
    let IpAddr::V4(ip) = node.ip() else { panic!("IPv4") };
    let entry = [&[0x77; 20][..], &ip.octets(), &node.port().to_be_bytes()].concat();
    bytes[26] = 1;
    bytes.splice(27..27, entry);
    let key = b"zest: saved routing table, v1 \0\0";
    let check = blake3::keyed_hash(key, &bytes);
    bytes.extend_from_slice(&check.as_bytes()[..8]);
    zest_core::dht::Saved::parse(&bytes).expect("a table")
}
