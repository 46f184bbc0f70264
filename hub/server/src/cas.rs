//! The CAS: reconstructions of files from virtual xorbs, for holders of a Xet token.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use zest_xet::{Fetch, FetchRange, Hash, Manifest, Reconstruction, Term};

use super::App;
use super::api::XetScope;
use super::layout::{PlacedTerm, Xorb};
use super::library::{Freshness, blocking};
use super::request::{Request, json_text, set, text};
use super::sign::{Purpose, unix_now};
use super::stats::count;

/// Version of the reconstruction format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A URL for each range.
    One,
    /// A URL for all ranges of a xorb.
    Two,
}

impl App {
    /// Answers `/api/cas/{version}/...`.
    pub(crate) async fn cas(&self, request: &Request) -> Response {
        match (request.segment(2), request.segment(3), request.segment(4)) {
            ("v1", "telemetry", _) => text(StatusCode::OK, ""),
            ("v2", "reconstructions", _) if self.faults.no_v2() => {
                text(StatusCode::NOT_FOUND, "no such call")
            }
            ("v1", "reconstructions", file) => self.reconstruction(request, file, Version::One).await,
            ("v2", "reconstructions", file) => self.reconstruction(request, file, Version::Two).await,
            ("v1", "files", file) if request.method == Method::HEAD => self.file_size(request, file).await,
            _ => text(StatusCode::NOT_FOUND, "no such call"),
        }
    }

    /// Checks token, hash and scope of a request about a file.
    async fn file_in_scope(&self, request: &Request, file: &str) -> Result<Hash, Response> {
        let scope = request.bearer().and_then(|token| XetScope::check(self, token));
        let scope = scope.ok_or_else(|| text(StatusCode::UNAUTHORIZED, "invalid or expired Xet token"))?;
        let file: Hash = file.parse().map_err(|_| text(StatusCode::BAD_REQUEST, "malformed file hash"))?;
        let snapshot = self.library.snapshot(&scope.repo, &scope.commit, Freshness::Recent).await;
        match snapshot {
            Ok(snapshot) if snapshot.holds(&file) => Ok(file),
            _ => Err(text(StatusCode::NOT_FOUND, "no such file in the token's revision")),
        }
    }

    async fn file_terms(&self, file: Hash) -> Result<(Arc<Manifest>, Vec<PlacedTerm>), Response> {
        self.wait_for_replay().await;
        let library = self.library.clone();
        let terms = blocking(move || library.terms(&file)).await;
        terms.ok_or_else(|| text(StatusCode::NOT_FOUND, "the file is gone or changed"))
    }

    async fn file_size(&self, request: &Request, file: &str) -> Response {
        let found = async {
            let file = self.file_in_scope(request, file).await?;
            self.file_terms(file).await
        };
        match found.await {
            Ok((manifest, _)) => {
                let mut response = text(StatusCode::OK, "");
                set(&mut response, header::CONTENT_LENGTH, &manifest.size().to_string());
                response
            }
            Err(error) => error,
        }
    }

    async fn reconstruction(&self, request: &Request, file: &str, version: Version) -> Response {
        match self.try_reconstruction(request, file, version).await {
            Ok(response) | Err(response) => response,
        }
    }

    async fn try_reconstruction(
        &self,
        request: &Request,
        file: &str,
        version: Version,
    ) -> Result<Response, Response> {
        let file = self.file_in_scope(request, file).await?;
        let (manifest, terms) = self.file_terms(file).await?;
        let bytes = match request.header(header::RANGE) {
            None => 0..manifest.size(),
            Some(range) => {
                asked_bytes(range, manifest.size()).map_err(|status| text(status, "no such Range"))?
            }
        };
        let expires = unix_now() + self.faults.url_ttl_secs();
        let sign = |xorb: &Hash, ranges: &[FetchRange]| self.xorb_url(&request.base, xorb, ranges, expires);
        count(&self.counters.reconstructions, 1);
        Ok(json_text(reconstruction(&manifest, terms, &bytes, version, sign)))
    }

