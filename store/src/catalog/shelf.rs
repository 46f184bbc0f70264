//! The catalog as a seeder's cores read it: one unchanging table in memory, without a lock and without a system call.
//!
//! A shelf holds what may be shared at the time it is made. A chunk costs 29 bytes: 16 of its hash (nobody can make two
//! chunks that agree in 128 bits), its file and number, its length, and its share of the tables that lead there. It is
//! made anew and swapped whole when the catalog changed; file numbers stay the same. Until when a file may be shared it
//! knows of the catalog itself: what is taken back there is gone from every shelf in that moment.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use zest_xet::Hash;

use super::tables::Share;
use super::{Access, Catalog, FileId, Located, ManifestOnDisk};

/// Chunks between two remembered offsets: 64. The rest of the way is added up from lengths.
const STRIDE: usize = 64;
/// Entries per bucket of the table, about: 4.
const BUCKET: usize = 4;

/// What may be shared, as one unchanging table. Made by [`Catalog::shelf`].
#[derive(Debug, Default)]
pub struct Shelf {
    files: Vec<Listed>,
    by_hash: BTreeMap<Hash, u32>,
    /// Sorted.
    entries: Vec<Entry>,
    /// Where the entries of each value of a hash's first bits begin.
    buckets: Vec<u32>,
    /// Bits of a hash that choose its bucket.
    bits: u32,
    originals: bool,
    /// Which files it was made of, and whether their bytes were here.
    signature: Vec<(Hash, bool)>,
}

#[derive(Debug)]
struct Listed {
    file: Hash,
    size: u64,
    share: Share,
    /// `None`: only its chunk list is here.
    data: Option<FileId>,
    records: FileId,
    records_at: u64,
    lens: Vec<u32>,
    /// Offset of every [`STRIDE`]th chunk.
    offsets: Vec<u64>,
    gone: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    high: u64,
    low: u64,
    file: u32,
    index: u32,
}

fn halves(hash: &Hash) -> (u64, u64) {
    let (words, _) = hash.as_bytes().as_chunks::<8>();
    (u64::from_be_bytes(words[0]), u64::from_be_bytes(words[1]))
}

impl Catalog {
    /// What may be shared now, as a [`Shelf`]; `None` if that is the same as `before`. Reads and proves every chunk list.
    #[must_use]
    pub fn shelf(&self, before: Option<&Shelf>) -> Option<Shelf> {
        let mut shared: Vec<(Hash, bool, Share)> = {
            let inner = self.read();
            let shared = inner.files.iter().filter(|entry| entry.allows(Access::Near));
            shared.map(|entry| (entry.header.file, !entry.copies.is_empty(), entry.share.clone())).collect()
        };
        shared.sort_unstable_by_key(|(file, ..)| *file);
        let signature: Vec<(Hash, bool)> = shared.iter().map(|(file, here, _)| (*file, *here)).collect();
        let unchanged = |before: &Shelf| {
            // A file that went from a shelf is asked for again: it may be a good one by now.
            before.signature == signature && before.files.iter().all(|file| !file.is_gone())
        };
        if before.is_some_and(unchanged) {
            return None;
        }
        let mut shelf = Shelf { originals: self.has_originals(), ..Shelf::default() };
        for (hash, has_copy, share) in &shared {
            let Some(list) = self.manifest(hash, Access::Near) else { continue };
            let Some(manifest) = self.load_manifest(hash, Access::Near) else { continue };
            let data = if *has_copy { self.data(hash, Access::Near) } else { None };
            let number = shelf.files.len() as u32;
            shelf.by_hash.insert(*hash, number);
            let chunks = manifest.chunks();
            if data.is_some() {
                shelf.entries.extend((0..).zip(chunks).map(|(index, chunk)| {
                    let (high, low) = halves(&chunk.hash);
                    Entry { high, low, file: number, index }
                }));
            }
            shelf.files.push(Listed {
                file: *hash,
                size: list.size,
                share: share.clone(),
                data,
                records: list.records,
                records_at: list.records_offset,
                lens: chunks.iter().map(|chunk| chunk.len).collect(),
                offsets: (0..manifest.len()).step_by(STRIDE).map(|index| manifest.offset(index)).collect(),
                gone: AtomicBool::new(false),
            });
        }
        shelf.signature = signature;
        shelf.entries.sort_unstable();
        shelf.entries.dedup_by_key(|entry| (entry.high, entry.low, entry.file));
        shelf.entries.shrink_to_fit();
        shelf.index();
        Some(shelf)
    }
}

