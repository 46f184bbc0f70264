//! How many of the linked peers have each chunk of a job: what is rare, and what nobody has.

use super::BitSet;
use super::peer::Has;
use alloc::vec;
use alloc::vec::Vec;

/// Counts of the peers that said what they have, kept up to date chunk by chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Supply {
    /// Peers that have this chunk and not all of the file.
    counts: Vec<u16>,
    /// Chunks with a count above 0.
    some: BitSet,
    /// Peers that have all.
    seeds: u32,
    /// A chunk or a seed was lost since this was last asked.
    shrunk: bool,
}

impl Supply {
    pub(crate) fn new(len: u32) -> Self {
        Self { counts: vec![0; len as usize], some: BitSet::empty(len), seeds: 0, shrunk: false }
    }

    /// Takes in what a peer has. What only may be there does not count.
    pub(crate) fn add(&mut self, has: &Has) {
        match has {
            Has::None | Has::Maybe | Has::Guess(_) => {}
            Has::All => self.seeds += 1,
            Has::Some(set) => set.iter().for_each(|index| self.gain(index)),
        }
    }

    /// Takes it out again.
    pub(crate) fn remove(&mut self, has: &Has) {
        match has {
            Has::None | Has::Maybe | Has::Guess(_) => {}
            Has::All => {
                self.seeds -= 1;
                self.shrunk = true;
            }
            Has::Some(set) => set.iter().for_each(|index| self.lose(index)),
        }
    }

    /// A counted peer that has not all has one chunk more.
    pub(crate) fn gain(&mut self, index: u32) {
        let count = &mut self.counts[index as usize];
        *count += 1;
        if *count == 1 {
            self.some.insert(index);
        }
    }

    /// A counted peer that has not all has one chunk less.
    pub(crate) fn lose(&mut self, index: u32) {
        let count = &mut self.counts[index as usize];
        *count -= 1;
        if *count == 0 {
            self.some.remove(index);
            self.shrunk = true;
        }
    }

    /// Peers that have the chunk, those that have all left out.
    pub(crate) fn count(&self, index: u32) -> u16 {
        self.counts[index as usize]
    }

    /// Whether a peer has the whole file.
    pub(crate) fn has_seeds(&self) -> bool {
        self.seeds > 0
    }

    /// Whether a peer has a part of the file.
    pub(crate) fn has_parts(&self) -> bool {
        !self.some.is_empty()
    }

    /// Chunks that peers without the whole file have.
    pub(crate) fn parts(&self) -> &BitSet {
        &self.some
    }

    /// Whether something went that nobody else has, since this was last asked.
    pub(crate) fn take_shrunk(&mut self) -> bool {
        core::mem::take(&mut self.shrunk)
    }

    /// Whether both say the same of the peers.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        self.counts == other.counts && self.some == other.some && self.seeds == other.seeds
    }
}
