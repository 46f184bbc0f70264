//! How peers are found: trackers over HTTP and UDP, the message of the local network, peer exchange.

use zest_core::endpoint::is_dialable;
use zest_core::link::{ExtHandshake, Extension};
use zest_core::lsd::{self, Group, Lsd, message};
use zest_core::node::Direction;
use zest_core::pex::{self, Pex};
use zest_core::tracker::announce::{REASON_CHARS_MAX, REPLY_PEERS_MAX, TRACKER_ID_BYTES_MAX};
use zest_core::tracker::{self, AnnounceReply, Rank, RequestId, Standing, Trackers, http, udp};
use zest_core::wire::xet::Dialect;
use zest_core::{InfoHash, Instant, LinkId, PeerId, wire};

use crate::cursor::Cursor;

const OURS: InfoHash = InfoHash([0x61; 20]);
const NOW: Instant = Instant(1_000_000);

fn trackers(url: &str) -> Trackers {
    let tiers = vec![vec![url.parse().expect("a tracker URL")]];
    let config = tracker::Config::new([7; 32], PeerId(*b"-ZT0500-abcdefghijkl"), 6881, tiers);
    let mut trackers = Trackers::new(NOW, config);
    trackers.handle(NOW, tracker::Event::Add { swarm: OURS, rank: Rank::Wanted, left: 1 });
    trackers
}

fn check_reply(reply: &AnnounceReply) {
    assert!(reply.peers.len() <= REPLY_PEERS_MAX, "peers are bounded");
    assert!(reply.peers.iter().all(|peer| is_dialable(*peer)), "peers can be dialled");
    let once = reply.peers.iter().enumerate().all(|(at, peer)| !reply.peers[..at].contains(peer));
    assert!(once, "every peer is named once");
    assert!(reply.tracker_id.as_ref().is_none_or(|id| id.len() <= TRACKER_ID_BYTES_MAX), "an id is bounded");
    if let Some(text) = &reply.warning {
        check_text(text);
    }
}

fn check_text(text: &str) {
    assert!(text.chars().count() <= REASON_CHARS_MAX + 64, "a reason is bounded");
    assert!(!text.chars().any(char::is_control), "a reason can be shown on a terminal");
}

/// Takes what a machine does; it must have said how the tracker does, and wait for something.
fn settle(trackers: &mut Trackers) {
    trackers.check_invariants();
    while let Some(action) = trackers.poll_action() {
        match action {
            tracker::Action::Status {
                standing: Standing::Warns(text) | Standing::Refuses(text) | Standing::Fails { why: text, .. },
                ..
            } => check_text(&text),
            tracker::Action::Peers { peers, .. } => {
                assert!(peers.len() <= REPLY_PEERS_MAX, "peers are bounded")
            }
            _ => {}
        }
    }
    let (at, _) = trackers.poll_timeout().expect("a swarm is announced again");
    assert!(at > NOW, "nothing is to be done at once");
}

/// Input: the body of a reply. What is read is bounded; the machine settles, whatever it is, and says what was wrong.
pub fn tracker_http(input: &[u8]) {
    match http::announce_reply(input) {
        Ok(reply) => check_reply(&reply),
        Err(error) => check_text(&error.to_string()),
    }
    if let Ok(swarms) = http::scrape_reply(input) {
        assert!(swarms.len() <= http::SCRAPE_HASHES_MAX, "a scrape is bounded");
    }
    for status in [200, 500] {
        let mut trackers = trackers("http://tracker.example");
        let Some(tracker::Action::HttpGet { id, .. }) = trackers.poll_action() else { panic!("an announce") };
        trackers.handle(NOW, tracker::Event::HttpReply { id: RequestId(id.0 + 1), status, body: input });
        assert_eq!(trackers.poll_action(), None, "an answer to nothing is nothing");
        trackers.handle(NOW, tracker::Event::HttpReply { id, status, body: input });
        settle(&mut trackers);
    }
}

