//! Requests taken apart, and the small answers.

use crate::limits::HOST_BYTES_MAX;
pub(crate) use crate::limits::TARGET_BYTES_MAX;
use std::net::SocketAddr;
use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use axum::response::Response;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

use crate::guard::Peer;

/// Path of the CAS on the hub's port. Below `/api`, where no repository can be in the way.
pub(crate) const CAS: &str = "/api/cas";

/// Path of the CDN there.
pub(crate) const CDN: &str = "/api/cdn";

/// What stays unescaped in paths: the unreserved characters of RFC 3986 and `/`.
const PATH_ESCAPES: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// What stays unescaped in one segment or query value.
const SEGMENT_ESCAPES: AsciiSet = PATH_ESCAPES.add(b'/');

pub(crate) const ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");
pub(crate) const ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-error-message");

/// A request without its body.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Path segments, percent-decoded; a decoded segment may contain `/`.
    pub(crate) segments: Vec<String>,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    /// Scheme and authority for URLs that lead back here.
    pub(crate) base: String,
    /// Who sent it.
    pub(crate) peer: Option<Peer>,
}

impl Request {
    /// Takes a request apart; `None` if its path is not valid UTF-8. Its `Host` must be one of ours.
    pub(crate) fn new(parts: &Parts, addr: SocketAddr, base: Option<&str>) -> Option<Self> {
        let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
        let segments = parts.uri.path().split('/').skip(1).map(decode).collect::<Option<_>>()?;
        let query = parts.uri.query().map(parse_form).unwrap_or_default();
        let base = match (base, parts.headers.get(header::HOST).and_then(|host| host.to_str().ok())) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some(host)) if is_host(host) => format!("http://{host}"),
            _ => format!("http://{addr}"),
        };
        let peer = parts.extensions.get().cloned();
        Some(Self {
            method: parts.method.clone(),
            segments,
            query,
            headers: parts.headers.clone(),
            base,
            peer,
        })
    }

    /// Segment number `i`, or an empty one.
    pub(crate) fn segment(&self, i: usize) -> &str {
        self.segments.get(i).map_or("", String::as_str)
    }

    /// All segments from number `i` on, as a path.
    pub(crate) fn rest(&self, i: usize) -> String {
        self.segments.get(i..).unwrap_or_default().join("/")
    }

    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a query flag is set, as Python and JavaScript clients write it.
    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.query(name), Some("true" | "True" | "1"))
    }

    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header(header::AUTHORIZATION)?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }
}

/// Reads `a=b&c=d`, with `+` for a space.
#[must_use]
pub fn parse_form(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= HOST_BYTES_MAX
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

/// Escapes a path for a URL, leaving its slashes.
#[must_use]
pub fn escape_path(path: &str) -> String {
    utf8_percent_encode(path, &PATH_ESCAPES).to_string()
}

/// Escapes one path segment or query value.
#[must_use]
pub fn escape_segment(text: &str) -> String {
    utf8_percent_encode(text, &SEGMENT_ESCAPES).to_string()
}

/// What a `Range` header asks of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Everything: no header, or one that RFC 9110 (14.2) tells to ignore.
    All,
    /// These bytes.
    Part(Range<u64>),
    /// Nothing the body has.
    Nothing,
}

/// Reads a `Range` header for a body of `size` bytes. Sets of several ranges are ignored, which the RFC allows.
#[must_use]
pub fn wanted(range: Option<&str>, size: u64) -> Wanted {
    let Some((first, last)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return Wanted::All;
    };
    let part = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..size,
        (Err(_), Ok(suffix)) if first.trim().is_empty() => size.saturating_sub(suffix)..size,
        _ => return Wanted::All,
    };
    if part.start < part.end { Wanted::Part(part) } else { Wanted::Nothing }
}

/// Reads `bytes=a-b,c-d` strictly: every range has both ends, in order. `None` if it is anything else or longer than `count_max`.
#[must_use]
pub fn closed_ranges(set: &str, count_max: usize) -> Option<Vec<Range<u64>>> {
    let ranges = set.strip_prefix("bytes=")?;
    if ranges.split(',').count() > count_max {
        return None;
    }
    let closed = |text: &str| {
        let (first, last) = text.trim().split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some(first..last.checked_add(1)?)
    };
    ranges.split(',').map(closed).collect()
}

/// An answer with a short body.
pub(crate) fn text(status: StatusCode, message: &str) -> Response {
    let mut response = Response::new(Body::from(message.to_owned()));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, "text/plain; charset=utf-8");
    response
}

