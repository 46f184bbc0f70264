//! What a peer's word about what it has was worth so far.

use crate::Instant;

/// NOT_FOUND answers in a row, over all jobs, to what a peer said it has, after which its word counts no more until it gives
/// something: 16. Ours; as many as the first pipeline holds.
pub(crate) const REFUSED_MAX: u32 = 16;
/// Of so many chunks that it gave a peer that tells chunk by chunk what it has may lack one that it told of: 8. Ours; what rots on a disk is
/// found when it is read.
const GIVEN_PER_LACKED: u32 = 8;
/// And as many are forgiven in any case: 8. Ours.
const LACKED_MIN: u32 = 8;
/// Files in a row of which a peer has neither list nor chunks, after which no file waits for its answer: 8. Ours.
pub(crate) const NOTHING_MAX: u32 = 8;

/// Availability messages one peer may send between two measurements: 256. News of one file come in batches of 10 ms at
/// the shortest, 25 in that time, and a pull of many small files has several at once. Ours.
pub(crate) const HAVES_MAX: u32 = 256;

#[derive(Debug)]
pub(crate) struct Word {
    /// It has given something useful.
    pub(crate) useful: bool,
    /// When it did so last, or came.
    pub(super) gave_at: Instant,
    /// Availability messages since the last measurement.
    pub(crate) haves: u32,
    /// NOT_FOUND answers in a row to what it said it has, over all jobs.
    pub(crate) refused: u32,
    /// It denied so much of what it said it has, and has given nothing since, that its word does not count.
    pub(crate) denied: bool,
    /// NOT_FOUND answers to what it said it has, and chunks that it gave.
    pub(super) lacked: u32,
    pub(super) given: u32,
    /// Files in a row of which it had nothing.
    pub(super) nothing: u32,
    /// Lists in a row for which a file waited in vain.
    pub(super) waited: u32,
}

impl Word {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            useful: false,
            gave_at: now,
            haves: 0,
            refused: 0,
            denied: false,
            lacked: 0,
            given: 0,
            nothing: 0,
            waited: 0,
        }
    }

    /// It lacks a chunk that it said it has: whether that is too many of them.
    pub(crate) fn lacks(&mut self) -> bool {
        self.lacked = self.lacked.saturating_add(1);
        self.lacked >= LACKED_MIN && self.lacked.saturating_mul(GIVEN_PER_LACKED) > self.given
    }
}
