//! What is asked of whom, and how a web page in place of the answer is told.

use std::ops::Range;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use zest_store::RepoId;
use zest_xet::Hash;

/// Whom a request is meant for: decides the credentials and how refusals read.
#[derive(Clone, Copy)]
pub(super) enum Party<'a> {
    /// The Hub, about a repository.
    Hub { repo: &'a RepoId, revision: &'a str, about: About<'a>, anonymous: bool },
    /// The CAS, about a file.
    Cas { file: &'a Hash, token: &'a str },
    /// A signed address, which needs no other credentials; and whether what it gives is read in small pieces.
    Signed { gently: bool },
}

/// What of a repository is asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum About<'a> {
    /// A revision as a whole.
    Revision,
    /// Some of its files, by a call or an address that not every mirror knows: one that does not know it says nothing of the
    /// repository.
    Rows,
    /// What lies below a folder.
    Folder(&'a str),
    /// A file's content.
    File(&'a str),
}

impl<'a> About<'a> {
    /// The one path it is about.
    pub(super) fn path(self) -> Option<&'a str> {
        match self {
            About::Folder(path) | About::File(path) => Some(path),
            About::Revision | About::Rows => None,
        }
    }
}

/// One GET.
#[derive(Clone)]
pub(super) struct Ask<'a> {
    pub(super) url: Url,
    pub(super) party: Party<'a>,
    pub(super) range: Option<Range<u64>>,
    /// JSON to post; else it is a GET.
    pub(super) form: Option<&'a str>,
    /// Silence after which the request or its body has stalled.
    pub(super) stall: Duration,
}

impl Ask<'_> {
    /// Whether a web page can be what was asked for.
    pub(super) fn may_be_page(&self) -> bool {
        matches!(self.party, Party::Hub { about: About::File(_), .. })
    }
}

/// Whether an answer says that it is a web page.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["text/html", "application/xhtml+xml"].iter().any(|page| kind.eq_ignore_ascii_case(page))
}

/// Whether what should be JSON is a page that does not say so.
pub(super) fn begins_as_page(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_web_page_is_told_by_its_type_or_by_how_it_begins() {
        let says =
            |kind: &'static str| is_page(&[(CONTENT_TYPE, kind.parse().unwrap())].into_iter().collect());
        assert!(says("text/html; charset=utf-8") && says("Text/HTML") && says("application/xhtml+xml"));
        assert!(!says("application/json") && !says("text/plain") && !is_page(&HeaderMap::new()));
        assert!(begins_as_page(b"\r\n <!DOCTYPE html>") && begins_as_page(b"<html>"));
        assert!(!begins_as_page(b"[]") && !begins_as_page(b""));
    }
}
