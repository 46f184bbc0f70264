//! Which block of the origin gives which chunk, and what is known of the chunks before the file's manifest is.

use super::BitSet;
use super::event::{Block, Run};
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use zest_xet::{CHUNK_BYTES_MIN, ChunkRef};

/// The chunk list of a block, proven by its xorb's hash.
#[derive(Debug)]
struct BlockList {
    chunks: Arc<[ChunkRef]>,
    /// Where each chunk begins, counted from the first of the block.
    starts: Vec<u32>,
}

/// Index in the file → block, run and, where its list is proven, chunk.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// (run, its block), by first index. Every index of the file is in exactly one.
    runs: Vec<(Run, u32)>,
    /// First chunk in the xorb of each block.
    begins: Vec<u32>,
    lists: Vec<Option<BlockList>>,
}

impl Layout {
    pub(crate) fn new(blocks: &[Block]) -> Self {
        let mut runs: Vec<(Run, u32)> = Vec::new();
        for (at, block) in (0u32..).zip(blocks) {
            runs.extend(block.runs.iter().map(|run| (*run, at)));
        }
        runs.sort_unstable_by_key(|(run, _)| run.first);
        let begins = blocks.iter().map(|block| block.chunks.start).collect();
        let lists = blocks.iter().map(|_| None).collect();
        Self { runs, begins, lists }
    }

    fn run_of(&self, index: u32) -> Option<(Run, u32)> {
        let at = self.runs.partition_point(|(run, _)| run.first <= index).checked_sub(1)?;
        self.runs.get(at).copied().filter(|(run, _)| run.contains(index))
    }

    /// The block that gives this chunk.
    pub(crate) fn block_of(&self, index: u32) -> Option<u32> {
        self.run_of(index).map(|(_, block)| block)
    }

    /// How many chunks begin before this byte of the file. Where no list tells, as many as can be: only the last chunk of a
    /// file is shorter than [`CHUNK_BYTES_MIN`].
    pub(crate) fn chunks_before(&self, byte: u64) -> u32 {
        let begun = self.runs.partition_point(|(run, _)| run.offset < byte);
        let Some(&(run, block)) = begun.checked_sub(1).and_then(|at| self.runs.get(at)) else { return 0 };
        let within = byte - run.offset;
        let count = self.starts_of(&run, block).map_or_else(
            || u32::try_from(within.div_ceil(CHUNK_BYTES_MIN as u64)).unwrap_or(u32::MAX),
            |starts| starts.partition_point(|start| u64::from(start - starts[0]) < within) as u32,
        );
        run.first + count.min(run.count)
    }

    /// The chunk that holds a byte of the file, or, where no list tells, the first of its run.
    pub(crate) fn chunk_from(&self, byte: u64) -> u32 {
        let begun = self.runs.partition_point(|(run, _)| run.offset <= byte);
        let Some(&(run, block)) = begun.checked_sub(1).and_then(|at| self.runs.get(at)) else { return 0 };
        let within = byte - run.offset;
        let begins = |starts: &[u32]| {
            starts.partition_point(|start| u64::from(start - starts[0]) <= within).saturating_sub(1)
        };
        run.first + self.starts_of(&run, block).map_or(0, begins) as u32
    }

    /// Where the chunks of a run begin in their block, if its list is proven.
    fn starts_of(&self, run: &Run, block: u32) -> Option<&[u32]> {
        let list = self.lists.get(block as usize)?.as_ref()?;
        let first = run.xorb_chunk.checked_sub(*self.begins.get(block as usize)?)? as usize;
        list.starts.get(first..first + run.count as usize)
    }

    /// The blocks that give the chunks of `range` that are in `missing` and not in `but_not` (if given).
    pub(crate) fn missing_in(
        &self,
        range: Range<u32>,
        missing: &BitSet,
        but_not: Option<&BitSet>,
    ) -> BTreeSet<u32> {
        let mut blocks = BTreeSet::new();
        let mut at = range.start;
        while let Some(index) = missing.next_in(at, range.end, None, but_not) {
            let Some((run, block)) = self.run_of(index) else { break };
            blocks.insert(block);
            at = run.indices().end;
        }
        blocks
    }

    /// Whether any block's list is proven.
    pub(crate) fn is_any_listed(&self) -> bool {
        self.lists.iter().any(Option::is_some)
    }

    /// Whether the block's list is proven.
    pub(crate) fn is_listed(&self, block: u32) -> bool {
        self.lists.get(block as usize).is_some_and(Option::is_some)
    }

