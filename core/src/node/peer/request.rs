//! What a peer was asked for.

use crate::node::few::Few;
use crate::{Instant, JobId, ReqId};
use alloc::collections::BTreeSet;

/// An answer we wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pending {
    Chunk { job: JobId, index: u32 },
    Manifest { job: JobId },
    Block { job: JobId, block: u32 },
    List { job: JobId, block: u32 },
    Tentative { job: JobId, block: u32, nth: u32 },
}

impl Pending {
    pub(crate) fn job(self) -> JobId {
        match self {
            Self::Chunk { job, .. }
            | Self::Manifest { job }
            | Self::Block { job, .. }
            | Self::Tentative { job, .. }
            | Self::List { job, .. } => job,
        }
    }
}

/// A request that is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) what: Pending,
    /// Order of asking.
    pub(crate) seq: u64,
    pub(crate) at: Instant,
    /// The job waits for this one (it is in [`crate::node::sets::Sets::asked`]). If not, its answer is still welcome.
    pub(crate) owned: bool,
}

/// All that a peer was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) requests: Few<ReqId, Request>,
    /// Requests for small files (`plain.rs` knows which).
    pub(crate) plain: BTreeSet<ReqId>,
    /// Requests that nobody waits for any more.
    pub(crate) unowned: u32,
    pub(crate) blocks_refused: BTreeSet<(JobId, u32)>,
    /// There was nothing to ask it for when it was last looked at, and nothing has come since.
    pub(crate) dry: bool,
    /// Its place in the order in which peers are asked.
    pub(crate) load: Option<u64>,
}

impl Asked {
    pub(super) fn nothing() -> Self {
        Self {
            requests: Few::new(),
            plain: BTreeSet::new(),
            unowned: 0,
            blocks_refused: BTreeSet::new(),
            dry: false,
            load: None,
        }
    }
}
