//! One file being fetched: who has been asked for which chunk, what is held, and when the job is over.

use super::event::{Block, JobFailure, OriginFault, Source};
use super::manifest::ManifestAsk;
use super::origin::BlockState;
use super::peer::Has;
use super::timers::Timer;
use super::{Action, BitSet, Node};
use crate::link::Outgoing;
use crate::{Instant, JobId, LinkId, Location, ReqId};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use zest_xet::{Hash, Manifest};

/// What is known of a file when its job begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// The file hash (`xetHash`), from the Hub.
    pub file: Hash,
    /// Bytes, from the Hub.
    pub size: u64,
    /// Whether peers may be asked for it (only what an anonymous request could read).
    pub peers: bool,
    /// Whether the origin may be asked for it.
    pub origin: bool,
}

/// What the origin can do for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OriginState {
    /// Its layout has not come yet.
    Waiting,
    /// It gives blocks.
    Ready,
    /// It cannot give this file.
    Gone(OriginFault),
}

/// A job. Each chunk is in exactly one of `held`, `missing`, `asked`, `proving` and `copying`, so none can be lost;
/// [`Job::check_invariants`] proves it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) spec: JobSpec,
    pub(crate) manifest: Option<Arc<Manifest>>,
    pub(crate) ask: Option<ManifestAsk>,
    /// Whether the number of chunks is known; until then the sets have length 0.
    pub(crate) sized: bool,
    /// In the partial file.
    pub(crate) held: BitSet,
    /// Nobody's yet. Blocks under way are in `covered` besides: others may overtake them.
    pub(crate) missing: BitSet,
    /// Asked of a peer: the one request that counts. Older requests that were given up may still be answered.
    pub(crate) asked: BTreeMap<u32, (LinkId, ReqId)>,
    /// A peer's answer is being proven.
    pub(crate) proving: BitSet,
    /// On this machine: a copy is under way, or waits in `local`.
    pub(crate) copying: BitSet,
    /// In a block that the origin or a zest 0.4 peer is at.
    pub(crate) covered: BitSet,
    /// What the linked peers say they have, together.
    pub(crate) peers_have: BitSet,
    /// Chunks that were taken from a slow peer and asked for again: once is enough.
    pub(crate) twice: BTreeSet<u32>,
    pub(crate) local: VecDeque<(u32, Location)>,
    /// Copies whose outcome has not come yet.
    pub(crate) copies: BTreeSet<u32>,
    pub(crate) blocks: Vec<BlockState>,
    pub(crate) origin: OriginState,
    /// Peers alone are too slow: the origin gives whatever is missing, not only what no peer has.
    pub(crate) joined: bool,
    /// Measurements in a row that found chunks waiting behind full pipelines.
    pub(crate) waiting: u32,
    /// When something useful last happened.
    pub(crate) progress_at: Instant,
    /// The origin's head start for peers ends here at the latest.
    pub(crate) grace_end: Instant,
    /// Complete or failed: nothing more is asked for.
    pub(crate) ended: bool,
}

impl Job {
    fn new(now: Instant, spec: JobSpec) -> Job {
        let origin = match spec.origin {
            true => OriginState::Waiting,
            false => OriginState::Gone(permanent("the origin is not used")),
        };
        Job {
            spec,
            manifest: None,
            ask: None,
            sized: false,
            held: BitSet::empty(0),
            missing: BitSet::empty(0),
            asked: BTreeMap::new(),
            proving: BitSet::empty(0),
            copying: BitSet::empty(0),
            covered: BitSet::empty(0),
            peers_have: BitSet::empty(0),
            twice: BTreeSet::new(),
            local: VecDeque::new(),
            copies: BTreeSet::new(),
            blocks: Vec::new(),
            origin,
            joined: false,
            waiting: 0,
            progress_at: now,
            grace_end: now,
            ended: false,
        }
    }

    fn set_len(&mut self, chunks: u32) {
        self.sized = true;
        self.held = BitSet::empty(chunks);
        self.missing = BitSet::full(chunks);
        self.proving = BitSet::empty(chunks);
        self.copying = BitSet::empty(chunks);
        self.covered = BitSet::empty(chunks);
        self.peers_have = BitSet::empty(chunks);
    }

    /// Chunks of the file; 0 until that is known.
    pub(crate) fn len(&self) -> u32 {
        self.held.len()
    }

    /// Notes that a chunk is in the partial file, whoever was at it. Gives the request that nobody waits for any more.
    pub(crate) fn hold(&mut self, index: u32) -> Option<(LinkId, ReqId)> {
        self.missing.remove(index);
        self.proving.remove(index);
        self.copying.remove(index);
        self.twice.remove(&index);
        self.held.insert(index);
        self.asked.remove(&index)
    }

    /// Sets chunks aside that lie elsewhere on this machine: neither peers nor the origin are asked for them.
    fn set_aside(&mut self, local: Vec<(u32, Location)>) {
        for (index, from) in local {
            if self.missing.remove(index) {
                self.copying.insert(index);
                self.local.push_back((index, from));
            }
        }
    }

