//! Those whose requests wait for us, in line: where each stands, what is under way to it, and what may go out now.
//!
//! Parties stand in line, not links: whoever opens a hundred links from one address has one turn among the others, which
//! goes round among its links. A turn is a chunk, or as much of a chunk list.

use super::ask::Ask;
use super::lag::Lag;
use super::lanes::{Lane, Line};
use super::limits::{BEHIND_MAX, BUDGET_PARTY_MIN, BUDGET_SHARE, REPEAT_TURNS};
use super::party::{Parties, Record};
use super::queue::{AHEAD_CHUNKS, Upload};
use super::repeats::Marker;
use super::spent::Spent;
use crate::endpoint::Party;
use crate::{Duration, Instant, LinkId};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use zest_xet::{CHUNK_BYTES_MAX, CHUNK_BYTES_TARGET};

/// With so many bytes ahead of its party, a further link gets lists in turn only: 8 MiB, what the longest chunks ahead of four links
/// have. Ours; less holds up neighbours of 400 MB/s.
pub(super) const LISTS_AHEAD_BYTES: u64 = 4 * AHEAD_CHUNKS as u64 * CHUNK_BYTES_MAX as u64;

/// Who has something to take and took something within this time is being served: 1 s. Ours; where many links share a line the
/// turn of each comes rarely, in that time a line of 1 MB/s serves sixteen once.
pub(super) const QUIET: Duration = Duration::from_secs(1);
/// And who has nothing to take at the moment: 250 ms. Ours; the next request may be on its way round the world.
const PAUSE: Duration = Duration::from_millis(250);
/// A budget that grows by more than a sixteenth of itself is a new day's: what was told to a link that broke does not count
/// as given, and comes back. Ours.
const NEW_DAY: u64 = 16;
/// Under a cap a party has so much of a second before it at most: a sixteenth, or one chunk. Ours.
const CAP_PARTY_SHARE: u64 = 16;
/// A turn is so many bytes: 64 KiB, what a chunk has on average.
const TURN_BYTES: i64 = CHUNK_BYTES_TARGET as i64;
/// What short chunks leave of turns is kept up to so many bytes: what may be looked up at once.
const OVER_MIN: i64 = AHEAD_CHUNKS as i64 * TURN_BYTES;

type Served = [(Option<Party>, Instant); 2];

/// All uploads together.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    /// Everybody who is linked, and those lately.
    pub(crate) parties: Parties,
    /// Marks what parties are given.
    pub(super) marker: Marker,
    /// Who stands where.
    pub(super) line: Line,
    /// What was given, and what may be.
    pub(super) spent: Spent,
    /// Peers whose sockets have something to take, or will, by when they last moved.
    pub(super) busy: BTreeSet<(Instant, LinkId, Party)>,
    /// The party that took something last, and the last one before that was another; when.
    served: Served,
    /// The same of those that do not ask again for what they were given.
    served_anew: Served,
    /// Whether we give much less than we get.
    pub(crate) lag: Lag,
}

impl Uploads {
    pub(super) fn new(began: Instant, marker: Marker) -> Self {
        Self { spent: Spent::new(began), marker, ..Self::default() }
    }

    /// Whether one more chunk, of any length, might break the budget.
    pub(super) fn is_spent(&self) -> bool {
        self.spent.budget.is_some_and(|left| left < CHUNK_BYTES_MAX as u64 + self.spent.looking_bytes)
    }

    /// When `len` bytes more may go under a cap of `cap` bytes in any second; `now` if at once, `None` if not before a socket takes
    /// something of what it was given, or a look-up ends: each of them serves the line anew.
    pub(super) fn allowed_at(&self, now: Instant, len: u64, cap: u64) -> Option<Instant> {
        // What sockets have not taken may leave at any moment; what is being looked up goes out a moment later, whatever is
        // asked for meanwhile, and chunks may be of any length.
        self.spent.cap.allowed_at(now, len + self.spent.ahead + self.spent.looking_bytes, cap)
    }

    /// Puts a peer where it belongs after its state changed.
    pub(super) fn refile(&mut self, link: LinkId, upload: &mut Upload) {
        let lane = upload.should_stand();
        if lane != upload.lane {
            if let Some((lane, turn)) = upload.lane {
                self.line.waiting -= 1;
                self.stand(upload.party, lane, (turn, link), false);
            }
            if let Some((lane, turn)) = lane {
                self.line.waiting += 1;
                self.stand(upload.party, lane, (turn, link), true);
            }
            upload.lane = lane;
        }
        let busy_at = upload.is_busy().then_some(upload.moved_at);
        if busy_at != upload.busy_at {
            if let Some(record) = self.parties.get_mut(upload.party) {
                record.busy =
                    record.busy + u32::from(busy_at.is_some()) - u32::from(upload.busy_at.is_some());
            }
            if let Some(at) = upload.busy_at {
                self.busy.remove(&(at, link, upload.party));
            }
            if let Some(at) = busy_at {
                self.busy.insert((at, link, upload.party));
            }
            upload.busy_at = busy_at;
        }
    }

