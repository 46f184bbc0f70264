//! The DHT: reading its messages, and a node that anybody may talk to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use zest_core::dht::krpc::{self, Answer, Body, Query, Want};
use zest_core::dht::limits::{DATAGRAM_BYTES_MAX, REPLY_BYTES_MAX, REPLY_FACTOR, TID_BYTES_MAX};
use zest_core::dht::{Action, Config, Dht, Event, Family, Limits, LookupId, NodeId, Saved, is_local};
use zest_core::{Duration, InfoHash, Instant};

use crate::cursor::Cursor;

/// Input: a datagram.
///
/// What is read lies within its limits, and what it says is read again as it was from the datagram we would write. The same
/// bytes as a saved table: written again byte for byte, but for addresses that nobody can be at.
pub fn krpc(input: &[u8]) {
    if let Ok(message) = krpc::parse(input) {
        assert!(input.len() <= DATAGRAM_BYTES_MAX);
        assert!((1..=TID_BYTES_MAX).contains(&message.tid.len()));
        let tid = message.tid;
        match message.body {
            Body::Query { id, query, want, read_only } => {
                let again = krpc::query(tid, &id, &query, want, read_only);
                assert_eq!(krpc::parse(&again), Ok(message));
            }
            Body::Reply(reply) => {
                let (v4, v6): (Vec<_>, Vec<_>) = reply.nodes().partition(|(_, addr)| addr.is_ipv4());
                let values: Vec<SocketAddr> = reply.values().collect();
                let answer =
                    Answer { nodes: Some(&v4), nodes6: Some(&v6), token: reply.token, values: &values };
                let told = reply.told.unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1));
                let again = krpc::reply(tid, &reply.id, told, &answer);
                // Whole nodes and peers only, so never longer than it was but for our own marks.
                assert!(again.len() <= input.len() + 64);
                if let Ok(krpc::Message { tid: same, body: Body::Reply(other) }) = krpc::parse(&again) {
                    assert_eq!(
                        (same, other.id, other.token, other.told),
                        (tid, reply.id, reply.token, Some(told))
                    );
                    assert!(other.nodes().eq(reply.nodes()) && other.values().eq(values.iter().copied()));
                } else {
                    assert!(again.len() > DATAGRAM_BYTES_MAX, "our own reply is read");
                }
            }
            Body::Error { code } => {
                let again = krpc::error(tid, code.clamp(0, 999) as u16, "x");
                assert!(matches!(krpc::parse(&again), Ok(krpc::Message { body: Body::Error { .. }, .. })));
            }
        }
    }
    if let Ok(saved) = Saved::parse(input) {
        let again = saved.to_bytes();
        assert!(again.len() <= input.len());
        assert_eq!(Saved::parse(&again), Ok(saved));
    }
}

/// Addresses that take part: a few of everything, so that they meet again.
fn addr(n: u8) -> SocketAddr {
    let port = 1000 + u16::from(n >> 5);
    match n % 8 {
        0 => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1000 + u16::from(n)),
        1 => SocketAddr::new(Ipv4Addr::new(10, 0, 0, n).into(), port),
        // Many in one /24.
        2 => SocketAddr::new(Ipv4Addr::new(66, 6, 6, n).into(), port),
        3..=5 => SocketAddr::new(Ipv4Addr::new(20, n, 1, 1).into(), port),
        6 => SocketAddr::new(Ipv6Addr::new(0x2001, 0xdb8, n.into(), 0, 0, 0, 0, 1).into(), port),
        _ => SocketAddr::new(Ipv6Addr::new(0x2001, 0xdb8, 1, n.into(), 0, 0, 0, 1).into(), port),
    }
}

fn id(n: u8) -> NodeId {
    let mut id = [n; 20];
    id[0] = n.rotate_left(3);
    NodeId(id)
}

/// Small enough for every limit to be met.
fn tight() -> Limits {
    Limits {
        lookup_nodes: 12,
        lookup_queries: 20,
        lookup_peers: 5,
        lookups: 2,
        lookups_waiting: 2,
        calls: 10,
        queries_per_s: 10,
        queries_burst: 12,
        bucket_spares: 2,
        source_packets_burst: 5,
        source_counters: 8,
        reply_bytes_per_s: 500,
        reply_bytes_burst: 2000,
        stored_keys: 3,
        stored_key_peers: 3,
        stored_peers: 5,
        stored_source_peers: 2,
        stored_site_peers: 3,
        stored_key_source_peers: 1,
        routers: 2,
        votes: 6,
        ..Limits::default()
    }
}

