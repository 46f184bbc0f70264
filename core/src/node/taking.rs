//! A block that is had from one peer who streams it, before anything proves it.

use super::authors::Author;
use crate::{Instant, LinkId, Location, ReqId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use zest_xet::ChunkRef;

/// A block that is followed. It has one author from beginning to end.
#[derive(Debug)]
pub(crate) struct Taking {
    pub(super) link: LinkId,
    pub(super) author: Author,
    /// The list as far as it was told.
    pub(super) list: Vec<ChunkRef>,
    /// Where each of them begins in the block, and where the last one ends.
    starts: Vec<u64>,
    /// Places in it of chunks that were not asked for yet.
    pub(super) unasked: Vec<u32>,
    pub(super) asked: BTreeMap<u32, ReqId>,
    pub(super) proving: BTreeSet<u32>,
    /// Where those lie that hash to what was told.
    pub(super) kept: BTreeMap<u32, Location>,
    pub(super) since: Instant,
    pub(super) moved: Instant,
}

impl Taking {
    pub(super) fn new(now: Instant, link: LinkId, author: Author) -> Self {
        Self {
            link,
            author,
            list: Vec::new(),
            starts: alloc::vec![0],
            unasked: Vec::new(),
            asked: BTreeMap::new(),
            proving: BTreeSet::new(),
            kept: BTreeMap::new(),
            since: now,
            moved: now,
        }
    }

    /// The author told so much more of the list.
    pub(super) fn told(&mut self, records: &[ChunkRef]) {
        for chunk in records {
            self.starts.push(self.bytes() + u64::from(chunk.len));
        }
        self.list.extend_from_slice(records);
    }

    /// Something of it came.
    pub(super) fn has_given(&self) -> bool {
        !self.kept.is_empty() || !self.proving.is_empty()
    }

    /// Bytes of the chunks in `list`.
    pub(super) fn bytes(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Bytes from the chunk at one place of the list to that at another, as they were told.
    pub(super) fn between(&self, from: u32, to: u32) -> u64 {
        let start = |nth: u32| self.starts.get(nth as usize).copied().unwrap_or(0);
        start(to).saturating_sub(start(from))
    }

    /// All that can be told of a xorb that goes on is here; the file's list proves it, once its author has all of the file.
    pub(super) fn is_all_but_one(&self, chunks: usize) -> bool {
        self.list.len() + 1 == chunks && self.unasked.is_empty() && self.asked.is_empty()
    }
}
