//! Who is asked for what next.
//!
//! Peers are kept in the order of how long one more request would wait there. The first is asked for the rarest chunk it
//! has (of a handful looked at from a random place on), takes its new place in the order, and so on until all pipelines
//! together hold what arrives in a round trip and a little more. Where a job has a front, the rarest chunk of that comes first. A peer that has nothing we lack leaves the order until it
//! tells of something new, so an event costs a few steps in ordered sets, whatever the number of peers and chunks.

use super::from_origin::OriginState;
use super::job::Job;
use super::peer::{Pending, SHARE_TIME, SHARE_TIME_STREAMING};
use super::pick::{pick, pick_of_front};
use super::timers::Timer;
use super::{Action, MEASURE, Node};
use crate::link::{FRAME_BYTES_MAX, Outgoing, ZestMessage};
use crate::{Duration, Instant, JobId, LinkId, ReqId};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cmp::Reverse;

/// Measurements in a row that find chunks waiting behind full pipelines of slow peers before the origin joins: 2, so it
/// joins about half a second after the peers began. Ours.
const WAITING_MAX: u32 = 2;
/// Age from which a request is taken over by a source that has nothing else to do: 300 ms, or twice what the peer's
/// answers usually take. Ours.
const TAKE_OVER_AFTER: Duration = Duration::from_millis(300);
/// Chunks in all pipelines together before any rate is known: 16, 1 MiB. Doubles per round trip.
const SHARED_START: u32 = 16;
/// All pipelines together hold this many chunks on top of what rates and latencies ask for. Ours.
const SHARED_EXTRA: u32 = 4;
/// And at most this many: 256 MiB. Ours.
const SHARED_MAX: u32 = 4096;
/// A peer whose answers take so many times what answers usually take is slow: 3.
const SLOWER: u32 = 3;
/// But not if they take less than this: 200 ms. Ours.
const SLOW_ANSWER: Duration = Duration::from_millis(200);
/// A request that waits so many times as long as a slow answer takes is taken back where another peer can give it: 4. Ours;
/// sooner, and too much of it is on its way already.
const WAITS: u32 = 4;
/// Time that one chunk is taken to need at a peer of which nothing is known: 1 ms. Ours; it is asked soon, so that it is.
const USUAL_US: u64 = 1000;

/// All pipelines together.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Chunks asked for at once over all peers, at most.
    window: u32,
    /// It grows with every answer.
    ramp: bool,
    /// It was full since the last measurement.
    full: bool,
    /// What `window` is at most while we stream from the origin what others wait for.
    streaming: u32,
}

impl Default for Shared {
    fn default() -> Self {
        Self { window: SHARED_START, ramp: true, full: false, streaming: SHARED_START }
    }
}

impl Shared {
    /// A chunk came that was waited for; `queued`: it waited in line.
    pub(crate) fn answered(&mut self, queued: bool) {
        self.ramp &= !queued;
        if self.ramp {
            self.window = (self.window + 1).min(SHARED_MAX);
        }
    }

    /// Sizes it by what the peers give: `shares` in 1/256 chunks, and the same while we stream.
    fn measure(&mut self, shares: u64, streaming: u64, crowded: bool) {
        let chunks = |shares: u64| u32::try_from(shares / 256).unwrap_or(SHARED_MAX) + SHARED_EXTRA;
        let want = chunks(shares).min(SHARED_MAX);
        self.streaming = chunks(streaming);
        let full = core::mem::take(&mut self.full);
        if want > self.window {
            self.window = want;
        } else if (full || crowded) && shares > 0 && !self.ramp {
            self.window = want.max(self.window * 3 / 4);
        }
    }
}

/// From which time on an answer is slow, where answers usually take `usual`.
fn slow_from(usual: Duration) -> Duration {
    SLOW_ANSWER.max(usual * SLOWER)
}

/// What came of asking a peer.
enum Asked {
    /// It was asked for a chunk that the job waits for.
    Counts,
    /// It was asked for something that others may give as well.
    Besides,
    Nothing,
}

impl Node {
    /// Gives every source with room something to do.
    pub(super) fn refill(&mut self, now: Instant) {
        self.fill_disk();
        self.fill_peers(now);
        self.fill_origin(now);
    }

