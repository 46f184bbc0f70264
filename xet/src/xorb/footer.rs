//! The footer some stores keep at the end of a serialised xorb.

use alloc::vec::Vec;

use nom::Parser as _;
use nom::bytes::complete::take;
use nom::multi::count;
use nom::number::complete::le_u32;

use super::ChunkHeader;
use crate::fields::{Parsed, array, first, hash, whole};
use crate::hash::{ChunkRef, Hash};
use crate::tree::xorb_hash;
use crate::{CHUNK_BYTES_MAX, XORB_CHUNKS_MAX};

/// Magic and version of the whole footer, the hash section and the boundary section.
const FOOTER_TAG: [u8; 8] = *b"XETBLOB\x01";
const HASHES_TAG: [u8; 8] = *b"XBLBHSH\x00";
const BOUNDS_TAG: [u8; 8] = *b"XBLBBND\x01";
/// Bytes of the footer that do not depend on the number of chunks, the final length included.
const FIXED_BYTES: usize = 8 + 32 + 8 + 4 + 8 + 4 + TRAILER_BYTES + 4;
/// Chunk count, two section offsets, 16 reserved bytes.
const TRAILER_BYTES: usize = 4 + 4 + 4 + 16;
/// Bytes of the footer for each chunk: hash and two ends.
const CHUNK_BYTES: usize = 32 + 4 + 4;

/// The chunk list of a whole xorb as its footer gives it, proven against the xorb's hash.
///
/// Numbers are little-endian. For n chunks:
///
/// | bytes | field |
/// |---|---|
/// | 8 | `XETBLOB`, version 1 |
/// | 32 | xorb hash |
/// | 8 | `XBLBHSH`, version 0 |
/// | 4 | n |
/// | 32 n | chunk hashes |
/// | 8 | `XBLBBND`, version 1 |
/// | 4 | n |
/// | 4 n | end of each chunk in the serialised xorb |
/// | 4 n | end of each chunk in the unpacked data |
/// | 4 | n |
/// | 4 | distance of `XBLBHSH` from the end of the reserved bytes |
/// | 4 | distance of `XBLBBND` from there |
/// | 16 | reserved: ignored, written as zeros |
/// | 4 | bytes of all the above |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// Hash of the xorb.
    pub xorb: Hash,
    /// Hash of each chunk.
    pub hashes: Vec<Hash>,
    /// Where each chunk ends in the serialised xorb, in bytes.
    pub packed_ends: Vec<u32>,
    /// Where each chunk ends in the unpacked data, in bytes.
    pub unpacked_ends: Vec<u32>,
}

/// Bytes that are no footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FooterError {
    /// The length at the end is that of no footer, or longer than what is there.
    #[error("footer says it has {got} bytes, there are {have}")]
    Length {
        /// Bytes by the length at the end, itself included.
        got: usize,
        /// Bytes there.
        have: usize,
    },
    /// Not the magic or version that belongs there.
    #[error("footer has {got:02x?} where {section} begins")]
    Tag {
        /// Which section should begin.
        section: &'static str,
        /// Bytes found.
        got: [u8; 8],
    },
    /// Counts or offsets that do not agree with the length.
    #[error("footer says {got} as {what}, its length asks for {want}")]
    Number {
        /// What the number is.
        what: &'static str,
        /// Number found.
        got: u32,
        /// Number that belongs there.
        want: u32,
    },
    /// Ends that make a chunk too short or too long.
    #[error("footer says chunk {chunk} has {packed} bytes packed and {unpacked} unpacked")]
    Bounds {
        /// The chunk's number.
        chunk: u32,
        /// Its bytes in the serialised xorb.
        packed: i64,
        /// Its bytes unpacked.
        unpacked: i64,
    },
    /// A chunk list that is not the xorb's.
    #[error("footer's chunks hash to {got}, its xorb hash is {want}")]
    Root {
        /// Hash of the list.
        got: Hash,
        /// Hash in the footer.
        want: Hash,
    },
}