/// A JSON answer.
pub(crate) fn json(value: &Value) -> Response {
    json_text(value.to_string())
}

/// A JSON answer that is text already.
pub(crate) fn json_text(body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    set(&mut response, header::CONTENT_TYPE, "application/json; charset=utf-8");
    response
}

/// An error as the Hub sends it: code and message in headers, message in JSON.
pub(crate) fn hub_error(status: StatusCode, code: &str, message: &str) -> Response {
    let mut response = json(&serde_json::json!({ "error": message }));
    *response.status_mut() = status;
    if !code.is_empty() {
        set(&mut response, ERROR_CODE, code);
    }
    set(&mut response, ERROR_MESSAGE, message);
    response
}

/// Sets a header whose value we made from checked parts; what cannot be a header value is left out.
pub(crate) fn set(response: &mut Response, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => drop(response.headers_mut().insert(name, value)),
        Err(_) => tracing::warn!(%name, "left out a header that HTTP cannot carry"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str, headers: &[(&str, &str)]) -> Option<Request> {
        let mut builder = axum::http::Request::builder().uri(target);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let (parts, ()) = builder.body(()).expect("a request").into_parts();
        Request::new(&parts, ([127, 0, 0, 1], 80).into(), None)
    }

    #[test]
    fn segments_are_decoded_one_by_one() {
        let request = request("/api/models/a/b/tree/refs%2Fpr%2F1/sub%20dir?recursive=True&x=a%26b+c", &[]);
        let request = request.expect("valid");
        assert_eq!(request.segment(5), "refs/pr/1");
        assert_eq!(request.rest(6), "sub dir");
        assert!(request.flag("recursive"));
        assert_eq!(request.query("x"), Some("a&b c"));
        assert_eq!(request.segment(99), "");
        assert!(self::request("/%ff", &[]).is_none());
    }

    #[test]
    fn base_is_the_host_if_it_looks_like_one() {
        let base = |host| request("/", &[("host", host)]).expect("valid").base;
        assert_eq!(base("hub.local:8080"), "http://hub.local:8080");
        assert_eq!(base("[::1]:80"), "http://[::1]:80");
        assert_eq!(base("evil/\"><"), "http://127.0.0.1:80");
        assert_eq!(request("/", &[]).expect("valid").base, "http://127.0.0.1:80");
    }

    #[test]
    fn bearer_is_read_whatever_the_case_of_the_scheme() {
        assert_eq!(request("/", &[("authorization", "bearer abc")]).expect("valid").bearer(), Some("abc"));
        assert_eq!(request("/", &[("authorization", "Basic abc")]).expect("valid").bearer(), None);
    }

    #[test]
    fn ranges_follow_the_rfc() {
        assert_eq!(wanted(None, 10), Wanted::All);
        assert_eq!(wanted(Some("bytes=2-4"), 10), Wanted::Part(2..5));
        assert_eq!(wanted(Some("bytes=2-"), 10), Wanted::Part(2..10));
        assert_eq!(wanted(Some("bytes=-3"), 10), Wanted::Part(7..10));
        assert_eq!(wanted(Some("bytes=-30"), 10), Wanted::Part(0..10));
        assert_eq!(wanted(Some("bytes=5-99"), 10), Wanted::Part(5..10));
        assert_eq!(wanted(Some("bytes=10-"), 10), Wanted::Nothing);
        assert_eq!(wanted(Some("bytes=-0"), 10), Wanted::Nothing);
        assert_eq!(wanted(Some("bytes=4-2"), 10), Wanted::All);
        assert_eq!(wanted(Some("bytes=0-1,3-4"), 10), Wanted::All);
        assert_eq!(wanted(Some("lines=0-1"), 10), Wanted::All);
        assert_eq!(wanted(Some("bytes=0-0"), 0), Wanted::Nothing);
    }

    #[test]
    fn closed_ranges_have_both_ends() {
        assert_eq!(closed_ranges("bytes=0-9, 20-29", 2), Some(vec![0..10, 20..30]));
        assert_eq!(closed_ranges("bytes=0-9,20-29", 1), None);
        for bad in ["0-9", "bytes=", "bytes=5-", "bytes=-5", "bytes=9-0", "bytes=0-18446744073709551615"] {
            assert_eq!(closed_ranges(bad, 9), None, "{bad}");
        }
    }
}
