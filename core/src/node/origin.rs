//! The origin as a source: which blocks it is asked for, when it joins the peers, and what follows its faults.

use super::active::Active;
use super::event::{FaultKind, OriginFault, Source};
use super::from_origin::OriginState;
use super::job::Job;
use super::outages::moves;
use super::peer::{Has, Peer, Pending, With};
use super::sparing::machines;
use super::timers::Timer;
use super::{Action, BitSet, Node};
use crate::{Duration, Instant, JobId, LinkId};
use alloc::vec::Vec;

/// Times in a row that one block gave something else than was asked for, without a good chunk in between, after which the
/// origin counts as gone for the job. Ours.
const BLOCK_FAULTS_MAX: u32 = 5;
/// First pause after that: 250 ms, doubles with each further one. Ours.
const BLOCK_RETRY: Duration = Duration::from_millis(250);
/// How long a manifest that keeps coming from a peer may hold the origin back: 2 s, one stall. Ours.
pub(crate) const GRACE_MAX: Duration = Duration::from_secs(2);
/// Others that fetch the same file as we do, from which on it is a crowd: 2. Ours.
const CROWD: usize = 2;
/// Blocks fetched at once in a crowd: 2. Ours.
const STREAMS_CROWDED: u32 = 2;
/// And as long as nobody can give anything because the file's chunks are known to nobody: 1, so that something is soon
/// whole. Ours.
const STREAMS_UNLISTED: u32 = 1;
/// And beside a zest 0.4 peer at such a file: 1. Ours; it is given one block at a time, and finds none where all are begun at once.
const STREAMS_BESIDE_RANGES: u32 = 1;
/// As long as that peer may give so much: 20 MB/s. Ours; what is slower does not keep the origin from being used.
const RANGES_BYTES_S: u64 = 20_000_000;
/// Age from which a zest 0.4 peer's block is taken over by an origin that has nothing else to do: 1 s. Ours.
const TAKE_OVER_AFTER: Duration = Duration::from_secs(1);

impl Job {
    /// Marks a block's chunks as under way, or not any more if neither the origin nor a peer is at it.
    pub(crate) fn cover(&mut self, at: usize) {
        let state = &self.origin.blocks[at];
        for run in &state.block.runs {
            if state.active || state.followed || state.peer.is_some() {
                self.sets.covered.insert_run(run.first, run.count);
            } else {
                self.sets.covered.remove_run(run.first, run.count);
            }
        }
    }

    /// Whether a zest 0.4 peer is at a block, and may soon want the next.
    fn is_beside_ranges(&self, now: Instant) -> bool {
        self.lists.manifest.is_none()
            && self.origin.blocks.iter().any(|state| {
                let takes =
                    Duration::from_micros(state.block.wire_bytes.saturating_mul(1_000_000) / RANGES_BYTES_S);
                state.peer.is_some_and(|(_, since)| now.since(since) < takes.max(TAKE_OVER_AFTER))
            })
    }

    /// Whether a block has a chunk that nobody is at, and that no peer has unless `all` are wanted.
    fn is_wanted(&self, at: usize, all: bool) -> bool {
        let state = &self.origin.blocks[at];
        match all {
            true => state.any_in(&self.sets.missing, None),
            false => !self.supply.has_seeds() && state.any_in(&self.sets.missing, Some(self.supply.parts())),
        }
    }
}

impl Node {
    /// What comes in earns whoever gives it two graces more, until `end`: whether it is not over yet.
    pub(super) fn another_moment(&mut self, now: Instant, timer: Timer, end: Instant) -> bool {
        let pause = (self.config.origin_grace * 2).max(Duration::from_millis(1));
        let more = now < end;
        if more {
            self.timers.set(timer, (now + pause).min(end));
        }
        more
    }

    /// The head start of the peers is over, unless a manifest is coming in: that earns them another moment.
    pub(super) fn grace_over(&mut self, now: Instant, id: JobId) {
        if let Some(until) = self.waits_on(now, id) {
            self.timers.set(Timer::OriginGrace(id), until);
            return;
        }
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let end = job.origin.grace_end;
        let coming = job.lists.ask.as_mut().is_some_and(|ask| core::mem::take(&mut ask.moved) || ask.proving);
        let late = job.lists.ask.filter(|ask| !ask.proving).map(|ask| ask.link);
        if coming && self.another_moment(now, Timer::OriginGrace(id), end) {
            return;
        }
        if let Some(peer) = late.and_then(|link| self.peers.get_mut(&link)) {
            peer.was_waited_for();
        }
        self.asking.due = true;
    }

