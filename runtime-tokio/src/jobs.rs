//! The jobs of an engine: what is known of each on the engine's thread, and the files that peers read while they run.

use crate::context::Context;
use crate::discovery::Public;
use crate::header;
use crate::job::JobFile;
use crate::origin::OriginJob;
use crate::tentative::Tentative;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};
use zest_core::node::{Event, JobSpec};
use zest_core::{BufId, FileId, JobId, LinkId, Location};
use zest_store::{Endpoint, Partial};
use zest_xet::{ChunkRef, Hash, Plan};

/// Marks the numbers of partial files among those of the catalog: bit 30, which the catalog would need 2^29 files for.
const PARTIAL: u32 = 1 << 30;
/// The catalog's mark for files of the original's caches, whose numbers may have any other bit.
const CATALOG_ORIGINAL: u32 = 1 << 31;

/// Whether this is the number of a partial file.
pub(crate) fn is_partial(id: FileId) -> bool {
    id.0 & (PARTIAL | CATALOG_ORIGINAL) == PARTIAL
}

/// What a job's partial file is called among places.
pub(crate) fn partial_place(job: JobId) -> FileId {
    FileId(PARTIAL | job.0)
}

/// What is known of a file that is to be fetched.
pub(crate) struct NewJob {
    pub(crate) file: Hash,
    pub(crate) size: u64,
    /// Peers may be asked, and may ask, since anyone may read it.
    pub(crate) public: Option<Public>,
    /// The Hub that lists it: see [`zest_store::Catalog::may_lend`].
    pub(crate) hub: Option<Endpoint>,
    /// See [`JobSpec::priority`].
    pub(crate) priority: u8,
    /// It begins with a header, which comes first: see [`crate::header`].
    pub(crate) has_header: bool,
}

/// Who sent a xorb range that nothing proves yet, and what the file's chunks were in it.
pub(crate) type Doubt = (LinkId, Vec<(u32, ChunkRef)>);

/// How a job ended.
pub(crate) type JobEnd = Result<(), crate::PullError>;

/// A job as the engine's thread sees it.
pub(crate) struct JobState {
    pub(crate) file: Arc<JobFile>,
    pub(crate) path: String,
    pub(crate) plan: RefCell<Option<Rc<Plan>>>,
    pub(crate) origin: Option<Rc<OriginJob>>,
    /// Fetches under way, each with its stop flag.
    pub(crate) fetches: RefCell<BTreeMap<u32, Rc<Notify>>>,
    /// Blocks whose streams begin at the beginning, as one that began behind what is held made no sense.
    pub(crate) not_skipped: RefCell<BTreeSet<u32>>,
    pub(crate) manifest_records: RefCell<Vec<u8>>,
    pub(crate) counts: JobCounts,
    pub(crate) rounds: Cell<u32>,
    /// What came for chunks that nothing proves, with the times it came.
    pub(crate) votes: RefCell<BTreeMap<u32, Vec<(ChunkRef, u32)>>>,
    /// What peers sent in xorb ranges that nothing proves yet.
    pub(crate) doubts: RefCell<Vec<Doubt>>,
    pub(crate) synced_at: Cell<u64>,
    /// What peers gave of blocks that nothing proves yet.
    pub(crate) tentative: RefCell<Tentative>,
    /// Where chunks that are copied from other files go, when no manifest tells.
    pub(crate) local_offsets: RefCell<BTreeMap<u32, u64>>,
    /// Proven lists of the xorbs of blocks, whole.
    pub(crate) listed: RefCell<BTreeMap<u32, Arc<[ChunkRef]>>>,
    /// Whether it begins with a header.
    pub(crate) has_header: bool,
    /// Whether others may be given what is proven of it.
    pub(crate) shared: bool,
    /// Of them only those who speak of the same Hub.
    pub(crate) near: bool,
    /// The Hub that lists it.
    pub(crate) hub: Option<Endpoint>,
    /// The partial file as peers read it: the same file still when it has its final name.
    _partial: Option<Arc<File>>,
    /// Chunk lists in wire form that were asked for, by the hash they belong to.
    pub(crate) records: RefCell<BTreeMap<Hash, BufId>>,
    end: RefCell<Option<oneshot::Sender<JobEnd>>>,
    /// Told when more of it may be proven, and when it is over.
    pub(crate) news: Notify,
}

