//! What a cache takes on disk, and taking some of it away again: repositories, revisions, what nothing leads to any more.
//!
//! Order of a removal, so that whoever is cut off in the middle leaves a cache that holds: names that lead to a snapshot, its links,
//! the files that no other snapshot leads to, blobs of the shared store that nobody else uses. Files under a lock that somebody
//! holds stay.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::scan::{PartialFile, came, names, walk};
use super::{HfCache, LOCK_MODE};
use crate::error::{Context as _, StoreError};
use crate::lock::FileLock;
use crate::names::{RepoId, is_commit};
use crate::os::{self, Identity};
use crate::partial::{DATA_SUFFIX, JOURNAL_SUFFIX};

/// What huggingface_hub calls a file that it has not finished.
const INCOMPLETE_SUFFIX: &str = ".incomplete";

/// A snapshot of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionUsage {
    /// Its commit.
    pub commit: String,
    /// Branches and tags that stand for it.
    pub refs: Vec<String>,
    /// Files that are there.
    pub files: u64,
    /// Bytes of these, each file once.
    pub bytes: u64,
    /// When a file of it was last put there.
    pub modified: SystemTime,
}

/// A repository in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoUsage {
    /// Which.
    pub repo: RepoId,
    /// Its snapshots, by commit.
    pub revisions: Vec<RevisionUsage>,
    /// Bytes of all of them, each file once.
    pub bytes: u64,
    /// When a file of it was last read, as far as the file system notes that.
    pub accessed: SystemTime,
    /// What interrupted pulls left.
    pub unfinished: Unfinished,
}

/// Of files that are not finished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Bytes of content that have come.
    pub came: u64,
    /// Bytes on disk: room for a whole file is set aside when its pull begins.
    pub on_disk: u64,
}

impl std::iter::Sum for Unfinished {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| Self { came: a.came + b.came, on_disk: a.on_disk + b.on_disk })
    }
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Snapshots.
    pub revisions: u64,
    /// Files, links not counted.
    pub files: u64,
    /// Bytes of disk that are free again: what another repository or snapshot still uses is not among them.
    pub bytes: u64,
    /// What stays although it was to go, in sentences.
    pub kept: Vec<String>,
}

impl Removed {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.revisions += other.revisions;
        self.files += other.files;
        self.bytes += other.bytes;
        self.kept.extend(other.kept);
    }
}

/// Which file on which device.
type Inode = (u64, u64);

impl HfCache {
    /// What each repository takes, in the order of their folders.
    #[must_use]
    pub fn usage(&self) -> Vec<RepoUsage> {
        self.repos().iter().map(|repo| self.usage_of(repo)).collect()
    }

    /// What interrupted pulls left in the store shared by all repositories: it is of no repository until it lands.
    #[must_use]
    pub fn unfinished_shared(&self) -> Unfinished {
        let of =
            |partial: &PartialFile| Unfinished { came: partial.came_bytes, on_disk: partial.occupied_bytes };
        self.shared_partials().iter().map(of).sum()
    }

    fn shared_partials(&self) -> Vec<PartialFile> {
        let store = self.root.join("blobs");
        self.partials().into_iter().filter(|partial| partial.path.starts_with(&store)).collect()
    }

