//! Chunks on their way into memory: read by a worker, proven and kept.

use crate::disk::Disk;
use crate::limits::READING_MAX;
use crate::workers::{Done, Work};
use std::fs::File;
use std::io;
use zest_core::Location;
use zest_store::Access;
use zest_xet::{ChunkRef, Hash, Proven, verify};

/// The bytes of a place, read into memory that was not touched before.
fn read(file: &File, place: Location) -> io::Result<Vec<u8>> {
    let len = place.len as usize;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let offset = place.offset + bytes.len() as u64;
        if crate::os::read_more_at(file, &mut bytes, offset)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
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