impl Footer {
    /// Longest footer in bytes, its final length included.
    pub const BYTES_MAX: usize = FIXED_BYTES + XORB_CHUNKS_MAX * CHUNK_BYTES;

    /// The footer of a xorb with these chunks, each with the bytes it takes in the serialised xorb, header included.
    ///
    /// # Panics
    /// When there are more chunks than a xorb can have, or the sums do not fit 32 bits.
    #[must_use]
    pub fn of(chunks: &[(ChunkRef, u32)]) -> Self {
        assert!(chunks.len() <= XORB_CHUNKS_MAX, "{} chunks are no xorb", chunks.len());
        let mut footer = Self {
            xorb: Hash::ZERO,
            hashes: chunks.iter().map(|(chunk, _)| chunk.hash).collect(),
            packed_ends: Vec::with_capacity(chunks.len()),
            unpacked_ends: Vec::with_capacity(chunks.len()),
        };
        let (mut packed, mut unpacked) = (0u32, 0u32);
        for (chunk, packed_len) in chunks {
            packed = packed.checked_add(*packed_len).expect("a serialised xorb is shorter than 4 GiB");
            unpacked = unpacked.checked_add(chunk.len).expect("8192 chunks have at most 1 GiB");
            footer.packed_ends.push(packed);
            footer.unpacked_ends.push(unpacked);
        }
        footer.xorb = xorb_hash(&footer.chunks().collect::<Vec<_>>());
        footer
    }

    /// Bytes of the footer, given the last four bytes of the file: what to read, backwards from its end.
    ///
    /// # Errors
    /// The bytes are no length of a footer: most likely the file has none.
    pub fn bytes_from_tail(tail: [u8; 4]) -> Result<usize, FooterError> {
        let got = first(le_u32, &tail).map_or(0, |len| len as usize) + 4;
        let lawful =
            got > FIXED_BYTES && got <= Self::BYTES_MAX && (got - FIXED_BYTES).is_multiple_of(CHUNK_BYTES);
        if lawful { Ok(got) } else { Err(FooterError::Length { got, have: 4 }) }
    }

    /// Splits a whole xorb into its serialised chunks and its footer.
    ///
    /// # Errors
    /// As [`Footer::parse`]; also when the chunks do not end where the footer says. A xorb without a footer gives
    /// [`FooterError::Length`] or [`FooterError::Tag`].
    pub fn split(xorb: &[u8]) -> Result<(&[u8], Self), FooterError> {
        let tail = *xorb.last_chunk().ok_or(FooterError::Length { got: 4, have: xorb.len() })?;
        let bytes = Self::bytes_from_tail(tail)?;
        let at = xorb.len().checked_sub(bytes).ok_or(FooterError::Length { got: bytes, have: xorb.len() })?;
        let (chunks, footer) = xorb.split_at(at);
        let footer = Self::parse(footer)?;
        let got = footer.packed_ends.last().copied().unwrap_or(0);
        if got as usize != chunks.len() {
            let want = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
            return Err(FooterError::Number { what: "the end of the last chunk", got, want });
        }
        Ok((chunks, footer))
    }

