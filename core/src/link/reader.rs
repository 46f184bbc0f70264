//! From the first bytes of a frame to what it is. Pure: looks at bytes and at what is outstanding, changes nothing.

use super::requests::{Asked, Requests, Wanted};
use super::{
    CONTROL_FRAME_BYTES_MAX, ERROR_TEXT_CHARS_MAX, FRAME_BYTES_MAX, Message, PayloadKind, PeerFault,
};
use crate::ids::ReqId;
use crate::wire::ext_handshake::{EXT_HANDSHAKE_BYTES_MAX, Extension};
use crate::wire::frame::{self, EXTENDED, EXTENDED_HEAD_BYTES, LENGTH_BYTES};
use crate::wire::pex::{self, PEX_BYTES_MAX, Pex};
use crate::wire::text;
use crate::wire::xet::{self, Dialect, Incoming, Step};
use crate::wire::zest::{self, MANIFEST_RECORD_BYTES, ManifestPart, ZestError, ZestMessage};

/// What the bytes of one frame amount to.
#[derive(Debug)]
pub(super) enum Decoded<'a> {
    /// So many bytes of the frame must be there, length prefix included. Never reaches into a payload.
    Need(usize),
    /// Understood. `head` bytes are used up; what `what` leaves over follows.
    Frame { head: usize, what: What<'a> },
    /// The remote broke the protocol.
    Fault(PeerFault),
}

/// What a frame is.
#[derive(Debug)]
pub(super) enum What<'a> {
    /// Of no use, known as such (keep-alive, choke, have …). `rest` bytes of it follow.
    Chatter { rest: u32 },
    /// Of no use, unknown. `rest` bytes of it follow.
    Unknown { rest: u32 },
    /// The dictionary of an extension handshake.
    ExtHandshake(&'a [u8]),
    /// A message of the remote that answers nothing. `pins` tells the layout it speaks.
    Message { message: Message, pins: Option<Dialect> },
    /// Peer exchange.
    Pex(Pex),
    /// An answer without payload. `rest` bytes of its text follow.
    Refusal { req: ReqId, message: Message, pins: Option<Dialect>, rest: u32 },
    /// An answer; its payload of `len` bytes follows.
    Answer { req: ReqId, kind: PayloadKind, len: u32, pins: Option<Dialect> },
}

/// Last of the message ids that BEP 3 and BEP 5 define: choke to port.
const KNOWN_ID_MAX: u8 = 9;

/// Reads the frame that begins with `seen`. `lenient_ids` (a zest 0.4 remote) takes any unknown extension id for Xet.
pub(super) fn decode<'a>(seen: &'a [u8], requests: &Requests, lenient_ids: bool) -> Decoded<'a> {
    let Ok((rest, len)) = frame::length(seen) else { return Decoded::Need(LENGTH_BYTES) };
    if len == 0 {
        return Decoded::Frame { head: LENGTH_BYTES, what: What::Chatter { rest: 0 } };
    }
    if len > FRAME_BYTES_MAX {
        return too_long("a frame", len, FRAME_BYTES_MAX);
    }
    let Ok((rest, id)) = frame::id(rest) else { return Decoded::Need(LENGTH_BYTES + 1) };
    if id != EXTENDED {
        if len > CONTROL_FRAME_BYTES_MAX {
            return too_long("a message", len, CONTROL_FRAME_BYTES_MAX);
        }
        return skip(seen, len, id <= KNOWN_ID_MAX);
    }
    if len == 1 {
        return Decoded::Fault(PeerFault::WrongLength { what: "extended message", len: 0 });
    }
    let Ok((body, ext_id)) = frame::id(rest) else { return Decoded::Need(EXTENDED_HEAD_BYTES) };
    let n = len - 2;
    if ext_id == 0 {
        if n > EXT_HANDSHAKE_BYTES_MAX {
            return too_long("an extension handshake", n, EXT_HANDSHAKE_BYTES_MAX);
        }
        return match body.get(..n as usize) {
            Some(dict) => frame(n, What::ExtHandshake(dict)),
            None => need(n),
        };
    }
    match Extension::with_id(ext_id) {
        Some(Extension::UtXet | Extension::Xet) => decode_xet(seen, body, n, requests),
        Some(Extension::Zest) => decode_zest(seen, body, n, requests),
        // zest 0.4 takes any id but 0 for Xet, and so may its answers come.
        _ if lenient_ids => decode_xet(seen, body, n, requests),
        // Its request is known by its length.
        extension if n == 45 => match body.first() {
            None => need(1),
            Some(1) => decode_xet(seen, body, n, requests),
            Some(_) if extension == Some(Extension::UtPex) => decode_pex(body, n),
            Some(_) => skip(seen, len, false),
        },
        Some(Extension::UtPex) => decode_pex(body, n),
        None if len > CONTROL_FRAME_BYTES_MAX => {
            too_long("an unknown extended message", len, CONTROL_FRAME_BYTES_MAX)
        }
        None => skip(seen, len, false),
    }
}

