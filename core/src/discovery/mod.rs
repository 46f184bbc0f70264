//! Who has what we want, and who learns what we have: one [`Discovery`] per process plans it all.
//!
//! It owns the trackers ([`crate::tracker`]) and the local network ([`crate::lsd`]), asks the DHT by [`Action::DhtGet`] and
//! [`Action::DhtAnnounce`], and passes on what other sources find. It speaks only of files it was given with a
//! [`Shareable`], no longer than that holds, and of xorbs of wanted ones. There is no other way in: what it was
//! not told it cannot leak.
//!
//! # Looking
//! The files of a group (a commit of a repository) are mostly held together, and one connection serves them all. So the
//! largest wanted file of a group is looked up first; the others only if that gives fewer than [`PEERS_ENOUGH`] peers, or if
//! the caller says that one is [`Event::Starved`]. Xorb keys, under which zest 0.4 is found, are looked up if a file's own
//! swarm gives fewer than [`PEERS_FEW`]. What was found counts for [`CACHE`] and for all jobs: nothing is asked twice within
//! that time. A look that finds nobody is repeated after a random time that doubles, and its [`Action::Searched`]
//! carries a random pause, so that nodes in the same plight do not act as one.
//!
//! # Announcing
//! See [`plan`]: the arithmetic of what is announced how often under which budget of packets.
//!
//! ```
//! use zest_core::discovery::*;
//! use zest_core::{InfoHash, Instant, JobId, PeerId};
//! use zest_xet::Hash;
//!
//! let mut discovery = Discovery::new(Instant::ZERO, Config::new([7; 32], PeerId(*b"-ZT0500-abcdefghijkl"), 6881));
//! discovery.handle(Instant::ZERO, Event::Dht { up: true });
//! let proof = Shareable::anonymously_readable(Instant(7 * 86_400_000_000));
//! let file = SharedFile { hash: Hash::from_bytes([1; 32]), bytes: 5_000_000, group: GroupId(1), proof };
//! discovery.handle(Instant::ZERO, Event::Want { job: JobId(1), file, xorbs: &[] });
//! let (at, _) = discovery.poll_timeout().unwrap();
//! discovery.handle(at, Event::Timer);
//! let Some(Action::DhtGet { op, swarm }) = discovery.poll_action() else { panic!() };
//! let peer = "192.0.2.1:6881".parse().unwrap();
//! discovery.handle(at, Event::DhtPeers { op, peers: &[peer] });
//! assert_eq!(discovery.poll_action(), Some(Action::Found { addr: peer, how: Found::Dht, swarm: Some(swarm) }));
//! ```

mod announce;
mod event;
pub mod plan;
mod search;
mod share;
mod swarm;

pub use crate::endpoint::Found;
pub use event::{Action, Config, Event, GroupId, OpId, Shareable, SharedFile, Timer};

use crate::bucket::{Bucket, jitter};
use crate::endpoint::{canonical, is_dialable, is_service_port};
use crate::lsd::{self, Lsd};
use crate::node::rng::Rng;
use crate::tracker::{self, Trackers};
use crate::{Duration, InfoHash, Instant, JobId};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::SocketAddr;
use swarm::{Group, JobSwarms, Kind, Known, Op, Search, Swarm};

