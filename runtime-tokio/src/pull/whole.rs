//! Counts of the files of a pull that come whole, or lie there whole.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Whole {
    /// Bytes of files that were on disk.
    pub(super) disk: Cell<u64>,
    /// Bytes of plain files that peers gave.
    pub(super) peers: Cell<u64>,
    /// Bytes of plain files that the Hub gave and that count.
    pub(super) hub: Cell<u64>,
    /// All bytes that came for plain files.
    pub(super) wire: Cell<u64>,
    /// Parts of plain files that had rotted since an earlier run.
    pub(super) rotten: Cell<u64>,
    /// Bytes of plain files that the Hub gave before the pull rested, by path.
    pub(super) credit: RefCell<BTreeMap<String, u64>>,
}

impl Whole {
    /// Of so many bytes of a plain file that lie here those that the Hub gave to this pull before it rested.
    pub(crate) fn take_credit(&self, path: &str, bytes: u64) -> u64 {
        let mut credit = self.credit.borrow_mut();
        let Some(left) = credit.get_mut(path) else { return 0 };
        let taken = bytes.min(*left);
        *left -= taken;
        taken
    }
}
