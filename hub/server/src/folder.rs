//! The library that a folder tree is: revisions become snapshots with a commit id, kept up to date with the folders.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use zest_store::{RepoId, is_commit};
use zest_xet::{Hash, Manifest};

use super::index::Index;
use super::layout::{PlacedTerm, Xorb};
use super::library::{Access, Entry, Freshness, Library, Missing, Snapshot, blocking};
use super::root::Root;

/// Snapshots of a revision that stay known by their commit after the folder changed: 8, so that a download that is under way can
/// go on with the files that did not change.
const OLD_SNAPSHOTS_MAX: usize = 8;

/// Age up to which a snapshot serves requests for a commit without another look at the folder: 2 s. Requests that ask what a
/// revision is (`revision`, `tree`, `refs`) always look.
const RECENT: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct RevisionState {
    current: Option<Arc<Snapshot>>,
    old: VecDeque<Arc<Snapshot>>,
    looked: Option<Instant>,
    loaded: bool,
}

type RevisionSlot = Arc<tokio::sync::Mutex<RevisionState>>;

/// All repositories of a root.
#[derive(Debug)]
pub(crate) struct Folder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: Root,
    index: Index,
    slots: Mutex<HashMap<(RepoId, String), RevisionSlot>>,
    /// Commit → snapshot, for every snapshot that is still known.
    commits: Mutex<BTreeMap<RepoId, BTreeMap<String, Arc<Snapshot>>>>,
}

impl Folder {
    pub(crate) fn new(root: Root, index: Index) -> Self {
        Self(Arc::new(Inner { root, index, slots: Mutex::default(), commits: Mutex::default() }))
    }
}

impl Library for Folder {
    fn repos(&self) -> BoxFuture<'_, Vec<(RepoId, Access)>> {
        Box::pin(self.0.repos())
    }

    fn access<'a>(&'a self, repo: &'a RepoId) -> BoxFuture<'a, Option<Access>> {
        Box::pin(self.0.access(repo))
    }

    fn revisions<'a>(&'a self, repo: &'a RepoId) -> BoxFuture<'a, Vec<String>> {
        Box::pin(self.0.revisions(repo))
    }

    fn snapshot<'a>(
        &'a self,
        repo: &'a RepoId,
        revision: &'a str,
        freshness: Freshness,
    ) -> BoxFuture<'a, Result<Arc<Snapshot>, Missing>> {
        Box::pin(self.0.snapshot(repo, revision, freshness))
    }

    fn terms(&self, content: &Hash) -> Option<(Arc<Manifest>, Vec<PlacedTerm>)> {
        self.0.index.terms(content)
    }

    fn open_xorb(&self, hash: &Hash) -> Option<(Arc<Xorb>, std::fs::File)> {
        self.0.index.open_xorb(hash)
    }

    fn warm_up<'a>(&'a self, laid_out: Box<dyn FnOnce() + Send + 'a>) -> BoxFuture<'a, ()> {
        Box::pin(self.0.warm_up(laid_out))
    }
}

impl Inner {
    /// All repositories and their access marks.
    async fn repos(self: &Arc<Self>) -> Vec<(RepoId, Access)> {
        let this = self.clone();
        blocking(move || {
            let access = |repo: RepoId| {
                let folder = this.root.repo(&repo)?;
                Some((repo, this.root.access(&folder)))
            };
            this.root.repos().into_iter().filter_map(access).collect()
        })
        .await
    }

    /// Who may read a repository; `None` if there is none of that name.
    async fn access(self: &Arc<Self>, repo: &RepoId) -> Option<Access> {
        let (this, repo) = (self.clone(), repo.clone());
        blocking(move || Some(this.root.access(&this.root.repo(&repo)?))).await
    }

    /// The names of a repository's revisions.
    async fn revisions(self: &Arc<Self>, repo: &RepoId) -> Vec<String> {
        let (this, repo) = (self.clone(), repo.clone());
        blocking(move || {
            let folder = this.root.repo(&repo);
            folder
                .map(|folder| this.root.revisions(&folder))
                .unwrap_or_default()
                .into_iter()
                .map(|r| r.0)
                .collect()
        })
        .await
    }

    /// The snapshot of a branch, tag or commit.
    async fn snapshot(
        self: &Arc<Self>,
        repo: &RepoId,
        revision: &str,
        freshness: Freshness,
    ) -> Result<Arc<Snapshot>, Missing> {
        if is_commit(revision) {
            if let Some(known) = self.by_commit(repo, revision) {
                return Ok(known);
            }
            for name in self.revisions(repo).await {
                // A revision that vanished meanwhile is no reason to stop looking.
                let _ = self.refresh(repo, &name, freshness).await;
            }
            return self.by_commit(repo, revision).ok_or(Missing);
        }
        self.refresh(repo, revision, freshness).await
    }

