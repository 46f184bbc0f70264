//! The caches of the original zest: `xorbs/<2 hex>/<xorb hash>` (whole), `xorbs/<2 hex>/<xorb hash>.<first
//! chunk>` (a part) and `chunks/<2 hex>/<plain hex>` (one chunk). The original never checked what it stored
//! and keeps no note of whose it is, so a file is parsed and hashed before its first use, and a stranger gets
//! only chunks that a file of a public commit has too.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use zest_xet::{
    CHUNK_BYTES_MAX, ChunkHeader, ChunkRef, Decoder, Hash, XORB_BYTES_MAX, XORB_CHUNKS_MAX, XorbChunks,
    chunk_hash, xorb_hash,
};

use super::{Access, Catalog, FileId, Located};
use crate::os::Identity;

/// First bytes of the footer that may follow a xorb's chunks (Xet draft).
const FOOTER_MAGIC: &[u8] = b"XETBLOB";
/// Bytes of the largest file looked at: a full xorb with chunk headers and a footer.
const FILE_BYTES_MAX: u64 = XORB_BYTES_MAX as u64 + (XORB_CHUNKS_MAX as u64) * 64;

/// A run of a xorb's chunks in serialised form: a byte range of a file, made of chunk headers and packed
/// chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginalXorb {
    /// Which file.
    pub file: FileId,
    /// First chunk of the range.
    pub first: u32,
    /// Chunks in the range.
    pub count: u32,
    /// First byte in the file.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// What a file's name says that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Whole,
    /// The chunks from this one on, as many as there are.
    From(u32),
}

/// A xorb file whose chunks were hashed.
struct Checked {
    id: FileId,
    identity: Identity,
    /// Hash and end offset of each chunk.
    chunks: Vec<(Hash, u64)>,
}

/// What is known about the original's files.
pub(super) struct Originals {
    root: PathBuf,
    has_xorbs: bool,
    has_chunks: bool,
    /// By number: the low bits of a [`FileId`].
    files: Vec<(PathBuf, Identity)>,
    /// `None`: looked at and found wrong, in the state that it had then.
    xorbs: BTreeMap<PathBuf, Result<Arc<Checked>, Identity>>,
}

impl Originals {
    pub(super) fn at(root: &Path) -> Self {
        Self {
            has_xorbs: root.join("xorbs").is_dir(),
            has_chunks: root.join("chunks").is_dir(),
            root: root.to_path_buf(),
            files: Vec::new(),
            xorbs: BTreeMap::new(),
        }
    }

    /// Whether there is any of the original's folders.
    pub(super) fn is_there(&self) -> bool {
        self.has_xorbs || self.has_chunks
    }

    /// The id of a file in this state.
    fn id(&mut self, path: &Path, identity: Identity) -> FileId {
        let number = self.files.iter().position(|(known, was)| known == path && *was == identity);
        let number = number.unwrap_or_else(|| {
            self.files.push((path.to_path_buf(), identity));
            self.files.len() - 1
        });
        FileId(FileId::ORIGINAL | number as u32)
    }

    /// The files that may have a xorb's chunks from `start` on: a part that begins there, or the whole.
    fn xorb_files(&self, xorb: &Hash, start: u32) -> [(PathBuf, Extent); 2] {
        let name = xorb.to_string();
        let dir = self.root.join("xorbs").join(&name[..2]);
        [(dir.join(format!("{name}.{start}")), Extent::From(start)), (dir.join(name), Extent::Whole)]
    }
}

impl Catalog {
    /// The given chunks of a xorb in the original's cache. A part on disk is used if it begins at
    /// `range.start`, as the original does; a range that reaches beyond what is there is cut short. The first
    /// use of a file hashes up to 64 MiB.
    ///
    /// With [`Access::Share`] every chunk must belong to a file of a commit that is proven public.
    #[must_use]
    pub fn original_xorb(&self, xorb: &Hash, range: Range<u32>, access: Access) -> Option<OriginalXorb> {
        let candidates = {
            let may = access == Access::Own || self.shares_originals();
            let originals = self.originals();
            if !originals.has_xorbs || !may {
                return None;
            }
            originals.xorb_files(xorb, range.start)
        };
        for (path, extent) in candidates {
            let Some(checked) = self.checked_xorb(xorb, &path, extent) else { continue };
            let first = if let Extent::From(first) = extent { first } else { 0 };
            let from = (range.start - first) as usize;
            let to = ((range.end.max(range.start) - first) as usize).min(checked.chunks.len());
            if from >= to {
                continue;
            }
            let chunks = &checked.chunks[from..to];
            if access != Access::Own && !chunks.iter().all(|(hash, _)| self.is_known_public(hash, access)) {
                continue;
            }
            let offset = from.checked_sub(1).map_or(0, |before| checked.chunks[before].1);
            let len = chunks.last()?.1 - offset;
            return Some(OriginalXorb {
                file: checked.id,
                first: range.start,
                count: (to - from) as u32,
                offset,
                len,
            });
        }
        None
    }

