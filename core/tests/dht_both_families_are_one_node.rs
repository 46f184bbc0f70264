//! BEP 32: two networks, one machine. A key is announced and found in both; nodes of one family are learned from the other;
//! a family without a socket stays silent.

#[path = "common/dht_net.rs"]
mod dht_net;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use dht_net::*;
use zest_core::dht::krpc::{self, Answer, Body, Query, Want};
use zest_core::dht::{Action, Config, Dht, Event, Family, LookupId, NodeId};
use zest_core::{Duration, Instant};

fn sent_to(dht: &mut Dht) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut sent = Vec::new();
    while let Some(action) = dht.poll_action() {
        if let Action::SendTo { to, bytes } = action {
            sent.push((to, bytes));
        }
    }
    sent
}

/// Twenty-four dual-stack machines on loopback; datagrams take no time.
struct Pairs {
    hosts: Vec<Dht>,
    now: Instant,
}

impl Pairs {
    fn new() -> Self {
        let mut pairs = Self { hosts: Vec::new(), now: Instant(0) };
        for n in 0..24u8 {
            pairs.hosts.push(Dht::new(Config::new([n; 32])));
            if n > 0 {
                // Known by its IPv4 address only.
                let addr = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 10_000);
                pairs.event(n.into(), Event::Bootstrap { addr });
            }
            if n == 1 {
                // One of them knows one of the others by IPv6; from it the rest learn.
                let addr = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 10_000);
                pairs.event(1, Event::NodeHint { addr });
            }
            pairs.run(Duration::from_secs(5));
        }
        pairs.run(Duration::from_secs(60));
        pairs
    }

    fn event(&mut self, host: usize, event: Event) -> Vec<Action> {
        let mut others = Vec::new();
        let mut queue = vec![(host, event)];
        while let Some((host, event)) = queue.pop() {
            self.hosts[host].handle(self.now, event);
            self.hosts[host].check_invariants();
            while let Some(action) = self.hosts[host].poll_action() {
                match action {
                    Action::SendTo { to, bytes } => {
                        let ip = if to.is_ipv4() {
                            Ipv4Addr::LOCALHOST.into()
                        } else {
                            Ipv6Addr::LOCALHOST.into()
                        };
                        let from = SocketAddr::new(ip, 10_000 + host as u16);
                        assert_eq!(to.ip(), ip);
                        queue.insert(0, (usize::from(to.port() - 10_000), Event::Datagram { from, bytes }));
                    }
                    other => others.push(other),
                }
            }
        }
        others
    }

    fn run(&mut self, time: Duration) -> Vec<Action> {
        let (end, mut others) = (self.now + time, Vec::new());
        loop {
            let due = (0..self.hosts.len()).filter_map(|n| Some((self.hosts[n].poll_timeout()?.0, n))).min();
            let Some((at, host)) = due.filter(|(at, _)| *at <= end) else { break };
            self.now = self.now.max(at);
            others.extend(self.event(host, Event::Timer));
        }
        self.now = end;
        others
    }
}

#[test]
fn a_key_is_announced_and_found_in_both() {
    let mut pairs = Pairs::new();
    for host in &pairs.hosts {
        let [v4, v6] = host.stats().nodes;
        assert!(v4 >= 8 && v6 >= 8, "{v4} and {v6} nodes");
    }
    let port = 7001.try_into().unwrap();
    let mut done =
        pairs.event(5, Event::Announce { id: LookupId(1), info_hash: key(1), port, implied: false });
    done.extend(pairs.run(Duration::from_secs(10)));
    let announced_to = done.iter().find_map(|action| match action {
        Action::Done { outcome, .. } => Some(outcome.announced_to),
        _ => None,
    });
    assert_eq!(announced_to, Some(16), "eight in each");
    let mut found = pairs.event(17, Event::Get { id: LookupId(2), info_hash: key(1) });
    found.extend(pairs.run(Duration::from_secs(10)));
    let mut peers: Vec<SocketAddr> = Vec::new();
    let mut ends = 0;
    for action in found {
        match action {
            Action::Peers { id: LookupId(2), peers: some } => peers.extend(some),
            Action::Done { id: LookupId(2), .. } => ends += 1,
            _ => {}
        }
    }
    peers.sort();
    assert_eq!(peers, ["127.0.0.1:7001".parse().unwrap(), "[::1]:7001".parse().unwrap()]);
    assert_eq!(ends, 1);
}

#[test]
fn the_asker_says_which_nodes_it_wants() {
    let mut pairs = Pairs::new();
    let from: SocketAddr = "[::1]:555".parse().unwrap();
    for (want, v4, v6) in [
        (None, false, true),
        (Some(Want { v4: true, v6: false }), true, false),
        (Some(Want { v4: true, v6: true }), true, true),
        (Some(Want::default()), false, true),
    ] {
        let ask =
            krpc::query(b"aa", &NodeId([3; 20]), &Query::FindNode { target: NodeId([9; 20]) }, want, true);
        pairs.hosts[3].handle(pairs.now, Event::Datagram { from, bytes: ask });
        let sent = sent_to(&mut pairs.hosts[3]);
        let Body::Reply(reply) = krpc::parse(&sent[0].1).unwrap().body else { panic!("a reply") };
        let nodes: Vec<_> = reply.nodes().collect();
        assert_eq!(nodes.iter().any(|(_, addr)| addr.is_ipv4()), v4, "{want:?}");
        assert_eq!(nodes.iter().any(|(_, addr)| addr.is_ipv6()), v6, "{want:?}");
    }
}

#[test]
fn a_family_without_a_socket_is_silent() {
    let mut dht = Dht::new(Config { v6: false, ..Config::new([1; 32]) });
    let addr: SocketAddr = "[2001:db8::1]:6881".parse().unwrap();
    dht.handle(Instant(0), Event::Bootstrap { addr });
    dht.handle(Instant(0), Event::NodeHint { addr });
    dht.handle(Instant(0), datagram(addr, krpc::query(b"a", &NodeId([1; 20]), &Query::Ping, None, false)));
    assert_eq!(dht.poll_action(), None);
    // Nodes of that family in an answer are passed over too.
    let hint: SocketAddr = "20.1.1.1:1".parse().unwrap();
    let sent = feed(&mut dht, Instant(0), Event::NodeHint { addr: hint });
    let nodes6 = [(NodeId([9; 20]), addr)];
    let answer = Answer { nodes6: Some(&nodes6), ..Answer::default() };
    let reply = krpc::reply(krpc::parse(&sent[0].1).unwrap().tid, &NodeId([1; 20]), hint, &answer);
    let sent = feed(&mut dht, Instant(9), datagram(hint, reply));
    assert!(sent.iter().all(|(to, _)| to.is_ipv4()));
    assert_eq!(dht.nodes(Family::V6).count(), 0);
}

#[test]
fn an_ipv4_address_in_the_clothes_of_ipv6_is_what_it_is() {
    let mut dht = Dht::new(Config::new([1; 32]));
    let sent =
        feed(&mut dht, Instant(0), Event::NodeHint { addr: "[::ffff:20.1.1.1]:6881".parse().unwrap() });
    assert_eq!(sent[0].0, "20.1.1.1:6881".parse().unwrap());
    let reply =
        krpc::reply(krpc::parse(&sent[0].1).unwrap().tid, &NodeId([1; 20]), sent[0].0, &Answer::default());
    feed(&mut dht, Instant(9), datagram("[::ffff:20.1.1.1]:6881".parse().unwrap(), reply));
    assert_eq!(dht.nodes(Family::V4).count(), 1);
}
