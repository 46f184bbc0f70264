//! Requests taken apart, without a connection. For the fuzz targets, which have no other way to these readers; no interface
//! of the crate.

use std::ops::Range;

use super::request::{self, Request, Wanted};

/// A request as the handlers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Parts of its path, decoded.
    pub segments: Vec<String>,
    /// Scheme and authority of addresses that lead back here.
    pub base: String,
    /// The token it brings.
    pub bearer: Option<String>,
    /// The value that its query has for `name`.
    pub named: Option<String>,
}

/// Reads a request that came to 127.0.0.1:80. `None` if HTTP cannot carry it, or its path is no UTF-8.
#[must_use]
pub fn read(target: &str, headers: &[(&str, &str)], name: &str) -> Option<Read> {
    let builder = axum::http::Request::builder().uri(target);
    let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    let (parts, ()) = builder.body(()).ok()?.into_parts();
    let request = Request::new(&parts, ([127, 0, 0, 1], 80).into(), None)?;
    let (bearer, named) = (request.bearer().map(str::to_owned), request.query(name).map(str::to_owned));
    assert_eq!(request.rest(0), request.segments.join("/"), "the rest is the segments");
    Some(Read { segments: request.segments, base: request.base, bearer, named })
}

/// One segment as an address has it.
#[must_use]
pub fn escape_segment(segment: &str) -> String {
    request::escape_segment(segment)
}

/// The pairs of a query or a form.
#[must_use]
pub fn form(text: &str) -> Vec<(String, String)> {
    request::parse_form(text)
}

/// What a `Range` header asks of a body of `size` bytes: everything, or a part of it, which is empty if it has none of that.
#[must_use]
pub fn wanted(range: &str, size: u64) -> Option<Range<u64>> {
    match request::wanted(Some(range), size) {
        Wanted::All => None,
        Wanted::Part(part) => Some(part),
        Wanted::Nothing => Some(0..0),
    }
}

/// The ranges of a signed address.
#[must_use]
pub fn closed_ranges(set: &str, count_max: usize) -> Option<Vec<Range<u64>>> {
    request::closed_ranges(set, count_max)
}