    /// A URL that is good for exactly these ranges of a xorb.
    fn xorb_url(&self, base: &str, xorb: &Hash, ranges: &[FetchRange], expires: u64) -> String {
        let set: Vec<String> =
            ranges.iter().map(|range| format!("{}-{}", range.bytes.start, range.bytes.end - 1)).collect();
        let set = set.join(",");
        let signature = self.signer.sign(Purpose::Xorb, &format!("{xorb} bytes={set}"), expires);
        let prefix = super::request::CDN;
        format!(
            "{base}{prefix}/xorb/{xorb}?X-Xet-Signed-Range=bytes%3D{set}&Expires={expires}&Signature={signature}"
        )
    }
}

/// The reconstruction of these bytes of a file, as JSON; `sign` gives the URL for ranges of a xorb.
///
/// # Panics
/// If there are no such bytes in the file.
pub fn reconstruction(
    manifest: &Manifest,
    terms: Vec<PlacedTerm>,
    bytes: &Range<u64>,
    version: Version,
    sign: impl Fn(&Hash, &[FetchRange]) -> String,
) -> String {
    let (offset, terms) = trim(manifest, terms, bytes);
    let answer = Reconstruction {
        offset_into_first_range: offset,
        fetches: fetches(&terms, version, sign),
        terms: terms
            .into_iter()
            .map(|term| Term {
                xorb: term.xorb.hash(),
                unpacked_len: unpacked_len(manifest, &term),
                chunks: term.chunks,
            })
            .collect(),
    };
    match version {
        Version::One => answer.to_json_v1(),
        Version::Two => answer.to_json_v2(),
    }
}

/// Reads `bytes=a-b` (or `a-`) as the CAS does.
///
/// # Errors
/// 416 past the end, 400 if it is something else.
pub fn asked_bytes(range: &str, size: u64) -> Result<Range<u64>, StatusCode> {
    let malformed = StatusCode::BAD_REQUEST;
    let (first, last) =
        range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or(malformed)?;
    let first: u64 = first.trim().parse().map_err(|_| malformed)?;
    let last: u64 = match last.trim() {
        "" => u64::MAX,
        last => last.parse().map_err(|_| malformed)?,
    };
    if last < first {
        Err(malformed)
    } else if first >= size {
        Err(StatusCode::RANGE_NOT_SATISFIABLE)
    } else {
        Ok(first..last.saturating_add(1).min(size))
    }
}

/// Cuts the terms down to the chunks that `bytes` touches; also gives the bytes to leave out of the first chunk.
fn trim(manifest: &Manifest, terms: Vec<PlacedTerm>, bytes: &Range<u64>) -> (u64, Vec<PlacedTerm>) {
    let first = manifest.chunk_at(bytes.start).expect("the range starts inside the file");
    let end = manifest.chunk_at(bytes.end - 1).expect("the range ends inside the file") + 1;
    let cut = |term: PlacedTerm| {
        let count = term.chunks.end - term.chunks.start;
        let (from, to) = (term.index.max(first), (term.index + count).min(end));
        let start = |index: u32| term.chunks.start + (index - term.index);
        (from < to).then(|| PlacedTerm {
            chunks: start(from)..start(to),
            index: from,
            xorb: term.xorb.clone(),
        })
    };
    (bytes.start - manifest.offset(first), terms.into_iter().filter_map(cut).collect())
}

fn unpacked_len(manifest: &Manifest, term: &PlacedTerm) -> u64 {
    let count = term.chunks.end - term.chunks.start;
    manifest.offset(term.index + count) - manifest.offset(term.index)
}

