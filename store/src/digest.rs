//! Hashes of whole files, computed in one pass with a small buffer.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use zest_xet::{ChunkRef, Chunker, Rule, file_hash};

use crate::error::{Context as _, StoreError};
use crate::tree::TreeEntry;

/// Bytes read at a time: large enough that system calls do not count, small enough to stay in the
/// second-level cache.
const READ_BYTES: usize = 256 * 1024;

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Whether these bytes are the blob of this name, a git blob id or a SHA-256 as hex.
pub(crate) fn is_blob(etag: &str, bytes: &[u8]) -> bool {
    let digest = match etag.len() {
        40 => {
            let mut sha = Sha1::new();
            sha.update(format!("blob {}\0", bytes.len()));
            sha.update(bytes);
            hex(&sha.finalize())
        }
        _ => hex(&Sha256::digest(bytes)),
    };
    digest == etag
}

/// Calls `take` with the file's bytes in order, from its current position to the end; gives their number.
pub(crate) fn read_all(file: &File, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
    read_while(file, |bytes| {
        take(bytes);
        true
    })
}

/// The same for as long as `take` wants more.
fn read_while(mut file: &File, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<u64> {
    let mut buf = vec![0; READ_BYTES];
    let mut total = 0;
    loop {
        match file.read(&mut buf) {
            Ok(0) => return Ok(total),
            Ok(n) => {
                total += n as u64;
                if !take(&buf[..n]) {
                    return Err(io::ErrorKind::Interrupted.into());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Cuts a file by a rule.
pub(crate) fn chunk_file(file: &File, rule: Rule) -> io::Result<Vec<ChunkRef>> {
    let mut chunks = Vec::new();
    let mut chunker = Chunker::new(rule);
    read_all(file, |bytes| chunker.push(bytes, &mut |chunk| chunks.push(chunk)))?;
    chunker.finish(&mut |chunk| chunks.push(chunk));
    Ok(chunks)
}

/// The hash that names a blob in the cache: sha256 for LFS files, git blob id otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlobDigest {
    pub(crate) algorithm: &'static str,
    pub(crate) expected: String,
    pub(crate) actual: String,
}

/// Hashes a file of `len` bytes as the entry's blob name was made.
pub(crate) fn blob_digest(file: &File, len: u64, entry: &TreeEntry) -> io::Result<BlobDigest> {
    blob_digest_while(file, len, entry, &mut |_| true)
}

fn blob_digest_while(
    file: &File,
    len: u64,
    entry: &TreeEntry,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> io::Result<BlobDigest> {
    let expected = entry.etag().to_owned();
    let git_header = format!("blob {len}\0");
    let mut sha256 = |prefix: &[u8]| {
        let mut sha = Sha256::new();
        sha.update(prefix);
        read_while(file, |bytes| {
            sha.update(bytes);
            go_on(bytes.len() as u64)
        })?;
        Ok::<_, io::Error>(hex(&sha.finalize()))
    };
    let (algorithm, actual) = match (&entry.lfs_sha256, expected.len()) {
        (Some(_), _) => ("sha256", sha256(b"")?),
        (None, 64) => ("git blob id (sha256)", sha256(git_header.as_bytes())?),
        (None, _) => {
            let mut sha = Sha1::new();
            sha.update(git_header.as_bytes());
            read_while(file, |bytes| {
                sha.update(bytes);
                go_on(bytes.len() as u64)
            })?;
            ("git blob id", hex(&sha.finalize()))
        }
    };
    Ok(BlobDigest { algorithm, expected, actual })
}

/// Compares the file that `open` opens with every byte that the Hub vouched for: by its sha256 or git blob id, by its xet hash
/// where that is all there is. `None` if it is right. `go_on` is told how many bytes were read each time.
///
/// # Errors
/// The system's; `Interrupted` if `go_on` said no.
pub(crate) fn objection(
    open: &dyn Fn() -> io::Result<File>,
    len: u64,
    entry: &TreeEntry,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> io::Result<Option<BlobDigest>> {
    let TreeEntry { lfs_sha256: None, xet_hash: Some(expected), .. } = entry else {
        let digest = blob_digest_while(&open()?, len, entry, go_on)?;
        return Ok((digest.actual != digest.expected).then_some(digest));
    };
    let mut got = Vec::new();
    for rule in [Rule::Current, Rule::Old] {
        let (mut chunks, mut chunker) = (Vec::new(), Chunker::new(rule));
        read_while(&open()?, |bytes| {
            chunker.push(bytes, &mut |chunk| chunks.push(chunk));
            go_on(bytes.len() as u64)
        })?;
        chunker.finish(&mut |chunk| chunks.push(chunk));
        let root = file_hash(&chunks);
        if root == *expected {
            return Ok(None);
        }
        got.push(root.to_string());
    }
    let (expected, actual) = (expected.to_string(), got.swap_remove(0));
    Ok(Some(BlobDigest { algorithm: "xet hash", expected, actual }))
}

/// Checks that the file at `path` is the entry's content, by size and by the hash that names its blob.
pub(crate) fn check_content(path: &Path, file: &File, entry: &TreeEntry) -> Result<(), StoreError> {
    let actual = file.metadata().at("examine", path)?.len();
    let expected = entry.content_size();
    if actual != expected {
        return Err(StoreError::WrongSize { path: path.into(), expected, actual });
    }
    let digest = blob_digest(file, actual, entry).at("read", path)?;
    if digest.actual == digest.expected {
        return Ok(());
    }
    let BlobDigest { algorithm, expected, actual } = digest;
    Err(StoreError::WrongContent { path: path.into(), algorithm, expected, actual })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blob_names_are_those_of_git_and_lfs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"hello\n").unwrap();
        let open = || File::open(&path).unwrap();
        let mut entry = TreeEntry {
            path: "f".into(),
            size: 6,
            blob_id: "ce013625030ba8dba906f756967f9e9ca394464a".into(),
            lfs_sha256: None,
            lfs_size: None,
            xet_hash: None,
        };
        check_content(&path, &open(), &entry).unwrap();
        entry.lfs_sha256 = Some("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03".into());
        check_content(&path, &open(), &entry).unwrap();
        entry.lfs_sha256 = Some("0".repeat(64));
        let error = check_content(&path, &open(), &entry).unwrap_err().to_string();
        assert!(error.contains("has sha256 5891b5b5") && error.contains("expected 0000"), "{error}");
        entry.lfs_size = Some(7);
        let error = check_content(&path, &open(), &entry).unwrap_err().to_string();
        assert!(error.ends_with("is 6 bytes long, expected 7"), "{error}");
    }
}
