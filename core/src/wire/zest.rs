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
//! | 07 | have more | file hash 32, runs 2, then runs × (first 4, count 4) | 35 + 8 × runs |
//! | 08 | slot | state 1 (0 closed, 1 open), queue 2 | 4 |
//! | 09 | cancel | req 4 | 5 |
//!
//! A manifest record is a chunk hash 32 and its length 4. In `have`, a run skips that many chunks after the end of the
//! run before and then takes at least one; only the first run may skip none. So a node that has all sends one run.
//! Unknown types are ignored; a known type of wrong length is a fault.

use super::frame::{EXTENDED, Head, Writer};
use super::{hash_at, u16_at, u32_at, u64_at};
use alloc::vec::Vec;
use zest_xet::Hash;

/// Most records in one manifest part: 14,336 (504 KiB). Ours; 0.9 GB of a file at 64 KiB a chunk, so a 5 GB file takes
/// six round trips that can overlap.
pub const MANIFEST_PART_RECORDS_MAX: u32 = 14_336;

/// Bytes of a manifest record: 36 (hash, length).
pub const MANIFEST_RECORD_BYTES: u32 = 36;

/// Bytes of a manifest part before its records, type byte included: 25.
pub const MANIFEST_PART_HEAD_BYTES: u32 = 25;

/// Longest availability message (06, 07), type byte included: 16 KiB. Ours.
pub const AVAILABILITY_BYTES_MAX: usize = 16 << 10;

/// Most runs in one `have more`: what fits [`AVAILABILITY_BYTES_MAX`], 2,043.
pub const HAVE_MORE_RUNS_MAX: usize = (AVAILABILITY_BYTES_MAX - 35) / 8;

const MANIFEST_REQUEST: u8 = 1;
const MANIFEST_PART: u8 = 2;
const MANIFEST_NONE: u8 = 3;
const INTEREST: u8 = 4;
const UNINTEREST: u8 = 5;
const HAVE: u8 = 6;
const HAVE_MORE: u8 = 7;
const SLOT: u8 = 8;
const CANCEL: u8 = 9;

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
    /// 07
    HaveMore { file: Hash, runs: Vec<(u32, u32)> },
    /// 08
    Slot { open: bool, queue: u16 },
    /// 09
    Cancel { req: u32 },
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
    /// This availability run is empty, overflows, exceeds the total or is cut off.
    Run(u32),
    /// Slot state other than 0 and 1.
    SlotState(u8),
}

/// How many first bytes of a message of `n` bytes [`parse`] needs, judged by its type byte: the whole message, but for a
/// part only its head, and for unknown types one byte.
///
/// # Errors
/// [`ZestError::Length`] and [`ZestError::TooLong`], before anything more is read.
pub fn bytes_needed(kind: u8, n: u32) -> Result<u32, ZestError> {
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
        HAVE => ("have", n >= 39),
        HAVE_MORE => ("have more", n >= 35 && (n - 35).is_multiple_of(8)),
        SLOT => ("slot", n == 4),
        CANCEL => ("cancel", n == 5),
        _ => return Ok(n.min(1)),
    };
    let max = AVAILABILITY_BYTES_MAX as u32;
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
    Ok(match kind {
        HAVE => {
            let cut = || ZestError::Length("have");
            let total = u32_at(seen, 33).ok_or_else(cut)?;
            let count = u16_at(seen, 37).ok_or_else(cut)?;
            let runs = parse_have_runs(&seen[39..], count, total)?;
            ZestMessage::Have { file: hash_at(seen, 1).ok_or_else(cut)?, total, runs }
        }
        HAVE_MORE => {
            let cut = || ZestError::Length("have more");
            let count = u16_at(seen, 33).ok_or_else(cut)?;
            let (records, rest) = seen[35..].as_chunks::<8>();
            if records.len() != usize::from(count) || !rest.is_empty() {
                return Err(cut());
            }
            let mut runs = Vec::with_capacity(records.len());
            for (index, record) in (0u32..).zip(records) {
                let (first, count) = (u32_at(record, 0).unwrap_or(0), u32_at(record, 4).unwrap_or(0));
                if count == 0 || first.checked_add(count).is_none() {
                    return Err(ZestError::Run(index));
                }
                runs.push((first, count));
            }
            ZestMessage::HaveMore { file: hash_at(seen, 1).ok_or_else(cut)?, runs }
        }
        SLOT => match seen[1] {
            state @ 0..=1 => ZestMessage::Slot { open: state == 1, queue: u16_at(seen, 2).unwrap_or(0) },
            state => return Err(ZestError::SlotState(state)),
        },
        _ => parse_fixed(kind, seen).unwrap_or(ZestMessage::Unknown),
    })
}

