//! Which copies may be given to others: those that lie where the user said. A catalog knows files of all caches that zest
//! ever used on this machine; without a word about one of them nothing of it is shared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Catalog;
use super::places::Copy;

/// Folders whose files are shared.
#[derive(Debug, Default)]
pub(super) struct Folders {
    /// Links followed.
    roots: Vec<PathBuf>,
    /// Files that links in a cache lead to although they lie elsewhere, by that cache.
    reached: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    /// Files that this process has put there itself.
    landed: BTreeSet<PathBuf>,
    /// Whether the caches of the original, beside the catalog, are among them.
    pub(super) originals: bool,
    /// Nothing at all is shared, also of what this process lands.
    closed: bool,
}

impl Folders {
    pub(super) fn has(&self, copy: &Copy) -> bool {
        self.has_path(&copy.path)
    }

    fn has_path(&self, path: &Path) -> bool {
        !self.closed
            && (self.is_below(path)
                || self.landed.contains(path)
                || self.reached.values().any(|files| files.contains(path)))
    }

    fn is_below(&self, path: &Path) -> bool {
        self.roots.iter().any(|root| path.starts_with(root))
    }
}

/// A folder with its links followed; one that is not there yet as it is named.
fn real(folder: &Path) -> PathBuf {
    folder.canonicalize().or_else(|_| std::path::absolute(folder)).unwrap_or_else(|_| folder.to_path_buf())
}

impl Catalog {
    /// From now on only files below these folders are shared, and what this process lands; with `originals` also what the
    /// original zest keeps beside this catalog. Without such a word all that the catalog knows may be.
    pub fn share_below(&self, folders: &[PathBuf], originals: bool) {
        let roots = folders.iter().map(|folder| real(folder)).collect();
        self.share(Folders { roots, originals, ..Folders::default() });
    }

    /// From now on nothing is shared.
    pub fn share_nothing(&self) {
        self.share(Folders { closed: true, ..Folders::default() });
    }

    fn share(&self, folders: Folders) {
        let mut inner = self.write();
        // What this process has put there stays its own.
        let landed = inner.folders.take().map(|before| before.landed).unwrap_or_default();
        inner.folders = Some(Folders { landed, ..folders });
        inner.judge_all();
    }

    /// A cache was walked through: files that its links lead to belong to it, wherever they lie.
    pub(super) fn note_reached<'a>(&self, cache: &Path, files: impl Iterator<Item = &'a PathBuf>) {
        let cache = real(cache);
        let mut inner = self.write();
        let Some(folders) = inner.folders.as_mut().filter(|folders| folders.roots.contains(&cache)) else {
            return;
        };
        let outside: BTreeSet<PathBuf> = files.filter(|path| !folders.is_below(path)).cloned().collect();
        if folders.reached.get(&cache).map_or(!outside.is_empty(), |known| *known != outside) {
            folders.reached.insert(cache, outside);
            inner.judge_all();
        }
    }

    /// A file was landed by this process.
    pub(super) fn note_landed(&self, path: &Path) {
        if let Some(folders) = self.write().folders.as_mut().filter(|folders| !folders.is_below(path)) {
            folders.landed.insert(path.to_path_buf());
        }
    }

    /// Whether a copy may be given to others.
    pub(super) fn shares(&self, copy: &Copy) -> bool {
        self.read().folders.as_ref().is_none_or(|folders| folders.has(copy))
    }

    /// The same of a file, with its links followed.
    pub(super) fn shares_path(&self, path: &Path) -> bool {
        self.read().folders.as_ref().is_none_or(|folders| folders.has_path(path))
    }

    /// Whether the original's caches may be given from.
    pub(super) fn shares_originals(&self) -> bool {
        self.read().folders.as_ref().is_none_or(|folders| folders.originals)
    }
}
