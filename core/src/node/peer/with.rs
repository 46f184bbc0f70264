//! A peer and a job: what it has of its file, and how far its word went.

use crate::Instant;
use crate::node::BitSet;

/// NOT_FOUND answers in a row after which a peer is no longer asked for a file, whatever it says it has. Ours; as many as
/// the first pipeline holds.
pub(crate) const REFUSED_ROW_MAX: u32 = 16;

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

    /// It lacks a chunk, of `len`.
    pub(crate) fn lacks(&mut self, index: u32, len: u32) {
        match self {
            Self::None => {}
            Self::Maybe | Self::All => {
                let mut set = BitSet::full(len);
                set.remove(index);
                *self = if *self == Self::All { Self::Some(set) } else { Self::Guess(set) };
            }
            Self::Some(set) | Self::Guess(set) => {
                set.remove(index);
            }
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

/// What asking a peer for a manifest is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Willing {
    /// Not asked yet.
    Untried,
    /// It was slow, and another was asked instead.
    Slow,
    /// It has none.
    No,
}

/// A peer and a job.
#[derive(Debug)]
pub(crate) struct With {
    pub(crate) has: Has,
    pub(crate) manifest: Willing,
    /// When it said last that it has none.
    pub(crate) no_list_at: Instant,
    /// Where to look for the next chunk; chosen when the first is asked for.
    pub(crate) cursor: Option<u32>,
    /// NOT_FOUND answers in a row.
    pub(crate) refused_row: u32,
    /// It said too often that it has what it has not: its word counts no more.
    pub(crate) unbelieved: bool,
    /// What it has is in the job's [`super::supply::Supply`].
    pub(crate) counted: bool,
}