    /// Copies what lies on the local disk: of equals first for the pull of which the fewest chunks are being copied.
    pub(super) fn fill_disk(&mut self) {
        while self.asking.copies_active < self.config.copies_max {
            let is_due = |job: &Job| !job.course.ended && !job.course.paused && !job.sets.local.is_empty();
            let next = self.asking.turns.shares().iter().filter_map(|share| {
                let jobs = || share.jobs.iter().filter_map(|id| Some((*id, self.jobs.get(id)?)));
                let next = jobs().find(|(_, job)| is_due(job))?.0;
                let copies: usize = jobs().map(|(_, job)| job.sets.copies.len()).sum();
                Some((Reverse(share.wish), copies, next))
            });
            let Some((.., id)) = next.min_by_key(|(wish, copies, _)| (*wish, *copies)) else { return };
            let Some(job) = self.jobs.get_mut(&id) else { return };
            let Some((index, from)) = job.sets.local.pop_front() else { return };
            // What is being copied already is not begun again: a job that was reopened is told of its places anew.
            if job.sets.copying.contains(index) && job.sets.copies.insert(index) {
                self.asking.copies_active += 1;
                self.actions.push_back(Action::CopyLocal { job: id, index, from });
            }
        }
    }

    /// Takes a peer out of the order.
    pub(super) fn leave_order(&mut self, link: LinkId) {
        if let Some(load) = self.peers.get_mut(&link).and_then(|peer| peer.asked.load.take()) {
            self.asking.peers.remove(&(load, link));
        }
    }

    /// Finds the places of peers anew for which that may be another one.
    pub(super) fn reorder_moved(&mut self, now: Instant) {
        let moved = self.asking.take_moved();
        for &link in &moved {
            self.reorder(now, link);
        }
        self.asking.found(moved);
    }

    /// Finds a peer's place in the order anew.
    fn reorder(&mut self, now: Instant, link: LinkId) {
        self.leave_order(link);
        let Some(peer) = self.peers.get_mut(&link) else { return };
        if peer.ready() && !peer.pace.doubted && !peer.asked.dry && peer.wants_more() {
            // The last bits are drawn, so that equals take turns.
            let load = peer.expected_wait(now, USUAL_US) << 8 | u64::from(self.rng.below(256));
            peer.asked.load = Some(load);
            self.asking.peers.insert((load, link));
        }
    }

    fn reorder_all(&mut self, now: Instant) {
        let links: Vec<LinkId> = self.peers.keys().copied().collect();
        for link in links {
            if let Some(peer) = self.peers.get_mut(&link) {
                peer.asked.dry = false;
            }
            self.reorder(now, link);
        }
    }

    /// Chunks asked for at once over all peers, at most. What we stream from the origin for others goes before what we want for ourselves.
    fn shared_window(&self) -> u32 {
        let shared = &self.asking.shared;
        // Asked with every chunk that comes: the blocks of a pull are looked through only while some are under way.
        let streams = |job: &Job| {
            self.origin.active.of(job.spec.pull) > 0
                && self.shares_origin(job)
                && job.active_blocks().next().is_some()
        };
        let streams = self.origin.active.all() > 0 && self.jobs.values().any(streams);
        if streams { shared.window.min(shared.streaming) } else { shared.window }
    }

    /// Keeps the peers' pipelines full.
    pub(super) fn fill_peers(&mut self, now: Instant) {
        self.reorder_moved(now);
        if core::mem::take(&mut self.asking.recheck) {
            self.reorder_all(now);
        }
        let asked: usize = self.jobs.values().map(|job| job.sets.asked.len()).sum();
        let mut room = self.shared_window().saturating_sub(asked as u32);
        while let Some(&(_, link)) = self.asking.peers.first() {
            if room == 0 {
                self.asking.shared.full = true;
                return;
            }
            let ranges_only = self.peers.get(&link).is_some_and(|peer| peer.who.xorb_ranges_only);
            let asked = match ranges_only {
                true => self.ask_block(now, link),
                false => self.ask_one(now, link),
            };
            match asked {
                Asked::Counts => room -= 1,
                Asked::Besides => {}
                Asked::Nothing => {
                    if let Some(peer) = self.peers.get_mut(&link) {
                        peer.asked.dry = true;
                    }
                }
            }
            self.reorder(now, link);
        }
    }

