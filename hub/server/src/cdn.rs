//! The CDN: byte ranges of virtual xorbs and whole files, each only with a signed URL of this process.

use crate::limits::ASKED_RANGES_MAX;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use zest_xet::Hash;

use super::App;
use super::api::{kind_of, repo_of};
use super::body::{Part, body};
use super::library::{Freshness, blocking};
use super::request::{Request, closed_ranges, set, text};
use super::sign::Purpose;
use super::stats::count;

/// Most ranges in a signed set: as many as a xorb has chunks.
const SIGNED_RANGES_MAX: usize = zest_xet::XORB_CHUNKS_MAX;

/// Separator of multipart answers. Binary bodies need none that cannot occur: clients go by the lengths.
const BOUNDARY: &str = "zest-hub-part";

impl App {
    /// Answers `/api/cdn/...`.
    pub(crate) async fn cdn(self: &Arc<Self>, request: &Request) -> Response {
        match request.segment(2) {
            "xorb" => self.xorb(request, request.segment(3)).await,
            "file" => self.whole_file(request).await,
            _ => text(StatusCode::NOT_FOUND, "no such object"),
        }
    }

    /// Whether the URL's signature is ours for `content` and has not expired.
    fn is_signed(&self, request: &Request, purpose: Purpose, content: &str) -> bool {
        let expires = request.query("Expires").and_then(|expires| expires.parse().ok());
        let signature = request.query("Signature");
        expires
            .zip(signature)
            .is_some_and(|(expires, signature)| self.signer.is_valid(purpose, content, expires, signature))
    }

    async fn xorb(self: &Arc<Self>, request: &Request, hash: &str) -> Response {
        let denied = |why: &str| text(StatusCode::FORBIDDEN, &format!("Auth failed: {why}"));
        let set_text = request.query("X-Xet-Signed-Range").unwrap_or_default();
        if !self.is_signed(request, Purpose::Xorb, &format!("{hash} {set_text}")) {
            return denied("bad or expired signature");
        }
        let Some(signed) = closed_ranges(set_text, SIGNED_RANGES_MAX) else {
            return denied("no signed ranges");
        };
        let asked = request.header(header::RANGE).and_then(|range| closed_ranges(range, ASKED_RANGES_MAX));
        let Some(asked) = asked else { return denied("a Range header with closed ranges is required") };
        let is_inside = |range: &std::ops::Range<u64>| {
            signed.iter().any(|signed| signed.start <= range.start && range.end <= signed.end)
        };
        if !asked.iter().all(is_inside) {
            return denied("the range lies outside the signed ranges");
        }
        let Ok(hash) = hash.parse::<Hash>() else { return text(StatusCode::NOT_FOUND, "no such xorb") };
        let library = self.library.clone();
        let Some((xorb, file)) = blocking(move || library.open_xorb(&hash)).await else {
            // 403 rather than 404: it makes clients ask for the reconstruction again, which then names other xorbs.
            return denied("the xorb is gone, ask for the reconstruction again");
        };
        let size = xorb.bytes();
        if asked.iter().any(|range| range.end > size) {
            return denied("the range lies outside the xorb");
        }
        count(&self.counters.xorb_ranges, 1);
        let file = Arc::new(file);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        set(&mut response, header::ETAG, &format!("\"{hash}\""));
        set(&mut response, header::ACCEPT_RANGES, "bytes");
        let content_range =
            |range: &std::ops::Range<u64>| format!("bytes {}-{}/{size}", range.start, range.end - 1);
        let mut parts = Vec::new();
        if let [range] = &asked[..] {
            set(&mut response, header::CONTENT_TYPE, "application/octet-stream");
            set(&mut response, header::CONTENT_RANGE, &content_range(range));
            set(&mut response, header::CONTENT_LENGTH, &(range.end - range.start).to_string());
            parts.push(Part::Xorb(xorb, file, range.clone()));
        } else {
            let kind = format!("multipart/byteranges; boundary={BOUNDARY}");
            set(&mut response, header::CONTENT_TYPE, &kind);
            for range in &asked {
                let head = format!(
                    "\r\n--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\nContent-Range: {}\r\n\r\n",
                    content_range(range)
                );
                parts.push(Part::Inline(head.into()));
                parts.push(Part::Xorb(xorb.clone(), file.clone(), range.clone()));
            }
            parts.push(Part::Inline(Bytes::from(format!("\r\n--{BOUNDARY}--\r\n"))));
            let total: u64 = parts.iter().map(Part::len).sum();
            set(&mut response, header::CONTENT_LENGTH, &total.to_string());
        }
        if request.method != Method::HEAD {
            *response.body_mut() = body(self, request.peer.as_ref(), parts, true).await;
        }
        response
    }

    /// `/api/cdn/file/{kind}/{org}/{name}/{commit}/{path}`: where `resolve` sends clients that do not use Xet.
    async fn whole_file(self: &Arc<Self>, request: &Request) -> Response {
        if !self.is_signed(request, Purpose::File, &request.rest(3)) {
            return text(StatusCode::FORBIDDEN, "Auth failed: bad or expired signature");
        }
        let repo = kind_of(request.segment(3))
            .and_then(|kind| repo_of(kind, request.segment(4), request.segment(5)));
        let Some(repo) = repo else { return text(StatusCode::NOT_FOUND, "no such file") };
        let snapshot = self.library.snapshot(&repo, request.segment(6), Freshness::Recent).await;
        let Ok(snapshot) = snapshot else { return text(StatusCode::NOT_FOUND, "no such revision") };
        let Some(entry) = snapshot.file(&request.rest(7)) else {
            return text(StatusCode::NOT_FOUND, "no such file");
        };
        count(&self.counters.whole_files, 1);
        let mut response = self.send_file(request, entry, true).await;
        // The redirect stays on this origin, so Hub clients follow it at once and look for these headers here.
        self.describe(&mut response, request, &repo, &snapshot, entry);
        response
    }
}
