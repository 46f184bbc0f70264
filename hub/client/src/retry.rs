//! The one place that decides whether and when a request is sent again (huggingface_hub users' reports: hub#4732, xet#956).
//!
//! 429 waits as long as the server says, 5xx and broken connections back off exponentially with jitter; everything has a
//! bounded number of tries. Signed URLs (403) and CAS tokens (401) are not a matter of waiting: see `cas.rs`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use crate::error::HubError;

/// Silence of a try, while nobody answers, after which another one begins beside it: 2 s.
const BESIDE: Duration = Duration::from_secs(2);
/// Tries side by side, at most: 5; each ends after 10 s.
const TRIES_BESIDE: usize = 5;

/// How often and how patiently a request is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Requests in all, the first included: 8, about 16 s of waiting.
    pub tries: u32,
    /// Requests in all when nobody answers (no connection, or silence): 3, so that being offline is known within a second
    /// and a mute server within three time-outs.
    pub unanswered_tries: u32,
    /// The same of requests that met silence, each of which has waited for a whole time-out: 3.
    pub silent_tries: u32,
    /// Wait after the first failure: 200 ms, doubled each time.
    pub base: Duration,
    /// Longest wait that we choose ourselves: 5 s.
    pub backoff_max: Duration,
    /// Longest wait that a server can make us sit out: 5 min, the Hub's rate-limit window.
    pub retry_after_max: Duration,
    /// A server that asks for a longer pause is not asked again: no limit, unless the caller can do without it.
    pub asked_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 8,
            unanswered_tries: 3,
            silent_tries: 3,
            base: Duration::from_millis(200),
            backoff_max: Duration::from_secs(5),
            retry_after_max: Duration::from_secs(300),
            asked_max: Duration::MAX,
        }
    }
}

impl RetryPolicy {
    /// One try: the caller decides whether there is another.
    #[must_use]
    pub fn once() -> Self {
        Self { tries: 1, ..Self::default() }
    }

    /// How long to wait after `error`, the result of request number `tries` (from 1); `None` to give up.
    ///
    /// `jitter` is uniform in 0..=65535: the wait lies between half and all of the back-off, so that nodes that failed
    /// together do not come back together.
    fn wait_after(&self, error: &HubError, tries: u32, jitter: u16) -> Option<Duration> {
        if !error.is_transient() {
            return None;
        }
        let limit = match error {
            HubError::Stalled { .. } => self.silent_tries.min(self.tries),
            HubError::Unreachable { .. } | HubError::Page { .. } => self.unanswered_tries.min(self.tries),
            _ => self.tries,
        };
        if tries >= limit || error.retry_after().is_some_and(|asked| asked > self.asked_max) {
            return None;
        }
        let full = self.base.saturating_mul(1 << (tries - 1).min(20)).min(self.backoff_max);
        let backoff = full / 2 + full.mul_f64(f64::from(jitter) / 131_072.0);
        Some(match error {
            // The jitter comes on top: never earlier than asked.
            HubError::RateLimited { retry_after: Some(asked), .. }
            | HubError::Server { retry_after: Some(asked), .. } => {
                (*asked).min(self.retry_after_max) + self.base.mul_f64(f64::from(jitter) / 65_536.0)
            }
            _ => backoff,
        })
    }
}

/// Decides in place of a [`RetryPolicy`] whether and when a request is sent again, for a caller that knows how long its user
/// waits, and what else it is doing meanwhile.
pub trait Persistence: fmt::Debug + Send + Sync {
    /// Whether it decides at present; if not, the policy does.
    fn is_patient(&self) -> bool;

