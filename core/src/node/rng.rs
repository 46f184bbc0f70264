//! The only randomness in core: the output stream of keyed BLAKE3, from a 32-byte seed.

/// Bytes that BLAKE3 gives at a time: 64. Each time costs a whole compression, however few of them are asked for.
const BLOCK_BYTES: usize = 64;

/// A deterministic, unguessable stream of numbers. Same seed, same stream.
pub(crate) struct Rng {
    reader: blake3::OutputReader,
    /// The last block, and how much of it is used up.
    block: [u8; BLOCK_BYTES],
    used: usize,
}

impl Rng {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        let reader = blake3::Hasher::new_keyed(&seed).finalize_xof();
        Self { reader, block: [0; BLOCK_BYTES], used: BLOCK_BYTES }
    }

    pub(crate) fn u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == BLOCK_BYTES {
                self.reader.fill(&mut self.block);
                self.used = 0;
            }
            *byte = self.block[self.used];
            self.used += 1;
        }
    }

    /// A fresh key or seed.
    pub(crate) fn bytes32(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        bytes
    }

    /// A number below `end`; 0 if `end` is 0. The bias of the multiplication is below 2⁻³² × end.
    pub(crate) fn below(&mut self, end: u32) -> u32 {
        ((u64::from(self.u32()) * u64::from(end)) >> 32) as u32
    }
}

impl core::fmt::Debug for Rng {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Rng")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_the_stream_of_the_hash_whatever_the_pieces() {
        let mut whole = [0; 300];
        blake3::Hasher::new_keyed(&[3; 32]).finalize_xof().fill(&mut whole);
        let mut rng = Rng::new([3; 32]);
        let mut pieces = [0; 300];
        let mut at = 0;
        for len in [0, 1, 4, 59, 1, 63, 64, 65, 43] {
            rng.fill(&mut pieces[at..at + len]);
            at += len;
        }
        assert_eq!((at, pieces), (300, whole));
        let mut rng = Rng::new([3; 32]);
        assert_eq!(rng.u32().to_le_bytes(), whole[..4]);
        assert_eq!(rng.bytes32(), whole[4..36]);
    }
}
