//! Whether a party asks for what it was given already.
//!
//! Whoever fetches a file asks for each of its chunks once. Whoever only wants our line to be busy asks for the same ones over
//! and over, or goes round and round through what we have. The two are told apart by a sample of what a party was given: all of
//! it at first, half of it once that is too much, then a quarter, chosen by a secret so that nobody can ask for what is left out.

use super::limits::{REPEATS_AGE, REPEATS_FREE, REPEATS_SAMPLE_MAX, REPEATS_SHARE};
use super::rng::Rng;
use crate::Instant;
use alloc::vec::Vec;
use zest_xet::Hash;

/// What a party was given lately.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// Marks of different things given, in order: those whose last `level` bits are 0.
    sample: Vec<u64>,
    level: u32,
    /// Things given, and those of them that were given before, as far as the sample tells.
    given: u64,
    again: u64,
    /// Things that it may have to ask for again through no fault of its own.
    excused: u64,
    since: Instant,
}

/// Marks of things: random numbers to whoever does not know the secret.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marker(u64);

impl Marker {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        // Not what the node's random numbers are made of, which strangers see some of.
        let mut rng = Rng::new(seed.map(|byte| !byte));
        Self(u64::from(rng.u32()) << 32 | u64::from(rng.u32()))
    }

    /// The mark of a chunk, or of a list from its record `first` on.
    pub(super) fn mark(self, hash: &Hash, first: u32) -> u64 {
        let words = hash
            .as_bytes()
            .chunks_exact(8)
            .map(|word| word.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte)));
        let mut mark = self.0 ^ u64::from(first).rotate_left(32);
        for word in words {
            // The finaliser of splitmix64.
            mark = (mark ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
            mark = (mark ^ mark >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mark = (mark ^ mark >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mark ^= mark >> 31;
        }
        mark
    }
}

impl Repeats {
    /// It is given this now.
    pub(super) fn gives(&mut self, now: Instant, mark: u64) {
        if now.since(self.since) >= REPEATS_AGE {
            *self = Self { since: now, ..Self::default() };
        }
        self.given += 1;
        if mark.trailing_zeros() < self.level {
            return;
        }
        match self.sample.binary_search(&mark) {
            Ok(_) => self.again += 1 << self.level,
            Err(at) => self.sample.insert(at, mark),
        }
        while self.sample.len() > REPEATS_SAMPLE_MAX && self.level < 63 {
            self.level += 1;
            let level = self.level;
            self.sample.retain(|mark| mark.trailing_zeros() >= level);
        }
    }

    /// Whether it asks again for more than somebody does whose links broke now and then.
    pub(super) fn are_many(&self) -> bool {
        self.again > REPEATS_FREE + self.excused + self.given / REPEATS_SHARE
    }

    /// It has lost so many things that it was given, as we took back what we had said of them.
    pub(super) fn excuse(&mut self, things: u64) {
        self.excused += things;
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.sample.len() <= REPEATS_SAMPLE_MAX, "what is remembered of a party is bounded");
        assert!(self.sample.is_sorted(), "marks are in order");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Duration;

    fn marks(count: u64) -> impl Iterator<Item = u64> + Clone {
        (0..count).map(|n| {
            let mut hash = [3; 32];
            hash[..8].copy_from_slice(&n.to_be_bytes());
            Marker::new([99; 32]).mark(&Hash::from_bytes(hash), 0)
        })
    }

    #[test]
    fn once_through_however_much_is_no_repeat() {
        let mut repeats = Repeats::default();
        for mark in marks(200_000) {
            repeats.gives(Instant(0), mark);
            assert!(!repeats.are_many());
        }
        repeats.check_invariants();
        assert_eq!(repeats.again, 0);
    }

    #[test]
    fn a_second_time_through_is_noticed_and_forgotten_in_time() {
        for count in [1, 100, 5000, 100_000] {
            let mut repeats = Repeats::default();
            let rounds = 2 + 200 / count;
            marks(count).for_each(|mark| repeats.gives(Instant(0), mark));
            (1..rounds).for_each(|_| marks(count).for_each(|mark| repeats.gives(Instant(0), mark)));
            assert!(repeats.are_many(), "{count} things, {} again of {}", repeats.again, repeats.given);
            let (said, true_count) = (repeats.again as f64, (count * (rounds - 1)) as f64);
            assert!((0.7..1.3).contains(&(said / true_count)), "{said} again, and it was {true_count}");
            marks(1).for_each(|mark| repeats.gives(Instant(0) + REPEATS_AGE, mark));
            assert!(!repeats.are_many());
        }
    }

    #[test]
    fn a_part_of_a_list_is_a_thing_of_its_own() {
        let hash = Hash::from_bytes([1; 32]);
        assert_ne!(Marker::new([1; 32]).mark(&hash, 0), Marker::new([1; 32]).mark(&hash, 1024));
        assert_ne!(
            Marker::new([1; 32]).mark(&hash, 0),
            Marker::new([2; 32]).mark(&hash, 0),
            "the secret matters"
        );
        const { assert!(REPEATS_AGE.as_micros() > Duration::from_secs(60).as_micros()) };
    }
}
