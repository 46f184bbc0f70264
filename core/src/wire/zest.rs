//! Our own extension, `zest` in the `m` of BEP 10: what BEP XET lacks. Sent only to remotes that advertise it.
//!
//! Bytes after the extension id; the type byte counts:
//!
//! | type | message | fields after the type | bytes |
//! |---|---|---|---|
//! | 01 | manifest request | req 4, file hash 32, first 4, count 4 | 45 |
//! | 02 | manifest part | req 4, file size 8, total 4, first 4, count 4, then count × 36 bytes of records | 25 + 36 × count |
//! | 03 | manifest none | req 4 | 5 |
//! | 04 | interest | file hash 32 | 33 |
//! | 05 | uninterest | file hash 32 | 33 |
//! | 06 | have | file hash 32, total 4, runs 2, then runs × (skip LEB128, take LEB128) | 39 + n |
//! | 07 | have more | file key 8, runs 2, then runs × (skip LEB128, take LEB128) | 11 + n |
//! | 08 | slot | state 1 (0 closed, 1 open), wait ms 2 | 4 |
//! | 09 | cancel | req 4 | 5 |
//! | 0A | claim | file key 8, count 2, then count × 14 bytes of claims | 11 + 14 × count |
//! | 0B | streams | file key 8, first chunk 4 | 13 |
//! | 0C | follow | file key 8, first chunk 4, state 1 (0 end, 1 begin) | 14 |
//! | 0D | told | file key 8, first chunk 4, at 4, count 2, then count × 36 bytes of records | 19 + 36 × count |
//! | 0E | plain request | req 4, kind 1 (1 git blob id, 2 SHA-256), id 32, file size 4, offset 4, wait 1 (0 no, 1 yes) | 47 |
//! | 0F | plain part | req 4, then n bytes of the file | 5 + n |
//! | 10 | plain none | req 4 | 5 |
//!
//! A file key is the first 8 bytes of the file hash ([`FileKey`]); it keeps the most frequent messages short. A manifest
//! record, and one of `told`, is a chunk hash 32 and its length 4; a claim is first chunk 4, score 8, beat 2. A run of `have` and `have more`
//! skips that many chunks after the end of the run before and then takes at least one; only the first run may skip none.
//! An id of 20 bytes is followed by 12 zeros. So a node that has all sends one run. In `have more`, which names no total, runs end at 2³² − 1 at most. Unknown types
//! are ignored; a known type of wrong length is a fault.

pub use super::zest_error::ZestError;

use super::frame::{EXTENDED, Head, Writer};
use super::runs;
use crate::ids::FileKey;
use alloc::string::String;
use alloc::vec::Vec;
use nom::Parser as _;
use nom::multi::count;
use zest_xet::fields::{Parsed, array, be_u16, be_u32, be_u64, byte, hash, whole};
use zest_xet::{ChunkRef, Hash};

/// Most records in one manifest part: 14,336 (504 KiB). Ours; 0.9 GB of a file at 64 KiB a chunk, so a 5 GB file takes
/// six round trips that can overlap.
pub const MANIFEST_PART_RECORDS_MAX: u32 = 14_336;

/// Bytes of a manifest record: 36 (hash, length).
pub const MANIFEST_RECORD_BYTES: u32 = 36;

/// Bytes of a manifest part before its records, type byte included: 25.
pub const MANIFEST_PART_HEAD_BYTES: u32 = 25;

/// Longest availability message (06, 07), type byte included: 16 KiB. Ours.
pub const AVAILABILITY_BYTES_MAX: usize = 16 << 10;

/// Most claims in one message: 256. Ours; a node has a few dozen units in view at a time.
pub const CLAIMS_MAX: usize = 256;

/// Bytes of a claim: 14 (first chunk, score, beat).
pub const CLAIM_BYTES: usize = 14;

/// Most records in one `told`: 256. Ours; they go out every few chunks, so that a message hardly ever holds so many.
pub const TOLD_RECORDS_MAX: usize = 256;

