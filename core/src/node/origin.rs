//! The origin as a source: which blocks it is asked for, when it joins the peers, and what follows its faults.

use super::event::OriginFault;
use super::job::OriginState;
use super::timers::Timer;
use super::{Action, BitSet, Node};
use crate::{Duration, Instant, JobId};

/// Faults of one block after which the origin counts as gone for the job. The origin driver has its own tries below.
const BLOCK_FAULTS_MAX: u32 = 5;
/// First pause after a fault; doubles with each further one.
const BLOCK_RETRY: Duration = Duration::from_millis(250);

impl Node {
    pub(super) fn grace_over(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        // A manifest that is on its way earns the peers one more moment, once.
        if job.manifest_ask.is_some_and(|ask| ask.next > 0) && job.origin == OriginState::Grace {
            job.origin = OriginState::Ready { joined: false };
            self.timers.set(Timer::OriginGrace(id), now + self.config.origin_grace * 4);
            return;
        }
        if job.origin == OriginState::Grace {
            job.origin = OriginState::Ready { joined: false };
        }
        self.refill(now);
    }

    /// Gives free origin slots to blocks that only the origin can serve, or that help slow peers.
    pub(super) fn fill_origin(&mut self) {
        if self.origin_active >= self.config.origin_fetches_max {
            return;
        }
        for (&id, job) in &mut self.jobs {
            let OriginState::Ready { joined } = job.origin else { continue };
            if job.completed || job.missing.is_empty() || self.timers.is_set(Timer::OriginGrace(id)) {
                continue;
            }
            for at in 0..job.blocks.len() {
                if self.origin_active >= self.config.origin_fetches_max {
                    return;
                }
                let state = &job.blocks[at];
                if state.active || state.resting {
                    continue;
                }
                let but_not = if joined || job.manifest.is_none() { None } else { Some(&job.peers_have) };
                if !wanted(&state.block.runs, &job.missing, but_not) {
                    continue;
                }
                let state = &mut job.blocks[at];
                state.active = true;
                state.stopping = false;
                state.at = state.block.runs.first().map_or(0, |run| run.0);
                for &(first, count) in &state.block.runs {
                    job.covered.insert_run(first, count);
                }
                self.origin_active += 1;
                self.actions.push_back(Action::OriginFetch { job: id, block: at as u32 });
            }
        }
    }

    /// The origin gave `index`: if peers hold or were asked for all the rest of the block, stop paying for it.
    pub(super) fn block_advanced(&mut self, id: JobId, index: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.covered.remove(index);
        let found = job.blocks.iter().position(|b| {
            b.active && b.block.runs.iter().any(|&(first, n)| index >= first && index - first < n)
        });
        let Some(at) = found else { return };
        job.blocks[at].at = index;
        // A block that moves on is not failing: only faults in a row count.
        job.blocks[at].faults = 0;
        self.stop_if_done(id, at as u32);
    }

    /// Stops an active block whose remaining chunks nobody needs from the origin.
    pub(super) fn stop_if_done(&mut self, id: JobId, block: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(state) = job.blocks.get_mut(block as usize) else { return };
        if !state.active || state.stopping {
            return;
        }
        // Most of the time the very next chunk is missing and the look ends there.
        let next = state.at + 1;
        if job.missing.contains(next) && job.covered.contains(next) {
            return;
        }
        if !wanted(&state.block.runs, &job.missing, None) {
            state.stopping = true;
            self.actions.push_back(Action::OriginStop { job: id, block });
        }
    }

    pub(super) fn origin_ended(&mut self, now: Instant, id: JobId, block: u32, fault: Option<OriginFault>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(state) = job.blocks.get_mut(block as usize) else { return };
        if !state.active {
            return;
        }
        state.active = false;
        self.origin_active -= 1;
        // Blocks of one file never share a chunk index, so what this one covered is free again.
        for &(first, count) in &state.block.runs {
            for index in first..first.saturating_add(count).min(job.covered.len()) {
                job.covered.remove(index);
            }
        }
        match fault {
            None if wanted(&state.block.runs, &job.missing, None) && !state.stopping => {
                // It ended well and yet something is missing: a place that did not prove. Ask again, a few times.
                self.block_fault(
                    now,
                    id,
                    block,
                    OriginFault {
                        text: "a block of the origin ended before its last chunk".into(),
                        retry_after: None,
                        permanent: false,
                    },
                );
            }
            None => {}
            Some(fault) => self.block_fault(now, id, block, fault),
        }
        self.watch_sources(now, id);
        self.refill(now);
    }

    fn block_fault(&mut self, now: Instant, id: JobId, block: u32, fault: OriginFault) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let state = &mut job.blocks[block as usize];
        state.faults += 1;
        if fault.permanent || state.faults >= BLOCK_FAULTS_MAX {
            job.origin = OriginState::Gone(fault.clone());
        } else {
            state.resting = true;
            let pause = fault.retry_after.unwrap_or(BLOCK_RETRY * (1 << (state.faults - 1).min(6)));
            self.timers.set(Timer::BlockRetry(id, block), now + pause);
        }
        job.last_fault = Some(fault);
    }

    pub(super) fn block_retry(&mut self, now: Instant, id: JobId, block: u32) {
        let Some(state) = self.jobs.get_mut(&id).and_then(|j| j.blocks.get_mut(block as usize)) else {
            return;
        };
        state.resting = false;
        self.refill(now);
    }

    pub(super) fn origin_gone(&mut self, now: Instant, id: JobId, why: OriginFault) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.origin = OriginState::Gone(why.clone());
        job.last_fault = Some(why);
        self.watch_sources(now, id);
        self.refill(now);
    }
}

/// Whether a chunk of these runs is in `missing` and not in `but_not`.
fn wanted(runs: &[(u32, u32)], missing: &BitSet, but_not: Option<&BitSet>) -> bool {
    runs.iter().any(|&(first, count)| {
        missing.next(first, None, but_not).is_some_and(|index| index < first.saturating_add(count))
    })
}
