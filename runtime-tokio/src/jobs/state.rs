//! One job as the engine's thread sees it.

use super::fetching::Fetching;
use super::lists::KnownLists;
use super::readers::Readers;
use super::unproven::Unproven;
use super::{JobCounts, JobFile, Sharing};
use crate::file_kind::FileKind;
use crate::origin::OriginFile;
use crate::tentative::Tentative;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};
use zest_core::Location;

/// How a job ended.
pub(crate) type JobEnd = Result<(), crate::PullError>;

pub(crate) struct JobState {
    pub(crate) file: Arc<JobFile>,
    /// Its name in the repository.
    pub(crate) path: String,
    /// Whether it begins with a header.
    pub(crate) has_header: bool,
    /// Who may be given what is proven of it.
    pub(crate) sharing: Sharing,
    pub(crate) origin: Option<Rc<OriginFile>>,
    /// What the origin is at.
    pub(crate) fetching: Fetching,
    /// What is known of its chunks besides its own list.
    pub(crate) lists: KnownLists,
    pub(crate) unproven: Unproven,
    /// What peers gave of blocks that nothing proves yet.
    pub(crate) tentative: RefCell<Tentative>,
    pub(crate) counts: JobCounts,
    /// Who waits for bytes of it.
    pub(crate) readers: Readers,
    /// Told when more of it may be proven, and when it is over.
    pub(crate) news: Notify,
    end: RefCell<Option<oneshot::Sender<JobEnd>>>,
}

impl JobState {
    /// A job of which nothing is known yet; the receiver tells its end.
    pub(super) fn new(
        file: JobFile,
        path: String,
        has_header: bool,
        sharing: Sharing,
        origin: Option<OriginFile>,
    ) -> (Rc<Self>, oneshot::Receiver<JobEnd>) {
        let (end, ended) = oneshot::channel();
        let job = Self {
            file: Arc::new(file),
            path,
            has_header,
            sharing,
            origin: origin.map(Rc::new),
            fetching: Fetching::default(),
            lists: KnownLists::default(),
            unproven: Unproven::default(),
            tentative: RefCell::default(),
            counts: JobCounts::default(),
            readers: Readers::default(),
            news: Notify::new(),
            end: RefCell::new(Some(end)),
        };
        (Rc::new(job), ended)
    }

    /// Chunks that an earlier process wrote and nobody has looked at yet, as places for the node: they wait like those that
    /// lie in other files, and count once they are proven again.
    pub(crate) fn unchecked(&self) -> Vec<(u32, Location)> {
        let file = FileKind::Partial(self.file.id).id();
        let place = |(index, offset, len)| (index, Location { file, offset, len });
        self.file.unchecked().into_iter().map(place).collect()
    }

    pub(crate) fn finish(&self, end: JobEnd) {
        if let Some(to) = self.end.borrow_mut().take() {
            let _ = to.send(end);
        }
    }
}
