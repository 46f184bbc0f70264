//! What can end an engine's start or a pull, by kind (`kind.rs`), with the next step (`hint.rs`).

mod hint;
mod kind;

pub use hint::store_hint;
pub use kind::PullErrorKind;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use zest_core::node::JobFailure;
use zest_hub::{ErrorKind, HubError};
use zest_store::{StoreError, StoreErrorKind, bytes_in_words};

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
    #[error(
        "not enough space in {dir}: {} needed, {} free, {} too little",
        bytes_in_words(*needed), bytes_in_words(*free), bytes_in_words(needed.saturating_sub(*free))
    )]
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_in_numbers_that_people_read() {
        let error = PullError::NoSpace { dir: "/c".into(), needed: 3_000_000_000, free: 1_048_576 };
        assert_eq!(
            error.to_string(),
            "not enough space in /c: 3.0 GB needed, 1.0 MB free, 3.0 GB too little"
        );
        let words = [0, 999, 1000, 999_949, 999_950, u64::MAX].map(bytes_in_words);
        assert_eq!(words, ["0 bytes", "999 bytes", "1.0 kB", "999.9 kB", "1.0 MB", "18446744.1 TB"]);
    }

    #[test]
    fn the_path_of_a_file_that_failed_is_said_once() {
        let path = "sub/a.bin".to_owned();
        let error = Arc::new(PullError::TooLong { path: path.clone(), want: 7 });
        let file = FailedFile { path, error };
        assert_eq!(file.line(), "sub/a.bin: more was received than the 7 bytes that the Hub names");
    }
}
