//! The hot functions on the way of a chunk: hash, unpack, prove; and what happens once per file: cut, prove the list.
#![allow(missing_docs, reason = "criterion's macros write functions without documentation")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use zest_benches::{Packed, Weights};
use zest_xet::{
    CHUNK_BYTES_MAX, CHUNK_BYTES_TARGET, ChunkRef, Chunker, Decoder, Encoder, Manifest, Rule, SchemeChoice,
    chunk_hash, file_hash,
};

/// Bytes a streaming bench goes through: 16 MiB, beyond the caches of one core.
const STREAM_BYTES: usize = 16 << 20;

/// Chunks of the list that is proven: 100,000, a file of about 6.5 GB.
const LIST_CHUNKS: u32 = 100_000;

fn hash(c: &mut Criterion) {
    let data = Weights::new().make(1, CHUNK_BYTES_TARGET);
    let mut group = c.benchmark_group("hash");
    group.throughput(Throughput::Bytes(CHUNK_BYTES_TARGET as u64));
    group.bench_function("keyed BLAKE3 of 64 KiB", |b| b.iter(|| chunk_hash(black_box(&data))));
    group.finish();
}

fn xorb(c: &mut Criterion) {
    let weights = Weights::new().make(2, STREAM_BYTES);
    let text: Vec<u8> = (0u32..).flat_map(|n| n.to_string().into_bytes()).take(STREAM_BYTES).collect();
    let mut decoder = Decoder::new();
    let mut out = vec![0; CHUNK_BYTES_MAX];
    let mut group = c.benchmark_group("xorb");
    group.sample_size(20);
    group.throughput(Throughput::Bytes(STREAM_BYTES as u64));
    let weights_packed = Packed::new(weights.clone(), SchemeChoice::Bg4Lz4);
    for (name, packed) in [
        ("bf16 weights, BG4+LZ4", &weights_packed),
        ("digits, LZ4", &Packed::new(text, SchemeChoice::Lz4)),
        ("bf16 weights, stored", &Packed::new(weights, SchemeChoice::None)),
    ] {
        group.bench_function(format!("decode {name}"), |b| {
            b.iter(|| packed.unpack(&mut decoder, &mut out, false))
        });
        group.bench_function(format!("decode and prove {name}"), |b| {
            b.iter(|| packed.unpack(&mut decoder, &mut out, true));
        });
    }
    let (mut encoder, mut packed) = (Encoder::new(), Vec::with_capacity(CHUNK_BYTES_MAX));
    let chunk = &weights_packed.data[..CHUNK_BYTES_TARGET];
    group.throughput(Throughput::Bytes(chunk.len() as u64));
    group.bench_function("encode bf16 weights, Auto", |b| {
        b.iter(|| {
            packed.clear();
            encoder.encode(black_box(chunk), SchemeChoice::Auto, &mut packed)
        });
    });
    group.finish();
}

fn chunker(c: &mut Criterion) {
    let data = Weights::new().make(3, STREAM_BYTES);
    let mut group = c.benchmark_group("chunker");
    group.sample_size(20);
    group.throughput(Throughput::Bytes(STREAM_BYTES as u64));
    for (name, piece) in [("in one piece", STREAM_BYTES), ("in pieces of 1 MiB", 1 << 20)] {
        group.bench_function(format!("cut and hash, {name}"), |b| {
            b.iter(|| {
                let mut count = 0u32;
                let mut chunker = Chunker::new(Rule::Current);
                data.chunks(piece).for_each(|piece| chunker.push(black_box(piece), &mut |_| count += 1));
                chunker.finish(&mut |_| count += 1);
                count
            });
        });
    }
    group.finish();
}

fn manifest(c: &mut Criterion) {
    let list: Vec<ChunkRef> = (0..LIST_CHUNKS)
        .map(|n| ChunkRef {
            hash: chunk_hash(&n.to_le_bytes()),
            len: 1 + (n.wrapping_mul(40_503) & 0x1_ffff),
        })
        .collect();
    let (file, size) = (file_hash(&list), list.iter().map(|chunk| u64::from(chunk.len)).sum());
    let manifest = Manifest::prove(file, size, list.clone()).expect("our own list");
    let mut records = Vec::new();
    manifest.write_records(0..LIST_CHUNKS, &mut records);
    let mut group = c.benchmark_group("manifest of 100,000 chunks");
    group.sample_size(20);
    group.throughput(Throughput::Elements(u64::from(LIST_CHUNKS)));
    group.bench_function("prove", |b| {
        b.iter_batched(
            || list.clone(),
            |list| Manifest::prove(file, size, list),
            criterion::BatchSize::LargeInput,
        );
    });
    group.bench_function("parse and prove", |b| b.iter(|| Manifest::parse(file, size, black_box(&records))));
    group.bench_function("write", |b| {
        let mut out = Vec::with_capacity(records.len());
        b.iter(|| {
            out.clear();
            manifest.write_records(0..LIST_CHUNKS, black_box(&mut out));
        });
    });
    group.finish();
}

criterion_group!(benches, hash, xorb, chunker, manifest);
criterion_main!(benches);
