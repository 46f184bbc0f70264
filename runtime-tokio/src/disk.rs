//! The disk as the engine's thread knows it: what is in the store, and the workers, who alone wait for it.

use crate::file_kind::FileKind;
use crate::hot::Hot;
use crate::workers::{Mailbox, Work, Workers};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, Weak};
use tokio::sync::Notify;
use zest_core::{FileId, JobId};
use zest_store::{Catalog, HfCache, Partial};

/// The disk as the engine uses it.
#[derive(Debug)]
pub struct StoreHandles {
    /// Chunk → place. Shared with whatever else serves from it.
    pub catalog: Arc<Catalog>,
    /// The HF cache.
    pub cache: HfCache,
}

pub(crate) struct Disk {
    pub(crate) store: Arc<StoreHandles>,
    /// Chunks in memory.
    pub(crate) hot: Hot,
    workers: RefCell<Workers>,
    /// Told whenever the workers were given something.
    pushed: Notify,
    /// Where the workers report.
    pub(crate) mailbox: Mailbox,
    /// Partial files by their job. They stay open for what is queued when that is over.
    partials: RefCell<BTreeMap<JobId, Weak<File>>>,
}

impl Disk {
    pub(crate) fn new(store: Arc<StoreHandles>, hot: Hot, workers: Workers, mailbox: Mailbox) -> Self {
        let (pushed, partials) = (Notify::new(), RefCell::default());
        Self { store, hot, workers: RefCell::new(workers), pushed, mailbox, partials }
    }

    /// Gives the workers something to do. They are woken when this thread's present task pauses, once for all of it.
    pub(crate) fn push(&self, work: Work) {
        self.workers.borrow().push(work);
        self.pushed.notify_one();
    }

    /// Wakes the workers for what they were given. Never ends.
    pub(crate) async fn keep_workers_awake(&self) {
        loop {
            self.pushed.notified().await;
            self.workers.borrow().kick();
        }
    }

    /// Ends the workers.
    pub(crate) fn stop(&self) {
        self.workers.borrow_mut().stop();
    }

    /// An open file: of the catalog, if it still is what it was when it was proven, or a partial one that is wanted.
    pub(crate) fn open(&self, id: FileId) -> Option<Arc<File>> {
        match FileKind::of(id) {
            FileKind::Catalog(file) => self.store.catalog.open_file(file),
            // Its proven chunks are never written again, so there is nothing to compare.
            FileKind::Partial(job) => self.partials.borrow().get(&job)?.upgrade(),
            FileKind::Tentative(_) => None,
        }
    }

    /// Opens a partial file for what peers ask of it.
    pub(crate) fn open_partial(&self, job: JobId, partial: &Partial) -> Option<Arc<File>> {
        match File::open(partial.path()) {
            Ok(file) => {
                let file = Arc::new(file);
                let mut partials = self.partials.borrow_mut();
                partials.retain(|_, file| file.strong_count() > 0);
                partials.insert(job, Arc::downgrade(&file));
                Some(file)
            }
            Err(error) => {
                tracing::info!(%error, "what is fetched is not uploaded before it is complete");
                None
            }
        }
    }
}
