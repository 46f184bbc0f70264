//! Opening what the catalog knows, and comparing it with what was proven before anybody gets to see it.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use zest_xet::fields::{be_u64, chunk_record, each, first};
use zest_xet::{ChunkRef, Hash, MANIFEST_RECORD_BYTES};

use super::open_files::OpenFile;
use super::places::{Copy, Places};
use super::{Access, Catalog, FileId, Located, format};
use crate::os::FileExt as _;
use crate::os::{self, Identity};

impl Catalog {
    /// Opens a file of the catalog, or hands out the open descriptor. Whatever is given out was found, in
    /// this call, to be what it was when it was proven; a copy that is not is dropped from the catalog, and
    /// another one looked for.
    #[must_use]
    pub fn open_file(&self, id: FileId) -> Option<Arc<File>> {
        if id.0 & FileId::ORIGINAL != 0 {
            return self.open_original(id);
        }
        let number = (id.0 & !FileId::OWN) >> 1;
        let access = if id.0 & FileId::OWN == 0 { Access::Share } else { Access::Own };
        if id.0 & 1 == 1 { self.open_manifest(number) } else { self.open_copy(number, access) }
    }

    /// A chunk's record and its offset.
    pub(super) fn record(&self, number: u32, index: u32) -> Option<(ChunkRef, u64)> {
        let file = self.open_manifest(number)?;
        let header = self.read().files[number as usize].header;
        let mut record = [0; MANIFEST_RECORD_BYTES];
        file.read_exact_at(&mut record, header.record_at(index)).ok()?;
        let mut offset = [0; 8];
        file.read_exact_at(&mut offset, header.offset_at(index)).ok()?;
        Some((first(chunk_record, &record)?, first(be_u64, &offset)?))
    }

    /// Appends a run of chunks of a file.
    pub(super) fn add_run(
        &self,
        number: u32,
        run: Range<u32>,
        access: Access,
        found: &mut Vec<Located>,
    ) -> Option<()> {
        let (_, mut offset) = self.record(number, run.start)?;
        let file = self.open_manifest(number)?;
        let header = self.read().files[number as usize].header;
        let mut records = vec![0; run.len() * MANIFEST_RECORD_BYTES];
        file.read_exact_at(&mut records, header.record_at(run.start)).ok()?;
        for chunk in each(chunk_record, &records) {
            let file = FileId::data(number, access);
            found.push(Located { hash: chunk.hash, file, offset, len: chunk.len });
            offset += u64::from(chunk.len);
        }
        Some(())
    }

    fn open_manifest(&self, number: u32) -> Option<Arc<File>> {
        let id = FileId::manifest(number).0;
        let cached = self.lock_open().get(id);
        if let Some(open) = cached {
            // Lists are replaced, never rewritten: one that changed under its descriptor was damaged.
            if open.file.metadata().is_ok_and(|meta| Identity::of(&meta) == open.identity) {
                return Some(open.file);
            }
            self.lock_open().remove(id);
        }
        let (known, header) = {
            let inner = self.read();
            let entry = inner.files.get(number as usize)?;
            (entry.manifest, entry.header)
        };
        let file = File::open(self.manifest_path(&header.file)).ok()?;
        let identity = Identity::of(&file.metadata().ok()?);
        if identity != known {
            // Written anew by another process, or damaged: only its checksum tells.
            let decoded = format::decode(&format::read(&file, identity.size)?)?.header;
            let same =
                (decoded.file, decoded.size, decoded.chunks) == (header.file, header.size, header.chunks);
            if !same {
                return None;
            }
            let entry = &mut self.write().files[number as usize];
            (entry.manifest, entry.header) = (identity, decoded);
        }
        let file = Arc::new(file);
        self.lock_open().insert(id, OpenFile { file: Arc::clone(&file), identity });
        Some(file)
    }

    fn open_copy(&self, number: u32, access: Access) -> Option<Arc<File>> {
        let id = FileId::data(number, access).0;
        let cached = self.lock_open().get(id);
        if let Some(open) = cached {
            let meta = open.file.metadata().ok()?;
            if Identity::of(&meta) == open.identity && !os::is_unlinked(&meta) {
                return Some(open.file);
            }
            self.lock_open().remove(id);
        }
        let copies = self.read().files.get(number as usize)?.copies.clone();
        for copy in copies.into_iter().filter(|copy| access == Access::Own || self.shares(copy)) {
            // A copy that is not to be found may be on a disk that is not there now: passed over, not dropped.
            let Ok(file) = File::open(&copy.path) else { continue };
            let Ok(identity) = file.metadata().map(|meta| Identity::of(&meta)) else { continue };
            if identity == copy.identity || self.take_in(number, &Copy { identity, ..copy.clone() }) {
                let file = Arc::new(file);
                self.lock_open().insert(id, OpenFile { file: Arc::clone(&file), identity });
                return Some(file);
            }
            self.drop_copy(number, &copy);
        }
        None
    }

    /// Takes over that another process found a file right in this state, if one did.
    fn take_in(&self, number: u32, now: &Copy) -> bool {
        let Some(file) = self.read().files.get(number as usize).map(|entry| entry.header.file) else {
            return false;
        };
        if !Places::read(&self.root, &file).copies.contains(now) {
            return false;
        }
        self.write().files[number as usize].put_copy(now.clone());
        true
    }

    /// Whether a copy of a file is as it was when its bytes were hashed: what is given out is.
    #[must_use]
    pub fn is_unchanged(&self, file: &Hash) -> bool {
        let copies = {
            let inner = self.read();
            let Some(&number) = inner.by_hash.get(file) else { return false };
            inner.files[number as usize].copies.clone()
        };
        let same = |copy: &Copy| {
            std::fs::metadata(&copy.path).is_ok_and(|meta| Identity::of(&meta) == copy.identity)
        };
        copies.iter().any(same)
    }

    fn drop_copy(&self, number: u32, copy: &Copy) {
        let path = copy.path.display();
        tracing::warn!(
            target: crate::SAID,
            kind = "changed",
            "not shared any more: {path} changed since it was hashed; if its bytes are right, a server shares it again once it has read it"
        );
        let file = {
            let mut inner = self.write();
            inner.files[number as usize].copies.retain(|known| known != copy);
            inner.judge(number as usize);
            inner.files[number as usize].header.file
        };
        let written = self.lock_files().and_then(|_lock| {
            self.update_places(&file, |places| {
                let before = places.copies.len();
                places.copies.retain(|known| known != copy);
                places.copies.len() < before
            })
        });
        if let Err(error) = written {
            tracing::debug!(%error, "could not note a dropped copy");
        }
    }
}
