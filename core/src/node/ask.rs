//! A request of a peer that waits for us.

use crate::link::Dialect;
use crate::wire::zest::plain_part_len;
use zest_xet::{CHUNK_BYTES_MAX, CHUNK_BYTES_TARGET, Hash};

const RECORD_BYTES: u64 = crate::wire::zest::MANIFEST_RECORD_BYTES as u64;

/// A request that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) req: u32,
    /// The chunk, the file or xorb of a list, or the id of a small file.
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
    /// A part of a small file.
    Plain {
        kind: u8,
        size: u32,
        offset: u32,
    },
}

impl Ask {
    pub(super) fn is_part(&self) -> bool {
        matches!(self.what, Wanted::Part { .. })
    }

    /// Whether it goes before the chunks that the same peer waits for: it is little, and without it that peer cannot begin.
    pub(super) fn is_first(&self) -> bool {
        matches!(self.what, Wanted::Part { .. } | Wanted::Plain { .. })
    }

    /// Bytes that it may come to.
    pub(super) fn bytes_max(&self) -> u64 {
        match self.what {
            Wanted::Chunk(_) => CHUNK_BYTES_MAX as u64,
            Wanted::Part { count, .. } => u64::from(count) * RECORD_BYTES,
            Wanted::Plain { size, offset, .. } => plain_part_len(size, offset).unwrap_or(1).into(),
        }
    }

    /// Turns that it takes.
    pub(super) fn turns(&self) -> u64 {
        match self.what {
            Wanted::Chunk(_) | Wanted::Plain { .. } => 1,
            Wanted::Part { .. } => self.bytes_max().div_ceil(CHUNK_BYTES_TARGET as u64).max(1),
        }
    }
}