    /// Gives free origin slots to blocks that only the origin can serve, or that help slow peers.
    pub(super) fn fill_origin(&mut self, now: Instant) {
        if self.origin_turns(now).is_empty() {
            return;
        }
        let (out, before) = (self.blocks_are_out(), self.origin.active.all());
        let last = out && self.is_last_try();
        for id in self.asking.jobs.clone() {
            let ready =
                self.jobs.get(&id).is_some_and(|job| job.origin.state == OriginState::Ready && job.wants());
            if ready && !self.timers.is_set(Timer::OriginGrace(id)) {
                self.leave_to_others(now, id);
            }
        }
        let mut too_slow: Vec<LinkId> = Vec::new();
        let mut shared: Vec<JobId> = Vec::new();
        for (id, front, room) in self.origin_turns(now) {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            let pull = job.spec.pull;
            if self.origin.active.is_full(pull, room) {
                continue;
            }
            let ready = job.origin.state == OriginState::Ready && job.wants();
            if !ready || self.timers.is_set(Timer::OriginGrace(id)) {
                continue;
            }
            if !last && job.shares_origin(self.origin.sparing.on) {
                // The swarm's units have one order, and it begins with the first: nobody changes it alone.
                if !front {
                    shared.push(id);
                }
                continue;
            }
            // What is said by those of whom nobody expects anything at the moment holds nothing back.
            let gives = |p: &Peer| {
                let some = |with: &With| with.counted && !with.has.is_none();
                p.is_worth_waiting_for() && p.jobs.get(&id).is_some_and(some)
            };
            let alone = last || job.origin.joined || !self.peers.values().any(gives);
            let all = alone || job.lists.manifest.is_none();
            // Where many fetch the same, a few streams each bring in more that is new to all of them.
            // Who said what it has before the size of the file was known is one of them as well.
            let fetches_too = |p: &&Peer| {
                let part = |with: &With| p.pace.crowded || with.counted && matches!(with.has, Has::Some(_));
                p.counts() && p.jobs.get(&id).is_some_and(part)
            };
            let crowd = machines(self.peers.values().filter(fetches_too));
            let most = if crowd >= CROWD {
                STREAMS_CROWDED
            } else if job.origin.many && job.lists.manifest.is_none() {
                STREAMS_UNLISTED
            } else if job.is_beside_ranges(now) {
                STREAMS_BESIDE_RANGES
            } else {
                self.origin.breadth.most()
            };
            if out {
                // One of those that failed least often: what one block cannot give may be that block's own fault.
                let idle = |at: &usize| job.origin.blocks[*at].is_idle() && job.is_wanted(*at, all);
                let next = (0..job.origin.blocks.len())
                    .filter(idle)
                    .min_by_key(|at| job.origin.blocks[*at].outage.faults());
                let Some(at) = next else { continue };
                self.actions.push_back(job.begin_fetch(id, at, &mut self.origin.active));
                break;
            }
            // What somebody waits for is proven block by block: one after the other, unless more at once bring more.
            let in_order = (crowd == 0 && job.is_read()).then(|| self.origin.in_order.at_once());
            if let Some(at) = job.alone(now).filter(|_| all && in_order.is_none_or(|most| most == Some(1))) {
                if job.origin.blocks[at].is_idle() {
                    self.actions.push_back(job.begin_fetch(id, at, &mut self.origin.active));
                    job.origin.blocks[at].for_front = true;
                }
                continue;
            }
            if front {
                for at in job.front_blocks(all) {
                    if self.origin.active.of(pull) >= most || self.origin.active.is_full(pull, room) {
                        break;
                    }
                    self.actions.push_back(job.begin_fetch(id, at, &mut self.origin.active));
                    job.origin.blocks[at].for_front = true;
                }
                continue;
            }
            let mut began = false;
            let mut with_peer = None;
            // Nodes that begin together begin at several places, so that they have something to give each other.
            let blocks = job.origin.blocks.len();
            if job.origin.first.is_none() && blocks > 0 {
                let others = self.peers.values().any(|peer| peer.who.zest && peer.jobs.contains_key(&id));
                job.origin.first = Some(if others { self.rng.below(blocks as u32) as usize } else { 0 });
            }
            let at_once = in_order.flatten();
            let first = match at_once {
                Some(_) => job.awaited_block(),
                None => job.origin.first.unwrap_or(0),
            };
            for at in (first..blocks).chain(0..first.min(blocks)) {
                if self.origin.active.of(pull) >= most
                    || self.origin.active.is_full(pull, room)
                    || at_once.is_some_and(|most| job.blocks_in_order() >= most)
                {
                    break;
                }
                let state = &job.origin.blocks[at];
                // A block that was followed and is proven: whoever streamed it gives what is still to come. The origin would begin with what
                // is here already, as only who streamed it knows where in it the rest lies.
                let followed = job.origin.blocks[at].follows > 0 && job.lists.layout.is_listed(at as u32);
                let theirs = followed && job.is_fast();
                let all = alone || all && !theirs;
                if state.active || state.resting || state.followed || !job.is_wanted(at, all) {
                    continue;
                }
                if job.origin.left.as_ref().is_some_and(|left| left.holds(now, at as u32)) {
                    continue;
                }
                let state = &job.origin.blocks[at];
                if let Some((link, since)) = state.peer {
                    if now.since(since) >= TAKE_OVER_AFTER {
                        with_peer.get_or_insert((at, link));
                    }
                    continue;
                }
                self.actions.push_back(job.begin_fetch(id, at, &mut self.origin.active));
                began = true;
            }
            let Some((at, link)) = with_peer.filter(|_| !began && job.blocks_active() == 0) else { continue };
            if job.lists.manifest.is_some() {
                // Every chunk is proven by itself: whoever is first has it.
                self.actions.push_back(job.begin_fetch(id, at, &mut self.origin.active));
            } else {
                // What the peer sends is proven as a whole only, so two must not be at it: the peer has to go.
                too_slow.push(link);
            }
        }
        for link in too_slow {
            self.close(link, "it is too slow with a xorb that the origin can give");
            self.refill(now);
        }
        for id in shared {
            self.fill_shared(now, id);
        }
        if self.origin.active.all() > before {
            self.block_tried(now);
        }
    }

