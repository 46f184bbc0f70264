//! What is known about files: digests by path, the files that hold a content, and the layout of all contents in xorbs.
//!
//! All calls block and belong on a blocking thread.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zest_xet::{Hash, Manifest};

use super::cache::{Cache, KnownFile};
use super::digest::{Digest, digest, goes_to_xet};
use super::disk::{DiskFile, Identity};
use super::layout::{Layout, PlacedTerm, Xorb};
use super::root::FoundFile;
use super::stats::{Counters, count};

/// Bytes digested between two saves of what is known, so that a hub that is stopped while it indexes a large root loses little: 1 GiB.
const SAVE_EVERY_BYTES: u64 = 1 << 30;

/// Rounds of forgetting dead homes before a reconstruction gives up: 8. Each round removes at least one vanished content, so more
/// are needed only while files keep changing.
const RELAY_ROUNDS_MAX: usize = 8;

/// Digests, contents and xorbs of a hub.
#[derive(Debug)]
pub(crate) struct Index {
    root: PathBuf,
    cache: Cache,
    counters: Arc<Counters>,
    files: Mutex<Files>,
    xorbs: Mutex<Xorbs>,
    /// Held while digesting, so that two revisions do not compete for the disk and find each other's results.
    digesting: Mutex<()>,
}

#[derive(Debug, Default)]
struct Files {
    /// By canonical path and by whether the file goes to Xet: two links may give one file two names with different rules.
    digests: HashMap<(PathBuf, bool), (Identity, Digest)>,
    /// The files known to hold a content in Xet.
    sources: HashMap<Hash, Vec<DiskFile>>,
}

impl Files {
    fn remove(&mut self, path: &Path, is_xet: bool) {
        let Some((_, digest)) = self.digests.remove(&(path.to_path_buf(), is_xet)) else { return };
        let Some(content) = digest.xet() else { return };
        if let Some(sources) = self.sources.get_mut(&content) {
            sources.retain(|source| source.path != path);
            if sources.is_empty() {
                self.sources.remove(&content);
            }
        }
    }
}

/// The layout, and what waits until the order of an earlier run has been replayed: the same order gives the same xorbs.
#[derive(Debug, Default)]
struct Xorbs {
    layout: Layout,
    replayed: bool,
    waiting: Vec<Arc<Manifest>>,
}

impl Index {
    pub(crate) fn new(root: PathBuf, cache: Cache, counters: Arc<Counters>) -> Self {
        Self {
            root,
            cache,
            counters,
            files: Mutex::default(),
            xorbs: Mutex::default(),
            digesting: Mutex::default(),
        }
    }

    /// Takes over what an earlier run knew about a revision.
    pub(crate) fn load(&self, revision: &str) {
        for known in self.cache.load_listing(revision) {
            let path = self.root.join(&known.path);
            let key = (path, known.digest.xet().is_some());
            let is_new = !self.lock_files().digests.contains_key(&key);
            if is_new {
                let (path, _) = key;
                self.learn(&DiskFile { path, identity: known.identity }, known.digest);
            }
        }
    }

    /// Lays out the contents of an earlier run in the order of that run, then those that came meanwhile.
    pub(crate) fn replay(&self) {
        let order = self.cache.load_order();
        let manifests: Vec<Arc<Manifest>> = order
            .iter()
            .filter_map(|content| self.cache.load_manifest(content, self.source(content)?.identity.size))
            .collect();
        let mut xorbs = self.lock_xorbs();
        for manifest in &manifests {
            xorbs.layout.add(manifest);
        }
        xorbs.replayed = true;
        let waiting = std::mem::take(&mut xorbs.waiting);
        if manifests.len() < order.len() {
            let live: Vec<Hash> = manifests.iter().map(|manifest| manifest.file()).collect();
            self.cache.save_order(&live);
        }
        for manifest in waiting {
            self.lay_out(&mut xorbs, &manifest);
        }
    }

