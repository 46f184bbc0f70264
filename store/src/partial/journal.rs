//! The journal's bytes: a header, then records of one size, each with its own checksum.
//!
//! | header | bytes | | record | bytes |
//! |---|---|---|---|---|
//! | magic `zestjrn1` | 0..8 | | kind | 0 |
//! | file hash | 8..40 | | zero | 1..4 |
//! | file size, BE | 40..48 | | chunk index, BE | 4..8 |
//! | nonce | 48..64 | | offset, BE | 8..16 |
//! | zero | 64..120 | | chunk hash, or session | 16..48 |
//! | checksum | 120..128 | | chunk length, BE | 48..52 |
//! | | | | packed length, BE | 52..56 |
//! | | | | checksum | 56..64 |
//!
//! A checksum is the first 8 bytes of the keyed BLAKE3 (the chunk hash) of the nonce and what stands before
//! it, so that neither a torn write nor a record left over from another journal passes. Records are aligned
//! to their size and never straddle a disk sector.

use nom::Parser as _;
use nom::branch::alt;
use nom::bytes::complete::{tag, take};
use zest_xet::fields::{Parsed, array, be_u32, be_u64, chunk_record, first, hash, whole};
use zest_xet::{CHUNK_BYTES_MAX, chunk_hash};

use super::{Entry, PartialSpec};

/// Bytes of the header: two records' worth, which keeps records aligned.
pub(super) const HEADER_BYTES: usize = 128;
/// Bytes of a record.
pub(super) const RECORD_BYTES: usize = 64;

const MAGIC: &[u8; 8] = b"zestjrn1";

/// Binds the checksums of one journal together.
pub(super) type Nonce = [u8; 16];

/// One line of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    /// These bytes of the data file have this hash.
    Entry(Entry),
    /// The entry of this index no longer holds.
    Discard { index: u32 },
    /// Somebody opened the journal for this data file.
    Session(Session),
}

/// Who writes, and into which data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) id: [u8; 16],
    pub(super) dev: u64,
    pub(super) ino: u64,
}

fn checksum(nonce: &Nonce, bytes: &[u8]) -> [u8; 8] {
    let mut input = [0; 16 + HEADER_BYTES];
    input[..16].copy_from_slice(nonce);
    input[16..16 + bytes.len()].copy_from_slice(bytes);
    let hash = chunk_hash(&input[..16 + bytes.len()]);
    first(array, hash.as_bytes()).expect("a hash has 32 bytes")
}

pub(super) fn encode_header(spec: &PartialSpec, nonce: &Nonce) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(MAGIC);
    out[8..40].copy_from_slice(spec.file.as_bytes());
    out[40..48].copy_from_slice(&spec.size.to_be_bytes());
    out[48..64].copy_from_slice(nonce);
    let sum = checksum(nonce, &out[..120]);
    out[120..].copy_from_slice(&sum);
    out
}

/// The nonce, if this is the header of a journal for this file.
pub(super) fn decode_header(bytes: &[u8; HEADER_BYTES], spec: &PartialSpec) -> Option<Nonce> {
    let (found, nonce) = decode_any_header(bytes)?;
    (found == *spec).then_some(nonce)
}

/// For which file a journal is, and the nonce, if this is the header of one.
pub(super) fn decode_any_header(bytes: &[u8; HEADER_BYTES]) -> Option<(PartialSpec, Nonce)> {
    let (spec, nonce) = whole(header, bytes)?;
    (*bytes == encode_header(&spec, &nonce)).then_some((spec, nonce))
}

/// The table's left half: what it is about, and the nonce. Zeros and checksum are for who writes it anew and compares.
fn header(input: &[u8]) -> Parsed<'_, (PartialSpec, Nonce)> {
    let (input, _) = tag(&MAGIC[..])(input)?;
    let (input, (file, size)) = (hash, be_u64).parse(input)?;
    let (input, nonce) = array(input)?;
    let (input, _zero) = take(56usize)(input)?;
    let (input, _checksum) = take(8usize)(input)?;
    Ok((input, (PartialSpec { file, size }, nonce)))
}

