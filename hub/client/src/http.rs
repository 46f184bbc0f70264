//! Sending one request: which credentials go where, redirects by hand, statuses to errors, ranges checked.
//!
//! Redirects are followed here and not by the HTTP library, because a token may only ever go to its own origin: it is sent
//! to the first address (the configured endpoint, or the CAS the Hub named) and, from the first hop elsewhere on, never again.

use crate::limits::{ERROR_BODY_BYTES_MAX, ORIGINS_MAX, REDIRECTS_MAX};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE,
};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::address::{Endpoint, follow, is_plain_loopback, shown, shown_repo};
use super::ask::{About, Ask, Party, begins_as_page, is_page};
use super::body::Body;
use super::config::HubConfig;
use super::fields::Fields;
use super::gentle::{Gentle, NoAnswer};
use super::names::Names;
use super::retry::{self, Persistence, RetryPolicy};
use super::text::{self, cause, shorter};
use crate::coding::Coding;
use crate::error::HubError;

/// An answer that trickles for so long is asked for anew: 10 s, and twice as long each time.
const PACE_WINDOW: Duration = Duration::from_secs(10);
/// The variables that name a proxy.
const PROXIES: [&str; 6] =
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
/// Counts a download on the repository's page, as every official client asks (huggingface_hub sends it with every call).
const DOWNLOAD_COUNTER: &str = "x-hf-download-counter";

/// A 200 or 206, and where it finally came from.
pub(super) struct Reply {
    pub(super) response: Response,
    pub(super) url: Url,
}

/// The HTTP side of a [`Hub`](super::Hub): connection pools and what every request carries.
pub(super) struct Transport {
    pub(super) endpoint: Endpoint,
    pub(super) config: HubConfig,
    authorization: Option<HeaderValue>,
    user_agent: HeaderValue,
    transfers: Arc<Semaphore>,
    /// For plain HTTP to this machine: no proxy, and no certificate store is loaded.
    local: OnceLock<Client>,
    outside: OnceLock<Client>,
    /// For what is read in small pieces.
    gentle: OnceLock<Gentle>,
    /// Hears of every refusal, see [`super::Hub::watch_refusals`].
    pub(super) watch: OnceLock<super::RefusalWatch>,
    /// Origins that have answered, if only with a refusal.
    heard: Mutex<BTreeSet<String>>,
    answers_bytes: AtomicU64,
    /// Seconds that this machine's clock was ahead of the Hub's, by its last answer that was dated.
    ahead_s: Mutex<Option<i64>>,
}

impl Transport {
    pub(super) fn new(config: HubConfig) -> Result<Self, HubError> {
        let endpoint = Endpoint::parse(&config.endpoint)?;
        let bad = |reason: &str| HubError::Config { reason: reason.to_owned() };
        // One request has one such header, and without its own a mirror does not even look at what is asked.
        let authorization = match (endpoint.login(), &config.token) {
            (Some(login), _) => Some(login),
            (None, Some(token)) => Some(bearer(token.as_str()).ok_or(HubError::NoToken)?),
            (None, None) => None,
        };
        let extra = if config.user_agent_extra.is_empty() {
            String::new()
        } else {
            format!("; {}", config.user_agent_extra)
        };
        // The Hub reads library names and versions from this form; hf_hub tells it which cache layout and API we speak.
        let user_agent = format!("zest/{}; hf_hub/2.4.0-compatible{extra}", env!("CARGO_PKG_VERSION"));
        let user_agent =
            HeaderValue::from_str(&user_agent).map_err(|_| bad("the user agent is no header value"))?;
        let transfers = Arc::new(Semaphore::new(config.transfers_max.clamp(1, Semaphore::MAX_PERMITS)));
        let transport = Self {
            endpoint,
            config,
            authorization,
            user_agent,
            transfers,
            local: OnceLock::new(),
            outside: OnceLock::new(),
            gentle: OnceLock::new(),
            watch: OnceLock::new(),
            heard: Mutex::default(),
            answers_bytes: AtomicU64::new(0),
            ahead_s: Mutex::default(),
        };
        transport.client_for(&transport.endpoint.url("/")?)?;
        Ok(transport)
    }