    /// A peer goes into a lane of its party, or leaves it; the party stands in line as long as anybody is there.
    fn stand(&mut self, party: Party, lane: Lane, place: (u64, LinkId), comes: bool) {
        let Some(record) = self.parties.get_mut(party) else { return };
        let turn = record.turn;
        if record.waits(comes) {
            self.line.waiting_parties =
                if comes { self.line.waiting_parties + 1 } else { self.line.waiting_parties - 1 };
        }
        let Some(peers) = record.lane(lane) else { return };
        let was_empty = peers.is_empty();
        let changed = if comes { peers.insert(place) } else { peers.remove(&place) };
        assert!(changed, "a peer stands where it was put");
        let is_empty = peers.is_empty();
        let line = if lane == Lane::Fresh { &mut self.line.fresh } else { &mut self.line.going };
        match (was_empty, is_empty) {
            (true, false) => drop(line.insert((turn, party))),
            (false, true) => drop(line.remove(&(turn, party))),
            _ => {}
        }
    }

    /// A peer's request is answered now: it and its party go to the end of the line, as far back as the answer is long.
    pub(super) fn serve(&mut self, upload: &mut Upload, ask: &Ask) {
        self.line.turns += 1;
        upload.turn = self.line.turns;
        upload.passed = 0;
        let waiting = self.line.fresh.len().max(self.line.going.len()) as u64;
        let mut turn = self.line.turns + (ask.turns() - 1) * waiting;
        let others = self.others(upload.party);
        if let Some(record) = self.parties.get_mut(upload.party) {
            if record.repeats.are_many() {
                turn += (REPEAT_TURNS - 1) * others.max(1);
            } else if record.over <= -TURN_BYTES && record.turn <= turn {
                // Its last chunks were short: the turn goes on.
                record.over += TURN_BYTES;
                turn = record.turn;
            }
        }
        self.move_back(upload.party, turn);
    }

    /// A party is given this: a chunk counts as long as it is, and what it had before it pays for.
    pub(super) fn gives(&mut self, now: Instant, party: Party, mark: u64, chunk_bytes: Option<u32>) {
        let others = self.others(party);
        let Some(record) = self.parties.get_mut(party) else { return };
        record.repeats.gives(now, mark);
        let Some(len) = chunk_bytes else { return };
        record.over = (record.over + i64::from(len) - TURN_BYTES).max(-OVER_MIN);
        if record.over >= TURN_BYTES {
            record.over -= TURN_BYTES;
            let turn = record.turn + others;
            self.move_back(party, turn);
        }
    }

    /// Other parties whose requests wait.
    fn others(&self, party: Party) -> u64 {
        let ours = self.parties.get(party).is_some_and(Record::is_waiting);
        (self.line.waiting_parties - usize::from(ours)) as u64
    }

    /// Whether a party asks again for what it was given, and has had its turn.
    pub(super) fn repeats(&self, party: Party) -> bool {
        self.parties.get(party).is_some_and(|record| record.repeats.are_many())
    }

    /// Links of a party whose sockets have something to take, or will.
    pub(super) fn busy_links(&self, party: Party) -> u32 {
        self.parties.get(party).map_or(0, |record| record.busy)
    }

    /// A party's socket took something.
    pub(super) fn is_served(&mut self, now: Instant, party: Party) {
        let take = |served: &mut Served| {
            if served[0].0 != Some(party) {
                served[1] = served[0];
            }
            served[0] = (Some(party), now);
        };
        take(&mut self.served);
        if !self.repeats(party) {
            take(&mut self.served_anew);
        }
    }

    /// Whether another party is being served: it took something a moment ago.
    pub(super) fn others_are_served(&self, now: Instant, party: Party) -> bool {
        self.is_another_of(&self.served, now, party)
    }

    /// Whether it has to give way to another one that is being served: it asks again for what it was given, and the other does not. Two
    /// that ask again do not wait for each other.
    pub(super) fn gives_way(&self, now: Instant, party: Party) -> bool {
        self.repeats(party) && self.is_another_of(&self.served_anew, now, party)
    }

    fn is_another_of(&self, served: &Served, now: Instant, party: Party) -> bool {
        served.iter().any(|(other, at)| {
            other
                .filter(|other| *other != party)
                .is_some_and(|other| now.since(*at) < if self.busy_links(other) > 0 { QUIET } else { PAUSE })
        })
    }

    /// Whether its next turn has not come yet.
    pub(super) fn has_had_its_turn(&self, party: Party) -> bool {
        self.parties.get(party).is_some_and(|record| record.turn > self.line.turns)
    }

    /// Whether a party was given so much out of turn that it has to stand in line like others.
    pub(super) fn is_far_behind(&self, party: Party) -> bool {
        let others = self.others(party);
        others > 0
            && self
                .parties
                .get(party)
                .is_some_and(|record| record.turn > self.line.turns + BEHIND_MAX * others)
    }

    /// A party has so many bytes more that it was given and has not taken, or so many less.
    pub(super) fn ahead_of(&mut self, party: Party, more: u64, less: u64) {
        if let Some(record) = self.parties.get_mut(party) {
            record.ahead = (record.ahead + more).saturating_sub(less);
        }
    }

