//! What of a job is streamed from the origin, by us or by peers, and nothing proves yet.

use super::stream::Stream;
use super::taking::Taking;
use crate::LinkId;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

#[derive(Debug, Default)]
pub(crate) struct Unproven {
    /// Blocks that the origin streams to us.
    pub(crate) streams: BTreeMap<u32, Stream>,
    /// Who offers such blocks.
    pub(crate) offers: BTreeMap<u32, Vec<LinkId>>,
    /// The same by the block's first chunk, before it is known what the file is made of.
    pub(crate) early_offers: BTreeSet<(LinkId, u32)>,
    /// Those that are had from one who streams them.
    pub(crate) takings: BTreeMap<u32, Taking>,
    /// Such blocks cannot be kept.
    pub(crate) no_room: bool,
}

impl Unproven {
    /// Who offers a block.
    pub(crate) fn offers_of(&self, block: u32) -> impl Iterator<Item = &LinkId> {
        self.offers.get(&block).into_iter().flatten()
    }

    /// Whether a block is offered on this link.
    pub(crate) fn is_offered(&self, block: u32, link: LinkId) -> bool {
        self.offers_of(block).any(|other| *other == link)
    }
}