    /// Looks at every revision once: first at what an earlier run knew, so that its xorbs are laid out before new ones, then at
    /// the rest. `replayed` is called in between.
    async fn warm_up(self: &Arc<Self>, replayed: impl FnOnce()) {
        let mut all = Vec::new();
        for (repo, _) in self.repos().await {
            for revision in self.revisions(&repo).await {
                all.push((repo.clone(), revision));
            }
        }
        let (this, names) = (self.clone(), all.clone());
        blocking(move || {
            for (repo, revision) in &names {
                this.index.load(&listing_name(repo, revision));
            }
            this.index.replay();
        })
        .await;
        replayed();
        // A fine-tune came after its base. Laid out in that order it names xorbs that who has the base has whole, and only what
        // differs is fetched; the other way round both would name a xorb of which nobody has all.
        let this = self.clone();
        let all = blocking(move || {
            let written = |(repo, revision): &(RepoId, String)| {
                this.folder(repo, revision).and_then(|folder| this.root.written(&folder))
            };
            let mut all = all;
            all.sort_by_cached_key(written);
            all
        })
        .await;
        for (repo, revision) in all {
            let _ = self.refresh(&repo, &revision, Freshness::Recent).await;
        }
    }

    fn by_commit(&self, repo: &RepoId, commit: &str) -> Option<Arc<Snapshot>> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner).get(repo)?.get(commit).cloned()
    }

    /// Brings a named revision up to date. One look at a time per revision; a caller that goes away does not stop it.
    async fn refresh(
        self: &Arc<Self>,
        repo: &RepoId,
        revision: &str,
        freshness: Freshness,
    ) -> Result<Arc<Snapshot>, Missing> {
        let (this, repo, revision) = (self.clone(), repo.clone(), revision.to_owned());
        let started = Instant::now();
        let exists = {
            let (this, repo, revision) = (this.clone(), repo.clone(), revision.clone());
            blocking(move || this.folder(&repo, &revision).is_some()).await
        };
        if !exists {
            // Slots exist for folders only, so that requests cannot make us remember names.
            self.lock_slots().remove(&(repo.clone(), revision));
            return Err(Missing);
        }
        let slot = self.lock_slots().entry((repo.clone(), revision.clone())).or_default().clone();
        let look = tokio::spawn(async move {
            let mut state = slot.lock_owned().await;
            // Whoever waited for another's look that began after this request takes its result.
            let enough = state.looked.is_some_and(|looked| {
                looked >= started || (freshness == Freshness::Recent && looked.elapsed() < RECENT)
            });
            if let Some(current) = state.current.as_ref().filter(|_| enough) {
                return Ok(current.clone());
            }
            blocking(move || this.look(&repo, &revision, &mut state)).await
        });
        look.await.unwrap_or(Err(Missing))
    }

    fn folder(&self, repo: &RepoId, revision: &str) -> Option<std::path::PathBuf> {
        let revisions = self.root.revisions(&self.root.repo(repo)?);
        revisions.into_iter().find(|(name, _)| name == revision).map(|(_, folder)| folder)
    }

    fn look(
        &self,
        repo: &RepoId,
        revision: &str,
        state: &mut RevisionState,
    ) -> Result<Arc<Snapshot>, Missing> {
        let began = Instant::now();
        let name = listing_name(repo, revision);
        if !state.loaded {
            self.index.load(&name);
            state.loaded = true;
        }
        let found = self.folder(repo, revision).ok_or(Missing)?;
        let found = self.root.files(&found).map_err(|error| {
            tracing::warn!(target: zest_store::SAID, kind = "left-out", "{name} cannot be listed: {error}");
            Missing
        })?;
        let digests = self.index.digests(&name, &found);
        let files = found.into_iter().zip(digests);
        let files = files
            .filter_map(|(file, digest)| Some(Entry { path: file.path, disk: file.disk, digest: digest? }));
        let snapshot = Snapshot::new(files.collect());
        state.looked = Some(began);
        if let Some(current) = state.current.as_ref().filter(|current| ***current == snapshot) {
            return Ok(current.clone());
        }
        let snapshot = Arc::new(snapshot);
        if let Some(previous) = state.current.replace(snapshot.clone()) {
            for entry in &previous.files {
                self.index.unlearn_if_changed(&entry.disk);
            }
            state.old.push_front(previous);
        }
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let known = commits.entry(repo.clone()).or_default();
        if state.old.len() > OLD_SNAPSHOTS_MAX
            && let Some(oldest) = state.old.pop_back()
            && known.get(&oldest.commit).is_some_and(|entry| Arc::ptr_eq(entry, &oldest))
        {
            known.remove(&oldest.commit);
        }
        known.insert(snapshot.commit.clone(), snapshot.clone());
        Ok(snapshot)
    }

    fn lock_slots(&self) -> std::sync::MutexGuard<'_, HashMap<(RepoId, String), RevisionSlot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of a revision in the index cache.
fn listing_name(repo: &RepoId, revision: &str) -> String {
    format!("{}/{}/{revision}", repo.kind.plural(), repo.name)
}