/// Input: u8 flags (bit 0 tight limits, bit 1 no IPv4, bit 2 no IPv6), then steps, by the first byte of each mod 12:
///
/// | step | reads | does |
/// |---|---|---|
/// | 0 | u8 from, u8 n, n bytes | this datagram comes |
/// | 1 | u8 from, u8 kind, u8 id, u8 key | a query comes; an announcement has the last token that we gave |
/// | 2 | u8 which, u8 id, u8 nodes, u8 peers | the query of ours is answered, naming so many nodes and peers |
/// | 3 | u8 which, u8 from | the same, empty, from elsewhere |
/// | 4 | u8 which | the query of ours is refused |
/// | 5 | u8 key, u8 what | get, announce or cancel |
/// | 6 | u8 address | bootstrap |
/// | 7 | u8 address | hint |
/// | 8 | u8 tenths | time passes, no longer than until the next timer |
/// | 9 | u16 seconds | time leaps forward |
/// | 10 | u8 seconds | time leaps back |
/// | 11 | u8 what | reachable or not; save and restore |
///
/// After every step the invariants hold, timers lie within a day, every reply obeys the factor, nothing is sent to where nothing can
/// be, local addresses are only sent to if they came up by themselves, and played again it is the same story.
pub fn dht(input: &[u8]) {
    let first = play(input);
    assert!(first == play(input), "the same events give the same actions");
}

fn play(input: &[u8]) -> Vec<Action> {
    let mut input = Cursor::new(input);
    let flags = input.u8();
    let limits = if flags & 1 == 1 { tight() } else { Limits::default() };
    let mut world = World {
        dht: Dht::new(Config { seed: [9; 32], v4: flags & 2 == 0, v6: flags & 4 == 0, limits }),
        now: Instant(1 << 40),
        asked: Vec::new(),
        token: Vec::new(),
        wishes: 0,
        story: Vec::new(),
    };
    let mut steps = 0;
    while !input.is_empty() && steps < 300 {
        steps += 1;
        world.step(&mut input);
    }
    world.story
}

struct World {
    dht: Dht,
    now: Instant,
    /// Queries of ours that wait for an answer: to whom, and what.
    asked: Vec<(SocketAddr, Vec<u8>)>,
    /// The last token that we gave out.
    token: Vec<u8>,
    wishes: u64,
    story: Vec<Action>,
}

