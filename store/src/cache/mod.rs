//! The HF cache as huggingface_hub 2.4 lays it out, so that its tools and ours find each other's files.
//!
//! ```text
//! CACHEDIR.TAG                               .locks/<repo>/<etag>.lock        flock, 0664, stays
//! blobs/.huggingface-shared-blobs            marks the store shared by all repositories
//! blobs/8e/<xet hash>                        the file, 0444
//! blobs/8e/<xet hash>.refs, .lock            one line per user; flock; both 0666
//! <repo>/refs/<revision>                     40 hex digits
//! <repo>/trees/<commit>.json                 what the Hub said about the files
//! <repo>/blobs/<etag>                        a small file, or a link into the store
//! <repo>/snapshots/<commit>/<path>           a link to the blob
//! ```
//!
//! Variants: without the shared store the file is `<repo>/blobs/<etag>`; without symlinks it is
//! `<repo>/snapshots/<commit>/<path>` itself.
//!
//! Looking never writes. Whoever writes first creates what is missing; nothing is written when nothing
//! changes, so a read-only cache works as long as everything is there. What stands in a file's place is never
//! lost: a directory is reported, a file of the wrong size is moved aside (`….displaced` among the blobs).

mod land;
mod plain;
mod scan;
mod shared;
mod usage;

use crate::limits::{REF_BYTES_MAX, REMARKS_MAX, TREE_BYTES_MAX};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

pub use self::scan::{PartialFile, SnapshotFile, StoredBlob};
pub(crate) use self::scan::{partials_in, walk};
use self::shared::SharedStore;
pub use self::usage::{Removed, RepoUsage, RevisionUsage, Unfinished};
use crate::error::{Context as _, StoreError};
use crate::lock::FileLock;
use crate::names::{RepoId, check_commit, check_revision, is_commit};
use crate::os;
use crate::tree::{TreeEntry, format_tree, parse_tree};

/// The tag that tells backup programs to pass over the cache, as huggingface_hub writes it.
pub(crate) const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This file is a cache directory tag created by huggingface_hub.\n\
    # For information about cache directory tags, see:\n\
    #\thttps://bford.info/cachedir/\n";

/// Mode of lock files in `.locks`: group-writable, whatever the umask (huggingface_hub).
pub(crate) const LOCK_MODE: u32 = 0o664;

/// Which variant of the layout to write. Reading understands all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheOptions {
    /// Keep Xet files once for all repositories (`HF_HUB_DISABLE_SHARED_BLOBS` not set).
    pub shared_blobs: bool,
    /// Link instead of moving (`HF_HUB_DISABLE_SYMLINKS` not set). Where links do not work, files are moved
    /// anyway.
    pub symlinks: bool,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { shared_blobs: true, symlinks: true }
    }
}

/// What is there of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// A file of the right size stands where readers look; here is its path.
    Complete(PathBuf),
    /// Its blob is there with the right size, only the link is missing: call `link`.
    Linkable,
    /// To be fetched.
    Missing,
}

/// One cache folder. Cheap, without open files; shared between threads by reference.
#[derive(Debug)]
pub struct HfCache {
    root: PathBuf,
    options: CacheOptions,
    /// Whether links work here, found out before the first one is made.
    symlinks: OnceLock<bool>,
    /// What the user should hear of: see [`HfCache::take_remarks`].
    remarks: Mutex<Vec<String>>,
}

impl HfCache {
    /// A cache at `root`, which need not exist yet. Nothing is created.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if `root` is not a directory, [`StoreError::Io`] if the current directory is
    /// unknown.
    pub fn open(root: &Path, options: CacheOptions) -> Result<Self, StoreError> {
        let root = std::path::absolute(root).at("resolve", root)?;
        match fs::metadata(&root) {
            Ok(meta) if !meta.is_dir() => Err(StoreError::Foreign {
                path: root,
                found: "not a directory",
                expected: "a cache directory",
            }),
            Err(_) if fs::symlink_metadata(&root).is_ok_and(|meta| meta.is_symlink()) => {
                let (found, expected) = ("a link that leads nowhere", "a cache directory");
                Err(StoreError::Foreign { path: root, found, expected })
            }
            _ => Ok(Self { root, options, symlinks: OnceLock::new(), remarks: Mutex::default() }),
        }
    }

