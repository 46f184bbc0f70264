//! BEP 14: nodes on one network find each other within a second, with a message a minute at most.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use zest_core::lsd::message::{self, SENT_HASHES_MAX};
use zest_core::lsd::*;
use zest_core::{Duration, InfoHash, Instant};

fn swarm(n: u16) -> InfoHash {
    let mut hash = [0x5a; 20];
    hash[..2].copy_from_slice(&n.to_be_bytes());
    InfoHash(hash)
}

fn host(n: usize) -> SocketAddr {
    SocketAddr::from(([192, 168, 1, n as u8 + 1], PORT))
}

/// Nodes that hear everything the others (and they themselves) send to the IPv4 group.
struct Net {
    nodes: Vec<Lsd>,
    now: Instant,
    /// Who sent when.
    sent: Vec<(usize, Instant, Vec<u8>)>,
    /// Who found whom when, with what.
    found: Vec<(usize, SocketAddr, Instant, Vec<InfoHash>)>,
}

impl Net {
    fn new(count: usize) -> Self {
        let node = |n: usize| Lsd::new(Config { seed: [n as u8; 32], port: 7000 + n as u16 });
        let mut net = Self {
            nodes: (0..count).map(node).collect(),
            now: Instant(5_000_000),
            sent: vec![],
            found: vec![],
        };
        for n in 0..count {
            net.handle(n, Event::Group { group: Group::V4, up: true });
        }
        net
    }

    fn handle(&mut self, node: usize, event: Event<'_>) {
        let mut queue = vec![];
        self.nodes[node].handle(self.now, event);
        self.drain(node, &mut queue);
        while let Some((from, bytes)) = queue.pop() {
            for to in 0..self.nodes.len() {
                let event = Event::Datagram { group: Group::V4, from: host(from), bytes: &bytes };
                self.nodes[to].handle(self.now, event);
                self.drain(to, &mut queue);
            }
        }
    }

    fn drain(&mut self, node: usize, queue: &mut Vec<(usize, Vec<u8>)>) {
        self.nodes[node].check_invariants();
        while let Some(action) = self.nodes[node].poll_action() {
            match action {
                Action::Send { group, bytes } => {
                    assert_eq!(group, Group::V4, "the other group is down");
                    assert!(bytes.len() <= message::MESSAGE_BYTES_MAX);
                    self.sent.push((node, self.now, bytes.clone()));
                    queue.push((node, bytes));
                }
                Action::Found { addr, swarms } => self.found.push((node, addr, self.now, swarms)),
            }
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let next =
                self.nodes.iter().enumerate().filter_map(|(n, node)| Some((node.poll_timeout()?.0, n))).min();
            let Some((at, node)) = next.filter(|(at, _)| *at <= end) else { break };
            self.now = self.now.max(at);
            self.handle(node, Event::Timer);
        }
        self.now = end;
    }

    fn times(&self, node: usize) -> Vec<Instant> {
        self.sent.iter().filter(|(n, ..)| *n == node).map(|(_, at, _)| *at).collect()
    }
}

#[test]
fn a_newcomer_and_a_seed_find_each_other_and_nobody_finds_himself() {
    let mut net = Net::new(2);
    net.handle(0, Event::Add { swarm: swarm(1), wanted: false });
    net.pass(Duration::from_secs(120));
    assert!(net.found.is_empty(), "its own words do not count");
    let came = net.now;
    for n in [1, 2] {
        net.handle(1, Event::Add { swarm: swarm(n), wanted: true });
    }
    net.pass(Duration::from_secs(2));
    let found: BTreeSet<(usize, SocketAddr)> = net.found.iter().map(|(n, addr, ..)| (*n, *addr)).collect();
    let want = [(0, "192.168.1.2:7001".parse().unwrap()), (1, "192.168.1.1:7000".parse().unwrap())];
    assert_eq!(found, BTreeSet::from(want), "both ways, by the port the other accepts on");
    assert!(
        net.found
            .iter()
            .all(|(_, _, at, swarms)| at.since(came) < Duration::from_secs(2) && swarms == &[swarm(1)])
    );
}

#[test]
fn messages_keep_a_minute_apart_and_an_answer_is_not_answered() {
    let mut net = Net::new(4);
    for node in 0..4 {
        for n in 0..10 {
            net.handle(node, Event::Add { swarm: swarm(n), wanted: node == 3 });
        }
        net.pass(Duration::from_secs(7));
    }
    net.pass(Duration::from_secs(3600));
    for node in 0..4 {
        let times = net.times(node);
        for pair in times.windows(2) {
            assert!(pair[1].since(pair[0]) >= MESSAGE_EVERY, "{pair:?}");
        }
        // Twelve rounds of five minutes, and a few answers to newcomers; an endless talk would be sixty.
        assert!((12..=28).contains(&times.len()), "node {node} sent {} messages in an hour", times.len());
    }
}

#[test]
fn many_swarms_go_out_in_turn_and_wanted_ones_first() {
    let mut net = Net::new(1);
    for n in 0..1000 {
        net.handle(0, Event::Add { swarm: swarm(n), wanted: n >= 990 });
    }
    net.pass(GATHER);
    let first = message::read(&net.sent[0].2).unwrap().swarms;
    assert_eq!(first.len(), SENT_HASHES_MAX);
    assert!((990..1000).all(|n| first.contains(&swarm(n))), "what is wanted is in the first message");
    net.pass(Duration::from_secs(3600));
    let named: BTreeSet<InfoHash> =
        net.sent.iter().flat_map(|(_, _, bytes)| message::read(bytes).unwrap().swarms).collect();
    assert_eq!(named.len(), 1000, "every swarm was named within an hour");
    assert!(net.times(0).len() <= 61);
}

#[test]
fn what_was_removed_or_never_added_is_not_named() {
    let mut net = Net::new(2);
    net.handle(0, Event::Add { swarm: swarm(1), wanted: false });
    net.handle(0, Event::Remove { swarm: swarm(1) });
    assert_eq!(net.nodes[0].poll_timeout(), None, "nothing to say");
    net.handle(0, Event::Add { swarm: swarm(2), wanted: false });
    net.handle(1, Event::Add { swarm: swarm(1), wanted: true });
    net.pass(Duration::from_secs(1000));
    let by_first = net.sent.iter().filter(|(n, ..)| *n == 0);
    assert!(by_first.into_iter().all(|(_, _, bytes)| message::read(bytes).unwrap().swarms == [swarm(2)]));
    assert!(net.found.is_empty(), "who asks for it learns nothing");
}

#[test]
fn without_a_group_there_is_no_work_and_with_both_each_has_its_own_time() {
    let mut lsd = Lsd::new(Config { seed: [1; 32], port: 1 });
    lsd.handle(Instant(0), Event::Add { swarm: swarm(1), wanted: true });
    assert_eq!(lsd.poll_timeout(), None, "no multicast on this machine");
    for group in Group::ALL {
        lsd.handle(Instant(0), Event::Group { group, up: true });
    }
    lsd.handle(Instant(0) + GATHER, Event::Timer);
    let groups: Vec<Group> = std::iter::from_fn(|| lsd.poll_action())
        .map(|action| match action {
            Action::Send { group, bytes } => {
                assert!(bytes.windows(group.name().len()).any(|w| w == group.name().as_bytes()));
                group
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(groups, Group::ALL);
    lsd.handle(Instant(0), Event::Group { group: Group::V6, up: false });
    assert!(matches!(lsd.poll_timeout(), Some((_, Timer::Send(Group::V4)))));
    lsd.check_invariants();
}
