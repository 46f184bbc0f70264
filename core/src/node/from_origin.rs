//! What the origin can do for a job, and what it is at.

use super::Policy;
use super::block_state::BlockState;
use super::event::OriginFault;
use super::left::Left;
use crate::Instant;
use alloc::vec::Vec;

/// What the origin can do for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OriginState {
    /// It was asked for nothing: peers may give all.
    Unasked,
    /// It was asked for its layout.
    Waiting,
    /// It did not tell its layout, and will be asked again.
    Out,
    /// It gives blocks.
    Ready,
    /// It cannot give this file.
    Gone(OriginFault),
}

impl OriginState {
    /// Whether its layout is still to come, as far as is known.
    pub(crate) fn is_unplanned(&self) -> bool {
        matches!(self, Self::Unasked | Self::Waiting | Self::Out)
    }
}

#[derive(Debug)]
pub(crate) struct FromOrigin {
    pub(crate) state: OriginState,
    /// How it is used beside peers.
    pub(crate) policy: Policy,
    pub(crate) blocks: Vec<BlockState>,
    /// The block at which it begins, once that is drawn.
    pub(crate) first: Option<usize>,
    /// Blocks that others are first in line for, and until when they are left to them: where few fetch the same.
    pub(crate) left: Option<Left>,
    /// Peers alone are too slow: it gives whatever is missing, not only what no peer has.
    pub(crate) joined: bool,
    /// Many peers fetch the file, too.
    pub(crate) many: bool,
    /// How many others those are.
    pub(crate) fetchers: u32,
    /// When it last gave something, or was asked anew.
    pub(crate) moved_at: Instant,
    /// Its head start for peers ends here at the latest.
    pub(crate) grace_end: Instant,
    /// Somebody looks for others until then.
    pub(crate) is_sought: bool,
}

impl FromOrigin {
    pub(crate) fn new(now: Instant, state: OriginState, policy: Policy) -> Self {
        Self {
            state,
            policy,
            blocks: Vec::new(),
            first: None,
            left: None,
            joined: false,
            many: false,
            fetchers: 0,
            moved_at: now,
            grace_end: now,
            is_sought: false,
        }
    }
}
