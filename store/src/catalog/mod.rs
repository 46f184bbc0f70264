//! The catalog: which chunks are on this disk, where, and who may have them.
//!
//! ```text
//! <zest cache>/files/8e/<file hash>              chunk list, offsets, packed lengths, xorb terms (own format)
//! <zest cache>/places/8e/<file hash>.json        copies with their identity; repositories and commits
//! <zest cache>/proofs/<Hub>/<repo folder>/<commit>.json   when that Hub let anybody read that commit
//! <zest cache>/proofs/<Hub>/<repo folder>/<commit>.list   which files that Hub named as those of that commit
//! <zest cache>/denied/<repo folder>               the user does not want this repository shared
//! <zest cache>/lock                              held while one of these is rewritten
//! <zest cache>/proven                            which files on this disk were read and found right, whatever they are
//! ```
//!
//! All of it is written by temporary file and rename, so several processes share it. In memory a chunk costs
//! 16 bytes; its full hash and its place are read from the file's chunk list when somebody asks.
//!
//! Two promises. **Only what was proven is given out**: a copy enters with its identity when its bytes were
//! hashed, and every use compares; a copy that changed is dropped. **Only what anybody may read is shared**:
//! [`Access::Share`] sees nothing but files of commits whose public proof has not expired; without a proof
//! the answer is no. What the user denies ([`Catalog::deny`]) is not shared with a proof either.

mod denied;
mod folders;
mod format;
mod hubs;
mod indexer;
mod lists;
mod on_disk;
mod open;
mod open_files;
mod originals;
mod places;
mod proofs;
mod sharing;
mod shelf;
mod slots;
mod small;
mod tables;
mod watches;

use crate::limits::CANDIDATES_MAX;
use crate::os::FileExt as _;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use zest_xet::{Hash, MANIFEST_RECORD_BYTES, Manifest, XORB_CHUNKS_MAX};

use self::format::TermSpan;
use self::open_files::OpenFiles;
use self::originals::Originals;
use self::places::{Copy, Member, Places};
pub use self::proofs::{PROOF_LASTS, PROOF_LASTS_AT_MOST, PublicProof};
use self::slots::Slot;
use self::small::SmallLists;
use self::tables::{FileEntry, Inner, LoadedFile};
use self::watches::Watches;
pub use self::{
    indexer::IndexTask, indexer::Indexed, originals::OriginalXorb, shelf::Shelf, small::SmallFile,
};
use crate::endpoint::Endpoint;
use crate::error::{Context as _, StoreError};
use crate::lock::FileLock;
use crate::names::{RepoId, is_hex};
use crate::os::{self, Identity};
use crate::proven::ProvenFiles;

/// A file that [`Catalog::open_file`] can open: a copy, a chunk list, or a file of the original's caches.
/// Valid as long as the catalog is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

impl FileId {
    const ORIGINAL: u32 = 1 << 31;
    /// For this machine's own use: any copy will do, wherever it lies. (The bit between is left to those who name files of
    /// their own beside ours.)
    const OWN: u32 = 1 << 29;

    fn data(number: u32, access: Access) -> Self {
        match access {
            Access::Share | Access::Near => Self(number << 1),
            Access::Own => Self(number << 1 | Self::OWN),
        }
    }

    fn manifest(number: u32) -> Self {
        Self(number << 1 | 1)
    }
}

/// On whose behalf the catalog is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// For a stranger: only files of commits with an unexpired public proof of a Hub that everybody knows.
    Share,
    /// For who speaks of the same Hub, by name or on this network: also what that Hub shows to everyone.
    Near,
    /// For this machine's own use: everything on disk.
    Own,
}

/// A commit of a repository of a Hub.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commit {
    /// The Hub; `None`: found in a cache, and nobody says where it came from.
    pub hub: Option<Endpoint>,
    /// Repository.
    pub repo: RepoId,
    /// Commit.
    pub commit: String,
}

/// A finished file on disk, and the repository and commit it was landed for.
#[derive(Debug, Clone)]
pub struct Place {
    /// The Hub that listed it; `None`: nobody knows who did.
    pub hub: Option<Endpoint>,
    /// Where it is; links are followed.
    pub path: PathBuf,
    /// Repository.
    pub repo: RepoId,
    /// Commit.
    pub commit: String,
}

