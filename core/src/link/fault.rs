//! Every way a remote can break the protocol, with the values that show it.

use crate::ids::{InfoHash, ReqId};
use crate::time::Duration;
use thiserror::Error;

/// How hard a fault should be held against its sender. The link is closed in both cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Can happen to an honest peer (a slow machine, an address that changed hands, another program's habits). Count
    /// it; the peer may be dialled again.
    Strike,
    /// No correct implementation does this: the peer is broken or attacks. Do not dial it again.
    Fatal,
}

/// Why a link was closed: what the remote did, with values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PeerFault {
    /// The first bytes are not BEP 3's handshake.
    #[error("not a BitTorrent handshake: byte {at} is 0x{got:02x}, not 0x{want:02x}")]
    NotBitTorrent {
        /// Offset in the handshake.
        at: u8,
        /// Byte that came.
        got: u8,
        /// Byte that BEP 3 demands there.
        want: u8,
    },
    /// The remote answered our handshake for another swarm.
    #[error("peer answered with info-hash {got:?}, we asked for {want:?}")]
    WrongInfoHash {
        /// What came.
        got: InfoHash,
        /// What we dialled for.
        want: InfoHash,
    },
    /// The remote has our own peer id: we dialled ourselves. Says nothing bad about the address.
    #[error("peer has our own peer id: connection to self")]
    SelfConnection,
    /// The remote lacks BEP 10, without which nothing can be asked or answered.
    #[error("peer does not speak the extension protocol (BEP 10)")]
    NoExtensionProtocol,
    /// No complete handshake in time.
    #[error("no handshake after {waited:?}, limit {limit:?}")]
    HandshakeTimeout {
        /// Time since the link opened.
        waited: Duration,
        /// [`super::HANDSHAKE_WAIT`].
        limit: Duration,
    },
    /// No extension handshake in time.
    #[error("no extension handshake after {waited:?}, limit {limit:?}")]
    ExtHandshakeTimeout {
        /// Time since the link opened.
        waited: Duration,
        /// [`super::EXT_HANDSHAKE_WAIT`].
        limit: Duration,
    },
    /// Nothing came for too long.
    #[error("peer was silent for {silent:?}, limit {limit:?}")]
    Idle {
        /// Time since the last byte.
        silent: Duration,
        /// [`super::IDLE_LIMIT`].
        limit: Duration,
    },
    /// A frame longer than its kind may be; known from its head, before the rest is read.
    #[error("peer sent {what} of {len} bytes, limit {max}")]
    FrameTooLong {
        /// Kind of frame.
        what: &'static str,
        /// Length prefix.
        len: u32,
        /// Limit for this kind.
        max: u32,
    },
    /// A message whose length does not fit its kind or its own length fields.
    #[error("peer sent {what} of {len} bytes, which is not a length it can have")]
    WrongLength {
        /// Kind of message.
        what: &'static str,
        /// Its length after the extension id.
        len: u32,
    },
    /// The extension handshake is not a bencoded dictionary at all.
    #[error("extension handshake is not a bencoded dictionary")]
    BadExtHandshake,
    /// Extension handshakes without end.
    #[error("peer sent {count} extension handshakes, limit {max}")]
    TooManyExtHandshakes {
        /// How many.
        count: u32,
        /// [`super::EXT_HANDSHAKES_MAX`].
        max: u32,
    },
    /// A payload that answers nothing outstanding: never asked for, or answered before.
    #[error("peer sent {len} bytes for request {req:08x}, which is not outstanding")]
    Unsolicited {
        /// The id it named (the first four bytes of the hash where the dialect has no id).
        req: u32,
        /// Bytes after the extension id.
        len: u32,
    },
    /// A payload longer than its request allows; known before it is read.
    #[error("peer sent {len}-byte answer for request {:08x}, limit {max}", req.0)]
    AnswerTooLong {
        /// Request.
        req: ReqId,
        /// Payload bytes announced.
        len: u32,
        /// `len_max` of the request.
        max: u32,
    },
    /// A payload of no bytes: no chunk, xorb range or manifest part is empty.
    #[error("peer sent an empty answer for request {:08x}", req.0)]
    EmptyAnswer {
        /// Request.
        req: ReqId,
    },
    /// The length field of an answer and the length of its frame disagree in every dialect.
    #[error("answer for request {:08x} has {len} bytes, and its length fields agree in no known layout", req.0)]
    AnswerLengthMismatch {
        /// Request.
        req: ReqId,
        /// Bytes after the extension id.
        len: u32,
    },
    /// A manifest part outside of what was asked for or of its own total.
    #[error("manifest part {first}+{count} of {total} for request {:08x} lies outside of what was asked", req.0)]
    ManifestOutOfRange {
        /// Request.
        req: ReqId,
        /// First record.
        first: u32,
        /// Records.
        count: u32,
        /// Records in the whole manifest, as the peer says.
        total: u32,
    },
    /// Availability runs that are empty, overlap, overflow or do not fill their message.
    #[error("availability run {index} is not valid")]
    BadRuns {
        /// Number of the first bad run, counted from 0.
        index: u32,
    },
    /// An upload-slot state other than 0 and 1.
    #[error("upload-slot state {state} is neither 0 nor 1")]
    BadSlotState {
        /// What came.
        state: u8,
    },
    /// A peer exchange that is too long or not what BEP 11 says.
    #[error("peer sent a peer exchange of {len} bytes that is too long or not readable")]
    BadPex {
        /// Its length after the extension id.
        len: u32,
    },
    /// Too much that serves nothing.
    #[error("peer sent {bytes} bytes of messages without use, limit {max} in two minutes")]
    Chatter {
        /// Bytes in the window.
        bytes: u64,
        /// [`super::CHATTER_BYTES_MAX`].
        max: u64,
    },
    /// Too much that came after its request was given up.
    #[error("peer sent {bytes} bytes of late answers in a row, limit {max}")]
    TooLate {
        /// Bytes since the last answer in time.
        bytes: u64,
        /// [`super::LATE_BYTES_MAX`].
        max: u64,
    },
}

impl PeerFault {
    /// How hard to hold it against the sender.
    #[must_use]
    pub fn severity(&self) -> Severity {
        use PeerFault::*;
        match self {
            WrongInfoHash { .. }
            | SelfConnection
            | NoExtensionProtocol
            | HandshakeTimeout { .. }
            | ExtHandshakeTimeout { .. }
            | Idle { .. }
            | Unsolicited { .. }
            | EmptyAnswer { .. }
            | BadPex { .. }
            | Chatter { .. }
            | TooLate { .. } => Severity::Strike,
            NotBitTorrent { .. }
            | FrameTooLong { .. }
            | WrongLength { .. }
            | BadExtHandshake
            | TooManyExtHandshakes { .. }
            | AnswerTooLong { .. }
            | AnswerLengthMismatch { .. }
            | ManifestOutOfRange { .. }
            | BadRuns { .. }
            | BadSlotState { .. } => Severity::Fatal,
        }
    }
}
