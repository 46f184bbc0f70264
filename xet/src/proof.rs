//! The proof that bytes are the chunk they are said to be.

use core::fmt;

use crate::hash::{ChunkRef, Hash, chunk_hash};

/// A buffer whose bytes were checked against a [`ChunkRef`].
///
/// [`verify`] is the only way to make one, so whoever takes a `Proven` need not check again. The buffer type must
/// not change its bytes behind a shared reference.
pub struct Proven<B> {
    chunk: ChunkRef,
    buf: B,
}

impl<B: AsRef<[u8]>> Proven<B> {
    /// Which chunk this is.
    #[must_use]
    pub fn chunk(&self) -> ChunkRef {
        self.chunk
    }

    /// The chunk's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buf.as_ref()
    }

    /// Gives the buffer back and drops the proof.
    #[must_use]
    pub fn into_inner(self) -> B {
        self.buf
    }
}

impl<B> fmt::Debug for Proven<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proven").field("chunk", &self.chunk).finish_non_exhaustive()
    }
}

/// Checks that `buf` is the chunk `expected`: first its length, then its hash.
///
/// # Errors
/// [`Mismatch`] gives the buffer back with the reason.
pub fn verify<B: AsRef<[u8]>>(buf: B, expected: ChunkRef) -> Result<Proven<B>, Mismatch<B>> {
    let bytes = buf.as_ref();
    if bytes.len() as u64 != u64::from(expected.len) {
        let reason = MismatchReason::Length { got: bytes.len(), want: expected.len };
        return Err(Mismatch { buf, reason });
    }
    let got = chunk_hash(bytes);
    if got != expected.hash {
        return Err(Mismatch { buf, reason: MismatchReason::Hash { got, want: expected.hash } });
    }
    Ok(Proven { chunk: expected, buf })
}

/// Bytes that are not the chunk they should be.
#[derive(thiserror::Error)]
#[error("{reason}")]
pub struct Mismatch<B> {
    /// The buffer that was checked.
    pub buf: B,
    /// What differs.
    pub reason: MismatchReason,
}

impl<B> fmt::Debug for Mismatch<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mismatch").field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// Why bytes are not a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MismatchReason {
    /// Wrong length; the hash was not computed.
    #[error("chunk has {got} bytes, expected {want}")]
    Length {
        /// Bytes in the buffer.
        got: usize,
        /// Bytes the chunk has.
        want: u32,
    },
    /// Right length, wrong content.
    #[error("chunk hashes to {got}, expected {want}")]
    Hash {
        /// Hash of the bytes in the buffer.
        got: Hash,
        /// Hash the chunk has.
        want: Hash,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    #[test]
    fn only_the_right_bytes_are_proven() {
        let data = vec![42u8; 10_000];
        let want = ChunkRef { hash: chunk_hash(&data), len: 10_000 };
        let proven = verify(data.clone(), want).unwrap();
        assert_eq!((proven.chunk(), proven.bytes()), (want, &data[..]));
        assert_eq!(proven.into_inner(), data);

        let mut bad = data.clone();
        bad[9_999] ^= 1;
        let mismatch = verify(bad.clone(), want).unwrap_err();
        assert_eq!(mismatch.buf, bad);
        assert_eq!(mismatch.reason, MismatchReason::Hash { got: chunk_hash(&bad), want: want.hash });
    }

    #[test]
    fn a_wrong_length_is_found_before_hashing() {
        let want = ChunkRef { hash: chunk_hash(b"abc"), len: 4 };
        let mismatch = verify(&b"abc"[..], want).unwrap_err();
        assert_eq!(mismatch.reason, MismatchReason::Length { got: 3, want: 4 });
        assert_eq!(mismatch.to_string(), "chunk has 3 bytes, expected 4");
    }
}