impl World {
    fn step(&mut self, input: &mut Cursor<'_>) {
        match input.u8() % 12 {
            0 => {
                let (from, len) = (addr(input.u8()), input.u8());
                self.datagram(from, input.bytes(len.into()).to_vec());
            }
            1 => self.query(input),
            2 => {
                let (which, who) = (input.u8(), input.u8());
                let (nodes, peers) = (input.u8(), input.u8());
                let Some((from, tid)) = self.take(which) else { return };
                let near = |n: u8| (id(who.wrapping_add(n)), addr(who.wrapping_mul(7).wrapping_add(n)));
                let all: Vec<_> = (0..nodes % 24).map(near).collect();
                let (v4, v6): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, addr)| addr.is_ipv4());
                let values: Vec<_> = (0..peers % 24).map(|n| addr(n.wrapping_mul(11))).collect();
                let answer =
                    Answer { nodes: Some(&v4), nodes6: Some(&v6), token: Some(b"tok"), values: &values };
                let told = addr(3 + 8 * (peers >> 6));
                self.datagram(from, krpc::reply(&tid, &id(who), told, &answer));
            }
            3 => {
                let (which, from) = (input.u8(), addr(input.u8()));
                if let Some((_, tid)) = self.take(which) {
                    self.datagram(from, krpc::reply(&tid, &id(1), from, &Answer::default()));
                }
            }
            4 => {
                if let Some((from, tid)) = self.take(input.u8()) {
                    self.datagram(from, krpc::error(&tid, 202, "no"));
                }
            }
            5 => {
                let (key, what) = (InfoHash(id(input.u8()).0), input.u8());
                self.wishes += 1;
                let wish = LookupId(self.wishes);
                self.event(match what % 3 {
                    0 => Event::Get { id: wish, info_hash: key },
                    1 => Event::Announce {
                        id: wish,
                        info_hash: key,
                        port: std::num::NonZeroU16::MIN,
                        implied: what & 4 != 0,
                    },
                    _ => Event::Cancel { id: LookupId(self.wishes.saturating_sub(u64::from(what / 3))) },
                });
            }
            6 => self.event(Event::Bootstrap { addr: addr(input.u8()) }),
            7 => self.event(Event::NodeHint { addr: addr(input.u8()) }),
            8 => {
                let wait = Duration::from_millis(100 * u64::from(input.u8()));
                let due = self.dht.poll_timeout().map_or(self.now + wait, |(at, _)| at);
                self.now = (self.now + wait).min(due.max(self.now));
                self.event(Event::Timer);
            }
            9 => {
                self.now = self.now + Duration::from_secs(input.u16().into());
                self.event(Event::Timer);
            }
            10 => {
                self.now = Instant(self.now.0.saturating_sub(u64::from(input.u8()) * 1_000_000));
                self.event(Event::Timer);
            }
            _ => match input.u8() % 8 {
                0 => {
                    let saved = self.dht.saved();
                    let read = Saved::parse(&saved.to_bytes()).expect("our own");
                    assert_eq!(read, saved);
                    self.event(Event::Restore(Box::new(read)));
                }
                what => {
                    let family = if what & 1 == 0 { Family::V4 } else { Family::V6 };
                    let known = [None, Some(true), Some(false)][usize::from(what >> 1) % 3];
                    self.event(Event::Reachable { family, known });
                }
            },
        }
    }

    fn query(&mut self, input: &mut Cursor<'_>) {
        let (from, kind) = (addr(input.u8()), input.u8());
        let (who, key) = (id(input.u8()), id(input.u8()));
        let token = self.token.clone();
        let info_hash = InfoHash(key.0);
        let query = match kind % 5 {
            0 => Query::Ping,
            1 => Query::FindNode { target: key },
            2 | 3 => Query::GetPeers { info_hash },
            _ => Query::AnnouncePeer { info_hash, port: 5, implied_port: kind & 8 != 0, token: &token },
        };
        let want = (kind & 16 != 0).then_some(Want { v4: kind & 32 != 0, v6: kind & 64 != 0 });
        self.datagram(from, krpc::query(&[kind; 2], &who, &query, want, kind & 128 != 0));
    }

    fn take(&mut self, which: u8) -> Option<(SocketAddr, Vec<u8>)> {
        let at = usize::from(which).checked_rem(self.asked.len())?;
        Some(self.asked.remove(at))
    }

    fn datagram(&mut self, from: SocketAddr, bytes: Vec<u8>) {
        let request = bytes.len();
        let before = self.story.len();
        self.event(Event::Datagram { from, bytes });
        let mut replies = 0;
        for action in &self.story[before..] {
            if let Action::SendTo { to, bytes } = action
                && let Body::Reply(reply) = krpc::parse(bytes).expect("our own").body
            {
                assert_eq!(*to, from, "a reply goes back");
                assert!(bytes.len() <= (request * REPLY_FACTOR).min(REPLY_BYTES_MAX));
                assert!(reply.nodes().all(|(_, addr)| !is_local(addr.ip()) || is_local(from.ip())));
                if let Some(token) = reply.token {
                    self.token = token.to_vec();
                }
                replies += 1;
            }
        }
        assert!(replies <= 1, "one reply at most");
    }

    fn event(&mut self, event: Event) {
        self.dht.handle(self.now, event);
        while let Some(action) = self.dht.poll_action() {
            if let Action::SendTo { to, bytes } = &action {
                let message = krpc::parse(bytes).expect("what we write is a message");
                assert!(to.port() != 0 && !to.ip().is_unspecified() && !to.ip().is_multicast());
                if let Body::Query { .. } = message.body {
                    assert!(bytes.len() <= 300, "queries are short");
                    self.asked.push((*to, message.tid.to_vec()));
                    // The oldest will not be answered.
                    if self.asked.len() > 40 {
                        self.asked.remove(0);
                    }
                }
            }
            if let Action::ExternalAddr { ip, .. } = action {
                let family = if matches!(ip, IpAddr::V4(_)) { Family::V4 } else { Family::V6 };
                assert!(!is_local(ip) && self.dht.id(family).fits(ip), "our id follows from our address");
            }
            self.story.push(action);
        }
        self.dht.check_invariants();
        if let Some((at, timer)) = self.dht.poll_timeout() {
            assert!(at.since(self.now) <= Duration::from_secs(86_400), "{timer:?} is far away");
        }
        // A timer that has been served is not due again at once for ever.
        for _ in 0..200 {
            let Some((at, _)) = self.dht.poll_timeout().filter(|(at, _)| *at <= self.now) else { return };
            let _ = at;
            self.dht.handle(self.now, Event::Timer);
            while let Some(action) = self.dht.poll_action() {
                self.story.push(action);
            }
        }
        panic!("a timer spins");
    }
}
