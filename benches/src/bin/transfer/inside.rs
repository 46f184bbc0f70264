//! What needs no other process: one core unpacking and proving, and the opening of a large catalog.

use std::fs::File;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use zest_benches::{Packed, Weights};
use zest_store::{Catalog, Endpoint, Place, RepoId, RepoType};
use zest_xet::{CHUNK_BYTES_MAX, ChunkRef, Decoder, Manifest, SchemeChoice, chunk_hash, file_hash};

use crate::Error;
use crate::report::{Bar, Report};

/// Bytes unpacked in one round: 64 MiB, a whole xorb, beyond every cache.
const DATA_BYTES: usize = 64 << 20;

/// Files of the catalog and chunks of each: 100,000 chunks in all, 6.5 GB of models.
const CATALOG_FILES: u32 = 10;
const CATALOG_CHUNKS: u32 = 10_000;

/// Bytes of every chunk of the catalog: 64 KiB, the mean.
const CHUNK_BYTES: u32 = 64 << 10;

/// CPU time of this thread, in seconds. On a machine that others use, too, wall time says little about one core.
fn thread_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Decoding and proof of BG4+LZ4 packed weights, the common case of real models.
pub(crate) fn decode_and_prove(runs: usize, report: &mut Report) {
    let packed = Packed::new(Weights::new().make(1, DATA_BYTES), SchemeChoice::Bg4Lz4);
    let (mut decoder, mut out) = (Decoder::new(), vec![0; CHUNK_BYTES_MAX]);
    let rates = (0..runs)
        .map(|_| {
            let before = thread_cpu_s();
            packed.unpack(&mut decoder, &mut out, true);
            DATA_BYTES as f64 / 1e9 / (thread_cpu_s() - before)
        })
        .collect();
    report.row("decode + proof, GB/s per core", rates, Some(Bar::AtLeast(1.5)));
}

/// A catalog of 100,000 chunks, opened again and again; its files are in the page cache.
pub(crate) fn open_catalog(runs: usize, report: &mut Report) -> Result<(), Error> {
    let dir = tempfile::tempdir()?;
    let repo = RepoId::new(RepoType::Model, "bench/sample")?;
    let catalog = Catalog::open(&dir.path().join("zest"))?;
    for number in 0..CATALOG_FILES {
        let chunk = |index: u32| ChunkRef {
            hash: chunk_hash(&(number * CATALOG_CHUNKS + index).to_le_bytes()),
            len: CHUNK_BYTES,
        };
        let list: Vec<ChunkRef> = (0..CATALOG_CHUNKS).map(chunk).collect();
        let size = u64::from(CATALOG_CHUNKS) * u64::from(CHUNK_BYTES);
        let manifest = Manifest::prove(file_hash(&list), size, list)?;
        // Sparse: the catalog looks at a file's size and identity when it opens, not at its bytes.
        let path = dir.path().join(format!("model-{number}"));
        File::create(&path)?.set_len(size)?;
        let place = Place { hub: Some(Endpoint::public()), path, repo: repo.clone(), commit: "0".repeat(40) };
        catalog.publish(&manifest, &place, None, None)?;
    }
    drop(catalog);
    let mut times_ms = Vec::new();
    for _ in 0..runs {
        let started = Instant::now();
        let catalog = Catalog::open(&dir.path().join("zest"))?;
        times_ms.push(started.elapsed().as_secs_f64() * 1e3);
        let chunks: u32 = catalog.files().iter().map(|file| file.chunks).sum();
        if chunks != CATALOG_FILES * CATALOG_CHUNKS {
            return Err(format!("the catalog has {chunks} chunks").into());
        }
    }
    report.row("catalog of 100,000 chunks opens, ms", times_ms, Some(Bar::AtMost(50.0)));
    Ok(())
}
