//! A request of a peer that waits for us.

use crate::link::Dialect;
use zest_xet::{CHUNK_BYTES_MAX, CHUNK_BYTES_TARGET, Hash};

const RECORD_BYTES: u64 = crate::wire::zest::MANIFEST_RECORD_BYTES as u64;

/// A request that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) req: u32,
    /// The chunk, or the file or xorb of a list.
    pub(super) hash: Hash,
    pub(super) what: Wanted,
}

/// What of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Chunk(Dialect),
    /// A part of its chunk list, in records.
    Part {
        first: u32,
        count: u32,
    },
}

impl Ask {
    pub(super) fn is_part(&self) -> bool {
        matches!(self.what, Wanted::Part { .. })
    }

    /// Bytes that it may come to.
    pub(super) fn bytes_max(&self) -> u64 {
        match self.what {
            Wanted::Chunk(_) => CHUNK_BYTES_MAX as u64,
            Wanted::Part { count, .. } => u64::from(count) * RECORD_BYTES,
        }
    }

    /// Turns that it takes.
    pub(super) fn turns(&self) -> u64 {
        match self.what {
            Wanted::Chunk(_) => 1,
            Wanted::Part { .. } => self.bytes_max().div_ceil(CHUNK_BYTES_TARGET as u64).max(1),
        }
    }
}