    /// Asks a peer for one chunk, of the first job for which it has something, in their turns.
    fn ask_one(&mut self, now: Instant, link: LinkId) -> Asked {
        let several = self.peers.len() > 1;
        let usual = Duration::from_micros(self.measured.answer_us);
        let Some(peer) = self.peers.get_mut(&link) else { return Asked::Nothing };
        // Given up here, still to be answered here: not asked of the same peer again.
        let given_up: BTreeSet<(JobId, u32)> = match peer.asked.unowned {
            0 => BTreeSet::new(),
            _ => {
                let chunk =
                    |what| if let Pending::Chunk { job, index } = what { Some((job, index)) } else { None };
                peer.asked.requests.values().filter(|r| !r.owned).filter_map(|r| chunk(r.what)).collect()
            }
        };
        // A slow peer is asked only for what nobody else has.
        let slow = peer.pace.crowded && peer.usual_answer() >= slow_from(usual);
        for &(id, front) in self.asking.turns.order() {
            let (Some(job), Some(with)) = (self.jobs.get_mut(&id), peer.jobs.get_mut(&id)) else { continue };
            if !job.wants() || job.sets.open.is_empty() {
                continue;
            }
            let seeds = job.supply.has_seeds();
            let supply = &job.supply;
            let skip = |index: u32| {
                (slow && (seeds || supply.count(index) > 1))
                    || (!given_up.is_empty() && given_up.contains(&(id, index)))
            };
            // Several peers begin at several places, so that they do not all ask for the same neighbourhood.
            if with.cursor.is_none() {
                with.cursor = Some(if several { self.rng.below(job.len()) } else { 0 });
            }
            let found = match front {
                true => pick_of_front(job, &with.has, &mut self.rng, skip),
                false => pick(job, &with.has, &mut with.cursor, &mut self.rng, skip),
            };
            let Some(index) = found else { continue };
            let Some((chunk, _)) = job.chunk(index) else { continue };
            // A peer on probation is asked for something that others may give meanwhile.
            let owned = !peer.probation();
            let req = peer.draw(&mut self.rng, now, Pending::Chunk { job: id, index }, owned);
            if owned {
                job.take(index);
                job.sets.asked.insert(index, (link, req));
            } else {
                job.sets.raced.insert(index);
            }
            self.asking.turns.asked(job.course.wish, job.spec.pull, u64::from(chunk.len));
            self.measured.stats.chunks_asked += 1;
            let message = Outgoing::ChunkRequest { req, hash: chunk.hash, len_max: chunk.len };
            self.actions.push_back(Action::Send { link, message });
            self.watch_peer(now, link);
            return if owned { Asked::Counts } else { Asked::Besides };
        }
        Asked::Nothing
    }

    /// A peer has more chunks than before. Those that wait at a slow peer are asked for anew: what one slow peer was
    /// first to have must not be sent by it to everybody.
    pub(super) fn switch(&mut self, now: Instant, link: LinkId, id: JobId, gained: &[u32]) {
        let slow = self.waits_from();
        if !self.peers.get(&link).is_some_and(|peer| peer.is_quicker(slow)) {
            return;
        }
        let Some(job) = self.jobs.get(&id) else { return };
        let asked = gained.iter().filter_map(|index| job.sets.asked.get(index));
        let late = |(other, req): &&(LinkId, ReqId)| {
            let peer = self.peers.get(other).filter(|peer| peer.pace.crowded && *other != link);
            peer.is_some_and(|p| p.usual_answer() >= slow || p.asked_before(*req, now, slow))
        };
        let late: Vec<(LinkId, ReqId)> = asked.filter(late).copied().collect();
        self.take_back(now, &late);
    }