    /// The digests of `found`, in order; `None` for files that could not be read. Files not known yet are digested on all cores.
    pub(crate) fn digests(&self, revision: &str, found: &[FoundFile]) -> Vec<Option<Digest>> {
        if found.iter().all(|file| self.known(file).is_some()) {
            return found.iter().map(|file| self.known(file)).collect();
        }
        let _turn = self.digesting.lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<&FoundFile> = found.iter().filter(|file| self.known(file).is_none()).collect();
        let manifests = self.digest_all(revision, found, &missing);
        let mut xorbs = self.lock_xorbs();
        // In path order, whichever core was faster: the layout depends on it.
        for manifest in manifests.into_iter().flatten() {
            self.lay_out(&mut xorbs, &manifest);
        }
        drop(xorbs);
        self.save(revision, found);
        found.iter().map(|file| self.known(file)).collect()
    }

    fn digest_all(
        &self,
        revision: &str,
        found: &[FoundFile],
        missing: &[&FoundFile],
    ) -> Vec<Option<Arc<Manifest>>> {
        let next = AtomicUsize::new(0);
        let unsaved = Mutex::new(0u64);
        let results: Vec<Mutex<Option<Arc<Manifest>>>> = missing.iter().map(|_| Mutex::new(None)).collect();
        let work = || {
            while let Some((file, slot)) = {
                let i = next.fetch_add(1, Relaxed);
                missing.get(i).zip(results.get(i))
            } {
                let size = file.disk.identity.size;
                let (found_digest, manifest) = match digest(&file.disk, goes_to_xet(&file.path, size)) {
                    Ok(result) => result,
                    Err(error) => {
                        let path = file.disk.path.display();
                        tracing::warn!(target: zest_store::SAID, kind = "left-out", "left out {path}: {error}");
                        continue;
                    }
                };
                if let Some(manifest) = &manifest {
                    self.cache.save_manifest(manifest);
                }
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = manifest;
                self.learn(&file.disk, found_digest);
                count(&self.counters.indexed_files, 1);
                count(&self.counters.indexed_bytes, size);
                let mut unsaved = unsaved.lock().unwrap_or_else(PoisonError::into_inner);
                *unsaved += size;
                if *unsaved >= SAVE_EVERY_BYTES {
                    *unsaved = 0;
                    self.save(revision, found);
                }
            }
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 1..cores.min(missing.len()) {
                scope.spawn(work);
            }
            work();
        });
        results.into_iter().map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
    }

    /// The digest of a file, if the file is the one that was digested.
    fn known(&self, file: &FoundFile) -> Option<Digest> {
        let key = (file.disk.path.clone(), goes_to_xet(&file.path, file.disk.identity.size));
        let files = self.lock_files();
        let (identity, digest) = files.digests.get(&key)?;
        (*identity == file.disk.identity).then_some(*digest)
    }

    fn learn(&self, disk: &DiskFile, digest: Digest) {
        let content = digest.xet();
        let mut files = self.lock_files();
        files.remove(&disk.path, content.is_some());
        files.digests.insert((disk.path.clone(), content.is_some()), (disk.identity, digest));
        if let Some(content) = content {
            files.sources.entry(content).or_default().push(disk.clone());
        }
    }

    /// Drops what is known about a file if it changed or is gone.
    pub(crate) fn unlearn_if_changed(&self, disk: &DiskFile) {
        if !disk.is_unchanged() {
            let mut files = self.lock_files();
            for is_xet in [false, true] {
                let key = (disk.path.clone(), is_xet);
                // A newer state of the file may have been learnt since.
                if files.digests.get(&key).is_some_and(|(identity, _)| *identity == disk.identity) {
                    files.remove(&disk.path, is_xet);
                }
            }
        }
    }

    /// A file that holds `content` and is unchanged; forgets those that are not.
    fn source(&self, content: &Hash) -> Option<DiskFile> {
        loop {
            let source = self.lock_files().sources.get(content)?.first()?.clone();
            if source.is_unchanged() {
                return Some(source);
            }
            self.lock_files().remove(&source.path, true);
        }
    }

    fn lay_out(&self, xorbs: &mut Xorbs, manifest: &Arc<Manifest>) {
        if !xorbs.replayed {
            xorbs.waiting.push(manifest.clone());
        } else if !xorbs.layout.contains(&manifest.file()) {
            xorbs.layout.add(manifest);
            self.cache.append_order(&manifest.file());
        }
    }

    /// Manifest and terms of a content whose xorbs can all be read at this moment; `None` if no file holds the content.
    pub(crate) fn terms(&self, content: &Hash) -> Option<(Arc<Manifest>, Vec<PlacedTerm>)> {
        for _ in 0..RELAY_ROUNDS_MAX {
            let source = self.source(content)?;
            let is_laid_out = self.lock_xorbs().layout.contains(content);
            if !is_laid_out {
                let manifest = self.manifest(content, &source)?;
                self.lay_out(&mut self.lock_xorbs(), &manifest);
            }
            let laid = self.lock_xorbs().layout.terms(content);
            let Some((manifest, terms)) = laid else { continue };
            let mut homes: Vec<Hash> = terms.iter().map(|term| term.xorb.home()).collect();
            homes.sort_unstable();
            homes.dedup();
            let dead: Vec<Hash> = homes.into_iter().filter(|home| self.source(home).is_none()).collect();
            if dead.is_empty() {
                return Some((manifest, terms));
            }
            let mut xorbs = self.lock_xorbs();
            for home in &dead {
                xorbs.layout.forget(home);
            }
        }
        None
    }

    /// The manifest of a content: from the cache, or by reading its file again.
    fn manifest(&self, content: &Hash, source: &DiskFile) -> Option<Arc<Manifest>> {
        if let Some(manifest) = self.cache.load_manifest(content, source.identity.size) {
            return Some(manifest);
        }
        let (found, manifest) = digest(source, true).ok()?;
        let manifest = manifest.filter(|manifest| manifest.file() == *content);
        match &manifest {
            Some(manifest) => self.cache.save_manifest(manifest),
            // The cached listing was wrong about this file.
            None => self.learn(source, found),
        }
        manifest
    }

    /// A xorb and the open file its bytes come from; `None` if there is no such xorb any more.
    pub(crate) fn open_xorb(&self, hash: &Hash) -> Option<(Arc<Xorb>, std::fs::File)> {
        let xorb = self.lock_xorbs().layout.xorb(hash)?;
        let source = self.source(&xorb.home())?;
        Some((xorb, source.open().ok()?))
    }

    fn save(&self, revision: &str, found: &[FoundFile]) {
        let known: Vec<KnownFile> = found
            .iter()
            .filter_map(|file| {
                let path = file.disk.path.strip_prefix(&self.root).ok()?.to_str()?.to_owned();
                Some(KnownFile { path, identity: file.disk.identity, digest: self.known(file)? })
            })
            .collect();
        self.cache.save_listing(revision, &known);
    }

    fn lock_files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_xorbs(&self) -> MutexGuard<'_, Xorbs> {
        self.xorbs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a hub without its own cache folder keeps the index: below the root, or in memory if that cannot be written.
pub(crate) fn open_cache(root: &Path, given: Option<&Path>) -> Cache {
    let folder = given.map_or_else(|| root.join(super::cache::FOLDER), Path::to_path_buf);
    match Cache::open(&folder) {
        Ok(cache) => cache,
        Err(error) => {
            let folder = folder.display();
            tracing::warn!(target: zest_store::SAID, kind = "not-kept", "{folder} cannot be used, so files are hashed anew at the next start: {error}");
            Cache::in_memory()
        }
    }
}
