//! `files/<2 hex>/<file hash>`: what is known about one file's chunks. Integers are big-endian.
//!
//! | part | bytes | |
//! |---|---|---|
//! | magic `zestman1` | 8 | |
//! | file hash | 32 | |
//! | file size | 8 | |
//! | chunks | 4 | `n` |
//! | terms | 4 | `t` |
//! | has packed lengths | 1 | 0 or 1 |
//! | zero | 39 | |
//! | checksum of all of the above and of the body | 32 | keyed BLAKE3 |
//! | records | 36 `n` | hash ‖ length: the wire's form, so that a range of this file is a payload |
//! | offsets | 8 `n` | of each chunk in the file, so that one chunk is found without adding up |
//! | packed lengths | 4 `n` or 0 | hints, not proven |
//! | terms | 40 `t` | xorb hash ‖ first chunk ‖ end chunk, in file order |

use crate::os::FileExt as _;
use std::fs::File;
use std::ops::Range;

use nom::Parser as _;
use nom::bytes::complete::{tag, take};
use zest_xet::fields::{Parsed, be_u32, be_u64, byte, each, first, hash};
use zest_xet::{Hash, MANIFEST_RECORD_BYTES, Manifest, chunk_hash};

/// Bytes before the records.
pub(super) const HEADER_BYTES: usize = 128;
/// Where the checksum stands.
const CHECKSUM_AT: usize = 96;
const MAGIC: &[u8; 8] = b"zestman1";
const OFFSET_BYTES: usize = 8;
const HINT_BYTES: usize = 4;
const TERM_BYTES: usize = 40;

/// A run of chunks that a file shares with a xorb: xorb and its chunk range.
pub(super) type TermSpan = (Hash, Range<u32>);

/// The header's content, from which every position in the file follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) file: Hash,
    pub(super) size: u64,
    pub(super) chunks: u32,
    pub(super) terms: u32,
    pub(super) hints: bool,
}

impl Header {
    pub(super) fn records_at(&self) -> u64 {
        HEADER_BYTES as u64
    }

    pub(super) fn record_at(&self, index: u32) -> u64 {
        self.records_at() + u64::from(index) * MANIFEST_RECORD_BYTES as u64
    }

    pub(super) fn offset_at(&self, index: u32) -> u64 {
        self.record_at(self.chunks) + u64::from(index) * OFFSET_BYTES as u64
    }

    pub(super) fn hints_at(&self) -> u64 {
        self.offset_at(self.chunks)
    }

    fn terms_at(&self) -> u64 {
        self.hints_at() + if self.hints { u64::from(self.chunks) * HINT_BYTES as u64 } else { 0 }
    }

    fn end(&self) -> u64 {
        self.terms_at() + u64::from(self.terms) * TERM_BYTES as u64
    }

    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..40].copy_from_slice(self.file.as_bytes());
        out[40..48].copy_from_slice(&self.size.to_be_bytes());
        out[48..52].copy_from_slice(&self.chunks.to_be_bytes());
        out[52..56].copy_from_slice(&self.terms.to_be_bytes());
        out[56] = u8::from(self.hints);
        out
    }

    /// `None` if this is none of ours. The checksum is for who has the body.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let header = first(header, bytes)?;
        (bytes.get(..CHECKSUM_AT)? == &header.encode()[..CHECKSUM_AT]).then_some(header)
    }
}

/// The table up to the checksum.
fn header(input: &[u8]) -> Parsed<'_, Header> {
    let (input, _) = tag(&MAGIC[..])(input)?;
    let (input, (file, size)) = (hash, be_u64).parse(input)?;
    let (input, (chunks, terms)) = (be_u32, be_u32).parse(input)?;
    let (input, hints) = byte(input)?;
    let (input, _zero) = take(39usize)(input)?;
    Ok((input, Header { file, size, chunks, terms, hints: hints == 1 }))
}

/// xorb hash, first chunk, end chunk
fn term(input: &[u8]) -> Parsed<'_, TermSpan> {
    (hash, be_u32, be_u32).map(|(xorb, start, end)| (xorb, start..end)).parse(input)
}

/// The checksum: header and body hashed apart, so that neither need be copied.
fn checksum(header: &[u8], body: &[u8]) -> [u8; 32] {
    let mut both = [0; CHECKSUM_AT + 32];
    both[..CHECKSUM_AT].copy_from_slice(&header[..CHECKSUM_AT]);
    both[CHECKSUM_AT..].copy_from_slice(chunk_hash(body).as_bytes());
    *chunk_hash(&both).as_bytes()
}

/// The whole file for a manifest.
pub(super) fn encode(manifest: &Manifest, hints: Option<&[u32]>, terms: &[TermSpan]) -> Vec<u8> {
    let header = Header {
        file: manifest.file(),
        size: manifest.size(),
        chunks: manifest.len(),
        terms: terms.len() as u32,
        hints: hints.is_some(),
    };
    let mut out = Vec::with_capacity(header.end() as usize);
    out.extend_from_slice(&header.encode());
    manifest.write_records(0..manifest.len(), &mut out);
    let mut offset = 0u64;
    for chunk in manifest.chunks() {
        out.extend_from_slice(&offset.to_be_bytes());
        offset += u64::from(chunk.len);
    }
    for hint in hints.into_iter().flatten() {
        out.extend_from_slice(&hint.to_be_bytes());
    }
    for (xorb, chunks) in terms {
        out.extend_from_slice(xorb.as_bytes());
        out.extend_from_slice(&chunks.start.to_be_bytes());
        out.extend_from_slice(&chunks.end.to_be_bytes());
    }
    assert_eq!(out.len() as u64, header.end(), "a catalog file has the length its header says");
    let sum = checksum(&out, &out[HEADER_BYTES..]);
    out[CHECKSUM_AT..HEADER_BYTES].copy_from_slice(&sum);
    out
}

