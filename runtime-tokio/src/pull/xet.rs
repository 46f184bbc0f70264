//! Files in Xet: one job each, a few at a time; what is proven lands under its name and in the catalog.

use super::errand::{Errand, ErrandKey, Outcome};
use super::waiting::Waiting;
use super::{Pull, Source};
use crate::PullError;
use crate::api::How;
use crate::context::Context;
use crate::discovery::Public;
use crate::disk::StoreHandles;
use crate::header;
use crate::hubs::ClientKey;
use crate::jobs::{self, JobState, NewJob};
use crate::origin::OriginFile;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::oneshot;
use zest_store::{FileLock, Partial, PartialError, PartialSpec, Place, Presence, SAID, TreeEntry};
use zest_xet::Hash;

/// Files under way at once. Each keeps its chunk list in memory; connections are shared among them.
const AT_ONCE: usize = 8;
/// And so many as long as they are small: 32. Ours; a file of one xorb is one stream of the origin, of which there may be 64.
const AT_ONCE_SMALL: usize = 32;
/// Which they are while all of them together have no more bytes: 256 MiB, four xorbs.
const SMALL_BYTES: u64 = 256 << 20;

/// The smaller the more urgent: 255 below 1 MiB, one less for each doubling from there.
fn priority(size: u64) -> u8 {
    u8::MAX - (size >> 20).checked_ilog2().map_or(0, |log| log as u8 + 1)
}

/// Runs an errand to its end: the file is there, it cannot be had, or nobody waits for it any more.
pub(super) async fn run(pull: Rc<Pull>, errand: Rc<Errand>, key: ErrandKey, entry: TreeEntry) {
    let outcome = tokio::select! {
        biased;
        outcome = pull.fetch_for_all(&errand, &entry, key.file) => outcome,
        () = errand.left.notified() => Outcome::LookAgain,
    };
    let job = errand.job.borrow().clone();
    if let Some(job) = job.filter(|job| pull.context.jobs.get(job.file.id).is_some()) {
        keep_for_later(&pull.context, &job).await;
    }
    pull.context.pulls.errands.borrow_mut().remove(&key);
    errand.ended(outcome);
}

/// Ends a job that is not done; what is proven stays for the next run.
async fn keep_for_later(context: &Rc<Context>, job: &JobState) {
    jobs::remove(context, job.file.id);
    let file = job.file.clone();
    let synced = tokio::task::spawn_blocking(move || {
        let synced = file.sync();
        drop(file.take());
        synced
    });
    if let Ok(Err(error)) = synced.await {
        let path = &job.path;
        tracing::warn!(target: SAID, kind = "not-durable", "{path}: what is fetched may be lost if power fails: {error}");
    }
}

impl Pull {
    pub(super) async fn fetch_chunked(self: Rc<Self>, entries: Vec<TreeEntry>) -> Result<(), PullError> {
        let mut entries = entries;
        // Small files first: they are there at once, and the program that wants the model can begin to look around. Every
        // node of a swarm has the same order, so that they are at the same files.
        entries.sort_by(|a, b| (a.content_size(), &a.path).cmp(&(b.content_size(), &b.path)));
        let mut waiting = entries.into_iter().peekable();
        let mut running = FuturesUnordered::new();
        let mut bytes = 0;
        loop {
            let room = |next: &TreeEntry| {
                let small = bytes + next.content_size() <= SMALL_BYTES;
                running.len() < if small { AT_ONCE_SMALL } else { AT_ONCE }
            };
            if let Some(entry) = waiting.next_if(room) {
                let (pull, path, size) = (self.clone(), entry.path.clone(), entry.content_size());
                bytes += size;
                running.push(async move { (path, size, pull.fetch_file(entry).await) });
                continue;
            }
            match running.next().await {
                Some((path, size, done)) => {
                    bytes -= size;
                    self.outcome_of(&path, done)?;
                }
                None => return Ok(()),
            }
        }
    }

