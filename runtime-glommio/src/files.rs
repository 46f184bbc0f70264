//! The files a core has open for reading. The clerk finds them and sees that they are what was proven; here they are
//! opened a second time for io_uring, with O_DIRECT where the file system has it.

use crate::limits::OPEN_FILES_MAX;
use glommio::GlommioError;
use glommio::io::{BufferedFile, DmaFile, OpenOptions, ReadResult};
use std::collections::BTreeMap;
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use zest_core::node::Action;
use zest_core::{Duration, Instant, LinkId};
use zest_store::{Catalog, FileId, Identity};

/// How long a file that could not be opened is left alone: 1 s.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// Alignment of O_DIRECT reads in file and memory: 4 KiB, what every disk accepts.
const DIRECT_ALIGN: u64 = 4096;

/// A file as the clerk found it: open, and unchanged since it was proven.
#[derive(Debug)]
pub(crate) struct Found {
    file: Arc<File>,
    identity: Identity,
}

impl Found {
    /// Opens a file of the catalog and notes what it is. The catalog compares before and after, so that the note is of the
    /// file that was proven.
    pub(crate) fn look(catalog: &Catalog, id: FileId) -> Option<Self> {
        let file = catalog.open_file(id)?;
        let identity = Identity::of(&file.metadata().ok()?);
        let again = catalog.open_file(id)?;
        let same = Identity::of(&again.metadata().ok()?) == identity;
        same.then_some(Self { file, identity })
    }
}

#[cfg(test)]
impl Found {
    /// A file that is no part of any catalog.
    pub(crate) fn of(path: &std::path::Path) -> Self {
        let file = File::open(path).expect("it is there");
        let identity = Identity::of(&file.metadata().expect("it is open"));
        Self { file: Arc::new(file), identity }
    }
}

/// A file that is open for reading.
#[derive(Debug)]
pub(crate) struct OpenFile {
    found: Found,
    reader: Reader,
}

#[derive(Debug)]
enum Reader {
    Direct(DmaFile),
    Buffered(BufferedFile),
}

impl OpenFile {
    /// Opens what the clerk found. The name leads through our own descriptor: the file meant is the file opened.
    pub(crate) async fn open(found: Found) -> io::Result<Self> {
        let path = format!("/proc/self/fd/{}", found.file.as_raw_fd());
        let mut options = OpenOptions::new();
        options.read(true);
        // glommio looks the device up in sysfs and panics where that is incomplete.
        let reader = match unpanicked(options.dma_open(&path)).await {
            Some(Ok(file)) => Reader::Direct(file),
            _ => Reader::Buffered(options.buffered_open(&path).await.map_err(plain)?),
        };
        Ok(Self { found, reader })
    }

    /// One that every read fails of.
    #[cfg(test)]
    pub(crate) async fn unreadable(path: &std::path::Path) -> Self {
        let reader = OpenOptions::new().write(true).buffered_open(path).await.map_err(plain);
        Self { found: Found::of(path), reader: Reader::Buffered(reader.expect("it opens")) }
    }

    /// Whether the file still is what was proven. Asks about an open file, which needs no disk.
    pub(crate) fn is_unchanged(&self) -> bool {
        let unchanged =
            |meta: std::fs::Metadata| Identity::of(&meta) == self.found.identity && meta.nlink() > 0;
        self.found.file.metadata().is_ok_and(unchanged)
    }

    /// Bytes that a read of this range occupies.
    pub(crate) fn cost(&self, offset: u64, len: u32) -> usize {
        match self.reader {
            Reader::Direct(_) => {
                let (from, to) = aligned(offset, len);
                (to - from) as usize
            }
            Reader::Buffered(_) => len as usize,
        }
    }

    /// Reads a range; returns its bytes and where in them it begins.
    pub(crate) async fn read(&self, offset: u64, len: u32) -> io::Result<(ReadResult, usize)> {
        let (bytes, lead) = match &self.reader {
            Reader::Direct(file) => {
                let (from, to) = aligned(offset, len);
                let bytes = file.read_at_aligned(from, (to - from) as usize).await;
                (bytes.map_err(plain)?, (offset - from) as usize)
            }
            Reader::Buffered(file) => (file.read_at(offset, len as usize).await.map_err(plain)?, 0),
        };
        if bytes.len() < lead + len as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((bytes, lead))
    }

