//! What a link asks of its runtime and tells its node.

use super::{Message, PeerFault};
use crate::ids::{BufId, InfoHash, Location, PeerId, ReqId};
use crate::wire::frame::Head;
use crate::wire::zest::ManifestPart;
use zest_xet::Hash;

/// Bulk bytes to send, named and not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// A range of a file: sendfile, or read into a pooled buffer.
    File(Location),
    /// Part of a pooled buffer.
    Buf {
        /// Which buffer.
        id: BufId,
        /// First byte.
        offset: u32,
        /// Bytes.
        len: u32,
    },
}

impl Body {
    /// Bytes to send.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a body names bytes elsewhere, it is not a collection")]
    pub fn len(&self) -> u32 {
        match *self {
            Self::File(Location { len, .. }) | Self::Buf { len, .. } => len,
        }
    }
}

/// What kind of payload begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadKind {
    /// One chunk, uncompressed. In the crafted case of [`crate::wire::xet::other_reading`] it can also be read as a xorb
    /// range.
    Chunk,
    /// A serialised xorb range: chunk headers and packed chunks, no footer.
    XorbRange {
        /// Index in the xorb of its first chunk, as the remote says (zest 0.4 sends 0 with a whole xorb, whatever range
        /// was asked for).
        start: u32,
    },
    /// Records of a manifest, 36 bytes each; what the part says of itself is what was asked for.
    ManifestPart(ManifestPart),
    /// A part of a small file, as long as it has to be.
    Plain,
}

/// What [`super::Link::poll_action`] gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes, then the body's. The order of actions is the order on the wire.
    Transmit {
        /// Bytes first.
        head: Head,
        /// Bulk bytes after them.
        body: Option<Body>,
        /// The chunk that those are, where they are one.
        chunk: Option<Hash>,
    },
    /// Both handshakes are done.
    Established {
        /// Who the remote says it is.
        peer_id: PeerId,
        /// The swarm it came for (a hint only: a link serves every file both sides share).
        info_hash: InfoHash,
        /// Whether it speaks BEP 10. If not, [`Action::Close`] follows at once.
        bep10: bool,
    },
    /// A small message, decoded.
    Message(Message),
    /// The payload of an answer begins; `len` bytes follow as [`Action::PayloadBytes`] or are read straight into the
    /// runtime's buffer ([`super::Event::PayloadRead`]). The request is no longer outstanding.
    PayloadStart {
        /// The request it answers.
        req: ReqId,
        /// What it is.
        kind: PayloadKind,
        /// Bytes, 1 to `len_max` of the request.
        len: u32,
    },
    /// Payload bytes lie in the slice that was just handed in. Take them before handing in the next.
    PayloadBytes {
        /// Offset in that slice.
        at: u32,
        /// Bytes.
        len: u32,
    },
    /// The payload is complete.
    PayloadEnd {
        /// The request it answers.
        req: ReqId,
    },
    /// Close the connection; the last action of a link.
    Close {
        /// What the remote did.
        why: PeerFault,
    },
}

// Each is moved several times; past 128 bytes every move is a call, and a link's messages cost a fifth more instructions.
const _: () = assert!(size_of::<Action>() <= 120);
