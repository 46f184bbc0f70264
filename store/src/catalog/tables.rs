//! What the catalog knows, in memory: files, the chunk index, xorb terms, until when each file may be shared.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use zest_xet::fields::{self, first};
use zest_xet::{Hash, MANIFEST_RECORD_BYTES};

use super::denied::Denied;
use super::folders::Folders;
use super::format::{Header, TermSpan};
use super::hubs::{GivenUntil, Hubs};
use super::places::{Copy, Member, from_seconds, now_seconds};
use super::proofs::{Proofs, is_current};
use super::slots::{Slot, Slots};
use super::{Access, FileId, FileStatus};
use crate::os::Identity;

/// Everything that is known about one file.
pub(super) struct FileEntry {
    pub(super) header: Header,
    /// The chunk list's file, when it was last found whole.
    pub(super) manifest: Identity,
    pub(super) copies: Vec<Copy>,
    pub(super) members: Vec<Member>,
    pub(super) share: Share,
}

/// Until when a file may be shared, and with whom. The shelves made of the catalog look at the same one, so that what is taken back is
/// given by nobody from that moment on.
#[derive(Debug, Clone, Default)]
pub(super) struct Share(Arc<[AtomicU64; 2]>);

impl Share {
    pub(super) fn given_until(&self) -> GivenUntil {
        let [all, near] = &*self.0;
        GivenUntil { all: all.load(Ordering::Relaxed), near: near.load(Ordering::Relaxed) }
    }

    /// Says whether that is another time than before.
    pub(super) fn set(&self, given: GivenUntil) -> bool {
        let [all, near] = &*self.0;
        let before = (all.swap(given.all, Ordering::Relaxed), near.swap(given.near, Ordering::Relaxed));
        before != (given.all, given.near)
    }

    pub(super) fn allows(&self, access: Access, now: u64) -> bool {
        match access {
            Access::Own => true,
            Access::Near => is_current(self.given_until().near, now),
            Access::Share => is_current(self.given_until().all, now),
        }
    }
}

/// A run of a xorb's chunks that lies in a file.
pub(super) struct TermSlot {
    pub(super) xorb: Hash,
    pub(super) chunks: Range<u32>,
    pub(super) file: u32,
    /// File index of the run's first chunk.
    pub(super) first: u32,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) files: Vec<FileEntry>,
    pub(super) by_hash: HashMap<Hash, u32>,
    pub(super) slots: Slots,
    /// Sorted by xorb and first chunk.
    pub(super) terms: Vec<TermSlot>,
    pub(super) public: Proofs,
    pub(super) hubs: Hubs,
    pub(super) denied: Denied,
    /// What may be shared; `None`: all of it.
    pub(super) folders: Option<Folders>,
    /// How often a file's leave has changed.
    pub(super) judgements: AtomicU64,
}

/// A file read from disk, on its way into the tables.
pub(super) struct LoadedFile {
    pub(super) header: Header,
    pub(super) manifest: Identity,
    pub(super) records: Vec<u8>,
    pub(super) terms: Vec<(TermSpan, u32)>,
    pub(super) copies: Vec<Copy>,
    pub(super) members: Vec<Member>,
}

impl Inner {
    /// Takes a file in, or takes over what is new about it; its chunks go to `slots`, its terms need sorting.
    pub(super) fn insert(&mut self, file: LoadedFile, slots: &mut Vec<Slot>) -> u32 {
        let LoadedFile { header, manifest, records, terms, copies, members } = file;
        let mut entry = FileEntry { header, manifest, copies, members, share: Share::default() };
        let number = match self.by_hash.get(&header.file).copied() {
            Some(number) => {
                entry.share = self.files[number as usize].share.clone();
                self.files[number as usize] = entry;
                self.terms.retain(|term| term.file != number);
                number
            }
            None => {
                let number = self.files.len() as u32;
                assert!(number < FileId::OWN >> 1, "file numbers fit into a FileId");
                self.files.push(entry);
                self.by_hash.insert(header.file, number);
                add_slots(&records, number, slots);
                number
            }
        };
        self.terms.extend(terms.into_iter().map(|((xorb, chunks), first)| TermSlot {
            xorb,
            chunks,
            file: number,
            first,
        }));
        number
    }

    pub(super) fn sort_terms(&mut self) {
        self.terms.sort_by_key(|term| (term.xorb, term.chunks.start, term.file));
    }

    /// Works out until when a file may be shared.
    pub(super) fn judge(&self, number: usize) {
        let entry = &self.files[number];
        let right = self.lies_right(entry);
        let given = if right { self.given_until(&entry.members) } else { GivenUntil::default() };
        if entry.share.set(given) {
            self.judgements.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What may be done with a file that belongs to these: what the Hubs say, unless the user says no.
    pub(super) fn given_until(&self, members: &[Member]) -> GivenUntil {
        match self.denied.has_any(members) {
            true => GivenUntil::default(),
            false => self.hubs.given_until(members, &self.public),
        }
    }

    pub(super) fn judge_all(&self) {
        (0..self.files.len()).for_each(|number| self.judge(number));
    }

    /// Whether a copy lies where sharing is allowed. Of a file without any, its chunks may be in the original's caches.
    pub(super) fn lies_right(&self, entry: &FileEntry) -> bool {
        let Some(folders) = &self.folders else { return true };
        entry.copies.iter().any(|copy| folders.has(copy)) || entry.copies.is_empty() && folders.originals
    }
}

/// One slot per different chunk of a file.
fn add_slots(records: &[u8], number: u32, slots: &mut Vec<Slot>) {
    let hash = |index: u32| first(fields::hash, records.get(index as usize * MANIFEST_RECORD_BYTES..)?);
    let count = (records.len() / MANIFEST_RECORD_BYTES) as u32;
    let mut own: Vec<Slot> =
        (0..count).filter_map(|index| Some(Slot::new(&hash(index)?, number, index))).collect();
    own.sort_unstable();
    own.dedup_by(|later, earlier| hash(later.index) == hash(earlier.index));
    slots.append(&mut own);
}

impl FileEntry {
    pub(super) fn allows(&self, access: Access) -> bool {
        self.share.allows(access, now_seconds())
    }

    /// Takes in a copy, instead of an older one at the same path.
    pub(super) fn put_copy(&mut self, copy: Copy) {
        self.copies.retain(|known| known.path != copy.path);
        self.copies.push(copy);
    }

    pub(super) fn status(&self, lies_right: bool) -> FileStatus {
        FileStatus {
            lies_right,
            file: self.header.file,
            size: self.header.size,
            chunks: self.header.chunks,
            paths: self.copies.iter().map(|copy| copy.path.clone()).collect(),
            commits: self.members.iter().filter_map(Member::commit).collect(),
            public_until: self.allows(Access::Share).then(|| from_seconds(self.share.given_until().all)),
            near_until: self.allows(Access::Near).then(|| from_seconds(self.share.given_until().near)),
        }
    }
}
