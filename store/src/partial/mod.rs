//! The resumable file of a pull: its bytes in `<xet hash>.zest-partial`, what is known about them in `<xet
//! hash>.zest-journal` beside it.
//!
//! Both lie where the finished file will (beside the shared blob, or among the repository's blobs), so that
//! landing is a rename. huggingface_hub knows neither name: its scans pass over them and `hf cache prune`
//! does not take a running pull's file away.
//!
//! What survives: after kill -9 every recorded entry; after a power loss every entry before the last
//! [`Partial::sync`], and of the later ones those whose bytes did reach the disk. Which these are, and whether
//! anything has rotted since, is found out by [`Partial::check`]: what one process wrote counts in the next one
//! only after that one has hashed it again.

mod journal;

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use zest_xet::{CHUNK_BYTES_MAX, ChunkRef, Hash, chunk_hash, file_hash};

use self::journal::{HEADER_BYTES, Nonce, RECORD_BYTES, Record, Session};
use crate::error::{Context as _, StoreError};
use crate::os::FileExt as _;
use crate::os::{self, Identity};

/// Ending of the data file's name.
pub(crate) const DATA_SUFFIX: &str = ".zest-partial";
/// Ending of the journal's name.
pub(crate) const JOURNAL_SUFFIX: &str = ".zest-journal";

/// How often the journal's name may change hands while we open it before we call it busy.
const REOPEN_TRIES: u32 = 8;

/// Which file is being fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartialSpec {
    /// Its xet hash.
    pub file: Hash,
    /// Its size in bytes.
    pub size: u64,
}

/// One chunk of the file that is on disk.
///
/// It says that the bytes have this hash. That the file wants such a chunk there is for the caller to check
/// against a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Position in the file's chunk list.
    pub index: u32,
    /// First byte in the file.
    pub offset: u64,
    /// Hash and length.
    pub chunk: ChunkRef,
    /// Bytes of the chunk in its xorb with the 8-byte header left out; 0 if not known.
    pub packed_len: u32,
}

/// Why a partial file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PartialError {
    /// Another process is fetching the same file: wait, look whether it is there, try again.
    #[error("another process is fetching {file}")]
    Busy {
        /// The file's xet hash.
        file: Hash,
    },
    /// The disk said no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An open partial file, exclusively ours. All methods that take `&self` may be called from several threads
/// at once.
#[derive(Debug)]
pub struct Partial {
    spec: PartialSpec,
    data_path: PathBuf,
    data: File,
    journal_path: PathBuf,
    journal: Mutex<Journal>,
    session: Session,
    entries: Vec<Entry>,
    /// Whether the names of both files are durable.
    named: AtomicBool,
}

/// The journal, open for appending. Its lock is the lock of the partial file.
#[derive(Debug)]
struct Journal {
    file: File,
    nonce: Nonce,
    /// Records in the file.
    records: u64,
}

/// A complete file, durable but as [`Partial::finish_at_once`] says, that only has to be put in its place. Dropping it instead keeps it for the
/// next run.
#[derive(Debug)]
pub struct FinishedFile {
    pub(crate) spec: PartialSpec,
    pub(crate) data_path: PathBuf,
    journal_path: PathBuf,
    /// Held open for its lock.
    _journal: Mutex<Journal>,
}

impl Partial {
    /// Opens the partial file in `dir`, creating directory and file if need be, and takes it for this process.
    ///
    /// Space for the whole file is reserved. Nothing of the data is read: see [`Partial::check`]. Where the file
    /// system has no locks, a name of our own is used: nothing is resumed there, and nothing is mixed up.
    ///
    /// # Errors
    /// [`PartialError::Busy`], or a [`StoreError`] ([`StoreError::DiskFull`] before anything is written if
    /// the file will not fit).
    pub fn open(dir: &Path, spec: PartialSpec) -> Result<Self, PartialError> {
        Self::open_as(dir, &spec.file.to_string(), spec)
    }

