//! BEP 15: an answer counts only from the address asked, with the transaction of an open request, and of the right kind.

#[path = "common/announcing.rs"]
mod announcing;

use announcing::*;
use zest_core::tracker::*;

const TRACKER: &str = "192.0.2.9:6969";
/// Interval 1,800, no leech, one seed, one peer.
const ANSWER: &[u8] = b"\0\0\x07\x08\0\0\0\0\0\0\0\x01\xc0\x00\x02\x01\x1a\xe1";

fn world() -> World {
    World::new(config(&[&["udp://192.0.2.9:6969/announce?k=v"]]))
}

#[test]
fn a_connection_comes_first_and_serves_for_a_minute() {
    let mut world = world();
    world.add(1);
    world.connect(0x0102_0304_0506_0708);
    let (to, bytes) = world.datagram();
    assert_eq!((to, bytes.len()), (addr(TRACKER), 98 + 2 + "/announce?k=v".len()));
    assert_eq!(
        (&bytes[..12], &bytes[80..84]),
        (&[1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1][..], &[0, 0, 0, 2][..])
    );
    assert_eq!(&bytes[98..], b"\x02\x0d/announce?k=v", "BEP 41");
    world.reply_udp(to, 1, &bytes[12..16], ANSWER);
    assert_eq!(world.peers, [(swarm(1), TrackerId(0), vec![addr("192.0.2.1:6881")])]);
    world.pass(secs(59));
    world.add(2);
    let (to, bytes) = world.datagram();
    assert_eq!(bytes[..8], [1, 2, 3, 4, 5, 6, 7, 8], "still good");
    world.reply_udp(to, 1, &bytes[12..16], ANSWER);
    world.pass(secs(2));
    world.add(3);
    world.connect(9);
    assert_eq!(world.datagram().1[..8], [0, 0, 0, 0, 0, 0, 0, 9], "a new one after a minute");
}

#[test]
fn silence_is_met_at_the_times_of_bep_15() {
    let mut world = world();
    world.add(1);
    let mut times = vec![];
    for _ in 0..10 {
        assert!(!world.sent.is_empty() || world.pass_until(secs(10_000), |w| !w.sent.is_empty()));
        times.push(world.now);
        let (_, bytes) = world.datagram();
        assert_eq!(bytes.len(), 16, "a connect request");
    }
    let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1].since(pair[0]).as_secs()).collect();
    for (n, gap) in gaps.iter().enumerate() {
        let pause = 15 << n.min(8);
        assert!((pause..=pause + pause / 4).contains(gap), "pause {n} of {gaps:?}");
    }
}

#[test]
fn strangers_replays_and_wrong_kinds_are_not_heard() {
    let mut world = world();
    world.add(1);
    let (to, connect) = world.datagram();
    let transaction = &connect[12..16];
    let wrong = [transaction[0] ^ 1, transaction[1], transaction[2], transaction[3]];
    let stranger = addr("192.0.2.66:6969");
    let other_port = addr("192.0.2.9:6970");
    for (from, action, transaction) in [
        (stranger, 0, transaction),
        (other_port, 0, transaction),
        (to, 0, &wrong[..]),
        (to, 1, transaction),
        (to, 2, transaction),
        (to, 7, transaction),
        (stranger, 3, transaction),
    ] {
        world.reply_udp(from, action, transaction, &[9; 24]);
        assert!(world.sent.is_empty() && world.status.is_empty(), "{from} {action}");
    }
    for len in 0..16 {
        let bytes = [&[0; 4][..], transaction, &[0; 8]].concat();
        world.handle(Event::Datagram { from: to, bytes: &bytes[..len] });
        assert!(world.sent.is_empty(), "{len} bytes");
    }
    let transaction = transaction.to_vec();
    world.reply_udp(to, 0, &transaction, &7u64.to_be_bytes());
    let (_, announce) = world.datagram();
    // The same connect reply again, then one for the announce of the wrong kind, then from elsewhere.
    world.reply_udp(to, 0, &transaction, &8u64.to_be_bytes());
    world.reply_udp(to, 0, &announce[12..16], &8u64.to_be_bytes());
    world.reply_udp(stranger, 1, &announce[12..16], ANSWER);
    assert!(world.peers.is_empty() && world.sent.is_empty());
    world.reply_udp(to, 1, &announce[12..16], ANSWER);
    assert_eq!(world.peers.len(), 1);
    for _ in 0..3 {
        world.reply_udp(to, 1, &announce[12..16], ANSWER);
    }
    assert_eq!(world.peers.len(), 1, "an answer counts once");
}

#[test]
fn an_ipv4_tracker_on_a_socket_of_both_families_is_known_again() {
    let mut world = world();
    world.add(1);
    let (_, connect) = world.datagram();
    world.reply_udp(addr("[::ffff:192.0.2.9]:6969"), 0, &connect[12..16], &7u64.to_be_bytes());
    assert_eq!(world.datagram().1[..8], [0, 0, 0, 0, 0, 0, 0, 7]);
}

