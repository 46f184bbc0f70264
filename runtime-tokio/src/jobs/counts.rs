//! What the chunks of a job came from.

use std::cell::{Cell, RefCell};

/// What a job's chunks came from, in bytes and chunks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) peer_bytes: u64,
    pub(crate) cdn_bytes: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) peer_chunks: u64,
    pub(crate) cdn_chunks: u64,
    pub(crate) disk_chunks: u64,
    /// Bytes that came a second time: the end of a file is asked of several.
    pub(crate) twice_bytes: u64,
    pub(crate) wire_bytes: u64,
    pub(crate) bad_chunks: u64,
    pub(crate) rotten_chunks: u64,
}

/// The same while the job runs.
#[derive(Debug, Default)]
pub(crate) struct JobCounts {
    all: Cell<Counts>,
    /// Chunks that count already, a bit each.
    counted: RefCell<Vec<u64>>,
}

impl JobCounts {
    pub(crate) fn all(&self) -> Counts {
        self.all.get()
    }

    /// Whether a chunk has come for the first time. Asked once for each that came.
    pub(crate) fn is_first(&self, index: u32) -> bool {
        let (word, bit) = ((index / u64::BITS) as usize, 1 << (index % u64::BITS));
        let mut counted = self.counted.borrow_mut();
        if counted.len() <= word {
            counted.resize(word + 1, 0);
        }
        let is_first = counted[word] & bit == 0;
        counted[word] |= bit;
        is_first
    }

    /// Counts more of something.
    pub(crate) fn count(&self, add: impl FnOnce(&mut Counts)) {
        let mut counts = self.all.get();
        add(&mut counts);
        self.all.set(counts);
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            peer_bytes: self.peer_bytes + other.peer_bytes,
            cdn_bytes: self.cdn_bytes + other.cdn_bytes,
            disk_bytes: self.disk_bytes + other.disk_bytes,
            peer_chunks: self.peer_chunks + other.peer_chunks,
            cdn_chunks: self.cdn_chunks + other.cdn_chunks,
            disk_chunks: self.disk_chunks + other.disk_chunks,
            twice_bytes: self.twice_bytes + other.twice_bytes,
            wire_bytes: self.wire_bytes + other.wire_bytes,
            bad_chunks: self.bad_chunks + other.bad_chunks,
            rotten_chunks: self.rotten_chunks + other.rotten_chunks,
        }
    }
}

impl Counts {
    /// Bytes of the file that are in place.
    pub(crate) fn done_bytes(&self) -> u64 {
        self.peer_bytes + self.cdn_bytes + self.disk_bytes
    }

    /// What came since `before`. What was there by then was on this machine already.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            peer_bytes: self.peer_bytes - before.peer_bytes,
            cdn_bytes: self.cdn_bytes - before.cdn_bytes,
            disk_bytes: self.disk_bytes + before.peer_bytes + before.cdn_bytes,
            peer_chunks: self.peer_chunks - before.peer_chunks,
            cdn_chunks: self.cdn_chunks - before.cdn_chunks,
            disk_chunks: self.disk_chunks + before.peer_chunks + before.cdn_chunks,
            twice_bytes: self.twice_bytes - before.twice_bytes,
            wire_bytes: self.wire_bytes - before.wire_bytes,
            bad_chunks: self.bad_chunks - before.bad_chunks,
            rotten_chunks: self.rotten_chunks - before.rotten_chunks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_the_first_of_its_place_once() {
        let counts = JobCounts::default();
        let first = [0, 63, 64, 1_000_000, 0, 63, 64, 1_000_000].map(|index| counts.is_first(index));
        assert_eq!(first, [true, true, true, true, false, false, false, false]);
        counts.count(|counts| counts.twice_bytes += 5);
        assert_eq!(counts.all().since(&Counts::default()).twice_bytes, 5);
        assert_eq!(counts.all().done_bytes(), 0, "it is in place once");
    }
}