    /// What changed the outcome since it was last asked: locks that others keep, things that were moved aside. Sentences for
    /// people.
    #[must_use]
    pub fn take_remarks(&self) -> Vec<String> {
        std::mem::take(&mut *self.remarks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn remark(&self, text: String) {
        tracing::info!("{text}");
        let mut remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        if remarks.len() < REMARKS_MAX {
            remarks.push(text);
        }
    }

    /// Which variant of the layout it writes.
    #[must_use]
    pub fn options(&self) -> CacheOptions {
        self.options
    }

    /// The cache's root, absolute.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The commit a revision stood for when it was last fetched; a commit stands for itself.
    #[must_use]
    pub fn resolve_ref(&self, repo: &RepoId, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        check_revision(revision).ok()?;
        let mut text = String::new();
        let file = fs::File::open(self.repo_dir(repo).join("refs").join(revision)).ok()?;
        file.take(REF_BYTES_MAX).read_to_string(&mut text).ok()?;
        let commit = text.trim();
        is_commit(commit).then(|| commit.to_owned())
    }

    /// Notes what a revision stands for. Writes nothing for a commit, or if it is noted already.
    ///
    /// Call it when the snapshot's folder exists, as scans take a ref without a snapshot for damage.
    ///
    /// # Errors
    /// A name that is no revision or commit; the system's.
    pub fn write_ref(&self, repo: &RepoId, revision: &str, commit: &str) -> Result<(), StoreError> {
        check_commit(commit)?;
        if revision == commit {
            return Ok(());
        }
        check_revision(revision)?;
        if self.resolve_ref(repo, revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.repo_dir(repo).join("refs").join(revision);
        self.clear_way_of_ref(repo, revision)?;
        let dir = path.parent().expect("a ref lies in a folder");
        fs::create_dir_all(dir).at("create directory", dir)?;
        // Not beside the ref: scans would take a leftover for one.
        let temp = self.repo_dir(repo).join(format!(".ref.{}.tmp", os::random_hex()));
        let write = || {
            fs::write(&temp, commit)?;
            fs::rename(&temp, &path)
        };
        write().inspect_err(|_| drop(fs::remove_file(&temp))).at("write ref", &path)
    }

    /// A branch `main/x` leaves a folder where the branch `main` belongs, and the other way round. They cannot both be at once, so
    /// what is in the way is of the past; it is moved out of `refs`, where no scan looks.
    fn clear_way_of_ref(&self, repo: &RepoId, revision: &str) -> Result<(), StoreError> {
        let refs = self.repo_dir(repo).join("refs");
        let parts: Vec<&str> = revision.split('/').collect();
        for depth in 1..=parts.len() {
            let path = refs.join(parts[..depth].join("/"));
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            let last = depth == parts.len();
            if (last && meta.is_dir()) || (!last && !path.is_dir()) {
                let to = self.repo_dir(repo).join(format!(".refs.{}.displaced", os::random_hex()));
                fs::rename(&path, &to).at("move aside", &path)?;
                self.remark(format!(
                    "{} stood in the way of a ref: moved to {}",
                    path.display(),
                    to.display()
                ));
            }
        }
        Ok(())
    }

    /// The tree of a commit as it was fetched earlier; `None` if it was not, or cannot be trusted to be whole.
    #[must_use]
    pub fn read_tree(&self, repo: &RepoId, commit: &str) -> Option<Vec<TreeEntry>> {
        check_commit(commit).ok()?;
        read_tree_file(&self.repo_dir(repo), commit)
    }

    /// Keeps the tree of a commit. Writes nothing if the same tree is there already.
    ///
    /// # Errors
    /// Unsafe names; the system's.
    pub fn write_tree(&self, repo: &RepoId, commit: &str, entries: &[TreeEntry]) -> Result<(), StoreError> {
        if write_tree_file(&self.repo_dir(repo), commit, entries)? {
            self.tag();
        }
        Ok(())
    }

    /// Where the files of a commit are.
    #[must_use]
    pub fn snapshot_dir(&self, repo: &RepoId, commit: &str) -> PathBuf {
        self.repo_dir(repo).join("snapshots").join(commit)
    }

    /// What is there of a file. Judged by type and size; content is for [`crate::Catalog::prove`] and
    /// [`crate::verify_cache`].
    #[must_use]
    pub fn presence(&self, repo: &RepoId, commit: &str, entry: &TreeEntry) -> Presence {
        self.found(repo, commit, entry).map_or(Presence::Missing, |(presence, _)| presence)
    }

    /// What is there of a file, judged by type and size, and the file on whose bytes that stands. `None`: nothing.
    #[must_use]
    pub fn found(&self, repo: &RepoId, commit: &str, entry: &TreeEntry) -> Option<(Presence, PathBuf)> {
        let names = self.names(repo, commit, entry).ok()?;
        let size = entry.content_size();
        let pointer = self.root.join(&names.pointer);
        if is_file_of(&pointer, size) {
            return Some((Presence::Complete(pointer.clone()), pointer));
        }
        let blob = self.root.join(&names.blob);
        if is_file_of(&blob, size) {
            return Some((Presence::Linkable, blob));
        }
        let (store, hash) = (self.shared_store()?, entry.xet_hash?);
        (store.is_marked() && store.holds(&hash, size)).then(|| (Presence::Linkable, store.blob(&hash)))
    }

    /// Where a file's bytes will be: in the shared store, or among the repository's blobs. (Without symlinks
    /// they end in the snapshot itself.)
    #[must_use]
    pub fn final_blob_path(&self, repo: &RepoId, entry: &TreeEntry) -> PathBuf {
        match (self.shared_store(), entry.xet_hash) {
            (Some(store), Some(hash)) => store.blob(&hash),
            _ => self.repo_dir(repo).join("blobs").join(entry.etag()),
        }
    }

    /// Where the repository itself has a file's bytes, or a link to them.
    #[must_use]
    pub fn blob_path(&self, repo: &RepoId, entry: &TreeEntry) -> PathBuf {
        self.repo_dir(repo).join("blobs").join(entry.etag())
    }

    /// Tries to take the lock under which huggingface_hub downloads this blob. Hold it while fetching.
    ///
    /// `Ok(None)`: another process has it. Wait, look at [`HfCache::presence`] again, then try again.
    ///
    /// # Errors
    /// Unsafe names; a lock file that is no file. Where none can be made, the lock is not [real](FileLock::is_real).
    pub fn try_lock(&self, repo: &RepoId, entry: &TreeEntry) -> Result<Option<FileLock>, StoreError> {
        let path = self.lock_path(repo, entry)?;
        FileLock::try_acquire(&path, LOCK_MODE).at("lock", &path)
    }

    /// As [`HfCache::try_lock`], but blocks the thread until the lock is free.
    ///
    /// # Errors
    /// As [`HfCache::try_lock`].
    pub fn lock(&self, repo: &RepoId, entry: &TreeEntry) -> Result<FileLock, StoreError> {
        let path = self.lock_path(repo, entry)?;
        FileLock::acquire(&path, LOCK_MODE).at("lock", &path)
    }

    /// Who has that lock, as far as the system tells.
    #[must_use]
    pub fn lock_holder(&self, repo: &RepoId, entry: &TreeEntry) -> Option<String> {
        FileLock::holder(&self.lock_path(repo, entry).ok()?)
    }

    /// Every user of a cache may write to the lists of who uses a shared blob, and the collector removes what nobody uses: puts
    /// this repository's line back if it is gone. Best effort.
    pub fn keep_ref(&self, repo: &RepoId, entry: &TreeEntry) {
        let (Some(store), Some(hash)) = (self.shared_store(), entry.xet_hash) else { return };
        let user = format!("{}/blobs/{}", repo.folder(), entry.etag());
        let target = os::relative_target(&user, &SharedStore::blob_name(&hash));
        let is_ours = fs::read_link(self.root.join(&user)).is_ok_and(|text| text == target);
        if !is_ours || store.has_ref(&hash, &user) {
            return;
        }
        match store.append_ref(&hash, &user) {
            Ok(()) => {
                self.remark(format!("{user} had been struck from the list of users of its blob: put back"))
            }
            Err(error) => tracing::debug!(%error, user, "could not put a user of a blob back"),
        }
    }

    fn lock_path(&self, repo: &RepoId, entry: &TreeEntry) -> Result<PathBuf, StoreError> {
        entry.check()?;
        Ok(self.root.join(".locks").join(repo.folder()).join(format!("{}.lock", entry.etag())))
    }

    pub(crate) fn repo_dir(&self, repo: &RepoId) -> PathBuf {
        self.root.join(repo.folder())
    }

    /// The shared store, if this cache is to use it. (Whether links work is known only once something was
    /// written.)
    fn shared_store(&self) -> Option<SharedStore<'_>> {
        let links = self.options.symlinks && self.symlinks.get() != Some(&false);
        (self.options.shared_blobs && links).then(|| SharedStore::new(&self.root))
    }

    /// Whether links can be made; tried out once, in a folder that no scan looks into.
    fn symlinks_work(&self) -> bool {
        self.options.symlinks
            && *self.symlinks.get_or_init(|| {
                let dir = self.root.join(".locks");
                let link = dir.join(format!(".probe.{}", os::random_hex()));
                if fs::create_dir_all(&dir).is_err() {
                    // The real attempt will give the real error.
                    return true;
                }
                let made = os::symlink(Path::new("target"), &link);
                let _ = fs::remove_file(&link);
                !made.is_err_and(|error| os::is_unsupported(&error))
            })
    }

    /// Marks the root for backup programs. Best effort, as in huggingface_hub.
    fn tag(&self) {
        write_tag(&self.root);
    }

    /// The file's names below the root, checked.
    fn names(&self, repo: &RepoId, commit: &str, entry: &TreeEntry) -> Result<Names, StoreError> {
        check_commit(commit)?;
        entry.check()?;
        let folder = repo.folder();
        Ok(Names {
            blobs: format!("{folder}/blobs"),
            blob: format!("{folder}/blobs/{}", entry.etag()),
            pointer: format!("{folder}/snapshots/{commit}/{}", entry.path),
        })
    }
}

/// Names of one file's places, relative to the root and `/`-separated.
struct Names {
    blobs: String,
    blob: String,
    pointer: String,
}

/// Whether `path` leads to a regular file of this size.
fn is_file_of(path: &Path, size: u64) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == size)
}

