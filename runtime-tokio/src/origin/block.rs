//! Cutting a stream of serialised xorb bytes into packed chunks, and finding each one's places in the file.

use crate::workers::ChunkPlace;
use bytes::{Buf as _, Bytes, BytesMut};
use zest_xet::{ChunkHeader, Manifest, Plan, XorbError};

/// Cuts a stream into chunks. A chunk that lies in one piece of input is handed on without a copy.
#[derive(Debug, Default)]
pub(crate) struct ChunkCutter {
    head: [u8; ChunkHeader::BYTES],
    head_len: usize,
    header: Option<ChunkHeader>,
    gathered: BytesMut,
}

impl ChunkCutter {
    /// The next whole chunk, or `None` when `input` is used up.
    pub(crate) fn next(&mut self, input: &mut Bytes) -> Result<Option<(ChunkHeader, Bytes)>, XorbError> {
        let header = match self.header {
            Some(header) => header,
            None => {
                let take = (ChunkHeader::BYTES - self.head_len).min(input.len());
                input.copy_to_slice(&mut self.head[self.head_len..self.head_len + take]);
                self.head_len += take;
                if self.head_len < ChunkHeader::BYTES {
                    return Ok(None);
                }
                self.head_len = 0;
                *self.header.insert(ChunkHeader::parse(&self.head)?)
            }
        };
        let packed_len = header.packed_len as usize;
        if self.gathered.is_empty() && input.len() >= packed_len {
            self.header = None;
            return Ok(Some((header, input.split_to(packed_len))));
        }
        if self.gathered.capacity() == 0 {
            self.gathered.reserve(packed_len);
        }
        let take = (packed_len - self.gathered.len()).min(input.len());
        self.gathered.extend_from_slice(&input.split_to(take));
        if self.gathered.len() < packed_len {
            return Ok(None);
        }
        self.header = None;
        Ok(Some((header, std::mem::take(&mut self.gathered).freeze())))
    }

    /// Whether the stream may end here.
    pub(crate) fn is_between_chunks(&self) -> bool {
        self.header.is_none() && self.head_len == 0
    }
}

/// Walks through the chunks of a block and says where in the file each one goes.
#[derive(Debug)]
pub(crate) struct Placer<'a> {
    plan: &'a Plan,
    block: u32,
    /// Bytes placed so far, for each term of the block.
    placed: Vec<u64>,
}

/// A stream that cannot be this block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlaceError {
    /// More bytes than the term has.
    #[error("chunk {chunk} of xorb {xorb} ends {over} bytes beyond its term")]
    TooLong { xorb: zest_xet::Hash, chunk: u32, over: u64 },
    /// Fewer bytes than the term has.
    #[error("the term that ends with chunk {chunk} of xorb {xorb} is {short} bytes too short")]
    TooShort { xorb: zest_xet::Hash, chunk: u32, short: u64 },
}

impl<'a> Placer<'a> {
    pub(crate) fn new(plan: &'a Plan, block: u32) -> Self {
        Placer { plan, block, placed: vec![0; plan.blocks[block as usize].terms.len()] }
    }

    /// Goes past chunk `chunk` of the xorb, which is not streamed, in a file whose list is known.
    pub(crate) fn pass(&mut self, chunk: u32, manifest: &Manifest) -> Result<(), PlaceError> {
        let index = self.plan.places(self.block, chunk).next().map(|(_, index)| index);
        match index {
            Some(index) => self.place(chunk, manifest.chunk(index).len, Some(manifest)).map(drop),
            None => Ok(()),
        }
    }

    /// The places of chunk `chunk` of the xorb, which is `len` bytes long. Call for every chunk in order.
    pub(crate) fn place(
        &mut self,
        chunk: u32,
        len: u32,
        manifest: Option<&Manifest>,
    ) -> Result<Vec<ChunkPlace>, PlaceError> {
        let block = &self.plan.blocks[self.block as usize];
        let mut places = Vec::with_capacity(1);
        for (at, term) in block.terms.iter().enumerate() {
            let term = &self.plan.terms[*term as usize];
            if !term.chunks.contains(&chunk) {
                continue;
            }
            let index = term.first_index + (chunk - term.chunks.start);
            let offset = term.offset + self.placed[at];
            self.placed[at] += u64::from(len);
            let (end, term_end) = (offset + u64::from(len), term.offset + term.len);
            if end > term_end {
                return Err(PlaceError::TooLong { xorb: block.xorb, chunk, over: end - term_end });
            }
            if chunk + 1 == term.chunks.end && end < term_end {
                return Err(PlaceError::TooShort { xorb: block.xorb, chunk, short: term_end - end });
            }
            let offset = manifest.map_or(offset, |m| m.offset(index));
            places.push(ChunkPlace { index, offset });
        }
        Ok(places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_xet::{Encoder, SchemeChoice};

    #[test]
    fn any_cut_of_the_stream_gives_the_same_chunks() {
        let mut wire = Vec::new();
        let mut encoder = Encoder::new();
        let chunks: Vec<Vec<u8>> = (1..20u32).map(|n| vec![n as u8; (n * 700) as usize]).collect();
        for chunk in &chunks {
            encoder.encode(chunk, SchemeChoice::None, &mut wire);
        }
        for step in [1, 7, 8, 9, 4096, wire.len()] {
            let mut cutter = ChunkCutter::default();
            let mut got = Vec::new();
            for piece in wire.chunks(step) {
                let mut piece = Bytes::copy_from_slice(piece);
                while let Some((header, packed)) = cutter.next(&mut piece).unwrap() {
                    assert_eq!(header.packed_len as usize, packed.len());
                    got.push(packed.to_vec());
                }
            }
            assert!(cutter.is_between_chunks());
            assert_eq!(got, chunks, "cut every {step} bytes");
        }
    }
}
