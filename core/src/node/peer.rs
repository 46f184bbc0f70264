//! Peers: who is linked, what each has, how fast it answers, and how it is let go.

use super::event::Direction;
use super::job::ManifestAsk;
use super::timers::Timer;
use super::{Action, BitSet, CANDIDATES_MAX, Event, Node, PEERS_MAX};
use crate::link::{ExtHandshake, Outgoing, PayloadKind, PeerFault, Severity};
use crate::wire::xet::Dialect;
use crate::{BufId, Duration, InfoHash, Instant, JobId, LinkId, PeerId, ReqId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;
use zest_xet::Hash;

/// Mean length of a chunk (target of the chunker), for turning rates into pipelines.
pub(crate) const CHUNK_BYTES_MEAN: u64 = zest_xet::CHUNK_BYTES_TARGET as u64;
/// Chunks asked of a peer at once before its rate is known: 4 MiB, the bandwidth × delay of 1 Gbit/s at 32 ms.
const WINDOW_START: u32 = 64;
/// Fewest chunks in a pipeline: 1 MiB.
const WINDOW_MIN: u32 = 16;
/// Most chunks in a pipeline: 16 MiB, below the link's own limit of outstanding requests.
const WINDOW_MAX: u32 = 256;
/// A pipeline holds this much of the peer's rate.
const WINDOW_TIME: Duration = Duration::from_millis(300);
/// No answer for this long: what the peer was asked for is asked elsewhere.
const STALL: Duration = Duration::from_secs(2);
/// The same for a peer on probation, which holds up a single chunk only.
const STALL_PROBATION: Duration = Duration::from_secs(8);
/// NOT_FOUND answers in a row after which a peer that keeps no availability is no longer asked for a file.
const NOT_FOUND_ROW_MAX: u32 = 16;
/// Records asked for in one manifest request: the most that one part carries.
const MANIFEST_PART_RECORDS: u32 = crate::wire::zest::MANIFEST_PART_RECORDS_MAX;
/// Dials of one address before it is given up.
const DIALS_MAX: u32 = 5;
/// Pause before the second dial of an address; doubles.
const REDIAL: Duration = Duration::from_secs(1);

/// What a peer has of a job's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Has {
    /// Nothing, as far as it told or showed.
    None,
    /// It keeps no availability: ask and see.
    Maybe,
    /// Everything.
    All,
    /// These.
    Some(BitSet),
}

/// An answer we wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pending {
    Chunk { job: JobId, index: u32 },
    Manifest { job: JobId },
    Block { job: JobId, block: u32 },
}

impl Pending {
    fn job(self) -> JobId {
        match self {
            Pending::Chunk { job, .. } | Pending::Manifest { job } | Pending::Block { job, .. } => job,
        }
    }
}

/// An address we may dial.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    dials: u32,
    busy: bool,
}

#[derive(Debug)]
pub(crate) struct Peer {
    addr: SocketAddr,
    id: PeerId,
    direction: Direction,
    introduced: bool,
    chunks: bool,
    zest: bool,
    pub(crate) xorb_ranges_only: bool,
    pub(crate) requests: BTreeMap<ReqId, Pending>,
    /// Chunks promised by the one block request of a peer that knows only xorb ranges.
    pub(crate) block_chunks: Vec<u32>,
    pub(crate) blocks_refused: BTreeSet<(JobId, u32)>,
    pub(crate) has: BTreeMap<JobId, Has>,
    pub(crate) cursor: u32,
    pub(crate) window: u32,
    pub(crate) bytes_asked: u64,
    pub(crate) progress_at: Instant,
    pub(crate) rate_bytes_s: u64,
    bytes_since: u64,
    measured_at: Instant,
    periods: u32,
    stalls: u32,
    not_found_row: u32,
}

impl Peer {
    pub(crate) fn in_flight(&self) -> u32 {
        self.requests.len() as u32
    }

    /// Whether it may be asked for chunks at all.
    pub(crate) fn ready(&self) -> bool {
        self.introduced && self.chunks
    }

