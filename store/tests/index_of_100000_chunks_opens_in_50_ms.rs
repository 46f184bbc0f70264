//! A measurement, not a check: `cargo test --release -p zest-store --test
//! index_of_100000_chunks_opens_in_50_ms -- --ignored --nocapture`

use std::time::Instant;

use zest_store::{Access, Catalog, Endpoint, Place, RepoId, RepoType};
use zest_xet::{ChunkRef, Manifest, chunk_hash, file_hash};

const COMMIT: &str = "1111111111111111111111111111111111111111";

#[test]
#[ignore = "measures; prints figures"]
fn measure() {
    for (files, chunks) in [(10u32, 10_000u32), (1, 100_000), (100, 10_000)] {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(dir.path()).unwrap();
        let repo = RepoId::new(RepoType::Model, "a/b").unwrap();
        let mut some = Vec::new();
        for file in 0..files {
            let list: Vec<ChunkRef> = (0..chunks)
                .map(|i| ChunkRef {
                    hash: chunk_hash(&(u64::from(file) << 32 | u64::from(i)).to_le_bytes()),
                    len: 65_536,
                })
                .collect();
            some.extend(list.iter().step_by(97).map(|chunk| chunk.hash));
            let size = u64::from(chunks) * 65_536;
            let path = dir.path().join(format!("data{file}"));
            std::fs::File::create(&path).unwrap().set_len(size).unwrap();
            let manifest = Manifest::prove(file_hash(&list), size, list).unwrap();
            let place =
                Place { hub: Some(Endpoint::public()), path, repo: repo.clone(), commit: COMMIT.to_owned() };
            catalog.publish(&manifest, &place, None, None).unwrap();
        }
        drop(catalog);
        let start = Instant::now();
        let catalog = Catalog::open(dir.path()).unwrap();
        let open = start.elapsed();
        let start = Instant::now();
        for hash in &some {
            assert!(catalog.locate(hash, Access::Own).is_some());
        }
        let locate = start.elapsed() / some.len() as u32;
        println!("{files} files, {} chunks: open {open:?}, locate {locate:?}", catalog.chunks());
    }
}