    /// What one repository takes.
    #[must_use]
    pub fn usage_of(&self, repo: &RepoId) -> RepoUsage {
        let refs = self.refs(repo);
        let mut all: BTreeSet<Inode> = BTreeSet::new();
        let (mut bytes, mut accessed) = (0, SystemTime::UNIX_EPOCH);
        let revisions = self
            .commits(repo)
            .into_iter()
            .map(|commit| {
                let mut own: BTreeSet<Inode> = BTreeSet::new();
                let dir = self.snapshot_dir(repo, &commit);
                let modified = fs::metadata(&dir).and_then(|meta| meta.modified());
                let mut revision = RevisionUsage {
                    refs: refs
                        .iter()
                        .filter(|(_, of)| **of == commit)
                        .map(|(name, _)| name.clone())
                        .collect(),
                    commit,
                    files: 0,
                    bytes: 0,
                    modified: modified.unwrap_or(SystemTime::UNIX_EPOCH),
                };
                walk(&dir, String::new(), 0, &mut |_, path| {
                    let Ok(meta) = fs::metadata(path) else { return };
                    revision.files += 1;
                    accessed = accessed.max(meta.accessed().unwrap_or(SystemTime::UNIX_EPOCH));
                    let put = fs::symlink_metadata(path).and_then(|link| link.modified());
                    revision.modified = revision.modified.max(put.unwrap_or(SystemTime::UNIX_EPOCH));
                    if own.insert(inode(&meta)) {
                        revision.bytes += meta.len();
                    }
                    if all.insert(inode(&meta)) {
                        bytes += meta.len();
                    }
                });
                revision
            })
            .collect();
        let blobs = self.repo_dir(repo).join("blobs");
        let unfinished = names(&blobs)
            .iter()
            .filter(|name| is_unfinished(name))
            .filter_map(|name| unfinished(&blobs.join(name)))
            .sum();
        RepoUsage { repo: repo.clone(), revisions, bytes, accessed, unfinished }
    }

    /// Branches and tags that are known, with the commits they stood for.
    #[must_use]
    pub fn refs(&self, repo: &RepoId) -> BTreeMap<String, String> {
        let mut refs = BTreeMap::new();
        walk(&self.repo_dir(repo).join("refs"), String::new(), 0, &mut |name, _| {
            if let Some(commit) = self.resolve_ref(repo, name) {
                refs.insert(name.to_owned(), commit);
            }
        });
        refs
    }

    /// Removes snapshots of a repository and what only they use; all of them and the repository is gone. With `dry` nothing is
    /// removed, and said what would be.
    ///
    /// # Errors
    /// The system's, with what was removed until then gone. Another process that fetches into this repository is no error: the
    /// files it has locked stay, and [`Removed::kept`] says so.
    pub fn remove(
        &self,
        repo: &RepoId,
        commits: &BTreeSet<String>,
        dry: bool,
    ) -> Result<Removed, StoreError> {
        let whole = self.commits(repo).iter().all(|commit| commits.contains(commit));
        self.take(repo, commits, whole, whole, dry)
    }

    /// Removes snapshots and the files that no other snapshot leads to; with `whole` all of the repository, with `unfinished` what
    /// interrupted pulls left, too.
    fn take(
        &self,
        repo: &RepoId,
        commits: &BTreeSet<String>,
        whole: bool,
        unfinished: bool,
        dry: bool,
    ) -> Result<Removed, StoreError> {
        let dir = self.repo_dir(repo);
        let mut removed = Removed::default();
        let (going, staying): (Vec<String>, Vec<String>) =
            self.commits(repo).into_iter().partition(|commit| commits.contains(commit));
        let locked = self.locked(repo);
        if !dry {
            for (name, commit) in self.refs(repo) {
                if whole || commits.contains(&commit) {
                    remove_file(&dir.join("refs").join(name))?;
                }
            }
        }
        let mut used = BTreeSet::new();
        for commit in &staying {
            walk(&self.snapshot_dir(repo, commit), String::new(), 0, &mut |_, path| {
                used.extend(blob_name(path))
            });
        }
        for commit in &going {
            let snapshot = self.snapshot_dir(repo, commit);
            // Without links the files themselves lie there.
            walk(&snapshot, String::new(), 0, &mut |_, path| {
                if let Ok(meta) = fs::symlink_metadata(path)
                    && meta.is_file()
                {
                    removed.count(&meta);
                }
            });
            removed.revisions += 1;
            if !dry {
                remove_dir_all(&snapshot)?;
                remove_file(&dir.join("trees").join(format!("{commit}.json")))?;
            }
        }
        self.remove_blobs(repo, &used, &locked, unfinished, dry, &mut removed)?;
        if whole && !dry && locked.is_empty() {
            // Whatever else lies there, `.no_exist` of other clients among it, speaks of files that are gone.
            remove_dir_all(&dir)?;
            remove_dir_all(&self.locks_dir(repo))?;
        }
        Ok(removed)
    }

