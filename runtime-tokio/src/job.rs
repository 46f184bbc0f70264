//! One file on its way: the partial file and what is known of its chunks, shared with the workers.

use crate::workers::Place;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use zest_core::JobId;
use zest_store::{Entry, Partial};
use zest_xet::{ChunkRef, Hash, Manifest};

/// What the chunks of a file turned out to be, as long as no proven list says what they must be.
#[derive(Debug, Default)]
pub(crate) struct Table {
    seen: Vec<Option<Seen>>,
}

/// One chunk that lies in the partial file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Hash and length of what was written last.
    pub(crate) chunk: ChunkRef,
    /// Its packed length in the xorb, 0 if unknown.
    pub(crate) packed_len: u32,
    /// Whether two fetches (or a whole xorb) agree on it.
    pub(crate) confirmed: bool,
}

impl Table {
    pub(crate) fn get(&self, index: u32) -> Option<Seen> {
        self.seen.get(index as usize).copied().flatten()
    }

    fn set(&mut self, index: u32, chunk: ChunkRef, packed_len: u32) {
        let at = index as usize;
        if self.seen.len() <= at {
            self.seen.resize(at + 1, None);
        }
        let before = self.seen[at];
        let confirmed = before.is_some_and(|b| b.chunk == chunk);
        let packed_len = if packed_len == 0 { before.map_or(0, |b| b.packed_len) } else { packed_len };
        self.seen[at] = Some(Seen { chunk, packed_len, confirmed });
    }

    pub(crate) fn confirm(&mut self, index: u32) {
        if let Some(Some(seen)) = self.seen.get_mut(index as usize) {
            seen.confirmed = true;
        }
    }

    /// The chunk list, if all `chunks` of them are known.
    pub(crate) fn list(&self, chunks: u32) -> Option<Vec<ChunkRef>> {
        (0..chunks).map(|index| self.get(index).map(|seen| seen.chunk)).collect()
    }
}

/// The partial file of a job. Workers write into it from several threads.
#[derive(Debug)]
pub(crate) struct JobFile {
    pub(crate) id: JobId,
    pub(crate) file: Hash,
    pub(crate) size: u64,
    /// `None` once the job is sealed: a late duplicate has nothing left to do.
    partial: RwLock<Option<Partial>>,
    pub(crate) table: Mutex<Table>,
    pub(crate) manifest: OnceLock<Arc<Manifest>>,
}

impl JobFile {
    pub(crate) fn new(id: JobId, file: Hash, size: u64, partial: Partial) -> JobFile {
        let mut table = Table::default();
        for entry in partial.entries() {
            table.set(entry.index, entry.chunk, entry.packed_len);
        }
        JobFile {
            id,
            file,
            size,
            partial: RwLock::new(Some(partial)),
            table: Mutex::new(table),
            manifest: OnceLock::new(),
        }
    }

    /// Writes a chunk to its place and notes it in the journal.
    pub(crate) fn keep(&self, place: Place, chunk: ChunkRef, packed_len: u32, bytes: &[u8]) -> std::io::Result<()> {
        self.write(place, bytes)?;
        self.record(place, chunk, packed_len)
    }

    /// Writes bytes that nothing counts on yet.
    pub(crate) fn write(&self, place: Place, bytes: &[u8]) -> std::io::Result<()> {
        match &*self.partial.read().expect("no holder panics") {
            Some(partial) => partial.write_at(place.offset, bytes),
            None => Ok(()),
        }
    }

    /// Notes in the journal what lies at a place.
    pub(crate) fn record(&self, place: Place, chunk: ChunkRef, packed_len: u32) -> std::io::Result<()> {
        if let Some(partial) = &*self.partial.read().expect("no holder panics") {
            partial.record(&Entry { index: place.index, offset: place.offset, chunk, packed_len })?;
        }
        self.table.lock().expect("no holder panics").set(place.index, chunk, packed_len);
        Ok(())
    }

    /// Makes what is written so far survive a power cut.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        match &*self.partial.read().expect("no holder panics") {
            Some(partial) => partial.sync(),
            None => Ok(()),
        }
    }

    /// Takes the partial file out, to finish it or to leave it for the next run.
    pub(crate) fn take(&self) -> Option<Partial> {
        self.partial.write().expect("no holder panics").take()
    }

    /// What is known of a chunk: from the proven list, else from what was seen.
    pub(crate) fn expected(&self, index: u32) -> Option<ChunkRef> {
        self.manifest.get().filter(|m| index < m.len()).map(|m| m.chunk(index))
    }
}