    /// A chunk in the original's chunk cache.
    pub(super) fn original_chunk(&self, hash: &Hash, access: Access) -> Option<Located> {
        if access != Access::Own && !self.shares_originals() {
            return None;
        }
        let name = hash.to_plain_hex();
        let path = {
            let originals = self.originals();
            originals.has_chunks.then(|| originals.root.join("chunks").join(&name[..2]).join(&name))?
        };
        let (bytes, identity) = read_whole(&path, CHUNK_BYTES_MAX as u64)?;
        if chunk_hash(&bytes) != *hash || (access != Access::Own && !self.is_known_public(hash, access)) {
            return None;
        }
        let file = self.originals().id(&path, identity);
        Some(Located { hash: *hash, file, offset: 0, len: bytes.len() as u32 })
    }

    pub(super) fn open_original(&self, id: FileId) -> Option<Arc<File>> {
        let (path, identity) = self.originals().files.get((id.0 & !FileId::ORIGINAL) as usize)?.clone();
        let file = File::open(path).ok()?;
        (Identity::of(&file.metadata().ok()?) == identity).then(|| Arc::new(file))
    }

    fn checked_xorb(&self, xorb: &Hash, path: &Path, extent: Extent) -> Option<Arc<Checked>> {
        let identity = Identity::of(&fs::metadata(path).ok()?);
        match self.originals().xorbs.get(path) {
            Some(Ok(checked)) if checked.identity == identity => return Some(Arc::clone(checked)),
            Some(Err(bad)) if *bad == identity => return None,
            _ => {}
        }
        let (bytes, identity) = read_whole(path, FILE_BYTES_MAX)?;
        let chunks = parse(&bytes);
        let mut originals = self.originals();
        // A part cannot be checked against the xorb's name; its chunks are, one by one, by whoever uses them.
        let right = |chunks: &Vec<(ChunkRef, u64)>| {
            let refs: Vec<ChunkRef> = chunks.iter().map(|(chunk, _)| *chunk).collect();
            extent != Extent::Whole || xorb_hash(&refs) == *xorb
        };
        let Some(chunks) = chunks.filter(right) else {
            tracing::warn!(path = %path.display(), "not the xorb that its name says: ignored");
            originals.xorbs.insert(path.to_path_buf(), Err(identity));
            return None;
        };
        let id = originals.id(path, identity);
        let chunks = chunks.into_iter().map(|(chunk, end)| (chunk.hash, end)).collect();
        let checked = Arc::new(Checked { id, identity, chunks });
        originals.xorbs.insert(path.to_path_buf(), Ok(Arc::clone(&checked)));
        Some(checked)
    }

    fn originals(&self) -> std::sync::MutexGuard<'_, Originals> {
        self.originals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a file of at most `max` bytes that does not change meanwhile.
fn read_whole(path: &Path, max: u64) -> Option<(Vec<u8>, Identity)> {
    let file = File::open(path).ok()?;
    let meta = file.metadata().ok()?;
    if !meta.is_file() || meta.len() > max {
        return None;
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    (&file).take(max).read_to_end(&mut bytes).ok()?;
    let identity = Identity::of(&file.metadata().ok()?);
    (Identity::of(&meta) == identity && bytes.len() as u64 == identity.size).then_some((bytes, identity))
}

/// Every chunk of a serialised xorb with the offset of its end; `None` if anything is wrong. A footer is
/// passed over.
fn parse(bytes: &[u8]) -> Option<Vec<(ChunkRef, u64)>> {
    let mut decoder = Decoder::new();
    let mut plain = vec![0; CHUNK_BYTES_MAX];
    let mut chunks = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() && !rest.starts_with(FOOTER_MAGIC) {
        let mut iter = XorbChunks::new(rest);
        let (header, packed) = iter.next()?.ok()?;
        let out = &mut plain[..header.len as usize];
        decoder.decode(header, packed, out).ok()?;
        rest = &rest[ChunkHeader::BYTES + packed.len()..];
        chunks.push((ChunkRef { hash: chunk_hash(out), len: header.len }, (bytes.len() - rest.len()) as u64));
        if chunks.len() > XORB_CHUNKS_MAX {
            return None;
        }
    }
    (!chunks.is_empty()).then_some(chunks)
}