    /// Reads a footer, from its magic to its final length.
    ///
    /// # Errors
    /// Says which field is wrong. The chunk list is checked against the xorb hash.
    pub fn parse(bytes: &[u8]) -> Result<Self, FooterError> {
        let have = bytes.len();
        let tail = *bytes.last_chunk().ok_or(FooterError::Length { got: 4, have })?;
        let got = Self::bytes_from_tail(tail)?;
        if got != have {
            return Err(FooterError::Length { got, have });
        }
        let count = (have - FIXED_BYTES) / CHUNK_BYTES;
        let stored = whole(|input| stored(input, count), bytes).ok_or(FooterError::Length { got, have })?;

        let tag = |section, got: [u8; 8], want| {
            if got == want { Ok(()) } else { Err(FooterError::Tag { section, got }) }
        };
        let number = |what, got: u32, want: usize| {
            let want = want as u32;
            if got == want { Ok(()) } else { Err(FooterError::Number { what, got, want }) }
        };
        tag("the footer", stored.tag, FOOTER_TAG)?;
        tag("the hash section", stored.hashes_tag, HASHES_TAG)?;
        number("the number of hashes", stored.hashes_count, count)?;
        tag("the boundary section", stored.bounds_tag, BOUNDS_TAG)?;
        number("the number of boundaries", stored.bounds_count, count)?;
        number("the number of chunks", stored.count, count)?;
        number("the offset of the hash section", stored.hashes_from_end, hashes_from_end(count))?;
        number("the offset of the boundary section", stored.bounds_from_end, bounds_from_end(count))?;

        let footer = stored.footer;
        footer.check_bounds()?;
        let got = xorb_hash(&footer.chunks().collect::<Vec<_>>());
        if got != footer.xorb {
            return Err(FooterError::Root { got, want: footer.xorb });
        }
        Ok(footer)
    }

    /// Writes the footer.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = self.hashes.len();
        assert!(count == self.packed_ends.len() && count == self.unpacked_ends.len(), "lists of one length");
        let mut out = Vec::with_capacity(FIXED_BYTES + CHUNK_BYTES * count);
        let number = |out: &mut Vec<u8>, number: usize| out.extend_from_slice(&(number as u32).to_le_bytes());
        out.extend_from_slice(&FOOTER_TAG);
        out.extend_from_slice(self.xorb.as_bytes());
        out.extend_from_slice(&HASHES_TAG);
        number(&mut out, count);
        for hash in &self.hashes {
            out.extend_from_slice(hash.as_bytes());
        }
        out.extend_from_slice(&BOUNDS_TAG);
        number(&mut out, count);
        for end in self.packed_ends.iter().chain(&self.unpacked_ends) {
            out.extend_from_slice(&end.to_le_bytes());
        }
        number(&mut out, count);
        number(&mut out, hashes_from_end(count));
        number(&mut out, bounds_from_end(count));
        out.extend_from_slice(&[0; 16]);
        let len = out.len();
        number(&mut out, len);
        out
    }

    /// The chunks in order.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkRef> {
        let lens = lens(&self.unpacked_ends).map(|len| len as u32);
        self.hashes.iter().zip(lens).map(|(&hash, len)| ChunkRef { hash, len })
    }

    /// Every chunk has a header and a byte of data, and is no longer than a chunk may be.
    fn check_bounds(&self) -> Result<(), FooterError> {
        for (chunk, (packed, unpacked)) in lens(&self.packed_ends).zip(lens(&self.unpacked_ends)).enumerate()
        {
            let packed_ok = packed > ChunkHeader::BYTES as i64
                && packed <= (ChunkHeader::BYTES + super::PACKED_BYTES_MAX) as i64;
            if !packed_ok || unpacked < 1 || unpacked > CHUNK_BYTES_MAX as i64 {
                return Err(FooterError::Bounds { chunk: chunk as u32, packed, unpacked });
            }
        }
        Ok(())
    }
}

/// Every field of a footer as it stands there.
struct Stored {
    tag: [u8; 8],
    hashes_tag: [u8; 8],
    hashes_count: u32,
    bounds_tag: [u8; 8],
    bounds_count: u32,
    count: u32,
    hashes_from_end: u32,
    bounds_from_end: u32,
    footer: Footer,
}

