//! A file on its way, read while it comes: nothing of it but what is proven.

use crate::context::Context;
use crate::jobs::{JobFile, Spot};
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
    let (mut told, mut spot) = (None, Spot::default());
    let most = usize::try_from(wanted.end.saturating_sub(wanted.start)).unwrap_or(usize::MAX);
    loop {
        let job = context.jobs.of_file(&file)?;
        let (ended, mut changes) = (job.news.notified(), job.file.changes());
        let id = job.file.id;
        if told != Some(id) {
            spot = Spot::default();
        }
        if let Some(len) = job.file.proven_at(&mut spot, wanted.start, most) {
            return Some(Arriving { file: job.file.clone(), bytes: wanted.start..wanted.start + len as u64 });
        }
        if told.replace(id) != Some(id) {
            context.event(Event::JobAwaited { job: id, bytes: wanted.clone() });
        }
        tokio::select! {
            () = ended => {}
            _told = changes.changed() => {}
        }
    }
}
