//! One file being fetched: which chunks are held, asked for, missing, and who may give them.

use super::event::{Block, JobFailure, OriginFault};
use super::peer::Has;
use super::timers::Timer;
use super::{Action, BitSet, Node};
use crate::{Instant, JobId, LinkId, Location};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
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
    /// Not to be asked, or its layout has not come yet.
    Waiting,
    /// It waits for the peers' head start to pass.
    Grace,
    /// It gives what no peer can; with `joined` everything.
    Ready { joined: bool },
    /// It cannot give this file.
    Gone(OriginFault),
}

/// One fetch range of the origin.
#[derive(Debug)]
pub(crate) struct BlockState {
    pub(crate) block: Block,
    pub(crate) active: bool,
    pub(crate) stopping: bool,
    pub(crate) faults: u32,
    pub(crate) resting: bool,
    /// Last chunk that came, to look only behind it.
    pub(crate) at: u32,
}

/// How far the manifest has come from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ManifestAsk {
    pub(crate) link: LinkId,
    pub(crate) next: u32,
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) spec: JobSpec,
    pub(crate) manifest: Option<Arc<Manifest>>,
    pub(crate) manifest_ask: Option<ManifestAsk>,
    /// Length 0 until the number of chunks is known.
    pub(crate) held: BitSet,
    /// Neither held nor asked of a peer or the disk. The origin's blocks do not count as asked.
    pub(crate) missing: BitSet,
    /// Covered by an active block of the origin.
    pub(crate) covered: BitSet,
    /// What the linked peers have, together.
    pub(crate) peers_have: BitSet,
    pub(crate) local: VecDeque<(u32, Location)>,
    pub(crate) blocks: Vec<BlockState>,
    pub(crate) origin: OriginState,
    pub(crate) last_fault: Option<OriginFault>,
    pub(crate) completed: bool,
}

impl Job {
    fn new(spec: JobSpec) -> Job {
        Job {
            spec,
            manifest: None,
            manifest_ask: None,
            held: BitSet::empty(0),
            missing: BitSet::empty(0),
            covered: BitSet::empty(0),
            peers_have: BitSet::empty(0),
            local: VecDeque::new(),
            blocks: Vec::new(),
            origin: OriginState::Waiting,
            last_fault: None,
            completed: false,
        }
    }

    /// Makes room for `chunks` chunks, once; false if that contradicts what is known.
    fn set_len(&mut self, chunks: u32) -> bool {
        if self.held.len() == 0 {
            self.held = BitSet::empty(chunks);
            self.missing = BitSet::full(chunks);
            self.covered = BitSet::empty(chunks);
            self.peers_have = BitSet::empty(chunks);
        }
        self.held.len() == chunks
    }

    pub(crate) fn blocks_active(&self) -> u32 {
        self.blocks.iter().filter(|b| b.active).count() as u32
    }

    pub(crate) fn check_invariants(&self) {
        for index in self.held.iter() {
            assert!(!self.missing.contains(index), "a held chunk is not missing");
        }
        assert!(self.missing.count() + self.held.count() <= self.held.len());
        if self.blocks_active() == 0 {
            assert!(self.covered.is_empty(), "nothing is covered without an active block");
        }
    }
}

impl Node {
    pub(super) fn job_added(&mut self, now: Instant, id: JobId, spec: JobSpec) {
        let alone = !spec.peers || (self.peers.is_empty() && self.candidates.is_empty());
        let with_origin = spec.origin;
        let mut job = Job::new(spec);
        if !job.spec.origin {
            job.origin = OriginState::Gone(OriginFault {
                text: "the origin is not used".into(),
                retry_after: None,
                permanent: true,
            });
        }
        self.jobs.insert(id, job);
        if !alone {
            self.timers.set(Timer::OriginGrace(id), now + self.config.origin_grace);
            let links: Vec<LinkId> = self.peers.keys().copied().collect();
            for link in links {
                self.introduce(now, link, id);
            }
        }
        if !with_origin {
            self.timers.set(Timer::Patience(id), now + self.config.patience);
        }
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
        let grace = self.timers.is_set(Timer::OriginGrace(id));
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if !job.set_len(chunks) {
            let why = OriginFault {
                text: "the origin's layout has another number of chunks than the proven manifest".into(),
                retry_after: None,
                permanent: true,
            };
            job.origin = OriginState::Gone(why.clone());
            job.last_fault = Some(why);
        } else {
            job.blocks = blocks
                .into_iter()
                .map(|block| BlockState {
                    block,
                    active: false,
                    stopping: false,
                    faults: 0,
                    resting: false,
                    at: 0,
                })
                .collect();
            job.origin = if grace { OriginState::Grace } else { OriginState::Ready { joined: false } };
            for &index in held {
                job.missing.remove(index);
                job.held.insert(index);
            }
            job.local.extend(local);
        }
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
        if job.held.len() != 0 && job.held.len() != manifest.len() {
            // The plan lied about the count; the manifest is proven. Begin again with its count.
            job.held = BitSet::empty(0);
            job.blocks.retain(|b| b.active);
        }
        job.set_len(manifest.len());
        job.manifest_ask = None;
        for index in 0..manifest.len() {
            if held.contains(index) {
                job.held.insert(index);
                job.missing.remove(index);
            } else if job.held.remove(index) {
                job.missing.insert(index);
            }
        }
        job.manifest = Some(manifest);
        job.local.extend(local);
        let links: Vec<LinkId> = self.peers.keys().copied().collect();
        for link in links {
            self.introduce(now, link, id);
        }
        self.check_complete(id);
        self.refill(now);
    }

