//! What the chunks of a file under way turned out to be, and who may write to their places: bytes that may still turn out wrong
//! must never land on top of bytes that count.
//!
//! A table says nothing of time or disks. Whoever writes asks it first and tells it after, and keeps both in one order.

use crate::hash::ChunkRef;
use alloc::vec::Vec;

/// What is known of the chunks of one file. `C` is what tells a chunk from others: its hash and length, or what stands for
/// them in a simulation.
#[derive(Debug, Clone)]
pub struct ChunkTable<C = ChunkRef> {
    seen: Vec<Option<Seen<C>>>,
    /// Who may write to each chunk's place.
    writers: Vec<Writer>,
}

/// One chunk that lies in the partial file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<C = ChunkRef> {
    /// What was written last.
    pub chunk: C,
    /// Its packed length in the xorb, 0 if unknown.
    pub packed_len: u32,
}

/// Who may write to a chunk's place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Writer {
    /// Whoever comes first.
    #[default]
    Anyone,
    /// An earlier process wrote there, and nobody has looked yet whether the bytes are still what they were. Only chunks
    /// that count may go over it.
    Earlier,
    /// A stream that is judged when it has ended.
    Stream(u32),
    /// Only chunks that count.
    Settled,
}

/// What became of a chunk that an earlier process wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// It is what was noted.
    Good,
    /// It is something else, or cannot be read: it is taken back.
    Rotten,
    /// It is what was noted, and a list that was proven meanwhile names another: it is taken back.
    Wrong,
    /// Somebody has written there meanwhile, who will say so.
    Overtaken,
}

impl<C> Default for ChunkTable<C> {
    fn default() -> Self {
        Self { seen: Vec::new(), writers: Vec::new() }
    }
}

impl<C: Copy + PartialEq> ChunkTable<C> {
    /// What an earlier process noted of chunks, of which nobody knows whether it is still so.
    pub fn of_earlier(noted: impl IntoIterator<Item = (u32, Seen<C>)>) -> Self {
        let mut table = Self::default();
        for (index, Seen { chunk, packed_len }) in noted {
            table.wrote(index, chunk, packed_len);
            *table.writer(index) = Writer::Earlier;
        }
        table
    }

    fn writer(&mut self, index: u32) -> &mut Writer {
        let at = index as usize;
        if self.writers.len() <= at {
            self.writers.resize(at + 1, Writer::Anyone);
        }
        &mut self.writers[at]
    }

    // Before a write.

    /// A chunk that counts is going to be written: nothing that may be wrong is from now on.
    pub fn settle(&mut self, index: u32) {
        *self.writer(index) = Writer::Settled;
    }

    /// Whether a stream that is judged when it has ended may write here; if so, no other stream may any more.
    pub fn claim(&mut self, index: u32, stream: u32) -> bool {
        let writer = self.writer(index);
        if *writer == Writer::Anyone {
            *writer = Writer::Stream(stream);
        }
        *writer == Writer::Stream(stream)
    }

    /// Whether nothing was written to any of these, and nobody has said that he will.
    pub fn is_untouched(&self, mut indices: impl Iterator<Item = u32>) -> bool {
        let writer = |index: u32| self.writers.get(index as usize).copied().unwrap_or_default();
        indices.all(|index| self.get(index).is_none() && writer(index) == Writer::Anyone)
    }

    // After it.

    /// A chunk that counts, or is taken to, was written.
    pub fn wrote(&mut self, index: u32, chunk: C, packed_len: u32) {
        let at = index as usize;
        if self.seen.len() <= at {
            self.seen.resize(at + 1, None);
        }
        let before = self.seen[at].map_or(0, |before| before.packed_len);
        self.seen[at] = Some(Seen { chunk, packed_len: if packed_len == 0 { before } else { packed_len } });
    }

    /// What a stream wrote is proven; false if the place is not the stream's any more.
    pub fn prove(&mut self, index: u32, stream: u32) -> bool {
        let writer = self.writer(index);
        let is_its = *writer == Writer::Stream(stream);
        if is_its {
            *writer = Writer::Settled;
        }
        is_its
    }

    /// A stream is over; what it did not prove is anyone's again.
    pub fn end_stream(&mut self, stream: u32) {
        self.writers.iter_mut().filter(|w| **w == Writer::Stream(stream)).for_each(|w| *w = Writer::Anyone);
    }

    /// What is there was read, and `holds` what an earlier process noted, or not. Only then does it count, if a proven list does not name
    /// another (`named`).
    pub fn check(&mut self, index: u32, holds: bool, named: Option<C>) -> Checked {
        let Some(seen) = self.unchecked(index) else { return Checked::Overtaken };
        let is_named = may_land(seen.chunk, named);
        if holds && is_named {
            self.settle(index);
            return Checked::Good;
        }
        self.lose(index);
        if holds { Checked::Wrong } else { Checked::Rotten }
    }

    /// What is there is taken back: it is as if nothing had been written.
    pub fn lose(&mut self, index: u32) {
        if let Some(seen) = self.seen.get_mut(index as usize) {
            *seen = None;
        }
        *self.writer(index) = Writer::Anyone;
    }

    // What is there.

    /// What was written for a chunk last, by whomever.
    pub fn get(&self, index: u32) -> Option<Seen<C>> {
        self.seen.get(index as usize).copied().flatten()
    }

    /// What an earlier process wrote, as long as nobody has looked whether it is still there.
    pub fn unchecked(&self, index: u32) -> Option<Seen<C>> {
        let is_earlier = self.writers.get(index as usize) == Some(&Writer::Earlier);
        self.get(index).filter(|_| is_earlier)
    }

