//! The world's dice: small, fast, the same on every machine.

/// SplitMix64. Every subsystem has its own, so that switching one off leaves the others' throws as they were.
#[derive(Debug, Clone)]
pub struct Rng(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes 64 bits so that each one of them depends on all.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    /// The dice of one subsystem of a run.
    #[must_use]
    pub fn of(seed: u64, subsystem: &str) -> Self {
        let name = subsystem.bytes().fold(GOLDEN, |hash, byte| mix(hash ^ u64::from(byte)));
        Self(mix(seed.wrapping_add(GOLDEN)) ^ name)
    }

    /// 64 random bits.
    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number below `end`; 0 if `end` is 0. The bias is below `end` × 2⁻⁶⁴.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.u64()) * u128::from(end)) >> 64) as u64
    }

    /// A number in `from..=to`.
    pub fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to.saturating_sub(from).saturating_add(1))
    }

    /// True with a probability of `permille` / 1,000.
    pub fn permille(&mut self, permille: u32) -> bool {
        permille > 0 && self.below(1000) < u64::from(permille)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// Puts the slice in random order.
    pub fn shuffle<T>(&mut self, of: &mut [T]) {
        for at in (1..of.len()).rev() {
            of.swap(at, self.below(at as u64 + 1) as usize);
        }
    }

    /// 32 random bytes.
    pub fn bytes32(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&self.u64().to_le_bytes()));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throws_stay_in_range_and_subsystems_differ() {
        let (mut a, mut b) = (Rng::of(7, "net"), Rng::of(7, "disk"));
        assert_ne!(a.u64(), b.u64());
        for _ in 0..1000 {
            assert!(a.below(3) < 3);
            assert!((5..=6).contains(&a.within(5, 6)));
            assert!(!a.permille(0) && a.permille(1000));
        }
        assert_eq!((a.below(0), a.within(4, 4)), (0, 4));
    }

    #[test]
    fn shuffling_loses_nothing() {
        let mut numbers: Vec<u32> = (0..100).collect();
        Rng::of(1, "x").shuffle(&mut numbers);
        assert_ne!(numbers, (0..100).collect::<Vec<_>>());
        numbers.sort_unstable();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    }
}
