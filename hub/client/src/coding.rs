//! Bodies that were packed on their way although we ask for them as they are: gzip, deflate, br and zstd (RFC 9110, 8.4.1;
//! RFC 8878), as mirrors, proxies and trackers send them whatever the request says.
//!
//! What comes out is bounded by its reader. What is needed to get it out is bounded here: 32 KiB of window for gzip and
//! deflate, 16 MiB for br, 8 MiB for zstd, and never more than a piece ahead of the reader.

use crate::limits::{GZIP_HEADER_BYTES_MAX, ZSTD_WINDOW_BYTES_MAX};
use std::fmt;
use std::io::Read as _;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::{Buf as _, Bytes, BytesMut};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use ruzstd::decoding::FrameDecoder;

/// Bytes handed out at a time: 64 KiB.
const PIECE_BYTES: usize = 64 << 10;
/// Content of one zstd block: 128 KiB (RFC 8878, 3.1.1.2).
const ZSTD_BLOCK_BYTES_MAX: usize = 128 << 10;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, or RFC 1951 without its frame, which some servers send under the same name.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// What `Content-Encoding` says: `None` for a body as it is.
    ///
    /// # Errors
    /// The header's value, if it names another coding or more than one.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, String> {
        let mut found = None;
        for value in headers.get_all(CONTENT_ENCODING) {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            for name in text.split(',').map(|name| name.trim().to_ascii_lowercase()) {
                let coding = match &*name {
                    "" | "identity" | "none" => continue,
                    "gzip" | "x-gzip" => Self::Gzip,
                    "deflate" => Self::Deflate,
                    "br" => Self::Brotli,
                    "zstd" => Self::Zstd,
                    _ => return Err(text),
                };
                if found.replace(coding).is_some() {
                    return Err(text);
                }
            }
        }
        Ok(found)
    }
}

/// A packed body is damaged, or wants more memory than it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged(String);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Damaged {}

fn damaged<T>(why: impl fmt::Display) -> Result<T, Damaged> {
    Err(Damaged(why.to_string()))
}

/// Unpacks one body. Give it what came with [`Unpacker::push`], take what it holds with [`Unpacker::next`] until there is
/// `None`, and so on; at the end ask [`Unpacker::is_complete`].
///
/// ```
/// use zest_hub::{Coding, Unpacker};
/// // "zest" as a stored block of deflate.
/// let packed = [0x01, 4, 0, 0xfb, 0xff, b'z', b'e', b's', b't'];
/// let mut unpacker = Unpacker::new(Coding::Deflate);
/// unpacker.push(&packed);
/// assert_eq!(unpacker.next().unwrap().as_deref(), Some(&b"zest"[..]));
/// assert_eq!(unpacker.next(), Ok(None));
/// assert!(unpacker.is_complete());
/// ```
pub struct Unpacker {
    /// Came and not yet read.
    input: BytesMut,
    began: bool,
    /// A whole member or frame has come.
    has_content: bool,
    state: State,
}

enum State {
    GzipHeader,
    Gzip(Box<InflateState>, Crc),
    GzipTrailer(Crc),
    DeflateStart,
    Deflate(Box<InflateState>),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    ZstdHeader,
    Zstd(Box<ZstdFrame>),
    /// Bytes of a zstd skippable frame still to pass over.
    ZstdSkip(u64),
    /// The content is complete; what follows is passed over, as every client does.
    Ended,
}

struct ZstdFrame {
    decoder: FrameDecoder,
    has_checksum: bool,
    /// The last block was read.
    last: bool,
}

impl Unpacker {
    /// An unpacker for one body.
    #[must_use]
    pub fn new(coding: Coding) -> Self {
        let state = match coding {
            Coding::Gzip => State::GzipHeader,
            Coding::Deflate => State::DeflateStart,
            Coding::Brotli => {
                let alloc = StandardAlloc::default;
                State::Brotli(Box::new(BrotliState::new(alloc(), alloc(), alloc())))
            }
            Coding::Zstd => State::ZstdHeader,
        };
        Self { input: BytesMut::new(), began: false, has_content: false, state }
    }

    /// Takes what came. What is held is at most what came last and one block.
    pub fn push(&mut self, packed: &[u8]) {
        self.began |= !packed.is_empty();
        if !matches!(self.state, State::Ended) {
            self.input.extend_from_slice(packed);
        }
    }

