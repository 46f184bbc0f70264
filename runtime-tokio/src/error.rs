//! What can end an engine's start or a pull, by kind, with the next step.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use zest_core::node::JobFailure;
use zest_hub::{ErrorKind, HubError};
use zest_store::{StoreError, StoreErrorKind, io_kind};

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The listener could not be opened.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// As asked.
        addr: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The system does not have that TCP congestion control, or not for everybody.
    #[error("TCP congestion control {name} cannot be used: {source}")]
    CongestionControl {
        /// As asked.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The UDP port that was asked for cannot be had.
    #[error("cannot use UDP port {port} for the DHT: {source}")]
    DhtPort {
        /// As asked.
        port: u16,
        /// What the system said.
        source: std::io::Error,
    },
    /// A limit is lower than it can be kept.
    #[error("{what}: {given} is below the least value, {min}")]
    Limit {
        /// Which.
        what: &'static str,
        /// As asked.
        given: u64,
        /// The least value.
        min: u64,
    },
    /// What was uploaded today cannot be found out or noted.
    #[error("cannot keep the account of the upload budget in {}: {source}", path.display())]
    Budget {
        /// Its file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The engine's thread could not be started, or it ended early.
    #[error("cannot start the engine: {0}")]
    Thread(std::io::Error),
    /// The system gave no randomness.
    #[error("the system gave no random bytes: {0}")]
    Random(String),
}

/// Kinds of failure, for exit codes: who is at fault, and so what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullErrorKind {
    /// The caller asked for something impossible, or its settings cannot work.
    Usage,
    /// The Hub wants a (valid) token.
    Auth,
    /// The repository is gated and this token was not granted access.
    Gated,
    /// No such repository, revision or file.
    NotFound,
    /// Offline mode, and something is not in the cache.
    Offline,
    /// Bytes did not prove, whatever was tried.
    Verify,
    /// The disk is full, read-only or failing.
    Disk,
    /// A file cannot be stored under its name: the name is unsafe or too long, or something else stands there.
    Place,
    /// The caller cancelled.
    Interrupted,
    /// The Hub, its CDN and the peers could not be reached or did not answer well.
    Network,
    /// The Hub limits our rate, longer than we waited.
    RateLimited {
        /// What it asks for, if it says.
        retry_after: Option<Duration>,
    },
    /// What answers does not speak as a Hub, a CAS or a CDN does: asking again is no use.
    Protocol,
    /// A fault of our own, or of another program.
    Other,
}

impl PullErrorKind {
    /// A word for programs, one for each exit code of the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Auth | Self::Gated => "auth",
            Self::NotFound => "not-found",
            Self::Offline | Self::Network | Self::RateLimited { .. } => "network",
            Self::Verify => "verify",
            Self::Disk => "disk",
            Self::Place => "place",
            Self::Interrupted => "interrupted",
            Self::Protocol | Self::Other => "other",
        }
    }
}

/// What the origin did wrong last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceFault {
    /// It refused, failed or broke its rules.
    Hub(HubError),
    /// It gave bytes that do not have the hash the Hub names.
    WrongBytes,
}

