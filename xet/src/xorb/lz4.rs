//! The LZ4 frame format around LZ4 blocks (LZ4 frame format 1.6.4), decoding into a slice of known length.
//!
//! Every chunk seen in the field is a frame of one independent block without checksums; that form has a path of its
//! own. Everything else the format allows for a single frame is read, too, except dictionaries.

use alloc::vec::Vec;

use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, decompress_into_with_dict};

use nom::Parser;
use nom::bytes::complete::{tag, take};
use nom::number::complete::{le_u8, le_u32, le_u64};

use super::xxh32::xxh32;
use crate::fields::{Parsed, array, whole};

/// First four bytes of a frame.
const MAGIC: [u8; 4] = 0x184d_2204u32.to_le_bytes();
/// Magic numbers of skippable frames: this one and the fifteen after it.
const SKIPPABLE: u32 = 0x184d_2a50;
/// Bytes of what an encoder of ours writes before the block: magic, two descriptor bytes, their checksum.
const HEADER_BYTES: usize = 7;
/// Bit of a block's length that says its data is stored.
const STORED: u32 = 1 << 31;
/// How far back a linked block may point, in bytes (LZ4 block format).
const WINDOW_BYTES: usize = 64 * 1024;

/// FLG: format version 01.
const VERSION: u8 = 0b0100_0000;
const VERSION_MASK: u8 = 0b1100_0000;
const INDEPENDENT: u8 = 1 << 5;
const BLOCK_CHECKSUM: u8 = 1 << 4;
const CONTENT_SIZE: u8 = 1 << 3;
const CONTENT_CHECKSUM: u8 = 1 << 2;
const RESERVED: u8 = 1 << 1;
const DICTIONARY: u8 = 1;

/// An LZ4 frame that cannot be decoded to the chunk it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The data ends in the middle of something.
    #[error("ends after {have} of {want} bytes of {what}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes there.
        have: usize,
        /// Bytes needed.
        want: usize,
    },
    /// Not an LZ4 frame.
    #[error("begins with {got:#010x} instead of 0x184d2204")]
    Magic {
        /// First four bytes, little-endian.
        got: u32,
    },
    /// A skippable frame: it holds no data.
    #[error("is skippable ({got:#010x}), which holds no chunk")]
    Skippable {
        /// First four bytes, little-endian.
        got: u32,
    },
    /// Another format version, reserved bits or an unknown block size.
    #[error("has descriptor bytes {flg:#04x} {bd:#04x}, which the format does not allow")]
    Descriptor {
        /// Flags.
        flg: u8,
        /// Block descriptor.
        bd: u8,
    },
    /// A dictionary is needed; Xet has none.
    #[error("needs a dictionary")]
    Dictionary,
    /// A checksum differs.
    #[error("has {what} checksum {got:#x}, computed {want:#x}")]
    Checksum {
        /// Whose checksum.
        what: &'static str,
        /// As stored.
        got: u32,
        /// As computed.
        want: u32,
    },
    /// The frame's own content size is not the chunk's.
    #[error("says it holds {got} bytes, the chunk has {want}")]
    ContentSize {
        /// As stored.
        got: u64,
        /// Bytes of the chunk.
        want: usize,
    },
    /// A block longer than the frame's limit.
    #[error("has a block of {got} bytes, its limit is {max}")]
    BlockLength {
        /// Bytes of the block.
        got: usize,
        /// Limit of this frame.
        max: usize,
    },
    /// A block that does not decode within the bytes left for it.
    #[error("has a block of {packed} bytes that does not decode into {room}")]
    Block {
        /// Bytes of the block.
        packed: usize,
        /// Bytes it may give at most.
        room: usize,
    },
    /// The frame is over before the chunk is full.
    #[error("gives {got} bytes, the chunk has {want}")]
    Short {
        /// Bytes decoded.
        got: usize,
        /// Bytes of the chunk.
        want: usize,
    },
    /// Bytes after the frame.
    #[error("is followed by {bytes} more bytes")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// Decodes the frame that is all of `frame` into all of `out`.
pub(crate) fn decode_frame(frame: &[u8], out: &mut [u8]) -> Result<(), FrameError> {
    if let Some(block) = single_block(frame) {
        return decode_single(block, out);
    }
    decode_any(frame, out)
}

