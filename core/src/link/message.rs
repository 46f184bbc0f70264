//! What a remote said, and what we say: the words between a node and its links.

use super::Body;
use crate::ids::{FileKey, ReqId};
use crate::wire::ext_handshake::ExtHandshake;
use crate::wire::xet::Dialect;
use crate::wire::zest::Claim;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use zest_xet::{ChunkRef, Hash};

/// A small message of the remote, decoded. Ids of its own requests are plain `u32`, ids of ours are [`ReqId`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Its extension handshake; may come again with changes, each one tells the whole state.
    ExtHandshake(ExtHandshake),
    /// It wants one chunk. Answer with the same `req`, `hash` and `dialect`.
    ChunkRequest {
        /// Its request id (0 in the dialects that have none).
        req: u32,
        /// Chunk hash.
        hash: Hash,
        /// Layout in which it asked and wants the answer.
        dialect: Dialect,
    },
    /// It wants chunks `start..end` of a xorb, serialised (45-byte form; the original ignores `end`, so may be anything).
    XorbRequest {
        /// Its request id.
        req: u32,
        /// Xorb hash.
        xorb: Hash,
        /// First chunk index.
        start: u32,
        /// Chunk index past the last; may be smaller than `start`.
        end: u32,
    },
    /// It lacks what we asked for. No longer outstanding.
    NotFound {
        /// Our request.
        req: ReqId,
    },
    /// It cannot answer. No longer outstanding.
    Error {
        /// Our request.
        req: ReqId,
        /// Its code; no dialect defines any.
        code: u32,
        /// Its text, at most [`super::ERROR_TEXT_CHARS_MAX`] characters, control characters replaced.
        text: String,
    },
    /// It wants records of a manifest.
    ManifestRequest {
        /// Its request id.
        req: u32,
        /// File hash.
        file: Hash,
        /// First record.
        first: u32,
        /// Records wanted; answer with at most [`crate::wire::zest::MANIFEST_PART_RECORDS_MAX`].
        count: u32,
    },
    /// It lacks that manifest. No longer outstanding.
    ManifestNone {
        /// Our request.
        req: ReqId,
    },
    /// It wants to know which chunks of the file we have, now and as they come.
    Interest {
        /// File hash.
        file: Hash,
    },
    /// It no longer does.
    Uninterest {
        /// File hash.
        file: Hash,
    },
    /// All it has of a file. Runs are in order and neither touch nor overlap.
    Have {
        /// File hash.
        file: Hash,
        /// Chunks in the file, as it says.
        total: u32,
        /// (first chunk, chunks), within `total`.
        runs: Vec<(u32, u32)>,
    },
    /// Chunks it has on top of what it said before. Runs are in order and neither touch nor overlap; `first + count` does
    /// not overflow.
    HaveMore {
        /// Key of the file.
        file: FileKey,
        /// (first chunk, chunks).
        runs: Vec<(u32, u32)>,
    },
    /// Whether it answers us now.
    Slot {
        /// We hold an upload slot.
        open: bool,
        /// How long a request that is sent now waits for its answer, in milliseconds, as far as the remote can tell;
        /// 65,535 means that or longer.
        wait_ms: u16,
    },
    /// It no longer wants the answer to that request.
    Cancel {
        /// Its request id.
        req: u32,
    },
    /// Who of the swarm fetches which part of a file from the origin, as far as the remote heard.
    Claim {
        /// Key of the file.
        file: FileKey,
        /// At most [`crate::wire::zest::CLAIMS_MAX`].
        claims: Vec<Claim>,
    },
    /// It streams this block of a file from the origin, and gives what it has of it though nothing of it is proven.
    Streams {
        /// Key of the file.
        file: FileKey,
        /// First chunk of the block in the file.
        first: u32,
    },
    /// It wants to be told the chunks of a block that we stream, or no longer does.
    Follow {
        /// Key of the file.
        file: FileKey,
        /// First chunk of the block in the file.
        first: u32,
        /// From now on, or no longer.
        on: bool,
    },
    /// The next chunks of a block that it streams, unproven.
    Told {
        /// Key of the file.
        file: FileKey,
        /// First chunk of the block in the file.
        first: u32,
        /// Place in the block's list of the first record.
        at: u32,
        /// At most [`crate::wire::zest::TOLD_RECORDS_MAX`]. None: all that was told is taken back.
        records: Vec<ChunkRef>,
    },
    /// It tells of peers it is connected to, and of peers it no longer is (BEP 11). Unchecked: see
    /// [`crate::endpoint::may_name`].
    Pex {
        /// Address and flags, at most [`crate::wire::pex::PEX_READ_MAX`].
        added: Vec<(SocketAddr, u8)>,
        /// At most as many.
        dropped: Vec<SocketAddr>,
    },
    /// Something well-formed that means nothing to us.
    Ignored,
}