/// Why a pull ended without success. What was proven is kept.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The Hub or its CDN.
    #[error("{0}")]
    Hub(#[from] HubError),
    /// The disk.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Nothing in the repository fits the names and patterns given.
    #[error("no file of {repo} matches")]
    NothingSelected {
        /// Its name.
        repo: String,
    },
    /// A file was named that the repository lacks.
    #[error("{repo} has no file {path}")]
    NoSuchFile {
        /// Its name.
        repo: String,
        /// As given.
        path: String,
    },
    /// Offline, and not everything is there.
    #[error("offline, and {missing} of {total} files of {repo} are not in the cache: {names}")]
    Offline {
        /// Its name.
        repo: String,
        /// Files not there.
        missing: usize,
        /// Files selected.
        total: usize,
        /// The first of them.
        names: String,
    },
    /// Offline, and the revision is not known here.
    #[error("offline, and revision {revision} of {repo} is not in the cache")]
    OfflineRevision {
        /// Its name.
        repo: String,
        /// As given.
        revision: String,
    },
    /// The Hub names a commit for a branch and does not have it.
    #[error(
        "the Hub says that {revision} of {repo} is commit {commit}, and does not have that commit (any more)"
    )]
    LostCommit {
        /// Its name.
        repo: String,
        /// As given.
        revision: String,
        /// As the Hub says.
        commit: String,
    },
    /// The disk has not enough room.
    #[error("not enough space in {dir}: {needed} bytes are needed, {free} are free, {} more are required", needed - free)]
    NoSpace {
        /// Where.
        dir: PathBuf,
        /// Bytes to come.
        needed: u64,
        /// Bytes there.
        free: u64,
    },
    /// A peer's name has no address now.
    #[error("peer {given:?}: {why}")]
    PeerName {
        /// As given.
        given: String,
        /// What the resolver said.
        why: String,
    },
    /// A peer's address could not be understood.
    #[error("peer address {given:?}: {why}")]
    PeerAddress {
        /// As given.
        given: String,
        /// What is wrong.
        why: String,
    },
    /// Neither peers nor the origin can give what is missing.
    #[error("{path}: {}", failure_text(why))]
    NoSource {
        /// The file.
        path: String,
        /// What the node said.
        why: Box<JobFailure>,
        /// What the origin did wrong last, if it was asked and did.
        origin: Option<Box<SourceFault>>,
    },
    /// The bytes that came do not make up the file the Hub named, whatever was tried.
    #[error("{path}: the bytes received do not hash to {want}, after {rounds} rounds")]
    Unproven {
        /// The file.
        path: String,
        /// The hash the Hub named.
        want: String,
        /// Rounds tried.
        rounds: u32,
    },
    /// More bytes came than the Hub names for the file.
    #[error("{path}: more was received than the {want} bytes that the Hub names")]
    TooLong {
        /// The file.
        path: String,
        /// Its bytes according to the Hub.
        want: u64,
    },
    /// A read or write failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Some files could not be had. Everything else is in its place.
    #[error("{} of {total} files of {repo} could not be had; the others are in place:{}", failed.len(), failed_text(failed))]
    SomeFiles {
        /// Its name.
        repo: String,
        /// Files selected.
        total: usize,
        /// Those that are not there, with the reason of each.
        failed: Vec<FailedFile>,
    },
    /// The user said meanwhile that nothing of it is to be shared.
    #[error("{repo} is not to be shared any more: the pull that shared it is stopped")]
    Denied {
        /// Its name.
        repo: String,
    },
    /// The caller cancelled.
    #[error("interrupted")]
    Interrupted,
    /// The engine's thread ended.
    #[error("the engine has stopped")]
    EngineGone,
    /// What ended the fetching of a file that several pulls waited for.
    #[error("{0}")]
    Shared(Arc<Self>),
}

/// A file that could not be had, while others were.
#[derive(Debug, Clone)]
pub struct FailedFile {
    /// Its path in the repository.
    pub path: String,
    /// Why. Files of one content share it.
    pub error: Arc<PullError>,
}

impl FailedFile {
    /// Its error, without the path that some begin with: it stands beside.
    pub(crate) fn why(&self) -> String {
        let text = self.error.to_string();
        let own = text.strip_prefix(&self.path).and_then(|rest| rest.strip_prefix(": "));
        own.unwrap_or(&text).to_owned()
    }

    /// Path and reason.
    pub(crate) fn line(&self) -> String {
        format!("{}: {}", self.path.escape_debug(), self.why())
    }
}

/// Files that are named with their reasons.
const FAILED_SHOWN: usize = 20;

fn failed_text(failed: &[FailedFile]) -> String {
    let mut text = String::new();
    for file in failed.iter().take(FAILED_SHOWN) {
        let _ = write!(text, "\n  {}", file.line());
    }
    if failed.len() > FAILED_SHOWN {
        let _ = write!(text, "\n  and {} more", failed.len() - FAILED_SHOWN);
    }
    text
}

