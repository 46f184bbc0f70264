//! The hash tree over a chunk list, and the two names made from its root.

use alloc::vec::Vec;

use crate::hash::{ChunkRef, HASH_TEXT_BYTES, Hash};

/// BLAKE3 key of inner nodes (Xet draft, tree hashes).
const NODE_KEY: [u8; 32] = [
    0x01, 0x7e, 0xc5, 0xc7, 0xa5, 0x47, 0x29, 0x96, 0xfd, 0x94, 0x66, 0x66, 0xb4, 0x8a, 0x02, 0xe6, 0x5d,
    0xdd, 0x53, 0x6f, 0x37, 0xc7, 0x6d, 0xd2, 0xf8, 0x63, 0x52, 0xe6, 0x4a, 0x53, 0x71, 0x3f,
];

/// BLAKE3 key that turns a root into a file hash: 32 zero bytes (Xet draft, file hashes).
const FILE_KEY: [u8; 32] = [0; 32];

/// Most children of an inner node (Xet draft: twice the mean branching factor of 4, plus 1).
const CHILDREN_MAX: usize = 9;

/// First child, counted from 0, after which a node may end.
const CUT_FROM: usize = 2;

/// Longest line of a node's text: hash, `" : "`, 20 digits of a `u64`, newline; in bytes.
const LINE_BYTES_MAX: usize = HASH_TEXT_BYTES + 3 + 20 + 1;

/// Computes the root of a chunk list fed chunk by chunk, with memory logarithmic in the list's length.
///
/// The rule, level by level from the left: a node takes children until one that is its third or later has a hash
/// whose last word is divisible by 4, at most nine, or until the level ends. Nothing ahead is looked at, so every
/// level can be built while the one below it is still growing.
#[derive(Debug, Clone, Default)]
pub struct TreeHasher {
    levels: Vec<Level>,
}

/// Nodes of one level that have no parent yet.
#[derive(Debug, Clone)]
struct Level {
    nodes: [Node; CHILDREN_MAX],
    len: usize,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    hash: Hash,
    /// Bytes of file below this node. Sums wrap on purpose: lists that large are refused elsewhere, and a stranger's
    /// list must not panic us here.
    bytes: u64,
}

impl TreeHasher {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next chunk of the list.
    pub fn push(&mut self, chunk: ChunkRef) {
        self.push_at(0, Node { hash: chunk.hash, bytes: u64::from(chunk.len) });
    }

    /// The root of what was fed: the xorb hash. [`Hash::ZERO`] for an empty list.
    #[must_use]
    pub fn finish_xorb(mut self) -> Hash {
        // The levels grow while the rests move up; the last one then holds the root alone.
        let mut at = 0;
        while at < self.levels.len() {
            let level = &self.levels[at];
            if level.len == 1 && at + 1 == self.levels.len() {
                return level.nodes[0].hash;
            }
            if level.len > 0 {
                self.merge(at);
            }
            at += 1;
        }
        Hash::ZERO
    }

    /// The file hash of what was fed: the root hashed once more. [`Hash::ZERO`] for an empty list, as the official
    /// implementation has it; empty files are never stored.
    #[must_use]
    pub fn finish_file(self) -> Hash {
        if self.levels.is_empty() {
            return Hash::ZERO;
        }
        Hash::from_bytes(*blake3::keyed_hash(&FILE_KEY, self.finish_xorb().as_bytes()).as_bytes())
    }

    fn push_at(&mut self, at: usize, node: Node) {
        if at == self.levels.len() {
            self.levels.push(Level { nodes: [Node { hash: Hash::ZERO, bytes: 0 }; CHILDREN_MAX], len: 0 });
        }
        let level = &mut self.levels[at];
        level.nodes[level.len] = node;
        level.len += 1;
        let cut = level.len > CUT_FROM && node.hash.last_word().is_multiple_of(4);
        if cut || level.len == CHILDREN_MAX {
            self.merge(at);
        }
    }

    /// Replaces the waiting nodes of a level by their parent on the next.
    fn merge(&mut self, at: usize) {
        let level = &mut self.levels[at];
        let children = core::mem::replace(&mut level.len, 0);
        let parent = parent(&level.nodes[..children]);
        self.push_at(at + 1, parent);
    }
}

