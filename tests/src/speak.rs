//! The wire by hand: what scripted peers send, right and wrong, and what they read.

use zest_core::link::Claim;
use zest_core::wire::{handshake::Handshake, xet, zest};
use zest_core::{FileKey, InfoHash, PeerId};
use zest_xet::{ChunkRef, Hash};

use crate::known::Known;

/// Our side's id for Xet messages, as zest advertises it.
pub const UT_XET: u8 = 1;
/// Our side's id for zest messages, as zest advertises it.
pub const ZEST: u8 = 3;
/// Id under which scripted peers take Xet messages; not zest's own, so that a mix-up shows.
pub const THEIR_XET: u8 = 7;
/// Id under which scripted peers take zest messages.
pub const THEIR_ZEST: u8 = 9;

/// Extension handshake of a peer that speaks everything.
pub const DICT_ZEST: &[u8] = b"d1:md6:ut_xeti7e4:zesti9ee1:pi0e4:reqqi512e1:v12:scripted/1.0e";
/// Extension handshake of a plain BEP XET peer.
pub const DICT_PLAIN: &[u8] = b"d1:md6:ut_xeti7ee1:pi0e1:v12:scripted/1.0e";
/// Extension handshake of zest 0.4, byte for byte.
pub const DICT_ORIGINAL: &[u8] = b"d1:md6:ut_xeti1ee1:pi6881e1:v8:zest/0.3e";

/// A frame with a plain message id.
#[must_use]
pub fn frame(id: u8, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 1).to_be_bytes()[..], &[id], body].concat()
}

/// An extended frame.
#[must_use]
pub fn ext(ext_id: u8, body: &[u8]) -> Vec<u8> {
    frame(20, &[&[ext_id], body].concat())
}

/// A handshake with the BEP 10 bit.
#[must_use]
pub fn handshake(info_hash: [u8; 20], peer_id: [u8; 20]) -> Vec<u8> {
    Handshake::ours(InfoHash(info_hash), PeerId(peer_id)).encode().to_vec()
}

/// A chunk in the 9+n layout.
#[must_use]
pub fn chunk(req: u32, bytes: &[u8]) -> Vec<u8> {
    chunk_claiming(req, bytes.len() as u32, bytes)
}

/// A chunk whose length field says `claimed`.
#[must_use]
pub fn chunk_claiming(req: u32, claimed: u32, bytes: &[u8]) -> Vec<u8> {
    ext(UT_XET, &[&[2][..], &req.to_be_bytes(), &claimed.to_be_bytes(), bytes].concat())
}

/// A xorb range in the 13+n layout, on extension id 1 as zest 0.4 sends it.
#[must_use]
pub fn range(req: u32, start: u32, bytes: &[u8]) -> Vec<u8> {
    let len = bytes.len() as u32;
    ext(1, &[&[2][..], &req.to_be_bytes(), &start.to_be_bytes(), &len.to_be_bytes(), bytes].concat())
}

/// NOT_FOUND in the 37-byte layout, which every dialect reads.
#[must_use]
pub fn not_found(req: u32, hash: &Hash) -> Vec<u8> {
    xet::not_found(UT_XET, xet::Dialect::Range, req, hash).as_bytes().to_vec()
}

/// A manifest part that says what it is told to say.
#[must_use]
pub fn manifest_part(req: u32, size: u64, total: u32, first: u32, count: u32, records: &[u8]) -> Vec<u8> {
    let head = [
        &[2][..],
        &req.to_be_bytes(),
        &size.to_be_bytes(),
        &total.to_be_bytes(),
        &first.to_be_bytes(),
        &count.to_be_bytes(),
        records,
    ];
    ext(ZEST, &head.concat())
}

/// The true answer to a manifest request.
#[must_use]
pub fn manifest(known: &Known, req: u32, first: u32, count: u32) -> Vec<u8> {
    let total = known.manifest.len();
    let end = total.min(first.saturating_add(count));
    if first >= end {
        return manifest_none(req);
    }
    let mut records = Vec::new();
    known.manifest.write_records(first..end, &mut records);
    manifest_part(req, known.manifest.size(), total, first, end - first, &records)
}