    pub(crate) fn probation(&self) -> bool {
        self.stalls > 0
    }

    pub(crate) fn stall_after(&self) -> Duration {
        if self.probation() { STALL_PROBATION } else { STALL }
    }

    pub(crate) fn measured_under_load(&self) -> bool {
        self.periods >= 2
    }

    pub(crate) fn chunks_pending(&self) -> impl Iterator<Item = (JobId, u32)> + '_ {
        self.requests.values().filter_map(|p| match p {
            Pending::Chunk { job, index } => Some((*job, *index)),
            _ => None,
        })
    }

    /// Takes the period that ends now into the rate, and sizes the pipeline by it.
    pub(crate) fn measure(&mut self, now: Instant) {
        let period = now.since(self.measured_at);
        if period.is_zero() {
            return;
        }
        let rate = (u128::from(self.bytes_since) * 1_000_000 / period.as_micros().max(1)) as u64;
        self.measured_at = now;
        self.bytes_since = 0;
        if self.requests.is_empty() && rate == 0 {
            self.periods = 0;
            return;
        }
        self.periods += 1;
        self.rate_bytes_s = if self.periods == 1 { rate } else { (self.rate_bytes_s + rate) / 2 };
        if !self.probation() {
            let want = u128::from(self.rate_bytes_s) * WINDOW_TIME.as_micros() / 1_000_000;
            self.window = ((want / u128::from(CHUNK_BYTES_MEAN)) as u32).clamp(WINDOW_MIN, WINDOW_MAX);
        }
    }

    fn progressed(&mut self, now: Instant, bytes: u32) {
        self.bytes_since += u64::from(bytes);
        self.progress_at = now;
        self.not_found_row = 0;
        if self.stalls > 0 {
            self.stalls = 0;
            self.window = WINDOW_MIN;
        }
    }

    pub(crate) fn check_invariants(&self) {
        assert!(
            self.requests.len() <= WINDOW_MAX as usize + 1,
            "requests of a peer stay within its pipeline"
        );
        assert!(self.window <= WINDOW_MAX && self.window >= 1);
    }
}

impl Node {
    pub(super) fn peer_found(&mut self, now: Instant, addr: SocketAddr) {
        if self.candidates.contains_key(&addr) || self.candidates.len() >= CANDIDATES_MAX {
            return;
        }
        self.candidates.insert(addr, Candidate { dials: 0, busy: false });
        self.redial(now, addr);
    }

    pub(super) fn redial(&mut self, now: Instant, addr: SocketAddr) {
        let banned = self.banned(now, addr, None);
        let full = self.peers.len() >= PEERS_MAX;
        let linked = self.peers.values().any(|p| p.addr == addr);
        let swarm = self.jobs.values().find(|j| j.spec.peers).map(|j| j.spec.file);
        let Some(candidate) = self.candidates.get_mut(&addr) else { return };
        if banned || full || linked || candidate.busy {
            return;
        }
        candidate.busy = true;
        candidate.dials += 1;
        let info_hash = InfoHash::of_file(&swarm.unwrap_or(Hash::ZERO));
        self.actions.push_back(Action::Dial { addr, info_hash });
    }

    pub(super) fn dial_failed(&mut self, now: Instant, addr: SocketAddr) {
        self.dial_later(now, addr);
        // Perhaps it was the last hope of a head start.
        self.end_grace_if_alone(now);
    }

    fn dial_later(&mut self, now: Instant, addr: SocketAddr) {
        let Some(candidate) = self.candidates.get_mut(&addr) else { return };
        candidate.busy = false;
        if candidate.dials >= DIALS_MAX {
            self.candidates.remove(&addr);
        } else {
            let pause = REDIAL * (1 << (candidate.dials.max(1) - 1));
            self.timers.set(Timer::Redial(addr), now + pause);
        }
    }

