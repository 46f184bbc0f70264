//! What is announced: files of the catalog that anyone may read, and files under way once others can use them.

use super::Finder;
use crate::context::Context;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use zest_core::discovery::{Event, GroupId, Shareable, SharedFile};
use zest_core::finder::{self, JOBS_EVERY};
use zest_core::{Instant, JobId};
use zest_store::{FileStatus, RepoId};
use zest_xet::Hash;

/// Time between two looks at the catalog, which other processes may have changed: 30 s.
const LOOK: Duration = Duration::from_secs(30);
/// A file's place in what is announced, numbered by commit.
#[derive(Debug, Default)]
pub(super) struct Groups(BTreeMap<(RepoId, String), GroupId>);

impl Groups {
    pub(super) fn of(&mut self, repo: &RepoId, commit: &str) -> GroupId {
        let next = GroupId(self.0.len() as u64 + 1);
        *self.0.entry((repo.clone(), commit.to_owned())).or_insert(next)
    }
}

/// What is announced.
#[derive(Default)]
pub(super) struct Shelf {
    groups: RefCell<Groups>,
    /// Files of the catalog, and until when each may be.
    announced: RefCell<BTreeMap<Hash, (SystemTime, bool)>>,
    /// Told when the catalog may have changed.
    restock: Arc<Notify>,
}

impl Finder {
    /// A time of the calendar in ours.
    pub(super) fn until(&self, at: SystemTime) -> Instant {
        let left = at.duration_since(zest_store::aging_now()).unwrap_or_default();
        self.now() + left
    }

    /// The permission to speak of a file, if there is anybody who may hear. On this machine alone there is nobody who may not.
    fn permission(&self, near: bool, until: Instant) -> Option<Shareable> {
        let hub_here = || self.context.upgrade().is_some_and(|context| context.vicinity.hub_here);
        match near && !self.reach.loopback {
            true if hub_here() => None,
            true => Some(Shareable::readable_near(until)),
            false => Some(Shareable::anonymously_readable(until)),
        }
    }

    /// A job of a file that anyone may read begins.
    pub(crate) fn want(self: &Rc<Self>, job: JobId, hash: Hash, bytes: u64, of: &Public) {
        let group = self.shelf.groups.borrow_mut().of(&of.repo, &of.commit);
        let Some(proof) = self.permission(of.near, self.until(of.until)) else { return };
        let file = SharedFile { hash, bytes, group, proof };
        self.tell_swarms(Event::Want { job, file, xorbs: &[] });
    }

    /// The file of a job is made of these xorbs.
    pub(crate) fn planned(self: &Rc<Self>, job: JobId, xorbs: &[Hash]) {
        self.tell_swarms(Event::Planned { job, xorbs });
    }

    /// A job is over; `landed`: its file is here.
    pub(crate) fn job_over(self: &Rc<Self>, job: JobId, landed: bool) {
        if !self.machine.borrow().seeks(job) {
            return;
        }
        if landed {
            self.tell_swarms(Event::Got { job });
        }
        self.tell_swarms(Event::Dropped { job });
        self.shelf_changed();
    }

    /// What is in the catalog has changed, or may have.
    pub(crate) fn shelf_changed(&self) {
        self.shelf.restock.notify_one();
    }

    /// Compares the catalog with what is announced.
    fn stock(self: &Rc<Self>, files: &[FileStatus]) {
        let now = zest_store::aging_now();
        let mut gone: BTreeMap<Hash, (SystemTime, bool)> = self.shelf.announced.take();
        let mut shelf = BTreeMap::new();
        for status in files {
            let was = gone.remove(&status.file);
            // What only this network may hear of is told to it alone.
            let near = status.public_until.is_none() || self.config.catalog_near;
            let Some(until) = status.near_until.filter(|until| *until > now) else {
                if was.is_some() {
                    self.tell_swarms(Event::Withdraw { file: status.file });
                }
                continue;
            };
            let proof =
                self.permission(near, self.until(until)).map(|proof| match self.config.catalog_near {
                    // Our own wish: it holds also where only this machine can hear.
                    true => Shareable::readable_near(self.until(until)),
                    false => proof,
                });
            let (false, Some(of), Some(proof)) = (status.paths.is_empty(), status.commits.first(), proof)
            else {
                if was.is_some() {
                    self.tell_swarms(Event::Unseed { file: status.file });
                }
                continue;
            };
            shelf.insert(status.file, (until, near));
            if was.is_some_and(|(_, was_near)| was_near != near) {
                self.tell_swarms(Event::Withdraw { file: status.file });
            }
            if was.is_none_or(|was| was.0 < until || was.1 != near) {
                let group = self.shelf.groups.borrow_mut().of(&of.repo, &of.commit);
                let file = SharedFile { hash: status.file, bytes: status.size, group, proof };
                self.tell_swarms(Event::Seed { file });
            }
        }
        gone.into_keys().for_each(|file| self.tell_swarms(Event::Unseed { file }));
        self.shelf.announced.replace(shelf);
    }

    /// Looks after jobs that run for long.
    fn look_at_jobs(self: &Rc<Self>, context: &Rc<Context>) {
        let ids: Vec<JobId> = self.machine.borrow().jobs().collect();
        for id in ids {
            let Some(job) = context.jobs.get(id) else { continue };
            let (done, from_peers) = (job.counts.all().done_bytes(), job.counts.all().peer_bytes);
            self.tell(finder::Event::Job {
                job: id,
                done,
                from_peers,
                sources: context.machine.node().sources(id),
            });
        }
    }
}

/// A commit that anyone may read, as far as is known.
#[derive(Debug, Clone)]
pub(crate) struct Public {
    pub(crate) repo: RepoId,
    pub(crate) commit: String,
    pub(crate) until: SystemTime,
    /// Only those may hear of it who speak of the same Hub: see [`zest_core::node::JobSpec::near`].
    pub(crate) near: bool,
}

/// Keeps what is announced like the catalog. Never ends.
pub(super) async fn keep_stocked(finder: Rc<Finder>, context: Rc<Context>) {
    // What is taken back is announced no longer, whoever on this machine's threads has met the refusal.
    let restock = Arc::downgrade(&finder.shelf.restock);
    let tell = move || restock.upgrade().inspect(|restock| restock.notify_one()).is_some();
    context.disk.store.catalog.watch_withdrawals(tell);
    loop {
        let store = Arc::clone(&context.disk.store);
        if let Ok(files) = tokio::task::spawn_blocking(move || store.catalog.files()).await {
            finder.stock(&files);
        }
        let _ = tokio::time::timeout(LOOK, finder.shelf.restock.notified()).await;
    }
}

/// Looks after jobs. Never ends.
pub(super) async fn keep_jobs(finder: Rc<Finder>, context: Rc<Context>) {
    loop {
        tokio::time::sleep(JOBS_EVERY).await;
        finder.look_at_jobs(&context);
    }
}
