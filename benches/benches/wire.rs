//! What a link costs per chunk beside moving its bytes: requests and answers of one connection, both directions.
#![allow(missing_docs, reason = "criterion's macros write functions without documentation")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use zest_core::bencode;
use zest_core::link::{Body, Dialect, Link, LinkAction, LinkConfig, LinkEvent, Message, Outgoing, Role};
use zest_core::wire::xet;
use zest_core::{FileId, Instant, Location, PeerId, ReqId};
use zest_xet::Hash;

/// Requests in flight: 256, half of what a link may have outstanding.
const REQUESTS: u32 = 256;

/// Bytes of a chunk: 64 KiB, the mean.
const CHUNK_BYTES: u32 = 64 << 10;

/// Bytes the kernel hands over at once: 256 KiB, a large socket buffer.
const READ_BYTES: usize = 256 << 10;

/// An accepted link that knows its remote.
fn talking() -> Link {
    let config =
        LinkConfig { role: Role::Accept, our_id: PeerId(*b"-ZT0500-ourourourour"), listen_port: 6881 };
    let mut link = Link::new(Instant::ZERO, config);
    let handshake =
        [&b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0"[..], &[7; 20], b"-ZT0500-theirtheirth"].concat();
    let dict = b"d1:md6:ut_xeti1e3:xeti2e4:zesti3eee";
    let hello = [&handshake[..], &(dict.len() as u32 + 2).to_be_bytes(), &[20, 0], dict].concat();
    link.handle(Instant::ZERO, LinkEvent::Received(&hello));
    while link.poll_action().is_some() {}
    link
}

fn hash(number: u32) -> Hash {
    let mut bytes = [0x5a; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Hash::from_bytes(bytes)
}

/// A link that has asked for every chunk.
fn asking() -> Link {
    let mut link = talking();
    for number in 0..REQUESTS {
        let ask = Outgoing::ChunkRequest { req: ReqId(number), hash: hash(number), len_max: 128 << 10 };
        link.handle(Instant::ZERO, LinkEvent::Send(ask));
        while link.poll_action().is_some() {}
    }
    link
}

/// Hands in a stream as a runtime without direct reads does; returns the payload bytes pointed at.
fn receive(link: &mut Link, stream: &[u8]) -> u64 {
    let mut payload = 0;
    for piece in stream.chunks(READ_BYTES) {
        link.handle(Instant::ZERO, LinkEvent::Received(piece));
        while let Some(action) = link.poll_action() {
            if let LinkAction::PayloadBytes { len, .. } = action {
                payload += u64::from(len);
            }
        }
    }
    payload
}

fn answers(c: &mut Criterion) {
    let payload = vec![0; CHUNK_BYTES as usize];
    let stream: Vec<u8> = (0..REQUESTS)
        .flat_map(|number| {
            let head = xet::answer_head(1, Dialect::Chunk, number, &hash(number), 0, CHUNK_BYTES, &[]);
            [head.as_bytes(), &payload].concat()
        })
        .collect();
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
                    link.handle(Instant::ZERO, LinkEvent::Received(head.as_bytes()));
                    let (_, bytes) = link.expect().payload.expect("a payload begins");
                    link.handle(Instant::ZERO, LinkEvent::PayloadRead { bytes });
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
    let stream: Vec<u8> = (0..REQUESTS)
        .flat_map(|number| xet::chunk_request(1, Dialect::Chunk, number, &hash(number)).as_bytes().to_vec())
        .collect();
    let mut group = c.benchmark_group("link");
    group.throughput(Throughput::Elements(REQUESTS.into()));
    group.bench_function("chunk requests read and answered, per request", |b| {
        b.iter_batched(
            talking,
            |mut link| {
                link.handle(Instant::ZERO, LinkEvent::Received(black_box(&stream)));
                let mut answered = 0;
                while let Some(action) = link.poll_action() {
                    match action {
                        LinkAction::Message(Message::ChunkRequest { req, hash, dialect }) => {
                            let at = Location { file: FileId(1), offset: 0, len: CHUNK_BYTES };
                            let body = Body::File(at);
                            let answer = Outgoing::Chunk { req, dialect, hash, body, len: CHUNK_BYTES };
                            link.handle(Instant::ZERO, LinkEvent::Send(answer));
                        }
                        LinkAction::Transmit { .. } => answered += 1,
                        other => panic!("not asked for: {other:?}"),
                    }
                }
                assert_eq!(answered, REQUESTS);
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

criterion_group!(benches, answers, requests, documents);
criterion_main!(benches);