    async fn fetch_file(self: Rc<Self>, entry: TreeEntry) -> Result<(), PullError> {
        let (repo, commit) = (&self.options.repo, &self.commit.id);
        let Some(hash) = entry.xet_hash else { return Ok(()) };
        if self.destination.copy_from_cache(repo, commit, &entry).await? {
            self.note_whose(&entry);
            self.file_done(&entry, How::Linked);
            return Ok(());
        }
        if self.commit.public_until.is_none() && self.commit.whose.hub.is_some() && !self.options.dry_run {
            // Before a byte of it is here: what is left of it when this is broken off is that Hub's, too.
            self.destination.note_owner(&entry, &self.commit.whose);
        }
        let client = self.client.is_some().then(|| ClientKey::of(&self.options.env));
        let place = self.destination.partial_dir(repo, &entry)?;
        let (public, hub) = (self.public(&entry, &hash), self.commit.whose.hub.clone());
        let key = ErrandKey { place, file: hash, client, public, hub };
        loop {
            self.control.unpaused().await;
            let given_up = self.context.pulls.errands.borrow().get(&key).filter(|e| !e.is_wanted()).cloned();
            if let Some(errand) = given_up {
                // It makes durable what it has, and then somebody may go on with it.
                errand.over().await;
                continue;
            }
            let share = self.share(key.clone(), &entry);
            self.tally.shares.borrow_mut().push(share.clone());
            let outcome = share.over().await;
            self.tally.shares.borrow_mut().retain(|other| !Rc::ptr_eq(other, &share));
            self.tally.ended.borrow_mut().push(share.counts());
            match outcome {
                Outcome::Landed => {
                    if share.began || self.point_to(&entry).await? {
                        self.figures.has_file(&self.context.disk.store.catalog, &hash);
                        self.file_done(&entry, How::Chunks);
                        return Ok(());
                    }
                }
                Outcome::LookAgain => {
                    if !self.options.force && self.came_meanwhile(&entry).await? {
                        return Ok(());
                    }
                }
                Outcome::Failed(error) => return Err(share.own(error)),
            }
        }
    }

