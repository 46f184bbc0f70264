//! What a remote said, and what we say: the words between a node and its links.

use super::Body;
use crate::ids::ReqId;
use crate::wire::ext_handshake::ExtHandshake;
use crate::wire::xet::Dialect;
use alloc::string::String;
use alloc::vec::Vec;
use zest_xet::Hash;

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
    /// Chunks it has on top of what it said before. Runs are in no order; `first + count` does not overflow.
    HaveMore {
        /// File hash.
        file: Hash,
        /// (first chunk, chunks).
        runs: Vec<(u32, u32)>,
    },
    /// Whether it answers us now.
    Slot {
        /// We hold an upload slot.
        open: bool,
        /// If not: peers before us.
        queue: u16,
    },
    /// It no longer wants the answer to that request.
    Cancel {
        /// Its request id.
        req: u32,
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
    /// Chunks we have on top. Split into as many messages as needed.
    HaveMore {
        /// File hash.
        file: Hash,
        /// (first chunk, chunks).
        runs: Vec<(u32, u32)>,
    },
    /// Whether we answer the remote now.
    Slot {
        /// It holds an upload slot.
        open: bool,
        /// If not: peers before it.
        queue: u16,
    },
    /// We no longer want this answer: tells a remote with our extension, and forgets the request.
    Cancel {
        /// Our request.
        req: ReqId,
    },
    /// BEP 3 keep-alive. The link sends its own when needed; this is for tests and hand-made runtimes.
    KeepAlive,
    /// The request timed out: a late answer is skipped, not a fault. If its payload has begun, it is still delivered.
    Forget {
        /// Our request.
        req: ReqId,
    },
}
