//! However a file is split into pushes, the chunker cuts and hashes the same.

use proptest::prelude::*;
use zest_xet::{
    CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, ChunkRef, Chunker, Manifest, Rule, TreeHasher, chunk_count_max,
    chunk_hash, file_hash,
};

/// Bytes in which matches, long runs without any, and early matches (a byte that matches alone) all occur.
fn data(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut out = Vec::with_capacity(len);
    while out.len() < len {
        let (kind, run) = (next() % 4, 1 + next() as usize % 40_000);
        let constant = [59, 17, 23, 0][next() as usize % 4];
        out.extend((0..run).map(|_| if kind == 0 { constant } else { next() as u8 }));
    }
    out.truncate(len);
    out
}

fn chunks(rule: Rule, data: &[u8], splits: &[usize]) -> Vec<ChunkRef> {
    let mut chunks = Vec::new();
    let mut chunker = Chunker::new(rule);
    let mut rest = data;
    for &split in splits.iter().cycle() {
        let (piece, after) = rest.split_at(split.min(rest.len()));
        chunker.push(piece, &mut |chunk| chunks.push(chunk));
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    chunker.finish(&mut |chunk| chunks.push(chunk));
    chunks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_split_gives_the_same_chunks(
        seed in any::<u64>(),
        len in 0usize..600_000,
        splits in prop::collection::vec(prop_oneof![1usize..80, 8000usize..8300, 1usize..200_000], 1..6),
        old in any::<bool>(),
    ) {
        let rule = if old { Rule::Old } else { Rule::Current };
        let data = data(seed, len);
        let whole = chunks(rule, &data, &[len.max(1)]);
        prop_assert_eq!(&chunks(rule, &data, &splits), &whole);

        let mut at = 0;
        for (i, chunk) in whole.iter().enumerate() {
            let end = at + chunk.len as usize;
            prop_assert_eq!(chunk.hash, chunk_hash(&data[at..end]));
            prop_assert!(chunk.len as usize <= CHUNK_BYTES_MAX);
            let min = if old { CHUNK_BYTES_MIN - 64 } else { CHUNK_BYTES_MIN };
            prop_assert!(i + 1 == whole.len() || chunk.len as usize >= min);
            at = end;
        }
        prop_assert_eq!(at, len);
        prop_assert!(whole.len() as u64 <= chunk_count_max(len as u64));

        let mut tree = TreeHasher::new();
        whole.iter().for_each(|&chunk| tree.push(chunk));
        let file = tree.finish_file();
        prop_assert_eq!(file, file_hash(&whole));
        prop_assert!(Manifest::prove(file, len as u64, whole).is_ok());
    }
}
