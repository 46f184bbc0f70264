//! The port of a daemon that is to stay at one address: held here, handed over to each daemon that is begun.

use crate::os::{self, Handed};
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use zest_daemon::DaemonError;

/// The listening sockets of an API's port, held besides the daemon.
#[derive(Debug)]
pub(crate) struct Held {
    listeners: Vec<TcpListener>,
    addr: SocketAddr,
}

/// What tells a program of the sockets that it is given (sd_listen_fds(3)).
pub(crate) type Words = [(&'static str, OsString); 2];

impl Held {
    /// This port of 127.0.0.1 and, where there is IPv6, of `::1`; 0 for any free one.
    pub(crate) async fn bind(port: u16) -> Result<Self, DaemonError> {
        let cannot =
            |source| DaemonError::Listen { addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), source };
        let opened = zest_daemon::listen_here(port).await?;
        let listeners = opened.into_iter().map(tokio::net::TcpListener::into_std);
        let listeners = listeners.collect::<io::Result<Vec<TcpListener>>>().map_err(cannot)?;
        let addr = listeners[0].local_addr().map_err(cannot)?;
        Ok(Self { listeners, addr })
    }

    /// Where somebody is to answer.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Copies of the sockets for a program that is begun now, to be kept until it has begun, and what tells it of them.
    pub(crate) fn hand_over(&self) -> io::Result<(Handed, Words)> {
        let copies = Handed::copies_of(&self.listeners)?;
        // They are told by the first one's number and how many there are.
        let words = [
            ("LISTEN_FDS", copies.count().to_string().into()),
            ("LISTEN_FDS_FIRST_FD", copies.first().to_string().into()),
        ];
        Ok((copies, words))
    }

    /// Waits until somebody connects, and leaves the connection to whoever accepts.
    pub(crate) async fn wanted(&self) -> io::Result<()> {
        let Some(first) = self.listeners.first() else { return std::future::pending().await };
        let last = self.listeners.last().unwrap_or(first);
        tokio::select! {
            ready = os::is_called(first) => ready,
            ready = os::is_called(last) => ready,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn who_connects_where_nobody_is_waits_and_is_noticed() {
        let held = Held::bind(0).await.expect("a port");
        assert!(Held::bind(held.addr.port()).await.is_err(), "it is ours");
        let quiet = tokio::time::timeout(Duration::from_millis(20), held.wanted()).await;
        assert!(quiet.is_err(), "nobody came");
        let caller = std::net::TcpStream::connect(held.addr).expect("it is not refused");
        held.wanted().await.expect("it is noticed");
        let (accepted, _) = held.listeners[0].accept().expect("and left to whoever accepts");
        assert_eq!(accepted.peer_addr().expect("there"), caller.local_addr().expect("there"));
    }

    #[tokio::test]
    async fn a_program_is_told_what_is_handed_over() {
        let held = Held::bind(0).await.expect("a port");
        let (handed, words) = held.hand_over().expect("copied");
        assert_eq!(words[0].1, handed.count().to_string().as_str());
        assert_eq!(words[1].1, handed.first().to_string().as_str());
    }
}