/// Writes `CACHEDIR.TAG` if it is not there. Best effort.
pub(crate) fn write_tag(dir: &Path) {
    let path = dir.join("CACHEDIR.TAG");
    if !path.exists()
        && let Err(error) = fs::write(&path, CACHEDIR_TAG)
    {
        tracing::debug!(path = %path.display(), %error, "could not write the cache directory tag");
    }
}

/// Reads `<dir>/trees/<commit>.json`.
pub(crate) fn read_tree_file(dir: &Path, commit: &str) -> Option<Vec<TreeEntry>> {
    let path = dir.join("trees").join(format!("{commit}.json"));
    let mut json = Vec::new();
    fs::File::open(&path).ok()?.take(TREE_BYTES_MAX).read_to_end(&mut json).ok()?;
    let entries = parse_tree(&json);
    if entries.is_none() {
        let path = path.display();
        tracing::warn!(target: crate::SAID, kind = "damaged", "{path} is damaged or of an unknown format: the Hub is asked for that list");
    }
    entries
}

/// Writes `<dir>/trees/<commit>.json`; says whether it had to.
pub(crate) fn write_tree_file(dir: &Path, commit: &str, entries: &[TreeEntry]) -> Result<bool, StoreError> {
    check_commit(commit)?;
    for entry in entries {
        entry.check()?;
    }
    let trees = dir.join("trees");
    let path = trees.join(format!("{commit}.json"));
    let json = format_tree(entries);
    if fs::read(&path).is_ok_and(|old| old == json.as_bytes()) {
        return Ok(false);
    }
    fs::create_dir_all(&trees).at("create directory", &trees)?;
    os::write_atomically(&path, ".tmp", 0o600, json.as_bytes()).at("write tree", &path)?;
    Ok(true)
}
