//! What a user wants fetched.

use super::policy::own_policy;
use crate::Policy;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use zest_store::{NameError, RepoId, RepoType, Token};

/// How soon a pull is wanted, compared with the others of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// After all others.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Before all others.
    High,
}

impl From<Priority> for zest_core::node::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Low => Self::Low,
            Priority::Normal => Self::Normal,
            Priority::High => Self::High,
        }
    }
}

/// A request for a [`Session`](crate::Session): what to pull, and where to. Made with [`PullRequest::new`] and changed with its
/// other methods, or read from a document (serde).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "Document", into = "Document")]
#[non_exhaustive]
pub struct PullRequest {
    /// The repository.
    pub repo: RepoId,
    /// Branch, tag, `refs/pr/N` or commit.
    pub revision: String,
    /// Files by name; empty means all.
    pub files: Vec<String>,
    /// Patterns of files to take (`fnmatch`); empty means all.
    pub include: Vec<String>,
    /// Patterns of files to leave out.
    pub exclude: Vec<String>,
    /// Put the files at their paths in this folder instead of the cache.
    pub local_dir: Option<PathBuf>,
    /// The cache, if not the session's.
    pub cache_dir: Option<PathBuf>,
    /// The Hub, if not the session's. The session's token is for the session's Hub alone.
    pub endpoint: Option<String>,
    /// Sent to the Hub in place of the session's. It is in no document.
    pub token: Option<Token>,
    /// Without a token of its own it may use the session's. It is in no document, and so for every request that was read from one.
    pub implicit_token: bool,
    /// The caller holds the lock of its one file in the cache, as huggingface_hub does while it downloads: it is not waited for. It is
    /// in no document.
    pub lock_held: bool,
    /// Its one file gets its name before it is durable: who reads it waits for that name, as for huggingface_hub's own download, which
    /// makes nothing durable. Nothing is noted or shared of it until it is. It is in no document.
    pub named_first: bool,
    /// Its blobs stay with the repository, also where the cache has a store of shared ones: the caller knows of none.
    pub own_blobs: bool,
    /// Fetch even what is there.
    pub force: bool,
    /// Only say what would be fetched.
    pub dry_run: bool,
    /// Peers to ask: `HOST:PORT`, names, IPv4, `[IPv6]`.
    pub peers: Vec<String>,
    /// Whether peers may be asked at all.
    pub p2p: bool,
    /// How the origin is used beside peers, if not as the session does. A file that others want too comes as the fastest of them has it.
    pub policy: Option<Policy>,
    /// Keep xorbs in the original's cache layout too.
    pub keep_xorbs: bool,
    /// How soon it is wanted.
    pub priority: Priority,
}

/// Methods that change one thing each.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $kind:ty => $value:expr;)*) => {
        $($(#[$doc])* #[must_use] pub fn $name(mut self, $name: $kind) -> PullRequest {
            self.$name = $value($name);
            self
        })*
    };
}

impl PullRequest {
    /// All of a repository's revision `main`, into the cache, from wherever it comes quickest.
    #[must_use]
    pub fn new(repo: RepoId) -> Self {
        Self {
            repo,
            revision: REVISION.to_owned(),
            files: Vec::new(),
            include: Vec::new(),
            exclude: Vec::new(),
            local_dir: None,
            cache_dir: None,
            endpoint: None,
            token: None,
            implicit_token: true,
            lock_held: false,
            named_first: false,
            own_blobs: false,
            force: false,
            dry_run: false,
            peers: Vec::new(),
            p2p: true,
            policy: None,
            keep_xorbs: false,
            priority: Priority::default(),
        }
    }

    /// The same for a model, by its name.
    ///
    /// # Errors
    /// The name is none.
    pub fn model(name: &str) -> Result<Self, NameError> {
        RepoId::new(RepoType::Model, name).map(Self::new)
    }

    setters! {
        /// See [`PullRequest::revision`].
        revision: impl Into<String> => Into::into;
        /// See [`PullRequest::files`].
        files: Vec<String> => std::convert::identity;
        /// See [`PullRequest::include`].
        include: Vec<String> => std::convert::identity;
        /// See [`PullRequest::exclude`].
        exclude: Vec<String> => std::convert::identity;
        /// See [`PullRequest::local_dir`].
        local_dir: Option<PathBuf> => std::convert::identity;
        /// See [`PullRequest::cache_dir`].
        cache_dir: Option<PathBuf> => std::convert::identity;
        /// See [`PullRequest::endpoint`].
        endpoint: Option<String> => std::convert::identity;
        /// See [`PullRequest::token`].
        token: Option<Token> => std::convert::identity;
        /// See [`PullRequest::implicit_token`].
        implicit_token: bool => std::convert::identity;
        /// See [`PullRequest::lock_held`].
        lock_held: bool => std::convert::identity;
        /// See [`PullRequest::named_first`].
        named_first: bool => std::convert::identity;
        /// See [`PullRequest::own_blobs`].
        own_blobs: bool => std::convert::identity;
        /// See [`PullRequest::force`].
        force: bool => std::convert::identity;
        /// See [`PullRequest::dry_run`].
        dry_run: bool => std::convert::identity;
        /// See [`PullRequest::peers`].
        peers: Vec<String> => std::convert::identity;
        /// See [`PullRequest::p2p`].
        p2p: bool => std::convert::identity;
        /// See [`PullRequest::policy`].
        policy: Option<Policy> => std::convert::identity;
        /// See [`PullRequest::keep_xorbs`].
        keep_xorbs: bool => std::convert::identity;
        /// See [`PullRequest::priority`].
        priority: Priority => std::convert::identity;
    }
}