    pub(crate) fn blocks_active(&self) -> u32 {
        self.blocks.iter().filter(|b| b.active).count() as u32
    }

    pub(crate) fn check_invariants(&self) {
        let sets = [&self.held, &self.missing, &self.proving, &self.copying];
        for (at, set) in sets.iter().enumerate() {
            assert_eq!(set.len(), self.len(), "the sets of one job have one length");
            assert!(
                sets[at + 1..].iter().all(|other| set.is_disjoint(other)),
                "a chunk is in one place only"
            );
            assert!(self.asked.keys().all(|i| !set.contains(*i)), "a chunk asked for is nowhere else");
        }
        let placed = sets.iter().map(|s| s.count()).sum::<u32>() + self.asked.len() as u32;
        assert_eq!(placed, self.len(), "no chunk is lost");
        assert!(
            self.manifest.is_some() || self.asked.is_empty(),
            "chunks are asked for by a proven list only"
        );
        let waits = |i: u32| self.copies.contains(&i) || self.local.iter().any(|(local, _)| *local == i);
        if self.copying.count() <= 64 {
            assert!(self.copying.iter().all(waits), "a chunk set aside is copied some time");
        }
        let mut covered = BitSet::empty(self.len());
        for state in self.blocks.iter().filter(|b| b.active || b.peer.is_some()) {
            state.block.runs.iter().for_each(|&(first, count)| covered.insert_run(first, count));
        }
        assert!(self.covered == covered, "covered is what blocks under way will give");
        assert!(
            !self.ended || (self.asked.is_empty() && self.blocks.iter().all(|b| !b.active || b.stopping)),
            "nothing is asked for a job that is over"
        );
    }
}

impl Node {
    pub(super) fn job_added(&mut self, now: Instant, id: JobId, spec: JobSpec) {
        let in_sight = spec.peers && !self.nobody_in_sight();
        let mut job = Job::new(now, spec);
        if in_sight {
            job.grace_end = now + super::origin::GRACE_MAX;
            self.timers.set(Timer::OriginGrace(id), now + self.config.origin_grace);
        }
        self.jobs.insert(id, job);
        self.introduce_all(now, id);
        self.watch_sources(now, id);
        self.timers.set_once(Timer::Measure, now + super::MEASURE);
    }

    pub(super) fn job_planned(
        &mut self,
        now: Instant,
        id: JobId,
        chunks: u32,
        blocks: Vec<Block>,
        held: &[u32],
        local: Vec<(u32, Location)>,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.origin != OriginState::Waiting {
            return;
        }
        job.progress_at = now;
        if job.sized && job.len() != chunks {
            let text = "the origin's layout has another number of chunks than the proven manifest";
            self.origin_gone(now, id, permanent(text));
            return;
        }
        if !job.sized {
            job.set_len(chunks);
        }
        job.blocks = blocks.into_iter().map(BlockState::new).collect();
        job.origin = OriginState::Ready;
        for &index in held.iter().filter(|index| **index < chunks) {
            self.hold(id, index);
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.set_aside(local);
        }
        self.union_peers(id);
        self.check_complete(id);
        self.refill(now);
    }

    pub(super) fn job_manifest(
        &mut self,
        now: Instant,
        id: JobId,
        manifest: Arc<Manifest>,
        held: &BitSet,
        local: Vec<(u32, Location)>,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        // A second proven list is the same list, and what it says of the partial file is older than what is known here.
        if job.manifest.is_some() {
            return;
        }
        job.progress_at = now;
        if job.sized && job.len() != manifest.len() {
            // The plan had another count; the manifest is proven. Begin again with its count, without the origin.
            let text = "the proven manifest has another number of chunks than the origin's layout";
            self.origin_distrusted(now, id, permanent(text));
            let Some(job) = self.jobs.get_mut(&id) else { return };
            self.copies_active -= job.copies.len() as u32;
            job.copies.clear();
            job.local.clear();
            job.set_len(manifest.len());
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if !job.sized {
            job.set_len(manifest.len());
        }
        for index in 0..manifest.len() {
            if held.contains(index) {
                job.hold(index);
            } else if job.held.remove(index) {
                job.missing.insert(index);
            }
        }
        job.set_aside(local);
        job.manifest = Some(manifest);
        self.drop_manifest_ask(id);
        self.prune_has(id);
        self.introduce_all(now, id);
        self.union_peers(id);
        self.check_complete(id);
        self.refill(now);
    }

    /// A chunk is in the partial file. A request for it that is still out does not count any more.
    fn hold(&mut self, id: JobId, index: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if let Some((link, req)) = job.hold(index) {
            self.disown(link, req);
        }
    }

    pub(super) fn chunk_done(&mut self, now: Instant, id: JobId, index: u32, source: Source) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if source == Source::Disk && job.copies.remove(&index) {
            self.copies_active -= 1;
        }
        // A report from before the number of chunks changed, or of a layout that is not trusted any more.
        let stray = source == Source::Origin && !job.covered.contains(index);
        if index < job.len() && !job.held.contains(index) && !stray {
            job.progress_at = now;
            self.hold(id, index);
            self.block_advanced(id, index, source);
            self.check_complete(id);
        }
        if source == Source::Disk {
            self.fill_disk();
        }
    }