    /// Takes a proven list in; false if it is known already or has not one entry for each of `chunks`.
    pub(crate) fn set_list(&mut self, block: u32, chunks: u32, list: Arc<[ChunkRef]>) -> bool {
        let Some(place) = self.lists.get_mut(block as usize).filter(|place| place.is_none()) else {
            return false;
        };
        if list.len() != chunks as usize {
            return false;
        }
        let mut end = 0u32;
        let starts = list
            .iter()
            .map(|chunk| {
                let start = end;
                end = end.saturating_add(chunk.len);
                start
            })
            .collect();
        *place = Some(BlockList { chunks: list, starts });
        true
    }

    /// A chunk whose list is proven, and where it begins in the file.
    pub(crate) fn chunk(&self, index: u32) -> Option<(ChunkRef, u64)> {
        let (run, block) = self.run_of(index)?;
        let list = self.lists.get(block as usize)?.as_ref()?;
        let begin = self.begins.get(block as usize)?;
        let first = run.xorb_chunk.checked_sub(*begin)? as usize;
        let at = first + (index - run.first) as usize;
        let chunk = *list.chunks.get(at)?;
        let within = list.starts.get(at)?.checked_sub(*list.starts.get(first)?)?;
        Some((chunk, run.offset + u64::from(within)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use zest_xet::Hash;

    fn chunk(n: u8) -> ChunkRef {
        ChunkRef { hash: Hash::from_bytes([n; 32]), len: u32::from(n) * 10 }
    }

    #[test]
    fn a_chunk_is_found_in_every_run_that_repeats_it() {
        let run = |first, count, xorb_chunk, offset| Run { first, count, xorb_chunk, offset };
        let blocks = vec![
            Block {
                xorb: Hash::from_bytes([1; 32]),
                chunks: 4..8,
                runs: vec![run(0, 3, 4, 0), run(5, 2, 6, 500)],
                wire_bytes: 1,
                whole: false,
            },
            Block {
                xorb: Hash::from_bytes([2; 32]),
                chunks: 0..2,
                runs: vec![run(3, 2, 0, 300)],
                wire_bytes: 1,
                whole: true,
            },
        ];
        let mut layout = Layout::new(&blocks);
        assert_eq!(layout.block_of(6), Some(0));
        assert_eq!(layout.block_of(7), None);
        assert_eq!(layout.chunk(0), None);
        assert!(!layout.set_list(0, 4, vec![chunk(1)].into()), "a list of another length");
        assert!(layout.set_list(0, 4, vec![chunk(1), chunk(2), chunk(3), chunk(4)].into()));
        assert!(!layout.set_list(0, 4, vec![chunk(9); 4].into()), "the first one stays");
        assert_eq!(layout.chunk(0), Some((chunk(1), 0)));
        assert_eq!(layout.chunk(2), Some((chunk(3), 30)));
        assert_eq!(layout.chunk(5), Some((chunk(3), 500)));
        assert_eq!(layout.chunk(6), Some((chunk(4), 530)));
        assert_eq!(layout.chunk(3), None);
    }

    #[test]
    fn chunks_before_a_byte_are_exact_where_a_list_tells_and_not_too_few_elsewhere() {
        let block = |n, first, offset| Block {
            xorb: Hash::from_bytes([n; 32]),
            chunks: 0..100,
            runs: vec![Run { first, count: 100, xorb_chunk: 0, offset }],
            wire_bytes: 1,
            whole: true,
        };
        let min = CHUNK_BYTES_MIN as u64;
        let mut layout = Layout::new(&[block(1, 0, 0), block(2, 100, 100 * 3 * min)]);
        let before = |layout: &Layout, of: [u64; 8]| of.map(|byte| layout.chunks_before(byte));
        let bytes = [
            0,
            1,
            min,
            min + 1,
            3 * min + 1,
            100 * 3 * min,
            100 * 3 * min + 2 * min,
            100 * 3 * min + min * 200,
        ];
        assert_eq!(before(&layout, bytes), [0, 1, 1, 2, 4, 100, 102, 200]);
        let three = ChunkRef { hash: Hash::from_bytes([7; 32]), len: 3 * CHUNK_BYTES_MIN as u32 };
        for block in 0..2 {
            assert!(layout.set_list(block, 100, vec![three; 100].into()));
        }
        assert_eq!(before(&layout, bytes), [0, 1, 1, 1, 2, 100, 101, 167]);
        assert_eq!(layout.chunks_before(u64::MAX), 200);
        assert_eq!(Layout::default().chunks_before(u64::MAX), 0);
    }
}