/// Bytes of a small file in one `plain part`, but for the last part of a file: 131,072, as many as the longest chunk has. Ours.
pub const PLAIN_PART_BYTES: u32 = 128 << 10;

/// Largest file that is given whole, by its git blob id or SHA-256: 1 MiB. Ours; what is larger and not in Xet is rare.
pub const PLAIN_BYTES_MAX: u32 = 1 << 20;

/// Bytes of a plain part before those of the file, type byte included: 5.
pub const PLAIN_PART_HEAD_BYTES: u32 = 5;

/// Bytes of `have` before its runs, type byte included: 39.
const HAVE_HEAD_BYTES: usize = 39;

/// Bytes of `have more` before its runs and of `claim` before its claims, type byte included: 11.
const LIST_HEAD_BYTES: usize = 11;

/// Longest claim message, type byte included: 3,595 bytes.
const CLAIM_MESSAGE_BYTES_MAX: usize = LIST_HEAD_BYTES + CLAIMS_MAX * CLAIM_BYTES;

/// Bytes of `told` before its records, type byte included: 19.
const TOLD_HEAD_BYTES: usize = 19;

/// Longest `told`, type byte included: 9,235 bytes.
const TOLD_BYTES_MAX: usize = TOLD_HEAD_BYTES + TOLD_RECORDS_MAX * MANIFEST_RECORD_BYTES as usize;

const MANIFEST_REQUEST: u8 = 1;
const MANIFEST_PART: u8 = 2;
const MANIFEST_NONE: u8 = 3;
const INTEREST: u8 = 4;
const UNINTEREST: u8 = 5;
const HAVE: u8 = 6;
const HAVE_MORE: u8 = 7;
const SLOT: u8 = 8;
const CANCEL: u8 = 9;
const CLAIM: u8 = 10;
const STREAMS: u8 = 11;
const FOLLOW: u8 = 12;
const TOLD: u8 = 13;
const PLAIN_REQUEST: u8 = 14;
const PLAIN_PART: u8 = 15;
const PLAIN_NONE: u8 = 16;

/// A node's word that it fetches a part of a file from the origin, so that the others need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// First chunk of the part.
    pub first: u32,
    /// Rendezvous score of the claiming node for that part: the higher one stands.
    pub score: u64,
    /// Counts up as long as the claim stands; [`Claim::RELEASED`] takes it back.
    pub beat: u16,
}

impl Claim {
    /// The beat of a claim that is taken back.
    pub const RELEASED: u16 = u16::MAX;
}

/// Names a whole file by what proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlainKey {
    /// [`PlainKey::GIT_BLOB`] or [`PlainKey::SHA256`]; of another kind nobody has anything.
    pub kind: u8,
    /// The id; one of 20 bytes is followed by zeros.
    pub id: Hash,
}

impl PlainKey {
    /// Kind: the SHA-1 of `blob <size>`, a zero byte and the file, as git names it.
    pub const GIT_BLOB: u8 = 1;
    /// Kind: the SHA-256 of the file.
    pub const SHA256: u8 = 2;

    /// A file as git names it.
    #[must_use]
    pub fn git_blob(id: &[u8; 20]) -> Self {
        let mut padded = [0; 32];
        padded[..20].copy_from_slice(id);
        Self { kind: Self::GIT_BLOB, id: Hash::from_bytes(padded) }
    }

    /// A file by its SHA-256.
    #[must_use]
    pub fn sha256(id: [u8; 32]) -> Self {
        Self { kind: Self::SHA256, id: Hash::from_bytes(id) }
    }

    /// What the file is called in a cache; none of which there can be none.
    #[must_use]
    pub fn etag(&self) -> Option<String> {
        let mut hex = self.id.to_plain_hex();
        match self.kind {
            Self::GIT_BLOB if self.id.as_bytes()[20..].iter().all(|byte| *byte == 0) => hex.truncate(40),
            Self::SHA256 => {}
            _ => return None,
        }
        Some(hex)
    }
}

