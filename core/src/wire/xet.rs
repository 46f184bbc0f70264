//! `ut_xet` / `xet`: chunks by hash over BEP 10, in every layout that is in use.
//!
//! Bytes after the extension id. Requests and their answers:
//!
//! | | [`Dialect::Chunk`] | [`Dialect::Range`] (zest 0.4) | [`Dialect::Doc`] |
//! |---|---|---|---|
//! | request | `01` req 4, chunk hash 32 = **37** | `01` req 4, xorb hash 32, start 4, end 4 = **45** | `01` chunk hash 32 = **33** |
//! | answer | `02` req 4, len 4, chunk = **9+n** | `02` req 4, start 4, len 4, serialised xorb range = **13+n** | `02` hash 32, len 4, chunk = **37+n** |
//! | not found | `03` req 4 = **5** (read also with the hash: 37) | `03` req 4, hash 32 = **37** | `03` hash 32 = **33** |
//! | error | `04` req 4, code 4, text = **9+n** | the same | `04` hash 32, code 4, text = **37+n** |
//!
//! The literal reading of ccbt's documentation has no type byte either; its answers are recognised by a pending hash, but
//! nothing known sends them and we never write them. Other type bytes are ignored, and never sent: they kill zest 0.4.
//!
//! Reading is staged: [`classify`] asks for as many bytes as it needs to decide, and never for a byte of a payload, so
//! that payloads can go straight from the socket to where they belong.

use super::frame::{EXTENDED_HEAD_BYTES, Head, LENGTH_BYTES, Writer};
use alloc::vec::Vec;
use nom::Parser as _;
use nom::bytes::complete::take;
use zest_xet::Hash;
use zest_xet::fields::{self, Parsed, be_u32, byte};

/// Layout of Xet messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// Type byte and request id; the 37-byte request names a chunk. Our default; the same as ccbt 0.1.0.
    Chunk,
    /// zest 0.4: the 45-byte request names chunks of a xorb, the answer is a serialised xorb range.
    Range,
    /// ccbt's documentation with a type byte: no request id, the 33-byte request names a chunk.
    Doc,
}

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const NOT_FOUND: u8 = 3;
const ERROR: u8 = 4;

/// Most data bytes of one answer that zest 0.4 takes: 67,109,873 (its frame limit less frame and answer heads).
pub const RANGE_DATA_BYTES_MAX: u64 = 67_109_873;

/// Bytes of an error text that are looked at: 1,024, room for 256 characters of four bytes.
pub const ERROR_TEXT_BYTES_MAX: u32 = 1024;

/// Head of an answer in its frame: 15, 19 or 43 bytes.
#[must_use]
pub const fn answer_head_bytes(dialect: Dialect) -> u32 {
    EXTENDED_HEAD_BYTES as u32
        + match dialect {
            Dialect::Chunk => 9,
            Dialect::Range => 13,
            Dialect::Doc => 37,
        }
}

/// How a request was sent, as the table of outstanding requests remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Its id (also in [`Dialect::Doc`], which does not show it on the wire).
    pub req: u32,
    /// Layout it was sent in.
    pub dialect: Dialect,
    /// What it asked for.
    pub hash: Hash,
}

/// The requests that may be answered, late ones included.
pub trait PendingTable {
    /// By request id.
    fn by_id(&self, req: u32) -> Option<Pending>;
    /// The oldest with this hash.
    fn by_hash(&self, hash: &Hash) -> Option<Pending>;
    /// Whether anything that was asked has this id, also what is asked over another extension: an error may answer it.
    fn knows(&self, req: u32) -> bool {
        self.by_id(req).is_some()
    }
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A chunk is wanted (37 or 33 bytes).
    ChunkRequest {
        /// 0 in [`Dialect::Doc`].
        req: u32,
        /// Chunk hash.
        hash: Hash,
        /// Layout asked in.
        dialect: Dialect,
    },
    /// A xorb range is wanted (45 bytes).
    XorbRequest {
        /// Request id.
        req: u32,
        /// Xorb hash.
        xorb: Hash,
        /// First chunk index.
        start: u32,
        /// Chunk index past the last, unchecked.
        end: u32,
    },
    /// A payload of `len` bytes follows the head.
    Answer {
        /// The request it answers.
        req: u32,
        /// Layout answered in.
        dialect: Dialect,
        /// Bytes of the head: the payload begins there.
        head: u32,
        /// First chunk index, in [`Dialect::Range`]; else 0.
        start: u32,
        /// Payload bytes; head + len is the whole message.
        len: u32,
    },
    /// The remote lacks it.
    NotFound {
        /// The request it answers.
        req: u32,
        /// Layout answered in.
        dialect: Dialect,
    },
    /// The remote cannot answer.
    Error {
        /// The request it answers.
        req: u32,
        /// Its code.
        code: u32,
        /// The first [`ERROR_TEXT_BYTES_MAX`] bytes of its text.
        text: &'a [u8],
    },
    /// A payload for nothing that is pending: its id as sent.
    Unsolicited {
        /// Bytes 1 to 4.
        req: u32,
    },
    /// An answer to a pending request whose length fields fit no layout.
    BadLength {
        /// The request.
        req: u32,
    },
    /// None of the above.
    Unknown,
}

