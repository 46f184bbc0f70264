//! What is known of one linked peer: what it has, what it was asked for, how fast it answers.

mod pace;
mod request;
mod wants;
mod who;
mod with;
mod word;

pub(crate) use pace::{Pace, SHARE_TIME, SHARE_TIME_STREAMING, Silence};
pub(crate) use request::{Asked, Pending, Request};
pub use wants::INTERESTS_MAX;
pub(crate) use wants::Wants;
pub(crate) use who::Who;
pub(crate) use with::{Has, REFUSED_ROW_MAX, Willing, With};
pub(crate) use word::{HAVES_MAX, NOTHING_MAX, REFUSED_MAX, Word};

use super::event::Direction;
use super::few::Few;
use super::queue::Upload;
use crate::endpoint::Party;
use crate::link::{ExtHandshake, Extension};
use crate::wire::xet::Dialect;
use crate::{Instant, JobId, PeerId};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use pace::{OTHERS_MAX, WINDOW_MAX};
use zest_xet::Hash;

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) who: Who,
    /// How fast it answers, and how much is asked of it at a time.
    pub(crate) pace: Pace,
    /// What its word is worth.
    pub(crate) word: Word,
    /// What it was asked for.
    pub(crate) asked: Asked,
    /// What it has of the files that we fetch.
    pub(crate) jobs: Few<JobId, With>,
    /// What it wants of us.
    pub(crate) wants: Wants,
    /// When it said that a request waits this long, in µs.
    pub(crate) told_wait: Option<(Instant, u64)>,
    /// We have closed the link: nothing it still says counts.
    pub(crate) closing: bool,
}

impl Peer {
    /// Whether it has something of a job's file, as far as is known, or gives something of it.
    pub(crate) fn gives(&self, id: JobId) -> bool {
        let bytes = |what: Pending| {
            matches!(what, Pending::Chunk { .. } | Pending::Block { .. } | Pending::Tentative { .. })
        };
        self.jobs.get(&id).is_some_and(|with| with.has != Has::None)
            || self.asked.requests.iter().any(|(_, request)| request.what.job() == id && bytes(request.what))
    }

    /// The same, or was asked for a list of it.
    fn has_part_in(&self, id: JobId) -> bool {
        self.gives(id) || self.asked.requests.iter().any(|(_, request)| request.what.job() == id)
    }

    /// The jobs of which that is true.
    pub(crate) fn part_in(&self) -> Vec<JobId> {
        let asked = self.asked.requests.iter().map(|(_, request)| request.what.job());
        let mut jobs: Vec<JobId> = self.jobs.keys().copied().chain(asked).collect();
        jobs.sort_unstable();
        jobs.dedup();
        jobs.retain(|id| self.has_part_in(*id));
        jobs
    }

    pub(crate) fn new(now: Instant, addr: SocketAddr, id: PeerId, direction: Direction) -> Self {
        Self {
            who: Who::new(addr, id, direction),
            pace: Pace::new(now),
            word: Word::new(now),
            asked: Asked::nothing(),
            jobs: Few::new(),
            wants: Wants::nothing(now, Upload::new(Party::of(addr.ip()))),
            told_wait: None,
            closing: false,
        }
    }

    pub(crate) fn introduce(&mut self, remote: &ExtHandshake) {
        self.who.introduced = true;
        self.who.chunks = remote.xet_id().is_some();
        self.who.zest = remote.id(Extension::Zest).is_some();
        self.who.plain = self.who.zest && remote.plain;
        self.who.xorb_ranges_only = remote.dialect_guess == Dialect::Range;
        self.pace.window_max = remote.reqq.map_or(WINDOW_MAX, |reqq| reqq.clamp(1, WINDOW_MAX));
        self.pace.window = self.pace.window.min(self.pace.window_max);
    }

    /// Whether it may be asked for chunks at all.
    pub(crate) fn ready(&self) -> bool {
        self.who.introduced && self.who.chunks && !self.closing
    }