fn failure_text(why: &JobFailure) -> String {
    let JobFailure::NoSource { missing, origin } = why;
    let chunks = if *missing == 0 { String::new() } else { format!(" for {missing} missing chunks") };
    match origin {
        Some(fault) => format!("no source{chunks}: no peer has them, and {}", fault.text),
        None => format!("no source{chunks}: no peer has them"),
    }
}

impl PullError {
    /// What ends a pull in which these files could not be had: the file's own error where only one was wanted.
    pub(crate) fn some_files(repo: String, total: usize, mut failed: Vec<FailedFile>) -> Self {
        if total == 1
            && failed.len() == 1
            && let Some(FailedFile { path, error }) = failed.pop()
        {
            return Arc::try_unwrap(error).unwrap_or_else(|error| {
                let failed = vec![FailedFile { path, error }];
                Self::SomeFiles { repo, total, failed }
            });
        }
        Self::SomeFiles { repo, total, failed }
    }

    /// Whether it is about one file, so that all others can be fetched all the same: what cannot be stored here under that
    /// name, what is not what the Hub named, what the Hub lists and does not have.
    pub(crate) fn is_of_one_file(&self) -> bool {
        match self {
            Self::Shared(error) => error.is_of_one_file(),
            Self::Store(StoreError::Unreadable { .. }) => true,
            Self::Store(error) => matches!(
                error.kind(),
                StoreErrorKind::Name | StoreErrorKind::InTheWay | StoreErrorKind::WrongBytes
            ),
            Self::Hub(error) => {
                matches!(error.kind(), ErrorKind::EntryNotFound)
                    || matches!(error, HubError::UnsafeName { .. })
            }
            Self::Unproven { .. } | Self::TooLong { .. } => true,
            _ => false,
        }
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> PullErrorKind {
        match self {
            Self::Shared(error) => error.kind(),
            Self::Hub(error) => hub_kind(error),
            Self::Store(error) => store_kind(error.kind()),
            Self::Io { source, .. } => store_kind(io_kind(source)),
            Self::NoSpace { .. } => PullErrorKind::Disk,
            Self::SomeFiles { failed, .. } => {
                failed.first().map_or(PullErrorKind::Other, |file| file.error.kind())
            }
            Self::NothingSelected { .. } | Self::NoSuchFile { .. } | Self::LostCommit { .. } => {
                PullErrorKind::NotFound
            }
            Self::Offline { .. } | Self::OfflineRevision { .. } => PullErrorKind::Offline,
            Self::PeerAddress { .. } => PullErrorKind::Usage,
            Self::PeerName { .. } => PullErrorKind::Network,
            Self::NoSource { origin, .. } => match origin.as_deref() {
                Some(SourceFault::Hub(error)) => hub_kind(error),
                Some(SourceFault::WrongBytes) => PullErrorKind::Verify,
                None => PullErrorKind::Network,
            },
            Self::Unproven { .. } | Self::TooLong { .. } => PullErrorKind::Verify,
            Self::Interrupted | Self::Denied { .. } => PullErrorKind::Interrupted,
            Self::EngineGone => PullErrorKind::Other,
        }
    }

    /// What the user can do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        if let Self::Shared(error) = self {
            return error.hint();
        }
        if let Self::SomeFiles { failed, .. } = self {
            return failed.first().and_then(|file| file.error.hint());
        }
        if let Self::Denied { .. } = self {
            return Some("run the same command again: it goes on from the Hub alone".into());
        }
        if let Self::LostCommit { .. } = self {
            return Some("it was replaced a moment ago: run the same command again in a minute".into());
        }
        if let Self::Store(StoreError::Unreadable { .. }) = self {
            return Some("ask its owner for `chmod a+r`, or choose another place with --cache-dir".into());
        }
        if let Self::NothingSelected { .. } | Self::NoSuchFile { .. } = self {
            return Some("see what there is with --dry-run; names and patterns are case-sensitive".into());
        }
        if let Self::Store(error) = self {
            return store_hint(error.kind()).map(str::to_owned);
        }
        let text = match self.kind() {
            PullErrorKind::Auth => "if you have access, set HF_TOKEN, or log in with `hf auth login`",
            PullErrorKind::Gated => "once you have access, set HF_TOKEN, or log in with `hf auth login`",
            PullErrorKind::NotFound => "check the name, --type and --revision",
            PullErrorKind::Offline => "unset HF_HUB_OFFLINE, or pull it once while online",
            PullErrorKind::Verify => {
                "run the same command again; if it stays, report it to the model's owner"
            }
            PullErrorKind::Disk => {
                "make room or choose another place with --cache-dir; what is proven is kept"
            }
            PullErrorKind::Place => {
                "leave the file out with --exclude, or choose another place with --local-dir"
            }
            PullErrorKind::Interrupted => "run the same command again to go on where it stopped",
            PullErrorKind::Network => "run the same command again: what is proven is kept",
            PullErrorKind::RateLimited { .. } => {
                "come back later: what is proven is kept; with HF_TOKEN the Hub allows more"
            }
            PullErrorKind::Protocol => {
                "check HF_ENDPOINT and the proxy settings: something else than a Hub may be answering"
            }
            PullErrorKind::Usage => match self {
                Self::PeerAddress { .. } => "write HOST:PORT, an IPv4 address or [IPv6]:PORT",
                _ => return None,
            },
            PullErrorKind::Other => return None,
        };
        Some(text.into())
    }
}

