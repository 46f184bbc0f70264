//! Which chunks a job's file has: its own list, those of single xorbs, and what is asked for to learn them.

use super::layout::Layout;
use super::manifest::ManifestAsk;
use crate::{LinkId, ReqId};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use zest_xet::Manifest;

#[derive(Debug, Default)]
pub(crate) struct ChunkLists {
    /// The file's own list, once it is proven.
    pub(crate) manifest: Option<Arc<Manifest>>,
    /// Whom that is asked of.
    pub(crate) ask: Option<ManifestAsk>,
    /// Which block gives which chunk, and the lists of blocks that are proven.
    pub(crate) layout: Layout,
    /// Block lists that are asked for.
    pub(crate) list_asks: BTreeMap<u32, (LinkId, ReqId)>,
}
