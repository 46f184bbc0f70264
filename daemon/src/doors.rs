//! Where the API listens: loopback, and nowhere else.

use crate::{DaemonError, Secret};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::TcpListener;

/// TCP port of the API unless told otherwise: the original's.
pub const HTTP_PORT: u16 = 9847;

/// Ports after a taken default one that are tried: 8. Then any free one.
const NEXT_PORTS: u16 = 8;

/// Tries to find a port that is free for IPv4 and IPv6: 16.
const PAIR_TRIES: u32 = 16;

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Doors {
    /// At [`HTTP_PORT`] of 127.0.0.1 and `::1`, or one of the next.
    #[default]
    Usual,
    /// At this port of both, 0 for any free one. A port that is taken is an error.
    Port(u16),
    /// At this address, which must be loopback.
    At(SocketAddr),
    /// At this address, whatever it is: for who has seen to it that nobody listens in, see [`Opened::known_as`].
    Anywhere(SocketAddr),
}

/// Open listeners.
#[derive(Debug)]
pub struct Opened {
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) addrs: Vec<SocketAddr>,
    pub(crate) public_url: Option<String>,
    pub(crate) also: Option<Secret>,
    pub(crate) figures: Option<(TcpListener, SocketAddr)>,
    pub(crate) oci: bool,
}

impl Doors {
    /// Opens them.
    ///
    /// # Errors
    /// An address that is not loopback, or cannot be had.
    pub async fn open(self) -> Result<Opened, DaemonError> {
        match self {
            Self::At(addr) if !addr.ip().to_canonical().is_loopback() => {
                Err(DaemonError::NotLoopback { addr })
            }
            Self::At(addr) | Self::Anywhere(addr) => {
                let bound = TcpListener::bind(addr).await;
                Opened::of(vec![bound.map_err(|source| DaemonError::Listen { addr, source })?])
            }
            Self::Port(port) => Opened::of(listen_here(port).await?),
            Self::Usual => {
                for port in HTTP_PORT..=HTTP_PORT + NEXT_PORTS {
                    match listen_here(port).await.and_then(Opened::of) {
                        Err(DaemonError::Listen { source, .. }) if is_taken(&source) => {}
                        outcome => return outcome,
                    }
                }
                Opened::of(listen_here(0).await?)
            }
        }
    }
}

impl Opened {
    /// It is also known at this address of the web, from where its pages may ask.
    #[must_use]
    pub fn known_as(mut self, public_url: Option<String>) -> Self {
        self.public_url = public_url;
        self
    }

    /// GGUF models of repositories that everybody may read are images there, for Ollama and OCI clients, which have no key.
    #[must_use]
    pub fn with_images(mut self, oci: bool) -> Self {
        self.oci = oci;
        self
    }

    /// This secret opens it, too.
    #[must_use]
    pub fn opened_by(mut self, secret: Option<Secret>) -> Self {
        self.also = secret;
        self
    }

    /// Figures and signs of life alone are answered here, to whoever asks.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn with_figures(mut self, addr: SocketAddr) -> Result<Self, DaemonError> {
        let listen = |source| DaemonError::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        self.figures = Some((listener, addr));
        Ok(self)
    }

    /// Where figures are answered.
    #[must_use]
    pub fn figures(&self) -> Option<SocketAddr> {
        self.figures.as_ref().map(|(_, addr)| *addr)
    }

    /// Where it is, as bound.
    #[must_use]
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    pub(crate) fn of(listeners: Vec<TcpListener>) -> Result<Self, DaemonError> {
        let addrs = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let addrs = addrs.map_err(|source| DaemonError::Listen { addr, source })?;
        Ok(Self { listeners, addrs, public_url: None, also: None, figures: None, oci: false })
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

/// Listens on the same port of 127.0.0.1 and `::1`, 0 for any free one; a machine without IPv6 has the one.
///
/// # Errors
/// The port cannot be had.
pub async fn listen_here(port: u16) -> Result<Vec<TcpListener>, DaemonError> {
    let mut tries = if port == 0 { PAIR_TRIES } else { 1 };
    loop {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let v4 = TcpListener::bind(addr).await.map_err(|source| DaemonError::Listen { addr, source })?;
        let port = v4.local_addr().map_err(|source| DaemonError::Listen { addr, source })?.port();
        let addr = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        tries -= 1;
        match TcpListener::bind(addr).await {
            Ok(v6) => return Ok(vec![v4, v6]),
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => return Ok(vec![v4]),
            Err(_) if tries > 0 => {}
            Err(source) => return Err(DaemonError::Listen { addr, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_but_loopback_is_listened_on() {
        for addr in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
            let error = Doors::At(addr.parse().expect("an address")).open().await.expect_err(addr);
            assert!(matches!(error, DaemonError::NotLoopback { .. }), "{addr}: {error}");
        }
        let opened = Doors::At("127.0.0.2:0".parse().expect("an address")).open().await.expect("free");
        assert!(opened.addrs()[0].ip().is_loopback() && opened.addrs()[0].port() != 0);
    }

    #[tokio::test]
    async fn a_port_that_was_named_is_used_or_refused_and_is_the_same_for_both_families() {
        let opened = Doors::Port(0).open().await.expect("free");
        let port = opened.addrs()[0].port();
        assert!(opened.addrs().iter().all(|addr| addr.port() == port && addr.ip().is_loopback()));
        let error = Doors::Port(port).open().await.expect_err("taken");
        assert!(matches!(error, DaemonError::Listen { .. }), "{error}");
    }
}