pub(super) fn encode_record(record: &Record, nonce: &Nonce) -> [u8; RECORD_BYTES] {
    let mut out = [0; RECORD_BYTES];
    match record {
        Record::Entry(entry) => {
            out[0] = 1;
            out[4..8].copy_from_slice(&entry.index.to_be_bytes());
            out[8..16].copy_from_slice(&entry.offset.to_be_bytes());
            out[16..48].copy_from_slice(entry.chunk.hash.as_bytes());
            out[48..52].copy_from_slice(&entry.chunk.len.to_be_bytes());
            out[52..56].copy_from_slice(&entry.packed_len.to_be_bytes());
        }
        Record::Discard { index } => {
            out[0] = 3;
            out[4..8].copy_from_slice(&index.to_be_bytes());
        }
        Record::Session(session) => {
            out[0] = 4;
            out[16..32].copy_from_slice(&session.id);
            out[32..40].copy_from_slice(&session.dev.to_be_bytes());
            out[40..48].copy_from_slice(&session.ino.to_be_bytes());
        }
    }
    let sum = checksum(nonce, &out[..56]);
    out[56..].copy_from_slice(&sum);
    out
}

/// `None` for torn or foreign bytes, and for an entry that cannot lie in a file of `size` bytes.
pub(super) fn decode_record(bytes: &[u8; RECORD_BYTES], nonce: &Nonce, size: u64) -> Option<Record> {
    let (_, (body, sum)) = record(bytes).ok()?;
    if sum != checksum(nonce, body) {
        return None;
    }
    let record = first(alt((entry, discard, session)), body)?;
    let Record::Entry(Entry { offset, chunk, .. }) = record else { return Some(record) };
    let fits = chunk.len > 0
        && chunk.len as usize <= CHUNK_BYTES_MAX
        && offset.checked_add(u64::from(chunk.len)).is_some_and(|end| end <= size);
    fits.then_some(record)
}

/// The table's right half: what the checksum covers, and the checksum.
fn record(input: &[u8]) -> Parsed<'_, (&[u8], [u8; 8])> {
    (take(56usize), array).parse(input)
}

/// Kind 1: chunk index, offset, chunk hash, chunk length, packed length.
fn entry(input: &[u8]) -> Parsed<'_, Record> {
    let (input, _) = (tag(&[1][..]), take(3usize)).parse(input)?;
    let (input, (index, offset)) = (be_u32, be_u64).parse(input)?;
    let (input, (chunk, packed_len)) = (chunk_record, be_u32).parse(input)?;
    Ok((input, Record::Entry(Entry { index, offset, chunk, packed_len })))
}

// Kind 2 was zest 0.5's word that data was durable; nobody relies on it any more.

/// Kind 3: chunk index.
fn discard(input: &[u8]) -> Parsed<'_, Record> {
    let (input, _) = (tag(&[3][..]), take(3usize)).parse(input)?;
    be_u32.map(|index| Record::Discard { index }).parse(input)
}

/// Kind 4: in the place of the chunk hash the session: its id 16, device 8, inode 8.
fn session(input: &[u8]) -> Parsed<'_, Record> {
    let (input, _) = (tag(&[4][..]), take(15usize)).parse(input)?;
    let (input, (id, dev, ino)) = (array, be_u64, be_u64).parse(input)?;
    Ok((input, Record::Session(Session { id, dev, ino })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_xet::ChunkRef;

    const NONCE: Nonce = [7; 16];

    fn entry() -> Entry {
        let chunk = ChunkRef { hash: chunk_hash(b"x"), len: 100 };
        Entry { index: 3, offset: 900, chunk, packed_len: 55 }
    }

    #[test]
    fn every_record_survives_the_way_to_disk() {
        let session = Session { id: [9; 16], dev: 1, ino: u64::MAX };
        for record in [Record::Entry(entry()), Record::Discard { index: u32::MAX }, Record::Session(session)]
        {
            assert_eq!(decode_record(&encode_record(&record, &NONCE), &NONCE, 1_000), Some(record));
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let good = encode_record(&Record::Entry(entry()), &NONCE);
        for bit in 0..RECORD_BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_record(&bad, &NONCE, 1_000), None, "bit {bit}");
        }
        assert_eq!(decode_record(&good, &[8; 16], 1_000), None, "another journal's record");
        assert_eq!(decode_record(&good, &NONCE, 999), None, "beyond the end of the file");
        let spec = PartialSpec { file: chunk_hash(b"f"), size: 1_000 };
        let header = encode_header(&spec, &NONCE);
        assert_eq!(decode_header(&header, &spec), Some(NONCE));
        assert_eq!(decode_header(&header, &PartialSpec { size: 1_001, ..spec }), None);
        for bit in 0..HEADER_BYTES * 8 {
            let mut bad = header;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_header(&bad, &spec), None, "bit {bit}");
        }
    }
}
