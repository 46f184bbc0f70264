//! The JSON of `GET /v1/reconstructions/{file}` and `/v2/…`.
//!
//! The two differ in how URLs are given: v2 has one URL for a set of ranges, v1 one URL for each range.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{Fetch, FetchRange, Reconstruction, Term};
use crate::hash::Hash;
use crate::xorb::{ChunkHeader, PACKED_BYTES_MAX};
use crate::{CHUNK_BYTES_MAX, XORB_BYTES_MAX, XORB_CHUNKS_MAX};

/// Most terms, and most fetch ranges, of one answer: a file of 256 GiB with a term for every mean chunk.
const ENTRIES_MAX: usize = 1 << 22;

/// Longest URL in bytes. Signed ones seen have some 500 to 2,000; the signature names every range of a set.
const URL_BYTES_MAX: usize = 64 * 1024;

/// Where a chunk of a xorb may end, in bytes: the limit of a xorb, read generously as one of its unpacked data.
const PACKED_END_MAX: u64 = (XORB_BYTES_MAX + XORB_CHUNKS_MAX * 1024) as u64;

/// An answer of the CAS that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReconstructionError {
    /// Not the JSON expected.
    #[error("reconstruction is not the JSON expected: {0}")]
    Json(#[from] serde_json::Error),
    /// More entries than any file needs.
    #[error("reconstruction has {count} {what}, limit {max}")]
    Count {
        /// What there are too many of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
    /// An empty, reversed or impossible chunk range.
    #[error("chunks {start}..{end} of xorb {xorb} are no range within 8192 chunks")]
    Chunks {
        /// The xorb.
        xorb: Hash,
        /// First chunk.
        start: u32,
        /// Chunk after the last.
        end: u32,
    },
    /// A term whose length its chunks cannot have.
    #[error("term {term} of {chunks} chunks has {len} bytes unpacked")]
    TermLength {
        /// Position among the terms.
        term: usize,
        /// Its chunks.
        chunks: u32,
        /// Its bytes.
        len: u64,
    },
    /// A byte range that its chunks cannot take.
    #[error("bytes {start}-{last} of xorb {xorb} cannot hold {chunks} chunks")]
    Bytes {
        /// The xorb.
        xorb: Hash,
        /// First byte.
        start: u64,
        /// Last byte.
        last: u64,
        /// Chunks said to lie there.
        chunks: u32,
    },
    /// More to skip than the first term has.
    #[error("{offset} bytes are to be left out of a first term of {len}")]
    Offset {
        /// Bytes to leave out.
        offset: u64,
        /// Bytes of the first term, 0 if there is none.
        len: u64,
    },
    /// An empty or too long URL.
    #[error("URL of xorb {xorb} has {bytes} bytes, allowed are 1 to 65536")]
    Url {
        /// The xorb.
        xorb: Hash,
        /// Bytes of the URL.
        bytes: usize,
    },
}

#[derive(Serialize, Deserialize, Clone, Copy)]
struct WireRange<T> {
    start: T,
    end: T,
}

#[derive(Serialize, Deserialize)]
struct WireTerm {
    hash: Hash,
    unpacked_length: u64,
    range: WireRange<u32>,
}

#[derive(Serialize, Deserialize)]
struct V1<'a> {
    #[serde(default)]
    offset_into_first_range: u64,
    terms: Vec<WireTerm>,
    #[serde(borrow)]
    fetch_info: BTreeMap<Hash, Vec<V1Fetch<'a>>>,
}

#[derive(Serialize, Deserialize)]
struct V1Fetch<'a> {
    range: WireRange<u32>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    url_range: WireRange<u64>,
}

#[derive(Serialize, Deserialize)]
struct V2<'a> {
    #[serde(default)]
    offset_into_first_range: u64,
    terms: Vec<WireTerm>,
    #[serde(borrow)]
    xorbs: BTreeMap<Hash, Vec<V2Fetch<'a>>>,
}

#[derive(Serialize, Deserialize)]
struct V2Fetch<'a> {
    #[serde(borrow)]
    url: Cow<'a, str>,
    ranges: Vec<V2Range>,
}

#[derive(Serialize, Deserialize)]
struct V2Range {
    chunks: WireRange<u32>,
    bytes: WireRange<u64>,
}