fn decode_xet<'a>(seen: &'a [u8], body: &'a [u8], n: u32, requests: &Requests) -> Decoded<'a> {
    let incoming = match xet::classify(body, n, requests) {
        Step::Need(k) => return need(k),
        Step::Is(incoming) => incoming,
    };
    match incoming {
        Incoming::ChunkRequest { req, hash, dialect } => frame(
            n,
            What::Message { message: Message::ChunkRequest { req, hash, dialect }, pins: Some(dialect) },
        ),
        Incoming::XorbRequest { req, xorb, start, end } => frame(
            n,
            What::Message {
                message: Message::XorbRequest { req, xorb, start, end },
                pins: Some(Dialect::Range),
            },
        ),
        Incoming::Answer { req, dialect, head, start, len } => {
            let req = ReqId(req);
            let kind = match dialect {
                Dialect::Range => PayloadKind::XorbRange { start },
                Dialect::Chunk | Dialect::Doc => PayloadKind::Chunk,
            };
            answer(head, len, kind, Some(dialect), requests.any(req), req)
        }
        Incoming::NotFound { req, dialect } => {
            let req = ReqId(req);
            frame(n, What::Refusal { req, message: Message::NotFound { req }, pins: Some(dialect), rest: 0 })
        }
        Incoming::Error { req, code, text: bytes } => {
            if n > CONTROL_FRAME_BYTES_MAX {
                return too_long("an error", n, CONTROL_FRAME_BYTES_MAX);
            }
            let req = ReqId(req);
            let message = Message::Error { req, code, text: text(bytes, ERROR_TEXT_CHARS_MAX) };
            let used = seen.len().min(EXTENDED_HEAD_BYTES + n as usize);
            #[expect(clippy::cast_possible_truncation, reason = "at most n")]
            let rest = n - (used - EXTENDED_HEAD_BYTES) as u32;
            Decoded::Frame { head: used, what: What::Refusal { req, message, pins: None, rest } }
        }
        Incoming::Unsolicited { req } => Decoded::Fault(PeerFault::Unsolicited { req, len: n }),
        Incoming::BadLength { req } => {
            Decoded::Fault(PeerFault::AnswerLengthMismatch { req: ReqId(req), len: n })
        }
        Incoming::Unknown if n > CONTROL_FRAME_BYTES_MAX => {
            too_long("an unknown Xet message", n, CONTROL_FRAME_BYTES_MAX)
        }
        Incoming::Unknown => skip(seen, n + 2, false),
    }
}

fn decode_pex(body: &[u8], n: u32) -> Decoded<'_> {
    if n > PEX_BYTES_MAX {
        return Decoded::Fault(PeerFault::BadPex { len: n });
    }
    match body.get(..n as usize).map(pex::read) {
        None => need(n),
        Some(None) => Decoded::Fault(PeerFault::BadPex { len: n }),
        Some(Some(pex)) => frame(n, What::Pex(pex)),
    }
}

fn decode_zest<'a>(seen: &'a [u8], body: &'a [u8], n: u32, requests: &Requests) -> Decoded<'a> {
    let refused = |error| {
        Decoded::Fault(match error {
            ZestError::Length(what) => PeerFault::WrongLength { what, len: n },
            ZestError::TooLong { what, max } => PeerFault::FrameTooLong { what, len: n, max },
            ZestError::Run(index) => PeerFault::BadRuns { index },
            ZestError::SlotState(state) | ZestError::FollowState(state) | ZestError::WaitState(state) => {
                PeerFault::BadSlotState { state }
            }
        })
    };
    if n == 0 {
        return Decoded::Fault(PeerFault::WrongLength { what: "zest message", len: 0 });
    }
    let Some(&kind) = body.first() else { return need(1) };
    match zest::bytes_needed(kind, n) {
        Err(error) => return refused(error),
        Ok(k) if body.len() < k as usize => return need(k),
        Ok(_) => {}
    }
    let message = match zest::parse(body, n) {
        Err(error) => return refused(error),
        Ok(zest::Incoming::ManifestPart { req, part }) => return manifest_part(req, part, n, requests),
        Ok(zest::Incoming::PlainPart { req }) => return plain_part(req, n, requests),
        Ok(zest::Incoming::Unknown) if n > CONTROL_FRAME_BYTES_MAX => {
            return too_long("an unknown zest message", n, CONTROL_FRAME_BYTES_MAX);
        }
        Ok(zest::Incoming::Unknown) => return skip(seen, n + 2, false),
        Ok(zest::Incoming::Message(message)) => message,
    };
    let asked = |req| requests.any(ReqId(req)).map(|asked| asked.wanted);
    let (req, answers) = if let ZestMessage::ManifestNone { req } = message {
        (req, matches!(asked(req), Some(Wanted::Manifest { .. })))
    } else if let ZestMessage::PlainNone { req } = message {
        (req, matches!(asked(req), Some(Wanted::Plain)))
    } else {
        return frame(n, What::Message { message: Message::Zest(message), pins: None });
    };
    if !answers {
        return skip(seen, n + 2, false);
    }
    let req = ReqId(req);
    frame(n, What::Refusal { req, message: Message::Zest(message), pins: None, rest: 0 })
}

