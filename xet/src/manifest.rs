//! The ordered chunk list of a file, proven against the file's hash.

use alloc::vec::Vec;
use core::ops::Range;

use crate::CHUNK_BYTES_MAX;
use crate::fields::{chunk_record, each};
use crate::hash::{ChunkRef, Hash};
use crate::tree::file_hash;

/// Bytes of one manifest record, on the wire and on disk: hash 32 ‖ length u32 big-endian.
pub const MANIFEST_RECORD_BYTES: usize = 36;

/// Chunks between two remembered offsets. Offsets in between are summed up on demand, which saves 8 bytes per chunk.
const STRIDE: usize = 32;

/// A file's chunk list that is known to be the right one.
///
/// Whoever holds a `Manifest` has checked that every length is 1 to [`CHUNK_BYTES_MAX`], that the lengths add up to
/// the file's size and that the list hashes to the file's hash. Without the first two checks a list of inner tree
/// nodes would pass for a list of chunks, since the tree rule is the same on every level.
#[derive(Debug, Clone)]
pub struct Manifest {
    file: Hash,
    size: u64,
    chunks: Vec<ChunkRef>,
    /// Offset of every [`STRIDE`]th chunk.
    offsets: Vec<u64>,
}

/// A chunk list that does not belong to the file it was offered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// More or fewer chunks than a file of this size can have.
    #[error("{count} chunks cannot make a file of {size} bytes")]
    Count {
        /// Chunks in the list.
        count: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// The records do not divide into whole ones.
    #[error("{bytes} bytes are no whole number of 36-byte records")]
    Records {
        /// Bytes given.
        bytes: usize,
    },
    /// A chunk that is empty or too long.
    #[error("chunk {index} has {len} bytes, allowed are 1 to 131072")]
    ChunkLength {
        /// Position in the list.
        index: u32,
        /// Its length.
        len: u32,
    },
    /// Lengths that do not add up.
    #[error("chunk lengths add up to {sum} bytes, the file has {size}")]
    Size {
        /// Sum of the lengths.
        sum: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// The list of another file.
    #[error("chunk list hashes to {got}, expected {want}")]
    Root {
        /// File hash of the list.
        got: Hash,
        /// Hash of the file.
        want: Hash,
    },
}

impl Manifest {
    /// Checks a chunk list against the file's hash and size, which the caller has from the Hub.
    ///
    /// # Errors
    /// Says which of the checks failed. The cheap ones come first; the tree costs 0.3 µs per chunk.
    pub fn prove(file: Hash, size: u64, chunks: Vec<ChunkRef>) -> Result<Self, ManifestError> {
        check_count(chunks.len(), size)?;
        let mut offsets = Vec::with_capacity(chunks.len().div_ceil(STRIDE));
        let mut sum = 0u64;
        for (index, chunk) in chunks.iter().enumerate() {
            if chunk.len == 0 || chunk.len as usize > CHUNK_BYTES_MAX {
                return Err(ManifestError::ChunkLength { index: index as u32, len: chunk.len });
            }
            if index % STRIDE == 0 {
                offsets.push(sum);
            }
            // At most 2^32 chunks of 2^17 bytes: no overflow.
            sum += u64::from(chunk.len);
        }
        if sum != size {
            return Err(ManifestError::Size { sum, size });
        }
        let got = file_hash(&chunks);
        if got != file {
            return Err(ManifestError::Root { got, want: file });
        }
        Ok(Self { file, size, chunks, offsets })
    }

    /// Reads the records of a whole list and proves it.
    ///
    /// # Errors
    /// As [`Manifest::prove`], and when the records are not whole.
    pub fn parse(file: Hash, size: u64, records: &[u8]) -> Result<Self, ManifestError> {
        if !records.len().is_multiple_of(MANIFEST_RECORD_BYTES) {
            return Err(ManifestError::Records { bytes: records.len() });
        }
        let count = records.len() / MANIFEST_RECORD_BYTES;
        check_count(count, size)?;
        let mut chunks = Vec::with_capacity(count);
        chunks.extend(each(chunk_record, records));
        Self::prove(file, size, chunks)
    }

    /// Appends the records of the chunks in `range` to `out`.
    ///
    /// # Panics
    /// When the range does not lie in the list.
    pub fn write_records(&self, range: Range<u32>, out: &mut Vec<u8>) {
        let chunks = &self.chunks[range.start as usize..range.end as usize];
        out.reserve(chunks.len() * MANIFEST_RECORD_BYTES);
        for chunk in chunks {
            out.extend_from_slice(chunk.hash.as_bytes());
            out.extend_from_slice(&chunk.len.to_be_bytes());
        }
    }

    /// The file's hash.
    #[must_use]
    pub fn file(&self) -> Hash {
        self.file
    }

    /// The file's size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Number of chunks.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.chunks.len() as u32
    }

    /// Whether the file is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Chunk number `index`.
    ///
    /// # Panics
    /// When `index` is not below [`Manifest::len`].
    #[must_use]
    pub fn chunk(&self, index: u32) -> ChunkRef {
        self.chunks[index as usize]
    }

    /// Where chunk `index` begins in the file; for `index == len()` the file's size.
    ///
    /// # Panics
    /// When `index` is above [`Manifest::len`].
    #[must_use]
    pub fn offset(&self, index: u32) -> u64 {
        let index = index as usize;
        if index == self.chunks.len() {
            return self.size;
        }
        let from = index - index % STRIDE;
        self.offsets[index / STRIDE] + self.chunks[from..index].iter().map(|c| u64::from(c.len)).sum::<u64>()
    }

    /// All chunks in file order.
    #[must_use]
    pub fn chunks(&self) -> &[ChunkRef] {
        &self.chunks
    }

    /// The chunk that holds byte `byte` of the file, `None` past the end.
    #[must_use]
    pub fn chunk_at(&self, byte: u64) -> Option<u32> {
        if byte >= self.size {
            return None;
        }
        // The first offset is 0, so at least one entry is not above `byte`.
        let stride = self.offsets.partition_point(|&offset| offset <= byte) - 1;
        let mut end = self.offsets[stride];
        let from = stride * STRIDE;
        let within = self.chunks[from..].iter().position(|chunk| {
            end += u64::from(chunk.len);
            byte < end
        })?;
        Some((from + within) as u32)
    }
}

