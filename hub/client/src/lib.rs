#![cfg_attr(not(test), warn(clippy::unwrap_used))]
//! The origin client: everything that zest asks of a Hugging Face Hub, its CAS and its CDN, over HTTP/1.1. What answers such
//! questions is another room, `hub/server/`; neither imports the other.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use zest_hub::{Hub, HubConfig};
//! use zest_store::{RepoId, RepoType};
//!
//! let hub = Hub::new(HubConfig::new("https://huggingface.co", None))?;
//! let repo = RepoId::new(RepoType::Model, "org/name")?;
//! let revision = hub.revision(&repo, "main").await?;
//! for entry in hub.tree(&repo, &revision.commit).await? {
//!     if let Some(hash) = entry.xet_hash {
//!         let cas = hub.cas(&repo, &revision.commit).await?;
//!         let plan = cas.reconstruction(&hash).await?;
//!         println!("{} in {} parts", entry.path, plan.terms.len());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What it owns: connections, CAS tokens, retries (`retry.rs`), the knowledge which CAS lacks v2. What it never does:
//! write to disk, judge content, send a token anywhere but to its own origin, or read an answer without a bound.
//! Every method is cancel-safe: dropping its future gives up the request and nothing else.

mod address;
mod ask;
mod body;
mod cas;
mod coding;
mod config;
mod error;
mod fields;
#[doc(hidden)]
pub mod fuzzing;
mod gentle;
mod http;
pub mod limits;
pub mod lived;
mod names;
mod plain;
mod relay;
mod retry;
mod text;
mod token;
mod tree;

use crate::limits::TOKEN_BYTES_MAX;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use zest_store::{Endpoint, RepoId, TreeEntry, check_revision, check_storable, is_commit};

pub use address::{endpoint_name, endpoint_secrets};
pub use body::{Body, TRICKLE_BYTES_S};
pub use cas::Cas;
pub use coding::{Coding, Damaged, Unpacker};
pub use config::HubConfig;
pub use error::{ErrorKind, HubError};
pub use names::{Names, look_up};
pub use plain::PlainBody;
pub use relay::Relay;
pub use retry::{Persistence, RetryPolicy};
pub use tree::{RefusedRow, Tree, read_page};

use ask::{About, Ask, Party};
use http::Transport;
use token::{Tokens, XetToken};

/// A Hugging Face Hub (or mirror, or `zest hub`). Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Transport,
    tokens: Tokens,
    /// Origins of CASes without v2 reconstructions.
    v1_hosts: Mutex<BTreeSet<String>>,
}

/// The Hub itself answered 401, 403 or 404 to a request about a repository.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'a> {
    /// Which repository.
    pub repo: &'a RepoId,
    /// Branch, tag or commit, as it was asked for.
    pub revision: &'a str,
    /// Whether it was asked as a stranger ([`Hub::is_public`]), token or not.
    pub as_stranger: bool,
    /// What the answer means.
    pub error: &'a HubError,
}

/// Who hears of refusals.
type RefusalWatch = Box<dyn Fn(&Refusal<'_>) + Send + Sync>;

/// What a branch, tag or commit stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionInfo {
    /// 40 lower-case hex digits.
    pub commit: String,
    /// Only members see it. `true` also when the Hub does not say: nothing is shared by default.
    pub private: bool,
    /// Files only for people on a list, or for nobody (disabled). `true` also when the Hub does not say.
    pub gated: bool,
}

impl RevisionInfo {
    /// What of the answer is read.
    const FIELDS: [&str; 4] = ["sha", "private", "gated", "disabled"];

    fn read(answer: &BTreeMap<String, serde_json::Value>) -> Result<Self, String> {
        let commit = answer.get("sha").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        if !is_commit(&commit) {
            return Err(format!("commit {commit:?}"));
        }
        // What is not said, or not with `false`, is not open.
        let is_open = |name: &str| answer.get(name) == Some(&serde_json::Value::Bool(false));
        // Mirrors leave this one out.
        let disabled = answer.get("disabled").is_some_and(|value| *value != serde_json::Value::Bool(false));
        Ok(Self { commit, private: !is_open("private"), gated: disabled || !is_open("gated") })
    }
}