impl<'a> V1Fetch<'a> {
    fn list(fetch: &'a Fetch) -> impl Iterator<Item = V1Fetch<'a>> {
        fetch.ranges.iter().map(|range| V1Fetch {
            range: WireRange { start: range.chunks.start, end: range.chunks.end },
            url: Cow::Borrowed(fetch.url.as_str()),
            url_range: inclusive(range),
        })
    }
}

impl<'a> V2Fetch<'a> {
    fn of(fetch: &'a Fetch) -> Self {
        let range = |range: &FetchRange| V2Range {
            chunks: WireRange { start: range.chunks.start, end: range.chunks.end },
            bytes: inclusive(range),
        };
        V2Fetch { url: Cow::Borrowed(fetch.url.as_str()), ranges: fetch.ranges.iter().map(range).collect() }
    }
}

impl Reconstruction {
    /// Reads a v1 answer; unknown fields are ignored. Neighbouring entries with the same URL become one [`Fetch`].
    ///
    /// # Errors
    /// Not the JSON expected; empty or reversed ranges; lengths that chunks cannot have; counts beyond the limits.
    pub fn parse_v1(json: &[u8]) -> Result<Self, ReconstructionError> {
        let wire: V1<'_> = serde_json::from_slice(json)?;
        let terms = read_terms(wire.terms, wire.offset_into_first_range)?;
        check_count("fetch ranges", wire.fetch_info.values().map(Vec::len).sum())?;
        let mut fetches = BTreeMap::new();
        for (xorb, entries) in wire.fetch_info {
            let mut list: Vec<Fetch> = Vec::new();
            for entry in entries {
                let range = read_range(xorb, entry.range, entry.url_range)?;
                match list.last_mut() {
                    Some(fetch) if fetch.url == entry.url => fetch.ranges.push(range),
                    _ => list.push(Fetch { url: read_url(xorb, entry.url)?, ranges: alloc::vec![range] }),
                }
            }
            fetches.insert(xorb, list);
        }
        Ok(Self { offset_into_first_range: wire.offset_into_first_range, terms, fetches })
    }

    /// Reads a v2 answer; unknown fields are ignored.
    ///
    /// # Errors
    /// As [`Reconstruction::parse_v1`].
    pub fn parse_v2(json: &[u8]) -> Result<Self, ReconstructionError> {
        let wire: V2<'_> = serde_json::from_slice(json)?;
        let terms = read_terms(wire.terms, wire.offset_into_first_range)?;
        check_count("fetch ranges", wire.xorbs.values().flatten().map(|fetch| fetch.ranges.len()).sum())?;
        let mut fetches = BTreeMap::new();
        for (xorb, entries) in wire.xorbs {
            let read = |entry: V2Fetch<'_>| {
                let ranges = entry.ranges.iter().map(|range| read_range(xorb, range.chunks, range.bytes));
                Ok(Fetch { url: read_url(xorb, entry.url)?, ranges: ranges.collect::<Result<_, _>>()? })
            };
            fetches.insert(xorb, entries.into_iter().map(read).collect::<Result<_, ReconstructionError>>()?);
        }
        Ok(Self { offset_into_first_range: wire.offset_into_first_range, terms, fetches })
    }

    /// Writes a v1 answer: the URL of a [`Fetch`] is repeated for each of its ranges.
    #[must_use]
    pub fn to_json_v1(&self) -> String {
        let fetch_info = self
            .fetches
            .iter()
            .map(|(xorb, list)| (*xorb, list.iter().flat_map(V1Fetch::list).collect()))
            .collect();
        let offset_into_first_range = self.offset_into_first_range;
        write(&V1 { offset_into_first_range, terms: self.wire_terms(), fetch_info })
    }

    /// Writes a v2 answer.
    #[must_use]
    pub fn to_json_v2(&self) -> String {
        let xorbs =
            self.fetches.iter().map(|(xorb, list)| (*xorb, list.iter().map(V2Fetch::of).collect())).collect();
        let offset_into_first_range = self.offset_into_first_range;
        write(&V2 { offset_into_first_range, terms: self.wire_terms(), xorbs })
    }

    fn wire_terms(&self) -> Vec<WireTerm> {
        let term = |term: &Term| WireTerm {
            hash: term.xorb,
            unpacked_length: term.unpacked_len,
            range: WireRange { start: term.chunks.start, end: term.chunks.end },
        };
        self.terms.iter().map(term).collect()
    }
}