    /// The same under another name than the file's hash.
    pub(crate) fn open_as(dir: &Path, stem: &str, spec: PartialSpec) -> Result<Self, PartialError> {
        fs::create_dir_all(dir).at("create directory", dir)?;
        if let Some((journal, path)) = lock_journal(dir, stem, spec.file)? {
            return Self::with_journal(dir, stem, spec, journal, path);
        }
        let shown = dir.display();
        tracing::warn!(target: crate::SAID, kind = "no-locks", "no file locks in {shown}: what is interrupted begins anew");
        let stem = format!("{stem}.{}", os::random_hex());
        let path = dir.join(format!("{stem}{JOURNAL_SUFFIX}"));
        let journal = open_journal(&path).at("open journal", &path)?;
        Self::with_journal(dir, &stem, spec, journal, path)
    }

    fn with_journal(
        dir: &Path,
        stem: &str,
        spec: PartialSpec,
        file: File,
        journal_path: PathBuf,
    ) -> Result<Self, PartialError> {
        let data_path = dir.join(format!("{stem}{DATA_SUFFIX}"));
        let data = open_data(&data_path)?;
        let meta = data.metadata().at("examine", &data_path)?;
        let identity = Identity::of(&meta);

        let needed = spec.size.saturating_sub(os::occupied_bytes(&meta));
        let free = os::free_space(dir).unwrap_or(u64::MAX);
        if needed > free {
            if meta.len() == 0 {
                let _ = fs::remove_file(&data_path);
                let _ = fs::remove_file(&journal_path);
            }
            return Err(StoreError::DiskFull { path: data_path, needed, free }.into());
        }

        let replayed = Replay::read(&file, &spec).at("read journal", &journal_path)?;
        if meta.len() != spec.size {
            data.set_len(spec.size).at("set the length of", &data_path)?;
        }
        if needed > 0 {
            os::reserve(&data, spec.size)
                .map_err(|source| StoreError::from_io("reserve space for", &data_path, source, needed))?;
        }

        let mut journal = match replayed.nonce {
            Some(nonce) => Journal { file, nonce, records: replayed.records },
            None => Journal::start(file, &spec).at("begin journal", &journal_path)?,
        };
        let session = Session { id: os::random_bytes(), dev: identity.dev, ino: identity.ino };
        journal.append(&Record::Session(session)).at("write journal", &journal_path)?;

        let entries = replayed.entries.into_values().collect();
        let partial = Self {
            spec,
            data_path,
            data,
            journal_path,
            journal: Mutex::new(journal),
            session,
            entries,
            named: AtomicBool::new(false),
        };
        Ok(partial)
    }

    /// What earlier runs noted, in order of index. None of it counts before [`Partial::check`].
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Frees the memory of [`Partial::entries`] once they are known elsewhere.
    pub fn forget_entries(&mut self) {
        self.entries = Vec::new();
    }

    /// Which file this is.
    #[must_use]
    pub fn spec(&self) -> PartialSpec {
        self.spec
    }

