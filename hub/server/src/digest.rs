//! One pass over a file: everything the hub must know about its content.

use std::fs::File;
use std::io;
use std::sync::Arc;

use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use zest_xet::{ChunkRef, Chunker, Hash, Manifest, Rule};

use super::disk::{DiskFile, Identity, changed, read_exact_at};
use super::sign::hex;

/// Files from this size on go to Xet whatever their name: 10 MiB, the limit above which the public Hub demands LFS.
pub(crate) const XET_SIZE_MIN: u64 = 10 << 20;

/// Name endings that go to Xet at any size but 0: the binary and table formats that the public Hub's default `.gitattributes`
/// puts into LFS, and `csv`.
const XET_ENDINGS: [&str; 40] = [
    "7z",
    "arrow",
    "avro",
    "bin",
    "bz2",
    "ckpt",
    "csv",
    "ftz",
    "gguf",
    "ggml",
    "gz",
    "h5",
    "joblib",
    "lz4",
    "mds",
    "mlmodel",
    "model",
    "msgpack",
    "npy",
    "npz",
    "onnx",
    "ot",
    "parquet",
    "pb",
    "pickle",
    "pkl",
    "pt",
    "pth",
    "rar",
    "safetensors",
    "tar",
    "tflite",
    "tgz",
    "wasm",
    "xz",
    "zip",
    "zst",
    "wav",
    "mp4",
    "webm",
];

/// Bytes read at a time while digesting: 1 MiB, large enough to keep a disk busy, small enough to stay in the cache.
const READ_BYTES: usize = 1 << 20;

/// Whether the file goes to Xet. Empty files never do: they have no chunk.
pub(crate) fn goes_to_xet(path: &str, size: u64) -> bool {
    let ending = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending);
    size > 0
        && (size >= XET_SIZE_MIN
            || ending
                .is_some_and(|ending| XET_ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))))
}

/// What a file's content is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// A small file: its git blob id.
    Plain {
        /// SHA-1 of `blob {size}\0` and the content.
        git: [u8; 20],
    },
    /// A file in Xet.
    Xet {
        /// SHA-256 of the content.
        sha256: [u8; 32],
        /// Xet file hash.
        file: Hash,
    },
}

impl Digest {
    /// Git blob id of what git itself would hold: the content, or the LFS pointer to it.
    pub(crate) fn git_id(&self, size: u64) -> String {
        match self {
            Self::Plain { git } => hex(git),
            Self::Xet { sha256, .. } => {
                let pointer = lfs_pointer(sha256, size);
                let blob = git_blob_header(pointer.len() as u64).chain_update(pointer).finalize();
                hex(&blob)
            }
        }
    }

    /// The `ETag` of the content: SHA-256 for Xet files, git blob id for the others.
    pub(crate) fn etag(&self) -> String {
        match self {
            Self::Plain { git } => hex(git),
            Self::Xet { sha256, .. } => hex(sha256),
        }
    }

    /// The Xet file hash, for files in Xet.
    #[must_use]
    pub fn xet(&self) -> Option<Hash> {
        match self {
            Self::Plain { .. } => None,
            Self::Xet { file, .. } => Some(*file),
        }
    }
}

/// The pointer file that git holds in place of an LFS file (LFS specification, version 1).
pub(crate) fn lfs_pointer(sha256: &[u8; 32], size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {size}\n", hex(sha256))
}

fn git_blob_header(size: u64) -> Sha1 {
    Sha1::new_with_prefix(format!("blob {size}\0"))
}

/// Reads `disk` once. Gives the digest and, for Xet files, the manifest; fails if the file is not, or does not stay, what `disk` says.
pub(crate) fn digest(disk: &DiskFile, to_xet: bool) -> io::Result<(Digest, Option<Arc<Manifest>>)> {
    let file = disk.open()?;
    let size = disk.identity.size;
    let found = if to_xet {
        let mut sha256 = Sha256::new();
        let mut chunker = Chunker::new(Rule::Current);
        let mut chunks: Vec<ChunkRef> = Vec::new();
        for_each_piece(&file, size, |piece| {
            sha256.update(piece);
            chunker.push(piece, &mut |chunk| chunks.push(chunk));
        })?;
        chunker.finish(&mut |chunk| chunks.push(chunk));
        let hash = zest_xet::file_hash(&chunks);
        let manifest = Manifest::prove(hash, size, chunks).map_err(io::Error::other)?;
        (Digest::Xet { sha256: sha256.finalize().into(), file: hash }, Some(Arc::new(manifest)))
    } else {
        let mut git = git_blob_header(size);
        for_each_piece(&file, size, |piece| git.update(piece))?;
        (Digest::Plain { git: git.finalize().into() }, None)
    };
    if Identity::of(&file.metadata()?) == disk.identity { Ok(found) } else { Err(changed()) }
}

fn for_each_piece(file: &File, size: u64, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buf = vec![0; usize::try_from(size).unwrap_or(usize::MAX).min(READ_BYTES)];
    let mut offset = 0;
    while offset < size {
        let take = usize::try_from(size - offset).unwrap_or(usize::MAX).min(READ_BYTES);
        read_exact_at(file, &mut buf[..take], offset)?;
        each(&buf[..take]);
        offset += take as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_text_stays_out_of_xet_and_weights_go_in() {
        assert!(!goes_to_xet("config.json", 5000));
        assert!(goes_to_xet("sub dir/Model.SAFETENSORS", 1));
        assert!(!goes_to_xet("empty.bin", 0));
        assert!(goes_to_xet("tokenizer.json", XET_SIZE_MIN));
        assert!(!goes_to_xet("dir.bin/readme", 10));
    }

    #[test]
    fn git_ids_are_those_of_git() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().canonicalize().expect("canonical").join("a.txt");
        std::fs::write(&path, "hello\n").expect("written");
        let disk = DiskFile::look(path.parent().expect("parent"), &path).expect("a file");
        let (plain, none) = digest(&disk, false).expect("digested");
        assert!(none.is_none());
        // `printf 'hello\n' | git hash-object --stdin`
        assert_eq!(plain.git_id(6), "ce013625030ba8dba906f756967f9e9ca394464a");
    }

    #[test]
    fn one_chunk_file_has_the_hash_of_the_format_notes() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().canonicalize().expect("canonical").join("a.bin");
        std::fs::write(&path, "Hello World!").expect("written");
        let disk = DiskFile::look(path.parent().expect("parent"), &path).expect("a file");
        let (xet, manifest) = digest(&disk, true).expect("digested");
        assert_eq!(manifest.expect("a manifest").len(), 1);
        let file = xet.xet().expect("a Xet file");
        assert_eq!(file.to_string(), "a9dae0ad88b060bdd7e7c87abdcf95b132c95a0414b06d4f6beb68d287b87165");
    }

    #[test]
    fn a_file_that_changed_since_it_was_seen_is_refused() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().canonicalize().expect("canonical").join("a.bin");
        std::fs::write(&path, "one").expect("written");
        let disk = DiskFile::look(path.parent().expect("parent"), &path).expect("a file");
        std::fs::write(&path, "three").expect("written");
        assert!(digest(&disk, true).is_err());
        assert!(!disk.is_unchanged());
    }
}
