//! What was read and found right, so that it is not read again: `<zest cache>/proven`.
//!
//! One record per proof, appended; a file that changed since (inode, size or one of its times) has none. The newest record of
//! an inode counts. Several processes append at once: a record is one write.
//!
//! ```text
//!  0..40  device, inode, size, mtime, ctime      5 × u64 or i64, big endian
//! 40..56  name                                   first bytes of SHA-256 over the hashes that the Hub gave
//! 56..64  checksum                               first bytes of SHA-256 over what stands before
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nom::Parser as _;
use nom::bytes::complete::take;
use nom::number::complete::be_i64;
use sha2::{Digest as _, Sha256};
use zest_xet::fields::{self, Parsed, array, be_u64};

use crate::lock::FileLock;
use crate::os::{self, Identity};
use crate::tree::TreeEntry;

/// Bytes of a record.
const RECORD_BYTES: usize = 64;
/// Bytes of the file that are read, and beyond which the older half is dropped: 64 MiB, a million files.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Bytes from which on a file is looked at for records that were overtaken: 1 MiB.
const TIDY_BYTES_MIN: u64 = 1 << 20;
/// Part of the checksum, so that the format can change.
const VERSION: &[u8] = b"zest proven 1";

type Name = [u8; 16];

/// The notes of one zest cache. Shared between threads by reference.
#[derive(Debug)]
pub(crate) struct ProvenFiles {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By device and inode.
    proofs: BTreeMap<(u64, u64), (Identity, Name)>,
    /// Bytes of the file that were read.
    read: u64,
    /// Which file that was.
    inode: u64,
}

impl ProvenFiles {
    /// The notes below a zest cache, which need not exist. Nothing is read or created yet.
    pub(crate) fn at(zest_cache: &Path) -> Self {
        Self { path: zest_cache.join("proven"), known: Mutex::default() }
    }

    /// Whether a file with this identity was found to be what the entry says.
    pub(crate) fn holds(&self, identity: &Identity, entry: &TreeEntry) -> bool {
        let name = name(entry);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.has(identity, &name) {
            return true;
        }
        // Another process may have proven it.
        known.catch_up(&self.path);
        known.has(identity, &name)
    }

    /// Notes that the file with this identity is what the entry says.
    ///
    /// # Errors
    /// The system's; then it is proven again by the next one who asks.
    pub(crate) fn note(&self, identity: &Identity, entry: &TreeEntry) -> io::Result<()> {
        if self.holds(identity, entry) {
            return Ok(());
        }
        self.append(identity, name(entry))
    }

    fn append(&self, identity: &Identity, name: Name) -> io::Result<()> {
        let record = encode(identity, &name);
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut file = os::open_nofollow(&self.path, true, 0o600)?;
        let len = file.metadata()?.len();
        // A torn record must not put those after it out of step.
        let torn = (len % RECORD_BYTES as u64) as usize;
        let padding = if torn == 0 { 0 } else { RECORD_BYTES - torn };
        file.write_all(&[&[0; RECORD_BYTES][..padding], &record[..]].concat())?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.proofs.insert((identity.dev, identity.ino), (*identity, name));
        Ok(())
    }

    /// The file that had this identity has another one now, and its bytes are the same.
    ///
    /// # Errors
    /// As of [`ProvenFiles::note`].
    pub(crate) fn renew(&self, before: &Identity, now: &Identity) -> io::Result<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.catch_up(&self.path);
        let proof = known.proofs.get(&before.file()).copied();
        drop(known);
        match proof {
            Some((identity, name)) if identity == *before => self.append(now, name),
            _ => Ok(()),
        }
    }
}

impl Known {
    fn has(&self, identity: &Identity, name: &Name) -> bool {
        self.proofs.get(&(identity.dev, identity.ino)).is_some_and(|(i, n)| i == identity && n == name)
    }

    /// Reads what was appended since; the whole file if it is another one.
    fn catch_up(&mut self, path: &Path) {
        let Ok(mut file) = os::open_read_nofollow(path) else { return };
        let Ok(meta) = file.metadata() else { return };
        let inode = Identity::of(&meta).ino;
        if inode != self.inode || meta.len() < self.read {
            (self.inode, self.read) = (inode, 0);
        }
        if meta.len() == self.read {
            return;
        }
        let whole = self.read == 0;
        if self.append_from(&mut file).is_ok() && whole {
            self.tidy(path, meta.len());
        }
    }

    fn append_from(&mut self, file: &mut File) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        let (records, _) = bytes.as_chunks::<RECORD_BYTES>();
        for (identity, name) in records.iter().filter_map(decode) {
            self.proofs.insert((identity.dev, identity.ino), (identity, name));
        }
        self.read += (records.len() * RECORD_BYTES) as u64;
        Ok(())
    }

    /// Writes the file anew when most of it was overtaken, or when it is too long. Best effort.
    fn tidy(&mut self, path: &Path, len: u64) {
        let live = (self.proofs.len() * RECORD_BYTES) as u64;
        let too_long = len > FILE_BYTES_MAX / 2 + live / 2;
        if len < TIDY_BYTES_MIN || (live > len / 2 && !too_long) {
            return;
        }
        let lock = path.with_extension("lock");
        let Ok(Some(_lock)) = FileLock::try_acquire(&lock, 0o600) else { return };
        if live > FILE_BYTES_MAX / 2 {
            // Which of them are the oldest is not known any more: what was dropped is proven once more.
            let mut at = 0;
            self.proofs.retain(|_, _| {
                at += 1;
                at % 2 == 0
            });
        }
        let bytes: Vec<u8> = self.proofs.values().flat_map(|(i, n)| encode(i, n)).collect();
        if let Err(error) = os::write_atomically(path, ".tmp", 0o600, &bytes) {
            tracing::debug!(%error, "could not tidy the notes of what was proven");
        }
        (self.read, self.inode) = (0, 0);
    }
}