/// How long what was found counts, and the shortest time between two looks at a swarm: 30 s. Ours.
pub const CACHE: Duration = Duration::from_secs(30);
/// Peers with which a swarm is not looked at more closely: 8. Ours; more than one pull can use well.
pub const PEERS_ENOUGH: usize = 8;
/// Fewer peers than this, and xorbs are looked up too: 2. Ours.
pub const PEERS_FEW: usize = 2;
/// Time in which files gather before the first look, so that the largest is known: 50 ms. Ours.
pub const GATHER: Duration = Duration::from_millis(50);
/// A look at a swarm takes at least 2 s, so that trackers and neighbours can answer. Ours.
pub const ROUND_MIN: Duration = Duration::from_secs(2);
/// A look takes at most 10 s; who is slower counts for the next. Ours.
pub const ROUND_MAX: Duration = Duration::from_secs(10);
/// First pause after a look that found nobody: 15 s to 30 s, doubles. Ours; never below [`CACHE`] after the first.
pub const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// Pause after a look that found some, but not enough: 60 s. Ours.
pub const LOOK_AGAIN_FEW: Duration = Duration::from_secs(60);
/// Pause after a look that found enough, and the longest one of all: 5 min. Ours.
pub const LOOK_AGAIN_MAX: Duration = Duration::from_secs(300);
/// Longest pause that [`Action::Searched`] proposes: 2 s. Ours; nodes of a cluster spread over it.
pub const ALONE_PAUSE: Duration = Duration::from_secs(2);
/// Questions to the DHT at once: 8. Ours.
pub const OPS_MAX: usize = 8;
/// A question to the DHT without an end is given up after 60 s. Ours.
pub const OP_MAX: Duration = Duration::from_secs(60);
/// Xorbs looked up for one job: 4. Ours; zest 0.4 announces the first one of a file only.
pub const XORBS_MAX: usize = 4;
/// Swarms in all: 65,536. Ours; further ones are not spoken of.
pub const SWARMS_MAX: usize = 65_536;
/// Jobs: 4,096. Ours.
pub const JOBS_MAX: usize = 4096;
/// Swarms whose peers are remembered: 1,024. Ours.
pub const KNOWN_MAX: usize = 1024;
/// Peers remembered of one swarm: 64. Ours.
pub const KNOWN_PEERS_MAX: usize = 64;
/// Our own addresses: 32. Ours.
pub const OWN_MAX: usize = 32;

/// Discovery of a process. See the [module](self) for its contract.
#[derive(Debug)]
pub struct Discovery {
    port: u16,
    rng: Rng,
    trackers: Trackers,
    lsd: Lsd,
    bucket: Bucket,
    dht_up: bool,
    swarms: BTreeMap<InfoHash, Swarm>,
    groups: BTreeMap<GroupId, Group>,
    jobs: BTreeMap<JobId, JobSwarms>,
    ops: BTreeMap<OpId, Op>,
    op_next: u64,
    known: BTreeMap<InfoHash, Known>,
    own: BTreeSet<SocketAddr>,
    /// Wanted swarms by the beginning of their next round.
    searches: BTreeSet<(Instant, InfoHash)>,
    /// Swarms under a round, by its end.
    rounds: BTreeSet<(Instant, InfoHash)>,
    /// Swarms by the end of their permission.
    proofs: BTreeSet<(Instant, InfoHash)>,
    /// When searches go on, if the budget or open questions hold them up.
    search_wake: Option<Instant>,
    announce_wake: Option<Instant>,
    actions: VecDeque<Action>,
    closing: bool,
}

impl Discovery {
    /// A machine that knows of nothing.
    #[must_use]
    pub fn new(now: Instant, config: Config) -> Self {
        let mut rng = Rng::new(config.seed);
        let mut seed = || {
            let mut seed = [0; 32];
            seed.as_chunks_mut::<4>().0.iter_mut().for_each(|part| *part = rng.u32().to_le_bytes());
            seed
        };
        let mut trackers = tracker::Config::new(seed(), config.peer_id, config.port, config.tiers);
        trackers.every_tier = config.every_tier;
        trackers.milli_packets_per_s = config.tracker_milli_packets_per_s;
        trackers.burst_packets = config.tracker_burst_packets;
        Self {
            port: config.port,
            lsd: Lsd::new(lsd::Config { seed: seed(), port: config.port }),
            trackers: Trackers::new(now, trackers),
            rng,
            bucket: Bucket::new(now, config.dht_milli_packets_per_s, config.dht_burst_packets),
            dht_up: false,
            swarms: BTreeMap::new(),
            groups: BTreeMap::new(),
            jobs: BTreeMap::new(),
            ops: BTreeMap::new(),
            op_next: 0,
            known: BTreeMap::new(),
            own: BTreeSet::new(),
            searches: BTreeSet::new(),
            rounds: BTreeSet::new(),
            proofs: BTreeSet::new(),
            search_wake: None,
            announce_wake: None,
            actions: VecDeque::new(),
            closing: false,
        }
    }