fn hub_kind(error: &HubError) -> PullErrorKind {
    match error {
        HubError::UnsafeName { .. } => return PullErrorKind::Place,
        HubError::NoToken => return PullErrorKind::Auth,
        // Not the user's token, and not the user's choice of a file: the Hub and its CAS disagree.
        HubError::CasRefused { .. } | HubError::CasFileNotFound { .. } => return PullErrorKind::Protocol,
        _ => {}
    }
    match error.kind() {
        ErrorKind::Config => PullErrorKind::Usage,
        ErrorKind::Auth => PullErrorKind::Auth,
        ErrorKind::Gated => PullErrorKind::Gated,
        ErrorKind::RepoNotFound | ErrorKind::RevisionNotFound | ErrorKind::EntryNotFound => {
            PullErrorKind::NotFound
        }
        ErrorKind::RateLimited { retry_after } => PullErrorKind::RateLimited { retry_after },
        ErrorKind::Offline | ErrorKind::UrlExpired | ErrorKind::Server | ErrorKind::Stalled => {
            PullErrorKind::Network
        }
        ErrorKind::Protocol => PullErrorKind::Protocol,
    }
}

fn store_kind(kind: StoreErrorKind) -> PullErrorKind {
    match kind {
        StoreErrorKind::Full | StoreErrorKind::ReadOnly | StoreErrorKind::Failing => PullErrorKind::Disk,
        StoreErrorKind::InTheWay | StoreErrorKind::Name => PullErrorKind::Place,
        StoreErrorKind::WrongBytes => PullErrorKind::Verify,
        StoreErrorKind::Changed | StoreErrorKind::Damaged => PullErrorKind::Other,
    }
}

