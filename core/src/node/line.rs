//! Those whose requests wait for us, in line: where each stands, what is under way to it, and what may go out now.

use super::cap::Cap;
use super::lag::Lag;
use crate::link::Dialect;
use crate::{Instant, LinkId, ReqId};
use alloc::collections::{BTreeSet, VecDeque};
use zest_xet::{CHUNK_BYTES_MAX, Hash};

/// Requests of one peer that wait at most: 512, what our `reqq` says. More are refused by name.
pub(crate) const QUEUE_MAX: usize = crate::link::OUTSTANDING_MAX;
/// Chunks of one peer that are being looked up or wait for its socket, at most: 16. Ours; a megabyte keeps a socket busy
/// between two looks at it.
pub(super) const AHEAD_CHUNKS: u32 = 16;

/// A request that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) req: u32,
    pub(super) hash: Hash,
    pub(super) dialect: Dialect,
}

/// A part of a chunk list that a peer asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) link: LinkId,
    pub(super) req: ReqId,
    pub(super) file: Hash,
    pub(super) first: u32,
    pub(super) count: u32,
}

/// What one peer asks of us.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    pub(super) queue: VecDeque<Ask>,
    /// Chunks that are being looked up.
    pub(super) looking: u32,
    /// Bytes that its link was given and its socket has not taken.
    pub(super) ahead: u64,
    /// When its socket last took something, or got something to take.
    pub(super) moved_at: Instant,
    /// Its place in line: the number of its last turn; 0 for a newcomer.
    pub(super) turn: u64,
    /// Times it stood in front and another went first.
    pub(super) passed: u32,
    /// When it was last told that its requests wait.
    pub(super) told_at: Option<Instant>,
    /// Where it stands in [`Uploads`]: its lane with its turn, and when its socket moved if it is busy.
    pub(super) lane: Option<(Lane, u64)>,
    pub(super) busy_at: Option<Instant>,
}

/// Where a peer stands whose requests wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Nothing is under way to it: it needs one of the few places.
    Fresh,
    /// It is being sent to and may be given more.
    Going,
    /// It is being sent to, and that is enough for now.
    Full,
}

impl Upload {
    pub(super) fn has_room(&self, chunks: u32) -> bool {
        self.looking + (self.ahead / CHUNK_BYTES_MAX as u64) as u32 + u32::from(self.ahead > 0) <= chunks
    }

    pub(super) fn is_busy(&self) -> bool {
        self.looking > 0 || self.ahead > 0
    }

    pub(super) fn should_stand(&self) -> Option<(Lane, u64)> {
        let lane = match self.is_busy() {
            false => Lane::Fresh,
            true if self.has_room(AHEAD_CHUNKS) => Lane::Going,
            true => Lane::Full,
        };
        (!self.queue.is_empty()).then_some((lane, self.turn))
    }

    pub(crate) fn check_invariants(&self) {
        assert!(self.queue.len() <= QUEUE_MAX, "requests that wait are bounded");
        assert!(self.looking <= AHEAD_CHUNKS + 1, "chunks that are looked up are bounded");
    }
}

/// All uploads together.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    /// Peers with requests that wait and nothing under way, in line.
    pub(super) fresh: BTreeSet<(u64, LinkId)>,
    /// The same of those that are being sent to and may be given more. Those that may not stand nowhere: so whoever is
    /// next is found without looking at them.
    pub(super) going: BTreeSet<(u64, LinkId)>,
    /// Peers with requests that wait, wherever they stand.
    pub(super) waiting: usize,
    /// Peers whose sockets have something to take, or will, by when they last moved.
    pub(super) busy: BTreeSet<(Instant, LinkId)>,
    /// Turns so far.
    pub(super) turns: u64,
    /// Requests that wait.
    pub(super) queued: u32,
    /// Parts of chunk lists that the cap holds up.
    pub(super) parts: VecDeque<Part>,
    /// Bytes of such parts that are being looked up, in order.
    pub(super) parts_out: VecDeque<u64>,
    /// Time from one turn to the next while somebody waits, µs: the average, the last ones weigh most.
    pub(super) pace_us: u64,
    /// When the last turn was.
    pub(super) turn_at: Instant,
    /// Bytes that links were given and sockets have not taken.
    pub(super) ahead: u64,
    /// Chunks that are being looked up.
    pub(super) looking: u32,
    /// What left within the last second.
    pub(super) cap: Cap,
    /// Bytes that may still be given, if that is limited.
    pub(super) budget: Option<u64>,
    /// Bytes given, ever.
    pub(crate) bytes: u64,
    /// Whether we give much less than we get.
    pub(crate) lag: Lag,
}

impl Uploads {
    /// Whether one more chunk, of any length, might break the budget.
    pub(super) fn is_spent(&self) -> bool {
        self.budget.is_some_and(|left| left < CHUNK_BYTES_MAX as u64 * u64::from(self.looking + 1))
    }

    /// When `len` bytes more may go under a cap of `cap` bytes in any second; `now` if at once.
    pub(super) fn allowed_at(&self, now: Instant, len: u64, cap: u64) -> Instant {
        // What sockets have not taken may leave at any moment; what is being looked up goes out a moment later, whatever is
        // asked for meanwhile, and chunks may be of any length.
        let chunks = CHUNK_BYTES_MAX as u64 * u64::from(self.looking);
        let parts = self.parts_out.iter().sum::<u64>();
        self.cap.allowed_at(now, len + self.ahead + chunks + parts, cap)
    }

    /// Puts a peer where it belongs after its state changed.
    pub(super) fn refile(&mut self, link: LinkId, upload: &mut Upload) {
        let lane = upload.should_stand();
        if lane != upload.lane {
            if let Some((lane, turn)) = upload.lane {
                self.waiting -= 1;
                let stood = self.lane(lane).is_none_or(|lane| lane.remove(&(turn, link)));
                assert!(stood, "a peer stands where it was put");
            }
            if let Some((lane, turn)) = lane {
                self.waiting += 1;
                self.lane(lane).map(|lane| lane.insert((turn, link)));
            }
            upload.lane = lane;
        }
        let busy_at = upload.is_busy().then_some(upload.moved_at);
        if busy_at != upload.busy_at {
            if let Some(at) = upload.busy_at {
                self.busy.remove(&(at, link));
            }
            if let Some(at) = busy_at {
                self.busy.insert((at, link));
            }
            upload.busy_at = busy_at;
        }
    }

    pub(super) fn lane(&mut self, lane: Lane) -> Option<&mut BTreeSet<(u64, LinkId)>> {
        match lane {
            Lane::Fresh => Some(&mut self.fresh),
            Lane::Going => Some(&mut self.going),
            Lane::Full => None,
        }
    }

    /// Peers that can be served, in line; those that need a place only if there is one.
    pub(super) fn in_line(&self, places: bool) -> impl Iterator<Item = LinkId> {
        let mut going = self.going.iter().peekable();
        let mut fresh = self.fresh.iter().take(if places { usize::MAX } else { 0 }).peekable();
        core::iter::from_fn(move || {
            let next = match (going.peek(), fresh.peek()) {
                (Some(one), Some(other)) if one > other => fresh.next(),
                (None, _) => fresh.next(),
                _ => going.next(),
            };
            next.map(|(_, link)| *link)
        })
    }

    /// Whether requests wait.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.queued > 0
    }

    /// Takes bytes off the budget.
    pub(super) fn spend(&mut self, len: u64) {
        self.bytes += len;
        if let Some(left) = &mut self.budget {
            *left = left.saturating_sub(len);
        }
    }
}