/// Bytes of the part of a file of `size` bytes that begins at `offset`; none if there can be no such part.
#[must_use]
pub fn plain_part_len(size: u32, offset: u32) -> Option<u32> {
    let fits = size <= PLAIN_BYTES_MAX && offset < size && offset.is_multiple_of(PLAIN_PART_BYTES);
    fits.then(|| (size - offset).min(PLAIN_PART_BYTES))
}

/// What a part of a chunk list says of itself, before its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestPart {
    /// Bytes of the file or xorb that the list describes, unpacked.
    pub file_size: u64,
    /// Records in the whole list.
    pub total: u32,
    /// First record of the part.
    pub first: u32,
    /// Records in the part.
    pub count: u32,
}

/// A message, as it is written and read. Links carry it both ways as it is ([`crate::link::Message::Zest`],
/// [`crate::link::Outgoing::Zest`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ZestMessage {
    /// 01: the sender wants records of a chunk list, of a file or a xorb.
    ManifestRequest {
        /// Comes back in the answer.
        req: u32,
        /// File or xorb hash.
        file: Hash,
        /// First record.
        first: u32,
        /// Records wanted, at least one; one part answers, with at most [`MANIFEST_PART_RECORDS_MAX`].
        count: u32,
    },
    /// 03: the sender lacks that list.
    ManifestNone {
        /// Of the request.
        req: u32,
    },
    /// 04: the sender wants to know which chunks of the file the other has, now and as they come.
    Interest {
        /// File hash.
        file: Hash,
    },
    /// 05: no longer.
    Uninterest {
        /// File hash.
        file: Hash,
    },
    /// 06: all the sender has of a file.
    Have {
        /// File hash.
        file: Hash,
        /// Chunks in the file, as the sender says.
        total: u32,
        /// (first chunk, chunks), within `total`, in order and not overlapping; as read they do not touch either. What does not
        /// fit [`AVAILABILITY_BYTES_MAX`] is not written.
        runs: Vec<(u32, u32)>,
    },
    /// 07: chunks the sender has on top of what it said before.
    HaveMore {
        /// Key of the file.
        file: FileKey,
        /// As in `have`; `first + count` does not overflow. Written as so many messages as are needed, none for no runs.
        runs: Vec<(u32, u32)>,
    },
    /// 08: whether the sender answers the other now.
    Slot {
        /// The other holds an upload slot.
        open: bool,
        /// How long a request that is sent now waits for its answer, in milliseconds, as far as the sender can tell; 65,535
        /// means that or longer.
        wait_ms: u16,
    },
    /// 09: the sender no longer wants the answer to that request, of either extension.
    Cancel {
        /// Of the request.
        req: u32,
    },
    /// 0A: who of the swarm fetches which part of a file from the origin, as far as the sender heard.
    Claim {
        /// Key of the file.
        file: FileKey,
        /// In any order; [`CLAIMS_MAX`] in a message, none is written for no claims.
        claims: Vec<Claim>,
    },
    /// 0B: the sender streams this block of a file from the origin, and gives what it has of it though nothing of it is proven.
    Streams {
        /// Key of the file.
        file: FileKey,
        /// First chunk of the block in the file.
        first: u32,
    },
    /// 0C: the sender wants to be told the chunks of a block that the other streams, or no longer does.
    Follow {
        /// Key of the file.
        file: FileKey,
        /// First chunk of the block in the file.
        first: u32,
        /// From now on, or no longer.
        on: bool,
    },
    /// 0D: the next chunks of a block that the sender streams, unproven.
    Told {
        /// Key of the file.
        file: FileKey,
        /// First chunk of the block in the file.
        first: u32,
        /// Place in the block's list of the first record.
        at: u32,
        /// [`TOLD_RECORDS_MAX`] in a message. None: all that was told is taken back.
        records: Vec<ChunkRef>,
    },
    /// 0E: the sender wants a part of a small file.
    PlainRequest {
        /// Comes back in the answer.
        req: u32,
        /// Which file.
        key: PlainKey,
        /// Bytes of it.
        size: u32,
        /// First byte of the part; how long it is follows from this ([`plain_part_len`]).
        offset: u32,
        /// Who is getting the file itself may answer when it is there.
        wait: bool,
    },
    /// 10: the sender does not give that file, or not now.
    PlainNone {
        /// Of the request.
        req: u32,
    },
}

