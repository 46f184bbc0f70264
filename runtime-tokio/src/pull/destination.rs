//! Where files land: the HF cache, or a local folder. Slow disk work runs off the engine's thread.

use super::PullOptions;
use crate::PullError;
use crate::disk::StoreHandles;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::oneshot;
use zest_store::{
    Commit, FileLock, Identity, Leftovers, LocalDir, Partial, PartialError, PartialSpec, PlainPartial,
    Presence, RepoId, StoreError, TreeEntry, is_commit, keep_what_is_right,
};

/// Spreads the bits of a number over all of it: the golden ratio's.
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

/// A file that is there, by its size.
pub(crate) struct OnDisk {
    pub(crate) presence: Presence,
    pub(crate) path: PathBuf,
    pub(crate) identity: Identity,
    /// Whether it was proven in this state.
    pub(crate) proven: bool,
}

/// What lies in partial files.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct LeftOver {
    /// Bytes of content that have come, which count once they are proven.
    pub(crate) came_bytes: u64,
    /// Bytes they take on the disk.
    pub(crate) occupied_bytes: u64,
}

/// One of the two places.
#[derive(Clone)]
pub(crate) struct Destination {
    store: Arc<StoreHandles>,
    local: Option<Arc<LocalDir>>,
}

impl Destination {
    pub(crate) fn new(store: &Arc<StoreHandles>, local_dir: Option<&Path>) -> Result<Self, StoreError> {
        let local = local_dir.map(LocalDir::open).transpose()?.map(Arc::new);
        Ok(Self { store: store.clone(), local })
    }

