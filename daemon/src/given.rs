//! Sockets that somebody else has opened for this process: a service manager (sd_listen_fds(3)), or `zest run`, which keeps its own
//! hold of them, so that who connects while a daemon is begun again waits for a moment instead of being refused.

use crate::DaemonError;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixListener;

/// Listeners that were handed over. Those nobody takes are closed.
#[derive(Debug, Default)]
pub struct Given {
    pub(crate) unix: Option<UnixListener>,
    tcp: Vec<std::net::TcpListener>,
}

impl Given {
    /// What the environment says was handed over. To be called once, before this process has sockets of its own.
    #[must_use]
    pub fn from_env() -> Self {
        let mut fds = listenfd::ListenFd::from_env();
        let mut given = Self::default();
        for at in 0..fds.len() {
            if let Ok(Some(listener)) = fds.take_unix_listener(at) {
                given.unix.get_or_insert(listener);
            } else if let Ok(Some(listener)) = fds.take_tcp_listener(at) {
                given.tcp.push(listener);
            }
        }
        given
    }

    /// The API's ports, if any were handed over.
    ///
    /// # Errors
    /// One is not loopback, or is no listener.
    pub fn doors(&mut self) -> Result<Option<crate::Opened>, DaemonError> {
        let given = std::mem::take(&mut self.tcp);
        if given.is_empty() {
            return Ok(None);
        }
        let mut listeners = Vec::with_capacity(given.len());
        for listener in given {
            let unknown = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let addr = listener.local_addr();
            let addr = addr.map_err(|source| DaemonError::Listen { addr: unknown, source })?;
            if !addr.ip().to_canonical().is_loopback() {
                return Err(DaemonError::NotLoopback { addr });
            }
            let listener =
                listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
            listeners.push(listener.map_err(|source| DaemonError::Listen { addr, source })?);
        }
        crate::Opened::of(listeners).map(Some)
    }
}