impl Hub {
    /// Prepares a client; sends nothing.
    ///
    /// # Errors
    /// `Config` if the endpoint is no usable address, the token no token, or TLS cannot start.
    pub fn new(config: HubConfig) -> Result<Self, HubError> {
        let transport = Transport::new(config)?;
        let inner = Inner { transport, tokens: Tokens::default(), v1_hosts: Mutex::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whose client it is.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(&self.inner.transport.config.endpoint)
    }

    /// A client of the same Hub without a token.
    ///
    /// # Errors
    /// As [`Hub::new`].
    pub fn anonymous(&self) -> Result<Self, HubError> {
        match &self.inner.transport.config.token {
            None => Ok(self.clone()),
            Some(_) => Self::new(HubConfig { token: None, ..self.inner.transport.config.clone() }),
        }
    }

    /// Has `tell` hear of every refusal of the Hub, whatever the request was for, before its caller does. The first watch
    /// of a client and its clones is the only one.
    pub fn watch_refusals(&self, tell: impl Fn(&Refusal<'_>) + Send + Sync + 'static) {
        let _the_first_counts = self.inner.transport.watch.set(Box::new(tell));
    }

    /// Whether anything but a log-in page ever came from the origin of this address.
    #[must_use]
    pub fn has_answered(&self, url: &str) -> bool {
        self.inner.transport.has_answered(url)
    }

    /// Bytes of the Hub's and the CAS's answers that came so far, as they come: lists and layouts, not the content of files.
    #[must_use]
    pub fn answers_bytes(&self) -> u64 {
        self.inner.transport.answers_bytes()
    }

    /// Seconds that this machine's clock is ahead of the Hub's (negative: behind), by the date of its last answer; `None` before
    /// there was one.
    #[must_use]
    pub fn clock_ahead_s(&self) -> Option<i64> {
        self.inner.transport.ahead_s()
    }

    /// Whether all requests are a stranger's, as the client has no token.
    #[must_use]
    pub fn asks_as_stranger(&self) -> bool {
        self.inner.transport.is_stranger()
    }

    /// Resolves a branch, tag, `refs/pr/N` or commit.
    ///
    /// # Errors
    /// `LoginNeeded`, `TokenRefused`, `RepoNotFound`, `RevisionNotFound`, and what any request can meet.
    pub async fn revision(&self, repo: &RepoId, rev: &str) -> Result<RevisionInfo, HubError> {
        self.ask_revision(repo, rev, false).await
    }

    /// The same as a stranger is answered, whatever token this client has. What it says where the repository is neither private nor
    /// gated is the proof that public sharing needs, of the commit that it names.
    ///
    /// # Errors
    /// As [`Hub::revision`].
    pub async fn revision_as_stranger(&self, repo: &RepoId, rev: &str) -> Result<RevisionInfo, HubError> {
        self.ask_revision(repo, rev, true).await
    }

    async fn ask_revision(
        &self,
        repo: &RepoId,
        rev: &str,
        anonymous: bool,
    ) -> Result<RevisionInfo, HubError> {
        self.check_revision(repo, rev)?;
        let transport = &self.inner.transport;
        let url = transport.endpoint.api(repo, &format!("revision/{}", address::encode_segment(rev)))?;
        let shown = address::shown(&url);
        let party = Party::Hub { repo, revision: rev, about: About::Revision, anonymous };
        let ask = Ask { url, party, range: None, form: None, stall: transport.config.api_stall };
        let answer = transport.fields(&ask, &RevisionInfo::FIELDS).await?;
        RevisionInfo::read(&answer).map_err(|reason| HubError::Malformed {
            url: shown,
            what: "revision",
            reason: text::shorter(&reason),
        })
    }

    /// All files of a commit, in the Hub's order, with names and hashes that are safe to use as paths.
    ///
    /// # Errors
    /// `UnsafeName`, `TooLarge`, `Malformed`, `Redirect` for a listing that breaks the rules; what `revision` can meet.
    pub async fn tree(&self, repo: &RepoId, commit: &str) -> Result<Vec<TreeEntry>, HubError> {
        self.listing(repo, commit).await?.whole()
    }

    /// The same where rows that cannot be used cost no others: they are told beside what can.
    ///
    /// # Errors
    /// `TooLarge`, `Malformed`, `Redirect` for a listing that is none; what `revision` can meet.
    pub async fn listing(&self, repo: &RepoId, commit: &str) -> Result<Tree, HubError> {
        self.check_revision(repo, commit)?;
        tree::list(&self.inner.transport, repo, commit).await
    }

    /// Some files of a commit: those named, and all below the folders named, as far as they are there. Asks for no more than
    /// that where the Hub can tell, which may be little of a large repository.
    ///
    /// # Errors
    /// As [`Hub::listing`].
    pub async fn part(
        &self,
        repo: &RepoId,
        commit: &str,
        files: &[String],
        folders: &[String],
    ) -> Result<Tree, HubError> {
        self.check_revision(repo, commit)?;
        tree::part(&self.inner.transport, repo, commit, files, folders).await
    }

    /// Whether a stranger without a token may read this commit: the proof that public sharing needs.
    ///
    /// Always asks the Hub. Without a token of our own, the answer also saves [`Hub::cas`] its request.
    ///
    /// # Errors
    /// Whatever leaves the question open (no network, 5xx, an answer that is no token). Treat it as "not public".
    pub async fn is_public(&self, repo: &RepoId, commit: &str) -> Result<bool, HubError> {
        self.check_revision(repo, commit)?;
        match self.fetch_token(repo, commit, true).await {
            Ok(token) => {
                if self.inner.transport.config.token.is_none() {
                    self.inner.tokens.put(repo, commit, token).await;
                }
                Ok(true)
            }
            Err(HubError::Status { status: 401 | 403 | 404, .. }) => Ok(false),
            Err(error) => match error.kind() {
                ErrorKind::Auth
                | ErrorKind::Gated
                | ErrorKind::RepoNotFound
                | ErrorKind::RevisionNotFound
                | ErrorKind::EntryNotFound => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Streams a whole file in one GET. Meant for files outside Xet; works for any.
    ///
    /// The length is the server's claim: bound it with [`Body::at_most`] and prove the content.
    ///
    /// # Errors
    /// `EntryNotFound`, `Gated`, `UnsafeName`, and what any request can meet.
    pub async fn small_file(&self, repo: &RepoId, commit: &str, path: &str) -> Result<Body, HubError> {
        self.resolve(repo, commit, path, None).await
    }

    /// Streams `bytes` (end exclusive) of a file through the plain address that the Hub redirects to: the way around a CAS
    /// that is blocked here. Each call asks the Hub for the address, so prefer few long ranges.
    ///
    /// # Errors
    /// As [`Hub::small_file`], and `WrongRange`, `UrlExpired`.
    pub async fn whole_file(
        &self,
        repo: &RepoId,
        commit: &str,
        path: &str,
        bytes: Range<u64>,
    ) -> Result<Body, HubError> {
        self.resolve(repo, commit, path, Some(bytes)).await
    }

    /// The CAS for the files of a commit. Fetches the token if none is kept, so that a refusal shows here.
    ///
    /// # Errors
    /// `Gated`, `LoginNeeded`, `RepoNotFound`, `Malformed`, and what any request can meet.
    pub async fn cas(&self, repo: &RepoId, commit: &str) -> Result<Cas, HubError> {
        self.check_revision(repo, commit)?;
        let token = self.token(repo, commit).await?;
        Ok(Cas::new(self.clone(), repo.clone(), commit.to_owned(), &token))
    }

    /// Forgets the tokens for the CAS that earlier answers brought for a repository: the Hub is asked anew whether it may be read.
    /// Transfers that run keep theirs.
    pub fn forget_tokens(&self, repo: &RepoId) {
        self.inner.tokens.forget(repo);
    }

    async fn resolve(
        &self,
        repo: &RepoId,
        commit: &str,
        path: &str,
        range: Option<Range<u64>>,
    ) -> Result<Body, HubError> {
        self.check_revision(repo, commit)?;
        check_storable(path).map_err(|error| HubError::UnsafeName {
            repo: address::shown_repo(repo),
            reason: text::shorter(&error.to_string()),
        })?;
        let transport = &self.inner.transport;
        let url = transport.endpoint.resolve(repo, commit, path)?;
        let party = Party::Hub { repo, revision: commit, about: About::File(path), anonymous: false };
        let ask = Ask { url, party, range, form: None, stall: transport.config.stall };
        transport.open(&ask, &transport.config.retry).await
    }

    async fn range(&self, url: &str, bytes: Range<u64>, gently: bool) -> Result<Body, HubError> {
        let transport = &self.inner.transport;
        let url = cas::signed(&transport.endpoint.url("/")?, url)?;
        let stall = transport.config.stall;
        let ask = Ask { url, party: Party::Signed { gently }, range: Some(bytes), form: None, stall };
        transport.open(&ask, &transport.config.range_retry).await
    }

    async fn token(&self, repo: &RepoId, commit: &str) -> Result<Arc<XetToken>, HubError> {
        self.inner.tokens.get(repo, commit, || self.fetch_token(repo, commit, false)).await
    }

    async fn fetch_token(&self, repo: &RepoId, commit: &str, anonymous: bool) -> Result<XetToken, HubError> {
        let transport = &self.inner.transport;
        let url =
            transport.endpoint.api(repo, &format!("xet-read-token/{}", address::encode_segment(commit)))?;
        let party = Party::Hub { repo, revision: commit, about: About::Revision, anonymous };
        let ask = Ask { url, party, range: None, form: None, stall: transport.config.api_stall };
        let (headers, body) = match anonymous {
            true => transport.fetch(&ask, TOKEN_BYTES_MAX).await?,
            false => transport.fetch_for_cas(&ask, TOKEN_BYTES_MAX).await?,
        };
        token::parse(&ask.url, &headers, &body)
    }

    /// A name that cannot be a revision is not asked for: dot segments would be folded away and ask for something else.
    fn check_revision(&self, repo: &RepoId, rev: &str) -> Result<(), HubError> {
        if check_revision(rev).is_err() {
            return Err(HubError::RevisionNotFound {
                repo: address::shown_repo(repo),
                revision: rev.to_owned(),
            });
        }
        Ok(())
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("config", &self.inner.transport.config).finish_non_exhaustive()
    }
}
