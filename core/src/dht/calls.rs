//! Queries of ours that are under way. An answer counts only if its transaction id and its address are those of one.

use super::addr::Family;
use super::limits::{GIVE_UP_AFTER, SLOW_AFTER};
use super::{LookupId, NodeId};
use crate::node::rng::Rng;
use crate::{Duration, Instant};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;

/// What a query is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// A step of a lookup.
    Step(Key),
    /// The announcement at its end.
    Announce(Key),
    /// To see whether a node is there.
    Probe,
}

/// A lookup: of a key, or of our own id in one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Own(Family),
    Job(LookupId, Family),
}

impl Key {
    pub(crate) fn family(self) -> Family {
        match self {
            Self::Own(family) | Self::Job(_, family) => family,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) to: SocketAddr,
    /// Who we think lives there.
    pub(crate) id: Option<NodeId>,
    pub(crate) why: Why,
    pub(crate) sent: Instant,
    pub(crate) slow: bool,
    /// The next deadline: slow, then lost.
    due: Instant,
}

/// What became of a call whose deadline has passed.
pub(crate) enum Late {
    /// It may still be answered.
    Slow(Call),
    /// It will not be.
    Lost(Call),
}

#[derive(Debug)]
pub(crate) struct Calls {
    by_tid: BTreeMap<u32, Call>,
    order: BTreeSet<(Instant, u32)>,
    to: BTreeMap<SocketAddr, u32>,
    /// Smoothed round trip and its deviation, once there is a measurement.
    rtt: Option<(Duration, Duration)>,
}

impl Calls {
    pub(crate) fn new() -> Self {
        Self { by_tid: BTreeMap::new(), order: BTreeSet::new(), to: BTreeMap::new(), rtt: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_tid.len()
    }

    /// Whether an answer from this address is awaited.
    pub(crate) fn awaits(&self, from: SocketAddr) -> bool {
        self.to.contains_key(&from)
    }

    /// Remembers a query and gives its transaction id.
    pub(crate) fn open(
        &mut self,
        rng: &mut Rng,
        to: SocketAddr,
        id: Option<NodeId>,
        why: Why,
        now: Instant,
    ) -> u32 {
        let tid = loop {
            let tid = rng.u32();
            if !self.by_tid.contains_key(&tid) {
                break tid;
            }
        };
        let due = now + self.slow_after();
        self.by_tid.insert(tid, Call { to, id, why, sent: now, slow: false, due });
        self.order.insert((due, tid));
        *self.to.entry(to).or_default() += 1;
        tid
    }

    /// An answer came: the call it belongs to, if it is one we wait for.
    pub(crate) fn close(&mut self, tid: &[u8], from: SocketAddr, now: Instant) -> Option<Call> {
        let tid = u32::from_be_bytes(tid.try_into().ok()?);
        let call = self.by_tid.get(&tid).filter(|call| call.to == from)?;
        let took = now.since(call.sent);
        self.rtt = Some(match self.rtt {
            None => (took, took / 2),
            // RFC 6298.
            Some((mean, deviation)) => ((mean * 7 + took) / 8, (deviation * 3 + mean.abs_diff(took)) / 4),
        });
        self.remove(tid)
    }

    fn remove(&mut self, tid: u32) -> Option<Call> {
        let call = self.by_tid.remove(&tid)?;
        self.order.remove(&(call.due, tid));
        if let Some(count) = self.to.get_mut(&call.to) {
            *count -= 1;
            if *count == 0 {
                self.to.remove(&call.to);
            }
        }
        Some(call)
    }

    /// Every call is forgotten, nobody is to blame.
    pub(crate) fn clear(&mut self) -> Vec<Call> {
        self.order.clear();
        self.to.clear();
        core::mem::take(&mut self.by_tid).into_values().collect()
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }

    pub(crate) fn pop_late(&mut self, now: Instant) -> Option<Late> {
        let (due, tid) = *self.order.first()?;
        if due > now {
            return None;
        }
        let lost = self.lost_after();
        let call = self.by_tid.get_mut(&tid).expect("every deadline has its call");
        if call.slow {
            return self.remove(tid).map(Late::Lost);
        }
        call.slow = true;
        self.order.remove(&(due, tid));
        call.due = (call.sent + lost).max(due);
        self.order.insert((call.due, tid));
        Some(Late::Slow(*call))
    }

    pub(crate) fn slow_after(&self) -> Duration {
        let (least, first, most) = SLOW_AFTER;
        self.rtt.map_or(first, |(mean, deviation)| (mean + deviation * 4).clamp(least, most))
    }

    fn lost_after(&self) -> Duration {
        (self.slow_after() * 4).clamp(GIVE_UP_AFTER.0, GIVE_UP_AFTER.1)
    }

    /// The measured round trip.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.rtt.map(|(mean, _)| mean)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Call> {
        self.by_tid.values()
    }

    pub(crate) fn check_invariants(&self) {
        assert_eq!(self.by_tid.len(), self.order.len(), "every call has one deadline");
        assert_eq!(self.to.values().sum::<u32>() as usize, self.by_tid.len(), "every call has one address");
    }
}
