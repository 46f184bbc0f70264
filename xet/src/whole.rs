//! What the xorbs' own hashes say of a file: which blocks are whole xorbs, and which chunks such a hash vouches for.

use crate::hash::{ChunkRef, Hash};
use crate::plan::Plan;
use crate::tree::xorb_hash;
use crate::{CHUNK_BYTES_MAX, XORB_BYTES_MAX, XORB_CHUNKS_MAX};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// A xorb with this many bytes unpacked had no room for one more chunk: 64 MiB less the longest chunk.
const FULL_BYTES: u64 = (XORB_BYTES_MAX - CHUNK_BYTES_MAX) as u64;

impl Plan {
    /// Whether a block very likely is a whole xorb. It follows from the reconstruction alone, so that all nodes of a swarm
    /// agree.
    ///
    /// An uploader cuts a xorb off when the next chunk would not fit, and begins the next one at chunk 0: a block that
    /// begins at chunk 0 is whole if it is full, or if the file goes on at chunk 0 of another xorb. Where the file ends with
    /// the block nothing can tell: it is whole where each file has its own last xorb (our hub, single uploads), and not where
    /// the tails of several files share one. It is taken to be whole: if it is, everybody can share it at once; if not, its
    /// chunks are shared once somebody has the whole file, as they would be otherwise.
    ///
    /// # Panics
    /// If there is no such block.
    #[must_use]
    pub fn is_whole_xorb(&self, block: u32) -> bool {
        let block = &self.blocks[block as usize];
        if block.chunks.start != 0 {
            return false;
        }
        // Every chunk must have a place in the file: what is not needed is not kept.
        let (mut covered, mut bytes) = (0, 0);
        for term in block.terms.iter().map(|&term| &self.terms[term as usize]) {
            if term.chunks.start > covered {
                return false;
            }
            if term.chunks.start == covered {
                bytes += term.len;
            }
            covered = covered.max(term.chunks.end);
        }
        if covered != block.chunks.end {
            return false;
        }
        let chunks = (block.chunks.end - block.chunks.start) as usize;
        if chunks >= XORB_CHUNKS_MAX || bytes.max(block.bytes.end - block.bytes.start) >= FULL_BYTES {
            return true;
        }
        let last = block.terms.iter().max().copied().unwrap_or_default() as usize;
        self.terms.get(last + 1).is_none_or(|next| next.xorb != block.xorb && next.chunks.start == 0)
    }

    /// The chunk list of a block that begins a xorb, if all of it was seen.
    pub fn seen_list(&self, block: u32, seen: impl Fn(u32) -> Option<ChunkRef>) -> Option<Vec<ChunkRef>> {
        let range = self.blocks.get(block as usize)?;
        if range.chunks.start != 0 {
            return None;
        }
        let of = |chunk: u32| self.places(block, chunk).next().and_then(|(_, index)| seen(index));
        range.chunks.clone().map(of).collect()
    }

    /// Chunks of the file for which no whole xorb's hash vouches, of what was `seen` of each.
    pub fn doubtful(&self, seen: impl Fn(u32) -> Option<ChunkRef>) -> Vec<u32> {
        let mut vouched = vec![false; self.chunks as usize];
        for (at, block) in (0u32..).zip(&self.blocks) {
            if self.seen_list(at, &seen).is_none_or(|list| xorb_hash(&list) != block.xorb) {
                continue;
            }
            for (_, index) in block.chunks.clone().flat_map(|chunk| self.places(at, chunk)) {
                vouched[index as usize] = true;
            }
        }
        (0..self.chunks).filter(|index| !vouched[*index as usize]).collect()
    }
}

