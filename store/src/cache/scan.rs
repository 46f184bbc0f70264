//! Walking through a cache: snapshots with what is known about their files, shared blobs, partial files.

use crate::limits::DEPTH_MAX;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use zest_xet::Hash;

use super::HfCache;
use crate::names::{RepoId, is_commit, is_hex};
use crate::os;
use crate::partial::{DATA_SUFFIX, JOURNAL_SUFFIX, came_bytes};
use crate::tree::TreeEntry;

/// A file of a snapshot: what the Hub said about it, and where it is (or would be).
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    /// Repository.
    pub repo: RepoId,
    /// Commit.
    pub commit: String,
    /// From the commit's tree file; without one put together from the links' names, as far as these tell.
    pub entry: TreeEntry,
    /// Path in the snapshot.
    pub path: PathBuf,
    /// Whether `entry` is from a tree file.
    pub from_tree: bool,
}

/// A file of the shared store.
#[derive(Debug, Clone)]
pub struct StoredBlob {
    /// The xet hash that names it.
    pub hash: Hash,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

/// What an interrupted pull left: resumable data, or a journal whose data has landed.
#[derive(Debug, Clone)]
pub struct PartialFile {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes of content that have come; none for a journal.
    pub came_bytes: u64,
    /// Bytes it takes on disk: room for all of it is set aside at the beginning.
    pub occupied_bytes: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

impl HfCache {
    /// Repositories in the cache, by folder name.
    #[must_use]
    pub fn repos(&self) -> Vec<RepoId> {
        names(&self.root).iter().filter_map(|name| RepoId::from_folder(name)).collect()
    }

    /// Commits of a repository that have a snapshot.
    #[must_use]
    pub fn commits(&self, repo: &RepoId) -> Vec<String> {
        let mut commits = names(&self.repo_dir(repo).join("snapshots"));
        commits.retain(|name| is_commit(name));
        commits
    }

    /// Every file of every snapshot: those in its tree file, whether they are there or not; without a tree
    /// file those that are there.
    #[must_use]
    pub fn snapshot_files(&self) -> Vec<SnapshotFile> {
        let mut files = Vec::new();
        for repo in self.repos() {
            for commit in self.commits(&repo) {
                self.add_snapshot(&repo, &commit, &mut files);
            }
        }
        files
    }

    /// As [`HfCache::snapshot_files`], for one snapshot.
    #[must_use]
    pub fn snapshot(&self, repo: &RepoId, commit: &str) -> Vec<SnapshotFile> {
        let mut files = Vec::new();
        self.add_snapshot(repo, commit, &mut files);
        files
    }

    fn add_snapshot(&self, repo: &RepoId, commit: &str, files: &mut Vec<SnapshotFile>) {
        let dir = self.snapshot_dir(repo, commit);
        let file = |entry: TreeEntry, path, from_tree| SnapshotFile {
            repo: repo.clone(),
            commit: commit.to_owned(),
            entry,
            path,
            from_tree,
        };
        if let Some(tree) = self.read_tree(repo, commit) {
            files.extend(tree.into_iter().map(|entry| {
                let path = dir.join(&entry.path);
                file(entry, path, true)
            }));
            return;
        }
        walk(&dir, String::new(), 0, &mut |name, path| {
            if let Some(entry) = entry_from_links(name, path) {
                files.push(file(entry, path.to_path_buf(), false));
            }
        });
    }

    /// The files of a snapshot whose listing is not here, as an older client or a copy left them: links by what they lead to,
    /// also where that is gone, other files by their size alone. Without a hash they are not [named](TreeEntry::is_named).
    #[must_use]
    pub fn snapshot_as_found(&self, repo: &RepoId, commit: &str) -> Vec<TreeEntry> {
        let mut entries = Vec::new();
        if is_commit(commit) {
            walk(&self.snapshot_dir(repo, commit), String::new(), 0, &mut |name, path| {
                let size = fs::metadata(path).map_or(0, |meta| meta.len());
                let unnamed = || {
                    let blob_id = "0".repeat(40);
                    TreeEntry {
                        path: name.to_owned(),
                        size,
                        blob_id,
                        lfs_sha256: None,
                        lfs_size: None,
                        xet_hash: None,
                    }
                };
                entries.push(entry_of_link(name, path, size).unwrap_or_else(unnamed));
            });
        }
        entries.retain(|entry| entry.check().is_ok());
        entries
    }

