//! What came of a job's file and nothing proves yet.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use zest_core::LinkId;
use zest_xet::ChunkRef;

/// Who sent a xorb range that nothing proves yet, and what the file's chunks were in it.
pub(crate) type Doubt = (LinkId, Vec<(u32, ChunkRef)>);

#[derive(Default)]
pub(crate) struct Unproven {
    pub(crate) rounds: Cell<u32>,
    /// What came for chunks, with the times it came.
    pub(crate) votes: RefCell<BTreeMap<u32, Vec<(ChunkRef, u32)>>>,
    /// What peers sent in xorb ranges.
    pub(crate) doubts: RefCell<Vec<Doubt>>,
}
