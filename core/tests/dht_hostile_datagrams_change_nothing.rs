//! Garbage, truncated, oversized, replayed and forged datagrams: nothing is learned from them, nothing grows, and lookups
//! go on beside any amount of them.

#[path = "common/dht_net.rs"]
mod dht_net;

use std::net::SocketAddr;

use dht_net::*;
use zest_core::dht::krpc::{self, Answer, Body, Query};
use zest_core::dht::limits::{K, REPLY_FACTOR};
use zest_core::dht::{Config, Dht, Event, Family, Limits, LookupId, NodeId};
use zest_core::{Duration, Instant};

fn at(ms: u64) -> Instant {
    Instant(ms * 1000)
}

fn host(n: u8) -> SocketAddr {
    SocketAddr::new([20, n, 3, 4].into(), 6881)
}

/// A node that strangers reach, so that it answers them.
fn open_node() -> Dht {
    let mut dht = Dht::new(Config::new([1; 32]));
    feed(&mut dht, at(0), Event::Reachable { family: Family::V4, known: Some(true) });
    dht
}

fn id(n: u8) -> NodeId {
    NodeId([n; 20])
}

fn error_code(bytes: &[u8]) -> i64 {
    match krpc::parse(bytes).expect("a message").body {
        Body::Error { code } => code,
        other => panic!("{other:?}"),
    }
}

/// Everything a network says, cut and bent in every way: nothing is sent that was not due, nothing is learned.
#[test]
fn garbage_truncated_and_oversized() {
    let (mut dht, mut dice) = (open_node(), Dice::new(1));
    let tid = b"abcd";
    let messages = [
        krpc::query(tid, &id(1), &Query::Ping, None, true),
        krpc::query(tid, &id(1), &Query::GetPeers { info_hash: key(1) }, None, true),
        krpc::reply(tid, &id(1), host(1), &Answer { nodes: Some(&[(id(2), host(2))]), ..Answer::default() }),
        krpc::error(tid, 201, "no"),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0; 1500],
        vec![b'l'; 1500],
        vec![b'd'; 60_000],
        Vec::new(),
    ];
    let mut now = at(1000);
    for message in &messages {
        for cut in (0..message.len().min(200)).step_by(3) {
            now = now + Duration::from_millis(200);
            let mut bad = message[..cut].to_vec();
            assert_eq!(feed(&mut dht, now, datagram(host(1), bad.clone())), []);
            if cut > 0 {
                bad[dice.below(cut as u64) as usize] ^= 1 << dice.below(8);
                feed(&mut dht, now, datagram(host(1), bad));
            }
        }
    }
    assert_eq!(dht.nodes(Family::V4).count(), 0);
    assert_eq!(dht.stats().stored, (0, 0));
    assert_eq!(dht.poll_timeout(), None, "nothing is under way");
}

#[test]
fn answers_count_only_from_where_they_were_asked_and_once() {
    let mut dht = open_node();
    let sent = feed(&mut dht, at(0), Event::NodeHint { addr: host(1) });
    let [(to, ping)] = &sent[..] else { panic!("one ping: {sent:?}") };
    assert_eq!(*to, host(1));
    let tid = krpc::parse(ping).unwrap().tid;
    assert_eq!(tid.len(), 4);
    let reply = |tid: &[u8], n: u8| krpc::reply(tid, &id(n), host(9), &Answer::default());
    // From elsewhere; with another id; with a shorter one.
    feed(&mut dht, at(1), datagram(host(2), reply(tid, 2)));
    feed(&mut dht, at(1), datagram(SocketAddr::new(host(1).ip(), 1), reply(tid, 2)));
    feed(&mut dht, at(1), datagram(host(1), reply(&[tid[0] ^ 1, tid[1], tid[2], tid[3]], 2)));
    feed(&mut dht, at(1), datagram(host(1), reply(&tid[..2], 2)));
    assert_eq!((dht.nodes(Family::V4).count(), dht.stats().unasked), (0, 4));
    feed(&mut dht, at(2), datagram(host(1), reply(tid, 1)));
    assert_eq!(dht.nodes(Family::V4).collect::<Vec<_>>(), [(id(1), host(1))]);
    // The same again, and under another name.
    feed(&mut dht, at(3), datagram(host(1), reply(tid, 1)));
    feed(&mut dht, at(3), datagram(host(1), reply(tid, 5)));
    assert_eq!(dht.nodes(Family::V4).collect::<Vec<_>>(), [(id(1), host(1))]);
    assert_eq!(dht.stats().unasked, 6);
}