/// The kinds whose fields all have fixed places; `seen` has their length.
fn parse_fixed(kind: u8, seen: &[u8]) -> Option<ZestMessage> {
    Some(match kind {
        MANIFEST_REQUEST => ZestMessage::ManifestRequest {
            req: u32_at(seen, 1)?,
            file: hash_at(seen, 5)?,
            first: u32_at(seen, 37)?,
            count: u32_at(seen, 41)?,
        },
        MANIFEST_PART => ZestMessage::ManifestPart {
            req: u32_at(seen, 1)?,
            file_size: u64_at(seen, 5)?,
            total: u32_at(seen, 13)?,
            first: u32_at(seen, 17)?,
            count: u32_at(seen, 21)?,
        },
        MANIFEST_NONE => ZestMessage::ManifestNone { req: u32_at(seen, 1)? },
        INTEREST => ZestMessage::Interest { file: hash_at(seen, 1)? },
        UNINTEREST => ZestMessage::Uninterest { file: hash_at(seen, 1)? },
        CANCEL => ZestMessage::Cancel { req: u32_at(seen, 1)? },
        _ => return None,
    })
}

fn parse_have_runs(mut rest: &[u8], count: u16, total: u32) -> Result<Vec<(u32, u32)>, ZestError> {
    // A run has at least two bytes, so the count cannot make us reserve more than the message is long.
    let mut runs = Vec::with_capacity(usize::from(count).min(rest.len() / 2));
    let mut end = 0u32;
    for index in 0..u32::from(count) {
        let run = (|| {
            let skip = take_leb128(&mut rest)?;
            let take = take_leb128(&mut rest)?;
            let first = end.checked_add(skip)?;
            let past = first.checked_add(take)?;
            let touches = skip == 0 && index > 0;
            (take > 0 && past <= total && !touches).then_some((first, take))
        })();
        let (first, take) = run.ok_or(ZestError::Run(index))?;
        runs.push((first, take));
        end = first + take;
    }
    if rest.is_empty() { Ok(runs) } else { Err(ZestError::Length("have")) }
}

/// Takes an unsigned LEB128 of at most 32 bits in its shortest form.
fn take_leb128(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0u64;
    for (index, &byte) in rest.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let shortest = byte != 0 || index == 0;
            *rest = &rest[index + 1..];
            return u32::try_from(value).ok().filter(|_| shortest);
        }
    }
    None
}

fn put_leb128(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
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
    const RUN_BYTES_MAX: usize = 10;
    let mut body = Vec::with_capacity(2 * runs.len().min(AVAILABILITY_BYTES_MAX / 2));
    let mut written = 0u16;
    let mut end = 0u32;
    let mut runs = runs.iter().copied().peekable();
    while let Some((first, mut take)) = runs.next() {
        while let Some((_, more)) = runs.next_if(|&(next, _)| next == first + take) {
            take += more;
        }
        let past = first.checked_add(take).filter(|&past| past <= total);
        assert!(
            take > 0 && first >= end && past.is_some(),
            "availability run {first}+{take} of {total} after {end}"
        );
        if 39 + body.len() + RUN_BYTES_MAX > AVAILABILITY_BYTES_MAX {
            break;
        }
        put_leb128(&mut body, first - end);
        put_leb128(&mut body, take);
        end = first + take;
        written += 1;
    }
    let fixed = |out: &mut Vec<u8>| {
        out.push(HAVE);
        out.extend_from_slice(file.as_bytes());
        out.extend_from_slice(&total.to_be_bytes());
        out.extend_from_slice(&written.to_be_bytes());
    };
    framed(ext_id, 39 + body.len(), |out| {
        fixed(out);
        out.extend_from_slice(&body);
    })
}