    /// Whether reads go past the page cache.
    pub(crate) fn is_direct(&self) -> bool {
        matches!(self.reader, Reader::Direct(_))
    }
}

/// What the system said, without glommio's words for its own parts.
fn plain<T>(error: GlommioError<T>) -> io::Error {
    match error {
        GlommioError::IoError(error) | GlommioError::EnhancedIoError { source: error, .. } => error,
        other => io::Error::from(other),
    }
}

fn aligned(offset: u64, len: u32) -> (u64, u64) {
    let end = offset + u64::from(len);
    (offset - offset % DIRECT_ALIGN, end.next_multiple_of(DIRECT_ALIGN))
}

/// A future's result, or nothing if it panics.
async fn unpanicked<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// What is known about a file on this core.
pub(crate) enum State {
    /// Nothing: ask for it.
    Unknown,
    /// Somebody asked.
    Opening,
    /// It is open.
    Open(Rc<OpenFile>),
    /// It cannot be opened.
    Failed,
}

/// What waits for a file.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Look-ups, in order.
    pub(crate) lookups: Vec<Action>,
    /// Links with something to read from it.
    pub(crate) links: Vec<LinkId>,
}

#[derive(Debug)]
enum Slot {
    Opening(Waiting),
    Open(Rc<OpenFile>, u64),
    Failed(Instant),
}

/// The open files of a core.
#[derive(Debug, Default)]
pub(crate) struct Files {
    slots: BTreeMap<FileId, Slot>,
    uses: u64,
}

impl Files {
    pub(crate) fn state(&mut self, id: FileId, now: Instant) -> State {
        self.uses += 1;
        match self.slots.get_mut(&id) {
            None => State::Unknown,
            Some(Slot::Opening(_)) => State::Opening,
            Some(Slot::Open(file, used)) => {
                *used = self.uses;
                State::Open(file.clone())
            }
            Some(Slot::Failed(at)) if now.since(*at) < FAILED_FOR => State::Failed,
            Some(Slot::Failed(_)) => State::Unknown,
        }
    }

    /// The file is being opened from now on.
    pub(crate) fn opening(&mut self, id: FileId) {
        self.slots.insert(id, Slot::Opening(Waiting::default()));
    }

    /// What waits for a file that is being opened.
    pub(crate) fn waiting(&mut self, id: FileId) -> Option<&mut Waiting> {
        match self.slots.get_mut(&id) {
            Some(Slot::Opening(waiting)) => Some(waiting),
            _ => None,
        }
    }

    /// The outcome; returns what waited for it.
    pub(crate) fn opened(&mut self, id: FileId, file: Option<Rc<OpenFile>>, now: Instant) -> Waiting {
        if self.slots.len() >= OPEN_FILES_MAX {
            self.close_oldest();
        }
        let slot = match file {
            Some(file) => Slot::Open(file, self.uses),
            None => Slot::Failed(now),
        };
        match self.slots.insert(id, slot) {
            Some(Slot::Opening(waiting)) => waiting,
            _ => Waiting::default(),
        }
    }

    /// A file that is not what it was: it is not read from again.
    pub(crate) fn fail(&mut self, id: FileId, now: Instant) {
        if !matches!(self.slots.get(&id), Some(Slot::Opening(_))) {
            self.slots.insert(id, Slot::Failed(now));
        }
    }

    fn close_oldest(&mut self) {
        let oldest = self.slots.iter().filter_map(|(id, slot)| match slot {
            Slot::Open(_, used) => Some((*used, *id)),
            Slot::Failed(_) => Some((0, *id)),
            Slot::Opening(_) => None,
        });
        if let Some((_, id)) = oldest.min() {
            self.slots.remove(&id);
        }
    }
}