#[test]
fn a_query_alone_gets_nobody_into_the_table() {
    let mut dht = open_node();
    let sent =
        feed(&mut dht, at(0), datagram(host(1), krpc::query(b"aa", &id(1), &Query::Ping, None, false)));
    assert_eq!(sent.len(), 2, "an answer, and a ping to see who it is");
    // A read-only asker is answered and left alone.
    let sent = feed(&mut dht, at(0), datagram(host(2), krpc::query(b"aa", &id(2), &Query::Ping, None, true)));
    assert_eq!(sent.len(), 1);
    assert_eq!(dht.nodes(Family::V4).count(), 0);
}

#[test]
fn tokens_belong_to_one_address_and_errors_say_what_is_wrong() {
    let mut dht = open_node();
    let get = krpc::query(b"aa", &id(1), &Query::GetPeers { info_hash: key(1) }, None, true);
    let sent = feed(&mut dht, at(0), datagram(host(1), get.clone()));
    let Body::Reply(reply) = krpc::parse(&sent[0].1).unwrap().body else { panic!("a reply") };
    let token = reply.token.expect("a token").to_vec();
    let announce = |token: &[u8], port, implied_port| {
        let query = Query::AnnouncePeer { info_hash: key(1), port, implied_port, token };
        krpc::query(b"aa", &id(1), &query, None, true)
    };
    let mut say = |n: u8, bytes: Vec<u8>| feed(&mut dht, at(0), datagram(host(n), bytes))[0].1.clone();
    assert_eq!(error_code(&say(2, announce(&token, 7, false))), 203, "somebody else's token");
    assert_eq!(error_code(&say(1, announce(b"zest", 7, false))), 203);
    assert_eq!(error_code(&say(1, announce(b"", 7, false))), 203);
    assert_eq!(
        error_code(&say(1, b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:vote1:t2:aa1:y1:qe".to_vec())),
        204
    );
    assert_eq!(
        error_code(&say(1, b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q9:find_node1:t2:aa1:y1:qe".to_vec())),
        203
    );
    for (port, implied) in [(7, false), (9, true)] {
        let answer = say(1, announce(&token, port, implied));
        assert!(matches!(krpc::parse(&answer).unwrap().body, Body::Reply(_)));
    }
    // Both are given out, the implied one with the port it came from; nodes come beside them.
    let answer = say(3, get);
    let Body::Reply(reply) = krpc::parse(&answer).unwrap().body else { panic!("a reply") };
    let mut values: Vec<_> = reply.values().collect();
    values.sort();
    assert_eq!(values, [SocketAddr::new(host(1).ip(), 7), host(1)]);
    assert!(answer.windows(7).any(|w| w == b"5:nodes"), "values and nodes");
    assert_eq!(dht.stats().stored, (1, 2));
}

#[test]
fn no_reply_is_longer_than_five_times_its_request() {
    let mut dht = open_node();
    let mut longest = 0.0f64;
    // A full store, and a table with nodes.
    for n in 0..200u8 {
        let from = SocketAddr::new([30, n, 1, 1].into(), 6881);
        let get = krpc::query(b"aa", &id(n), &Query::GetPeers { info_hash: key(1) }, None, n % 2 == 0);
        let sent = feed(&mut dht, at(u64::from(n) * 1000), datagram(from, get));
        let Body::Reply(reply) = krpc::parse(&sent[0].1).unwrap().body else { panic!("a reply") };
        let query = Query::AnnouncePeer {
            info_hash: key(1),
            port: 7,
            implied_port: false,
            token: reply.token.unwrap(),
        };
        let announce = krpc::query(b"aa", &id(n), &query, None, true);
        feed(&mut dht, at(u64::from(n) * 1000), datagram(from, announce));
        for (to, bytes) in &sent[1..] {
            let reply = krpc::reply(krpc::parse(bytes).unwrap().tid, &id(n), host(9), &Answer::default());
            feed(&mut dht, at(u64::from(n) * 1000 + 50), datagram(*to, reply));
        }
    }
    assert!(dht.nodes(Family::V4).count() >= K);
    let now = at(300_000);
    let id = id(201);
    for query in [
        Query::Ping,
        Query::FindNode { target: id },
        Query::GetPeers { info_hash: key(1) },
        Query::GetPeers { info_hash: key(2) },
        Query::AnnouncePeer { info_hash: key(1), port: 0, implied_port: false, token: b"" },
    ] {
        for want in [None, Some(krpc::Want { v4: true, v6: true })] {
            let request = krpc::query(b"a", &id, &query, want, true);
            for (_, reply) in feed(&mut dht, now, datagram(host(77), request.clone())) {
                assert!(reply.len() <= REPLY_FACTOR * request.len() && reply.len() <= 1200);
                longest = longest.max(reply.len() as f64 / request.len() as f64);
            }
        }
    }
    println!("longest reply: {longest:.1} times its request");
    assert!(longest > 3.0, "the limit was put to the test");
}

#[test]
fn a_hundred_thousand_packets_of_junk_leave_lookups_working() {
    let mut net = Net::loopback(7, 60);
    net.check_every = 0;
    let announced = net.announce(9, key(1), 7001);
    net.wait(9, announced);
    let (victim, junk) = (30, "6.6.6.6:666".parse().unwrap());
    let (to, mut dice) = (net.hosts[victim].addr, Dice::new(3));
    let forged = net.hosts[victim].dht.nodes(Family::V4).next().expect("a node").1;
    let before = net.hosts[victim].dht.stats();
    // One second: from an address of the internet, and under the name of a node it knows.
    let mut wishes = Vec::new();
    for n in 0..100_000u32 {
        let bytes = match n % 4 {
            0 => krpc::query(b"aa", &NodeId(dice.bytes()), &Query::FindNode { target: id(3) }, None, false),
            1 => krpc::reply(&dice.bytes::<4>(), &NodeId(dice.bytes()), to, &Answer::default()),
            2 => dice.bytes::<64>().to_vec(),
            _ => b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:vote1:t2:aa1:y1:qe".to_vec(),
        };
        net.inject(if n % 16 == 0 { forged } else { junk }, to, bytes);
        if n % 10_000 == 5 {
            wishes.push(net.get(victim, key(1)));
        }
        net.run(Duration::from_micros(10));
    }
    net.run(Duration::from_secs(3));
    for id in wishes {
        let found = net.result(victim, id);
        assert_eq!(found.peers.len(), 1, "found all the same");
        assert!(found.first.unwrap().since(found.started) < Duration::from_millis(5));
    }
    let after = net.hosts[victim].dht.stats();
    // What claims to be an answer is read while an answer from there is awaited; all else is cut off.
    let ignored = after.limited + after.unasked - before.limited - before.unasked;
    assert!(ignored > 99_000, "all but {} went nowhere", 100_000 - ignored);
    assert!(
        after.bytes_out - before.bytes_out < 200_000,
        "nor answered: {} bytes",
        after.bytes_out - before.bytes_out
    );
    net.hosts[victim].dht.check_invariants();
}

#[test]
fn a_flood_from_everywhere_is_answered_within_the_budget() {
    let limits = Limits::default();
    let mut dht = open_node();
    let mut dice = Dice::new(9);
    let mut bytes_out = 0;
    for n in 0..50_000u64 {
        let from = SocketAddr::new([20 + (n >> 16) as u8, (n >> 8) as u8, n as u8, 1].into(), 6881);
        let query = Query::GetPeers { info_hash: zest_core::InfoHash(dice.bytes()) };
        let bytes = krpc::query(b"aa", &NodeId(dice.bytes()), &query, None, false);
        dht.handle(Instant(10_000_000 + n * 20), datagram(from, bytes));
        while let Some(action) = dht.poll_action() {
            if let zest_core::dht::Action::SendTo { bytes, .. } = action {
                bytes_out += bytes.len();
            }
        }
    }
    dht.check_invariants();
    let budget = (limits.reply_bytes_burst + limits.reply_bytes_per_s) as usize;
    let pings = 100 * (limits.meets_burst + limits.meets_per_s) as usize;
    assert!(bytes_out <= budget + pings, "{bytes_out} bytes in a second");
    assert!(bytes_out > budget / 2, "the budget was put to the test");
}

#[test]
fn strangers_cannot_point_us_at_our_own_network() {
    let mut dht = open_node();
    feed(&mut dht, at(0), Event::Bootstrap { addr: host(1) });
    let sent = feed(&mut dht, at(0), Event::Get { id: LookupId(1), info_hash: key(1) });
    let local = [
        "127.0.0.1:22",
        "10.0.0.1:53",
        "192.168.1.1:80",
        "169.254.169.254:80",
        "0.0.0.0:1",
        "255.255.255.255:9",
    ];
    let nodes: Vec<_> = (10..).zip(local).map(|(n, addr)| (id(n), addr.parse().unwrap())).collect();
    let values: Vec<SocketAddr> = local.iter().map(|addr| addr.parse().unwrap()).collect();
    let mut after = Vec::new();
    for (_, query) in sent {
        let answer = Answer { nodes: Some(&nodes), token: Some(b"t"), values: &values, ..Answer::default() };
        let reply = krpc::reply(krpc::parse(&query).unwrap().tid, &id(1), host(9), &answer);
        dht.handle(at(10), datagram(host(1), reply));
        while let Some(action) = dht.poll_action() {
            after.push(action);
        }
    }
    let text = format!("{after:?}");
    assert!(!text.contains("SendTo") && !text.contains("Peers {"), "{text}");
}
