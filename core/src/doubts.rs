//! What peers sent in ranges of xorbs and nothing proves yet: once the file's list is known, it shows who lied.

use crate::LinkId;
use alloc::vec::Vec;
use zest_xet::{ChunkRef, Manifest};

/// The doubts of one file.
#[derive(Debug, Clone, Default)]
pub struct Doubts(Vec<(LinkId, Vec<(u32, ChunkRef)>)>);

impl Doubts {
    /// Doubts remembered of one file: 64. Ours; more can be from nobody who matters.
    pub const MAX: usize = 64;

    /// A peer sent these chunks of the file, by index.
    pub fn note(&mut self, link: LinkId, chunks: Vec<(u32, ChunkRef)>) {
        if !chunks.is_empty() && self.0.len() < Self::MAX {
            self.0.push((link, chunks));
        }
    }

    /// The list is proven: whose chunks contradict it, and at which index of the file first. Nothing is in doubt then.
    pub fn judge(&mut self, manifest: &Manifest) -> Vec<(LinkId, u32)> {
        let wrong = |index: u32, chunk: ChunkRef| index >= manifest.len() || manifest.chunk(index) != chunk;
        let lie = |(link, chunks): (LinkId, Vec<(u32, ChunkRef)>)| {
            chunks.iter().find(|(index, chunk)| wrong(*index, *chunk)).map(|(index, _)| (link, *index))
        };
        core::mem::take(&mut self.0).into_iter().filter_map(lie).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_xet::{Hash, file_hash};

    #[test]
    fn who_contradicts_the_proven_list_has_lied() {
        let chunk = |n: u8| ChunkRef { hash: Hash::from_bytes([n; 32]), len: 1_000 };
        let list = alloc::vec![chunk(0), chunk(1)];
        let manifest = Manifest::prove(file_hash(&list), 2_000, list).unwrap();
        let mut doubts = Doubts::default();
        doubts.note(LinkId(1), alloc::vec![(0, chunk(0)), (1, chunk(1))]);
        doubts.note(LinkId(2), alloc::vec![(0, chunk(0)), (1, chunk(7))]);
        doubts.note(LinkId(3), alloc::vec![(2, chunk(0))]);
        doubts.note(LinkId(4), Vec::new());
        assert_eq!(doubts.judge(&manifest), [(LinkId(2), 1), (LinkId(3), 2)]);
        assert_eq!(doubts.judge(&manifest), [], "said once");
    }
}
