//! What is counted of pulls over the life of a daemon.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use zest_runtime_tokio::{Progress, PullState, Service};

/// What is counted of pulls over the daemon's life.
#[derive(Debug, Default)]
pub(crate) struct Totals(Mutex<Counts>);

#[derive(Debug, Default, Clone)]
pub(crate) struct Counts {
    /// Of pulls that are over.
    pub(crate) over: Sources,
    /// Of pulls under way, by their number.
    pub(crate) running: BTreeMap<u64, Sources>,
    pub(crate) ended: [u64; 3],
    pub(crate) outages: [u64; 3],
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sources {
    pub(crate) peers: u64,
    pub(crate) cdn: u64,
    pub(crate) disk: u64,
}

/// The order of their counts.
pub(crate) const SERVICES: [Service; 3] = [Service::Hub, Service::Cas, Service::Cdn];

impl Sources {
    pub(crate) fn and(self, other: Self) -> Self {
        Self { peers: self.peers + other.peers, cdn: self.cdn + other.cdn, disk: self.disk + other.disk }
    }

    /// What counts never goes down, whatever a pull that begins anew says.
    fn at_least(self, other: Self) -> Self {
        Self {
            peers: self.peers.max(other.peers),
            cdn: self.cdn.max(other.cdn),
            disk: self.disk.max(other.disk),
        }
    }
}

impl Totals {
    pub(crate) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far a pull is.
    pub(crate) fn progress(&self, pull: u64, now: &Progress) {
        let now = Sources { peers: now.from_peers, cdn: now.from_cdn, disk: now.from_disk };
        let mut counts = self.counts();
        let so_far = counts.running.entry(pull).or_default();
        *so_far = so_far.at_least(now);
    }

    /// Something does not answer.
    pub(crate) fn out(&self, service: Service) {
        if let Some(at) = SERVICES.iter().position(|of| *of == service) {
            self.counts().outages[at] += 1;
        }
    }

    /// A pull is over.
    pub(crate) fn ended(&self, pull: u64, state: PullState) {
        let mut counts = self.counts();
        let last = counts.running.remove(&pull).unwrap_or_default();
        counts.over = counts.over.and(last);
        let at = match state {
            PullState::Done => 0,
            PullState::Cancelled => 2,
            _ => 1,
        };
        counts.ended[at] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pulls_have_moved_never_goes_down() {
        let totals = Totals::default();
        let at = |peers, cdn| Progress { from_peers: peers, from_cdn: cdn, ..Progress::default() };
        let sum = |totals: &Totals| {
            let counts = totals.counts();
            counts.running.values().fold(counts.over, |sum, now| sum.and(*now))
        };
        totals.progress(1, &at(10, 5));
        totals.progress(2, &at(1, 1));
        totals.progress(1, &at(8, 6));
        assert_eq!(sum(&totals), Sources { peers: 11, cdn: 7, disk: 0 });
        totals.ended(1, PullState::Done);
        assert_eq!(sum(&totals), Sources { peers: 11, cdn: 7, disk: 0 });
        totals.ended(2, PullState::Cancelled);
        assert_eq!(totals.counts().ended, [1, 0, 1]);
        assert!(totals.counts().running.is_empty());
    }
}
