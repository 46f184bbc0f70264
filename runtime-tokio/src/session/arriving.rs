//! A file on its way, read while it comes: nothing of it but what is proven.

use crate::context::Context;
use crate::job::JobFile;
use crate::jobs::JobState;
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

/// Waits until the first of these bytes are proven; `None` once no job is at the file.
pub(super) async fn wait(context: Rc<Context>, file: Hash, wanted: Range<u64>) -> Option<Arriving> {
    let mut told = None;
    loop {
        let job = context.jobs.borrow().values().find(|job| job.file.file == file).cloned()?;
        let news = job.news.notified();
        if let Some(bytes) = proven(&job, &wanted) {
            return Some(Arriving { file: job.file.clone(), bytes });
        }
        if told.replace(job.file.id) != Some(job.file.id) {
            context.event(Event::JobAwaited { job: job.file.id, bytes: wanted.clone() });
        }
        news.await;
    }
}

/// As many of these bytes as are proven without a gap from the first on; `None` if that one is not.
fn proven(job: &JobState, wanted: &Range<u64>) -> Option<Range<u64>> {
    let (mut index, mut end) = chunk_at(job, wanted.start)?;
    while end < wanted.end
        && let Some(len) = job.file.proven(index)
    {
        end += u64::from(len);
        index += 1;
    }
    (end > wanted.start).then(|| wanted.start..end.min(wanted.end))
}

/// The chunk that holds a byte of the file, and where it begins, as far as proven lists tell.
fn chunk_at(job: &JobState, byte: u64) -> Option<(u32, u64)> {
    if let Some(manifest) = job.file.manifest.get() {
        let index = manifest.chunk_at(byte)?;
        return Some((index, manifest.offset(index)));
    }
    let plan = job.plan.borrow().clone()?;
    let begun = plan.terms.partition_point(|term| term.offset <= byte);
    let term = plan.terms.get(begun.checked_sub(1)?)?;
    let (mut index, mut begin) = (term.first_index, term.offset);
    loop {
        let end = begin + u64::from(job.file.expected(index)?.len);
        if byte < end {
            return Some((index, begin));
        }
        (index, begin) = (index + 1, end);
    }
}
