//! What is known of one linked peer: what it has, what it was asked for, how fast it answers.

mod pace;

pub(crate) use pace::Silence;

use super::BitSet;
use super::event::Direction;
use super::few::Few;
use super::lessons::NOTHING_MAX;
use super::line::Upload;
use super::manifest::Willing;
use crate::endpoint::{Party, Scope, scope};
use crate::link::{ExtHandshake, Extension};
use crate::wire::xet::Dialect;
use crate::{Duration, Instant, JobId, PeerId, ReqId};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::SocketAddr;
use pace::{OTHERS_MAX, WINDOW_MAX, WINDOW_START};
use zest_xet::Hash;

/// What a peer has of a job's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Has {
    /// Nothing, as far as it told or showed.
    None,
    /// It keeps no availability: ask and see.
    Maybe,
    /// The same; these it has not refused yet.
    Guess(BitSet),
    /// Everything, as it says.
    All,
    /// These, as it says.
    Some(BitSet),
}

impl Has {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// What a peer has that told this set.
    pub(crate) fn of(set: BitSet) -> Self {
        if set.is_empty() {
            Self::None
        } else if set.count() == set.len() {
            Self::All
        } else {
            Self::Some(set)
        }
    }

    /// Whether it can be counted for a file of `len` chunks.
    pub(crate) fn ranges_over(&self, len: u32) -> bool {
        match self {
            Self::Some(set) | Self::Guess(set) => set.len() == len,
            Self::None | Self::Maybe | Self::All => true,
        }
    }

    /// Whether it may have the chunk.
    pub(crate) fn may_have(&self, index: u32) -> bool {
        match self {
            Self::None => false,
            Self::Maybe | Self::All => true,
            Self::Guess(set) | Self::Some(set) => set.contains(index),
        }
    }
}

/// A peer and a job.
#[derive(Debug)]
pub(crate) struct With {
    pub(crate) has: Has,
    pub(crate) manifest: Willing,
    /// Where to look for the next chunk; chosen when the first is asked for.
    pub(crate) cursor: Option<u32>,
    /// NOT_FOUND answers in a row.
    pub(crate) refused_row: u32,
    /// It said too often that it has what it has not: its word counts no more.
    pub(crate) unbelieved: bool,
    /// What it has is in the job's [`super::supply::Supply`].
    pub(crate) counted: bool,
}

/// An answer we wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pending {
    Chunk { job: JobId, index: u32 },
    Manifest { job: JobId },
    Block { job: JobId, block: u32 },
    List { job: JobId, block: u32 },
    Tentative { job: JobId, block: u32, nth: u32 },
}

impl Pending {
    pub(crate) fn job(self) -> JobId {
        match self {
            Self::Chunk { job, .. }
            | Self::Manifest { job }
            | Self::Block { job, .. }
            | Self::Tentative { job, .. }
            | Self::List { job, .. } => job,
        }
    }
}

