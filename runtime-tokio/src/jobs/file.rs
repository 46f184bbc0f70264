//! One file on its way: the partial file and what is known of its chunks, shared with the workers.

use crate::lists::Lists;
use crate::workers::ChunkPlace;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use tokio::sync::watch;
use zest_core::JobId;
use zest_store::{Entry, Identity, Partial};
use zest_xet::{Checked, ChunkHeader, ChunkRef, ChunkTable, Hash, Manifest, Seen, chunk_hash, may_land};

/// The partial file of a job. Workers write into it from several threads.
#[derive(Debug)]
pub(crate) struct JobFile {
    pub(crate) id: JobId,
    pub(crate) file: Hash,
    pub(crate) size: u64,
    /// `None` once the job is sealed: a late duplicate has nothing left to do.
    partial: RwLock<Option<Partial>>,
    /// What lies there and who may write where. Held over a write that may turn out wrong.
    pub(crate) table: Mutex<ChunkTable>,
    pub(crate) manifest: OnceLock<Arc<Manifest>>,
    /// Proven lists of single xorbs. Held for reading while a chunk without proof is written, for writing while a proven
    /// list, be it this file's or a xorb's, is set.
    lists: RwLock<Lists>,
    /// Chunks that an earlier process wrote, and where: in order, by index.
    earlier: Vec<(u32, u64)>,
    /// Where runs of chunks begin, as the origin lays the file out: in order. It is believed for where to look, and for nothing else.
    runs: OnceLock<Vec<Spot>>,
    /// Told when more may be proven.
    changed: watch::Sender<()>,
    /// Bytes of it that came, proven or not, as they came over the line.
    came: AtomicU64,
    /// The number of the next stream that is judged when it has ended.
    streams: AtomicU32,
    /// One of them came from a peer of zest 0.4.
    ranged: AtomicBool,
}

/// A chunk of a file and where it begins, where that is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) index: u32,
    pub(crate) offset: u64,
}

impl JobFile {
    pub(crate) fn new(id: JobId, file: Hash, size: u64, mut partial: Partial) -> Self {
        let seen = |entry: &Entry| (entry.index, Seen { chunk: entry.chunk, packed_len: entry.packed_len });
        let table = ChunkTable::of_earlier(partial.entries().iter().map(seen));
        let earlier = partial.entries().iter().map(|entry| (entry.index, entry.offset)).collect();
        partial.forget_entries();
        Self {
            earlier,
            id,
            file,
            size,
            partial: RwLock::new(Some(partial)),
            table: Mutex::new(table),
            manifest: OnceLock::new(),
            lists: RwLock::default(),
            runs: OnceLock::new(),
            changed: watch::Sender::default(),
            came: AtomicU64::new(0),
            streams: AtomicU32::new(0),
            ranged: AtomicBool::new(false),
        }
    }

    /// Bytes of it came, which may still have to be proven.
    pub(crate) fn more_came(&self, bytes: u64) {
        self.came.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of it that came so far, proven or not.
    pub(crate) fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }

    /// Whether it is known how the origin lays it out.
    pub(crate) fn has_layout(&self) -> bool {
        self.runs.get().is_some()
    }

