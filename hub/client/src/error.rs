//! What can go wrong between us and the origin, with the values that tell who is at fault.
//!
//! Texts that come from a server are bounded, stripped of control characters and scrubbed of our own secrets before they
//! get here (`client/text.rs`); addresses are shown without query, so that neither tokens nor URL signatures are printed.

use std::time::Duration;

/// The origin refused, failed or broke its own rules.
///
/// `Clone`, because several tasks can wait for one request (a CAS token) and all get its outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// What is set as the Hub token cannot be one, and is not sent.
    #[error("the Hub token holds characters that no token can have; check `HF_TOKEN` and the token file")]
    NoToken,
    /// Our own settings cannot work: endpoint is no URL, TLS cannot start.
    #[error("{reason}")]
    Config {
        /// What is wrong with which setting; never its secret value.
        reason: String,
    },
    /// 401 to a request without a token. The Hub answers so for private, gated and missing repositories alike.
    #[error("{repo} is private, gated or does not exist{}", tail(message))]
    LoginNeeded {
        /// Kind and name of the repository.
        repo: String,
        /// The Hub's own words, possibly empty.
        message: String,
    },
    /// 401 to a request with a token.
    #[error("the Hub does not accept the token in use for {repo}; check `HF_TOKEN`{}", tail(message))]
    TokenRefused {
        /// Kind and name of the repository.
        repo: String,
        /// The Hub's own words, possibly empty.
        message: String,
    },
    /// 401 although the user name and password of the endpoint's address were sent.
    #[error("{url} does not accept the user name and password of the endpoint for {repo}{}", tail(message))]
    LoginRefused {
        /// Kind and name of the repository.
        repo: String,
        /// Address without query, user name and password.
        url: String,
        /// The server's own words, possibly empty.
        message: String,
    },
    /// The repository hands its files only to people on a list.
    #[error("{repo} is gated: ask for access at {page}{}", gated_tail(*had_token))]
    Gated {
        /// Kind and name of the repository.
        repo: String,
        /// Where access is asked for.
        page: String,
        /// Whether the request carried a token.
        had_token: bool,
    },
    /// 403 for another reason than a gate: token without the needed scope, address block, proxy.
    #[error("access to {repo} is forbidden ({url}){}", tail(message))]
    Forbidden {
        /// Kind and name of the repository.
        repo: String,
        /// Address without query.
        url: String,
        /// The server's own words, possibly empty.
        message: String,
    },
    /// The Hub knows no such repository, or hides it from the token in use.
    #[error("{repo} does not exist{}", hidden_tail(*had_token))]
    RepoNotFound {
        /// Kind and name of the repository.
        repo: String,
        /// Whether the request carried a token.
        had_token: bool,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{repo} has no revision {revision:?}")]
    RevisionNotFound {
        /// Kind and name of the repository.
        repo: String,
        /// As it was asked for.
        revision: String,
    },
    /// The commit has no such file.
    #[error("{repo} has no file {path:?} at revision {revision}")]
    EntryNotFound {
        /// Kind and name of the repository.
        repo: String,
        /// As it was asked for.
        revision: String,
        /// As it was asked for.
        path: String,
    },
    /// The CAS refused the token that the Hub had just made for it.
    #[error("CAS answered {status} to a fresh token ({url}){}", tail(message))]
    CasRefused {
        /// Address without query.
        url: String,
        /// 401 or 403.
        status: u16,
        /// The server's own words, possibly empty.
        message: String,
    },
    /// The CAS knows no file of that hash.
    #[error("CAS knows no file {file} ({url})")]
    CasFileNotFound {
        /// Address without query.
        url: String,
        /// Xet hash of the file.
        file: String,
    },
    /// No connection: name not found, refused, timed out, TLS failed, proxy failed.
    #[error("cannot reach {url}: {reason} (tries: {tries})")]
    Unreachable {
        /// Address without query.
        url: String,
        /// What the network said.
        reason: String,
        /// Requests sent before giving up.
        tries: u32,
    },
    /// 429 until our tries ran out.
    #[error("{url} limits our rate (429){} (tries: {tries})", retry_tail(retry_after.as_ref()))]
    RateLimited {
        /// Address without query.
        url: String,
        /// How long the server asks us to wait, if it says.
        retry_after: Option<Duration>,
        /// Requests sent before giving up.
        tries: u32,
    },
    /// 403 to a signed URL: expired, or the range is outside the signed set. Ask for the reconstruction again, once.
    #[error("signed address refused ({url}){}", tail(body))]
    UrlExpired {
        /// Address without query.
        url: String,
        /// Beginning of the answer's text, which tells expiry from other reasons.
        body: String,
    },
    /// 5xx or 408 until our tries ran out.
    #[error("{url} answered {status}{} (tries: {tries}){}", retry_tail(retry_after.as_ref()), tail(message))]
    Server {
        /// Address without query.
        url: String,
        /// HTTP status.
        status: u16,
        /// The server's own words, possibly empty.
        message: String,
        /// How long the server asks us to wait, if it says.
        retry_after: Option<Duration>,
        /// Requests sent before giving up.
        tries: u32,
    },
    /// A status that no rule of the interface explains.
    #[error("{url} answered {status}, which is not expected here{}", tail(message))]
    Status {
        /// Address without query.
        url: String,
        /// HTTP status.
        status: u16,
        /// The server's own words, possibly empty.
        message: String,
    },
    /// The connection stands but no byte came for `silence`.
    #[error("{url} sent no byte for {silence:?}, after {got}{}", of(want.as_ref()))]
    Stalled {
        /// Address without query.
        url: String,
        /// How long we waited.
        silence: Duration,
        /// Body bytes received before.
        got: u64,
        /// Body bytes promised, if known.
        want: Option<u64>,
    },
    /// The connection stands and next to nothing comes.
    #[error("{url} trickles: {got} bytes in {window:?}")]
    Trickles {
        /// Address without query.
        url: String,
        /// How long that was watched.
        window: Duration,
        /// What came in that time.
        got: u64,
    },
    /// The connection broke before the answer was complete.
    #[error("{url} broke off after {got}{}: {reason}", of(want.as_ref()))]
    ShortBody {
        /// Address without query.
        url: String,
        /// Body bytes received.
        got: u64,
        /// Body bytes promised, if known.
        want: Option<u64>,
        /// What the network said.
        reason: String,
    },
    /// An answer is larger than this use of it can be.
    #[error("{what} from {url} exceeds the limit of {limit}")]
    TooLarge {
        /// Address without query.
        url: String,
        /// What was being read, with its unit.
        what: &'static str,
        /// The limit in that unit.
        limit: u64,
    },
    /// The answer holds other bytes than the range asked for.
    #[error("{url} answered bytes {want_start}-{want_last} with {got}")]
    WrongRange {
        /// Address without query.
        url: String,
        /// First byte asked for.
        want_start: u64,
        /// Last byte asked for (inclusive).
        want_last: u64,
        /// Status and `Content-Range` or length of the answer.
        got: String,
    },
    /// A redirect or link that we do not follow.
    #[error("{url} points elsewhere in a way we do not follow: {reason}")]
    Redirect {
        /// Address without query.
        url: String,
        /// Why not.
        reason: String,
    },
    /// An answer that does not have the documented shape.
    #[error("{what} from {url} is malformed: {reason}")]
    Malformed {
        /// Address without query.
        url: String,
        /// What was being read.
        what: &'static str,
        /// Where and how it deviates.
        reason: String,
    },
    /// A web page came where none can be: the log-in page of a network, the notice of a proxy, an endpoint that is no Hub.
    /// Like a line that is cut it may pass by itself.
    #[error(
        "{url} answered with a web page: no Hub, but perhaps the log-in page of this network or a proxy's notice"
    )]
    Page {
        /// Address without query.
        url: String,
    },
    /// The repository holds a file whose name could leave the folder it is written to.
    #[error("{repo} holds a file with an unsafe name: {reason}")]
    UnsafeName {
        /// Kind and name of the repository.
        repo: String,
        /// The name and the rule it breaks.
        reason: String,
    },
}

