//! The index from chunk to file in memory: 16 bytes per chunk, in sorted runs whose lengths grow
//! geometrically, so that adding a file costs little and a look-up is a handful of binary searches.

use zest_xet::Hash;

/// One chunk of one file. The full hash is in the file's manifest on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    /// First 8 bytes of the chunk hash.
    prefix: u64,
    /// Number of the file.
    pub(super) file: u32,
    /// Position in its chunk list.
    pub(super) index: u32,
}

const _: () = assert!(size_of::<Slot>() == 16);

impl Slot {
    pub(super) fn new(hash: &Hash, file: u32, index: u32) -> Self {
        Self { prefix: prefix(hash), file, index }
    }
}

fn prefix(hash: &Hash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// All slots.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Each sorted; each at least twice as long as the next.
    runs: Vec<Vec<Slot>>,
}

impl Slots {
    /// Adds the chunks of files, in any order.
    pub(super) fn add(&mut self, mut slots: Vec<Slot>) {
        slots.sort_unstable();
        while let Some(last) = self.runs.pop() {
            if last.len() / 2 >= slots.len() {
                self.runs.push(last);
                break;
            }
            slots = merge(last, slots);
        }
        if !slots.is_empty() {
            self.runs.push(slots);
        }
    }

    /// The places that a chunk may be at: those whose prefix is the same.
    pub(super) fn candidates(&self, hash: &Hash) -> impl Iterator<Item = Slot> {
        let wanted = prefix(hash);
        self.runs.iter().flat_map(move |run| {
            let from = run.partition_point(|slot| slot.prefix < wanted);
            run[from..].iter().take_while(move |slot| slot.prefix == wanted).copied()
        })
    }

    /// Slots in all.
    pub(super) fn len(&self) -> usize {
        self.runs.iter().map(Vec::len).sum()
    }
}

fn merge(a: Vec<Slot>, b: Vec<Slot>) -> Vec<Slot> {
    let mut out = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        let next = if x <= y { a.next() } else { b.next() };
        out.extend(next);
    }
    out.extend(a);
    out.extend(b);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_xet::chunk_hash;

    #[test]
    fn every_added_chunk_is_found_in_every_file() {
        let hash = |i: u32| chunk_hash(&i.to_be_bytes());
        let mut slots = Slots::default();
        for file in 0..20u32 {
            slots.add((0..file * 7).map(|i| Slot::new(&hash(i), file, i)).collect());
        }
        for i in 0..133 {
            let mut files: Vec<u32> = slots.candidates(&hash(i)).map(|slot| slot.file).collect();
            files.sort_unstable();
            assert_eq!(files, (i / 7 + 1..20).collect::<Vec<u32>>(), "chunk {i}");
        }
        assert_eq!(slots.candidates(&hash(1_000)).count(), 0);
        assert_eq!(slots.len(), (0..20).map(|file| file * 7).sum::<usize>());
        assert!(slots.runs.len() <= 5, "{} runs", slots.runs.len());
    }
}
