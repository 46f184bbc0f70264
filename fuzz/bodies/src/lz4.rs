//! LZ4 frames of every legal form, built from the input so that the decoder's inner parts are reached.

use zest_xet::{ChunkHeader, Decoder, FrameError, Scheme, XorbError};

use crate::cursor::Cursor;
use crate::formats::decode_guarded;

const MAGIC: [u8; 4] = 0x184d_2204u32.to_le_bytes();
/// FLG bits of the LZ4 frame format.
const VERSION: u8 = 0x40;
const INDEPENDENT: u8 = 0x20;
const BLOCK_CHECKSUM: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
/// Bit of a block's length that says its data is stored.
const STORED: u32 = 1 << 31;
/// Blocks of one input.
const BLOCKS_MAX: usize = 32;

/// Input: u8 form, u8 FLG, u8 BD, u24 bytes of the chunk, then blocks (u16 length, top bit: stored; data). Form bit 0:
/// the rest is the frame as it is; bit 1: wrong checksums stay wrong.
///
/// Whatever is decoded writes nowhere else and depends on nothing else, and is what a plain decoder makes of the blocks.
/// A frame decodes the same with and without its optional parts, so the path for the usual form and the path for every
/// other form agree.
pub fn lz4_frame(input: &[u8]) {
    let mut input = Cursor::new(input);
    let (form, flg, bd) = (input.u8(), input.u8(), input.u8());
    let len = input.number::<3>() as u32 % 131_073;
    if len == 0 {
        return;
    }
    let mut decoder = Decoder::new();
    if form & 1 != 0 {
        let _ = decode(&mut decoder, input.rest(), len);
        return;
    }
    let mut blocks = Vec::new();
    while !input.is_empty() && blocks.len() < BLOCKS_MAX {
        let word = input.u16();
        let stored = if word & 0x8000 == 0 { 0 } else { STORED };
        let data = input.bytes(usize::from(word & 0x7fff));
        blocks.push((data.len() as u32 | stored, data));
    }
    let frame = Frame { flg, bd, content: len.into(), blocks };
    if form & 2 != 0 {
        let _ = decode(&mut decoder, &frame.spell(&Checksums::default()), len);
        return;
    }
    let outcome = frame.decode(&mut decoder, len);
    if flg & VERSION == 0 {
        return;
    }
    // The same blocks with every optional part and with none: the usual form has a path of its own.
    let linking = flg & INDEPENDENT;
    let extras = BLOCK_CHECKSUM | CONTENT_SIZE | CONTENT_CHECKSUM;
    let bare = Frame { flg: VERSION | linking, ..frame.clone() }.decode(&mut decoder, len);
    let full = Frame { flg: VERSION | linking | extras, ..frame.clone() }.decode(&mut decoder, len);
    // The usual path takes a block that is longer than its descriptor says, before and after unpacking.
    let bound = 1 << (8 + 2 * usize::from(bd >> 4 & 7));
    if len as usize <= bound && frame.blocks.iter().all(|(_, data)| data.len() <= bound) {
        assert!(bare == full, "optional parts change the content");
    }
    let plain = frame.decode_plainly(len as usize, bound);
    assert!(full == plain, "the blocks hold something else");
    if let (Some(data), true) = (&outcome, flg & !(linking | extras) == VERSION) {
        assert!(bare.as_ref() == Some(data), "optional parts change the content");
    }
}

fn decode(decoder: &mut Decoder, frame: &[u8], len: u32) -> Option<Vec<u8>> {
    decode_guarded(decoder, header(frame, len), frame)
}

fn header(frame: &[u8], len: u32) -> ChunkHeader {
    let packed_len = u32::try_from(frame.len()).expect("inputs are short");
    ChunkHeader { packed_len, scheme: Scheme::Lz4, len }
}

#[derive(Clone)]
struct Frame<'a> {
    flg: u8,
    bd: u8,
    content: u64,
    /// Length word and data.
    blocks: Vec<(u32, &'a [u8])>,
}

#[derive(Clone, Default)]
struct Checksums {
    descriptor: u8,
    blocks: Vec<u32>,
    content: u32,
}

