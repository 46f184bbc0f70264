//! What is announced: files of the catalog that anyone may read, and files under way once others can use them.

use super::Finder;
use crate::context::Context;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use zest_core::discovery::{Event, GroupId, Shareable, SharedFile};
use zest_core::{Instant, JobId};
use zest_store::{FileStatus, RepoId};
use zest_xet::Hash;

/// Time between two looks at the catalog, which other processes may have changed: 30 s.
const LOOK: Duration = Duration::from_secs(30);
/// Time between two looks at the jobs: 5 s.
const JOBS: Duration = Duration::from_secs(5);
/// A file that is being fetched for longer than this is announced, as its proven part can be had: 15 s. Ours; shorter
/// ones are over before anybody who looks for them could connect.
const ANNOUNCE_AFTER: Duration = Duration::from_secs(15);
/// Trackers learn how far a job is with their next announce; it is noted this often: 30 s.
const PROGRESS: Duration = Duration::from_secs(30);
/// A job whose file no linked peer has for so long is starved: 3 s, and again every 30 s. Ours.
const STARVED: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(30));

/// How long a job that shares the origin's work with others waits while they are looked for: 3 s. Ours; neighbours answer
/// within one, trackers and the DHT mostly within two.
const LOOKING: Duration = Duration::from_secs(3);
/// The same once one was found: 1 s, time to connect and to hear what the others have.
const MEETING: Duration = Duration::from_secs(1);

/// A file's place in what is announced, numbered by commit.
#[derive(Debug, Default)]
pub(super) struct Groups(BTreeMap<(RepoId, String), GroupId>);

impl Groups {
    pub(super) fn of(&mut self, repo: &RepoId, commit: &str) -> GroupId {
        let next = GroupId(self.0.len() as u64 + 1);
        *self.0.entry((repo.clone(), commit.to_owned())).or_insert(next)
    }
}

/// One job that looks for peers.
#[derive(Debug)]
pub(super) struct Seeking {
    file: SharedFile,
    began: Instant,
    told: Instant,
    starved: Instant,
    announced: bool,
    /// A peer was found since it began.
    met: bool,
}

impl Finder {
    /// A time of the calendar in ours.
    pub(super) fn until(&self, at: SystemTime) -> Instant {
        let left = at.duration_since(SystemTime::now()).unwrap_or_default();
        self.now() + left
    }

    /// Leave to speak of a file, if there is anybody who may hear. On this machine alone there is nobody who may not.
    fn leave(&self, near: bool, until: Instant) -> Option<Shareable> {
        let hub_here = || self.context.upgrade().is_some_and(|context| context.hub_here.get());
        match near && !self.reach.loopback {
            true if hub_here() => None,
            true => Some(Shareable::readable_near(until)),
            false => Some(Shareable::anonymously_readable(until)),
        }
    }

    /// A job of a file that anyone may read begins.
    pub(crate) fn want(self: &Rc<Finder>, job: JobId, hash: Hash, bytes: u64, of: &Public) {
        let group = self.groups.borrow_mut().of(&of.repo, &of.commit);
        let Some(proof) = self.leave(of.near, self.until(of.until)) else { return };
        let file = SharedFile { hash, bytes, group, proof };
        let now = self.now();
        let seeking = Seeking { file, began: now, told: now, starved: now, announced: false, met: false };
        self.jobs.borrow_mut().insert(job, seeking);
        // Where somebody is known already, he is all that is waited for.
        if self.knows_nobody() {
            self.wait_for_others(job, LOOKING);
        }
        self.tell(Event::Want { job, file, xorbs: &[] });
    }

    /// Whether nobody is linked, and nobody was found who may be soon.
    pub(super) fn knows_nobody(&self) -> bool {
        self.linked.borrow().is_empty() && self.board.is_empty()
    }

    /// A job that shares the origin's work with others waits so long for them.
    pub(super) fn wait_for_others(&self, job: JobId, pause: Duration) {
        if let Some(context) = self.context.upgrade() {
            context.job_waits(job, pause);
        }
    }

    /// The first peer was found: jobs wait for it to be dialled, and not much longer.
    pub(super) fn met_somebody(&self) {
        let fresh: Vec<JobId> = {
            let mut jobs = self.jobs.borrow_mut();
            let new = jobs
                .iter_mut()
                .filter_map(|(job, seeking)| (!std::mem::replace(&mut seeking.met, true)).then_some(*job));
            new.collect()
        };
        fresh.into_iter().for_each(|job| self.wait_for_others(job, MEETING));
    }