    fn end_grace_if_alone(&mut self, now: Instant) {
        if self.peers.is_empty() && self.candidates.values().all(|c| !c.busy) {
            let waiting: Vec<JobId> =
                self.jobs.keys().copied().filter(|j| self.timers.is_set(Timer::OriginGrace(*j))).collect();
            for job in waiting {
                self.timers.cancel(Timer::OriginGrace(job));
                self.grace_over(now, job);
            }
        }
    }

    pub(super) fn link_up(
        &mut self,
        now: Instant,
        link: LinkId,
        addr: SocketAddr,
        direction: Direction,
        id: PeerId,
    ) {
        let why = if self.banned(now, addr, Some(id)) {
            Some("it is banned")
        } else if self.peers.len() >= PEERS_MAX {
            Some("enough peers are linked")
        } else if self.peers.values().any(|p| p.id == id && p.direction == direction) {
            Some("this peer is linked already")
        } else {
            None
        };
        if let Some(why) = why {
            if direction == Direction::Outbound {
                self.candidates.remove(&addr);
            }
            self.actions.push_back(Action::Close { link, why });
            self.end_grace_if_alone(now);
            return;
        }
        let peer = Peer {
            addr,
            id,
            direction,
            introduced: false,
            chunks: false,
            zest: false,
            xorb_ranges_only: false,
            requests: BTreeMap::new(),
            block_chunks: Vec::new(),
            blocks_refused: BTreeSet::new(),
            has: BTreeMap::new(),
            cursor: 0,
            window: WINDOW_START,
            bytes_asked: 0,
            progress_at: now,
            rate_bytes_s: 0,
            bytes_since: 0,
            measured_at: now,
            periods: 0,
            stalls: 0,
            not_found_row: 0,
        };
        self.peers.insert(link, peer);
    }

    pub(super) fn link_down(&mut self, now: Instant, link: LinkId, fault: Option<PeerFault>) {
        if fault.is_some_and(|f| f.severity() == Severity::Fatal) {
            self.ban(now, link, "it broke the protocol");
        }
        let Some(mut peer) = self.peers.remove(&link) else { return };
        self.timers.cancel(Timer::Stall(link));
        self.give_back(&mut peer);
        if peer.direction == Direction::Outbound {
            if self.banned(now, peer.addr, Some(peer.id)) {
                self.candidates.remove(&peer.addr);
            } else {
                self.dial_later(now, peer.addr);
            }
        }
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for job in jobs {
            self.union_peers(job);
            if self.jobs.get(&job).and_then(|j| j.manifest_ask).is_some_and(|ask| ask.link == link) {
                self.next_manifest_ask(now, job);
            }
            self.watch_sources(now, job);
        }
        self.end_grace_if_alone(now);
        self.refill(now);
    }

    /// What the peer was asked for is up for grabs again.
    fn give_back(&mut self, peer: &mut Peer) {
        let block_chunks = core::mem::take(&mut peer.block_chunks);
        for (_, pending) in core::mem::take(&mut peer.requests) {
            let Some(job) = self.jobs.get_mut(&pending.job()) else { continue };
            match pending {
                Pending::Chunk { index, .. } => {
                    if !job.held.contains(index) {
                        job.missing.insert(index);
                    }
                }
                Pending::Block { .. } => {
                    for &index in &block_chunks {
                        if !job.held.contains(index) {
                            job.missing.insert(index);
                        }
                    }
                }
                Pending::Manifest { .. } => {}
            }
        }
    }

