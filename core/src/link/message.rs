//! What a remote said, and what we say: the words between a node and its links.

use super::Body;
use crate::ids::ReqId;
use crate::wire::ext_handshake::ExtHandshake;
use crate::wire::pex::Pex;
use crate::wire::xet::Dialect;
use crate::wire::zest::{ManifestPart, ZestMessage};
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
    /// What it says in our extension. An answer ([`ZestMessage::ManifestNone`], [`ZestMessage::PlainNone`]) only if it is one:
    /// then the request is no longer outstanding.
    Zest(ZestMessage),
    /// It tells of peers it is connected to, and of peers it no longer is (BEP 11). At most
    /// [`crate::wire::pex::PEX_READ_MAX`] of each, unchecked: see [`crate::endpoint::may_name`].
    Pex(Pex),
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
    /// Answer a [`ZestMessage::ManifestRequest`].
    ManifestPart {
        /// Its request id.
        req: u32,
        /// What the part says of itself; 1 to [`crate::wire::zest::MANIFEST_PART_RECORDS_MAX`] records.
        part: ManifestPart,
        /// The records, 36 bytes each.
        body: Body,
    },
    /// Answer a [`ZestMessage::PlainRequest`].
    Plain {
        /// Its request id.
        req: u32,
        /// The part that was asked for.
        body: Body,
    },
    /// Say this in our extension; nothing is sent to a remote that lacks it. Three of them concern what is outstanding here:
    /// - [`ZestMessage::ManifestRequest`], whose `req` is a [`ReqId`] as for [`Outgoing::ChunkRequest`]. If the remote lacks our
    ///   extension, [`ZestMessage::ManifestNone`] is the immediate answer.
    /// - [`ZestMessage::PlainRequest`] and [`ZestMessage::PlainNone`] in the same way.
    /// - [`ZestMessage::Cancel`] of such a request, of either extension: it is forgotten, whether the remote can be told or not.
    Zest(ZestMessage),
    /// Tell of peers (BEP 11). Nothing is sent to a remote without `ut_pex`. Each list is cut after
    /// [`crate::wire::pex::PEX_PEERS_MAX`].
    Pex(Pex),
    /// BEP 3 keep-alive. The link sends its own when needed; this is for tests and hand-made runtimes.
    KeepAlive,
    /// The request timed out: a late answer is skipped, not a fault. If its payload has begun, it is still delivered.
    Forget {
        /// Our request.
        req: ReqId,
    },
}

impl Outgoing {
    /// Bytes of the bodies it carries: chunks, xorb ranges, manifest parts, parts of small files. 0 for everything else; heads and the 8-byte
    /// chunk headers of a [`Outgoing::XorbRange`] do not count. What the link then does not send (a xorb range above
    /// [`crate::wire::xet::RANGE_DATA_BYTES_MAX`], a manifest part for a remote without our extension) counts all the same.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        match self {
            Self::Chunk { body, .. }
            | Self::XorbBytes { body, .. }
            | Self::ManifestPart { body, .. }
            | Self::Plain { body, .. } => body.len().into(),
            Self::XorbRange { parts, .. } => parts.iter().map(|(_, body)| u64::from(body.len())).sum(),
            Self::ChunkRequest { .. }
            | Self::XorbRequest { .. }
            | Self::NotFound { .. }
            | Self::ErrorReply { .. }
            | Self::Zest(_)
            | Self::Pex(_)
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
        let part = ManifestPart { file_size: 9, total: 2, first: 0, count: 2 };
        let part = Outgoing::ManifestPart { req: 1, part, body: body(72) };
        assert_eq!(part.payload_bytes(), 72);
        let runs = vec![(0, 3)];
        for outgoing in
            [Outgoing::Zest(ZestMessage::Have { file: hash, total: 3, runs }), Outgoing::KeepAlive]
        {
            assert_eq!(outgoing.payload_bytes(), 0);
        }
    }
}