/// What the node has to say on a link. What was asked with a `req: u32` is answered with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// Ask for one chunk. If the remote offers no Xet extension, [`Message::NotFound`] is the immediate answer.
    ChunkRequest {
        /// Unique among the outstanding requests of this link, drawn at random.
        req: ReqId,
        /// Chunk hash.
        hash: Hash,
        /// Longest payload to accept, in bytes.
        len_max: u32,
    },
    /// Ask for chunks `start..end` of a xorb in serialised form (the only form that zest 0.4 understands).
    XorbRequest {
        /// As above.
        req: ReqId,
        /// Xorb hash.
        xorb: Hash,
        /// First chunk index.
        start: u32,
        /// Chunk index past the last.
        end: u32,
        /// Longest payload to accept, in bytes; zest 0.4 may send the whole xorb.
        len_max: u32,
    },
    /// Answer a [`Message::ChunkRequest`].
    Chunk {
        /// Its request id.
        req: u32,
        /// Its dialect.
        dialect: Dialect,
        /// Its hash.
        hash: Hash,
        /// The chunk, uncompressed.
        body: Body,
        /// Bytes of the chunk; the same as `body.len()`.
        len: u32,
    },
    /// Answer a [`Message::XorbRequest`] with chunk headers made by us.
    XorbRange {
        /// Its request id.
        req: u32,
        /// Its xorb hash.
        xorb: Hash,
        /// Index of the first chunk.
        start: u32,
        /// Per chunk: its 8-byte header as serialised, and its packed bytes.
        parts: Vec<([u8; 8], Body)>,
    },
    /// Answer a [`Message::XorbRequest`] with bytes that are already serialised.
    XorbBytes {
        /// Its request id.
        req: u32,
        /// Its xorb hash.
        xorb: Hash,
        /// Index of the first chunk.
        start: u32,
        /// Chunk headers and packed chunks.
        body: Body,
        /// Bytes; the same as `body.len()`.
        len: u32,
    },
    /// We lack it.
    NotFound {
        /// Its request id.
        req: u32,
        /// Its hash.
        hash: Hash,
        /// Its dialect ([`Dialect::Range`] for a xorb request).
        dialect: Dialect,
    },
    /// We cannot answer. zest 0.4 decodes this and goes elsewhere.
    ErrorReply {
        /// Its request id.
        req: u32,
        /// Its hash.
        hash: Hash,
        /// Its dialect.
        dialect: Dialect,
        /// Our code.
        code: u32,
        /// Our words, cut after [`super::ERROR_TEXT_CHARS_MAX`] bytes.
        text: String,
    },
    /// Ask for records of a manifest. If the remote lacks our extension, [`Message::ManifestNone`] is the immediate
    /// answer.
    ManifestRequest {
        /// As for [`Outgoing::ChunkRequest`].
        req: ReqId,
        /// File hash.
        file: Hash,
        /// First record.
        first: u32,
        /// Records wanted; one part answers, with at most [`crate::wire::zest::MANIFEST_PART_RECORDS_MAX`].
        count: u32,
    },
    /// Answer a [`Message::ManifestRequest`].
    ManifestPart {
        /// Its request id.
        req: u32,
        /// Size of the file in bytes.
        file_size: u64,
        /// Records in the whole manifest.
        total: u32,
        /// First record of this part.
        first: u32,
        /// Records in this part, 1 to [`crate::wire::zest::MANIFEST_PART_RECORDS_MAX`].
        count: u32,
        /// `count` × 36 bytes.
        body: Body,
    },
    /// We lack that manifest.
    ManifestNone {
        /// Its request id.
        req: u32,
    },
    /// Tell us what you have of this file. Like all that follows: nothing is sent to a remote without our extension.
    Interest {
        /// File hash.
        file: Hash,
    },
    /// No longer.
    Uninterest {
        /// File hash.
        file: Hash,
    },
    /// All we have of a file. Cut after the runs that fit [`crate::wire::zest::AVAILABILITY_BYTES_MAX`].
    Have {
        /// File hash.
        file: Hash,
        /// Chunks in the file.
        total: u32,
        /// (first chunk, chunks), in order, not overlapping, within `total`.
        runs: Vec<(u32, u32)>,
    },
    /// Chunks we have on top. Split into as many messages as needed; nothing is sent for no runs.
    HaveMore {
        /// File hash.
        file: Hash,
        /// (first chunk, chunks), in order, not overlapping.
        runs: Vec<(u32, u32)>,
    },
    /// Who of the swarm fetches which part of a file from the origin. Split into messages of
    /// [`crate::wire::zest::CLAIMS_MAX`]; nothing is sent for an empty list.
    Claim {
        /// File hash.
        file: Hash,
        /// In any order.
        claims: Vec<Claim>,
    },
    /// We stream this block of a file from the origin, and give what we have of it.
    Streams {
        /// File hash.
        file: Hash,
        /// First chunk of the block in the file.
        first: u32,
    },
    /// Tell us the chunks of a block that the remote streams, or no longer.
    Follow {
        /// File hash.
        file: Hash,
        /// First chunk of the block in the file.
        first: u32,
        /// From now on, or no longer.
        on: bool,
    },
    /// The next chunks of a block that we stream, unproven. Split into messages of [`crate::wire::zest::TOLD_RECORDS_MAX`].
    Told {
        /// File hash.
        file: Hash,
        /// First chunk of the block in the file.
        first: u32,
        /// Place in the block's list of the first record.
        at: u32,
        /// None: all that was told is taken back.
        records: Vec<ChunkRef>,
    },
    /// Whether we answer the remote now.
    Slot {
        /// It holds an upload slot.
        open: bool,
        /// How long a request that is sent now waits, in milliseconds; 65,535 means that or longer.
        wait_ms: u16,
    },
    /// We no longer want this answer: tells a remote with our extension, and forgets the request.
    Cancel {
        /// Our request.
        req: ReqId,
    },
    /// Tell of peers (BEP 11). Nothing is sent to a remote without `ut_pex`. Each list is cut after
    /// [`crate::wire::pex::PEX_PEERS_MAX`].
    Pex {
        /// Address and flags.
        added: Vec<(SocketAddr, u8)>,
        /// Peers that are gone.
        dropped: Vec<SocketAddr>,
    },
    /// BEP 3 keep-alive. The link sends its own when needed; this is for tests and hand-made runtimes.
    KeepAlive,
    /// The request timed out: a late answer is skipped, not a fault. If its payload has begun, it is still delivered.
    Forget {
        /// Our request.
        req: ReqId,
    },
}