fn write<T: Serialize>(wire: &T) -> String {
    serde_json::to_string(wire).expect("plain structs with string keys always have a JSON form")
}

/// The byte range as the wire has it: both ends included. An empty range, which no reader accepts, stays empty.
fn inclusive(range: &FetchRange) -> WireRange<u64> {
    WireRange { start: range.bytes.start, end: range.bytes.end.saturating_sub(1) }
}

fn read_terms(wire: Vec<WireTerm>, offset: u64) -> Result<Vec<Term>, ReconstructionError> {
    check_count("terms", wire.len())?;
    let mut terms = Vec::with_capacity(wire.len());
    for (at, term) in wire.into_iter().enumerate() {
        let chunks = check_chunks(term.hash, term.range)?;
        let len = term.unpacked_length;
        if len < u64::from(chunks) || len > u64::from(chunks) * CHUNK_BYTES_MAX as u64 {
            return Err(ReconstructionError::TermLength { term: at, chunks, len });
        }
        terms.push(Term { xorb: term.hash, chunks: term.range.start..term.range.end, unpacked_len: len });
    }
    let len = terms.first().map_or(0, |term| term.unpacked_len);
    if offset > len {
        return Err(ReconstructionError::Offset { offset, len });
    }
    Ok(terms)
}

fn read_range(
    xorb: Hash,
    chunks: WireRange<u32>,
    bytes: WireRange<u64>,
) -> Result<FetchRange, ReconstructionError> {
    let count = check_chunks(xorb, chunks)?;
    let (start, last) = (bytes.start, bytes.end);
    let header = ChunkHeader::BYTES as u64;
    let possible =
        (u64::from(count) * (header + 1))..=(u64::from(count) * (header + PACKED_BYTES_MAX as u64));
    // The order of the checks keeps the sums from overflowing.
    if last < start || last >= PACKED_END_MAX || !possible.contains(&(last - start + 1)) {
        return Err(ReconstructionError::Bytes { xorb, start, last, chunks: count });
    }
    Ok(FetchRange { chunks: chunks.start..chunks.end, bytes: start..last + 1 })
}

fn read_url(xorb: Hash, url: Cow<'_, str>) -> Result<String, ReconstructionError> {
    if url.is_empty() || url.len() > URL_BYTES_MAX {
        return Err(ReconstructionError::Url { xorb, bytes: url.len() });
    }
    Ok(url.into_owned())
}

fn check_chunks(xorb: Hash, WireRange { start, end }: WireRange<u32>) -> Result<u32, ReconstructionError> {
    if start >= end || end as usize > XORB_CHUNKS_MAX {
        return Err(ReconstructionError::Chunks { xorb, start, end });
    }
    Ok(end - start)
}