    /// Runs disk work on tokio's blocking threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&StoreHandles, Option<&LocalDir>) -> T + Send + 'static,
    ) -> Result<T, PullError> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || work(&this.store, this.local.as_deref()))
            .await
            .map_err(|_| PullError::EngineGone)
    }

    pub(crate) fn root(&self, repo: &RepoId, commit: &str) -> PathBuf {
        match &self.local {
            Some(local) => local.root().to_path_buf(),
            None => self.store.cache.snapshot_dir(repo, commit),
        }
    }

    /// Where a file's content is to lie.
    pub(crate) fn place(&self, repo: &RepoId, entry: &TreeEntry) -> Result<PathBuf, StoreError> {
        match &self.local {
            Some(local) => local.file_path(entry),
            None => Ok(self.store.cache.final_blob_path(repo, entry)),
        }
    }

    /// The nearest existing folder above the place, for asking after its file system.
    pub(crate) fn existing_root(&self, repo: &RepoId) -> PathBuf {
        let mut at = match &self.local {
            Some(local) => local.root().to_path_buf(),
            None => self.store.cache.root().join(repo.folder()),
        };
        while !at.exists() && at.pop() {}
        at
    }

    /// What pulls of these entries left that were interrupted.
    pub(crate) fn left_over(&self, entries: &[TreeEntry]) -> LeftOver {
        let partials = match &self.local {
            Some(local) => local.partials(),
            None => self.store.cache.partials(),
        };
        let name = |e: &TreeEntry| e.xet_hash.map_or_else(|| e.etag().to_owned(), |hash| hash.to_string());
        let hashes: Vec<String> = entries.iter().map(name).collect();
        let named = |path: &Path| {
            path.file_name()
                .is_some_and(|name| hashes.iter().any(|hash| name.to_string_lossy().contains(hash)))
        };
        let own = partials.iter().filter(|partial| named(&partial.path));
        own.fold(LeftOver::default(), |sum, partial| LeftOver {
            came_bytes: sum.came_bytes + partial.came_bytes,
            occupied_bytes: sum.occupied_bytes + partial.occupied_bytes,
        })
    }

    pub(crate) fn read_tree(&self, repo: &RepoId, commit: &str) -> Option<Vec<TreeEntry>> {
        let here = self.local.as_ref().and_then(|local| local.read_tree(commit));
        here.or_else(|| self.store.cache.read_tree(repo, commit))
    }

    /// What is known of a revision without the Hub: its commit, if that is not known from the ref, and its files, by the kept list
    /// or, where there is none, as they lie there (then the third part is true).
    pub(crate) fn as_known_here(
        &self,
        repo: &RepoId,
        commit: Option<String>,
    ) -> Option<(String, Vec<TreeEntry>, bool)> {
        let noted = self.local.as_ref().and_then(|local| local.noted());
        let commit = commit.or_else(|| noted.as_ref().map(|(commit, _)| commit.clone()))?;
        if let Some(entries) = self.read_tree(repo, &commit) {
            return Some((commit, entries, false));
        }
        let entries = match noted.filter(|(of, _)| *of == commit) {
            Some((_, entries)) => entries,
            None => self.store.cache.snapshot_as_found(repo, &commit),
        };
        (!entries.is_empty()).then_some((commit, entries, true))
    }

    pub(crate) fn write_tree(
        &self,
        repo: &RepoId,
        commit: &str,
        entries: &[TreeEntry],
    ) -> Result<(), StoreError> {
        match &self.local {
            Some(local) => local.write_tree(commit, entries),
            None => self.store.cache.write_tree(repo, commit, entries),
        }
    }

    pub(crate) fn resolve_ref(&self, repo: &RepoId, revision: &str) -> Option<String> {
        self.store.cache.resolve_ref(repo, revision)
    }

    /// Whether the user does not want it shared, as of now.
    pub(crate) fn is_denied(&self, repo: &RepoId) -> bool {
        self.store.catalog.look_at_denials();
        self.store.catalog.is_denied(repo)
    }

    pub(crate) fn public_until(&self, of: &Commit) -> Option<std::time::SystemTime> {
        self.store.catalog.public_until(of.hub.as_ref()?, &of.repo, &of.commit)
    }

    /// See [`zest_store::Catalog::stretch_public`].
    pub(crate) fn stretch_public(&self, of: &Commit) -> Option<std::time::SystemTime> {
        self.store.catalog.stretch_public(of.hub.as_ref()?, &of.repo, &of.commit)
    }

    pub(crate) fn prove_public(&self, of: &Commit, asked: std::time::SystemTime) {
        let Some(hub) = &of.hub else { return };
        if let Err(error) = self.store.catalog.prove_public(hub, &of.repo, &of.commit, asked) {
            let name = &of.repo.name;
            tracing::warn!(target: zest_store::SAID, kind = "not-noted", "that everyone may read {name} cannot be noted, so others ask again: {error}");
        }
    }

    /// The Hub says that it is not for everyone.
    pub(crate) fn revoke_public(&self, of: &Commit) {
        let Some(hub) = &of.hub else { return };
        if let Err(error) = self.store.catalog.revoke_repo(hub, &of.repo) {
            let name = &of.repo.name;
            tracing::warn!(target: zest_store::SAID, kind = "not-noted", "{name} is not shared any more, and other processes cannot be told: {error}");
        }
    }

    /// See [`zest_store::Catalog::knows_list`].
    pub(crate) fn knows_list(&self, of: &Commit, entries: &[TreeEntry]) -> bool {
        self.store.catalog.knows_list(of, entries)
    }

    pub(crate) fn note_list(&self, of: &Commit, entries: &[TreeEntry]) {
        if let Err(error) = self.store.catalog.note_list(of, entries) {
            tracing::info!(%error, "it cannot be noted whose list of files this is; it will be asked for again");
        }
    }

    /// A file that is here belongs to a commit that is not for everyone.
    pub(crate) fn note_owner(&self, entry: &TreeEntry, of: &Commit) {
        let Some(hash) = entry.xet_hash else { return };
        if let Err(error) = self.store.catalog.note_owner(&hash, of) {
            let path = &entry.path;
            tracing::warn!(target: zest_store::SAID, kind = "not-noted", "{path}: it cannot be noted that not everyone may read it: {error}");
        }
    }

    /// See [`zest_store::Catalog::note_small_owner`].
    pub(crate) fn note_small_owner(&self, of: &Commit) {
        if let Err(error) = self.store.catalog.note_small_owner(of) {
            let name = &of.repo.name;
            tracing::warn!(target: zest_store::SAID, kind = "not-noted", "{name}: it cannot be noted whose its small files are: {error}");
        }
    }

    /// A branch or tag points to the commit, as huggingface_hub notes it (also with a local folder). A commit needs none.
    pub(crate) fn write_ref(&self, options: &PullOptions, commit: &str) -> Result<(), StoreError> {
        if is_commit(&options.revision) {
            return Ok(());
        }
        if self.store.cache.resolve_ref(&options.repo, &options.revision).as_deref() == Some(commit) {
            return Ok(());
        }
        self.store.cache.write_ref(&options.repo, &options.revision, commit)
    }

    /// What is there of each file, and whether it was proven since it last changed.
    pub(crate) async fn look(
        &self,
        repo: &RepoId,
        commit: &str,
        entries: Vec<TreeEntry>,
        as_found: bool,
        look_only: bool,
    ) -> Result<Vec<(TreeEntry, Option<OnDisk>)>, PullError> {
        let (repo, commit) = (repo.clone(), commit.to_owned());
        self.blocking(move |store, local| {
            let look = |entry: &TreeEntry| {
                let (presence, path) = match local {
                    Some(local) => local.found(&commit, entry),
                    None => store.cache.found(&repo, &commit, entry),
                }?;
                let identity = Identity::of(&std::fs::metadata(&path).ok()?);
                if local.is_none() && !look_only {
                    store.cache.keep_ref(&repo, entry);
                }
                // Of a file that nobody gave a hash for there is nothing to prove.
                let proven = (as_found && !entry.is_named()) || store.catalog.is_proven(&identity, entry);
                Some(OnDisk { presence, path, identity, proven })
            };
            entries
                .into_iter()
                .map(|entry| (look(&entry), entry))
                .map(|(found, entry)| (entry, found))
                .collect()
        })
        .await
    }

    /// Reads a file and compares it with what the Hub named. `go_on` may end it, which is an error of the system's then.
    pub(crate) async fn prove(
        &self,
        path: PathBuf,
        entry: TreeEntry,
        mut go_on: impl FnMut(u64) -> bool + Send + 'static,
    ) -> Result<Result<(), StoreError>, PullError> {
        self.blocking(move |store, _| store.catalog.prove(&path, &entry, &mut go_on).map(drop)).await
    }

    /// Has the chunks that are right of a wrong file be where its pull goes on. What cannot be kept is fetched with the rest.
    pub(crate) async fn keep_what_is_right(
        &self,
        repo: &RepoId,
        entry: &TreeEntry,
        wrong: PathBuf,
    ) -> Result<(), PullError> {
        let (Some(file), Ok(dir)) = (entry.xet_hash, self.partial_dir(repo, entry)) else { return Ok(()) };
        let spec = PartialSpec { file, size: entry.content_size() };
        let kept =
            self.blocking(move |store, _| keep_what_is_right(&store.catalog, &dir, spec, &wrong)).await?;
        match kept {
            Ok(kept) => tracing::debug!(?kept, path = entry.path, "what is right of a wrong file"),
            Err(error) => tracing::debug!(%error, path = entry.path, "nothing is kept of a wrong file"),
        }
        Ok(())
    }

    pub(crate) async fn link(
        &self,
        repo: &RepoId,
        commit: &str,
        entry: &TreeEntry,
    ) -> Result<PathBuf, PullError> {
        let (repo, commit, entry) = (repo.clone(), commit.to_owned(), entry.clone());
        let linked = self.blocking(move |store, local| match local {
            Some(local) => local.link(&commit, &entry),
            None => store.cache.link(&repo, &commit, &entry),
        });
        Ok(linked.await??)
    }

    /// With a local folder: takes the file from the HF cache if it is complete there.
    pub(crate) async fn copy_from_cache(
        &self,
        repo: &RepoId,
        commit: &str,
        entry: &TreeEntry,
    ) -> Result<bool, PullError> {
        if self.local.is_none() {
            return Ok(false);
        }
        let (repo, commit, entry) = (repo.clone(), commit.to_owned(), entry.clone());
        let copied = self.blocking(move |store, local| {
            let (Some(local), Presence::Complete(source)) =
                (local, store.cache.presence(&repo, &commit, &entry))
            else {
                return Ok(false);
            };
            copy(store, local, &commit, &entry, &source)
        });
        Ok(copied.await??)
    }

    /// Puts the content of `first`, which is in place, under the name of `entry` too.
    pub(crate) async fn link_twin(
        &self,
        repo: &RepoId,
        commit: &str,
        entry: &TreeEntry,
        first: &TreeEntry,
    ) -> Result<(), PullError> {
        let (repo, commit, entry, first) = (repo.clone(), commit.to_owned(), entry.clone(), first.clone());
        let linked = self.blocking(move |store, local| match local {
            Some(local) => {
                let source = local.file_path(&first)?;
                let copied = local.copy_from(&commit, &entry, &source)?;
                note_proven(store, &copied, None, &entry);
                Ok(())
            }
            None => store.cache.link_twin(&repo, &commit, &entry, &first).map(drop),
        });
        Ok(linked.await??)
    }

    pub(crate) fn temp_file(
        &self,
        repo: &RepoId,
        entry: &TreeEntry,
    ) -> Result<(std::fs::File, PathBuf), StoreError> {
        match &self.local {
            Some(local) => local.temp_file(entry),
            None => self.store.cache.temp_file(repo, entry),
        }
    }

    /// Lands a small file that is whole in memory, if it is what the Hub names.
    pub(crate) async fn land_bytes(
        &self,
        repo: &RepoId,
        commit: &str,
        entry: &TreeEntry,
        bytes: Vec<u8>,
    ) -> Result<Result<PathBuf, StoreError>, PullError> {
        let (repo, commit, entry) = (repo.clone(), commit.to_owned(), entry.clone());
        let this = self.clone();
        self.blocking(move |store, local| {
            // Locked until it has its name.
            let (mut file, temp) = this.temp_file(&repo, &entry)?;
            let written = std::io::Write::write_all(&mut file, &bytes)
                .map_err(|source| StoreError::from_io("write", &temp, source, bytes.len() as u64));
            let before = file.metadata().ok().map(|meta| Identity::of(&meta));
            let landed = written.and_then(|()| match local {
                Some(local) => local.land_small(&commit, &entry, &temp),
                None => store.cache.land_small(&repo, &commit, &entry, &temp),
            });
            if let Ok(path) = &landed {
                note_proven(store, path, before.as_ref(), &entry);
            }
            landed.inspect_err(|_| drop(std::fs::remove_file(&temp)))
        })
        .await
    }

    /// Opens the partial file of a plain file, with what a download that died has left if there is none yet.
    pub(crate) async fn open_plain(
        &self,
        repo: &RepoId,
        entry: &TreeEntry,
        leftover: Option<PathBuf>,
    ) -> Result<Result<PlainPartial, PartialError>, PullError> {
        let (repo, entry) = (repo.clone(), entry.clone());
        self.blocking(move |store, local| {
            let dir = match local {
                Some(local) => local.partial_dir(&entry)?,
                None => store.cache.plain_dir(&repo, &entry)?,
            };
            PlainPartial::open(&dir, &entry, leftover.as_deref())
        })
        .await
    }

    /// Proves a plain file that is complete.
    pub(crate) async fn prove_plain(
        &self,
        entry: &TreeEntry,
        partial: Arc<PlainPartial>,
    ) -> Result<Result<(), StoreError>, PullError> {
        let entry = entry.clone();
        self.blocking(move |_, _| partial.prove(&entry)).await
    }

    /// Lands a plain file that is proven.
    pub(crate) async fn land_plain(
        &self,
        repo: &RepoId,
        commit: &str,
        entry: &TreeEntry,
        partial: PlainPartial,
    ) -> Result<Result<PathBuf, StoreError>, PullError> {
        let (repo, commit, entry) = (repo.clone(), commit.to_owned(), entry.clone());
        self.blocking(move |store, local| {
            let finished = partial.finish(&entry)?;
            let before = std::fs::metadata(finished.path()).ok().map(|meta| Identity::of(&meta));
            let landed = match local {
                Some(local) => local.land_plain(&commit, &entry, finished),
                None => store.cache.land_plain(&repo, &commit, &entry, finished),
            };
            if let Ok(path) = &landed {
                note_proven(store, path, before.as_ref(), &entry);
            }
            landed
        })
        .await
    }

    /// What downloads to this place left that died.
    pub(crate) async fn leftovers(
        &self,
        repo: &RepoId,
        entries: &[TreeEntry],
    ) -> Result<Leftovers, PullError> {
        let (repo, entries) = (repo.clone(), entries.to_vec());
        self.blocking(move |store, local| match local {
            Some(local) => local.leftovers(&entries),
            None => store.cache.leftovers(&repo),
        })
        .await
    }

    /// See [`zest_store::HfCache::claim_leftover`].
    pub(crate) fn claim_leftover(
        &self,
        leftovers: &mut Leftovers,
        repo: &RepoId,
        entry: &TreeEntry,
    ) -> Option<PathBuf> {
        match &self.local {
            Some(local) => local.claim_leftover(leftovers, entry),
            None => self.store.cache.claim_leftover(leftovers, repo, entry),
        }
    }

    pub(crate) fn partial_dir(&self, repo: &RepoId, entry: &TreeEntry) -> Result<PathBuf, StoreError> {
        match &self.local {
            Some(local) => local.partial_dir(entry),
            None => self.store.cache.partial_dir(repo, entry),
        }
    }

    pub(crate) fn try_lock(&self, repo: &RepoId, entry: &TreeEntry) -> Result<Option<FileLock>, StoreError> {
        match &self.local {
            Some(local) => local.try_lock(entry),
            None => self.store.cache.try_lock(repo, entry),
        }
    }

    /// Who has the file's lock, as far as the system tells.
    pub(crate) fn lock_holder(&self, repo: &RepoId, entry: &TreeEntry) -> Option<String> {
        match &self.local {
            Some(local) => local.lock_holder(entry),
            None => self.store.cache.lock_holder(repo, entry),
        }
    }

    /// A number that changes when something of a file that is being fetched is written, by whomever.
    pub(crate) async fn signs_of_life(&self, repo: &RepoId, entry: &TreeEntry) -> Result<u64, PullError> {
        let (repo, entry) = (repo.clone(), entry.clone());
        self.blocking(move |store, local| {
            let mut dirs =
                vec![store.cache.final_blob_path(&repo, &entry), store.cache.blob_path(&repo, &entry)];
            dirs.extend(local.map(|local| local.downloads().join("x")));
            let xet = entry.xet_hash.map(|hash| hash.to_string()).unwrap_or_default();
            let is_of_it =
                |name: &str| name.contains(entry.etag()) || (!xet.is_empty() && name.contains(&xet));
            let files =
                dirs.iter().filter_map(|path| std::fs::read_dir(path.parent()?).ok()).flatten().flatten();
            let of_it = files.filter(|file| file.file_name().to_str().is_some_and(is_of_it));
            let states = of_it.filter_map(|file| Some(Identity::of(&file.metadata().ok()?)));
            // The order in which a folder is listed must not count.
            states.fold(1, |sum: u64, Identity { ino, size, mtime_ns, .. }| {
                sum.wrapping_add((ino ^ size.rotate_left(32) ^ mtime_ns.cast_unsigned()).wrapping_mul(MIX))
            })
        })
        .await
    }

    /// What the cache has to say to the user.
    pub(crate) fn take_remarks(&self) -> Vec<String> {
        self.store.cache.take_remarks()
    }

    /// Lands a file in Xet whose every chunk is proven. With `named_first` it has its name, which is told there, before it is durable.
    pub(crate) async fn land_xet(
        &self,
        repo: &RepoId,
        commit: &str,
        entry: &TreeEntry,
        partial: Partial,
        named_first: Option<oneshot::Sender<PathBuf>>,
        publish: impl FnOnce(&StoreHandles, &Path) + Send + 'static,
    ) -> Result<PathBuf, PullError> {
        let (repo, commit, entry) = (repo.clone(), commit.to_owned(), entry.clone());
        let landed = self.blocking(move |store, local| {
            let (finished, data) = match &named_first {
                Some(_) => partial.finish_at_once().map(|(finished, data)| (finished, Some(data)))?,
                None => (partial.finish()?, None),
            };
            let before = std::fs::metadata(finished.path()).ok().map(|meta| Identity::of(&meta));
            // What was fetched is proven; what may have come to stand in its place meanwhile is not.
            let path = match local {
                Some(local) => local.land_xet(&commit, &entry, finished)?,
                None => store.cache.land_xet(&repo, &commit, &entry, finished, true)?,
            };
            if let Some(told) = named_first {
                // Who does not wait any more need not hear it.
                let _gone = told.send(path.clone());
            }
            if let Some(data) = data {
                data.sync_data().map_err(|source| StoreError::from_io("flush", &path, source, 0))?;
            }
            if note_proven(store, &path, before.as_ref(), &entry) {
                publish(store, &path);
            }
            Ok::<_, StoreError>(path)
        });
        Ok(landed.await??)
    }
}

/// Copies a file into the local folder; `false` if it is not what the Hub named.
fn copy(
    store: &StoreHandles,
    local: &LocalDir,
    commit: &str,
    entry: &TreeEntry,
    source: &Path,
) -> Result<bool, StoreError> {
    match local.copy_from(commit, entry, source) {
        Ok(path) => {
            note_proven(store, &path, None, entry);
            Ok(true)
        }
        Err(StoreError::WrongSize { .. } | StoreError::WrongContent { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Notes that what landed at `path` is proven, if it still is the file whose state was `before` (a rename changes one of its
/// times). Says whether it is.
fn note_proven(store: &StoreHandles, path: &Path, before: Option<&Identity>, entry: &TreeEntry) -> bool {
    let Ok(meta) = std::fs::metadata(path) else { return false };
    let now = Identity::of(&meta);
    let is_it = before.is_none_or(|before| now.is_but_for_attributes(before));
    if is_it {
        store.catalog.note_proven(&now, entry);
    }
    is_it
}
