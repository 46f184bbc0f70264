//! What answers of the Hub become, without the network. For the fuzz targets, which have no other way to these readers; no
//! interface of the crate.

use std::collections::BTreeMap;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use zest_store::RepoId;

use super::address::Endpoint;
use super::fields::Fields;
use super::tree::{Entries, Tree, next_link};
use super::{RevisionInfo, text, token};
use crate::error::HubError;

/// What these pages of a listing, or answers of `paths-info`, hold together.
///
/// # Errors
/// `Malformed`.
pub fn listing(repo: &RepoId, pages: &[&[u8]]) -> Result<Tree, HubError> {
    let url = address("https://hub.example/api")?;
    let mut entries = Entries::default();
    pages.iter().try_for_each(|page| entries.add_page(repo, &url, page))?;
    Ok(entries.into_tree())
}

/// Where a listing at `from` goes on, going by a `Link` header.
///
/// # Errors
/// `Redirect`, and `Config` or `Malformed` for addresses that are none.
pub fn next_pages(endpoint: &str, from: &str, header: &str) -> Result<Vec<String>, HubError> {
    let (endpoint, from) = (Endpoint::parse(endpoint)?, address(from)?);
    let headers = headers(&[("link", header)]);
    let Some(link) = next_link(&headers) else { return Ok(Vec::new()) };
    Ok(endpoint.next_pages(&from, link)?.into_iter().map(String::from).collect())
}

/// The wanted fields of an object that comes in pieces of `step` bytes.
///
/// # Errors
/// What is wrong with it.
pub fn fields(
    wanted: &[&str],
    body: &[u8],
    step: usize,
) -> Result<BTreeMap<String, serde_json::Value>, String> {
    let mut fields = Fields::new(wanted);
    for part in body.chunks(step.max(1)) {
        fields.push(part)?;
    }
    fields.finish()
}

/// The answer to a revision call.
///
/// # Errors
/// What is wrong with it.
pub fn revision(body: &[u8]) -> Result<RevisionInfo, String> {
    RevisionInfo::read(&fields(&RevisionInfo::FIELDS, body, 1000)?)
}

/// Address of the CAS and the secret in the answer to `xet-read-token`.
///
/// # Errors
/// `Malformed`.
pub fn cas_token(from: &str, answer: &[(&str, &str)], body: &[u8]) -> Result<(String, String), HubError> {
    let token = token::parse(&address(from)?, &headers(answer), body)?;
    Ok((token.cas.into(), token.secret))
}

/// The words of an error answer.
#[must_use]
pub fn message(header: Option<&str>, body: &[u8], secrets: &[&str]) -> String {
    text::message(header, body, secrets)
}

fn address(text: &str) -> Result<Url, HubError> {
    Url::parse(text).map_err(|error| HubError::Malformed {
        url: text.to_owned(),
        what: "address",
        reason: error.to_string(),
    })
}

/// Those that HTTP can carry.
fn headers(list: &[(&str, &str)]) -> HeaderMap {
    let header = |(name, value): &(&str, &str)| {
        Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?))
    };
    list.iter().filter_map(header).collect()
}
