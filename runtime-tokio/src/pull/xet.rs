//! Files in Xet: one job each, a few at a time; what is proven lands under its name and in the catalog.

use super::Pull;
use super::waiting::Waiting;
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
use zest_store::{FileLock, Partial, PartialError, PartialSpec, Place, TreeEntry};
use zest_xet::Hash;

/// Files under way at once. Each keeps its chunk list in memory; connections are shared among them.
const AT_ONCE: usize = 8;

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
                let (pull, path) = (self.clone(), entry.path.clone());
                running.push(async move { (path, pull.fetch_file(entry).await) });
            }
            match running.next().await {
                Some((path, done)) => drop(self.outcome_of(&path, done)?),
                None => return Ok(()),
            }
        }
    }

    async fn fetch_file(self: Rc<Pull>, entry: TreeEntry) -> Result<(), PullError> {
        let (repo, commit) = (&self.options.repo, &self.commit);
        let Some(hash) = entry.xet_hash else { return Ok(()) };
        if self.destination.copy_from_cache(repo, commit, &entry).await? {
            self.note_whose(&entry);
            self.tally.file_done(&entry, How::Linked);
            return Ok(());
        }
        if self.public_until.is_none() && self.whose.hub.is_some() && !self.options.dry_run {
            // Before a byte of it is here: what is left of it when this is broken off is that Hub's, too.
            self.destination.note_owner(&entry, &self.whose);
        }
        let Some((partial, _lock)) = self.open_partial(&entry, hash).await? else { return Ok(()) };
        let size = entry.content_size();
        let has_header = header::is_expected(&entry.path);
        let new = NewJob {
            file: hash,
            size,
            public: self.public(&entry, &hash),
            hub: self.whose.hub.clone(),
            priority: priority(size),
            has_header,
        };
        let origin = self.hub.clone().map(|hub| OriginJob::new(hub, repo.clone(), commit.clone()));
        let (id, job, ended) = self.context.add_job(entry.path.clone(), new, partial, origin);
        self.tally.running.borrow_mut().push(job.clone());
        let ended = ended.await;
        self.say_rotten(&job.path, job.counts.rotten_chunks.get());
        match ended {
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
    fn public(&self, entry: &TreeEntry, file: &Hash) -> Option<Public> {
        let until = self.public_until.filter(|_| self.options.p2p)?;
        let (of, catalog) = (self.whose.clone(), &self.context.store.catalog);
        if !catalog.may_be_given(file, &of) {
            let text = format!(
                "{}: not shared, nor asked of peers: the same file has come from where not everyone may read it",
                entry.path
            );
            self.notice("not-shared", Some(&entry.path), text);
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
    ) -> Result<Option<(Partial, Option<FileLock>)>, PullError> {
        let repo = &self.options.repo;
        let (mut waiting, mut lock) = (Waiting::default(), None);
        loop {
            if lock.is_none() {
                lock = self.destination.try_lock(repo, entry)?;
            }
            if lock.is_some() || self.passes_over(entry, &mut waiting) {
                if waiting.has_waited() && !self.options.force && self.came_meanwhile(entry).await? {
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
            self.wait_a_little(entry, &mut waiting).await?;
        }
    }

    /// Whether another process has put the file there, whole and right.
    pub(super) async fn came_meanwhile(&self, entry: &TreeEntry) -> Result<bool, PullError> {
        let looked = self.look(vec![entry.clone()]).await?;
        let Some((_, Some(found))) = looked.into_iter().next() else { return Ok(false) };
        let right = found.proven || self.prove(entry, found.path).await?.is_ok();
        if right {
            self.settle(entry, found.presence).await?;
        }
        Ok(right)
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
        let hub = self.whose.hub.clone();
        let plan = job.plan.borrow().clone().filter(|_| self.options.keep_xorbs).map(|plan| (*plan).clone());
        let zest_cache = self.options.env.zest_cache.clone();
        let publish = move |store: &StoreHandles, path: &Path| {
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
            let place = Place { hub, path, repo, commit };
            if let Err(error) = store.catalog.publish(&manifest, &place, hints.as_deref(), terms.as_deref()) {
                tracing::warn!(%error, "the file is complete, but it cannot be noted for sharing");
            }
            if let Some(plan) = plan
                && let Err(error) = super::xorbs::keep(&zest_cache, &place.path, &manifest, &plan)
            {
                tracing::warn!(%error, "the file is complete, but its xorbs could not be kept");
            }
        };
        let finish = move || partial.finish();
        self.destination.land_xet(&self.options.repo, &self.commit, entry, finish, publish).await?;
        Ok(())
    }
}