#[test]
fn late_answers_are_no_answers() {
    let mut world = world();
    world.add(1);
    world.connect(7);
    let (to, announce) = world.datagram();
    world.pass(secs(15));
    world.sent.clear();
    world.reply_udp(to, 1, &announce[12..16], ANSWER);
    assert!(world.peers.is_empty());
    let mut http = World::new(config(&[&["http://t.example"]]));
    http.add(1);
    let (id, _) = http.gets[0];
    http.pass(secs(15));
    assert_eq!(http.cancelled, [id]);
    http.handle(Event::HttpReply { id, status: 200, body: ONE_PEER });
    http.handle(Event::HttpReply { id: RequestId(999), status: 200, body: ONE_PEER });
    assert!(http.peers.is_empty());
}

#[test]
fn a_tracker_that_forgot_the_connection_is_connected_to_again_once() {
    let mut world = world();
    for n in 1..=2 {
        world.add(n);
        if n == 1 {
            world.connect(7);
        }
        let (to, bytes) = world.datagram();
        if n == 1 {
            world.reply_udp(to, 1, &bytes[12..16], ANSWER);
        } else {
            world.reply_udp(to, 3, &bytes[12..16], b"connection id unknown");
        }
    }
    world.connect(8);
    let (to, bytes) = world.datagram();
    assert_eq!(bytes[..8], [0, 0, 0, 0, 0, 0, 0, 8]);
    world.reply_udp(to, 3, &bytes[12..16], b"go away\x1b[2J");
    assert_eq!(world.status.last().unwrap(), "udp://192.0.2.9:6969 refuses: go away\u{fffd}[2J");
    world.pass(secs(200));
    assert!(world.sent.is_empty(), "the swarm is left in peace for a while");
}

#[test]
fn only_a_tracker_on_this_machine_names_peers_on_this_machine() {
    let body = b"d5:peers12:\x7f\x00\x00\x01\x1a\xe1\xc0\x00\x02\x01\x1a\xe1e";
    for (url, count) in [("http://t.example", 1), ("http://127.0.0.1:1", 2), ("http://localhost", 2)] {
        let mut world = World::new(config(&[&[url]]));
        world.add(1);
        world.answer(body);
        assert_eq!(world.peers[0].2.len(), count, "{url}");
    }
}

#[test]
fn addresses_are_resolved_once_in_a_while_and_tried_in_turn() {
    let mut world = World::new(config(&[&["udp://t.example:6969"]]));
    world.add(1);
    let (tracker, _, _) = world.resolves.remove(0);
    let addrs = [addr("[2001:db8::9]:6969"), addr("192.0.2.9:6969"), addr("0.0.0.0:6969")];
    world.handle(Event::Resolved { tracker, addrs: &addrs });
    assert_eq!(world.datagram().0, addrs[0]);
    assert!(world.pass_until(secs(100), |w| !w.sent.is_empty()));
    assert_eq!(world.sent[0].0, addrs[1], "the other address");
    world.connect(7);
    let (to, bytes) = world.datagram();
    world.reply_udp(to, 1, &bytes[12..16], ANSWER);
    assert_eq!(world.peers.len(), 1);
    // Half an hour later the name is looked up again.
    assert!(world.pass_until(secs(2000), |w| !w.resolves.is_empty()));
    // An answer of the resolver that nobody asked for changes nothing.
    let (tracker, ..) = world.resolves.remove(0);
    world.handle(Event::Resolved { tracker, addrs: &addrs[1..2] });
    world.handle(Event::Resolved { tracker, addrs: &[addr("192.0.2.66:1")] });
    world.handle(Event::Resolved { tracker: TrackerId(60), addrs: &addrs });
    assert_eq!(world.sent.last().unwrap().0, addrs[1]);
}

#[test]
fn scrapes_tell_of_our_swarms_only_and_their_failure_costs_nothing() {
    let mut world = world();
    world.add(1);
    world.connect(7);
    let (to, bytes) = world.datagram();
    world.reply_udp(to, 1, &bytes[12..16], ANSWER);
    world.handle(Event::Scrape { swarms: &[swarm(9), swarm(1)] });
    let (to, bytes) = world.datagram();
    assert_eq!(bytes[16..], swarm(1).0);
    world.reply_udp(to, 2, &bytes[12..16], &[0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 7]);
    let counts = Scraped { seeds: 5, completed: 6, leeches: 7 };
    assert_eq!(world.others, [Action::Scraped { tracker: TrackerId(0), swarms: vec![(swarm(1), counts)] }]);
    world.handle(Event::Scrape { swarms: &[swarm(1)] });
    world.sent.clear();
    world.pass(secs(16));
    assert_eq!(world.status, ["udp://192.0.2.9:6969 works"]);
}