/// What a frame of ours holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A whole message.
    Message(ZestMessage),
    /// 02, its head; the records follow.
    ManifestPart {
        /// Of the request it answers.
        req: u32,
        /// What it says of itself.
        part: ManifestPart,
    },
    /// 0F, its head; bytes of the file follow.
    PlainPart {
        /// Of the request it answers.
        req: u32,
    },
    /// A type we do not know.
    Unknown,
}

/// How many first bytes of a message of `n` bytes [`parse`] needs, judged by its type byte: the whole message, but for a
/// part only its head, and for unknown types one byte.
///
/// # Errors
/// [`ZestError::Length`] and [`ZestError::TooLong`], before anything more is read.
pub fn bytes_needed(kind: u8, n: u32) -> Result<u32, ZestError> {
    let mut max = AVAILABILITY_BYTES_MAX as u32;
    let (what, fits) = match kind {
        MANIFEST_REQUEST => ("manifest request", n == 45),
        MANIFEST_PART => {
            let records = n.checked_sub(MANIFEST_PART_HEAD_BYTES);
            let fits = records.is_some_and(|bytes| bytes.is_multiple_of(MANIFEST_RECORD_BYTES));
            return if fits { Ok(MANIFEST_PART_HEAD_BYTES) } else { Err(ZestError::Length("manifest part")) };
        }
        MANIFEST_NONE => ("manifest none", n == 5),
        INTEREST => ("interest", n == 33),
        UNINTEREST => ("uninterest", n == 33),
        HAVE => ("have", n >= HAVE_HEAD_BYTES as u32),
        HAVE_MORE => ("have more", n >= LIST_HEAD_BYTES as u32),
        SLOT => ("slot", n == 4),
        CANCEL => ("cancel", n == 5),
        CLAIM => {
            max = CLAIM_MESSAGE_BYTES_MAX as u32;
            let claims = n.checked_sub(LIST_HEAD_BYTES as u32);
            ("claim", claims.is_some_and(|bytes| bytes.is_multiple_of(CLAIM_BYTES as u32)))
        }
        STREAMS => ("streams", n == 13),
        FOLLOW => ("follow", n == 14),
        TOLD => {
            max = TOLD_BYTES_MAX as u32;
            let records = n.checked_sub(TOLD_HEAD_BYTES as u32);
            ("told", records.is_some_and(|bytes| bytes.is_multiple_of(MANIFEST_RECORD_BYTES)))
        }
        PLAIN_REQUEST => ("plain request", n == 47),
        PLAIN_PART => {
            let fits = n >= PLAIN_PART_HEAD_BYTES;
            return if fits { Ok(PLAIN_PART_HEAD_BYTES) } else { Err(ZestError::Length("plain part")) };
        }
        PLAIN_NONE => ("plain none", n == 5),
        _ => return Ok(n.min(1)),
    };
    match fits {
        false => Err(ZestError::Length(what)),
        true if n > max => Err(ZestError::TooLong { what, max }),
        true => Ok(n),
    }
}