/// The chunk ranges each xorb must give, joined where they touch, with signed URLs: one for all ranges of a xorb, or, in version
/// one, one for each range.
fn fetches(
    terms: &[PlacedTerm],
    version: Version,
    sign: impl Fn(&Hash, &[FetchRange]) -> String,
) -> BTreeMap<Hash, Vec<Fetch>> {
    let mut wanted: BTreeMap<Hash, (&Xorb, Vec<Range<u32>>)> = BTreeMap::new();
    for term in terms {
        wanted.entry(term.xorb.hash()).or_insert((&term.xorb, Vec::new())).1.push(term.chunks.clone());
    }
    let fetch = |hash: &Hash, ranges: Vec<FetchRange>| Fetch { url: sign(hash, &ranges), ranges };
    let all = wanted.into_iter().map(|(hash, (xorb, chunks))| {
        let ranges = joined(chunks).into_iter().map(|chunks| FetchRange {
            bytes: xorb.start_of(chunks.start)..xorb.start_of(chunks.end),
            chunks,
        });
        let fetches = match version {
            Version::One => ranges.map(|range| fetch(&hash, vec![range])).collect(),
            Version::Two => vec![fetch(&hash, ranges.collect())],
        };
        (hash, fetches)
    });
    all.collect()
}

/// Sorts ranges and joins those that overlap or touch.
fn joined(mut ranges: Vec<Range<u32>>) -> Vec<Range<u32>> {
    ranges.sort_by_key(|range| range.start);
    let mut out: Vec<Range<u32>> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => out.push(range),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use zest_xet::{ChunkRef, chunk_hash, file_hash};

    #[test]
    fn ranges_join_where_they_touch() {
        assert_eq!(joined(vec![5..9, 0..2, 2..3, 7..12, 20..21]), [0..3, 5..12, 20..21]);
    }

    #[test]
    fn asked_bytes_are_clamped_or_refused() {
        assert_eq!(asked_bytes("bytes=3-9", 100).expect("good"), 3..10);
        assert_eq!(asked_bytes("bytes=3-999", 100).expect("good"), 3..100);
        assert_eq!(asked_bytes("bytes=99-", 100).expect("good"), 99..100);
        assert_eq!(asked_bytes("bytes=100-", 100), Err(StatusCode::RANGE_NOT_SATISFIABLE));
        for bad in ["bytes=-5", "3-9", "bytes=9-3", "bytes=a-b"] {
            assert_eq!(asked_bytes(bad, 100), Err(StatusCode::BAD_REQUEST), "{bad}");
        }
    }

    #[test]
    fn a_range_is_cut_to_the_chunks_it_touches() {
        let list = |numbers: Vec<u32>| {
            let chunks: Vec<ChunkRef> = (numbers.iter())
                .map(|n| ChunkRef { hash: chunk_hash(&n.to_be_bytes()), len: 1000 })
                .collect();
            let size = 1000 * chunks.len() as u64;
            Arc::new(Manifest::prove(file_hash(&chunks), size, chunks).expect("sound"))
        };
        let mut layout = Layout::default();
        layout.add(&list((0..40).collect()));
        let tuned = list((0..20).chain(100..120).chain(20..40).collect());
        layout.add(&tuned);
        let (manifest, terms) = layout.terms(&tuned.file()).expect("laid out");
        assert_eq!(terms.len(), 3);
        let cut = |bytes: Range<u64>| {
            let (offset, terms) = trim(&manifest, terms.clone(), &bytes);
            let total: u64 = terms.iter().map(|term| unpacked_len(&manifest, term)).sum();
            assert!(offset + (bytes.end - bytes.start) <= total, "{bytes:?} is covered");
            (offset, terms.into_iter().map(|term| (term.index, term.chunks)).collect::<Vec<_>>())
        };
        assert_eq!(cut(0..60_000), (0, vec![(0, 0..20), (20, 0..20), (40, 20..40)]));
        assert_eq!(cut(19_999..20_001), (999, vec![(19, 19..20), (20, 0..1)]));
        assert_eq!(cut(59_000..60_000), (0, vec![(59, 39..40)]));
        assert_eq!(cut(25_500..25_501), (500, vec![(25, 5..6)]));
    }
}