/// A whole file read back, its checksum found right.
pub(super) struct Decoded<'a> {
    pub(super) header: Header,
    bytes: &'a [u8],
}

/// Reads a whole file of `len` bytes if its header says that it has as many: no memory is taken for what is no list.
pub(super) fn read(file: &File, len: u64) -> Option<Vec<u8>> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).ok()?;
    if Header::decode(&header)?.end() != len {
        return None;
    }
    let (len, mut bytes) = (usize::try_from(len).ok()?, Vec::new());
    bytes.try_reserve_exact(len).ok()?;
    bytes.resize(len, 0);
    file.read_exact_at(&mut bytes, 0).ok()?;
    Some(bytes)
}

/// `None` for anything that [`encode`] did not write.
pub(super) fn decode(bytes: &[u8]) -> Option<Decoded<'_>> {
    let header = Header::decode(bytes)?;
    let whole = bytes.len() as u64 == header.end();
    (whole && checksum(bytes, &bytes[HEADER_BYTES..]) == bytes[CHECKSUM_AT..HEADER_BYTES])
        .then_some(Decoded { header, bytes })
}

impl<'a> Decoded<'a> {
    pub(super) fn records(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..self.header.offset_at(0) as usize]
    }

    pub(super) fn hints(&self) -> Option<Vec<u32>> {
        let section = &self.bytes[self.header.hints_at() as usize..self.header.terms_at() as usize];
        self.header.hints.then(|| each(be_u32, section).collect())
    }

    /// Terms with the file index of their first chunk; cut short if they do not fit the file.
    pub(super) fn terms(&self) -> Vec<(TermSpan, u32)> {
        let section = &self.bytes[self.header.terms_at() as usize..];
        let mut first = 0u32;
        let mut terms = Vec::with_capacity(self.header.terms as usize);
        for (xorb, Range { start, end }) in each(term, section) {
            let count = end.saturating_sub(start);
            if count == 0 || count > self.header.chunks - first {
                break;
            }
            terms.push(((xorb, start..end), first));
            first += count;
        }
        terms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zest_xet::{ChunkRef, file_hash};

    fn sample() -> (Manifest, Vec<u32>, Vec<TermSpan>) {
        let chunks: Vec<ChunkRef> =
            (1..=100u32).map(|i| ChunkRef { hash: chunk_hash(&i.to_be_bytes()), len: 1_000 + i }).collect();
        let size = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        let manifest = Manifest::prove(file_hash(&chunks), size, chunks).unwrap();
        let (a, b) = (chunk_hash(b"a"), chunk_hash(b"b"));
        (manifest, (0..100).collect(), vec![(a, 5..65), (b, 0..40)])
    }

    #[test]
    fn a_file_survives_the_way_to_disk() {
        let (manifest, hints, terms) = sample();
        let bytes = encode(&manifest, Some(&hints), &terms);
        let decoded = decode(&bytes).unwrap();
        assert_eq!(decoded.hints(), Some(hints));
        assert_eq!(decoded.terms(), vec![(terms[0].clone(), 0), (terms[1].clone(), 60)]);
        let again = Manifest::parse(manifest.file(), manifest.size(), decoded.records()).unwrap();
        assert_eq!(again.chunks(), manifest.chunks());
        let at = decoded.header.offset_at(7) as usize;
        assert_eq!(first(be_u64, &bytes[at..]).unwrap(), manifest.offset(7));
        assert!(decode(&encode(&manifest, None, &[])).unwrap().hints().is_none());
    }

    #[test]
    fn a_damaged_file_is_none_of_ours() {
        let (manifest, hints, terms) = sample();
        let good = encode(&manifest, Some(&hints), &terms);
        for at in (0..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(decode(&bad).is_none(), "byte {at}");
            assert!(decode(&good[..at]).is_none(), "cut at {at}");
        }
        let longer = [&good[..], &[0]].concat();
        assert!(decode(&longer).is_none());
    }

    #[test]
    fn a_file_that_only_claims_a_length_takes_no_memory() {
        let (manifest, hints, terms) = sample();
        let good = encode(&manifest, Some(&hints), &terms);
        let file = tempfile::tempfile().unwrap();
        let len = || file.metadata().unwrap().len();
        // A hole of 8 TiB, without and with a head.
        file.set_len(8 << 40).unwrap();
        assert!(read(&file, len()).is_none());
        file.write_all_at(&good, 0).unwrap();
        assert!(read(&file, len()).is_none());
        file.set_len(good.len() as u64).unwrap();
        assert_eq!(read(&file, len()), Some(good));
    }

    #[test]
    fn terms_that_do_not_fit_the_file_are_cut_short() {
        let (manifest, _, terms) = sample();
        let (a, b) = (terms[0].0, terms[1].0);
        let bytes = encode(&manifest, None, &[(a, 5..65), (b, 0..41), (a, 0..1)]);
        assert_eq!(decode(&bytes).unwrap().terms().len(), 1);
        let bytes = encode(&manifest, None, &[(a, Range { start: 9, end: 3 })]);
        assert!(decode(&bytes).unwrap().terms().is_empty());
    }
}