/// Reads what is `n` bytes long from its first [`bytes_needed`] bytes.
///
/// # Errors
/// [`ZestError`], also everything that [`bytes_needed`] refuses.
pub fn parse(seen: &[u8], n: u32) -> Result<Incoming, ZestError> {
    let kind = *seen.first().ok_or(ZestError::Length("empty message"))?;
    let needed = bytes_needed(kind, n)? as usize;
    let seen = seen.get(..needed).ok_or(ZestError::Length("cut message"))?;
    let (fields, _) = byte(seen).map_err(|_| ZestError::Length("empty message"))?;
    let message = match kind {
        MANIFEST_REQUEST => whole(read_manifest_request, fields),
        MANIFEST_PART => {
            let part = whole(read_manifest_part, fields).ok_or(ZestError::Length("manifest part"))?;
            return Ok(Incoming::ManifestPart { req: part.0, part: part.1 });
        }
        MANIFEST_NONE => whole(be_u32.map(|req| ZestMessage::ManifestNone { req }), fields),
        INTEREST => whole(hash.map(|file| ZestMessage::Interest { file }), fields),
        UNINTEREST => whole(hash.map(|file| ZestMessage::Uninterest { file }), fields),
        HAVE => {
            let have = read_have(fields);
            let (runs, (file, total, count)) = have.map_err(|_| ZestError::Length("have"))?;
            Some(ZestMessage::Have { file, total, runs: runs::parse(runs, count, total, "have")? })
        }
        HAVE_MORE => {
            let (runs, (file, count)) = read_list(fields).map_err(|_| ZestError::Length("have more"))?;
            Some(ZestMessage::HaveMore { file, runs: runs::parse(runs, count, u32::MAX, "have more")? })
        }
        SLOT => match whole((byte, be_u16), fields) {
            Some((state @ 2.., _)) => return Err(ZestError::SlotState(state)),
            fields => fields.map(|(state, wait_ms)| ZestMessage::Slot { open: state == 1, wait_ms }),
        },
        CANCEL => whole(be_u32.map(|req| ZestMessage::Cancel { req }), fields),
        CLAIM => Some(whole(read_claims, fields).ok_or(ZestError::Length("claim"))?),
        STREAMS => whole((array.map(FileKey), be_u32), fields)
            .map(|(file, first)| ZestMessage::Streams { file, first }),
        FOLLOW => match whole((array.map(FileKey), be_u32, byte), fields) {
            Some((.., state @ 2..)) => return Err(ZestError::FollowState(state)),
            fields => fields.map(|(file, first, on)| ZestMessage::Follow { file, first, on: on == 1 }),
        },
        TOLD => Some(whole(read_told, fields).ok_or(ZestError::Length("told"))?),
        PLAIN_REQUEST => match whole((be_u32, byte, hash, be_u32, be_u32, byte), fields) {
            Some((.., wait @ 2..)) => return Err(ZestError::WaitState(wait)),
            fields => fields.map(|(req, kind, id, size, offset, wait)| ZestMessage::PlainRequest {
                req,
                key: PlainKey { kind, id },
                size,
                offset,
                wait: wait == 1,
            }),
        },
        PLAIN_PART => {
            let req = whole(be_u32, fields).ok_or(ZestError::Length("plain part"))?;
            return Ok(Incoming::PlainPart { req });
        }
        PLAIN_NONE => whole(be_u32.map(|req| ZestMessage::PlainNone { req }), fields),
        _ => return Ok(Incoming::Unknown),
    };
    message.map(Incoming::Message).ok_or(ZestError::Length("cut message"))
}

/// 01: req 4, file hash 32, first 4, count 4
fn read_manifest_request(fields: &[u8]) -> Parsed<'_, ZestMessage> {
    let fields = (be_u32, hash, be_u32, be_u32).parse(fields);
    fields.map(|(rest, (req, file, first, count))| {
        (rest, ZestMessage::ManifestRequest { req, file, first, count })
    })
}

/// 02: req 4, file size 8, total 4, first 4, count 4
fn read_manifest_part(fields: &[u8]) -> Parsed<'_, (u32, ManifestPart)> {
    let fields = (be_u32, be_u64, be_u32, be_u32, be_u32).parse(fields);
    fields.map(|(rest, (req, file_size, total, first, count))| {
        (rest, (req, ManifestPart { file_size, total, first, count }))
    })
}

