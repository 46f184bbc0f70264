//! Which job asks which peer next.

use super::picker::Shared;
use crate::{JobId, LinkId};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

#[derive(Debug, Default)]
pub(super) struct Asking {
    /// The jobs in the order in which they are filled.
    pub(super) jobs: Vec<JobId>,
    /// Whose turn it is, for the front of its file or for all of it.
    pub(super) turns: Vec<(JobId, bool)>,
    /// Peers that may be asked for something, by the time one more request would wait there.
    pub(super) peers: BTreeSet<(u64, LinkId)>,
    /// Something came up that peers out of that order may give: they are looked at again.
    pub(super) recheck: bool,
    /// Sources may have something new to do: they are looked at once the event is handled.
    pub(super) due: bool,
    pub(super) shared: Shared,
    /// Copies from the local disk under way.
    pub(super) copies_active: u32,
}

impl Asking {
    /// There may be more to ask for, even of peers that had nothing to give.
    pub(super) fn more(&mut self) {
        (self.recheck, self.due) = (true, true);
    }
}