    /// What this process has written or looked at.
    pub fn checked(&self, index: u32) -> Option<Seen<C>> {
        self.get(index).filter(|_| self.unchecked(index).is_none())
    }

    /// Whether a chunk counts as there: this process wrote it or looked at it, and it is what a proven list names, if there
    /// is one (`named`).
    pub fn holds(&self, index: u32, named: Option<C>) -> bool {
        self.checked(index).is_some_and(|seen| may_land(seen.chunk, named))
    }

    /// The chunks of `of` for which something else was written than a proven list names.
    pub fn wrong(&self, of: impl IntoIterator<Item = u32>, named: impl Fn(u32) -> Option<C>) -> Vec<u32> {
        let is_wrong =
            |index: &u32| self.get(*index).is_some_and(|seen| !may_land(seen.chunk, named(*index)));
        of.into_iter().filter(is_wrong).collect()
    }

    /// The last look before a file is sealed: chunks that are not there or not what a proven list names, whenever and by
    /// whom they were written.
    pub fn lacking(&self, chunks: u32, named: impl Fn(u32) -> Option<C>) -> Vec<u32> {
        (0..chunks).filter(|&index| !self.holds(index, named(index))).collect()
    }

    /// The chunk list, if all `chunks` of them are known.
    #[must_use]
    pub fn list(&self, chunks: u32) -> Option<Vec<C>> {
        (0..chunks).map(|index| self.get(index).map(|seen| seen.chunk)).collect()
    }
}

impl ChunkTable {
    /// The header of a chunk that is here already, as a stream went over it: what to note, if its length in the xorb is news.
    pub fn passed(&mut self, index: u32, len: u32, packed_len: u32) -> Option<Seen> {
        let Seen { chunk, packed_len: known } = self.get(index)?;
        if known > 0 || chunk.len != len {
            return None;
        }
        self.wrote(index, chunk, packed_len);
        Some(Seen { chunk, packed_len })
    }
}

/// Whether a chunk that was only hashed may lie where a proven list names one, or none does yet.
pub fn may_land<C: PartialEq>(chunk: C, named: Option<C>) -> bool {
    named.is_none_or(|named| named == chunk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_list_shows_to_be_wrong_while_it_is_looked_at_does_not_count() {
        let mut table = ChunkTable::of_earlier([(0, Seen { chunk: 'x', packed_len: 7 })]);
        assert_eq!(table.check(0, true, Some('g')), Checked::Wrong);
        assert!(table.get(0).is_none() && !table.holds(0, Some('g')));
        assert!(table.claim(0, 9), "it is anyone's to write over");
    }

    #[test]
    fn what_an_earlier_process_wrote_counts_once_it_was_looked_at() {
        let noted = |chunk| Seen { chunk, packed_len: 7 };
        let mut table = ChunkTable::of_earlier((0..4).map(|index| (index, noted('g'))));
        assert!((0..4).all(|index| table.get(index).is_some() && !table.holds(index, None)));
        assert_eq!(table.check(0, true, Some('g')), Checked::Good);
        assert_eq!(table.check(1, false, None), Checked::Rotten);
        table.settle(2);
        table.wrote(2, 'n', 0);
        assert_eq!(table.check(2, true, None), Checked::Overtaken);
        assert!(!table.claim(3, 9), "what may be wrong does not land on what may be good");
        assert!(table.claim(1, 9), "what is rotten is anyone's to write over");
        assert_eq!(
            (0..4).map(|index| table.holds(index, None)).collect::<Vec<_>>(),
            [true, false, true, false]
        );
        assert_eq!(table.get(2), Some(noted('n')), "the packed length that was known stays");
        assert_eq!(table.lacking(5, |index| (index == 0).then_some('x')), [0, 1, 3, 4]);
        assert_eq!(table.wrong(0..5, |_| Some('g')), [2]);
        assert_eq!(table.list(5), None);
    }

    #[test]
    fn the_length_in_the_xorb_is_news_once() {
        let chunk = ChunkRef { hash: crate::chunk_hash(b"abc"), len: 3 };
        let mut table = ChunkTable::default();
        assert_eq!(table.passed(0, 3, 9), None);
        table.wrote(0, chunk, 0);
        assert_eq!(table.passed(0, 4, 9), None, "another chunk");
        assert_eq!(table.passed(0, 3, 9), Some(Seen { chunk, packed_len: 9 }));
        assert_eq!(table.passed(0, 3, 9), None);
    }

    proptest! {
        /// Any order of writes: what counts stays, whatever streams that turn out wrong wanted to write there.
        #[test]
        fn bytes_that_may_be_wrong_never_land_on_bytes_that_count(
            steps in proptest::collection::vec((0..6u8, 0..4u32, 0..3u32), 0..60)
        ) {
            // On the disk: whether what lies there counts, and which stream wrote it.
            let mut disk = [None; 4];
            let mut table = ChunkTable::<u8>::default();
            for (step, index, stream) in steps {
                let at = index as usize;
                match step {
                    0..3 if table.claim(index, stream) => {
                        prop_assert!(disk[at] != Some(None), "a stream wrote over what counts");
                        disk[at] = Some(Some(stream));
                    }
                    3 => {
                        table.settle(index);
                        table.wrote(index, 1, 0);
                        disk[at] = Some(None);
                    }
                    4 if table.prove(index, stream) => {
                        prop_assert_eq!(disk[at], Some(Some(stream)), "what is proven is what the stream wrote");
                        table.wrote(index, 2, 0);
                        disk[at] = Some(None);
                    }
                    5 => table.end_stream(stream),
                    _ => {}
                }
                prop_assert_eq!(table.holds(index, None), disk[at] == Some(None));
            }
        }
    }
}