    /// Where its bytes are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.data_path
    }

    /// Writes bytes of the file, proven or not. Nothing is known about them until [`Partial::record`].
    ///
    /// # Errors
    /// The system's. `StorageFull` cannot be ruled out even though space was reserved (some file systems only
    /// promise).
    ///
    /// # Panics
    /// When the bytes do not lie inside the file.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        assert!(end.is_some_and(|end| end <= self.spec.size), "a write must lie inside the file");
        self.data.write_all_at(bytes, offset)
    }

    /// Reads bytes back.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` beyond the end.
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.data.read_exact_at(bytes, offset)
    }

    /// The data file, for reads and writes by other means (io_uring, sendfile).
    #[must_use]
    pub fn file(&self) -> &File {
        &self.data
    }

    /// A file in the same folder that has no name: it is gone when nobody holds it, whatever becomes of this process.
    ///
    /// # Errors
    /// The system's.
    pub fn beside(&self) -> io::Result<File> {
        let mut name = self.data_path.clone().into_os_string();
        name.push(format!(".{}", os::random_hex()));
        let path = PathBuf::from(name);
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        Ok(file)
    }

    /// Notes a chunk whose bytes were written and hashed. One append of 64 bytes; durable with the next
    /// [`Partial::sync`].
    ///
    /// # Errors
    /// The system's. The journal then stands as before.
    pub fn record(&self, entry: &Entry) -> io::Result<()> {
        self.lock().append(&Record::Entry(*entry))
    }

    /// The same for several chunks, in one append.
    ///
    /// # Errors
    /// The system's. The journal then stands as before.
    pub fn record_all(&self, entries: &[Entry]) -> io::Result<()> {
        self.lock().append_all(entries.iter().map(|entry| Record::Entry(*entry)))
    }

    /// Takes back what was recorded for a chunk, before other bytes are written over it.
    ///
    /// # Errors
    /// The system's.
    pub fn discard(&self, index: u32) -> io::Result<()> {
        self.lock().append(&Record::Discard { index })
    }

    /// Whether the bytes on disk are still those that an entry names; if not, the entry is taken back. `room` is for the bytes.
    ///
    /// # Errors
    /// The system's, for the journal. Bytes that cannot be read are not those of the entry.
    ///
    /// # Panics
    /// When `room` is shorter than the chunk.
    pub fn check(&self, entry: &Entry, room: &mut [u8]) -> io::Result<bool> {
        let holds = holds(&self.data, entry, room);
        if !holds {
            self.discard(entry.index)?;
        }
        Ok(holds)
    }

    /// Takes back everything that was recorded.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn forget_all(&self) -> io::Result<()> {
        let mut journal = self.lock();
        // The clone shares the lock.
        *journal = Journal::start(journal.file.try_clone()?, &self.spec)?;
        journal.append(&Record::Session(self.session))
    }

    /// Makes everything recorded so far durable: the data first, then the journal.
    ///
    /// # Errors
    /// The system's.
    pub fn sync(&self) -> io::Result<()> {
        self.data.sync_data()?;
        let journal = self.lock().file.try_clone()?;
        journal.sync_data()?;
        if !self.named.swap(true, Ordering::Relaxed) {
            os::sync_dir(self.data_path.parent().unwrap_or(Path::new(".")))?;
        }
        Ok(())
    }

    /// Makes the data durable and hands the file over for landing. The caller has proven every byte of it.
    ///
    /// Should the lock have failed to keep another process out (network file systems that only pretend to
    /// lock), which the journal shows, everything is hashed again first.
    ///
    /// # Errors
    /// The system's; [`StoreError::ChangedMeanwhile`] if that last check fails.
    pub fn finish(self) -> Result<FinishedFile, StoreError> {
        self.finish_by(Self::check_whole)
    }

    /// The same before the data is durable: what is returned beside is to be made so ([`File::sync_data`]), under whatever name it has
    /// by then, and nothing to be noted of it before.
    ///
    /// # Errors
    /// As [`Partial::finish`].
    pub fn finish_at_once(self) -> Result<(FinishedFile, File), StoreError> {
        let data = self.data.try_clone().at("open", &self.data_path)?;
        Ok((self.checked_by(Self::check_whole)?, data))
    }

    /// The same with another proof, for the case that the lock failed.
    pub(crate) fn finish_by(
        self,
        check: impl FnOnce(&Self) -> Result<(), StoreError>,
    ) -> Result<FinishedFile, StoreError> {
        self.data.sync_data().at("flush", &self.data_path)?;
        self.checked_by(check)
    }

    fn checked_by(
        self,
        check: impl FnOnce(&Self) -> Result<(), StoreError>,
    ) -> Result<FinishedFile, StoreError> {
        if self.was_shared().at("read journal", &self.journal_path)? {
            check(&self)?;
        }
        let Self { spec, data_path, journal_path, journal, .. } = self;
        Ok(FinishedFile { spec, data_path, journal_path, _journal: journal })
    }

    /// Removes data and journal.
    ///
    /// # Errors
    /// The system's.
    pub fn abandon(self) -> Result<(), StoreError> {
        remove(&self.data_path)?;
        remove(&self.journal_path)
    }

    /// Bytes that opening this partial file will still take from the disk, for the check before a pull starts.
    #[must_use]
    pub fn bytes_needed(dir: &Path, spec: &PartialSpec) -> u64 {
        Self::bytes_needed_as(dir, &spec.file.to_string(), spec.size)
    }

    pub(crate) fn bytes_needed_as(dir: &Path, stem: &str, size: u64) -> u64 {
        let path = dir.join(format!("{stem}{DATA_SUFFIX}"));
        size.saturating_sub(fs::symlink_metadata(path).map_or(0, |meta| os::occupied_bytes(&meta)))
    }

    fn lock(&self) -> MutexGuard<'_, Journal> {
        // A panicking appender leaves whole records or a tail that readers skip.
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another process opened the journal after us.
    fn was_shared(&self) -> io::Result<bool> {
        let replayed = Replay::read(&self.lock().file, &self.spec)?;
        Ok(replayed.session.is_none_or(|session| session.id != self.session.id))
    }

    /// Hashes everything the journal lists, takes back what does not hold, and checks that the rest is the
    /// whole file.
    fn check_whole(&self) -> Result<(), StoreError> {
        let replayed = Replay::read(&self.lock().file, &self.spec).at("read journal", &self.journal_path)?;
        let mut buf = vec![0; CHUNK_BYTES_MAX];
        let mut chunks = Vec::with_capacity(replayed.entries.len());
        let mut at = 0;
        for entry in replayed.entries.values() {
            if !self.check(entry, &mut buf).at("write journal", &self.journal_path)? {
                continue;
            }
            if entry.offset == at {
                at += u64::from(entry.chunk.len);
                chunks.push(entry.chunk);
            }
        }
        if at == self.spec.size && file_hash(&chunks) == self.spec.file {
            return Ok(());
        }
        Err(StoreError::ChangedMeanwhile { path: self.data_path.clone() })
    }
}