/// One chunk on disk, uncompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// Its hash.
    pub hash: Hash,
    /// Which file.
    pub file: FileId,
    /// First byte in the file.
    pub offset: u64,
    /// Bytes.
    pub len: u32,
}

/// A file's chunk list on disk in the wire's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestOnDisk {
    /// Whose list.
    pub file: Hash,
    /// Bytes of that file.
    pub size: u64,
    /// The file that holds the list.
    pub records: FileId,
    /// First byte of the first record.
    pub records_offset: u64,
    /// Records, 36 bytes each.
    pub count: u32,
}

/// One file in the catalog, for a status line.
#[derive(Debug, Clone)]
pub struct FileStatus {
    /// Xet hash.
    pub file: Hash,
    /// Bytes.
    pub size: u64,
    /// Chunks.
    pub chunks: u32,
    /// Known copies.
    pub paths: Vec<PathBuf>,
    /// What it belongs to.
    pub commits: Vec<Commit>,
    /// Until when it may be shared with everybody; `None`: it may not.
    pub public_until: Option<SystemTime>,
    /// The same with those who speak of the same Hub.
    pub near_until: Option<SystemTime>,
    /// Whether it lies where sharing is allowed, see [`Catalog::share_below`].
    pub lies_right: bool,
}

/// The catalog of one zest cache. Shared between threads in an `Arc`.
pub struct Catalog {
    root: PathBuf,
    inner: RwLock<Inner>,
    open: Mutex<OpenFiles>,
    originals: Mutex<Originals>,
    proven: ProvenFiles,
    watches: Watches,
    small: Mutex<SmallLists>,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let inner = self.read();
        f.debug_struct("Catalog")
            .field("root", &self.root)
            .field("files", &inner.files.len())
            .field("chunks", &inner.slots.len())
            .finish_non_exhaustive()
    }
}

impl Catalog {
    /// Reads the catalog below a zest cache folder, which need not exist. Nothing is created.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if `zest_cache` is not a folder.
    pub fn open(zest_cache: &Path) -> Result<Self, StoreError> {
        let root = std::path::absolute(zest_cache).at("resolve", zest_cache)?;
        if fs::metadata(&root).is_ok_and(|meta| !meta.is_dir()) {
            return Err(StoreError::Foreign {
                path: root,
                found: "not a directory",
                expected: "zest's cache",
            });
        }
        let catalog = Self {
            originals: Mutex::new(Originals::at(&root)),
            proven: ProvenFiles::at(&root),
            root,
            inner: RwLock::default(),
            open: Mutex::default(),
            watches: Watches::default(),
            small: Mutex::default(),
        };
        catalog.refresh();
        Ok(catalog)
    }

    /// Takes in what other processes added since. Call it now and then in a process that runs for long.
    pub fn refresh(&self) {
        self.look_at_denials();
        let mut loaded = Vec::new();
        let files = self.root.join("files");
        for prefix in places::subdirs(&files).into_iter().filter(|name| is_hex(name, 2)) {
            for name in places::subdirs(&files.join(&prefix)) {
                if let Ok(hash) = name.parse::<Hash>()
                    && is_hex(&name, 64)
                    && !self.read().by_hash.contains_key(&hash)
                    && let Some(file) = self.load(&hash)
                {
                    loaded.push(file);
                }
            }
        }
        let proofs = proofs::read_all(&self.root);
        let known: Vec<Hash> = self.read().files.iter().map(|entry| entry.header.file).collect();
        let places: Vec<Places> = known.iter().map(|hash| Places::read(&self.root, hash)).collect();

        let mut inner = self.write();
        let stale = inner.public.take_in_all(&proofs);
        for (hash, places) in known.iter().zip(places) {
            let number = inner.by_hash[hash];
            let entry = &mut inner.files[number as usize];
            (entry.copies, entry.members) = (places.copies, places.members);
        }
        let mut slots = Vec::new();
        for file in loaded {
            inner.insert(file, &mut slots);
        }
        inner.slots.add(slots);
        inner.sort_terms();
        inner.judge_all();
        drop(inner);
        for member in stale {
            // Taken back while the disk could not note it; perhaps it can by now.
            if let Err(error) = proofs::remove(&self.root, &member) {
                tracing::debug!(%error, "a withdrawn proof stays on the disk");
            }
        }
    }