/// What [`classify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'a> {
    /// More bytes are needed: this many of the message in all, at most the whole of it.
    Need(u32),
    /// Decided.
    Is(Incoming<'a>),
}

/// Decides what a message is from its first bytes `seen`, its whole length `n` and what is pending.
///
/// An answer is read in the layout that was asked in; in another only if its length fields do not fit that one. So the
/// one ambiguous message, a [`Dialect::Range`] answer with start = len + 4, is read as what was asked for; the chunk
/// hash is the final judge, and [`other_reading`] gives the second chance before anybody is blamed.
#[must_use]
pub fn classify<'a>(seen: &'a [u8], n: u32, pending: &impl PendingTable) -> Step<'a> {
    if n == 0 {
        return Step::Is(Incoming::Unknown);
    }
    let Ok((fields, kind)) = kind(seen) else { return Step::Need(1) };
    match (kind, n) {
        (REQUEST, 33 | 37 | 45) => {
            return request(fields, n).map_or(Step::Need(n), |(_, request)| Step::Is(request));
        }
        (RESPONSE, 9..) => {
            let Ok((rest, (req, word))) = id_and_word(fields) else { return Step::Need(9) };
            let asked = pending.by_id(req);
            if let Some(asked) = asked {
                let answer = |dialect, head, start| {
                    Step::Is(Incoming::Answer { req, dialect, head, start, len: n - head })
                };
                // Nobody answers a xorb request in the chunk layout, and it would give nothing that can be proven.
                if asked.dialect != Dialect::Range && word == n - 9 {
                    return answer(Dialect::Chunk, 9, 0);
                }
                if n >= 13 {
                    let Ok((_, len)) = word_of(rest) else { return Step::Need(13) };
                    if len == n - 13 {
                        return answer(Dialect::Range, 13, word);
                    }
                }
            }
            if let Some(step) = naked(seen, n, pending) {
                return step;
            }
            if n >= 37 {
                let Ok((rest, hash)) = fields::hash(fields) else { return Step::Need(33) };
                if let Some(by_hash) = pending.by_hash(&hash) {
                    let Ok((_, len)) = word_of(rest) else { return Step::Need(37) };
                    let req = by_hash.req;
                    return Step::Is(if len == n - 37 {
                        Incoming::Answer { req, dialect: Dialect::Doc, head: 37, start: 0, len }
                    } else {
                        Incoming::BadLength { req }
                    });
                }
            }
            return Step::Is(match asked {
                Some(asked) => Incoming::BadLength { req: asked.req },
                None => Incoming::Unsolicited { req },
            });
        }
        (NOT_FOUND, 5) => {
            let Ok((_, req)) = word_of(fields) else { return Step::Need(n) };
            if let Some(Pending { req, .. }) = pending.by_id(req) {
                return Step::Is(Incoming::NotFound { req, dialect: Dialect::Chunk });
            }
        }
        (NOT_FOUND, 33) => {
            let Ok((_, hash)) = fields::hash(fields) else { return Step::Need(n) };
            if let Some(Pending { req, .. }) = pending.by_hash(&hash) {
                return Step::Is(Incoming::NotFound { req, dialect: Dialect::Doc });
            }
        }
        (NOT_FOUND, 37) => {
            // A naked answer of one byte has this length too, and its head is shorter: never ask for more than that first.
            if let Some(step) = naked(seen, n, pending) {
                return step;
            }
            let Ok((_, (req, hash))) = id_and_hash(fields) else { return Step::Need(n) };
            if let Some(Pending { req, dialect, .. }) = pending.by_id(req).filter(|asked| asked.hash == hash)
            {
                return Step::Is(Incoming::NotFound { req, dialect });
            }
        }
        (ERROR, 9..) => {
            let Ok((rest, (req, code))) = id_and_word(fields) else { return Step::Need(9) };
            let (asked, head, code, text) = if pending.knows(req) {
                (Some(req), 9, code, rest)
            } else if n >= 37 {
                if let Some(step) = naked(seen, n, pending) {
                    return step;
                }
                let Ok((rest, (hash, code))) = hash_and_word(fields) else { return Step::Need(37) };
                (pending.by_hash(&hash).map(|asked| asked.req), 37, code, rest)
            } else {
                (None, n, 0, rest)
            };
            if let Some(req) = asked {
                let bytes = (n - head).min(ERROR_TEXT_BYTES_MAX);
                let text: Parsed<'_, &[u8]> = take(bytes)(text);
                let Ok((_, text)) = text else { return Step::Need(head + bytes) };
                return Step::Is(Incoming::Error { req, code, text });
            }
        }
        _ => {}
    }
    naked(seen, n, pending).unwrap_or(Step::Is(Incoming::Unknown))
}