    /// Sends `ask`, with retries, and reads the whole answer of at most `bytes_max`.
    pub(super) async fn fetch(
        &self,
        ask: &Ask<'_>,
        bytes_max: u64,
    ) -> Result<(HeaderMap, Vec<u8>), HubError> {
        self.fetch_as(ask, bytes_max, &self.config.retry, self.config.persistence.as_deref()).await
    }

    /// The same for the CAS, and for the token that opens it.
    pub(super) async fn fetch_for_cas(
        &self,
        ask: &Ask<'_>,
        bytes_max: u64,
    ) -> Result<(HeaderMap, Vec<u8>), HubError> {
        let policy = self.config.cas_retry.as_ref().unwrap_or(&self.config.retry);
        self.fetch_as(ask, bytes_max, policy, None).await
    }

    async fn fetch_as(
        &self,
        ask: &Ask<'_>,
        bytes_max: u64,
        policy: &RetryPolicy,
        persistence: Option<&dyn Persistence>,
    ) -> Result<(HeaderMap, Vec<u8>), HubError> {
        let tries = AtomicU32::new(0);
        retry::run(policy, persistence, || {
            // A line that has no more must get through in the end.
            let pace = PACE_WINDOW * (1 << tries.fetch_add(1, Relaxed).min(8));
            async move {
                let reply = self.send(ask).await?;
                let headers = reply.response.headers().clone();
                let at = shown(&reply.url);
                let body = Body::new(reply.response, at.clone(), ask.stall, None, None).at_pace(pace);
                let body = body.bytes_and_tell(bytes_max, |more| self.answered(more)).await?;
                // All that is read whole is JSON.
                if begins_as_page(&body) {
                    return Err(HubError::Page { url: at });
                }
                Ok((headers, body))
            }
        })
        .await
    }

    /// Whether requests carry no credentials: what is answered then, everyone is answered.
    pub(super) fn is_stranger(&self) -> bool {
        self.authorization.is_none()
    }

    /// Sends `ask`, with retries, and reads `wanted` fields of the JSON object that answers, however large it is.
    pub(super) async fn fields(
        &self,
        ask: &Ask<'_>,
        wanted: &[&str],
    ) -> Result<BTreeMap<String, serde_json::Value>, HubError> {
        let persistence = self.config.persistence.as_deref();
        retry::run(&self.config.retry, persistence, || async {
            let reply = self.send(ask).await?;
            let malformed = |reason: String| HubError::Malformed {
                url: shown(&reply.url),
                what: "revision",
                reason: shorter(&reason),
            };
            let mut body = Body::new(reply.response, shown(&reply.url), ask.stall, None, None);
            let mut fields = Fields::new(wanted);
            while let Some(bytes) = body.chunk().await? {
                self.answered(bytes.len() as u64);
                if body.received() == bytes.len() as u64 && begins_as_page(&bytes) {
                    return Err(HubError::Page { url: shown(&reply.url) });
                }
                let has_all = fields.push(&bytes).map_err(malformed)?;
                // A short rest is read, so that the connection can serve the next request.
                let is_short = body.len().is_some_and(|len| len - body.received() <= ERROR_BODY_BYTES_MAX);
                if has_all && !is_short {
                    break;
                }
            }
            fields.finish().map_err(malformed)
        })
        .await
    }

