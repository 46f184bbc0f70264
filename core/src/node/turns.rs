//! Whose turn it is: first those jobs of which something is wanted before the rest, and of those the part that is.

use super::active::Room;
use super::block_state::BlockState;
use super::course::Priority;
use super::event::Run;
use super::fair::{Share, Standing};
use super::from_origin::OriginState;
use super::front::Front;
use super::job::Job;
use super::timers::Timer;
use super::{Action, Node};
use crate::{Duration, Instant, JobId};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::Range;

/// How long one block has the origin for itself while a reader waits for the first bytes of a file: 10 s, in which a line of
/// 50 Mbit/s brings the longest block. An origin that gives a connection less is asked for more blocks then. Ours.
const ALONE_MAX: Duration = Duration::from_secs(10);

/// A block of which less than an eighth is to come is nearly whole. Ours; 8 MB of the longest, on a line of 50 MB/s three round trips of 50 ms.
const NEARLY_WHOLE: u32 = 8;

/// How many blocks pulls may have of the origin.
pub(super) struct Rooms {
    usual: u32,
    limit: u32,
    /// The wish of those who want more and are the most urgent.
    most_urgent: Option<Priority>,
    /// Pulls that want some, or have some.
    pulls: u32,
}

impl Rooms {
    /// What one of this wish may have: of the most urgent each its share, though others came first and have all.
    pub(super) fn of(&self, wish: Priority) -> Room {
        let shares = self.pulls > 1 && self.most_urgent.is_none_or(|most| wish >= most);
        let share = if shares { (self.usual / self.pulls).max(1) } else { 0 };
        Room { usual: self.usual, share, limit: self.limit }
    }
}

impl Job {
    /// Finds out anew which chunks are the front, and which of them are held.
    pub(crate) fn measure_front(&mut self) {
        let awaited = Front::over(self.chunks_of(&self.awaited.bytes), &self.sets.held);
        self.front = match awaited.is_wanted() {
            true => awaited,
            false => Front::over(self.chunks_of(&(0..self.spec.front)), &self.sets.held),
        };
    }

    /// The chunks in which these bytes lie: no less, and more where their bounds are not known.
    fn chunks_of(&self, bytes: &Range<u64>) -> Range<u32> {
        if bytes.is_empty() {
            return 0..0;
        }
        match &self.lists.manifest {
            Some(manifest) => {
                let end = manifest.chunk_at(bytes.end - 1).map_or(manifest.len(), |last| last + 1);
                manifest.chunk_at(bytes.start).unwrap_or(end)..end
            }
            None => {
                let end = self.lists.layout.chunks_before(bytes.end).min(self.len());
                self.lists.layout.chunk_from(bytes.start).min(end)..end
            }
        }
    }

    /// Blocks the origin may begin for the front: nobody is at them, and a chunk of the front is missing that no peer has,
    /// or, if `all` are wanted, any.
    pub(crate) fn front_blocks(&self, all: bool) -> Vec<usize> {
        if !all && self.supply.has_seeds() {
            return Vec::new();
        }
        let but_not = (!all).then(|| self.supply.parts());
        let blocks = self.lists.layout.missing_in(self.front.range(), &self.sets.missing, but_not);
        let idle = |at: &usize| self.origin.blocks.get(*at).is_some_and(|state| state.is_idle());
        blocks.into_iter().map(|at| at as usize).filter(idle).collect()
    }

    /// The block that a reader waits for while nothing of the file is proven: before its last chunk is here none of it can be, so
    /// whatever is fetched beside it makes the reader wait longer.
    pub(crate) fn alone(&self, now: Instant) -> Option<usize> {
        let is_first = !self.awaited.bytes.is_empty()
            && self.lists.manifest.is_none()
            && !self.lists.layout.is_any_listed();
        if !is_first || now.since(self.awaited.since) >= ALONE_MAX {
            return None;
        }
        let at = self.lists.layout.block_of(self.lists.layout.chunk_from(self.awaited.bytes.start))? as usize;
        let block = self.origin.blocks.get(at)?;
        // Parts of xorbs are proven with the file.
        let is_coming = match block.active {
            true => !self.is_nearly_whole(block),
            false => block.is_idle() && block.any_in(&self.sets.missing, None),
        };
        (block.block.whole && is_coming).then_some(at)
    }

