//! The front of a job: the part of its file that is wanted before the rest. That is its beginning, which often says what is in the
//! rest of it, unless somebody who reads the file while it comes waits at another place.
//!
//! A front is an order of fetching and nothing else. Which source may be asked for what, and how often, stays as it is.

use super::BitSet;
use crate::Instant;
use core::ops::Range;

/// Where the front of a job begins and ends, in chunks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Front {
    /// The first chunk of it.
    begin: u32,
    /// All chunks of it before this one are held.
    from: u32,
    /// The first chunk behind the front.
    end: u32,
}

impl Front {
    pub(crate) fn over(chunks: Range<u32>, held: &BitSet) -> Self {
        let mut front = Self { begin: chunks.start, from: chunks.start, end: chunks.end.max(chunks.start) };
        front.advance(chunks.start, held);
        front
    }

    /// Chunks of which some are still to come; nothing before them is.
    pub(crate) fn range(&self) -> Range<u32> {
        self.from..self.end
    }

    /// Whether a chunk of it is still to come.
    pub(crate) fn is_wanted(&self) -> bool {
        self.from < self.end
    }

    /// A chunk is held.
    pub(crate) fn advance(&mut self, index: u32, held: &BitSet) {
        if index == self.from {
            while self.from < self.end && held.contains(self.from) {
                self.from += 1;
            }
        }
    }

    /// Whether a chunk comes before its end.
    pub(crate) fn reaches(&self, index: u32) -> bool {
        index < self.end
    }

    pub(crate) fn check_invariants(&self, held: &BitSet) {
        let Self { begin, from, end } = *self;
        assert!(begin <= from && from <= end && end <= held.len(), "the front is a part of the file");
        assert!((begin..from).all(|index| held.contains(index)), "what is before the front's rest is held");
        assert!(from == end || !held.contains(from), "the front's rest begins with a chunk to come");
    }
}

/// Bytes of a job's file for which a reader waits.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    pub(crate) bytes: Range<u64>,
    /// Since when.
    pub(crate) since: Instant,
}
