//! The content-defined chunker: where a byte stream is cut into chunks.

use crate::hash::{ChunkHasher, ChunkRef, chunk_hash};
use crate::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, OLD_CHUNK_BYTES_MIN};

/// Bits of the rolling hash that are zero at a cut: the upper 16, one cut in 64 KiB (Xet draft, chunking).
const CUT_MASK: u64 = 0xffff_0000_0000_0000;

/// Bytes of a chunk that are skipped before the scan begins: 65 before the minimum.
///
/// The 64-bit rolling hash forgets a byte after 64 more, so at the minimum it equals that of a scan from the start.
const SCAN_FROM: usize = CHUNK_BYTES_MIN - 65;
const _: () = assert!(OLD_CHUNK_BYTES_MIN == SCAN_FROM + 1, "the old rule may cut one byte into the scan");

/// Which cuts count. A stored file was cut by one of these; only comparing with its hash tells which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A match before the minimum is ignored and the scan goes on.
    Current,
    /// A match in the 64 bytes before the minimum cuts, too, giving chunks of 8,128 to 8,191 bytes. Files uploaded
    /// with clients older than September 2025.
    Old,
}

/// Cuts a stream into chunks and hashes them, however the stream is split into pushes.
///
/// It never copies data: a chunk that lies in one push is hashed in place, any other piece by piece.
///
/// ```
/// use zest_xet::{Chunker, Rule, chunk_hash};
///
/// let mut chunks = Vec::new();
/// let mut chunker = Chunker::new(Rule::Current);
/// chunker.push(b"Hello ", &mut |chunk| chunks.push(chunk));
/// chunker.push(b"World!", &mut |chunk| chunks.push(chunk));
/// chunker.finish(&mut |chunk| chunks.push(chunk));
/// assert_eq!(chunks[0].hash, chunk_hash(b"Hello World!"));
/// ```
#[derive(Debug, Clone)]
pub struct Chunker {
    rule: Rule,
    gear: gearhash::Hasher<'static>,
    hasher: ChunkHasher,
    /// Bytes of the current chunk seen in earlier pushes, all of them in `hasher`.
    len: usize,
}