    /// The files of the shared store, if there is one.
    #[must_use]
    pub fn stored_blobs(&self) -> Vec<StoredBlob> {
        let Some(store) = self.shared_store().filter(super::SharedStore::is_marked) else {
            return Vec::new();
        };
        let mut blobs = Vec::new();
        for prefix in prefixes(&store.dir()) {
            let dir = store.dir().join(&prefix);
            for name in names(&dir) {
                let path = dir.join(&name);
                if let Ok(hash) = name.parse()
                    && is_hex(&name, 64)
                    && name.starts_with(&prefix)
                    && let Ok(meta) = fs::symlink_metadata(&path)
                    && meta.is_file()
                {
                    blobs.push(StoredBlob { hash, path, size: meta.len() });
                }
            }
        }
        blobs
    }

    /// What interrupted pulls left, for a status line or for cleaning up. A running pull's files are among
    /// them.
    #[must_use]
    pub fn partials(&self) -> Vec<PartialFile> {
        let repos = self.repos().into_iter().map(|repo| self.repo_dir(&repo).join("blobs"));
        let store = self.root.join("blobs");
        let prefixes = prefixes(&store).into_iter().map(|prefix| store.join(prefix));
        repos.chain(prefixes).flat_map(|dir| partials_in(&dir)).collect()
    }
}

/// What interrupted pulls left in a folder.
pub(crate) fn partials_in(dir: &Path) -> Vec<PartialFile> {
    let ours = names(dir).into_iter().filter(|n| n.ends_with(DATA_SUFFIX) || n.ends_with(JOURNAL_SUFFIX));
    let partial = |name: String| {
        let path = dir.join(&name);
        let meta = fs::symlink_metadata(&path).ok()?;
        let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let (came_bytes, occupied_bytes) = (came(&path), os::occupied_bytes(&meta));
        Some(PartialFile { path, came_bytes, occupied_bytes, modified })
    };
    ours.filter_map(partial).collect()
}

/// Bytes of content in a file of our own that is not finished, as its journal says; none if it has none.
pub(super) fn came(data: &Path) -> u64 {
    let stem = data.to_str().and_then(|data| data.strip_suffix(DATA_SUFFIX));
    let journal = stem.map(|stem| format!("{stem}{JOURNAL_SUFFIX}"));
    journal.and_then(|journal| came_bytes(Path::new(&journal)).ok()).unwrap_or(0)
}

/// Names in a folder, sorted; empty if it cannot be read. Names that are not Unicode are none of ours.
pub(super) fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

fn prefixes(store: &Path) -> Vec<String> {
    let mut prefixes = names(store);
    prefixes.retain(|name| is_hex(name, 2));
    prefixes
}

/// Calls `each` for every file below `dir` with its `/`-separated name. Links to folders are not followed.
pub(crate) fn walk(dir: &Path, below: String, depth: usize, each: &mut dyn FnMut(&str, &Path)) {
    for name in names(dir) {
        let path = dir.join(&name);
        let name = if below.is_empty() { name } else { format!("{below}/{name}") };
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() && depth < DEPTH_MAX => walk(&path, name, depth + 1, each),
            Ok(meta) if !meta.is_dir() => each(&name, &path),
            _ => {}
        }
    }
}

/// What the names of a snapshot's link and of its blob's link say about a file: git id or sha256, and the xet
/// hash.
fn entry_from_links(name: &str, path: &Path) -> Option<TreeEntry> {
    entry_of_link(name, path, fs::metadata(path).ok()?.len())
}

fn entry_of_link(name: &str, path: &Path, size: u64) -> Option<TreeEntry> {
    let blob = fs::read_link(path).ok()?;
    let etag = blob.file_name()?.to_str()?.to_owned();
    let blob = path.parent()?.join(blob);
    let shared = fs::read_link(&blob).ok();
    let xet_hash = shared.as_ref().and_then(|target| target.file_name()?.to_str()?.parse().ok());
    let lfs = is_hex(&etag, 64);
    let entry = TreeEntry {
        path: name.to_owned(),
        size,
        // The pointer file's git id is not to be had from links.
        blob_id: if lfs { "0".repeat(40) } else { etag.clone() },
        lfs_size: lfs.then_some(size),
        lfs_sha256: lfs.then_some(etag),
        xet_hash,
    };
    entry.check().ok()?;
    Some(entry)
}
