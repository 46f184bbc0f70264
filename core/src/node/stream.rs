//! A block that the origin streams to us: its growing list, and whom that is told.

use crate::LinkId;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use zest_xet::ChunkRef;

/// A block that the origin streams to us, whose list nothing proves yet.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Its chunks as they were hashed, by place in the block.
    pub(super) list: Vec<Option<ChunkRef>>,
    /// Where each of the first ones that lie in the file begins in the block, and where the last one ends.
    pub(super) starts: Vec<u64>,
    /// First 8 bytes of the hash of those → place.
    pub(super) by_hash: BTreeMap<u64, u32>,
    /// Peers were told that it is on its way.
    pub(super) offered: bool,
    /// Who is told of it, and how many they know.
    pub(super) followers: BTreeMap<LinkId, u32>,
}

impl Stream {
    pub(super) fn new(chunks: usize) -> Self {
        Self { list: alloc::vec![None; chunks], starts: alloc::vec![0], ..Self::default() }
    }

    /// So many of the first chunks lie in the file.
    pub(super) fn ready(&self) -> u32 {
        self.starts.len() as u32 - 1
    }

    /// So many records may be told. The last one only when the list proves: what is said of a xorb is not always so, since nobody
    /// can tell from a file whether the xorb of its tail goes on, and a complete list that does not prove is a lie.
    pub(super) fn tellable(&self) -> u32 {
        self.ready().min((self.list.len() as u32).saturating_sub(1))
    }

    /// All of the block lies in the file.
    pub(super) fn is_whole(&self) -> bool {
        self.ready() as usize == self.list.len()
    }

    pub(super) fn chunk(&self, nth: u32) -> Option<ChunkRef> {
        self.list.get(nth as usize).copied().flatten()
    }

    /// The records from `from` on that may be told.
    pub(super) fn news(&self, from: u32) -> Vec<ChunkRef> {
        (from..self.tellable()).filter_map(|nth| self.chunk(nth)).collect()
    }
}