/// The xorbs in which an uploader would lay out these chunks if it uploaded them alone: their hashes and where in the list they lie. That
/// a xorb of that hash has those chunks is true whatever was uploaded; whether there is one, the origin alone knows.
#[must_use]
pub fn xorbs_if_uploaded(chunks: &[ChunkRef]) -> Vec<(Hash, Range<u32>)> {
    let mut xorbs = Vec::new();
    let (mut first, mut bytes) = (0, 0);
    for (at, chunk) in chunks.iter().enumerate() {
        let len = chunk.len as usize;
        if bytes + len > XORB_BYTES_MAX || at - first >= XORB_CHUNKS_MAX {
            xorbs.push((xorb_hash(&chunks[first..at]), first as u32..at as u32));
            (first, bytes) = (at, 0);
        }
        bytes += len;
    }
    if first < chunks.len() {
        xorbs.push((xorb_hash(&chunks[first..]), first as u32..chunks.len() as u32));
    }
    xorbs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{PlanBlock, PlanTerm};
    use alloc::string::String;

    #[test]
    fn chunks_that_are_uploaded_alone_fill_one_xorb_after_the_other() {
        let chunks = |count: usize, len: u32| -> Vec<ChunkRef> {
            (0..count).map(|n| ChunkRef { hash: xorb((n % 251) as u8), len }).collect()
        };
        let spans = |chunks: &[ChunkRef]| -> Vec<(u32, u32)> {
            let xorbs = xorbs_if_uploaded(chunks).into_iter();
            let span = |(hash, span): (Hash, Range<u32>)| {
                assert_eq!(hash, xorb_hash(&chunks[span.start as usize..span.end as usize]));
                (span.start, span.end)
            };
            xorbs.map(span).collect()
        };
        assert_eq!(spans(&[]), []);
        assert_eq!(spans(&chunks(3, 100)), [(0, 3)]);
        assert_eq!(spans(&chunks(512, 128 << 10)), [(0, 512)], "it fits to the byte");
        assert_eq!(spans(&chunks(1025, 128 << 10)), [(0, 512), (512, 1024), (1024, 1025)]);
        assert_eq!(spans(&chunks(8193, 100)), [(0, 8192), (8192, 8193)]);
    }

    fn xorb(n: u8) -> Hash {
        Hash::from_bytes([n; 32])
    }

    /// A plan of these runs of xorb chunks, 1,000 bytes a chunk; the block of each is the run of its xorb that begins there.
    fn plan(runs: &[(u8, Range<u32>)], blocks: &[(u8, Range<u32>)]) -> Plan {
        let mut plan = Plan { size: 0, chunks: 0, terms: Vec::new(), blocks: Vec::new() };
        for (name, chunks) in blocks {
            let bytes = 0..u64::from(chunks.end - chunks.start) * 1_008;
            let (xorb, chunks) = (xorb(*name), chunks.clone());
            plan.blocks.push(PlanBlock { xorb, chunks, bytes, url: String::new(), terms: Vec::new() });
        }
        for (at, (name, chunks)) in (0u32..).zip(runs) {
            let contains = |block: &PlanBlock| {
                block.xorb == xorb(*name)
                    && block.chunks.start <= chunks.start
                    && chunks.end <= block.chunks.end
            };
            let block = plan.blocks.iter().position(contains).unwrap();
            plan.blocks[block].terms.push(at);
            let count = chunks.end - chunks.start;
            let (first_index, offset, len) = (plan.chunks, plan.size, u64::from(count) * 1_000);
            let (xorb, chunks, block) = (xorb(*name), chunks.clone(), block as u32);
            plan.terms.push(PlanTerm { xorb, chunks, first_index, offset, len, block });
            plan.chunks += count;
            plan.size += len;
        }
        for block in &mut plan.blocks {
            block.terms.sort_by_key(|&term| plan.terms[term as usize].chunks.start);
        }
        plan.check_invariants();
        plan
    }

    #[test]
    fn a_block_is_whole_where_the_file_goes_on_with_the_next_xorb() {
        let runs = [(1, 5..9), (2, 0..50), (3, 0..7)];
        let plan = plan(&runs, &runs);
        assert!(!plan.is_whole_xorb(0), "it begins in the middle");
        assert!(plan.is_whole_xorb(1), "the next one begins at its beginning");
        assert!(plan.is_whole_xorb(2), "the last one");
    }

    #[test]
    fn a_block_behind_which_something_else_comes_is_whole_only_if_it_is_full() {
        let runs = [(1, 0..9), (2, 3..50), (3, 0..8192), (2, 60..70)];
        let plan = plan(&runs, &runs);
        assert!(!plan.is_whole_xorb(0));
        assert!(!plan.is_whole_xorb(1));
        assert!(plan.is_whole_xorb(2), "no xorb has more chunks");
    }

    #[test]
    fn a_block_of_which_the_file_leaves_chunks_out_cannot_be_proven() {
        let holes = plan(&[(1, 0..4), (1, 5..9)], &[(1, 0..9)]);
        assert!(!holes.is_whole_xorb(0));
        let repeated = plan(&[(1, 0..6), (1, 4..9), (1, 0..2)], &[(1, 0..9)]);
        assert!(repeated.is_whole_xorb(0), "every chunk has a place, some have two");
    }

    #[test]
    fn chunks_are_doubtful_unless_a_whole_xorb_vouches_for_them() {
        let chunk = |n: u32| ChunkRef { hash: xorb(n as u8), len: 1_000 };
        let mut plan = plan(&[(1, 0..3), (2, 4..6), (3, 0..2)], &[(1, 0..3), (2, 4..6), (3, 0..2)]);
        plan.blocks[0].xorb = xorb_hash(&[chunk(0), chunk(1), chunk(2)]);
        assert_eq!(
            plan.doubtful(|index| Some(chunk(index))),
            [3, 4, 5, 6],
            "a part, and a xorb of other chunks"
        );
        assert_eq!(plan.doubtful(|index| (index != 1).then(|| chunk(index))), [0, 1, 2, 3, 4, 5, 6]);
    }
}