/// No manifest.
#[must_use]
pub fn manifest_none(req: u32) -> Vec<u8> {
    zest::manifest_none(ZEST, req).as_bytes().to_vec()
}

/// Availability of a file.
#[must_use]
pub fn have(file: &Hash, total: u32, runs: &[(u32, u32)]) -> Vec<u8> {
    zest::have(ZEST, file, total, runs).as_bytes().to_vec()
}

/// More of a file, in as many messages as it takes.
#[must_use]
pub fn have_more(file: &Hash, runs: &[(u32, u32)]) -> Vec<u8> {
    zest::have_more(ZEST, FileKey::of(file), runs).flat_map(|head| head.as_bytes().to_vec()).collect()
}

/// Whether requests are answered, and how long one waits.
#[must_use]
pub fn slot(open: bool, wait_ms: u16) -> Vec<u8> {
    zest::slot(ZEST, open, wait_ms).as_bytes().to_vec()
}

/// Who fetches what from the origin, in as many messages as it takes.
#[must_use]
pub fn claim(file: &Hash, claims: &[Claim]) -> Vec<u8> {
    zest::claim(ZEST, FileKey::of(file), claims).flat_map(|head| head.as_bytes().to_vec()).collect()
}

/// It streams a block of a file from the origin, which begins at this chunk.
#[must_use]
pub fn streams(file: &Hash, first: u32) -> Vec<u8> {
    zest::streams(ZEST, FileKey::of(file), first).as_bytes().to_vec()
}

/// What it streams there, from this place on, in as many messages as it takes.
#[must_use]
pub fn told(file: &Hash, first: u32, at: u32, records: &[ChunkRef]) -> Vec<u8> {
    let key = FileKey::of(file);
    zest::told(ZEST, key, first, at, records).flat_map(|head| head.as_bytes().to_vec()).collect()
}

/// What a peer wants of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// A chunk by hash (37 bytes).
    Chunk {
        /// Request id.
        req: u32,
        /// Chunk.
        hash: Hash,
    },
    /// Chunks of a xorb (45 bytes).
    Xorb {
        /// Request id.
        req: u32,
        /// Xorb.
        xorb: Hash,
        /// First chunk.
        start: u32,
        /// Chunk past the last.
        end: u32,
    },
    /// Records of a chunk list.
    Manifest {
        /// Request id.
        req: u32,
        /// File.
        file: Hash,
        /// First record.
        first: u32,
        /// Records.
        count: u32,
    },
    /// Availability of a file.
    Interest {
        /// File.
        file: Hash,
    },
    /// To be told of a block that we stream, or no longer.
    Follow {
        /// First chunk of the block in the file.
        first: u32,
        /// From now on, or no longer.
        on: bool,
    },
    /// A request is taken back.
    Cancel {
        /// Request id.
        req: u32,
    },
    /// Anything else: message id, extension id if it is 20, body.
    Other(u8, Vec<u8>),
}

/// Reads a frame (without its length) that came to a peer with these extension ids.
#[must_use]
pub fn read_ask(frame: &[u8], xet_id: u8, zest_id: u8) -> Ask {
    let other = || Ask::Other(frame[0], frame[1..].to_vec());
    let [20, ext_id, body @ ..] = frame else { return other() };
    let word = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().expect("four bytes"));
    let hash = |at: usize| Hash::from_bytes(body[at..at + 32].try_into().expect("32 bytes"));
    match (*ext_id, body.first(), body.len()) {
        (0, ..) => other(),
        (id, Some(1), 37) if id == xet_id => Ask::Chunk { req: word(1), hash: hash(5) },
        (id, Some(1), 45) if id == xet_id => {
            Ask::Xorb { req: word(1), xorb: hash(5), start: word(37), end: word(41) }
        }
        (id, Some(1), 45) if id == zest_id => {
            Ask::Manifest { req: word(1), file: hash(5), first: word(37), count: word(41) }
        }
        (id, Some(4), 33) if id == zest_id => Ask::Interest { file: hash(1) },
        (id, Some(12), 14) if id == zest_id => Ask::Follow { first: word(9), on: body[13] == 1 },
        (id, Some(9), 5) if id == zest_id => Ask::Cancel { req: word(1) },
        _ => other(),
    }
}