fn parent(children: &[Node]) -> Node {
    let mut text = [0; LINE_BYTES_MAX * CHILDREN_MAX];
    let mut used = 0;
    let mut bytes = 0u64;
    for child in children {
        let mut put = |part: &[u8]| {
            text[used..used + part.len()].copy_from_slice(part);
            used += part.len();
        };
        put(&child.hash.text());
        put(b" : ");
        let mut digits = [0; 20];
        put(decimal(child.bytes, &mut digits));
        put(b"\n");
        bytes = bytes.wrapping_add(child.bytes);
    }
    Node { hash: Hash::from_bytes(*blake3::keyed_hash(&NODE_KEY, &text[..used]).as_bytes()), bytes }
}

fn decimal(mut value: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return &digits[at..];
        }
    }
}

/// Xorb hash: the root of the xorb's whole chunk list. [`Hash::ZERO`] for an empty list.
#[must_use]
pub fn xorb_hash(chunks: &[ChunkRef]) -> Hash {
    feed(chunks).finish_xorb()
}

/// File hash (the Hub's `xetHash`): the root of the file's chunk list, hashed once more. [`Hash::ZERO`] for an
/// empty list.
#[must_use]
pub fn file_hash(chunks: &[ChunkRef]) -> Hash {
    feed(chunks).finish_file()
}

fn feed(chunks: &[ChunkRef]) -> TreeHasher {
    let mut tree = TreeHasher::new();
    for &chunk in chunks {
        tree.push(chunk);
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk_hash;
    use alloc::string::ToString;
    use alloc::vec;

    /// The rule as the draft states it, on whole levels: the twin the streaming form is checked against.
    fn root_by_levels(chunks: &[ChunkRef]) -> Hash {
        let mut level: Vec<Node> =
            chunks.iter().map(|c| Node { hash: c.hash, bytes: u64::from(c.len) }).collect();
        while level.len() > 1 {
            let mut next = Vec::new();
            let mut rest = &level[..];
            while !rest.is_empty() {
                let take = if rest.len() <= 2 {
                    rest.len()
                } else {
                    let end = rest.len().min(9);
                    (2..end).find(|&i| rest[i].hash.last_word().is_multiple_of(4)).map_or(end, |i| i + 1)
                };
                next.push(parent(&rest[..take]));
                rest = &rest[take..];
            }
            level = next;
        }
        level.first().map_or(Hash::ZERO, |node| node.hash)
    }

    #[test]
    fn twenty_chunks_have_the_published_root_and_file_hash() {
        let chunks: Vec<ChunkRef> = (0..20u8)
            .map(|i| ChunkRef { hash: chunk_hash(&vec![i; 9000 + usize::from(i)]), len: 9000 + u32::from(i) })
            .collect();
        assert_eq!(
            xorb_hash(&chunks).to_string(),
            "eaf97a21760c52078adfe59afc8afeea6a9f2293d19ffa43edd5d7cc77b7eec9"
        );
        assert_eq!(
            file_hash(&chunks).to_string(),
            "002f048b52a18c6d1d419bf09bb33bdb43c5686321d78e60a226b2d2226ce597"
        );
    }

    #[test]
    fn one_chunk_is_its_own_root_and_no_chunk_is_zero() {
        let chunk = ChunkRef { hash: chunk_hash(b"Hello World!"), len: 12 };
        assert_eq!(xorb_hash(&[chunk]), chunk.hash);
        assert_eq!(
            file_hash(&[chunk]).to_string(),
            "a9dae0ad88b060bdd7e7c87abdcf95b132c95a0414b06d4f6beb68d287b87165"
        );
        assert_eq!(xorb_hash(&[]), Hash::ZERO);
        assert_eq!(file_hash(&[]), Hash::ZERO);
    }

    #[test]
    fn streaming_equals_level_by_level_for_every_small_count() {
        let mut chunks = Vec::new();
        for i in 0..700u32 {
            assert_eq!(xorb_hash(&chunks), root_by_levels(&chunks), "{i} chunks");
            chunks.push(ChunkRef { hash: chunk_hash(&i.to_le_bytes()), len: 1 + i * 187 });
        }
    }

    #[test]
    fn hashes_that_never_cut_and_always_cut_equal_the_twin() {
        for last in [0u8, 1] {
            for count in 0..120usize {
                let mut bytes = [7; 32];
                bytes[24] = last;
                let chunks = vec![ChunkRef { hash: Hash::from_bytes(bytes), len: u32::MAX }; count];
                assert_eq!(xorb_hash(&chunks), root_by_levels(&chunks), "{count} chunks ending in {last}");
            }
        }
    }
}
