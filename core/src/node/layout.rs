//! Which block of the origin gives which chunk, and what is known of the chunks before the file's manifest is.

use super::event::{Block, Run};
use alloc::sync::Arc;
use alloc::vec::Vec;
use zest_xet::ChunkRef;

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
    pub(crate) fn new(blocks: &[Block]) -> Layout {
        let mut runs: Vec<(Run, u32)> = Vec::new();
        for (at, block) in (0u32..).zip(blocks) {
            runs.extend(block.runs.iter().map(|run| (*run, at)));
        }
        runs.sort_unstable_by_key(|(run, _)| run.first);
        let begins = blocks.iter().map(|block| block.chunks.start).collect();
        let lists = blocks.iter().map(|_| None).collect();
        Layout { runs, begins, lists }
    }

    fn run_of(&self, index: u32) -> Option<(Run, u32)> {
        let at = self.runs.partition_point(|(run, _)| run.first <= index).checked_sub(1)?;
        self.runs.get(at).copied().filter(|(run, _)| run.contains(index))
    }

    /// The block that gives this chunk.
    pub(crate) fn block_of(&self, index: u32) -> Option<u32> {
        self.run_of(index).map(|(_, block)| block)
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
}