    /// Sends `ask`, with retries, and hands out the body as it comes. With a range, exactly that range.
    pub(super) async fn open(&self, ask: &Ask<'_>, policy: &RetryPolicy) -> Result<Body, HubError> {
        if let Some(range) = &ask.range
            && range.is_empty()
        {
            let reason = format!("a range without bytes: {range:?}");
            return Err(HubError::Malformed { url: shown(&ask.url), what: "request", reason });
        }
        let permit = self.permit().await;
        // Ranges have the scheduler to wait for them.
        let persistence =
            self.config.persistence.as_deref().filter(|_| matches!(ask.party, Party::Hub { .. }));
        let (reply, want) = retry::run(policy, persistence, || async {
            let reply = self.send(ask).await?;
            let want = check_range(&reply, ask.range.as_ref())?;
            Ok((reply, want))
        })
        .await?;
        let mut body = Body::new(reply.response, shown(&reply.url), ask.stall, want, permit)
            .by_proxy(self.may_be_by_proxy(&reply.url));
        if body.is_packed() {
            body.look_ahead().await?;
        }
        Ok(body)
    }

    fn answered(&self, bytes: u64) {
        self.answers_bytes.fetch_add(bytes, Relaxed);
    }

    /// Bytes of answers that were not the content of files.
    pub(super) fn answers_bytes(&self) -> u64 {
        self.answers_bytes.load(Relaxed)
    }

    /// Whether anything but a log-in page ever came from the origin of this address.
    pub(super) fn has_answered(&self, url: &str) -> bool {
        let Ok(url) = Url::parse(url) else { return false };
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.contains(&url.origin().ascii_serialization())
    }

    fn heard_from(&self, url: &Url) {
        let origin = url.origin().ascii_serialization();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() < ORIGINS_MAX {
            heard.insert(origin);
        }
    }

    /// Seconds that this machine's clock is ahead of the Hub's.
    pub(super) fn ahead_s(&self) -> Option<i64> {
        *self.ahead_s.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_clock(&self, headers: &HeaderMap) {
        let Some(theirs) = retry::date(headers) else { return };
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        let ahead = match SystemTime::now().duration_since(theirs) {
            Ok(ahead) => seconds(ahead),
            Err(behind) => -seconds(behind.duration()),
        };
        *self.ahead_s.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead);
    }

