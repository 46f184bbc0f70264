//! Which job asks which peer next, and who is asked for small files.

use super::fair::Turns;
use super::picker::Shared;
use super::plain::Plains;
use crate::{JobId, LinkId};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

#[derive(Debug, Default)]
pub(super) struct Asking {
    /// The jobs in the order in which they are filled.
    pub(super) jobs: Vec<JobId>,
    /// Whose turn it is.
    pub(super) turns: Turns,
    /// Peers that may be asked for something, by the time one more request would wait there.
    pub(super) peers: BTreeSet<(u64, LinkId)>,
    /// Peers whose place in that order is to be found anew before anybody is asked; each as often as it was said.
    moved: Vec<LinkId>,
    /// Something came up that peers out of that order may give: they are looked at again.
    pub(super) recheck: bool,
    /// Sources may have something new to do: they are looked at once the event is handled.
    pub(super) due: bool,
    /// The same for peers alone.
    pub(super) peers_due: bool,
    pub(super) shared: Shared,
    /// Copies from the local disk under way.
    pub(super) copies_active: u32,
    /// Small files that peers may give.
    pub(super) plains: Plains,
}

impl Asking {
    /// A peer has more room or less, or is slower or quicker than before.
    pub(super) fn moved(&mut self, link: LinkId) {
        self.moved.push(link);
    }

    /// Those of whom that was said, to be given back with [`Asking::found`].
    pub(super) fn take_moved(&mut self) -> Vec<LinkId> {
        core::mem::take(&mut self.moved)
    }

    /// They have their places, so their list can be used again.
    pub(super) fn found(&mut self, mut moved: Vec<LinkId>) {
        moved.clear();
        self.moved = moved;
    }

    /// There may be more to ask for, even of peers that had nothing to give.
    pub(super) fn more(&mut self) {
        (self.recheck, self.due) = (true, true);
    }
}
