//! What was given, and what may be given under the user's cap and budget.

use super::cap::Cap;
use crate::Instant;

#[derive(Debug, Default)]
pub(super) struct Spent {
    /// Bytes that links were given and sockets have not taken.
    pub(super) ahead: u64,
    /// Bytes that what is being looked up may come to.
    pub(super) looking_bytes: u64,
    /// What left within the last second.
    pub(super) cap: Cap,
    /// Bytes that may still be given, if that is limited.
    pub(super) budget: Option<u64>,
    /// What that was when the day began, or this process.
    pub(super) allotted: u64,
    /// Bytes given, ever.
    pub(super) bytes: u64,
}

impl Spent {
    pub(super) fn new(began: Instant) -> Self {
        Self { cap: Cap::since(began), ..Self::default() }
    }
}
