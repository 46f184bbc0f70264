//! Serialised xorbs: chunk headers, the walk over a range of chunks, and the errors of the codec.
//!
//! A serialised xorb is chunks one after another, each a [`ChunkHeader`] and its data, then perhaps a [`Footer`].

mod decode;
mod encode;
mod footer;
mod lz4;
mod regroup;
mod xxh32;

pub use decode::Decoder;
pub use encode::{Encoder, SchemeChoice};
pub use footer::{Footer, FooterError};
pub use lz4::FrameError;

use nom::Parser as _;
use nom::bytes::complete::take;
use nom::number::complete::{le_u8, le_u24};

use crate::CHUNK_BYTES_MAX;
use crate::fields::{Parsed, array};

/// Longest data of a chunk that we accept, in bytes: 1 KiB above the longest chunk.
///
/// An incompressible chunk of that length in 64 KiB blocks with every optional field takes at most 614 bytes more
/// (LZ4's growth of 1/255 and 16 per block, 19 for the header, 8 per block, 8 at the end), and encoders store such
/// chunks unpacked anyway. A frame of needlessly small blocks could be longer; it is refused.
pub(crate) const PACKED_BYTES_MAX: usize = CHUNK_BYTES_MAX + 1024;

/// How the data of a chunk is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// As it is.
    None = 0,
    /// One LZ4 frame.
    Lz4 = 1,
    /// Bytes grouped by position mod 4, then one LZ4 frame: for arrays of 16 and 32-bit floats.
    Bg4Lz4 = 2,
}

/// The 8 bytes before each chunk of a serialised xorb.
///
/// | bytes | field |
/// |---|---|
/// | 0 | version, 0 |
/// | 1–3 | packed length, little-endian |
/// | 4 | scheme: 0 none, 1 LZ4, 2 BG4+LZ4 |
/// | 5–7 | unpacked length, little-endian |
///
/// The fields are public for building one; [`ChunkHeader::parse`] gives only lawful ones and the codec checks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkHeader {
    /// Bytes of data after the header.
    pub packed_len: u32,
    /// How they are packed.
    pub scheme: Scheme,
    /// Bytes of the chunk once unpacked.
    pub len: u32,
}

/// Bytes that are no chunk of a serialised xorb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XorbError {
    /// A header of a version we do not know; 0x58 begins a footer.
    #[error("chunk header has version {got}, expected 0")]
    Version {
        /// Version found.
        got: u8,
    },
    /// A scheme we do not know.
    #[error("chunk header names compression scheme {got}, known are 0 to 2")]
    Scheme {
        /// Scheme found.
        got: u8,
    },
    /// An empty or too long chunk.
    #[error("chunk header says {got} bytes unpacked, allowed are 1 to 131072")]
    Length {
        /// Length found.
        got: u32,
    },
    /// Packed data that is empty, much longer than the chunk, or stored with another length than the chunk's.
    #[error("chunk header says {got} bytes packed for {len} unpacked with scheme {scheme:?}")]
    PackedLength {
        /// Packed length found.
        got: u32,
        /// Unpacked length beside it.
        len: u32,
        /// Scheme beside it.
        scheme: Scheme,
    },
    /// A range that ends inside a chunk.
    #[error("range ends {have} bytes into a chunk that takes {want}")]
    Truncated {
        /// Bytes there, header included if whole.
        have: usize,
        /// Bytes needed, as far as known.
        want: usize,
    },
    /// The data handed to the decoder is not what the header says.
    #[error("decoder was given {got} bytes of packed data, header says {want}")]
    Input {
        /// Bytes given.
        got: usize,
        /// Bytes the header says.
        want: u32,
    },
    /// The output handed to the decoder is not what the header says.
    #[error("decoder was given room for {got} bytes, header says {want}")]
    Output {
        /// Bytes given.
        got: usize,
        /// Bytes the header says.
        want: u32,
    },
    /// The LZ4 frame is bad.
    #[error("LZ4 frame of a chunk: {0}")]
    Frame(#[from] FrameError),
}

impl ChunkHeader {
    /// Bytes of a header.
    pub const BYTES: usize = 8;

    /// Reads a header.
    ///
    /// # Errors
    /// Unknown version or scheme; a length outside 1 to 131,072; a packed length of 0, more than 132,096,
    /// or different from the length when nothing is compressed.
    pub fn parse(bytes: &[u8; 8]) -> Result<Self, XorbError> {
        let (_, (version, packed_len, scheme, len)) =
            header_fields(bytes).expect("eight bytes hold all fields");
        if version != 0 {
            return Err(XorbError::Version { got: version });
        }
        let scheme = match scheme {
            0 => Scheme::None,
            1 => Scheme::Lz4,
            2 => Scheme::Bg4Lz4,
            got => return Err(XorbError::Scheme { got }),
        };
        let header = Self { packed_len, scheme, len };
        header.check()?;
        Ok(header)
    }