/// 06: file hash 32, total 4, runs 2
fn read_have(fields: &[u8]) -> Parsed<'_, (Hash, u32, u16)> {
    (hash, be_u32, be_u16).parse(fields)
}

/// 07 and 0A: file key 8, runs or claims 2
fn read_list(fields: &[u8]) -> Parsed<'_, (FileKey, u16)> {
    (array.map(FileKey), be_u16).parse(fields)
}

/// 0A: as many claims as it says, first chunk 4, score 8, beat 2 each
fn read_claims(fields: &[u8]) -> Parsed<'_, ZestMessage> {
    let (rest, (file, claims)) = read_list(fields)?;
    let claims = usize::from(claims);
    if rest.len() != claims * CLAIM_BYTES {
        return Err(nom::Err::Error(()));
    }
    let claim = (be_u32, be_u64, be_u16).map(|(first, score, beat)| Claim { first, score, beat });
    let (rest, claims) = count(claim, claims).parse(rest)?;
    Ok((rest, ZestMessage::Claim { file, claims }))
}

/// 0D: file key 8, first chunk 4, at 4, then as many records as it says, chunk hash 32, length 4 each
fn read_told(fields: &[u8]) -> Parsed<'_, ZestMessage> {
    let (rest, (file, first, at, records)) = (array.map(FileKey), be_u32, be_u32, be_u16).parse(fields)?;
    let records = usize::from(records);
    if rest.len() != records * MANIFEST_RECORD_BYTES as usize {
        return Err(nom::Err::Error(()));
    }
    let record = (hash, be_u32).map(|(hash, len)| ChunkRef { hash, len });
    let (rest, records) = count(record, records).parse(rest)?;
    Ok((rest, ZestMessage::Told { file, first, at, records }))
}

/// Frames a message and hands out what is to be sent, in order: as many frames as its list needs.
///
/// # Panics
/// If its runs are not what [`have`] and [`have_more`] ask for.
pub fn write(ext_id: u8, message: &ZestMessage, mut out: impl FnMut(Head)) {
    out(match *message {
        ZestMessage::ManifestRequest { req, ref file, first, count } => {
            manifest_request(ext_id, req, file, first, count)
        }
        ZestMessage::ManifestNone { req } => manifest_none(ext_id, req),
        ZestMessage::Interest { ref file } => interest(ext_id, file),
        ZestMessage::Uninterest { ref file } => uninterest(ext_id, file),
        ZestMessage::Have { ref file, total, ref runs } => have(ext_id, file, total, runs),
        ZestMessage::HaveMore { file, ref runs } => return have_more(ext_id, file, runs).for_each(out),
        ZestMessage::Slot { open, wait_ms } => slot(ext_id, open, wait_ms),
        ZestMessage::Cancel { req } => cancel(ext_id, req),
        ZestMessage::Claim { file, ref claims } => return claim(ext_id, file, claims).for_each(out),
        ZestMessage::Streams { file, first } => streams(ext_id, file, first),
        ZestMessage::Follow { file, first, on } => follow(ext_id, file, first, on),
        ZestMessage::Told { file, first, at, ref records } => {
            return told(ext_id, file, first, at, records).for_each(out);
        }
        ZestMessage::PlainRequest { req, ref key, size, offset, wait } => {
            plain_request(ext_id, req, key, size, offset, wait)
        }
        ZestMessage::PlainNone { req } => plain_none(ext_id, req),
    });
}

/// 01, framed.
#[must_use]
pub fn manifest_request(ext_id: u8, req: u32, file: &Hash, first: u32, count: u32) -> Head {
    Writer::extended(ext_id, 45)
        .u8(MANIFEST_REQUEST)
        .u32(req)
        .bytes(file.as_bytes())
        .u32(first)
        .u32(count)
        .done()
}

