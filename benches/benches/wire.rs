//! What a link costs per chunk beside moving its bytes: requests and answers of one connection, both directions. And the
//! documents that connections begin with.
#![allow(missing_docs, reason = "criterion's macros write functions without documentation")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use zest_benches::link::{self, CHUNK_BYTES, REQUESTS, asking, hash, receive, serve, talking};
use zest_core::link::{Dialect, Event, ExtHandshake};
use zest_core::wire::{ext_handshake, frame, xet};
use zest_core::{InfoHash, Instant, bencode};

fn answers(c: &mut Criterion) {
    let stream = link::answers();
    let mut group = c.benchmark_group("link");
    group.throughput(Throughput::Elements(REQUESTS.into()));
    group.bench_function("chunk answers, per answer", |b| {
        b.iter_batched(
            asking,
            |mut link| {
                assert_eq!(receive(&mut link, black_box(&stream)), u64::from(REQUESTS * CHUNK_BYTES));
                link
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("chunk answers read directly, per answer", |b| {
        // What a runtime with readv does: head, then payload that went into its own buffer.
        let heads: Vec<_> = (0..REQUESTS)
            .map(|number| xet::answer_head(1, Dialect::Chunk, number, &hash(number), 0, CHUNK_BYTES, &[]))
            .collect();
        b.iter_batched(
            asking,
            |mut link| {
                for head in &heads {
                    link.handle(Instant::ZERO, Event::Received(head.as_bytes()));
                    let (_, bytes) = link.expect().payload.expect("a payload begins");
                    link.handle(Instant::ZERO, Event::PayloadRead { bytes });
                    while let Some(action) = link.poll_action() {
                        black_box(action);
                    }
                }
                link
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn requests(c: &mut Criterion) {
    let stream = link::requests();
    let mut group = c.benchmark_group("link");
    group.throughput(Throughput::Elements(REQUESTS.into()));
    group.bench_function("chunk requests read and answered, per request", |b| {
        b.iter_batched(
            talking,
            |mut link| {
                assert_eq!(serve(&mut link, black_box(&stream)), REQUESTS);
                link
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("asking for chunks, per request", |b| {
        b.iter_batched(|| (), |()| asking(), BatchSize::SmallInput)
    });
    group.finish();
}

fn documents(c: &mut Criterion) {
    let handshake = b"d1:md6:ut_xeti1e3:xeti2e4:zesti3ee1:pi6881e4:reqqi512e1:v10:zest/0.5.0e";
    let mut group = c.benchmark_group("bencode");
    group.throughput(Throughput::Bytes(handshake.len() as u64));
    group.bench_function("extension handshake, parse and look up", |b| {
        b.iter(|| {
            let dict = bencode::parse(black_box(handshake)).expect("sound").dict().expect("a dictionary");
            (
                dict.get(b"m").and_then(|m| m.dict()?.get(b"zest")?.int()),
                dict.get(b"v").and_then(|v| v.bytes()),
            )
        });
    });
    group.bench_function("extension handshake, read into fields", |b| {
        b.iter(|| {
            let mut seen = ExtHandshake::empty(Dialect::Chunk);
            assert!(seen.update(black_box(handshake)), "sound");
            seen
        });
    });
    group.bench_function("extension handshake, written", |b| {
        b.iter(|| ext_handshake::ours(black_box(6881), 512))
    });
    // An answer with 80 compact peers, the longest common document of a DHT.
    let peers = "6:axje.u".repeat(80);
    let answer = format!("d1:rd2:id20:mnopqrstuvwxyz1234565:token8:aoeusnth6:valuesl{peers}ee1:t2:aa1:y1:re");
    group.throughput(Throughput::Bytes(answer.len() as u64));
    group.bench_function("DHT answer with 80 peers", |b| {
        b.iter(|| {
            let dict =
                bencode::parse(black_box(answer.as_bytes())).expect("sound").dict().expect("a dictionary");
            let values = dict.get(b"r").and_then(|r| r.dict()?.get(b"values")?.list()).expect("a list");
            values.iter().filter_map(|value| value.bytes()).map(<[u8]>::len).sum::<usize>()
        });
    });
    group.finish();
}

fn small_things(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire");
    let (message, mut out) = ([0x42; 63], Vec::with_capacity(256));
    group.throughput(Throughput::Bytes(69));
    group.bench_function("frame of 69 bytes, written", |b| {
        b.iter(|| {
            out.clear();
            frame::extended(black_box(&mut out), 1, black_box(&message));
        });
    });
    group.throughput(Throughput::Bytes(44));
    group.bench_function("info-hash of a xorb", |b| b.iter(|| InfoHash::of_xorb(black_box(&hash(1)))));
    group.finish();
}

criterion_group!(benches, answers, requests, documents, small_things);
criterion_main!(benches);