/// A request that is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) what: Pending,
    /// Order of asking.
    pub(crate) seq: u64,
    pub(crate) at: Instant,
    /// The job waits for this one (it is in [`super::job::Job::asked`]). If not, its answer is still welcome.
    pub(crate) owned: bool,
}

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) addr: SocketAddr,
    pub(crate) id: PeerId,
    pub(crate) direction: Direction,
    /// On this machine; or it speaks of our Hub, and the user named it or it is on this network.
    pub(crate) near: bool,
    pub(crate) introduced: bool,
    chunks: bool,
    pub(crate) zest: bool,
    pub(crate) xorb_ranges_only: bool,
    /// We have closed the link: nothing it still says counts.
    pub(crate) closing: bool,
    /// We do not read what it sends for now: its silence is ours.
    unread: bool,
    pub(crate) requests: Few<ReqId, Request>,
    pub(crate) jobs: Few<JobId, With>,
    pub(crate) blocks_refused: BTreeSet<(JobId, u32)>,
    /// Availability messages since the last measurement.
    pub(crate) haves: u32,
    /// It has given something useful.
    pub(crate) useful: bool,
    /// When it did so last, or came.
    gave_at: Instant,
    /// Whether it took anything that it asked for.
    pub(crate) served: bool,
    /// When it last asked for something.
    pub(crate) asked_at: Instant,
    window: u32,
    window_max: u32,
    /// It gives a file that others are still fetching, too, and so do they.
    pub(crate) crowded: bool,
    /// The window grows with every answer.
    ramp: bool,
    /// The window was full since the last measurement.
    pub(crate) saturated: bool,
    seq: u64,
    progress_at: Instant,
    /// Shortest time from request to answer.
    latency: Option<Duration>,
    /// The same on average, µs; the last answers weigh most.
    answer_us: u64,
    pub(crate) rate_bytes_s: u64,
    bytes: u64,
    busy: Duration,
    /// Measurements in a row that found nothing to measure.
    idle: u32,
    busy_since: Option<Instant>,
    pub(crate) doubted: bool,
    stalls: u32,
    /// NOT_FOUND answers in a row to what it said it has, over all jobs.
    pub(crate) refused: u32,
    /// Files in a row of which it had nothing.
    nothing: u32,
    /// Lists in a row for which a file waited in vain.
    waited: u32,
    /// Serialised bytes of the block it was asked for.
    pub(crate) block_bytes: u64,
    /// Files it is interested in, and how far into the log of their job it was told.
    pub(crate) interests: Few<Hash, usize>,
    /// There was nothing to ask it for when it was last looked at, and nothing has come since.
    pub(crate) dry: bool,
    /// Its place in the order in which peers are asked.
    pub(crate) load: Option<u64>,
    /// Requests that nobody waits for any more.
    pub(crate) unowned: u32,
    /// When it said that a request waits this long, in µs.
    pub(crate) told_wait: Option<(Instant, u64)>,
    /// What it asks of us.
    pub(crate) upload: Upload,
}

impl Peer {
    /// Whether it has something of a job's file, as far as is known, or gives something of it.
    pub(crate) fn gives(&self, id: JobId) -> bool {
        let bytes = |what: Pending| {
            matches!(what, Pending::Chunk { .. } | Pending::Block { .. } | Pending::Tentative { .. })
        };
        self.jobs.get(&id).is_some_and(|with| with.has != Has::None)
            || self.requests.iter().any(|(_, request)| request.what.job() == id && bytes(request.what))
    }

    /// The same, or was asked for a list of it.
    fn has_part_in(&self, id: JobId) -> bool {
        self.gives(id) || self.requests.iter().any(|(_, request)| request.what.job() == id)
    }

    /// The jobs of which that is true.
    pub(crate) fn part_in(&self) -> Vec<JobId> {
        let asked = self.requests.iter().map(|(_, request)| request.what.job());
        let mut jobs: Vec<JobId> = self.jobs.keys().copied().chain(asked).collect();
        jobs.sort_unstable();
        jobs.dedup();
        jobs.retain(|id| self.has_part_in(*id));
        jobs
    }

    pub(crate) fn new(now: Instant, addr: SocketAddr, id: PeerId, direction: Direction) -> Self {
        Self {
            addr,
            id,
            direction,
            near: scope(addr.ip()) == Scope::Loopback,
            introduced: false,
            chunks: false,
            zest: false,
            xorb_ranges_only: false,
            closing: false,
            unread: false,
            requests: Few::new(),
            jobs: Few::new(),
            blocks_refused: BTreeSet::new(),
            haves: 0,
            useful: false,
            gave_at: now,
            served: false,
            asked_at: now,
            window: WINDOW_START,
            window_max: WINDOW_MAX,
            crowded: false,
            ramp: true,
            saturated: false,
            seq: 0,
            progress_at: now,
            latency: None,
            answer_us: 0,
            rate_bytes_s: 0,
            bytes: 0,
            busy: Duration::ZERO,
            idle: 0,
            busy_since: None,
            doubted: false,
            stalls: 0,
            refused: 0,
            nothing: 0,
            waited: 0,
            block_bytes: 0,
            interests: Few::new(),
            dry: false,
            load: None,
            unowned: 0,
            told_wait: None,
            upload: Upload::new(Party::of(addr.ip())),
        }
    }