/// 02, frame and head; `count` × 36 bytes follow.
///
/// # Panics
/// If `count` is 0 or above [`MANIFEST_PART_RECORDS_MAX`].
#[must_use]
pub fn manifest_part_head(ext_id: u8, req: u32, part: ManifestPart) -> Head {
    let ManifestPart { file_size, total, first, count } = part;
    assert!((1..=MANIFEST_PART_RECORDS_MAX).contains(&count), "a manifest part of {count} records");
    Writer::extended(ext_id, MANIFEST_PART_HEAD_BYTES + count * MANIFEST_RECORD_BYTES)
        .u8(MANIFEST_PART)
        .u32(req)
        .u64(file_size)
        .u32(total)
        .u32(first)
        .u32(count)
        .done()
}

/// 03, framed.
#[must_use]
pub fn manifest_none(ext_id: u8, req: u32) -> Head {
    Writer::extended(ext_id, 5).u8(MANIFEST_NONE).u32(req).done()
}

/// 04, framed.
#[must_use]
pub fn interest(ext_id: u8, file: &Hash) -> Head {
    Writer::extended(ext_id, 33).u8(INTEREST).bytes(file.as_bytes()).done()
}

/// 05, framed.
#[must_use]
pub fn uninterest(ext_id: u8, file: &Hash) -> Head {
    Writer::extended(ext_id, 33).u8(UNINTEREST).bytes(file.as_bytes()).done()
}

/// 06, framed. Runs that touch are joined; those that do not fit [`AVAILABILITY_BYTES_MAX`] are left out, so the remote
/// knows of less than there is, never of more.
///
/// # Panics
/// If a run is empty, exceeds `total` or begins before the end of the one before.
#[must_use]
pub fn have(ext_id: u8, file: &Hash, total: u32, runs: &[(u32, u32)]) -> Head {
    let mut written = runs::Written::new(AVAILABILITY_BYTES_MAX - HAVE_HEAD_BYTES);
    for (first, take) in runs::joined(runs, total) {
        if !written.push(first, take) {
            break;
        }
    }
    framed(ext_id, HAVE_HEAD_BYTES + written.bytes.len(), |out| {
        out.push(HAVE);
        out.extend_from_slice(file.as_bytes());
        out.extend_from_slice(&total.to_be_bytes());
        out.extend_from_slice(&written.count.to_be_bytes());
        out.extend_from_slice(&written.bytes);
    })
}

/// 07, framed; as many messages as the runs need, none for no runs. Runs that touch are joined.
///
/// # Panics
/// When it comes to a run that is empty, ends past 2³² − 1 or begins before the end of the one before.
pub fn have_more(ext_id: u8, file: FileKey, runs: &[(u32, u32)]) -> impl Iterator<Item = Head> {
    let mut runs = runs::joined(runs, u32::MAX).peekable();
    core::iter::from_fn(move || {
        runs.peek()?;
        let mut written = runs::Written::new(AVAILABILITY_BYTES_MAX - LIST_HEAD_BYTES);
        while runs.next_if(|&(first, take)| written.push(first, take)).is_some() {}
        assert!(written.count > 0, "a message has room for a run");
        Some(framed(ext_id, LIST_HEAD_BYTES + written.bytes.len(), |out| {
            out.push(HAVE_MORE);
            out.extend_from_slice(&file.0);
            out.extend_from_slice(&written.count.to_be_bytes());
            out.extend_from_slice(&written.bytes);
        }))
    })
}

/// 08, framed.
#[must_use]
pub fn slot(ext_id: u8, open: bool, wait_ms: u16) -> Head {
    Writer::extended(ext_id, 4).u8(SLOT).u8(open.into()).u16(wait_ms).done()
}

/// 09, framed.
#[must_use]
pub fn cancel(ext_id: u8, req: u32) -> Head {
    Writer::extended(ext_id, 5).u8(CANCEL).u32(req).done()
}

