//! Who is asked for what next. All sources are filled by one call, [`Node::refill`]: the disk first, then peers up to
//! their pipelines, then the origin for what is left.

use super::job::OriginState;
use super::peer::{CHUNK_BYTES_MEAN, Has, Pending};
use super::timers::Timer;
use super::{Action, MEASURE, Node};
use crate::link::Outgoing;
use crate::{Instant, JobId, LinkId};
use alloc::vec::Vec;

impl Node {
    /// Gives every source with room something to do.
    pub(super) fn refill(&mut self, now: Instant) {
        self.fill_disk();
        let links: Vec<LinkId> = self.peers.keys().copied().collect();
        for link in links {
            self.fill_peer(now, link);
        }
        self.fill_origin();
    }

    fn fill_disk(&mut self) {
        for (&id, job) in &mut self.jobs {
            while self.copies_active < self.config.copies_max {
                let Some((index, from)) = job.local.pop_front() else { break };
                if job.missing.remove(index) {
                    self.copies_active += 1;
                    self.actions.push_back(Action::CopyLocal { job: id, index, from });
                }
            }
        }
    }

    /// Keeps one peer's pipeline full.
    pub(super) fn fill_peer(&mut self, now: Instant, link: LinkId) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        if !peer.ready() {
            return;
        }
        if peer.xorb_ranges_only {
            self.fill_block_peer(now, link);
            return;
        }
        let idle_before = peer.requests.is_empty();
        'jobs: for (&id, job) in &mut self.jobs {
            let Some(manifest) = job.manifest.as_ref() else { continue };
            // Chunks that wait for a copy from the disk are not asked of the network.
            if job.completed || job.missing.is_empty() || !job.local.is_empty() {
                continue;
            }
            loop {
                if peer.in_flight() >= peer.window {
                    break 'jobs;
                }
                let Some(has) = peer.has.get_mut(&id) else { break };
                let (set, cursor) = match has {
                    Has::None => break,
                    Has::Maybe | Has::All => (None, &mut peer.cursor),
                    Has::Some(set) => (Some(&*set), &mut peer.cursor),
                };
                // Free chunks first, onwards from where this peer was; then from the far end of what the origin is at.
                let picked = job
                    .missing
                    .next(*cursor, set, Some(&job.covered))
                    .or_else(|| job.missing.next(0, set, Some(&job.covered)))
                    .or_else(|| job.missing.prev(job.missing.len(), set));
                let Some(index) = picked else { break };
                *cursor = index + 1;
                job.missing.remove(index);
                let chunk = manifest.chunk(index);
                let req = Node::fresh_req(&mut self.rng, peer);
                peer.requests.insert(req, Pending::Chunk { job: id, index });
                peer.bytes_asked += u64::from(chunk.len);
                self.stats.chunks_asked += 1;
                let message = Outgoing::ChunkRequest { req, hash: chunk.hash, len_max: chunk.len };
                self.actions.push_back(Action::Send { link, message });
            }
        }
        if idle_before && !peer.requests.is_empty() {
            peer.progress_at = now;
            let at = now + peer.stall_after();
            self.timers.set(Timer::Stall(link), at);
        }
    }

    /// A zest 0.4 peer knows only xorb ranges: it gets a whole block at a time.
    fn fill_block_peer(&mut self, now: Instant, link: LinkId) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        if !peer.requests.is_empty() {
            return;
        }
        for (&id, job) in &mut self.jobs {
            if job.completed || matches!(peer.has.get(&id), None | Some(Has::None)) {
                continue;
            }
            for at in 0..job.blocks.len() {
                let state = &mut job.blocks[at];
                if state.active || peer.blocks_refused.contains(&(id, at as u32)) {
                    continue;
                }
                let wanted = state.block.runs.iter().any(|&(first, n)| {
                    job.missing.next(first, None, Some(&job.covered)).is_some_and(|i| i < first + n)
                });
                if !wanted {
                    continue;
                }
                let req = Node::fresh_req(&mut self.rng, peer);
                peer.requests.insert(req, Pending::Block { job: id, block: at as u32 });
                for &(first, count) in &state.block.runs {
                    for index in first..(first + count).min(job.missing.len()) {
                        if job.missing.remove(index) {
                            peer.block_chunks.push(index);
                        }
                    }
                }
                peer.progress_at = now;
                let at = now + peer.stall_after() * 4;
                self.timers.set(Timer::Stall(link), at);
                let message = Outgoing::XorbRequest {
                    req,
                    xorb: state.block.xorb,
                    start: state.block.chunks.start,
                    end: state.block.chunks.end,
                    len_max: XORB_RANGE_BYTES_MAX,
                };
                self.actions.push_back(Action::Send { link, message });
                return;
            }
        }
    }

    /// Every [`MEASURE`]: rates, pipelines, and whether the peers need the origin's help.
    pub(super) fn measure(&mut self, now: Instant) {
        if self.jobs.is_empty() {
            return;
        }
        self.timers.set(Timer::Measure, now + MEASURE);
        let mut together = 0;
        let mut loaded = false;
        for peer in self.peers.values_mut() {
            peer.measure(now);
            together += peer.rate_bytes_s;
            loaded |= peer.measured_under_load();
        }
        if loaded && together < self.config.origin_joins_below_bytes_s {
            for job in self.jobs.values_mut() {
                if let OriginState::Ready { joined } = &mut job.origin {
                    *joined = true;
                }
            }
        }
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for id in ids {
            self.watch_sources(now, id);
        }
        self.refill(now);
    }
}

/// The original refuses frames above 64 MiB + 1024, so a range is never longer (facts of zest 0.4: `length` limit).
const XORB_RANGE_BYTES_MAX: u32 = (64 << 20) + 1024;
const _: () = assert!(CHUNK_BYTES_MEAN > 0);