    /// Tells when more may be proven, from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn tell(&self) {
        if self.changed.receiver_count() > 0 {
            self.changed.send_replace(());
        }
    }

    /// How many bytes from `at` on lie there proven, `max` at most; `None` if not even one does, or nobody can tell yet. The chunks
    /// before `spot` are not looked at again.
    pub(crate) fn proven_at(&self, spot: &mut Spot, at: u64, max: usize) -> Option<usize> {
        if let Some(manifest) = self.manifest.get() {
            let index = manifest.chunk_at(at)?;
            *spot = Spot { index, offset: manifest.offset(index) };
        } else {
            let runs = self.runs.get().map(Vec::as_slice).unwrap_or_default();
            let begun = runs.partition_point(|run| run.offset <= at);
            let run = begun.checked_sub(1).map(|last| runs[last]).unwrap_or_default();
            if spot.offset > at || spot.offset < run.offset {
                *spot = run;
            }
        }
        let lists = self.lists.read().expect("no holder panics");
        let table = self.table.lock().expect("no holder panics");
        let proven = |index| {
            let named = self.expected_in(&lists, index)?;
            table.holds(index, Some(named)).then_some(u64::from(named.len))
        };
        // Without the file's list a chunk's place is known once those before it in its run are.
        while let Some(len) = proven(spot.index).filter(|len| spot.offset + len <= at) {
            *spot = Spot { index: spot.index + 1, offset: spot.offset + len };
        }
        let until = at + max as u64;
        let (mut index, mut end) = (spot.index, spot.offset);
        while end < until
            && let Some(len) = proven(index)
        {
            (index, end) = (index + 1, end + len);
        }
        let len = end.min(until).checked_sub(at).filter(|len| *len > 0)?;
        usize::try_from(len).ok()
    }

    /// Notes where runs of chunks begin.
    pub(crate) fn set_runs(&self, runs: Vec<Spot>) {
        let _ = self.runs.set(runs);
        self.tell();
    }

    /// Makes a proven list the measure of this file. From the moment it returns no write of a chunk that was only hashed
    /// is under way, and none begins that the list does not name.
    pub(crate) fn set_manifest(&self, manifest: Arc<Manifest>) {
        let _no_unproven_write = self.lists.write().expect("no holder panics");
        let _ = self.manifest.set(manifest);
        self.tell();
    }

    /// Takes proven lists of single xorbs in. From the moment it returns they hold like [`JobFile::set_manifest`].
    pub(crate) fn set_lists(&self, add: impl FnOnce(&mut Lists)) {
        add(&mut self.lists.write().expect("no holder panics"));
        self.tell();
    }

    /// Writes a chunk that was hashed but could not be compared with anything; false if a proven list has come meanwhile
    /// and names another chunk here.
    pub(crate) fn keep_unproven(
        &self,
        place: ChunkPlace,
        chunk: ChunkRef,
        packed_len: u32,
        bytes: &[u8],
    ) -> std::io::Result<bool> {
        let lists = self.lists.read().expect("no holder panics");
        if !may_land(chunk, self.expected_in(&lists, place.index)) {
            return Ok(false);
        }
        self.keep(place, chunk, packed_len, bytes)?;
        Ok(true)
    }

    /// Whether a chunk counts as there: written or looked at by this process, and what a proven list names, if one does.
    pub(crate) fn holds(&self, index: u32) -> bool {
        self.measured(|table, named| table.holds(index, named(index)))
    }

    /// Of so many chunks those that count as there.
    pub(crate) fn held(&self, chunks: u32) -> Vec<u32> {
        self.measured(|table, named| (0..chunks).filter(|&index| table.holds(index, named(index))).collect())
    }

    /// Chunks of `of` for which something else was written than a proven list names.
    pub(crate) fn wrong(&self, of: impl IntoIterator<Item = u32>) -> Vec<u32> {
        self.measured(|table, named| table.wrong(of, named))
    }

    /// The last look before the file is sealed: what is not there, or not what a proven list names.
    pub(crate) fn lacking(&self, chunks: u32) -> Vec<u32> {
        self.measured(|table, named| table.lacking(chunks, named))
    }

    /// The table beside what proven lists name. The lists come first, as whoever writes takes them first.
    fn measured<T>(&self, look: impl FnOnce(&ChunkTable, &dyn Fn(u32) -> Option<ChunkRef>) -> T) -> T {
        let lists = self.lists.read().expect("no holder panics");
        let table = self.table.lock().expect("no holder panics");
        look(&table, &|index| self.expected_in(&lists, index))
    }

    /// Writes a proven chunk to its place and notes it in the journal.
    pub(crate) fn keep(
        &self,
        place: ChunkPlace,
        chunk: ChunkRef,
        packed_len: u32,
        bytes: &[u8],
    ) -> std::io::Result<()> {
        self.table.lock().expect("no holder panics").settle(place.index);
        self.write(place, bytes)?;
        self.record(place, chunk, packed_len)
    }

    /// The same for several proven chunks, in order of their place: neighbours are written together, and the journal once.
    pub(crate) fn keep_all(&self, chunks: &[(ChunkPlace, ChunkRef, &[u8])]) -> std::io::Result<()> {
        {
            let mut table = self.table.lock().expect("no holder panics");
            chunks.iter().for_each(|(place, ..)| table.settle(place.index));
        }
        if let Some(partial) = &*self.partial.read().expect("no holder panics") {
            let touch = |(a, _, bytes): &(ChunkPlace, ChunkRef, &[u8]),
                         (b, ..): &(ChunkPlace, ChunkRef, &[u8])| {
                a.offset + bytes.len() as u64 == b.offset
            };
            for run in chunks.chunk_by(touch) {
                write_run(partial, run)?;
            }
            let entry = |&(ChunkPlace { index, offset }, chunk, _): &(ChunkPlace, ChunkRef, &[u8])| Entry {
                index,
                offset,
                chunk,
                packed_len: 0,
            };
            partial.record_all(&chunks.iter().map(entry).collect::<Vec<_>>())?;
        }
        let mut table = self.table.lock().expect("no holder panics");
        chunks.iter().for_each(|(place, chunk, _)| table.wrote(place.index, *chunk, 0));
        drop(table);
        self.tell();
        Ok(())
    }

    /// Writes bytes of a stream that is judged later, unless the place is somebody else's: then the stream does not count
    /// there.
    pub(crate) fn write_doubtful(&self, place: ChunkPlace, stream: u32, bytes: &[u8]) -> std::io::Result<()> {
        // Under the lock: whatever settles the place meanwhile is written after this.
        let mut table = self.table.lock().expect("no holder panics");
        if table.claim(place.index, stream) { self.write(place, bytes) } else { Ok(()) }
    }

    /// Writes a chunk that hashes to what its author told to where it lies if that is all true, under the name of a stream, which is the only
    /// one that writes there as long as it is `open`. False if a proven list says meanwhile that it is not. What is not written for other
    /// reasons is not the stream's when it is proven.
    pub(crate) fn keep_tentative(
        &self,
        place: ChunkPlace,
        chunk: ChunkRef,
        stream: u32,
        open: &AtomicBool,
        bytes: &[u8],
    ) -> std::io::Result<bool> {
        let lists = self.lists.read().expect("no holder panics");
        let named = match self.manifest.get() {
            Some(manifest) => (place.index < manifest.len())
                .then(|| (manifest.chunk(place.index), manifest.offset(place.index))),
            None => lists.place(place.index),
        };
        if named.is_some_and(|named| named != (chunk, place.offset)) {
            return Ok(false);
        }
        let claimed = || self.table.lock().expect("no holder panics").claim(place.index, stream);
        if open.load(Ordering::Relaxed) && claimed() {
            self.write(place, bytes)?;
        }
        Ok(true)
    }

    /// Waits until no write of a chunk is under way that nothing proves.
    pub(crate) fn await_unproven(&self) {
        drop(self.lists.write().expect("no holder panics"));
    }

    /// Whether a stream was begun that is judged when it has ended, and whose chunks may have any length.
    pub(crate) fn was_ranged(&self) -> bool {
        self.ranged.load(Ordering::Relaxed)
    }

    /// A name for such a stream.
    pub(crate) fn begin_range(&self) -> u32 {
        self.ranged.store(true, Ordering::Relaxed);
        self.begin_stream()
    }

    /// Notes what a stream wrote, now that it is proven; false if the place is not the stream's.
    pub(crate) fn record_stream(
        &self,
        place: ChunkPlace,
        stream: u32,
        chunk: ChunkRef,
        packed_len: u32,
    ) -> std::io::Result<bool> {
        if !self.table.lock().expect("no holder panics").prove(place.index, stream) {
            return Ok(false);
        }
        self.record(place, chunk, packed_len).map(|()| true)
    }

    /// A name for a stream that is judged when it has ended.
    pub(crate) fn begin_stream(&self) -> u32 {
        self.streams.fetch_add(1, Ordering::Relaxed)
    }

    /// The stream is over; what it did not prove is anyone's again.
    pub(crate) fn end_stream(&self, stream: u32) {
        self.table.lock().expect("no holder panics").end_stream(stream);
    }

    fn write(&self, place: ChunkPlace, bytes: &[u8]) -> std::io::Result<()> {
        match &*self.partial.read().expect("no holder panics") {
            Some(partial) => partial.write_at(place.offset, bytes),
            None => Ok(()),
        }
    }

    /// The header of a chunk that is here already, as a stream went over it: what to note, if its length in the xorb is news.
    pub(crate) fn passed(&self, place: ChunkPlace, header: ChunkHeader) -> Option<Entry> {
        let mut table = self.table.lock().expect("no holder panics");
        let Seen { chunk, packed_len } = table.passed(place.index, header.len, header.packed_len)?;
        Some(Entry { index: place.index, offset: place.offset, chunk, packed_len })
    }

    /// Writes that into the journal.
    pub(crate) fn note_passed(&self, entries: &[Entry]) -> std::io::Result<()> {
        let partial = self.partial.read().expect("no holder panics");
        partial.as_ref().map_or(Ok(()), |partial| partial.record_all(entries))
    }

    /// Notes in the journal what lies at a place.
    fn record(&self, place: ChunkPlace, chunk: ChunkRef, packed_len: u32) -> std::io::Result<()> {
        if let Some(partial) = &*self.partial.read().expect("no holder panics") {
            partial.record(&Entry { index: place.index, offset: place.offset, chunk, packed_len })?;
        }
        self.table.lock().expect("no holder panics").wrote(place.index, chunk, packed_len);
        self.tell();
        Ok(())
    }

    /// Chunks of an earlier process that nobody has looked at yet: index, first byte, length.
    pub(crate) fn unchecked(&self) -> Vec<(u32, u64, u32)> {
        let table = self.table.lock().expect("no holder panics");
        let of = |&(index, offset)| table.unchecked(index).map(|seen| (index, offset, seen.chunk.len));
        self.earlier.iter().filter_map(of).collect()
    }

    /// Looks whether a chunk that an earlier process wrote is still what the journal says: whatever was on disk while nobody
    /// watched may have changed. Only then does it count.
    pub(crate) fn check(&self, place: ChunkPlace, room: &mut [u8]) -> std::io::Result<Checked> {
        let lists = self.lists.read().expect("no holder panics");
        let partial = self.partial.read().expect("no holder panics");
        let seen = self.table.lock().expect("no holder panics").unchecked(place.index);
        let (Some(partial), Some(seen)) = (&*partial, seen) else { return Ok(Checked::Overtaken) };
        let bytes = &mut room[..seen.chunk.len as usize];
        let holds = partial.read_at(place.offset, bytes).is_ok() && chunk_hash(bytes) == seen.chunk.hash;
        let mut table = self.table.lock().expect("no holder panics");
        let checked = table.check(place.index, holds, self.expected_in(&lists, place.index));
        match checked {
            Checked::Good => {
                drop(table);
                self.tell();
            }
            // Under the table's lock: whoever writes there next notes it after this.
            Checked::Rotten | Checked::Wrong => partial.discard(place.index)?,
            Checked::Overtaken => {}
        }
        Ok(checked)
    }

    /// Reads bytes of the partial file; false if that cannot be done, or it is sealed.
    pub(crate) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> bool {
        let partial = self.partial.read().expect("no holder panics");
        partial.as_ref().is_some_and(|partial| partial.read_at(offset, bytes).is_ok())
    }

    /// The partial file by its name, and which file that is: device and number. `None` once it is sealed.
    pub(crate) fn place(&self) -> Option<(PathBuf, (u64, u64))> {
        let partial = self.partial.read().expect("no holder panics");
        let partial = partial.as_ref()?;
        let meta = partial.file().metadata().ok()?;
        Some((partial.path().to_owned(), Identity::of(&meta).file()))
    }

    /// A file without a name beside the partial one; `None` once it is sealed.
    pub(crate) fn beside(&self) -> Option<std::io::Result<std::fs::File>> {
        self.partial.read().expect("no holder panics").as_ref().map(Partial::beside)
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

    /// What a proven list, the file's or a xorb's, says a chunk must be.
    pub(crate) fn expected(&self, index: u32) -> Option<ChunkRef> {
        match self.manifest.get() {
            Some(_) => self.expected_in(&Lists::default(), index),
            None => self.expected_in(&self.lists.read().expect("no holder panics"), index),
        }
    }

    fn expected_in(&self, lists: &Lists, index: u32) -> Option<ChunkRef> {
        match self.manifest.get() {
            Some(manifest) => (index < manifest.len()).then(|| manifest.chunk(index)),
            None => lists.get(index),
        }
    }
}