/// The block of a frame in the usual form: one compressed independent block, nothing optional.
fn single_block(frame: &[u8]) -> Option<&[u8]> {
    let (flg, bd, check, block) = whole(single_block_frame, frame)?;
    let usual = flg == VERSION | INDEPENDENT
        && block_bytes_max(bd).is_some()
        && check == descriptor_check(&[flg, bd]);
    usual.then_some(block)
}

/// Magic 4, flags 1, block descriptor 1, checksum of both 1, length of the block 4, the block, four zeros.
fn single_block_frame(input: &[u8]) -> Parsed<'_, (u8, u8, u8, &[u8])> {
    let (input, _) = tag(&MAGIC[..])(input)?;
    let (input, (flg, bd, check, len)) = (le_u8, le_u8, le_u8, le_u32).parse(input)?;
    if len == 0 || len & STORED != 0 {
        return Err(nom::Err::Error(()));
    }
    let (input, block) = take(len)(input)?;
    let (input, _) = tag(&[0; 4][..])(input)?;
    Ok((input, (flg, bd, check, block)))
}

fn decode_single(block: &[u8], out: &mut [u8]) -> Result<(), FrameError> {
    let room = out.len();
    match decompress_into(block, out) {
        Ok(got) if got == room => Ok(()),
        Ok(got) => Err(FrameError::Short { got, want: room }),
        Err(_) => Err(FrameError::Block { packed: block.len(), room }),
    }
}

/// What is left, and what was read.
type Field<'a, T> = Result<(&'a [u8], T), FrameError>;

/// Reads a field of `want` bytes; where there are fewer, says which one it was.
fn field<'a, T>(
    mut parser: impl Parser<&'a [u8], Output = T, Error = ()>,
    input: &'a [u8],
    want: usize,
    what: &'static str,
) -> Field<'a, T> {
    parser.parse(input).map_err(|_| FrameError::Truncated { what, have: input.len(), want })
}

/// Reads four bytes, which must be the XXH32 of `data`.
fn checksum<'a>(input: &'a [u8], data: &[u8], what: &'static str) -> Field<'a, ()> {
    let (rest, got) = field(le_u32, input, 4, what)?;
    let want = xxh32(data);
    if got == want { Ok((rest, ())) } else { Err(FrameError::Checksum { what, got, want }) }
}

/// Decodes any legal frame without a dictionary.
///
/// | bytes | field |
/// |---|---|
/// | 4 | magic |
/// | 1 | flags |
/// | 1 | block descriptor |
/// | 8 or 0 | content size |
/// | 1 | checksum of the three above |
/// | | blocks: length 4, data, checksum 4 or 0 |
/// | 4 | 0, a length that ends the blocks |
/// | 4 or 0 | checksum of the content |
///
/// All numbers are little-endian.
fn decode_any(frame: &[u8], out: &mut [u8]) -> Result<(), FrameError> {
    let (descriptor, got) = field(le_u32, frame, 4, "the magic number")?;
    if got.to_le_bytes() != MAGIC {
        let skippable = (SKIPPABLE..SKIPPABLE + 16).contains(&got);
        return Err(if skippable { FrameError::Skippable { got } } else { FrameError::Magic { got } });
    }
    let (rest, [flg, bd]) = field(array, descriptor, 2, "the frame descriptor")?;
    let block_max = match block_bytes_max(bd) {
        Some(max) if flg & VERSION_MASK == VERSION && flg & RESERVED == 0 => max,
        _ => return Err(FrameError::Descriptor { flg, bd }),
    };
    if flg & DICTIONARY != 0 {
        return Err(FrameError::Dictionary);
    }
    let (rest, content_size) = match flg & CONTENT_SIZE {
        0 => (rest, None),
        _ => field(le_u64.map(Some), rest, 8, "the content size")?,
    };
    let descriptor = &descriptor[..descriptor.len() - rest.len()];
    let (mut rest, got) = field(le_u8, rest, 1, "the descriptor checksum")?;
    let want = descriptor_check(descriptor);
    if got != want {
        let (got, want) = (u32::from(got), u32::from(want));
        return Err(FrameError::Checksum { what: "descriptor", got, want });
    }
    if let Some(got) = content_size
        && got != out.len() as u64
    {
        return Err(FrameError::ContentSize { got, want: out.len() });
    }

    let mut filled = 0;
    loop {
        let word;
        (rest, word) = field(le_u32, rest, 4, "a block length")?;
        if word == 0 {
            break;
        }
        let len = (word & !STORED) as usize;
        if len > block_max {
            return Err(FrameError::BlockLength { got: len, max: block_max });
        }
        let block;
        (rest, block) = field(take(len), rest, len, "a block")?;
        if flg & BLOCK_CHECKSUM != 0 {
            (rest, ()) = checksum(rest, block, "block")?;
        }
        let (before, room) = out.split_at_mut(filled);
        let room_len = room.len().min(block_max);
        let room = &mut room[..room_len];
        let bad = FrameError::Block { packed: len, room: room_len };
        filled += if word & STORED != 0 {
            room.get_mut(..len).ok_or(bad)?.copy_from_slice(block);
            len
        } else if flg & INDEPENDENT != 0 || before.is_empty() {
            decompress_into(block, room).map_err(|_| bad)?
        } else {
            let window = &before[before.len().saturating_sub(WINDOW_BYTES)..];
            decompress_into_with_dict(block, room, window).map_err(|_| bad)?
        };
    }
    if filled != out.len() {
        return Err(FrameError::Short { got: filled, want: out.len() });
    }
    if flg & CONTENT_CHECKSUM != 0 {
        (rest, ()) = checksum(rest, out, "content")?;
    }
    if rest.is_empty() { Ok(()) } else { Err(FrameError::Trailing { bytes: rest.len() }) }
}

