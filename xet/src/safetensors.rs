//! The header of a safetensors file, as far as zest reads it: how long it is.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | n, little-endian |
//! | 8 | n | JSON |
//! | 8 + n | | tensors |

use nom::number::complete::le_u64;

use crate::fields::first;

/// Bytes that say how long the header is: 8 (safetensors' description of its format).
pub const LEN_BYTES: usize = 8;
/// The longest header that programs accept: 100 MB (safetensors, "the header size is limited to 100 MB").
pub const HEADER_BYTES_MAX: u64 = 100_000_000;

/// Where the header ends that begins with these bytes, if a file of `size` bytes can have it.
#[must_use]
pub fn header_end(len: [u8; LEN_BYTES], size: u64) -> Option<u64> {
    let len = first(le_u64, &len)?;
    let end = len.checked_add(LEN_BYTES as u64)?;
    (len <= HEADER_BYTES_MAX && end <= size).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_cannot_be_is_not_believed() {
        let end = |len: u64, size| header_end(len.to_le_bytes(), size);
        assert_eq!(end(0, 8), Some(8));
        assert_eq!(end(92, 100), Some(100));
        assert_eq!(end(93, 100), None, "longer than the file");
        assert_eq!(end(100_000_000, u64::MAX), Some(100_000_008));
        assert_eq!(end(100_000_001, u64::MAX), None, "longer than the format allows");
        assert_eq!(end(u64::MAX, u64::MAX), None);
        assert_eq!(header_end([16, 39, 0, 0, 0, 0, 0, 0], 1 << 20), Some(10_008), "least byte first");
    }
}
