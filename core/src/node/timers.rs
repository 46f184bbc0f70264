//! The node's timers: at most one per cause, found and moved in O(log n).

use crate::{Instant, JobId, LinkId};
use alloc::collections::{BTreeMap, BTreeSet};
use core::net::SocketAddr;

/// Why the node wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A peer with outstanding requests has delivered nothing for a while.
    Stall(LinkId),
    /// The time in which peers alone may start a job has passed.
    OriginGrace(JobId),
    /// A block whose fetch failed may be tried again.
    BlockRetry(JobId, u32),
    /// A job without any usable source has waited long enough.
    Patience(JobId),
    /// An address may be dialled again.
    Redial(SocketAddr),
    /// Rates are measured and pipelines resized.
    Measure,
    /// Interested peers are told what has been proven.
    Tell,
    /// The upload cap allows more.
    Upload,
    /// Claims are settled, due to be renewed, or dead.
    Claims(JobId),
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    at: BTreeMap<Timer, Instant>,
    order: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.cancel(timer);
        self.at.insert(timer, at);
        self.order.insert((at, timer));
    }

    /// Sets the timer unless it is already running.
    pub(crate) fn set_once(&mut self, timer: Timer, at: Instant) {
        if !self.at.contains_key(&timer) {
            self.set(timer, at);
        }
    }

    /// Makes sure the timer runs out at `at` or earlier. Whoever is woken early looks again and sets it anew.
    pub(crate) fn set_no_later(&mut self, timer: Timer, at: Instant) {
        if self.at.get(&timer).is_none_or(|set| *set > at) {
            self.set(timer, at);
        }
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.at.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    pub(crate) fn get(&self, timer: Timer) -> Option<Instant> {
        self.at.get(&timer).copied()
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.at.contains_key(&timer)
    }

    pub(crate) fn next(&self) -> Option<(Instant, Timer)> {
        self.order.first().copied()
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = self.next()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }

    /// Every timer that runs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Timer> + '_ {
        self.at.keys().copied()
    }

    pub(crate) fn check_invariants(&self) {
        assert_eq!(self.at.len(), self.order.len(), "every timer is in both tables once");
    }
}
