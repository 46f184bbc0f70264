//! Files without bytes: chunk hashes that follow from the seed, and real manifests, xorb hashes and layouts over them.

use crate::rng::Rng;
use std::collections::HashMap;
use std::sync::Arc;
use zest_core::node::Block;
use zest_xet::{ChunkRef, Hash, Manifest, Plan, PlanBlock, PlanTerm, file_hash, xorb_hash};

/// A chunk of the world: its file in the upper, its index in the lower half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChunkId(pub(crate) u32);

/// Chunks that one file may have: 2²⁰.
pub(crate) const FILE_CHUNKS_MAX: u32 = 1 << 20;

impl ChunkId {
    pub(crate) fn new(file: u32, index: u32) -> Self {
        debug_assert!(index < FILE_CHUNKS_MAX, "an index fits its half");
        Self(file * FILE_CHUNKS_MAX + index)
    }

    pub(crate) fn file(self) -> u32 {
        self.0 / FILE_CHUNKS_MAX
    }

    pub(crate) fn index(self) -> u32 {
        self.0 % FILE_CHUNKS_MAX
    }
}

/// One file of the world.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) hash: Hash,
    pub(crate) manifest: Arc<Manifest>,
    /// How the origin lays it out.
    pub(crate) plan: Plan,
    pub(crate) blocks: Vec<Block>,
    /// The chunk list of each block's xorb.
    pub(crate) lists: Vec<Arc<[ChunkRef]>>,
    /// Bytes of every chunk but the last, if they are all the same.
    uniform: Option<u32>,
}

impl File {
    /// A file of `chunks` chunks in xorbs of `block` chunks. `chunk_bytes` is the length of all, or of none: then they
    /// have 8 to 128 KiB, as content-defined chunks do.
    pub(crate) fn new(rng: &mut Rng, chunks: u32, block: u32, chunk_bytes: Option<u32>) -> Self {
        assert!((1..FILE_CHUNKS_MAX).contains(&chunks), "a file of the world has 1 to 2^20 chunks");
        let list: Vec<ChunkRef> = (0..chunks)
            .map(|_| ChunkRef {
                hash: Hash::from_bytes(rng.bytes32()),
                len: chunk_bytes.unwrap_or_else(|| rng.within(8 << 10, 128 << 10) as u32),
            })
            .collect();
        let (mut lists, mut offset) = (Vec::new(), 0);
        let mut plan = Plan { size: 0, chunks, terms: Vec::new(), blocks: Vec::new() };
        for (number, part) in (0u32..).zip(list.chunks(block.max(1) as usize)) {
            let (xorb, count) = (xorb_hash(part), part.len() as u32);
            let bytes: u64 = part.iter().map(|c| u64::from(c.len)).sum();
            let term = PlanTerm {
                xorb,
                chunks: 0..count,
                first_index: number * block.max(1),
                offset,
                len: bytes,
                block: number,
            };
            plan.terms.push(term);
            let packed = 0..bytes + 8 * u64::from(count);
            let url = String::new();
            plan.blocks.push(PlanBlock { xorb, chunks: 0..count, bytes: packed, url, terms: vec![number] });
            lists.push(part.into());
            offset += bytes;
        }
        plan.size = offset;
        let blocks = Block::all_of(&plan);
        let hash = file_hash(&list);
        let manifest = Manifest::prove(hash, offset, list).expect("the list makes the file");
        Self { hash, manifest: Arc::new(manifest), plan, blocks, lists, uniform: chunk_bytes }
    }

    pub(crate) fn len(&self) -> u32 {
        self.manifest.len()
    }

    pub(crate) fn size(&self) -> u64 {
        self.manifest.size()
    }

    pub(crate) fn chunk_bytes(&self, index: u32) -> u32 {
        match self.uniform {
            Some(bytes) => bytes,
            None => self.manifest.chunk(index).len,
        }
    }

    /// The chunk that begins at this byte, if one does.
    pub(crate) fn index_at(&self, offset: u64) -> Option<u32> {
        let index = match self.uniform {
            Some(bytes) => u32::try_from(offset / u64::from(bytes)).ok()?,
            None => self.manifest.chunk_at(offset)?,
        };
        (index < self.len() && self.manifest.offset(index) == offset).then_some(index)
    }

    /// The block that gives a chunk.
    pub(crate) fn block_of(&self, index: u32) -> u32 {
        let first = |block: &Block| block.runs[0].first;
        (self.blocks.partition_point(|block| first(block) <= index) - 1) as u32
    }
}

/// All files of a world, found by their hashes.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) all: Vec<File>,
    by_chunk: HashMap<Hash, ChunkId>,
}

impl Files {
    pub(crate) fn new(all: Vec<File>) -> Self {
        let mut by_chunk = HashMap::new();
        for (number, file) in all.iter().enumerate() {
            for (index, chunk) in file.manifest.chunks().iter().enumerate() {
                by_chunk.insert(chunk.hash, ChunkId::new(number as u32, index as u32));
            }
        }
        Self { all, by_chunk }
    }

    pub(crate) fn by_chunk(&self, hash: &Hash) -> Option<ChunkId> {
        self.by_chunk.get(hash).copied()
    }

    pub(crate) fn by_hash(&self, hash: &Hash) -> Option<u32> {
        self.all.iter().position(|file| file.hash == *hash).map(|at| at as u32)
    }

    /// The block whose xorb this is: file and number.
    pub(crate) fn by_xorb(&self, hash: &Hash) -> Option<(u32, u32)> {
        self.all.iter().enumerate().find_map(|(at, file)| {
            let block = file.blocks.iter().position(|block| block.xorb == *hash)?;
            Some((at as u32, block as u32))
        })
    }

    /// What a chunk of this hash hashes to when a byte of it is wrong, and the other way round.
    pub(crate) fn twisted(hash: &Hash) -> Hash {
        Hash::from_bytes(hash.as_bytes().map(|byte| !byte))
    }

    pub(crate) fn chunk(&self, id: ChunkId) -> ChunkRef {
        self.all[id.file() as usize].manifest.chunk(id.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_blocks_and_offsets_agree() {
        for bytes in [None, Some(64 << 10)] {
            let file = File::new(&mut Rng::of(5, "file"), 37, 16, bytes);
            assert_eq!((file.len(), file.blocks.len()), (37, 3));
            for index in 0..37 {
                assert_eq!(file.index_at(file.manifest.offset(index)), Some(index));
                assert_eq!(file.index_at(file.manifest.offset(index) + 1), None);
                let block = &file.blocks[file.block_of(index) as usize];
                assert!(block.runs[0].contains(index));
                assert_eq!(file.chunk_bytes(index), file.manifest.chunk(index).len);
            }
            assert_eq!(file.index_at(file.size()), None);
            let files = Files::new(vec![file]);
            let id = ChunkId::new(0, 20);
            assert_eq!(files.by_chunk(&files.chunk(id).hash), Some(id));
            assert_eq!(files.by_xorb(&files.all[0].blocks[2].xorb), Some((0, 2)));
        }
    }
}