impl Shelf {
    fn index(&mut self) {
        self.bits = (self.entries.len() / BUCKET).max(1).ilog2();
        let mut buckets = vec![0_u32; (1 << self.bits) + 1];
        for entry in &self.entries {
            buckets[bucket(entry.high, self.bits) + 1] += 1;
        }
        for at in 1..buckets.len() {
            buckets[at] += buckets[at - 1];
        }
        self.buckets = buckets;
    }

    /// Places of a chunk, each in another file, that may be shared at this time (seconds since 1970).
    pub fn places(&self, hash: &Hash, access: Access, now: u64) -> impl Iterator<Item = Located> + '_ {
        let (high, low) = halves(hash);
        let at = bucket(high, self.bits);
        let range = match self.buckets.get(at..at + 2) {
            Some(&[from, to]) => from as usize..to as usize,
            _ => 0..0,
        };
        let hash = *hash;
        let same = self.entries[range].iter().filter(move |entry| (entry.high, entry.low) == (high, low));
        same.filter_map(move |entry| {
            let file = &self.files[entry.file as usize];
            if file.is_gone() || !file.share.allows(access, now) {
                return None;
            }
            let (offset, len) = file.chunk(entry.index as usize);
            Some(Located { hash, file: file.data?, offset, len })
        })
    }

    /// A file's chunk list, if it may be shared at this time, and whether the file itself is here.
    #[must_use]
    pub fn manifest(&self, file: &Hash, access: Access, now: u64) -> Option<(ManifestOnDisk, bool)> {
        let listed = &self.files[*self.by_hash.get(file)? as usize];
        listed.share.allows(access, now).then(|| {
            let list = ManifestOnDisk {
                file: *file,
                size: listed.size,
                records: listed.records,
                records_offset: listed.records_at,
                count: listed.lens.len() as u32,
            };
            (list, listed.data.is_some() && !listed.is_gone())
        })
    }

    /// Notes that a file is not what it was. Nobody who holds this shelf gives anything of it from now on.
    pub fn forget(&self, id: FileId) {
        for file in self.files.iter().filter(|file| file.data == Some(id)) {
            file.gone.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the original's caches may hold what is not listed here: then [`Catalog`] is to be asked.
    #[must_use]
    pub fn has_originals(&self) -> bool {
        self.originals
    }

    /// Files whose bytes are here, and their bytes.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let here = self.files.iter().filter(|file| file.data.is_some() && !file.is_gone());
        here.fold((0, 0), |(files, bytes), file| (files + 1, bytes + file.size))
    }

    /// Chunks that can be found.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.entries.len()
    }

    /// The hashes of the files on it.
    pub fn files(&self) -> impl Iterator<Item = Hash> + '_ {
        self.files.iter().map(|file| file.file)
    }
}

impl Listed {
    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn chunk(&self, index: usize) -> (u64, u32) {
        let from = index - index % STRIDE;
        let way: u64 = self.lens[from..index].iter().map(|&len| u64::from(len)).sum();
        (self.offsets[index / STRIDE] + way, self.lens[index])
    }
}

/// The bucket of a hash that begins with `high`.
fn bucket(high: u64, bits: u32) -> usize {
    high.checked_shr(64 - bits).unwrap_or(0) as usize
}