    /// Takes one event in. Infallible.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) {
        // What trackers answer may let a farewell out.
        let answers = matches!(
            event,
            Event::Datagram { .. }
                | Event::HttpReply { .. }
                | Event::HttpFailed { .. }
                | Event::Resolved { .. }
                | Event::Timer
        );
        if self.closing && !answers {
            return;
        }
        // A permission that has ended is gone before anything else is done with it.
        self.end_proofs(now);
        match event {
            Event::Want { job, file, xorbs } => self.want(now, job, file, xorbs),
            Event::Planned { job, xorbs } => self.planned(now, job, xorbs),
            Event::Progress { job, uploaded, downloaded, left } => {
                if let Some(job) = self.jobs.get(&job) {
                    let swarm = job.file;
                    self.tell_trackers(now, tracker::Event::Progress { swarm, uploaded, downloaded, left });
                }
            }
            Event::Starved { job } => self.starved(now, job),
            Event::Got { job } => {
                if let Some(swarm) = self.jobs.get(&job).map(|job| job.file) {
                    self.tell_trackers(now, tracker::Event::Completed { swarm });
                }
            }
            Event::Dropped { job } => self.dropped(now, job),
            Event::Seed { file } => self.seed(now, file),
            Event::Unseed { file } => self.unseed(now, InfoHash::of_file(&file)),
            Event::Withdraw { file } => self.withdraw(now, InfoHash::of_file(&file)),
            Event::Asked { file } => self.asked(now, InfoHash::of_file(&file)),
            Event::Named { addr } => self.passed_on(addr, Found::Named),
            Event::Exchanged { addr } => self.passed_on(addr, Found::Pex),
            Event::Own { addr } => {
                if self.own.len() < OWN_MAX {
                    self.own.insert(canonical(addr));
                }
            }
            Event::Dht { up } => self.dht(now, up),
            Event::DhtPeers { op, peers } => {
                if let Some(op) = self.ops.get(&op).copied() {
                    peers.iter().for_each(|addr| self.found(now, op.swarm, *addr, Found::Dht));
                }
            }
            Event::DhtVain { op } => self.dht_vain(op),
            Event::DhtReached => self.dht_reached(now),
            Event::DhtDone { op, packets } => {
                if let Some(done) = self.ops.remove(&op) {
                    self.bucket.correct(done.packets, packets);
                    self.op_ended(now, op, done.swarm);
                }
            }
            Event::HttpFrom { id, addr } => self.tell_trackers(now, tracker::Event::HttpFrom { id, addr }),
            Event::HttpReply { id, status, body } => {
                self.tell_trackers(now, tracker::Event::HttpReply { id, status, body });
            }
            Event::HttpFailed { id, why } => self.tell_trackers(now, tracker::Event::HttpFailed { id, why }),
            Event::Resolved { tracker, addrs } => {
                self.tell_trackers(now, tracker::Event::Resolved { tracker, addrs });
            }
            Event::Datagram { from, bytes } => {
                self.tell_trackers(now, tracker::Event::Datagram { from, bytes })
            }
            Event::LanGroup { group, up } => self.tell_lsd(now, lsd::Event::Group { group, up }),
            Event::LanDatagram { group, from, bytes } => {
                self.tell_lsd(now, lsd::Event::Datagram { group, from, bytes });
            }
            Event::Shutdown => return self.shutdown(now),
            Event::Timer if self.closing => self.tell_trackers(now, tracker::Event::Timer),
            Event::Timer => self.timer(now),
        }
        if !self.closing {
            self.pump_searches(now);
        }
    }

    /// The next thing to do, in order. Poll until `None` after every [`Discovery::handle`].
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call `handle(now, Event::Timer)`, and why. Ask again after every [`Discovery::handle`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let trackers = self.trackers.poll_timeout().map(|(at, why)| (at, Timer::Tracker(why)));
        if self.closing {
            return trackers;
        }
        let first = |set: &BTreeSet<(Instant, InfoHash)>| set.first().map(|(at, _)| *at);
        let ops = self.ops.values().map(|op| op.began + OP_MAX).min();
        let timers = [
            (self.search_wake, Timer::Search),
            (first(&self.rounds), Timer::RoundEnd),
            (self.announce_wake, Timer::Announce),
            (ops, Timer::Dht),
            (first(&self.proofs), Timer::Proof),
            (self.lsd.poll_timeout().map(|(at, _)| at), Timer::Lan),
        ];
        let timers = timers.into_iter().filter_map(|(at, why)| Some((at?, why)));
        timers.chain(trackers).min()
    }

    /// Farewells that trackers have not heard yet; see [`tracker::Trackers::farewells`].
    #[must_use]
    pub fn farewells(&self) -> usize {
        self.trackers.farewells()
    }

    /// Swarms that are spoken of.
    #[must_use]
    pub fn swarms(&self) -> usize {
        self.swarms.len()
    }

    /// Panics if a promise of the machine to itself is broken. For tests, simulation and fuzzing, after every event.
    pub fn check_invariants(&self) {
        self.trackers.check_invariants();
        self.lsd.check_invariants();
        assert!(self.swarms.len() <= SWARMS_MAX, "swarms stay within their limit");
        assert!(self.jobs.len() <= JOBS_MAX, "jobs stay within their limit");
        assert!(self.ops.len() <= OPS_MAX, "questions to the DHT stay within their limit");
        assert!(self.known.len() <= KNOWN_MAX, "remembered swarms stay within their limit");
        assert!(self.known.values().all(|k| k.peers.len() <= KNOWN_PEERS_MAX), "and so do their peers");
        assert_eq!(self.proofs.len(), self.swarms.len(), "every swarm has an end of its permission");
        assert!(self.trackers.len() <= self.swarms.len(), "trackers hear of our swarms only");
        let mut searches = 0;
        let mut rounds = 0;
        for (hash, swarm) in &self.swarms {
            assert!(swarm.is_wanted() || swarm.seeding.is_some(), "a swarm is wanted or seeded");
            assert!(self.proofs.contains(&(swarm.until, *hash)), "under the end of its permission");
            let Search { due, round, .. } = swarm.search;
            assert_eq!(due.is_some() || round.is_some(), swarm.is_wanted(), "who wants looks");
            assert!(due.is_none() || round.is_none(), "a round is due or under way");
            searches += due.map_or(0, |at| usize::from(self.searches.contains(&(at, *hash))));
            rounds += round.map_or(0, |round| usize::from(self.rounds.contains(&(round.ends, *hash))));
            let seeding = swarm.seeding.and_then(|seeding| seeding.op);
            for op in [round.and_then(|round| round.op), seeding].into_iter().flatten() {
                assert_eq!(self.ops.get(&op).map(|op| op.swarm), Some(*hash), "a question has its swarm");
            }
            if let Kind::File { bytes, group } = swarm.kind {
                let group = &self.groups[&group];
                let entry = (Reverse(bytes), *hash);
                assert_eq!(
                    group.wanted.contains(&entry),
                    swarm.is_wanted(),
                    "wanted files are in their group"
                );
                assert_eq!(group.seeded.contains(&entry), swarm.seeding.is_some(), "and seeded ones");
                let lead = group.lead_seeded() == Some(*hash);
                assert!(swarm.seeding.is_none_or(|seeding| seeding.lead == lead), "the largest is the lead");
            }
        }
        assert_eq!((searches, rounds), (self.searches.len(), self.rounds.len()), "searches belong to swarms");
        assert!(self.groups.values().all(|group| !group.is_empty()), "no group is empty");
        for op in self.ops.values() {
            assert!(self.swarms.contains_key(&op.swarm), "no question is about a swarm that is gone");
            assert!(!self.is_near(op.swarm), "nor about one that only this network may hear of");
        }
        for job in self.jobs.values() {
            assert!(self.swarms.contains_key(&job.file), "a job's swarm is known");
        }
    }

    fn tell_trackers(&mut self, now: Instant, event: tracker::Event<'_>) {
        if let tracker::Event::Add { swarm, .. } = &event
            && self.is_near(*swarm)
        {
            return;
        }
        self.trackers.handle(now, event);
        while let Some(action) = self.trackers.poll_action() {
            match action {
                tracker::Action::Peers { swarm, peers, .. } => {
                    peers.into_iter().for_each(|addr| self.found(now, swarm, addr, Found::Tracker));
                }
                other @ (tracker::Action::HttpGet { .. }
                | tracker::Action::HttpCancel { .. }
                | tracker::Action::Resolve { .. }
                | tracker::Action::SendTo { .. }
                | tracker::Action::ExternalIp { .. }
                | tracker::Action::Scraped { .. }
                | tracker::Action::Status { .. }) => self.actions.push_back(Action::Tracker(other)),
            }
        }
    }

    fn tell_lsd(&mut self, now: Instant, event: lsd::Event<'_>) {
        self.lsd.handle(now, event);
        while let Some(action) = self.lsd.poll_action() {
            match action {
                lsd::Action::Send { group, bytes } => {
                    self.actions.push_back(Action::LanSend { group, bytes })
                }
                lsd::Action::Found { addr, swarms } => {
                    swarms.into_iter().for_each(|swarm| self.found(now, swarm, addr, Found::Lan));
                }
            }
        }
    }

    /// The swarm of a file that may be spoken of; `None` if there is no room for it, or its permission is over.
    fn file_swarm(&mut self, now: Instant, file: &SharedFile) -> Option<InfoHash> {
        let kind = Kind::File { bytes: file.bytes, group: file.group };
        let hash = InfoHash::of_file(&file.hash);
        self.swarm(now, hash, kind, file.proof).then_some(hash)
    }

    fn swarm(&mut self, now: Instant, hash: InfoHash, kind: Kind, proof: Shareable) -> bool {
        let Shareable { until, near } = proof;
        if until <= now {
            return false;
        }
        if let Some(swarm) = self.swarms.get_mut(&hash) {
            // The same file in two commits: the longer permission counts.
            self.proofs.remove(&(swarm.until, hash));
            swarm.until = swarm.until.max(until);
            self.proofs.insert((swarm.until, hash));
            if swarm.near && !near {
                swarm.near = false;
                let seeded = swarm.seeding.is_some();
                self.rank(now, hash, 0);
                if seeded && self.dht_up {
                    self.announce_wake = Some(self.announce_wake.map_or(now, |wake| wake.min(now)));
                }
            }
            return true;
        }
        if self.swarms.len() >= SWARMS_MAX {
            return false;
        }
        self.swarms.insert(hash, Swarm::new(kind, until, near));
        self.proofs.insert((until, hash));
        true
    }

    fn dropped(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.remove(&id) else { return };
        for hash in job.xorbs.into_iter().chain([job.file]) {
            let Some(swarm) = self.swarms.get_mut(&hash) else { continue };
            if swarm.jobs.remove(&id) && swarm.jobs.is_empty() {
                self.stop_search(hash);
                self.leave_group(now, hash, true);
                self.release(now, hash);
            }
        }
    }

    fn dht(&mut self, now: Instant, up: bool) {
        self.dht_up = up;
        if up {
            self.announce_wake = Some(now).filter(|_| self.seeds_something());
            return;
        }
        self.announce_wake = None;
        let ops: Vec<(OpId, InfoHash)> = self.ops.iter().map(|(id, op)| (*id, op.swarm)).collect();
        self.ops.clear();
        for (op, swarm) in ops {
            self.op_ended(now, op, swarm);
        }
    }

    fn dht_vain(&mut self, op: OpId) {
        let Some(swarm) = self.ops.get(&op).and_then(|op| self.swarms.get_mut(&op.swarm)) else { return };
        swarm.search.vain |= swarm.search.round.is_some_and(|round| round.op == Some(op));
        if let Some(seeding) = swarm.seeding.as_mut().filter(|seeding| seeding.op == Some(op)) {
            seeding.vain = true;
        }
    }

    /// What was asked and announced in vain is asked and announced again.
    fn dht_reached(&mut self, now: Instant) {
        let vain: Vec<InfoHash> =
            self.swarms.iter().filter(|(_, swarm)| swarm.search.vain).map(|(hash, _)| *hash).collect();
        vain.into_iter().for_each(|hash| self.look_again(now, hash));
        for seeding in self.swarms.values_mut().filter_map(|swarm| swarm.seeding.as_mut()) {
            if core::mem::take(&mut seeding.vain) {
                seeding.next = now;
                self.announce_wake = Some(now).filter(|_| self.dht_up);
            }
        }
    }

    /// A question to the DHT is over, whatever came of it.
    fn op_ended(&mut self, now: Instant, op: OpId, hash: InfoHash) {
        self.round_answered(now, op, hash);
        if let Some(seeding) = self.swarms.get_mut(&hash).and_then(|swarm| swarm.seeding.as_mut())
            && seeding.op == Some(op)
        {
            seeding.op = None;
        }
        if self.dht_up && self.seeds_something() {
            self.announce_wake = Some(self.announce_wake.map_or(now, |wake| wake.min(now)));
        }
    }

    fn stop_op(&mut self, op: OpId) {
        if self.ops.remove(&op).is_some() {
            self.actions.push_back(Action::DhtStop { op });
        }
    }

    fn new_op(&mut self, now: Instant, swarm: InfoHash, packets: u32) -> OpId {
        let op = OpId(self.op_next);
        self.op_next += 1;
        self.ops.insert(op, Op { swarm, began: now, packets });
        op
    }

    /// Whether a swarm is nothing that trackers and the DHT may hear of.
    pub(super) fn is_near(&self, hash: InfoHash) -> bool {
        self.swarms.get(&hash).is_some_and(|swarm| swarm.near)
    }

    /// A peer of a swarm, new or not.
    fn found(&mut self, now: Instant, hash: InfoHash, addr: SocketAddr, how: Found) {
        let addr = canonical(addr);
        let Some(swarm) = self.swarms.get(&hash) else { return };
        // Who seeds is found by others; only a neighbour is worth a dial of ours.
        let sought = swarm.is_wanted() || how == Found::Lan;
        if !sought || !is_dialable(addr) || is_service_port(addr.port()) || self.own.contains(&addr) {
            return;
        }
        let known = self.known(now, hash);
        let fresh = known.peers.get(&addr).is_some_and(|(_, at)| now.since(*at) < CACHE);
        if !fresh {
            known.peers.retain(|_, (_, at)| now.since(*at) < CACHE);
            if known.peers.len() >= KNOWN_PEERS_MAX {
                return;
            }
        }
        // A neighbour speaks for itself, so it is there now, perhaps as another process than the one we knew.
        if !fresh || how == Found::Lan {
            self.actions.push_back(Action::Found { addr, how, swarm: Some(hash) });
        }
        let known = self.known(now, hash);
        let best = known.peers.get(&addr).map_or(how, |(was, _)| how.min(*was));
        known.peers.insert(addr, (best, now));
    }

    fn known(&mut self, now: Instant, hash: InfoHash) -> &mut Known {
        if self.known.len() >= KNOWN_MAX && !self.known.contains_key(&hash) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.touched).map(|(hash, _)| *hash);
            oldest.and_then(|oldest| self.known.remove(&oldest));
        }
        let known = self.known.entry(hash).or_default();
        known.touched = now;
        known
    }

    fn passed_on(&mut self, addr: SocketAddr, how: Found) {
        let addr = canonical(addr);
        let told = how != Found::Named;
        if is_dialable(addr) && !(told && is_service_port(addr.port())) && !self.own.contains(&addr) {
            self.actions.push_back(Action::Found { addr, how, swarm: None });
        }
    }

    fn shutdown(&mut self, now: Instant) {
        let ops: Vec<OpId> = self.ops.keys().copied().collect();
        ops.into_iter().for_each(|op| self.stop_op(op));
        self.tell_trackers(now, tracker::Event::Shutdown);
        self.closing = true;
    }

    fn timer(&mut self, now: Instant) {
        self.end_rounds(now);
        while let Some((id, swarm)) =
            self.ops.iter().find(|(_, op)| op.began + OP_MAX <= now).map(|(id, op)| (*id, op.swarm))
        {
            self.stop_op(id);
            self.op_ended(now, id, swarm);
        }
        if self.announce_wake.is_some_and(|at| at <= now) {
            self.pump_announces(now);
        }
        self.tell_trackers(now, tracker::Event::Timer);
        self.tell_lsd(now, lsd::Event::Timer);
    }

    /// A pause that nobody else draws.
    fn pause(&mut self, span: Duration) -> Duration {
        jitter(&mut self.rng, span)
    }
}