    /// Removes what nothing leads to: snapshots that no branch or tag stands for, files that no snapshot leads to, what interrupted
    /// pulls left, blobs of the shared store that nobody uses.
    ///
    /// # Errors
    /// As [`HfCache::remove`].
    pub fn prune(&self, dry: bool) -> Result<Removed, StoreError> {
        let mut removed = Removed::default();
        for repo in self.repos() {
            let named: BTreeSet<String> = self.refs(&repo).into_values().collect();
            let (attached, detached): (Vec<String>, Vec<String>) =
                self.commits(&repo).into_iter().partition(|commit| named.contains(commit));
            let whole = attached.is_empty() && !detached.is_empty();
            removed.add(self.take(&repo, &detached.into_iter().collect(), whole, true, dry)?);
        }
        for blob in self.stored_blobs() {
            removed.collect(self, &blob.path, &BTreeSet::new(), dry)?;
        }
        for partial in self.shared_partials() {
            removed.unfinished(&partial.path, dry)?;
        }
        Ok(removed)
    }

    /// Removes the files of a repository that are not used, and those of the shared store that it alone used.
    fn remove_blobs(
        &self,
        repo: &RepoId,
        used: &BTreeSet<String>,
        locked: &BTreeSet<String>,
        unfinished: bool,
        dry: bool,
        removed: &mut Removed,
    ) -> Result<(), StoreError> {
        let blobs = self.repo_dir(repo).join("blobs");
        let (mut stored, mut links) = (BTreeSet::new(), BTreeSet::new());
        for name in names(&blobs).into_iter().filter(|name| !used.contains(name)) {
            let path = blobs.join(&name);
            let etag = name.split('.').next().unwrap_or_default();
            if locked.contains(etag) {
                let holder = FileLock::holder(&self.locks_dir(repo).join(format!("{etag}.lock")));
                let holder = holder.unwrap_or_else(|| "another process".to_owned());
                removed.kept.push(format!("{holder} is fetching {}", path.display()));
                continue;
            }
            if is_unfinished(&name) {
                if unfinished {
                    removed.unfinished(&path, dry)?;
                }
                continue;
            }
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            if meta.is_symlink() {
                stored.extend(fs::read_link(&path).ok().and_then(|to| lexical(&blobs, &to)));
                links.insert(path.clone());
            } else if meta.is_file() {
                removed.count(&meta);
            } else {
                continue;
            }
            if !dry {
                remove_file(&path)?;
            }
        }
        for blob in stored.into_iter().filter(|path| path.starts_with(self.root.join("blobs"))) {
            removed.collect(self, &blob, &links, dry)?;
        }
        Ok(())
    }

    /// Snapshots whose commits begin so: at least seven digits.
    #[must_use]
    pub fn find_commits(&self, beginning: &str) -> Vec<(RepoId, String)> {
        let hex = beginning.len() >= 7 && beginning.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !hex && !is_commit(beginning) {
            return Vec::new();
        }
        let repos = self.repos().into_iter();
        repos
            .flat_map(|repo| self.commits(&repo).into_iter().map(move |commit| (repo.clone(), commit)))
            .filter(|(_, commit)| commit.starts_with(beginning))
            .collect()
    }

    fn locks_dir(&self, repo: &RepoId) -> PathBuf {
        self.root.join(".locks").join(repo.folder())
    }

    /// Files of a repository (by etag) whose locks others hold.
    fn locked(&self, repo: &RepoId) -> BTreeSet<String> {
        let dir = self.locks_dir(repo);
        let held = |name: &str| matches!(FileLock::try_acquire(&dir.join(name), LOCK_MODE), Ok(None));
        names(&dir)
            .iter()
            .filter_map(|name| name.strip_suffix(".lock"))
            .filter(|etag| held(&format!("{etag}.lock")))
            .map(str::to_owned)
            .collect()
    }
}

impl Removed {
    fn count(&mut self, meta: &Metadata) {
        self.files += 1;
        // Another name for the same file keeps its bytes.
        if os::names(meta) <= 1 {
            self.bytes += meta.len();
        }
    }