/// What a job's chunks came from, in bytes and chunks.
#[derive(Debug, Default)]
pub(crate) struct JobCounts {
    pub(crate) peer_bytes: Cell<u64>,
    pub(crate) cdn_bytes: Cell<u64>,
    pub(crate) disk_bytes: Cell<u64>,
    pub(crate) peer_chunks: Cell<u64>,
    pub(crate) cdn_chunks: Cell<u64>,
    pub(crate) disk_chunks: Cell<u64>,
    pub(crate) wire_bytes: Cell<u64>,
    pub(crate) bad_chunks: Cell<u64>,
    pub(crate) rotten_chunks: Cell<u64>,
}

/// The same as plain numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) peer_bytes: u64,
    pub(crate) cdn_bytes: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) peer_chunks: u64,
    pub(crate) cdn_chunks: u64,
    pub(crate) disk_chunks: u64,
    pub(crate) wire_bytes: u64,
    pub(crate) bad_chunks: u64,
    pub(crate) rotten_chunks: u64,
}

impl JobCounts {
    pub(crate) fn all(&self) -> Counts {
        Counts {
            peer_bytes: self.peer_bytes.get(),
            cdn_bytes: self.cdn_bytes.get(),
            disk_bytes: self.disk_bytes.get(),
            peer_chunks: self.peer_chunks.get(),
            cdn_chunks: self.cdn_chunks.get(),
            disk_chunks: self.disk_chunks.get(),
            wire_bytes: self.wire_bytes.get(),
            bad_chunks: self.bad_chunks.get(),
            rotten_chunks: self.rotten_chunks.get(),
        }
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            peer_bytes: self.peer_bytes + other.peer_bytes,
            cdn_bytes: self.cdn_bytes + other.cdn_bytes,
            disk_bytes: self.disk_bytes + other.disk_bytes,
            peer_chunks: self.peer_chunks + other.peer_chunks,
            cdn_chunks: self.cdn_chunks + other.cdn_chunks,
            disk_chunks: self.disk_chunks + other.disk_chunks,
            wire_bytes: self.wire_bytes + other.wire_bytes,
            bad_chunks: self.bad_chunks + other.bad_chunks,
            rotten_chunks: self.rotten_chunks + other.rotten_chunks,
        }
    }
}

impl Counts {
    /// What came since `before`. What was there by then was on this machine already.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            peer_bytes: self.peer_bytes - before.peer_bytes,
            cdn_bytes: self.cdn_bytes - before.cdn_bytes,
            disk_bytes: self.disk_bytes + before.peer_bytes + before.cdn_bytes,
            peer_chunks: self.peer_chunks - before.peer_chunks,
            cdn_chunks: self.cdn_chunks - before.cdn_chunks,
            disk_chunks: self.disk_chunks + before.peer_chunks + before.cdn_chunks,
            wire_bytes: self.wire_bytes - before.wire_bytes,
            bad_chunks: self.bad_chunks - before.bad_chunks,
            rotten_chunks: self.rotten_chunks - before.rotten_chunks,
        }
    }
}

pub(crate) fn add(cell: &Cell<u64>, n: u64) {
    cell.set(cell.get() + n);
}

impl JobState {
    pub(crate) fn done_bytes(&self) -> u64 {
        self.counts.peer_bytes.get() + self.counts.cdn_bytes.get() + self.counts.disk_bytes.get()
    }

    /// Chunks that an earlier process wrote and nobody has looked at yet, as places for the node: they wait like those that
    /// lie in other files, and count once they are proven again.
    pub(crate) fn unchecked(&self) -> Vec<(u32, Location)> {
        let file = partial_place(self.file.id);
        let place = |(index, offset, len)| (index, Location { file, offset, len });
        self.file.unchecked().into_iter().map(place).collect()
    }

    /// Whether the origin is at a block of it.
    pub(crate) fn fetches(&self) -> bool {
        !self.fetches.borrow().is_empty()
    }

    pub(crate) fn finish(&self, end: JobEnd) {
        if let Some(to) = self.end.borrow_mut().take() {
            let _ = to.send(end);
        }
    }
}