    pub(super) fn chunk_bad(&mut self, now: Instant, id: JobId, index: u32, source: Source) {
        self.stats.chunks_bad += 1;
        if let Some(job) = self.jobs.get_mut(&id) {
            let back = match source {
                Source::Disk => {
                    self.copies_active -= u32::from(job.copies.remove(&index));
                    job.copying.remove(index)
                }
                Source::Peer(_) => job.proving.remove(index),
                // What the origin streams stays up for grabs all the time.
                Source::Origin => false,
            };
            if back {
                job.missing.insert(index);
            }
        }
        if let Source::Peer(link) = source {
            self.ban(now, link, "it sent a chunk that failed its proof");
        }
        self.refill(now);
    }

    pub(super) fn job_reopened(&mut self, now: Instant, id: JobId, missing: &[u32]) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.ended = false;
        job.joined = true;
        job.progress_at = now;
        for &index in missing {
            if job.held.remove(index) {
                job.missing.insert(index);
            }
        }
        self.introduce_all(now, id);
        self.union_peers(id);
        self.watch_sources(now, id);
        self.check_complete(id);
        self.refill(now);
    }

    pub(super) fn job_removed(&mut self, now: Instant, id: JobId) {
        self.end(id);
        let Some(job) = self.jobs.remove(&id) else { return };
        self.origin_active -= job.blocks_active();
        self.copies_active -= job.copies.len() as u32;
        for block in 0..job.blocks.len() {
            self.timers.cancel(Timer::BlockRetry(id, block as u32));
        }
        let file = job.spec.file;
        let shared = self.jobs.values().any(|j| j.spec.file == file && j.spec.peers);
        for (&link, peer) in &mut self.peers {
            if peer.jobs.remove(&id).is_some() && peer.zest && !peer.closing && !shared {
                self.actions.push_back(Action::Send { link, message: Outgoing::Uninterest { file } });
            }
        }
        self.refill(now);
    }

    /// Nothing more is asked for this job, and what is under way is called off.
    fn end(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.ended = true;
        job.ask = None;
        for (block, state) in job.blocks.iter_mut().enumerate() {
            if state.active && !state.stopping {
                state.stopping = true;
                self.actions.push_back(Action::OriginStop { job: id, block: block as u32 });
            }
        }
        self.timers.cancel(Timer::OriginGrace(id));
        self.timers.cancel(Timer::Patience(id));
        let links: Vec<LinkId> = self.peers.keys().copied().collect();
        for link in links {
            self.call_off(link, |what| what.job() == id);
        }
    }

    fn check_complete(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if job.sized && !job.ended && job.held.count() == job.len() {
            self.end(id);
            self.actions.push_back(Action::Complete { job: id });
        }
    }

    /// Recomputes what all linked peers have of a job.
    pub(super) fn union_peers(&mut self, id: JobId) {
        let union = self.peers_union(id);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.peers_have = union;
        }
    }

    pub(super) fn peers_union(&self, id: JobId) -> BitSet {
        let len = self.jobs.get(&id).map_or(0, Job::len);
        let mut union = BitSet::empty(len);
        for peer in self.peers.values().filter(|p| p.counts()) {
            match peer.jobs.get(&id).map(|with| &with.has) {
                Some(Has::All) => return BitSet::full(len),
                Some(Has::Some(set)) if set.len() == len => union.union(set),
                _ => {}
            }
        }
        union
    }

    /// Starts or ends the countdown after which a job that only peers can help is given up. What peers say they have
    /// does not hold it up, only what they give: see [`Node::patience_over`].
    pub(super) fn watch_sources(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if matches!(job.origin, OriginState::Gone(_)) && !job.ended {
            // A peer that works through the files before this one comes to it in time.
            let in_line = self.peers.values().any(|peer| {
                peer.counts()
                    && peer.useful
                    && peer.requests.values().any(|r| r.owned && r.what.job() != id)
                    && peer.jobs.get(&id).is_some_and(|with| !with.has.is_none())
            });
            if in_line {
                job.progress_at = now;
            }
            self.timers.set_once(Timer::Patience(id), now + self.config.patience);
        } else {
            self.timers.cancel(Timer::Patience(id));
        }
    }

    pub(super) fn patience_over(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let OriginState::Gone(why) = &job.origin else { return };
        if job.ended {
            return;
        }
        // Our own disk and the last fetches of the origin end by themselves, one way or the other.
        let busy = job.blocks_active() > 0 || !job.copying.is_empty() || !job.proving.is_empty();
        let due = if busy { now + self.config.patience } else { job.progress_at + self.config.patience };
        if due > now {
            self.timers.set(Timer::Patience(id), due);
            return;
        }
        let origin = Some(why.clone());
        let missing = job.len() - job.held.count();
        self.end(id);
        let why = Box::new(JobFailure::NoSource { missing, origin });
        self.actions.push_back(Action::Failed { job: id, why });
    }
}

/// A fault that asking again cannot mend.
fn permanent(text: &str) -> OriginFault {
    OriginFault { text: String::from(text), retry_after: None, permanent: true }
}
