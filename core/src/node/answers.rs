//! What peers answer, and what their silence means.

use super::peer::{Has, Pending, Silence};
use super::timers::Timer;
use super::{Action, BitSet, Node};
use crate::link::PayloadKind;
use crate::{BufId, Instant, JobId, LinkId, ReqId};
use alloc::vec::Vec;

/// NOT_FOUND answers in a row after which a peer is no longer asked for a file, whatever it says it has. Ours; as many as
/// the first pipeline holds.
const REFUSED_ROW_MAX: u32 = 16;

impl Node {
    pub(super) fn payload(
        &mut self,
        now: Instant,
        link: LinkId,
        req: ReqId,
        kind: PayloadKind,
        buf: BufId,
        len: u32,
    ) {
        let Some(peer) = self.peers.get_mut(&link).filter(|p| !p.closing) else {
            self.actions.push_back(Action::Free { buf });
            return;
        };
        // A payload that had begun when its request was called off.
        let Some(request) = peer.strike(now, req) else {
            self.actions.push_back(Action::Free { buf });
            return;
        };
        if let Some(with) = peer.jobs.get_mut(&request.what.job()) {
            with.refused_row = 0;
        }
        let was_on_probation = peer.probation();
        let again = peer.progressed(now, request.at, len);
        match (request.what, kind) {
            (Pending::Chunk { job, index }, PayloadKind::Chunk) => {
                self.chunk_answer(link, request.owned, job, index, buf);
            }
            (Pending::Manifest { job }, PayloadKind::ManifestPart { file_size, total, first, count }) => {
                self.manifest_part(now, link, req, job, buf, (file_size, total, first, count));
            }
            // The link matches payloads to requests; a mismatch here is a peer that answers another question.
            (what, _) => {
                self.undo(link, request.owned, what);
                self.actions.push_back(Action::Free { buf });
                self.ban(now, link, "it answered another question than was asked");
                self.seek_all(now);
                self.refill(now);
                return;
            }
        }
        if was_on_probation {
            self.union_all();
        }
        if was_on_probation || !again.is_empty() {
            again.into_iter().for_each(|req| self.count_on(link, req));
            self.refill(now);
        } else {
            self.fill_peer(now, link);
        }
        self.watch_peer(now, link);
    }

    /// A peer's chunk goes to its proof, unless it is there already or on its way from elsewhere at the same stage.
    fn chunk_answer(&mut self, link: LinkId, owned: bool, id: JobId, index: u32, buf: BufId) {
        let job = self.jobs.get_mut(&id);
        let wanted = job.and_then(|job| {
            let manifest = job.manifest.clone()?;
            let other = job.asked.remove(&index);
            (other.is_some() || job.missing.remove(index)).then(|| {
                job.proving.insert(index);
                (manifest, other.filter(|_| !owned))
            })
        });
        let Some((manifest, other)) = wanted else {
            self.stats.chunks_duplicate += 1;
            self.actions.push_back(Action::Free { buf });
            return;
        };
        if let Some((other, req)) = other {
            self.disown(other, req);
        }
        let (chunk, offset) = (manifest.chunk(index), manifest.offset(index));
        self.actions.push_back(Action::Prove { job: id, index, chunk, offset, buf, link });
    }

    /// What a request that is struck off its list was to give is up for grabs again.
    fn undo(&mut self, link: LinkId, owned: bool, what: Pending) {
        let Some(job) = self.jobs.get_mut(&what.job()) else { return };
        match what {
            Pending::Chunk { index, .. } => {
                if owned && job.asked.remove(&index).is_some() {
                    job.missing.insert(index);
                }
            }
            Pending::Block { block, .. } => {
                job.blocks[block as usize].peer = None;
                job.cover(block as usize);
            }
            Pending::Manifest { .. } => {
                if job.ask.is_some_and(|ask| ask.link == link && !ask.proving) {
                    job.ask = None;
                }
            }
        }
    }

    /// A peer that was in doubt is alive: this request of its counts again, if nobody else took over.
    fn count_on(&mut self, link: LinkId, req: ReqId) {
        let Some(request) = self.peers.get_mut(&link).and_then(|p| p.requests.get_mut(&req)) else { return };
        let Pending::Chunk { job, index } = request.what else { return };
        if let Some(job) = self.jobs.get_mut(&job)
            && job.missing.remove(index)
        {
            job.asked.insert(index, (link, req));
            request.owned = true;
        }
    }

    /// Others may be asked for what this request was to give; its answer is still welcome.
    pub(super) fn count_off(&mut self, link: LinkId, req: ReqId) -> Option<JobId> {
        let request = self.peers.get_mut(&link)?.requests.get_mut(&req)?;
        let Pending::Chunk { job: id, index } = request.what else { return None };
        if !core::mem::take(&mut request.owned) {
            return None;
        }
        let job = self.jobs.get_mut(&id)?;
        if job.asked.remove(&index).is_some() {
            job.missing.insert(index);
        }
        Some(id)
    }

