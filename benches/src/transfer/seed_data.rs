//! A file that every server of the benchmark gives: in a catalog, and as a plain list for the baseline.

use super::Error;
use crate::split_mix;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use zest_store::{Catalog, Endpoint, Place, RepoId, RepoType};
use zest_xet::{ChunkRef, Chunker, Manifest, Rule, file_hash};

/// Bytes made at once.
const PIECE: usize = 8 << 20;

/// The file and what is known about it.
#[derive(Debug)]
pub struct Data {
    /// Home of the servers: their catalog is below.
    pub home: PathBuf,
    /// The file.
    pub file: PathBuf,
    /// Hash, offset and length of each chunk: 44 bytes.
    pub list: PathBuf,
    /// Its chunks in order.
    pub chunks: Vec<ChunkRef>,
}

impl Data {
    /// Makes a file of about this size in `dir`, from noise, and a catalog that shares it.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn make(dir: &Path, bytes: u64) -> Result<Self, Error> {
        // Only what lies in a cache is given.
        let cache = dir.join(".cache/huggingface/hub");
        fs::create_dir_all(&cache)?;
        let (home, file, list) = (dir.to_path_buf(), cache.join("data.bin"), dir.join("list"));
        let mut out = File::create(&file)?;
        let mut chunker = Chunker::new(Rule::Current);
        let mut chunks = Vec::new();
        let mut state = 1_u64;
        let mut left = bytes as usize;
        while left > 0 {
            let piece: Vec<u8> = std::iter::repeat_with(|| split_mix(&mut state).to_le_bytes())
                .take(left.min(PIECE) / 8)
                .flatten()
                .collect();
            chunker.push(&piece, &mut |chunk| chunks.push(chunk));
            out.write_all(&piece)?;
            left -= left.min(PIECE);
        }
        chunker.finish(&mut |chunk| chunks.push(chunk));
        out.sync_all()?;

        let manifest = Manifest::prove(file_hash(&chunks), bytes / 8 * 8, chunks)?;
        let catalog = Catalog::open(&home.join(".cache/zest"))?;
        let repo = RepoId::new(RepoType::Model, "bench/sample")?;
        let commit = "0123456789012345678901234567890123456789";
        let place = Place {
            hub: Some(Endpoint::public()),
            path: file.clone(),
            repo: repo.clone(),
            commit: commit.to_owned(),
        };
        catalog.publish(&manifest, &place, None, None)?;
        catalog.prove_public(&Endpoint::public(), &repo, commit, SystemTime::now())?;
        let mut plain = Vec::new();
        for index in 0..manifest.len() {
            let chunk = manifest.chunk(index);
            plain.extend_from_slice(chunk.hash.as_bytes());
            plain.extend_from_slice(&manifest.offset(index).to_le_bytes());
            plain.extend_from_slice(&chunk.len.to_le_bytes());
        }
        fs::write(&list, plain)?;
        Ok(Self { home, file, list, chunks: manifest.chunks().to_vec() })
    }
}

/// What a list says: hash, offset and length of each chunk.
///
/// # Errors
/// When the list cannot be read.
pub fn read_list(path: &Path) -> Result<Vec<([u8; 32], u64, u32)>, Error> {
    let bytes = fs::read(path)?;
    let record = |record: &[u8; 44]| {
        let (hash, rest) = record.split_first_chunk::<32>().expect("44 bytes");
        let (offset, len) = rest.split_first_chunk::<8>().expect("12 bytes");
        (*hash, u64::from_le_bytes(*offset), u32::from_le_bytes(len.try_into().expect("4 bytes")))
    };
    Ok(bytes.as_chunks::<44>().0.iter().map(record).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_covers_the_file_and_the_catalog_shares_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = Data::make(dir.path(), 1 << 20).expect("made");
        let list = read_list(&data.list).expect("read");
        assert_eq!(list.len(), data.chunks.len());
        let mut end = 0;
        for ((hash, offset, len), chunk) in list.iter().zip(&data.chunks) {
            assert_eq!((hash, *offset, *len), (chunk.hash.as_bytes(), end, chunk.len));
            end += u64::from(*len);
        }
        assert_eq!(end, 1 << 20);
        let catalog = Catalog::open(&dir.path().join(".cache/zest")).expect("a catalog");
        assert!(catalog.files()[0].public_until.is_some(), "strangers may have it");
    }
}
