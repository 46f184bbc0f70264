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
//!
//! A file key is the first 8 bytes of the file hash ([`FileKey`]); it keeps the most frequent messages short. A manifest
//! record, and one of `told`, is a chunk hash 32 and its length 4; a claim is first chunk 4, score 8, beat 2. A run of `have` and `have more`
//! skips that many chunks after the end of the run before and then takes at least one; only the first run may skip none.
//! So a node that has all sends one run. In `have more`, which names no total, runs end at 2³² − 1 at most. Unknown types
//! are ignored; a known type of wrong length is a fault.

use super::frame::{EXTENDED, Head, Writer};
use super::runs;
use crate::ids::FileKey;
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

/// A message, read. A part is only its head; the records follow.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table above names every field")]
pub enum ZestMessage {
    /// 01
    ManifestRequest { req: u32, file: Hash, first: u32, count: u32 },
    /// 02, its head
    ManifestPart { req: u32, file_size: u64, total: u32, first: u32, count: u32 },
    /// 03
    ManifestNone { req: u32 },
    /// 04
    Interest { file: Hash },
    /// 05
    Uninterest { file: Hash },
    /// 06, runs as (first chunk, chunks)
    Have { file: Hash, total: u32, runs: Vec<(u32, u32)> },
    /// 07, runs as (first chunk, chunks)
    HaveMore { file: FileKey, runs: Vec<(u32, u32)> },
    /// 08
    Slot { open: bool, wait_ms: u16 },
    /// 09
    Cancel { req: u32 },
    /// 0A
    Claim { file: FileKey, claims: Vec<Claim> },
    /// 0B
    Streams { file: FileKey, first: u32 },
    /// 0C
    Follow { file: FileKey, first: u32, on: bool },
    /// 0D
    Told { file: FileKey, first: u32, at: u32, records: Vec<ChunkRef> },
    /// Any other type.
    Unknown,
}

/// Why a message of a known type was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZestError {
    /// Its length cannot be; names the kind.
    Length(&'static str),
    /// It is longer than its kind may be.
    TooLong {
        /// Kind.
        what: &'static str,
        /// Limit in bytes.
        max: u32,
    },
    /// This availability run is empty, touches the one before, overflows, exceeds the total or is cut off.
    Run(u32),
    /// Slot state other than 0 and 1.
    SlotState(u8),
    /// The same of `follow`.
    FollowState(u8),
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
        _ => return Ok(n.min(1)),
    };
    match fits {
        false => Err(ZestError::Length(what)),
        true if n > max => Err(ZestError::TooLong { what, max }),
        true => Ok(n),
    }
}

/// Reads a message of `n` bytes from its first [`bytes_needed`] bytes.
///
/// # Errors
/// [`ZestError`], also everything that [`bytes_needed`] refuses.
pub fn parse(seen: &[u8], n: u32) -> Result<ZestMessage, ZestError> {
    let kind = *seen.first().ok_or(ZestError::Length("empty message"))?;
    let needed = bytes_needed(kind, n)? as usize;
    let seen = seen.get(..needed).ok_or(ZestError::Length("cut message"))?;
    let (fields, _) = byte(seen).map_err(|_| ZestError::Length("empty message"))?;
    let message = match kind {
        MANIFEST_REQUEST => whole(read_manifest_request, fields),
        MANIFEST_PART => whole(read_manifest_part, fields),
        MANIFEST_NONE => whole(be_u32.map(|req| ZestMessage::ManifestNone { req }), fields),
        INTEREST => whole(hash.map(|file| ZestMessage::Interest { file }), fields),
        UNINTEREST => whole(hash.map(|file| ZestMessage::Uninterest { file }), fields),
        HAVE => {
            let have = read_have(fields);
            let (runs, (file, total, count)) = have.map_err(|_| ZestError::Length("have"))?;
            return Ok(ZestMessage::Have { file, total, runs: runs::parse(runs, count, total, "have")? });
        }
        HAVE_MORE => {
            let (runs, (file, count)) = read_list(fields).map_err(|_| ZestError::Length("have more"))?;
            return Ok(ZestMessage::HaveMore {
                file,
                runs: runs::parse(runs, count, u32::MAX, "have more")?,
            });
        }
        SLOT => match whole((byte, be_u16), fields) {
            Some((state @ 2.., _)) => return Err(ZestError::SlotState(state)),
            fields => fields.map(|(state, wait_ms)| ZestMessage::Slot { open: state == 1, wait_ms }),
        },
        CANCEL => whole(be_u32.map(|req| ZestMessage::Cancel { req }), fields),
        CLAIM => return whole(read_claims, fields).ok_or(ZestError::Length("claim")),
        STREAMS => whole((array.map(FileKey), be_u32), fields)
            .map(|(file, first)| ZestMessage::Streams { file, first }),
        FOLLOW => match whole((array.map(FileKey), be_u32, byte), fields) {
            Some((.., state @ 2..)) => return Err(ZestError::FollowState(state)),
            fields => fields.map(|(file, first, on)| ZestMessage::Follow { file, first, on: on == 1 }),
        },
        TOLD => return whole(read_told, fields).ok_or(ZestError::Length("told")),
        _ => Some(ZestMessage::Unknown),
    };
    message.ok_or(ZestError::Length("cut message"))
}

