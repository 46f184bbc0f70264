//! Counts of a pull. Bytes of running jobs are added when asked for.

use super::proof::Reading;
use super::said::Said;
use super::whole::Whole;
use super::{Share, waiting};
use crate::api::{FileProgress, Phase, Progress};
use crate::jobs::Counts;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

#[derive(Default)]
pub(crate) struct Tally {
    pub(super) phase: Cell<Phase>,
    pub(super) files_total: Cell<u32>,
    pub(super) files_done: Cell<u32>,
    pub(super) bytes_total: Cell<u64>,
    /// What an earlier run left in files that it did not finish.
    pub(super) left_over: Cell<u64>,
    /// Files that do not come in chunks.
    pub(super) whole: Whole,
    /// What files that are not under way any more counted.
    pub(super) ended: RefCell<Vec<Counts>>,
    /// Files under way in chunks.
    pub(super) shares: RefCell<Vec<Rc<Share>>>,
    /// Files on disk that are being read to be proven.
    pub(super) reading: RefCell<Vec<Arc<Reading>>>,
}

impl Tally {
    /// What all files in chunks counted so far.
    pub(super) fn counts(&self) -> Counts {
        let running: Vec<Counts> = self.shares.borrow().iter().map(|share| share.counts()).collect();
        self.ended.borrow().iter().chain(&running).fold(Counts::default(), |sum, one| sum + *one)
    }

    /// How far it is; what is said of it comes from elsewhere.
    pub(super) fn progress(&self, peers: u32, given: u64, said: &Said) -> Progress {
        let counts = self.counts();
        let from_peers = counts.peer_bytes + self.whole.peers.get();
        let from_cdn = counts.cdn_bytes + self.whole.hub.get();
        let read: u64 = self.reading.borrow().iter().map(|file| file.done()).sum();
        let from_disk = counts.disk_bytes + self.whole.disk.get() + read;
        let shares = self.shares.borrow();
        let jobs = shares.iter().filter_map(|share| {
            let size = share.errand.size()?;
            Some(FileProgress { path: share.path.clone(), size, done: share.done_bytes().min(size) })
        });
        let current = jobs.chain(self.reading.borrow().iter().map(|file| file.progress())).collect();
        Progress {
            phase: self.phase.get(),
            paused: false,
            files_total: self.files_total.get(),
            files_done: self.files_done.get(),
            bytes_total: self.bytes_total.get(),
            outages: Vec::new(),
            waiting: waiting::now(&said.waiting.borrow()),
            bytes_done: (from_peers + from_cdn + from_disk).min(self.bytes_total.get()),
            from_peers,
            from_cdn,
            from_disk,
            left_over: self.left_over.get(),
            shareable: false,
            received: from_peers + counts.wire_bytes + self.whole.wire.get(),
            given,
            peers,
            nice: None,
            current,
            notices: said.notices.borrow().clone(),
        }
    }
}
