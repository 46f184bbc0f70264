//! Requests of others, passed on to a Hub as they are: with their own token, nothing retried, no redirect followed. What the Hub
//! says goes back as it said it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Method, header};
use axum::response::Response;
use reqwest::Url;

use super::address::{shown, shown_text};
use super::config::HubConfig;
use super::http::Transport;
use super::text::{cause, shorter};
use crate::error::HubError;

/// Silence before the head of an answer to a question: 30 s, as the Hub's gateway has it at most.
const ANSWER: Duration = Duration::from_secs(30);

/// The same for what writes: 10 min, a commit of many files.
const WRITTEN: Duration = Duration::from_secs(600);

/// Headers that are between two neighbours (RFC 9110, 7.6.1), and those that are made anew on the way.
const OF_ONE_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

/// A way to a Hub for other programs' requests. Cheap to clone.
#[derive(Clone)]
pub struct Relay {
    transport: Arc<Transport>,
}

impl Relay {
    /// Prepares one; sends nothing. A token in `config` is not used.
    ///
    /// # Errors
    /// As [`Hub::new`](super::Hub::new).
    pub fn new(config: HubConfig) -> Result<Self, HubError> {
        let transport = Transport::new(HubConfig { token: None, ..config })?;
        Ok(Self { transport: Arc::new(transport) })
    }

    /// Passes a request on. `target` is its path and query below the endpoint, as they came.
    ///
    /// # Errors
    /// `Unreachable`, `Stalled`, `ShortBody`; every answer is one, whatever its status.
    pub async fn pass(
        &self,
        method: Method,
        target: &str,
        mut headers: HeaderMap,
        body: Option<Body>,
    ) -> Result<Response, HubError> {
        let url = self.transport.endpoint.url(target)?;
        if body.is_none() {
            headers.remove(header::CONTENT_LENGTH);
        }
        if let Some(login) =
            self.transport.endpoint.login().filter(|_| !headers.contains_key(header::AUTHORIZATION))
        {
            headers.insert(header::AUTHORIZATION, login);
        }
        self.send(method, url, headers, body).await
    }

    /// Asks a CAS that the Hub has named, with the headers that are given and no others.
    ///
    /// # Errors
    /// As [`Relay::pass`]; `Malformed` for what is no address of the web.
    pub async fn cas(&self, url: &str, headers: HeaderMap) -> Result<Response, HubError> {
        self.web(url, headers, ("xet-read-token", "the CAS has no address")).await
    }

    /// Asks whom the Hub has sent somebody to, with the headers that are given and no others.
    ///
    /// # Errors
    /// As [`Relay::cas`].
    pub async fn elsewhere(&self, url: &str, headers: HeaderMap) -> Result<Response, HubError> {
        self.web(url, headers, ("redirect", "it leads to no address")).await
    }

    async fn web(
        &self,
        url: &str,
        headers: HeaderMap,
        (what, reason): (&'static str, &str),
    ) -> Result<Response, HubError> {
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "https" | "http"));
        let url = parsed.ok_or_else(|| HubError::Malformed {
            url: shown_text(url),
            what,
            reason: reason.to_owned(),
        })?;
        self.send(Method::GET, url, headers, None).await
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        mut headers: HeaderMap,
        body: Option<Body>,
    ) -> Result<Response, HubError> {
        strip(&mut headers);
        headers.remove(header::HOST);
        let limit = if matches!(method, Method::GET | Method::HEAD) { ANSWER } else { WRITTEN };
        let mut request = self.transport.client_for(&url)?.request(method, url.clone()).headers(headers);
        if let Some(body) = body {
            request = request.body(reqwest::Body::wrap_stream(body.into_data_stream()));
        }
        let answer = match crate::lived::within(limit, request.send()).await {
            None => {
                return Err(HubError::Stalled { url: shown(&url), silence: limit, got: 0, want: None });
            }
            Some(Err(error)) => {
                let reason = shorter(&cause(&error));
                return Err(HubError::Unreachable { url: shown(&url), reason, tries: 1 });
            }
            Some(Ok(answer)) => answer,
        };
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        strip(&mut headers);
        let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// Path and query below the endpoint of a link in an answer to `target`, if it leads to the same Hub; a link to the public Hub
    /// does, whichever is configured.
    #[must_use]
    pub fn at_home(&self, target: &str, link: &str) -> Option<String> {
        let endpoint = &self.transport.endpoint;
        let url = endpoint.url(target).ok()?.join(link).ok()?;
        let url = endpoint.here(&url).unwrap_or(url);
        let base = endpoint.url("/").ok()?;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = url.path().strip_prefix(base.path().trim_end_matches('/'))?;
        (endpoint.owns(&url) && path.starts_with('/') && is_bare(&url)).then(|| format!("{path}{query}"))
    }
}

/// Without a user name, a password and a fragment.
fn is_bare(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none() && url.fragment().is_none()
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&OF_ONE_HOP) {
        headers.remove(name);
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("endpoint", &self.transport.endpoint).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_same_hub_are_told_from_others() {
        let relay = |endpoint: &str| Relay::new(HubConfig::new(endpoint, None)).expect("an address");
        let own = relay("http://hub.example:1234/mirror");
        let home = |link: &str| own.at_home("/a/b/resolve/main/f", link);
        assert_eq!(home("/mirror/new/b/resolve/main/f?x=1").as_deref(), Some("/new/b/resolve/main/f?x=1"));
        assert_eq!(home("http://hub.example:1234/mirror/x").as_deref(), Some("/x"));
        assert_eq!(home("https://huggingface.co/api/x?cursor=2").as_deref(), Some("/api/x?cursor=2"));
        for link in
            ["http://cdn.example/x", "/elsewhere", "http://u:p@hub.example:1234/mirror/x", "//evil.example/x"]
        {
            assert_eq!(home(link), None, "{link}");
        }
    }

    #[test]
    fn what_is_of_one_hop_is_not_passed_on() {
        let pairs =
            [("connection", "close, x-own"), ("x-own", "1"), ("te", "trailers"), ("x-repo-commit", "c")];
        let mut headers: HeaderMap = pairs
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect();
        strip(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-repo-commit"]);
    }
}
