//! What is kept of each party: everybody at one address, over all its links and for a while after.

use super::lanes::Lane;
use super::limits::{
    INTERESTS_ALL_MAX, INTERESTS_PARTY_MAX, PARTIES_PAST_MAX, PRICE, PRICE_BURST, PRICE_PAID_BYTES,
};
use super::repeats::Repeats;
use crate::endpoint::Party;
use crate::{Duration, Instant, LinkId};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

/// One of them.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Links that are up.
    pub(crate) links: u32,
    /// Its place in line: the number of its last turn; 0 for a newcomer.
    pub(super) turn: u64,
    /// Bytes that its chunks were longer than a turn, less those that they were shorter.
    pub(super) over: i64,
    /// What it was given, to see whether it asks for that again.
    pub(super) repeats: Repeats,
    /// Its peers whose requests wait, by when they were served last: those that nothing is under way to, and those that may be
    /// given more.
    pub(super) fresh: BTreeSet<(u64, LinkId)>,
    pub(super) going: BTreeSet<(u64, LinkId)>,
    /// All its peers whose requests wait.
    waiting: u32,
    /// Its peers whose sockets have something to take, or will.
    pub(super) busy: u32,
    /// When its small talk is paid for.
    paid_at: Instant,
    /// Bytes that its links were given and have not taken, and those that what is being looked up for it may come to.
    pub(super) ahead: u64,
    /// Bytes it was given of today's budget.
    pub(super) given: u64,
    /// Files that its peers are interested in.
    interests: u32,
    /// It stands among those that left.
    past: bool,
}

impl Record {
    /// One peer more whose requests wait, or one less: whether it is the first, or was the last.
    pub(super) fn waits(&mut self, comes: bool) -> bool {
        self.waiting = if comes { self.waiting + 1 } else { self.waiting - 1 };
        self.waiting == u32::from(comes)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    pub(super) fn lane(&mut self, lane: Lane) -> Option<&mut BTreeSet<(u64, LinkId)>> {
        match lane {
            Lane::Fresh => Some(&mut self.fresh),
            Lane::Going => Some(&mut self.going),
            Lane::Full => None,
        }
    }

    /// It said something that we have to look at: until when nothing more is taken in from it, if it says too much that leads
    /// to nothing.
    pub(super) fn said(&mut self, now: Instant) -> Option<Instant> {
        self.paid_at = self.paid_at.max(now) + PRICE;
        let until = Instant(self.paid_at.0.saturating_sub(PRICE_BURST.as_micros() as u64));
        (until > now).then_some(until)
    }

    /// It took so many bytes of what it asked for: they pay for what it says.
    pub(super) fn took(&mut self, bytes: u64) {
        let us = bytes.saturating_mul(PRICE.as_micros() as u64) / PRICE_PAID_BYTES;
        self.paid_at = Instant(self.paid_at.0.saturating_sub(us));
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Parties {
    records: BTreeMap<Party, Record>,
    /// Those without a link, oldest first: who comes back is no newcomer.
    past: VecDeque<Party>,
    /// Files that peers are interested in, over all of them.
    interests: u32,
}

impl Parties {
    pub(crate) fn get(&self, party: Party) -> Option<&Record> {
        self.records.get(&party)
    }

    pub(super) fn get_mut(&mut self, party: Party) -> Option<&mut Record> {
        self.records.get_mut(&party)
    }

    /// One more link.
    pub(super) fn came(&mut self, party: Party) {
        self.records.entry(party).or_default().links += 1;
    }

    /// One link less.
    pub(super) fn left(&mut self, party: Party) {
        let Some(record) = self.records.get_mut(&party) else { return };
        record.links = record.links.saturating_sub(1);
        if record.links > 0 || core::mem::replace(&mut record.past, true) {
            return;
        }
        self.past.push_back(party);
        if self.past.len() > PARTIES_PAST_MAX
            && let Some(oldest) = self.past.pop_front()
            && let Some(record) = self.records.get_mut(&oldest)
        {
            record.past = false;
            if record.links == 0 {
                self.records.remove(&oldest);
            }
        }
    }

    /// Whether one more file that we do not fetch is remembered of a party.
    pub(super) fn has_room_for_interest(&self, party: Party) -> bool {
        let ours = self.get(party).map_or(0, |record| record.interests);
        ours < INTERESTS_PARTY_MAX && self.interests < INTERESTS_ALL_MAX
    }

    /// Files that peers are interested in, over all of them.
    pub(super) fn interested(&self) -> u32 {
        self.interests
    }

    /// Its peers are interested in so many files more, or less.
    pub(super) fn interests(&mut self, party: Party, change: i32) {
        if let Some(record) = self.records.get_mut(&party) {
            record.interests = record.interests.saturating_add_signed(change);
            self.interests = self.interests.saturating_add_signed(change);
        }
    }

    /// A party may ask again for so many things that it was given.
    pub(super) fn excuse(&mut self, party: Party, things: u64) {
        if let Some(record) = self.records.get_mut(&party) {
            record.repeats.excuse(things);
        }
    }

    /// A new day.
    pub(super) fn forget_given(&mut self) {
        self.records.values_mut().for_each(|record| record.given = 0);
    }

    /// What parties were given and have not taken, all together.
    pub(super) fn ahead(&self) -> u64 {
        self.records.values().map(|record| record.ahead).sum()
    }

    /// Peers that stand in line.
    pub(super) fn standing(&self) -> usize {
        self.records.values().map(|record| record.fresh.len() + record.going.len()).sum()
    }

    pub(super) fn check_invariants(&self, links: usize, interests: usize) {
        assert_eq!(self.interests as usize, interests, "interests are counted");
        assert!(self.past.len() <= PARTIES_PAST_MAX, "parties that left are bounded");
        let counted: usize = self.records.values().map(|record| record.links as usize).sum();
        assert_eq!(counted, links, "every link is its party's");
        let without = self.records.values().filter(|record| record.links == 0).count();
        assert!(without <= self.past.len(), "who has no link is among those that left");
        self.records.values().for_each(|record| record.repeats.check_invariants());
    }
}

const _: () = assert!(PRICE_BURST.as_micros() > Duration::from_millis(100).as_micros());