/// Greatest block of a frame with block descriptor `bd`: 64 KiB to 4 MiB, `None` for bytes the format forbids.
fn block_bytes_max(bd: u8) -> Option<usize> {
    (bd & 0b1000_1111 == 0 && bd >> 4 >= 4).then(|| 1 << (8 + 2 * (bd >> 4)))
}

/// Second byte of the descriptor's XXH32.
fn descriptor_check(descriptor: &[u8]) -> u8 {
    (xxh32(descriptor) >> 8) as u8
}

/// Appends the frame of `data`, in the usual form, to `out`: unless it would be longer than `bytes_max`; then `out`
/// is left as it was. Says whether it was appended.
pub(crate) fn encode_frame(
    data: &[u8],
    bytes_max: usize,
    table: &mut CompressTable,
    out: &mut Vec<u8>,
) -> bool {
    // Smallest legal block size that holds all, as the official encoder chooses: 64 KiB, else 256 KiB.
    let bd = if data.len() <= WINDOW_BYTES { 4 << 4 } else { 5 << 4 };
    debug_assert!(block_bytes_max(bd).is_some_and(|max| data.len() <= max), "a chunk fits one block");
    let flg = VERSION | INDEPENDENT;
    let start = out.len();
    let around = HEADER_BYTES + 4 + 4;
    let Some(room) = bytes_max.checked_sub(around) else { return false };
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[flg, bd, descriptor_check(&[flg, bd])]);
    out.extend_from_slice(&[0; 4]);
    let block = out.len();
    // The compressor refuses to begin when it has less room than its worst case, so it gets that.
    out.resize(block + lz4_flex::block::get_maximum_output_size(data.len()), 0);
    match compress_into_with_table(data, &mut out[block..], table) {
        Ok(len) if len <= room => {
            out.truncate(block + len);
            out[block - 4..block].copy_from_slice(&(len as u32).to_le_bytes());
            out.extend_from_slice(&[0; 4]);
            true
        }
        _ => {
            out.truncate(start);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use lz4_flex::block::{compress_into, compress_into_with_dict, get_maximum_output_size};

    /// The bytes the vector files were made from, by the reference `lz4` 1.9.4 program.
    fn noise(len: usize, mut seed: u32) -> Vec<u8> {
        let mut next = || {
            seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12_345) & 0x7fff_ffff;
            (seed >> 16) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    fn periodic(len: usize) -> Vec<u8> {
        noise(1009, 1).into_iter().cycle().take(len).collect()
    }

    fn decode(frame: &[u8], len: usize) -> Result<Vec<u8>, FrameError> {
        let mut out = vec![0; len];
        decode_frame(frame, &mut out).map(|()| out)
    }

    /// Which optional parts a frame has.
    #[derive(Clone, Copy, Debug)]
    struct Form {
        linked: bool,
        block_checksum: bool,
        content_size: bool,
        content_checksum: bool,
        block_id: u8,
        /// Bytes of data per block, which may be less than the block size allows.
        step: usize,
    }

    /// Frames of every form. Data that does not shrink is stored.
    fn frame(data: &[u8], form: Form) -> Vec<u8> {
        let bits = [
            (!form.linked, INDEPENDENT),
            (form.block_checksum, BLOCK_CHECKSUM),
            (form.content_size, CONTENT_SIZE),
            (form.content_checksum, CONTENT_CHECKSUM),
        ];
        let flg = bits.iter().filter(|(on, _)| *on).fold(VERSION, |flg, (_, bit)| flg | bit);
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&[flg, form.block_id << 4]);
        if form.content_size {
            out.extend_from_slice(&(data.len() as u64).to_le_bytes());
        }
        out.push(descriptor_check(&out[4..]));
        let mut room = vec![0; get_maximum_output_size(form.step)];
        for start in (0..data.len()).step_by(form.step) {
            let block = &data[start..data.len().min(start + form.step)];
            let window = &data[start.saturating_sub(WINDOW_BYTES)..start];
            let len = if form.linked && !window.is_empty() {
                compress_into_with_dict(block, &mut room, window)
            } else {
                compress_into(block, &mut room)
            };
            let packed = &room[..len.unwrap()];
            let (packed, stored) = if packed.len() < block.len() { (packed, 0) } else { (block, STORED) };
            out.extend_from_slice(&(packed.len() as u32 | stored).to_le_bytes());
            out.extend_from_slice(packed);
            if form.block_checksum {
                out.extend_from_slice(&xxh32(packed).to_le_bytes());
            }
        }
        out.extend_from_slice(&[0; 4]);
        if form.content_checksum {
            out.extend_from_slice(&xxh32(data).to_le_bytes());
        }
        out
    }

    const PLAIN: Form = Form {
        linked: false,
        block_checksum: false,
        content_size: false,
        content_checksum: false,
        block_id: 4,
        step: 65_536,
    };

    #[test]
    fn frames_of_the_reference_program_decode() {
        let linked = include_bytes!("../../tests/vectors/linked_all_checks.lz4");
        assert!(decode(linked, 70_000).unwrap() == periodic(70_000));
        let independent = include_bytes!("../../tests/vectors/independent_two_blocks.lz4");
        assert!(decode(independent, 70_000).unwrap() == periodic(70_000));
        let stored = include_bytes!("../../tests/vectors/stored_block.lz4");
        assert_eq!(decode(stored, 200).unwrap(), noise(200, 2));
    }

    #[test]
    fn every_form_of_frame_decodes() {
        // Compressible, then noise (a stored block), then something found only by looking back across blocks.
        let mut data = periodic(30_000);
        data.extend_from_slice(&noise(40_000, 3));
        data.extend_from_within(20_000..60_000);
        for bits in 0..16u8 {
            for (block_id, step) in [(4, 65_536), (4, 1000), (5, 100_000), (7, 131_072), (6, 70_001)] {
                let form = Form {
                    linked: bits & 1 != 0,
                    block_checksum: bits & 2 != 0,
                    content_size: bits & 4 != 0,
                    content_checksum: bits & 8 != 0,
                    block_id,
                    step,
                };
                let frame = frame(&data, form);
                assert!(decode(&frame, data.len()).unwrap() == data, "{form:?}");
                assert!(decode(&frame, data.len() - 1).is_err(), "one byte short, {form:?}");
                assert!(decode(&frame, data.len() + 1).is_err(), "one byte long, {form:?}");
            }
        }
    }

    #[test]
    fn any_flipped_byte_in_a_fully_checked_frame_is_found() {
        let form =
            Form { block_checksum: true, content_checksum: true, content_size: true, step: 700, ..PLAIN };
        let good = frame(&periodic(2000), form);
        assert!(decode(&good, 2000).is_ok());
        for at in 0..good.len() {
            for bit in [0, 3, 7] {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(decode(&bad, 2000).is_err(), "bit {bit} of byte {at}");
            }
        }
        for end in 0..good.len() {
            assert!(decode(&good[..end], 2000).is_err(), "cut after {end} bytes");
        }
    }

    /// Without checksums damage reaches the block decoder, here the one with a window; it may go unseen, not further.
    #[test]
    fn damaged_linked_blocks_do_not_panic() {
        let good = frame(&periodic(4000), Form { linked: true, step: 1300, ..PLAIN });
        for at in 7..good.len() {
            for value in [0, 1, 0x0f, 0x7f, 0xf0, 0xff, good[at].wrapping_add(1)] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = decode(&bad, 4000);
            }
        }
    }

    #[test]
    fn what_is_refused_is_named() {
        let good = frame(&periodic(2000), PLAIN);
        let refuse = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bad = good.clone();
            change(&mut bad);
            decode(&bad, 2000).unwrap_err()
        };
        let descriptor = |bad: &mut Vec<u8>, flg, bd| {
            bad[4..6].copy_from_slice(&[flg, bd]);
            bad[6] = descriptor_check(&[flg, bd]);
        };
        assert_eq!(refuse(&|b| b[0] = 0x53), FrameError::Magic { got: 0x184d_2253 });
        assert_eq!(
            refuse(&|b| b[..4].copy_from_slice(&0x184d_2a5fu32.to_le_bytes())),
            FrameError::Skippable { got: 0x184d_2a5f }
        );
        assert_eq!(refuse(&|b| descriptor(b, 0x61, 0x40)), FrameError::Dictionary);
        assert_eq!(refuse(&|b| descriptor(b, 0x62, 0x40)), FrameError::Descriptor { flg: 0x62, bd: 0x40 });
        assert_eq!(refuse(&|b| descriptor(b, 0xa0, 0x40)), FrameError::Descriptor { flg: 0xa0, bd: 0x40 });
        for bd in [0x00, 0x30, 0xc0, 0x41, 0x48] {
            assert_eq!(refuse(&|b| descriptor(b, 0x60, bd)), FrameError::Descriptor { flg: 0x60, bd });
        }
        assert!(matches!(refuse(&|b| b[6] ^= 1), FrameError::Checksum { what: "descriptor", .. }));
        assert_eq!(refuse(&|b| b.push(0)), FrameError::Trailing { bytes: 1 });
        assert_eq!(
            refuse(&|b| b[7..11].copy_from_slice(&65_537u32.to_le_bytes())),
            FrameError::BlockLength { got: 65_537, max: 65_536 }
        );
        assert_eq!(
            refuse(&|b| b.truncate(9)),
            FrameError::Truncated { what: "a block length", have: 2, want: 4 }
        );
        assert_eq!(
            decode(&good, 1999).unwrap_err().to_string(),
            alloc::format!("has a block of {} bytes that does not decode into 1999", good.len() - 15)
        );
        assert_eq!(decode(&good, 2001).unwrap_err(), FrameError::Short { got: 2000, want: 2001 });
        let sized = frame(&periodic(2000), Form { content_size: true, ..PLAIN });
        assert_eq!(decode(&sized, 1999).unwrap_err(), FrameError::ContentSize { got: 2000, want: 1999 });
    }

    /// A frame of nothing but empty stored blocks costs its own length to read, and no more.
    #[test]
    fn empty_blocks_are_harmless() {
        let mut frame = MAGIC.to_vec();
        frame.extend_from_slice(&[0x60, 0x40, descriptor_check(&[0x60, 0x40])]);
        for _ in 0..1000 {
            frame.extend_from_slice(&STORED.to_le_bytes());
        }
        frame.extend_from_slice(&[0; 4]);
        assert_eq!(decode(&frame, 5).unwrap_err(), FrameError::Short { got: 0, want: 5 });
    }

    #[test]
    fn the_encoder_writes_the_usual_form_and_takes_the_short_path_back() {
        let mut table = CompressTable::large();
        for len in [100, 2000, 65_536, 65_537, 131_072] {
            let data = periodic(len);
            let mut out = vec![7; 3];
            let shorter = encode_frame(&data, len - 1, &mut table, &mut out);
            assert_eq!(shorter, len > 1009, "{len} bytes");
            if !shorter {
                assert_eq!(out, [7; 3], "left as it was");
                continue;
            }
            assert_eq!(out[7..9], [0x60, if len > 65_536 { 0x50 } else { 0x40 }]);
            assert!(single_block(&out[3..]).is_some());
            assert!(decode(&out[3..], len).unwrap() == data);
        }
    }
}
