//! A file that every server of the benchmark gives: in a catalog, and as a plain list for the yardstick.

use crate::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use zest_store::{Catalog, Place, RepoId, RepoType};
use zest_xet::{ChunkRef, Chunker, Manifest, Rule, file_hash};

/// Bytes made at once.
const PIECE: usize = 8 << 20;

pub(crate) struct Data {
    /// Home of the servers: their catalog is below.
    pub(crate) home: PathBuf,
    pub(crate) file: PathBuf,
    /// Hash, offset and length of each chunk: 44 bytes.
    pub(crate) list: PathBuf,
    pub(crate) chunks: Vec<ChunkRef>,
}

impl Data {
    pub(crate) fn make(dir: &Path, bytes: u64) -> Result<Data, Error> {
        let (home, file, list) = (dir.to_path_buf(), dir.join("data.bin"), dir.join("list"));
        let mut out = File::create(&file)?;
        let mut chunker = Chunker::new(Rule::Current);
        let mut chunks = Vec::new();
        let mut state = 1_u64;
        let mut left = bytes as usize;
        while left > 0 {
            let piece: Vec<u8> = std::iter::repeat_with(|| noise(&mut state).to_le_bytes())
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
        fs::create_dir_all(home.join(".cache/huggingface/hub"))?;
        let catalog = Catalog::open(&home.join(".cache/zest"))?;
        let repo = RepoId::new(RepoType::Model, "bench/sample")?;
        let commit = "0123456789012345678901234567890123456789";
        let place = Place { path: file.clone(), repo: repo.clone(), commit: commit.to_owned() };
        catalog.publish(&manifest, &place, None, None)?;
        catalog.prove_public(&repo, commit, SystemTime::now() + Duration::from_secs(7 * 24 * 3600))?;
        let mut plain = Vec::new();
        for index in 0..manifest.len() {
            let chunk = manifest.chunk(index);
            plain.extend_from_slice(chunk.hash.as_bytes());
            plain.extend_from_slice(&manifest.offset(index).to_le_bytes());
            plain.extend_from_slice(&chunk.len.to_le_bytes());
        }
        fs::write(&list, plain)?;
        Ok(Data { home, file, list, chunks: manifest.chunks().to_vec() })
    }

    /// Has the system forget the file's pages.
    pub(crate) fn drop_from_page_cache(&self) -> Result<(), Error> {
        let file = File::open(&self.file)?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    }
}

/// SplitMix64.
pub(crate) fn noise(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