/// The table of [`Footer`], line by line.
fn stored(input: &[u8], n: usize) -> Parsed<'_, Stored> {
    let (input, tag) = array(input)?;
    let (input, xorb) = hash(input)?;
    let (input, hashes_tag) = array(input)?;
    let (input, hashes_count) = le_u32(input)?;
    let (input, hashes) = count(hash, n).parse(input)?;
    let (input, bounds_tag) = array(input)?;
    let (input, bounds_count) = le_u32(input)?;
    let (input, packed_ends) = count(le_u32, n).parse(input)?;
    let (input, unpacked_ends) = count(le_u32, n).parse(input)?;
    let (input, chunks) = le_u32(input)?;
    let (input, hashes_from_end) = le_u32(input)?;
    let (input, bounds_from_end) = le_u32(input)?;
    let (input, _reserved) = take(16usize)(input)?;
    let (input, _len) = le_u32(input)?;
    let footer = Footer { xorb, hashes, packed_ends, unpacked_ends };
    let stored = Stored {
        tag,
        hashes_tag,
        hashes_count,
        bounds_tag,
        bounds_count,
        count: chunks,
        hashes_from_end,
        bounds_from_end,
        footer,
    };
    Ok((input, stored))
}

/// Lengths from ends; negative where the ends go back.
fn lens(ends: &[u32]) -> impl Iterator<Item = i64> {
    let mut start = 0;
    ends.iter().map(move |&end| i64::from(end) - core::mem::replace(&mut start, i64::from(end)))
}

fn bounds_from_end(count: usize) -> usize {
    8 + 4 + 8 * count + TRAILER_BYTES
}

fn hashes_from_end(count: usize) -> usize {
    8 + 4 + 32 * count + bounds_from_end(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk_hash;
    use alloc::string::ToString;

    fn sample() -> Footer {
        let chunk = |i: u32| (ChunkRef { hash: chunk_hash(&i.to_le_bytes()), len: 1 + i * 900 }, 9 + i * 800);
        Footer::of(&(0..100).map(chunk).collect::<Vec<_>>())
    }

    #[test]
    fn footer_round_trips_behind_its_chunks() {
        let footer = sample();
        let end = *footer.packed_ends.last().unwrap() as usize;
        let mut xorb = alloc::vec![0; end];
        xorb.extend_from_slice(&footer.encode());
        let (chunks, read) = Footer::split(&xorb).unwrap();
        assert_eq!((chunks.len(), &read), (end, &footer));
        assert_eq!(footer.encode().len(), FIXED_BYTES + 100 * CHUNK_BYTES);
        assert_eq!(
            Footer::split(&xorb[1..]).unwrap_err(),
            FooterError::Number { what: "the end of the last chunk", got: end as u32, want: end as u32 - 1 }
        );
    }

    /// Of a stored xorb of 79 chunks, made by the official server.
    #[test]
    fn offsets_are_those_of_the_official_server() {
        assert_eq!(FIXED_BYTES + 79 * CHUNK_BYTES - 4, 0x0cb4);
        assert_eq!(hashes_from_end(79), 0x0c8c);
        assert_eq!(bounds_from_end(79), 0x02a0);
    }

    #[test]
    fn every_field_is_checked() {
        let good = sample().encode();
        let reserved = good.len() - 20..good.len() - 4;
        // Packed ends are under no hash: only impossible ones are found.
        let packed_ends = 8 + 32 + 8 + 4 + 3200 + 8 + 4..good.len() - 4 - TRAILER_BYTES - 400;
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            if !packed_ends.contains(&at) {
                assert_eq!(Footer::parse(&bad).is_ok(), reserved.contains(&at), "byte {at}");
            }
        }
        for end in 0..good.len() {
            assert!(Footer::parse(&good[..end]).is_err(), "cut after {end} bytes");
        }
        assert_eq!(Footer::parse(b"abc").unwrap_err().to_string(), "footer says it has 4 bytes, there are 3");
    }

    #[test]
    fn ends_that_go_back_are_refused() {
        let mut footer = sample();
        footer.unpacked_ends[4] = 0;
        assert!(matches!(Footer::parse(&footer.encode()), Err(FooterError::Bounds { chunk: 4, .. })));
    }
}
