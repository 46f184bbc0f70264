//! Outages of the origin, and how long the user waits for their end.
//!
//! Two services make up the origin: the one that tells how files are laid out (the CAS, with the Hub's token for it), and the
//! one that gives their bytes (the CDN). While one is out all jobs together send it one probe at a time, at a pace that
//! [`Outage`] sets; the first answer ends the outage for all of them at once. A fault of one block among others that move is
//! that block's own.

use super::event::{JobFailure, OriginFault};
use super::from_origin::OriginState;
use super::job::Job;
use super::timers::Timer;
use super::{Action, Node};
use crate::outage::{LOOK_MAX, Outage, PATIENCE_UNHEARD, PROBE_MAX, Patience, Trouble};
use crate::{Duration, Instant, JobId};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// A part of the origin that fails as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Layouts of files: the CAS.
    Layouts,
    /// Their bytes: the CDN.
    Blocks,
}

/// One part of the origin, as it is at the moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Service {
    outage: Outage,
    /// What it said last, or what the network said of it.
    why: String,
    /// When that was.
    failed_at: Instant,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Origin {
    layouts: Service,
    blocks: Service,
    /// How long nothing came from anywhere while a job waits for the origin.
    patience: Patience,
    /// Since when the patience is over and one more try is waited for.
    last_try: Option<Instant>,
    /// When a block was last tried while the origin was out.
    pub(crate) tried_at: Instant,
    /// A peer gave something.
    pub(crate) fed: bool,
}

impl Origin {
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            layouts: Service::default(),
            blocks: Service::default(),
            patience: Patience::new(patience),
            last_try: None,
            tried_at: Instant::ZERO,
            fed: false,
        }
    }

    /// Something came, from wherever.
    pub(crate) fn came(&mut self, now: Instant) {
        self.patience.moved(now);
        self.last_try = None;
    }
}

impl Service {
    fn failed(&mut self, now: Instant, fault: &OriginFault, trouble: Trouble, jitter: u16) {
        self.outage.failed(now, trouble, jitter);
        if fault.known {
            self.outage.heard();
        }
        self.why.clone_from(&fault.text);
        self.failed_at = now;
    }
}

impl Job {
    /// Whether it gets nothing from the origin only because that is out.
    fn waits_for(&self, layouts: &Outage, blocks: &Outage) -> Option<Part> {
        match self.origin.state {
            _ if self.course.ended || self.course.paused => None,
            OriginState::Out => Some(Part::Layouts),
            OriginState::Waiting if layouts.since().is_some() => Some(Part::Layouts),
            OriginState::Ready if blocks.since().is_some() && self.wants() => Some(Part::Blocks),
            OriginState::Unasked | OriginState::Waiting | OriginState::Ready | OriginState::Gone(_) => None,
        }
    }
}

impl Node {
    /// What of the origin is out, since when, why, and whether it is waited for as long as the user waits: who never answered is
    /// not, for longer than [`PATIENCE_UNHEARD`].
    pub fn outages(&self) -> impl Iterator<Item = (Part, Instant, &str, bool)> {
        let parts = [(Part::Layouts, &self.origin.out.layouts), (Part::Blocks, &self.origin.out.blocks)];
        parts.into_iter().filter_map(|(part, service)| {
            let heard = self.origin.out.fed || service.outage.has_answered();
            service.outage.since().map(|since| (part, since, service.why.as_str(), heard))
        })
    }

    /// Blocks that may be under way at once: fewer while the origin is out, or asked to be left alone.
    pub(super) fn fetches_allowed(&self, now: Instant) -> u32 {
        let (most, outage) = (self.origin.breadth.most(), &self.origin.out.blocks.outage);
        match outage.since() {
            _ if now < outage.due() => 0,
            Some(_) => most.min(self.origin.active.all() + 1),
            None => most,
        }
    }

    /// Whether the user's patience is over and the origin is tried once more: by whoever waits for it, whatever others claim.
    pub(super) fn is_last_try(&self) -> bool {
        self.origin.out.last_try.is_some()
    }

    /// Whether the origin gives no bytes at present.
    pub(super) fn blocks_are_out(&self) -> bool {
        self.origin.out.blocks.outage.since().is_some()
    }

    /// A fetch was begun: while the origin is out it is the only one for a while.
    pub(super) fn block_tried(&mut self, now: Instant) {
        if self.blocks_are_out() {
            self.origin.out.blocks.outage.trying(now);
            self.origin.out.tried_at = now;
            self.timers.set(Timer::Probe, self.origin.out.blocks.outage.due());
        }
    }

    /// A block failed, and no other is known to be better off.
    pub(super) fn blocks_failed(&mut self, now: Instant, fault: &OriginFault, trouble: Trouble) {
        let was = self.blocks_are_out();
        let jitter = self.rng.u32() as u16;
        self.origin.out.blocks.failed(now, fault, trouble, jitter);
        self.timers.set(Timer::Probe, self.origin.out.blocks.outage.due());
        if !was {
            self.contacts.tellers.forgive();
            self.jobs.values_mut().for_each(|job| job.claims.forgive());
            // Others may be better off with it.
            for id in self.asking.jobs.clone() {
                self.release_claims(now, id);
                if let Some(job) = self.jobs.get_mut(&id).filter(|job| !job.is_fast()) {
                    // It was no neighbour that starved us.
                    job.origin.joined = false;
                    job.course.progress_at = now;
                }
            }
        }
    }

    /// The origin begins to give a block: whether its first chunk is soon whole is a matter of the line, not of the address.
    pub(super) fn block_heard(&mut self, id: JobId, block: u32) {
        let block = self.jobs.get(&id).and_then(|job| job.origin.blocks.get(block as usize));
        if block.is_some_and(|block| block.active) {
            self.origin.out.blocks.outage.heard();
        }
    }

