//! A file as the Hub gives it, from a place on: what the server really sends is said, whatever was asked for.

use std::ops::Range;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap};
use zest_store::{RepoId, check_storable};

use super::Hub;
use super::address::{self, shown};
use super::ask::{About, Ask, Party, is_page};
use super::body::Body;
use super::text::shorter;
use crate::error::HubError;

/// The bytes of a file from some place on.
#[derive(Debug)]
pub struct PlainBody {
    /// They.
    pub body: Body,
    /// The place of the first one in the file. 0 where the server knows no ranges.
    pub start: u64,
    /// Bytes of the whole file as the server knows it, if it says.
    pub total: Option<u64>,
    /// What the server calls this version of the file (a strong `ETag`). Between two answers from one address it tells whether
    /// the file changed; of the content it tells nothing.
    pub version: Option<String>,
    /// The answer says that it is a web page.
    pub is_page: bool,
}

impl PlainBody {
    /// What to make of it if it is a log-in page and not the file.
    #[must_use]
    pub fn page(&self) -> HubError {
        HubError::Page { url: self.body.url().to_owned() }
    }
}

impl Hub {
    /// Asks once for `bytes` of a file (end exclusive); `None` asks for all of it, without a range. The caller decides what to do
    /// next when it breaks.
    ///
    /// Which bytes come is the server's choice: it may ignore the range ([`PlainBody::start`] is 0 then) or give another one.
    /// Its word on the length is in [`PlainBody::total`]. Nothing of this proves the content.
    ///
    /// # Errors
    /// `EntryNotFound`, `Gated`, `UnsafeName`, `WrongRange` for a part that it does not name, `Status` 416, and what any
    /// request can meet.
    pub async fn plain_file(
        &self,
        repo: &RepoId,
        commit: &str,
        path: &str,
        bytes: Option<Range<u64>>,
    ) -> Result<PlainBody, HubError> {
        self.check_revision(repo, commit)?;
        check_storable(path).map_err(|error| HubError::UnsafeName {
            repo: address::shown_repo(repo),
            reason: shorter(&error.to_string()),
        })?;
        let transport = &self.inner.transport;
        let url = transport.endpoint.resolve(repo, commit, path)?;
        let party = Party::Hub { repo, revision: commit, about: About::File(path), anonymous: false };
        let bytes = bytes.filter(|bytes| !bytes.is_empty());
        let ask = Ask { url, party, range: bytes, form: None, stall: transport.config.stall };
        let permit = transport.permit().await;
        let reply = transport.send(&ask).await?;
        let named = match reply.response.status() {
            StatusCode::PARTIAL_CONTENT => {
                Some(part(reply.response.headers()).map_err(|got| HubError::WrongRange {
                    url: shown(&reply.url),
                    want_start: ask.range.as_ref().map_or(0, |range| range.start),
                    want_last: ask.range.as_ref().map_or(0, |range| range.end - 1),
                    got,
                })?)
            }
            _ => None,
        };
        let headers = reply.response.headers();
        let (version, is_page) = (version(headers), is_page(headers));
        // It is gone on with over another connection, where the server can.
        let by_proxy = transport.may_be_by_proxy(&reply.url);
        let body = Body::new(reply.response, shown(&reply.url), ask.stall, None, permit)
            .at_pace(PACE_WINDOW)
            .by_proxy(by_proxy);
        // The length of a packed body on the wire is not that of the file.
        let (start, total) = named.unwrap_or((0, body.len()));
        Ok(PlainBody { body, start, total, version, is_page })
    }
}

/// A body that trickles for so long is given up: 30 s.
const PACE_WINDOW: Duration = Duration::from_secs(30);

/// Longest ETag that is kept: 256 bytes.
const VERSION_BYTES_MAX: usize = 256;

/// The `ETag`, if it stands for the bytes (RFC 9110, 8.8.3: weak ones do not).
fn version(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(ETAG)?.to_str().ok()?.trim();
    let strong = text.starts_with('"') && text.len() <= VERSION_BYTES_MAX;
    strong.then(|| text.to_owned())
}

/// First byte and whole length of what a 206 says it holds (RFC 9110, 14.4).
fn part(headers: &HeaderMap) -> Result<(u64, Option<u64>), String> {
    let text = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let text = text.ok_or_else(|| "206 without Content-Range".to_owned())?;
    let odd = || format!("206 and Content-Range {:?}", super::text::clip(text, 80));
    let (range, total) =
        text.trim().strip_prefix("bytes ").and_then(|rest| rest.split_once('/')).ok_or_else(odd)?;
    let (first, _last) = range.split_once('-').ok_or_else(odd)?;
    let first = first.trim().parse().map_err(|_| odd())?;
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().map_err(|_| odd())?),
    };
    Ok((first, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_206_holds_is_read_and_nothing_else_is_guessed() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, text.parse().unwrap());
            part(&headers)
        };
        assert_eq!(of("bytes 5-9/10"), Ok((5, Some(10))));
        assert_eq!(of(" bytes 0-9/* "), Ok((0, None)));
        for odd in
            ["bytes */10", "bytes 5", "items 5-9/10", "bytes -5-9/10", "bytes 5-9/ten", "bytes 5-9/-1", ""]
        {
            assert!(of(odd).is_err(), "{odd}");
        }
        assert!(part(&HeaderMap::new()).is_err());
    }
}