/// The type byte.
#[inline(always)]
fn kind(seen: &[u8]) -> Parsed<'_, u8> {
    byte(seen)
}

/// len 4, or req 4
#[inline(always)]
fn word_of(fields: &[u8]) -> Parsed<'_, u32> {
    be_u32(fields)
}

/// req 4, then len 4, start 4 or code 4
#[inline(always)]
fn id_and_word(fields: &[u8]) -> Parsed<'_, (u32, u32)> {
    (be_u32, be_u32).parse(fields)
}

/// req 4, hash 32
#[inline(always)]
fn id_and_hash(fields: &[u8]) -> Parsed<'_, (u32, Hash)> {
    (be_u32, fields::hash).parse(fields)
}

/// hash 32, then len 4 or code 4
#[inline(always)]
fn hash_and_word(fields: &[u8]) -> Parsed<'_, (Hash, u32)> {
    (fields::hash, be_u32).parse(fields)
}

/// The three requests of the table, told apart by the length of the message.
fn request(fields: &[u8], n: u32) -> Parsed<'_, Incoming<'_>> {
    let chunk = |req, hash, dialect| Incoming::ChunkRequest { req, hash, dialect };
    match n {
        33 => fields::hash.map(|hash| chunk(0, hash, Dialect::Doc)).parse(fields),
        37 => id_and_hash.map(|(req, hash)| chunk(req, hash, Dialect::Chunk)).parse(fields),
        _ => (be_u32, fields::hash, be_u32, be_u32)
            .map(|(req, xorb, start, end)| Incoming::XorbRequest { req, xorb, start, end })
            .parse(fields),
    }
}

/// Answers without a type byte: only if the first 32 bytes are a pending hash.
fn naked<'a>(seen: &'a [u8], n: u32, pending: &impl PendingTable) -> Option<Step<'a>> {
    if n < 32 {
        return None;
    }
    let Ok((rest, hash)) = fields::hash(seen) else { return Some(Step::Need(32)) };
    let req = pending.by_hash(&hash)?.req;
    if n == 32 {
        return Some(Step::Is(Incoming::NotFound { req, dialect: Dialect::Doc }));
    }
    if n < 36 {
        return None;
    }
    let Ok((_, word)) = word_of(rest) else { return Some(Step::Need(36)) };
    Some(Step::Is(if word == n - 36 {
        Incoming::Answer { req, dialect: Dialect::Doc, head: 36, start: 0, len: n - 36 }
    } else {
        Incoming::Error { req, code: word, text: &[] }
    }))
}

/// The second reading of a chunk answer that failed its proof: if the payload begins with the length of its own rest,
/// the message was perhaps a [`Dialect::Range`] answer with start = len + 4, and this rest is its data.
#[must_use]
pub fn other_reading(payload: &[u8]) -> Option<&[u8]> {
    let (rest, len) = word_of(payload).ok()?;
    (u32::try_from(rest.len()) == Ok(len)).then_some(rest)
}

