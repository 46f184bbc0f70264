//! CAS tokens: one per repository and commit, fetched once however many tasks want it, renewed before it expires.
//!
//! Asking per file instead was answered with 429 (hub#4732).

use crate::limits::TOKENS_MAX;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::Url;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use zest_store::RepoId;

use super::address::shown;
use crate::error::HubError;

/// Renewal this long before expiry: 30 s (xet-client does the same), or half the lifetime if that is shorter.
const RENEW_BEFORE: Duration = Duration::from_secs(30);
/// Longest lifetime we believe: one day; the Hub gives an hour.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// A way into the CAS. No `Debug`: it is a secret.
pub(super) struct XetToken {
    /// Base address of the CAS.
    pub(super) cas: Url,
    pub(super) secret: String,
    renew_at: Instant,
}

/// Repository kind, name and commit.
type Key = (&'static str, String, String);

/// What the slot's last fetch gave; `None` before the first.
#[derive(Default)]
struct Slot {
    token: Option<Arc<XetToken>>,
    /// Outcome of the last failed fetch and its number, for those who waited for it.
    failure: Option<(u64, HubError)>,
    fetches: u64,
}

/// All tokens of one [`Hub`](super::Hub).
#[derive(Default)]
pub(super) struct Tokens {
    slots: Mutex<BTreeMap<Key, Arc<SlotLock>>>,
}

#[derive(Default)]
struct SlotLock {
    /// Number of fetches begun and ended; lets a waiter see that one ended while it waited.
    ended: std::sync::atomic::AtomicU64,
    slot: tokio::sync::Mutex<Slot>,
}

impl Tokens {
    /// A usable token: the kept one, or the outcome of `fetch`, which runs at most once for all callers that wait together.
    ///
    /// A fetch that is dropped half-way counts for nothing; the next waiter starts its own.
    pub(super) async fn get<A>(
        &self,
        repo: &RepoId,
        commit: &str,
        fetch: impl FnOnce() -> A,
    ) -> Result<Arc<XetToken>, HubError>
    where
        A: Future<Output = Result<XetToken, HubError>>,
    {
        use std::sync::atomic::Ordering::Acquire;
        use std::sync::atomic::Ordering::Release;
        let lock = self.slot(repo, commit);
        let seen = lock.ended.load(Acquire);
        let mut slot = lock.slot.lock().await;
        if let Some(token) = slot.token.as_ref().filter(|token| token.renew_at > Instant::now()) {
            return Ok(Arc::clone(token));
        }
        // Someone's fetch failed while we stood in line: a second one at once would fail the same way.
        if let Some((number, error)) = &slot.failure
            && *number > seen
        {
            return Err(error.clone());
        }
        let outcome = fetch().await;
        slot.fetches += 1;
        lock.ended.store(slot.fetches, Release);
        match outcome {
            Ok(token) => {
                let token = Arc::new(token);
                (slot.token, slot.failure) = (Some(Arc::clone(&token)), None);
                Ok(token)
            }
            Err(error) => {
                (slot.token, slot.failure) = (None, Some((slot.fetches, error.clone())));
                Err(error)
            }
        }
    }

    /// Keeps a token that came by another way.
    pub(super) async fn put(&self, repo: &RepoId, commit: &str, token: XetToken) {
        let lock = self.slot(repo, commit);
        let mut slot = lock.slot.lock().await;
        (slot.token, slot.failure) = (Some(Arc::new(token)), None);
    }

    /// Forgets `token` if it is still the kept one, so that many refused requests cause one renewal.
    pub(super) async fn refused(&self, repo: &RepoId, commit: &str, token: &Arc<XetToken>) {
        let lock = self.slot(repo, commit);
        let mut slot = lock.slot.lock().await;
        if slot.token.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, token)) {
            slot.token = None;
        }
    }

    /// Forgets what is kept for a repository. Whoever waits for a fetch has its outcome all the same.
    pub(super) fn forget(&self, repo: &RepoId) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|(kind, name, _), _| *kind != repo.kind.plural() || *name != repo.name);
    }

    fn slot(&self, repo: &RepoId, commit: &str) -> Arc<SlotLock> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (repo.kind.plural(), repo.name.clone(), commit.to_owned());
        if slots.len() >= TOKENS_MAX && !slots.contains_key(&key) {
            slots.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        Arc::clone(slots.entry(key).or_default())
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Answer {
    cas_url: Option<String>,
    access_token: Option<String>,
    exp: Option<u64>,
}

/// Reads the answer of `xet-read-token`: JSON, or the `X-Xet-*` headers for what the JSON lacks.
pub(super) fn parse(from: &Url, headers: &HeaderMap, body: &[u8]) -> Result<XetToken, HubError> {
    let malformed =
        |reason: &str| HubError::Malformed { url: shown(from), what: "CAS token", reason: reason.to_owned() };
    let json: Answer = serde_json::from_slice(body).unwrap_or_default();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let cas = json.cas_url.or_else(|| header("x-xet-cas-url")).ok_or_else(|| malformed("no CAS address"))?;
    let secret =
        json.access_token.or_else(|| header("x-xet-access-token")).ok_or_else(|| malformed("no token"))?;
    let exp = json.exp.or_else(|| header("x-xet-token-expiration")?.parse().ok());
    let exp = exp.ok_or_else(|| malformed("no expiry"))?;
    if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed("the token is not printable ASCII"));
    }
    let cas = Url::parse(&cas).map_err(|_| malformed("the CAS address is none"))?;
    // The token would travel in the clear, or with foreign credentials.
    if !(cas.scheme() == "https" || cas.scheme() == "http" && from.scheme() == "http")
        || cas.host_str().is_none()
        || !cas.username().is_empty()
        || cas.password().is_some()
    {
        return Err(malformed("the CAS address is not one that a token may go to"));
    }
    let now = super::retry::date(headers).unwrap_or_else(SystemTime::now);
    let renew_at = Instant::now() + usable_for(exp, now);
    Ok(XetToken { cas, secret, renew_at })
}