    /// Enters a file that was just proven and landed.
    ///
    /// `hints` are packed lengths (one per chunk, 0 if not known); `terms` tell in order which xorb chunks
    /// the file is made of. What was known already is kept where nothing is given, and where nothing was known the file is taken to be
    /// made of xorbs as an uploader cuts them.
    ///
    /// # Errors
    /// [`StoreError::WrongSize`] if the file at the place is not the manifest's; the system's.
    ///
    /// # Panics
    /// When there are hints, but not one per chunk.
    pub fn publish(
        &self,
        manifest: &Manifest,
        place: &Place,
        hints: Option<&[u32]>,
        terms: Option<&[(Hash, Range<u32>)]>,
    ) -> Result<FileId, StoreError> {
        let path = fs::canonicalize(&place.path).at("resolve", &place.path)?;
        let identity = Identity::of(&fs::metadata(&path).at("examine", &path)?);
        let copy = Copy { path, identity };
        self.note_landed(&copy.path);
        self.enter(
            manifest,
            copy,
            vec![Member::new(place.hub.as_ref(), &place.repo, &place.commit)],
            hints,
            terms,
        )
    }

    fn enter(
        &self,
        manifest: &Manifest,
        copy: Copy,
        members: Vec<Member>,
        hints: Option<&[u32]>,
        terms: Option<&[TermSpan]>,
    ) -> Result<FileId, StoreError> {
        if copy.identity.size != manifest.size() {
            let (expected, actual) = (manifest.size(), copy.identity.size);
            return Err(StoreError::WrongSize { path: copy.path, expected, actual });
        }
        assert!(hints.is_none_or(|hints| hints.len() == manifest.len() as usize), "one hint per chunk");
        let file = manifest.file();
        let _lock = self.lock_files()?;
        let path = self.manifest_path(&file);
        let on_disk = fs::read(&path).ok();
        let old = on_disk.as_deref().and_then(format::decode).filter(|old| old.header.file == file);
        let old_hints = old.as_ref().and_then(format::Decoded::hints);
        let old_terms: Option<Vec<TermSpan>> =
            old.as_ref().map(|old| old.terms().into_iter().map(|(span, _)| span).collect());
        // Whoever had nothing of the file from the origin was not told of its xorbs. Most are as their uploader cuts them: known by them, it
        // is found where another file has the same.
        let likely = || {
            let xorbs = zest_xet::xorbs_if_uploaded(manifest.chunks()).into_iter();
            xorbs.map(|(xorb, chunks)| (xorb, 0..chunks.end - chunks.start)).collect()
        };
        let terms = match (terms, old_terms) {
            (Some(terms), _) => terms.to_vec(),
            (None, Some(old)) if !old.is_empty() => old,
            (None, _) => likely(),
        };
        let bytes = format::encode(manifest, hints.or(old_hints.as_deref()), &terms);
        let rewrite = on_disk.as_deref() != Some(&bytes[..]);
        if rewrite {
            let dir = path.parent().expect("chunk lists lie in a folder");
            fs::create_dir_all(dir).at("create directory", dir)?;
            os::write_atomically(&path, ".tmp", 0o600, &bytes)
                .map_err(|source| StoreError::from_io("write", &path, source, bytes.len() as u64))?;
        }
        self.update_places(&file, |places| {
            let new_copy = places.add_copy(&copy);
            places.add_members(members) || new_copy
        })?;

        let loaded = self.load(&file).ok_or_else(|| StoreError::ChangedMeanwhile { path: path.clone() })?;
        let mut inner = self.write();
        let number = match inner.by_hash.get(&file).copied() {
            Some(number) if !rewrite => {
                let entry = &mut inner.files[number as usize];
                (entry.copies, entry.members) = (loaded.copies, loaded.members);
                number
            }
            _ => {
                let mut slots = Vec::new();
                let number = inner.insert(loaded, &mut slots);
                inner.slots.add(slots);
                inner.sort_terms();
                number
            }
        };
        inner.judge(number as usize);
        drop(inner);
        self.lock_open().remove(FileId::manifest(number).0);
        Ok(FileId::data(number, Access::Own))
    }