    /// The extension handshake: now it is known what the peer understands.
    pub(super) fn introduced(&mut self, now: Instant, link: LinkId, remote: &ExtHandshake) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.introduced = true;
        peer.chunks = remote.ut_xet.is_some() || remote.xet.is_some();
        peer.zest = remote.zest.is_some();
        peer.xorb_ranges_only = remote.dialect_guess == Dialect::Range;
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for job in jobs {
            self.introduce(now, link, job);
        }
        self.refill(now);
    }

    /// Brings one peer and one job together: asks for the manifest, or for what the peer has.
    pub(super) fn introduce(&mut self, now: Instant, link: LinkId, id: JobId) {
        let (Some(peer), Some(job)) = (self.peers.get_mut(&link), self.jobs.get_mut(&id)) else { return };
        if !peer.ready() || !job.spec.peers || job.completed {
            return;
        }
        if !peer.zest {
            peer.has.entry(id).or_insert(Has::Maybe);
            return;
        }
        if !peer.has.contains_key(&id) {
            peer.has.insert(id, Has::None);
            let file = job.spec.file;
            self.send(link, Outgoing::Interest { file });
        }
        let job = &self.jobs[&id];
        if job.manifest.is_none() && job.manifest_ask.is_none() {
            self.ask_manifest(now, link, id, 0);
        }
    }

    fn ask_manifest(&mut self, now: Instant, link: LinkId, id: JobId, first: u32) {
        let (Some(peer), Some(job)) = (self.peers.get_mut(&link), self.jobs.get_mut(&id)) else { return };
        let req = Node::fresh_req(&mut self.rng, peer);
        peer.requests.insert(req, Pending::Manifest { job: id });
        peer.progress_at = now;
        let stall = now + peer.stall_after();
        job.manifest_ask = Some(ManifestAsk { link, next: first });
        let file = job.spec.file;
        self.timers.set_once(Timer::Stall(link), stall);
        self.send(link, Outgoing::ManifestRequest { req, file, first, count: MANIFEST_PART_RECORDS });
    }

    /// The peer asked last had no (good) manifest: ask the next one that says it has the file.
    fn next_manifest_ask(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let tried = job.manifest_ask.take().map(|ask| ask.link);
        if job.manifest.is_some() {
            return;
        }
        let able = |p: &Peer| p.zest && !p.probation() && !matches!(p.has.get(&id), None | Some(Has::None));
        let next =
            self.peers.iter().find(|(link, peer)| Some(**link) > tried && able(peer)).map(|(link, _)| *link);
        match next {
            Some(link) => self.ask_manifest(now, link, id, 0),
            None if self.timers.is_set(Timer::OriginGrace(id)) => {
                // Nobody here has it: no reason to keep the origin waiting.
                self.timers.cancel(Timer::OriginGrace(id));
                self.grace_over(now, id);
            }
            None => {}
        }
    }

    pub(super) fn manifest_none(&mut self, now: Instant, link: LinkId, req: ReqId) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        if let Some(Pending::Manifest { job }) = peer.requests.remove(&req) {
            self.next_manifest_ask(now, job);
            self.refill(now);
        }
    }

    pub(super) fn manifest_bad(&mut self, now: Instant, id: JobId, link: LinkId) {
        self.ban(now, link, "its manifest did not prove");
        self.next_manifest_ask(now, id);
        self.refill(now);
    }

    pub(super) fn have(
        &mut self,
        now: Instant,
        link: LinkId,
        file: &Hash,
        total: Option<u32>,
        runs: &[(u32, u32)],
    ) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let Some((&id, job)) = self.jobs.iter().find(|(_, j)| j.spec.file == *file && j.spec.peers) else {
            return;
        };
        // Without the manifest the count is only the peer's word: keep it, it is checked against the manifest when used.
        let known = job.manifest.as_ref().map(|m| m.len());
        let bound = u32::try_from(job.spec.size).unwrap_or(u32::MAX);
        let had = peer.has.get(&id).cloned().unwrap_or(Has::None);
        let new = match (total, had) {
            (Some(0), _) => Has::None,
            (Some(total), _) if known.is_some_and(|k| k != total) || total > bound => Has::None,
            (Some(total), _) if runs.first() == Some(&(0, total)) => Has::All,
            (Some(total), _) => {
                let mut set = BitSet::empty(total);
                runs.iter().for_each(|&(first, count)| set.insert_run(first, count));
                Has::Some(set)
            }
            (None, Has::Some(mut set)) => {
                runs.iter().for_each(|&(first, count)| set.insert_run(first, count));
                Has::Some(set)
            }
            (None, had) => had,
        };
        peer.has.insert(id, new);
        let asks = job.manifest.is_none() && job.manifest_ask.is_none();
        if asks && peer.has[&id] != Has::None {
            self.ask_manifest(now, link, id, 0);
        }
        self.union_peers(id);
        self.watch_sources(now, id);
        self.refill(now);
    }

    pub(super) fn not_found(&mut self, now: Instant, link: LinkId, req: ReqId) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let Some(pending) = peer.requests.remove(&req) else { return };
        let Some(job) = self.jobs.get_mut(&pending.job()) else { return };
        match pending {
            Pending::Chunk { job: id, index } => {
                if !job.held.contains(index) {
                    job.missing.insert(index);
                }
                peer.not_found_row += 1;
                if let Some(Has::All) = peer.has.get(&id) {
                    // It said it has everything. Believe the answer, chunk by chunk.
                    peer.has.insert(id, Has::Some(BitSet::full(job.held.len())));
                }
                if let Some(Has::Some(set)) = peer.has.get_mut(&id) {
                    set.remove(index);
                }
                if peer.not_found_row >= NOT_FOUND_ROW_MAX {
                    peer.has.insert(id, Has::None);
                }
                self.union_peers(id);
            }
            Pending::Block { job: id, block } => {
                peer.blocks_refused.insert((id, block));
                for index in core::mem::take(&mut peer.block_chunks) {
                    if !job.held.contains(index) {
                        job.missing.insert(index);
                    }
                }
            }
            Pending::Manifest { job } => self.next_manifest_ask(now, job),
        }
        self.watch_sources(now, pending.job());
        self.refill(now);
    }

    pub(super) fn payload(
        &mut self,
        now: Instant,
        link: LinkId,
        req: ReqId,
        kind: PayloadKind,
        buf: BufId,
        len: u32,
    ) {
        let pending = self.peers.get_mut(&link).and_then(|p| p.requests.remove(&req));
        let (Some(pending), Some(peer)) = (pending, self.peers.get_mut(&link)) else {
            self.actions.push_back(Action::Free { buf });
            return;
        };
        peer.progressed(now, len);
        let Some(job) = self.jobs.get_mut(&pending.job()) else {
            self.actions.push_back(Action::Free { buf });
            return;
        };
        match (pending, kind) {
            (Pending::Chunk { job: id, index }, PayloadKind::Chunk) => match &job.manifest {
                Some(manifest) if !job.held.contains(index) => {
                    let (chunk, offset) = (manifest.chunk(index), manifest.offset(index));
                    self.actions.push_back(Action::Prove { job: id, index, chunk, offset, buf, link });
                }
                _ => {
                    self.stats.chunks_duplicate += 1;
                    self.actions.push_back(Action::Free { buf });
                }
            },
            (Pending::Manifest { job: id }, PayloadKind::ManifestPart { file_size, total, first, count }) => {
                let ask = job.manifest_ask;
                let fits = ask.is_some_and(|ask| ask.link == link && ask.next == first)
                    && file_size == job.spec.size
                    && u64::from(total) <= job.spec.size
                    && first.checked_add(count).is_some_and(|end| end <= total);
                if !fits {
                    self.actions.push_back(Action::Free { buf });
                    self.manifest_bad(now, id, link);
                    return;
                }
                let last = first + count == total;
                self.actions.push_back(Action::KeepManifestPart { job: id, link, buf, first, last });
                if !last {
                    self.ask_manifest(now, link, id, first + count);
                } else if let Some(ask) = &mut job.manifest_ask {
                    ask.next = total;
                }
            }
            // The link matches payloads to requests; a mismatch here is a peer that answers another question.
            (pending, _) => {
                if let Pending::Chunk { index, .. } = pending
                    && !job.held.contains(index)
                {
                    job.missing.insert(index);
                }
                self.actions.push_back(Action::Free { buf });
                self.ban(now, link, "it answered another question than was asked");
            }
        }
        self.fill_peer(now, link);
        self.rearm_stall(now, link);
    }

    /// The end of a xorb range that was decoded while it arrived.
    pub(super) fn block_from_peer(&mut self, now: Instant, link: LinkId, req: ReqId, good: bool) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let Some(Pending::Block { job: id, block }) = peer.requests.remove(&req) else { return };
        peer.progressed(now, 0);
        peer.blocks_refused.insert((id, block));
        let chunks = core::mem::take(&mut peer.block_chunks);
        if let Some(job) = self.jobs.get_mut(&id) {
            for index in chunks {
                if !job.held.contains(index) {
                    job.missing.insert(index);
                }
            }
        }
        if !good {
            self.ban(now, link, "it sent a xorb range that failed its proof");
        }
        self.check_complete(id);
        self.refill(now);
    }

    fn rearm_stall(&mut self, now: Instant, link: LinkId) {
        let Some(peer) = self.peers.get(&link) else { return };
        if peer.requests.is_empty() {
            self.timers.cancel(Timer::Stall(link));
        } else {
            // Moved lazily: an early timer looks at `progress_at` and sets itself anew.
            self.timers.set_once(Timer::Stall(link), now + peer.stall_after());
        }
    }

    pub(super) fn stalled(&mut self, now: Instant, link: LinkId) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        if peer.requests.is_empty() {
            return;
        }
        let wait = if peer.block_chunks.is_empty() { peer.stall_after() } else { peer.stall_after() * 4 };
        let due = peer.progress_at + wait;
        if due > now {
            self.timers.set(Timer::Stall(link), due);
            return;
        }
        peer.stalls += 1;
        peer.rate_bytes_s = 0;
        if peer.stalls > 1 {
            self.actions.push_back(Action::Close { link, why: "it answered nothing for too long" });
            return;
        }
        // Ask others for everything it was asked for; one chunk shows later whether it lives.
        peer.window = 1;
        let reqs: Vec<ReqId> = peer.requests.keys().copied().collect();
        let manifests: Vec<JobId> = peer
            .requests
            .values()
            .filter_map(|p| if let Pending::Manifest { job } = p { Some(*job) } else { None })
            .collect();
        let Some(mut peer) = self.peers.remove(&link) else { return };
        self.give_back(&mut peer);
        self.peers.insert(link, peer);
        for req in reqs {
            self.send(link, Outgoing::Cancel { req });
        }
        for job in manifests {
            self.next_manifest_ask(now, job);
        }
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for job in jobs {
            self.union_peers(job);
        }
        self.refill(now);
    }

    pub(super) fn ban(&mut self, now: Instant, link: LinkId, why: &'static str) {
        let Some(peer) = self.peers.get(&link) else { return };
        let (addr, peer_id) = (peer.addr, peer.id);
        if self.bans.is_banned(now, addr, Some(peer_id)) {
            return;
        }
        let until = self.bans.ban(now, addr, Some(peer_id));
        self.stats.banned += 1;
        self.actions.push_back(Action::Banned { addr, peer_id, until });
        self.actions.push_back(Action::Close { link, why });
        // Nothing more is asked of it, and what it was asked for goes elsewhere at once.
        if let Some(mut peer) = self.peers.remove(&link) {
            self.give_back(&mut peer);
            peer.chunks = false;
            peer.has.clear();
            self.peers.insert(link, peer);
        }
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for job in jobs {
            self.union_peers(job);
        }
    }

    pub(super) fn forget_job(&mut self, now: Instant, link: LinkId, id: JobId) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.has.remove(&id);
        peer.blocks_refused.retain(|(job, _)| *job != id);
        let reqs: Vec<ReqId> = peer.requests.iter().filter(|(_, p)| p.job() == id).map(|(r, _)| *r).collect();
        for req in reqs {
            if let Some(Pending::Block { .. }) = peer.requests.remove(&req) {
                peer.block_chunks.clear();
            }
            self.actions.push_back(Action::Send { link, message: Outgoing::Cancel { req } });
        }
        self.rearm_stall(now, link);
    }
}

/// Kept small: the runtime passes events by value.
const _: () = assert!(core::mem::size_of::<Event>() <= 160);
