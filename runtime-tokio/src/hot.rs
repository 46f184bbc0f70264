//! Chunks that are asked for again and again, in memory: many of them go out in one call, and a request for one needs no
//! look at the disk. What is asked for the second time is read by a worker, proven and kept; until then its range is sent
//! from the file.

use crate::file_kind::FileKind;
use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::HashMap;
use zest_core::Location;
use zest_send::{BlockCache, Lender};
use zest_xet::{CHUNK_BYTES_TARGET, Hash, Proven};

/// The chunks in memory, and where they lie on disk.
pub(crate) struct Hot {
    pub(super) cache: RefCell<BlockCache>,
    lender: RefCell<Lender>,
    /// Places of chunks that were kept; those that went from memory since are struck off now and then.
    places: RefCell<HashMap<Hash, Location>>,
    places_max: usize,
    /// Chunks that workers read to be kept.
    pub(super) reading: Cell<usize>,
}

impl Hot {
    /// At most this many bytes of chunks.
    pub(crate) fn new(bytes_max: u64) -> Self {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Self {
            cache: RefCell::new(BlockCache::new(bytes_max)),
            lender: RefCell::default(),
            places: RefCell::default(),
            places_max: 4 * (bytes_max / CHUNK_BYTES_TARGET) + 1024,
            reading: Cell::new(0),
        }
    }

    pub(crate) fn cache(&self) -> Ref<'_, BlockCache> {
        self.cache.borrow()
    }

    pub(crate) fn lender(&self) -> RefMut<'_, Lender> {
        self.lender.borrow_mut()
    }

    /// Where a chunk lies that is in memory.
    pub(super) fn place(&self, hash: &Hash) -> Option<Location> {
        self.cache.borrow().contains(hash).then(|| self.places.borrow().get(hash).copied())?
    }

    pub(super) fn keep(&self, place: Location, chunk: &Proven<Vec<u8>>) {
        let mut cache = self.cache.borrow_mut();
        cache.admit(chunk);
        if FileKind::of(place.file).is_partial() {
            return;
        }
        let mut places = self.places.borrow_mut();
        places.insert(chunk.chunk().hash, place);
        if places.len() > self.places_max {
            places.retain(|hash, _| cache.contains(hash));
        }
    }
}
