//! What a peer wants of us.

use crate::Instant;
use crate::node::few::Few;
use crate::node::queue::Upload;
use zest_xet::Hash;

/// Files one peer may be interested in at once, those that we fetch included: 4,096. Ours; more than the largest repositories
/// have.
pub const INTERESTS_MAX: usize = 4096;

#[derive(Debug)]
pub(crate) struct Wants {
    /// Files it is interested in, and how far into the log of their job it was told.
    pub(crate) interests: Few<Hash, usize>,
    /// Its requests that wait.
    pub(crate) upload: Upload,
    /// Whether it took anything that it asked for.
    pub(crate) served: bool,
    /// When it last asked for something.
    pub(crate) asked_at: Instant,
}

impl Wants {
    pub(super) fn nothing(now: Instant, upload: Upload) -> Self {
        Self { interests: Few::new(), upload, served: false, asked_at: now }
    }
}
