//! Each limit at 1, alone and all together: invariants hold after every event, nothing hangs, and where the limit leaves
//! room for it the key is still found.

#[path = "common/dht_net.rs"]
mod dht_net;

use std::net::{Ipv4Addr, SocketAddr};

use dht_net::*;
use zest_core::Duration;
use zest_core::dht::{Config, End, Event, Limits, NodeId, krpc};

type Set = fn(&mut Limits);

/// Every field, and whether keys are still found by everybody when it is 1.
const FIELDS: &[(&str, Set, bool)] = &[
    ("lookup_parallel", |l| l.lookup_parallel = 1, true),
    ("lookup_nodes", |l| l.lookup_nodes = 1, false),
    ("lookup_queries", |l| l.lookup_queries = 1, false),
    ("lookup_peers", |l| l.lookup_peers = 1, true),
    ("lookups", |l| l.lookups = 1, true),
    ("lookups_waiting", |l| l.lookups_waiting = 1, true),
    ("calls", |l| l.calls = 1, true),
    ("queries_per_s", |l| l.queries_per_s = 1, true),
    ("queries_burst", |l| l.queries_burst = 1, true),
    ("meets_per_s", |l| l.meets_per_s = 1, true),
    ("meets_burst", |l| l.meets_burst = 1, true),
    ("bucket_spares", |l| l.bucket_spares = 1, true),
    ("bucket_subnet", |l| l.bucket_subnet = 1, true),
    ("table_site", |l| l.table_site = 1, true),
    ("lookup_subnet", |l| l.lookup_subnet = 1, true),
    ("source_packets_per_s", |l| l.source_packets_per_s = 1, true),
    ("source_packets_burst", |l| l.source_packets_burst = 1, false),
    ("source_counters", |l| l.source_counters = 1, false),
    ("reply_bytes_per_s", |l| l.reply_bytes_per_s = 1, true),
    ("reply_bytes_burst", |l| l.reply_bytes_burst = 1, false),
    ("stored_keys", |l| l.stored_keys = 1, true),
    ("stored_key_peers", |l| l.stored_key_peers = 1, true),
    ("stored_peers", |l| l.stored_peers = 1, true),
    ("stored_source_peers", |l| l.stored_source_peers = 1, true),
    ("stored_site_peers", |l| l.stored_site_peers = 1, true),
    ("stored_key_source_peers", |l| l.stored_key_source_peers = 1, true),
    ("routers", |l| l.routers = 1, true),
    ("votes", |l| l.votes = 1, true),
];

fn network(limits: &Limits, seed: u64) -> Net {
    let mut net = Net::new(seed, Latency::Fixed(Duration::from_millis(1)));
    for n in 0..24u16 {
        let config = Config { limits: limits.clone(), ..Config::new(net.dice.bytes()) };
        let host = net.add_with(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 10_000 + n), false, config);
        if n > 0 {
            net.handle(host, Event::Bootstrap { addr: net.hosts[0].addr });
            net.handle(host, Event::NodeHint { addr: net.hosts[usize::from(n) / 2].addr });
        }
        net.run(Duration::from_secs(10));
    }
    net.run(Duration::from_secs(60));
    net
}

/// Every host announces a key of its own and one for all, and looks for its neighbour's.
fn use_it(net: &mut Net) -> usize {
    let count = net.hosts.len();
    let mut wishes = Vec::new();
    for host in 0..count {
        wishes.push((host, net.announce(host, key(host as u64), 7000)));
        wishes.push((host, net.announce(host, key(999), 7001)));
        net.run(Duration::from_secs(30));
    }
    let mut gets = Vec::new();
    for host in 0..count {
        gets.push((host, net.get(host, key(((host + 1) % count) as u64))));
        net.run(Duration::from_secs(30));
    }
    net.run(Duration::from_secs(300));
    for (host, id) in wishes.iter().chain(&gets) {
        assert!(net.result(*host, *id).done.is_some(), "every wish ends");
    }
    gets.iter().filter(|(host, id)| !net.result(*host, *id).peers.is_empty()).count()
}

#[test]
fn each_alone() {
    for (name, set, finds) in FIELDS {
        let mut limits = Limits::default();
        set(&mut limits);
        let mut net = network(&limits, 5);
        let found = use_it(&mut net);
        // Stores of one key or one peer hold a part of the 48 announcements.
        let enough = if name.starts_with("stored") { 1 } else { net.hosts.len() };
        assert!(!finds || found >= enough, "{name}: {found} found");
    }
}

#[test]
fn all_together_and_every_field_is_in_the_list() {
    let mut limits = Limits::default();
    FIELDS.iter().for_each(|(_, set, _)| set(&mut limits));
    let fields = format!("{limits:?}");
    assert_eq!(fields.matches(": 1").count(), fields.matches(':').count(), "{fields}");
    use_it(&mut network(&limits, 6));
}

#[test]
fn a_full_queue_refuses_and_a_full_lookup_is_capped() {
    let limits = Limits { lookups: 1, lookups_waiting: 2, lookup_queries: 3, ..Limits::default() };
    let mut net = network(&limits, 7);
    let wishes: Vec<_> = (0..5).map(|n| net.get(9, key(n))).collect();
    let ends: Vec<_> = wishes.into_iter().map(|id| net.wait(9, id).done.expect("it ends").1.end).collect();
    assert_eq!(ends, [End::Capped, End::Capped, End::Capped, End::Refused, End::Refused]);
}

/// A stranger announces whatever it can under one address.
#[test]
fn a_store_holds_what_its_limits_say() {
    for limits in [
        Limits { stored_keys: 3, ..Limits::default() },
        Limits { stored_peers: 3, ..Limits::default() },
        Limits { stored_source_peers: 3, ..Limits::default() },
        Limits { stored_site_peers: 3, ..Limits::default() },
    ] {
        let mut dht = zest_core::dht::Dht::new(Config { limits, ..Config::new([1; 32]) });
        let mut now = zest_core::Instant(0);
        let from = "20.1.1.1:6881".parse().unwrap();
        let ask = |query: &krpc::Query<'_>| krpc::query(b"aa", &NodeId([3; 20]), query, None, true);
        let mut taken = 0;
        for n in 0..100 {
            now = now + Duration::from_secs(1);
            let info_hash = key(n);
            let sent = feed(&mut dht, now, datagram(from, ask(&krpc::Query::GetPeers { info_hash })));
            let krpc::Body::Reply(reply) = krpc::parse(&sent[0].1).unwrap().body else { panic!("a reply") };
            let token = reply.token.expect("a token");
            let query = krpc::Query::AnnouncePeer { info_hash, port: 7, implied_port: false, token };
            let sent = feed(&mut dht, now, datagram(from, ask(&query)));
            taken += usize::from(matches!(krpc::parse(&sent[0].1).unwrap().body, krpc::Body::Reply(_)));
            assert!(dht.stats().stored.1 <= 3);
        }
        assert!(taken >= 3);
    }
}