    /// A blob of the shared store goes if its list says that nobody uses it, but for the links that are going.
    fn collect(
        &mut self,
        cache: &HfCache,
        blob: &Path,
        going: &BTreeSet<PathBuf>,
        dry: bool,
    ) -> Result<(), StoreError> {
        let Some(store) = cache.shared_store().filter(super::SharedStore::is_marked) else { return Ok(()) };
        let hash = blob.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let Some(hash) = hash.filter(|hash| store.blob(hash) == blob) else { return Ok(()) };
        let Ok(meta) = fs::symlink_metadata(blob) else { return Ok(()) };
        if !meta.is_file() {
            return Ok(());
        }
        let remark = |text| cache.remark(text);
        let Some(lock) = store.lock(&hash, &remark).at("lock", blob)? else {
            self.kept.push(format!("{}: another process holds it", blob.display()));
            return Ok(());
        };
        // A missing list is no reason to remove anything.
        let Some(users) = store.users(&hash) else { return Ok(()) };
        let leads_here = |user: &String| {
            let link = cache.root.join(user);
            let to = fs::read_link(&link).ok().and_then(|to| lexical(link.parent()?, &to));
            to.as_deref() == Some(blob) && !going.contains(&link)
        };
        if !users.iter().any(leads_here) {
            self.count(&meta);
            if !dry {
                remove_file(blob)?;
                store.forget_users(&hash);
            }
        }
        drop(lock);
        Ok(())
    }

    /// What an interrupted pull left goes, unless one is at it.
    fn unfinished(&mut self, path: &Path, dry: bool) -> Result<(), StoreError> {
        let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
        let journal = match path.to_str().and_then(|path| path.strip_suffix(DATA_SUFFIX)) {
            Some(stem) => PathBuf::from(format!("{stem}{JOURNAL_SUFFIX}")),
            None => path.to_owned(),
        };
        // Its lock is the lock of both.
        if let Ok(file) = File::open(&journal)
            && matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock))
        {
            let holder = FileLock::holder(&journal).unwrap_or_else(|| "another process".to_owned());
            self.kept.push(format!("{holder} is fetching {}", path.display()));
            return Ok(());
        }
        self.files += 1;
        self.bytes += os::occupied_bytes(&meta);
        if dry { Ok(()) } else { remove_file(path) }
    }
}

/// What has come of one file that is not finished. What huggingface_hub writes grows as it comes.
fn unfinished(path: &Path) -> Option<Unfinished> {
    let meta = fs::symlink_metadata(path).ok()?;
    let on_disk = os::occupied_bytes(&meta);
    let came = match path.to_str().is_some_and(|path| path.ends_with(INCOMPLETE_SUFFIX)) {
        true => meta.len().min(on_disk),
        false => came(path),
    };
    Some(Unfinished { came, on_disk })
}

fn is_unfinished(name: &str) -> bool {
    [DATA_SUFFIX, JOURNAL_SUFFIX, INCOMPLETE_SUFFIX].iter().any(|suffix| name.ends_with(suffix))
}

fn inode(meta: &Metadata) -> Inode {
    let Identity { dev, ino, .. } = Identity::of(meta);
    (dev, ino)
}

/// The blob that a snapshot's link leads to, by name.
fn blob_name(link: &Path) -> Option<String> {
    Some(fs::read_link(link).ok()?.file_name()?.to_str()?.to_owned())
}

/// Where a link in `dir` leads, by name alone: what it leads to may be gone.
fn lexical(dir: &Path, to: &Path) -> Option<PathBuf> {
    let mut path = dir.to_path_buf();
    for part in to.components() {
        match part {
            std::path::Component::ParentDir => {
                path.pop().then_some(())?;
            }
            std::path::Component::Normal(name) => path.push(name),
            std::path::Component::RootDir => path = PathBuf::from("/"),
            std::path::Component::CurDir | std::path::Component::Prefix(_) => {}
        }
    }
    Some(path)
}

fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    }
}

fn remove_dir_all(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    }
}