    /// Writes the header.
    ///
    /// # Panics
    /// When a length does not fit 24 bits: no chunk is that long.
    #[must_use]
    pub fn encode(&self) -> [u8; 8] {
        let [p0, p1, p2, p3] = self.packed_len.to_le_bytes();
        let [u0, u1, u2, u3] = self.len.to_le_bytes();
        assert!(p3 == 0 && u3 == 0, "chunk header lengths are 24 bits: {self:?}");
        [0, p0, p1, p2, self.scheme as u8, u0, u1, u2]
    }

    fn check(&self) -> Result<(), XorbError> {
        let Self { packed_len, scheme, len } = *self;
        if len == 0 || len as usize > CHUNK_BYTES_MAX {
            return Err(XorbError::Length { got: len });
        }
        let fits = match scheme {
            Scheme::None => packed_len == len,
            Scheme::Lz4 | Scheme::Bg4Lz4 => packed_len > 0 && packed_len as usize <= PACKED_BYTES_MAX,
        };
        if fits { Ok(()) } else { Err(XorbError::PackedLength { got: packed_len, len, scheme }) }
    }
}

/// Version, packed length, scheme, unpacked length.
fn header_fields(input: &[u8]) -> Parsed<'_, (u8, u32, u8, u32)> {
    (le_u8, le_u24, le_u8, le_u24).parse(input)
}

/// Walks over the chunks of a serialised range: a whole xorb without its footer, or any run of its chunks.
///
/// Gives each header with its data; after the first error it ends.
#[derive(Debug, Clone)]
pub struct XorbChunks<'a> {
    rest: &'a [u8],
}

impl<'a> XorbChunks<'a> {
    /// Starts at the first byte of `range`, which must be a chunk's header.
    #[must_use]
    pub fn new(range: &'a [u8]) -> Self {
        XorbChunks { rest: range }
    }