impl FinishedFile {
    /// Which file this is.
    #[must_use]
    pub fn spec(&self) -> PartialSpec {
        self.spec
    }

    /// Where its bytes are now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.data_path
    }

    /// Removes the journal, after the data file has been renamed to its place.
    pub(crate) fn landed(self) -> Result<(), StoreError> {
        remove(&self.journal_path)
    }

    /// Removes both files, when the file turned out to be there already.
    pub(crate) fn superseded(self) -> Result<(), StoreError> {
        remove(&self.data_path)?;
        remove(&self.journal_path)
    }
}

impl Journal {
    /// Begins an empty journal in `file`, whatever it held before.
    fn start(file: File, spec: &PartialSpec) -> io::Result<Self> {
        let nonce = os::random_bytes();
        file.set_len(0)?;
        (&file).write_all(&journal::encode_header(spec, &nonce))?;
        Ok(Self { file, nonce, records: 0 })
    }

    fn append(&mut self, record: &Record) -> io::Result<()> {
        self.append_all(std::iter::once(*record))
    }

    fn append_all(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(RECORD_BYTES * records.size_hint().0);
        records.for_each(|record| bytes.extend_from_slice(&journal::encode_record(&record, &self.nonce)));
        let result = (&self.file).write_all(&bytes);
        match result {
            Ok(()) => self.records += (bytes.len() / RECORD_BYTES) as u64,
            // Half a record (disk full) must not push the following ones out of line.
            Err(_) => self.file.set_len(HEADER_BYTES as u64 + self.records * RECORD_BYTES as u64)?,
        }
        result
    }
}

/// What a journal on disk says.
#[derive(Default)]
struct Replay {
    /// `None`: no journal of this file.
    nonce: Option<Nonce>,
    /// Record slots in the file, readable or not.
    records: u64,
    /// By index.
    entries: BTreeMap<u32, Entry>,
    /// The last opener.
    session: Option<Session>,
}