    /// Waits until a request may be sent: not at all, unless one failed lately. `false`: the server asked to be left alone for longer than
    /// the user waits, and that time is over.
    fn turn(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;

    /// A request failed in a way that may pass. Whether to try again, at the next [`Persistence::turn`].
    fn failed(&self, error: &HubError) -> bool;

    /// A request was answered.
    fn answered(&self);
}

/// Runs `attempt` until it succeeds, fails for good, or is not to be repeated: as the `persistence` says, if there is one that
/// decides at present, else as the `policy` does.
///
/// While nobody answers the patient, a try that hears nothing for [`BESIDE`] is let run, and the next begins beside it: on a line that
/// swallows everything, a connection that was begun before it came back may take ten times as long as a new one.
pub(super) async fn run<T, F, A>(
    policy: &RetryPolicy,
    persistence: Option<&dyn Persistence>,
    attempt: F,
) -> Result<T, HubError>
where
    F: FnMut() -> A,
    A: Future<Output = Result<T, HubError>>,
{
    let Some(persistence) = persistence.filter(|persistence| persistence.is_patient()) else {
        return by_policy(policy, attempt).await;
    };
    patiently(persistence, BESIDE, attempt).await
}

async fn patiently<T, F, A>(
    persistence: &dyn Persistence,
    beside: Duration,
    mut attempt: F,
) -> Result<T, HubError>
where
    F: FnMut() -> A,
    A: Future<Output = Result<T, HubError>>,
{
    let mut tries = 0;
    let mut running = FuturesUnordered::new();
    // What came of the last try, and when.
    let mut failed: Option<(HubError, Instant)> = None;
    loop {
        if running.is_empty() {
            // Whoever has heard nothing yet asks, to know what to say.
            if !persistence.turn().await
                && let Some((error, at)) = failed
            {
                return Err(error.after_waiting(at.elapsed()).after_tries(tries));
            }
            tries += 1;
            running.push(attempt());
        }
        // The first try has the time that a healthy server may take.
        let more = tries > 1 && running.len() < TRIES_BESIDE;
        let outcome = tokio::select! {
            outcome = running.next() => outcome,
            may = async { tokio::time::sleep(beside).await; persistence.turn().await }, if more => match may {
                true => None,
                false => continue,
            },
        };
        match outcome {
            Some(Ok(value)) => {
                persistence.answered();
                return Ok(value);
            }
            Some(Err(error)) if !error.is_transient() => {
                persistence.answered();
                return Err(error);
            }
            // Those that were begun before the line came back end all at once: nobody waits for a turn in between.
            Some(Err(error)) => {
                let again = persistence.failed(&error);
                tracing::debug!(%error, tries, again, "a request failed");
                if !again {
                    return Err(error.after_tries(tries));
                }
                failed = Some((error, Instant::now()));
            }
            None => {
                tries += 1;
                running.push(attempt());
            }
        }
    }
}

async fn by_policy<T, F, A>(policy: &RetryPolicy, mut attempt: F) -> Result<T, HubError>
where
    F: FnMut() -> A,
    A: Future<Output = Result<T, HubError>>,
{
    let mut tries = 0;
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        tries += 1;
        let Some(wait) = policy.wait_after(&error, tries, jitter()) else {
            return Err(error.after_tries(tries));
        };
        tracing::debug!(%error, tries, wait_ms = wait.as_millis(), "waiting before the next try");
        tokio::time::sleep(wait).await;
    }
}

/// Longest pause that is believed: a day. What is waited for is bounded by the policy.
const PAUSE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The server's own clock, where its answer tells it.
pub(super) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?.trim()).ok()
}

/// What a 429 or 503 asks for: `Retry-After` as seconds, whole or not, or as HTTP date (RFC 9110, 10.2.3), else the reset of
/// the rate limit that is used up. Dates are read against the server's own clock where it tells it.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(asked) = text(RETRY_AFTER.as_str()) {
        if let Some(pause) = seconds(asked) {
            return Some(pause);
        }
        if let Ok(date) = httpdate::parse_http_date(asked) {
            let now = self::date(headers).unwrap_or_else(SystemTime::now);
            return Some(date.duration_since(now).unwrap_or_default().min(PAUSE_MAX));
        }
    }
    // Several such headers are one list.
    let limits = headers.get_all("ratelimit").iter().filter_map(|value| value.to_str().ok());
    reset(&limits.collect::<Vec<_>>().join(",")).or_else(|| seconds(text("ratelimit-reset")?))
}

/// A number of seconds, whole or not. Negative ones and other words are none.
fn seconds(text: &str) -> Option<Duration> {
    // Digits and at most one dot: what Rust takes for a number besides, as `inf` and `1e9`, is none here.
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && !text.is_empty();
    let seconds: f64 = text.parse().ok().filter(|_| plain)?;
    Some(Duration::try_from_secs_f64(seconds).unwrap_or(PAUSE_MAX).min(PAUSE_MAX))
}