    /// Gives a file that another pull has landed its name in this one; false if it is not there.
    async fn point_to(&self, entry: &TreeEntry) -> Result<bool, PullError> {
        let looked = self.look(vec![entry.clone()]).await?;
        match looked.into_iter().next() {
            Some((_, Some(found))) => {
                if !matches!(found.presence, Presence::Complete(_)) {
                    self.destination.link(&self.options.repo, &self.commit.id, entry).await?;
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Fetches a file for all who wait for it.
    async fn fetch_for_all(&self, errand: &Errand, entry: &TreeEntry, hash: Hash) -> Outcome {
        match self.try_for_all(errand, entry, hash).await {
            Ok(true) => Outcome::Landed,
            Ok(false) => Outcome::LookAgain,
            Err(error) => Outcome::Failed(Arc::new(error)),
        }
    }

    async fn try_for_all(&self, errand: &Errand, entry: &TreeEntry, hash: Hash) -> Result<bool, PullError> {
        let (repo, commit) = (&self.options.repo, &self.commit.id);
        let Some((partial, _lock)) = self.open_partial(entry, hash, errand).await? else { return Ok(false) };
        let size = entry.content_size();
        let has_header = header::is_expected(&entry.path);
        let (public, hub, priority) = (self.public_of(&hash), self.commit.whose.hub.clone(), priority(size));
        // Of a commit whose list and proof are kept nobody has asked the Hub: it may not be for us any more.
        let needs_layout = self.options.keep_xorbs || !self.commit.asked;
        let policy = errand.policy();
        let pull = self.control.number;
        let new = NewJob { file: hash, size, public, hub, policy, pull, needs_layout, priority, has_header };
        let origin = self.client.clone().map(|client| OriginFile::new(client, repo.clone(), commit.clone()));
        let (id, job, ended) = jobs::add(&self.context, entry.path.clone(), new, partial, origin);
        errand.began(&self.context, &job);
        let ended = ended.await;
        for user in errand.users() {
            user.say_rotten(&job.path, job.counts.all().rotten_chunks);
        }
        match ended {
            Ok(end) => end?,
            Err(_) => return Err(PullError::EngineGone),
        }
        // It is served as a job until the catalog has it, so that peers find no gap in between.
        self.land(entry, &job).await?;
        for user in errand.users() {
            user.figures.has_file(&self.context.disk.store.catalog, &hash);
        }
        self.context.jobs.note_landed(&job);
        jobs::remove(&self.context, id);
        Ok(true)
    }

    /// Whether peers may be asked for a file, and may ask. Says so where the file itself forbids it.
    fn public(&self, entry: &TreeEntry, file: &Hash) -> bool {
        let is_public = self.public_of(file).is_some();
        if !is_public && self.options.p2p && self.commit.public_until.is_some() {
            let text = format!(
                "{}: not shared, nor asked of peers: the same file has come from where not everyone may read it",
                entry.path
            );
            self.notice("not-shared", Some(&entry.path), text);
        }
        is_public
    }

    /// Leave to ask peers for a file, and to give it.
    fn public_of(&self, file: &Hash) -> Option<Public> {
        let until = self.commit.public_until.filter(|_| self.options.p2p)?;
        let (of, catalog) = (self.commit.whose.clone(), &self.context.disk.store.catalog);
        if !catalog.may_be_given(file, &of) {
            return None;
        }
        let near = !of.hub.as_ref().is_some_and(|hub| catalog.is_public_hub(hub));
        Some(Public { repo: of.repo, commit: of.commit, until, near })
    }

    /// Opens the partial file under the file's lock. `None`: another process finished it meanwhile.
    async fn open_partial(
        &self,
        entry: &TreeEntry,
        hash: Hash,
        errand: &Errand,
    ) -> Result<Option<(Partial, Option<FileLock>)>, PullError> {
        let repo = &self.options.repo;
        let (mut waiting, mut lock) = (Waiting::default(), None);
        loop {
            if lock.is_none() {
                lock = self.destination.try_lock(repo, entry)?;
            }
            if lock.is_some() || self.passes_over(entry, &mut waiting, Some(errand)) {
                if waiting.has_waited() && !self.options.force && self.is_there(entry).await?.is_some() {
                    return Ok(None);
                }
                let dir = self.destination.partial_dir(repo, entry)?;
                let spec = PartialSpec { file: hash, size: entry.content_size() };
                let opened = tokio::task::spawn_blocking(move || Partial::open(&dir, spec)).await;
                match opened.map_err(|_| PullError::EngineGone)? {
                    Ok(partial) => return Ok(Some((partial, lock))),
                    Err(PartialError::Busy { .. }) => {}
                    Err(PartialError::Store(error)) => return Err(error.into()),
                }
            }
            self.wait_a_little(entry, &mut waiting, Some(errand)).await?;
        }
    }

    /// Whether another process has put the file there, whole and right.
    pub(super) async fn came_meanwhile(&self, entry: &TreeEntry) -> Result<bool, PullError> {
        let Some(presence) = self.is_there(entry).await? else { return Ok(false) };
        self.settle(entry, presence).await?;
        Ok(true)
    }

    /// The same without counting it.
    async fn is_there(&self, entry: &TreeEntry) -> Result<Option<Presence>, PullError> {
        let looked = self.look(vec![entry.clone()]).await?;
        let Some((_, Some(found))) = looked.into_iter().next() else { return Ok(None) };
        let right = found.proven || self.prove(entry, found.path).await?.is_ok();
        Ok(right.then_some(found.presence))
    }

    async fn land(&self, entry: &TreeEntry, job: &Rc<JobState>) -> Result<(), PullError> {
        let Some(partial) = job.file.take() else { return Err(PullError::EngineGone) };
        let Some(manifest) = job.file.manifest.get().cloned() else { return Err(PullError::EngineGone) };
        let hints: Option<Vec<u32>> = {
            let table = job.file.table.lock().expect("no holder panics");
            (0..manifest.len()).map(|i| table.get(i).map(|s| s.packed_len).filter(|len| *len > 0)).collect()
        };
        let terms: Option<Vec<(Hash, Range<u32>)>> = job
            .lists
            .plan()
            .filter(|plan| plan.chunks == manifest.len())
            .map(|plan| plan.terms.iter().map(|t| (t.xorb, t.chunks.clone())).collect());
        let (repo, commit) = (self.options.repo.clone(), self.commit.id.clone());
        let hub = self.commit.whose.hub.clone();
        let plan = job.lists.plan().filter(|_| self.options.keep_xorbs).map(|plan| (*plan).clone());
        let zest_cache = self.options.env.zest_cache.clone();
        let publish = move |store: &StoreHandles, path: &Path| {
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
            let place = Place { hub, path, repo, commit };
            if let Err(error) = store.catalog.publish(&manifest, &place, hints.as_deref(), terms.as_deref()) {
                tracing::warn!(target: SAID, kind = "not-shared", "a file is complete and not shared, as that cannot be noted: {error}");
            }
            if let Some(plan) = plan
                && let Err(error) = super::xorbs::keep(&zest_cache, &place.path, &manifest, &plan)
            {
                tracing::warn!(target: SAID, kind = "xorbs-not-kept", "a file is complete, and its xorbs could not be kept: {error}");
            }
        };
        let (told, named) = oneshot::channel();
        let named_first = self.options.named_first.then_some(told);
        let (repo, commit) = (&self.options.repo, &self.commit.id);
        let tell = async {
            if let Ok(path) = named.await {
                self.control.lies(Source::InPlace(path));
            }
        };
        let landing = self.destination.land_xet(repo, commit, entry, partial, named_first, publish);
        let (landed, ()) = tokio::join!(landing, tell);
        landed.map(drop)
    }
}
