//! The jobs of an engine: which there are, and what of each is known on the engine's thread.

mod begin;
mod counts;
mod fetching;
mod file;
mod lists;
mod readers;
mod sharing;
mod state;
mod unproven;

pub(crate) use begin::{NewJob, add, remove};
pub(crate) use counts::{Counts, JobCounts};
pub(crate) use file::{JobFile, Spot};
pub(crate) use readers::ReaderPlace;
pub(crate) use sharing::Sharing;
pub(crate) use state::{JobEnd, JobState};

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use zest_core::JobId;
use zest_xet::Hash;

pub(crate) struct Jobs {
    all: RefCell<BTreeMap<JobId, Rc<JobState>>>,
    /// The number of the next job.
    next: Cell<u32>,
    /// Files that were landed since the engine started, of those that peers may ask for.
    landed: RefCell<BTreeSet<Hash>>,
}

impl Jobs {
    pub(crate) fn new() -> Self {
        Self { all: RefCell::default(), next: Cell::new(1), landed: RefCell::default() }
    }

    /// A name for a job to come.
    pub(crate) fn number(&self) -> JobId {
        JobId(self.next.replace(self.next.get() + 1))
    }

    pub(crate) fn get(&self, id: JobId) -> Option<Rc<JobState>> {
        self.all.borrow().get(&id).cloned()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Ref<'_, BTreeMap<JobId, Rc<JobState>>> {
        self.all.borrow()
    }

    /// The job that fetches a file.
    pub(crate) fn of_file(&self, file: &Hash) -> Option<Rc<JobState>> {
        self.all.borrow().values().find(|job| job.file.file == *file).cloned()
    }

    /// Whether the origin is at a block of any of them.
    pub(crate) fn any_fetched(&self) -> bool {
        self.all.borrow().values().any(|job| !job.fetching.is_idle())
    }

    /// A file is complete and in the catalog.
    pub(crate) fn note_landed(&self, job: &JobState) {
        if job.sharing.shared {
            self.landed.borrow_mut().insert(job.file.file);
        }
    }

    /// Files that were landed since the engine started, of those that peers may ask for.
    pub(crate) fn landed(&self) -> Ref<'_, BTreeSet<Hash>> {
        self.landed.borrow()
    }
}
