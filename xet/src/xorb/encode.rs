//! Packing of single chunks.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use lz4_flex::block::CompressTable;

use super::lz4::encode_frame;
use super::regroup::group;
use super::{ChunkHeader, Scheme};
use crate::CHUNK_BYTES_MAX;

/// Words of a chunk that [`SchemeChoice::Auto`] looks at.
const SAMPLE_WORDS: usize = 2048;

/// How to pack a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemeChoice {
    /// Not at all.
    None,
    /// LZ4.
    Lz4,
    /// Grouped bytes, then LZ4.
    Bg4Lz4,
    /// Whichever of the two looks better from a sample of the chunk.
    Auto,
}

/// Packs chunks. Keeps its tables and a scratch buffer, together 144 KiB, so make one per thread and keep it.
pub struct Encoder {
    table: Box<CompressTable>,
    /// The grouped form of a chunk; always [`CHUNK_BYTES_MAX`] long.
    scratch: Vec<u8>,
}

impl Encoder {
    /// An encoder with its buffers.
    #[must_use]
    pub fn new() -> Self {
        Self { table: Box::new(CompressTable::large()), scratch: vec![0; CHUNK_BYTES_MAX] }
    }

    /// Appends the chunk `data`, header first, to `out` and returns the header. Where packing does not make the
    /// chunk shorter it is stored as it is.
    ///
    /// # Panics
    /// When `data` is empty or longer than [`CHUNK_BYTES_MAX`]: that is no chunk.
    pub fn encode(&mut self, data: &[u8], scheme: SchemeChoice, out: &mut Vec<u8>) -> ChunkHeader {
        assert!(!data.is_empty() && data.len() <= CHUNK_BYTES_MAX, "{} bytes are no chunk", data.len());
        let start = out.len();
        out.extend_from_slice(&[0; ChunkHeader::BYTES]);
        let scheme = match scheme {
            SchemeChoice::None => Scheme::None,
            SchemeChoice::Lz4 => Scheme::Lz4,
            SchemeChoice::Bg4Lz4 => Scheme::Bg4Lz4,
            SchemeChoice::Auto => guess(data),
        };
        let shorter = match scheme {
            Scheme::None => false,
            Scheme::Lz4 => encode_frame(data, data.len() - 1, &mut self.table, out),
            Scheme::Bg4Lz4 => {
                let grouped = &mut self.scratch[..data.len()];
                group(data, grouped);
                encode_frame(grouped, data.len() - 1, &mut self.table, out)
            }
        };
        let scheme = if shorter { scheme } else { Scheme::None };
        if !shorter {
            out.extend_from_slice(data);
        }
        let packed_len = (out.len() - start - ChunkHeader::BYTES) as u32;
        let header = ChunkHeader { packed_len, scheme, len: data.len() as u32 };
        out[start..start + ChunkHeader::BYTES].copy_from_slice(&header.encode());
        header
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// Chooses between LZ4 with and without grouping.
///
/// Grouping helps when the byte's position in its word says something about the byte. Compared are the chances that
/// two bytes drawn at random are equal: from one position, averaged over the four, and from all of them. They are the
/// same for text, and several times as high by position for floats.
fn guess(data: &[u8]) -> Scheme {
    let (words, _) = data.as_chunks::<4>();
    if words.is_empty() {
        return Scheme::Lz4;
    }
    let step = words.len().div_ceil(SAMPLE_WORDS);
    let mut counts = [[0u64; 256]; 4];
    let mut sampled = 0u64;
    for word in words.iter().step_by(step) {
        for (counts, &byte) in counts.iter_mut().zip(word) {
            counts[usize::from(byte)] += 1;
        }
        sampled += 1;
    }
    // Chances as fractions over (4 · sampled)²; counts are at most 2,048, so nothing overflows.
    let by_position: u64 = counts.iter().flatten().map(|&count| 4 * count * count).sum();
    let overall: u64 =
        (0..256).map(|byte| counts.iter().map(|position| position[byte]).sum::<u64>()).map(|n| n * n).sum();
    debug_assert!(sampled as usize <= SAMPLE_WORDS, "sample is bounded");
    if 4 * by_position > 5 * overall { Scheme::Bg4Lz4 } else { Scheme::Lz4 }
}
