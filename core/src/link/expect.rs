//! What a link foresees, for placing bytes.

use super::requests::Wanted;
use super::{Dialect, Link, Phase};
use crate::ids::ReqId;
use crate::wire::frame::EXTENDED_HEAD_BYTES;
use crate::wire::handshake::HANDSHAKE_BYTES;
use crate::wire::xet::answer_head_bytes;
use crate::wire::zest::{MANIFEST_PART_HEAD_BYTES, PLAIN_PART_HEAD_BYTES};

/// What will come next if the remote does the likely thing. A prediction for placing bytes, nothing depends on it:
/// `readv` into (rest of the payload, head, next buffer) puts payloads page-aligned into their buffers. Hand the parts in
/// as [`super::Event::PayloadRead`] and [`super::Event::Received`]; when the head turns out otherwise, what landed in the next
/// buffer goes in as `Received` too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect {
    /// Payload bytes still to come of a payload that has begun.
    pub payload: Option<(ReqId, u32)>,
    /// Bytes of the next head (what is still missing of it), if the oldest outstanding request is answered next; at
    /// least 1.
    pub head: u32,
}

impl Link {
    /// What will likely come next; see [`Expect`].
    #[must_use]
    pub fn expect(&self) -> Expect {
        let payload = match self.phase {
            Phase::Payload { req, left } => Some((req, left)),
            Phase::Handshake | Phase::Frame | Phase::Skip { .. } | Phase::Dead => None,
        };
        let whole = match (self.phase, self.requests.oldest().map(|asked| asked.wanted)) {
            (Phase::Handshake, _) => HANDSHAKE_BYTES as u32,
            (_, Some(Wanted::Xet { dialect, .. })) => answer_head_bytes(dialect),
            (_, Some(Wanted::Manifest { .. })) => EXTENDED_HEAD_BYTES as u32 + MANIFEST_PART_HEAD_BYTES,
            (_, Some(Wanted::Plain)) => EXTENDED_HEAD_BYTES as u32 + PLAIN_PART_HEAD_BYTES,
            (_, None) => EXTENDED_HEAD_BYTES as u32,
        };
        let have = self.head.len();
        #[expect(clippy::cast_possible_truncation, reason = "a head has at most 16 KiB")]
        let head = (whole as usize).max(self.need).saturating_sub(have).max(1) as u32;
        Expect { payload, head }
    }

    /// The chunks that will likely come next, in order, if the oldest requests are for chunks: bytes of each answer's head (what is
    /// still missing of the first), and the longest its payload may be. A prediction like [`Expect`].
    pub fn expect_chunks(&self) -> impl Iterator<Item = (u32, u32)> {
        let chunks = self.requests.in_order().map_while(|asked| match asked.wanted {
            Wanted::Xet { dialect: dialect @ (Dialect::Chunk | Dialect::Doc), .. } => {
                Some((answer_head_bytes(dialect), asked.len_max))
            }
            Wanted::Xet { dialect: Dialect::Range, .. } | Wanted::Manifest { .. } | Wanted::Plain => None,
        });
        let first = self.expect().head;
        chunks.enumerate().map(move |(nth, (head, len))| (if nth == 0 { first } else { head }, len))
    }
}