/// Refuses counts that no list of 1 to 131,072-byte chunks with this sum can have, before anything is allocated.
fn check_count(count: usize, size: u64) -> Result<(), ManifestError> {
    let count = count as u64;
    let fits =
        count <= size && count <= u64::from(u32::MAX) && count >= size.div_ceil(CHUNK_BYTES_MAX as u64);
    if fits { Ok(()) } else { Err(ManifestError::Count { count, size }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk_hash;
    use alloc::vec;

    fn list(count: u32) -> (Vec<ChunkRef>, u64) {
        let chunks: Vec<ChunkRef> = (0..count)
            .map(|i| ChunkRef { hash: chunk_hash(&i.to_be_bytes()), len: 1 + (i * 7919) % 131_072 })
            .collect();
        let size = chunks.iter().map(|c| u64::from(c.len)).sum();
        (chunks, size)
    }

    #[test]
    fn offsets_and_lookup_agree_with_plain_sums() {
        let (chunks, size) = list(200);
        let manifest = Manifest::prove(file_hash(&chunks), size, chunks.clone()).unwrap();
        let mut offset = 0;
        for (i, chunk) in (0..).zip(&chunks) {
            assert_eq!(manifest.offset(i), offset);
            assert_eq!(manifest.chunk(i), *chunk);
            assert_eq!(manifest.chunk_at(offset), Some(i));
            offset += u64::from(chunk.len);
            assert_eq!(manifest.chunk_at(offset - 1), Some(i));
        }
        assert_eq!(manifest.offset(200), size);
        assert_eq!(manifest.chunk_at(size), None);
    }

    #[test]
    fn records_round_trip_and_have_the_documented_bytes() {
        let (chunks, size) = list(70);
        let file = file_hash(&chunks);
        let manifest = Manifest::prove(file, size, chunks.clone()).unwrap();
        let mut records = Vec::new();
        manifest.write_records(0..3, &mut records);
        manifest.write_records(3..70, &mut records);
        assert_eq!(&records[..32], chunks[0].hash.as_bytes());
        assert_eq!(&records[36 + 32..72], &chunks[1].len.to_be_bytes());
        assert_eq!(Manifest::parse(file, size, &records).unwrap().chunks(), &chunks);
        assert_eq!(
            Manifest::parse(file, size, &records[1..]).unwrap_err(),
            ManifestError::Records { bytes: 70 * 36 - 1 }
        );
    }

    #[test]
    fn a_list_of_inner_nodes_is_refused() {
        // The whole tree is one node of three chunks; the list of its one inner node has the same root.
        let chunks: Vec<ChunkRef> =
            (0..3u8).map(|i| ChunkRef { hash: chunk_hash(&[i]), len: 131_072 }).collect();
        let size = 3 * 131_072;
        let root = crate::xorb_hash(&chunks);
        let inner = vec![ChunkRef { hash: root, len: 3 * 131_072 }];
        assert_eq!(file_hash(&inner), file_hash(&chunks));
        assert!(matches!(
            Manifest::prove(file_hash(&chunks), size, inner).unwrap_err(),
            ManifestError::Count { count: 1, .. }
        ));
        let lying = vec![ChunkRef { hash: root, len: 1 }];
        assert_eq!(
            Manifest::prove(file_hash(&chunks), 2, lying).unwrap_err(),
            ManifestError::Size { sum: 1, size: 2 }
        );
    }

    #[test]
    fn each_rule_is_checked() {
        let (mut chunks, size) = list(40);
        let file = file_hash(&chunks);
        assert!(Manifest::prove(file, size, chunks.clone()).is_ok());
        assert_eq!(
            Manifest::prove(file, size + 1, chunks.clone()).unwrap_err(),
            ManifestError::Size { sum: size, size: size + 1 }
        );
        assert_eq!(
            Manifest::prove(file, 39, chunks.clone()).unwrap_err(),
            ManifestError::Count { count: 40, size: 39 }
        );
        chunks.swap(3, 4);
        assert!(matches!(Manifest::prove(file, size, chunks.clone()), Err(ManifestError::Root { .. })));
        chunks[7].len = 0;
        assert_eq!(
            Manifest::prove(file, size, chunks.clone()).unwrap_err(),
            ManifestError::ChunkLength { index: 7, len: 0 }
        );
        chunks[7].len = 131_073;
        assert_eq!(
            Manifest::prove(file, size, chunks).unwrap_err(),
            ManifestError::ChunkLength { index: 7, len: 131_073 }
        );
    }

    #[test]
    fn an_empty_file_has_an_empty_manifest() {
        let manifest = Manifest::prove(Hash::ZERO, 0, Vec::new()).unwrap();
        assert!(manifest.is_empty());
        assert_eq!((manifest.offset(0), manifest.chunk_at(0)), (0, None));
    }
}
