//! Where each chunk of a job is, and who is at it.

use super::BitSet;
use crate::{LinkId, Location, ReqId};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

/// Each chunk is in exactly one of `held`, `missing`, `asked`, `proving` and `copying`, so none can be lost;
/// `Job::check_invariants` proves it.
#[derive(Debug, Default)]
pub(crate) struct Sets {
    /// Whether the number of chunks is known; until then the sets have length 0.
    pub(crate) sized: bool,
    /// In the partial file.
    pub(crate) held: BitSet,
    /// Nobody's yet. Blocks under way are in `covered` besides: others may overtake them.
    pub(crate) missing: BitSet,
    /// Missing chunks whose hash is known: what peers can be asked for.
    pub(crate) open: BitSet,
    /// Asked of a peer: the one request that counts. Older requests that were given up may still be answered.
    pub(crate) asked: BTreeMap<u32, (LinkId, ReqId)>,
    /// A peer's answer is being proven.
    pub(crate) proving: BitSet,
    /// On this machine: a copy is under way, or waits in `local`.
    pub(crate) copying: BitSet,
    /// In a block that the origin or a zest 0.4 peer is at.
    pub(crate) covered: BitSet,
    /// Chunks that were taken from a slow peer and asked for again: once is enough.
    pub(crate) twice: BTreeSet<u32>,
    /// Chunks of which more than the request that counts may be out.
    pub(crate) raced: BTreeSet<u32>,
    /// Copies to be made, and from where.
    pub(crate) local: VecDeque<(u32, Location)>,
    /// Copies whose outcome has not come yet.
    pub(crate) copies: BTreeSet<u32>,
}

impl Sets {
    /// Of a file of so many chunks, none of which is here.
    pub(crate) fn all_missing(chunks: u32) -> Self {
        let empty = || BitSet::empty(chunks);
        Self {
            sized: true,
            held: empty(),
            missing: BitSet::full(chunks),
            open: empty(),
            proving: empty(),
            copying: empty(),
            covered: empty(),
            ..Self::default()
        }
    }
}
