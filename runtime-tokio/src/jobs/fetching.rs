//! What the origin is at for a job.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct Fetching {
    /// Blocks under way, each with its stop flag.
    blocks: RefCell<BTreeMap<u32, Rc<Notify>>>,
    /// Blocks whose streams begin at the beginning, as one that began behind what is held made no sense.
    not_skipped: RefCell<BTreeSet<u32>>,
    /// Bytes of the file when it was made durable last.
    synced_at: Cell<u64>,
}

impl Fetching {
    /// A block is fetched from now on; gives its stop flag.
    pub(crate) fn begin(&self, block: u32) -> Rc<Notify> {
        let stop = Rc::new(Notify::new());
        self.blocks.borrow_mut().insert(block, stop.clone());
        stop
    }

    /// Asks the fetch of a block to end.
    pub(crate) fn stop(&self, block: u32) {
        if let Some(stop) = self.blocks.borrow().get(&block) {
            stop.notify_one();
        }
    }

    /// The fetch of a block has ended.
    pub(crate) fn ended(&self, block: u32) {
        self.blocks.borrow_mut().remove(&block);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.blocks.borrow().is_empty()
    }

    /// Whether a stream of this block may begin behind what is held.
    pub(crate) fn may_skip(&self, block: u32) -> bool {
        !self.not_skipped.borrow().contains(&block)
    }

    /// A stream of this block that began behind what is held made no sense.
    pub(crate) fn skip_no_more(&self, block: u32) {
        self.not_skipped.borrow_mut().insert(block);
    }

    /// Whether so many bytes more than last time are there, to be made durable; if so, this is the last time.
    pub(crate) fn sync_is_due(&self, done: u64, every: u64) -> bool {
        let due = done - self.synced_at.get() >= every;
        if due {
            self.synced_at.set(done);
        }
        due
    }
}
