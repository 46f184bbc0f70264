//! A small file outside Xet that is in memory.

use std::sync::Arc;
use zest_core::BufId;

/// Its name here, and all of it.
#[derive(Debug, Clone)]
pub(crate) struct Small {
    pub(crate) id: BufId,
    pub(crate) bytes: Arc<[u8]>,
}
