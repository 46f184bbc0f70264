//! What a peer's word about what it has was worth so far.

use crate::Instant;

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
    /// Files in a row of which it had nothing.
    pub(super) nothing: u32,
    /// Lists in a row for which a file waited in vain.
    pub(super) waited: u32,
}

impl Word {
    pub(super) fn new(now: Instant) -> Self {
        Self { useful: false, gave_at: now, haves: 0, refused: 0, nothing: 0, waited: 0 }
    }
}