    /// Whether a party was given, or will be in a moment, so many bytes that it has not taken.
    pub(super) fn has_ahead(&self, party: Party, bytes: u64) -> bool {
        self.parties.get(party).is_some_and(|record| record.ahead >= bytes)
    }

    /// Whether a party has as much before it as one may have under a cap: what it does not take counts as if it left at any
    /// moment, and must not fill the cap for everybody.
    pub(super) fn has_its_fill(&self, party: Party, cap: Option<u64>) -> bool {
        let Some(cap) = cap else { return false };
        let ahead = self.parties.get(party).map_or(0, |record| record.ahead);
        ahead > 0 && ahead + CHUNK_BYTES_MAX as u64 > cap / CAP_PARTY_SHARE
    }

    /// Whether many wait: many parties, or many links of one that is alone.
    pub(super) fn is_crowded(&self, slots: usize) -> bool {
        self.line.waiting >= slots && (self.line.waiting_parties >= slots || self.line.waiting_parties <= 1)
    }

    /// Answers that did not stand in line cost their party its turns afterwards.
    pub(super) fn charge(&mut self, party: Party, bytes: u64) {
        let waiting = self.line.fresh.len().max(self.line.going.len()).max(1) as u64;
        let turn = self.parties.get_mut(party).map_or(0, |record| record.turn.max(self.line.turns));
        let times = if self.repeats(party) { REPEAT_TURNS } else { 1 };
        self.move_back(party, turn + times * (bytes / CHUNK_BYTES_TARGET as u64) * waiting);
    }

    fn move_back(&mut self, party: Party, turn: u64) {
        let Some(record) = self.parties.get_mut(party) else { return };
        let before = core::mem::replace(&mut record.turn, turn);
        if !record.fresh.is_empty() {
            self.line.fresh.remove(&(before, party));
            self.line.fresh.insert((turn, party));
        }
        if !record.going.is_empty() {
            self.line.going.remove(&(before, party));
            self.line.going.insert((turn, party));
        }
    }

    /// Peers that can be served, in line, party by party; those that need a place only if `places` says that their party can
    /// have one.
    pub(super) fn in_line<'a>(&'a self, places: &'a Places) -> impl Iterator<Item = LinkId> + 'a {
        let mut going = self.line.going.iter().peekable();
        let none = matches!(places, Places::None);
        let mut fresh = self.line.fresh.iter().take(if none { 0 } else { usize::MAX }).peekable();
        let parties = core::iter::from_fn(move || {
            let next = match (going.peek(), fresh.peek()) {
                (Some(one), Some(other)) if one == other => {
                    fresh.next();
                    going.next()
                }
                (Some(one), Some(other)) if one > other => fresh.next(),
                (None, _) => fresh.next(),
                _ => going.next(),
            };
            next.map(|(_, party)| *party)
        });
        parties.flat_map(move |party| {
            let record = self.parties.get(party);
            let fits = places.fits(party);
            let going = record.map(|record| record.going.iter()).into_iter().flatten();
            let fresh = record.filter(|_| fits).map(|record| record.fresh.iter()).into_iter().flatten();
            let (mut going, mut fresh) = (going.peekable(), fresh.peekable());
            core::iter::from_fn(move || {
                let next = match (going.peek(), fresh.peek()) {
                    (Some(one), Some(other)) if one > other => fresh.next(),
                    (None, _) => fresh.next(),
                    _ => going.next(),
                };
                next.map(|(_, link)| *link)
            })
        })
    }

    /// Whether requests wait.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.line.queued > 0
    }

    /// Takes bytes off the budget.
    pub(super) fn spend(&mut self, party: Party, len: u64) {
        self.spent.bytes += len;
        if let Some(left) = &mut self.spent.budget {
            *left = left.saturating_sub(len);
            if let Some(record) = self.parties.get_mut(party) {
                record.given += len;
            }
        }
    }

    /// So much may be given from now on. Much more than was left is a new day's budget.
    pub(super) fn allot(&mut self, bytes: Option<u64>) {
        let more = bytes.unwrap_or(0).saturating_sub(self.spent.budget.unwrap_or(0));
        if self.spent.budget.is_none() || more > self.spent.allotted / NEW_DAY {
            self.spent.allotted = bytes.unwrap_or(0);
            self.parties.forget_given();
        }
        self.spent.budget = bytes;
    }

    /// Whether a party has had what one may have of the budget.
    pub(super) fn has_had_its_share(&self, party: Party) -> bool {
        self.spent.budget.is_some()
            && self.parties.get(party).is_some_and(|record| {
                record.given >= (self.spent.allotted / BUDGET_SHARE).max(BUDGET_PARTY_MIN)
            })
    }
}

/// Who may have one more of the few places.
#[derive(Debug)]
pub(super) enum Places {
    /// Nobody: all are taken.
    None,
    /// Whoever has none of them yet: one party alone does not keep others out.
    Others(Vec<Party>),
    /// Anybody.
    All,
}

impl Places {
    fn fits(&self, party: Party) -> bool {
        match self {
            Self::None => false,
            Self::Others(taken) => !taken.contains(&party),
            Self::All => true,
        }
    }
}
