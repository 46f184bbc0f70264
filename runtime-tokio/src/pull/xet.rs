//! Files in Xet: one job each, a few at a time; what is proven lands under its name and in the catalog.

use super::Pull;
use crate::PullError;
use crate::discovery::Public;
use crate::engine::StoreHandles;
use crate::header;
use crate::jobs::{JobState, NewJob};
use crate::origin::OriginJob;
use crate::progress::How;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use zest_store::{FileLock, Partial, PartialError, PartialSpec, Place, Presence, TreeEntry};
use zest_xet::Hash;

/// Files under way at once. Each keeps its chunk list in memory; connections are shared among them.
const AT_ONCE: usize = 8;
/// While another process has a file's lock, it is looked at this often.
const LOCK_POLL: Duration = Duration::from_millis(100);
/// A lock held longer than this by a process that is not zest is passed over: names by content make that safe.
const FOREIGN_LOCK: Duration = Duration::from_secs(600);

/// The smaller the more urgent: 255 below 1 MiB, one less for each doubling from there.
fn priority(size: u64) -> u8 {
    u8::MAX - (size >> 20).checked_ilog2().map_or(0, |log| log as u8 + 1)
}

impl Pull {
    pub(super) async fn fetch_chunked(self: Rc<Pull>, entries: Vec<TreeEntry>) -> Result<(), PullError> {
        let mut entries = entries;
        // Small files first: they are there at once, and the program that wants the model can begin to look around. Every
        // node of a swarm has the same order, so that they are at the same files.
        entries.sort_by(|a, b| (a.content_size(), &a.path).cmp(&(b.content_size(), &b.path)));
        let mut waiting = entries.into_iter();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < AT_ONCE {
                let Some(entry) = waiting.next() else { break };
                running.push(self.clone().fetch_file(entry));
            }
            match running.next().await {
                Some(done) => done?,
                None => return Ok(()),
            }
        }
    }

    async fn fetch_file(self: Rc<Pull>, entry: TreeEntry) -> Result<(), PullError> {
        let (repo, commit) = (&self.options.repo, &self.commit);
        let Some(hash) = entry.xet_hash else { return Ok(()) };
        if self.destination.copy_from_cache(repo, commit, &entry).await? {
            self.tally.file_done(&entry, How::Linked);
            return Ok(());
        }
        let Some((partial, _lock)) = self.open_partial(&entry, hash).await? else { return Ok(()) };
        let size = entry.content_size();
        let has_header = header::is_expected(&entry.path);
        let new = NewJob { file: hash, size, public: self.public(), priority: priority(size), has_header };
        let origin = self.hub.clone().map(|hub| OriginJob::new(hub, repo.clone(), commit.clone()));
        let (id, job, ended) = self.context.add_job(entry.path.clone(), new, partial, origin);
        self.tally.running.borrow_mut().push(job.clone());
        match ended.await {
            Ok(end) => end?,
            Err(_) => return Err(PullError::EngineGone),
        }
        // It is served as a job until the catalog has it, so that peers find no gap in between.
        self.land(&entry, &job).await?;
        self.context.note_landed(&job);
        self.context.remove_job(id);
        self.tally.running.borrow_mut().retain(|other| other.file.id != id);
        self.tally.ended.borrow_mut().push(job);
        self.tally.file_done(&entry, How::Chunks);
        Ok(())
    }

    /// Leave to ask peers for this commit's files, and to give them.
    fn public(&self) -> Option<Public> {
        let until = self.public_until.filter(|_| self.options.p2p)?;
        Some(Public { repo: self.options.repo.clone(), commit: self.commit.clone(), until })
    }

    /// Opens the partial file under the file's lock. `None`: another process finished it meanwhile.
    async fn open_partial(
        &self,
        entry: &TreeEntry,
        hash: Hash,
    ) -> Result<Option<(Partial, Option<FileLock>)>, PullError> {
        let (repo, commit) = (&self.options.repo, &self.commit);
        let mut waited = Duration::ZERO;
        let mut lock = None;
        loop {
            if lock.is_none() && waited < FOREIGN_LOCK {
                lock = self.destination.try_lock(repo, entry)?;
            }
            if lock.is_some() || waited >= FOREIGN_LOCK {
                if waited > Duration::ZERO && !self.options.force {
                    match self.destination.presence(repo, commit, entry).await {
                        Presence::Complete(_) => {
                            self.tally.file_done(entry, How::Cached);
                            return Ok(None);
                        }
                        Presence::Linkable => {
                            self.destination.link(repo, commit, entry).await?;
                            self.tally.file_done(entry, How::Linked);
                            return Ok(None);
                        }
                        Presence::Missing => {}
                    }
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
            if waited.is_zero() {
                tracing::info!(path = entry.path, "another process is fetching this file; waiting for it");
            }
            tokio::time::sleep(LOCK_POLL).await;
            waited += LOCK_POLL;
        }
    }

    async fn land(&self, entry: &TreeEntry, job: &Rc<JobState>) -> Result<(), PullError> {
        let Some(partial) = job.file.take() else { return Err(PullError::EngineGone) };
        let Some(manifest) = job.file.manifest.get().cloned() else { return Err(PullError::EngineGone) };
        let hints: Option<Vec<u32>> = {
            let table = job.file.table.lock().expect("no holder panics");
            (0..manifest.len()).map(|i| table.get(i).map(|s| s.packed_len).filter(|len| *len > 0)).collect()
        };
        let terms: Option<Vec<(Hash, Range<u32>)>> = job
            .plan
            .borrow()
            .as_ref()
            .filter(|plan| plan.chunks == manifest.len())
            .map(|plan| plan.terms.iter().map(|t| (t.xorb, t.chunks.clone())).collect());
        let (repo, commit) = (self.options.repo.clone(), self.commit.clone());
        let plan = job.plan.borrow().clone().filter(|_| self.options.keep_xorbs).map(|plan| (*plan).clone());
        let zest_cache = self.options.env.zest_cache.clone();
        let publish = move |store: &StoreHandles, path: &Path| {
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
            let place = Place { path, repo, commit };
            if let Err(error) = store.catalog.publish(&manifest, &place, hints.as_deref(), terms.as_deref()) {
                tracing::warn!(%error, "the file is complete, but it cannot be noted for sharing");
            }
            if let Some(plan) = plan
                && let Err(error) = super::xorbs::keep(&zest_cache, &place.path, &manifest, &plan)
            {
                tracing::warn!(%error, "the file is complete, but its xorbs could not be kept");
            }
        };
        let force = self.options.force;
        let finish = move || partial.finish();
        self.destination.land_xet(&self.options.repo, &self.commit, entry, finish, force, publish).await?;
        Ok(())
    }
}