/// Input: a datagram after its transaction: u32 action, the rest. Read by both families; a machine in each state of an
/// exchange takes it with the right transaction, and with a wrong one as if it had never come.
pub fn tracker_udp(input: &[u8]) {
    let (action, rest) = input.split_at(input.len().min(4));
    for v6 in [false, true] {
        match udp::reply(input, v6) {
            Ok((_, udp::Reply::Announced(reply))) => check_reply(&reply),
            Ok((_, udp::Reply::Scraped(counts))) => assert!(counts.len() <= udp::SCRAPE_HASHES_MAX),
            Ok((_, udp::Reply::Error { reason })) => check_text(&reason),
            Ok((_, udp::Reply::Connected { .. })) => {}
            Err(error) => check_text(&error.to_string()),
        }
    }
    for connected in [false, true] {
        let mut trackers = trackers("udp://192.0.2.9:6969");
        let mut asked = next_datagram(&mut trackers);
        let from = "192.0.2.9:6969".parse().expect("an address");
        if connected {
            let reply = [&[0; 4], &asked[12..16], &[7; 8]].concat();
            trackers.handle(NOW, tracker::Event::Datagram { from, bytes: &reply });
            asked = next_datagram(&mut trackers);
        }
        let mut wrong = asked[12..16].to_vec();
        wrong[0] ^= 1;
        let datagram = |transaction: &[u8]| [action, transaction, rest].concat();
        trackers.handle(NOW, tracker::Event::Datagram { from, bytes: &datagram(&wrong) });
        if action.len() == 4 {
            assert_eq!(trackers.poll_action(), None, "an answer to nothing is nothing");
        }
        trackers.handle(NOW, tracker::Event::Datagram { from, bytes: &datagram(&asked[12..16]) });
        settle(&mut trackers);
    }
}

fn next_datagram(trackers: &mut Trackers) -> Vec<u8> {
    match trackers.poll_action() {
        Some(tracker::Action::SendTo { bytes, .. }) => bytes,
        other => panic!("a datagram, not {other:?}"),
    }
}

/// Input: a datagram. What is read is bounded and, written by us, reads back; a machine finds a peer in it exactly if it names
/// our swarm.
pub fn lsd(input: &[u8]) {
    let read = message::read(input);
    if let Ok(search) = &read {
        assert!(search.port != 0 && !search.swarms.is_empty(), "a search says who and what");
        assert!(search.swarms.len() <= message::READ_HASHES_MAX, "swarms are bounded");
        let written = message::write(Group::V6, search.port, &search.swarms, "x");
        let again = message::read(&written).expect("what we write can be read");
        let sent = search.swarms.len().min(message::SENT_HASHES_MAX);
        assert_eq!((again.port, &again.swarms[..]), (search.port, &search.swarms[..sent]));
    }
    let mut lsd = Lsd::new(lsd::Config { seed: [7; 32], port: 6881 });
    lsd.handle(NOW, lsd::Event::Add { swarm: OURS, wanted: true });
    let from = "192.0.2.1:6771".parse().expect("an address");
    lsd.handle(NOW, lsd::Event::Datagram { group: Group::V4, from, bytes: input });
    lsd.check_invariants();
    // The cookie of this seed is not known to the input, so it is never taken for our own.
    let shared = read.is_ok_and(|search| search.swarms.contains(&OURS));
    assert_eq!(lsd.poll_action().is_some(), shared, "a neighbour is found by a swarm we share");
}

/// Input: u8 remote (near or far), a message. What is read is bounded and, cut to what we send, reads back; a machine believes
/// only what its teller may name.
pub fn pex(input: &[u8]) {
    let mut input = Cursor::new(input);
    let remote = if input.u8() & 1 == 0 { "198.51.100.1:1" } else { "10.0.0.1:1" };
    let Some(read) = wire::pex::read(input.rest()) else { return };
    assert!(read.added.len() <= wire::pex::PEX_READ_MAX && read.dropped.len() <= wire::pex::PEX_READ_MAX);
    let written = wire::pex::write(&read);
    assert!(written.len() <= wire::pex::PEX_BYTES_MAX as usize, "what we write is read by ourselves");
    let again = wire::pex::read(&written).expect("what we write can be read");
    assert!(again.added.len() <= wire::pex::PEX_PEERS_MAX && again.dropped.len() <= wire::pex::PEX_PEERS_MAX);
    assert_eq!(wire::pex::write(&again), written, "one exchange has one form");

    let remote = remote.parse().expect("an address");
    let mut pex = Pex::new([7; 32]);
    let mut hello = ExtHandshake::empty(Dialect::Chunk);
    hello = hello.with(Extension::UtPex, Some(4));
    let (link, direction) = (LinkId(1), Direction::Outbound);
    pex.handle(NOW, pex::Event::Introduced { link, addr: remote, direction, hello: &hello, allow: true });
    pex.handle(NOW, pex::Event::Received { link: LinkId(1), added: &read.added });
    pex.check_invariants();
    let mut found = 0;
    while let Some(action) = pex.poll_action() {
        let pex::Action::Found { addr, .. } = action else { panic!("nothing is to be told") };
        assert!(zest_core::endpoint::may_name(remote.ip(), addr) && addr != remote);
        found += 1;
    }
    assert!(found <= wire::pex::PEX_PEERS_MAX, "a message names so many at most");
}