    /// The next bytes of content, never empty and at most 64 KiB; `None` if more must come first, or at the end.
    ///
    /// # Errors
    /// [`Damaged`], and ever after.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Bytes>, Damaged> {
        loop {
            let step = self.step();
            match step {
                Ok(Step::Content(bytes)) if bytes.is_empty() => {}
                Ok(Step::Content(bytes)) => return Ok(Some(bytes)),
                Ok(Step::Again) => {}
                Ok(Step::Hungry) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the content has come to its end. A body without a byte is complete, too.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        match &self.state {
            State::Ended => true,
            // Between two members or frames.
            State::GzipHeader | State::ZstdHeader => self.has_content || !self.began,
            _ => !self.began,
        }
    }

    fn step(&mut self) -> Result<Step, Damaged> {
        match &mut self.state {
            State::Ended => {
                self.input.clear();
                Ok(Step::Hungry)
            }
            State::GzipHeader => self.gzip_header(),
            State::Gzip(inflater, crc) => {
                let (step, ended) = inflated(inflater, &mut self.input)?;
                if let Step::Content(bytes) = &step {
                    crc.add(bytes);
                }
                if ended {
                    self.state = State::GzipTrailer(*crc);
                }
                Ok(step)
            }
            State::GzipTrailer(crc) => {
                if self.input.len() < 8 {
                    return Ok(Step::Hungry);
                }
                let (sum, len) = (self.input.get_u32_le(), self.input.get_u32_le());
                if (sum, len) != (crc.value(), crc.len) {
                    return damaged("gzip: checksum or length is not that of the content");
                }
                self.has_content = true;
                self.state = State::GzipHeader;
                Ok(Step::Again)
            }
            State::DeflateStart => {
                let [first, second, ..] = self.input[..] else { return Ok(Step::Hungry) };
                let is_zlib = first & 0x0f == 8 && u16::from_be_bytes([first, second]) % 31 == 0;
                let format = if is_zlib { DataFormat::Zlib } else { DataFormat::Raw };
                self.state = State::Deflate(InflateState::new_boxed(format));
                Ok(Step::Again)
            }
            State::Deflate(inflater) => {
                let (step, ended) = inflated(inflater, &mut self.input)?;
                if ended {
                    self.state = State::Ended;
                }
                Ok(step)
            }
            State::Brotli(state) => {
                let mut output = vec![0; PIECE_BYTES];
                let (mut available_in, mut read) = (self.input.len(), 0);
                let (mut available_out, mut written, mut total) = (output.len(), 0, 0);
                let result = BrotliDecompressStream(
                    &mut available_in,
                    &mut read,
                    &self.input,
                    &mut available_out,
                    &mut written,
                    &mut output,
                    &mut total,
                    state,
                );
                self.input.advance(read);
                output.truncate(written);
                match result {
                    BrotliResult::ResultFailure => return damaged("br: not such a stream"),
                    BrotliResult::ResultSuccess => self.state = State::Ended,
                    BrotliResult::NeedsMoreInput if written == 0 => return Ok(Step::Hungry),
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
                }
                Ok(Step::Content(output.into()))
            }
            State::ZstdHeader => self.zstd_header(),
            State::ZstdSkip(left) => {
                let now = usize::try_from(*left).unwrap_or(usize::MAX).min(self.input.len());
                self.input.advance(now);
                *left -= now as u64;
                if *left > 0 {
                    return Ok(Step::Hungry);
                }
                self.state = State::ZstdHeader;
                Ok(Step::Again)
            }
            State::Zstd(_) => self.zstd_block(),
        }
    }

    /// Reads the header of a gzip member (RFC 1952, 2.3), or ends: what follows the last member is passed over.
    fn gzip_header(&mut self) -> Result<Step, Damaged> {
        let have = &self.input[..];
        if have.len() < 10 {
            return Ok(Step::Hungry);
        }
        if have[..3] != [0x1f, 0x8b, 8] {
            return self.ended_or_damaged("gzip");
        }
        let Some(end) = gzip_header_end(have, have[3]) else {
            return match have.len() <= GZIP_HEADER_BYTES_MAX {
                true => Ok(Step::Hungry),
                false => damaged("gzip: a header without end"),
            };
        };
        self.input.advance(end);
        self.state = State::Gzip(InflateState::new_boxed(DataFormat::Raw), Crc::new());
        Ok(Step::Again)
    }

    /// What follows a whole member or frame and is no other one is passed over, as every client does.
    fn ended_or_damaged(&mut self, coding: &str) -> Result<Step, Damaged> {
        if !self.has_content {
            return damaged(format_args!("{coding}: not such a stream"));
        }
        self.state = State::Ended;
        Ok(Step::Again)
    }

    fn zstd_header(&mut self) -> Result<Step, Damaged> {
        let have = &self.input[..];
        if have.len() < 8 {
            return Ok(Step::Hungry);
        }
        let magic = u32::from_le_bytes([have[0], have[1], have[2], have[3]]);
        if magic & 0xffff_fff0 == 0x184d_2a50 {
            let len = u32::from_le_bytes([have[4], have[5], have[6], have[7]]);
            self.input.advance(8);
            self.state = State::ZstdSkip(u64::from(len));
            return Ok(Step::Again);
        }
        if magic != 0xfd2f_b528 {
            return self.ended_or_damaged("zstd");
        }
        let descriptor = have[4];
        let single_segment = descriptor & 0x20 != 0;
        let window = usize::from(!single_segment);
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let content_size = match descriptor >> 6 {
            0 => usize::from(single_segment),
            code => 1 << code,
        };
        let end = 5 + window + dictionary + content_size;
        if have.len() < end {
            return Ok(Step::Hungry);
        }
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW_BYTES_MAX);
        decoder.init(&have[..end]).map_err(|error| Damaged(format!("zstd: {error}")))?;
        self.input.advance(end);
        let has_checksum = descriptor & 4 != 0;
        self.state = State::Zstd(Box::new(ZstdFrame { decoder, has_checksum, last: false }));
        Ok(Step::Again)
    }