    /// The file of a job is made of these xorbs.
    pub(crate) fn planned(self: &Rc<Finder>, job: JobId, xorbs: &[Hash]) {
        if self.jobs.borrow().contains_key(&job) {
            self.tell(Event::Planned { job, xorbs });
        }
    }

    /// A job is over; `landed`: its file is here.
    pub(crate) fn job_over(self: &Rc<Finder>, job: JobId, landed: bool) {
        let Some(seeking) = self.jobs.borrow_mut().remove(&job) else { return };
        if landed {
            self.tell(Event::Got { job });
        }
        self.tell(Event::Dropped { job });
        if seeking.announced && !landed {
            self.tell(Event::Unseed { file: seeking.file.hash });
        }
        self.shelf_changed();
    }

    /// What is in the catalog has changed, or may have.
    pub(crate) fn shelf_changed(&self) {
        self.restock.notify_one();
    }

    /// Compares the catalog with what is announced.
    fn stock(self: &Rc<Finder>, files: &[FileStatus]) {
        let now = SystemTime::now();
        let mut gone: BTreeMap<Hash, (SystemTime, bool)> = self.shelf.take();
        let mut shelf = BTreeMap::new();
        for status in files {
            let was = gone.remove(&status.file);
            // What only this network may hear of is told to it alone.
            let near = status.public_until.is_none() || self.config.catalog_near;
            let Some(until) = status.near_until.filter(|until| *until > now) else {
                if was.is_some() {
                    self.tell(Event::Withdraw { file: status.file });
                }
                continue;
            };
            let proof = self.leave(near, self.until(until)).map(|proof| match self.config.catalog_near {
                // Our own wish: it holds also where only this machine can hear.
                true => Shareable::readable_near(self.until(until)),
                false => proof,
            });
            let (false, Some(of), Some(proof)) = (status.paths.is_empty(), status.commits.first(), proof)
            else {
                if was.is_some() {
                    self.tell(Event::Unseed { file: status.file });
                }
                continue;
            };
            shelf.insert(status.file, (until, near));
            if was.is_some_and(|(_, was_near)| was_near != near) {
                self.tell(Event::Withdraw { file: status.file });
            }
            if was.is_none_or(|was| was.0 < until || was.1 != near) {
                let group = self.groups.borrow_mut().of(&of.repo, &of.commit);
                let file = SharedFile { hash: status.file, bytes: status.size, group, proof };
                self.tell(Event::Seed { file });
            }
        }
        gone.into_keys().for_each(|file| self.tell(Event::Unseed { file }));
        self.shelf.replace(shelf);
    }

    /// Looks after jobs that run for long.
    fn look_at_jobs(self: &Rc<Finder>, context: &Rc<Context>) {
        let now = self.now();
        let ids: Vec<JobId> = self.jobs.borrow().keys().copied().collect();
        for id in ids {
            let Some(job) = context.job(id) else { continue };
            let sources = context.job_sources(id);
            let (mut progress, mut starved, mut seed) = (false, false, None);
            if let Some(seeking) = self.jobs.borrow_mut().get_mut(&id) {
                if now.since(seeking.told) >= PROGRESS {
                    (seeking.told, progress) = (now, true);
                }
                let age = now.since(seeking.began);
                let again = now.since(seeking.starved) >= STARVED.1 || seeking.starved == seeking.began;
                if sources == 0 && age >= STARVED.0 && again {
                    (seeking.starved, starved) = (now, true);
                }
                if !seeking.announced && age >= ANNOUNCE_AFTER && job.done_bytes() > 0 {
                    seeking.announced = true;
                    seed = Some(seeking.file);
                }
            }
            if progress {
                let done = job.done_bytes();
                let left = job.file.size.saturating_sub(done);
                let (uploaded, downloaded) = (0, job.counts.peer_bytes.get());
                self.tell(Event::Progress { job: id, uploaded, downloaded, left });
            }
            if starved {
                self.tell(Event::Starved { job: id });
            }
            if let Some(file) = seed {
                self.tell(Event::Seed { file });
            }
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
    let restock = Arc::downgrade(&finder.restock);
    let tell = move || restock.upgrade().inspect(|restock| restock.notify_one()).is_some();
    context.store.catalog.watch_withdrawals(tell);
    loop {
        let store = Arc::clone(&context.store);
        if let Ok(files) = tokio::task::spawn_blocking(move || store.catalog.files()).await {
            finder.stock(&files);
        }
        let _ = tokio::time::timeout(LOOK, finder.restock.notified()).await;
    }
}

/// Looks after jobs. Never ends.
pub(super) async fn keep_jobs(finder: Rc<Finder>, context: Rc<Context>) {
    loop {
        tokio::time::sleep(JOBS).await;
        finder.look_at_jobs(&context);
    }
}
