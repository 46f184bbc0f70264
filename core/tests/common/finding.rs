//! A hand-driven [`Discovery`] in virtual time, with a DHT that answers as told.

#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part")]

use std::net::SocketAddr;
use zest_core::discovery::*;
use zest_core::lsd::Group;
use zest_core::{Duration, InfoHash, Instant, JobId, PeerId, tracker};
use zest_xet::Hash;

pub fn hash(n: u32) -> Hash {
    let mut bytes = [0x77; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    Hash::from_bytes(bytes)
}

pub fn key(n: u32) -> InfoHash {
    InfoHash::of_file(&hash(n))
}

pub fn peer(n: u16) -> SocketAddr {
    let [a, b] = n.to_be_bytes();
    SocketAddr::from(([198, 51, a, b], 6881))
}

pub fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

pub const FOR_EVER: Shareable = Shareable::anonymously_readable(Instant(u64::MAX));

/// File `n` of `group`; the smaller the number, the larger the file.
pub fn file(n: u32, group: u64) -> SharedFile {
    SharedFile { hash: hash(n), bytes: 1 << 30 >> (n % 30), group: GroupId(group), proof: FOR_EVER }
}

pub struct World {
    pub discovery: Discovery,
    pub now: Instant,
    /// Questions to the DHT that wait for an answer.
    pub gets: Vec<(OpId, InfoHash)>,
    pub announces: Vec<(OpId, InfoHash)>,
    pub stopped: Vec<OpId>,
    pub found: Vec<(SocketAddr, Found, Option<InfoHash>)>,
    pub searched: Vec<(JobId, usize, Duration)>,
    pub trackers: Vec<tracker::Action>,
    pub lan: Vec<(Group, Vec<u8>)>,
    pub log: Vec<(Instant, Action)>,
}

pub fn config() -> Config {
    Config::new([7; 32], PeerId(*b"-ZT0500-abcdefghijkl"), 6881)
}

impl World {
    pub fn new(config: Config) -> Self {
        let now = Instant(1_000_000_000);
        Self {
            discovery: Discovery::new(now, config),
            now,
            gets: vec![],
            announces: vec![],
            stopped: vec![],
            found: vec![],
            searched: vec![],
            trackers: vec![],
            lan: vec![],
            log: vec![],
        }
    }

    /// With a DHT that can be asked.
    pub fn with_dht() -> Self {
        let mut world = Self::new(config());
        world.handle(Event::Dht { up: true });
        world
    }

    /// Takes an event in without a look at the whole state, for large ones.
    pub fn handle_fast(&mut self, event: Event<'_>) {
        self.discovery.handle(self.now, event);
        while let Some(action) = self.discovery.poll_action() {
            self.log.push((self.now, action.clone()));
            match action {
                Action::DhtGet { op, swarm } => self.gets.push((op, swarm)),
                Action::DhtAnnounce { op, swarm, port } => {
                    assert_eq!(port, 6881);
                    self.announces.push((op, swarm));
                }
                Action::DhtStop { op } => {
                    self.gets.retain(|(open, _)| *open != op);
                    self.announces.retain(|(open, _)| *open != op);
                    self.stopped.push(op);
                }
                Action::Tracker(action) => self.trackers.push(action),
                Action::LanSend { group, bytes } => self.lan.push((group, bytes)),
                Action::Found { addr, how, swarm } => self.found.push((addr, how, swarm)),
                Action::Searched { job, peers, pause } => self.searched.push((job, peers, pause)),
            }
        }
    }

    pub fn handle(&mut self, event: Event<'_>) {
        self.handle_fast(event);
        self.discovery.check_invariants();
    }

    pub fn want(&mut self, job: u32, file: SharedFile) {
        self.handle(Event::Want { job: JobId(job), file, xorbs: &[] });
    }

    /// Answers the oldest look with these peers, and ends it; tells its swarm.
    pub fn answer(&mut self, peers: impl IntoIterator<Item = u16>) -> InfoHash {
        assert!(!self.gets.is_empty(), "no look is under way");
        let (op, swarm) = self.gets.remove(0);
        let peers: Vec<SocketAddr> = peers.into_iter().map(peer).collect();
        self.handle(Event::DhtPeers { op, peers: &peers });
        self.handle(Event::DhtDone { op, packets: 20 });
        swarm
    }

    pub fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        self.pass_until(span, |_| false);
        self.now = end;
    }

    pub fn pass_until(&mut self, span: Duration, mut stop: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + span;
        let mut same = 0;
        while let Some((at, why)) = self.discovery.poll_timeout().filter(|(at, _)| *at <= end) {
            same = if at <= self.now { same + 1 } else { 0 };
            assert!(same < 1000, "{why:?} spins at {at:?}");
            self.now = self.now.max(at);
            self.handle_fast(Event::Timer);
            if stop(self) {
                return true;
            }
        }
        self.discovery.check_invariants();
        false
    }

    /// Bytes and URLs of everything that would go out, as text for searching.
    pub fn on_the_wire(&self) -> Vec<String> {
        let words = self.log.iter().filter_map(|(_, action)| match action {
            Action::DhtGet { swarm, .. } | Action::DhtAnnounce { swarm, .. } => Some(format!("{swarm:?}")),
            Action::LanSend { bytes, .. } => Some(String::from_utf8_lossy(bytes).into_owned()),
            Action::Tracker(tracker::Action::HttpGet { url, .. }) => Some(url.clone()),
            Action::Tracker(tracker::Action::SendTo { bytes, .. }) => {
                Some(bytes.iter().map(|b| format!("{b:02x}")).collect())
            }
            _ => None,
        });
        words.collect()
    }

    /// Whether a swarm's key, in hex or percent-encoded, is anywhere on the wire.
    pub fn spoke_of(&self, swarm: InfoHash) -> bool {
        let mut url = String::new();
        tracker::http::push_percent(&mut url, &swarm.0);
        let hex = format!("{swarm:?}");
        self.on_the_wire().iter().any(|words| words.contains(&hex) || words.contains(&url))
    }
}
