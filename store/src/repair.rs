//! What is right of a wrong file is kept as an interrupted pull would have left it, so that the next pull fetches the rest alone.

use std::fs::{self, File};
use std::path::Path;

use zest_xet::chunk_hash;

use crate::cache::{HfCache, SnapshotFile};
use crate::catalog::{Access, Catalog};
use crate::error::{Context as _, StoreError};
use crate::os::FileExt as _;
use crate::partial::{Entry, Partial, PartialError, PartialSpec};

/// What was kept of a wrong file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Salvage {
    /// Bytes whose chunks are what the chunk list names.
    pub good_bytes: u64,
    /// Bytes to fetch again.
    pub bad_bytes: u64,
}

/// Takes a wrong file out of the cache. Where its chunk list is known, the chunks that are right become a partial file; else
/// nothing of it is kept. What leads to it stays, and leads nowhere until it is fetched again.
///
/// # Errors
/// [`PartialError::Busy`] if another process is fetching it; the system's. The file is then where it was.
pub fn salvage(cache: &HfCache, catalog: &Catalog, file: &SnapshotFile) -> Result<Salvage, PartialError> {
    let blob = fs::canonicalize(&file.path).at("follow", &file.path)?;
    let root = fs::canonicalize(cache.root()).at("follow", cache.root())?;
    if !blob.starts_with(&root) {
        // Somebody's own link out of the cache: the link is wrong, what it leads to is theirs.
        fs::remove_file(&file.path).at("remove", &file.path)?;
        return Ok(Salvage { good_bytes: 0, bad_bytes: file.entry.content_size() });
    }
    let size = file.entry.content_size();
    let salvaged = match file.entry.xet_hash {
        Some(file_hash) => {
            let dir = cache.partial_dir(&file.repo, &file.entry)?;
            keep_what_is_right(catalog, &dir, PartialSpec { file: file_hash, size }, &blob)?
        }
        None => Salvage { good_bytes: 0, bad_bytes: size },
    };
    fs::remove_file(&blob).at("remove", &blob)?;
    Ok(salvaged)
}

/// Of a file that is not what it should be, the chunks that are become the partial file of a pull in `dir`. Where its chunk list is
/// not known nothing is kept. The file stays as it is.
///
/// # Errors
/// As [`salvage`].
pub fn keep_what_is_right(
    catalog: &Catalog,
    dir: &Path,
    spec: PartialSpec,
    wrong: &Path,
) -> Result<Salvage, PartialError> {
    let mut salvage = Salvage { good_bytes: 0, bad_bytes: spec.size };
    let Some(list) = catalog.load_manifest(&spec.file, Access::Own) else { return Ok(salvage) };
    let file = File::open(wrong).map_err(|_| StoreError::unreadable(wrong))?;
    let partial = Partial::open(dir, spec)?;
    let mut bytes = Vec::new();
    for index in 0..list.len() {
        let (chunk, offset) = (list.chunk(index), list.offset(index));
        bytes.resize(chunk.len as usize, 0);
        let right = file.read_exact_at(&mut bytes, offset).is_ok() && chunk_hash(&bytes) == chunk.hash;
        if !right {
            continue;
        }
        salvage.good_bytes += u64::from(chunk.len);
        salvage.bad_bytes -= u64::from(chunk.len);
        let path = partial.path().to_owned();
        partial.write_at(offset, &bytes).at("write", &path)?;
        partial.record(&Entry { index, offset, chunk, packed_len: 0 }).at("write", &path)?;
    }
    let path = partial.path().to_owned();
    partial.sync().at("write", &path)?;
    Ok(salvage)
}
