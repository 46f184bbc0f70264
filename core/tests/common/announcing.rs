//! Hand-driven trackers in virtual time: what the machine asks is kept, and answered by the test.

#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part")]

use std::net::SocketAddr;
use zest_core::tracker::*;
use zest_core::{Duration, InfoHash, Instant, PeerId};

pub const US: PeerId = PeerId(*b"-ZT0500-abcdefghijkl");

pub fn swarm(n: u16) -> InfoHash {
    let mut hash = [0x5a; 20];
    hash[..2].copy_from_slice(&n.to_be_bytes());
    InfoHash(hash)
}

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

pub fn config(tiers: &[&[&str]]) -> Config {
    let tiers = tiers.iter().map(|tier| tier.iter().map(|url| url.parse().unwrap()).collect()).collect();
    Config::new([7; 32], US, 6881, tiers)
}

pub struct World {
    pub trackers: Trackers,
    pub now: Instant,
    /// HTTP requests that wait for an answer.
    pub gets: Vec<(RequestId, String)>,
    /// Datagrams sent and not looked at.
    pub sent: Vec<(SocketAddr, Vec<u8>)>,
    pub resolves: Vec<(TrackerId, String, u16)>,
    pub peers: Vec<(InfoHash, TrackerId, Vec<SocketAddr>)>,
    pub cancelled: Vec<RequestId>,
    pub status: Vec<String>,
    pub others: Vec<Action>,
    /// Everything, with its time.
    pub log: Vec<(Instant, Action)>,
}

impl World {
    pub fn new(config: Config) -> Self {
        let now = Instant(1_000_000_000);
        Self {
            trackers: Trackers::new(now, config),
            now,
            gets: vec![],
            sent: vec![],
            resolves: vec![],
            peers: vec![],
            cancelled: vec![],
            status: vec![],
            others: vec![],
            log: vec![],
        }
    }

    pub fn handle(&mut self, event: Event<'_>) {
        self.trackers.handle(self.now, event);
        self.trackers.check_invariants();
        while let Some(action) = self.trackers.poll_action() {
            self.log.push((self.now, action.clone()));
            match action {
                Action::HttpGet { id, url } => self.gets.push((id, url)),
                Action::HttpCancel { id } => {
                    self.gets.retain(|(open, _)| *open != id);
                    self.cancelled.push(id);
                }
                Action::Resolve { tracker, host, port } => self.resolves.push((tracker, host, port)),
                Action::SendTo { to, bytes } => self.sent.push((to, bytes)),
                Action::Peers { swarm, tracker, peers } => self.peers.push((swarm, tracker, peers)),
                Action::Status { name, standing, .. } => self.status.push(format!("{name} {standing}")),
                other => self.others.push(other),
            }
        }
    }

    pub fn add(&mut self, n: u16) {
        self.handle(Event::Add { swarm: swarm(n), rank: Rank::Wanted, left: 1000 });
    }

    /// Answers the oldest HTTP request; tells its URL.
    pub fn answer(&mut self, body: &[u8]) -> String {
        self.answer_status(200, body)
    }

    pub fn answer_status(&mut self, status: u16, body: &[u8]) -> String {
        assert!(!self.gets.is_empty(), "no request is open at {:?}", self.now);
        let (id, url) = self.gets.remove(0);
        self.handle(Event::HttpReply { id, status, body });
        url
    }

    /// Wakes the machine whenever it wants, up to `span` from now.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        self.run_to(end, |_| false);
        self.now = end;
    }

    /// Until `stop`, or `span` is over; tells whether it stopped.
    pub fn pass_until(&mut self, span: Duration, stop: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + span;
        self.run_to(end, stop)
    }

    fn run_to(&mut self, end: Instant, mut stop: impl FnMut(&Self) -> bool) -> bool {
        let mut same = 0;
        while let Some((at, why)) = self.trackers.poll_timeout() {
            if at > end {
                break;
            }
            same = if at <= self.now { same + 1 } else { 0 };
            assert!(same < 1000, "{why:?} spins at {at:?}");
            self.now = self.now.max(at);
            self.handle(Event::Timer);
            if stop(self) {
                return true;
            }
        }
        false
    }

    /// The datagram sent last, which is the only one that was not looked at.
    pub fn datagram(&mut self) -> (SocketAddr, Vec<u8>) {
        assert_eq!(self.sent.len(), 1, "one datagram: {:?}", self.sent);
        self.sent.remove(0)
    }

    pub fn reply_udp(&mut self, from: SocketAddr, action: u32, transaction: &[u8], rest: &[u8]) {
        let bytes = [&action.to_be_bytes()[..], transaction, rest].concat();
        self.handle(Event::Datagram { from, bytes: &bytes });
    }

    /// Answers the connect request that was just sent.
    pub fn connect(&mut self, connection: u64) {
        let (to, bytes) = self.datagram();
        assert_eq!(bytes[..12], *b"\0\0\x04\x17\x27\x10\x19\x80\0\0\0\0", "a connect request");
        self.reply_udp(to, 0, &bytes[12..16], &connection.to_be_bytes());
    }
}

pub const EMPTY: &[u8] = b"d8:intervali1800e5:peers0:e";
pub const ONE_PEER: &[u8] = b"d8:intervali1800e5:peers6:\xc0\x00\x02\x01\x1a\xe1e";

/// What stands behind `name=` in a URL.
pub fn param<'a>(url: &'a str, name: &str) -> Option<&'a str> {
    let query = url.split_once('?')?.1;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}