    pub(crate) fn introduce(&mut self, remote: &ExtHandshake) {
        self.introduced = true;
        self.chunks = remote.xet_id().is_some();
        self.zest = remote.id(Extension::Zest).is_some();
        self.xorb_ranges_only = remote.dialect_guess == Dialect::Range;
        self.window_max = remote.reqq.map_or(WINDOW_MAX, |reqq| reqq.clamp(1, WINDOW_MAX));
        self.window = self.window.min(self.window_max);
    }

    /// Whether it may be asked for chunks at all.
    pub(crate) fn ready(&self) -> bool {
        self.introduced && self.chunks && !self.closing
    }

    /// Whether it wants to hear of this file, in our own words.
    pub(crate) fn hears_of(&self, file: &Hash) -> bool {
        self.zest && !self.closing && self.interests.contains_key(file)
    }

    /// It stalled and has given nothing since. It is asked for one chunk at a time, which others may overtake.
    pub(crate) fn probation(&self) -> bool {
        self.stalls > 0
    }

    /// When it gave something last, or came.
    pub(crate) fn gave_at(&self) -> Instant {
        self.gave_at
    }

    /// Whether its word about what it has is worth waiting for.
    pub(crate) fn counts(&self) -> bool {
        self.ready() && !self.probation()
    }

    /// Whether it fetches this file, as it says, and its word counts.
    pub(crate) fn fetches(&self, file: &Hash) -> bool {
        self.counts() && self.zest && self.interests.contains_key(file)
    }

    /// Whether anybody waits for what it may give.
    pub(crate) fn is_worth_waiting_for(&self) -> bool {
        !self.closing && !self.probation() && !self.doubted && self.nothing.max(self.waited) < NOTHING_MAX
    }

    /// It has neither list nor chunks of one more file.
    pub(crate) fn has_nothing(&mut self) {
        self.nothing = self.nothing.saturating_add(1);
    }

    /// A file has waited for its list as long as it could.
    pub(crate) fn was_waited_for(&mut self) {
        self.waited = self.waited.saturating_add(1);
    }

    /// It says that it has something.
    pub(crate) fn has_something(&mut self) {
        self.nothing = 0;
    }

    /// Its word counts only once it has given something: as after a stall.
    pub(crate) fn distrust(&mut self) {
        self.stalls = self.stalls.max(1);
        self.doubted = false;
        self.refused = 0;
        self.rate_bytes_s = 0;
        self.window = 1;
    }

    /// When it last asked for something, took something or gave something.
    pub(crate) fn used_at(&self) -> Instant {
        let gave = if self.useful { self.progress_at } else { Instant::ZERO };
        let took = if self.served { self.upload.moved_at } else { Instant::ZERO };
        self.asked_at.max(gave).max(took)
    }

    pub(crate) fn check_invariants(&self) {
        assert!(
            self.requests.len() <= (WINDOW_MAX + OTHERS_MAX) as usize,
            "requests of a peer stay within its pipeline"
        );
        assert!(self.window >= 1 && self.window <= self.window_max && self.window_max <= WINDOW_MAX);
        assert_eq!(self.requests.is_empty(), self.busy_since.is_none(), "a peer works while it has requests");
        assert!(!self.closing || self.requests.is_empty(), "nothing is asked of a peer we let go");
        let unowned = self.requests.values().filter(|r| !r.owned).count();
        assert_eq!(unowned, self.unowned as usize, "requests that do not count are counted");
        assert!(self.interests.len() <= super::tell::INTERESTS_MAX, "interests are bounded");
        self.upload.check_invariants();
        assert!(
            !self.doubted || self.requests.values().all(|r| !r.owned),
            "nobody relies on a peer in doubt"
        );
        assert!(!self.probation() || self.requests.values().all(|r| !r.owned), "nor on one on probation");
        assert!(self.haves <= super::have::HAVES_MAX, "availability messages are bounded");
    }
}
