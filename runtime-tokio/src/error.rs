//! What can end an engine's start or a pull, by kind, with the next step.

use std::path::PathBuf;
use zest_core::node::JobFailure;
use zest_hub::{ErrorKind, HubError};
use zest_store::StoreError;

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

/// Kinds of failure, for exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullErrorKind {
    /// The caller asked for something impossible.
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
    /// The caller cancelled.
    Interrupted,
    /// The Hub, its CDN and the peers could not be reached or did not answer well.
    Network,
    /// A fault of our own.
    Other,
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
    /// A peer's address could not be understood or resolved.
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
    },
    /// The bytes that came do not make up the file the Hub named, whatever was tried.
    #[error("{path}: the bytes that came do not hash to {want}, after {rounds} rounds")]
    Unproven {
        /// The file.
        path: String,
        /// The hash the Hub named.
        want: String,
        /// Rounds tried.
        rounds: u32,
    },
    /// A read or write failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The caller cancelled.
    #[error("interrupted")]
    Interrupted,
    /// The engine's thread ended.
    #[error("the engine has stopped")]
    EngineGone,
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
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> PullErrorKind {
        match self {
            PullError::Hub(error) => match error.kind() {
                ErrorKind::Auth => PullErrorKind::Auth,
                ErrorKind::Gated => PullErrorKind::Gated,
                ErrorKind::RepoNotFound | ErrorKind::RevisionNotFound | ErrorKind::EntryNotFound => {
                    PullErrorKind::NotFound
                }
                _ => PullErrorKind::Network,
            },
            PullError::Store(_) | PullError::NoSpace { .. } | PullError::Io { .. } => PullErrorKind::Disk,
            PullError::NothingSelected { .. } | PullError::NoSuchFile { .. } => PullErrorKind::NotFound,
            PullError::Offline { .. } | PullError::OfflineRevision { .. } => PullErrorKind::Offline,
            PullError::PeerAddress { .. } => PullErrorKind::Usage,
            PullError::NoSource { .. } => PullErrorKind::Network,
            PullError::Unproven { .. } => PullErrorKind::Verify,
            PullError::Interrupted => PullErrorKind::Interrupted,
            PullError::EngineGone => PullErrorKind::Other,
        }
    }

    /// What the user can do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        if let PullError::NothingSelected { .. } | PullError::NoSuchFile { .. } = self {
            return Some("see what there is with --dry-run; names and patterns are case-sensitive".into());
        }
        let text = match self.kind() {
            PullErrorKind::Auth => "set HF_TOKEN, or log in with `hf auth login`",
            PullErrorKind::Gated => "open the model's page and ask for access, then set HF_TOKEN",
            PullErrorKind::NotFound => "check the name, --type and --revision",
            PullErrorKind::Offline => "unset HF_HUB_OFFLINE, or pull it once while online",
            PullErrorKind::Verify => {
                "run the same command again; if it stays, report it to the model's owner"
            }
            PullErrorKind::Disk => {
                "make room or choose another place with --cache-dir; what is proven is kept"
            }
            PullErrorKind::Interrupted => "run the same command again to go on where it stopped",
            PullErrorKind::Network => {
                "run the same command again: what is proven is kept; name a peer with --peer"
            }
            PullErrorKind::Usage => "write HOST:PORT, an IPv4 address or [IPv6]:PORT",
            PullErrorKind::Other => return None,
        };
        Some(text.into())
    }
}