/// 01: req 4, file hash 32, first 4, count 4
fn read_manifest_request(fields: &[u8]) -> Parsed<'_, ZestMessage> {
    let fields = (be_u32, hash, be_u32, be_u32).parse(fields);
    fields.map(|(rest, (req, file, first, count))| {
        (rest, ZestMessage::ManifestRequest { req, file, first, count })
    })
}

/// 02: req 4, file size 8, total 4, first 4, count 4
fn read_manifest_part(fields: &[u8]) -> Parsed<'_, ZestMessage> {
    let fields = (be_u32, be_u64, be_u32, be_u32, be_u32).parse(fields);
    fields.map(|(rest, (req, file_size, total, first, count))| {
        (rest, ZestMessage::ManifestPart { req, file_size, total, first, count })
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
pub fn manifest_part_head(ext_id: u8, req: u32, file_size: u64, total: u32, first: u32, count: u32) -> Head {
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
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    const H: Hash = Hash::from_bytes([0xaa; 32]);
    const KEY: FileKey = FileKey([0xaa; 8]);

    fn read(head: &Head) -> Result<ZestMessage, ZestError> {
        let message = &head.as_bytes()[6..];
        parse(message, u32::try_from(message.len()).unwrap())
    }

    fn read_bytes(message: &[u8]) -> Result<ZestMessage, ZestError> {
        parse(message, u32::try_from(message.len()).unwrap())
    }

    #[test]
    fn every_fixed_message_reads_back() {
        let cases = [
            (
                manifest_request(3, 1, &H, 2, 9),
                ZestMessage::ManifestRequest { req: 1, file: H, first: 2, count: 9 },
            ),
            (manifest_none(3, 7), ZestMessage::ManifestNone { req: 7 }),
            (interest(3, &H), ZestMessage::Interest { file: H }),
            (uninterest(3, &H), ZestMessage::Uninterest { file: H }),
            (slot(3, true, 0), ZestMessage::Slot { open: true, wait_ms: 0 }),
            (slot(3, false, 300), ZestMessage::Slot { open: false, wait_ms: 300 }),
            (cancel(3, u32::MAX), ZestMessage::Cancel { req: u32::MAX }),
            (streams(3, KEY, 9), ZestMessage::Streams { file: KEY, first: 9 }),
            (follow(3, KEY, 9, true), ZestMessage::Follow { file: KEY, first: 9, on: true }),
            (follow(3, KEY, 0, false), ZestMessage::Follow { file: KEY, first: 0, on: false }),
        ];
        for (head, message) in cases {
            assert_eq!(read(&head), Ok(message));
        }
        let head = manifest_part_head(3, 1, 1 << 40, 20_000, 14_336, 5_664);
        let part = ZestMessage::ManifestPart {
            req: 1,
            file_size: 1 << 40,
            total: 20_000,
            first: 14_336,
            count: 5_664,
        };
        assert_eq!(parse(&head.as_bytes()[6..], 25 + 5_664 * 36), Ok(part));
        assert_eq!(head.as_bytes().len(), 31);
    }

    #[test]
    fn a_node_that_has_all_sends_one_run_in_43_bytes() {
        let head = have(3, &H, 100_000, &[(0, 60_000), (60_000, 40_000)]);
        assert_eq!(&head.as_bytes()[6 + 37..], &[0, 1, 0, 0xa0, 0x8d, 0x06]);
        assert_eq!(read(&head), Ok(ZestMessage::Have { file: H, total: 100_000, runs: vec![(0, 100_000)] }));
        assert_eq!(read(&have(3, &H, 5, &[])), Ok(ZestMessage::Have { file: H, total: 5, runs: vec![] }));
    }

    #[test]
    fn too_many_runs_are_understated_and_increments_are_split() {
        let runs: Vec<_> = (0..20_000).map(|i| (2 * i, 1)).collect();
        let head = have(3, &H, 40_000, &runs);
        assert!(head.as_bytes().len() <= 6 + AVAILABILITY_BYTES_MAX);
        let Ok(ZestMessage::Have { runs: read_runs, .. }) = read(&head) else { panic!() };
        assert!(read_runs.len() > 8_000 && runs.starts_with(&read_runs));
        assert_eq!(added(&runs), (runs, 3));
    }

    /// What all messages of `have more` say together, and how many there are.
    fn added(runs: &[(u32, u32)]) -> (Vec<(u32, u32)>, usize) {
        let mut all = vec![];
        let mut messages = 0;
        for head in have_more(3, FileKey::of(&H), runs) {
            assert!(head.as_bytes().len() <= 6 + AVAILABILITY_BYTES_MAX);
            let Ok(ZestMessage::HaveMore { file: KEY, runs }) = read(&head) else { panic!() };
            all.extend(runs);
            messages += 1;
        }
        (all, messages)
    }

    #[test]
    fn an_increment_joins_what_touches_and_reaches_the_last_chunk() {
        assert_eq!(added(&[]), (vec![], 0));
        assert_eq!(added(&[(4, 2), (6, 1), (300, 1)]), (vec![(4, 3), (300, 1)], 1));
        assert_eq!(added(&[(0, u32::MAX)]), (vec![(0, u32::MAX)], 1));
        assert_eq!(added(&[(u32::MAX - 1, 1)]), (vec![(u32::MAX - 1, 1)], 1));
        // 8,186 runs of two bytes fill a message to its last byte but one.
        let runs: Vec<_> = (0..8_186).map(|i| (2 * i, 1)).collect();
        assert_eq!(added(&runs), (runs.clone(), 1));
        assert_eq!(added(&[&runs[..], &[(16_372, 1)]].concat()).1, 2);
    }

    #[test]
    fn claims_read_back_and_long_lists_are_split() {
        let claims: Vec<_> = (0..600)
            .map(|n| Claim { first: 7 * n, score: u64::MAX - u64::from(n), beat: n as u16 })
            .collect();
        let mut all = vec![];
        let mut counts = vec![];
        for head in claim(3, FileKey::of(&H), &claims) {
            let Ok(ZestMessage::Claim { file: KEY, claims }) = read(&head) else { panic!() };
            counts.push(claims.len());
            all.extend(claims);
        }
        assert_eq!((all, counts), (claims, vec![256, 256, 88]));
        assert_eq!(claim(3, KEY, &[]).count(), 0);
        assert_eq!(
            read_bytes(&[&[10][..], &KEY.0, &[0, 0]].concat()),
            Ok(ZestMessage::Claim { file: KEY, claims: vec![] })
        );
    }

    #[test]
    fn told_records_read_back_and_long_lists_are_split() {
        let records: Vec<_> = (0..600).map(|n| ChunkRef { hash: H, len: n + 1 }).collect();
        let (mut all, mut places) = (vec![], vec![]);
        for head in told(3, KEY, 4, 100, &records) {
            let Ok(ZestMessage::Told { file: KEY, first: 4, at, records }) = read(&head) else { panic!() };
            places.push((at, records.len()));
            all.extend(records);
        }
        assert_eq!((all, places), (records, vec![(100, 256), (356, 256), (612, 88)]));
        let none: Vec<_> = told(3, KEY, 4, 0, &[]).map(|head| read(&head)).collect();
        assert_eq!(none, [Ok(ZestMessage::Told { file: KEY, first: 4, at: 0, records: vec![] })]);
        let more = [&[13][..], &KEY.0, &[0; 8], &[0, 2], &[0; 36]].concat();
        assert_eq!(read_bytes(&more), Err(ZestError::Length("told")), "fewer than it says");
        assert_eq!(
            read_bytes(&[&[12][..], &KEY.0, &[0, 0, 0, 0, 2]].concat()),
            Err(ZestError::FollowState(2))
        );
    }

    #[test]
    fn wrong_lengths_runs_and_states_are_refused() {
        for (kind, n) in [
            (1, 44),
            (2, 24),
            (2, 26),
            (3, 4),
            (4, 34),
            (5, 1),
            (6, 38),
            (7, 10),
            (8, 3),
            (9, 6),
            (10, 10),
            (10, 24),
            (10, 26),
            (11, 12),
            (12, 15),
            (13, 18),
            (13, 54),
        ] {
            assert!(matches!(bytes_needed(kind, n), Err(ZestError::Length(_))), "{kind} {n}");
        }
        let longest = [
            (6, "have", 16_384, 1),
            (7, "have more", 16_384, 1),
            (10, "claim", 3_595, 14),
            (13, "told", 9_235, 36),
        ];
        for (kind, what, max, step) in longest {
            assert_eq!(bytes_needed(kind, max), Ok(max));
            let past = max + step;
            assert_eq!(bytes_needed(kind, past), Err(ZestError::TooLong { what, max }));
        }
        assert_eq!(read_bytes(&[8, 2, 0, 0]), Err(ZestError::SlotState(2)));
        assert_eq!(read_bytes(&[200, 1, 2]), Ok(ZestMessage::Unknown));
        let have = |total: u32, count: u16, runs: &[u8]| {
            read_bytes(&[&[6][..], H.as_bytes(), &total.to_be_bytes(), &count.to_be_bytes(), runs].concat())
        };
        assert_eq!(have(9, 1, &[0, 0]), Err(ZestError::Run(0)), "empty");
        assert_eq!(have(9, 2, &[0, 1, 0, 1]), Err(ZestError::Run(1)), "touches");
        assert_eq!(have(9, 1, &[5, 5]), Err(ZestError::Run(0)), "exceeds the total");
        assert_eq!(have(9, 2, &[0, 1]), Err(ZestError::Run(1)), "cut");
        assert_eq!(have(9, 1, &[0x80, 0x00, 1]), Err(ZestError::Run(0)), "not the shortest form");
        assert_eq!(have(u32::MAX, 1, &[0xff, 0xff, 0xff, 0xff, 0x1f, 1]), Err(ZestError::Run(0)), "33 bits");
        assert_eq!(have(u32::MAX, 1, &[0xff, 0xff, 0xff, 0xff, 0x0f, 1]), Err(ZestError::Run(0)), "overflow");
        assert_eq!(have(9, 1, &[0, 1, 0]), Err(ZestError::Length("have")), "trailing");
        assert_eq!(have(9, u16::MAX, &[]), Err(ZestError::Run(0)));
        let more =
            |count: u16, runs: &[u8]| read_bytes(&[&[7][..], &KEY.0, &count.to_be_bytes(), runs].concat());
        let last = [0xff, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(more(1, &[4, 0]), Err(ZestError::Run(0)), "empty");
        assert_eq!(more(2, &[0, 1, 0, 1]), Err(ZestError::Run(1)), "touches");
        assert_eq!(more(1, &[&[1][..], &last].concat()), Err(ZestError::Run(0)), "overflow");
        assert_eq!(
            more(2, &[&[0, 1][..], &last, &[1]].concat()),
            Err(ZestError::Run(1)),
            "overflow of the sum"
        );
        assert_eq!(more(2, &[0, 1]), Err(ZestError::Run(1)), "cut");
        assert_eq!(more(1, &[0, 1, 9]), Err(ZestError::Length("have more")), "trailing");
        let claims = |count: u16, claims: &[u8]| {
            read_bytes(&[&[10][..], &KEY.0, &count.to_be_bytes(), claims].concat())
        };
        assert_eq!(claims(0, &[0; 14]), Err(ZestError::Length("claim")));
        assert_eq!(claims(2, &[0; 14]), Err(ZestError::Length("claim")));
        assert_eq!(claims(1, &[0; 13]), Err(ZestError::Length("claim")));
    }

    proptest! {
        #[test]
        fn availability_reads_back(steps in proptest::collection::vec((1u32..1000, 1u32..1000), 0..200), slack: u16) {
            let mut end = 0;
            let runs: Vec<_> = steps.iter().map(|&(skip, take)| { let first = end + skip; end = first + take; (first, take) }).collect();
            let total = end + u32::from(slack);
            let expected = ZestMessage::Have { file: H, total, runs: runs.clone() };
            prop_assert_eq!(read(&have(3, &H, total, &runs)), Ok(expected));
            prop_assert_eq!(added(&runs), (runs.clone(), usize::from(!runs.is_empty())));
            // Each run cut into its first chunk and the rest.
            let cut: Vec<_> = runs.iter().flat_map(|&(first, take)| [(first, 1), (first + 1, take - 1)]).filter(|run| run.1 > 0).collect();
            prop_assert_eq!(added(&cut).0, runs);
        }

        #[test]
        fn claims_read_back(claims in proptest::collection::vec(any::<(u32, u64, u16)>(), 1..CLAIMS_MAX)) {
            let claims: Vec<_> = claims.into_iter().map(|(first, score, beat)| Claim { first, score, beat }).collect();
            let heads: Vec<_> = claim(3, KEY, &claims).collect();
            prop_assert_eq!(heads.len(), 1);
            prop_assert_eq!(read(&heads[0]), Ok(ZestMessage::Claim { file: KEY, claims }));
        }

        #[test]
        fn any_bytes_are_read_or_refused(kind in 0u8..16, message in proptest::collection::vec(any::<u8>(), 0..100)) {
            let message = [&[kind][..], &message].concat();
            let n = u32::try_from(message.len()).unwrap();
            if let Ok(needed) = bytes_needed(kind, n) {
                prop_assert!(needed >= 1 && needed <= n);
            }
            let _ = read_bytes(&message);
        }
    }
}