impl Replay {
    /// Reads a journal; slots that fail their checksum are passed over. Half a slot at the end is cut off.
    fn read(file: &File, spec: &PartialSpec) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let mut header = [0; HEADER_BYTES];
        match file.read_exact_at(&mut header, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Self::default()),
            other => other?,
        }
        let Some(nonce) = journal::decode_header(&header, spec) else { return Ok(Self::default()) };
        let records = (len - HEADER_BYTES as u64) / RECORD_BYTES as u64;
        let whole = HEADER_BYTES as u64 + records * RECORD_BYTES as u64;
        if whole != len {
            file.set_len(whole)?;
        }
        Self::of_records(file, nonce, spec.size, records)
    }

    /// What so many records say of a file of `size` bytes.
    fn of_records(file: &File, nonce: Nonce, size: u64, records: u64) -> io::Result<Self> {
        let mut replay = Self { nonce: Some(nonce), records, ..Self::default() };
        let mut reader = BufReader::with_capacity(256 * 1024, SkipTo { file, at: HEADER_BYTES as u64 });
        let mut slot = [0; RECORD_BYTES];
        for _ in 0..records {
            reader.read_exact(&mut slot)?;
            match journal::decode_record(&slot, &nonce, size) {
                Some(Record::Entry(entry)) => drop(replay.entries.insert(entry.index, entry)),
                Some(Record::Discard { index }) => drop(replay.entries.remove(&index)),
                Some(Record::Session(session)) => replay.session = Some(session),
                None => {}
            }
        }
        Ok(replay)
    }
}

/// Bytes of a file that have come, as its journal says, which is only looked at: somebody may be writing it.
pub(crate) fn came_bytes(journal: &Path) -> io::Result<u64> {
    let file = os::open_read_nofollow(journal)?;
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0)?;
    let Some((spec, nonce)) = journal::decode_any_header(&header) else { return Ok(0) };
    let records = (file.metadata()?.len() - HEADER_BYTES as u64) / RECORD_BYTES as u64;
    let noted = Replay::of_records(&file, nonce, spec.size, records)?;
    Ok(noted.entries.values().map(|entry| u64::from(entry.chunk.len)).sum())
}

/// Reads a file from a position without moving its cursor.
struct SkipTo<'a> {
    file: &'a File,
    at: u64,
}

impl io::Read for SkipTo<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Whether the bytes on disk have the entry's hash.
fn holds(data: &File, entry: &Entry, buf: &mut [u8]) -> bool {
    let bytes = &mut buf[..entry.chunk.len as usize];
    data.read_exact_at(bytes, entry.offset).is_ok() && chunk_hash(bytes) == entry.chunk.hash
}

/// Opens and locks the journal. `None` where the file system has no locks.
fn lock_journal(dir: &Path, stem: &str, file: Hash) -> Result<Option<(File, PathBuf)>, PartialError> {
    let path = dir.join(format!("{stem}{JOURNAL_SUFFIX}"));
    for _ in 0..REOPEN_TRIES {
        let journal = open_journal(&path).at("open journal", &path)?;
        match journal.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(PartialError::Busy { file }),
            Err(TryLockError::Error(_)) => return Ok(None),
        }
        // Its last owner may have removed it between our opening and our locking.
        let named = fs::symlink_metadata(&path).map(|meta| Identity::of(&meta)).ok();
        let held = journal.metadata().map(|meta| Identity::of(&meta)).at("examine", &path)?;
        if named.is_none_or(|named| (named.dev, named.ino) != (held.dev, held.ino)) {
            continue;
        }
        // A lock that a second descriptor can take as well is none.
        let probe = open_journal(&path).at("open journal", &path)?;
        return Ok(probe.try_lock().is_err().then_some((journal, path)));
    }
    Err(PartialError::Busy { file })
}

fn open_journal(path: &Path) -> io::Result<File> {
    os::open_append_read(path)
}

fn open_data(path: &Path) -> Result<File, StoreError> {
    if let Ok(meta) = fs::symlink_metadata(path) {
        if meta.is_dir() {
            return Err(StoreError::Foreign {
                path: path.into(),
                found: "a directory",
                expected: "a partial file",
            });
        }
        if !meta.is_file() {
            // Nothing of ours: we never create links or devices here. The link goes, what it points to stays.
            fs::remove_file(path).at("remove", path)?;
        }
    }
    os::open_read_write(path).at("open", path)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
