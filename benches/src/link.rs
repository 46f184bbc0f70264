//! One connection's link, and the bytes that come to it.

use zest_core::link::{self, Body, Dialect, Link, Message, Outgoing, Role};
use zest_core::wire::xet;
use zest_core::{FileId, Instant, Location, PeerId, ReqId};
use zest_xet::Hash;

/// Requests in flight: 256, half of what a link may have outstanding.
pub const REQUESTS: u32 = 256;

/// Bytes of a chunk: 64 KiB, the mean.
pub const CHUNK_BYTES: u32 = 64 << 10;

/// Bytes the kernel hands over at once: 256 KiB, a large socket buffer.
const READ_BYTES: usize = 256 << 10;

/// An accepted link that knows its remote.
#[must_use]
pub fn talking() -> Link {
    let config =
        link::Config { role: Role::Accept, our_id: PeerId(*b"-ZT0500-ourourourour"), listen_port: 6881 };
    let mut link = Link::new(Instant::ZERO, config);
    let handshake =
        [&b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0"[..], &[7; 20], b"-ZT0500-theirtheirth"].concat();
    let dict = b"d1:md6:ut_xeti1e3:xeti2e4:zesti3eee";
    let hello = [&handshake[..], &(dict.len() as u32 + 2).to_be_bytes(), &[20, 0], dict].concat();
    link.handle(Instant::ZERO, link::Event::Received(&hello));
    while link.poll_action().is_some() {}
    link
}

/// The hash of chunk `number`.
#[must_use]
pub fn hash(number: u32) -> Hash {
    let mut bytes = [0x5a; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Hash::from_bytes(bytes)
}

/// A link that has asked for chunks 0 to [`REQUESTS`].
#[must_use]
pub fn asking() -> Link {
    let mut link = talking();
    for number in 0..REQUESTS {
        let ask = Outgoing::ChunkRequest { req: ReqId(number), hash: hash(number), len_max: 128 << 10 };
        link.handle(Instant::ZERO, link::Event::Send(ask));
        while link.poll_action().is_some() {}
    }
    link
}

/// What the remote of [`asking`] sends: heads and chunks of [`CHUNK_BYTES`] zeros.
#[must_use]
pub fn answers() -> Vec<u8> {
    let payload = vec![0; CHUNK_BYTES as usize];
    (0..REQUESTS)
        .flat_map(|number| {
            let head = xet::answer_head(1, Dialect::Chunk, number, &hash(number), 0, CHUNK_BYTES, &[]);
            [head.as_bytes(), &payload].concat()
        })
        .collect()
}

/// What a remote sends that asks for chunks 0 to [`REQUESTS`].
#[must_use]
pub fn requests() -> Vec<u8> {
    (0..REQUESTS)
        .flat_map(|number| xet::chunk_request(1, Dialect::Chunk, number, &hash(number)).as_bytes().to_vec())
        .collect()
}

/// Hands in a stream as a runtime without direct reads does; returns the payload bytes pointed at.
pub fn receive(link: &mut Link, stream: &[u8]) -> u64 {
    let mut payload = 0;
    for piece in stream.chunks(READ_BYTES) {
        link.handle(Instant::ZERO, link::Event::Received(piece));
        while let Some(action) = link.poll_action() {
            if let link::Action::PayloadBytes { len, .. } = action {
                payload += u64::from(len);
            }
        }
    }
    payload
}

/// Reads requests and answers each with a chunk of a file; returns how many.
///
/// # Panics
/// When the link wants anything else.
pub fn serve(link: &mut Link, stream: &[u8]) -> u32 {
    link.handle(Instant::ZERO, link::Event::Received(stream));
    let mut answered = 0;
    while let Some(action) = link.poll_action() {
        match action {
            link::Action::Message(Message::ChunkRequest { req, hash, dialect }) => {
                let at = Location { file: FileId(1), offset: 0, len: CHUNK_BYTES };
                let body = Body::File(at);
                let answer = Outgoing::Chunk { req, dialect, hash, body, len: CHUNK_BYTES };
                link.handle(Instant::ZERO, link::Event::Send(answer));
            }
            link::Action::Transmit { .. } => answered += 1,
            other => panic!("not asked for: {other:?}"),
        }
    }
    answered
}