    /// Decodes one block, no more: a block of four bytes can be 128 KiB of content. Its checksum, if it has one, is that of a
    /// content which is proven or parsed by its reader: it is passed over.
    fn zstd_block(&mut self) -> Result<Step, Damaged> {
        let State::Zstd(frame) = &mut self.state else { return Ok(Step::Again) };
        if frame.decoder.can_collect() > 0 {
            let mut output = vec![0; PIECE_BYTES];
            let read = frame.decoder.read(&mut output);
            output.truncate(read.map_err(|error| Damaged(format!("zstd: {error}")))?);
            return Ok(Step::Content(output.into()));
        }
        if frame.last {
            self.has_content = true;
            self.state = State::ZstdHeader;
            return Ok(Step::Again);
        }
        let have = &self.input[..];
        if have.len() < 3 {
            return Ok(Step::Hungry);
        }
        let header = u32::from_le_bytes([have[0], have[1], have[2], 0]);
        let (last, kind, size) = (header & 1 != 0, header >> 1 & 3, (header >> 3) as usize);
        if size > ZSTD_BLOCK_BYTES_MAX {
            return damaged(format_args!("zstd: a block of {size} bytes"));
        }
        let checksum = if last && frame.has_checksum { 4 } else { 0 };
        let end = 3 + if kind == 1 { 1 } else { size } + checksum;
        if have.len() < end {
            return Ok(Step::Hungry);
        }
        frame.last = last;
        let block = self.input.split_to(end);
        frame.decoder.decode_from_to(&block, &mut []).map_err(|error| Damaged(format!("zstd: {error}")))?;
        Ok(Step::Again)
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").field("held", &self.input.len()).finish_non_exhaustive()
    }
}

enum Step {
    Content(Bytes),
    Again,
    Hungry,
}

/// One step of an inflater, and whether its stream ended.
fn inflated(inflater: &mut InflateState, input: &mut BytesMut) -> Result<(Step, bool), Damaged> {
    let mut output = vec![0; PIECE_BYTES];
    let result = inflate(inflater, input, &mut output, MZFlush::None);
    input.advance(result.bytes_consumed);
    output.truncate(result.bytes_written);
    let ended = match result.status {
        Ok(MZStatus::StreamEnd) => true,
        Ok(_) => false,
        // No progress without more input.
        Err(MZError::Buf) => false,
        Err(_) => return damaged("deflate: not such a stream"),
    };
    if !ended && result.bytes_written == 0 && result.bytes_consumed == 0 {
        return Ok((Step::Hungry, false));
    }
    Ok((Step::Content(output.into()), ended))
}

/// Where the header of a gzip member ends, if all of it has come.
fn gzip_header_end(have: &[u8], flags: u8) -> Option<usize> {
    /// Flags of RFC 1952, 2.3.1.
    const CRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    let mut at = 10;
    if flags & EXTRA != 0 {
        let len = have.get(at..at + 2)?;
        at += 2 + usize::from(u16::from_le_bytes([len[0], len[1]]));
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            at += have.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    at += if flags & CRC != 0 { 2 } else { 0 };
    (at <= have.len()).then_some(at)
}

/// CRC-32 as gzip has it (RFC 1952, 8), and the length modulo 2^32.
#[derive(Clone, Copy)]
struct Crc {
    sum: u32,
    len: u32,
}

impl Crc {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let (mut value, mut bit) = (i as u32, 0);
            while bit < 8 {
                value = if value & 1 != 0 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
                bit += 1;
            }
            table[i] = value;
            i += 1;
        }
        table
    };

    fn new() -> Self {
        Self { sum: u32::MAX, len: 0 }
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.sum = Self::TABLE[usize::from(self.sum as u8 ^ byte)] ^ (self.sum >> 8);
        }
        self.len = self.len.wrapping_add(bytes.len() as u32);
    }

    fn value(self) -> u32 {
        !self.sum
    }
}

#[cfg(test)]
mod tests;
