//! What is known of the chunks of a job's file besides its own list: how the origin lays it out, and the lists of single xorbs.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use zest_core::BufId;
use zest_xet::{ChunkRef, Hash, Plan};

#[derive(Default)]
pub(crate) struct KnownLists {
    plan: RefCell<Option<Rc<Plan>>>,
    /// Proven lists of the xorbs of blocks, whole, by block.
    listed: RefCell<BTreeMap<u32, Arc<[ChunkRef]>>>,
    /// Where chunks that are copied from other files go, when no manifest tells.
    copies: RefCell<BTreeMap<u32, u64>>,
    /// Lists in wire form that were asked for, by the hash they belong to.
    records: RefCell<BTreeMap<Hash, BufId>>,
    /// The parts of the file's list that a peer has sent so far.
    arriving: RefCell<Vec<u8>>,
    /// The file's list lies on this disk: whoever goes on with the file has it, too.
    kept: Cell<bool>,
    /// It was looked for there.
    pub(crate) looked: tokio::sync::OnceCell<()>,
}

impl KnownLists {
    /// How the origin lays the file out, once that is known.
    pub(crate) fn plan(&self) -> Option<Rc<Plan>> {
        self.plan.borrow().clone()
    }

    pub(crate) fn set_plan(&self, plan: Plan) {
        *self.plan.borrow_mut() = Some(Rc::new(plan));
    }

    /// The file's list was found on this disk.
    pub(crate) fn set_kept(&self) {
        self.kept.set(true);
    }

    /// Whether the next process will know the file's list as well.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.get()
    }

    /// The list of a block's xorb, whole, once it is proven.
    pub(crate) fn of_block(&self, block: u32) -> Option<Arc<[ChunkRef]>> {
        self.listed.borrow().get(&block).cloned()
    }

    /// The list of a block's xorb is proven.
    pub(crate) fn set_block(&self, block: u32, list: Arc<[ChunkRef]>) {
        self.listed.borrow_mut().insert(block, list);
    }

    /// The list of a xorb of the file, if it is proven.
    pub(crate) fn of_xorb(&self, xorb: &Hash) -> Option<Arc<[ChunkRef]>> {
        let plan = self.plan()?;
        let listed = self.listed.borrow();
        let of = |(at, list): (&u32, &Arc<[ChunkRef]>)| {
            (plan.blocks[*at as usize].xorb == *xorb).then(|| list.clone())
        };
        listed.iter().find_map(of)
    }

    /// A chunk will be copied from another file, to here.
    pub(crate) fn set_copy(&self, index: u32, offset: u64) {
        self.copies.borrow_mut().insert(index, offset);
    }

    /// Where a chunk goes that is copied from another file.
    pub(crate) fn copy_goes_to(&self, index: u32) -> Option<u64> {
        self.copies.borrow().get(&index).copied()
    }

    /// The name of a list in wire form; it is made when it is asked for first.
    pub(crate) fn records(&self, of: Hash, make: impl FnOnce() -> BufId) -> BufId {
        *self.records.borrow_mut().entry(of).or_insert_with(make)
    }

    /// The names of all lists in wire form, which nobody is given any more.
    pub(crate) fn take_records(&self) -> impl Iterator<Item = BufId> + use<> {
        self.records.take().into_values()
    }

    /// A part of the file's list came from a peer; gives the whole with the last one.
    pub(crate) fn came(&self, part: &[u8], first: bool, last: bool) -> Option<Vec<u8>> {
        let mut records = self.arriving.borrow_mut();
        if first {
            records.clear();
        }
        records.extend_from_slice(part);
        last.then(|| std::mem::take(&mut *records))
    }
}