impl Chunker {
    /// A chunker at the start of a file.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self { rule, gear: gearhash::Hasher::default(), hasher: ChunkHasher::new(), len: 0 }
    }

    /// Takes the next bytes of the file; calls `emit` for each chunk they complete, in file order.
    pub fn push(&mut self, mut data: &[u8], emit: &mut dyn FnMut(ChunkRef)) {
        while !data.is_empty() {
            let (take, cut) = self.scan(data);
            let (head, rest) = data.split_at(take);
            if cut {
                let len = (self.len + take) as u32;
                let hash = if self.len == 0 {
                    chunk_hash(head)
                } else {
                    self.hasher.update(head);
                    self.hasher.finish()
                };
                self.gear.set_hash(0);
                self.len = 0;
                emit(ChunkRef { hash, len });
            } else {
                self.hasher.update(head);
                self.len += take;
            }
            data = rest;
        }
        self.check_invariants();
    }

    /// Ends the file: calls `emit` for the last chunk, if any bytes are left.
    pub fn finish(mut self, emit: &mut dyn FnMut(ChunkRef)) {
        if self.len > 0 {
            emit(ChunkRef { hash: self.hasher.finish(), len: self.len as u32 });
        }
    }

    fn check_invariants(&self) {
        assert!(self.len < CHUNK_BYTES_MAX, "a chunk of the maximum length must have been cut");
    }

    /// How many bytes of `data` belong to the current chunk, and whether it ends with them.
    fn scan(&mut self, data: &[u8]) -> (usize, bool) {
        let end = data.len().min(CHUNK_BYTES_MAX - self.len);
        let mut at = SCAN_FROM.saturating_sub(self.len).min(end);
        while let Some(matched) = self.gear.next_match(&data[at..end], CUT_MASK) {
            at += matched;
            if self.rule == Rule::Old || self.len + at >= CHUNK_BYTES_MIN {
                return (at, true);
            }
        }
        (end, self.len + end == CHUNK_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk_count_max;
    use alloc::vec;
    use alloc::vec::Vec;

    /// 128 bytes that make the rolling hash match, from the tests of the official chunker.
    const MATCHING: [u8; 128] = [
        154, 52, 42, 34, 159, 75, 126, 224, 70, 236, 12, 196, 79, 236, 178, 124, 127, 50, 99, 178, 44, 176,
        174, 126, 250, 235, 205, 174, 252, 122, 35, 10, 20, 101, 214, 69, 193, 8, 115, 105, 158, 228, 120,
        111, 136, 162, 198, 251, 211, 183, 253, 252, 164, 147, 63, 16, 186, 162, 117, 23, 170, 36, 205, 187,
        174, 76, 210, 174, 211, 175, 12, 173, 145, 59, 2, 70, 222, 181, 159, 227, 182, 156, 189, 51, 226,
        106, 24, 50, 183, 157, 140, 10, 8, 23, 212, 70, 10, 234, 23, 33, 219, 254, 39, 236, 70, 49, 191, 116,
        9, 115, 15, 101, 26, 159, 165, 220, 15, 170, 56, 125, 92, 163, 94, 235, 38, 40, 49, 81,
    ];

    fn ends(rule: Rule, data: &[u8]) -> Vec<usize> {
        let (mut ends, mut at) = (Vec::new(), 0);
        let mut emit = |chunk: ChunkRef| {
            let start = at;
            at += chunk.len as usize;
            assert_eq!(chunk.hash, chunk_hash(&data[start..at]));
            ends.push(at);
        };
        let mut chunker = Chunker::new(rule);
        chunker.push(data, &mut emit);
        chunker.finish(&mut emit);
        ends
    }

    /// Boundaries the official chunker asserted before and after its change of September 2025, for 64 KiB of the
    /// pattern followed by `padding` zeros, repeated.
    #[test]
    fn both_rules_cut_where_the_official_chunker_cut() {
        let cases: [(usize, [usize; 8], [usize; 8]); 5] = [
            (
                0,
                [8256, 16448, 24640, 32832, 41024, 49216, 57408, 65536],
                [8256, 16448, 24640, 32832, 41024, 49216, 57408, 65536],
            ),
            (
                1,
                [8191, 16447, 24703, 32959, 41215, 49471, 57727, 65536],
                [8320, 16576, 24832, 33088, 41344, 49600, 57856, 65536],
            ),
            (
                12,
                [8324, 16452, 24704, 32832, 41084, 49212, 57464, 65536],
                [8324, 16584, 24844, 33104, 41364, 49624, 57884, 65536],
            ),
            (
                29,
                [8128, 16392, 24713, 33034, 41355, 49676, 57997, 65536],
                [8228, 16549, 24870, 33191, 41512, 49833, 58154, 65536],
            ),
            (
                104,
                [8416, 16544, 24888, 33016, 41360, 49488, 57832, 65536],
                [8416, 16768, 25120, 33472, 41824, 50176, 58528, 65536],
            ),
        ];
        for (padding, old, current) in cases {
            let mut pattern = MATCHING.to_vec();
            pattern.resize(128 + padding, 0);
            let data: Vec<u8> = pattern.into_iter().cycle().take(65_536).collect();
            assert_eq!(ends(Rule::Old, &data), old, "old rule, {padding} zeros");
            assert_eq!(ends(Rule::Current, &data), current, "current rule, {padding} zeros");
        }
    }

    #[test]
    fn random_data_is_cut_where_the_official_chunker_cuts() {
        // SplitMix64 from seed 0, little-endian.
        let mut state = 0u64;
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        let data: Vec<u8> = (0..125_000).flat_map(|_| next().to_le_bytes()).collect();
        assert_eq!((data[0], data[127], data[111_111]), (175, 132, 118));
        assert_eq!(
            ends(Rule::Current, &data),
            [
                84493, 134421, 144853, 243318, 271793, 336457, 467529, 494581, 582000, 596735, 616815,
                653164, 678202, 724510, 815591, 827760, 958832, 991092, 1_000_000
            ]
        );
    }

    #[test]
    fn data_without_a_match_is_cut_at_the_maximum() {
        for rule in [Rule::Current, Rule::Old] {
            assert_eq!(ends(rule, &vec![59; 300_000]), [131_072, 262_144, 300_000]);
            assert_eq!(ends(rule, &vec![59; 131_072]), [131_072]);
            assert_eq!(ends(rule, &[1]), [1]);
            assert_eq!(ends(rule, &[]), [0; 0]);
        }
    }

    #[test]
    fn the_count_bound_is_that_of_the_old_rule() {
        assert_eq!(chunk_count_max(0), 0);
        assert_eq!(chunk_count_max(8128), 1);
        assert_eq!(chunk_count_max(8129), 2);
    }
}
