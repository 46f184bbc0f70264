//! A file on its way, read while it comes: nothing of it but what is proven.

use crate::context::Context;
use crate::jobs::{JobFile, JobState, ReaderPlace, Spot};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use zest_core::node::Event;
use zest_xet::Hash;

/// Proven bytes of a file that is being fetched. They stay what they are.
#[derive(Debug)]
pub struct Arriving {
    file: Arc<JobFile>,
    bytes: Range<u64>,
}

impl Arriving {
    /// Which bytes of the file they are.
    #[must_use]
    pub fn bytes(&self) -> Range<u64> {
        self.bytes.clone()
    }

    /// Reads some of them; blocking. False where the file is complete or given up meanwhile: then it is to be looked for anew.
    ///
    /// # Panics
    /// If it is asked for others.
    #[must_use]
    pub fn read_at(&self, offset: u64, room: &mut [u8]) -> bool {
        let end = offset + room.len() as u64;
        assert!(self.bytes.start <= offset && end <= self.bytes.end, "only what is proven is read");
        self.file.read_at(offset, room)
    }
}

/// One who waits for bytes of a job's file, until it has them or is gone.
struct Waiting {
    context: Rc<Context>,
    job: Rc<JobState>,
    place: ReaderPlace,
}

impl Waiting {
    fn begin(context: &Rc<Context>, job: &Rc<JobState>, wanted: &Range<u64>) -> Self {
        let (place, first) = job.readers.add(wanted);
        let waiting = Self { context: context.clone(), job: job.clone(), place };
        waiting.tell(first);
        waiting
    }

    fn tell(&self, first: Option<Range<u64>>) {
        if let Some(bytes) = first {
            self.context.event(Event::JobAwaited { job: self.job.file.id, bytes });
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let first = self.job.readers.remove(self.place);
        if !self.context.pulls.ending.is_cancelled() {
            self.tell(first);
        }
    }
}

/// Waits until the first of these bytes are proven; `None` once no job is at the file.
pub(super) async fn wait(context: Rc<Context>, file: Hash, wanted: Range<u64>) -> Option<Arriving> {
    let (mut waiting, mut spot): (Option<Waiting>, _) = (None, Spot::default());
    let most = usize::try_from(wanted.end.saturating_sub(wanted.start)).unwrap_or(usize::MAX);
    loop {
        let job = context.jobs.of_file(&file)?;
        let (ended, mut changes) = (job.news.notified(), job.file.changes());
        let is_another = waiting.as_ref().is_none_or(|waiting| !Rc::ptr_eq(&waiting.job, &job));
        if is_another {
            spot = Spot::default();
        }
        if let Some(len) = job.file.proven_at(&mut spot, wanted.start, most) {
            return Some(Arriving { file: job.file.clone(), bytes: wanted.start..wanted.start + len as u64 });
        }
        if is_another {
            waiting = Some(Waiting::begin(&context, &job, &wanted));
        }
        tokio::select! {
            () = ended => {}
            _told = changes.changed() => {}
        }
    }
}