    /// The same for what has become slow since: every [`MEASURE`].
    fn switch_all(&mut self, now: Instant) {
        let slow = self.waits_from();
        let quick = self.peers.iter().filter(|(_, peer)| peer.is_quicker(slow) && peer.wants_more());
        let quick: Vec<LinkId> = quick.map(|(link, _)| *link).collect();
        let mut late: Vec<(LinkId, ReqId)> = Vec::new();
        for (&id, job) in self.jobs.iter().filter(|(_, job)| job.supply.has_parts() && !quick.is_empty()) {
            for (&index, &(link, req)) in &job.sets.asked {
                let peer = self.peers.get(&link).filter(|peer| peer.pace.crowded);
                if peer.is_some_and(|peer| peer.asked_before(req, now, slow))
                    && quick.iter().any(|other| *other != link && self.may_give(*other, id, index))
                {
                    late.push((link, req));
                }
            }
        }
        self.take_back(now, &late);
    }

    /// How long a request has to wait before it is taken back.
    fn waits_from(&self) -> Duration {
        slow_from(Duration::from_micros(self.measured.answer_us)) * WAITS
    }

    /// Whether a peer may have this chunk.
    fn may_give(&self, link: LinkId, id: JobId, index: u32) -> bool {
        let with = self.peers.get(&link).and_then(|peer| peer.jobs.get(&id));
        with.is_some_and(|with| with.has.may_have(index))
    }

    fn take_back(&mut self, now: Instant, late: &[(LinkId, ReqId)]) {
        for &(link, req) in late {
            self.take_request(link, req);
            self.send(link, Outgoing::Zest(ZestMessage::Cancel { req: req.0 }));
            self.watch_peer(now, link);
            self.asking.moved(link);
        }
    }

    /// A zest 0.4 peer knows only xorb ranges: it gets a whole block at a time.
    fn ask_block(&mut self, now: Instant, link: LinkId) -> Asked {
        let Some(peer) = self.peers.get_mut(&link).filter(|p| p.asked.requests.is_empty()) else {
            return Asked::Nothing;
        };
        for &(id, _) in self.asking.turns.order().iter().filter(|(_, front)| !front) {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            if !job.wants() || peer.jobs.get(&id).is_none_or(|with| with.has.is_none()) {
                continue;
            }
            let found = (0..job.origin.blocks.len()).find(|at| {
                let state = &job.origin.blocks[*at];
                !state.active
                    && !state.followed
                    && state.peer.is_none()
                    && !peer.asked.blocks_refused.contains(&(id, *at as u32))
                    && state.any_in(&job.sets.missing, None)
            });
            let Some(at) = found else { continue };
            let req = peer.draw(&mut self.rng, now, Pending::Block { job: id, block: at as u32 }, false);
            job.origin.blocks[at].peer = Some((link, now));
            job.cover(at);
            let block = &job.origin.blocks[at].block;
            peer.pace.block_bytes = block.wire_bytes;
            self.asking.turns.asked(job.course.wish, job.spec.pull, block.wire_bytes);
            let message = Outgoing::XorbRequest {
                req,
                xorb: block.xorb,
                start: block.chunks.start,
                end: block.chunks.end,
                len_max: FRAME_BYTES_MAX,
            };
            self.actions.push_back(Action::Send { link, message });
            self.watch_peer(now, link);
            return Asked::Besides;
        }
        Asked::Nothing
    }