impl Frame<'_> {
    /// The frame's bytes; block checksums that are missing are 0.
    fn spell(&self, checksums: &Checksums) -> Vec<u8> {
        let mut out = [&MAGIC[..], &[self.flg, self.bd]].concat();
        if self.flg & CONTENT_SIZE != 0 {
            out.extend_from_slice(&self.content.to_le_bytes());
        }
        out.push(checksums.descriptor);
        let mut block_checksums = checksums.blocks.iter();
        for (word, data) in &self.blocks {
            out.extend_from_slice(&word.to_le_bytes());
            out.extend_from_slice(data);
            if self.flg & BLOCK_CHECKSUM != 0 {
                out.extend_from_slice(&block_checksums.next().unwrap_or(&0).to_le_bytes());
            }
        }
        out.extend_from_slice(&[0; 4]);
        if self.flg & CONTENT_CHECKSUM != 0 {
            out.extend_from_slice(&checksums.content.to_le_bytes());
        }
        out
    }

    /// Decodes the frame with right checksums, which the decoder's own errors tell.
    fn decode(&self, decoder: &mut Decoder, len: u32) -> Option<Vec<u8>> {
        let mut right = Checksums::default();
        if self.flg & BLOCK_CHECKSUM != 0 {
            right.blocks = self.blocks.iter().map(|(_, data)| checksum_of(decoder, data)).collect();
        }
        self.learn(decoder, len, &mut right);
        decode(decoder, &self.spell(&right), len)
    }

    /// What the blocks hold by the definition of the block format, byte by byte; `None` unless it is `len` bytes.
    fn decode_plainly(&self, len: usize, bound: usize) -> Option<Vec<u8>> {
        if self.bd & 0b1000_1111 != 0 || self.bd >> 4 < 4 {
            return None;
        }
        let mut out = Vec::new();
        for (word, data) in &self.blocks {
            // A block of length 0 that is not stored ends the frame, and what follows is too much.
            let block_start = out.len();
            if *word & STORED != 0 {
                out.extend_from_slice(data);
            } else if *word == 0 {
                return None;
            } else {
                let history = if self.flg & INDEPENDENT == 0 { 0 } else { block_start };
                unpack_block(data, history, len, &mut out)?;
            }
            if data.len() > bound || out.len() - block_start > bound || out.len() > len {
                return None;
            }
        }
        (out.len() == len).then_some(out)
    }

    /// Sets the descriptor's checksum and the content's to what the decoder wants.
    fn learn(&self, decoder: &mut Decoder, len: u32, checksums: &mut Checksums) {
        let mut out = vec![0; len as usize];
        for _ in ["descriptor", "content"] {
            let frame = self.spell(checksums);
            match decoder.decode(header(&frame, len), &frame, &mut out) {
                Err(XorbError::Frame(FrameError::Checksum { what: "descriptor", want, .. })) => {
                    checksums.descriptor = want as u8;
                }
                Err(XorbError::Frame(FrameError::Checksum { what: "content", want, .. })) => {
                    checksums.content = want;
                }
                _ => return,
            }
        }
    }
}

/// The checksum of a block, learned by giving the decoder a wrong one.
fn checksum_of(decoder: &mut Decoder, data: &[u8]) -> u32 {
    let flg = VERSION | INDEPENDENT | BLOCK_CHECKSUM;
    let alone = Frame { flg, bd: 0x70, content: 0, blocks: vec![(data.len() as u32 | STORED, data)] };
    let mut checksums = Checksums::default();
    alone.learn(decoder, 131_072, &mut checksums);
    let frame = alone.spell(&checksums);
    let mut out = vec![0; 131_072];
    match decoder.decode(header(&frame, 131_072), &frame, &mut out) {
        Err(XorbError::Frame(FrameError::Checksum { what: "block", want, .. })) => want,
        _ => 0,
    }
}

/// Appends what a block holds to `out`; matches reach back to `history` at most, and 64 KiB at most.
fn unpack_block(block: &[u8], history: usize, len_max: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = block.iter().copied();
    loop {
        let token = rest.next()?;
        let literals = length(token >> 4, &mut rest)?;
        let before = out.len();
        out.extend(rest.by_ref().take(literals));
        if out.len() != before + literals {
            return None;
        }
        let Some(low) = rest.next() else { return Some(()) };
        let offset = usize::from(u16::from_le_bytes([low, rest.next()?]));
        let matched = 4 + length(token & 15, &mut rest)?;
        if offset == 0 || offset > out.len() - history || out.len() + matched > len_max {
            return None;
        }
        for _ in 0..matched {
            out.push(out[out.len() - offset]);
        }
    }
}

/// A length whose first four bits are `nibble`.
fn length(nibble: u8, rest: &mut impl Iterator<Item = u8>) -> Option<usize> {
    let mut length = usize::from(nibble);
    if nibble == 15 {
        loop {
            let more = rest.next()?;
            length += usize::from(more);
            if more != 255 {
                break;
            }
        }
    }
    Some(length)
}
