//! The dashboard: one page at `/`, and the codes that open it.
//!
//! The page itself is for everybody: it holds nothing. What it shows it asks for with a bearer of its own, which it has for a code that
//! works once, from who has the secret. So the secret never comes near a browser, and a code that was seen is worth nothing.

use crate::answer::text_of;
pub(crate) use crate::limits::CODE_FOR;
use crate::limits::CODES_MAX;
use crate::places::write_private;
use crate::secret::random_hex;
use crate::{DaemonError, Places};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;
use subtle::ConstantTimeEq as _;

/// Random bytes of a code, and of a bearer: 256 bits.
const BYTES: usize = 32;

/// Codes that are out, and pages that were let in.
#[derive(Default)]
pub(crate) struct Pages(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    codes: VecDeque<(Instant, String)>,
    bearers: VecDeque<String>,
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Pages {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new code.
    pub(crate) fn code(&self) -> Result<String, DaemonError> {
        let code = random_hex(BYTES)?;
        let mut inner = self.inner();
        inner.codes.push_back((Instant::now(), code.clone()));
        while inner.codes.len() > CODES_MAX {
            inner.codes.pop_front();
        }
        Ok(code)
    }

    /// A page's bearer for a code, which is worth nothing from then on.
    pub(crate) fn let_in(&self, given: &str) -> Result<Option<String>, DaemonError> {
        let mut inner = self.inner();
        inner.codes.retain(|(made, _)| made.elapsed() < CODE_FOR);
        let Some(at) = position(inner.codes.iter().map(|(_, code)| code), given) else { return Ok(None) };
        inner.codes.remove(at);
        let bearer = random_hex(BYTES)?;
        inner.bearers.push_back(bearer.clone());
        while inner.bearers.len() > CODES_MAX {
            inner.bearers.pop_front();
        }
        Ok(Some(bearer))
    }

    /// Whether this is the bearer of a page that was let in.
    pub(crate) fn is(&self, given: &str) -> bool {
        position(self.inner().bearers.iter(), given).is_some()
    }
}

/// Where it stands. How long that takes does not depend on where others differ.
fn position<'a>(all: impl Iterator<Item = &'a String>, given: &str) -> Option<usize> {
    all.enumerate().fold(None, |found, (at, one)| {
        let is_it: bool = one.as_bytes().ct_eq(given.as_bytes()).into();
        if is_it { Some(at) } else { found }
    })
}

/// The page, with leave for its own script and style and nothing else.
pub(crate) fn page() -> Response {
    static PAGE: OnceLock<(String, String)> = OnceLock::new();
    let (page, policy) = PAGE.get_or_init(|| make(include_str!("style.css"), include_str!("script.js")));
    let mut response = text_of(StatusCode::OK, "text/html; charset=utf-8", page.as_str().into());
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    response
}

fn make(style: &str, script: &str) -> (String, String) {
    let page = include_str!("page.html").replace("/*STYLE*/", style).replace("/*SCRIPT*/", script);
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        base64(&Sha256::digest(script)),
        base64(&Sha256::digest(style)),
    );
    (page, policy)
}

/// Leaves a page for its owner alone that leads a browser to the dashboard: no program's arguments name the code.
///
/// # Errors
/// It cannot be written.
pub fn leave_redirect(places: &Places, addr: SocketAddr, code: &str) -> Result<PathBuf, DaemonError> {
    let path = places.dashboard();
    let url = format!("http://{addr}/#code={code}");
    let page = format!(
        "<!doctype html><meta charset=\"utf-8\"><meta name=\"referrer\" content=\"no-referrer\">\
         <meta http-equiv=\"refresh\" content=\"0; url={url}\"><title>zest</title><a href=\"{url}\">zest</a>\n"
    );
    write_private(&path, page.as_bytes()).map_err(DaemonError::file(&path))?;
    Ok(path)
}

/// Base64 (RFC 4648, 4), which a policy names hashes in.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits = (0..3).fold(0u32, |bits, at| bits << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
        (0..4).map(move |at| bits >> (18 - 6 * at) & 63).map(|six| char::from(DIGITS[six as usize]))
    };
    let mut text: String = bytes.chunks(3).flat_map(|three| group(three).take(three.len() + 1)).collect();
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_opens_the_page_once_and_not_for_ever() {
        let pages = Pages::default();
        let code = pages.code().expect("random bytes");
        assert_eq!(pages.let_in("").expect("random bytes"), None);
        let bearer = pages.let_in(&code).expect("random bytes").expect("it is a code");
        assert_eq!(pages.let_in(&code).expect("random bytes"), None, "once");
        assert!(pages.is(&bearer) && !pages.is(&code) && !pages.is("") && bearer != code);
        let late = pages.code().expect("random bytes");
        pages.inner().codes[0].0 -= CODE_FOR;
        assert_eq!(pages.let_in(&late).expect("random bytes"), None);
        let codes: Vec<String> = (0..CODES_MAX + 4).map(|_| pages.code().expect("random bytes")).collect();
        assert_eq!(pages.let_in(&codes[3]).expect("random bytes"), None, "the oldest are gone");
        for code in &codes[4..] {
            pages.let_in(code).expect("random bytes").expect("a code");
        }
        assert!(!pages.is(&bearer), "and so is the page that was let in first");
    }

    #[test]
    fn the_page_loads_nothing_and_its_policy_knows_its_own_parts() {
        for (text, want) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(text.as_bytes()), want);
        }
        let (style, script) = (include_str!("style.css"), include_str!("script.js"));
        let (page, policy) = make(style, script);
        let between = |from: &str, to: &str| {
            let rest = page.split_once(from).expect("it is there").1;
            rest.split_once(to).expect("it ends").0.to_owned()
        };
        assert!(policy.contains(&base64(&Sha256::digest(between("<script>", "</script>")))));
        assert!(policy.contains(&base64(&Sha256::digest(between("<style>", "</style>")))));
        // Names of namespaces are no addresses.
        let loads = page.replace("http://www.w3.org/2000/svg", "");
        for foreign in ["http://", "https://", "//cdn", "@import", "url(", "innerHTML", "eval(", " on"] {
            let is_there = loads.contains(foreign) && (foreign != " on" || loads.contains(" onclick=\""));
            assert!(!is_there, "{foreign}");
        }
    }
}