    /// Every [`MEASURE`]: rates, pipelines, and whether the peers need help.
    pub(super) fn measure(&mut self, now: Instant) {
        if self.jobs.is_empty() {
            return;
        }
        self.timers.set(Timer::Measure, now + MEASURE);
        let (mut together, mut shares, mut streaming) = (0, 0, 0);
        let mut excess: Vec<(LinkId, ReqId)> = Vec::new();
        for (&link, peer) in &mut self.peers {
            peer.measure(now);
            together += peer.pace.rate_bytes_s;
            shares += peer.share(SHARE_TIME);
            streaming += peer.share(SHARE_TIME_STREAMING);
            excess.extend(peer.excess().into_iter().map(|req| (link, req)));
        }
        let crowded = self.peers.values().any(|peer| peer.pace.crowded);
        self.asking.shared.measure(shares, streaming, crowded);
        let (bytes, since) = core::mem::replace(&mut self.measured.income, (0, now));
        self.measured.income_bytes_s = bytes * 1_000_000 / (now.since(since).as_micros() as u64).max(1);
        let waited_for = self.uploads.is_waited_for();
        self.uploads.lag.measure(waited_for, bytes);
        self.pace_tells(self.measured.income_bytes_s);
        for (link, req) in excess {
            self.count_off(link, req);
        }
        self.origin.breadth.came_of_peers(bytes);
        let shared = |job: &Job| job.wants() && job.origin.left.is_some() && job.lists.manifest.is_none();
        self.origin.breadth.share(now, self.jobs.values().any(shared));
        let more = self.has_more_for_the_origin();
        self.origin.breadth.measure(now, self.origin.active.all(), more);
        self.measure_in_order(now, more);
        self.measure_origin(now, now.since(since).as_micros() as u64);
        let slow = together < self.config.joins_below();
        if !slow {
            self.contacts.lessons.not_slow();
        }
        let ids = self.asking.jobs.clone();
        for id in ids {
            let held_back = self.timers.is_set(Timer::OriginGrace(id));
            if let Some(job) = self.jobs.get_mut(&id) {
                let waits = matches!(job.origin.state, OriginState::Ready | OriginState::Unasked)
                    && !held_back
                    && !job.streams_beside_others()
                    && job.sets.missing.next(0, None, Some(&job.sets.covered)).is_some();
                job.course.waiting = if waits { job.course.waiting + 1 } else { 0 };
                if job.is_fast() && slow && job.course.waiting >= WAITING_MAX {
                    job.origin.joined = true;
                    self.contacts.lessons.slow(now);
                }
            }
            self.want_layout(now, id);
            self.watch_sources(now, id);
            self.seek_lists(now, id);
        }
        self.watch_outages(now);
        self.watch_manifests(now);
        self.watch_takings(now);
        self.look_how_far();
        self.asking.recheck = true;
        self.switch_all(now);
        self.refill(now);
        self.take_over(now);
    }

    /// The end game: where a source is idle, what slow peers were asked for long ago is asked for once more.
    fn take_over(&mut self, now: Instant) {
        let asked: usize = self.jobs.values().map(|job| job.sets.asked.len()).sum();
        let room = (asked as u32) < self.shared_window();
        // Among many, capacity goes to what is still missing first.
        let waits = self.jobs.values().any(|job| !job.sets.missing.is_empty());
        let idle: BTreeSet<LinkId> = self
            .peers
            .iter()
            .filter(|(_, p)| {
                room && p.counts()
                    && !(p.pace.crowded && waits)
                    && !p.pace.doubted
                    && p.wants_more()
                    && !p.who.xorb_ranges_only
            })
            .map(|(link, _)| *link)
            .collect();
        let slots = self.origin.active.all() < self.origin.breadth.most();
        let mut late: Vec<(LinkId, ReqId)> = Vec::new();
        for (&id, job) in self.jobs.iter().filter(|(_, job)| !job.course.paused) {
            let origin = job.origin.state == OriginState::Ready
                && job.origin.joined
                && !self.shares_origin(job)
                && slots;
            if !origin && idle.is_empty() {
                continue;
            }
            for (&index, &(link, req)) in &job.sets.asked {
                if job.sets.twice.contains(&index) {
                    continue;
                }
                let Some(peer) = self.peers.get(&link) else { continue };
                let Some(request) = peer.asked.requests.get(&req) else { continue };
                let helps = |other: &LinkId| *other != link && self.may_give(*other, id, index);
                let old = now.since(request.at) >= peer.usual_answer().max(TAKE_OVER_AFTER / 2) * 2;
                if old && (origin || idle.iter().any(helps)) {
                    late.push((link, req));
                }
            }
        }
        if late.is_empty() {
            return;
        }
        for (link, req) in late {
            let what = self.peers.get(&link).and_then(|p| p.asked.requests.get(&req)).map(|r| r.what);
            self.count_off(link, req);
            if let Some(Pending::Chunk { job, index }) = what
                && let Some(job) = self.jobs.get_mut(&job)
            {
                job.sets.twice.insert(index);
            }
        }
        self.refill(now);
    }
}