    /// Where a chunk is. The file was just found unchanged; open it with [`Catalog::open_file`].
    #[must_use]
    pub fn locate(&self, hash: &Hash, access: Access) -> Option<Located> {
        for slot in self.candidates(hash, access, true) {
            let Some((chunk, offset)) = self.record(slot.file, slot.index) else { continue };
            let file = FileId::data(slot.file, access);
            if chunk.hash == *hash && self.open_file(file).is_some() {
                return Some(Located { hash: *hash, file, offset, len: chunk.len });
            }
        }
        self.original_chunk(hash, access)
    }

    /// Whether what lies in this file may be given to somebody who asks with this access.
    #[must_use]
    pub fn is_shared(&self, file: FileId, access: Access) -> bool {
        let entry = |number: u32| self.read().files.get(number as usize).is_some_and(|e| e.allows(access));
        file.0 & (FileId::ORIGINAL | FileId::OWN) == 0 && entry(file.0 >> 1)
    }

    /// A file's chunk list, whether or not the file itself is still there.
    #[must_use]
    pub fn manifest(&self, file: &Hash, access: Access) -> Option<ManifestOnDisk> {
        let inner = self.read();
        let &number = inner.by_hash.get(file)?;
        let entry = &inner.files[number as usize];
        entry.allows(access).then(|| ManifestOnDisk {
            file: *file,
            size: entry.header.size,
            records: FileId::manifest(number),
            records_offset: entry.header.records_at(),
            count: entry.header.chunks,
        })
    }

    /// A file's chunk list, read and proven.
    #[must_use]
    pub fn load_manifest(&self, file: &Hash, access: Access) -> Option<Manifest> {
        let on_disk = self.manifest(file, access)?;
        let mut records = vec![0; on_disk.count as usize * MANIFEST_RECORD_BYTES];
        self.open_file(on_disk.records)?.read_exact_at(&mut records, on_disk.records_offset).ok()?;
        Manifest::parse(*file, on_disk.size, &records).ok()
    }

    /// The packed length of each of a file's chunks, if they were ever told. Not proven.
    #[must_use]
    pub fn load_hints(&self, file: &Hash) -> Option<Vec<u32>> {
        let file = File::open(self.manifest_path(file)).ok()?;
        format::decode(&format::read(&file, file.metadata().ok()?.len())?)?.hints()
    }

    /// The copy of a whole file on this disk, unchanged since it was proven.
    #[must_use]
    pub fn data(&self, file: &Hash, access: Access) -> Option<FileId> {
        let number = {
            let inner = self.read();
            let &number = inner.by_hash.get(file)?;
            inner.files[number as usize].allows(access).then_some(number)?
        };
        let id = FileId::data(number, access);
        self.open_file(id).map(|_| id)
    }

    /// Which file ranges hold these chunks of a xorb, one by one, as far as published files tell.
    #[must_use]
    pub fn xorb_range(&self, xorb: &Hash, range: Range<u32>, access: Access) -> Option<Vec<Located>> {
        if range.is_empty() || range.end as usize > XORB_CHUNKS_MAX {
            return None;
        }
        // Runs that can help, copied out so that no lock is held during I/O.
        let runs: Vec<(Range<u32>, u32, u32)> = {
            let inner = self.read();
            let from = inner.terms.partition_point(|term| term.xorb < *xorb);
            let same = inner.terms[from..].iter().take_while(|term| term.xorb == *xorb);
            let overlapping =
                same.filter(|term| term.chunks.start < range.end && range.start < term.chunks.end);
            overlapping
                .filter(|term| inner.files[term.file as usize].allows(access))
                .map(|term| (term.chunks.clone(), term.file, term.first))
                .collect()
        };
        let mut found = Vec::with_capacity(range.len());
        let mut at = range.start;
        while at < range.end {
            // The longest run from here whose file is still there.
            let mut here: Vec<_> = runs.iter().filter(|(chunks, ..)| chunks.contains(&at)).collect();
            here.sort_by_key(|(chunks, ..)| std::cmp::Reverse(chunks.end));
            let (chunks, number, first) = here
                .into_iter()
                .find(|&&(_, number, _)| self.open_file(FileId::data(number, access)).is_some())?;
            let end = chunks.end.min(range.end);
            let run = first + (at - chunks.start)..first + (end - chunks.start);
            self.add_run(*number, run, access, &mut found)?;
            at = end;
        }
        Some(found)
    }