/// A part of a list, its place checked against what was asked for.
fn manifest_part<'a>(req: u32, part: ManifestPart, n: u32, requests: &Requests) -> Decoded<'a> {
    let ManifestPart { total, first, count, .. } = part;
    let len = n - zest::MANIFEST_PART_HEAD_BYTES;
    let asked = requests.any(ReqId(req));
    let Some(&Asked { req, wanted: Wanted::Manifest { first: asked_first, count: asked_count }, .. }) = asked
    else {
        return Decoded::Fault(PeerFault::Unsolicited { req, len: n });
    };
    if count.checked_mul(MANIFEST_RECORD_BYTES) != Some(len) {
        return Decoded::Fault(PeerFault::AnswerLengthMismatch { req, len: n });
    }
    let inside = first == asked_first
        && count <= asked_count
        && first.checked_add(count).is_some_and(|end| end <= total);
    if !inside {
        return Decoded::Fault(PeerFault::ManifestOutOfRange { req, first, count, total });
    }
    answer(zest::MANIFEST_PART_HEAD_BYTES, len, PayloadKind::ManifestPart(part), None, asked, req)
}

/// A part of a small file: as long as it was asked for, to the byte.
fn plain_part<'a>(req: u32, n: u32, requests: &Requests) -> Decoded<'a> {
    let len = n - zest::PLAIN_PART_HEAD_BYTES;
    let asked = requests.any(ReqId(req));
    let Some(&Asked { req, len_max, wanted: Wanted::Plain }) = asked else {
        return Decoded::Fault(PeerFault::Unsolicited { req, len: n });
    };
    if len != len_max {
        return Decoded::Fault(PeerFault::AnswerLengthMismatch { req, len: n });
    }
    answer(zest::PLAIN_PART_HEAD_BYTES, len, PayloadKind::Plain, None, asked, req)
}

/// An answer, its payload checked against its request before a byte of it is read.
fn answer<'a>(
    head: u32,
    len: u32,
    kind: PayloadKind,
    pins: Option<Dialect>,
    asked: Option<&Asked>,
    req: ReqId,
) -> Decoded<'a> {
    let max = asked.map_or(0, |asked| asked.len_max);
    if len > max {
        return Decoded::Fault(PeerFault::AnswerTooLong { req, len, max });
    }
    if len == 0 {
        return Decoded::Fault(PeerFault::EmptyAnswer { req });
    }
    frame(head, What::Answer { req, kind, len, pins })
}

/// A frame of which the first `message_bytes` after the extension id are used.
fn frame(message_bytes: u32, what: What<'_>) -> Decoded<'_> {
    Decoded::Frame { head: EXTENDED_HEAD_BYTES + message_bytes as usize, what }
}

fn need<'a>(message_bytes: u32) -> Decoded<'a> {
    Decoded::Need(EXTENDED_HEAD_BYTES + message_bytes as usize)
}

fn too_long<'a>(what: &'static str, len: u32, max: u32) -> Decoded<'a> {
    Decoded::Fault(PeerFault::FrameTooLong { what, len, max })
}

/// A frame of `len` bytes after its prefix that goes unread, whatever part of it was looked at.
fn skip(seen: &[u8], len: u32, known: bool) -> Decoded<'_> {
    let head = seen.len().min(LENGTH_BYTES + len as usize);
    #[expect(clippy::cast_possible_truncation, reason = "head − 4 ≤ len, a u32")]
    let rest = len - (head - LENGTH_BYTES) as u32;
    Decoded::Frame { head, what: if known { What::Chatter { rest } } else { What::Unknown { rest } } }
}