impl Context {
    pub(crate) fn job(&self, id: JobId) -> Option<Rc<JobState>> {
        self.jobs.borrow().get(&id).cloned()
    }

    /// Begins a job; the receiver tells its end.
    pub(crate) fn add_job(
        self: &Rc<Self>,
        path: String,
        new: NewJob,
        partial: Partial,
        origin: Option<OriginJob>,
    ) -> (JobId, Rc<JobState>, oneshot::Receiver<JobEnd>) {
        let id = JobId(self.next_job.replace(self.next_job.get() + 1));
        let place = partial_place(id);
        let served = if new.public.is_some() { self.open_partial(place, &partial) } else { None };
        let NewJob { file, size, public, hub, priority, has_header } = new;
        let (peers, near) = (public.is_some(), public.as_ref().is_some_and(|public| public.near));
        let job_file = JobFile::new(id, file, size, partial);
        let front = if has_header { header::front_at_start(&job_file) } else { 0 };
        let spec = JobSpec { file, size, peers, near, origin: origin.is_some(), place, priority, front };
        let (end, ended) = oneshot::channel();
        let state = Rc::new(JobState {
            file: Arc::new(job_file),
            listed: RefCell::default(),
            has_header,
            shared: peers,
            near,
            hub,
            _partial: served,
            records: RefCell::default(),
            path,
            plan: RefCell::new(None),
            origin: origin.map(Rc::new),
            fetches: RefCell::default(),
            not_skipped: RefCell::default(),
            manifest_records: RefCell::default(),
            counts: JobCounts::default(),
            rounds: Cell::new(0),
            votes: RefCell::default(),
            doubts: RefCell::default(),
            synced_at: Cell::new(0),
            tentative: RefCell::default(),
            local_offsets: RefCell::default(),
            end: RefCell::new(Some(end)),
            news: Notify::new(),
        });
        self.jobs.borrow_mut().insert(id, state.clone());
        self.event(Event::JobAdded { job: id, spec });
        if let (Some(finder), Some(public)) = (self.finder.get(), public) {
            finder.want(id, file, size, &public);
        }
        tokio::task::spawn_local(crate::origin::plan(self.clone(), id));
        (id, state, ended)
    }

    /// Ends a job for the node, whatever became of it.
    pub(crate) fn remove_job(self: &Rc<Self>, id: JobId) {
        self.event(Event::JobRemoved { job: id });
        let Some(job) = self.jobs.borrow_mut().remove(&id) else { return };
        job.news.notify_waiters();
        if let Some(finder) = self.finder.get() {
            finder.job_over(id, self.landed.borrow().contains(&job.file.file));
        }
        let mut records = self.records.borrow_mut();
        job.records.take().values().for_each(|buf| drop(records.remove(buf)));
    }

    /// Opens a partial file for what peers ask of it.
    fn open_partial(&self, place: FileId, partial: &Partial) -> Option<Arc<File>> {
        match File::open(partial.path()) {
            Ok(file) => {
                let file = Arc::new(file);
                let mut partials = self.partials.borrow_mut();
                partials.retain(|_, file| file.strong_count() > 0);
                partials.insert(place, Arc::downgrade(&file));
                Some(file)
            }
            Err(error) => {
                tracing::warn!(target: zest_store::SAID, kind = "not-shared", "what is fetched cannot be uploaded before it is complete: {error}");
                None
            }
        }
    }

    /// A file is complete and in the catalog.
    pub(crate) fn note_landed(&self, job: &JobState) {
        if job.shared {
            self.landed.borrow_mut().insert(job.file.file);
        }
    }

    /// Whether a linked peer is fetching a file that was landed here.
    pub(crate) fn is_wanted(&self) -> bool {
        let landed = self.landed.borrow();
        self.node.borrow().is_wanted(&landed)
    }

    /// An open file: of the catalog, if it still is what it was when it was proven, or a partial one that is wanted.
    pub(crate) fn open(&self, id: FileId) -> Option<Arc<File>> {
        if is_partial(id) {
            // Its proven chunks are never written again, so there is nothing to compare.
            return self.partials.borrow().get(&id)?.upgrade();
        }
        self.store.catalog.open_file(zest_store::FileId(id.0))
    }
}