/// Coarse class of a [`HubError`]: what a caller decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Our settings cannot work: nothing was sent.
    Config,
    /// Token missing, refused or without the needed right.
    Auth,
    /// Access must be asked for on the repository's page.
    Gated,
    /// No such repository (or hidden).
    RepoNotFound,
    /// No such branch, tag or commit.
    RevisionNotFound,
    /// No such file.
    EntryNotFound,
    /// No connection could be made.
    Offline,
    /// Too many requests; come back later.
    RateLimited {
        /// What the server asks for, if it says.
        retry_after: Option<Duration>,
    },
    /// A signed URL was refused: fetch the reconstruction again.
    UrlExpired,
    /// The server failed or the connection broke; trying again later can help.
    Server,
    /// Silence on a standing connection.
    Stalled,
    /// The answer breaks the interface; trying again is no use.
    Protocol,
}

impl HubError {
    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Config { .. } | Self::NoToken => ErrorKind::Config,
            Self::LoginNeeded { .. }
            | Self::TokenRefused { .. }
            | Self::LoginRefused { .. }
            | Self::Forbidden { .. }
            | Self::CasRefused { .. } => ErrorKind::Auth,
            Self::Gated { .. } => ErrorKind::Gated,
            Self::RepoNotFound { .. } => ErrorKind::RepoNotFound,
            Self::RevisionNotFound { .. } => ErrorKind::RevisionNotFound,
            Self::EntryNotFound { .. } | Self::CasFileNotFound { .. } => ErrorKind::EntryNotFound,
            Self::Unreachable { .. } => ErrorKind::Offline,
            Self::RateLimited { retry_after, .. } => ErrorKind::RateLimited { retry_after: *retry_after },
            Self::UrlExpired { .. } => ErrorKind::UrlExpired,
            Self::Server { .. } | Self::ShortBody { .. } => ErrorKind::Server,
            Self::Stalled { .. } | Self::Trickles { .. } => ErrorKind::Stalled,
            Self::Status { .. }
            | Self::Page { .. }
            | Self::TooLarge { .. }
            | Self::WrongRange { .. }
            | Self::Redirect { .. }
            | Self::Malformed { .. }
            | Self::UnsafeName { .. } => ErrorKind::Protocol,
        }
    }

    /// How long the server asks us to stay away, if it says.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Server { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the same request can succeed a little later without anything else changing.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::RateLimited { .. }
                | Self::Server { .. }
                | Self::Stalled { .. }
                | Self::Trickles { .. }
                | Self::ShortBody { .. }
                | Self::Page { .. }
        )
    }

    /// The same error, saying how many requests it took us to give up.
    /// The same, so much later: what is left of the pause that the server asked for.
    pub(crate) fn after_waiting(mut self, waited: Duration) -> Self {
        if let Self::RateLimited { retry_after: Some(asked), .. }
        | Self::Server { retry_after: Some(asked), .. } = &mut self
        {
            *asked = asked.saturating_sub(waited);
        }
        self
    }

    pub(crate) fn after_tries(mut self, count: u32) -> Self {
        if let Self::Unreachable { tries, .. }
        | Self::RateLimited { tries, .. }
        | Self::Server { tries, .. } = &mut self
        {
            *tries = count;
        }
        self
    }
}

fn tail(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn gated_tail(had_token: bool) -> &'static str {
    if had_token { "; the token in use is not on its list" } else { "" }
}

fn hidden_tail(had_token: bool) -> &'static str {
    if had_token { ", or the token in use may not see it" } else { "" }
}

fn retry_tail(retry_after: Option<&Duration>) -> String {
    // Rounded up: never earlier than it wants.
    let seconds = |wait: &Duration| wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    retry_after.map_or_else(String::new, |wait| format!(", asking us to come back in {} s", seconds(wait)))
}

fn of(want: Option<&u64>) -> String {
    want.map_or_else(|| " bytes".to_owned(), |want| format!(" of {want} bytes"))
}