    /// Whether somebody waits for bytes of the file that nothing proves but their whole block.
    pub(crate) fn is_read(&self) -> bool {
        let block = || self.origin.blocks.get(self.awaited_block());
        let is_read = !self.awaited.bytes.is_empty() && self.lists.manifest.is_none();
        is_read && block().is_some_and(|state| state.block.whole)
    }

    /// The block in which the bytes lie that somebody waits for.
    pub(crate) fn awaited_block(&self) -> usize {
        let layout = &self.lists.layout;
        layout.block_of(layout.chunk_from(self.awaited.bytes.start)).unwrap_or(0) as usize
    }

    /// Blocks that the origin is at, but for those that are nearly whole: what follows them has to be asked for before they are.
    pub(crate) fn blocks_in_order(&self) -> u32 {
        let counts = |state: &&BlockState| state.active && !self.is_nearly_whole(state);
        self.origin.blocks.iter().filter(counts).count() as u32
    }

    fn is_nearly_whole(&self, state: &BlockState) -> bool {
        let held = |run: &Run| self.sets.held.count_in(run.first, run.indices().end, None);
        let held: u32 = state.block.runs.iter().map(held).sum();
        let all: u32 = state.block.runs.iter().map(|run| run.count).sum();
        (all - held.min(all)) * NEARLY_WHOLE < all
    }

    /// Whether the origin has something to do besides the blocks it is at.
    fn has_idle_block(&self) -> bool {
        self.origin.blocks.iter().any(|state| state.is_idle() && state.any_in(&self.sets.missing, None))
    }
}

impl Node {
    /// The front of a job has another length.
    pub(super) fn job_front(&mut self, id: JobId, bytes: u64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if core::mem::replace(&mut job.spec.front, bytes) == bytes {
            return;
        }
        self.look_at_front(id);
        self.asking.more();
    }

    /// Somebody waits for these bytes of a job's file.
    pub(super) fn job_awaited(&mut self, now: Instant, id: JobId, bytes: Range<u64>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let bytes = bytes.start..bytes.end.min(job.spec.size);
        if job.awaited.bytes.is_empty() {
            job.awaited.since = now;
        }
        if core::mem::replace(&mut job.awaited.bytes, bytes.clone()) == bytes {
            return;
        }
        self.look_at_front(id);
        self.asking.more();
    }

    /// Every [`super::MEASURE`]: whether those blocks of a file that is read are worth it which are fetched beside the one that somebody waits
    /// for. What several jobs get together says nothing of that.
    pub(super) fn measure_in_order(&mut self, now: Instant, more: bool) {
        let mut busy = self.jobs.iter().filter(|(_, job)| job.blocks_active() > 0);
        let only = busy.next().filter(|_| busy.next().is_none()).filter(|(_, job)| job.is_read());
        let (only, active) = match only {
            Some((id, job)) => (Some(*id), job.blocks_in_order()),
            None => (None, 0),
        };
        if !self.origin.in_order.measure(now, active, more) {
            return;
        }
        let Some(job) = only.and_then(|id| self.jobs.get_mut(&id)) else { return };
        let first = job.awaited_block();
        let blocks = job.origin.blocks.len();
        let mut keep = self.origin.in_order.at_once().unwrap_or(u32::MAX);
        for at in (first..blocks).chain(0..first.min(blocks)) {
            let state = &mut job.origin.blocks[at];
            if !state.goes_on() {
                continue;
            }
            if keep == 0 {
                state.stopping = true;
                self.actions.extend(only.map(|job| Action::OriginStop { job, block: at as u32 }));
            }
            keep = keep.saturating_sub(1);
        }
    }