    /// Whether it wants to hear of this file, in our own words.
    pub(crate) fn hears_of(&self, file: &Hash) -> bool {
        self.who.zest && !self.closing && self.wants.interests.contains_key(file)
    }

    /// It stalled and has given nothing since. It is asked for one chunk at a time, which others may overtake.
    pub(crate) fn probation(&self) -> bool {
        self.pace.stalls > 0
    }

    /// Which machine it is, as far as that can be told: all its links have the same.
    pub(crate) fn machine(&self) -> (PeerId, IpAddr) {
        (self.who.id, self.who.addr.ip())
    }

    /// When it gave something last, or came.
    pub(crate) fn gave_at(&self) -> Instant {
        self.word.gave_at
    }

    /// Whether its word about what it has is worth waiting for.
    pub(crate) fn counts(&self) -> bool {
        self.ready() && !self.probation()
    }

    /// Whether it fetches this file, as it says, and its word counts.
    pub(crate) fn fetches(&self, file: &Hash) -> bool {
        self.counts() && self.who.zest && self.wants.interests.contains_key(file)
    }

    /// Whether it told of nothing that it has of a job's file.
    pub(crate) fn told_nothing(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_none_or(|with| with.has.is_none())
    }

    /// Whether anybody waits for what it may give.
    pub(crate) fn is_worth_waiting_for(&self) -> bool {
        !self.closing
            && !self.probation()
            && !self.pace.doubted
            && self.word.nothing.max(self.word.waited) < NOTHING_MAX
    }

    /// It has neither list nor chunks of one more file.
    pub(crate) fn has_nothing(&mut self) {
        self.word.nothing = self.word.nothing.saturating_add(1);
    }

    /// A file has waited for its list as long as it could.
    pub(crate) fn was_waited_for(&mut self) {
        self.word.waited = self.word.waited.saturating_add(1);
    }

    /// It says that it has something.
    pub(crate) fn has_something(&mut self) {
        self.word.nothing = 0;
    }

    /// Its word counts only once it has given something: as after a stall.
    pub(crate) fn distrust(&mut self) {
        self.pace.stalls = self.pace.stalls.max(1);
        self.pace.doubted = false;
        self.word.refused = 0;
        self.pace.rate_bytes_s = 0;
        self.pace.window = 1;
    }

    /// When it last asked for something, took something or gave something.
    pub(crate) fn used_at(&self) -> Instant {
        let gave = if self.word.useful { self.pace.progress_at } else { Instant::ZERO };
        let took = if self.wants.served { self.wants.upload.moved_at } else { Instant::ZERO };
        self.wants.asked_at.max(gave).max(took)
    }

    pub(crate) fn check_invariants(&self) {
        assert!(
            self.asked.requests.len() <= (WINDOW_MAX + OTHERS_MAX) as usize,
            "requests of a peer stay within its pipeline"
        );
        assert!(
            self.pace.window >= 1
                && self.pace.window <= self.pace.window_max
                && self.pace.window_max <= WINDOW_MAX
        );
        assert_eq!(
            self.asked.requests.is_empty(),
            self.pace.busy_since.is_none(),
            "a peer works while it has requests"
        );
        let nothing = self.asked.requests.is_empty() && self.asked.plain.is_empty();
        assert!(!self.closing || nothing, "nothing is asked of a peer we let go");
        let unowned = self.asked.requests.values().filter(|r| !r.owned).count();
        assert_eq!(unowned, self.asked.unowned as usize, "requests that do not count are counted");
        assert!(self.wants.interests.len() <= INTERESTS_MAX, "interests are bounded");
        self.wants.upload.check_invariants();
        assert!(
            !self.pace.doubted || self.asked.requests.values().all(|r| !r.owned),
            "nobody relies on a peer in doubt"
        );
        assert!(
            !self.probation() || self.asked.requests.values().all(|r| !r.owned),
            "nor on one on probation"
        );
        assert!(self.word.haves <= HAVES_MAX, "availability messages are bounded");
    }
}
