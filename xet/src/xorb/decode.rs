//! Unpacking of single chunks.

use alloc::vec;
use alloc::vec::Vec;

use super::lz4::decode_frame;
use super::regroup::regroup;
use super::{ChunkHeader, Scheme, XorbError};
use crate::CHUNK_BYTES_MAX;

/// Unpacks chunks. Keeps one scratch buffer of 128 KiB, so make one per thread and keep it.
#[derive(Debug)]
pub struct Decoder {
    /// The grouped form of a BG4 chunk; always [`CHUNK_BYTES_MAX`] long.
    scratch: Vec<u8>,
}

impl Decoder {
    /// A decoder with its scratch buffer.
    #[must_use]
    pub fn new() -> Self {
        Self { scratch: vec![0; CHUNK_BYTES_MAX] }
    }

    /// Unpacks the data after the header `h` into `out`, which must be `h.len` bytes long.
    ///
    /// `Ok` says that the data is well-formed and filled `out`, not that it is the right chunk: see [`crate::verify`].
    /// Never allocates. After an error the content of `out` is unspecified.
    ///
    /// # Errors
    /// A header, data or output whose lengths do not agree; a frame that does not decode to exactly `h.len` bytes.
    pub fn decode(&mut self, h: ChunkHeader, packed: &[u8], out: &mut [u8]) -> Result<(), XorbError> {
        h.check()?;
        if packed.len() != h.packed_len as usize {
            return Err(XorbError::Input { got: packed.len(), want: h.packed_len });
        }
        if out.len() != h.len as usize {
            return Err(XorbError::Output { got: out.len(), want: h.len });
        }
        match h.scheme {
            Scheme::None => out.copy_from_slice(packed),
            Scheme::Lz4 => decode_frame(packed, out)?,
            Scheme::Bg4Lz4 => {
                let grouped = &mut self.scratch[..out.len()];
                decode_frame(packed, grouped)?;
                regroup(grouped, out);
            }
        }
        Ok(())
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}