/// 07, framed; as many messages as the runs need.
pub fn have_more<'a>(ext_id: u8, file: &'a Hash, runs: &'a [(u32, u32)]) -> impl Iterator<Item = Head> + 'a {
    runs.chunks(HAVE_MORE_RUNS_MAX).map(move |runs| {
        framed(ext_id, 35 + 8 * runs.len(), |out| {
            out.push(HAVE_MORE);
            out.extend_from_slice(file.as_bytes());
            out.extend_from_slice(&(runs.len() as u16).to_be_bytes());
            for (first, count) in runs {
                out.extend_from_slice(&first.to_be_bytes());
                out.extend_from_slice(&count.to_be_bytes());
            }
        })
    })
}

/// 08, framed.
#[must_use]
pub fn slot(ext_id: u8, open: bool, queue: u16) -> Head {
    Writer::extended(ext_id, 4).u8(SLOT).u8(open.into()).u16(queue).done()
}

/// 09, framed.
#[must_use]
pub fn cancel(ext_id: u8, req: u32) -> Head {
    Writer::extended(ext_id, 5).u8(CANCEL).u32(req).done()
}

fn framed(ext_id: u8, message_len: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Head {
    assert!(message_len <= AVAILABILITY_BYTES_MAX, "an availability message has at most 16 KiB");
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
            (slot(3, true, 0), ZestMessage::Slot { open: true, queue: 0 }),
            (slot(3, false, 300), ZestMessage::Slot { open: false, queue: 300 }),
            (cancel(3, u32::MAX), ZestMessage::Cancel { req: u32::MAX }),
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
        let mut all = vec![];
        for head in have_more(3, &H, &runs) {
            let Ok(ZestMessage::HaveMore { runs, .. }) = read(&head) else { panic!() };
            all.extend(runs);
        }
        assert_eq!(all, runs);
    }

    #[test]
    fn wrong_lengths_runs_and_states_are_refused() {
        for (kind, n) in
            [(1, 44), (2, 24), (2, 26), (3, 4), (4, 34), (5, 1), (6, 38), (7, 36), (8, 3), (9, 6)]
        {
            assert!(matches!(bytes_needed(kind, n), Err(ZestError::Length(_))), "{kind} {n}");
        }
        assert!(matches!(bytes_needed(6, 16_385), Err(ZestError::TooLong { what: "have", max: 16_384 })));
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
        let more = |count: u16, runs: &[u8]| {
            read_bytes(&[&[7][..], H.as_bytes(), &count.to_be_bytes(), runs].concat())
        };
        assert_eq!(more(1, &[0, 0, 0, 1, 0, 0, 0, 0]), Err(ZestError::Run(0)));
        assert_eq!(more(1, &[0xff; 8]), Err(ZestError::Run(0)));
        assert_eq!(more(2, &[0; 8]), Err(ZestError::Length("have more")));
    }

    proptest! {
        #[test]
        fn availability_reads_back(steps in proptest::collection::vec((1u32..1000, 1u32..1000), 0..200), slack: u16) {
            let mut end = 0;
            let runs: Vec<_> = steps.iter().map(|&(skip, take)| { let first = end + skip; end = first + take; (first, take) }).collect();
            let total = end + u32::from(slack);
            let expected = ZestMessage::Have { file: H, total, runs: runs.clone() };
            prop_assert_eq!(read(&have(3, &H, total, &runs)), Ok(expected));
        }

        #[test]
        fn any_bytes_are_read_or_refused(kind in 0u8..12, message in proptest::collection::vec(any::<u8>(), 0..100)) {
            let message = [&[kind][..], &message].concat();
            let n = u32::try_from(message.len()).unwrap();
            if let Ok(needed) = bytes_needed(kind, n) {
                prop_assert!(needed >= 1 && needed <= n);
            }
            let _ = read_bytes(&message);
        }
    }
}
