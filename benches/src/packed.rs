//! Sample data as a xorb and as a list of chunks.

use zest_xet::{
    ChunkRef, Chunker, Decoder, Encoder, MANIFEST_RECORD_BYTES, Manifest, Rule, SchemeChoice, XorbChunks,
    file_hash, verify,
};

/// A file's data, its chunks, and the same chunks serialised.
#[derive(Debug)]
pub struct Packed {
    /// The file.
    pub data: Vec<u8>,
    /// Its chunks in order.
    pub chunks: Vec<ChunkRef>,
    /// The chunks one after another, header and packed data. No xorb limits are kept.
    pub xorb: Vec<u8>,
}

impl Packed {
    /// Cuts and packs `data`.
    #[must_use]
    pub fn new(data: Vec<u8>, scheme: SchemeChoice) -> Self {
        let chunks = cut(&data);
        let (mut encoder, mut xorb, mut rest) = (Encoder::new(), Vec::new(), &data[..]);
        for chunk in &chunks {
            let (now, later) = rest.split_at(chunk.len as usize);
            encoder.encode(now, scheme, &mut xorb);
            rest = later;
        }
        Self { data, chunks, xorb }
    }

    /// Unpacks every chunk into `out` and, if `prove` is set, checks its hash. The whole work of a receiver of xorbs
    /// between network and disk.
    ///
    /// # Panics
    /// When a chunk does not unpack or prove: these are our own.
    pub fn unpack(&self, decoder: &mut Decoder, out: &mut [u8], prove: bool) {
        for (chunk, &want) in XorbChunks::new(&self.xorb).zip(&self.chunks) {
            let (header, packed) = chunk.expect("our own chunk");
            let out = &mut out[..header.len as usize];
            decoder.decode(header, packed, out).expect("our own chunk unpacks");
            if prove {
                verify(&*out, want).expect("our own chunk proves");
            }
            std::hint::black_box(out);
        }
    }

    /// The file's manifest and its records as they travel.
    ///
    /// # Panics
    /// When the list does not prove: it is our own.
    #[must_use]
    pub fn manifest(&self) -> (Manifest, Vec<u8>) {
        let list = self.chunks.clone();
        let manifest = Manifest::prove(file_hash(&list), self.data.len() as u64, list).expect("our own list");
        let mut records = Vec::with_capacity(self.chunks.len() * MANIFEST_RECORD_BYTES);
        manifest.write_records(0..manifest.len(), &mut records);
        (manifest, records)
    }
}

/// The chunks of `data` by the current rule.
fn cut(data: &[u8]) -> Vec<ChunkRef> {
    let mut chunks = Vec::new();
    let mut chunker = Chunker::new(Rule::Current);
    chunker.push(data, &mut |chunk| chunks.push(chunk));
    chunker.finish(&mut |chunk| chunks.push(chunk));
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Weights;

    #[test]
    fn packed_weights_shrink_and_come_back() {
        let packed = Packed::new(Weights::new().make(1, 1_000_000), SchemeChoice::Bg4Lz4);
        let share = packed.xorb.len() as f64 / packed.data.len() as f64;
        assert!((0.5..0.95).contains(&share), "{share}");
        packed.unpack(&mut Decoder::new(), &mut vec![0; zest_xet::CHUNK_BYTES_MAX], true);
        let (manifest, records) = packed.manifest();
        assert_eq!(records.len(), manifest.len() as usize * MANIFEST_RECORD_BYTES);
    }
}
