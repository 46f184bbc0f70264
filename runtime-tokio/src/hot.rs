//! Chunks that are asked for again and again, in memory: many of them go out in one call, and a request for one needs no
//! look at the disk. What is asked for the second time is read by a worker, proven and kept; until then its range is sent
//! from the file.

use crate::disk::Disk;
use crate::file_kind::FileKind;
use crate::limits::READING_MAX;
use crate::workers::{Done, Work};
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};
use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use zest_core::Location;
use zest_store::{Access, BlockCache, Lender};
use zest_xet::{CHUNK_BYTES_TARGET, ChunkRef, Hash, Proven, verify};

/// The chunks in memory, and where they lie on disk.
pub(crate) struct Hot {
    cache: RefCell<BlockCache>,
    lender: RefCell<Lender>,
    /// Places of chunks that were kept; those that went from memory since are struck off now and then.
    places: RefCell<HashMap<Hash, Location>>,
    places_max: usize,
    reading: Cell<usize>,
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
    fn place(&self, hash: &Hash) -> Option<Location> {
        self.cache.borrow().contains(hash).then(|| self.places.borrow().get(hash).copied())?
    }

    fn keep(&self, place: Location, chunk: &Proven<Vec<u8>>) {
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

/// The bytes of a place, read into memory that was not touched before.
fn read(file: &File, place: Location) -> io::Result<Vec<u8>> {
    let len = place.len as usize;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let offset = place.offset + bytes.len() as u64;
        match pread(file, spare_capacity(&mut bytes), offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}

impl Disk {
    /// Where a chunk in memory lies, if it still may be shared.
    pub(crate) fn locate_hot(&self, hash: &Hash, access: Access) -> Option<Location> {
        let place = self.hot.place(hash)?;
        self.store.catalog.is_shared(zest_store::FileId(place.file.0), access).then_some(place)
    }

    /// A chunk is being sent from its file. If that happens often it is read, to be kept.
    pub(crate) fn missed(&self, hash: Hash, place: Location) {
        let hot = &self.hot;
        if hot.reading.get() >= READING_MAX || !hot.cache.borrow_mut().missed(&hash) {
            return;
        }
        let Some(file) = self.open(place.file) else { return };
        hot.reading.set(hot.reading.get() + 1);
        let mailbox = self.mailbox.clone();
        self.push(Work::Task(Box::new(move || {
            let chunk = ChunkRef { hash, len: place.len };
            let chunk = read(&file, place).ok().and_then(|bytes| match verify(bytes, chunk) {
                Ok(proven) => Some(proven),
                Err(_) => {
                    tracing::warn!(
                        target: zest_store::SAID,
                        kind = "rotten",
                        "a chunk on the disk is not what was proven, and is not uploaded: `zest verify` names the file"
                    );
                    tracing::debug!(%hash, offset = place.offset, "rotten");
                    None
                }
            });
            mailbox.send(Done::Read { place, chunk });
        })));
    }

    /// A worker has read a chunk.
    pub(crate) fn was_read(&self, place: Location, chunk: Option<&Proven<Vec<u8>>>) {
        self.hot.reading.set(self.hot.reading.get() - 1);
        if let Some(chunk) = chunk {
            self.hot.keep(place, chunk);
        }
    }
}