/// Writes chunks that lie one behind the other.
fn write_run(partial: &Partial, run: &[(ChunkPlace, ChunkRef, &[u8])]) -> std::io::Result<()> {
    let Some((first, ..)) = run.first() else { return Ok(()) };
    let len = run.iter().map(|(.., bytes)| bytes.len()).sum::<usize>();
    assert!(first.offset + len as u64 <= partial.spec().size, "a write must lie inside the file");
    let parts: Vec<_> = run.iter().map(|(.., bytes)| std::io::IoSlice::new(bytes)).collect();
    crate::os::write_all_parts_at(partial.file(), &parts, first.offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_store::PartialSpec;
    use zest_xet::chunk_hash;

    fn chunk(bytes: &[u8]) -> ChunkRef {
        ChunkRef { hash: chunk_hash(bytes), len: bytes.len() as u32 }
    }

    #[test]
    fn chunks_kept_together_are_where_they_belong_and_survive_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let spec = PartialSpec { file: chunk_hash(b"any name"), size: 20 };
        let job = JobFile::new(JobId(1), spec.file, 20, Partial::open(dir.path(), spec).unwrap());
        let parts: [(u32, u64, &[u8]); 4] =
            [(0, 0, b"abcd"), (1, 4, b"ef"), (2, 6, b"ghij"), (4, 16, b"klmn")];
        let place = |(index, offset, bytes): (u32, u64, &'static [u8])| {
            (ChunkPlace { index, offset }, chunk(bytes), bytes)
        };
        job.keep_all(&parts.map(place)).unwrap();
        assert!([0, 1, 2, 4].into_iter().all(|index| job.holds(index)) && !job.holds(3));
        drop(job);
        let partial = Partial::open(dir.path(), spec).unwrap();
        let kept: Vec<(u32, u64, ChunkRef)> =
            partial.entries().iter().map(|entry| (entry.index, entry.offset, entry.chunk)).collect();
        assert_eq!(kept, parts.map(|(index, offset, bytes)| (index, offset, chunk(bytes))));
        let mut bytes = [0; 20];
        partial.read_at(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"abcdefghij\0\0\0\0\0\0klmn");
    }

    #[test]
    fn what_an_earlier_process_wrote_counts_once_it_was_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let spec = PartialSpec { file: chunk_hash(b"any name"), size: 16 };
        let open = || JobFile::new(JobId(1), spec.file, 16, Partial::open(dir.path(), spec).unwrap());
        let place = |index: u32| ChunkPlace { index, offset: u64::from(index) * 4 };
        let mut room = vec![0; 100];
        let parts: [&[u8]; 4] = [b"good", b"evil", b"late", b"more"];
        let job = open();
        (0..4).for_each(|at| job.keep(place(at), chunk(parts[at as usize]), 7, parts[at as usize]).unwrap());
        assert!(job.unchecked().is_empty(), "this process wrote it");
        job.sync().unwrap();
        let path = job.partial.read().unwrap().as_ref().unwrap().path().to_path_buf();
        drop(job);
        crate::os::FileExt::write_all_at(
            &std::fs::File::options().write(true).open(&path).unwrap(),
            b"EV",
            4,
        )
        .unwrap();

        let job = open();
        assert_eq!(job.unchecked(), [(0, 0, 4), (1, 4, 4), (2, 8, 4), (3, 12, 4)]);
        let checked = |index| job.table.lock().unwrap().checked(index).map(|seen| seen.chunk);
        let is_seen = |index| job.table.lock().unwrap().get(index).is_some();
        assert!((0..4).all(|index| checked(index).is_none() && is_seen(index)));
        assert_eq!(job.check(place(0), &mut room).unwrap(), Checked::Good);
        assert_eq!(job.check(place(1), &mut room).unwrap(), Checked::Rotten);
        job.keep(place(2), chunk(b"late"), 7, b"late").unwrap();
        assert_eq!(job.check(place(2), &mut room).unwrap(), Checked::Overtaken);
        // Bytes that are judged later do not land on what may be good.
        job.write_doubtful(place(3), 9, b"evil").unwrap();
        assert_eq!(job.check(place(3), &mut room).unwrap(), Checked::Good);
        assert_eq!(checked(0), Some(chunk(b"good")));
        assert!(!is_seen(1) && checked(2).is_some() && checked(3).is_some());
        assert!(job.unchecked().is_empty());
        drop(job);
        assert_eq!(open().unchecked().len(), 3, "what was rotten once is not believed again");
    }

    #[test]
    fn what_nothing_proves_lands_on_nothing_that_counts_and_counts_once_a_list_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let spec = PartialSpec { file: chunk_hash(b"any name"), size: 16 };
        let job = JobFile::new(JobId(1), spec.file, 16, Partial::open(dir.path(), spec).unwrap());
        let written = || {
            let mut bytes = [0; 16];
            job.partial.read().unwrap().as_ref().unwrap().read_at(0, &mut bytes).unwrap();
            bytes
        };
        let place = |index: u32, offset| ChunkPlace { index, offset };
        let (open, stream) = (AtomicBool::new(true), job.begin_stream());
        let keep =
            |place, bytes: &[u8]| job.keep_tentative(place, chunk(bytes), stream, &open, bytes).unwrap();

        assert!(keep(place(0, 0), b"told") && keep(place(1, 4), b"also"));
        assert_eq!(&written()[..8], b"toldalso");
        assert!(!job.holds(0) && job.table.lock().unwrap().get(0).is_none(), "it does not count");

        // What counts came first, or has been proven to be something else, or to lie elsewhere.
        job.keep(place(2, 8), chunk(b"good"), 0, b"good").unwrap();
        assert!(keep(place(2, 8), b"evil"));
        let list: Arc<[ChunkRef]> = [b"told", b"also", b"good", b"last"].map(|bytes| chunk(bytes)).into();
        job.set_lists(|lists| lists.add(0, 4, 0, list.clone(), 0));
        assert!(!keep(place(3, 12), b"evil") && !keep(place(3, 9), b"last"));
        assert_eq!(&written(), b"toldalsogood\0\0\0\0");

        // The list names what it was found to be: it counts, and the journal says so. Not so what others have a right to.
        assert!(job.record_stream(place(0, 0), stream, list[0], 0).unwrap());
        assert!(!job.record_stream(place(2, 8), stream, list[2], 0).unwrap());
        assert!(job.holds(0) && !job.holds(1));

        // Once its author is dropped nothing more of it is written, and the place is anyone's.
        open.store(false, Ordering::Relaxed);
        job.await_unproven();
        job.end_stream(stream);
        assert!(keep(place(3, 12), b"last"));
        assert_eq!(&written()[12..], [0; 4]);
        assert!(!job.record_stream(place(1, 4), stream, list[1], 0).unwrap());
        drop(job);
        let again = Partial::open(dir.path(), spec).unwrap();
        assert_eq!(again.entries().iter().map(|entry| entry.index).collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn bytes_that_may_be_wrong_never_land_on_bytes_that_count() {
        let dir = tempfile::tempdir().unwrap();
        let file = chunk_hash(b"any name");
        let partial = Partial::open(dir.path(), PartialSpec { file, size: 8 }).unwrap();
        let job = JobFile::new(JobId(1), file, 8, partial);
        let (first, second) = (ChunkPlace { index: 0, offset: 0 }, ChunkPlace { index: 1, offset: 4 });
        let written = || {
            let mut bytes = [0; 8];
            job.partial.read().unwrap().as_ref().unwrap().read_at(0, &mut bytes).unwrap();
            bytes
        };

        // A stream that comes too late for the first place, and whose turn at the second another one has.
        job.keep(first, chunk(b"good"), 0, b"good").unwrap();
        job.write_doubtful(first, 7, b"evil").unwrap();
        job.write_doubtful(second, 8, b"fine").unwrap();
        job.write_doubtful(second, 7, b"evil").unwrap();
        assert_eq!(&written(), b"goodfine");
        assert!(!job.record_stream(first, 7, chunk(b"evil"), 0).unwrap());
        assert!(!job.record_stream(second, 7, chunk(b"evil"), 0).unwrap());

        // What a stream did not prove is anyone's; what counts is written over it.
        job.end_stream(8);
        job.write_doubtful(second, 9, b"next").unwrap();
        job.keep(second, chunk(b"true"), 0, b"true").unwrap();
        job.write_doubtful(second, 9, b"evil").unwrap();
        assert!(!job.record_stream(second, 9, chunk(b"next"), 0).unwrap());
        assert_eq!(&written(), b"goodtrue");
        assert_eq!(job.table.lock().unwrap().get(1).map(|seen| seen.chunk), Some(chunk(b"true")));
    }
}