    pub(super) fn not_found(&mut self, now: Instant, link: LinkId, req: ReqId) {
        let Some(what) = self.take_request(link, req) else { return };
        let id = what.job();
        match what {
            Pending::Chunk { index, .. } => self.refused(link, id, index),
            Pending::Block { block, .. } => {
                if let Some(peer) = self.peers.get_mut(&link) {
                    peer.blocks_refused.insert((id, block));
                }
            }
            Pending::Manifest { .. } => self.manifest_refused(now, link, id),
        }
        self.refill(now);
        self.watch_peer(now, link);
    }

    /// The peer lacks a chunk, whatever it said.
    fn refused(&mut self, link: LinkId, id: JobId, index: u32) {
        let len = self.jobs.get(&id).map_or(0, |job| job.len());
        let Some(with) = self.peers.get_mut(&link).and_then(|p| p.jobs.get_mut(&id)) else { return };
        with.refused_row += 1;
        if with.refused_row >= REFUSED_ROW_MAX {
            with.has = Has::None;
            with.unbelieved = true;
        }
        match &mut with.has {
            Has::None => {}
            Has::Maybe | Has::All => {
                let mut set = BitSet::full(len);
                set.remove(index);
                with.has = if with.has == Has::All { Has::Some(set) } else { Has::Guess(set) };
            }
            Has::Some(set) | Has::Guess(set) => {
                set.remove(index);
            }
        }
        self.union_peers(id);
    }

    pub(super) fn manifest_none(&mut self, now: Instant, link: LinkId, req: ReqId) {
        if let Some(Pending::Manifest { .. }) =
            self.peers.get(&link).and_then(|p| p.requests.get(&req)).map(|r| r.what)
        {
            self.not_found(now, link, req);
        }
    }

    /// The end of a xorb range that was decoded while it arrived.
    pub(super) fn block_from_peer(&mut self, now: Instant, link: LinkId, req: ReqId, good: bool) {
        let asked = self.peers.get(&link).and_then(|p| p.requests.get(&req)).copied();
        if let Some(request) = asked
            && let Pending::Block { job, block } = request.what
        {
            self.take_request(link, req);
            if let Some(peer) = self.peers.get_mut(&link) {
                let bytes = u32::try_from(peer.block_bytes).unwrap_or(u32::MAX);
                peer.progressed(now, now, if good { bytes } else { 0 });
                // What it did not give this time it will not give the next.
                peer.blocks_refused.insert((job, block));
            }
            self.union_all();
        }
        if !good {
            self.ban(now, link, "it sent a xorb range that failed its proof");
        }
        self.refill(now);
        self.watch_peer(now, link);
    }

    /// Sees to it that the peer's silence is looked at in time.
    pub(super) fn watch_peer(&mut self, now: Instant, link: LinkId) {
        match self.peers.get(&link).and_then(|p| p.deadline()) {
            Some((at, _)) => self.timers.set_no_later(Timer::Stall(link), at.max(now)),
            None => self.timers.cancel(Timer::Stall(link)),
        }
    }

    /// The peer may have been silent for too long.
    pub(super) fn silent(&mut self, now: Instant, link: LinkId) {
        let Some((at, what)) = self.peers.get(&link).and_then(|p| p.deadline()) else { return };
        if at > now {
            self.timers.set(Timer::Stall(link), at);
            return;
        }
        match what {
            Silence::Doubt => self.doubt(link),
            Silence::Stall => self.stall(now, link),
        }
        self.refill(now);
        self.watch_peer(now, link);
    }

    /// Nobody relies on the peer for now: others take over, the origin too, and whoever is first is welcome.
    fn doubt(&mut self, link: LinkId) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.doubt();
        let reqs: Vec<ReqId> = peer.requests.keys().copied().collect();
        for req in reqs {
            if let Some(id) = self.count_off(link, req)
                && let Some(job) = self.jobs.get_mut(&id)
            {
                job.joined = true;
            }
        }
    }

    fn stall(&mut self, now: Instant, link: LinkId) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        if !peer.stalled(now) {
            self.close(link, "it answered nothing for too long");
            self.seek_all(now);
            return;
        }
        let manifests: Vec<JobId> = peer
            .requests
            .values()
            .filter_map(|r| if let Pending::Manifest { job } = r.what { Some(job) } else { None })
            .collect();
        // Nobody relies on its chunks any more; should they come after all, they are welcome.
        self.call_off(link, |what| !matches!(what, Pending::Chunk { .. }));
        for id in manifests {
            self.manifest_slow(now, link, id);
        }
        self.union_all();
    }
}