    /// The origin gave a chunk. If it was out, all that waits for it goes on.
    pub(super) fn blocks_answered(&mut self, now: Instant) {
        if self.origin.out.blocks.outage.answered(now).is_none() {
            return;
        }
        for (&id, job) in &mut self.jobs {
            // Nobody was starved by others meanwhile.
            job.course.progress_at = now;
            for (block, state) in job.origin.blocks.iter_mut().enumerate() {
                if core::mem::take(&mut state.resting) {
                    self.timers.cancel(Timer::BlockRetry(id, block as u32));
                }
            }
        }
        self.refill(now);
    }

    /// The layout of a job was not told, for a reason that may pass.
    pub(super) fn layout_failed(&mut self, now: Instant, id: JobId, fault: &OriginFault, trouble: Trouble) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.origin.state = OriginState::Out;
        let jitter = self.rng.u32() as u16;
        self.origin.out.layouts.failed(now, fault, trouble, jitter);
        self.ask_layouts(now);
    }

    /// A layout was told: whoever waits for one asks now.
    pub(super) fn layouts_answered(&mut self, now: Instant) {
        self.origin.out.layouts.outage.answered(now);
        self.ask_layouts(now);
    }

    /// The pause of a part of the origin is over.
    pub(super) fn probe(&mut self, now: Instant) {
        self.ask_layouts(now);
        self.refill(now);
        let outage = &self.origin.out.blocks.outage;
        if outage.since().is_some() && outage.due() > now {
            self.timers.set_no_later(Timer::Probe, outage.due());
        }
    }

    /// Asks for layouts that are waited for: all, or one at a time while the service is out.
    fn ask_layouts(&mut self, now: Instant) {
        for id in self.asking.jobs.clone() {
            let Some(job) = self
                .jobs
                .get_mut(&id)
                .filter(|job| !job.course.ended && job.origin.state == OriginState::Out)
            else {
                continue;
            };
            let outage = &mut self.origin.out.layouts.outage;
            if outage.due() > now {
                self.timers.set_no_later(Timer::Probe, outage.due());
                return;
            }
            outage.trying(now);
            job.origin.state = OriginState::Waiting;
            self.actions.push_back(Action::OriginPlan { job: id });
        }
    }

    /// Time passed that this machine did not live through: it slept, or its clock jumped. It is nobody's fault.
    pub(super) fn slept(&mut self, now: Instant) {
        let gap = now.since(self.now);
        if gap > LOOK_MAX {
            for job in self.jobs.values_mut() {
                job.course.progress_at = job.course.progress_at + gap;
            }
        }
    }

    /// Ends the jobs that wait for an origin that is out, once the user's patience is over and one more try has failed.
    pub(super) fn watch_outages(&mut self, now: Instant) {
        let (layouts, blocks) = (&self.origin.out.layouts.outage, &self.origin.out.blocks.outage);
        let waits = |job: &Job| job.waits_for(layouts, blocks);
        let mut waiting: Vec<(JobId, Part)> = Vec::new();
        waiting.extend(self.jobs.iter().filter_map(|(id, job)| Some((*id, waits(job)?))));
        let busy =
            |id: &JobId| !self.jobs[id].sets.copying.is_empty() || !self.jobs[id].sets.proving.is_empty();
        if waiting.is_empty() || waiting.iter().any(|(id, _)| busy(id)) {
            return self.origin.out.came(now);
        }
        let heard = |part: Part| match part {
            Part::Layouts => self.origin.out.layouts.outage.has_answered(),
            Part::Blocks => self.origin.out.blocks.outage.has_answered(),
        };
        let heard = self.origin.out.fed || waiting.iter().all(|(_, part)| heard(*part));
        if self.origin.out.patience.left(now, heard).is_some() {
            self.origin.out.last_try = None;
            return;
        }
        // The last word is a try's, not a pause's or a neighbour's: the line may be back since the last one.
        let Some(since) = self.origin.out.last_try else {
            self.origin.out.last_try = Some(now);
            self.origin.out.layouts.outage.hurry(now);
            self.origin.out.blocks.outage.hurry(now);
            return self.probe(now);
        };
        let failed = |part: Part| match part {
            Part::Layouts => self.origin.out.layouts.failed_at >= since,
            Part::Blocks => self.origin.out.blocks.failed_at >= since,
        };
        if now < since + PROBE_MAX && !waiting.iter().all(|(_, part)| failed(*part)) {
            return;
        }
        for (id, part) in waiting {
            let service =
                if part == Part::Layouts { &self.origin.out.layouts } else { &self.origin.out.blocks };
            let fault = OriginFault::new(super::FaultKind::Unreachable, service.why.clone());
            let Some(job) = self.jobs.get(&id) else { continue };
            let missing = job.len() - job.sets.held.count();
            self.end(id);
            let why = Box::new(JobFailure::NoSource { missing, origin: Some(fault) });
            self.actions.push_back(Action::Failed { job: id, why });
        }
    }

    /// How long a job without an origin waits for peers.
    pub(super) fn patience_with_peers(&self, job: &Job) -> Duration {
        let named = self.contacts.candidates.values().any(|candidate| candidate.how == super::Found::Named);
        let hopeless = job.spec.origin && !named && self.nobody_in_sight();
        let limit = match self.origin.out.fed {
            true => self.config.patience,
            false => self.config.patience.min(PATIENCE_UNHEARD),
        };
        if hopeless { limit.min(self.config.finding) } else { limit }
    }
}

/// Whether a block that moved then still counts as moving.
pub(crate) fn moves(now: Instant, moved_at: Instant) -> bool {
    now.since(moved_at) < PROBE_MAX
}