/// How long a token that expires at `exp` (Unix seconds) may be used when it is `now`.
///
/// `now` is the Hub's own clock where the answer tells it: a wrong clock on this machine must not make tokens look expired.
fn usable_for(exp: u64, now: SystemTime) -> Duration {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_secs(exp).saturating_sub(now).min(LIFETIME_MAX);
    left.saturating_sub(RENEW_BEFORE.min(left / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str, headers: &[(&'static str, &'static str)]) -> Result<XetToken, HubError> {
        let headers = headers.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect();
        parse(&Url::parse("https://hub.example/api").unwrap(), &headers, body.as_bytes())
    }

    #[test]
    fn tokens_are_renewed_half_a_minute_early_or_at_half_life() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let usable = |lifetime: i64| usable_for((1_000_000 + lifetime) as u64, now).as_secs();
        assert_eq!((usable(3600), usable(100), usable(60), usable(20)), (3570, 70, 30, 10));
        assert_eq!((usable(0), usable(-5)), (0, 0));
        assert_eq!(usable_for(u64::MAX, now), LIFETIME_MAX - RENEW_BEFORE);
    }

    #[test]
    fn json_and_headers_are_both_understood() {
        let json = r#"{"casUrl":"https://cas.example","accessToken":"t","exp":9999999999}"#;
        assert_eq!(answer(json, &[]).ok().unwrap().secret, "t");
        let headers = [
            ("x-xet-cas-url", "https://cas.example"),
            ("x-xet-access-token", "h"),
            ("x-xet-token-expiration", "9999999999"),
        ];
        assert_eq!(answer("", &headers).ok().unwrap().secret, "h");
    }

    #[test]
    fn a_token_is_not_sent_in_the_clear_nor_built_from_garbage() {
        for body in [
            r#"{"casUrl":"http://cas.example","accessToken":"t","exp":1}"#,
            r#"{"casUrl":"https://u:p@cas.example","accessToken":"t","exp":1}"#,
            r#"{"casUrl":"file:///x","accessToken":"t","exp":1}"#,
            r#"{"casUrl":"https://cas.example","accessToken":"t\r\nX: y","exp":1}"#,
            r#"{"casUrl":"https://cas.example","accessToken":"t"}"#,
            "<html>log in to the network</html>",
        ] {
            assert!(matches!(answer(body, &[]), Err(HubError::Malformed { .. })), "{body}");
        }
    }

    #[test]
    fn a_clock_that_is_wrong_here_does_not_matter() {
        let json = r#"{"casUrl":"https://cas.example","accessToken":"t","exp":1445412480}"#;
        let token = answer(json, &[("date", "Wed, 21 Oct 2015 07:18:00 GMT")]).ok().unwrap();
        assert!(
            token.renew_at > Instant::now() + Duration::from_secs(500),
            "ten minutes by the server's clock"
        );
    }
}
