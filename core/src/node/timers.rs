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
    /// The moment has passed in which peers alone keep the origin from being asked for a job's layout.
    Layout(JobId),
    /// A block whose fetch failed may be tried again.
    BlockRetry(JobId, u32),
    /// A job without any usable source has waited long enough.
    Patience(JobId),
    /// An address may be dialled again.
    Redial(SocketAddr),
    /// The next address may be dialled, or a link has to make room for one.
    Dial,
    /// Rates are measured and pipelines resized.
    Measure,
    /// Interested peers are told what has been proven.
    Tell,
    /// The upload cap allows more.
    Upload,
    /// A part of the origin that failed may be tried again.
    Probe,
    /// Claims are settled, due to be renewed, or dead.
    Claims(JobId),
    /// Who was asked for a small file has been silent, or somebody to ask may have come.
    Plain,
}

/// Timers by key and by time.
#[derive(Debug)]
struct Table<K> {
    at: BTreeMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
    /// The first in that order.
    first: Option<(Instant, K)>,
}

impl<K: Ord + Copy> Table<K> {
    const fn new() -> Self {
        Self { at: BTreeMap::new(), order: BTreeSet::new(), first: None }
    }

    fn set(&mut self, key: K, at: Instant) {
        if let Some(before) = self.at.insert(key, at) {
            self.leave(key, before);
        }
        self.order.insert((at, key));
        if self.first.is_none_or(|first| (at, key) < first) {
            self.first = Some((at, key));
        }
    }

    fn cancel(&mut self, key: K) {
        if let Some(at) = self.at.remove(&key) {
            self.leave(key, at);
        }
    }

    fn leave(&mut self, key: K, at: Instant) {
        self.order.remove(&(at, key));
        if self.first == Some((at, key)) {
            self.first = self.order.first().copied();
        }
    }

    fn check_invariants(&self) {
        assert_eq!(self.at.len(), self.order.len(), "every timer is in both tables once");
        assert!(self.first == self.order.first().copied(), "the first timer is known");
    }
}

/// In which table a timer is, and under what.
enum Key {
    Stall(LinkId),
    Redial(SocketAddr),
    Other,
}

impl Timer {
    const fn key(self) -> Key {
        match self {
            Self::Stall(link) => Key::Stall(link),
            Self::Redial(addr) => Key::Redial(addr),
            Self::OriginGrace(_)
            | Self::Layout(_)
            | Self::BlockRetry(..)
            | Self::Patience(_)
            | Self::Dial
            | Self::Measure
            | Self::Plain
            | Self::Tell
            | Self::Upload
            | Self::Probe
            | Self::Claims(_) => Key::Other,
        }
    }
}

/// All timers of a node. Those of which there are many have tables of their own: their keys are smaller, and the others,
/// which move more often, stay few.
#[derive(Debug)]
pub(crate) struct Timers {
    stalls: Table<LinkId>,
    redials: Table<SocketAddr>,
    others: Table<Timer>,
    /// The first of all: it is asked for after every event.
    next: Option<(Instant, Timer)>,
}

impl Timers {
    pub(crate) const fn new() -> Self {
        Self { stalls: Table::new(), redials: Table::new(), others: Table::new(), next: None }
    }

    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        match timer.key() {
            Key::Stall(link) => self.stalls.set(link, at),
            Key::Redial(addr) => self.redials.set(addr, at),
            Key::Other => self.others.set(timer, at),
        }
        match self.next {
            Some((_, next)) if next == timer => self.next = self.first(),
            Some(next) if next < (at, timer) => {}
            _ => self.next = Some((at, timer)),
        }
    }

    /// Sets the timer unless it is already running.
    pub(crate) fn set_once(&mut self, timer: Timer, at: Instant) {
        if !self.is_set(timer) {
            self.set(timer, at);
        }
    }

    /// Makes sure the timer runs out at `at` or earlier. Whoever is woken early looks again and sets it anew.
    pub(crate) fn set_no_later(&mut self, timer: Timer, at: Instant) {
        if self.get(timer).is_none_or(|set| set > at) {
            self.set(timer, at);
        }
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        match timer.key() {
            Key::Stall(link) => self.stalls.cancel(link),
            Key::Redial(addr) => self.redials.cancel(addr),
            Key::Other => self.others.cancel(timer),
        }
        if self.next.is_some_and(|(_, next)| next == timer) {
            self.next = self.first();
        }
    }

    pub(crate) fn get(&self, timer: Timer) -> Option<Instant> {
        match timer.key() {
            Key::Stall(link) => self.stalls.at.get(&link),
            Key::Redial(addr) => self.redials.at.get(&addr),
            Key::Other => self.others.at.get(&timer),
        }
        .copied()
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.get(timer).is_some()
    }

    pub(crate) fn next(&self) -> Option<(Instant, Timer)> {
        self.next
    }

    fn first(&self) -> Option<(Instant, Timer)> {
        let stall = self.stalls.first.map(|(at, link)| (at, Timer::Stall(link)));
        let redial = self.redials.first.map(|(at, addr)| (at, Timer::Redial(addr)));
        [stall, redial, self.others.first].into_iter().flatten().min()
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
        let stalls = self.stalls.at.keys().map(|link| Timer::Stall(*link));
        let redials = self.redials.at.keys().map(|addr| Timer::Redial(*addr));
        stalls.chain(redials).chain(self.others.at.keys().copied())
    }

    pub(crate) fn check_invariants(&self) {
        self.stalls.check_invariants();
        self.redials.check_invariants();
        self.others.check_invariants();
        assert_eq!(self.next, self.first(), "the next timer is the first of all");
    }
}