    /// The bytes not yet walked over; empty once the walk is over.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for XorbChunks<'a> {
    type Item = Result<(ChunkHeader, &'a [u8]), XorbError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = core::mem::take(&mut self.rest);
        let Ok((data, header)) = array(rest) else {
            return Some(Err(XorbError::Truncated { have: rest.len(), want: ChunkHeader::BYTES }));
        };
        let header = match ChunkHeader::parse(&header) {
            Ok(header) => header,
            Err(error) => return Some(Err(error)),
        };
        let packed: Parsed<'_, &[u8]> = take(header.packed_len)(data);
        let Ok((after, data)) = packed else {
            let want = ChunkHeader::BYTES + header.packed_len as usize;
            return Some(Err(XorbError::Truncated { have: rest.len(), want }));
        };
        self.rest = after;
        Some(Ok((header, data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hash, chunk_hash};
    use alloc::string::ToString;
    use alloc::vec;
    use alloc::vec::Vec;

    /// Chunks made and stored by the official client, with the hash it gave them.
    const OFFICIAL: [(&[u8], Scheme, u32, &str); 2] = [
        (
            include_bytes!("../../tests/vectors/lz4.chunk"),
            Scheme::Lz4,
            8589,
            "d1cfe76fcf08b471cde74cc58b40c28aa27211ad62720342835d8819704091f1",
        ),
        (
            include_bytes!("../../tests/vectors/bg4_lz4.chunk"),
            Scheme::Bg4Lz4,
            3952,
            "f7aa32aa7c8c7f614c1035c0165158d657e15cbe6b038a4fc96ed5ae87c9f175",
        ),
    ];

    #[test]
    fn official_chunks_decode_and_are_encoded_to_the_same_bytes() {
        for (bytes, scheme, len, hash) in OFFICIAL {
            let mut chunks = XorbChunks::new(bytes);
            let (header, packed) = chunks.next().unwrap().unwrap();
            assert!(chunks.next().is_none());
            assert_eq!((header.scheme, header.len), (scheme, len));
            let mut out = vec![0; len as usize];
            Decoder::new().decode(header, packed, &mut out).unwrap();
            assert_eq!(chunk_hash(&out), hash.parse::<Hash>().unwrap());
            for choice in [
                if scheme == Scheme::Lz4 { SchemeChoice::Lz4 } else { SchemeChoice::Bg4Lz4 },
                SchemeChoice::Auto,
            ] {
                let mut again = Vec::new();
                assert_eq!(Encoder::new().encode(&out, choice, &mut again), header);
                assert!(again == bytes, "{choice:?}");
            }
        }
    }

    #[test]
    fn header_has_the_documented_bytes() {
        let header = ChunkHeader { packed_len: 0x01_02_03, scheme: Scheme::Bg4Lz4, len: 0x02_00_00 };
        assert_eq!(header.encode(), [0, 3, 2, 1, 2, 0, 0, 2]);
        assert_eq!(ChunkHeader::parse(&header.encode()), Ok(header));
    }

    #[test]
    fn unlawful_headers_are_refused() {
        let refuse = |bytes| ChunkHeader::parse(bytes).unwrap_err();
        assert_eq!(refuse(b"XETBLOB\x01"), XorbError::Version { got: 0x58 });
        assert_eq!(refuse(&[0, 1, 0, 0, 3, 1, 0, 0]), XorbError::Scheme { got: 3 });
        assert_eq!(refuse(&[0, 0, 0, 0, 0, 0, 0, 0]), XorbError::Length { got: 0 });
        assert_eq!(refuse(&[0, 1, 0, 0, 1, 1, 0, 2]), XorbError::Length { got: 131_073 });
        let (len, scheme) = (9, Scheme::None);
        assert_eq!(refuse(&[0, 8, 0, 0, 0, 9, 0, 0]), XorbError::PackedLength { got: 8, len, scheme });
        let scheme = Scheme::Lz4;
        assert_eq!(refuse(&[0, 0, 0, 0, 1, 9, 0, 0]), XorbError::PackedLength { got: 0, len, scheme });
        assert_eq!(refuse(&[0, 1, 4, 2, 1, 9, 0, 0]), XorbError::PackedLength { got: 132_097, len, scheme });
        assert!(ChunkHeader::parse(&[0, 0, 4, 2, 1, 9, 0, 0]).is_ok());
    }

    #[test]
    fn the_walk_ends_at_the_first_error() {
        let mut encoder = Encoder::new();
        let mut range = Vec::new();
        encoder.encode(b"one", SchemeChoice::Auto, &mut range);
        let second = range.len();
        encoder.encode(b"three", SchemeChoice::None, &mut range);
        for end in 0..=range.len() {
            let mut walk = XorbChunks::new(&range[..end]);
            let whole = walk.by_ref().take_while(Result::is_ok).count();
            assert_eq!(whole, usize::from(end >= second) + usize::from(end == range.len()), "{end} bytes");
            assert!(walk.next().is_none() && walk.rest().is_empty());
        }
        let error = XorbChunks::new(&range[..second + 10]).last().unwrap().unwrap_err();
        assert_eq!(error, XorbError::Truncated { have: 10, want: 13 });
        assert_eq!(error.to_string(), "range ends 10 bytes into a chunk that takes 13");
    }

    #[test]
    fn the_decoder_checks_what_it_is_handed() {
        let mut decoder = Decoder::new();
        let header = ChunkHeader { packed_len: 3, scheme: Scheme::None, len: 3 };
        let mut out = [0; 3];
        decoder.decode(header, b"abc", &mut out).unwrap();
        assert_eq!(&out, b"abc");
        assert_eq!(decoder.decode(header, b"ab", &mut out), Err(XorbError::Input { got: 2, want: 3 }));
        assert_eq!(decoder.decode(header, b"abc", &mut [0; 4]), Err(XorbError::Output { got: 4, want: 3 }));
        let long = ChunkHeader { packed_len: 3, scheme: Scheme::Bg4Lz4, len: 131_073 };
        assert_eq!(
            decoder.decode(long, b"abc", &mut vec![0; 131_073]),
            Err(XorbError::Length { got: 131_073 })
        );
    }

    #[test]
    fn data_that_does_not_shrink_is_stored() {
        let noise: Vec<u8> = (0..9000u32).map(|i| chunk_hash(&i.to_le_bytes()).as_bytes()[0]).collect();
        for data in [&noise[..], &noise[..1], &noise[..12]] {
            for choice in [SchemeChoice::None, SchemeChoice::Lz4, SchemeChoice::Bg4Lz4, SchemeChoice::Auto] {
                let mut out = Vec::new();
                let header = Encoder::new().encode(data, choice, &mut out);
                assert_eq!((header.scheme, header.packed_len), (Scheme::None, data.len() as u32));
                assert!(out[ChunkHeader::BYTES..] == *data);
            }
        }
    }
}