impl Outgoing {
    /// Bytes of the bodies it carries: chunks, xorb ranges, manifest parts. 0 for everything else; heads and the 8-byte
    /// chunk headers of a [`Outgoing::XorbRange`] do not count. What the link then does not send (a xorb range above
    /// [`crate::wire::xet::RANGE_DATA_BYTES_MAX`], a manifest part for a remote without our extension) counts all the same.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        match self {
            Self::Chunk { body, .. } | Self::XorbBytes { body, .. } | Self::ManifestPart { body, .. } => {
                body.len().into()
            }
            Self::XorbRange { parts, .. } => parts.iter().map(|(_, body)| u64::from(body.len())).sum(),
            Self::ChunkRequest { .. }
            | Self::XorbRequest { .. }
            | Self::NotFound { .. }
            | Self::ErrorReply { .. }
            | Self::ManifestRequest { .. }
            | Self::ManifestNone { .. }
            | Self::Interest { .. }
            | Self::Uninterest { .. }
            | Self::Have { .. }
            | Self::HaveMore { .. }
            | Self::Pex { .. }
            | Self::Claim { .. }
            | Self::Streams { .. }
            | Self::Follow { .. }
            | Self::Told { .. }
            | Self::Slot { .. }
            | Self::Cancel { .. }
            | Self::KeepAlive
            | Self::Forget { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::BufId;
    use alloc::vec;

    #[test]
    fn payload_bytes_are_those_of_the_bodies() {
        let hash = Hash::from_bytes([1; 32]);
        let body = |len| Body::Buf { id: BufId(0), offset: 9, len };
        let chunk = Outgoing::Chunk { req: 1, dialect: Dialect::Doc, hash, body: body(12), len: 12 };
        assert_eq!(chunk.payload_bytes(), 12);
        let range = Outgoing::XorbBytes { req: 1, xorb: hash, start: 0, body: body(7), len: 7 };
        assert_eq!(range.payload_bytes(), 7);
        let parts = vec![([0; 8], body(u32::MAX)), ([0; 8], body(5))];
        let range = Outgoing::XorbRange { req: 1, xorb: hash, start: 0, parts };
        assert_eq!(range.payload_bytes(), u64::from(u32::MAX) + 5);
        let part =
            Outgoing::ManifestPart { req: 1, file_size: 9, total: 2, first: 0, count: 2, body: body(72) };
        assert_eq!(part.payload_bytes(), 72);
        let runs = vec![(0, 3)];
        for outgoing in [Outgoing::Have { file: hash, total: 3, runs }, Outgoing::KeepAlive] {
            assert_eq!(outgoing.payload_bytes(), 0);
        }
    }
}
