//! Prints the Xet hash of files by both chunk rules, with the number of chunks and of short ones.
//!
//! `cargo run --release -p zest-xet --example hash_file -- FILE...`

use std::fs::File;
use std::io::Read;

use zest_xet::{CHUNK_BYTES_MIN, Chunker, Rule, TreeHasher};

fn main() -> std::io::Result<()> {
    let mut buf = vec![0; 1 << 20];
    for path in std::env::args().skip(1) {
        for rule in [Rule::Current, Rule::Old] {
            let (mut tree, mut chunks, mut short) = (TreeHasher::new(), 0u64, 0u64);
            let mut emit = |chunk: zest_xet::ChunkRef| {
                tree.push(chunk);
                chunks += 1;
                short += u64::from((chunk.len as usize) < CHUNK_BYTES_MIN);
            };
            let mut chunker = Chunker::new(rule);
            let mut file = File::open(&path)?;
            loop {
                let len = file.read(&mut buf)?;
                if len == 0 {
                    break;
                }
                chunker.push(&buf[..len], &mut emit);
            }
            chunker.finish(&mut emit);
            println!("{} {rule:?} {chunks} chunks, {short} below 8192 bytes  {path}", tree.finish_file());
        }
    }
    Ok(())
}