/// The revision where none is named.
const REVISION: &str = "main";

/// The request as programs write it.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(rename = "Request"))]
struct Document {
    repo: String,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default = "main")]
    revision: String,
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    local_dir: Option<PathBuf>,
    #[serde(default)]
    cache_dir: Option<PathBuf>,
    #[serde(default)]
    endpoint: Option<String>,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    peers: Vec<String>,
    #[serde(default = "yes")]
    p2p: bool,
    #[serde(default, with = "own_policy", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<super::PolicyName>"))]
    policy: Option<Policy>,
    #[serde(default)]
    keep_xorbs: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    own_blobs: bool,
    #[serde(default)]
    priority: Priority,
}

fn main() -> String {
    REVISION.to_owned()
}

fn yes() -> bool {
    true
}

impl TryFrom<Document> for PullRequest {
    type Error = String;

    fn try_from(document: Document) -> Result<Self, String> {
        let named = |word: &str| RepoType::ALL.into_iter().find(|kind| kind.as_str() == word);
        let kind = match document.kind.as_deref() {
            None => RepoType::Model,
            Some(word) => named(word).ok_or("the type is none of model, dataset, space")?,
        };
        let repo = RepoId::new(kind, &document.repo).map_err(|error| error.to_string())?;
        Ok(Self {
            repo,
            revision: document.revision,
            files: document.files,
            include: document.include,
            exclude: document.exclude,
            local_dir: document.local_dir,
            cache_dir: document.cache_dir,
            endpoint: document.endpoint,
            token: None,
            implicit_token: true,
            lock_held: false,
            named_first: false,
            own_blobs: document.own_blobs,
            force: document.force,
            dry_run: document.dry_run,
            peers: document.peers,
            p2p: document.p2p,
            policy: document.policy,
            keep_xorbs: document.keep_xorbs,
            priority: document.priority,
        })
    }
}

impl From<PullRequest> for Document {
    fn from(request: PullRequest) -> Self {
        Self {
            repo: request.repo.name,
            kind: Some(request.repo.kind.as_str().to_owned()),
            revision: request.revision,
            files: request.files,
            include: request.include,
            exclude: request.exclude,
            local_dir: request.local_dir,
            cache_dir: request.cache_dir,
            endpoint: request.endpoint,
            force: request.force,
            dry_run: request.dry_run,
            peers: request.peers,
            p2p: request.p2p,
            policy: request.policy,
            keep_xorbs: request.keep_xorbs,
            own_blobs: request.own_blobs,
            priority: request.priority,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_needs_a_name_and_nothing_else() {
        let request: PullRequest = serde_json::from_str(r#"{"repo":"org/name"}"#).expect("enough");
        assert_eq!(request, PullRequest::model("org/name").expect("a good name"));
        let text = r#"{"repo":"o/n","type":"dataset","revision":"v1","p2p":false,"priority":"high"}"#;
        let request: PullRequest = serde_json::from_str(text).expect("good");
        assert_eq!(
            (request.repo.kind, request.p2p, request.priority),
            (RepoType::Dataset, false, Priority::High)
        );
    }

    #[test]
    fn the_policy_is_its_own_or_left_to_the_session() {
        let with = |policy: &str| format!(r#"{{"repo":"o/n","policy":{policy}}}"#);
        for (word, policy) in [("fastest", Policy::Fastest), ("spare-origin", Policy::SpareOrigin)] {
            let request: PullRequest = serde_json::from_str(&with(&format!("{word:?}"))).expect("good");
            assert_eq!(request.policy, Some(policy));
            let again: PullRequest =
                serde_json::from_value(serde_json::to_value(&request).expect("plain")).expect("good");
            assert_eq!(again, request, "as a daemon notes it for the next one");
        }
        let request: PullRequest = serde_json::from_str(&with("null")).expect("good");
        assert_eq!(request.policy, None);
        assert!(serde_json::to_value(&request).expect("plain").get("policy").is_none());
        assert!(serde_json::from_str::<PullRequest>(&with(r#""slow""#)).is_err());
    }

    #[test]
    fn nonsense_is_refused_and_a_token_is_in_no_document() {
        for text in
            [r#"{}"#, r#"{"repo":"../x"}"#, r#"{"repo":"a/b","type":"x"}"#, r#"{"repo":"a/b","reop":1}"#]
        {
            assert!(serde_json::from_str::<PullRequest>(text).is_err(), "{text}");
        }
        let request = PullRequest::model("a/b").expect("a good name").token(Token::new("hf_secret"));
        let text = serde_json::to_string(&request).expect("plain data");
        assert!(!text.contains("secret"), "{text}");
    }
}