    /// A source gave `index`: if that was the last chunk of a block under way, stop paying for it.
    pub(super) fn block_advanced(&mut self, id: JobId, index: u32, source: Source) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if !job.sets.covered.contains(index) {
            return;
        }
        let Some(at) = job.lists.layout.block_of(index).map(|at| at as usize) else { return };
        let Some(state) = job.origin.blocks.get_mut(at).filter(|state| state.active) else { return };
        if source == Source::Origin {
            state.advanced(self.now, index);
        }
        // Most of the time the very next chunk is still to come and the look ends there. What slow peers were asked for
        // still counts as to come: the origin is not stopped on the strength of a promise.
        let next = state.next();
        let open =
            |i: u32| i < job.sets.held.len() && !job.sets.held.contains(i) && !job.sets.proving.contains(i);
        if state.stopping || (open(next) && state.contains(next)) {
            return;
        }
        if !state.any_not_held(&job.sets.held, &job.sets.proving) {
            state.stopping = true;
            self.actions.push_back(Action::OriginStop { job: id, block: at as u32 });
        }
    }

    pub(super) fn origin_ended(&mut self, now: Instant, id: JobId, block: u32, fault: Option<OriginFault>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let at = block as usize;
        let Some(state) = job.origin.blocks.get_mut(at).filter(|state| state.active) else { return };
        let stopped = core::mem::take(&mut state.stopping);
        state.active = false;
        self.origin.active.end(job.spec.pull, 1);
        job.cover(at);
        let short = || {
            let text = "a block of the origin ended before its last chunk was good";
            OriginFault::new(FaultKind::Broken, text)
        };
        // It may end well with chunks missing: a place that did not prove. That is asked for again, a few times.
        let incomplete = !stopped && job.origin.blocks[at].any_in(&job.sets.missing, None);
        // One that breaks off goes on where it was; one that ends without a proof was not what it should be.
        if fault.as_ref().is_none_or(|fault| fault.trouble().is_none()) {
            self.end_stream(id, block, stopped && fault.is_none());
        }
        self.follow_offers(now, id);
        if let Some(fault) = fault.or_else(|| incomplete.then(short)) {
            self.block_fault(now, id, block, fault);
        }
        self.units_done(now, id);
        if self.jobs.get(&id).is_some_and(|job| !self.shares_origin(job)) {
            self.release_idle(now, id);
        }
        self.seek_lists(now, id);
        self.watch_sources(now, id);
        self.asking.due = true;
    }

    /// Whether more streams would find something to fetch.
    pub(super) fn has_more_for_the_origin(&self) -> bool {
        let more = |job: &Job| {
            job.origin
                .blocks
                .iter()
                .any(|state| state.is_idle() && state.peer.is_none() && state.any_in(&job.sets.missing, None))
        };
        self.jobs.values().filter(|job| job.origin.state == OriginState::Ready && job.wants()).any(more)
    }

    fn block_fault(&mut self, now: Instant, id: JobId, block: u32, fault: OriginFault) {
        if fault.kind == FaultKind::Busy {
            self.origin.breadth.refused(now);
        }
        let others_move = self
            .jobs
            .values()
            .flat_map(|job| &job.origin.blocks)
            .any(|b| b.active && moves(now, b.moved_at()));
        let trouble = fault.trouble();
        let jitter = if trouble.is_some() { self.rng.u32() as u16 } else { 0 };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let state = &mut job.origin.blocks[block as usize];
        let pause = match trouble {
            Some(trouble) => {
                let pause = state.outage.failed(now, trouble, jitter);
                if !others_move || fault.retry_after.is_some() {
                    return self.blocks_failed(now, &fault, trouble);
                }
                pause
            }
            None => {
                let faults = state.went_wrong();
                if fault.kind == FaultKind::Permanent || faults >= BLOCK_FAULTS_MAX {
                    job.origin.state = OriginState::Gone(fault);
                    return self.release_claims(now, id);
                }
                BLOCK_RETRY * (1 << (faults - 1))
            }
        };
        state.resting = true;
        self.timers.set(Timer::BlockRetry(id, block), now + pause);
    }

    pub(super) fn block_retry(&mut self, id: JobId, block: u32) {
        let job = self.jobs.get_mut(&id);
        let Some(state) = job.and_then(|j| j.origin.blocks.get_mut(block as usize)) else { return };
        state.resting = false;
        self.asking.due = true;
    }

    pub(super) fn origin_gone(&mut self, now: Instant, id: JobId, why: OriginFault) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if let Some(trouble) =
            why.trouble().filter(|_| job.origin.state == OriginState::Waiting && !job.course.ended)
        {
            return self.layout_failed(now, id, &why, trouble);
        }
        job.origin.state = OriginState::Gone(why);
        self.release_claims(now, id);
        self.watch_sources(now, id);
        self.asking.due = true;
    }

    /// The origin's layout turned out to be wrong: its blocks are forgotten, those under way called off.
    pub(super) fn origin_distrusted(&mut self, now: Instant, id: JobId, why: OriginFault) {
        let links: Vec<LinkId> = self.peers.keys().copied().collect();
        for link in links {
            self.call_off(
                link,
                |what| matches!(what, Pending::Block { job, .. } | Pending::List { job, .. } if *job == id),
            );
        }
        self.withdraw_streams(id);
        self.drop_takings(id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.unproven.offers.clear();
        self.origin.active.end(job.spec.pull, job.blocks_active());
        for (block, state) in core::mem::take(&mut job.origin.blocks).into_iter().enumerate() {
            let block = block as u32;
            self.timers.cancel(Timer::BlockRetry(id, block));
            if state.goes_on() {
                self.actions.push_back(Action::OriginStop { job: id, block });
            }
        }
        job.sets.covered = BitSet::empty(job.sets.covered.len());
        job.lists.layout = super::layout::Layout::default();
        job.lists.list_asks.clear();
        self.origin_gone(now, id, why);
    }
}

impl Job {
    /// The action that asks the origin for a block, which is counted in `active` from now on.
    #[must_use]
    pub(crate) fn begin_fetch(&mut self, id: JobId, at: usize, active: &mut Active) -> Action {
        self.origin.blocks[at].begin();
        self.cover(at);
        active.begin(self.spec.pull);
        Action::OriginFetch { job: id, block: at as u32 }
    }
}