/// What helps against an error of the store, if anything is known to.
#[must_use]
pub fn store_hint(kind: StoreErrorKind) -> Option<&'static str> {
    Some(match kind {
        StoreErrorKind::Full => "make room, or choose another place with --cache-dir; what is proven is kept",
        StoreErrorKind::ReadOnly => {
            "make it writable for this user, or choose another place with --cache-dir"
        }
        StoreErrorKind::Failing => {
            "look at the disk, or choose another place with --cache-dir; what is proven is kept"
        }
        StoreErrorKind::InTheWay => "move away what stands there, or choose another place with --cache-dir",
        StoreErrorKind::Name => "leave the file out with --exclude, or choose another place with --local-dir",
        StoreErrorKind::WrongBytes => {
            "run the same command again; if it stays, report it to the model's owner"
        }
        StoreErrorKind::Changed => "run the same command again, when no other program writes there",
        StoreErrorKind::Damaged => "remove that file and run the same command again",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use zest_core::node::{FaultKind, OriginFault};

    fn hub(error: HubError) -> PullErrorKind {
        let text = error.to_string();
        let of_listing = PullError::Hub(error.clone()).kind();
        let origin = Some(Box::new(SourceFault::Hub(error)));
        let fault = OriginFault::new(FaultKind::Broken, text);
        let why = Box::new(JobFailure::NoSource { missing: 1, origin: Some(fault) });
        let of_file = PullError::NoSource { path: "f".into(), why, origin }.kind();
        assert_eq!(of_listing, of_file, "a file ends for the same reason as a listing");
        of_listing
    }

    #[test]
    fn the_path_of_a_file_that_failed_is_said_once() {
        let path = "sub/a.bin".to_owned();
        let error = Arc::new(PullError::TooLong { path: path.clone(), want: 7 });
        let file = FailedFile { path, error };
        assert_eq!(file.line(), "sub/a.bin: more was received than the 7 bytes that the Hub names");
    }

    #[test]
    fn advice_stands_in_the_hint_alone() {
        let (repo, page) = ("model a/b".to_owned(), "https://hub.example/a/b".to_owned());
        let closed = HubError::LoginNeeded { repo: repo.clone(), message: String::new() };
        for error in [closed, HubError::Gated { repo, page, had_token: false }] {
            let error = PullError::from(error);
            let hint = error.hint().expect("what helps");
            assert!(
                hint.contains("set HF_TOKEN") && !error.to_string().contains("HF_TOKEN"),
                "{error}: {hint}"
            );
        }
    }

    #[test]
    fn what_the_hub_does_wrong_is_told_apart() {
        let (repo, url) = (|| "model a/b".to_owned(), || "https://hub.example/x".to_owned());
        let text = String::new;
        let rows = [
            (HubError::Config { reason: text() }, PullErrorKind::Usage),
            (HubError::NoToken, PullErrorKind::Auth),
            (HubError::LoginNeeded { repo: repo(), message: text() }, PullErrorKind::Auth),
            (HubError::TokenRefused { repo: repo(), message: text() }, PullErrorKind::Auth),
            (HubError::LoginRefused { repo: repo(), url: url(), message: text() }, PullErrorKind::Auth),
            (HubError::Forbidden { repo: repo(), url: url(), message: text() }, PullErrorKind::Auth),
            (HubError::Gated { repo: repo(), page: url(), had_token: true }, PullErrorKind::Gated),
            (HubError::RepoNotFound { repo: repo(), had_token: false }, PullErrorKind::NotFound),
            (HubError::RevisionNotFound { repo: repo(), revision: text() }, PullErrorKind::NotFound),
            (
                HubError::EntryNotFound { repo: repo(), revision: text(), path: text() },
                PullErrorKind::NotFound,
            ),
            (HubError::Unreachable { url: url(), reason: text(), tries: 3 }, PullErrorKind::Network),
            (
                HubError::Server { url: url(), status: 503, message: text(), retry_after: None, tries: 8 },
                PullErrorKind::Network,
            ),
            (HubError::UrlExpired { url: url(), body: text() }, PullErrorKind::Network),
            (
                HubError::Stalled { url: url(), silence: Duration::from_secs(9), got: 0, want: None },
                PullErrorKind::Network,
            ),
            (
                HubError::ShortBody { url: url(), got: 1, want: Some(2), reason: text() },
                PullErrorKind::Network,
            ),
            (
                HubError::RateLimited { url: url(), retry_after: Some(Duration::from_secs(7)), tries: 8 },
                PullErrorKind::RateLimited { retry_after: Some(Duration::from_secs(7)) },
            ),
            (HubError::CasRefused { url: url(), status: 401, message: text() }, PullErrorKind::Protocol),
            (HubError::CasFileNotFound { url: url(), file: text() }, PullErrorKind::Protocol),
            (HubError::Status { url: url(), status: 418, message: text() }, PullErrorKind::Protocol),
            (HubError::TooLarge { url: url(), what: "file list", limit: 1 }, PullErrorKind::Protocol),
            (
                HubError::WrongRange { url: url(), want_start: 0, want_last: 1, got: text() },
                PullErrorKind::Protocol,
            ),
            (HubError::Redirect { url: url(), reason: text() }, PullErrorKind::Protocol),
            (HubError::Malformed { url: url(), what: "file list", reason: text() }, PullErrorKind::Protocol),
            (HubError::UnsafeName { repo: repo(), reason: text() }, PullErrorKind::Place),
        ];
        for (error, kind) in rows {
            assert_eq!(hub(error.clone()), kind, "{error}");
        }
    }

    #[test]
    fn what_the_disk_refuses_is_told_from_what_it_cannot_hold_and_from_wrong_bytes() {
        let path = || PathBuf::from("/cache/x");
        let io = |kind| StoreError::from_io("write", &path(), io::Error::from(kind), 1);
        let (algorithm, hash) = ("sha256", String::new);
        let rows = [
            (io(io::ErrorKind::StorageFull), PullErrorKind::Disk, "make room"),
            (io(io::ErrorKind::ReadOnlyFilesystem), PullErrorKind::Disk, "writable"),
            (io(io::ErrorKind::PermissionDenied), PullErrorKind::Disk, "writable"),
            (io(io::ErrorKind::Other), PullErrorKind::Disk, "look at the disk"),
            (io(io::ErrorKind::InvalidFilename), PullErrorKind::Place, "--exclude"),
            (io(io::ErrorKind::IsADirectory), PullErrorKind::Place, "move away"),
            (
                StoreError::Foreign { path: path(), found: "a directory", expected: "a file" },
                PullErrorKind::Place,
                "move away",
            ),
            (
                StoreError::WrongSize { path: path(), expected: 1, actual: 2 },
                PullErrorKind::Verify,
                "report it",
            ),
            (
                StoreError::WrongContent { path: path(), algorithm, expected: hash(), actual: hash() },
                PullErrorKind::Verify,
                "report it",
            ),
            (StoreError::ChangedMeanwhile { path: path() }, PullErrorKind::Other, "again"),
            (
                StoreError::Malformed { path: path(), what: "places file", why: hash() },
                PullErrorKind::Other,
                "remove",
            ),
        ];
        for (error, kind, hint) in rows {
            let error = PullError::Store(error);
            assert_eq!(error.kind(), kind, "{error}");
            let said = error.hint().expect("something helps");
            assert!(said.contains(hint), "{error}: {said}");
        }
        let while_fetching = |kind| PullError::Io { path: "f".into(), source: io::Error::from(kind) };
        assert_eq!(while_fetching(io::ErrorKind::StorageFull).kind(), PullErrorKind::Disk);
        assert_eq!(while_fetching(io::ErrorKind::NotADirectory).kind(), PullErrorKind::Place);
    }

    #[test]
    fn a_file_that_no_source_gives_ends_by_what_the_origin_did() {
        let no_source = |origin: Option<SourceFault>| {
            let why = Box::new(JobFailure::NoSource { missing: 3, origin: None });
            PullError::NoSource { path: "f".into(), why, origin: origin.map(Box::new) }.kind()
        };
        assert_eq!(no_source(None), PullErrorKind::Network);
        assert_eq!(no_source(Some(SourceFault::WrongBytes)), PullErrorKind::Verify);
        let unproven = PullError::Unproven { path: "f".into(), want: String::new(), rounds: 6 };
        assert_eq!(unproven.kind(), PullErrorKind::Verify);
        assert_eq!(PullError::TooLong { path: "f".into(), want: 3 }.kind(), PullErrorKind::Verify);
    }

    #[test]
    fn a_peer_whose_name_has_no_address_now_is_no_mistake_on_the_command_line() {
        let (given, why) = (|| "node-7".to_owned(), || "no such name".to_owned());
        assert_eq!(PullError::PeerName { given: given(), why: why() }.kind(), PullErrorKind::Network);
        assert_eq!(PullError::PeerAddress { given: given(), why: why() }.kind(), PullErrorKind::Usage);
    }
}