/// What the Hub named, in short.
fn name(entry: &TreeEntry) -> Name {
    let mut sha = Sha256::new();
    sha.update(entry.etag());
    if let Some(xet) = entry.xet_hash {
        sha.update(xet.to_string());
    }
    first(&sha.finalize())
}

fn first<const N: usize>(digest: &[u8]) -> [u8; N] {
    digest.first_chunk().copied().unwrap_or([0; N])
}

fn checksum(record: &[u8]) -> [u8; 8] {
    first(&Sha256::new().chain_update(VERSION).chain_update(record).finalize())
}

fn encode(identity: &Identity, name: &Name) -> [u8; RECORD_BYTES] {
    let Identity { dev, ino, size, mtime_ns, ctime_ns } = *identity;
    let mut record = [0; RECORD_BYTES];
    let words = [dev, ino, size, mtime_ns.cast_unsigned(), ctime_ns.cast_unsigned()];
    for (to, word) in record.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_be_bytes());
    }
    record[40..56].copy_from_slice(name);
    let sum = checksum(&record[..56]);
    record[56..].copy_from_slice(&sum);
    record
}

fn decode(record: &[u8; RECORD_BYTES]) -> Option<(Identity, Name)> {
    let (_, (body, sum)) = record_parts(record).ok()?;
    if sum != checksum(body) {
        return None;
    }
    fields::first((identity, array), body)
}

/// What the checksum covers, and the checksum.
fn record_parts(input: &[u8]) -> Parsed<'_, (&[u8], [u8; 8])> {
    (take(56usize), array).parse(input)
}

/// device 8, inode 8, size 8, times of last change of content and of inode 8 each
fn identity(input: &[u8]) -> Parsed<'_, Identity> {
    (be_u64, be_u64, be_u64, be_i64, be_i64)
        .map(|(dev, ino, size, mtime_ns, ctime_ns)| Identity { dev, ino, size, mtime_ns, ctime_ns })
        .parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sha256: char) -> TreeEntry {
        let lfs_sha256 = Some(sha256.to_string().repeat(64));
        let blob_id = "0".repeat(40);
        TreeEntry { path: "f".into(), size: 1, blob_id, lfs_sha256, lfs_size: Some(1), xet_hash: None }
    }

    fn identity(ino: u64, ctime_ns: i64) -> Identity {
        Identity { dev: 1, ino, size: 1, mtime_ns: -5, ctime_ns }
    }

    #[test]
    fn a_proof_is_of_one_content_and_one_state_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (here, other) = (ProvenFiles::at(dir.path()), ProvenFiles::at(dir.path()));
        assert!(!other.holds(&identity(1, 2), &entry('a')));
        here.note(&identity(1, 2), &entry('a')).unwrap();
        for notes in [&here, &other, &ProvenFiles::at(dir.path())] {
            assert!(notes.holds(&identity(1, 2), &entry('a')), "also for other processes");
            assert!(!notes.holds(&identity(1, 2), &entry('b')));
            assert!(!notes.holds(&identity(1, 3), &entry('a')));
            assert!(!notes.holds(&identity(2, 2), &entry('a')));
        }
    }

    #[test]
    fn torn_and_flipped_records_cost_themselves_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("proven");
        let notes = ProvenFiles::at(dir.path());
        notes.note(&identity(1, 1), &entry('a')).unwrap();
        notes.note(&identity(2, 1), &entry('a')).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[3] ^= 1;
        bytes.truncate(bytes.len() - 7);
        fs::write(&path, bytes).unwrap();
        let notes = ProvenFiles::at(dir.path());
        assert!(!notes.holds(&identity(1, 1), &entry('a')) && !notes.holds(&identity(2, 1), &entry('a')));
        notes.note(&identity(3, 1), &entry('a')).unwrap();
        assert!(ProvenFiles::at(dir.path()).holds(&identity(3, 1), &entry('a')));
    }

    #[test]
    fn what_was_overtaken_is_tidied_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("proven");
        let old: Vec<u8> =
            (0..40_000).flat_map(|n| encode(&identity(n % 10, n as i64), &name(&entry('a')))).collect();
        fs::write(&path, old).unwrap();
        let notes = ProvenFiles::at(dir.path());
        assert!(notes.holds(&identity(9, 39_999), &entry('a')));
        assert_eq!(fs::metadata(&path).unwrap().len(), 10 * RECORD_BYTES as u64);
        assert!(ProvenFiles::at(dir.path()).holds(&identity(0, 39_990), &entry('a')));
    }
}