    /// One of the transfers that may be under way at once.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.transfers).acquire_owned().await.ok()
    }

    /// One request with its redirects, no retry: a 200 or 206, or the error it means.
    pub(super) async fn send(&self, ask: &Ask<'_>) -> Result<Reply, HubError> {
        let mut url = ask.url.clone();
        let mut at_home = self.is_home(ask, &url);
        let (mut seen, mut beside) = (vec![url.clone()], None);
        for _ in 0..=REDIRECTS_MAX {
            let response = self.once(ask, &url, at_home).await?;
            let status = response.status();
            if status == StatusCode::OK || status == StatusCode::PARTIAL_CONTENT && ask.range.is_some() {
                if is_page(response.headers()) && !ask.may_be_page() {
                    return Err(HubError::Page { url: shown(&url) });
                }
                self.heard_from(&url);
                let malformed =
                    |reason: String| HubError::Malformed { url: shown(&url), what: "body", reason };
                return match Coding::of(response.headers()) {
                    Ok(None) => Ok(Reply { response, url }),
                    // Of which bytes a packed range would be, only its sender knows.
                    Ok(Some(_)) if status == StatusCode::PARTIAL_CONTENT => Err(malformed(
                        "a range of it is compressed although we asked for it as it is".to_owned(),
                    )),
                    Ok(Some(_)) => Ok(Reply { response, url }),
                    Err(coding) => Err(malformed(format!("it is packed as {:?}", text::clip(&coding, 40)))),
                };
            }
            let Some(next) = Self::next_hop(ask, &url, &response)? else {
                // The mirror does not have under its own address what it sent us to the public Hub for.
                if let Some(public) = beside.take() {
                    (url, at_home) = (public, false);
                    continue;
                }
                let status = response.status().as_u16();
                self.heard_from(&url);
                let error = self.refusal(ask, &url, response, at_home).await;
                if at_home && matches!(status, 401 | 403 | 404) {
                    self.tell_refusal(ask, &error);
                }
                return Err(error);
            };
            // A mirror that passes on the public Hub's own redirects means itself; one that answers so again means it.
            let next = match self.endpoint.here(&next).filter(|here| at_home && !seen.contains(here)) {
                Some(here) if matches!(ask.party, Party::Hub { .. }) => {
                    beside = Some(next);
                    here
                }
                _ => next,
            };
            seen.push(next.clone());
            // A short body is read to its end, so that the connection can serve the next hop.
            if response.content_length().is_some_and(|bytes| bytes <= ERROR_BODY_BYTES_MAX) {
                let _ = self.error_body(response).await;
            }
            at_home = at_home && self.is_home(ask, &next);
            url = next;
        }
        Err(HubError::Redirect {
            url: shown(&ask.url),
            reason: format!("more than {REDIRECTS_MAX} redirects"),
        })
    }

    async fn once(&self, ask: &Ask<'_>, url: &Url, at_home: bool) -> Result<Response, HubError> {
        let client = self.client_for(url)?;
        let mut request = match ask.form {
            None => client.get(url.clone()),
            Some(form) => {
                client.post(url.clone()).header(CONTENT_TYPE, "application/json").body(form.to_owned())
            }
        };
        request = request.header(ACCEPT_ENCODING, "identity");
        if let Some(range) = &ask.range {
            request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end - 1));
        }
        if at_home {
            match ask.party {
                Party::Hub { anonymous, .. } => {
                    request = request.header(DOWNLOAD_COUNTER, "1");
                    if let Some(authorization) = self.authorization.as_ref().filter(|_| !anonymous) {
                        request = request.header(AUTHORIZATION, authorization.clone());
                    }
                }
                Party::Cas { token, .. } => {
                    let authorization = bearer(token).ok_or_else(|| HubError::Malformed {
                        url: shown(url),
                        what: "CAS token",
                        reason: "not a header value".to_owned(),
                    })?;
                    request = request.header(AUTHORIZATION, authorization);
                }
                Party::Signed { .. } => {}
            }
        }
        tracing::trace!(url = shown(url), range = ?ask.range, at_home, "GET");
        // The library reports a connection that cannot be made by itself, after `connect_timeout`.
        let silence = ask.stall.max(self.config.connect_timeout);
        let stalled = || HubError::Stalled { url: shown(url), silence, got: 0, want: None };
        let gentle = self.gentle_for(ask, url)?;
        let answer = async {
            match gentle {
                None => request.send().await.map_err(|error| NoAnswer::of(&error)),
                Some(gentle) => {
                    let request = request.build().map_err(|error| NoAnswer::of(&error))?;
                    gentle.send(request, &self.user_agent).await
                }
            }
        };
        match crate::lived::within(silence, answer).await {
            None => Err(stalled()),
            Some(Ok(response)) => {
                if at_home && matches!(ask.party, Party::Hub { .. }) {
                    self.note_clock(response.headers());
                }
                Ok(response)
            }
            Some(Err(NoAnswer { unreachable: true, reason })) => {
                Err(HubError::Unreachable { url: shown(url), reason, tries: 1 })
            }
            Some(Err(NoAnswer { reason, .. })) => {
                Err(HubError::ShortBody { url: shown(url), got: 0, want: None, reason })
            }
        }
    }

    /// Whether credentials may go to `url`: the endpoint's origin for the Hub, the CAS's own for the CAS.
    fn is_home(&self, ask: &Ask<'_>, url: &Url) -> bool {
        match ask.party {
            Party::Hub { .. } => self.endpoint.owns(url),
            Party::Cas { .. } => url.origin() == ask.url.origin(),
            Party::Signed { .. } => false,
        }
    }

    fn next_hop(ask: &Ask<'_>, url: &Url, response: &Response) -> Result<Option<Url>, HubError> {
        match (response.status().as_u16(), ask.form) {
            (301..=303, None) | (307 | 308, _) => {}
            // There it would be a GET: another question.
            _ => return Ok(None),
        }
        let refuse = |reason: &str| HubError::Redirect { url: shown(url), reason: reason.to_owned() };
        let link = response.headers().get(LOCATION).ok_or_else(|| refuse("a redirect without Location"))?;
        let link = std::str::from_utf8(link.as_bytes()).map_err(|_| refuse("a Location that is not text"))?;
        follow(url, link).map(Some)
    }

    /// What a status other than success means, by whom it came from.
    async fn refusal(&self, ask: &Ask<'_>, at: &Url, response: Response, at_home: bool) -> HubError {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text_of = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let body = self.error_body(response).await;
        let message = text::message(text_of("x-error-message"), &body, &self.secrets(ask));
        let url = shown(at);
        match (status, ask.party) {
            (429, _) => {
                return HubError::RateLimited { url, retry_after: retry::retry_after(&headers), tries: 1 };
            }
            (408 | 500 | 502..=504 | 506..=599, _) => {
                let retry_after = retry::retry_after(&headers);
                return HubError::Server { url, status, message, retry_after, tries: 1 };
            }
            (401 | 403, Party::Cas { .. }) if at_home => {
                return HubError::CasRefused { url, status, message };
            }
            (404, Party::Cas { file, .. }) if at_home => {
                return HubError::CasFileNotFound { url, file: file.to_string() };
            }
            (401 | 407, Party::Hub { repo, .. }) if at_home && self.endpoint.login().is_some() => {
                return HubError::LoginRefused { repo: shown_repo(repo), url, message };
            }
            (403, _) if !at_home => return HubError::UrlExpired { url, body: message },
            (_, Party::Hub { repo, revision, about, anonymous }) if at_home => {
                let had_token = self.authorization.is_some() && !anonymous;
                let page = self.endpoint.page(repo);
                let (name, revision) = (shown_repo(repo), revision.to_owned());
                match (text_of("x-error-code"), status, had_token) {
                    (Some("GatedRepo"), ..) => return HubError::Gated { repo: name, page, had_token },
                    (_, 401, false) => return HubError::LoginNeeded { repo: name, message },
                    (Some("RepoNotFound"), ..) => return HubError::RepoNotFound { repo: name, had_token },
                    (_, 401, true) => return HubError::TokenRefused { repo: name, message },
                    (Some("RevisionNotFound"), ..) => {
                        return HubError::RevisionNotFound { repo: name, revision };
                    }
                    (Some("EntryNotFound"), ..) | (None, 404, _) if about.path().is_some() => {
                        let path = about.path().unwrap_or_default().to_owned();
                        return HubError::EntryNotFound { repo: name, revision, path };
                    }
                    (_, 403, _) => return HubError::Forbidden { repo: name, url, message },
                    _ => {}
                }
            }
            _ => {}
        }
        HubError::Status { url, status, message }
    }

    fn tell_refusal(&self, ask: &Ask<'_>, error: &HubError) {
        let (Party::Hub { repo, revision, about, anonymous }, Some(watch)) = (ask.party, self.watch.get())
        else {
            return;
        };
        // Who does not know the call or the address says so without a word of the repository.
        if about != About::Rows || !matches!(error, HubError::Status { .. }) {
            watch(&super::Refusal { repo, revision, as_stranger: anonymous, error });
        }
    }

    /// The beginning of an error answer; whatever goes wrong while reading it is less telling than its status.
    async fn error_body(&self, response: Response) -> Vec<u8> {
        let mut body = Body::new(response, String::new(), self.config.api_stall, None, None);
        let mut all = Vec::new();
        while let Ok(Some(bytes)) = body.chunk().await {
            let room = ERROR_BODY_BYTES_MAX as usize - all.len();
            all.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if all.len() as u64 == ERROR_BODY_BYTES_MAX {
                break;
            }
        }
        all
    }

    /// What a server could echo and we must not repeat.
    fn secrets<'s>(&'s self, ask: &Ask<'s>) -> [&'s str; 4] {
        let hub = self.config.token.as_ref().map_or("", |token| token.as_str().trim());
        let [password, login] = self.endpoint.secrets();
        match ask.party {
            Party::Cas { token, .. } => [hub, password, login, token],
            _ => [hub, password, login, ""],
        }
    }

    pub(super) fn client_for(&self, url: &Url) -> Result<&Client, HubError> {
        let local = is_plain_loopback(url);
        let slot = if local { &self.local } else { &self.outside };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let client = self.build_client(local)?;
        Ok(slot.get_or_init(|| client))
    }

    /// What reads the answer in small pieces, if that is wanted and nothing may stand between.
    fn gentle_for(&self, ask: &Ask<'_>, url: &Url) -> Result<Option<&Gentle>, HubError> {
        let wanted = matches!(ask.party, Party::Signed { gently: true });
        if !wanted || is_plain_loopback(url) || self.may_be_by_proxy(url) {
            return Ok(None);
        }
        if self.gentle.get().is_none() {
            install_ring();
            let made = Gentle::new(self.config.connect_timeout, self.config.transfers_max);
            let made = made.map_err(|error| HubError::Config {
                reason: format!("cannot start the HTTP client: {}", shorter(&cause(&error))),
            })?;
            return Ok(Some(self.gentle.get_or_init(|| made)));
        }
        Ok(self.gentle.get())
    }

    /// Whether a proxy may stand between here and there. `NO_PROXY` is not looked at: that a proxy is named is enough.
    pub(super) fn may_be_by_proxy(&self, url: &Url) -> bool {
        let named =
            || PROXIES.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        // Other systems have settings of their own.
        !is_plain_loopback(url) && self.config.system_proxy && (!cfg!(target_os = "linux") || named())
    }

    fn build_client(&self, local: bool) -> Result<Client, HubError> {
        install_ring();
        let mut builder = Client::builder()
            .dns_resolver(Names)
            .user_agent(self.user_agent.clone())
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(self.config.connect_timeout)
            .pool_max_idle_per_host(self.config.transfers_max);
        if local {
            builder = builder.no_proxy().tls_certs_only(std::iter::empty());
        } else if !self.config.system_proxy {
            builder = builder.no_proxy();
        }
        builder.build().map_err(|error| HubError::Config {
            reason: format!("cannot start the HTTP client: {}", shorter(&cause(&error))),
        })
    }
}

