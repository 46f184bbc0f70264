//! Settings of the origin client, and the retry policy with its numbers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zest_store::{Env, Token};

use super::retry::{Persistence, RetryPolicy};

/// Silence allowed to the CAS, see [`HubConfig::cas_stall`].
const CAS_STALL: Duration = Duration::from_secs(30);

/// Settings of a [`Hub`](super::Hub). [`HubConfig::new`] gives the defaults; fields may be changed before `Hub::new`.
#[derive(Clone)]
pub struct HubConfig {
    /// Base address of the Hub, `http` or `https`, without user name; a path prefix is allowed (mirrors).
    pub endpoint: String,
    /// Sent to the endpoint's origin only, never after a redirect to another one.
    pub token: Option<Token>,
    /// Appended to the user agent after `; `; empty for none.
    pub user_agent_extra: String,
    /// Silence on a transfer (small files, xorbs) after which it fails with `Stalled`: 10 s, or `HF_HUB_DOWNLOAD_TIMEOUT`.
    pub stall: Duration,
    /// Silence of the Hub on a metadata request: 10 s, or `HF_HUB_ETAG_TIMEOUT`.
    pub api_stall: Duration,
    /// Silence of the CAS on a reconstruction: 30 s, because it computes large ones before the first byte.
    pub cas_stall: Duration,
    /// Limit for name lookup, TCP and TLS together: 10 s (as huggingface_hub's timeouts).
    pub connect_timeout: Duration,
    /// Transfers in flight at once, and idle connections kept per host: 64.
    pub transfers_max: usize,
    /// Use `HTTP(S)_PROXY`, `NO_PROXY` and the system's proxies. Plain HTTP to a loopback address never uses one.
    pub system_proxy: bool,
    /// Tries of metadata requests, CAS requests and small files.
    pub retry: RetryPolicy,
    /// Tries of CAS requests and of the token for them, if not `retry`.
    pub cas_retry: Option<RetryPolicy>,
    /// Tries of one xorb range; fewer, since the scheduler has other sources and tries again itself.
    pub range_retry: RetryPolicy,
    /// Decides in place of `retry`, while it is patient, when metadata and small files are asked for again, and for how long.
    pub persistence: Option<Arc<dyn Persistence>>,
}

impl HubConfig {
    /// Settings as the environment has them: endpoint, token, `HF_HUB_ETAG_TIMEOUT`, `HF_HUB_DOWNLOAD_TIMEOUT`.
    #[must_use]
    pub fn from_env(env: &Env) -> Self {
        Self {
            stall: env.download_timeout,
            api_stall: env.etag_timeout,
            cas_stall: env.download_timeout.max(CAS_STALL),
            ..Self::new(env.endpoint.as_str(), env.token.clone())
        }
    }

    /// Default settings for an endpoint.
    #[must_use]
    pub fn new(endpoint: impl Into<String>, token: Option<Token>) -> Self {
        Self {
            endpoint: endpoint.into(),
            token,
            user_agent_extra: String::new(),
            stall: Duration::from_secs(10),
            api_stall: Duration::from_secs(10),
            cas_stall: CAS_STALL,
            connect_timeout: Duration::from_secs(10),
            transfers_max: 64,
            system_proxy: true,
            retry: RetryPolicy::default(),
            cas_retry: None,
            persistence: None,
            range_retry: RetryPolicy { tries: 4, ..RetryPolicy::default() },
        }
    }
}

impl fmt::Debug for HubConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubConfig")
            .field("endpoint", &super::address::shown_text(&self.endpoint))
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("user_agent_extra", &self.user_agent_extra)
            .field("stall", &self.stall)
            .field("api_stall", &self.api_stall)
            .field("cas_stall", &self.cas_stall)
            .field("connect_timeout", &self.connect_timeout)
            .field("transfers_max", &self.transfers_max)
            .field("system_proxy", &self.system_proxy)
            .field("retry", &self.retry)
            .field("cas_retry", &self.cas_retry)
            .field("range_retry", &self.range_retry)
            .field("persistence", &self.persistence)
            .finish()
    }
}
