//! Bytes in memory that the node knows by a name alone.

use crate::buffers::Buffer;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use zest_core::BufId;

pub(crate) struct Held {
    /// Payloads that came and wait for the node's word.
    buffers: RefCell<BTreeMap<BufId, Buffer>>,
    /// Chunk lists of jobs under way, for whoever asks.
    records: RefCell<BTreeMap<BufId, Bytes>>,
    /// The number of the next name.
    next: Cell<u64>,
}

impl Held {
    pub(crate) fn new() -> Self {
        Self { buffers: RefCell::default(), records: RefCell::default(), next: Cell::new(1) }
    }

    fn name(&self) -> BufId {
        BufId(self.next.replace(self.next.get() + 1))
    }

    /// A payload came.
    pub(crate) fn keep(&self, buf: Buffer) -> BufId {
        let id = self.name();
        self.buffers.borrow_mut().insert(id, buf);
        id
    }

    /// A payload is used, or of no use.
    pub(crate) fn take(&self, id: BufId) -> Option<Buffer> {
        self.buffers.borrow_mut().remove(&id)
    }

    /// Makes a chunk list known under a name that a body can have.
    pub(crate) fn keep_records(&self, records: Bytes) -> BufId {
        let id = self.name();
        self.records.borrow_mut().insert(id, records);
        id
    }

    /// Nobody is given these lists any more.
    pub(crate) fn drop_records(&self, ids: impl IntoIterator<Item = BufId>) {
        let mut records = self.records.borrow_mut();
        ids.into_iter().for_each(|id| drop(records.remove(&id)));
    }

    /// Some of the bytes under a name.
    pub(crate) fn bytes(&self, id: BufId, offset: u32, len: u32) -> Option<Bytes> {
        let range = offset as usize..offset as usize + len as usize;
        if let Some(records) = self.records.borrow().get(&id) {
            return (range.end <= records.len()).then(|| records.slice(range));
        }
        let buffers = self.buffers.borrow();
        buffers.get(&id)?.as_ref().get(range).map(Bytes::copy_from_slice)
    }
}