    pub(super) fn chunk_done(&mut self, now: Instant, id: JobId, index: u32, source: super::Source) {
        if source == super::Source::Disk {
            self.copies_active = self.copies_active.saturating_sub(1);
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.missing.remove(index);
        job.held.insert(index);
        match source {
            super::Source::Origin => self.block_advanced(id, index),
            super::Source::Disk => self.refill(now),
            super::Source::Peer(_) => {}
        }
        self.check_complete(id);
    }

    pub(super) fn chunk_bad(&mut self, now: Instant, id: JobId, index: u32, source: super::Source) {
        self.stats.chunks_bad += 1;
        if source == super::Source::Disk {
            self.copies_active = self.copies_active.saturating_sub(1);
        }
        if let Some(job) = self.jobs.get_mut(&id)
            && !job.held.contains(index)
        {
            job.missing.insert(index);
        }
        if let super::Source::Peer(link) = source {
            self.ban(now, link, "it sent a chunk that failed its proof");
        }
        self.refill(now);
    }

    pub(super) fn job_reopened(&mut self, now: Instant, id: JobId, missing: &[u32]) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.completed = false;
        for &index in missing {
            job.held.remove(index);
            job.missing.insert(index);
        }
        if let OriginState::Ready { joined } = &mut job.origin {
            *joined = true;
        }
        self.refill(now);
    }

    pub(super) fn job_removed(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.remove(&id) else { return };
        self.origin_active -= job.blocks_active();
        for (block, state) in job.blocks.iter().enumerate() {
            if state.active {
                self.actions.push_back(Action::OriginStop { job: id, block: block as u32 });
            }
            self.timers.cancel(Timer::BlockRetry(id, block as u32));
        }
        self.timers.cancel(Timer::OriginGrace(id));
        self.timers.cancel(Timer::Patience(id));
        let links: Vec<LinkId> = self.peers.keys().copied().collect();
        for link in links {
            self.forget_job(now, link, id);
        }
        self.refill(now);
    }

    pub(super) fn check_complete(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if !job.completed && job.held.len() > 0 && job.held.count() == job.held.len() {
            job.completed = true;
            self.actions.push_back(Action::Complete { job: id });
            self.timers.cancel(Timer::Patience(id));
        }
    }

    /// Recomputes what all linked peers have of a job.
    pub(super) fn union_peers(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let len = job.held.len();
        let mut union = BitSet::empty(len);
        for peer in self.peers.values().filter(|p| !p.probation()) {
            match peer.has.get(&id) {
                Some(Has::All) => {
                    union = BitSet::full(len);
                    break;
                }
                Some(Has::Some(set)) if set.len() == len => union.union(set),
                _ => {}
            }
        }
        job.peers_have = union;
    }

    /// Starts or ends the countdown after which a job without any source is given up.
    pub(super) fn watch_sources(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let origin_may = !matches!(job.origin, OriginState::Gone(_));
        let busy = job.blocks_active() > 0
            || job.manifest_ask.is_some()
            || job.missing.count() + job.held.count() < job.held.len();
        if origin_may || busy || job.completed || !job.peers_have.is_empty() {
            self.timers.cancel(Timer::Patience(id));
        } else {
            self.timers.set_once(Timer::Patience(id), now + self.config.patience);
        }
    }

    pub(super) fn patience_over(&mut self, _now: Instant, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let origin = match &job.origin {
            OriginState::Gone(why) => Some(why.clone()),
            _ => job.last_fault.clone(),
        };
        let missing = job.held.len() - job.held.count();
        let why = Box::new(JobFailure::NoSource { missing, origin });
        self.actions.push_back(Action::Failed { job: id, why });
    }
}
