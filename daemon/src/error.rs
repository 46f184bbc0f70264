//! Why there is no daemon.

use crate::Running;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a daemon did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// There is one.
    #[error("a daemon of this cache runs already: {0}")]
    Running(Box<Running>),
    /// A file of its own cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The API's address cannot be had.
    #[error("cannot listen on {addr} for the API: {source}")]
    Listen {
        /// As asked.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The API is for this machine alone.
    #[error("{addr} is no loopback address: the API is for this machine alone")]
    NotLoopback {
        /// As asked.
        addr: SocketAddr,
    },
    /// The system gave no randomness.
    #[error("the system gave no random bytes: {0}")]
    Random(String),
    /// The configured Hub is none.
    #[error("{0}")]
    Hub(String),
}

impl DaemonError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
