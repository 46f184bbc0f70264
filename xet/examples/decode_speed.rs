//! Measures one core decoding and proving chunks: gaussian bf16 weights packed as BG4+LZ4, the common case.
//!
//! `cargo run --release -p zest-xet --example decode_speed`

use std::hint::black_box;
use std::time::{Duration, Instant};

use zest_xet::{ChunkHeader, ChunkRef, Chunker, Decoder, Encoder, Rule, SchemeChoice, XorbChunks, verify};

/// Bytes of weights: 64 MiB, a full xorb, far beyond any cache.
const DATA_BYTES: usize = 64 << 20;
/// Rounds; the best counts.
const ROUNDS: usize = 7;

fn main() {
    let data = gaussian_bf16(DATA_BYTES);
    let mut chunks = Vec::new();
    let chunking = best(|| {
        chunks.clear();
        let mut chunker = Chunker::new(Rule::Current);
        chunker.push(&data, &mut |chunk| chunks.push(chunk));
        chunker.finish(&mut |chunk| chunks.push(chunk));
    });
    let (mut encoder, mut xorb) = (Encoder::new(), Vec::new());
    let mut at = 0;
    let encoding = Instant::now();
    for chunk in &chunks {
        encoder.encode(&data[at..at + chunk.len as usize], SchemeChoice::Bg4Lz4, &mut xorb);
        at += chunk.len as usize;
    }
    let encoding = encoding.elapsed();
    println!("{} chunks, packed to {:.3} of their size", chunks.len(), xorb.len() as f64 / data.len() as f64);

    let mut decoder = Decoder::new();
    let mut out = vec![0; zest_xet::CHUNK_BYTES_MAX];
    let mut all = |check: bool| {
        best(|| {
            for (chunk, &want) in XorbChunks::new(&xorb).zip(&chunks) {
                let (header, packed) = chunk.expect("own encoding");
                decode(&mut decoder, header, packed, want, &mut out, check);
            }
        })
    };
    let decoding = all(false);
    let proving = all(true);
    let hashing = best(|| {
        let mut at = 0;
        for chunk in &chunks {
            black_box(zest_xet::chunk_hash(&data[at..at + chunk.len as usize]));
            at += chunk.len as usize;
        }
    });
    for (what, time) in [
        ("decode", decoding),
        ("decode and prove", proving),
        ("hash", hashing),
        ("chunk and hash", chunking),
        ("encode", encoding),
    ] {
        println!("{what:>18}: {:6.0} MB/s", data.len() as f64 / time.as_secs_f64() / 1e6);
    }
}

fn decode(
    decoder: &mut Decoder,
    header: ChunkHeader,
    packed: &[u8],
    want: ChunkRef,
    out: &mut [u8],
    check: bool,
) {
    let out = &mut out[..header.len as usize];
    decoder.decode(header, packed, out).expect("own encoding");
    if check {
        verify(&*out, want).expect("own chunk");
    }
    black_box(out);
}

fn best(mut run: impl FnMut()) -> Duration {
    let time = |run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..ROUNDS).map(|_| time(&mut run)).min().expect("at least one round")
}

/// Normally distributed weights of standard deviation 0.02, as bf16.
fn gaussian_bf16(bytes: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut uniform = move || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut out = Vec::with_capacity(bytes);
    while out.len() < bytes {
        let (u, v) = (1.0 - uniform(), uniform());
        let value = 0.02 * (-2.0 * u.ln()).sqrt() * (core::f64::consts::TAU * v).cos();
        out.extend_from_slice(&((value as f32).to_bits() >> 16).to_le_bytes()[..2]);
    }
    out
}
