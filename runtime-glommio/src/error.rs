//! Why a seeder does not start.

use crate::probe::Refusal;
use std::net::SocketAddr;

/// Why [`crate::Seeder::start`] failed.
#[derive(Debug, thiserror::Error)]
pub enum SeederError {
    /// This process may not use io_uring.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A listener could not be opened.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// Why.
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
    /// A core that does not exist or that this process may not use.
    #[error("core {core} is not among the ones this process may use ({usable})")]
    Core {
        /// Which.
        core: usize,
        /// The usable ones.
        usable: String,
    },
    /// An executor did not come up.
    #[error("the executor of core {core} did not start: {why}")]
    Executor {
        /// Which.
        core: usize,
        /// What glommio or the kernel said.
        why: String,
    },
    /// The system gave no randomness.
    #[error("no random bytes: {0}")]
    Random(String),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}