/// A request for one chunk, framed. [`Dialect::Range`] cannot ask for a chunk and is written as [`Dialect::Chunk`].
#[must_use]
pub fn chunk_request(ext_id: u8, dialect: Dialect, req: u32, hash: &Hash) -> Head {
    match dialect {
        Dialect::Doc => Writer::extended(ext_id, 33).u8(REQUEST).bytes(hash.as_bytes()).done(),
        Dialect::Chunk | Dialect::Range => {
            Writer::extended(ext_id, 37).u8(REQUEST).u32(req).bytes(hash.as_bytes()).done()
        }
    }
}

/// A request for chunks `start..end` of a xorb, framed.
#[must_use]
pub fn xorb_request(ext_id: u8, req: u32, xorb: &Hash, start: u32, end: u32) -> Head {
    Writer::extended(ext_id, 45).u8(REQUEST).u32(req).bytes(xorb.as_bytes()).u32(start).u32(end).done()
}

/// Frame and head of an answer with `len` payload bytes, followed by the first bytes of its payload.
///
/// # Panics
/// If the frame would be longer than 4 GiB, or `prefix` longer than 21 bytes.
#[must_use]
pub fn answer_head(
    ext_id: u8,
    dialect: Dialect,
    req: u32,
    hash: &Hash,
    start: u32,
    len: u32,
    prefix: &[u8],
) -> Head {
    let message_len = (answer_head_bytes(dialect) - EXTENDED_HEAD_BYTES as u32)
        .checked_add(len)
        .filter(|&n| n < u32::MAX - 2)
        .expect("an answer fits its frame");
    let head = Writer::extended(ext_id, message_len).u8(RESPONSE);
    let head = match dialect {
        Dialect::Chunk => head.u32(req),
        Dialect::Range => head.u32(req).u32(start),
        Dialect::Doc => head.bytes(hash.as_bytes()),
    };
    head.u32(len).bytes(prefix).done()
}

/// A not-found, framed.
#[must_use]
pub fn not_found(ext_id: u8, dialect: Dialect, req: u32, hash: &Hash) -> Head {
    match dialect {
        Dialect::Chunk => Writer::extended(ext_id, 5).u8(NOT_FOUND).u32(req).done(),
        Dialect::Range => Writer::extended(ext_id, 37).u8(NOT_FOUND).u32(req).bytes(hash.as_bytes()).done(),
        Dialect::Doc => Writer::extended(ext_id, 33).u8(NOT_FOUND).bytes(hash.as_bytes()).done(),
    }
}

