//! Fields that the byte formats of all crates share, as [`nom`] parsers: they borrow, allocate nothing and never panic. A format
//! is a sequence of them in the order of its byte table.
//!
//! The big-endian numbers are here because those of nom add up byte by byte, which costs a link 13 to 18 % more instructions
//! (`docs/decisions/0001-nom-reads-byte-formats.md`).

use nom::{IResult, Parser};

use crate::hash::{ChunkRef, Hash};

/// The bytes that are left, and what was read. An error says only that the bytes do not fit: which fault that is, and with which
/// values, the format knows.
pub type Parsed<'a, T> = IResult<&'a [u8], T, ()>;

/// `N` bytes as they are.
///
/// # Errors
/// There are fewer.
#[inline(always)]
pub fn array<const N: usize>(input: &[u8]) -> Parsed<'_, [u8; N]> {
    input.split_first_chunk().map(|(bytes, rest)| (rest, *bytes)).ok_or(nom::Err::Error(()))
}

/// One byte.
///
/// # Errors
/// There is none.
#[inline(always)]
pub fn byte(input: &[u8]) -> Parsed<'_, u8> {
    array.map(u8::from_be_bytes).parse(input)
}

/// Big-endian, 2 bytes.
///
/// # Errors
/// There are fewer.
#[inline(always)]
pub fn be_u16(input: &[u8]) -> Parsed<'_, u16> {
    array.map(u16::from_be_bytes).parse(input)
}

/// Big-endian, 4 bytes.
///
/// # Errors
/// There are fewer.
#[inline(always)]
pub fn be_u32(input: &[u8]) -> Parsed<'_, u32> {
    array.map(u32::from_be_bytes).parse(input)
}

/// Big-endian, 8 bytes.
///
/// # Errors
/// There are fewer.
#[inline(always)]
pub fn be_u64(input: &[u8]) -> Parsed<'_, u64> {
    array.map(u64::from_be_bytes).parse(input)
}

/// A hash, 32 bytes.
///
/// # Errors
/// There are fewer.
#[inline(always)]
pub fn hash(input: &[u8]) -> Parsed<'_, Hash> {
    array.map(Hash::from_bytes).parse(input)
}

/// A record of a manifest: chunk hash 32, length 4 big-endian. The length is as it stands there, lawful or not.
///
/// # Errors
/// There are fewer than 36 bytes.
#[inline(always)]
pub fn chunk_record(input: &[u8]) -> Parsed<'_, ChunkRef> {
    (hash, be_u32).map(|(hash, len)| ChunkRef { hash, len }).parse(input)
}

/// What `parser` reads at the start of `input`, if it fits.
#[inline(always)]
pub fn first<'a, T>(mut parser: impl Parser<&'a [u8], Output = T, Error = ()>, input: &'a [u8]) -> Option<T> {
    parser.parse(input).ok().map(|(_, value)| value)
}

/// What `parser` reads, if that is all of `input`.
#[inline(always)]
pub fn whole<'a, T>(mut parser: impl Parser<&'a [u8], Output = T, Error = ()>, input: &'a [u8]) -> Option<T> {
    parser.parse(input).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, value)| value)
}

/// What `parser` reads again and again, up to where it does not fit any more.
#[inline(always)]
pub fn each<'a, T>(
    mut parser: impl Parser<&'a [u8], Output = T, Error = ()>,
    mut input: &'a [u8],
) -> impl Iterator<Item = T> {
    core::iter::from_fn(move || {
        let (rest, value) = parser.parse(input).ok()?;
        input = rest;
        Some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_parser_reads_its_bytes_or_nothing() {
        assert_eq!(array::<2>(b"abc"), Ok((&b"c"[..], *b"ab")));
        assert!(array::<4>(b"abc").is_err() && hash(&[0; 31]).is_err() && chunk_record(&[0; 35]).is_err());
        let chunk = ChunkRef { hash: Hash::from_bytes([7; 32]), len: 0x0102_0304 };
        assert_eq!(chunk_record(&[&[7; 32][..], &[1, 2, 3, 4]].concat()), Ok((&[][..], chunk)));
        assert_eq!((first(be_u16, &[1, 2, 3]), first(be_u16, &[1])), (Some(0x0102), None));
        assert_eq!((whole(be_u16, &[1, 2, 3]), whole(be_u16, &[1, 2])), (None, Some(0x0102)));
        assert_eq!(each(be_u16, &[0, 1, 0, 2, 9]).collect::<Vec<_>>(), [1, 2]);
    }
}