fn check_count(what: &'static str, count: usize) -> Result<(), ReconstructionError> {
    if count > ENTRIES_MAX {
        return Err(ReconstructionError::Count { what, count, max: ENTRIES_MAX });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::{format, vec};

    const XORB: &str = "48fe3d2ea2d055ba755fd15c22bda405e9a4db95f1fb49691d6d913199a2b602";

    fn sample() -> Reconstruction {
        let xorb: Hash = XORB.parse().unwrap();
        let other = Hash::from_bytes([9; 32]);
        let range = |chunks, bytes| FetchRange { chunks, bytes };
        let url = |url: &str| url.to_string();
        Reconstruction {
            offset_into_first_range: 17,
            terms: vec![
                Term { xorb, chunks: 3..5, unpacked_len: 100_000 },
                Term { xorb: other, chunks: 0..8192, unpacked_len: 64 << 20 },
                Term { xorb, chunks: 5..6, unpacked_len: 1 },
            ],
            fetches: BTreeMap::from([
                (xorb, vec![Fetch { url: url("http://a/x?b=1&c=2"), ranges: vec![range(3..6, 1000..9000)] }]),
                (
                    other,
                    vec![
                        Fetch { url: url("u"), ranges: vec![range(0..7, 0..700), range(8..9, 900..1000)] },
                        Fetch { url: url("v"), ranges: vec![range(0..8192, 0..64 << 20)] },
                    ],
                ),
            ]),
        }
    }

    #[test]
    fn both_forms_round_trip() {
        let sample = sample();
        assert_eq!(Reconstruction::parse_v1(sample.to_json_v1().as_bytes()).unwrap(), sample);
        assert_eq!(Reconstruction::parse_v2(sample.to_json_v2().as_bytes()).unwrap(), sample);
    }

    #[test]
    fn answers_of_the_official_server_are_read() {
        let v2 = format!(
            r#"{{"offset_into_first_range":0,"terms":[{{"hash":"{XORB}","unpacked_length":22982960,"range":{{"start":0,
            "end":346}}}}],"xorbs":{{"{XORB}":[{{"url":"http://h/x\u0026y","ranges":[{{"chunks":{{"start":0,"end":346}},
            "bytes":{{"start":0,"end":19781048}}}}]}}]}},"some_new_field":[{{}}]}}"#
        );
        let v1 = format!(
            r#"{{"offset_into_first_range":0,"terms":[{{"hash":"{XORB}","unpacked_length":22982960,"range":{{"start":0,
            "end":346}},"new":1}}],"fetch_info":{{"{XORB}":[{{"range":{{"start":0,"end":346}},"url":"http://h/x&y",
            "url_range":{{"start":0,"end":19781048}}}}]}}}}"#
        );
        let read = Reconstruction::parse_v2(v2.as_bytes()).unwrap();
        assert_eq!(read, Reconstruction::parse_v1(v1.as_bytes()).unwrap());
        let xorb = XORB.parse().unwrap();
        assert_eq!(read.terms, [Term { xorb, chunks: 0..346, unpacked_len: 22_982_960 }]);
        let ranges = vec![FetchRange { chunks: 0..346, bytes: 0..19_781_049 }];
        assert_eq!(read.fetches[&xorb], [Fetch { url: "http://h/x&y".to_string(), ranges }]);
    }

    #[test]
    fn impossible_answers_are_refused() {
        let refuse = |change: &dyn Fn(&mut Reconstruction)| {
            let mut changed = sample();
            change(&mut changed);
            let errors = [
                Reconstruction::parse_v1(changed.to_json_v1().as_bytes()).unwrap_err(),
                Reconstruction::parse_v2(changed.to_json_v2().as_bytes()).unwrap_err(),
            ];
            assert_eq!(errors[0].to_string(), errors[1].to_string());
            errors[0].to_string()
        };
        let xorb: Hash = XORB.parse().unwrap();
        assert_eq!(
            refuse(&|r| r.terms[0].chunks = 5..5),
            format!("chunks 5..5 of xorb {XORB} are no range within 8192 chunks")
        );
        assert_eq!(
            refuse(&|r| r.terms[0].chunks = 0..8193),
            format!("chunks 0..8193 of xorb {XORB} are no range within 8192 chunks")
        );
        assert_eq!(
            refuse(&|r| r.terms[2].unpacked_len = 131_073),
            "term 2 of 1 chunks has 131073 bytes unpacked"
        );
        assert_eq!(
            refuse(&|r| r.offset_into_first_range = 100_001),
            "100001 bytes are to be left out of a first term of 100000"
        );
        assert_eq!(
            refuse(&|r| r.fetches.get_mut(&xorb).unwrap()[0].ranges[0].bytes = 10..10),
            format!("bytes 10-9 of xorb {XORB} cannot hold 3 chunks")
        );
        assert_eq!(
            refuse(&|r| r.fetches.get_mut(&xorb).unwrap()[0].ranges[0].bytes = 0..u64::MAX),
            format!("bytes 0-18446744073709551614 of xorb {XORB} cannot hold 3 chunks")
        );
        assert_eq!(
            refuse(&|r| r.fetches.get_mut(&xorb).unwrap()[0].url.clear()),
            format!("URL of xorb {XORB} has 0 bytes, allowed are 1 to 65536")
        );
        for garbage in [&b""[..], b"{", b"null", b"[]", b"{\"terms\":[]}", b"\xff\xfe"] {
            assert!(matches!(Reconstruction::parse_v1(garbage), Err(ReconstructionError::Json(_))));
            assert!(matches!(Reconstruction::parse_v2(garbage), Err(ReconstructionError::Json(_))));
        }
    }
}
