//! Who is asked for what next. All sources are filled by one call, [`Node::refill`]: the disk first, then peers up to
//! their pipelines, then the origin for what is left.

use super::job::{Job, OriginState};
use super::peer::{Has, Pending};
use super::timers::Timer;
use super::{Action, MEASURE, Node};
use crate::link::Outgoing;
use crate::{Duration, Instant, JobId, LinkId, ReqId};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// The original refuses frames above 64 MiB + 1024, so a range is never longer (facts of zest 0.4: `length` limit).
const XORB_RANGE_BYTES_MAX: u32 = (64 << 20) + 1024;
/// Measurements in a row that find chunks waiting behind full pipelines of slow peers before the origin joins: 2, so it
/// joins about half a second after the peers began. Ours.
const WAITING_MAX: u32 = 2;
/// Age from which a request is taken over by a source that has nothing else to do: 500 ms. Ours.
const TAKE_OVER_AFTER: Duration = Duration::from_millis(500);

impl Node {
    /// Gives every source with room something to do.
    pub(super) fn refill(&mut self, now: Instant) {
        self.fill_disk();
        let links: Vec<LinkId> = self.peers.keys().copied().collect();
        for link in links {
            self.fill_peer(now, link);
        }
        self.fill_origin(now);
    }

    pub(super) fn fill_disk(&mut self) {
        for (&id, job) in &mut self.jobs {
            while self.copies_active < self.config.copies_max && !job.ended {
                let Some((index, from)) = job.local.pop_front() else { break };
                if job.copying.contains(index) {
                    job.copies.insert(index);
                    self.copies_active += 1;
                    self.actions.push_back(Action::CopyLocal { job: id, index, from });
                }
            }
        }
    }

    /// Keeps one peer's pipeline full.
    pub(super) fn fill_peer(&mut self, now: Instant, link: LinkId) {
        let several = self.peers.len() > 1;
        let Some(peer) = self.peers.get_mut(&link).filter(|p| p.ready() && !p.doubted && p.wants_more())
        else {
            return;
        };
        if peer.xorb_ranges_only {
            self.fill_block_peer(now, link);
            return;
        }
        // Given up here, still to be answered here: not asked of the same peer again.
        let given_up: BTreeSet<(JobId, u32)> = peer
            .requests
            .values()
            .filter(|r| !r.owned)
            .filter_map(
                |r| if let Pending::Chunk { job, index } = r.what { Some((job, index)) } else { None },
            )
            .collect();
        let mut asked = false;
        for (&id, job) in &mut self.jobs {
            let Some(manifest) = job.manifest.as_ref() else { continue };
            if job.ended || job.missing.is_empty() {
                continue;
            }
            let Some(with) = peer.jobs.get(&id) else { continue };
            // Several peers begin at several places, so that they do not all ask for the same neighbourhood.
            let mut cursor = match with.cursor {
                Some(cursor) => cursor,
                None if several => self.rng.below(manifest.len()),
                None => 0,
            };
            while peer.wants_more() {
                let Some(with) = peer.jobs.get(&id) else { break };
                let Some(index) = pick(job, &with.has, cursor, |i| given_up.contains(&(id, i))) else {
                    break;
                };
                cursor = index + 1;
                asked = true;
                // A peer on probation is asked for something that others may give meanwhile.
                let owned = !peer.probation();
                let chunk = manifest.chunk(index);
                let req = peer.draw(&mut self.rng, now, Pending::Chunk { job: id, index }, owned);
                if owned {
                    job.missing.remove(index);
                    job.asked.insert(index, (link, req));
                }
                self.stats.chunks_asked += 1;
                let message = Outgoing::ChunkRequest { req, hash: chunk.hash, len_max: chunk.len };
                self.actions.push_back(Action::Send { link, message });
            }
            if let Some(with) = peer.jobs.get_mut(&id) {
                with.cursor = Some(cursor);
            }
        }
        if asked {
            self.watch_peer(now, link);
        }
    }