    /// All files, for status and announcing, sorted by hash.
    #[must_use]
    pub fn files(&self) -> Vec<FileStatus> {
        let inner = self.read();
        let status = |entry: &FileEntry| entry.status(inner.lies_right(entry));
        let mut files: Vec<FileStatus> = inner.files.iter().map(status).collect();
        files.sort_unstable_by_key(|status| status.file);
        files
    }

    /// How often it has changed what may be done with a file: as long as this stays, so does what is shared, but for proofs that end.
    #[must_use]
    pub fn judgements(&self) -> u64 {
        self.read().judgements.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Chunks in the index.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.read().slots.len()
    }

    fn has_originals(&self) -> bool {
        self.shares_originals() && self.originals.lock().unwrap_or_else(PoisonError::into_inner).is_there()
    }

    /// Whether a file of a commit that anybody may read has this chunk; whether it is on disk does not matter.
    fn is_known_public(&self, hash: &Hash, access: Access) -> bool {
        let slots = self.candidates(hash, access, false);
        slots
            .into_iter()
            .any(|slot| self.record(slot.file, slot.index).is_some_and(|(chunk, _)| chunk.hash == *hash))
    }

    fn candidates(&self, hash: &Hash, access: Access, with_copy: bool) -> Vec<Slot> {
        let inner = self.read();
        let allowed = inner.slots.candidates(hash).filter(|slot| {
            let entry = &inner.files[slot.file as usize];
            entry.allows(access) && (!with_copy || !entry.copies.is_empty())
        });
        allowed.take(CANDIDATES_MAX).collect()
    }

    /// Changes a places file, if `change` says that it changed something. The lock is held.
    fn update_places(&self, file: &Hash, change: impl FnOnce(&mut Places) -> bool) -> Result<(), StoreError> {
        let mut places = Places::read(&self.root, file);
        if change(&mut places) { places.write(&self.root, file) } else { Ok(()) }
    }

    /// Reads one file's chunk list and places.
    fn load(&self, file: &Hash) -> Option<LoadedFile> {
        let path = self.manifest_path(file);
        let opened = File::open(&path).ok()?;
        let identity = Identity::of(&opened.metadata().ok()?);
        let bytes = format::read(&opened, identity.size);
        let decoded = bytes.as_deref().and_then(format::decode);
        let Some(decoded) = decoded.filter(|decoded| decoded.header.file == *file) else {
            let path = path.display();
            tracing::warn!(target: crate::SAID, kind = "damaged", "{path} is damaged: what it describes is not shared until it is made anew");
            return None;
        };
        let Places { copies, members, .. } = Places::read(&self.root, file);
        let (header, terms) = (decoded.header, decoded.terms());
        let records = decoded.records().to_vec();
        Some(LoadedFile { header, manifest: identity, records, terms, copies, members })
    }

    fn manifest_path(&self, file: &Hash) -> PathBuf {
        let name = file.to_string();
        self.root.join("files").join(&name[..2]).join(name)
    }

    /// Keeps other processes from rewriting the same file at the same time.
    fn lock_files(&self) -> Result<FileLock, StoreError> {
        let path = self.root.join("lock");
        FileLock::acquire(&path, 0o600).at("lock", &path)
    }

    // None of these can leave the tables half changed in a way that matters, so a panic elsewhere does not
    // make them unusable.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_open(&self) -> MutexGuard<'_, OpenFiles> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