/// 0A, framed; as many messages as the claims need, [`CLAIMS_MAX`] in each, none for no claims.
pub fn claim(ext_id: u8, file: FileKey, claims: &[Claim]) -> impl Iterator<Item = Head> {
    claims.chunks(CLAIMS_MAX).map(move |claims| {
        framed(ext_id, LIST_HEAD_BYTES + claims.len() * CLAIM_BYTES, |out| {
            out.push(CLAIM);
            out.extend_from_slice(&file.0);
            out.extend_from_slice(&(claims.len() as u16).to_be_bytes());
            for claim in claims {
                out.extend_from_slice(&claim.first.to_be_bytes());
                out.extend_from_slice(&claim.score.to_be_bytes());
                out.extend_from_slice(&claim.beat.to_be_bytes());
            }
        })
    })
}

/// 0B, framed.
#[must_use]
pub fn streams(ext_id: u8, file: FileKey, first: u32) -> Head {
    Writer::extended(ext_id, 13).u8(STREAMS).bytes(&file.0).u32(first).done()
}

/// 0C, framed.
#[must_use]
pub fn follow(ext_id: u8, file: FileKey, first: u32, on: bool) -> Head {
    Writer::extended(ext_id, 14).u8(FOLLOW).bytes(&file.0).u32(first).u8(on.into()).done()
}

/// 0D, framed; as many messages as the records need, [`TOLD_RECORDS_MAX`] in each, and one for no records, which takes back all
/// that was told.
pub fn told(
    ext_id: u8,
    file: FileKey,
    first: u32,
    at: u32,
    records: &[ChunkRef],
) -> impl Iterator<Item = Head> {
    let none = records.is_empty().then_some(records);
    none.into_iter().chain(records.chunks(TOLD_RECORDS_MAX)).zip(0..).map(move |(records, nth)| {
        let bytes = TOLD_HEAD_BYTES + records.len() * MANIFEST_RECORD_BYTES as usize;
        framed(ext_id, bytes, |out| {
            out.push(TOLD);
            out.extend_from_slice(&file.0);
            out.extend_from_slice(&first.to_be_bytes());
            out.extend_from_slice(&at.saturating_add(nth * TOLD_RECORDS_MAX as u32).to_be_bytes());
            out.extend_from_slice(&(records.len() as u16).to_be_bytes());
            for record in records {
                out.extend_from_slice(record.hash.as_bytes());
                out.extend_from_slice(&record.len.to_be_bytes());
            }
        })
    })
}

/// 0E, framed.
#[must_use]
pub fn plain_request(ext_id: u8, req: u32, key: &PlainKey, size: u32, offset: u32, wait: bool) -> Head {
    Writer::extended(ext_id, 47)
        .u8(PLAIN_REQUEST)
        .u32(req)
        .u8(key.kind)
        .bytes(key.id.as_bytes())
        .u32(size)
        .u32(offset)
        .u8(wait.into())
        .done()
}

/// 0F, framed, without the `len` bytes of the file.
#[must_use]
pub fn plain_part_head(ext_id: u8, req: u32, len: u32) -> Head {
    Writer::extended(ext_id, PLAIN_PART_HEAD_BYTES + len).u8(PLAIN_PART).u32(req).done()
}

/// 10, framed.
#[must_use]
pub fn plain_none(ext_id: u8, req: u32) -> Head {
    Writer::extended(ext_id, 5).u8(PLAIN_NONE).u32(req).done()
}

fn framed(ext_id: u8, message_len: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Head {
    assert!(message_len <= AVAILABILITY_BYTES_MAX, "a message of runs, claims or records has at most 16 KiB");
    let mut out = Vec::with_capacity(6 + message_len);
    out.extend_from_slice(&(message_len as u32 + 2).to_be_bytes());
    out.extend_from_slice(&[EXTENDED, ext_id]);
    fill(&mut out);
    assert_eq!(out.len(), 6 + message_len, "the frame says its own length");
    Head::new(&out)
}

#[cfg(test)]
mod tests;