/// An error, framed.
#[must_use]
pub fn error(ext_id: u8, dialect: Dialect, req: u32, hash: &Hash, code: u32, text: &[u8]) -> Head {
    let text = &text[..text.len().min(ERROR_TEXT_BYTES_MAX as usize)];
    let mut message = Vec::with_capacity(LENGTH_BYTES + 40 + text.len());
    let head = if dialect == Dialect::Doc { 37 } else { 9 };
    #[expect(clippy::cast_possible_truncation, reason = "cut to 1 KiB above")]
    let fixed = Writer::extended(ext_id, head + text.len() as u32).u8(ERROR);
    let fixed = if dialect == Dialect::Doc { fixed.bytes(hash.as_bytes()) } else { fixed.u32(req) };
    message.extend_from_slice(fixed.u32(code).done().as_bytes());
    message.extend_from_slice(text);
    Head::new(&message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    impl PendingTable for Vec<Pending> {
        fn by_id(&self, req: u32) -> Option<Pending> {
            self.iter().find(|p| p.req == req).copied()
        }

        fn by_hash(&self, hash: &Hash) -> Option<Pending> {
            self.iter().find(|p| p.hash == *hash).copied()
        }
    }

    const H: Hash = Hash::from_bytes([0xaa; 32]);

    /// Message bytes (after the extension id) of a framed head.
    fn message(head: &Head, payload: &[u8]) -> Vec<u8> {
        [&head.as_bytes()[6..], payload].concat()
    }

    /// Shows only as many bytes as were asked for, so that a stage that reads ahead shows.
    fn staged<'a>(message: &'a [u8], pending: &Vec<Pending>) -> (usize, Incoming<'a>) {
        let n = u32::try_from(message.len()).unwrap();
        let mut seen = 0;
        loop {
            match classify(&message[..seen], n, pending) {
                Step::Need(k) => {
                    assert!(k as usize > seen && k <= n, "asks for progress, within the message");
                    seen = k as usize;
                }
                Step::Is(incoming) => return (seen, incoming),
            }
        }
    }

    #[test]
    fn the_crafted_answer_is_read_as_what_was_asked_for() {
        let crafted = message(&answer_head(1, Dialect::Range, 7, &H, 9, 5, b""), b"hello");
        let asked = |dialect| vec![Pending { req: 7, dialect, hash: H }];
        assert_eq!(
            staged(&crafted, &asked(Dialect::Chunk)),
            (9, Incoming::Answer { req: 7, dialect: Dialect::Chunk, head: 9, start: 0, len: 9 })
        );
        assert_eq!(other_reading(&crafted[9..]), Some(&b"hello"[..]));
        assert_eq!(other_reading(b"\0\0\0\x05hell"), None);
        assert_eq!(
            staged(&crafted, &asked(Dialect::Range)),
            (13, Incoming::Answer { req: 7, dialect: Dialect::Range, head: 13, start: 9, len: 5 })
        );
    }

    #[test]
    fn a_hash_that_looks_like_an_answer_does_not_hide_a_naked_one() {
        let hash = Hash::from_bytes([2; 32]);
        let pending = vec![Pending { req: 1, dialect: Dialect::Chunk, hash }];
        let naked = [&[2; 32][..], &[0, 0, 0, 3], b"abc"].concat();
        let (seen, what) = staged(&naked, &pending);
        assert_eq!(what, Incoming::Answer { req: 1, dialect: Dialect::Doc, head: 36, start: 0, len: 3 });
        assert!(seen <= 36);
        assert_eq!(staged(&[2; 32], &pending).1, Incoming::NotFound { req: 1, dialect: Dialect::Doc });
    }

    proptest! {
        /// Like the self-test of the reference classifier: random messages in every layout, none read wrongly.
        #[test]
        fn every_answer_is_read_in_its_own_layout_without_touching_its_payload(
            dialect in prop_oneof![Just(Dialect::Chunk), Just(Dialect::Range), Just(Dialect::Doc)],
            req: u32, hash: [u8; 32], start: u32, code: u32,
            payload in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..3,
        ) {
            let hash = Hash::from_bytes(hash);
            let pending = vec![Pending { req, dialect, hash }];
            let len = u32::try_from(payload.len()).unwrap();
            match kind {
                0 => {
                    let head = answer_head(1, dialect, req, &hash, start, len, b"");
                    prop_assert_eq!(head.as_bytes().len(), answer_head_bytes(dialect) as usize);
                    let message = message(&head, &payload);
                    let (seen, what) = staged(&message, &pending);
                    let head = answer_head_bytes(dialect) - 6;
                    let start = if dialect == Dialect::Range { start } else { 0 };
                    prop_assert_eq!(what, Incoming::Answer { req, dialect, head, start, len });
                    prop_assert_eq!(seen, head as usize);
                }
                1 => {
                    let message = message(&not_found(1, dialect, req, &hash), b"");
                    let (_, what) = staged(&message, &pending);
                    prop_assert_eq!(what, Incoming::NotFound { req, dialect });
                }
                _ => {
                    let message = message(&error(1, dialect, req, &hash, code, &payload), b"");
                    let (_, what) = staged(&message, &pending);
                    prop_assert_eq!(what, Incoming::Error { req, code, text: &payload });
                }
            }
        }

        #[test]
        fn any_message_is_classified_in_stages_that_end(
            bytes in proptest::collection::vec(any::<u8>(), 1..80), kind in 0u8..6, known: bool, req: u32,
        ) {
            let mut bytes = bytes;
            bytes[0] = kind;
            let req = if known { fields::first(be_u32, &bytes[1..]).unwrap_or(req) } else { req };
            let pending = vec![Pending { req, dialect: Dialect::Chunk, hash: H }];
            let (seen, what) = staged(&bytes, &pending);
            if let Incoming::Answer { head, len, .. } = what {
                prop_assert_eq!(head as usize, seen);
                prop_assert_eq!((head + len) as usize, bytes.len());
            }
        }
    }
}