    /// More, or something else, is known of a job's chunks.
    pub(super) fn look_at_front(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.measure_front();
        }
        self.order_turns();
    }

    /// Finds out anew whose turn it is: first those jobs with a front to come, for that alone, then each for all of it.
    pub(super) fn order_turns(&mut self) {
        let standing = |(id, job): (&JobId, &Job)| Standing {
            id: *id,
            wish: job.course.wish,
            pull: job.spec.pull,
            priority: job.spec.priority,
            has_front: job.front.is_wanted(),
        };
        self.asking.turns.set(self.jobs.iter().map(standing).collect());
    }

    /// How many blocks each pull may have of the origin.
    pub(super) fn rooms(&self, now: Instant) -> Rooms {
        let usual = self.fetches_allowed(now);
        let limit = self.config.origin_fetches_max.max(self.config.origin_fetches_limit);
        let mut rooms = Rooms { usual, limit, most_urgent: None, pulls: 0 };
        // While it is out it is asked for one block at a time, whosever that is.
        if self.blocks_are_out() {
            return rooms;
        }
        let mut pulls: Vec<u32> = Vec::new();
        for share in self.asking.turns.shares() {
            let wants = |id: &JobId| {
                self.jobs.get(id).is_some_and(|job| job.origin.state == OriginState::Ready && job.wants())
                    && !self.timers.is_set(Timer::OriginGrace(*id))
            };
            let wants = share.jobs.iter().any(wants);
            if wants {
                rooms.most_urgent = rooms.most_urgent.max(Some(share.wish));
            }
            if wants || self.origin.active.of(share.pull) > 0 {
                pulls.push(share.pull);
            }
        }
        pulls.sort_unstable();
        pulls.dedup();
        rooms.pulls = pulls.len() as u32;
        rooms
    }

    /// Whose turn it is at the origin, and what may be asked of it for them: of equals, first for the pull of which it gives the fewest blocks.
    pub(super) fn origin_turns(&self, now: Instant) -> Vec<(JobId, bool, Room)> {
        let rooms = self.rooms(now);
        let active = &self.origin.active;
        if active.all() >= rooms.usual && rooms.pulls < 2 {
            return Vec::new();
        }
        let mut shares: Vec<&Share> = self.asking.turns.shares().iter().collect();
        shares.sort_by_key(|share| (Reverse(share.wish), active.of(share.pull)));
        shares.retain(|share| !active.is_full(share.pull, rooms.of(share.wish)));
        let jobs = || shares.iter().flat_map(|share| share.jobs.iter().map(|id| (*id, rooms.of(share.wish))));
        let has_front = |id: &JobId| self.jobs.get(id).is_some_and(|job| job.front.is_wanted());
        let fronts = jobs().filter(|(id, _)| has_front(id)).map(|(id, room)| (id, true, room));
        fronts.chain(jobs().map(|(id, room)| (id, false, room))).collect()
    }

    /// A chunk of a job was held: if that was the last one of its front, others get their turn.
    pub(super) fn front_advanced(&mut self, now: Instant, id: JobId, index: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if !job.front.reaches(index) || job.front.is_wanted() {
            return;
        }
        // Everybody who fetches the file begins with the front. What follows it each one fetches from a place of its own, so
        // that they have something to give each other.
        let others = self.peers.values().any(|peer| peer.who.zest && peer.jobs.contains_key(&id));
        // What nothing proves yet goes on: the others follow it, or stream it themselves and leave it to one.
        let follows = self.config.tentative;
        if others && job.has_idle_block() {
            let told: Vec<bool> =
                (0..job.origin.blocks.len() as u32).map(|at| follows && job.is_unproven(at)).collect();
            for (block, state) in job.origin.blocks.iter_mut().enumerate() {
                let elsewhere = job.origin.first != Some(block) && !told[block];
                if state.for_front && state.goes_on() && elsewhere {
                    state.stopping = true;
                    self.actions.push_back(Action::OriginStop { job: id, block: block as u32 });
                }
            }
        }
        self.order_turns();
        self.asking.recheck = true;
        self.refill(now);
    }

    pub(super) fn check_turns(&self) {
        let mut turns: Vec<(JobId, bool)> = self.asking.turns.order().to_vec();
        turns.sort_unstable();
        let own =
            |(id, job): (&JobId, &Job)| [Some((*id, false)), job.front.is_wanted().then_some((*id, true))];
        let due = self.jobs.iter().flat_map(own).flatten();
        assert!(turns.into_iter().eq(due), "every front and every job has its turn");
        for share in self.asking.turns.shares() {
            let of = |id: &JobId| self.jobs.get(id).map(|job| (job.course.wish, job.spec.pull));
            let theirs = share.jobs.iter().all(|id| of(id) == Some((share.wish, share.pull)));
            assert!(theirs, "a job stands with its pull");
        }
    }
}