/// When the limits of a `RateLimit` header that are used up are renewed; if none is, or it does not say, the latest of all.
///
/// `"api";r=0;t=40, "pages";r=9;t=3` (draft-ietf-httpapi-ratelimit-headers-08 and later, as the Hub sends it), or
/// `limit=500, remaining=0, reset=40` (drafts up to 07).
fn reset(header: &str) -> Option<Duration> {
    let mut used_up = None;
    let mut any = None;
    let mut old = false;
    for policy in split_unquoted(header, ',') {
        let (mut left, mut renewed) = (None, None);
        for parameter in split_unquoted(policy, ';') {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            match name.trim().to_ascii_lowercase().as_str() {
                "r" | "remaining" => left = Some(value.trim()),
                "t" | "reset" => renewed = seconds(value.trim()),
                "limit" => old = true,
                _ => {}
            }
        }
        any = any.max(renewed);
        if left == Some("0") {
            used_up = used_up.max(renewed);
        }
    }
    if old { any } else { used_up.or(any) }
}

/// Parts of a structured field (RFC 9651) between separators outside of quoted strings.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |c: char| {
        let is_quote = c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        quoted ^= is_quote;
        c == separator && !quoted
    })
}

fn jitter() -> u16 {
    // Without system randomness the waits are merely less spread.
    getrandom::u32().map_or(0, |random| random as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn limited(retry_after: Option<u64>) -> HubError {
        HubError::RateLimited {
            url: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
            tries: 0,
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn backoff_doubles_is_capped_and_jitters_between_half_and_all() {
        let policy = RetryPolicy { tries: 100, ..RetryPolicy::default() };
        let ms = |tries, jitter| policy.wait_after(&limited(None), tries, jitter).unwrap().as_millis();
        assert_eq!((ms(1, 0), ms(2, 0), ms(3, 0)), (100, 200, 400));
        assert!((199..=200).contains(&ms(1, u16::MAX)));
        assert_eq!(ms(60, 0), 2500);
    }

    #[test]
    fn a_server_is_never_asked_earlier_than_it_wants_nor_waited_for_beyond_the_cap() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.wait_after(&limited(Some(7)), 1, 0), Some(Duration::from_secs(7)));
        assert_eq!(policy.wait_after(&limited(Some(1 << 30)), 1, 0), Some(Duration::from_secs(300)));
    }

    #[test]
    fn who_can_do_without_a_server_waits_for_it_no_longer_than_he_wants() {
        let policy = RetryPolicy { asked_max: Duration::from_secs(10), ..RetryPolicy::default() };
        assert_eq!(policy.wait_after(&limited(Some(10)), 1, 0), Some(Duration::from_secs(10)));
        assert_eq!(policy.wait_after(&limited(Some(11)), 1, 0), None);
        assert!(policy.wait_after(&limited(None), 1, 0).is_some());
    }

    #[test]
    fn tries_are_bounded_and_fewer_when_nobody_answers() {
        let policy = RetryPolicy::default();
        let offline = HubError::Unreachable { url: String::new(), reason: String::new(), tries: 0 };
        assert!(policy.wait_after(&offline, 2, 0).is_some());
        assert!(policy.wait_after(&offline, 3, 0).is_none());
        assert!(policy.wait_after(&limited(Some(0)), 7, 0).is_some());
        assert!(policy.wait_after(&limited(Some(0)), 8, 0).is_none());
    }

    /// Counts turns, and gives up never.
    #[derive(Debug, Default)]
    struct Patient(AtomicU32);

    impl Persistence for Patient {
        fn is_patient(&self) -> bool {
            true
        }

        fn turn(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::ready(true))
        }

        fn failed(&self, _: &HubError) -> bool {
            true
        }

        fn answered(&self) {}
    }

    #[tokio::test]
    async fn tries_that_a_mute_line_swallowed_end_at_once_when_it_is_back() {
        let (patient, begun, before) = (Patient::default(), AtomicU32::new(0), AtomicU32::new(0));
        let back = tokio::sync::Semaphore::new(0);
        let attempt = || async {
            let nth = begun.fetch_add(1, Ordering::Relaxed);
            let silent = HubError::Unreachable { url: String::new(), reason: String::new(), tries: 0 };
            if nth == 0 {
                return Err(silent);
            }
            if nth == TRIES_BESIDE as u32 {
                before.store(patient.0.load(Ordering::Relaxed), Ordering::Relaxed);
                back.add_permits(TRIES_BESIDE);
            }
            if nth > TRIES_BESIDE as u32 {
                return Ok(patient.0.load(Ordering::Relaxed));
            }
            back.acquire().await.expect("it is never closed").forget();
            Err(silent)
        };
        let turns = patiently(&patient, Duration::from_millis(1), attempt).await.expect("the line is back");
        assert_eq!(
            turns - before.into_inner(),
            1,
            "turns that were waited for between the line's return and the answer"
        );
    }

    #[test]
    fn who_can_do_without_a_server_sits_out_one_time_out_of_silence() {
        let policy = RetryPolicy { silent_tries: 1, ..RetryPolicy::default() };
        let silence = Duration::from_secs(10);
        let silent = HubError::Stalled { url: String::new(), silence, got: 0, want: None };
        let offline = HubError::Unreachable { url: String::new(), reason: String::new(), tries: 0 };
        assert_eq!(policy.wait_after(&silent, 1, 0), None);
        assert!(policy.wait_after(&offline, 1, 0).is_some());
    }

    #[test]
    fn retry_after_is_read_as_seconds_date_or_rate_limit_window() {
        assert_eq!(retry_after(&headers(&[("retry-after", "17")])), Some(Duration::from_secs(17)));
        let dated = headers(&[
            ("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"),
            ("date", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ]);
        assert_eq!(retry_after(&dated), Some(Duration::from_secs(30)));
        assert_eq!(
            retry_after(&headers(&[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT")])),
            Some(Duration::ZERO),
            "a date in the past"
        );
        assert_eq!(
            retry_after(&headers(&[("ratelimit", "\"api\";r=0;t=42")])),
            Some(Duration::from_secs(42))
        );
        let after =
            |pairs: &[(&'static str, &'static str)]| retry_after(&headers(pairs)).map(|d| d.as_millis());
        assert_eq!(after(&[("retry-after", "12.5")]), Some(12_500));
        assert_eq!(after(&[("retry-after", " 0.25 ")]), Some(250));
        assert_eq!(after(&[("retry-after", "99999999999999999999999")]), Some(PAUSE_MAX.as_millis()));
        for nothing in ["-1", "soon", "1e3", "inf", "NaN", ".", "", "1.2.3"] {
            assert_eq!(after(&[("retry-after", nothing)]), None, "{nothing:?}");
            let limited = [("retry-after", nothing), ("ratelimit", "\"api\";r=0;t=7")];
            assert_eq!(after(&limited), Some(7_000), "{nothing:?}");
        }
        assert_eq!(
            after(&[("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")]),
            Some(PAUSE_MAX.as_millis()),
            "a date that is no date"
        );
        assert_eq!(retry_after(&headers(&[("retry-after", "soon")])), None);
        assert_eq!(retry_after(&headers(&[])), None);
    }

    #[test]
    fn the_rate_limit_that_is_used_up_says_when_to_come_back() {
        let after = |values: &[&'static str]| {
            let headers = values.iter().map(|value| ("ratelimit".parse().unwrap(), value.parse().unwrap()));
            retry_after(&headers.collect()).map(|pause| pause.as_secs())
        };
        assert_eq!(after(&[r#""api";r=0;t=40"#]), Some(40));
        assert_eq!(after(&[r#""api" ; r=0 ; t=158 ; pk=:YWJj:"#]), Some(158));
        assert_eq!(after(&[r#""pages";r=9;t=300, "api";r=0;t=40"#]), Some(40), "the other one has some left");
        assert_eq!(after(&[r#""pages";r=9;t=300"#, r#""api";r=0;t=40"#]), Some(40), "one list");
        assert_eq!(after(&[r#""a;t=9,b";r=0;t=3"#]), Some(3), "a name in quotes is a name");
        assert_eq!(after(&["limit=500, remaining=0, reset=50"]), Some(50));
        assert_eq!(after(&[r#""api";r=0"#]), None);
        assert_eq!(retry_after(&headers(&[("ratelimit-reset", "50")])), Some(Duration::from_secs(50)));
    }
}
