//! What of a file is left to others who fetch it, too.

use crate::Instant;
use alloc::collections::BTreeSet;

/// Blocks of a file that are left to others who fetch it, for a while.
#[derive(Debug)]
pub(crate) struct Left {
    blocks: BTreeSet<u32>,
    until: Instant,
    /// How many those were.
    pub(crate) others: usize,
    /// Blocks that had been begun before anybody was known.
    pub(crate) begun: BTreeSet<u32>,
}

impl Left {
    pub(crate) fn new(blocks: BTreeSet<u32>, until: Instant, others: usize, begun: BTreeSet<u32>) -> Self {
        Self { blocks, until, others, begun }
    }

    pub(crate) fn holds(&self, now: Instant, block: u32) -> bool {
        now < self.until && self.blocks.contains(&block)
    }
}
