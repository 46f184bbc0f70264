//! Checks whole stored xorbs: every chunk is decoded and proven against the footer. Also compares this crate's encoder
//! with whoever made them.
//!
//! `cargo run --release -p zest-xet --example check_xorb -- FILE...`

use std::error::Error;

use zest_xet::{ChunkHeader, Decoder, Encoder, Footer, Scheme, SchemeChoice, XorbChunks, verify};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut decoder, mut encoder) = (Decoder::new(), Encoder::new());
    let (mut buf, mut again) = (vec![0; zest_xet::CHUNK_BYTES_MAX], Vec::new());
    for path in std::env::args().skip(1) {
        let xorb = std::fs::read(&path)?;
        let (chunks, footer) = Footer::split(&xorb)?;
        let mut schemes = [0u32; 3];
        let (mut identical, mut ours, mut auto) = (0u32, 0usize, 0usize);
        for (chunk, want) in XorbChunks::new(chunks).zip(footer.chunks()) {
            let (header, packed) = chunk?;
            let out = &mut buf[..header.len as usize];
            decoder.decode(header, packed, out)?;
            verify(&*out, want).map_err(|mismatch| mismatch.reason)?;
            schemes[header.scheme as usize] += 1;

            again.clear();
            let choice = match header.scheme {
                Scheme::None => SchemeChoice::None,
                Scheme::Lz4 => SchemeChoice::Lz4,
                Scheme::Bg4Lz4 => SchemeChoice::Bg4Lz4,
            };
            encoder.encode(out, choice, &mut again);
            ours += again.len();
            identical += u32::from(again[..8] == header.encode() && again[8..] == *packed);
            again.clear();
            auto +=
                ChunkHeader::BYTES + encoder.encode(out, SchemeChoice::Auto, &mut again).packed_len as usize;
        }
        let [none, lz4, bg4] = schemes;
        println!(
            "{} ok: {none} stored, {lz4} LZ4, {bg4} BG4+LZ4; {} bytes, same schemes here {ours} ({identical} identical), \
             automatic {auto}",
            footer.xorb,
            chunks.len()
        );
    }
    Ok(())
}