    /// A zest 0.4 peer knows only xorb ranges: it gets a whole block at a time.
    fn fill_block_peer(&mut self, now: Instant, link: LinkId) {
        let Some(peer) = self.peers.get_mut(&link).filter(|p| p.requests.is_empty()) else { return };
        for (&id, job) in &mut self.jobs {
            if job.ended || job.missing.is_empty() || peer.jobs.get(&id).is_none_or(|with| with.has.is_none())
            {
                continue;
            }
            let found = (0..job.blocks.len()).find(|at| {
                let state = &job.blocks[*at];
                !state.active
                    && state.peer.is_none()
                    && !peer.blocks_refused.contains(&(id, *at as u32))
                    && state.any_in(&job.missing, None)
            });
            let Some(at) = found else { continue };
            let req = peer.draw(&mut self.rng, now, Pending::Block { job: id, block: at as u32 }, false);
            job.blocks[at].peer = Some((link, now));
            job.cover(at);
            let block = &job.blocks[at].block;
            peer.block_bytes = block.wire_bytes;
            let message = Outgoing::XorbRequest {
                req,
                xorb: block.xorb,
                start: block.chunks.start,
                end: block.chunks.end,
                len_max: XORB_RANGE_BYTES_MAX,
            };
            self.actions.push_back(Action::Send { link, message });
            self.watch_peer(now, link);
            return;
        }
    }

    /// Every [`MEASURE`]: rates, pipelines, and whether the peers need help.
    pub(super) fn measure(&mut self, now: Instant) {
        if self.jobs.is_empty() {
            return;
        }
        self.timers.set(Timer::Measure, now + MEASURE);
        let mut together = 0;
        let mut excess: Vec<(LinkId, ReqId)> = Vec::new();
        for (&link, peer) in &mut self.peers {
            peer.measure(now);
            together += peer.rate_bytes_s;
            excess.extend(peer.excess().into_iter().map(|req| (link, req)));
        }
        for (link, req) in excess {
            self.count_off(link, req);
        }
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        let slow = together < self.config.origin_joins_below_bytes_s;
        for id in ids {
            let held_back = self.timers.is_set(Timer::OriginGrace(id));
            if let Some(job) = self.jobs.get_mut(&id) {
                let waits = job.origin == OriginState::Ready
                    && !held_back
                    && job.missing.next(0, None, Some(&job.covered)).is_some();
                job.waiting = if waits { job.waiting + 1 } else { 0 };
                job.joined |= slow && job.waiting >= WAITING_MAX;
            }
            self.watch_sources(now, id);
        }
        self.watch_manifests(now);
        self.refill(now);
        self.take_over(now);
    }

    /// The end game: where a source is idle, what slow peers were asked for long ago is asked for once more.
    fn take_over(&mut self, now: Instant) {
        let idle: BTreeSet<LinkId> = self
            .peers
            .iter()
            .filter(|(_, p)| p.counts() && p.requests.is_empty() && !p.xorb_ranges_only)
            .map(|(link, _)| *link)
            .collect();
        let slots = self.origin_active < self.config.origin_fetches_max;
        let mut late: Vec<(LinkId, ReqId)> = Vec::new();
        for (&id, job) in &mut self.jobs {
            let origin = job.origin == OriginState::Ready && job.joined && slots;
            for (&index, &(link, req)) in &job.asked {
                let helps = |other: &LinkId| {
                    let with = self.peers.get(other).and_then(|p| p.jobs.get(&id));
                    with.is_some_and(|with| match &with.has {
                        Has::None => false,
                        Has::Maybe | Has::All => true,
                        Has::Guess(set) | Has::Some(set) => set.contains(index),
                    })
                };
                let old = self
                    .peers
                    .get(&link)
                    .and_then(|p| p.requests.get(&req))
                    .is_some_and(|r| now.since(r.at) >= TAKE_OVER_AFTER);
                if old && !job.twice.contains(&index) && (origin || idle.iter().any(helps)) {
                    late.push((link, req));
                }
            }
        }
        if late.is_empty() {
            return;
        }
        for (link, req) in late {
            let what = self.peers.get(&link).and_then(|p| p.requests.get(&req)).map(|r| r.what);
            self.count_off(link, req);
            if let Some(Pending::Chunk { job, index }) = what
                && let Some(job) = self.jobs.get_mut(&job)
            {
                job.twice.insert(index);
            }
        }
        self.refill(now);
    }
}

/// The next chunk to ask a peer for: free ones first, onwards from where it was; then from the far end of what blocks
/// under way are at.
fn pick(job: &Job, has: &Has, cursor: u32, skip: impl Fn(u32) -> bool) -> Option<u32> {
    let set = match has {
        Has::None => return None,
        Has::Maybe | Has::All => None,
        Has::Guess(set) | Has::Some(set) => Some(set),
    };
    let onwards = |mut at: u32| {
        loop {
            let index = job.missing.next(at, set, Some(&job.covered))?;
            if !skip(index) {
                return Some(index);
            }
            at = index + 1;
        }
    };
    let backwards = || {
        let mut before = job.missing.len();
        loop {
            let index = job.missing.prev(before, set)?;
            if !skip(index) {
                return Some(index);
            }
            before = index;
        }
    };
    onwards(cursor).or_else(|| onwards(0)).or_else(backwards)
}
