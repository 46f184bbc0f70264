//! The only randomness in core: the output stream of keyed BLAKE3, from a 32-byte seed.

/// A deterministic, unguessable stream of numbers. Same seed, same stream.
pub(crate) struct Rng {
    reader: blake3::OutputReader,
}

impl Rng {
    pub(crate) fn new(seed: [u8; 32]) -> Rng {
        Rng { reader: blake3::Hasher::new_keyed(&seed).finalize_xof() }
    }

    pub(crate) fn u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.reader.fill(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.reader.fill(bytes);
    }

    /// A fresh key or seed.
    pub(crate) fn bytes32(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.reader.fill(&mut bytes);
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