/// Makes ring the process-wide TLS provider, unless the program has chosen one already.
fn install_ring() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only if another provider is installed, which then serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let token = token.trim();
    // Stricter than a header value may be: spaces and non-ASCII only come from a broken token file.
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The bytes to come if `reply` holds exactly `range`. A 200 is accepted only where the whole object is what was asked for.
fn check_range(reply: &Reply, range: Option<&Range<u64>>) -> Result<Option<u64>, HubError> {
    let (status, length) = (reply.response.status(), reply.response.content_length());
    let Some(range) = range else { return Ok(None) };
    let want = range.end - range.start;
    let wrong = |got: String| HubError::WrongRange {
        url: shown(&reply.url),
        want_start: range.start,
        want_last: range.end - 1,
        got,
    };
    if status == StatusCode::OK {
        if Coding::of(reply.response.headers()) != Ok(None) {
            return Err(wrong("200 and a packed whole body".to_owned()));
        }
        return match length {
            Some(length) if range.start == 0 && length == range.end => Ok(Some(want)),
            Some(length) => Err(wrong(format!("200 and a whole body of {length} bytes"))),
            None => Err(wrong("200 and a whole body of unknown length".to_owned())),
        };
    }
    let header = reply.response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let header = header.ok_or_else(|| wrong("206 without Content-Range".to_owned()))?;
    if parse_content_range(header) != Some((range.start, range.end - 1)) {
        return Err(wrong(format!("206 and Content-Range {:?}", text::clip(header, 80))));
    }
    match length {
        Some(length) if length != want => Err(wrong(format!("206 and a body of {length} bytes"))),
        _ => Ok(Some(want)),
    }
}

/// First and last byte of `bytes a-b/total` (RFC 9110, 14.4).
fn parse_content_range(text: &str) -> Option<(u64, u64)> {
    let (range, _total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}
